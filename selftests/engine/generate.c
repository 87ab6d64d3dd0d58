// SPDX-License-Identifier: GPL-2.0
/*
 * Random programs: arithmetic on edge values, branches, loops of several forms,
 * accesses that can be proved and ones that cannot, calls, atomics, callbacks.
 *
 * Conventions inside a generated function: r9 is a pointer into the data, r8 to
 * their end (or the length), r7 the argument of a callback or the address of
 * something on the stack; r0 and r2 to r6 are numbers. Everything that a
 * statement needs it makes itself, so that any two can follow each other.
 */
#include <string.h>

#include "generate_internal.h"

void put(struct generator *g, uint8_t code, uint8_t dst, uint8_t src,
		int16_t off, int32_t imm)
{
	if (g->nr >= GEN_MAX)
		return;
	g->insns[g->nr++] = (struct bpfvm_insn){ code, dst | src << 4, off,
						 imm };
}

int64_t edge_value(struct random *r)
{
	static const int64_t edges[] = {
		0, 1, -1, 2, 7, 8, 63, 64, 127, 128, 255, 256, 32767, 32768,
		65535, 65536, INT32_MAX, INT32_MIN, UINT32_MAX, 1LL << 32,
		INT64_MAX, INT64_MIN, -2, -128, -65536,
	};

	switch (below(r, 3)) {
	case 0:
		return edges[below(r, sizeof(edges) / sizeof(edges[0]))];
	case 1:
		return below(r, 300);
	default:
		return next_random(r);
	}
}

/* A register that holds a number. */
uint8_t number(struct generator *g)
{
	static const uint8_t regs[] = { 0, 2, 3, 4, 5, 6 };

	return regs[below(g->r, 6)];
}

void put_imm64(struct generator *g, uint8_t dst, uint8_t src,
		      int32_t low, int32_t high)
{
	put(g, CODE_LD_IMM64, dst, src, 0, low);
	put(g, 0, 0, 0, 0, high);
}

void load_number(struct generator *g, uint8_t dst)
{
	int64_t value = edge_value(g->r);

	if (below(g->r, 2))
		put(g, CLS_ALU64 | OP_MOV, dst, 0, 0, value);
	else
		put_imm64(g, dst, 0, value, value >> 32);
}

static void stmt_alu(struct generator *g)
{
	static const uint8_t ops[] = {
		OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_OR, OP_AND, OP_LSH, OP_RSH,
		OP_MOD, OP_XOR, OP_MOV, OP_ARSH,
	};
	uint8_t op = ops[below(g->r, sizeof(ops))];
	uint8_t class = below(g->r, 2) ? CLS_ALU : CLS_ALU64;
	int bits = class == CLS_ALU ? 32 : 64;
	int32_t imm = edge_value(g->r);
	int16_t off = 0;

	if (op == OP_DIV || op == OP_MOD) {
		off = below(g->r, 2);
		imm = imm ? imm : 3;
	}
	if (below(g->r, 2)) {
		static const int16_t sx[] = { 0, 8, 16, 32 };

		if (op == OP_MOV)
			off = sx[below(g->r, bits == 64 ? 4 : 3)];
		put(g, class | op | 8, number(g), number(g), off, 0);
		return;
	}
	if (op == OP_LSH || op == OP_RSH || op == OP_ARSH)
		imm = below(g->r, bits);
	put(g, class | op, number(g), 0, off, imm);
}

static void stmt_unary(struct generator *g)
{
	static const uint8_t widths[] = { 16, 32, 64 };

	switch (below(g->r, 4)) {
	case 0:
		put(g, CLS_ALU64 | OP_NEG, number(g), 0, 0, 0);
		break;
	case 1:
		put(g, CLS_ALU | OP_NEG, number(g), 0, 0, 0);
		break;
	case 2:
		put(g, CLS_ALU64 | OP_END, number(g), 0, 0,
		    widths[below(g->r, 3)]);
		break;
	default:
		put(g, CLS_ALU | OP_END | (below(g->r, 2) ? 8 : 0), number(g),
		    0, 0, widths[below(g->r, 3)]);
	}
}

uint8_t random_jump(struct generator *g)
{
	static const uint8_t ops[] = {
		OP_JEQ, OP_JGT, OP_JGE, OP_JSET, OP_JNE, OP_JSGT, OP_JSGE,
		OP_JLT, OP_JLE, OP_JSLT, OP_JSLE,
	};

	return ops[below(g->r, sizeof(ops))] |
	       (below(g->r, 2) ? CLS_JMP : CLS_JMP32);
}

uint8_t random_size(struct generator *g)
{
	return below(g->r, 4) << 3;
}

void load_from(struct generator *g, uint8_t ptr, int16_t off)
{
	uint8_t size = random_size(g);
	uint8_t mode = size != SZ_DW && below(g->r, 4) == 0 ? MODE_MEMSX :
							      MODE_MEM;

	put(g, CLS_LDX | mode | size, number(g), ptr, off, 0);
}

void store_to(struct generator *g, uint8_t ptr, int16_t off)
{
	if (below(g->r, 3))
		put(g, CLS_STX | MODE_MEM | random_size(g), ptr, number(g), off,
		    0);
	else
		put(g, CLS_ST | MODE_MEM | random_size(g), ptr, 0, off,
		    edge_value(g->r));
}

static void atomic_on(struct generator *g, uint8_t ptr, int16_t off)
{
	static const int32_t ops[] = {
		OP_ADD, OP_OR, OP_AND, OP_XOR, OP_ADD | 1, OP_OR | 1,
		OP_AND | 1, OP_XOR | 1, ATOMIC_XCHG, ATOMIC_CMPXCHG,
	};

	put(g, CLS_STX | MODE_ATOMIC | (below(g->r, 2) ? SZ_W : SZ_DW), ptr,
	    number(g), off, ops[below(g->r, 10)]);
}

/* r1 = memory that holds numbers: global or stack; an index may be added. */
static void stmt_memory(struct generator *g)
{
	int16_t off = below(g->r, 4) ? (int)below(g->r, 8) * 8 :
				       (int)below(g->r, 70);
	bool global = below(g->r, 2);
	bool rdonly = global && below(g->r, 4) == 0;
	uint8_t index = number(g);

	if (global) {
		put_imm64(g, 1, IMM64_MAP_IDX_VALUE, rdonly, below(g->r, 32));
	} else {
		put(g, CLS_ALU64 | OP_MOV | 8, 1, 10, 0, 0);
		put(g, CLS_ALU64 | OP_ADD, 1, 0, 0, -128);
	}
	switch (below(g->r, 4)) {
	case 0:
		put(g, CLS_ALU64 | OP_AND, index, 0, 0,
		    below(g->r, 2) ? 63 : 56);
		put(g, CLS_ALU64 | OP_ADD | 8, 1, index, 0, 0);
		off = below(g->r, 8);
		break;
	case 1:
		if (!global)
			break;
		/* Not known: has to be checked. */
		if (below(g->r, 2))
			put(g, CLS_ALU64 | OP_AND, index, 0, 0, 511);
		put(g, CLS_ALU64 | OP_ADD | 8, 1, index, 0, 0);
		break;
	case 2:
		put(g, CLS_ALU64 | OP_AND, index, 0, 0, 7);
		put(g, CLS_ALU64 | OP_LSH, index, 0, 0, below(g->r, 4));
		put(g, CLS_ALU64 | OP_ADD | 8, 1, index, 0, 0);
		off = below(g->r, 8);
		break;
	}
	if (rdonly || below(g->r, 2))
		load_from(g, 1, off);
	else if (below(g->r, 3))
		store_to(g, 1, off);
	else
		atomic_on(g, 1, off);
}

/* Up to three cheap instructions, which leave @keep alone. */
static void stmt_fill(struct generator *g, uint8_t keep)
{
	static const uint8_t ops[] = {
		OP_MOV, OP_MOV, OP_MOV, OP_ADD, OP_SUB, OP_LSH, OP_XOR, OP_AND,
	};

	for (uint32_t i = below(g->r, 4); i; i--) {
		uint8_t op = ops[below(g->r, sizeof(ops))], dst = number(g);
		uint8_t class = below(g->r, 4) ? CLS_ALU64 : CLS_ALU;

		if (dst == keep)
			continue;
		if (op != OP_LSH && below(g->r, 2))
			put(g, class | op | 8, dst, number(g), 0, 0);
		else
			put(g, class | op, dst, 0, 0, 1 + below(g->r, 3));
	}
}

/*
 * An address that is made step by step, with something else in between that may
 * overwrite what it was made of, and then what is loaded is used once: as a
 * compiler computes *(base + (i << 3)) == x.
 */
static void stmt_address(struct generator *g)
{
	uint8_t index = number(g), loaded = number(g);
	bool global = below(g->r, 2);
	uint32_t jump;

	if (below(g->r, 2))
		put(g, CLS_ALU64 | OP_MOV | 8, index, number(g), 0, 0);
	put(g, CLS_ALU64 | OP_AND, index, 0, 0, 7);
	if (below(g->r, 4))
		put(g, CLS_ALU64 | OP_LSH, index, 0, 0, 1 + below(g->r, 3));
	stmt_fill(g, index);
	if (global) {
		put_imm64(g, 1, IMM64_MAP_IDX_VALUE, 0, below(g->r, 32));
	} else {
		put(g, CLS_ALU64 | OP_MOV | 8, 1, 10, 0, 0);
		put(g, CLS_ALU64 | OP_ADD, 1, 0, 0, -128);
	}
	stmt_fill(g, index);
	put(g, CLS_ALU64 | OP_ADD | 8, 1, index, 0, 0);
	stmt_fill(g, 1);
	put(g, CLS_LDX | MODE_MEM | random_size(g), loaded, 1, below(g->r, 8),
	    0);
	stmt_fill(g, loaded);
	if (below(g->r, 2)) {
		put(g, CLS_ALU64 | OP_ADD | 8, number(g), loaded, 0, 0);
		return;
	}
	jump = g->nr;
	if (below(g->r, 2))
		put(g, random_jump(g) | 8, number(g), loaded, 0, 0);
	else
		put(g, random_jump(g), loaded, 0, 0, below(g->r, 20));
	load_number(g, loaded);
	patch(g, jump);
}

/* Spill a register or the data pointer, and take it back. */
static void stmt_spill(struct generator *g)
{
	int16_t off = -8 * (int)(17 + below(g->r, 4));
	uint8_t reg = number(g);

	if (below(g->r, 3)) {
		put(g, CLS_STX | MODE_MEM | SZ_DW, 10, reg, off, 0);
		put(g, CLS_LDX | MODE_MEM | (below(g->r, 4) ? SZ_DW : SZ_W),
		    number(g), 10, off, 0);
	} else {
		put(g, CLS_STX | MODE_MEM | SZ_DW, 10, 9, off, 0);
		put(g, CLS_LDX | MODE_MEM | SZ_DW, 9, 10, off, 0);
	}
}

static void block(struct generator *g, unsigned int statements);

void patch(struct generator *g, uint32_t jump)
{
	if (jump < GEN_MAX)
		g->insns[jump].off = g->nr - jump - 1;
}

/* if (ok(r1 = data + something)) access it; the check may be too small. */
static void stmt_data(struct generator *g)
{
	int16_t len = 1 + below(g->r, 40);
	int16_t off = below(g->r, 8) ? (int)below(g->r, len) :
				       (int)below(g->r, 60) - 10;
	uint8_t index = number(g);
	uint32_t jump;

	put(g, CLS_ALU64 | OP_MOV | 8, 1, 9, 0, 0);
	if (below(g->r, 2)) {
		static const int32_t masks[] = { 63, 127, 0xff, 0xfff8, 0x70 };

		if (below(g->r, 6))
			put(g, CLS_ALU64 | OP_AND, index, 0, 0,
			    masks[below(g->r, 5)]);
		put(g, CLS_ALU64 | (below(g->r, 8) ? OP_ADD : OP_SUB) | 8, 1,
		    index, 0, 0);
	}
	jump = GEN_MAX;
	if (below(g->r, 8)) {
		uint8_t t = g->depth % 2 ? 0 : 3;

		put(g, CLS_ALU64 | OP_MOV | 8, t, 1, 0, 0);
		put(g, CLS_ALU64 | OP_ADD, t, 0, 0, len);
		jump = g->nr;
		if (below(g->r, 2))
			put(g, CLS_JMP | OP_JGT | 8, t, 8, 0, 0);
		else
			put(g, CLS_JMP | OP_JLT | 8, 8, t, 0, 0);
	}
	load_from(g, 1, off);
	if (g->abi == BPFVM_ABI_RAW && below(g->r, 3) == 0)
		store_to(g, 1, off);
	if (g->abi == BPFVM_ABI_RAW && below(g->r, 6) == 0)
		atomic_on(g, 1, off & ~7);
	patch(g, jump);
	put(g, CLS_ALU64 | OP_MOV, g->depth % 2 ? 0 : 3, 0, 0, len);
}

static void stmt_if(struct generator *g)
{
	uint32_t jump, over;

	jump = g->nr;
	if (below(g->r, 2))
		put(g, random_jump(g) | 8, number(g), number(g), 0, 0);
	else
		put(g, random_jump(g), number(g), 0, 0, edge_value(g->r));
	block(g, below(g->r, 3));
	if (below(g->r, 2)) {
		patch(g, jump);
		return;
	}
	over = g->nr;
	put(g, CODE_JA, 0, 0, 0, 0);
	patch(g, jump);
	block(g, below(g->r, 3));
	patch(g, over);
}

/* A counter on the stack, compared in one of several ways. */
static void stmt_count_loop(struct generator *g)
{
	int16_t slot = -8 * (int)(22 + g->loops_deep);
	int32_t step = 1 + below(g->r, 8);
	int32_t rounds = 1 + below(g->r, 12);
	uint32_t top;
	uint8_t t = number(g);

	put(g, CLS_ST | MODE_MEM | SZ_DW, 10, 0, slot, 0);
	top = g->nr;
	g->loops_deep++;
	block(g, 1 + below(g->r, 2));
	g->loops_deep--;
	put(g, CLS_LDX | MODE_MEM | SZ_DW, t, 10, slot, 0);
	put(g, (below(g->r, 2) ? CLS_ALU : CLS_ALU64) | OP_ADD, t, 0, 0, step);
	put(g, CLS_STX | MODE_MEM | SZ_DW, 10, t, slot, 0);
	put(g, (below(g->r, 2) ? CLS_JMP : CLS_JMP32) |
	       (below(g->r, 2) ? OP_JNE : OP_JLT), t, 0,
	    (int)top - (int)g->nr - 1, step * rounds);
}

/* for (r1 = data; r1 + n <= end; r1 += n), the counter in a register. */
static void stmt_walk(struct generator *g)
{
	int32_t len = 1 + below(g->r, 24);
	int32_t step = below(g->r, 3) ? len : 1 + (int)below(g->r, 24);
	bool late = below(g->r, 2);
	uint32_t jump, top;

	put(g, CLS_ALU64 | OP_MOV | 8, 1, 9, 0, 0);
	if (late) {
		jump = g->nr;
		put(g, CLS_JMP | OP_JGE | 8, 1, 8, 0, 0);
		top = g->nr;
		load_from(g, 1, 0);
		put(g, CLS_ALU64 | OP_ADD, 1, 0, 0, step);
		put(g, CLS_JMP | OP_JLT | 8, 1, 8, (int)top - (int)g->nr - 1,
		    0);
		patch(g, jump);
		return;
	}
	top = g->nr;
	put(g, CLS_ALU64 | OP_MOV | 8, 2, 1, 0, 0);
	put(g, CLS_ALU64 | OP_ADD, 2, 0, 0, len);
	jump = g->nr;
	put(g, CLS_JMP | OP_JGT | 8, 2, 8, 0, 0);
	put(g, CLS_LDX | MODE_MEM | random_size(g), 3, 1, below(g->r, len), 0);
	put(g, CLS_ALU64 | OP_XOR | 8, 4, 3, 0, 0);
	put(g, CLS_ALU64 | OP_ADD, 1, 0, 0, step);
	put(g, CODE_JA, 0, 0, (int)top - (int)g->nr - 1, 0);
	patch(g, jump);
	load_number(g, 2);
	load_number(g, 3);
}

/* An index below the length, counted up or the rest counted down. */
static void stmt_index(struct generator *g)
{
	int32_t len = 1 << below(g->r, 5);
	uint32_t top, jump;

	put(g, CLS_ALU64 | OP_MOV | 8, 5, 8, 0, 0);
	put(g, CLS_ALU64 | OP_SUB | 8, 5, 9, 0, 0);
	if (below(g->r, 2))
		put(g, CLS_ALU64 | OP_RSH, 5, 0, 0, __builtin_ctz(len));
	else
		len = 1;
	put(g, CLS_ALU64 | OP_MOV, 4, 0, 0, 0);
	top = g->nr;
	jump = g->nr;
	put(g, CLS_JMP | (below(g->r, 2) ? OP_JGE : OP_JEQ) | 8, 4, 5, 0, 0);
	put(g, CLS_ALU64 | OP_MOV | 8, 3, 4, 0, 0);
	if (below(g->r, 2))
		put(g, CLS_ALU64 | OP_LSH, 3, 0, 0, __builtin_ctz(len));
	else
		put(g, CLS_ALU64 | OP_MUL, 3, 0, 0, len);
	put(g, CLS_ALU64 | OP_MOV | 8, 1, 9, 0, 0);
	put(g, CLS_ALU64 | OP_ADD | 8, 1, 3, 0, 0);
	put(g, CLS_LDX | MODE_MEM | random_size(g), 2, 1,
	    below(g->r, len + 2), 0);
	put(g, CLS_ALU64 | OP_ADD | 8, 6, 2, 0, 0);
	put(g, CLS_ALU64 | OP_ADD, 4, 0, 0, 1);
	put(g, CODE_JA, 0, 0, (int)top - (int)g->nr - 1, 0);
	patch(g, jump);
}

/* while (rest >= n) { p += n; rest -= n; } */
static void stmt_rest(struct generator *g)
{
	int32_t len = 1 + below(g->r, 16);
	uint32_t top, jump;

	put(g, CLS_ALU64 | OP_MOV | 8, 5, 8, 0, 0);
	put(g, CLS_ALU64 | OP_SUB | 8, 5, 9, 0, 0);
	put(g, CLS_ALU64 | OP_MOV | 8, 1, 9, 0, 0);
	top = g->nr;
	jump = g->nr;
	put(g, (below(g->r, 2) ? CLS_JMP : CLS_JMP32) | OP_JLT, 5, 0, 0, len);
	put(g, CLS_LDX | MODE_MEM | random_size(g), 2, 1, below(g->r, len), 0);
	put(g, CLS_ALU64 | OP_XOR | 8, 6, 2, 0, 0);
	put(g, CLS_ALU64 | OP_ADD, 1, 0, 0, len);
	put(g, (below(g->r, 2) ? CLS_ALU : CLS_ALU64) | OP_SUB, 5, 0, 0,
	    below(g->r, 8) ? len : len - 1);
	put(g, CODE_JA, 0, 0, (int)top - (int)g->nr - 1, 0);
	patch(g, jump);
}

static void note_call(struct generator *g, uint32_t at, bool loop)
{
	g->calls[g->nr_calls] = at;
	g->loops[g->nr_calls++] = loop;
}

static void numbers_again(struct generator *g)
{
	for (uint8_t reg = 2; reg <= 5; reg++)
		load_number(g, reg);
}

static void stmt_call(struct generator *g)
{
	if (g->nr_calls >= 16 || g->in_callee)
		return;
	put(g, CLS_ALU64 | OP_MOV | 8, 1, 9, 0, 0);
	put(g, CLS_ALU64 | OP_MOV | 8, 2, 8, 0, 0);
	put(g, CLS_ALU64 | OP_MOV | 8, 3, number(g) == 2 ? 4 : 6, 0, 0);
	put(g, CLS_ALU64 | OP_MOV | 8, 4, 10, 0, 0);
	put(g, CLS_ALU64 | OP_ADD, 4, 0, 0, -128);
	if (below(g->r, 4) == 0) {
		note_call(g, g->nr, true);
		put_imm64(g, 5, IMM64_FUNC, 0, 0);
		put(g, CODE_CALLX, 5, 0, 0, 0);
	} else {
		note_call(g, g->nr, false);
		put(g, CODE_CALL, 0, CALL_LOCAL, 0, 0);
	}
	numbers_again(g);
}

/* bpf_loop() whose callback gets the address of { data, end } on the stack. */
static void stmt_bpf_loop(struct generator *g)
{
	if (g->nr_calls >= 16 || g->in_callee)
		return;
	put(g, CLS_STX | MODE_MEM | SZ_DW, 10, 9, -256, 0);
	put(g, CLS_STX | MODE_MEM | SZ_DW, 10, 8, -248, 0);
	put(g, CLS_ST | MODE_MEM | SZ_DW, 10, 0, -240, below(g->r, 100));
	put(g, CLS_ALU64 | OP_MOV, 1, 0, 0, below(g->r, 20));
	note_call(g, g->nr, true);
	g->calls[g->nr_calls - 1] |= 1u << 31;
	put_imm64(g, 2, IMM64_FUNC, 0, 0);
	put(g, CLS_ALU64 | OP_MOV | 8, 3, 10, 0, 0);
	put(g, CLS_ALU64 | OP_ADD, 3, 0, 0, -256);
	put(g, CLS_ALU64 | OP_MOV, 4, 0, 0, below(g->r, 10) == 0);
	put(g, CODE_CALL, 0, 0, 0, BPFVM_HELPER_LOOP);
	numbers_again(g);
}

static void stmt_iter(struct generator *g)
{
	int16_t slot = -8 * (int)(33 + g->loops_deep);
	uint32_t top, jump;

	put(g, CLS_ALU64 | OP_MOV | 8, 1, 10, 0, 0);
	put(g, CLS_ALU64 | OP_ADD, 1, 0, 0, slot);
	put(g, CLS_ALU64 | OP_MOV, 2, 0, 0, below(g->r, 4));
	put(g, CLS_ALU64 | OP_MOV, 3, 0, 0, below(g->r, 16));
	put(g, CODE_CALL, 0, 0, 0, BPFVM_HELPER_ITER_NUM_NEW);
	top = g->nr;
	put(g, CLS_ALU64 | OP_MOV | 8, 1, 10, 0, 0);
	put(g, CLS_ALU64 | OP_ADD, 1, 0, 0, slot);
	put(g, CODE_CALL, 0, 0, 0, BPFVM_HELPER_ITER_NUM_NEXT);
	jump = g->nr;
	put(g, CLS_JMP | OP_JEQ, 0, 0, 0, 0);
	put(g, CLS_LDX | MODE_MEM | SZ_W, 6, 0, 0, 0);
	put(g, CLS_ALU64 | OP_MOV, 0, 0, 0, 1);
	numbers_again(g);
	g->loops_deep++;
	block(g, 1);
	g->loops_deep--;
	put(g, CODE_JA, 0, 0, (int)top - (int)g->nr - 1, 0);
	patch(g, jump);
	put(g, CLS_ALU64 | OP_MOV | 8, 1, 10, 0, 0);
	put(g, CLS_ALU64 | OP_ADD, 1, 0, 0, slot);
	put(g, CODE_CALL, 0, 0, 0, BPFVM_HELPER_ITER_NUM_DESTROY);
	put(g, CLS_ALU64 | OP_MOV, 0, 0, 0, 1);
	numbers_again(g);
}

static void statement(struct generator *g)
{
	switch (below(g->r, 32)) {
	case 0 ... 6:
		stmt_alu(g);
		break;
	case 7:
		stmt_unary(g);
		break;
	case 8 ... 10:
		stmt_memory(g);
		break;
	case 11:
		stmt_spill(g);
		break;
	case 12 ... 14:
		stmt_data(g);
		break;
	case 15 ... 16:
		stmt_if(g);
		break;
	case 17:
		if (g->loops_deep < 3)
			stmt_count_loop(g);
		break;
	case 18:
		stmt_walk(g);
		break;
	case 19:
		stmt_index(g);
		break;
	case 20:
		stmt_rest(g);
		break;
	case 21:
		stmt_call(g);
		break;
	case 22:
		stmt_bpf_loop(g);
		break;
	case 23 ... 28:
		stmt_loop(g);
		break;
	case 29 ... 30:
		stmt_address(g);
		break;
	default:
		if (g->loops_deep < 3)
			stmt_iter(g);
		else
			load_number(g, number(g));
	}
}

static void block(struct generator *g, unsigned int statements)
{
	if (g->depth > 4 || g->nr > GEN_MAX / 2)
		statements = statements > 1;
	g->depth++;
	while (statements--)
		statement(g);
	g->depth--;
}

/* What every function begins with: numbers in registers and on the stack. */
static void begin(struct generator *g)
{
	load_number(g, 0);
	numbers_again(g);
	for (int i = 1; i <= 16; i++)
		if (i <= 2 || !g->in_callee)
			put(g, CLS_ST | MODE_MEM | SZ_DW, 10, 0, -8 * i,
			    edge_value(g->r));
	for (int i = 3; g->in_callee && i <= 16; i++)
		put(g, CLS_STX | MODE_MEM | SZ_DW, 10, 2 + i % 4, -8 * i, 0);
}

static void function(struct generator *g, bool callback)
{
	g->in_callee = true;
	if (callback) {
		put(g, CLS_ALU64 | OP_MOV | 8, 6, 1, 0, 0);
		put(g, CLS_LDX | MODE_MEM | SZ_DW, 9, 2, 0, 0);
		put(g, CLS_LDX | MODE_MEM | SZ_DW, 8, 2, 8, 0);
		if (below(g->r, 2)) {
			put(g, CLS_LDX | MODE_MEM | SZ_DW, 3, 2, 16, 0);
			put(g, CLS_ALU64 | OP_ADD | 8, 3, 1, 0, 0);
			put(g, CLS_STX | MODE_MEM | SZ_DW, 2, 3, 16, 0);
		}
	} else {
		put(g, CLS_ALU64 | OP_MOV | 8, 9, 1, 0, 0);
		put(g, CLS_ALU64 | OP_MOV | 8, 8, 2, 0, 0);
		put(g, CLS_ALU64 | OP_MOV | 8, 6, 3, 0, 0);
		if (below(g->r, 2)) {
			put(g, CLS_LDX | MODE_MEM | SZ_DW, 5, 4, 8, 0);
			put(g, CLS_STX | MODE_MEM | random_size(g), 4, 5, 16,
			    0);
		}
	}
	begin(g);
	block(g, 1 + below(g->r, 4));
	if (callback && below(g->r, 2))
		put(g, CLS_ALU64 | OP_MOV, 0, 0, 0, 0);
	put(g, CODE_EXIT, 0, 0, 0, 0);
}

uint32_t generate(struct random *r, enum bpfvm_abi abi,
		  struct bpfvm_insn insns[GEN_MAX])
{
	struct generator g = { .r = r, .insns = insns, .abi = abi };
	uint32_t nr_calls;

	if (abi == BPFVM_ABI_RAW) {
		put(&g, CLS_ALU64 | OP_MOV | 8, 9, 1, 0, 0);
		put(&g, CLS_ALU64 | OP_MOV | 8, 8, 1, 0, 0);
		put(&g, CLS_ALU64 | OP_ADD | 8, 8, 2, 0, 0);
	} else {
		put(&g, CLS_LDX | MODE_MEM | SZ_DW, 9, 1, 8, 0);
		put(&g, CLS_LDX | MODE_MEM | SZ_DW, 8, 1, 16, 0);
	}
	load_number(&g, 6);
	begin(&g);
	block(&g, 2 + below(r, 12));
	put(&g, CODE_EXIT, 0, 0, 0, 0);
	nr_calls = g.nr_calls;
	for (uint32_t i = 0; i < nr_calls; i++) {
		uint32_t at = g.calls[i] & ~(1u << 31);

		if (at < GEN_MAX)
			insns[at].imm = g.nr - at - 1;
		function(&g, g.calls[i] >> 31);
	}
	/* A few are broken on purpose. */
	if (below(r, 16) == 0 && g.nr) {
		struct bpfvm_insn *insn = &insns[below(r, g.nr)];

		switch (below(r, 4)) {
		case 0:
			insn->imm = edge_value(r);
			break;
		case 1:
			insn->off = edge_value(r);
			break;
		case 2:
			insn->regs = next_random(r);
			break;
		default:
			insn->code = next_random(r);
		}
	}
	return g.nr;
}
