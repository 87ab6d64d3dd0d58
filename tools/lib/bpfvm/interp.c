// SPDX-License-Identifier: GPL-2.0
/*
 * The interpreter: the reference for what programs do. It checks every access,
 * the proved ones too.
 *
 * Instructions are translated to operations that need no decoding; fuel that is
 * charged without being looked at, and fuel that is looked at, are operations
 * of their own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alu.h"

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
#define X(n) OPX_##n,
	OTHER_OPS(X)
#undef X
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

struct emitter {
	struct bpfvm_prog *prog;
	uint32_t *first;	/* slot to the first operation of it */
	uint32_t nr;
};

static int binary_code(const struct bpfvm_insn *insn)
{
	static const uint16_t codes[16] = {
		[OP_ADD >> 4] = OP_ADD64_REG, [OP_SUB >> 4] = OP_SUB64_REG,
		[OP_MUL >> 4] = OP_MUL64_REG, [OP_DIV >> 4] = OP_DIV64_REG,
		[OP_MOD >> 4] = OP_MOD64_REG, [OP_OR >> 4] = OP_OR64_REG,
		[OP_AND >> 4] = OP_AND64_REG, [OP_XOR >> 4] = OP_XOR64_REG,
		[OP_LSH >> 4] = OP_LSH64_REG, [OP_RSH >> 4] = OP_RSH64_REG,
		[OP_ARSH >> 4] = OP_ARSH64_REG, [OP_MOV >> 4] = OP_MOV64_REG,
	};
	uint8_t op = INSN_OP(insn->code);
	int code = codes[op >> 4];

	if (insn->off == 1 && op == OP_DIV)
		code = OP_SDIV64_REG;
	if (insn->off == 1 && op == OP_MOD)
		code = OP_SMOD64_REG;
	return code + !INSN_IS_REG(insn->code) +
	       2 * (INSN_CLASS(insn->code) == CLS_ALU);
}

static int jump_code(const struct bpfvm_insn *insn)
{
	static const uint16_t codes[16] = {
		[OP_JEQ >> 4] = OPJ_JEQ64_REG, [OP_JNE >> 4] = OPJ_JNE64_REG,
		[OP_JGT >> 4] = OPJ_JGT64_REG, [OP_JGE >> 4] = OPJ_JGE64_REG,
		[OP_JLT >> 4] = OPJ_JLT64_REG, [OP_JLE >> 4] = OPJ_JLE64_REG,
		[OP_JSET >> 4] = OPJ_JSET64_REG,
		[OP_JSGT >> 4] = OPJ_JSGT64_REG,
		[OP_JSGE >> 4] = OPJ_JSGE64_REG,
		[OP_JSLT >> 4] = OPJ_JSLT64_REG,
		[OP_JSLE >> 4] = OPJ_JSLE64_REG,
	};

	return codes[INSN_OP(insn->code) >> 4] + !INSN_IS_REG(insn->code) +
	       2 * (INSN_CLASS(insn->code) == CLS_JMP32);
}

static void translate_alu(const struct bpfvm_insn *insn, struct op *op)
{
	bool is32 = INSN_CLASS(insn->code) == CLS_ALU;

	switch (INSN_OP(insn->code)) {
	case OP_NEG:
		op->code = is32 ? OPX_NEG32 : OPX_NEG64;
		return;
	case OP_END:
		op->code = OPX_END;
		op->off = !is32 || INSN_IS_REG(insn->code);
		return;
	case OP_MOV:
		if (!insn->off || !INSN_IS_REG(insn->code))
			break;
		op->code = is32 ? OPX_SX32 : OPX_SX64;
		return;
	}
	op->code = binary_code(insn);
}

/* Where the size is known; else large enough. */
static uint32_t size_of_region(const struct bpfvm_prog *prog,
			       const struct insn_aux *aux)
{
	switch (aux->region) {
	case REGION_ARGS:
		return 24;
	case REGION_CTX:
		return prog->ctx_size;
	case REGION_STACK:
		return BPFVM_FRAME_SIZE;
	case REGION_GLOBAL:
		return prog->globals[aux->where].size;
	default:
		return UINT32_MAX;
	}
}

static void translate_access(const struct bpfvm_prog *prog, uint32_t pc,
			     struct op *op)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];
	const struct insn_aux *aux = &prog->aux[pc];
	static const uint8_t where[] = {
		[REGION_ARGS] = WHERE_ARGS, [REGION_CTX] = WHERE_CTX,
		[REGION_DATA] = WHERE_DATA, [REGION_STACK] = WHERE_STACK,
		[REGION_GLOBAL] = WHERE_GLOBAL, [REGION_MEM] = WHERE_MEM,
		[REGION_ANY] = WHERE_ANY,
	};
	static const uint16_t sizes[] = {
		[SZ_B >> 3] = OP_LD8, [SZ_H >> 3] = OP_LD16,
		[SZ_W >> 3] = OP_LD32, [SZ_DW >> 3] = OP_LD64,
	};
	int code = sizes[INSN_SIZE(insn->code) >> 3];

	op->proved = !!(aux->flags & AUX_PROVED);
	op->where = where[aux->region];
	if (size_of_region(prog, aux) < insn_bytes(insn->code))
		op->where = WHERE_NOWHERE;
	op->limit = size_of_region(prog, aux) - insn_bytes(insn->code);
	if (aux->region == REGION_GLOBAL)
		op->base = (uintptr_t)prog->globals[aux->where].data;
	else if (aux->region == REGION_STACK)
		op->base = (int64_t)BPFVM_FRAME_SIZE * (aux->frame - 1);
	switch (INSN_CLASS(insn->code)) {
	case CLS_LDX:
		op->code = code + (INSN_MODE(insn->code) == MODE_MEMSX);
		break;
	case CLS_ST:
		op->code = code + 2;
		break;
	default:
		op->code = code + 3;
		if (insn_is_atomic(insn->code))
			op->code = INSN_SIZE(insn->code) == SZ_W ?
				   OPX_ATOMIC32 : OPX_ATOMIC64;
	}
}

static void translate_call(const struct bpfvm_prog *prog, uint32_t pc,
			   struct op *op)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];

	op->callee = prog->aux[pc].where;
	if (insn->code == CODE_EXIT)
		op->code = OPX_EXIT;
	else if (insn->code == CODE_CALLX || insn_src(insn) == CALL_LOCAL)
		op->code = OPX_CALL;
	else if (insn->imm == BPFVM_HELPER_LOOP)
		op->code = OPX_LOOP;
	else
		op->code = OPX_HELPER;
}

static void translate_imm64(const struct bpfvm_prog *prog, uint32_t pc,
			    struct op *op)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];

	op->code = OPX_IMM64;
	switch (insn_src(insn)) {
	case IMM64_NUMBER:
		op->imm = insn_imm64(insn);
		break;
	case IMM64_FUNC:
		op->imm = pc + 1 + insn->imm;
		break;
	default:
		op->imm = (uintptr_t)prog->globals[insn->imm].data +
			  (uint32_t)insn[1].imm;
	}
}

/* The operation of an instruction. A jump's off is the slot it goes to. */
static void translate(const struct bpfvm_prog *prog, uint32_t pc,
		      struct op *op)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];

	op->dst = insn_dst(insn);
	op->src = insn_src(insn);
	op->off = insn->off;
	op->imm = (int64_t)insn->imm;
	op->pc = pc;
	if (!(prog->aux[pc].flags & AUX_REACHED)) {
		op->code = OPX_NEVER;
		return;
	}
	switch (INSN_CLASS(insn->code)) {
	case CLS_LD:
		translate_imm64(prog, pc, op);
		break;
	case CLS_ALU:
	case CLS_ALU64:
		translate_alu(insn, op);
		break;
	case CLS_LDX:
	case CLS_ST:
	case CLS_STX:
		translate_access(prog, pc, op);
		break;
	default:
		if (!insn_is_jump(insn->code)) {
			translate_call(prog, pc, op);
			break;
		}
		op->code = insn_is_ja(insn->code) ? OPX_JA : jump_code(insn);
		op->off = insn_target(insn, pc);
		op->base = (int64_t)prog->aux[pc].charge;
		op->limit = !!(prog->aux[pc].flags & AUX_CHECK);
	}
}

static void emit_charge(struct emitter *e, uint32_t pc, int32_t charge,
			bool check)
{
	struct op *op;

	if (!charge && !check)
		return;
	op = &e->prog->ops[e->nr++];
	op->code = check ? OPX_CHECK : OPX_CHARGE;
	op->imm = (int64_t)charge;
	op->pc = pc;
}

static bool has_target(const struct op *op)
{
	return (op->code >= OPJ_JEQ64_REG && op->code <= OPJ_JSLE32_IMM) ||
	       op->code == OPX_JA;
}

int interp_prepare(struct bpfvm_prog *prog)
{
	struct emitter e = { .prog = prog };
	uint32_t nr = prog->nr;

	for (uint32_t pc = 0; pc < prog->nr; pc++)
		nr += (prog->aux[pc].charge || prog->aux[pc].flags & AUX_CHECK) +
		      !!prog->aux[pc].fall;
	prog->ops = calloc(nr, sizeof(*prog->ops));
	e.first = calloc(prog->nr, sizeof(*e.first));
	if (!prog->ops || !e.first) {
		free(e.first);
		return -ENOMEM;
	}
	for (uint32_t pc = 0; pc < prog->nr; pc++) {
		const struct insn_aux *aux = &prog->aux[pc];

		e.first[pc] = e.nr;
		if (!insn_is_jump(prog->insns[pc].code))
			emit_charge(&e, pc, aux->charge,
				    aux->flags & AUX_CHECK);
		translate(prog, pc, &prog->ops[e.nr++]);
		emit_charge(&e, pc, aux->fall, false);
		if (prog->insns[pc].code == CODE_LD_IMM64)
			pc++;
	}
	for (uint32_t i = 0; i < e.nr; i++) {
		struct op *op = &prog->ops[i];

		if (has_target(op))
			op->off = (int32_t)(e.first[op->off] - i);
		else if (op->code == OPX_CALL || op->code == OPX_LOOP)
			op->off = (int32_t)(e.first[op->callee] - i);
	}
	free(e.first);
	return 0;
}

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

#define DST		reg[op->dst]
#define SRC		reg[op->src]

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

#define RUN_BINARY(n, bits)						\
	CASE(OP_##n##bits##_REG):					\
		DST = (uint##bits##_t)EXPR_##n((uint##bits##_t)DST,	\
					       (uint##bits##_t)SRC, bits); \
		NEXT;							\
	CASE(OP_##n##bits##_IMM):					\
		DST = (uint##bits##_t)EXPR_##n((uint##bits##_t)DST,	\
					       (uint##bits##_t)op->imm, bits); \
		NEXT;

#define CHARGE_JUMP							\
	slice -= (int64_t)op->base;					\
	if (__builtin_expect(slice < 0 && op->limit, 0))		\
		goto refuel_jump;

#define RUN_JUMP(n, bits)						\
	CASE(OPJ_##n##bits##_REG):					\
		CHARGE_JUMP						\
		op += COND_##n((uint##bits##_t)DST, (uint##bits##_t)SRC, bits) ? \
		      op->off : 1;					\
		GO;							\
	CASE(OPJ_##n##bits##_IMM):					\
		CHARGE_JUMP						\
		op += COND_##n((uint##bits##_t)DST,			\
			       (uint##bits##_t)op->imm, bits) ? op->off : 1; \
		GO;

#define ACCESS(pointer, type)						\
	addr = (pointer) + op->off;					\
	if (__builtin_expect(!allowed(thread, op, bases, addr,		\
				      sizeof(type)), 0))		\
		goto bad_access;

#define RUN_MEM(bits, u, s)						\
	CASE(OP_LD##bits): {						\
		u value;						\
									\
		ACCESS(SRC, u)						\
		memcpy(&value, (void *)(uintptr_t)addr, sizeof(value));	\
		DST = value;						\
		NEXT;							\
	}								\
	CASE(OP_LDS##bits): {						\
		s value;						\
									\
		ACCESS(SRC, s)						\
		memcpy(&value, (void *)(uintptr_t)addr, sizeof(value));	\
		DST = (int64_t)value;					\
		NEXT;							\
	}								\
	CASE(OP_ST##bits): {						\
		u value = op->imm;					\
									\
		ACCESS(DST, u)						\
		memcpy((void *)(uintptr_t)addr, &value, sizeof(value));	\
		NEXT;							\
	}								\
	CASE(OP_STX##bits): {						\
		u value = SRC;						\
									\
		ACCESS(DST, u)						\
		memcpy((void *)(uintptr_t)addr, &value, sizeof(value));	\
		NEXT;							\
	}

/*
 * Labels as values (gcc, clang): with a jump of its own at the end of every
 * operation, the processor predicts the next one better.
 */
#define CASE(code)	label_##code
#define GO		goto *labels[op->code]
#define NEXT		do { op++; GO; } while (0)

/*
 * The main loop is one function of many small cases: that it is long does not
 * make it hard to read, and cutting it would make it slow.
 */
uint64_t interp_run(struct bpfvm_thread *thread)
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
#define X(n) &&label_OPX_##n,
		OTHER_OPS(X)
#undef X
	};
	struct caller callers[BPFVM_MAX_FRAMES];
	const struct op *op = thread->prog->ops;
	int64_t slice = thread->slice;
	uint64_t bases[NR_BASES] = {
		[WHERE_ARGS] = thread->args, [WHERE_CTX] = thread->ctx,
	};
	uint64_t reg[11] = { 0 };
	uint32_t depth = 0;
	uint64_t addr;

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

	CASE(OPX_NEG64):
		DST = 0 - DST;
		NEXT;
	CASE(OPX_NEG32):
		DST = (uint32_t)(0 - (uint32_t)DST);
		NEXT;
	CASE(OPX_SX64):
		DST = alu_sign_extend(SRC, op->off);
		NEXT;
	CASE(OPX_SX32):
		DST = (uint32_t)alu_sign_extend(SRC, op->off);
		NEXT;
	CASE(OPX_END):
		DST = alu_end(DST, op->imm, op->off);
		NEXT;
	CASE(OPX_IMM64):
		DST = op->imm;
		NEXT;
	CASE(OPX_JA):
		CHARGE_JUMP
		op += op->off;
		GO;
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
		op += op->off;
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
	op += op->off;
	GO;
bad_access:
	thread->fault = op->proved ? BPFVM_FAULT_PROOF : BPFVM_FAULT_ACCESS;
fault:
	thread->fault_pc = op->pc;
done:
	thread->slice = slice;
	return reg[0];
}
