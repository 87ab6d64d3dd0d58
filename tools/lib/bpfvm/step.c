// SPDX-License-Identifier: GPL-2.0
/* What instructions that compute do to what is known. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "alu.h"
#include "verifier.h"

static void operand(const struct state *st, const struct bpfvm_insn *insn,
		    bool is32, struct val *b)
{
	if (INSN_IS_REG(insn->code))
		*b = st->r[insn_src(insn)];
	else
		val_set_known(b, is32 ? (uint32_t)insn->imm :
					(uint64_t)(int64_t)insn->imm);
}

static int step_mov(struct verifier *v, struct state *st, uint32_t pc)
{
	const struct bpfvm_insn *insn = &v->prog->insns[pc];
	bool is32 = INSN_CLASS(insn->code) == CLS_ALU;
	struct val *dst = &st->r[insn_dst(insn)];
	struct val *src;
	int err;

	if (!INSN_IS_REG(insn->code)) {
		operand(st, insn, is32, dst);
		return 0;
	}
	err = need_value(v, st, pc, insn_src(insn));
	if (err)
		return err;
	src = &st->r[insn_src(insn)];
	if (src->type != VAL_NUM && (is32 || insn->off))
		return complain(v, pc, "r%u is a pointer, of which a part would be lost",
				insn_src(insn));
	state_name(&v->j, src);
	if (v->final && is32 && src->umax > UINT32_MAX)
		v->prog->aux[pc].flags &= ~AUX_WIDE;
	*dst = *src;
	if (insn->off)
		val_sign_extend(dst, insn->off, is32 ? 32 : 64);
	else if (is32)
		val_zero_extend(dst, 32);
	return 0;
}

/* Addition and subtraction where at least one side is a pointer. */
static int step_pointer(struct verifier *v, struct state *st, uint32_t pc,
			struct val *b)
{
	const struct bpfvm_insn *insn = &v->prog->insns[pc];
	struct val *a = &st->r[insn_dst(insn)];
	uint8_t op = INSN_OP(insn->code);
	bool is32 = INSN_CLASS(insn->code) != CLS_ALU64;
	/* What is left of a distance is no pointer: data_end - data as a u32. */
	bool distance = op == OP_SUB && a->type == VAL_PTR && b->type == VAL_PTR;
	struct val ptr = a->type == VAL_PTR ? *a : *b;

	if (a->type == VAL_FUNC || b->type == VAL_FUNC)
		return complain(v, pc, "there is nothing to compute with a function");
	if ((is32 && !distance) || (op != OP_ADD && op != OP_SUB))
		return complain(v, pc, "this would lose a pointer: only 64-bit additions and subtractions keep it");
	if (op == OP_ADD && a->type == b->type)
		return complain(v, pc, "two pointers are added");
	if (op == OP_SUB && b->type == VAL_PTR) {
		if (!val_same_object(a, b) || a->null || b->null)
			return complain(v, pc, "a pointer is subtracted from something that is not in the same memory");
		val_sub(a, b, st->minlen);
		a->type = VAL_NUM;
		a->region = 0;
		a->where = 0;
		if (is32) {
			val_zero_extend(a, 32);
			if (v->final)
				v->prog->aux[pc].flags &= ~AUX_WIDE;
		}
		return 0;
	}
	if (op == OP_ADD)
		val_add(a, b);
	else
		val_sub(a, b, st->minlen);
	a->type = VAL_PTR;
	a->region = ptr.region;
	a->where = ptr.where;
	a->null = ptr.null ? NULL_MOVED : NULL_NEVER;
	return 0;
}

static int step_end(struct verifier *v, struct state *st, uint32_t pc)
{
	const struct bpfvm_insn *insn = &v->prog->insns[pc];
	struct val *dst = &st->r[insn_dst(insn)];
	bool swap = INSN_CLASS(insn->code) == CLS_ALU64 ||
		    INSN_IS_REG(insn->code);
	int err = need_number(v, st, pc, insn_dst(insn), "what is swapped");

	if (err)
		return err;
	if (val_known(dst))
		val_set_known(dst, alu_end(dst->umin, insn->imm, swap));
	else if (!swap)
		val_zero_extend(dst, insn->imm);
	else
		val_set_range(dst, 0, insn->imm == 64 ? UINT64_MAX :
				      (1ULL << insn->imm) - 1);
	return 0;
}

/* A mask that cuts nothing off; 32-bit ones cut what is above, too. */
static bool keeps_all(const struct val *v, const struct val *mask, uint8_t op,
		      bool is32)
{
	return op == OP_AND && val_known(mask) &&
	       !(mask->umin & (mask->umin + 1)) && v->umax <= mask->umin &&
	       (!is32 || v->umax <= UINT32_MAX);
}

static int step_alu(struct verifier *v, struct state *st, uint32_t pc)
{
	const struct bpfvm_insn *insn = &v->prog->insns[pc];
	bool is32 = INSN_CLASS(insn->code) == CLS_ALU;
	uint8_t op = INSN_OP(insn->code);
	struct val *dst = &st->r[insn_dst(insn)];
	enum val_wide wide;
	struct val b;
	int err;

	if (op == OP_END)
		return step_end(v, st, pc);
	if (op == OP_MOV)
		return step_mov(v, st, pc);
	err = need_value(v, st, pc, insn_dst(insn));
	if (!err && INSN_IS_REG(insn->code))
		err = need_value(v, st, pc, insn_src(insn));
	if (err)
		return err;
	operand(st, insn, is32, &b);
	if (dst->type != VAL_NUM || b.type != VAL_NUM)
		return step_pointer(v, st, pc, &b);
	if (op == OP_XOR && INSN_IS_REG(insn->code) &&
	    insn_src(insn) == insn_dst(insn)) {
		val_set_known(dst, 0);
		return 0;
	}
	if (v->final && !keeps_all(dst, &b, op, is32))
		v->prog->aux[pc].flags &= ~AUX_SAME;
	val_alu(dst, &b, op, insn->off == 1, is32 ? 32 : 64, st->minlen, &wide);
	/* A 64-bit operation extends the sign of its immediate. */
	if (v->final && wide != (INSN_IS_REG(insn->code) || insn->imm >= 0 ?
				 WIDE_PLAIN : WIDE_NEGATIVE))
		v->prog->aux[pc].flags &= ~AUX_WIDE;
	return 0;
}

static int step_imm64(struct verifier *v, struct state *st, uint32_t pc)
{
	const struct bpfvm_insn *insn = &v->prog->insns[pc];
	struct val *dst = &st->r[insn_dst(insn)];

	switch (insn_src(insn)) {
	case IMM64_NUMBER:
		val_set_known(dst, insn_imm64(insn));
		break;
	case IMM64_FUNC:
		val_set_num(dst);
		dst->type = VAL_FUNC;
		dst->where = pc + 1 + insn->imm;
		break;
	default:
		val_set_ptr(dst, REGION_GLOBAL, insn->imm, insn[1].imm);
	}
	return 0;
}

int step(struct verifier *v, struct state *st, uint32_t pc)
{
	switch (INSN_CLASS(v->prog->insns[pc].code)) {
	case CLS_LD:
		return step_imm64(v, st, pc);
	case CLS_ALU:
	case CLS_ALU64:
		return step_alu(v, st, pc);
	case CLS_LDX:
	case CLS_ST:
	case CLS_STX:
		return step_access(v, st, pc);
	default:
		return step_helper(v, st, pc);
	}
}

static uint8_t negate(uint8_t op)
{
	switch (op) {
	case OP_JEQ:
		return OP_JNE;
	case OP_JNE:
		return OP_JEQ;
	case OP_JGT:
		return OP_JLE;
	case OP_JLE:
		return OP_JGT;
	case OP_JGE:
		return OP_JLT;
	case OP_JLT:
		return OP_JGE;
	case OP_JSGT:
		return OP_JSLE;
	case OP_JSLE:
		return OP_JSGT;
	case OP_JSGE:
		return OP_JSLT;
	case OP_JSLT:
		return OP_JSGE;
	default:
		return op;
	}
}

static int check_comparison(struct verifier *v, uint32_t pc,
			    const struct val *a, const struct val *b)
{
	const struct bpfvm_insn *insn = &v->prog->insns[pc];
	uint8_t op = INSN_OP(insn->code);
	bool null_test = (op == OP_JEQ || op == OP_JNE) &&
			 (val_is(a, 0) || val_is(b, 0));

	if (a->type == VAL_NUM && b->type == VAL_NUM)
		return 0;
	if (a->type == VAL_FUNC || b->type == VAL_FUNC)
		return complain(v, pc, "there is nothing to compare a function with");
	if (INSN_CLASS(insn->code) == CLS_JMP32 || op == OP_JSET)
		return complain(v, pc, "a pointer is compared in parts");
	if (null_test)
		return 0;
	if (a->type != b->type)
		return complain(v, pc, "a pointer is compared with a number other than 0");
	if (!val_same_object(a, b))
		return complain(v, pc, "pointers into different memory are compared");
	return 0;
}

/* Learn from the comparison or its opposite. */
static bool assume(struct state *st, const struct bpfvm_insn *insn, bool taken)
{
	bool is32 = INSN_CLASS(insn->code) == CLS_JMP32;
	uint8_t op = INSN_OP(insn->code);
	struct val *a = &st->r[insn_dst(insn)];
	struct val known;
	struct val *b = &known;

	if (INSN_IS_REG(insn->code))
		b = &st->r[insn_src(insn)];
	else
		operand(st, insn, is32, &known);
	/* A pointer that is compared with 0 comes first. */
	if (a->type == VAL_NUM && b->type == VAL_PTR) {
		struct val *t = a;

		a = b;
		b = t;
	}
	if (op == OP_JSET) {
		if (a->type == VAL_NUM && val_known(a) && val_known(b))
			return !!alu_compare(op, is32, a->umin, b->umin) ==
			       taken;
		return true;
	}
	return state_assume(st, a, b, taken ? op : negate(op), is32);
}

int step_branch(struct verifier *v, struct state *st, struct state *taken_st,
		uint32_t pc, bool *taken, bool *falls)
{
	const struct bpfvm_insn *insn = &v->prog->insns[pc];
	bool is32 = INSN_CLASS(insn->code) == CLS_JMP32;
	struct val b;
	int err;

	err = need_value(v, st, pc, insn_dst(insn));
	if (!err && INSN_IS_REG(insn->code))
		err = need_value(v, st, pc, insn_src(insn));
	if (err)
		return err;
	operand(st, insn, is32, &b);
	err = check_comparison(v, pc, &st->r[insn_dst(insn)], &b);
	if (err)
		return err;
	if (!state_copy(taken_st, st))
		return -ENOMEM;
	*taken = assume(taken_st, insn, true);
	*falls = assume(st, insn, false);
	return 0;
}
