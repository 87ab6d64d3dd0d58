/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A scan, inside; and the kernel target.
 *
 * That target's pieces are chunks. A chunk is read by one request, run through
 * the program by one CPU, and keeps its matches until they are handed out in
 * order. Chunks share nothing, so any number can be read and run at a time; what
 * a unit sees beyond the border of its chunk is read twice.
 */
#ifndef BLK_BPF_SCAN_H
#define BLK_BPF_SCAN_H

#include <linux/bvec.h>
#include <linux/fs.h>
#include <linux/wait.h>

#include "run.h"
#include "target.h"

struct mem_cgroup;

/* Bytes of units in a chunk; with what it sees beyond, at most 1 MiB a bio. */
#define CHUNK_BYTES	(512U << 10)
/* Calls in a chunk, so that a signal is seen soon though units are small. */
#define CHUNK_UNITS	4096U
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

/**
 * struct scan_chunk - a piece, read by one request
 * @piece:    what it is, and what was found
 * @job:      it belongs to
 * @node:     in job->chunks, in the order of the answer
 * @state:    under the job's lock
 * @base:     position on the device of the first byte of @buf
 * @read_len: bytes of @buf that are read
 * @buf:      contiguous in virtual memory, @buf_len bytes
 * @bvecs:    the same in physical memory
 * @iocb:     the read
 * @read_err: what became of it
 * @run:      the program being called
 * @spare:    pages ready to be taken where nothing may sleep
 * @unsorted: the matches of the last unit are to be put in order
 */
struct scan_chunk {
	struct blk_bpf_piece piece;
	struct scan_job *job;
	struct list_head node;
	enum chunk_state state;

	u64 base;
	u32 read_len;
	u32 buf_len;
	void *buf;
	struct bio_vec *bvecs;
	u32 nr_bvecs;
	struct kiocb iocb;
	int read_err;

	struct blk_bpf_run run;
	struct list_head spare;
	bool unsorted;
};

struct scan_worker {
	struct work_struct work;
	struct scan_job *job;
};

/**
 * struct scan_job - a job of the kernel target
 * @base:     what it is
 * @chunk_len: bytes of units in a whole chunk, a multiple of the unit
 * @plan:     the first unit that no chunk has
 * @lock:     protects chunks' states, the list @chunks, and @nr_reading; irq-safe
 * @nr_reading: requests under way
 * @pausing:  no chunk is to be run any more; under @lock
 * @wait:     the scanning task, for a chunk to become READY or DONE
 * @chunks:   in use, in order; changed by the scanning task alone, which so
 *	      needs @lock only to change it; @idle: the others, its alone
 * @nr_chunks: how many there are; @max_chunks: may be
 * @workers, @nr_workers: other CPUs' share; @next_worker: whose turn it is
 * @memcg:    whom the workers' memory is charged to: who began the scan; a
 *	      reference, or NULL
 */
struct scan_job {
	struct blk_bpf_job base;
	u32 chunk_len;
	struct blk_bpf_place plan;

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
	struct mem_cgroup *memcg;
};

extern struct workqueue_struct *blk_bpf_scan_wq;

static inline struct scan_job *to_scan_job(struct blk_bpf_job *job)
{
	return container_of(job, struct scan_job, base);
}

/* chunk.c: one chunk, from planned to done */
struct scan_chunk *scan_chunk_alloc(struct scan_job *job);
void scan_chunk_free(struct scan_chunk *chunk);
void scan_chunk_read(struct scan_chunk *chunk);
void scan_chunk_run(struct scan_chunk *chunk);
void scan_chunk_run_slowly(struct scan_chunk *chunk);

/* target.c */
struct blk_bpf_target *blk_bpf_target_get(const char *name);
void blk_bpf_target_put(struct blk_bpf_target *target);

/* job.c: what an ioctl asks for */
struct blk_bpf_job *blk_bpf_job_create(const struct blk_bpf_scan *arg,
				       struct blk_bpf_msg *msg);
void blk_bpf_job_drop(struct blk_bpf_job *job);
void blk_bpf_job_free(struct blk_bpf_job *job);
void blk_bpf_job_take_globals(struct blk_bpf_job *job, struct blk_bpf_job *from);
bool blk_bpf_job_equal(const struct blk_bpf_job *a, const struct blk_bpf_job *b);

/* data.c */
int blk_bpf_job_read_match(struct blk_bpf_job *job,
			   const struct blk_bpf_match *match, void __user *to);

#endif /* BLK_BPF_SCAN_H */
