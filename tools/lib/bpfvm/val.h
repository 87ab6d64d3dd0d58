/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the verifier knows about the content of a register.
 *
 * A value has a number: itself, or for a pointer the offset from the beginning
 * of what it points into. All facts are about that number. LEN is the length of
 * the data, which differs from run to run.
 */
#ifndef BPFVM_VAL_H
#define BPFVM_VAL_H

#include "internal.h"

enum val_type {
	VAL_NONE,		/* never written, or gone */
	VAL_MIXED,		/* a number or a pointer, or two kinds of pointer */
	VAL_NUM,
	VAL_PTR,
	VAL_FUNC,		/* @where is the first slot of a function */
};

/* How a pointer can be something else than a pointer. */
enum val_null {
	NULL_NEVER,
	NULL_MAYBE,		/* it may be 0 */
	NULL_MOVED,		/* it may be 0 plus something */
};

/* No room known. */
#define ROOM_NONE	INT64_MIN
/* Facts that would need larger numbers are dropped. */
#define NUM_LIMIT	((int64_t)1 << 40)
#define SCALE_LIMIT	((uint32_t)1 << 20)
/* The symbol of known numbers, which is 0: their delta is the number. */
#define ID_KNOWN	1

/**
 * struct val - a value
 * @type:   enum val_type
 * @region: VAL_PTR: enum region
 * @null:   VAL_PTR: enum val_null
 * @exact:  number == LEN + @exact_off - symbol of @minus (modulo 2^64)
 * @where:  REGION_STACK: frame, 0 is the entry's; REGION_GLOBAL: index;
 *	    REGION_MEM: bytes; VAL_FUNC: slot
 * @id:     symbol: values with the same id differ by their deltas; 0: none
 * @minus:  see @exact; ID_KNOWN if nothing is subtracted
 * @scale:  of @room
 * @delta:  number == symbol of @id + @delta (modulo 2^64)
 * @umin:   bounds of the number, as unsigned
 * @smin:   bounds of the number, as signed
 * @step:   number == @umin + n * @step for a whole n; 0 if it is known
 * @room:   number * @scale + @room <= LEN, as signed numbers without wrapping
 */
struct val {
	uint8_t type;
	uint8_t region;
	uint8_t null;
	bool exact;
	uint32_t where;
	uint32_t id;
	uint32_t minus;
	uint32_t scale;
	uint64_t delta;
	uint64_t umin, umax;
	int64_t smin, smax;
	uint64_t step;
	int64_t room;
	int64_t exact_off;
};

static inline bool val_known(const struct val *v)
{
	return v->umin == v->umax;
}

static inline bool val_is(const struct val *v, uint64_t number)
{
	return v->type == VAL_NUM && v->umin == number && v->umax == number;
}

/* Do two pointers point into the same thing? */
static inline bool val_same_object(const struct val *a, const struct val *b)
{
	return a->type == VAL_PTR && b->type == VAL_PTR &&
	       a->region == b->region && a->where == b->where &&
	       a->region != REGION_ANY && a->region != REGION_MEM;
}

/* The number can be anything. Leaves the type alone. */
void val_forget(struct val *v);
void val_set_num(struct val *v);
void val_set_known(struct val *v, uint64_t number);
void val_set_range(struct val *v, uint64_t min, uint64_t max);
void val_set_ptr(struct val *v, enum region region, uint32_t where,
		 int64_t off);

/* Cut the bounds. Returns false if no number is left. */
bool val_cut(struct val *v, uint64_t umin, uint64_t umax, int64_t smin,
	     int64_t smax);
/* Make the bounds agree. Returns false if there is no such number. */
bool val_sync(struct val *v);
/* Room of @v, given that LEN >= @minlen; ROOM_NONE if there is none known. */
int64_t val_room(const struct val *v, int64_t minlen);
/* The same for number * @scale. */
int64_t val_room_at(const struct val *v, uint32_t scale, int64_t minlen);
/* Take over that number * @scale + @room <= LEN, if that says more. */
void val_take_room(struct val *v, uint32_t scale, int64_t room);

/* Whether a 64-bit operation would give what a 32-bit one does. */
enum val_wide {
	WIDE_NO,
	WIDE_PLAIN,		/* if the operand is extended with zeros */
	WIDE_NEGATIVE,		/* if the operand's sign is extended */
};

/*
 * @v becomes the result of an operation on the numbers of @v and @b, @bits wide
 * (64 or 32); types are the caller's. @minlen: LEN >= @minlen.
 */
void val_alu(struct val *v, const struct val *b, uint8_t op, bool is_signed,
	     int bits, int64_t minlen, enum val_wide *wide);
void val_add(struct val *v, const struct val *b);
void val_sub(struct val *v, const struct val *b, int64_t minlen);
/* Keep the low @bits and extend their sign to @to bits. */
void val_sign_extend(struct val *v, int bits, int to);
void val_zero_extend(struct val *v, int bits);

#endif /* BPFVM_VAL_H */
