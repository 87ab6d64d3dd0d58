/* SPDX-License-Identifier: GPL-2.0 */
/* What the verifier knows at one place of a program. */
#ifndef BPFVM_STATE_H
#define BPFVM_STATE_H

#include "pool.h"
#include "val.h"

#define NR_REGS		11
#define NR_SLOTS	(BPFVM_FRAME_SIZE / 8)
/* Saved for a caller: r6 to r9, and of a bpf_loop() its context and count. */
#define NR_SAVED	6
#define SAVED_LOOP_CTX	4
#define SAVED_LOOP_NR	5

/**
 * struct slot - eight bytes of the stack
 * @init: which bytes were written, bit 0 is the lowest
 * @v:    the value that was stored as a whole; with VAL_NONE the bytes are parts
 *	  of numbers
 */
struct slot {
	uint8_t init;
	struct val v;
};

/* The stack of a running function; slot 0 is the one at r10 - 8. */
struct frame {
	struct val *saved;	/* NR_SAVED, while it calls another */
	uint32_t nr;
	uint32_t room;
	struct slot *slots;
};

/**
 * struct state - all that is known
 * @pool:   where its memory is of
 * @depth:  frame of the running function
 * @room:   frames there is room for
 * @minlen: LEN >= @minlen
 * @r:      registers
 * @frames: 0 to @depth are in use
 */
struct state {
	struct pool *pool;
	uint32_t depth;
	uint32_t room;
	int64_t minlen;
	struct val r[NR_REGS];
	struct frame frames[];
};

/* Values that differ by the same amount in both of two joined states. */
struct pair {
	uint32_t a, b;
	int64_t diff;
	uint32_t id;
	uint16_t next;		/* 1 + the next of its chain */
};

#define NR_CHAINS	64

#define MAX_PAIRS	(NR_REGS + BPFVM_MAX_FRAMES * (NR_SAVED + NR_SLOTS))

/* What joining needs besides the two states. */
struct joiner {
	uint32_t next_id;
	bool widen;
	const int64_t *limits;		/* where widening stops, sorted */
	uint32_t nr_limits;
	uint64_t work;
	int64_t minlen[2];
	uint32_t nr_pairs;
	uint16_t chains[NR_CHAINS];	/* 1 + the first of each */
	struct pair pairs[MAX_PAIRS];
};

/* A state of functions that are up to @depth frames down. */
struct state *state_new(struct pool *pool, uint32_t depth);
void state_free(struct state *st);
/* The memory that it takes. */
size_t state_bytes(const struct state *st);
/* Returns false if there is no memory. */
bool state_copy(struct state *to, const struct state *from);
/* The slot, which is made if it was not there; NULL if there is no memory. */
struct slot *state_slot(struct state *st, uint32_t frame, uint32_t slot);

/* Do they say the same in the same words? */
bool state_same(const struct state *a, const struct state *b);

/*
 * Make @to hold for all that @to or @from held for. Returns 1 if @to says less
 * than before, 0 if it is the same, -ENOMEM.
 */
int state_join(struct joiner *j, struct state *to, const struct state *from);

/* Give a value a symbol, so that copies of it stay related. */
void state_name(struct joiner *j, struct val *v);

/*
 * Learn from "@a OP @b" being true. Either is a register of @st, or @b a known
 * number of the caller's. Returns false if it cannot be true.
 */
bool state_assume(struct state *st, struct val *a, struct val *b, uint8_t op,
		  bool is32);
/* Learn that the number of @v is in a range, and has that much room. */
bool state_assume_range(struct state *st, struct val *v, int64_t smin,
			int64_t smax, int64_t room);

#endif /* BPFVM_STATE_H */
