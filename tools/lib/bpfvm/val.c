// SPDX-License-Identifier: GPL-2.0
/* Arithmetic on what is known about values. */
#include "alu.h"
#include "val.h"

#define MAX(a, b)	((a) > (b) ? (a) : (b))
#define MIN(a, b)	((a) < (b) ? (a) : (b))

static uint64_t gcd(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t t = a % b;

		a = b;
		b = t;
	}
	return a;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	int64_t q = a / b;

	return q - (a % b < 0);
}

static void drop_relations(struct val *v)
{
	v->id = 0;
	v->delta = 0;
	v->exact = false;
	v->minus = ID_KNOWN;
	v->exact_off = 0;
	v->scale = 1;
	v->room = ROOM_NONE;
}

void val_forget(struct val *v)
{
	drop_relations(v);
	v->umin = 0;
	v->umax = UINT64_MAX;
	v->smin = INT64_MIN;
	v->smax = INT64_MAX;
	v->step = 1;
}

void val_set_num(struct val *v)
{
	v->type = VAL_NUM;
	v->region = 0;
	v->null = NULL_NEVER;
	v->where = 0;
	val_forget(v);
}

static void set_number(struct val *v, uint64_t number)
{
	drop_relations(v);
	v->umin = number;
	v->umax = number;
	v->smin = number;
	v->smax = number;
	v->step = 0;
	v->id = ID_KNOWN;
	v->delta = number;
}

void val_set_known(struct val *v, uint64_t number)
{
	val_set_num(v);
	set_number(v, number);
}

static void set_range(struct val *v, uint64_t min, uint64_t max)
{
	if (min == max) {
		set_number(v, min);
		return;
	}
	val_forget(v);
	v->umin = min;
	v->umax = max;
	val_sync(v);
}

void val_set_range(struct val *v, uint64_t min, uint64_t max)
{
	val_set_num(v);
	set_range(v, min, max);
}

void val_set_ptr(struct val *v, enum region region, uint32_t where, int64_t off)
{
	val_set_known(v, off);
	v->type = VAL_PTR;
	v->region = region;
	v->where = where;
}

/* Tighten the unsigned bounds to the grid of @step through @anchor. */
static bool snap(struct val *v, uint64_t anchor)
{
	uint64_t up;

	if (v->step <= 1 || v->umin < anchor)
		return true;
	up = (v->umin - anchor) % v->step;
	if (up) {
		up = v->step - up;
		if (__builtin_add_overflow(v->umin, up, &v->umin))
			return false;
	}
	v->umax -= (v->umax - anchor) % v->step;
	return v->umin <= v->umax;
}

/* Cut the bounds. Returns false if nothing is left. */
bool val_cut(struct val *v, uint64_t umin, uint64_t umax, int64_t smin,
	     int64_t smax)
{
	uint64_t anchor = v->umin;

	v->umin = MAX(v->umin, umin);
	v->umax = MIN(v->umax, umax);
	v->smin = MAX(v->smin, smin);
	v->smax = MIN(v->smax, smax);
	if (v->room != ROOM_NONE)
		v->smax = MIN(v->smax, floor_div((int64_t)BPFVM_MAX_DATA -
						 v->room, v->scale));
	for (int i = 0; i < 2; i++) {
		if (v->umin > v->umax || v->smin > v->smax)
			return false;
		if (v->smin >= 0 || v->smax < 0) {
			v->umin = MAX(v->umin, (uint64_t)v->smin);
			v->umax = MIN(v->umax, (uint64_t)v->smax);
		}
		if (v->umin > v->umax || !snap(v, anchor))
			return false;
		if (!((v->umin ^ v->umax) >> 63)) {
			v->smin = MAX(v->smin, (int64_t)v->umin);
			v->smax = MIN(v->smax, (int64_t)v->umax);
		}
	}
	if (v->umin > v->umax || v->smin > v->smax)
		return false;
	if (v->umin == v->umax) {
		v->step = 0;
		v->smin = v->umin;
		v->smax = v->umin;
		/* Copies of what may be NULL are found by their symbol. */
		if (v->null == NULL_NEVER) {
			v->id = ID_KNOWN;
			v->delta = v->umin;
		}
	} else if (v->step == 0) {
		v->step = 1;
	}
	return true;
}

bool val_sync(struct val *v)
{
	return val_cut(v, 0, UINT64_MAX, INT64_MIN, INT64_MAX);
}

int64_t val_room_at(const struct val *v, uint32_t scale, int64_t minlen)
{
	int64_t room = ROOM_NONE;
	int64_t most;

	if (v->room != ROOM_NONE &&
	    (v->scale == scale || (v->scale > scale && v->smin >= 0)))
		room = v->room;
	if (v->smax <= NUM_LIMIT) {
		most = minlen - MAX(v->smax, -NUM_LIMIT) * (int64_t)scale;
		room = MAX(room, most);
	}
	return room;
}

int64_t val_room(const struct val *v, int64_t minlen)
{
	return val_room_at(v, 1, minlen);
}

void val_take_room(struct val *v, uint32_t scale, int64_t room)
{
	if (room == ROOM_NONE || room > NUM_LIMIT || room < -NUM_LIMIT ||
	    !scale || scale > SCALE_LIMIT)
		return;
	if (v->room != ROOM_NONE && v->scale == scale && v->room >= room)
		return;
	if (v->room != ROOM_NONE && v->scale != scale && scale != 1)
		return;
	v->room = room;
	v->scale = scale;
}

/* room + a * scale, or nothing when the numbers are too large to matter */
static int64_t room_plus(int64_t room, int64_t a, uint32_t scale)
{
	if (room == ROOM_NONE || a > NUM_LIMIT || a < -NUM_LIMIT)
		return ROOM_NONE;
	return room + a * (int64_t)scale;
}

static int64_t room_minus(int64_t room, int64_t a, uint32_t scale)
{
	return a < -NUM_LIMIT ? ROOM_NONE : room_plus(room, -a, scale);
}

static void set_exact(struct val *v, uint32_t minus, int64_t off)
{
	if (off > NUM_LIMIT || off < -NUM_LIMIT)
		return;
	v->exact = true;
	v->minus = minus;
	v->exact_off = off;
	if (minus == ID_KNOWN)
		val_take_room(v, 1, -off);
}

static void add_exact(struct val *r, const struct val *a, const struct val *b)
{
	if (!a->exact || b->smin < -NUM_LIMIT || b->smax > NUM_LIMIT)
		return;
	if (val_known(b))
		set_exact(r, a->minus, a->exact_off + b->smin);
	else if (a->minus != ID_KNOWN && a->minus == b->id)
		set_exact(r, ID_KNOWN, (uint64_t)a->exact_off + b->delta);
}

void val_add(struct val *v, const struct val *b)
{
	const struct val a = *v;
	bool u_wraps, s_wraps;

	if (val_known(&a) && val_known(b)) {
		set_number(v, a.umin + b->umin);
		return;
	}
	val_forget(v);
	u_wraps = __builtin_add_overflow(a.umax, b->umax, &v->umax);
	v->umin = a.umin + b->umin;
	s_wraps = __builtin_add_overflow(a.smin, b->smin, &v->smin);
	s_wraps |= __builtin_add_overflow(a.smax, b->smax, &v->smax);
	v->step = gcd(a.step, b->step);
	if (u_wraps) {
		v->umin = 0;
		v->umax = UINT64_MAX;
		v->step = 1;
	}
	if (s_wraps) {
		v->smin = INT64_MIN;
		v->smax = INT64_MAX;
	}
	if (val_known(b)) {
		v->id = a.id;
		v->delta = a.delta + b->umin;
	} else if (val_known(&a)) {
		v->id = b->id;
		v->delta = b->delta + a.umin;
	}
	if (!s_wraps) {
		val_take_room(v, a.scale, room_minus(a.room, b->smax, a.scale));
		val_take_room(v, b->scale,
			      room_minus(b->room, a.smax, b->scale));
		add_exact(v, &a, b);
		add_exact(v, b, &a);
	}
	val_sync(v);
}

static void sub_exact(struct val *r, const struct val *a, const struct val *b,
		      int64_t minlen)
{
	int64_t room = val_room(b, minlen);

	if (!a->exact || b->smin < -NUM_LIMIT || b->smax > NUM_LIMIT)
		return;
	if (val_known(b)) {
		set_exact(r, a->minus, a->exact_off - b->smin);
		return;
	}
	if (a->minus != ID_KNOWN)
		return;
	if (b->id)
		set_exact(r, b->id, (uint64_t)a->exact_off - b->delta);
	/* number == LEN + exact_off - number of b */
	if (room != ROOM_NONE)
		r->smin = MAX(r->smin, a->exact_off + room);
	val_take_room(r, 1, b->smin - a->exact_off);
}

void val_sub(struct val *v, const struct val *b, int64_t minlen)
{
	const struct val a = *v;
	bool s_wraps;

	if (a.id && a.id == b->id) {
		set_number(v, a.delta - b->delta);
		return;
	}
	if (a.exact && b->exact && a.minus == b->minus) {
		set_number(v, a.exact_off - b->exact_off);
		return;
	}
	val_forget(v);
	if (a.umin >= b->umax) {
		v->umin = a.umin - b->umax;
		v->umax = a.umax - b->umin;
		v->step = gcd(a.step, b->step);
	}
	s_wraps = __builtin_sub_overflow(a.smin, b->smax, &v->smin);
	s_wraps |= __builtin_sub_overflow(a.smax, b->smin, &v->smax);
	if (s_wraps) {
		v->smin = INT64_MIN;
		v->smax = INT64_MAX;
	}
	if (val_known(b)) {
		v->id = a.id;
		v->delta = a.delta - b->umin;
	}
	if (!s_wraps) {
		val_take_room(v, a.scale, room_plus(a.room, b->smin, a.scale));
		sub_exact(v, &a, b, minlen);
	}
	val_sync(v);
}

static void mul(struct val *v, const struct val *b)
{
	const struct val a = *v;
	uint64_t max;

	if (val_is(b, 1))
		return;
	val_forget(v);
	if (__builtin_mul_overflow(a.umax, b->umax, &max)) {
		/* The low zero bits of a known factor stay. */
		if (val_known(b) && b->umin && !(b->umin & 1)) {
			v->step = b->umin & -b->umin;
			v->umax -= v->step - 1;
		}
		return;
	}
	v->umin = a.umin * b->umin;
	v->umax = max;
	if (val_known(b) && b->umin) {
		v->step = a.step * b->umin;
		if (a.smin >= 0 && b->umin <= SCALE_LIMIT &&
		    a.scale % b->umin == 0)
			val_take_room(v, a.scale / b->umin, a.room);
	}
	val_sync(v);
}

/* Divide by a known number that is not zero, and round down. */
static void divide(struct val *v, uint64_t by)
{
	const struct val a = *v;

	if (by == 1)
		return;
	val_forget(v);
	v->umin = a.umin / by;
	v->umax = a.umax / by;
	if (a.step && a.step % by == 0 && a.umin % by == 0)
		v->step = a.step / by;
	if (a.smin >= 0 && by <= SCALE_LIMIT &&
	    a.scale * by <= SCALE_LIMIT)
		val_take_room(v, a.scale * by, a.room);
	val_sync(v);
}

/* The result is not more than @a was, as unsigned numbers. */
static void at_most(struct val *v, const struct val *a, uint64_t max)
{
	uint64_t umax = MIN(a->umax, max);

	val_forget(v);
	v->umax = umax;
	if (a->smin >= 0)
		val_take_room(v, a->scale, a->room);
	val_sync(v);
}

static void bit_and(struct val *v, const struct val *b)
{
	const struct val a = *v;
	uint64_t mask = b->umin;
	uint64_t low;

	if (!val_known(b)) {
		at_most(v, &a, b->umax);
		return;
	}
	/* All bits that can be set are kept. */
	if (!(mask & (mask + 1)) && a.umax <= mask)
		return;
	at_most(v, &a, mask);
	low = mask & -mask;
	if (low > 1 && !val_known(v)) {
		v->step = low;
		v->umin = 0;
		v->umax &= -low;
		/* The mask cuts low bits only: rounding down. */
		if (mask + low == 0)
			v->umin = a.umin & mask;
		val_sync(v);
	}
}

static void bit_or(struct val *v, const struct val *b, bool xor)
{
	uint64_t most = v->umax | b->umax;
	uint64_t least = xor ? 0 : MAX(v->umin, b->umin);

	/* No bit above the highest one of either. */
	for (int i = 1; i < 64; i *= 2)
		most |= most >> i;
	set_range(v, least, most);
}

static void shift_left(struct val *v, unsigned int by)
{
	struct val factor = { 0 };

	val_set_known(&factor, 1ULL << by);
	mul(v, &factor);
}

static void shift_right_signed(struct val *v, unsigned int by)
{
	const struct val a = *v;

	if (a.smin >= 0) {
		divide(v, 1ULL << by);
		return;
	}
	val_forget(v);
	v->smin = a.smin >> by;
	v->smax = a.smax >> by;
	val_sync(v);
}

static void shift(struct val *v, const struct val *b, uint8_t op, int bits)
{
	const struct val a = *v;
	unsigned int by = b->umin & (bits - 1);

	if (!val_known(b)) {
		if (op == OP_RSH || (op == OP_ARSH && a.smin >= 0))
			at_most(v, &a, UINT64_MAX);
		else
			val_forget(v);
		return;
	}
	if (by == 0)
		return;
	if (op == OP_LSH)
		shift_left(v, by);
	else if (op == OP_ARSH)
		shift_right_signed(v, by);
	else
		divide(v, 1ULL << by);
}

static void divide_or_mod(struct val *v, const struct val *b, uint8_t op,
			  bool is_signed)
{
	const struct val a = *v;

	if (is_signed && (a.smin < 0 || b->smin < 0)) {
		val_forget(v);
	} else if (!val_known(b) || !b->umin) {
		/* A division by zero gives 0, a remainder what was there. */
		at_most(v, &a, UINT64_MAX);
	} else if (op == OP_DIV) {
		divide(v, b->umin);
	} else if (a.umax >= b->umin) {
		at_most(v, &a, b->umin - 1);
	}
}

static void compute(struct val *v, const struct val *b, uint8_t op,
		    bool is_signed, int bits, int64_t minlen)
{
	struct val zero;

	switch (op) {
	case OP_ADD:
		val_add(v, b);
		break;
	case OP_SUB:
		val_sub(v, b, minlen);
		break;
	case OP_MUL:
		mul(v, b);
		break;
	case OP_DIV:
	case OP_MOD:
		divide_or_mod(v, b, op, is_signed);
		break;
	case OP_AND:
		bit_and(v, b);
		break;
	case OP_OR:
	case OP_XOR:
		bit_or(v, b, op == OP_XOR);
		break;
	case OP_NEG:
		val_set_known(&zero, 0);
		val_sub(&zero, v, minlen);
		*v = zero;
		break;
	default:
		shift(v, b, op, bits);
	}
}

void val_zero_extend(struct val *v, int bits)
{
	uint64_t max = bits == 64 ? UINT64_MAX : (1ULL << bits) - 1;

	if (v->umax <= max)
		return;
	if (val_known(v))
		set_number(v, v->umin & max);
	else
		set_range(v, 0, max);
}

void val_sign_extend(struct val *v, int bits, int to)
{
	int64_t half = 1LL << (bits - 1);

	if (val_known(v)) {
		uint64_t number = alu_sign_extend(v->umin, bits);

		set_number(v, to == 32 ? (uint32_t)number : number);
		return;
	}
	if (v->smin >= (to == 32 ? 0 : -half) && v->smax < half)
		return;
	val_forget(v);
	if (to == 32) {
		v->umax = UINT32_MAX;
	} else {
		v->smin = -half;
		v->smax = half - 1;
	}
	val_sync(v);
}

/* Does it matter for the result of a 32-bit operation that a number is signed? */
static bool needs_sign32(const struct val *v, const struct val *b, uint8_t op,
			 bool is_signed)
{
	if (op == OP_ARSH)
		return v->umax > INT32_MAX;
	return is_signed && (op == OP_DIV || op == OP_MOD) &&
	       (v->umax > INT32_MAX || b->umax > INT32_MAX);
}

static void compute32(struct val *v, const struct val *b, uint8_t op,
		      bool is_signed, int64_t minlen, enum val_wide *wide)
{
	struct val b32 = *b;
	bool clean = v->umax <= UINT32_MAX && b->umax <= UINT32_MAX &&
		     (op == OP_ADD || op == OP_SUB || op == OP_LSH);
	enum val_wide how = WIDE_PLAIN;

	val_zero_extend(v, 32);
	val_zero_extend(&b32, 32);
	if (val_known(v) && val_known(&b32)) {
		uint64_t full = alu64(op, is_signed, v->umin, b32.umin);

		if (clean && full <= UINT32_MAX)
			*wide = WIDE_PLAIN;
		set_number(v, alu32(op, is_signed, v->umin, b32.umin));
		return;
	}
	if (needs_sign32(v, &b32, op, is_signed)) {
		set_range(v, 0, UINT32_MAX);
		return;
	}
	/* Adding a number with the top bit set is subtracting a small one. */
	if (op == OP_ADD && val_known(&b32) && b32.umin > INT32_MAX) {
		val_set_known(&b32, (1ULL << 32) - b32.umin);
		op = OP_SUB;
		how = WIDE_NEGATIVE;
	}
	compute(v, &b32, op, false, 32, minlen);
	if (v->umax > UINT32_MAX)
		set_range(v, 0, UINT32_MAX);
	else if (clean)
		*wide = how;
}

void val_alu(struct val *v, const struct val *b, uint8_t op, bool is_signed,
	     int bits, int64_t minlen, enum val_wide *wide)
{
	*wide = WIDE_NO;
	if (bits == 32)
		compute32(v, b, op, is_signed, minlen, wide);
	else if (val_known(v) && val_known(b))
		set_number(v, alu64(op, is_signed, v->umin, b->umin));
	else
		compute(v, b, op, is_signed, 64, minlen);
}
