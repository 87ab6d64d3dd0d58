// SPDX-License-Identifier: GPL-2.0
/*
 * Loads, stores and atomic operations: what they are to, whether they are
 * proved, and what is known after them.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "verifier.h"

#define MAX(a, b)	((a) > (b) ? (a) : (b))
#define MIN(a, b)	((a) < (b) ? (a) : (b))

static const char *const region_names[] = {
	[REGION_ARGS] = "the arguments", [REGION_CTX] = "the ctx",
	[REGION_DATA] = "the data", [REGION_STACK] = "the stack",
	[REGION_GLOBAL] = "global memory",
	[REGION_MEM] = "memory of a helper",
	[REGION_ANY] = "more than one kind of memory",
};

/* An access: what the judging functions hand to each other. */
struct access {
	uint32_t pc;
	struct val *ptr;
	int64_t off;
	int64_t size;
	enum use use;
	bool atomic;
	bool proved;
};

int need_value(struct verifier *v, struct state *st, uint32_t pc,
	       unsigned int reg)
{
	if (st->r[reg].type == VAL_NONE)
		return complain(v, pc, "r%u was not written before it is read here, or was lost in a call",
				reg);
	if (st->r[reg].type == VAL_MIXED)
		return complain(v, pc, "r%u holds different kinds of things on the ways that lead here",
				reg);
	return 0;
}

int need_number(struct verifier *v, struct state *st, uint32_t pc,
		unsigned int reg, const char *what)
{
	int err = need_value(v, st, pc, reg);

	if (err)
		return err;
	if (st->r[reg].type != VAL_NUM)
		return complain(v, pc, "r%u is a pointer, and %s has to be a number",
				reg, what);
	return 0;
}

static int64_t region_size(const struct verifier *v, const struct val *ptr)
{
	switch (ptr->region) {
	case REGION_ARGS:
		return 24;
	case REGION_CTX:
		return v->prog->ctx_size;
	case REGION_STACK:
		return BPFVM_FRAME_SIZE;
	case REGION_GLOBAL:
		return v->prog->globals[ptr->where].size;
	default:
		return ptr->where;
	}
}

/* Only of the stack is it known how it is aligned. */
static bool aligned(const struct access *a)
{
	uint64_t mask = a->size - 1;

	return a->proved && a->ptr->region == REGION_STACK &&
	       !((a->ptr->umin + a->off) & mask) && !(a->ptr->step & mask);
}

static void annotate(struct verifier *v, struct state *st,
		     const struct access *a)
{
	struct insn_aux *aux = &v->prog->aux[a->pc];
	uint8_t frame = a->ptr->region == REGION_STACK ?
			st->depth - a->ptr->where : 0;
	uint32_t where = a->ptr->region == REGION_STACK ? 0 : a->ptr->where;

	if (!(aux->flags & AUX_REACHED)) {
		aux->flags |= AUX_REACHED | AUX_PROVED | AUX_ALIGNED;
		aux->region = a->ptr->region;
		aux->frame = frame;
		aux->where = where;
	}
	if (!a->proved)
		aux->flags &= ~AUX_PROVED;
	if (!aligned(a))
		aux->flags &= ~AUX_ALIGNED;
	if (aux->region != a->ptr->region || aux->where != where ||
	    aux->frame != frame)
		aux->region = aux->region == REGION_STACK ||
			      a->ptr->region == REGION_STACK ||
			      aux->region == REGION_MEM ||
			      a->ptr->region == REGION_MEM ||
			      aux->region == REGION_ARGS ||
			      a->ptr->region == REGION_ARGS ? UINT8_MAX :
			      REGION_ANY;
}

static int64_t plus(int64_t a, int64_t b)
{
	int64_t r;

	if (__builtin_add_overflow(a, b, &r))
		return b < 0 ? INT64_MIN : INT64_MAX;
	return r;
}

/* Judge an access to something whose size is known. */
static int judge_sized(struct verifier *v, struct access *a)
{
	int64_t size = region_size(v, a->ptr);
	const char *name = region_names[a->ptr->region];

	if (a->ptr->smin > size - a->size - a->off ||
	    a->ptr->smax < -a->off)
		return complain(v, a->pc, "%" PRId64 " bytes at offset %" PRId64 " are outside of %s, which is %" PRId64 " bytes",
				a->size, plus(a->ptr->smin, a->off), name,
				size);
	a->proved = !a->ptr->null && a->ptr->smin >= -a->off &&
		    a->ptr->smax <= size - a->size - a->off;
	if (a->ptr->region == REGION_MEM && !a->proved)
		return complain(v, a->pc, a->ptr->null ?
				"what the helper returned may be NULL: compare it with 0 first" :
				"the offset into memory of a helper is not known well enough: compare it with the size first");
	return 0;
}

static int judge_data(struct verifier *v, struct state *st, struct access *a)
{
	int64_t room = val_room(a->ptr, st->minlen);

	if (a->ptr->smax < -a->off || a->ptr->smin >= NUM_LIMIT)
		return complain(v, a->pc, "the access is outside of the data, whatever their length");
	a->proved = !a->ptr->null && a->ptr->smin >= -a->off &&
		    room != ROOM_NONE && room >= a->off + a->size;
	return 0;
}

/* The access was checked at run time and did not fault. */
static bool assume_access(struct verifier *v, struct state *st,
			  struct access *a)
{
	struct val *ptr = a->ptr;
	int64_t room = ROOM_NONE;
	int64_t size;

	/* A null pointer is in no object. */
	ptr->null = NULL_NEVER;
	if (ptr->region == REGION_ANY)
		return true;
	if (ptr->region == REGION_DATA) {
		size = BPFVM_MAX_DATA;
		room = a->off + a->size;
		st->minlen = MAX(st->minlen, MAX(ptr->smin, -a->off) + room);
	} else {
		size = region_size(v, ptr);
	}
	return state_assume_range(st, ptr, -a->off, size - a->size - a->off,
				  room);
}

/* A store to the ctx has to be to one of the fields that allow it. */
static int judge_ctx_write(struct verifier *v, const struct access *a)
{
	const struct bpfvm_prog *prog = v->prog;
	int64_t first = plus(a->ptr->smin, a->off);
	int64_t end = plus(a->ptr->smax, a->off + a->size);

	for (uint32_t i = 0; i < prog->nr_ctx_writable; i++) {
		const struct bpfvm_field *field = &prog->ctx_writable[i];

		if (!a->ptr->null && first >= field->off &&
		    end <= (int64_t)field->off + field->size)
			return 0;
	}
	return complain(v, a->pc, "the ctx cannot be written at offset %" PRId64,
			first);
}

static int judge_write(struct verifier *v, const struct access *a)
{
	switch (a->ptr->region) {
	case REGION_CTX:
		return judge_ctx_write(v, a);
	case REGION_DATA:
		if (v->prog->abi == BPFVM_ABI_RAW)
			return 0;
		return complain(v, a->pc, "the data are read-only");
	case REGION_ARGS:
		return complain(v, a->pc, "the arguments are read-only");
	case REGION_ANY:
		return complain(v, a->pc, "a store through a pointer that may point to different things");
	case REGION_GLOBAL:
		if (v->prog->globals[a->ptr->where].rdonly)
			return complain(v, a->pc, "%s is read-only",
					v->prog->globals[a->ptr->where].name);
	}
	return 0;
}

static int judge(struct verifier *v, struct state *st, unsigned int reg,
		 struct access *a)
{
	int err = need_value(v, st, a->pc, reg);

	if (err)
		return err;
	a->ptr = &st->r[reg];
	if (a->ptr->type != VAL_PTR)
		return complain(v, a->pc, a->ptr->type == VAL_NUM ?
				"r%u is a number, not a pointer" :
				"r%u is a function, not memory", reg);
	if (a->ptr->null == NULL_MOVED)
		return complain(v, a->pc, "r%u may be NULL plus something: compare it with 0 before adding to it",
				reg);
	err = a->use & USE_WRITE ? judge_write(v, a) : 0;
	if (!err && a->ptr->region == REGION_DATA)
		err = judge_data(v, st, a);
	else if (!err && a->ptr->region != REGION_ANY)
		err = judge_sized(v, a);
	if (err)
		return err;
	if (v->final) {
		const struct insn_aux *aux = &v->prog->aux[a->pc];

		annotate(v, st, a);
		/* A check at run time knows what may be read, not written. */
		if (aux->region == UINT8_MAX ||
		    (aux->region == REGION_ANY && (a->use & USE_WRITE) &&
		     !(aux->flags & AUX_PROVED)))
			return complain(v, a->pc, "r%u points to different kinds of memory, depending on the caller",
					reg);
	}
	return a->proved || assume_access(v, st, a) ? 0 : PATH_ENDS;
}

/* A slot that is written in parts: what is left of a pointer is no value. */
static void spoil(struct slot *slot)
{
	if (slot->v.type != VAL_NONE && slot->v.type != VAL_NUM)
		slot->init = 0;
	slot->v.type = VAL_NONE;
}

static struct slot *slot_of(struct state *st, uint32_t frame, int64_t off)
{
	return state_slot(st, frame, NR_SLOTS - 1 - off / 8);
}

int stack_fill(struct state *st, uint32_t frame, int64_t off, int64_t size)
{
	for (int64_t i = off; i < off + size; i++) {
		struct slot *slot = slot_of(st, frame, i);

		if (!slot)
			return -ENOMEM;
		spoil(slot);
		slot->init |= 1 << i % 8;
	}
	return 0;
}

/* A store to one of several places: what they held is not known any more. */
static void stack_blur(struct state *st, uint32_t frame, int64_t first,
		       int64_t end)
{
	struct frame *f = &st->frames[frame];

	for (int64_t i = MAX(first, 0) / 8; i <= (MIN(end, 512) - 1) / 8; i++)
		if (NR_SLOTS - 1 - i < f->nr)
			spoil(&f->slots[NR_SLOTS - 1 - i]);
}

static int stack_store(struct verifier *v, struct state *st,
		       const struct access *a, struct val *what)
{
	uint32_t frame = a->ptr->where;
	int64_t off = a->ptr->smin + a->off;
	struct slot *slot;
	int err;

	if (!val_known(a->ptr)) {
		if (what->type != VAL_NUM)
			return complain(v, a->pc, "a pointer is stored at an offset that is not known");
		stack_blur(st, frame, off, a->ptr->smax + a->off + a->size);
		return 0;
	}
	if (a->size < 8 || off % 8) {
		if (what->type != VAL_NUM)
			return complain(v, a->pc, "a pointer is stored in parts or unaligned");
		err = stack_fill(st, frame, off, a->size);
		slot = slot_of(st, frame, off);
		if (err || !slot)
			return -ENOMEM;
		return 0;
	}
	slot = slot_of(st, frame, off);
	if (!slot)
		return -ENOMEM;
	state_name(&v->j, what);
	slot->init = 0xff;
	slot->v = *what;
	return 0;
}

/* Every byte that can be read was written, and is not part of a pointer. */
static int stack_readable(struct verifier *v, struct state *st, uint32_t pc,
			  uint32_t frame, int64_t first, int64_t end)
{
	const struct frame *f = &st->frames[frame];

	for (int64_t i = MAX(first, 0); i < MIN(end, BPFVM_FRAME_SIZE); i++) {
		uint32_t n = NR_SLOTS - 1 - i / 8;

		if (n >= f->nr || !(f->slots[n].init & 1 << i % 8))
			return complain(v, pc, "the stack at offset %" PRId64 " from the frame pointer was not written before it is read here",
					i - BPFVM_FRAME_SIZE);
		if (f->slots[n].v.type != VAL_NONE &&
		    f->slots[n].v.type != VAL_NUM)
			return complain(v, pc, "the stack at offset %" PRId64 " from the frame pointer holds a pointer, which has to be read as a whole",
					i - BPFVM_FRAME_SIZE);
	}
	return 0;
}

static int stack_load(struct verifier *v, struct state *st,
		      const struct access *a, struct val *to)
{
	int64_t off = a->ptr->smin + a->off;
	int64_t end = a->ptr->smax + a->off + a->size;
	const struct frame *f = &st->frames[a->ptr->where];
	uint32_t n = NR_SLOTS - 1 - off / 8;

	if (val_known(a->ptr) && off % 8 == 0 && n < f->nr &&
	    f->slots[n].init == 0xff && f->slots[n].v.type != VAL_NONE &&
	    (a->size == 8 || (f->slots[n].v.type == VAL_NUM &&
			      f->slots[n].v.umax >> 8 * a->size == 0))) {
		*to = f->slots[n].v;
		return 0;
	}
	return stack_readable(v, st, a->pc, a->ptr->where, off, end);
}

static int args_load(struct verifier *v, const struct access *a,
		     int64_t minlen, struct val *to)
{
	int64_t off = a->ptr->smin + a->off;

	if (!val_known(a->ptr) || a->size != 8 || off % 8)
		return complain(v, a->pc, "the arguments have to be read as 64-bit words at known offsets");
	switch (off / 8) {
	case 0:
		val_set_ptr(to, REGION_CTX, 0, 0);
		break;
	case 1:
		val_set_ptr(to, REGION_DATA, 0, 0);
		break;
	default:
		val_set_range(to, minlen, BPFVM_MAX_DATA);
		to->type = VAL_PTR;
		to->region = REGION_DATA;
		to->exact = true;
		to->room = 0;
	}
	return 0;
}

static int step_load(struct verifier *v, struct state *st, struct access *a,
		     const struct bpfvm_insn *insn)
{
	struct val to;
	bool sx = INSN_MODE(insn->code) == MODE_MEMSX;
	int bits = a->size * 8;
	int err = judge(v, st, insn_src(insn), a);

	if (err)
		return err;
	val_set_range(&to, 0, bits == 64 ? UINT64_MAX : (1ULL << bits) - 1);
	if (a->ptr->region == REGION_STACK)
		err = stack_load(v, st, a, &to);
	else if (a->ptr->region == REGION_ARGS)
		err = args_load(v, a, st->minlen, &to);
	if (err)
		return err;
	if (sx && to.type != VAL_NUM)
		return complain(v, a->pc, "a pointer is loaded as a smaller number");
	if (sx)
		val_sign_extend(&to, bits, 64);
	st->r[insn_dst(insn)] = to;
	return 0;
}

static int step_store(struct verifier *v, struct state *st, struct access *a,
		      const struct bpfvm_insn *insn)
{
	unsigned int src = insn_src(insn);
	struct val known;
	struct val *what = &known;
	int err;

	if (INSN_CLASS(insn->code) == CLS_ST) {
		val_set_known(&known, (int64_t)insn->imm);
	} else {
		err = need_value(v, st, a->pc, src);
		if (err)
			return err;
		what = &st->r[src];
	}
	err = judge(v, st, insn_dst(insn), a);
	if (err)
		return err;
	if (a->ptr->region == REGION_STACK)
		return stack_store(v, st, a, what);
	if (what->type != VAL_NUM)
		return complain(v, a->pc, "a pointer would leak into %s",
				region_names[a->ptr->region]);
	return 0;
}

static int step_atomic(struct verifier *v, struct state *st, struct access *a,
		       const struct bpfvm_insn *insn)
{
	unsigned int src = insn_src(insn);
	int err = need_number(v, st, a->pc, src, "the operand of an atomic operation");
	unsigned int to = insn->imm == ATOMIC_CMPXCHG ? 0 : src;

	if (!err && insn->imm == ATOMIC_CMPXCHG)
		err = need_number(v, st, a->pc, 0, "what is compared");
	if (!err)
		err = judge(v, st, insn_dst(insn), a);
	if (err)
		return err;
	if (a->ptr->region == REGION_STACK) {
		int64_t first = a->ptr->smin + a->off;
		int64_t end = a->ptr->smax + a->off + a->size;

		err = stack_readable(v, st, a->pc, a->ptr->where, first, end);
		if (err)
			return err;
		stack_blur(st, a->ptr->where, first, end);
	}
	if (insn->imm & ATOMIC_FETCH)
		val_set_range(&st->r[to], 0,
			      a->size == 8 ? UINT64_MAX : UINT32_MAX);
	return 0;
}

int step_access(struct verifier *v, struct state *st, uint32_t pc)
{
	const struct bpfvm_insn *insn = &v->prog->insns[pc];
	struct access a = {
		.pc = pc,
		.off = insn->off,
		.size = insn_bytes(insn->code),
	};

	if (INSN_CLASS(insn->code) == CLS_LDX) {
		a.use = USE_READ;
		return step_load(v, st, &a, insn);
	}
	a.use = USE_WRITE;
	if (!insn_is_atomic(insn->code))
		return step_store(v, st, &a, insn);
	a.use |= USE_READ;
	a.atomic = true;
	return step_atomic(v, st, &a, insn);
}

static int helper_stack(struct verifier *v, struct state *st, uint32_t pc,
			const struct val *ptr, const struct val *size,
			enum use use)
{
	int64_t end = ptr->smax + size->smax;

	if (use == USE_READ)
		return stack_readable(v, st, pc, ptr->where, ptr->smin, end);
	stack_blur(st, ptr->where, ptr->smin, end);
	if (val_known(ptr))
		return stack_fill(st, ptr->where, ptr->smin, size->umin);
	return 0;
}

int check_helper_mem(struct verifier *v, struct state *st, uint32_t pc,
		     unsigned int reg, const struct val *size, enum use use)
{
	struct access a = { .pc = pc, .ptr = &st->r[reg], .use = use };
	int err;

	if (a.ptr->type != VAL_PTR)
		return complain(v, pc, "r%u has to point to memory", reg);
	if (a.ptr->null)
		return complain(v, pc, "r%u may be NULL: compare it with 0 first",
				reg);
	if (size->smin < 0 || size->smax > INT32_MAX)
		return complain(v, pc, "the size in r%u is not known well enough",
				reg + 1);
	a.size = size->smax;
	err = use == USE_WRITE ? judge_write(v, &a) : 0;
	if (err)
		return err;
	if (a.ptr->region == REGION_ARGS || a.ptr->region == REGION_ANY)
		return complain(v, pc, "a helper cannot use %s",
				region_names[a.ptr->region]);
	if (a.ptr->region == REGION_DATA)
		a.proved = a.ptr->smin >= 0 &&
			   val_room(a.ptr, st->minlen) >= a.size;
	else
		a.proved = a.ptr->smin >= 0 &&
			   a.ptr->smax <= region_size(v, a.ptr) - a.size;
	if (!a.proved)
		return complain(v, pc, "up to %" PRId64 " bytes at r%u may be outside of %s: compare first",
				a.size, reg, region_names[a.ptr->region]);
	if (a.ptr->region == REGION_STACK)
		return helper_stack(v, st, pc, a.ptr, size, use);
	return 0;
}
