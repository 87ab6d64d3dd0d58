// SPDX-License-Identifier: GPL-2.0
/* Drives that run programs: what /sys/class/csd says of them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "internal.h"

#define CLASS_DIR "/sys/class/csd"

void blkbpf_drives_free(struct blkbpf_drive *drives, size_t nr)
{
	size_t i, n;

	for (i = 0; drives && i < nr; i++) {
		for (n = 0; n < drives[i].nr_attrs; n++) {
			free(drives[i].attrs[n].name);
			free(drives[i].attrs[n].value);
		}
		free(drives[i].attrs);
		free(drives[i].name);
	}
	free(drives);
}

const char *blkbpf_drive__attr(const struct blkbpf_drive *drive, const char *name)
{
	size_t i;

	for (i = 0; i < drive->nr_attrs; i++)
		if (!strcmp(drive->attrs[i].name, name))
			return drive->attrs[i].value;
	return NULL;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*a)->d_name, (*b)->d_name);
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* The text of an attribute; NULL for what is none, or is gone. */
static char *read_attr(const char *drive, const char *name)
{
	char path[512], text[4096];
	struct stat st;
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), CLASS_DIR "/%s/%s", drive, name);
	if (!strcmp(name, "uevent") || lstat(path, &st) || !S_ISREG(st.st_mode))
		return NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	len = read(fd, text, sizeof(text));
	close(fd);
	if (len < 0)
		return NULL;
	while (len && text[len - 1] == '\n')
		len--;
	return strndup(text, len);
}

static bool add_attr(struct blkbpf_drive *drive, const char *name, char *value)
{
	struct blkbpf_attr *attrs;

	attrs = reallocarray(drive->attrs, drive->nr_attrs + 1, sizeof(*attrs));
	if (!attrs) {
		free(value);
		return false;
	}
	drive->attrs = attrs;
	attrs[drive->nr_attrs].name = strdup(name);
	attrs[drive->nr_attrs].value = value;
	return attrs[drive->nr_attrs++].name;
}

static bool read_drive(struct blkbpf_drive *drive, const char *name)
{
	struct dirent **entries;
	char path[512], *value;
	bool ok = true;
	int nr, i;

	drive->name = strdup(name);
	if (!drive->name)
		return false;
	snprintf(path, sizeof(path), CLASS_DIR "/%s", name);
	nr = scandir(path, &entries, not_hidden, by_name);
	for (i = 0; i < nr; i++) {
		value = read_attr(name, entries[i]->d_name);
		if (value)
			ok &= add_attr(drive, entries[i]->d_name, value);
		free(entries[i]);
	}
	if (nr >= 0)
		free(entries);
	return ok;
}

int blkbpf_drives(struct blkbpf_drive **drives, size_t *nr)
{
	struct blkbpf_drive *found = NULL;
	struct dirent **entries = NULL;
	bool ok = true;
	int nr_entries, i;

	*drives = NULL;
	*nr = 0;
	nr_entries = scandir(CLASS_DIR, &entries, not_hidden, by_name);
	if (nr_entries < 0)
		return errno == ENOENT ? 0 :
		       blkbpf_err(errno, CLASS_DIR ": cannot read it: %s",
				  strerror(errno));
	found = calloc(nr_entries + 1, sizeof(*found));
	ok = found;
	for (i = 0; i < nr_entries; i++) {
		if (ok)
			ok = read_drive(&found[i], entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	if (!ok) {
		blkbpf_drives_free(found, nr_entries);
		return blkbpf_err(ENOMEM, "drives: out of memory");
	}
	*drives = found;
	*nr = nr_entries;
	return 0;
}
