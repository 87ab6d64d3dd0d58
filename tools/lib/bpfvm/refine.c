// SPDX-License-Identifier: GPL-2.0
/* What a comparison, or an access that did not fault, says about values. */
#include "state.h"

#define MAX(a, b)	((a) > (b) ? (a) : (b))
#define MIN(a, b)	((a) < (b) ? (a) : (b))

/* Objects are above this address, so smaller steps below one do not wrap. */
#define LOWEST_BASE	65536


/* @y differs from @v, whose symbol is @id, by a known amount. */
static bool spread_to(struct val *y, const struct val *v, uint64_t delta)
{
	int64_t d = y->delta - delta;
	int64_t min, max;

	if (d > NUM_LIMIT || d < -NUM_LIMIT)
		return true;
	if (__builtin_add_overflow(v->smin, d, &min) ||
	    __builtin_add_overflow(v->smax, d, &max))
		return true;
	if (v->room != ROOM_NONE && y->null == NULL_NEVER)
		val_take_room(y, v->scale, v->room - d * (int64_t)v->scale);
	if (d == 0 && y->null == NULL_MAYBE && v->type == VAL_PTR &&
	    v->null == NULL_NEVER)
		y->null = NULL_NEVER;
	return val_cut(y, 0, UINT64_MAX, min, max);
}

static bool spread_val(struct val *y, const struct val *v,
		       uint32_t id, uint64_t delta)
{
	int64_t y_delta = y->delta;

	if (y == v || (y->type != VAL_NUM && y->type != VAL_PTR))
		return true;
	if (v->exact && v->minus > ID_KNOWN && y->id == v->minus &&
	    y_delta <= NUM_LIMIT && y_delta >= -NUM_LIMIT &&
	    v->smin >= -NUM_LIMIT && v->smax <= NUM_LIMIT) {
		val_take_room(y, 1, v->smin - v->exact_off - y_delta);
		if (!val_sync(y))
			return false;
	}
	if (id > ID_KNOWN && y->id == id)
		return spread_to(y, v, delta);
	return true;
}

/*
 * Tell the rest of the state what was learnt about @v, whose symbol was @id
 * with @delta before that.
 */
static bool spread(struct state *st, struct val *v, uint32_t id, uint64_t delta)
{
	if (v->exact && v->minus == ID_KNOWN && v->smin >= -NUM_LIMIT)
		st->minlen = MAX(st->minlen, v->smin - v->exact_off);
	if (st->minlen > BPFVM_MAX_DATA)
		return false;
	if (id <= ID_KNOWN && !(v->exact && v->minus > ID_KNOWN))
		return true;
	for (int i = 0; i < NR_REGS; i++)
		if (!spread_val(&st->r[i], v, id, delta))
			return false;
	for (uint32_t f = 0; f <= st->depth; f++) {
		struct frame *frame = &st->frames[f];

		for (uint32_t i = 0; i < frame->nr; i++)
			if (!spread_val(&frame->slots[i].v, v, id, delta))
				return false;
	}
	return true;
}

bool state_assume_range(struct state *st, struct val *v, int64_t smin,
			int64_t smax, int64_t room)
{
	uint32_t id = v->id;
	uint64_t delta = v->delta;

	if (room != ROOM_NONE)
		val_take_room(v, 1, room);
	if (!val_cut(v, 0, UINT64_MAX, smin, smax))
		return false;
	return spread(st, v, id, delta);
}

/* Numbers that compare like signed ones: @a <= @b, or @a < @b. */
static bool less_signed(struct val *a, struct val *b, bool strict)
{
	int64_t max, min;

	if (__builtin_sub_overflow(b->smax, (int64_t)strict, &max) ||
	    __builtin_add_overflow(a->smin, (int64_t)strict, &min))
		return false;
	if (b->room != ROOM_NONE)
		val_take_room(a, b->scale,
			      b->room + (strict ? (int64_t)b->scale : 0));
	return val_cut(a, 0, UINT64_MAX, INT64_MIN, max) &&
	       val_cut(b, 0, UINT64_MAX, min, INT64_MAX);
}

static bool less_unsigned(struct val *a, struct val *b, bool strict)
{
	uint64_t max = b->umax - strict;
	uint64_t min = a->umin + strict;

	if (strict && (b->umax == 0 || a->umin == UINT64_MAX))
		return false;
	if (b->smin >= 0 && b->room != ROOM_NONE &&
	    val_cut(a, 0, max, INT64_MIN, INT64_MAX))
		val_take_room(a, b->scale,
			      b->room + (strict ? (int64_t)b->scale : 0));
	return val_cut(a, 0, max, INT64_MIN, INT64_MAX) &&
	       val_cut(b, min, UINT64_MAX, INT64_MIN, INT64_MAX);
}

static bool equal(struct val *a, struct val *b)
{
	if (b->room != ROOM_NONE)
		val_take_room(a, b->scale, b->room);
	else if (a->room != ROOM_NONE)
		val_take_room(b, a->scale, a->room);
	return val_cut(a, b->umin, b->umax, b->smin, b->smax) &&
	       val_cut(b, a->umin, a->umax, a->smin, a->smax);
}

static bool not_known(struct val *a, uint64_t number)
{
	int64_t s = number;

	if (val_known(a) && a->umin == number)
		return false;
	if (a->umin == number && !val_cut(a, number + 1, UINT64_MAX, INT64_MIN,
					  INT64_MAX))
		return false;
	if (a->umax == number && !val_cut(a, 0, number - 1, INT64_MIN,
					  INT64_MAX))
		return false;
	if (a->smin == s && s != INT64_MAX &&
	    !val_cut(a, 0, UINT64_MAX, s + 1, INT64_MAX))
		return false;
	if (a->smax == s && s != INT64_MIN &&
	    !val_cut(a, 0, UINT64_MAX, INT64_MIN, s - 1))
		return false;
	return true;
}

/* @a is not @b, which is LEN plus something that @a was known not to exceed. */
static void below_end(struct val *a, const struct val *b, int64_t minlen)
{
	if (b->exact && b->minus == ID_KNOWN &&
	    val_room(a, minlen) == -b->exact_off)
		val_take_room(a, 1, 1 - b->exact_off);
}

static bool not_equal(struct val *a, struct val *b, int64_t minlen)
{
	if (val_known(b) && !not_known(a, b->umin))
		return false;
	if (val_known(a) && !not_known(b, a->umin))
		return false;
	below_end(a, b, minlen);
	below_end(b, a, minlen);
	return val_sync(a) && val_sync(b);
}

static bool compare(struct val *a, struct val *b, uint8_t op, int64_t minlen)
{
	switch (op) {
	case OP_JEQ:
		return equal(a, b);
	case OP_JNE:
		return not_equal(a, b, minlen);
	case OP_JLT:
	case OP_JLE:
		return less_unsigned(a, b, op == OP_JLT);
	case OP_JGT:
	case OP_JGE:
		return less_unsigned(b, a, op == OP_JGT);
	case OP_JSLT:
	case OP_JSLE:
		return less_signed(a, b, op == OP_JSLT);
	case OP_JSGT:
	case OP_JSGE:
		return less_signed(b, a, op == OP_JSGT);
	default:
		return true;
	}
}

static bool is_signed_op(uint8_t op)
{
	return op == OP_JSLT || op == OP_JSLE || op == OP_JSGT || op == OP_JSGE;
}

/* Addresses in an object compare like their offsets, if those are sane. */
static uint8_t pointer_op(const struct val *a, const struct val *b, uint8_t op)
{
	if (a->null || b->null)
		return OP_JA;
	if (op == OP_JEQ || op == OP_JNE)
		return op;
	if (a->smin < -LOWEST_BASE || a->smax > NUM_LIMIT ||
	    b->smin < -LOWEST_BASE || b->smax > NUM_LIMIT)
		return OP_JA;
	switch (op) {
	case OP_JLT:
		return OP_JSLT;
	case OP_JLE:
		return OP_JSLE;
	case OP_JGT:
		return OP_JSGT;
	case OP_JGE:
		return OP_JSGE;
	default:
		return op;
	}
}

/* The 64-bit comparison that says the same as a 32-bit one, or OP_JA. */
static uint8_t narrow_op(struct val *a, const struct val *b, uint8_t op)
{
	if (a->umax > UINT32_MAX || b->umax > UINT32_MAX)
		return OP_JA;
	if (!is_signed_op(op) || (a->umax <= INT32_MAX && b->umax <= INT32_MAX))
		return op;
	return OP_JA;
}

/* w1 s> -1 and the like: the number is not negative as a 32-bit one. */
static bool not_negative32(struct val *a, const struct val *b, uint8_t op)
{
	int64_t min;

	if (!val_known(b) || a->umax > UINT32_MAX || b->umax > UINT32_MAX)
		return true;
	min = (int32_t)b->umin + (int64_t)(op == OP_JSGT);
	if ((op != OP_JSGT && op != OP_JSGE) || min < 0)
		return true;
	return val_cut(a, min, INT32_MAX, INT64_MIN, INT64_MAX);
}

static bool assume_null(struct state *st, struct val *a, bool null)
{
	if (a->null == NULL_MOVED)
		return true;
	if (null) {
		/* Only a pointer that was moved far can become 0. */
		if (a->null == NULL_NEVER)
			return a->smin < -LOWEST_BASE || a->smax > NUM_LIMIT;
		val_set_known(a, 0);
		return true;
	}
	a->null = NULL_NEVER;
	return spread(st, a, a->id, a->delta) && val_sync(a);
}

bool state_assume(struct state *st, struct val *a, struct val *b, uint8_t op,
		  bool is32)
{
	uint32_t id_a = a->id, id_b = b->id;
	uint64_t delta_a = a->delta, delta_b = b->delta;

	if (a->type == VAL_PTR && b->type == VAL_NUM)
		return op == OP_JEQ || op == OP_JNE ?
		       assume_null(st, a, op == OP_JEQ) : true;
	if (a == b)
		return true;
	if (a->type == VAL_PTR) {
		op = pointer_op(a, b, op);
	} else if (is32) {
		if (!not_negative32(a, b, op))
			return false;
		op = narrow_op(a, b, op);
	}
	if (op == OP_JA || op == OP_JSET)
		return true;
	if (!compare(a, b, op, st->minlen))
		return false;
	return spread(st, a, id_a, delta_a) && spread(st, b, id_b, delta_b);
}
