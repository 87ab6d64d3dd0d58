// SPDX-License-Identifier: GPL-2.0
/*
 * BLK_BPF_IOC_SCAN: a program over ranges of block devices.
 *
 * The caller's task takes the target's pieces one by one and hands their matches
 * out in order. When it has to return early, because there is no room
 * for a match or because of a signal, the job stays with the open file, so that
 * no unit is run twice when the scan goes on.
 */
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "scan.h"

/* What handing out ended with; an error is negative. */
enum hand_out {
	HAND_OUT_ALL,
	HAND_OUT_FULL,
};

/* A match belongs to the unit it begins in: keeps the cursor on that unit. */
static void cursor_to_match(struct blk_bpf_job *job, const struct blk_bpf_piece *piece,
			    const struct blk_bpf_match *match)
{
	struct blk_bpf_cursor *cursor = &job->cursor;
	u64 off = match->pos - job->extents[piece->extent].off;

	if (cursor->range == piece->extent && off >= cursor->pos &&
	    off - cursor->pos < job->unit)
		return;
	cursor->range = piece->extent;
	cursor->pos = div_u64(off, job->unit) * job->unit;
	cursor->skip = 0;
	job->to_skip = 0;
}

static void cursor_to_end(struct blk_bpf_job *job, const struct blk_bpf_piece *piece)
{
	struct blk_bpf_cursor *cursor = &job->cursor;

	/* A unit that failed may have been where the cursor is already. */
	if (cursor->range == piece->extent &&
	    cursor->pos == piece->off + piece->done)
		return;
	cursor->range = piece->extent;
	cursor->pos = piece->off + piece->done;
	cursor->skip = 0;
	job->to_skip = 0;
}

static int hand_out_data(struct blk_bpf_job *job, const struct blk_bpf_piece *piece,
			 struct blk_bpf_scan *arg, const struct blk_bpf_match *match,
			 struct blk_bpf_msg *msg)
{
	void __user *to = u64_to_user_ptr(arg->data + arg->data_used);
	int err;

	if (match->len > arg->data_len - arg->data_used) {
		if (arg->nr_matches)
			return HAND_OUT_FULL;
		return blk_bpf_refuse(msg, -EOVERFLOW,
			"the match at %llu has %u bytes, data_len is %llu: give more room",
			match->pos, match->len, arg->data_len);
	}
	if (job->target->ops->data)
		err = job->target->ops->data(job, piece, match, to);
	else
		err = blk_bpf_job_read_match(job, match, to);
	if (err)
		return err;
	arg->data_used += match->len;
	return 0;
}

static int hand_out_match(struct blk_bpf_job *job, struct blk_bpf_piece *piece,
			  struct blk_bpf_scan *arg,
			  const struct blk_bpf_match *match,
			  struct blk_bpf_msg *msg)
{
	struct blk_bpf_match __user *to = u64_to_user_ptr(arg->matches);
	int ret;

	cursor_to_match(job, piece, match);
	if (job->to_skip) {
		job->to_skip--;
		return 0;
	}
	if (arg->nr_matches == arg->max_matches)
		return HAND_OUT_FULL;
	if (job->flags & BLK_BPF_SCAN_DATA) {
		ret = hand_out_data(job, piece, arg, match, msg);
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
static const struct blk_bpf_match *next_match(struct blk_bpf_piece *piece)
{
	if (!piece->out_page) {
		if (list_empty(&piece->pages))
			return NULL;
		piece->out_page = list_first_entry(&piece->pages,
						   struct blk_bpf_match_page, node);
	}
	while (piece->out_idx == piece->out_page->nr) {
		if (list_is_last(&piece->out_page->node, &piece->pages))
			return NULL;
		piece->out_page = list_next_entry(piece->out_page, node);
		piece->out_idx = 0;
	}
	return &piece->out_page->match[piece->out_idx];
}

static void count_piece(struct blk_bpf_job *job, struct blk_bpf_piece *piece)
{
	job->stats.units += piece->units;
	job->stats.bytes_scanned += piece->done - piece->counted;
	job->stats.prog_ns += piece->prog_ns;
	if (job->flags & BLK_BPF_SCAN_COUNT)
		job->stats.matches += piece->matches;
	piece->counted = piece->done;
	piece->units = 0;
	piece->prog_ns = 0;
	piece->matches = 0;
}

/* Why a unit could not be done. The matches before it are handed out. */
static int explain(const struct blk_bpf_job *job, const struct blk_bpf_piece *piece,
		   struct blk_bpf_msg *msg)
{
	u64 pos = job->extents[piece->extent].off + piece->off + piece->done;

	if (piece->why)
		return blk_bpf_refuse(msg, piece->err, "%s", piece->why);
	if (piece->emit == -EINVAL)
		return blk_bpf_refuse(msg, piece->err,
			"the program emitted a match outside of what it sees, in the unit at %llu: off must be below ctx->len, and off + len at most data_end - data",
			pos);
	if (piece->emit == -ENOSPC)
		return blk_bpf_refuse(msg, piece->err,
			"the program emitted more than %u matches in the unit at %llu: use a smaller unit",
			BLK_BPF_EMIT_MAX, pos);
	if (piece->err == -EPROTO && piece->ret)
		return blk_bpf_refuse(msg, piece->err,
			"the program returned %d for the unit at %llu: it may return 0 (SKIP), 1 (MATCH), 2 (STOP) or a negative errno",
			piece->ret, pos);
	if (piece->ret)
		return blk_bpf_refuse(msg, piece->err,
			"the program ended the scan with error %d at the unit at %llu",
			piece->ret, pos);
	if (piece->err == -ENOMEM)
		return blk_bpf_refuse(msg, piece->err,
			"no memory for the matches of the unit at %llu", pos);
	return blk_bpf_refuse(msg, piece->err,
		"the device could not read the unit at %llu (error %d): scan around it with ranges",
		pos, piece->err);
}

/* All that the piece has, then on to what it ended with. */
static int hand_out(struct blk_bpf_job *job, struct blk_bpf_piece *piece,
		    struct blk_bpf_scan *arg, struct blk_bpf_msg *msg)
{
	const struct blk_bpf_match *match;
	int ret;

	count_piece(job, piece);
	if (!(job->flags & BLK_BPF_SCAN_COUNT)) {
		while ((match = next_match(piece))) {
			ret = hand_out_match(job, piece, arg, match, msg);
			if (ret)
				return ret;
			piece->out_idx++;
		}
	}
	cursor_to_end(job, piece);
	return HAND_OUT_ALL;
}

/* The ranges before the cursor are empty or done: it names the next byte. */
static void cursor_normalise(struct blk_bpf_job *job)
{
	struct blk_bpf_cursor *cursor = &job->cursor;

	while (cursor->range < job->nr_extents &&
	       cursor->pos == job->extents[cursor->range].len) {
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
static int scan_loop(struct blk_bpf_job *job, struct blk_bpf_scan *arg,
		     struct blk_bpf_msg *msg)
{
	const struct blk_bpf_target_ops *ops = job->target->ops;
	struct blk_bpf_piece *piece;
	int ret;

	for (;;) {
		piece = ops->next(job);
		if (piece == ERR_PTR(-ERESTARTSYS)) {
			arg->status = BLK_BPF_SCAN_INTERRUPTED;
			return 0;
		}
		if (IS_ERR(piece))
			return blk_bpf_refuse(msg, PTR_ERR(piece), "no memory for a scan");
		if (!piece) {
			arg->status = BLK_BPF_SCAN_DONE;
			return 0;
		}
		ret = hand_out(job, piece, arg, msg);
		if (ret == HAND_OUT_FULL) {
			arg->status = BLK_BPF_SCAN_FULL;
			return 0;
		}
		if (ret)
			return ret;
		if (piece->err)
			return explain(job, piece, msg);
		if (piece->stop) {
			arg->status = BLK_BPF_SCAN_STOPPED;
			return 0;
		}
		ops->put(job, piece);
		/* Else who works ahead, on other CPUs, could hold it to the end. */
		if (signal_pending(current)) {
			arg->status = BLK_BPF_SCAN_INTERRUPTED;
			return 0;
		}
	}
}

/* The job that the file kept, if the caller goes on with it; else a new one. */
static struct blk_bpf_job *find_job(struct blk_bpf_scanner *scanner,
				    const struct blk_bpf_scan *arg,
				    struct blk_bpf_msg *msg)
{
	struct blk_bpf_job *job, *kept = scanner->job;
	int err;

	job = blk_bpf_job_create(arg, msg);
	if (IS_ERR(job))
		return job;
	scanner->job = NULL;
	if (kept && arg->cursor.cookie == kept->cursor.cookie &&
	    blk_bpf_job_equal(kept, job)) {
		blk_bpf_job_take_globals(kept, job);
		blk_bpf_job_drop(job);
		return kept;
	}
	blk_bpf_job_free(kept);
	err = job->target->ops->start(job, msg);
	if (err) {
		blk_bpf_job_free(job);
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
	if (arg->pad)
		return blk_bpf_refuse(msg, -EINVAL, "pad is 0x%x: it must be 0",
				      arg->pad);
	if ((arg->hdr.flags & BLK_BPF_SCAN_COUNT) && arg->cursor.skip)
		return blk_bpf_refuse(msg, -EINVAL,
			"with BLK_BPF_SCAN_COUNT the cursor's skip must be 0");
	return 0;
}

/* What is the same whether the call was successful or not. */
static void scan_report(struct blk_bpf_job *job, struct blk_bpf_scan *arg)
{
	cursor_normalise(job);
	arg->stats = job->stats;
	arg->path = job->path;
	arg->cursor = job->cursor;
}

static int scan_run(struct blk_bpf_job *job, struct blk_bpf_scan *arg,
		    struct blk_bpf_msg *msg)
{
	const struct blk_bpf_target_ops *ops = job->target->ops;
	u64 began = ktime_get_ns(), cpu = current->se.sum_exec_runtime;
	int err, end_err;

	memset(&job->stats, 0, sizeof(job->stats));
	memset(&job->path, 0, sizeof(job->path));
	err = ops->begin(job, msg);
	if (!err) {
		struct blk_bpf_msg end_msg = {};

		err = scan_loop(job, arg, msg);
		end_err = ops->end(job, &end_msg);
		if (!end_err && job->globals_len &&
		    copy_to_user(u64_to_user_ptr(arg->globals), job->globals,
				 job->globals_len))
			end_err = -EFAULT;
		/* What came first is the reason. */
		if (!err && end_err) {
			err = end_err;
			if (end_msg.text[0])
				blk_bpf_refuse(msg, err, "%s", end_msg.text);
		}
	}
	job->stats.time_ns = ktime_get_ns() - began;
	job->path.cpu_ns = current->se.sum_exec_runtime - cpu;
	return err;
}

static int scan_locked(struct blk_bpf_scanner *scanner, struct blk_bpf_scan *arg,
		       struct blk_bpf_msg *msg)
{
	struct blk_bpf_job *job;
	int err;

	job = find_job(scanner, arg, msg);
	if (IS_ERR(job))
		return PTR_ERR(job);

	err = scan_run(job, arg, msg);
	scan_report(job, arg);
	if (!err && (arg->status == BLK_BPF_SCAN_FULL ||
		     arg->status == BLK_BPF_SCAN_INTERRUPTED)) {
		scanner->job = job;
	} else {
		arg->cursor.cookie = 0;
		blk_bpf_job_free(job);
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
	memset(&arg->path, 0, sizeof(arg->path));
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
	blk_bpf_job_free(scanner->job);
}
