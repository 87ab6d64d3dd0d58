/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The user target, inside: a scan by threads of this process.
 *
 * A job cuts the ranges into chunks, as the kernel's does. Each worker, a
 * thread, takes the next chunks, reads them by a ring of its own, and runs them;
 * the calling thread hands the matches out in order. What a unit sees behind the
 * border of its chunk is read twice.
 *
 *	user.c		loading
 *	user_job.c	the request, its chunks, the answer in order
 *	user_worker.c	one worker: what it reads and runs next
 *	user_io.c	reading
 *	user_run.c	units through the program
 *	user_trace.c	what a unit did that ended a scan
 */
#ifndef LIBBLKBPF_USER_H
#define LIBBLKBPF_USER_H

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include "target.h"

/* As drivers/blk_bpf/scan.h has them, so that errors cut answers alike. */
#define CHUNK_BYTES	(512U << 10)
#define CHUNK_UNITS	4096U
#define CHUNK_MATCHES	65536U
#define CHUNKS_PER_WORKER 4U
#define THREADS_MAX	64U

/**
 * struct user_prog - a program that this process can run
 * @vm:       verified and compiled
 * @portable: what it was made of
 * @unit:     bytes a call, as its author said
 * @overlap:  bytes after the unit that a call sees
 */
struct user_prog {
	struct bpfvm_prog *vm;
	struct portable portable;
	uint32_t unit;
	uint32_t overlap;
};

/**
 * enum chunk_state - where a chunk is on its way
 * @CHUNK_FREE:    of no use
 * @CHUNK_READING: under way; these three are the worker's:
 * @CHUNK_READY:   waits to be run
 * @CHUNK_RUNNING: is run
 * @CHUNK_DONE:    keeps its matches, and is the calling thread's
 */
enum chunk_state {
	CHUNK_FREE,
	CHUNK_READING,
	CHUNK_READY,
	CHUNK_RUNNING,
	CHUNK_DONE,
};

/* Why a unit could not be done. */
enum trouble {
	TROUBLE_NONE,
	TROUBLE_READ,		/* @err: of the device */
	TROUBLE_EMIT,		/* @err: of blk_bpf_emit() */
	TROUBLE_RETURN,		/* @ret: what the program returned */
	TROUBLE_FAULT,		/* @fault at @fault_pc */
	TROUBLE_MEMORY,
};

/**
 * struct chunk - a part of a range
 * @next:     in the order of the answer
 * @worker:   it belongs to
 * @state:    under the job's lock
 * @range:    index of the range
 * @off:      of the first unit, from the start of the range (bytes)
 * @len:      of its units; the last may be short
 * @base:     position of the first byte of @buf
 * @want:     bytes of @buf that there are to read
 * @have:     of these, bytes that are read
 * @buf:      as large as the largest chunk needs
 * @read_err: why it could not be read at once, a negative errno
 * @done:     bytes of units that were run
 * @counted:  of these, bytes that are in the statistics
 * @units, @found, @prog_ns, @insns: calls, what they found, the time and the
 *	      instructions they took, since then
 * @trouble:  why the unit at @off + @done could not be done
 * @err, @ret, @fault, @fault_pc: see enum trouble
 * @stop:     the unit before @off + @done returned BLK_BPF_STOP
 * @matches, @nr, @room: what was found, in order
 * @out:      the first that was not handed out yet
 */
struct chunk {
	struct chunk *next;
	struct worker *worker;
	enum chunk_state state;
	uint32_t range;
	uint64_t off;
	uint32_t len;

	uint64_t base;
	uint32_t want;
	uint32_t have;
	unsigned char *buf;
	int read_err;

	uint32_t done;
	uint32_t counted;
	uint64_t units;
	uint64_t found;
	uint64_t prog_ns;
	uint64_t insns;
	enum trouble trouble;
	int err;
	int ret;
	enum bpfvm_fault fault;
	uint32_t fault_pc;
	bool stop;

	struct blk_bpf_match *matches;
	uint32_t nr;
	uint32_t room;
	uint32_t out;
};

/**
 * struct worker - a thread that reads and runs chunks
 * @job:     of all
 * @thread:  while @started
 * @vm:      the program, for this thread
 * @ctx:     what the program is told; written for each call
 * @chunk:   being run
 * @visible: data_end - data of this call (bytes)
 * @emitted: matches of this call
 * @emit_err: the first error of blk_bpf_emit() in this call, or 0
 * @before:  with a trace, the variables as they were before this call
 * @chunks:  CHUNKS_PER_WORKER of them
 * @ring, @has_ring: for its reads
 * @fixed:   the buffers are registered
 * @reads, @bytes_read: what it read; its own until the end
 * @wake:    a chunk was handed out
 */
struct worker {
	struct job *job;
	pthread_t thread;
	bool started;
	struct bpfvm_thread *vm;
	struct blk_bpf_ctx ctx;
	struct chunk *chunk;
	uint32_t visible;
	uint32_t emitted;
	int emit_err;
	unsigned char *before;
	struct chunk chunks[CHUNKS_PER_WORKER];
	struct io_uring ring;
	bool has_ring;
	bool fixed;
	uint64_t reads;
	uint64_t bytes_read;
	pthread_cond_t wake;
};

/**
 * struct job - a scan
 * @prog, @opts, @result: as given
 * @unit, @overlap: of this scan
 * @chunk_len: bytes of units in a whole chunk, a multiple of @unit
 * @buf_len:  bytes of a chunk's buffer
 * @fd:       what is scanned, opened as it is read
 * @align:    positions and lengths of reads are multiples of this
 * @ring_err: why there is no io_uring, an errno, or 0
 * @direct_err: why there is no O_DIRECT, an errno; 0: there is; -1: not wanted
 * @dev_len:  length of what is scanned (bytes)
 * @ranges, @nr_ranges: what to scan; @whole: the one if none was given
 * @cursor:   the first unit whose matches are not all handed out, and how many
 *	      are; @to_skip: of that unit, by an earlier scan. The caller's
 * @lock:     protects chunks' states, the order, and the next four
 * @next_range, @next_off: the first unit that no chunk has
 * @first, @last: chunks in use, in the order of the answer
 * @quit:     the scan is about to return: workers run no more units
 * @running:  workers that have not ended
 * @event:    eventfd: there is something for the calling thread
 * @workers, @nr_workers: the threads
 */
struct job {
	const struct blkbpf_prog *prog;
	const struct blkbpf_scan_opts *opts;
	struct blkbpf_scan_result *result;
	uint32_t unit;
	uint32_t overlap;
	uint32_t chunk_len;
	uint32_t buf_len;

	int fd;
	uint32_t align;
	int ring_err;
	int direct_err;
	uint64_t dev_len;
	const struct blk_bpf_range *ranges;
	uint32_t nr_ranges;
	struct blk_bpf_range whole;

	struct blk_bpf_cursor cursor;
	uint32_t to_skip;

	pthread_mutex_t lock;
	uint32_t next_range;
	uint64_t next_off;
	struct chunk *first;
	struct chunk *last;
	atomic_bool quit;
	uint32_t running;
	int event;
	struct worker *workers;
	uint32_t nr_workers;
};

/* check.c */
int user_check(struct blkbpf_prog *prog, struct check *check);

/* user_job.c */
int user_scan(const struct blkbpf_prog *prog, int fd,
	      const struct blkbpf_scan_opts *opts,
	      struct blkbpf_scan_result *result);
/* The next part of the ranges into @chunk; false if there is none. */
bool job_plan(struct job *job, struct chunk *chunk);
/* Chunks that were done without a match need nobody. With the lock. */
void job_advance(struct job *job);

/* user_worker.c */
int worker_init(struct worker *worker, struct job *job);
int worker_start(struct worker *worker);
void worker_free(struct worker *worker);

/* user_io.c */
/* How @fd can be read; sets fd, align, direct_err and dev_len. */
int io_open(struct job *job, int fd);
void io_close(struct job *job);
int io_init(struct worker *worker);
void io_free(struct worker *worker);
/* Begin to read; READING, or READY at once. */
void io_read(struct worker *worker, struct chunk *chunk);
void io_submit(struct worker *worker);
/* Wait for a chunk to be read; one is READING. */
struct chunk *io_reap(struct worker *worker);
/* The blocks of one unit, into their place; 0 or a negative errno. */
int io_read_unit(struct worker *worker, struct chunk *chunk, uint64_t off,
		 uint32_t len);
void io_describe(const struct job *job, char *text, size_t size);

/* user_run.c */
uint64_t user_emit(uint64_t ctx, uint64_t off, uint64_t len, uint64_t r4,
		   uint64_t r5, struct bpfvm_thread *thread);
void run_init(struct worker *worker);
void run_chunk(struct worker *worker, struct chunk *chunk);

/* user_trace.c */
size_t trace_room(const struct job *job);
void trace_remember(struct worker *worker);
/* The call that could not be done, once more, told step by step. */
void trace_unit(struct worker *worker, const unsigned char *data,
		const char *sentence);
/* "file.c:12: text" of an instruction of the image, or "instruction N". */
void place_of(const struct blkbpf_prog *prog, uint32_t pc, char *text,
	      size_t size);

#endif /* LIBBLKBPF_USER_H */
