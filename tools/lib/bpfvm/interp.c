// SPDX-License-Identifier: GPL-2.0
/*
 * The interpreter: the reference for what programs do. It checks every access,
 * the proved ones too.
 */
#include <errno.h>
#include <string.h>

#include "alu.h"
#include "interp.h"
#include "sequences.h"

/* What a function that was called returns to. */
struct caller {
	const struct op *op;
	uint64_t saved[4];
	bool loop;
	uint32_t round;
	uint32_t rounds;
	uint64_t loop_ctx;
};

static bool allowed_elsewhere(struct bpfvm_thread *thread, const struct op *op,
			      uint64_t addr, uint32_t size)
{
	if (op->where == WHERE_ANY)
		return check_any(thread, addr, size);
	/* The verifier lets only proved accesses to these through. */
	return op->where == WHERE_MEM;
}

/* May the operation touch @size bytes at @addr? */
static inline bool allowed(struct bpfvm_thread *thread, const struct op *op,
			   const uint64_t *bases, uint64_t addr, uint32_t size)
{
	if (op->where == WHERE_DATA)
		return addr - thread->data.base <
		       thread->data.starts[size == 1 ? 0 : size == 2 ? 1 :
					   size == 4 ? 2 : 3];
	if (op->where < NR_BASES)
		return addr - bases[op->where] - op->base <= op->limit;
	return allowed_elsewhere(thread, op, addr, size);
}

#define DEFINE_ATOMIC(bits, type)					\
static uint64_t atomic##bits(type *at, int32_t imm, uint64_t *r0,	\
			     uint64_t operand)				\
{									\
	type expected = *r0;						\
									\
	switch (imm & ~ATOMIC_FETCH) {					\
	case OP_ADD:							\
		return __atomic_fetch_add(at, (type)operand,		\
					  __ATOMIC_SEQ_CST);		\
	case OP_OR:							\
		return __atomic_fetch_or(at, (type)operand,		\
					 __ATOMIC_SEQ_CST);		\
	case OP_AND:							\
		return __atomic_fetch_and(at, (type)operand,		\
					  __ATOMIC_SEQ_CST);		\
	case OP_XOR:							\
		return __atomic_fetch_xor(at, (type)operand,		\
					  __ATOMIC_SEQ_CST);		\
	case ATOMIC_XCHG & ~ATOMIC_FETCH:				\
		return __atomic_exchange_n(at, (type)operand,		\
					   __ATOMIC_SEQ_CST);		\
	}								\
	__atomic_compare_exchange_n(at, &expected, (type)operand, false,	\
				    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);	\
	return expected;						\
}

DEFINE_ATOMIC(32, uint32_t)
DEFINE_ATOMIC(64, uint64_t)

static enum bpfvm_fault run_atomic(struct bpfvm_thread *thread,
				   const struct op *op, const uint64_t *bases,
				   uint64_t *reg)
{
	uint32_t size = op->code == OPX_ATOMIC32 ? 4 : 8;
	uint64_t addr = reg[op->dst] + op->off;
	int32_t imm = op->imm;
	uint64_t old;

	if (!allowed(thread, op, bases, addr, size))
		return op->proved ? BPFVM_FAULT_PROOF : BPFVM_FAULT_ACCESS;
	if (addr & (size - 1))
		return BPFVM_FAULT_ALIGN;
	if (size == 4)
		old = atomic32((uint32_t *)(uintptr_t)addr, imm, &reg[0],
			       reg[op->src]);
	else
		old = atomic64((uint64_t *)(uintptr_t)addr, imm, &reg[0],
			       reg[op->src]);
	if (imm == ATOMIC_CMPXCHG)
		reg[0] = old;
	else if (imm & ATOMIC_FETCH)
		reg[op->src] = old;
	return BPFVM_OK;
}

static uint64_t call_helper(struct bpfvm_thread *thread, const struct op *op,
			    const uint64_t *reg)
{
	const struct bpfvm_helper *helper = &thread->prog->helpers[op->callee];

	return helper->fn(reg[1], reg[2], reg[3], reg[4], reg[5], thread);
}

/* The result of a bpf_loop() that does nothing, or 0 if there is work. */
static int64_t check_rounds(const uint64_t *reg)
{
	if (reg[4])
		return -EINVAL;
	return (uint32_t)reg[1] > 1 << 23 ? -E2BIG : 0;
}

static void push_caller(struct caller *caller, const struct op *op,
			uint64_t *reg)
{
	memcpy(caller->saved, &reg[6], sizeof(caller->saved));
	caller->op = op;
	caller->loop = op->code == OPX_LOOP;
	caller->round = 0;
	caller->rounds = reg[1];
	caller->loop_ctx = reg[3];
	reg[10] -= BPFVM_FRAME_SIZE;
}

static void pop_caller(const struct caller *caller, uint64_t *reg)
{
	memcpy(&reg[6], caller->saved, sizeof(caller->saved));
	reg[10] += BPFVM_FRAME_SIZE;
}

#define JUMP_TARGET	((const struct op *)((const char *)op + op->off))
#define DST_REG		reg[op->dst]
#define SRC_REG		reg[op->src]

/* The operators; A and B have the width of the operation. */
#define EXPR_ADD(A, B, bits)	((A) + (B))
#define EXPR_SUB(A, B, bits)	((A) - (B))
#define EXPR_MUL(A, B, bits)	((A) * (B))
#define EXPR_DIV(A, B, bits)	alu_div##bits(A, B, false)
#define EXPR_MOD(A, B, bits)	alu_mod##bits(A, B, false)
#define EXPR_SDIV(A, B, bits)	alu_div##bits(A, B, true)
#define EXPR_SMOD(A, B, bits)	alu_mod##bits(A, B, true)
#define EXPR_OR(A, B, bits)	((A) | (B))
#define EXPR_AND(A, B, bits)	((A) & (B))
#define EXPR_XOR(A, B, bits)	((A) ^ (B))
#define EXPR_LSH(A, B, bits)	((A) << ((B) & (bits - 1)))
#define EXPR_RSH(A, B, bits)	((A) >> ((B) & (bits - 1)))
#define EXPR_ARSH(A, B, bits)	((int##bits##_t)(A) >> ((B) & (bits - 1)))
#define EXPR_MOV(A, B, bits)	(B)

#define COND_JEQ(A, B, bits)	((A) == (B))
#define COND_JNE(A, B, bits)	((A) != (B))
#define COND_JGT(A, B, bits)	((A) > (B))
#define COND_JGE(A, B, bits)	((A) >= (B))
#define COND_JLT(A, B, bits)	((A) < (B))
#define COND_JLE(A, B, bits)	((A) <= (B))
#define COND_JSET(A, B, bits)	((A) & (B))
#define COND_JSGT(A, B, bits)	((int##bits##_t)(A) > (int##bits##_t)(B))
#define COND_JSGE(A, B, bits)	((int##bits##_t)(A) >= (int##bits##_t)(B))
#define COND_JSLT(A, B, bits)	((int##bits##_t)(A) < (int##bits##_t)(B))
#define COND_JSLE(A, B, bits)	((int##bits##_t)(A) <= (int##bits##_t)(B))

/*
 * What operations do, without getting to the next one. A and B are what the
 * destination and the source have; value is the result, which W writes.
 */
#define WRITE	DST_REG = value;
#define COMPUTE(n, bits, A, B, W)					\
	value = (uint##bits##_t)EXPR_##n((uint##bits##_t)(A),		\
					 (uint##bits##_t)(B), bits);	\
	W

#define RUN_BINARY(n, bits)						\
	CASE(OP_##n##bits##_REG):					\
		COMPUTE(n, bits, DST_REG, SRC_REG, WRITE)			\
		NEXT;							\
	CASE(OP_##n##bits##_IMM):					\
		COMPUTE(n, bits, DST_REG, op->imm, WRITE)			\
		NEXT;

/* A jump that is taken is the last operation, of a sequence, too. */
#define JUMP_IF(condition)						\
	slice -= (int64_t)op->base;					\
	if (__builtin_expect(slice < 0 && op->limit, 0))		\
		goto refuel_jump;					\
	if (condition) {						\
		op = JUMP_TARGET;						\
		GO;							\
	}
#define JUMP(n, bits, A, B)						\
	JUMP_IF(COND_##n((uint##bits##_t)(A), (uint##bits##_t)(B), bits))

#define RUN_JUMP(n, bits)						\
	CASE(OPJ_##n##bits##_REG):					\
		JUMP(n, bits, DST_REG, SRC_REG)				\
		NEXT;							\
	CASE(OPJ_##n##bits##_IMM):					\
		JUMP(n, bits, DST_REG, op->imm)				\
		NEXT;

#define ACCESS(pointer, type)						\
	addr = (pointer) + op->off;					\
	if (__builtin_expect(!allowed(thread, op, bases, addr,		\
				      sizeof(type)), 0))		\
		goto bad_access;

#define RUN_MEM(bits, u, s)						\
	CASE(OP_LD##bits): {						\
		u loaded;						\
									\
		ACCESS(SRC_REG, u)						\
		memcpy(&loaded, (void *)(uintptr_t)addr,		\
		       sizeof(loaded));				\
		DST_REG = loaded;						\
		NEXT;							\
	}								\
	CASE(OP_LDS##bits): {						\
		s loaded;						\
									\
		ACCESS(SRC_REG, s)						\
		memcpy(&loaded, (void *)(uintptr_t)addr,		\
		       sizeof(loaded));				\
		DST_REG = (int64_t)loaded;					\
		NEXT;							\
	}								\
	CASE(OP_ST##bits): {						\
		u stored = op->imm;					\
									\
		ACCESS(DST_REG, u)						\
		memcpy((void *)(uintptr_t)addr, &stored,		\
		       sizeof(stored));				\
		NEXT;							\
	}								\
	CASE(OP_STX##bits): {						\
		u stored = SRC_REG;						\
									\
		ACCESS(DST_REG, u)						\
		memcpy((void *)(uintptr_t)addr, &stored,		\
		       sizeof(stored));				\
		NEXT;							\
	}

#define LOAD(type, pointer, outside, W) {				\
	type loaded;							\
									\
	addr = (pointer) + op->off;					\
	if (__builtin_expect(outside, 0))				\
		goto bad_access;					\
	memcpy(&loaded, (void *)(uintptr_t)addr, sizeof(loaded));	\
	value = loaded;							\
	W								\
}
#define LOAD_DATA(type, k, B, W)					\
	LOAD(type, B, addr - thread->data.base >= thread->data.starts[k], W)
#define LOAD_GLOBAL(type, B, W)						\
	LOAD(type, B, addr - op->base > op->limit, W)
#define STORE_GLOBAL(type, A, B) {					\
	type stored = (B);						\
									\
	addr = (A) + op->off;						\
	if (__builtin_expect(addr - op->base > op->limit, 0))		\
		goto bad_access;					\
	memcpy((void *)(uintptr_t)addr, &stored, sizeof(stored));	\
}

#define RUN_LOAD(bits, type, k)						\
	CASE(OP_LDD##bits):						\
		LOAD_DATA(type, k, SRC_REG, WRITE)				\
		NEXT;							\
	CASE(OP_LDG##bits):						\
		LOAD_GLOBAL(type, SRC_REG, WRITE)				\
		NEXT;							\
	CASE(OP_STG##bits):						\
		STORE_GLOBAL(type, DST_REG, SRC_REG)			\
		NEXT;

/* The members of sequences. */
#define DO_ADD32_IMM(A, B, W)	COMPUTE(ADD, 32, A, op->imm, W)
#define DO_ADD32_REG(A, B, W)	COMPUTE(ADD, 32, A, B, W)
#define DO_ADD64_IMM(A, B, W)	COMPUTE(ADD, 64, A, op->imm, W)
#define DO_ADD64_REG(A, B, W)	COMPUTE(ADD, 64, A, B, W)
#define DO_AND32_IMM(A, B, W)	COMPUTE(AND, 32, A, op->imm, W)
#define DO_AND64_IMM(A, B, W)	COMPUTE(AND, 64, A, op->imm, W)
#define DO_IMM64(A, B, W)	value = op->imm; W
#define DO_JA(A, B, W)	JUMP_IF(true)
#define DO_JEQ32_IMM(A, B, W)	JUMP(JEQ, 32, A, op->imm)
#define DO_JEQ64_IMM(A, B, W)	JUMP(JEQ, 64, A, op->imm)
#define DO_JEQ64_REG(A, B, W)	JUMP(JEQ, 64, A, B)
#define DO_JGT32_IMM(A, B, W)	JUMP(JGT, 32, A, op->imm)
#define DO_JGT64_REG(A, B, W)	JUMP(JGT, 64, A, B)
#define DO_JLE64_REG(A, B, W)	JUMP(JLE, 64, A, B)
#define DO_JLT32_IMM(A, B, W)	JUMP(JLT, 32, A, op->imm)
#define DO_JLT32_REG(A, B, W)	JUMP(JLT, 32, A, B)
#define DO_JLT64_REG(A, B, W)	JUMP(JLT, 64, A, B)
#define DO_JNE32_IMM(A, B, W)	JUMP(JNE, 32, A, op->imm)
#define DO_JNE64_IMM(A, B, W)	JUMP(JNE, 64, A, op->imm)
#define DO_LDD16(A, B, W)	LOAD_DATA(uint16_t, 1, B, W)
#define DO_LDD32(A, B, W)	LOAD_DATA(uint32_t, 2, B, W)
#define DO_LDD64(A, B, W)	LOAD_DATA(uint64_t, 3, B, W)
#define DO_LDD8(A, B, W)	LOAD_DATA(uint8_t, 0, B, W)
#define DO_LDG32(A, B, W)	LOAD_GLOBAL(uint32_t, B, W)
#define DO_LSH32_IMM(A, B, W)	COMPUTE(LSH, 32, A, op->imm, W)
#define DO_LSH64_IMM(A, B, W)	COMPUTE(LSH, 64, A, op->imm, W)
#define DO_MOV32_IMM(A, B, W)	COMPUTE(MOV, 32, A, op->imm, W)
#define DO_MOV32_REG(A, B, W)	COMPUTE(MOV, 32, A, B, W)
#define DO_MOV64_REG(A, B, W)	COMPUTE(MOV, 64, A, B, W)
#define DO_MUL64_REG(A, B, W)	COMPUTE(MUL, 64, A, B, W)
#define DO_OR32_REG(A, B, W)	COMPUTE(OR, 32, A, B, W)
#define DO_RSH32_IMM(A, B, W)	COMPUTE(RSH, 32, A, op->imm, W)
#define DO_STG32(A, B, W)	STORE_GLOBAL(uint32_t, A, B)
#define DO_XOR32_REG(A, B, W)	COMPUTE(XOR, 32, A, B, W)
#define DO_XOR64_REG(A, B, W)	COMPUTE(XOR, 64, A, B, W)

/* The code of each of them. */
#define CODE_OF_ADD32_IMM	OP_ADD32_IMM
#define CODE_OF_ADD32_REG	OP_ADD32_REG
#define CODE_OF_ADD64_IMM	OP_ADD64_IMM
#define CODE_OF_ADD64_REG	OP_ADD64_REG
#define CODE_OF_AND32_IMM	OP_AND32_IMM
#define CODE_OF_AND64_IMM	OP_AND64_IMM
#define CODE_OF_IMM64	OPX_IMM64
#define CODE_OF_JA	OPX_JA
#define CODE_OF_JEQ32_IMM	OPJ_JEQ32_IMM
#define CODE_OF_JEQ64_IMM	OPJ_JEQ64_IMM
#define CODE_OF_JEQ64_REG	OPJ_JEQ64_REG
#define CODE_OF_JGT32_IMM	OPJ_JGT32_IMM
#define CODE_OF_JGT64_REG	OPJ_JGT64_REG
#define CODE_OF_JLE64_REG	OPJ_JLE64_REG
#define CODE_OF_JLT32_IMM	OPJ_JLT32_IMM
#define CODE_OF_JLT32_REG	OPJ_JLT32_REG
#define CODE_OF_JLT64_REG	OPJ_JLT64_REG
#define CODE_OF_JNE32_IMM	OPJ_JNE32_IMM
#define CODE_OF_JNE64_IMM	OPJ_JNE64_IMM
#define CODE_OF_LDD16	OP_LDD16
#define CODE_OF_LDD32	OP_LDD32
#define CODE_OF_LDD64	OP_LDD64
#define CODE_OF_LDD8	OP_LDD8
#define CODE_OF_LDG32	OP_LDG32
#define CODE_OF_LSH32_IMM	OP_LSH32_IMM
#define CODE_OF_LSH64_IMM	OP_LSH64_IMM
#define CODE_OF_MOV32_IMM	OP_MOV32_IMM
#define CODE_OF_MOV32_REG	OP_MOV32_REG
#define CODE_OF_MOV64_REG	OP_MOV64_REG
#define CODE_OF_MUL64_REG	OP_MUL64_REG
#define CODE_OF_OR32_REG	OP_OR32_REG
#define CODE_OF_RSH32_IMM	OP_RSH32_IMM
#define CODE_OF_STG32	OP_STG32
#define CODE_OF_XOR32_REG	OP_XOR32_REG
#define CODE_OF_XOR64_REG	OP_XOR64_REG

/* What they get: of the registers, or without the way through memory. */
#define A_ANY	DST_REG
#define B_ANY	SRC_REG
#define A_DST	value
#define B_DST	SRC_REG
#define A_ON	value
#define B_ON	SRC_REG
#define A_SRC	DST_REG
#define B_SRC	value
/* What they write, by what comes next. */
#define W_ANY	WRITE
#define W_DST	WRITE
#define W_ON
#define W_SRC	WRITE

#define DO(op, how, then)	DO_##op(A_##how, B_##how, W_##then)

#define THEN(name, how, then)	op++; DO(name, how, then)

#define RUN_PAIR(first, h2, second)					\
	CASE(first##_##h2##_##second):					\
		DO(first, ANY, h2) THEN(second, h2, ANY)		\
		NEXT;
#define RUN_TRIPLE(first, h2, second, h3, third)			\
	CASE(first##_##h2##_##second##_##h3##_##third):			\
		DO(first, ANY, h2) THEN(second, h2, h3)			\
		THEN(third, h3, ANY)					\
		NEXT;
#define RUN_QUAD(first, h2, second, h3, third, h4, fourth)		\
	CASE(first##_##h2##_##second##_##h3##_##third##_##h4##_##fourth): \
		DO(first, ANY, h2) THEN(second, h2, h3)			\
		THEN(third, h3, h4) THEN(fourth, h4, ANY)		\
		NEXT;

/*
 * Labels as values (gcc, clang): with a jump of its own at the end of every
 * operation, the processor predicts the next one better.
 */
#define CASE(code)	label_##code
#define GO		goto *op->go
#define NEXT		do { op++; GO; } while (0)

/*
 * The main loop is one function of many small cases: that it is long does not
 * make it hard to read, and cutting it would make it slow. With @codes, it only
 * tells where its labels are.
 */
static uint64_t run(struct bpfvm_thread *thread, struct op_codes *codes)
{
	static const void *const labels[] = {
#define X(n) &&label_OP_##n##64_REG, &&label_OP_##n##64_IMM,		\
	     &&label_OP_##n##32_REG, &&label_OP_##n##32_IMM,
		BINARY_OPS(X)
#undef X
#define X(n) &&label_OPJ_##n##64_REG, &&label_OPJ_##n##64_IMM,		\
	     &&label_OPJ_##n##32_REG, &&label_OPJ_##n##32_IMM,
		JUMP_OPS(X)
#undef X
#define X(bits, u, s) &&label_OP_LD##bits, &&label_OP_LDS##bits,	\
	     &&label_OP_ST##bits, &&label_OP_STX##bits,
		MEM_SIZES(X)
#undef X
#define X(bits, u, k) &&label_OP_LDD##bits, &&label_OP_LDG##bits,		\
	     &&label_OP_STG##bits,
		LOAD_SIZES(X)
#undef X
#define X(n) &&label_OPX_##n,
		OTHER_OPS(X)
#undef X
	};
	static const struct op_sequence sequences[] = {
#define X(a, h2, b, h3, c, h4, d)					\
	{ { CODE_OF_##a, CODE_OF_##b, CODE_OF_##c, CODE_OF_##d },	\
	  { ANY, h2, h3, h4 }, 4,					\
	  &&label_##a##_##h2##_##b##_##h3##_##c##_##h4##_##d },
		OP_QUADS(X)
#undef X
#define X(a, h2, b, h3, c)						\
	{ { CODE_OF_##a, CODE_OF_##b, CODE_OF_##c }, { ANY, h2, h3 }, 3, \
	  &&label_##a##_##h2##_##b##_##h3##_##c },
		OP_TRIPLES(X)
#undef X
#define X(a, h2, b)							\
	{ { CODE_OF_##a, CODE_OF_##b }, { ANY, h2 }, 2,			\
	  &&label_##a##_##h2##_##b },
		OP_PAIRS(X)
#undef X
	};
	struct caller callers[BPFVM_MAX_FRAMES];
	const struct op *op;
	int64_t slice;
	uint64_t bases[NR_BASES] = { 0 };
	uint64_t reg[11] = { 0 };
	uint32_t depth = 0;
	uint64_t addr, value;

	if (codes) {
		*codes = (struct op_codes){
			labels, sequences,
			sizeof(sequences) / sizeof(sequences[0]),
		};
		return 0;
	}
	op = thread->prog->ops;
	slice = thread->slice;
	bases[WHERE_ARGS] = thread->args;
	bases[WHERE_CTX] = thread->ctx;
	reg[1] = thread->regs[0];
	reg[2] = thread->regs[1];
	reg[10] = thread->stack_top;
	bases[WHERE_STACK] = reg[10];

	GO;

#define X(n) RUN_BINARY(n, 64) RUN_BINARY(n, 32)
	BINARY_OPS(X)
#undef X
#define X(n) RUN_JUMP(n, 64) RUN_JUMP(n, 32)
	JUMP_OPS(X)
#undef X
	MEM_SIZES(RUN_MEM)
	LOAD_SIZES(RUN_LOAD)
	OP_PAIRS(RUN_PAIR)
	OP_TRIPLES(RUN_TRIPLE)
	OP_QUADS(RUN_QUAD)

	CASE(OPX_NEG64):
		DST_REG = 0 - DST_REG;
		NEXT;
	CASE(OPX_NEG32):
		DST_REG = (uint32_t)(0 - (uint32_t)DST_REG);
		NEXT;
	CASE(OPX_SX64):
		DST_REG = alu_sign_extend(SRC_REG, op->off);
		NEXT;
	CASE(OPX_SX32):
		DST_REG = (uint32_t)alu_sign_extend(SRC_REG, op->off);
		NEXT;
	CASE(OPX_END):
		DST_REG = alu_end(DST_REG, op->imm, op->off);
		NEXT;
	CASE(OPX_IMM64):
		DST_REG = op->imm;
		NEXT;
	CASE(OPX_JA):
		JUMP_IF(true)
		NEXT;
	CASE(OPX_CHARGE):
		slice -= (int64_t)op->imm;
		NEXT;
	CASE(OPX_CHECK):
		slice -= (int64_t)op->imm;
		if (slice < 0)
			goto refuel;
		NEXT;
	CASE(OPX_HELPER):
		reg[0] = call_helper(thread, op, reg);
		NEXT;
	CASE(OPX_CALL):
		push_caller(&callers[depth++], op, reg);
		bases[WHERE_STACK] = reg[10];
		op = JUMP_TARGET;
		GO;
	CASE(OPX_LOOP):
		reg[0] = check_rounds(reg);
		if (reg[0] || !(uint32_t)reg[1])
			NEXT;
		push_caller(&callers[depth++], op, reg);
		bases[WHERE_STACK] = reg[10];
		goto next_round;
	CASE(OPX_EXIT):
		if (!depth)
			goto done;
		if (callers[depth - 1].loop) {
			struct caller *caller = &callers[depth - 1];

			op = caller->op;
			caller->round++;
			if (!reg[0] && caller->round < caller->rounds)
				goto next_round;
			reg[0] = caller->round;
		}
		pop_caller(&callers[--depth], reg);
		bases[WHERE_STACK] = reg[10];
		op = callers[depth].op + 1;
		GO;
	CASE(OPX_ATOMIC32):
	CASE(OPX_ATOMIC64):
		thread->fault = run_atomic(thread, op, bases, reg);
		if (thread->fault)
			goto fault;
		NEXT;
	CASE(OPX_NEVER):
		thread->fault = BPFVM_FAULT_PROOF;
		goto fault;
refuel:
	thread->slice = slice;
	if (!refuel(thread, op->pc))
		return 0;
	slice = thread->slice;
	NEXT;
refuel_jump:
	thread->slice = slice;
	if (!refuel(thread, op->pc))
		return 0;
	/* The jump is going to be charged again. */
	slice = thread->slice + (int64_t)op->base;
	GO;
next_round:
	/* Every round is a place where fuel is looked at. */
	if (slice < 0) {
		thread->slice = slice;
		if (!refuel(thread, op->pc))
			return 0;
		slice = thread->slice;
	}
	memcpy(&reg[6], callers[depth - 1].saved, sizeof(uint64_t) * 4);
	reg[1] = callers[depth - 1].round;
	reg[2] = callers[depth - 1].loop_ctx;
	op = JUMP_TARGET;
	GO;
bad_access:
	thread->fault = op->proved ? BPFVM_FAULT_PROOF : BPFVM_FAULT_ACCESS;
fault:
	thread->fault_pc = op->pc;
done:
	thread->slice = slice;
	return reg[0];
}

uint64_t interp_run(struct bpfvm_thread *thread)
{
	return run(thread, NULL);
}

void interp_codes(struct op_codes *codes)
{
	run(NULL, codes);
}
