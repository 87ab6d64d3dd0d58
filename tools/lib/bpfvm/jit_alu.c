// SPDX-License-Identifier: GPL-2.0
/* Arithmetic. Operands are settled, dst may be written. */
#include "jit.h"

static void binary(struct jit_state *j, const struct bpfvm_insn *insn, bool w,
		   uint8_t op)
{
	uint8_t to = jit_reg[insn_dst(insn)];

	if (INSN_IS_REG(insn->code))
		x_alu(&j->code, w, op, to, jit_reg[insn_src(insn)]);
	else if (op == X_AND && insn->imm == 0xff)
		x_reg0f(&j->code, false, 0xb6, to, to, true);
	else if (op == X_AND && insn->imm == 0xffff)
		x_reg0f(&j->code, false, 0xb7, to, to, false);
	else if (op == X_AND && insn->imm >= 0)
		x_alu_imm(&j->code, false, op, to, insn->imm);
	else
		x_alu_imm(&j->code, w, op, to, insn->imm);
}

static void multiply(struct jit_state *j, const struct bpfvm_insn *insn, bool w)
{
	uint8_t to = jit_reg[insn_dst(insn)];

	if (INSN_IS_REG(insn->code)) {
		x_reg0f(&j->code, w, 0xaf, to, jit_reg[insn_src(insn)], false);
		return;
	}
	if (fits8(insn->imm)) {
		x_reg(&j->code, w, 0x6b, to, to);
		x_byte(&j->code, insn->imm);
	} else {
		x_reg(&j->code, w, 0x69, to, to);
		x_u32(&j->code, insn->imm);
	}
}

static void shift_by_cl(struct jit_state *j, bool w, uint8_t op, uint8_t to,
			uint8_t by)
{
	struct code *c = &j->code;

	if (by == RCX && to != RCX) {
		x_shift_cl(c, w, op, to);
		return;
	}
	x_mov(c, true, TMP2, RCX);
	if (by != RCX)
		x_mov(c, true, RCX, by);
	if (to == RCX) {
		x_shift_cl(c, w, op, TMP2);
		x_mov(c, true, RCX, TMP2);
	} else {
		x_shift_cl(c, w, op, to);
		x_mov(c, true, RCX, TMP2);
	}
}

static void shift(struct jit_state *j, const struct bpfvm_insn *insn, bool w,
		  uint8_t op)
{
	uint8_t to = jit_reg[insn_dst(insn)];
	uint8_t by = jit_reg[insn_src(insn)];

	if (!INSN_IS_REG(insn->code)) {
		if (insn->imm)
			x_shift_imm(&j->code, w, op, to, insn->imm);
		else if (!w)
			x_mov(&j->code, false, to, to);
	} else if (j->bmi2) {
		x_shiftx(&j->code, w, op, to, by);
	} else {
		shift_by_cl(j, w, op, to, by);
		/* A count of 0 leaves the register alone. */
		if (!w)
			x_mov(&j->code, false, to, to);
	}
}

/* TMP2 has a divisor that is neither 0 nor, if signed, -1. */
static void divide_checked(struct code *c, uint8_t to, bool w, bool is_signed,
			   bool mod)
{
	if (to != RAX)
		x_mov(c, true, TMP, RAX);
	if (to != RDX)
		x_push(c, RDX);
	if (to != RAX)
		x_mov(c, w, RAX, to);
	if (is_signed) {
		x_rex(c, w, 0, NO_REG, NO_REG, false);
		x_byte(c, 0x99);	/* CQO, CDQ */
	} else {
		x_alu(c, false, X_XOR, RDX, RDX);
	}
	x_unary(c, w, is_signed ? 7 : 6, TMP2);
	x_mov(c, w, TMP2, mod ? RDX : RAX);
	if (to != RDX)
		x_pop(c, RDX);
	if (to != RAX)
		x_mov(c, true, RAX, TMP);
	x_mov(c, w, to, TMP2);
}

static void divide(struct jit_state *j, const struct bpfvm_insn *insn, bool w,
		   bool mod)
{
	struct code *c = &j->code;
	uint8_t to = jit_reg[insn_dst(insn)];
	bool is_signed = insn->off == 1;
	bool reg = INSN_IS_REG(insn->code);
	bool minus_one = is_signed && (reg || insn->imm == -1);
	uint32_t zero = 0, minus = 0, done = 0;

	if (reg)
		x_mov(c, w, TMP2, jit_reg[insn_src(insn)]);
	else
		x_mov_imm(c, TMP2, w ? (uint64_t)(int64_t)insn->imm :
				       (uint32_t)insn->imm);
	if (reg) {
		x_reg(c, w, 0x85, TMP2, TMP2);
		zero = x_skip(c, CC_E);
	}
	if (minus_one) {
		x_alu_imm(c, w, X_CMP, TMP2, -1);
		minus = x_skip(c, CC_E);
	}
	divide_checked(c, to, w, is_signed, mod);
	if (minus_one) {
		done = x_skip_always(c);
		x_land(c, minus);
		if (mod)
			x_alu(c, false, X_XOR, to, to);
		else
			x_unary(c, w, 3, to);
	}
	if (reg) {
		uint32_t end = x_skip_always(c);

		x_land(c, zero);
		if (!mod)
			x_alu(c, false, X_XOR, to, to);
		else if (!w)
			x_mov(c, false, to, to);
		x_land(c, end);
	}
	if (minus_one)
		x_land(c, done);
}

static void move(struct jit_state *j, const struct bpfvm_insn *insn, bool w)
{
	uint8_t to = jit_reg[insn_dst(insn)];
	uint8_t from = jit_reg[insn_src(insn)];

	if (!INSN_IS_REG(insn->code)) {
		uint64_t imm = w ? (uint64_t)(int64_t)insn->imm :
				   (uint32_t)insn->imm;

		if (imm)
			x_mov_imm(&j->code, to, imm);
		else
			x_alu(&j->code, false, X_XOR, to, to);
		return;
	}
	switch (insn->off) {
	case 8:
		x_reg0f(&j->code, w, 0xbe, to, from, true);
		break;
	case 16:
		x_reg0f(&j->code, w, 0xbf, to, from, false);
		break;
	case 32:
		x_reg(&j->code, true, 0x63, to, from);
		break;
	default:
		x_mov(&j->code, w, to, from);
	}
}

static void swap(struct jit_state *j, const struct bpfvm_insn *insn)
{
	struct code *c = &j->code;
	uint8_t to = jit_reg[insn_dst(insn)];
	bool swaps = INSN_CLASS(insn->code) == CLS_ALU64 ||
		     INSN_IS_REG(insn->code);

	switch (insn->imm) {
	case 16:
		if (swaps) {
			/* ROL of 16 bits by 8 */
			x_byte(c, 0x66);
			x_rex(c, false, 0, NO_REG, to, false);
			x_byte(c, 0xc1);
			x_modrm_reg(c, 0, to);
			x_byte(c, 8);
		}
		x_reg0f(c, false, 0xb7, to, to, false);
		break;
	case 32:
		if (swaps)
			x_bswap(c, false, to);
		else
			x_mov(c, false, to, to);
		break;
	default:
		if (swaps)
			x_bswap(c, true, to);
	}
}

void jit_alu(struct jit_state *j, const struct bpfvm_insn *insn)
{
	bool w = INSN_CLASS(insn->code) == CLS_ALU64;

	switch (INSN_OP(insn->code)) {
	case OP_ADD:
	case OP_SUB:
	case OP_OR:
	case OP_AND:
	case OP_XOR:
		binary(j, insn, w, x_op_of(insn));
		break;
	case OP_MUL:
		multiply(j, insn, w);
		break;
	case OP_DIV:
		divide(j, insn, w, false);
		break;
	case OP_MOD:
		divide(j, insn, w, true);
		break;
	case OP_LSH:
		shift(j, insn, w, X_SHL);
		break;
	case OP_RSH:
		shift(j, insn, w, X_SHR);
		break;
	case OP_ARSH:
		shift(j, insn, w, X_SAR);
		break;
	case OP_NEG:
		x_unary(&j->code, w, 3, jit_reg[insn_dst(insn)]);
		break;
	case OP_END:
		swap(j, insn);
		break;
	default:
		move(j, insn, w);
	}
}
