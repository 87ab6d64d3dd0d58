// SPDX-License-Identifier: GPL-2.0
/*
 * Units through the program: this process's side of the contract, by the rules
 * of drivers/blk_bpf/run.h and chunk.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "user.h"

#define MAX_ERRNO	4095
/* A scan may take as long as it takes; its caller can stop it. */
#define FUEL		(INT64_MAX / 4)

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* The first error stays, so that a program that ignores it loses nothing silently. */
static int emit_fail(struct worker *worker, int err)
{
	if (!worker->emit_err)
		worker->emit_err = err;
	return err;
}

static int make_room(struct chunk *chunk)
{
	uint32_t room = chunk->room ? 2 * chunk->room : 256;
	struct blk_bpf_match *more;

	more = realloc(chunk->matches, room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	chunk->matches = more;
	chunk->room = room;
	return 0;
}

static int add_match(struct worker *worker, uint32_t off, uint32_t len)
{
	struct chunk *chunk = worker->chunk;

	if (worker->emitted == BLK_BPF_EMIT_MAX)
		return emit_fail(worker, -ENOSPC);
	if (!worker->job->opts->count) {
		if (chunk->nr == chunk->room && make_room(chunk))
			return emit_fail(worker, -ENOMEM);
		chunk->matches[chunk->nr++] = (struct blk_bpf_match) {
			.pos = worker->ctx.pos + off,
			.len = len,
		};
	}
	worker->emitted++;
	return 0;
}

/* blk_bpf_emit(): the arguments are 32 bits wide, as those of the kernel's. */
uint64_t user_emit(uint64_t ctx, uint64_t off64, uint64_t len64, uint64_t r4,
		   uint64_t r5, struct bpfvm_thread *thread)
{
	struct worker *worker = bpfvm_thread_priv(thread);
	uint32_t off = off64, len = len64;

	(void)ctx, (void)r4, (void)r5;
	if (off >= worker->ctx.len || !len || len > worker->visible - off)
		return (uint32_t)emit_fail(worker, -EINVAL);
	return (uint32_t)add_match(worker, off, len);
}

void run_init(struct worker *worker)
{
	const struct job *job = worker->job;

	worker->ctx = (struct blk_bpf_ctx) {
		.size = sizeof(worker->ctx),
		.op = BLK_BPF_OP_READ,
		.unit = job->unit,
	};
	memcpy(worker->ctx.args, job->opts->args, sizeof(worker->ctx.args));
}

static int match_cmp(const void *a, const void *b)
{
	const struct blk_bpf_match *l = a, *r = b;

	if (l->pos != r->pos)
		return l->pos < r->pos ? -1 : 1;
	return l->len < r->len ? -1 : l->len > r->len;
}

/* Matches come in device order, whatever order a program emits them in. */
static void sort_unit(struct chunk *chunk, uint32_t nr)
{
	struct blk_bpf_match *array = chunk->matches + chunk->nr - nr;
	uint32_t i;

	for (i = 1; i < nr; i++) {
		if (match_cmp(&array[i - 1], &array[i]) > 0) {
			qsort(array, nr, sizeof(*array), match_cmp);
			return;
		}
	}
}

/* A unit that could not be done leaves no matches behind. */
static bool drop_unit(struct worker *worker, enum trouble trouble, int err)
{
	struct chunk *chunk = worker->chunk;

	if (!worker->job->opts->count)
		chunk->nr -= worker->emitted;
	chunk->trouble = trouble;
	chunk->err = err;
	return false;
}

/* What the program returned, if there is anything to do about it. */
static bool take_ret(struct worker *worker, int ret)
{
	struct chunk *chunk = worker->chunk;

	if (ret == BLK_BPF_STOP) {
		chunk->stop = true;
		return true;
	}
	chunk->ret = ret;
	return drop_unit(worker, TROUBLE_RETURN,
			 ret > BLK_BPF_STOP || ret < -MAX_ERRNO ? -EPROTO : ret);
}

/* Run the program for one unit. Return: whether the unit is done. */
static bool call(struct worker *worker, const unsigned char *data, uint32_t len,
		 int *ret)
{
	struct chunk *chunk = worker->chunk;
	struct bpfvm_run run = {
		.ctx = &worker->ctx,
		.data = data,
		.data_len = worker->visible,
		.fuel = FUEL,
	};

	memset(worker->ctx.state, 0, sizeof(worker->ctx.state));
	worker->emitted = 0;
	worker->emit_err = 0;
	if (worker->before)
		trace_remember(worker);
	if (bpfvm_run(worker->vm, &run)) {
		chunk->insns += run.retired;
		/* Stopped in the middle: as if it had not been called. */
		if (run.fault == BPFVM_FAULT_STOPPED &&
		    atomic_load(&worker->job->quit))
			return drop_unit(worker, TROUBLE_NONE, 0);
		chunk->fault = run.fault;
		chunk->fault_pc = run.fault_pc;
		return drop_unit(worker, TROUBLE_FAULT, -EFAULT);
	}
	chunk->insns += run.retired;
	*ret = (int)(uint32_t)run.r0;
	if (*ret == BLK_BPF_MATCH) {
		add_match(worker, 0, len);
		*ret = BLK_BPF_SKIP;
	}
	if (worker->emit_err)
		return drop_unit(worker, worker->emit_err == -ENOMEM ?
				 TROUBLE_MEMORY : TROUBLE_EMIT, worker->emit_err);
	return true;
}

/* One unit, whose data is in the buffer. Return: whether to go on. */
static bool run_unit(struct worker *worker, uint64_t off, uint32_t len)
{
	struct chunk *chunk = worker->chunk;
	const struct job *job = worker->job;
	const struct blk_bpf_range *range = &job->ranges[chunk->range];
	uint64_t left = range->len - off, pos = range->off + off;
	uint32_t visible = len + job->overlap;
	uint32_t flags = 0;
	int ret = 0;

	if (visible > left) {
		visible = left;
		flags |= BLK_BPF_F_EDGE;
	}
	if (len != job->unit)
		flags |= BLK_BPF_F_SHORT;
	worker->ctx.flags = flags;
	worker->ctx.pos = pos;
	worker->ctx.len = len;
	worker->visible = visible;

	chunk->units++;
	if (!call(worker, chunk->buf + (pos - chunk->base), len, &ret)) {
		/* A call that was stopped did not count. */
		chunk->units -= chunk->trouble == TROUBLE_NONE;
		return false;
	}
	if (ret && !take_ret(worker, ret))
		return false;
	if (worker->emitted > 1 && !job->opts->count)
		sort_unit(chunk, worker->emitted);
	chunk->found += worker->emitted;
	chunk->done += len;
	return !chunk->stop;
}

/*
 * The units of a chunk whose data is there: all of them, or as many as find
 * CHUNK_MATCHES matches or are run before the scan has to return. One that could
 * not be read at once is read unit by unit, so that one bad block costs no match
 * before it and the cursor names its unit.
 */
void run_chunk(struct worker *worker, struct chunk *chunk)
{
	const uint32_t unit = worker->job->unit;
	uint64_t began = now_ns();
	bool more = true;

	worker->chunk = chunk;
	/* What an earlier run gathered has been handed out. */
	chunk->nr = 0;
	chunk->out = 0;
	while (more && chunk->done < chunk->len && chunk->nr < CHUNK_MATCHES &&
	       !atomic_load_explicit(&worker->job->quit, memory_order_relaxed)) {
		uint32_t left = chunk->len - chunk->done;
		uint32_t len = left < unit ? left : unit;

		if (chunk->read_err) {
			int err = io_read_unit(worker, chunk,
					       chunk->off + chunk->done, len);

			worker->emitted = 0;
			if (err) {
				drop_unit(worker, TROUBLE_READ, err);
				break;
			}
		}
		more = run_unit(worker, chunk->off + chunk->done, len);
	}
	chunk->prog_ns += now_ns() - began;
}
