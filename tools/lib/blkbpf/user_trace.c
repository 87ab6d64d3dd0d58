// SPDX-License-Identifier: GPL-2.0
/*
 * What a call did that ended a scan: it is run once more, one instruction at a
 * time, with the variables as they were before it, and its end is told: the
 * unit, the last branches and calls, the instruction, and the registers.
 *
 * Slow and simple on purpose. It does not verify: it checks each access.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../bpfvm/alu.h"
#include "user.h"

#define MAX_STEPS	(1ULL << 28)
/* Branches and calls that are told. */
#define HISTORY		16
#define MAX_LOOPS	(1U << 23)
/* How far outside of the data an address is still told as one of the data's. */
#define NEAR		(1 << 16)

struct step {
	uint32_t pc;
	bool taken;
};

struct frame {
	unsigned char stack[BPFVM_FRAME_SIZE];
	uint64_t saved[4];	/* r6 to r9 of the caller */
	uint32_t ret;		/* where the caller goes on */
	bool is_loop;		/* the callback of a bpf_loop() */
	uint32_t round;
	uint32_t rounds;
	uint64_t loop_ctx;
	uint32_t callback;
};

struct tracer {
	struct worker *worker;
	const struct bpfvm_image *image;
	const struct bpfvm_global *globals;
	const unsigned char *data;
	struct blk_bpf_ctx ctx;
	uint64_t args[3];
	uint64_t r[11];
	uint32_t pc;
	struct frame *frames;
	uint32_t depth;
	uint32_t emitted;
	uint64_t steps;
	struct step history[HISTORY];
	uint64_t branches;
	const char *end;	/* what happened, once it is over */
	char end_buf[128];
};

size_t trace_room(const struct job *job)
{
	const struct portable *portable = &job->prog->user->portable;
	size_t room = 0;
	uint32_t i;

	for (i = 0; i < portable->image->nr_globals; i++)
		if (!portable->globals[i].rdonly)
			room += portable->globals[i].size;
	return room;
}

static void copy_globals(struct worker *worker, unsigned char *room, bool back)
{
	const struct portable *portable = &worker->job->prog->user->portable;
	uint32_t i;

	for (i = 0; i < portable->image->nr_globals; i++) {
		const struct bpfvm_global *g = &portable->globals[i];

		if (g->rdonly)
			continue;
		memcpy(back ? g->data : room, back ? room : g->data, g->size);
		room += g->size;
	}
}

void trace_remember(struct worker *worker)
{
	copy_globals(worker, worker->before, false);
}

__attribute__((format(printf, 2, 3)))
static void tell(const struct tracer *t, const char *fmt, ...)
{
	const struct blkbpf_scan_opts *opts = t->worker->job->opts;
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	opts->trace(opts->ctx, line);
}

static bool inside(uint64_t addr, uint64_t size, const void *base, uint64_t len)
{
	return addr - (uintptr_t)base <= len && size <= len -
	       (addr - (uintptr_t)base);
}

/* A pointer by what it points into. */
static void describe(const struct tracer *t, uint64_t value, char *text,
		     size_t size)
{
	int64_t off = value - (uintptr_t)t->data;
	uint32_t i;

	if (inside(value, 0, t->data, t->worker->visible))
		snprintf(text, size, "data+%llu", (unsigned long long)
			 (value - (uintptr_t)t->data));
	else if (inside(value, 0, &t->ctx, sizeof(t->ctx)))
		snprintf(text, size, "ctx+%llu", (unsigned long long)
			 (value - (uintptr_t)&t->ctx));
	else if (inside(value, 0, t->args, sizeof(t->args)))
		snprintf(text, size, "args+%llu", (unsigned long long)
			 (value - (uintptr_t)t->args));
	else if (off > -NEAR && off < NEAR)
		snprintf(text, size, "data%+lld, outside", (long long)off);
	else
		snprintf(text, size, "%lld (0x%llx)", (long long)value,
			 (unsigned long long)value);
	for (i = 0; i < t->depth; i++)
		if (inside(value, 0, t->frames[i].stack, BPFVM_FRAME_SIZE))
			snprintf(text, size, "stack%u-%llu", i,
				 (unsigned long long)BPFVM_FRAME_SIZE -
				 (value - (uintptr_t)t->frames[i].stack));
	for (i = 0; i < t->image->nr_globals; i++)
		if (inside(value, 0, t->globals[i].data, t->globals[i].size))
			snprintf(text, size, "%s+%llu", t->globals[i].name,
				 (unsigned long long)
				 (value - (uintptr_t)t->globals[i].data));
}

/* The memory behind an address; NULL if the program has no business there. */
static void *reach(struct tracer *t, uint64_t addr, uint32_t size, bool write)
{
	void *at = (void *)(uintptr_t)addr;
	uint32_t i;

	if (!write && (inside(addr, size, t->data, t->worker->visible) ||
		       inside(addr, size, t->args, sizeof(t->args)) ||
		       inside(addr, size, &t->ctx, sizeof(t->ctx))))
		return at;
	if (inside(addr, size, t->ctx.state, sizeof(t->ctx.state)))
		return at;
	for (i = 0; i < t->depth; i++)
		if (inside(addr, size, t->frames[i].stack, BPFVM_FRAME_SIZE))
			return at;
	for (i = 0; i < t->image->nr_globals; i++)
		if (inside(addr, size, t->globals[i].data, t->globals[i].size) &&
		    (!write || !t->globals[i].rdonly))
			return at;
	t->end = write ? "the store is outside of what may be written" :
			 "the load is outside of what may be read";
	return NULL;
}

static uint64_t load(const void *at, unsigned int size)
{
	uint64_t value = 0;

	memcpy(&value, at, size);	/* little-endian, as the object is */
	return value;
}

static void do_alu(struct tracer *t, const struct bpfvm_insn *insn)
{
	bool is64 = INSN_CLASS(insn->code) == CLS_ALU64;
	uint64_t *dst = &t->r[insn_dst(insn)];
	uint64_t b = INSN_IS_REG(insn->code) ? t->r[insn_src(insn)] :
					       (uint64_t)(int64_t)insn->imm;
	uint8_t op = INSN_OP(insn->code);

	if (op == OP_END)
		*dst = alu_end(*dst, insn->imm, is64 || INSN_IS_REG(insn->code));
	else if (op == OP_MOV && INSN_IS_REG(insn->code) && insn->off)
		*dst = is64 ? alu_sign_extend(b, insn->off) :
			      (uint32_t)alu_sign_extend(b, insn->off);
	else if (is64)
		*dst = alu64(op, insn->off == 1, *dst, b);
	else
		*dst = alu32(op, insn->off == 1, *dst, b);
}

static void do_atomic(struct tracer *t, const struct bpfvm_insn *insn, void *at)
{
	unsigned int size = insn_bytes(insn->code);
	uint64_t old = load(at, size), *src = &t->r[insn_src(insn)], new = *src;

	if (insn->imm == ATOMIC_CMPXCHG) {
		uint64_t wanted = size == 4 ? (uint32_t)t->r[0] : t->r[0];

		if (old == wanted)
			memcpy(at, src, size);
		t->r[0] = old;
		return;
	}
	if (insn->imm != ATOMIC_XCHG)
		new = alu64(insn->imm & 0xf0, false, old, *src);
	memcpy(at, &new, size);
	if (insn->imm & ATOMIC_FETCH)
		*src = old;
}

static void do_access(struct tracer *t, const struct bpfvm_insn *insn)
{
	unsigned int size = insn_bytes(insn->code);
	bool is_load = INSN_CLASS(insn->code) == CLS_LDX;
	uint64_t base = t->r[is_load ? insn_src(insn) : insn_dst(insn)];
	uint64_t value;
	void *at = reach(t, base + insn->off, size, !is_load);

	if (!at)
		return;
	if (is_load) {
		value = load(at, size);
		if (INSN_MODE(insn->code) == MODE_MEMSX)
			value = alu_sign_extend(value, 8 * size);
		t->r[insn_dst(insn)] = value;
	} else if (insn_is_atomic(insn->code)) {
		do_atomic(t, insn, at);
	} else {
		value = INSN_CLASS(insn->code) == CLS_ST ?
			(uint64_t)(int64_t)insn->imm : t->r[insn_src(insn)];
		memcpy(at, &value, size);
	}
}

static void do_imm64(struct tracer *t, const struct bpfvm_insn *insn)
{
	uint64_t *dst = &t->r[insn_dst(insn)];

	switch (insn_src(insn)) {
	case IMM64_MAP_IDX_VALUE:
	case IMM64_MAP_FD_VALUE:
		*dst = (uintptr_t)t->globals[insn->imm].data +
		       (uint32_t)insn[1].imm;
		break;
	case IMM64_FUNC:
		*dst = t->pc + 1 + insn->imm;
		break;
	default:
		*dst = insn_imm64(insn);
	}
	t->pc++;
}

static void enter(struct tracer *t, uint32_t target, uint32_t ret)
{
	struct frame *f = &t->frames[t->depth++];

	memcpy(f->saved, &t->r[6], sizeof(f->saved));
	f->ret = ret;
	f->is_loop = false;
	t->r[10] = (uintptr_t)(f->stack + BPFVM_FRAME_SIZE);
	t->pc = target;
}

static void leave(struct tracer *t)
{
	struct frame *f = &t->frames[--t->depth];

	memcpy(&t->r[6], f->saved, sizeof(f->saved));
	t->pc = f->ret;
	if (t->depth)
		t->r[10] = (uintptr_t)(t->frames[t->depth - 1].stack +
				       BPFVM_FRAME_SIZE);
}

static void next_round(struct tracer *t, struct frame *f)
{
	t->r[1] = f->round;
	t->r[2] = f->loop_ctx;
	t->pc = f->callback;
}

static void do_exit(struct tracer *t)
{
	struct frame *f = &t->frames[t->depth - 1];

	if (t->depth == 1) {
		snprintf(t->end_buf, sizeof(t->end_buf), "the program returned %d",
			 (int)(uint32_t)t->r[0]);
		t->end = t->end_buf;
		return;
	}
	if (f->is_loop) {
		f->round++;
		if (!t->r[0] && f->round < f->rounds) {
			next_round(t, f);
			return;
		}
		t->r[0] = f->round;
	}
	leave(t);
}

static void do_loop(struct tracer *t)
{
	uint32_t rounds = t->r[1], callback = t->r[2];
	uint64_t ctx = t->r[3];
	struct frame *f;

	if (rounds > MAX_LOOPS) {
		t->r[0] = -E2BIG;
	} else if (!rounds) {
		t->r[0] = 0;
	} else if (t->depth == BPFVM_MAX_FRAMES) {
		t->end = "calls are nested too deep";
	} else {
		enter(t, callback, t->pc);
		f = &t->frames[t->depth - 1];
		f->is_loop = true;
		f->round = 0;
		f->rounds = rounds;
		f->loop_ctx = ctx;
		f->callback = callback;
		next_round(t, f);
	}
}

static void do_emit(struct tracer *t)
{
	uint32_t off = t->r[2], len = t->r[3];

	t->r[0] = 0;
	if (off >= t->ctx.len || !len || len > t->worker->visible - off) {
		snprintf(t->end_buf, sizeof(t->end_buf),
			 "blk_bpf_emit(ctx, %u, %u) with ctx->len %u and %u bytes to see",
			 off, len, t->ctx.len, t->worker->visible);
		t->end = t->end_buf;
	} else if (++t->emitted > BLK_BPF_EMIT_MAX) {
		t->end = "blk_bpf_emit() once more than may be";
	}
}

/* The iterator of bpf_for(): the number before the next, and the end. */
static void do_iter(struct tracer *t, int32_t which)
{
	int32_t first = t->r[2], last = t->r[3], it[2] = {};
	void *at = reach(t, t->r[1], sizeof(it), true);
	uint64_t ret = 0;

	if (!at)
		return;
	if (which == BPFVM_HELPER_ITER_NUM_NEXT) {
		memcpy(it, at, sizeof(it));
		it[0] = (int32_t)((uint32_t)it[0] + 1);
		if (it[0] < it[1])
			ret = t->r[1];
		else
			memset(it, 0, sizeof(it));
	} else if (which == BPFVM_HELPER_ITER_NUM_NEW) {
		if (first > last)
			ret = -EINVAL;
		else if ((int64_t)last - first > (int64_t)MAX_LOOPS)
			ret = -E2BIG;
		if (!ret) {
			it[0] = (int32_t)((uint32_t)first - 1);
			it[1] = last;
		}
	}
	memcpy(at, it, sizeof(it));
	t->r[0] = ret;
}

static void do_call(struct tracer *t, const struct bpfvm_insn *insn)
{
	if (insn->code == CODE_CALLX || insn_src(insn) == CALL_LOCAL) {
		uint32_t target = insn->code == CODE_CALLX ?
				  t->r[insn_dst(insn)] : t->pc + insn->imm;

		if (t->depth == BPFVM_MAX_FRAMES)
			t->end = "calls are nested too deep";
		else
			enter(t, target, t->pc);
	} else if (insn->imm == BPFVM_HELPER_LOOP) {
		do_loop(t);
	} else if (insn->imm == BPFVM_HELPER_BLK_EMIT) {
		do_emit(t);
	} else {
		do_iter(t, insn->imm);
	}
}

static void do_jump(struct tracer *t, const struct bpfvm_insn *insn)
{
	bool is32 = INSN_CLASS(insn->code) == CLS_JMP32;
	uint64_t b = INSN_IS_REG(insn->code) ? t->r[insn_src(insn)] :
					       (uint64_t)(int64_t)insn->imm;
	bool taken = insn_is_ja(insn->code) ||
		     alu_compare(INSN_OP(insn->code), is32,
				 t->r[insn_dst(insn)], b);

	if (!insn_is_ja(insn->code))
		t->history[t->branches++ % HISTORY] = (struct step) {
			t->pc - 1, taken };
	if (taken)
		t->pc = insn_target(insn, t->pc - 1);
}

static void one_step(struct tracer *t)
{
	const struct bpfvm_insn *insn = &t->image->insns[t->pc++];

	if (insn->code == CODE_EXIT)
		do_exit(t);
	else if (insn->code == CODE_CALL || insn->code == CODE_CALLX)
		do_call(t, insn);
	else if (insn_is_alu(insn->code))
		do_alu(t, insn);
	else if (insn_is_access(insn->code))
		do_access(t, insn);
	else if (insn->code == CODE_LD_IMM64)
		do_imm64(t, insn);
	else
		do_jump(t, insn);
}

static void tell_insn(const struct tracer *t, uint32_t pc, const char *what)
{
	char text[96], place[512];

	bpfvm_disasm(t->image->insns + pc, t->image->nr_insns - pc, pc, text,
		     sizeof(text));
	place_of(t->worker->job->prog, pc, place, sizeof(place));
	tell(t, "  %5u: %-36s %-10s %s", pc, text, what, place);
}

static void tell_all(const struct tracer *t, uint32_t pc)
{
	uint64_t first = t->branches > HISTORY ? t->branches - HISTORY : 0;
	char text[64];
	uint64_t i;

	tell(t, "unit at %llu: %u bytes, %u to see, flags 0x%x",
	     (unsigned long long)t->ctx.pos, t->ctx.len, t->worker->visible,
	     t->ctx.flags);
	tell(t, "instructions executed: %llu; the last branches:",
	     (unsigned long long)t->steps);
	for (i = first; i < t->branches; i++)
		tell_insn(t, t->history[i % HISTORY].pc,
			  t->history[i % HISTORY].taken ? "taken" : "not taken");
	tell(t, "%s, at", t->end ? t->end : "it ran for too long to be followed");
	tell_insn(t, pc, "");
	for (i = 0; i < 11; i++) {
		describe(t, t->r[i], text, sizeof(text));
		tell(t, "    r%llu = %s", (unsigned long long)i, text);
	}
}

void trace_unit(struct worker *worker, const unsigned char *data,
		const char *sentence)
{
	const struct portable *portable = &worker->job->prog->user->portable;
	struct tracer *t = calloc(1, sizeof(*t));
	unsigned char *after = malloc(trace_room(worker->job) + 1);
	uint32_t pc = 0;

	if (t)
		t->frames = calloc(BPFVM_MAX_FRAMES, sizeof(*t->frames));
	if (!t || !t->frames || !after)
		goto out;
	t->worker = worker;
	t->image = portable->image;
	t->globals = portable->globals;
	t->data = data;
	t->ctx = worker->ctx;
	memset(t->ctx.state, 0, sizeof(t->ctx.state));
	t->args[0] = (uintptr_t)&t->ctx;
	t->args[1] = (uintptr_t)data;
	t->args[2] = (uintptr_t)data + worker->visible;
	enter(t, 0, 0);
	t->r[1] = (uintptr_t)t->args;

	copy_globals(worker, after, false);
	copy_globals(worker, worker->before, true);
	while (!t->end && t->steps++ < MAX_STEPS) {
		pc = t->pc;
		one_step(t);
	}
	tell(t, "%s", sentence);
	tell_all(t, pc);
	copy_globals(worker, after, true);
out:
	free(after);
	if (t)
		free(t->frames);
	free(t);
}
