// SPDX-License-Identifier: GPL-2.0
/*
 * From instructions to operations, which need no decoding. Fuel that is charged
 * without being looked at, and fuel that is looked at, are operations of their
 * own, but for jumps, which do that themselves.
 */
#include <errno.h>
#include <stdlib.h>

#include "interp.h"

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

/* Of a plain load, by what it reads. */
static uint16_t load_code(const struct op *op, unsigned int size)
{
	static const uint16_t data[] = {
		[SZ_B >> 3] = OP_LDD8, [SZ_H >> 3] = OP_LDD16,
		[SZ_W >> 3] = OP_LDD32, [SZ_DW >> 3] = OP_LDD64,
	};
	static const uint16_t global[] = {
		[SZ_B >> 3] = OP_LDG8, [SZ_H >> 3] = OP_LDG16,
		[SZ_W >> 3] = OP_LDG32, [SZ_DW >> 3] = OP_LDG64,
	};

	if (op->where == WHERE_DATA)
		return data[size >> 3];
	if (op->where == WHERE_GLOBAL)
		return global[size >> 3];
	return op->code;
}

static uint16_t store_code(const struct op *op, unsigned int size)
{
	static const uint16_t global[] = {
		[SZ_B >> 3] = OP_STG8, [SZ_H >> 3] = OP_STG16,
		[SZ_W >> 3] = OP_STG32, [SZ_DW >> 3] = OP_STG64,
	};

	return op->where == WHERE_GLOBAL ? global[size >> 3] : op->code;
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
		if (INSN_MODE(insn->code) == MODE_MEM)
			op->code = load_code(op, INSN_SIZE(insn->code));
		break;
	case CLS_ST:
		op->code = code + 2;
		break;
	default:
		op->code = code + 3;
		op->code = store_code(op, INSN_SIZE(insn->code));
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

/* Is the register that a binary operation works on its operand, too? */
static bool is_with_itself(const struct op *op)
{
	return op->code < OPJ_JEQ64_REG && op->src == op->dst &&
	       (op->code & 1) == (OP_ADD64_REG & 1);
}

static bool fits(const struct op_sequence *sequence, const struct op *op)
{
	for (uint32_t k = 1; k < sequence->nr; k++) {
		if (sequence->codes[k] != op[k].code)
			return false;
		switch (sequence->how[k]) {
		case ANY:
			break;
		case ON:
			if (is_with_itself(&op[k]))
				return false;
			/* fall through */
		case DST:
			if (op[k].dst != op[k - 1].dst)
				return false;
			break;
		case SRC:
			if (op[k].src != op[k - 1].dst)
				return false;
		}
	}
	return true;
}

static void find_code(struct op *ops, uint32_t nr)
{
	/* One more than the first that begins with a code, and than the next. */
	uint8_t first[NR_OP_CODES] = { 0 }, next[UINT8_MAX] = { 0 };
	struct op_codes codes;

	interp_codes(&codes);
	for (uint32_t i = codes.nr_sequences; i-- > 0; ) {
		next[i] = first[codes.sequences[i].codes[0]];
		first[codes.sequences[i].codes[0]] = i + 1;
	}
	for (uint32_t i = 0; i < nr; i++) {
		ops[i].go = codes.ops[ops[i].code];
		for (uint32_t s = first[ops[i].code]; s; s = next[s - 1]) {
			if (codes.sequences[s - 1].nr > nr - i ||
			    !fits(&codes.sequences[s - 1], &ops[i]))
				continue;
			ops[i].go = codes.sequences[s - 1].code;
			break;
		}
	}
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
		int32_t to;

		if (has_target(op))
			to = e.first[op->off];
		else if (op->code == OPX_CALL || op->code == OPX_LOOP)
			to = e.first[op->callee];
		else
			continue;
		op->off = (to - (int32_t)i) * (int32_t)sizeof(*op);
	}
	free(e.first);
	find_code(prog->ops, e.nr);
	return 0;
}
