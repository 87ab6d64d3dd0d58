/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A scan, inside.
 *
 * A job cuts the ranges into chunks. A chunk is read by one request, run
 * through the program by one CPU, and keeps its matches until they are handed
 * out in order. Chunks share nothing, so any number can be read and run at a
 * time; what a unit sees beyond the border of its chunk is read twice.
 */
#ifndef BLK_BPF_SCAN_H
#define BLK_BPF_SCAN_H

#include <linux/bvec.h>
#include <linux/fs.h>
#include <linux/wait.h>

#include "run.h"

/* Bytes of units in a chunk; with what it sees beyond, at most 1 MiB a bio. */
#define CHUNK_BYTES	(512U << 10)
/* Calls in a chunk, so that a signal is seen soon though units are small. */
#define CHUNK_UNITS	4096U
/* Matches that a chunk gathers before it is handed out, half done or not. */
#define CHUNK_MATCHES	65536U
/* Chunks a CPU: one that is run, and those that are read meanwhile. */
#define CHUNKS_PER_CPU	4U

/**
 * enum chunk_state - where a chunk is on its way
 * @CHUNK_FREE:    of no use
 * @CHUNK_READING: until ki_complete; then, under the job's lock:
 * @CHUNK_READY:   waits for a CPU
 * @CHUNK_RUNNING: belongs to the CPU that took it
 * @CHUNK_DONE:    keeps its matches, belongs to the scanning task
 */
enum chunk_state {
	CHUNK_FREE,
	CHUNK_READING,
	CHUNK_READY,
	CHUNK_RUNNING,
	CHUNK_DONE,
};

/* Matches, a page of them. */
struct match_page {
	struct list_head node;
	u32 nr;
	struct blk_bpf_match match[];
};

#define MATCHES_PER_PAGE						\
	((PAGE_SIZE - sizeof(struct match_page)) / sizeof(struct blk_bpf_match))

/**
 * struct scan_chunk - a part of a range
 * @job:      it belongs to
 * @node:     in job->chunks, in the order of the answer
 * @state:    under the job's lock
 * @range:    index of the range
 * @off:      of the first unit, from the start of the range (bytes)
 * @len:      of its units; the last may be short
 * @base:     position on the device of the first byte of @buf
 * @read_len: bytes of @buf that are read
 * @buf:      contiguous in virtual memory, @buf_len bytes
 * @bvecs:    the same in physical memory
 * @iocb:     the read
 * @read_err: what became of it
 * @run:      the program being called
 * @pages:    its matches, in order
 * @spare:    pages ready to be taken where nothing may sleep
 * @done:     bytes of units that were run
 * @counted:  of these, bytes that are in the statistics
 * @units, @matches, @prog_ns: calls, what they found, and the time they took,
 *	      since then
 * @err:      why the unit at @off + @done could not be run, or 0
 * @ret:      what the program returned, if that is why
 * @stop:     the unit before @off + @done returned BLK_BPF_STOP
 * @unsorted: the matches of the last unit are to be put in order
 * @out_page, @out_idx: the first match that was not handed out yet
 */
struct scan_chunk {
	struct scan_job *job;
	struct list_head node;
	enum chunk_state state;
	u32 range;
	u64 off;
	u32 len;

	u64 base;
	u32 read_len;
	u32 buf_len;
	void *buf;
	struct bio_vec *bvecs;
	u32 nr_bvecs;
	struct kiocb iocb;
	int read_err;

	struct blk_bpf_run run;
	struct list_head pages;
	struct list_head spare;
	u32 done;
	u32 counted;
	u64 units;
	u64 matches;
	u64 prog_ns;
	int err;
	int ret;
	bool stop;
	bool unsorted;

	struct match_page *out_page;
	u32 out_idx;
};

struct scan_worker {
	struct work_struct work;
	struct scan_job *job;
};

/**
 * struct scan_job - a scan, as long as it can go on
 * @file:     the block device
 * @map:      holds the program
 * @program:  what is called
 * @flags:    BLK_BPF_SCAN_*
 * @overlap:  bytes that a call sees behind its unit
 * @unit:     bytes a call
 * @chunk_len: bytes of units in a whole chunk, a multiple of @unit
 * @block:    logical block size of the device
 * @dev_len:  its length (bytes)
 * @args:     for the program
 * @ranges, @nr_ranges: what to scan
 * @to_skip:  matches of the unit at @cursor that an earlier job handed out
 * @cookie:   names the job in a cursor
 * @cursor:   the first unit whose matches are not all handed out, and how many
 *	      are; the scanning task's
 * @next_range, @next_off: the first unit that no chunk has
 * @lock:     protects chunks' states, and @nr_reading; irq-safe
 * @nr_reading: requests under way
 * @pausing:  no chunk is to be run any more; under @lock
 * @wait:     the scanning task, for a chunk to become READY or DONE
 * @chunks:   in use, in order; @idle: the others. The scanning task's
 * @nr_chunks: how many there are; @max_chunks: may be
 * @workers, @nr_workers: other CPUs' share; @next_worker: whose turn it is
 * @stats:    of the current call
 */
struct scan_job {
	struct file *file;
	struct bpf_map *map;
	struct blk_bpf_program program;
	u32 overlap;
	u32 flags;
	u32 unit;
	u32 chunk_len;
	u32 block;
	u64 dev_len;
	u64 args[BLK_BPF_NR_ARGS];
	struct blk_bpf_range *ranges;
	u32 nr_ranges;

	u64 cookie;
	struct blk_bpf_cursor cursor;
	u32 to_skip;
	u32 next_range;
	u64 next_off;

	spinlock_t lock;
	u32 nr_reading;
	bool pausing;
	wait_queue_head_t wait;
	struct list_head chunks;
	struct list_head idle;
	u32 nr_chunks;
	u32 max_chunks;
	struct scan_worker *workers;
	u32 nr_workers;
	u32 next_worker;
	struct blk_bpf_scan_stats stats;
};

extern struct workqueue_struct *blk_bpf_scan_wq;

/* chunk.c: one chunk, from planned to done */
struct scan_chunk *scan_chunk_alloc(struct scan_job *job);
void scan_chunk_free(struct scan_chunk *chunk);
void scan_chunk_reset(struct scan_chunk *chunk);
void scan_chunk_read(struct scan_chunk *chunk);
void scan_chunk_run(struct scan_chunk *chunk);
void scan_chunk_run_slowly(struct scan_chunk *chunk);

/* job.c: all chunks of a scan */
struct scan_job *scan_job_create(const struct blk_bpf_scan *arg,
				 struct blk_bpf_msg *msg);
void scan_job_free(struct scan_job *job);
bool scan_job_equal(const struct scan_job *a, const struct scan_job *b);
int scan_job_start(struct scan_job *job, u32 threads, struct blk_bpf_msg *msg);
int scan_job_submit(struct scan_job *job);
bool scan_job_work(struct scan_job *job);
struct scan_chunk *scan_job_head(struct scan_job *job);
bool scan_job_is_done(const struct scan_job *job, const struct scan_chunk *chunk);
void scan_job_retire(struct scan_job *job, struct scan_chunk *chunk);
void scan_job_again(struct scan_job *job, struct scan_chunk *chunk);
int scan_job_wait(struct scan_job *job);
void scan_job_pause(struct scan_job *job);

#endif /* BLK_BPF_SCAN_H */
