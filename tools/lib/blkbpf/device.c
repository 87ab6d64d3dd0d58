// SPDX-License-Identifier: GPL-2.0
/* Opening what is to be scanned, with a sentence for what can be wrong about it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include "internal.h"

/* What a block is where there are none. */
#define FILE_BLOCK 512

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

static int open_block(const char *path, const struct stat *st,
		      struct blkbpf_dev_info *info)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), block_size;
	uint64_t size;

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
	info->major = major(st->st_rdev);
	info->minor = minor(st->st_rdev);
	return fd;
}

int blkbpf_dev_open(const char *path, struct blkbpf_dev_info *info)
{
	struct stat st;

	/* Opening another kind of file may block, or do something. */
	if (stat(path, &st))
		return err_open(path, errno);
	if (!S_ISBLK(st.st_mode))
		return blkbpf_err(ENOTBLK, "%s: is not a block device: %s", path,
				  S_ISREG(st.st_mode) ?
				  "make one of this file with 'losetup --find --show', or use the target 'user'" :
				  "give one as /dev/NAME");
	return open_block(path, &st, info);
}

int data_open(const char *path, struct blkbpf_dev_info *info)
{
	struct stat st;
	int fd;

	if (stat(path, &st))
		return err_open(path, errno);
	if (S_ISBLK(st.st_mode))
		return open_block(path, &st, info);
	if (!S_ISREG(st.st_mode))
		return blkbpf_err(EINVAL, "%s: is neither a block device nor a regular file: give one of these",
				  path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_open(path, errno);
	if (info)
		*info = (struct blkbpf_dev_info) {
			.size = st.st_size,
			.block_size = FILE_BLOCK,
		};
	return fd;
}
