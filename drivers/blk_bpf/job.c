// SPDX-License-Identifier: GPL-2.0
/* What a scan's ioctl asks for: checked, and made a job of. */
#include <linux/capability.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <linux/nvme_csd.h>

#include "scan.h"

/* More than any drive takes; the drive's own limit is the target's to check. */
#define IMAGE_MAX	(64U << 20)
#define GLOBALS_MAX	(64U << 20)

static atomic64_t last_cookie;

static int job_get_target(struct blk_bpf_target **target,
			  const struct blk_bpf_scan *arg, struct blk_bpf_msg *msg)
{
	if (strnlen(arg->target, sizeof(arg->target)) == sizeof(arg->target))
		return blk_bpf_refuse(msg, -EINVAL,
			"the target's name has no end: a name has at most 15 characters and a NUL");
	*target = blk_bpf_target_get(arg->target);
	if (!*target)
		return blk_bpf_refuse(msg, -ENOENT,
			"there is no target '%s': there is kernel, and each drive in /sys/class/csd",
			arg->target);
	if ((*target)->ops->image && !capable(CAP_SYS_ADMIN))
		return blk_bpf_refuse(msg, -EPERM,
			"a scan on %s needs CAP_SYS_ADMIN: run it as root, or on the target kernel",
			(*target)->name);
	if ((*target)->ops->image && !arg->image)
		return blk_bpf_refuse(msg, -EINVAL,
			"%s runs programs in the form of an image, and there is none: use a library that makes it",
			(*target)->name);
	if (!(*target)->ops->image && (arg->image || arg->image_len ||
				       arg->globals || arg->globals_len))
		return blk_bpf_refuse(msg, -EINVAL,
			"%s runs the program that is loaded: image and globals must be 0",
			(*target)->name);
	return 0;
}

static int job_get_dev(struct blk_bpf_dev *dev, int fd, struct blk_bpf_msg *msg)
{
	dev->file = fget(fd);
	if (!dev->file)
		return blk_bpf_refuse(msg, -EBADF,
				      "dev_fd %d is not an open file", fd);
	if (!S_ISBLK(file_inode(dev->file)->i_mode))
		return blk_bpf_refuse(msg, -ENOTBLK,
			"dev_fd %d is not a block device", fd);
	if (!(dev->file->f_mode & FMODE_READ))
		return blk_bpf_refuse(msg, -EACCES,
			"dev_fd %d is not opened for reading", fd);
	dev->bdev = file_bdev(dev->file);
	/* It has no bytes any more, and a scan of these would find nothing. */
	if (test_bit(GD_DEAD, &dev->bdev->bd_disk->state))
		return blk_bpf_refuse(msg, -ENODEV,
			"dev_fd %d is open on a device that was removed: open it again",
			fd);
	dev->block = bdev_logical_block_size(dev->bdev);
	dev->len = bdev_nr_bytes(dev->bdev);
	return 0;
}

static int job_get_devs(struct blk_bpf_job *job, const struct blk_bpf_scan *arg,
			struct blk_bpf_msg *msg)
{
	const u32 nr = arg->nr_devs ?: 1;
	s32 __user *fds = u64_to_user_ptr(arg->devs);
	s32 fd = arg->dev_fd;
	int err;

	if (nr > BLK_BPF_DEVS_MAX)
		return blk_bpf_refuse(msg, -EINVAL,
			"%u devices are too many: at most %u in one scan", nr,
			BLK_BPF_DEVS_MAX);
	if (arg->nr_devs && fd != -1)
		return blk_bpf_refuse(msg, -EINVAL,
			"dev_fd is %d, and there are devices in devs: with these it must be -1",
			fd);
	job->devs = kcalloc(nr, sizeof(*job->devs), GFP_KERNEL_ACCOUNT);
	if (!job->devs)
		return -ENOMEM;
	for (; job->nr_devs < nr; job->nr_devs++) {
		if (arg->nr_devs && get_user(fd, &fds[job->nr_devs]))
			return -EFAULT;
		err = job_get_dev(&job->devs[job->nr_devs], fd, msg);
		if (err) {
			/* One file more than there are devices. */
			if (job->devs[job->nr_devs].file)
				job->nr_devs++;
			return err;
		}
	}
	return 0;
}

static int job_get_program(struct blk_bpf_job *job, const struct blk_bpf_scan *arg,
			   struct blk_bpf_msg *msg)
{
	struct bpf_map *map = bpf_map_get(arg->prog_fd);
	int err;

	if (IS_ERR(map))
		return blk_bpf_refuse(msg, PTR_ERR(map),
			"prog_fd %d is not a BPF map: give the struct_ops map of the program",
			arg->prog_fd);
	job->map = map;
	err = blk_bpf_program_of_map(map, &job->program, msg);
	if (err)
		return err;
	if (arg->unit > BLK_BPF_UNIT_MAX)
		return blk_bpf_refuse(msg, -EINVAL,
			"unit %u is too large: at most %u bytes", arg->unit,
			BLK_BPF_UNIT_MAX);
	job->unit = arg->unit ?: job->program.ops->unit;
	job->overlap = job->program.ops->overlap;
	return 0;
}

static int job_get_image(struct blk_bpf_job *job, const struct blk_bpf_scan *arg,
			 struct blk_bpf_msg *msg)
{
	void *data;

	if (!job->target->ops->image)
		return 0;
	if (arg->image_len < sizeof(struct nvme_csd_image) ||
	    arg->image_len > IMAGE_MAX || arg->globals_len > GLOBALS_MAX)
		return blk_bpf_refuse(msg, -EINVAL,
			"an image of %u bytes with %u bytes of globals is none: it has a header of %zu bytes, and at most %u",
			arg->image_len, arg->globals_len,
			sizeof(struct nvme_csd_image), IMAGE_MAX);
	data = vmemdup_user(u64_to_user_ptr(arg->image), arg->image_len);
	if (IS_ERR(data))
		return PTR_ERR(data);
	job->image = data;
	job->image_len = arg->image_len;
	if (!arg->globals_len)
		return 0;
	data = vmemdup_user(u64_to_user_ptr(arg->globals), arg->globals_len);
	if (IS_ERR(data))
		return PTR_ERR(data);
	job->globals = data;
	job->globals_len = arg->globals_len;
	return 0;
}

/* The same ranges of each device. */
static int job_get_extents(struct blk_bpf_job *job, const struct blk_bpf_scan *arg,
			   struct blk_bpf_msg *msg)
{
	const struct blk_bpf_range __user *ranges = u64_to_user_ptr(arg->ranges);
	const u32 per_dev = arg->nr_ranges ?: 1;
	struct blk_bpf_range range = {};
	u32 nr, dev, i;

	/* The caller need not have memory for them: a page is mapped many times. */
	if (check_mul_overflow(per_dev, job->nr_devs, &nr) ||
	    nr > BLK_BPF_RANGES_MAX)
		return blk_bpf_refuse(msg, -EINVAL,
			"%u ranges of %u devices are too many: at most %u in one scan, over all devices",
			per_dev, job->nr_devs, BLK_BPF_RANGES_MAX);
	job->extents = kvmalloc_array(nr, sizeof(*job->extents),
				      GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!job->extents)
		return blk_bpf_refuse(msg, -ENOMEM, "no memory for %u ranges", nr);
	job->nr_extents = nr;
	for (i = 0; i < per_dev; i++) {
		if (arg->nr_ranges && copy_from_user(&range, &ranges[i], sizeof(range)))
			return -EFAULT;
		for (dev = 0; dev < job->nr_devs; dev++) {
			u64 dev_len = job->devs[dev].len;

			if (!arg->nr_ranges)
				range.len = dev_len;
			if (range.off > dev_len || range.len > dev_len - range.off)
				return blk_bpf_refuse(msg, -EINVAL,
					"range %u (offset %llu, length %llu) reaches past the end of the device, which has %llu bytes",
					i, range.off, range.len, dev_len);
			job->extents[dev * per_dev + i] = (struct blk_bpf_extent) {
				.off = range.off, .len = range.len, .dev = dev,
			};
		}
	}
	return 0;
}

static int job_get_cursor(struct blk_bpf_job *job, const struct blk_bpf_scan *arg,
			  struct blk_bpf_msg *msg)
{
	const struct blk_bpf_cursor *cursor = &arg->cursor;
	u32 in_unit;

	if (cursor->range > job->nr_extents ||
	    (cursor->range == job->nr_extents && (cursor->pos || cursor->skip)) ||
	    (cursor->range < job->nr_extents &&
	     cursor->pos > job->extents[cursor->range].len))
		return blk_bpf_refuse(msg, -EINVAL,
			"the cursor (range %u, position %llu) is not inside the %u ranges: pass the one that the last call returned, with the same ranges",
			cursor->range, cursor->pos, job->nr_extents);
	div_u64_rem(cursor->pos, job->unit, &in_unit);
	if (in_unit && cursor->pos != job->extents[cursor->range].len)
		return blk_bpf_refuse(msg, -EINVAL,
			"the cursor's position %llu is no multiple of the unit, %u: pass the one that the last call returned, with the same unit",
			cursor->pos, job->unit);
	job->cursor = *cursor;
	job->cursor.cookie = atomic64_inc_return(&last_cookie);
	job->to_skip = cursor->skip;
	job->begin.extent = cursor->range;
	job->begin.off = cursor->pos;
	return 0;
}

static int job_fill(struct blk_bpf_job *job, const struct blk_bpf_scan *arg,
		    struct blk_bpf_msg *msg)
{
	int err;

	err = job_get_devs(job, arg, msg);
	if (!err)
		err = job_get_program(job, arg, msg);
	if (!err)
		err = job_get_image(job, arg, msg);
	if (!err)
		err = job_get_extents(job, arg, msg);
	if (!err)
		err = job_get_cursor(job, arg, msg);
	if (!err && job->target->ops->check)
		err = job->target->ops->check(job, msg);
	return err;
}

static void job_free_base(struct blk_bpf_job *job)
{
	struct blk_bpf_target *target = job->target;
	u32 i;

	kvfree(job->image);
	kvfree(job->globals);
	kvfree(job->extents);
	kvfree(job->window.buf);
	if (job->map)
		bpf_map_put(job->map);
	for (i = 0; i < job->nr_devs; i++) {
		if (job->devs[i].file)
			fput(job->devs[i].file);
	}
	kfree(job->devs);
	kfree(job);
	blk_bpf_target_put(target);
}

/**
 * blk_bpf_job_create - what an ioctl asks for, checked; nothing is read yet
 * @arg: the ioctl's argument
 * @msg: why not
 *
 * Return: a job to start, or an ERR_PTR().
 */
struct blk_bpf_job *blk_bpf_job_create(const struct blk_bpf_scan *arg,
				       struct blk_bpf_msg *msg)
{
	struct blk_bpf_target *target = NULL;
	struct blk_bpf_job *job;
	int err;

	err = job_get_target(&target, arg, msg);
	if (err)
		goto put;
	err = -ENOMEM;
	job = kzalloc(target->ops->job_size, GFP_KERNEL_ACCOUNT);
	if (!job)
		goto put;
	job->target = target;
	job->flags = arg->hdr.flags;
	job->threads = arg->threads;
	memcpy(job->args, arg->args, sizeof(job->args));
	err = job_fill(job, arg, msg);
	if (!err)
		return job;
	job_free_base(job);
	return ERR_PTR(err);
put:
	if (target)
		blk_bpf_target_put(target);
	return ERR_PTR(err);
}

/* A job that was never started. */
void blk_bpf_job_drop(struct blk_bpf_job *job)
{
	job_free_base(job);
}

/* Context: between calls. */
void blk_bpf_job_free(struct blk_bpf_job *job)
{
	if (!job)
		return;
	job->target->ops->free(job);
	job_free_base(job);
}

static bool devs_equal(const struct blk_bpf_job *a, const struct blk_bpf_job *b)
{
	u32 i;

	if (a->nr_devs != b->nr_devs)
		return false;
	for (i = 0; i < a->nr_devs; i++) {
		if (a->devs[i].file != b->devs[i].file)
			return false;
	}
	return true;
}

static bool extents_equal(const struct blk_bpf_job *a, const struct blk_bpf_job *b)
{
	u32 i;

	if (a->nr_extents != b->nr_extents)
		return false;
	for (i = 0; i < a->nr_extents; i++) {
		if (a->extents[i].off != b->extents[i].off ||
		    a->extents[i].len != b->extents[i].len)
			return false;
	}
	return true;
}

/* Whether @b asks for what @a does, and for it to go on where @a is. */
bool blk_bpf_job_equal(const struct blk_bpf_job *a, const struct blk_bpf_job *b)
{
	return a->target == b->target && a->map == b->map &&
	       a->flags == b->flags && a->unit == b->unit &&
	       a->cursor.range == b->cursor.range &&
	       a->cursor.pos == b->cursor.pos &&
	       a->cursor.skip == b->cursor.skip &&
	       !memcmp(a->args, b->args, sizeof(a->args)) &&
	       a->image_len == b->image_len && a->globals_len == b->globals_len &&
	       (!a->image || !memcmp(a->image, b->image, a->image_len)) &&
	       devs_equal(a, b) && extents_equal(a, b);
}

/* What the caller says of the global variables now is what holds. */
void blk_bpf_job_take_globals(struct blk_bpf_job *job, struct blk_bpf_job *from)
{
	swap(job->globals, from->globals);
}
