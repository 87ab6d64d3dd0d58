// SPDX-License-Identifier: GPL-2.0
/*
 * Loops of which the JIT compiles several rounds, or some ways twice: accesses
 * that move evenly and are not proved, searches that mostly go on at once, state
 * machines; and what it makes one instruction of.
 */
#include "generate_internal.h"

static void jump_back(struct generator *g, uint8_t code, uint8_t dst,
		      uint8_t src, int32_t imm, uint32_t top)
{
	put(g, code, dst, src, (int)top - (int)g->nr - 1, imm);
}

/* r1 = memory: the data, or global memory that may be written. */
static bool put_base(struct generator *g)
{
	bool global = below(g->r, 3) == 0;

	if (global)
		put_imm64(g, 1, IMM64_MAP_IDX_VALUE, 0, below(g->r, 16));
	else
		put(g, CLS_ALU64 | OP_MOV | 8, 1, 9, 0, 0);
	if (below(g->r, 3) == 0)
		put(g, CLS_ALU64 | OP_ADD, 1, 0, 0, (int)below(g->r, 9) - 4);
	return global;
}

/* Read, or write where that is allowed, at r4 or r1. */
static void put_use(struct generator *g, uint8_t ptr, bool writable)
{
	int16_t off = (int)below(g->r, 20) - 6;

	if (writable && below(g->r, 3) == 0) {
		put(g, CLS_STX | MODE_MEM | random_size(g), ptr, 6, off, 0);
		return;
	}
	put(g, CLS_LDX | MODE_MEM | random_size(g), 5, ptr, off, 0);
	if (below(g->r, 3))
		put(g, (below(g->r, 2) ? CLS_ALU : CLS_ALU64) |
		       (below(g->r, 2) ? OP_XOR : OP_ADD) | 8, 6, 5, 0, 0);
}

/* An index that has nothing to do with the length: faults are to be expected. */
static void stmt_stride(struct generator *g)
{
	static const uint8_t ends[] = { OP_JLT, OP_JNE, OP_JLE, OP_JSLT };
	int32_t step = below(g->r, 6) ? 1 + (int)below(g->r, 9) :
					(int)below(g->r, 40) - 20;
	bool scaled = below(g->r, 3) == 0, moves = below(g->r, 3) == 0;
	uint32_t top, jump = GEN_MAX;
	bool writable;

	writable = put_base(g) || g->abi == BPFVM_ABI_RAW;
	put(g, CLS_ALU64 | OP_MOV, 2, 0, 0, below(g->r, 12));
	put(g, CLS_ALU64 | OP_MOV, 3, 0, 0, below(g->r, 200));
	if (below(g->r, 4) == 0)
		put(g, CLS_ALU64 | OP_MOV | 8, 3, 6, 0, 0);
	top = g->nr;
	if (below(g->r, 4) == 0)
		put(g, CLS_ALU64 | OP_ADD, 2, 0, 0, step);
	if (!moves) {
		put(g, CLS_ALU64 | OP_MOV | 8, 4, scaled ? 2 : 1, 0, 0);
		if (scaled)
			put(g, CLS_ALU64 | OP_LSH, 4, 0, 0, below(g->r, 4));
		put(g, CLS_ALU64 | OP_ADD | 8, 4, scaled ? 1 : 2, 0, 0);
	}
	put_use(g, moves ? 1 : 4, writable);
	if (below(g->r, 3) == 0) {
		jump = g->nr;
		put(g, random_jump(g), 6, 0, 0, below(g->r, 300));
		put_use(g, moves ? 1 : 4, writable);
	}
	if (below(g->r, 2))
		patch(g, jump);
	if (moves)
		put(g, CLS_ALU64 | OP_ADD, 1, 0, 0, step);
	put(g, (below(g->r, 4) ? CLS_ALU64 : CLS_ALU) |
	       (below(g->r, 8) ? OP_ADD : OP_SUB), 2, 0, 0, step);
	jump_back(g, CLS_JMP | ends[below(g->r, 4)] | 8, 2, 3, 0, top);
	if (jump != GEN_MAX && !g->insns[jump].off)
		patch(g, jump);
	put(g, CLS_ALU64 | OP_MOV, 4, 0, 0, step);
	put(g, CLS_ALU64 | OP_MOV, 5, 0, 0, 1);
}

/* Mostly the first comparison fails; else there are some more. */
static void stmt_search(struct generator *g)
{
	uint32_t top, out, nexts[4], nr = 0;

	put(g, CLS_ALU64 | OP_MOV | 8, 1, 9, 0, 0);
	out = g->nr;
	put(g, CLS_JMP | OP_JGE | 8, 1, 8, 0, 0);
	top = g->nr;
	for (unsigned int i = 1 + below(g->r, 3); i; i--) {
		put(g, CLS_LDX | MODE_MEM | (below(g->r, 4) ? SZ_B : SZ_H), 4,
		    1, nr && below(g->r, 2) ? nr : 0, 0);
		nexts[nr++] = g->nr;
		put(g, below(g->r, 2) ? CLS_JMP | OP_JGT : CLS_JMP32 | OP_JNE,
		    4, 0, 0, below(g->r, 256));
	}
	put(g, CLS_ALU64 | OP_ADD, 6, 0, 0, 1);
	if (below(g->r, 4) == 0)
		put(g, CLS_ALU64 | OP_MOV, 4, 0, 0, 0);
	while (nr)
		patch(g, nexts[--nr]);
	put(g, CLS_ALU64 | OP_ADD, 1, 0, 0, 1 + below(g->r, 2));
	jump_back(g, CLS_JMP | OP_JLT | 8, 1, 8, 0, top);
	patch(g, out);
	put(g, CLS_ALU64 | OP_MOV, 4, 0, 0, 2);
}

/* r2 is a state: a constant on most ways to where it is compared. */
static void stmt_states(struct generator *g)
{
	uint32_t states = 2 + below(g->r, 3);
	uint32_t top, out, tests[4], nexts[24], nr = 0;

	put(g, CLS_ALU64 | OP_MOV | 8, 1, 9, 0, 0);
	put(g, CLS_ALU64 | OP_MOV, 2, 0, 0, below(g->r, states));
	out = g->nr;
	put(g, CLS_JMP | OP_JGE | 8, 1, 8, 0, 0);
	top = g->nr;
	put(g, CLS_LDX | MODE_MEM | SZ_B, 4, 1, 0, 0);
	put(g, CLS_ALU64 | OP_MOV | 8, 5, 2, 0, 0);
	for (uint32_t s = 1; s < states; s++) {
		tests[s] = g->nr;
		put(g, (below(g->r, 2) ? CLS_JMP : CLS_JMP32) | OP_JEQ, 5, 0, 0,
		    s);
	}
	for (uint32_t s = 0; s < states; s++) {
		if (s)
			patch(g, tests[s]);
		for (unsigned int i = below(g->r, 3); i; i--) {
			uint32_t over = g->nr;

			put(g, CLS_JMP | (below(g->r, 2) ? OP_JGT : OP_JLT), 4,
			    0, 0, below(g->r, 256));
			put(g, CLS_ALU | OP_MOV, 2, 0, 0, below(g->r, states));
			put(g, CLS_ALU64 | OP_ADD, 6, 0, 0, below(g->r, 5));
			nexts[nr++] = g->nr;
			put(g, CODE_JA, 0, 0, 0, 0);
			patch(g, over);
		}
		put(g, CLS_ALU64 | OP_MOV, 2, 0, 0, below(g->r, states));
		nexts[nr++] = g->nr;
		put(g, CODE_JA, 0, 0, 0, 0);
	}
	while (nr)
		patch(g, nexts[--nr]);
	put(g, CLS_ALU64 | OP_ADD, 1, 0, 0, 1);
	jump_back(g, CLS_JMP | OP_JLT | 8, 1, 8, 0, top);
	patch(g, out);
	put(g, CLS_ALU64 | OP_MOV, 4, 0, 0, 2);
	put(g, CLS_ALU64 | OP_MOV, 5, 0, 0, 3);
}

/* The test comes first in the program, and falls into the loop or leaves it. */
static void stmt_rotated(struct generator *g)
{
	int16_t slot = -8 * (int)(22 + g->loops_deep);
	uint32_t enter, latch, out;

	put(g, CLS_ST | MODE_MEM | SZ_DW, 10, 0, slot, 0);
	enter = g->nr;
	put(g, CODE_JA, 0, 0, 0, 0);
	latch = g->nr;
	put(g, CLS_LDX | MODE_MEM | SZ_DW, 4, 10, slot, 0);
	put(g, CLS_ALU64 | OP_ADD, 4, 0, 0, 1);
	put(g, CLS_STX | MODE_MEM | SZ_DW, 10, 4, slot, 0);
	out = g->nr;
	put(g, CLS_JMP | (below(g->r, 2) ? OP_JEQ : OP_JGT), 4, 0, 0,
	    1 + below(g->r, 9));
	patch(g, enter);
	for (unsigned int i = below(g->r, 4); i; i--) {
		uint32_t over = g->nr;

		put(g, random_jump(g), 6, 0, 0, edge_value(g->r));
		put(g, CLS_ALU64 | OP_ADD, 6, 0, 0, 3);
		if (below(g->r, 2))
			put(g, CLS_ALU64 | OP_XOR | 8, 6, 4, 0, 0);
		patch(g, over);
	}
	put(g, CLS_ALU64 | OP_ADD, 6, 0, 0, below(g->r, 100));
	jump_back(g, CODE_JA, 0, 0, 0, latch);
	patch(g, out);
}

/* Load, change, store; load and use. */
static void stmt_change(struct generator *g)
{
	static const uint8_t ops[] = { OP_ADD, OP_SUB, OP_OR, OP_AND, OP_XOR };
	uint8_t size = random_size(g), index = number(g);
	uint8_t class = below(g->r, 2) ? CLS_ALU : CLS_ALU64;
	int16_t off = below(g->r, 64);

	put_imm64(g, 1, IMM64_MAP_IDX_VALUE, 0, 0);
	put(g, CLS_ALU64 | OP_AND, index, 0, 0, 127);
	put(g, CLS_ALU64 | OP_ADD | 8, 1, index, 0, 0);
	put(g, CLS_LDX | MODE_MEM | size, 4, 1, off, 0);
	if (below(g->r, 4) == 0)
		put(g, below(g->r, 2) ? CLS_ALU64 | OP_END :
					CLS_ALU | OP_END | 8, 4, 0, 0,
		    16 << below(g->r, 3));
	if (below(g->r, 2))
		put(g, class | ops[below(g->r, 5)] | 8, 4, number(g), 0, 0);
	else
		put(g, class | ops[below(g->r, 5)], 4, 0, 0,
		    edge_value(g->r));
	if (below(g->r, 4)) {
		put(g, CLS_STX | MODE_MEM | size, 1, 4,
		    below(g->r, 8) ? off : off + 1, 0);
	} else {
		put(g, CLS_LDX | MODE_MEM | random_size(g), 4, 1, off, 0);
		put(g, class | ops[below(g->r, 5)] | 8, number(g), 4, 0, 0);
	}
	if (below(g->r, 4))
		put(g, CLS_ALU64 | OP_MOV, 4, 0, 0, off);
}

void stmt_loop(struct generator *g)
{
	switch (below(g->r, 7)) {
	case 0 ... 1:
		stmt_stride(g);
		break;
	case 2:
		stmt_search(g);
		break;
	case 3:
		stmt_states(g);
		break;
	case 4:
		stmt_rotated(g);
		break;
	default:
		stmt_change(g);
	}
}
