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

/* Loads from the data and from global memory, which are the most. */
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
#define X(bits, u, k) OP_LDD##bits, OP_LDG##bits,
	LOAD_SIZES(X)
#undef X
#define X(n) OPX_##n,
	OTHER_OPS(X)
#undef X
	NR_OP_CODES
};

/*
 * Operations of which compiled filters execute many right after each other: the
 * first one does the second one, too, without a jump in between. The second one
 * stays where it is, for jumps that arrive there.
 */
#define OP_PAIRS(X)							\
	X(MOV64_REG, ADD64_REG) X(MOV64_REG, ADD64_IMM)			\
	X(MOV64_REG, MOV32_IMM) X(MOV64_REG, MOV32_REG)			\
	X(ADD64_REG, LDD8) X(ADD64_REG, LDD64) X(ADD64_REG, LDG32)	\
	X(ADD64_REG, ADD64_IMM) X(ADD64_REG, MOV32_IMM)			\
	X(ADD64_REG, MOV64_REG) X(ADD64_REG, RSH32_IMM)			\
	X(ADD64_IMM, JLT64_REG) X(ADD64_IMM, JLE64_REG)			\
	X(ADD64_IMM, JEQ64_IMM) X(ADD64_IMM, JNE64_IMM)			\
	X(ADD64_IMM, MOV32_REG) X(ADD64_IMM, MOV64_REG)			\
	X(ADD64_IMM, ADD64_IMM) X(LSH64_IMM, IMM64)			\
	X(IMM64, ADD64_REG) X(MOV32_IMM, JA) X(MOV32_IMM, JEQ32_IMM)	\
	X(MOV32_IMM, JEQ64_REG) X(MOV32_IMM, LDD8)			\
	X(MOV32_REG, JNE64_IMM) X(MOV32_REG, ADD32_IMM)			\
	X(MOV32_REG, MOV32_IMM) X(MOV32_REG, JLT64_REG)			\
	X(LDD8, LSH64_IMM) X(LDD8, JNE32_IMM) X(LDD8, XOR64_REG)	\
	X(LDD8, XOR32_REG) X(LDD8, MOV64_REG) X(LDD64, MOV32_IMM)	\
	X(LDD64, ADD64_REG) X(LDD64, JEQ64_REG) X(LDD64, JLT64_REG)	\
	X(LDD32, MOV32_IMM) X(LDD32, JNE32_IMM) X(LDD32, AND32_IMM)	\
	X(LDD16, MOV32_REG) X(LDG32, OR32_REG) X(LDG32, XOR32_REG)	\
	X(LDG32, RSH32_IMM) X(LDG32, ADD32_IMM) X(LDG32, LSH32_IMM)	\
	X(XOR64_REG, MUL64_REG) X(XOR32_REG, AND64_IMM)			\
	X(XOR32_REG, ADD64_IMM) X(MUL64_REG, ADD64_IMM)			\
	X(AND64_IMM, LSH64_IMM) X(AND32_IMM, JLT32_IMM)			\
	X(ADD32_IMM, AND32_IMM) X(RSH32_IMM, XOR32_REG)			\
	X(RSH32_IMM, LDG32) X(OR32_REG, ADD64_IMM)			\
	X(JEQ32_IMM, JNE32_IMM) X(JNE32_IMM, MOV64_REG)			\
	X(JNE32_IMM, MOV32_IMM) X(JEQ64_REG, MOV32_IMM)			\
	X(JNE64_IMM, MOV64_REG) X(JLT32_IMM, MOV32_IMM)

struct op_pair {
	uint16_t first;
	uint16_t second;
	const void *code;
};

/* Where the code of operations, by enum op_code, and of pairs is. */
struct op_codes {
	const void *const *ops;
	const struct op_pair *pairs;
	size_t nr_pairs;
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
 * @off:    offset of an access; operations that a jump goes forward or back
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
