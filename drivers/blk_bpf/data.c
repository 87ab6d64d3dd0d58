// SPDX-License-Identifier: GPL-2.0
/* The bytes of matches, from targets that do not have them in this memory. */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "scan.h"

static u32 window_size(u32 block)
{
	return PAGE_ALIGN(BLK_BPF_UNIT_MAX + BLK_BPF_OVERLAP_MAX + 2 * block);
}

/* The blocks of a match, in the job's window, unless they are there already. */
static int window_read(struct blk_bpf_job *job, const struct blk_bpf_match *match)
{
	const struct blk_bpf_dev *dev = &job->devs[match->dev];
	struct blk_bpf_window *window = &job->window;
	u64 start = round_down(match->pos, dev->block);
	u64 end = min(round_up(match->pos + match->len, dev->block), dev->len);
	struct iov_iter iter;
	struct kiocb iocb;
	struct kvec vec;
	ssize_t ret;

	if (window->buf && window->dev == match->dev && window->base <= start &&
	    end - window->base <= window->len)
		return 0;
	if (!window->buf || window->size < end - start) {
		kvfree(window->buf);
		window->size = window_size(dev->block);
		window->buf = kvmalloc(window->size, GFP_KERNEL_ACCOUNT);
		if (!window->buf)
			return -ENOMEM;
	}
	window->len = 0;
	vec.iov_base = window->buf;
	vec.iov_len = end - start;
	iov_iter_kvec(&iter, ITER_DEST, &vec, 1, vec.iov_len);
	ret = blk_bpf_job_read(job, match->dev, start, &iter, &iocb, NULL);
	if (ret != vec.iov_len)
		return ret < 0 ? ret : -EIO;
	window->dev = match->dev;
	window->base = start;
	window->len = vec.iov_len;
	return 0;
}

/**
 * blk_bpf_job_read_match - the bytes of a match, from its device to user space
 * @job:   the job
 * @match: inside of what was scanned
 * @to:    room for all of it
 *
 * Matches that share blocks are read together, if they follow each other.
 *
 * Context: may sleep.
 * Return: 0, -EFAULT, -ENOMEM or an error of the device.
 */
int blk_bpf_job_read_match(struct blk_bpf_job *job,
			   const struct blk_bpf_match *match, void __user *to)
{
	int err = window_read(job, match);

	if (err)
		return err;
	if (copy_to_user(to, job->window.buf + (match->pos - job->window.base),
			 match->len))
		return -EFAULT;
	return 0;
}
