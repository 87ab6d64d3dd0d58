// SPDX-License-Identifier: GPL-2.0
/* Pins in bpffs: making, finding and removing them. */
#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "internal.h"

#define BPFFS_ROOT "/sys/fs/bpf"

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* Make the directories above @path, and mount a bpffs where it belongs. */
static int make_parents(char *path, const char *full)
{
	char *slash;

	if (!strncmp(path, BPFFS_ROOT "/", strlen(BPFFS_ROOT "/")) &&
	    !is_bpffs(BPFFS_ROOT) &&
	    mount("bpf", BPFFS_ROOT, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  "mode=0755"))
		return blkbpf_err(errno,
				  "%s: there is no bpffs at " BPFFS_ROOT " and it cannot be mounted: %s: run as root",
				  full, strerror(errno));

	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755) && errno != EEXIST)
			return blkbpf_err(errno, "%s: directory %s cannot be made: %s",
					  full, path, strerror(errno));
		if (strchr(slash + 1, '/') == NULL && !is_bpffs(path))
			return blkbpf_err(EINVAL,
					  "%s: is not in a bpffs: pins live in one, as in " BPFFS_ROOT,
					  full);
		*slash = '/';
	}
	return 0;
}

int pin_fd(int fd, const char *what, const char *path)
{
	const char *base = strrchr(path, '/');
	char *copy;
	int ret;

	if (!base || !base[1])
		return blkbpf_err(EINVAL,
				  "%s: is not the path of a pin: give one in a bpffs, as " BLKBPF_PIN_ROOT "/NAME",
				  path);
	if (strchr(base, '.'))
		return blkbpf_err(EINVAL, "%s: the name of a pin has no '.' in it: choose another",
				  path);
	copy = strdup(path);
	if (!copy)
		return blkbpf_err(ENOMEM, "%s: out of memory", path);
	ret = make_parents(copy, path);
	free(copy);
	if (ret || !bpf_obj_pin(fd, path))
		return ret;
	if (errno == EEXIST)
		return blkbpf_err(EEXIST,
				  "%s: there is a pin already: remove it (rm %s) or choose another path",
				  path, path);
	return blkbpf_err(errno, "%s: the %s cannot be pinned: %s", path, what,
			  strerror(errno));
}

int blkbpf_link_pin(int link_fd, const char *path)
{
	return pin_fd(link_fd, "attachment", path);
}

struct pins {
	struct blkbpf_pin *array;
	size_t nr, room;
};

static int pins_add(struct pins *pins, bool is_link, uint32_t id,
		    const char *path)
{
	struct blkbpf_pin *more;
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	if (pins->nr == pins->room) {
		size_t room = pins->room ? 2 * pins->room : 16;

		more = realloc(pins->array, room * sizeof(*more));
		if (!more) {
			free(copy);
			return -ENOMEM;
		}
		pins->array = more;
		pins->room = room;
	}
	pins->array[pins->nr++] = (struct blkbpf_pin) {
		.is_link = is_link,
		.id = id,
		.path = copy,
	};
	return 0;
}

/* Only the name of the anonymous inode tells what a pin is. */
static int look_at_pin(struct pins *pins, const char *path)
{
	struct bpf_link_info link = {};
	struct bpf_map_info map = {};
	char proc[40], kind[64];
	__u32 len;
	int fd, ret = 0;
	ssize_t n;

	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;	/* not ours to read, or not an object */
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	n = readlink(proc, kind, sizeof(kind) - 1);
	kind[n < 0 ? 0 : n] = '\0';

	len = sizeof(link);
	/* "bpf-link" when it is made by an open of its pin */
	if ((strstr(kind, "bpf_link") || strstr(kind, "bpf-link")) &&
	    !bpf_link_get_info_by_fd(fd, &link, &len) &&
	    link.type == BPF_LINK_TYPE_STRUCT_OPS)
		ret = pins_add(pins, true, link.id, path);
	len = sizeof(map);
	if (strstr(kind, "bpf-map") &&
	    !bpf_map_get_info_by_fd(fd, &map, &len) &&
	    map.type == BPF_MAP_TYPE_STRUCT_OPS)
		ret = pins_add(pins, false, map.id, path);
	close(fd);
	return ret;
}

static int walk(struct pins *pins, const char *dir)
{
	struct dirent *entry;
	struct stat st;
	DIR *d = opendir(dir);
	char *path;
	int ret = 0;

	if (!d)
		return 0;	/* not ours to read */
	while (!ret && (entry = readdir(d))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (asprintf(&path, "%s/%s", dir, entry->d_name) < 0) {
			ret = -ENOMEM;
			break;
		}
		if (!lstat(path, &st) && S_ISDIR(st.st_mode))
			ret = walk(pins, path);
		else
			ret = look_at_pin(pins, path);
		free(path);
	}
	closedir(d);
	return ret;
}

int blkbpf_pins(struct blkbpf_pin **array, size_t *nr)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	struct pins pins = {};
	struct mntent *m;
	int ret = 0;

	if (!mounts)
		return blkbpf_err(errno, "/proc/self/mounts: %s", strerror(errno));
	while (!ret && (m = getmntent(mounts)))
		if (!strcmp(m->mnt_type, "bpf"))
			ret = walk(&pins, m->mnt_dir);
	endmntent(mounts);
	if (ret) {
		blkbpf_pins_free(pins.array, pins.nr);
		return blkbpf_err(ret, "list of pins: out of memory");
	}
	*array = pins.array;
	*nr = pins.nr;
	return 0;
}

void blkbpf_pins_free(struct blkbpf_pin *pins, size_t nr)
{
	while (nr)
		free(pins[--nr].path);
	free(pins);
}
