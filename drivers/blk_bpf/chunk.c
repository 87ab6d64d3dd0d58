// SPDX-License-Identifier: GPL-2.0
/* One chunk of a scan: read it, run it, keep its matches. */
#include <linux/io.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/rcupdate_trace.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/uio.h>

#include "scan.h"

/* What is run between looking whether somebody waits for this CPU, or for RCU. */
#define BREATH_BYTES	(64U << 10)
#define BREATH_UNITS	16U

/*
 * Memory
 */

/* The buffer as bvecs, joined where pages are neighbours. */
static int chunk_map_buf(struct scan_chunk *chunk)
{
	const u32 nr_pages = chunk->buf_len >> PAGE_SHIFT;
	u32 i;

	chunk->bvecs = kcalloc(nr_pages, sizeof(*chunk->bvecs), GFP_KERNEL_ACCOUNT);
	if (!chunk->bvecs)
		return -ENOMEM;
	for (i = 0; i < nr_pages; i++) {
		void *addr = chunk->buf + i * PAGE_SIZE;
		struct page *page = is_vmalloc_addr(addr) ? vmalloc_to_page(addr) :
							    virt_to_page(addr);
		struct bio_vec *last = chunk->nr_bvecs ?
				&chunk->bvecs[chunk->nr_bvecs - 1] : NULL;

		if (last &&
		    bvec_phys(last) + last->bv_len == page_to_phys(page))
			last->bv_len += PAGE_SIZE;
		else
			bvec_set_page(&chunk->bvecs[chunk->nr_bvecs++], page,
				      PAGE_SIZE, 0);
	}
	return 0;
}

/* Whole blocks around the units and what the last of them sees behind it. */
static u32 chunk_buf_len(const struct scan_job *job)
{
	u32 i, block = 0;

	for (i = 0; i < job->base.nr_devs; i++)
		block = max(block, job->base.devs[i].block);
	return PAGE_ALIGN(job->chunk_len + job->base.overlap + 2 * block);
}

void scan_chunk_free(struct scan_chunk *chunk)
{
	if (!chunk)
		return;
	blk_bpf_piece_reset(&chunk->piece);
	blk_bpf_match_pages_free(&chunk->spare);
	kfree(chunk->bvecs);
	kvfree(chunk->buf);
	kfree(chunk);
}

struct scan_chunk *scan_chunk_alloc(struct scan_job *job)
{
	struct scan_chunk *chunk = kzalloc(sizeof(*chunk), GFP_KERNEL_ACCOUNT);

	if (!chunk)
		return NULL;
	INIT_LIST_HEAD(&chunk->node);
	blk_bpf_piece_init(&chunk->piece);
	INIT_LIST_HEAD(&chunk->spare);
	chunk->job = job;
	chunk->buf_len = chunk_buf_len(job);
	chunk->buf = kvmalloc(chunk->buf_len, GFP_KERNEL_ACCOUNT);
	if (!chunk->buf || chunk_map_buf(chunk)) {
		scan_chunk_free(chunk);
		return NULL;
	}
	return chunk;
}

/*
 * Reading
 */

static const struct blk_bpf_extent *chunk_extent(const struct scan_chunk *chunk)
{
	return &chunk->job->base.extents[chunk->piece.extent];
}

static void chunk_read_done(struct kiocb *iocb, long ret)
{
	struct scan_chunk *chunk = container_of(iocb, struct scan_chunk, iocb);
	struct scan_job *job = chunk->job;
	unsigned long flags;

	spin_lock_irqsave(&job->lock, flags);
	if (ret != chunk->read_len)
		chunk->read_err = ret < 0 ? ret : -EIO;
	chunk->state = CHUNK_READY;
	job->nr_reading--;
	if (job->nr_workers) {
		queue_work(blk_bpf_scan_wq, &job->workers[job->next_worker].work);
		job->next_worker = (job->next_worker + 1) % job->nr_workers;
	}
	/* Under the lock: who sees nr_reading at 0 may free the job. */
	wake_up(&job->wait);
	spin_unlock_irqrestore(&job->lock, flags);
}

/**
 * scan_chunk_read - begin to read a chunk
 * @chunk: READING, and then READY when all is there, or nothing
 *
 * Direct I/O, so that it is the device's data that is scanned and the page
 * cache stays as it is; dirty pages of the device are written back first.
 *
 * Context: may sleep.
 */
void scan_chunk_read(struct scan_chunk *chunk)
{
	const struct blk_bpf_piece *piece = &chunk->piece;
	struct scan_job *job = chunk->job;
	struct iov_iter iter;
	u64 end;
	ssize_t ret;

	chunk->read_err = 0;
	chunk->unsorted = false;
	blk_bpf_job_blocks(&job->base, piece->extent, piece->off, piece->len,
			   &chunk->base, &end);
	chunk->read_len = end - chunk->base;
	iov_iter_bvec(&iter, ITER_DEST, chunk->bvecs, chunk->nr_bvecs,
		      chunk->read_len);

	spin_lock_irq(&job->lock);
	chunk->state = CHUNK_READING;
	job->nr_reading++;
	spin_unlock_irq(&job->lock);

	ret = blk_bpf_job_read(&job->base, chunk_extent(chunk)->dev, chunk->base,
			       &iter, &chunk->iocb, chunk_read_done);
	if (ret != -EIOCBQUEUED)
		chunk_read_done(&chunk->iocb, ret);
}

/* The blocks of one unit, into their place in the buffer; waits for them. */
static int chunk_read_unit(struct scan_chunk *chunk, u64 off, u32 len)
{
	struct scan_job *job = chunk->job;
	struct iov_iter iter;
	struct kiocb iocb;
	u64 start, end;
	ssize_t ret;

	blk_bpf_job_blocks(&job->base, chunk->piece.extent, off, len, &start, &end);
	iov_iter_bvec(&iter, ITER_DEST, chunk->bvecs, chunk->nr_bvecs,
		      end - chunk->base);
	iov_iter_advance(&iter, start - chunk->base);
	ret = blk_bpf_job_read(&job->base, chunk_extent(chunk)->dev, start, &iter,
			       &iocb, NULL);
	if (ret == end - start)
		return 0;
	return ret < 0 ? ret : -EIO;
}

/*
 * Running
 */

/* A page for @run->out. Context: a program is being run. */
static int chunk_more(struct blk_bpf_run *run)
{
	struct scan_chunk *chunk = container_of(run, struct scan_chunk, run);
	struct blk_bpf_match_page *page;

	if (!list_empty(&chunk->piece.pages))
		list_last_entry(&chunk->piece.pages, struct blk_bpf_match_page, node)->nr = run->nr;
	page = list_first_entry_or_null(&chunk->spare, struct blk_bpf_match_page, node);
	if (page)
		list_del(&page->node);
	else
		page = blk_bpf_match_page_alloc(GFP_NOWAIT);
	if (!page)
		return -ENOMEM;
	list_add_tail(&page->node, &chunk->piece.pages);
	run->out = page->match;
	run->cap = BLK_BPF_MATCHES_PER_PAGE;
	run->nr = 0;
	return 0;
}

/* Nobody wants them: there is always room. */
static int chunk_more_count(struct blk_bpf_run *run)
{
	run->nr = 0;
	return 0;
}

static int chunk_begin(struct scan_chunk *chunk)
{
	const struct scan_job *job = chunk->job;
	struct blk_bpf_match_page *page = blk_bpf_match_page_alloc(GFP_KERNEL);

	if (!page)
		return -ENOMEM;
	list_add(&page->node, &chunk->piece.pages);
	blk_bpf_run_init(&chunk->run, job->base.unit, 0, job->base.args);
	chunk->run.dev = chunk_extent(chunk)->dev;
	chunk->run.kctx.u.op = BLK_BPF_OP_READ;
	chunk->run.out = page->match;
	chunk->run.cap = BLK_BPF_MATCHES_PER_PAGE;
	chunk->run.more = job->base.flags & BLK_BPF_SCAN_COUNT ? chunk_more_count :
							    chunk_more;
	return 0;
}

/* Let others run, and give the first pages of the next units where we may sleep. */
static void chunk_breathe(struct scan_chunk *chunk)
{
	struct blk_bpf_match_page *page;

	cond_resched_tasks_rcu_qs();
	if (list_empty(&chunk->spare)) {
		page = blk_bpf_match_page_alloc(GFP_KERNEL);
		if (page)
			list_add(&page->node, &chunk->spare);
	}
}

/* The last @nr matches, which may reach back over pages, into an array or out. */
static void last_matches(struct scan_chunk *chunk, struct blk_bpf_match *array,
			 u32 nr, bool out)
{
	struct blk_bpf_match_page *page;

	list_last_entry(&chunk->piece.pages, struct blk_bpf_match_page, node)->nr = chunk->run.nr;
	list_for_each_entry_reverse(page, &chunk->piece.pages, node) {
		u32 part = min(nr, page->nr);
		struct blk_bpf_match *match = &page->match[page->nr - part];

		nr -= part;
		if (out)
			memcpy(match, array + nr, part * sizeof(*array));
		else
			memcpy(array + nr, match, part * sizeof(*array));
		if (!nr)
			break;
	}
}

static bool is_sorted(const struct blk_bpf_match *array, u32 nr)
{
	u32 i;

	for (i = 1; i < nr; i++) {
		if (blk_bpf_match_cmp(&array[i - 1], &array[i]) > 0)
			return false;
	}
	return true;
}

/*
 * Matches are reported in device order, whatever order a program emits them
 * in. As a rule it is this one, and one look is all. Those of one unit that
 * went over the end of a page are looked at where memory can be had.
 */
static void chunk_sort_unit(struct scan_chunk *chunk)
{
	struct blk_bpf_run *run = &chunk->run;
	struct blk_bpf_match *array;
	u32 nr = run->emitted;

	if (unlikely(run->nr < nr)) {
		chunk->unsorted = true;
		return;
	}
	array = run->out + run->nr - nr;
	if (!is_sorted(array, nr))
		sort(array, nr, sizeof(*array), blk_bpf_match_cmp, NULL);
}

static int chunk_sort_pages(struct scan_chunk *chunk)
{
	u32 nr = chunk->run.emitted;
	struct blk_bpf_match *array;

	array = kvmalloc_array(nr, sizeof(*array), GFP_KERNEL_ACCOUNT);
	if (!array)
		return -ENOMEM;
	last_matches(chunk, array, nr, false);
	if (!is_sorted(array, nr)) {
		sort(array, nr, sizeof(*array), blk_bpf_match_cmp, NULL);
		last_matches(chunk, array, nr, true);
	}
	kvfree(array);
	chunk->unsorted = false;
	return 0;
}

/* What a unit returned, if there is anything to do about it. */
static bool chunk_take_ret(struct scan_chunk *chunk, int ret)
{
	if (ret == BLK_BPF_STOP) {
		chunk->piece.stop = true;
		return true;
	}
	if (chunk->run.err)
		chunk->piece.emit = ret;
	else
		chunk->piece.ret = ret;
	chunk->piece.err = blk_bpf_ret_is_nonsense(ret) ? -EPROTO : ret;
	return false;
}

/* One unit, whose data is in the buffer. Return: whether it is done. */
static __always_inline bool chunk_run_unit(struct scan_chunk *chunk, u64 off, u32 len)
{
	const struct scan_job *job = chunk->job;
	const struct blk_bpf_extent *extent = chunk_extent(chunk);
	struct blk_bpf_run *run = &chunk->run;
	u32 visible = min_t(u64, len + job->base.overlap, extent->len - off);
	u64 pos = extent->off + off;
	u32 flags = 0;
	int ret;

	if (unlikely(len != job->base.unit))
		flags |= BLK_BPF_F_SHORT;
	if (unlikely(visible != len + job->base.overlap))
		flags |= BLK_BPF_F_EDGE;
	run->kctx.u.flags = flags;
	ret = blk_bpf_run_unit(run, job->base.program.prog, pos, chunk->buf + (pos - chunk->base),
			       len, visible);
	chunk->piece.units++;
	if (unlikely(ret) && !chunk_take_ret(chunk, ret))
		return false;
	if (run->emitted > 1 && !(job->base.flags & BLK_BPF_SCAN_COUNT))
		chunk_sort_unit(chunk);
	chunk->piece.matches += run->emitted;
	chunk->piece.done += len;
	return true;
}

/* A unit that could not be done leaves no matches behind. */
static void chunk_drop_unit(struct scan_chunk *chunk)
{
	struct blk_bpf_match_page *page;
	u32 nr = chunk->run.emitted;

	if (chunk->job->base.flags & BLK_BPF_SCAN_COUNT)
		return;
	while (nr) {
		u32 part;

		page = list_last_entry(&chunk->piece.pages, struct blk_bpf_match_page, node);
		part = min(nr, page->nr);
		page->nr -= part;
		nr -= part;
		if (nr) {
			list_del(&page->node);
			free_page((unsigned long)page);
		}
	}
}

/*
 * Some units in one go: what surrounds a call is shared by them. One whose matches
 * go over the end of a page is the last of them, so that those of a breath, which
 * are counted at its end, fill few pages, or are of one unit.
 *
 * Return: whether there are more to run.
 */
static bool chunk_run_breath(struct scan_chunk *chunk, u32 units)
{
	const u32 unit = chunk->job->base.unit;
	bool more = true;
	u32 len = 0;

	rcu_read_lock();
	migrate_disable();
	while (more && units-- && chunk->piece.done < chunk->piece.len && !chunk->unsorted) {
		len = min(unit, chunk->piece.len - chunk->piece.done);
		more = chunk_run_unit(chunk, chunk->piece.off + chunk->piece.done, len) &&
		       !chunk->piece.stop;
	}
	migrate_enable();
	rcu_read_unlock();

	if (unlikely(chunk->unsorted)) {
		chunk->piece.err = chunk_sort_pages(chunk);
		if (chunk->piece.err) {
			/* Not done, then: its matches cannot be handed out. */
			chunk->piece.done -= len;
			chunk->piece.matches -= chunk->run.emitted;
			return false;
		}
	}
	return more && chunk->piece.done < chunk->piece.len &&
	       chunk->piece.matches < BLK_BPF_PIECE_MATCHES;
}

/* Whether the scan is about to return; the rest of the chunk can wait for it. */
static bool chunk_is_wanted(const struct scan_chunk *chunk)
{
	return !READ_ONCE(chunk->job->pausing) && !signal_pending(current);
}

static void chunk_run_units(struct scan_chunk *chunk)
{
	u32 units = clamp(BREATH_BYTES / chunk->job->base.unit, 1U, BREATH_UNITS);

	do {
		chunk_breathe(chunk);
	} while (chunk_run_breath(chunk, units) && chunk_is_wanted(chunk));
}

/*
 * The same, with a read of its own for every unit. If the bytes of matches are
 * wanted it ends behind a unit that has some: the next could share blocks with it,
 * and would read them anew before these are copied.
 */
static void chunk_read_and_run_units(struct scan_chunk *chunk)
{
	const bool data = chunk->job->base.flags & BLK_BPF_SCAN_DATA;
	const u32 unit = chunk->job->base.unit;

	do {
		u32 len = min(unit, chunk->piece.len - chunk->piece.done);

		chunk->run.emitted = 0;
		chunk->piece.err = chunk_read_unit(chunk, chunk->piece.off + chunk->piece.done, len);
		if (chunk->piece.err)
			return;
		chunk_breathe(chunk);
	} while (chunk_run_breath(chunk, 1) && chunk_is_wanted(chunk) &&
		 !(data && chunk->piece.matches));
}

static void chunk_run_timed(struct scan_chunk *chunk, bool read)
{
	u64 began = ktime_get_ns();

	/* What an earlier run gathered has been handed out. */
	blk_bpf_piece_drop_matches(&chunk->piece);
	chunk->piece.err = chunk_begin(chunk);
	if (!chunk->piece.err) {
		chunk->run.emitted = 0;
		if (read)
			chunk_read_and_run_units(chunk);
		else
			chunk_run_units(chunk);
		list_last_entry(&chunk->piece.pages, struct blk_bpf_match_page, node)->nr =
			chunk->run.nr;
		if (chunk->piece.err)
			chunk_drop_unit(chunk);
	}
	chunk->piece.prog_ns += ktime_get_ns() - began;
}

/**
 * scan_chunk_run - run the units of a chunk whose data is there
 * @chunk: RUNNING, and the caller's; it becomes DONE
 *
 * All of them, or as many as find BLK_BPF_PIECE_MATCHES matches or are run before the
 * scan has to return.
 *
 * Context: may sleep.
 */
void scan_chunk_run(struct scan_chunk *chunk)
{
	chunk_run_timed(chunk, false);
}

/**
 * scan_chunk_run_slowly - read and run a chunk that could not be read at once
 * @chunk: RUNNING, and the caller's; it becomes DONE
 *
 * Unit by unit, so that one bad block costs no match before it and the cursor
 * names its unit. All of them, or as for scan_chunk_run(), or to the next match.
 *
 * Context: the scanning task: it submits, and may sleep.
 */
void scan_chunk_run_slowly(struct scan_chunk *chunk)
{
	chunk_run_timed(chunk, true);
}
