/* SPDX-License-Identifier: GPL-2.0 */
/* Operations: what the interpreter makes of instructions. */
#ifndef BPFVM_INTERP_H
#define BPFVM_INTERP_H

#include "internal.h"

/* X-macro lists, so that codes, names and labels stay together. */
#define BINARY_OPS(X)							\
	X(ADD) X(SUB) X(MUL) X(DIV) X(MOD) X(OR) X(AND) X(XOR)		\
	X(LSH) X(RSH) X(ARSH) X(SDIV) X(SMOD) X(MOV)

#define JUMP_OPS(X)							\
	X(JEQ) X(JNE) X(JGT) X(JGE) X(JLT) X(JLE) X(JSET)		\
	X(JSGT) X(JSGE) X(JSLT) X(JSLE)

#define MEM_SIZES(X)							\
	X(8, uint8_t, int8_t) X(16, uint16_t, int16_t)			\
	X(32, uint32_t, int32_t) X(64, uint64_t, int64_t)

/* Loads from the data, and accesses to global memory, which are the most. */
#define LOAD_SIZES(X)							\
	X(8, uint8_t, 0) X(16, uint16_t, 1) X(32, uint32_t, 2)		\
	X(64, uint64_t, 3)

#define OTHER_OPS(X)							\
	X(NEG64) X(NEG32) X(SX64) X(SX32) X(END) X(IMM64) X(JA)		\
	X(CALL) X(HELPER) X(LOOP) X(EXIT) X(CHARGE) X(CHECK)		\
	X(ATOMIC32) X(ATOMIC64) X(NEVER)

enum op_code {
#define X(n) OP_##n##64_REG, OP_##n##64_IMM, OP_##n##32_REG, OP_##n##32_IMM,
	BINARY_OPS(X)
#undef X
#define X(n) OPJ_##n##64_REG, OPJ_##n##64_IMM, OPJ_##n##32_REG, OPJ_##n##32_IMM,
	JUMP_OPS(X)
#undef X
#define X(bits, u, s) OP_LD##bits, OP_LDS##bits, OP_ST##bits, OP_STX##bits,
	MEM_SIZES(X)
#undef X
#define X(bits, u, k) OP_LDD##bits, OP_LDG##bits, OP_STG##bits,
	LOAD_SIZES(X)
#undef X
#define X(n) OPX_##n,
	OTHER_OPS(X)
#undef X
	NR_OP_CODES
};

/**
 * struct op_sequence - operations of which one piece of code does all
 * @codes: of the operations
 * @how:   of each but the first: which register must be the one that the
 *	   operation before wrote
 * @nr:    how many
 * @code:  where the code is
 */
struct op_sequence {
	uint16_t codes[4];
	enum { ANY, DST, ON, SRC } how[4];
	uint32_t nr;
	const void *code;
};

/* Where the code of operations, by enum op_code, and of sequences is. */
struct op_codes {
	const void *const *ops;
	const struct op_sequence *sequences;	/* longest first */
	uint32_t nr_sequences;
};

/* op.where of an access */
enum {
	/* checked against a base of the run, op.base and op.limit */
	WHERE_ARGS,
	WHERE_CTX,
	WHERE_STACK,
	WHERE_GLOBAL,
	NR_BASES,
	/* and in ways of their own */
	WHERE_DATA,
	WHERE_ANY,
	WHERE_MEM,
	WHERE_NOWHERE,		/* smaller than the access */
};

/**
 * struct op - an operation
 * @go:     its code
 * @code:   enum op_code
 * @dst:    register
 * @src:    register
 * @proved: an access that the verifier proved
 * @limit:  WHERE_GLOBAL, WHERE_STACK, WHERE_CTX, WHERE_ARGS: last offset at which
 *	    the access may begin
 * @base:   WHERE_GLOBAL: address; WHERE_STACK: distance from the frame pointer;
 *	    of a jump: its charge, and @limit is whether to look at what is left
 * @off:    offset of an access; bytes that a jump goes forward or back
 * @where:  what an access is to
 * @callee: index of a helper; slot of a function
 * @pc:     slot of the instruction
 * @imm:    immediate, extended; charge
 */
struct op {
	const void *go;
	uint16_t code;
	uint8_t dst;
	uint8_t src;
	uint8_t proved;
	uint8_t where;
	int32_t off;
	uint32_t callee;
	uint32_t pc;
	uint32_t limit;
	uint64_t imm;
	uint64_t base;
};

/* interp.c */
void interp_codes(struct op_codes *codes);

#endif /* BPFVM_INTERP_H */
