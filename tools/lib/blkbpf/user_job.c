// SPDX-License-Identifier: GPL-2.0
/*
 * A scan of the user target: the request, its chunks, and the answer in order.
 * What is refused, and where a cursor points, is as drivers/blk_bpf has it, by
 * the same sentences.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "user.h"

/* Bytes of matches that are delivered at a time. */
#define BATCH_BYTES	(4U << 20)
/* How often the caller hears of progress, and workers are reminded to end. */
#define PROGRESS_NS	500000000ULL
#define PATIENCE_MS	200

_Static_assert(BATCH_BYTES > BLK_BPF_UNIT_MAX + BLK_BPF_OVERLAP_MAX,
	       "the longest match must fit, or a scan could not go on");

/* Another end of handing out than all or an error. */
#define HAND_OUT_LIMIT	1

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/*
 * The request
 */

static int check_unit(struct job *job)
{
	const struct user_prog *user = job->prog->user;

	if (job->opts->unit > BLK_BPF_UNIT_MAX)
		return blkbpf_err(EINVAL, "scan: unit %u is too large: at most %u bytes",
				  job->opts->unit, BLK_BPF_UNIT_MAX);
	job->unit = job->opts->unit ? job->opts->unit : user->unit;
	job->overlap = user->overlap;
	return 0;
}

static int check_ranges(struct job *job)
{
	uint32_t i;

	job->ranges = job->opts->ranges;
	job->nr_ranges = job->opts->nr_ranges;
	if (!job->nr_ranges) {
		job->whole.len = job->dev_len;
		job->ranges = &job->whole;
		job->nr_ranges = 1;
	}
	for (i = 0; i < job->nr_ranges; i++) {
		const struct blk_bpf_range *range = &job->ranges[i];

		if (range->off > job->dev_len ||
		    range->len > job->dev_len - range->off)
			return blkbpf_err(EINVAL,
				"scan: range %u (offset %llu, length %llu) reaches past the end of the device, which has %llu bytes",
				i, range->off, range->len,
				(unsigned long long)job->dev_len);
		job->result->total += range->len;
	}
	return 0;
}

static int check_cursor(struct job *job)
{
	const struct blk_bpf_cursor *cursor = &job->opts->cursor;
	bool last = cursor->range == job->nr_ranges;

	if (job->opts->count && cursor->skip)
		return blkbpf_err(EINVAL, "scan: with BLK_BPF_SCAN_COUNT the cursor's skip must be 0");
	if (cursor->range > job->nr_ranges ||
	    (last && (cursor->pos || cursor->skip)) ||
	    (!last && cursor->pos > job->ranges[cursor->range].len))
		return blkbpf_err(EINVAL,
			"scan: the cursor (range %u, position %llu) is not inside the %u ranges: pass the one that the last call returned, with the same ranges",
			cursor->range, cursor->pos, job->nr_ranges);
	if (!last && cursor->pos % job->unit &&
	    cursor->pos != job->ranges[cursor->range].len)
		return blkbpf_err(EINVAL,
			"scan: the cursor's position %llu is no multiple of the unit, %u: pass the one that the last call returned, with the same unit",
			cursor->pos, job->unit);
	job->cursor = *cursor;
	job->cursor.cookie = 0;
	job->to_skip = cursor->skip;
	job->next_range = cursor->range;
	job->next_off = cursor->pos;
	return 0;
}

/* How many threads are worth it: none waits for less than a few chunks. */
static uint32_t choose_threads(const struct job *job, uint64_t bytes)
{
	uint64_t most = bytes / job->chunk_len / CHUNKS_PER_WORKER;
	uint32_t cpus = 1, threads;
	cpu_set_t set;

	if (!sched_getaffinity(0, sizeof(set), &set))
		cpus = CPU_COUNT(&set);
	threads = job->opts->threads ? job->opts->threads : cpus;
	if (threads > cpus)
		threads = cpus;
	if (threads > THREADS_MAX)
		threads = THREADS_MAX;
	if (threads > most)
		threads = most;
	/* What is traced must be the only call. */
	return threads && !job->opts->trace ? threads : 1;
}

/* How the ranges are cut, and by how many they are run. */
static void cut(struct job *job)
{
	uint64_t bytes = 0, longest = job->unit;
	uint32_t i, units;

	for (i = job->cursor.range; i < job->nr_ranges; i++) {
		bytes += job->ranges[i].len;
		if (job->ranges[i].len > longest)
			longest = job->ranges[i].len;
	}
	units = CHUNK_BYTES / job->unit;
	units = units < CHUNK_UNITS ? units : CHUNK_UNITS;
	longest = (longest + job->unit - 1) / job->unit;
	units = units < longest ? units : longest;
	job->chunk_len = units * job->unit;
	job->buf_len = (job->chunk_len + job->overlap + 2 * job->align + 4095) &
		       ~4095U;
	job->nr_workers = choose_threads(job, bytes);
}

static int job_init(struct job *job, int fd)
{
	int err = check_unit(job);

	if (!err)
		err = io_open(job, fd);
	if (!err)
		err = check_ranges(job);
	if (!err)
		err = check_cursor(job);
	if (err)
		return err;
	cut(job);
	job->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (job->event < 0)
		return blkbpf_err(errno, "scan: no eventfd: %s", strerror(errno));
	job->workers = calloc(job->nr_workers, sizeof(*job->workers));
	if (!job->workers)
		return blkbpf_err(ENOMEM, "scan: no memory for a scan");
	return 0;
}

/*
 * Chunks; all of this with the lock
 */

bool job_plan(struct job *job, struct chunk *chunk)
{
	const struct blk_bpf_range *range;
	uint64_t left;

	while (job->next_range < job->nr_ranges &&
	       job->next_off == job->ranges[job->next_range].len) {
		job->next_range++;
		job->next_off = 0;
	}
	if (job->next_range == job->nr_ranges)
		return false;
	range = &job->ranges[job->next_range];
	left = range->len - job->next_off;

	*chunk = (struct chunk) {
		.worker = chunk->worker,
		.buf = chunk->buf,
		.matches = chunk->matches,
		.room = chunk->room,
		.range = job->next_range,
		.off = job->next_off,
		.len = left < job->chunk_len ? left : job->chunk_len,
	};
	job->next_off += chunk->len;
	if (job->last)
		job->last->next = chunk;
	else
		job->first = chunk;
	job->last = chunk;
	return true;
}

static void retire(struct job *job, struct chunk *chunk)
{
	job->first = chunk->next;
	if (!job->first)
		job->last = NULL;
	chunk->state = CHUNK_FREE;
	pthread_cond_signal(&chunk->worker->wake);
}

static void count_chunk(struct job *job, struct chunk *chunk)
{
	struct blk_bpf_scan_stats *stats = &job->result->stats;

	stats->units += chunk->units;
	stats->bytes_scanned += chunk->done - chunk->counted;
	stats->prog_ns += chunk->prog_ns;
	job->result->insns += chunk->insns;
	if (job->opts->count) {
		stats->matches += chunk->found;
		job->result->matches += chunk->found;
	}
	chunk->counted = chunk->done;
	chunk->units = 0;
	chunk->prog_ns = 0;
	chunk->insns = 0;
	chunk->found = 0;
}

static void cursor_to(struct job *job, uint32_t range, uint64_t pos)
{
	/* A unit that failed may have been where the cursor is already. */
	if (job->cursor.range == range && job->cursor.pos == pos)
		return;
	job->cursor.range = range;
	job->cursor.pos = pos;
	job->cursor.skip = 0;
	job->to_skip = 0;
}

static bool is_plain(const struct chunk *chunk)
{
	return chunk->state == CHUNK_DONE && !chunk->nr && !chunk->trouble &&
	       !chunk->stop && chunk->done == chunk->len;
}

void job_advance(struct job *job)
{
	const uint64_t one = 1;
	struct chunk *chunk;

	while ((chunk = job->first) && is_plain(chunk)) {
		count_chunk(job, chunk);
		cursor_to(job, chunk->range, chunk->off + chunk->done);
		retire(job, chunk);
	}
	if ((job->first && job->first->state == CHUNK_DONE) || !job->running)
		if (write(job->event, &one, sizeof(one)) < 0)
			return;		/* it is set already */
}

/*
 * Handing out, by the calling thread. The first chunk is its own while it is
 * DONE and not plain.
 */

/* A match belongs to the unit it begins in: keeps the cursor on that unit. */
static void cursor_to_match(struct job *job, const struct chunk *chunk,
			    const struct blk_bpf_match *match)
{
	uint64_t off = match->pos - job->ranges[chunk->range].off;

	cursor_to(job, chunk->range, off / job->unit * job->unit);
}

static int deliver(struct job *job, const struct chunk *chunk, uint32_t nr,
		   const void *data)
{
	const struct blkbpf_scan_opts *opts = job->opts;
	int ret;

	if (!nr || !opts->match)
		return 0;
	ret = opts->match(opts->ctx, chunk->matches + chunk->out, nr, data);
	return ret ? blkbpf_err(ret, "scan: ended by its caller") : 0;
}

/* Some matches from @chunk->out on; @data holds BATCH_BYTES, or is NULL. */
static int hand_out_some(struct job *job, struct chunk *chunk,
			 unsigned char *data)
{
	struct blkbpf_scan_result *result = job->result;
	uint32_t used = 0, nr = 0;
	int ret, limit = 0;

	while (chunk->out + nr < chunk->nr) {
		const struct blk_bpf_match *match = &chunk->matches[chunk->out + nr];

		cursor_to_match(job, chunk, match);
		if (job->to_skip) {
			/* Those of an earlier scan come first. */
			job->to_skip--;
			chunk->out++;
			continue;
		}
		if (job->opts->limit && result->matches == job->opts->limit) {
			limit = HAND_OUT_LIMIT;
			break;
		}
		if (data) {
			if (match->len > BATCH_BYTES - used)
				break;
			memcpy(data + used, chunk->buf + (match->pos - chunk->base),
			       match->len);
			used += match->len;
		}
		nr++;
		job->cursor.skip++;
		result->matches++;
		result->stats.matches++;
	}
	ret = deliver(job, chunk, nr, data);
	chunk->out += nr;
	return ret ? ret : limit;
}

static int hand_out(struct job *job, struct chunk *chunk, unsigned char *data)
{
	int ret;

	count_chunk(job, chunk);
	while (chunk->out < chunk->nr) {
		ret = hand_out_some(job, chunk, data);
		if (ret)
			return ret;
	}
	cursor_to(job, chunk->range, chunk->off + chunk->done);
	return 0;
}

/* Why a unit could not be done. The matches before it are handed out. */
static int explain(const struct job *job, const struct chunk *chunk)
{
	unsigned long long pos = job->ranges[chunk->range].off + chunk->off +
				 chunk->done;
	char place[512];

	switch (chunk->trouble) {
	case TROUBLE_EMIT:
		if (chunk->err == -ENOSPC)
			return blkbpf_err(chunk->err,
				"scan: the program emitted more than %u matches in the unit at %llu: use a smaller unit",
				BLK_BPF_EMIT_MAX, pos);
		return blkbpf_err(chunk->err,
			"scan: the program emitted a match outside of what it sees, in the unit at %llu: off must be below ctx->len, and off + len at most data_end - data",
			pos);
	case TROUBLE_RETURN:
		if (chunk->err == -EPROTO)
			return blkbpf_err(chunk->err,
				"scan: the program returned %d for the unit at %llu: it may return 0 (SKIP), 1 (MATCH), 2 (STOP) or a negative errno",
				chunk->ret, pos);
		return blkbpf_err(chunk->err,
			"scan: the program ended the scan with error %d at the unit at %llu",
			chunk->ret, pos);
	case TROUBLE_FAULT:
		place_of(job->prog, chunk->fault_pc, place, sizeof(place));
		return blkbpf_err(chunk->err, "scan: the program faulted in the unit at %llu: %s (%s)",
				  pos, bpfvm_fault_text(chunk->fault), place);
	case TROUBLE_MEMORY:
		return blkbpf_err(chunk->err, "scan: no memory for the matches of the unit at %llu",
				  pos);
	default:
		return blkbpf_err(chunk->err,
			"scan: the device could not read the unit at %llu (error %d): scan around it with ranges",
			pos, chunk->err);
	}
}

/* The caller's program is told once more what it did, if it wants to be. */
static void trace(struct job *job, struct chunk *chunk)
{
	const struct blk_bpf_range *range = &job->ranges[chunk->range];
	uint64_t pos = range->off + chunk->off + chunk->done;

	if (job->opts->trace && (chunk->trouble == TROUBLE_EMIT ||
				 chunk->trouble == TROUBLE_RETURN ||
				 chunk->trouble == TROUBLE_FAULT))
		trace_unit(chunk->worker, chunk->buf + (pos - chunk->base),
			   blkbpf_last_error());
}

/* The first chunk if it can be handed out; @end: there will be none. */
static struct chunk *done_chunk(struct job *job, bool *end)
{
	struct chunk *chunk;

	pthread_mutex_lock(&job->lock);
	chunk = job->first;
	*end = !chunk && !job->running;
	if (chunk && chunk->state != CHUNK_DONE)
		chunk = NULL;
	pthread_mutex_unlock(&job->lock);
	return chunk;
}

/* Return: whether the scan goes on; @ret: with what it ends. */
static bool take_chunk(struct job *job, struct chunk *chunk, unsigned char *data,
		       int *ret)
{
	*ret = hand_out(job, chunk, data);
	if (*ret == HAND_OUT_LIMIT) {
		job->result->status = BLKBPF_SCAN_LIMIT;
		*ret = 0;
		return false;
	}
	if (!*ret && chunk->trouble) {
		*ret = explain(job, chunk);
		trace(job, chunk);
	}
	if (*ret)
		return false;
	if (chunk->stop) {
		job->result->status = BLKBPF_SCAN_STOPPED;
		return false;
	}
	pthread_mutex_lock(&job->lock);
	if (chunk->done < chunk->len) {
		chunk->state = CHUNK_READY;
		pthread_cond_signal(&chunk->worker->wake);
	} else {
		retire(job, chunk);
		/* What was done behind it may need nobody. */
		job_advance(job);
	}
	pthread_mutex_unlock(&job->lock);
	return true;
}

static int tell_progress(struct job *job, uint64_t *last)
{
	const struct blkbpf_scan_opts *opts = job->opts;
	int ret;

	*last = now_ns();
	if (!opts->progress)
		return 0;
	pthread_mutex_lock(&job->lock);
	job->result->cursor = job->cursor;
	job->result->done = ranges_done(job->ranges, job->nr_ranges, &job->cursor);
	pthread_mutex_unlock(&job->lock);
	ret = opts->progress(opts->ctx, job->result);
	return ret ? blkbpf_err(ret, "scan: ended by its caller") : 0;
}

static void wait_event(struct job *job)
{
	struct pollfd pfd = { .fd = job->event, .events = POLLIN };
	uint64_t count;

	/* A signal ends it too. */
	if (poll(&pfd, 1, PROGRESS_NS / 1000000) > 0 &&
	    read(job->event, &count, sizeof(count)) < 0)
		return;
}

static int loop(struct job *job, unsigned char *data)
{
	uint64_t last = now_ns();
	struct chunk *chunk;
	int ret = 0;
	bool end;

	for (;;) {
		if (job->opts->stop && *job->opts->stop) {
			job->result->status = BLKBPF_SCAN_INTERRUPTED;
			return 0;
		}
		chunk = done_chunk(job, &end);
		if (end) {
			job->result->status = BLKBPF_SCAN_DONE;
			return 0;
		}
		if (chunk) {
			if (!take_chunk(job, chunk, data, &ret))
				return ret;
		} else {
			wait_event(job);
		}
		if (now_ns() - last >= PROGRESS_NS) {
			ret = tell_progress(job, &last);
			if (ret)
				return ret;
		}
	}
}

/*
 * The threads
 */

static int start(struct job *job)
{
	uint32_t i;
	int err;

	for (i = 0; i < job->nr_workers; i++) {
		err = worker_init(&job->workers[i], job);
		if (err)
			return blkbpf_err(err, "scan: no memory for a scan");
	}
	job->running = job->nr_workers;
	for (i = 0; i < job->nr_workers; i++) {
		err = worker_start(&job->workers[i]);
		if (!err)
			continue;
		pthread_mutex_lock(&job->lock);
		job->running -= job->nr_workers - i;
		pthread_mutex_unlock(&job->lock);
		if (i)
			break;	/* fewer will do */
		return blkbpf_err(err, "scan: no thread can be made: %s",
				  strerror(-err));
	}
	job->result->stats.threads = i;
	return 0;
}

static bool is_running(struct job *job)
{
	bool running;

	pthread_mutex_lock(&job->lock);
	running = job->running;
	pthread_mutex_unlock(&job->lock);
	return running;
}

/* Units are run to their end, unless that takes too long. */
static void stop(struct job *job)
{
	struct pollfd pfd = { .fd = job->event, .events = POLLIN };
	uint64_t count;
	uint32_t i;

	pthread_mutex_lock(&job->lock);
	atomic_store(&job->quit, true);
	for (i = 0; i < job->nr_workers; i++)
		if (job->workers[i].started)
			pthread_cond_signal(&job->workers[i].wake);
	pthread_mutex_unlock(&job->lock);
	while (is_running(job)) {
		if (!poll(&pfd, 1, PATIENCE_MS))
			for (i = 0; i < job->nr_workers; i++)
				if (job->workers[i].started)
					bpfvm_stop(job->workers[i].vm);
		if (read(job->event, &count, sizeof(count)) < 0)
			continue;
	}
	for (i = 0; i < job->nr_workers; i++) {
		job->result->stats.reads += job->workers[i].reads;
		job->result->stats.bytes_read += job->workers[i].bytes_read;
		worker_free(&job->workers[i]);
	}
}

/* The ranges before the cursor are empty or done: it names the next byte. */
static void give_cursor(struct job *job)
{
	struct blk_bpf_cursor *cursor = &job->cursor;

	while (cursor->range < job->nr_ranges &&
	       cursor->pos == job->ranges[cursor->range].len) {
		cursor->range++;
		cursor->pos = 0;
		cursor->skip = 0;
	}
	job->result->cursor = *cursor;
	job->result->done = ranges_done(job->ranges, job->nr_ranges, cursor);
}

static int job_run(struct job *job)
{
	unsigned char *data = NULL;
	uint64_t began = now_ns();
	int ret, err;

	if (job->opts->data) {
		data = malloc(BATCH_BYTES);
		if (!data)
			return blkbpf_err(ENOMEM, "scan: out of memory");
	}
	ret = start(job);
	if (!ret)
		ret = loop(job, data);
	err = errno;
	stop(job);
	free(data);
	give_cursor(job);
	job->result->stats.time_ns = now_ns() - began;
	io_describe(job, job->result->path, sizeof(job->result->path));
	errno = err;
	return ret;
}

int user_scan(const struct blkbpf_prog *prog, int fd,
	      const struct blkbpf_scan_opts *opts,
	      struct blkbpf_scan_result *result)
{
	struct job job = {
		.prog = prog,
		.opts = opts,
		.result = result,
		.fd = -1,
		.event = -1,
	};
	int ret, err;

	pthread_mutex_init(&job.lock, NULL);
	ret = job_init(&job, fd);
	if (!ret)
		ret = job_run(&job);
	err = errno;
	io_close(&job);
	if (job.event >= 0)
		close(job.event);
	free(job.workers);
	pthread_mutex_destroy(&job.lock);
	errno = err;
	return ret;
}
