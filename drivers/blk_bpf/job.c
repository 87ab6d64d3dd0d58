// SPDX-License-Identifier: GPL-2.0
/* All chunks of a scan: what is read, what is run, and by whom. */
#include <linux/file.h>
#include <linux/freezer.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "scan.h"

/* Beyond this a scan waits for memory and devices rather than for CPUs. */
#define THREADS_MAX	64U

struct workqueue_struct *blk_bpf_scan_wq;
static atomic64_t last_cookie;

/*
 * Tasks that submit reads of a scan right now, so that programs attached to the
 * device are not called for what the scan filters itself.
 */
struct submitter {
	struct list_head node;
	const struct task_struct *task;
};

static LIST_HEAD(submitters);			/* under submitters_lock */
static DEFINE_RAW_SPINLOCK(submitters_lock);	/* taken by the hook: irq-safe */
atomic_t blk_bpf_scan_submitters;		/* how many; spares the hook the lock */

static void submitter_add(struct submitter *submitter)
{
	submitter->task = current;
	raw_spin_lock_irq(&submitters_lock);
	list_add(&submitter->node, &submitters);
	raw_spin_unlock_irq(&submitters_lock);
	atomic_inc(&blk_bpf_scan_submitters);
}

static void submitter_del(struct submitter *submitter)
{
	atomic_dec(&blk_bpf_scan_submitters);
	raw_spin_lock_irq(&submitters_lock);
	list_del(&submitter->node);
	raw_spin_unlock_irq(&submitters_lock);
}

bool __blk_bpf_scan_submitting(void)
{
	struct submitter *submitter;
	bool found = false;
	unsigned long flags;

	if (!in_task())
		return false;
	raw_spin_lock_irqsave(&submitters_lock, flags);
	list_for_each_entry(submitter, &submitters, node) {
		if (submitter->task == current)
			found = true;
	}
	raw_spin_unlock_irqrestore(&submitters_lock, flags);
	return found;
}

/*
 * Making a job from an ioctl's argument
 */

static int job_get_file(struct scan_job *job, const struct blk_bpf_scan *arg,
			struct blk_bpf_msg *msg)
{
	struct block_device *bdev;

	job->file = fget(arg->dev_fd);
	if (!job->file)
		return blk_bpf_refuse(msg, -EBADF,
				      "dev_fd %d is not an open file", arg->dev_fd);
	if (!S_ISBLK(file_inode(job->file)->i_mode))
		return blk_bpf_refuse(msg, -ENOTBLK,
			"dev_fd %d is not a block device", arg->dev_fd);
	if (!(job->file->f_mode & FMODE_READ))
		return blk_bpf_refuse(msg, -EACCES,
			"dev_fd %d is not opened for reading", arg->dev_fd);
	bdev = file_bdev(job->file);
	job->block = bdev_logical_block_size(bdev);
	job->dev_len = bdev_nr_bytes(bdev);
	return 0;
}

static int job_get_program(struct scan_job *job, const struct blk_bpf_scan *arg,
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

static int job_get_ranges(struct scan_job *job, const struct blk_bpf_scan *arg,
			  struct blk_bpf_msg *msg)
{
	const u32 nr = arg->nr_ranges ?: 1;
	u32 i;

	job->ranges = kvmalloc_array(nr, sizeof(*job->ranges),
				     GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!job->ranges)
		return blk_bpf_refuse(msg, -ENOMEM, "no memory for %u ranges", nr);
	job->nr_ranges = nr;
	if (!arg->nr_ranges) {
		job->ranges[0].off = 0;
		job->ranges[0].len = job->dev_len;
		return 0;
	}
	if (copy_from_user(job->ranges, u64_to_user_ptr(arg->ranges),
			   array_size(nr, sizeof(*job->ranges))))
		return -EFAULT;
	for (i = 0; i < nr; i++) {
		const struct blk_bpf_range *range = &job->ranges[i];

		if (range->off > job->dev_len ||
		    range->len > job->dev_len - range->off)
			return blk_bpf_refuse(msg, -EINVAL,
				"range %u (offset %llu, length %llu) reaches past the end of the device, which has %llu bytes",
				i, range->off, range->len, job->dev_len);
	}
	return 0;
}

static int job_get_cursor(struct scan_job *job, const struct blk_bpf_scan *arg,
			  struct blk_bpf_msg *msg)
{
	const struct blk_bpf_cursor *cursor = &arg->cursor;
	u32 in_unit;

	if (cursor->range > job->nr_ranges ||
	    (cursor->range == job->nr_ranges && (cursor->pos || cursor->skip)) ||
	    (cursor->range < job->nr_ranges &&
	     cursor->pos > job->ranges[cursor->range].len))
		return blk_bpf_refuse(msg, -EINVAL,
			"the cursor (range %u, position %llu) is not inside the %u ranges: pass the one that the last call returned, with the same ranges",
			cursor->range, cursor->pos, job->nr_ranges);
	div_u64_rem(cursor->pos, job->unit, &in_unit);
	if (in_unit && cursor->pos != job->ranges[cursor->range].len)
		return blk_bpf_refuse(msg, -EINVAL,
			"the cursor's position %llu is no multiple of the unit, %u: pass the one that the last call returned, with the same unit",
			cursor->pos, job->unit);
	job->cursor = *cursor;
	job->cursor.cookie = atomic64_inc_return(&last_cookie);
	job->to_skip = cursor->skip;
	job->next_range = cursor->range;
	job->next_off = cursor->pos;
	return 0;
}

/**
 * scan_job_create - what an ioctl asks for, checked; nothing is read yet
 * @arg: the ioctl's argument
 * @msg: why not
 *
 * Return: a job, or an ERR_PTR().
 */
struct scan_job *scan_job_create(const struct blk_bpf_scan *arg,
				 struct blk_bpf_msg *msg)
{
	struct scan_job *job = kzalloc(sizeof(*job), GFP_KERNEL_ACCOUNT);
	int err;

	if (!job)
		return ERR_PTR(-ENOMEM);
	spin_lock_init(&job->lock);
	init_waitqueue_head(&job->wait);
	INIT_LIST_HEAD(&job->chunks);
	INIT_LIST_HEAD(&job->idle);
	job->flags = arg->hdr.flags;
	memcpy(job->args, arg->args, sizeof(job->args));

	err = job_get_file(job, arg, msg);
	if (!err)
		err = job_get_program(job, arg, msg);
	if (!err)
		err = job_get_ranges(job, arg, msg);
	if (!err)
		err = job_get_cursor(job, arg, msg);
	if (err) {
		scan_job_free(job);
		return ERR_PTR(err);
	}
	return job;
}

/* Context: paused, or never started. */
void scan_job_free(struct scan_job *job)
{
	struct scan_chunk *chunk, *next;

	if (!job)
		return;
	list_splice_init(&job->chunks, &job->idle);
	list_for_each_entry_safe(chunk, next, &job->idle, node)
		scan_chunk_free(chunk);
	kfree(job->workers);
	kvfree(job->ranges);
	if (job->map)
		bpf_map_put(job->map);
	if (job->file)
		fput(job->file);
	kfree(job);
}

/* Whether @b asks for what @a does, and for it to go on where @a is. */
bool scan_job_equal(const struct scan_job *a, const struct scan_job *b)
{
	return a->file == b->file && a->map == b->map && a->flags == b->flags &&
	       a->unit == b->unit && a->nr_ranges == b->nr_ranges &&
	       a->cursor.range == b->cursor.range &&
	       a->cursor.pos == b->cursor.pos &&
	       a->cursor.skip == b->cursor.skip &&
	       !memcmp(a->args, b->args, sizeof(a->args)) &&
	       !memcmp(a->ranges, b->ranges,
		       array_size(a->nr_ranges, sizeof(*a->ranges)));
}

/*
 * Workers: the other CPUs' share
 */

/* The first chunk that waits for a CPU. One that needs reading is the scanning task's. */
static struct scan_chunk *job_take(struct scan_job *job, bool may_read)
{
	struct scan_chunk *chunk, *found = NULL;

	spin_lock_irq(&job->lock);
	if (!job->pausing) {
		list_for_each_entry(chunk, &job->chunks, node) {
			if (chunk->state == CHUNK_READY &&
			    (may_read || !chunk->read_err)) {
				chunk->state = CHUNK_RUNNING;
				found = chunk;
				break;
			}
		}
	}
	spin_unlock_irq(&job->lock);
	return found;
}

static void job_finish(struct scan_job *job, struct scan_chunk *chunk)
{
	spin_lock_irq(&job->lock);
	chunk->state = CHUNK_DONE;
	wake_up(&job->wait);
	spin_unlock_irq(&job->lock);
}

static void worker_fn(struct work_struct *work)
{
	struct scan_worker *worker = container_of(work, struct scan_worker, work);
	struct scan_chunk *chunk;

	while ((chunk = job_take(worker->job, false))) {
		scan_chunk_run(chunk);
		job_finish(worker->job, chunk);
	}
}

/* How many CPUs are worth it: none waits for less than a few chunks. */
static u32 choose_threads(const struct scan_job *job, u32 threads, u64 bytes)
{
	u64 chunks = div_u64(bytes, job->chunk_len);

	threads = threads ?: num_online_cpus();
	threads = min3(threads, THREADS_MAX, num_online_cpus());
	return clamp_t(u64, div_u64(chunks, CHUNKS_PER_CPU), 1, threads);
}

u32 blk_bpf_scan_threads_max(void)
{
	return min(THREADS_MAX, num_online_cpus());
}

/**
 * scan_job_start - settle how a new job is cut, and by how many it is run
 * @job:     the job
 * @threads: as in struct blk_bpf_scan
 * @msg:     why not
 *
 * Return: 0 or -ENOMEM.
 */
int scan_job_start(struct scan_job *job, u32 threads, struct blk_bpf_msg *msg)
{
	u64 bytes = 0, longest = job->unit;
	u32 i, units;

	for (i = job->cursor.range; i < job->nr_ranges; i++) {
		bytes += job->ranges[i].len;
		longest = max(longest, job->ranges[i].len);
	}
	units = clamp(CHUNK_BYTES / job->unit, 1U, CHUNK_UNITS);
	units = min_t(u64, units, DIV_ROUND_UP_ULL(longest, job->unit));
	job->chunk_len = units * job->unit;

	threads = choose_threads(job, threads, bytes);
	job->max_chunks = threads * CHUNKS_PER_CPU;
	job->stats.threads = threads;
	if (threads == 1)
		return 0;
	job->workers = kcalloc(threads - 1, sizeof(*job->workers),
			       GFP_KERNEL_ACCOUNT);
	if (!job->workers)
		return blk_bpf_refuse(msg, -ENOMEM, "no memory for a scan");
	job->nr_workers = threads - 1;
	for (i = 0; i < job->nr_workers; i++) {
		job->workers[i].job = job;
		INIT_WORK(&job->workers[i].work, worker_fn);
	}
	return 0;
}

/*
 * The scanning task
 */

/* The next part of the ranges, or false if there is none. */
static bool plan_chunk(struct scan_job *job, struct scan_chunk *chunk)
{
	while (job->next_range < job->nr_ranges &&
	       job->next_off == job->ranges[job->next_range].len) {
		job->next_range++;
		job->next_off = 0;
	}
	if (job->next_range == job->nr_ranges)
		return false;

	scan_chunk_reset(chunk);
	chunk->range = job->next_range;
	chunk->off = job->next_off;
	chunk->len = min_t(u64, job->chunk_len,
			   job->ranges[chunk->range].len - chunk->off);
	job->next_off += chunk->len;
	return true;
}

/* An unused chunk; NULL if there are enough, ERR_PTR() if there is no memory. */
static struct scan_chunk *idle_chunk(struct scan_job *job)
{
	struct scan_chunk *chunk;

	chunk = list_first_entry_or_null(&job->idle, struct scan_chunk, node);
	if (chunk || job->nr_chunks == job->max_chunks)
		return chunk;
	chunk = scan_chunk_alloc(job);
	if (chunk) {
		job->nr_chunks++;
		list_add(&chunk->node, &job->idle);
		return chunk;
	}
	/* With one chunk a scan is slow, without any it is impossible. */
	return job->nr_chunks ? NULL : ERR_PTR(-ENOMEM);
}

/**
 * scan_job_submit - have as many chunks under way as there may be
 * @job: the job
 *
 * Return: 0 or -ENOMEM.
 */
int scan_job_submit(struct scan_job *job)
{
	struct submitter submitter;
	struct scan_chunk *chunk;
	int err = 0;

	submitter_add(&submitter);
	while ((chunk = idle_chunk(job))) {
		if (IS_ERR(chunk)) {
			err = PTR_ERR(chunk);
			break;
		}
		if (!plan_chunk(job, chunk))
			break;
		spin_lock_irq(&job->lock);
		list_move_tail(&chunk->node, &job->chunks);
		spin_unlock_irq(&job->lock);
		scan_chunk_read(chunk);
	}
	submitter_del(&submitter);
	return err;
}

/**
 * scan_job_work - run a chunk in the calling task, if one is ready
 * @job: the job
 *
 * Return: whether there was one.
 */
bool scan_job_work(struct scan_job *job)
{
	struct scan_chunk *chunk = job_take(job, true);
	struct submitter submitter;

	if (!chunk)
		return false;
	if (unlikely(chunk->read_err)) {
		submitter_add(&submitter);
		scan_chunk_run_slowly(chunk);
		submitter_del(&submitter);
	} else {
		scan_chunk_run(chunk);
	}
	job_finish(job, chunk);
	return true;
}

/* The chunk whose matches come next, or NULL if the scan is at its end. */
struct scan_chunk *scan_job_head(struct scan_job *job)
{
	return list_first_entry_or_null(&job->chunks, struct scan_chunk, node);
}

bool scan_job_is_done(const struct scan_job *job, const struct scan_chunk *chunk)
{
	/* Pairs with the lock in job_finish(). */
	return chunk && smp_load_acquire(&chunk->state) == CHUNK_DONE;
}

/* All of it has been handed out. */
void scan_job_retire(struct scan_job *job, struct scan_chunk *chunk)
{
	spin_lock_irq(&job->lock);
	chunk->state = CHUNK_FREE;
	list_move(&chunk->node, &job->idle);
	spin_unlock_irq(&job->lock);
}

/* What it found has been handed out, but there is more to run. */
void scan_job_again(struct scan_job *job, struct scan_chunk *chunk)
{
	spin_lock_irq(&job->lock);
	chunk->state = CHUNK_READY;
	spin_unlock_irq(&job->lock);
}

/* Whether the scanning task has something to do. */
static bool job_has_work(struct scan_job *job)
{
	struct scan_chunk *chunk;
	bool work = false;

	spin_lock_irq(&job->lock);
	list_for_each_entry(chunk, &job->chunks, node) {
		if (chunk->state == CHUNK_READY ||
		    (chunk->state == CHUNK_DONE &&
		     list_is_first(&chunk->node, &job->chunks)))
			work = true;
	}
	spin_unlock_irq(&job->lock);
	return work;
}

/* Return: 0 when there is something to do, -ERESTARTSYS for a signal. */
int scan_job_wait(struct scan_job *job)
{
	return wait_event_freezable(job->wait, job_has_work(job));
}

static bool job_is_reading(struct scan_job *job)
{
	bool reading;

	/* With the lock: chunk_read_done() holds it to its end. */
	spin_lock_irq(&job->lock);
	reading = job->nr_reading;
	spin_unlock_irq(&job->lock);
	return reading;
}

/**
 * scan_job_pause - come to rest before the ioctl returns
 * @job: goes on with scan_job_submit(), or is freed
 *
 * Reads under way go into our memory, so they are waited for whatever happens.
 * What was read is run when the scan goes on, like the matches that are kept.
 */
void scan_job_pause(struct scan_job *job)
{
	u32 i;

	spin_lock_irq(&job->lock);
	job->pausing = true;
	spin_unlock_irq(&job->lock);
	wait_event(job->wait, !job_is_reading(job));
	for (i = 0; i < job->nr_workers; i++)
		cancel_work_sync(&job->workers[i].work);

	spin_lock_irq(&job->lock);
	job->pausing = false;
	spin_unlock_irq(&job->lock);
}
