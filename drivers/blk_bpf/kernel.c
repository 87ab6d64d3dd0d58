// SPDX-License-Identifier: GPL-2.0
/* The kernel target: which chunks are read, which are run, and by whom. */
#include <linux/memcontrol.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>
#include <linux/workqueue.h>

#include "scan.h"

/* Beyond this a scan waits for memory and devices rather than for CPUs. */
#define THREADS_MAX	64U

struct workqueue_struct *blk_bpf_scan_wq;

/* Tasks that submit reads of a scan right now. */
static LIST_HEAD(submitters);			/* under submitters_lock */
static DEFINE_RAW_SPINLOCK(submitters_lock);	/* taken by the hook: irq-safe */
atomic_t blk_bpf_scan_submitters;		/* how many; spares the hook the lock */

/**
 * blk_bpf_submit_begin - the calling task submits reads of a scan from now on
 * @submitter: on the stack until blk_bpf_submit_end()
 * @disk:      what is read
 *
 * So that programs attached to the disk are not called for what the scan filters
 * itself. For all else that the task submits meanwhile they are: for dirty pages
 * that it writes back, for memory that it reclaims, and on the disks below, for
 * what becomes of its reads there.
 */
void blk_bpf_submit_begin(struct blk_bpf_submitter *submitter,
			  const struct gendisk *disk)
{
	submitter->task = current;
	submitter->disk = disk;
	raw_spin_lock_irq(&submitters_lock);
	list_add(&submitter->node, &submitters);
	raw_spin_unlock_irq(&submitters_lock);
	atomic_inc(&blk_bpf_scan_submitters);
}
EXPORT_SYMBOL_GPL(blk_bpf_submit_begin);

void blk_bpf_submit_end(struct blk_bpf_submitter *submitter)
{
	atomic_dec(&blk_bpf_scan_submitters);
	raw_spin_lock_irq(&submitters_lock);
	list_del(&submitter->node);
	raw_spin_unlock_irq(&submitters_lock);
}
EXPORT_SYMBOL_GPL(blk_bpf_submit_end);

bool __blk_bpf_scan_submitting(const struct gendisk *disk)
{
	struct blk_bpf_submitter *submitter;
	bool found = false;
	unsigned long flags;

	if (!in_task())
		return false;
	raw_spin_lock_irqsave(&submitters_lock, flags);
	list_for_each_entry(submitter, &submitters, node) {
		if (submitter->task == current && submitter->disk == disk)
			found = true;
	}
	raw_spin_unlock_irqrestore(&submitters_lock, flags);
	return found;
}

/**
 * blk_bpf_job_read - begin to read blocks of a job's device, past the page cache
 * @job:  the job
 * @dev:  index of the device
 * @pos:  on it, of the first block
 * @iter: where to, and how much
 * @iocb: room for the request, until @done was called
 * @done: called when it has ended, from any context, if it is under way when this
 *	  function returns; NULL: wait for it
 *
 * Programs attached to the device are not called for it. The device's own dirty
 * pages are written back first.
 *
 * Context: may sleep.
 * Return: bytes read, -EIOCBQUEUED if @done is called, or an errno.
 */
ssize_t blk_bpf_job_read(struct blk_bpf_job *job, u32 dev, u64 pos,
			 struct iov_iter *iter, struct kiocb *iocb,
			 void (*done)(struct kiocb *iocb, long ret))
{
	struct file *file = job->devs[dev].file;
	struct blk_bpf_submitter submitter;
	ssize_t ret;

	init_sync_kiocb(iocb, file);
	iocb->ki_pos = pos;
	iocb->ki_flags |= IOCB_DIRECT;
	iocb->ki_complete = done;
	job->stats.reads++;
	job->stats.bytes_read += iov_iter_count(iter);
	blk_bpf_submit_begin(&submitter, job->devs[dev].bdev->bd_disk);
	ret = vfs_iocb_iter_read(file, iocb, iter);
	blk_bpf_submit_end(&submitter);
	return ret;
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
	/* Pairs with chunk_is_done(), which does not take the lock. */
	smp_store_release(&chunk->state, CHUNK_DONE);
	wake_up(&job->wait);
	spin_unlock_irq(&job->lock);
}

static void worker_fn(struct work_struct *work)
{
	struct scan_worker *worker = container_of(work, struct scan_worker, work);
	struct mem_cgroup *old = set_active_memcg(worker->job->memcg);
	struct scan_chunk *chunk;

	while ((chunk = job_take(worker->job, false))) {
		scan_chunk_run(chunk);
		job_finish(worker->job, chunk);
	}
	set_active_memcg(old);
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

static int kernel_start(struct blk_bpf_job *base, struct blk_bpf_msg *msg)
{
	struct scan_job *job = to_scan_job(base);
	u64 bytes = 0, longest = base->unit;
	u32 i, units, threads;

	spin_lock_init(&job->lock);
	init_waitqueue_head(&job->wait);
	INIT_LIST_HEAD(&job->chunks);
	INIT_LIST_HEAD(&job->idle);
	job->plan = base->begin;
	for (i = base->begin.extent; i < base->nr_extents; i++) {
		bytes += base->extents[i].len;
		longest = max(longest, base->extents[i].len);
	}
	units = clamp(CHUNK_BYTES / base->unit, 1U, CHUNK_UNITS);
	units = min_t(u64, units, DIV_ROUND_UP_ULL(longest, base->unit));
	job->chunk_len = units * base->unit;

	threads = choose_threads(job, base->threads, bytes);
	job->max_chunks = threads * CHUNKS_PER_CPU;
	if (threads == 1)
		return 0;
	job->workers = kcalloc(threads - 1, sizeof(*job->workers),
			       GFP_KERNEL_ACCOUNT);
	if (!job->workers)
		return blk_bpf_refuse(msg, -ENOMEM, "no memory for a scan");
	job->memcg = get_mem_cgroup_from_mm(current->mm);
	job->nr_workers = threads - 1;
	for (i = 0; i < job->nr_workers; i++) {
		job->workers[i].job = job;
		INIT_WORK(&job->workers[i].work, worker_fn);
	}
	return 0;
}

static int kernel_begin(struct blk_bpf_job *base, struct blk_bpf_msg *msg)
{
	base->stats.threads = to_scan_job(base)->nr_workers + 1;
	base->path.path = BLK_BPF_PATH_KERNEL;
	return 0;
}

/*
 * The scanning task
 */

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

/* Have as many chunks under way as there may be. Return: 0 or -ENOMEM. */
static int scan_job_submit(struct scan_job *job)
{
	struct scan_chunk *chunk;

	while ((chunk = idle_chunk(job))) {
		if (IS_ERR(chunk))
			return PTR_ERR(chunk);
		if (!blk_bpf_job_plan(&job->base, &job->plan, job->chunk_len,
				      &chunk->piece))
			break;
		spin_lock_irq(&job->lock);
		list_move_tail(&chunk->node, &job->chunks);
		spin_unlock_irq(&job->lock);
		scan_chunk_read(chunk);
	}
	return 0;
}

/* Run a chunk in the calling task. Return: whether there was one. */
static bool scan_job_work(struct scan_job *job)
{
	struct scan_chunk *chunk = job_take(job, true);

	if (!chunk)
		return false;
	if (unlikely(chunk->read_err))
		scan_chunk_run_slowly(chunk);
	else
		scan_chunk_run(chunk);
	job_finish(job, chunk);
	return true;
}

static bool chunk_is_done(const struct scan_chunk *chunk)
{
	/* Pairs with job_finish(). */
	return smp_load_acquire(&chunk->state) == CHUNK_DONE;
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

/*
 * A task that is to be frozen is woken as by a signal, and freezes on its way to
 * user space: not here, with the file's lock held and reads under way.
 *
 * Return: 0 when there is something to do, -ERESTARTSYS for a signal.
 */
static int scan_job_wait(struct scan_job *job)
{
	return wait_event_interruptible(job->wait, job_has_work(job));
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

static struct blk_bpf_piece *kernel_next(struct blk_bpf_job *base)
{
	struct scan_job *job = to_scan_job(base);
	struct scan_chunk *chunk;
	int err;

	for (;;) {
		err = scan_job_submit(job);
		if (err)
			return ERR_PTR(err);
		chunk = list_first_entry_or_null(&job->chunks, struct scan_chunk,
						 node);
		if (!chunk)
			return NULL;
		if (chunk_is_done(chunk))
			return &chunk->piece;
		if (signal_pending(current) ||
		    (!scan_job_work(job) && scan_job_wait(job)))
			return ERR_PTR(-ERESTARTSYS);
	}
}

/* The chunk is of no use any more, or there is more of it to run. */
static void kernel_put(struct blk_bpf_job *base, struct blk_bpf_piece *piece)
{
	struct scan_chunk *chunk = container_of(piece, struct scan_chunk, piece);
	struct scan_job *job = to_scan_job(base);

	spin_lock_irq(&job->lock);
	if (piece->done < piece->len) {
		chunk->state = CHUNK_READY;
	} else {
		chunk->state = CHUNK_FREE;
		list_move(&chunk->node, &job->idle);
	}
	spin_unlock_irq(&job->lock);
}

static int kernel_data(struct blk_bpf_job *job, const struct blk_bpf_piece *piece,
		       const struct blk_bpf_match *match, void __user *to)
{
	const struct scan_chunk *chunk =
		container_of(piece, struct scan_chunk, piece);

	if (copy_to_user(to, chunk->buf + (match->pos - chunk->base), match->len))
		return -EFAULT;
	return 0;
}

/*
 * Reads under way go into our memory, so they are waited for whatever happens.
 * What was read is run when the scan goes on, like the matches that are kept.
 */
static int kernel_end(struct blk_bpf_job *base, struct blk_bpf_msg *msg)
{
	struct scan_job *job = to_scan_job(base);
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
	return 0;
}

static void kernel_free(struct blk_bpf_job *base)
{
	struct scan_job *job = to_scan_job(base);
	struct scan_chunk *chunk, *next;

	list_splice_init(&job->chunks, &job->idle);
	list_for_each_entry_safe(chunk, next, &job->idle, node)
		scan_chunk_free(chunk);
	kfree(job->workers);
	mem_cgroup_put(job->memcg);
}

static const struct blk_bpf_target_ops kernel_ops = {
	.job_size	= sizeof(struct scan_job),
	.start		= kernel_start,
	.begin		= kernel_begin,
	.next		= kernel_next,
	.put		= kernel_put,
	.data		= kernel_data,
	.end		= kernel_end,
	.free		= kernel_free,
};

static struct blk_bpf_target kernel_target = {
	.name	= "kernel",
	.ops	= &kernel_ops,
	.owner	= THIS_MODULE,
};

int blk_bpf_kernel_target_init(void)
{
	int err;

	blk_bpf_scan_wq = alloc_workqueue("blk_bpf_scan", WQ_UNBOUND, 0);
	if (!blk_bpf_scan_wq)
		return -ENOMEM;
	err = blk_bpf_target_register(&kernel_target);
	if (err)
		destroy_workqueue(blk_bpf_scan_wq);
	return err;
}

void blk_bpf_kernel_target_exit(void)
{
	blk_bpf_target_unregister(&kernel_target);
	destroy_workqueue(blk_bpf_scan_wq);
}
