// SPDX-License-Identifier: GPL-2.0
/*
 * BLK_BPF_IOC_SCAN: a program over ranges of a block device.
 *
 * The caller's task submits, runs its share of the chunks, and hands the
 * matches out in order. When it has to return early, because there is no room
 * for a match or because of a signal, the job stays with the open file, so that
 * no unit is run twice when the scan goes on.
 */
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "scan.h"

/* What handing out ended with; an error is negative. */
enum hand_out {
	HAND_OUT_ALL,
	HAND_OUT_FULL,
};

/* A match belongs to the unit it begins in: keeps the cursor on that unit. */
static void cursor_to_match(struct scan_job *job, const struct scan_chunk *chunk,
			    const struct blk_bpf_match *match)
{
	struct blk_bpf_cursor *cursor = &job->cursor;
	u64 off = match->pos - job->ranges[chunk->range].off;

	if (cursor->range == chunk->range && off >= cursor->pos &&
	    off - cursor->pos < job->unit)
		return;
	cursor->range = chunk->range;
	cursor->pos = div_u64(off, job->unit) * job->unit;
	cursor->skip = 0;
	job->to_skip = 0;
}

static void cursor_to_end(struct scan_job *job, const struct scan_chunk *chunk)
{
	struct blk_bpf_cursor *cursor = &job->cursor;

	/* A unit that failed may have been where the cursor is already. */
	if (cursor->range == chunk->range &&
	    cursor->pos == chunk->off + chunk->done)
		return;
	cursor->range = chunk->range;
	cursor->pos = chunk->off + chunk->done;
	cursor->skip = 0;
	job->to_skip = 0;
}

/* The bytes of a match; they are in the chunk's buffer. */
static int hand_out_data(const struct scan_chunk *chunk, struct blk_bpf_scan *arg,
			 const struct blk_bpf_match *match,
			 struct blk_bpf_msg *msg)
{
	if (match->len > arg->data_len - arg->data_used) {
		if (arg->nr_matches)
			return HAND_OUT_FULL;
		return blk_bpf_refuse(msg, -EOVERFLOW,
			"the match at %llu has %u bytes, data_len is %llu: give more room",
			match->pos, match->len, arg->data_len);
	}
	if (copy_to_user(u64_to_user_ptr(arg->data + arg->data_used),
			 chunk->buf + (match->pos - chunk->base), match->len))
		return -EFAULT;
	arg->data_used += match->len;
	return 0;
}

static int hand_out_match(struct scan_job *job, struct scan_chunk *chunk,
			  struct blk_bpf_scan *arg,
			  const struct blk_bpf_match *match,
			  struct blk_bpf_msg *msg)
{
	struct blk_bpf_match __user *to = u64_to_user_ptr(arg->matches);
	int ret;

	cursor_to_match(job, chunk, match);
	if (job->to_skip) {
		job->to_skip--;
		return 0;
	}
	if (arg->nr_matches == arg->max_matches)
		return HAND_OUT_FULL;
	if (job->flags & BLK_BPF_SCAN_DATA) {
		ret = hand_out_data(chunk, arg, match, msg);
		if (ret)
			return ret;
	}
	if (copy_to_user(&to[arg->nr_matches], match, sizeof(*match)))
		return -EFAULT;
	arg->nr_matches++;
	job->cursor.skip++;
	job->stats.matches++;
	return 0;
}

/* The next match that was not handed out, or NULL. */
static const struct blk_bpf_match *next_match(struct scan_chunk *chunk)
{
	if (!chunk->out_page) {
		if (list_empty(&chunk->pages))
			return NULL;
		chunk->out_page = list_first_entry(&chunk->pages,
						   struct match_page, node);
	}
	while (chunk->out_idx == chunk->out_page->nr) {
		if (list_is_last(&chunk->out_page->node, &chunk->pages))
			return NULL;
		chunk->out_page = list_next_entry(chunk->out_page, node);
		chunk->out_idx = 0;
	}
	return &chunk->out_page->match[chunk->out_idx];
}

static void count_chunk(struct scan_job *job, struct scan_chunk *chunk)
{
	job->stats.units += chunk->units;
	job->stats.bytes_scanned += chunk->done - chunk->counted;
	job->stats.prog_ns += chunk->prog_ns;
	if (job->flags & BLK_BPF_SCAN_COUNT)
		job->stats.matches += chunk->matches;
	chunk->counted = chunk->done;
	chunk->units = 0;
	chunk->prog_ns = 0;
	chunk->matches = 0;
}

/* Why a unit could not be done. The matches before it are handed out. */
static int explain(const struct scan_job *job, const struct scan_chunk *chunk,
		   struct blk_bpf_msg *msg)
{
	u64 pos = job->ranges[chunk->range].off + chunk->off + chunk->done;

	if (chunk->run.err == -EINVAL)
		return blk_bpf_refuse(msg, chunk->err,
			"the program emitted a match outside of what it sees, in the unit at %llu: off must be below ctx->len, and off + len at most data_end - data",
			pos);
	if (chunk->run.err == -ENOSPC)
		return blk_bpf_refuse(msg, chunk->err,
			"the program emitted more than %u matches in the unit at %llu: use a smaller unit",
			BLK_BPF_EMIT_MAX, pos);
	if (chunk->err == -EPROTO && chunk->ret)
		return blk_bpf_refuse(msg, chunk->err,
			"the program returned %d for the unit at %llu: it may return 0 (SKIP), 1 (MATCH), 2 (STOP) or a negative errno",
			chunk->ret, pos);
	if (chunk->ret)
		return blk_bpf_refuse(msg, chunk->err,
			"the program ended the scan with error %d at the unit at %llu",
			chunk->ret, pos);
	if (chunk->err == -ENOMEM)
		return blk_bpf_refuse(msg, chunk->err,
			"no memory for the matches of the unit at %llu", pos);
	return blk_bpf_refuse(msg, chunk->err,
		"the device could not read the unit at %llu (error %d): scan around it with ranges",
		pos, chunk->err);
}

/* All that the chunk has, then on to what it ended with. */
static int hand_out(struct scan_job *job, struct scan_chunk *chunk,
		    struct blk_bpf_scan *arg, struct blk_bpf_msg *msg)
{
	const struct blk_bpf_match *match;
	int ret;

	count_chunk(job, chunk);
	if (!(job->flags & BLK_BPF_SCAN_COUNT)) {
		while ((match = next_match(chunk))) {
			ret = hand_out_match(job, chunk, arg, match, msg);
			if (ret)
				return ret;
			chunk->out_idx++;
		}
	}
	cursor_to_end(job, chunk);
	return HAND_OUT_ALL;
}

/* The ranges before the cursor are empty or done: it names the next byte. */
static void cursor_normalise(struct scan_job *job)
{
	struct blk_bpf_cursor *cursor = &job->cursor;

	while (cursor->range < job->nr_ranges &&
	       cursor->pos == job->ranges[cursor->range].len) {
		cursor->range++;
		cursor->pos = 0;
		cursor->skip = 0;
	}
}

/*
 * Until the end, or until something is in the way.
 *
 * Return: 0 with arg->status set, or a negative errno.
 */
static int scan_loop(struct scan_job *job, struct blk_bpf_scan *arg,
		     struct blk_bpf_msg *msg)
{
	struct scan_chunk *chunk;
	int ret;

	for (;;) {
		ret = scan_job_submit(job);
		if (ret)
			return blk_bpf_refuse(msg, ret, "no memory for a scan");
		chunk = scan_job_head(job);
		if (!chunk) {
			arg->status = BLK_BPF_SCAN_DONE;
			return 0;
		}
		if (scan_job_is_done(job, chunk)) {
			ret = hand_out(job, chunk, arg, msg);
			if (ret == HAND_OUT_FULL) {
				arg->status = BLK_BPF_SCAN_FULL;
				return 0;
			}
			if (ret)
				return ret;
			if (chunk->err)
				return explain(job, chunk, msg);
			if (chunk->stop) {
				arg->status = BLK_BPF_SCAN_STOPPED;
				return 0;
			}
			if (chunk->done < chunk->len)
				scan_job_again(job, chunk);
			else
				scan_job_retire(job, chunk);
			continue;
		}
		if (signal_pending(current) ||
		    (!scan_job_work(job) && scan_job_wait(job))) {
			arg->status = BLK_BPF_SCAN_INTERRUPTED;
			return 0;
		}
	}
}

/* The job that the file kept, if the caller goes on with it; else a new one. */
static struct scan_job *find_job(struct blk_bpf_scanner *scanner,
				 const struct blk_bpf_scan *arg,
				 struct blk_bpf_msg *msg)
{
	struct scan_job *job, *kept = scanner->job;
	int err;

	job = scan_job_create(arg, msg);
	if (IS_ERR(job))
		return job;
	scanner->job = NULL;
	if (kept && arg->cursor.cookie == kept->cursor.cookie &&
	    scan_job_equal(kept, job)) {
		scan_job_free(job);
		return kept;
	}
	scan_job_free(kept);
	err = scan_job_start(job, arg->threads, msg);
	if (err) {
		scan_job_free(job);
		return ERR_PTR(err);
	}
	return job;
}

static int scan_check(const struct blk_bpf_scan *arg, struct blk_bpf_msg *msg)
{
	if ((arg->hdr.flags & BLK_BPF_SCAN_COUNT) &&
	    (arg->hdr.flags & BLK_BPF_SCAN_DATA))
		return blk_bpf_refuse(msg, -EINVAL,
			"BLK_BPF_SCAN_COUNT returns no matches, so BLK_BPF_SCAN_DATA has nothing to copy: use one of them");
	if ((arg->hdr.flags & BLK_BPF_SCAN_COUNT) && arg->cursor.skip)
		return blk_bpf_refuse(msg, -EINVAL,
			"with BLK_BPF_SCAN_COUNT the cursor's skip must be 0");
	return 0;
}

static int scan_locked(struct blk_bpf_scanner *scanner, struct blk_bpf_scan *arg,
		       struct blk_bpf_msg *msg)
{
	u64 began = ktime_get_ns();
	struct scan_job *job;
	u32 threads;
	int err;

	job = find_job(scanner, arg, msg);
	if (IS_ERR(job))
		return PTR_ERR(job);

	threads = job->nr_workers + 1;
	memset(&job->stats, 0, sizeof(job->stats));
	job->stats.threads = threads;
	err = scan_loop(job, arg, msg);
	scan_job_pause(job);
	cursor_normalise(job);
	job->stats.time_ns = ktime_get_ns() - began;
	arg->stats = job->stats;
	arg->cursor = job->cursor;

	if (!err && (arg->status == BLK_BPF_SCAN_FULL ||
		     arg->status == BLK_BPF_SCAN_INTERRUPTED)) {
		scanner->job = job;
	} else {
		arg->cursor.cookie = 0;
		scan_job_free(job);
	}
	return err;
}

/* BLK_BPF_IOC_SCAN, see the uapi header. */
int blk_bpf_scan(struct blk_bpf_scanner *scanner, struct blk_bpf_scan *arg,
		 struct blk_bpf_msg *msg)
{
	int err;

	arg->nr_matches = 0;
	arg->data_used = 0;
	arg->status = BLK_BPF_SCAN_DONE;
	memset(&arg->stats, 0, sizeof(arg->stats));
	err = scan_check(arg, msg);
	if (err)
		return err;

	if (mutex_lock_interruptible(&scanner->lock))
		return -EINTR;
	err = scan_locked(scanner, arg, msg);
	mutex_unlock(&scanner->lock);
	return err;
}

/* The control device is closed. */
void blk_bpf_scanner_release(struct blk_bpf_scanner *scanner)
{
	scan_job_free(scanner->job);
}

int blk_bpf_scan_init(void)
{
	blk_bpf_scan_wq = alloc_workqueue("blk_bpf_scan", WQ_UNBOUND, 0);
	return blk_bpf_scan_wq ? 0 : -ENOMEM;
}

void blk_bpf_scan_exit(void)
{
	destroy_workqueue(blk_bpf_scan_wq);
}
