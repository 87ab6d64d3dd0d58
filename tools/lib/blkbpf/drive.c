// SPDX-License-Identifier: GPL-2.0
/* Drives as targets: the kernel's ioctl, with the program in the drive's form. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "../csd/csd_image.h"
#include "target.h"

/**
 * struct drive_prog - a program for drives
 * @portable: instructions, and the object's variables that they use
 * @image:    the same as a drive takes it, with the variables as they were set
 * @size:     bytes of @image
 * @writable: bytes of the variables that can change
 */
struct drive_prog {
	struct portable portable;
	void *image;
	size_t size;
	size_t writable;
};

static void drive_prog_free(struct drive_prog *drive)
{
	if (!drive)
		return;
	portable_close(&drive->portable);
	free(drive->image);
	free(drive);
}

static void drive_unload(struct blkbpf_object *obj)
{
	struct blkbpf_prog *prog;

	for (prog = obj->progs; prog; prog = prog->next) {
		drive_prog_free(prog->drive);
		prog->drive = NULL;
	}
}

static int make_image(struct blkbpf_prog *prog, struct drive_prog *drive)
{
	const struct bpfvm_image *image = drive->portable.image;
	struct csd_image_opts opts = {
		.sz = sizeof(opts),
		.insns = image->insns,
		.nr_insns = image->nr_insns,
		.globals = drive->portable.globals,
		.nr_globals = image->nr_globals,
		.unit = ops_unit(prog),
		.overlap = ops_overlap(prog),
		.name = prog->name,
	};
	uint32_t i;
	int err;

	err = csd_image_make(&drive->image, &drive->size, &opts);
	if (err)
		return blkbpf_err(err, "%s: program '%s': no image could be made of it: %s",
				  prog->obj->path, prog->name, strerror(-err));
	for (i = 0; i < image->nr_globals; i++)
		if (!drive->portable.globals[i].rdonly)
			drive->writable += drive->portable.globals[i].size;
	return 0;
}

static int prepare(struct blkbpf_prog *prog)
{
	struct drive_prog *drive = calloc(1, sizeof(*drive));
	char why[1024];
	int err;

	if (!drive)
		return blkbpf_err(ENOMEM, "%s: out of memory", prog->obj->path);
	err = portable_open(prog, &drive->portable, NULL, NULL, why, sizeof(why));
	if (err)
		err = blkbpf_err(err, "%s: program '%s' cannot run outside a kernel: %s",
				 prog->obj->path, prog->name, why);
	else
		err = make_image(prog, drive);
	if (err) {
		drive_prog_free(drive);
		return err;
	}
	prog->drive = drive;
	return 0;
}

static bool is_auto(const struct blkbpf_object *obj)
{
	return !strcmp(obj->target_name, "auto");
}

/* With "auto", what no drive can run the kernel does. */
static int drive_load(struct blkbpf_object *obj)
{
	struct blkbpf_prog *prog;
	int err = 0, saved;

	for (prog = obj->progs; prog && !err; prog = prog->next) {
		err = prepare(prog);
		if (err && err != -ENOMEM && is_auto(obj))
			err = 0;
	}
	if (!err)
		err = kernel_load(obj);
	if (err) {
		saved = errno;
		drive_unload(obj);
		errno = saved;
	}
	return err;
}

int drive_fill(const struct blkbpf_prog *prog, const char *name,
	       struct blk_bpf_scan *arg)
{
	const struct drive_prog *drive = prog->drive;
	const struct bpfvm_image *image = drive->portable.image;
	char *values = (void *)(uintptr_t)arg->globals;
	uint32_t i;

	if (!values && drive->writable) {
		values = malloc(drive->writable);
		if (!values)
			return blkbpf_err(ENOMEM, "scan: out of memory");
	}
	snprintf(arg->target, sizeof(arg->target), "%s", name);
	arg->image = (uintptr_t)drive->image;
	arg->image_len = drive->size;
	arg->globals = (uintptr_t)values;
	arg->globals_len = drive->writable;
	for (i = 0; i < image->nr_globals; i++) {
		const struct bpfvm_global *g = &drive->portable.globals[i];

		if (g->rdonly)
			continue;
		memcpy(values, g->data, g->size);
		values += g->size;
	}
	return 0;
}

void drive_take(const struct blkbpf_prog *prog, const struct blk_bpf_scan *arg)
{
	const struct drive_prog *drive = prog->drive;
	const struct bpfvm_image *image = drive->portable.image;
	const char *values = (void *)(uintptr_t)arg->globals;
	uint32_t i;

	for (i = 0; i < image->nr_globals; i++) {
		const struct bpfvm_global *g = &drive->portable.globals[i];

		if (g->rdonly)
			continue;
		memcpy((void *)(uintptr_t)g->data, values, g->size);
		values += g->size;
	}
}

/* The variables of the object and those of the kernel's maps, one way or the other. */
static void copy_variables(const struct blkbpf_object *obj, bool to_kernel)
{
	struct bpf_map *map;
	struct memory *m;
	size_t size;
	void *data;

	for (m = obj->memory; m; m = m->next) {
		map = bpf_object__find_map_by_name(obj->bpf, m->name);
		data = map ? bpf_map__initial_value(map, &size) : NULL;
		if (!data || m->rdonly)
			continue;
		if (size > m->size)
			size = m->size;
		if (to_kernel)
			memcpy(data, m->data, size);
		else
			memcpy(m->data, data, size);
	}
}

static int scan_in_kernel(const struct blkbpf_prog *prog, int fd,
			  const struct blkbpf_scan_opts *opts,
			  struct blkbpf_scan_result *result)
{
	int ret;

	copy_variables(prog->obj, true);
	ret = ioctl_scan(prog, fd, opts, result, NULL);
	copy_variables(prog->obj, false);
	return ret;
}

/* Names in a line, of which one is this. */
static bool has_word(const char *line, const char *word)
{
	size_t len = strlen(word);
	const char *at;

	for (at = line; (at = strstr(at, word)); at += len)
		if ((at == line || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
	return false;
}

/* The name of the disk that a descriptor is open on, or of a partition of it. */
static bool disk_of(int fd, char *name, size_t size)
{
	char link[64], path[512], *part, *disk;
	struct stat st;
	ssize_t len;

	if (fstat(fd, &st) || !S_ISBLK(st.st_mode))
		return false;
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		return false;
	path[len] = '\0';
	part = strrchr(path, '/');
	if (!part)
		return false;
	/* ".../block/nvme0n1/nvme0n1p1", or ".../nvme0/nvme0n1" */
	snprintf(link, sizeof(link), "/sys/dev/block/%u:%u/partition",
		 major(st.st_rdev), minor(st.st_rdev));
	disk = part + 1;
	if (!access(link, F_OK)) {
		*part = '\0';
		disk = strrchr(path, '/');
		if (!disk)
			return false;
		disk++;
	}
	snprintf(name, size, "%s", disk);
	return true;
}

/* The drive that has the data of one of the devices; false if there is none. */
static bool choose_drive(int fd, const struct blkbpf_scan_opts *opts,
			 char name[BLK_BPF_TARGET_LEN])
{
	size_t nr = 0, nr_devs = opts->nr_devs ? opts->nr_devs : 1, i, n;
	struct blkbpf_drive *drives;
	bool found = false;
	const char *near;
	char disk[64];

	if (blkbpf_drives(&drives, &nr))
		return false;
	for (n = 0; n < nr_devs && !found; n++) {
		if (!disk_of(opts->nr_devs ? opts->devs[n] : fd, disk, sizeof(disk)))
			continue;
		for (i = 0; i < nr && !found; i++) {
			near = blkbpf_drive__attr(&drives[i], "namespaces");
			found = near && has_word(near, disk);
			if (found)
				snprintf(name, BLK_BPF_TARGET_LEN, "%s",
					 drives[i].name);
		}
	}
	blkbpf_drives_free(drives, nr);
	return found;
}

/* Errors that are the drive's, or the way's to it, and that the kernel has not. */
static bool is_drives_fault(int err)
{
	switch (-err) {
	case EBADMSG:
	case EFAULT:
	case ENODEV:
	case ENOENT:
	case ENOEXEC:
	case ENOTRECOVERABLE:
	case ETIMEDOUT:
	case EBUSY:
	case ENOSPC:
	case EOPNOTSUPP:
	case EREMOTEIO:
	case EPERM:
		return true;
	}
	return false;
}

static const char *way(uint32_t path)
{
	if (path & BLK_BPF_PATH_HOST)
		return path & (BLK_BPF_PATH_NEAR | BLK_BPF_PATH_PEER) ?
		       "partly through host memory" : "through host memory";
	if (path & BLK_BPF_PATH_PEER)
		return path & BLK_BPF_PATH_NEAR ? "near, and peer to peer" :
						  "peer to peer";
	return path & BLK_BPF_PATH_NEAR ? "near" : "nothing read";
}

static int drive_scan(const struct blkbpf_prog *prog, int fd,
		      const struct blkbpf_scan_opts *opts,
		      struct blkbpf_scan_result *result)
{
	struct blkbpf_scan_opts rest = *opts;
	char name[BLK_BPF_TARGET_LEN];
	int ret;

	if (!is_auto(prog->obj)) {
		ret = ioctl_scan(prog, fd, opts, result, prog->obj->target_name);
		snprintf(result->path, sizeof(result->path), "%s: %s",
			 prog->obj->target_name, way(result->link.path));
		return ret;
	}
	if (!prog->drive || !choose_drive(fd, opts, name)) {
		snprintf(result->path, sizeof(result->path), "kernel: %s",
			 prog->drive ? "no drive has the data" :
				       "the program cannot run on a drive");
		return scan_in_kernel(prog, fd, opts, result);
	}
	ret = ioctl_scan(prog, fd, opts, result, name);
	snprintf(result->path, sizeof(result->path), "%s: %s", name,
		 way(result->link.path));
	if (!is_drives_fault(ret))
		return ret;
	/* A limit that was reached would have ended the scan. */
	if (rest.limit)
		rest.limit -= result->matches;
	rest.cursor = result->cursor;
	snprintf(result->path, sizeof(result->path), "%s, then kernel: %s", name,
		 blkbpf_last_error());
	return scan_in_kernel(prog, fd, &rest, result);
}

static bool is_here(const char *name)
{
	struct blkbpf_drive *drives;
	bool found = false;
	size_t nr, i;

	if (blkbpf_drives(&drives, &nr))
		return false;
	for (i = 0; i < nr && !found; i++)
		found = !strcmp(drives[i].name, name);
	blkbpf_drives_free(drives, nr);
	return found;
}

/* A drive has the engine that the user target has, behind the kernel's verifier. */
static int drive_check(struct blkbpf_prog *prog, struct check *check)
{
	int err = kernel_check(prog, check);

	/* What no drive can run the kernel does. */
	if (err || !strcmp(check->target, "auto"))
		return err;
	err = engine_check(prog, check);
	if (!err && !is_here(check->target))
		check_leave_open(check, "not asked: the drive, because there is none of this name: 'blkbpf drive list' shows them");
	return err;
}

const struct target drive_target = {
	.name = "auto",
	.open = blkbpf_dev_open,
	.load = drive_load,
	.unload = drive_unload,
	.check = drive_check,
	.scan = drive_scan,
};
