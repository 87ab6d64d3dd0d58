// SPDX-License-Identifier: GPL-2.0
/* Opening block devices, with a sentence for what can be wrong about one. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "internal.h"

static int err_open(const char *path, int err)
{
	switch (err) {
	case ENOENT:
		return blkbpf_err(err, "%s: there is no such device: 'lsblk -p' lists those there are",
				  path);
	case EACCES:
	case EPERM:
		return blkbpf_err(err,
				  "%s: no permission to read it: run as root, or join the group that owns it",
				  path);
	case ENXIO:
	case ENODEV:
		return blkbpf_err(err, "%s: there is no device behind this node: it was removed, or its driver is not loaded",
				  path);
	case ENOMEDIUM:
		return blkbpf_err(err, "%s: there is no medium in the drive: insert one",
				  path);
	}
	return blkbpf_err(err, "%s: cannot be opened: %s", path, strerror(err));
}

int blkbpf_dev_open(const char *path, struct blkbpf_dev_info *info)
{
	struct stat st;
	int fd, block_size;
	uint64_t size;

	/* Opening another kind of file may block, or do something. */
	if (stat(path, &st))
		return err_open(path, errno);
	if (!S_ISBLK(st.st_mode))
		return blkbpf_err(ENOTBLK, "%s: is not a block device: %s", path,
				  S_ISREG(st.st_mode) ?
				  "make one of this file with 'losetup --find --show'" :
				  "give one as /dev/NAME");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_open(path, errno);
	if (!info)
		return fd;
	if (ioctl(fd, BLKGETSIZE64, &size) || ioctl(fd, BLKSSZGET, &block_size)) {
		int err = errno;

		close(fd);
		return err_open(path, err);
	}
	info->size = size;
	info->block_size = block_size;
	info->major = major(st.st_rdev);
	info->minor = minor(st.st_rdev);
	return fd;
}
