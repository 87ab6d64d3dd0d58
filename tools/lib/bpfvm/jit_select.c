// SPDX-License-Identifier: GPL-2.0
/*
 * Branches over one computation become conditional moves: BPF has no other way
 * to say "one of two values", and compilers for it say it often.
 */
#include "jit.h"

static bool can_be_computed_early(const struct bpfvm_insn *insn)
{
	if (!insn_is_alu(insn->code))
		return false;
	switch (INSN_OP(insn->code)) {
	case OP_ADD:
	case OP_SUB:
	case OP_OR:
	case OP_AND:
	case OP_XOR:
		return true;
	case OP_MOV:
		return insn->off == 0;
	}
	return false;
}

/* The block is one computation, or one and a jump; nothing is charged. */
static const struct bpfvm_insn *only_insn(const struct jit_state *j, uint32_t b)
{
	const struct bpfvm_prog *prog = j->prog;
	const struct block *block = &prog->blocks[b];
	const struct insn_aux *last = &prog->aux[block->last];

	if (block->last > block->start + 1 || last->charge || last->fall ||
	    last->flags & AUX_CHECK ||
	    !(prog->aux[block->start].flags & AUX_REACHED))
		return NULL;
	if (block->last == block->start + 1 &&
	    prog->insns[block->last].code != CODE_JA)
		return NULL;
	if (!can_be_computed_early(&prog->insns[block->start]))
		return NULL;
	return &prog->insns[block->start];
}

const struct bpfvm_insn *find_select(const struct jit_state *j, uint32_t b)
{
	const struct bpfvm_prog *prog = j->prog;
	const struct block *block = &prog->blocks[b];
	const struct block *over;
	uint32_t after;

	if (block->fall == NO_BLOCK || block->taken == NO_BLOCK ||
	    j->nr_preds[block->fall] != 1 ||
	    !(prog->aux[block->last].flags & AUX_REACHED) ||
	    prog->aux[block->last].fall)
		return NULL;
	over = &prog->blocks[block->fall];
	after = over->taken != NO_BLOCK ? over->taken : over->fall;
	if (after != block->taken ||
	    !(prog->aux[prog->blocks[after].start].flags & AUX_REACHED))
		return NULL;
	return only_insn(j, block->fall);
}

void prepare_select(struct jit_state *j, const struct bpfvm_insn *insn)
{
	struct code *c = &j->code;
	bool w = INSN_CLASS(insn->code) == CLS_ALU64;
	uint8_t dst = jit_reg[insn_dst(insn)];
	uint8_t src = jit_reg[insn_src(insn)];
	uint8_t op;

	if (INSN_OP(insn->code) == OP_MOV) {
		if (INSN_IS_REG(insn->code))
			x_mov(c, w, TMP, src);
		else
			x_mov_imm(c, TMP, w ? (uint64_t)(int64_t)insn->imm :
					      (uint32_t)insn->imm);
		return;
	}
	op = x_op_of(insn);
	x_mov(c, w, TMP, dst);
	if (INSN_IS_REG(insn->code))
		x_alu(c, w, op, TMP, src);
	else
		x_alu_imm(c, w, op, TMP, insn->imm);
}

void finish_select(struct jit_state *j, const struct bpfvm_insn *insn,
		   uint8_t cc)
{
	/* CMOV of 64 bits: one of 32 clears the others in either case. */
	x_reg0f(&j->code, true, 0x40 | cc, jit_reg[insn_dst(insn)], TMP, false);
}

/* "r = 1; if (a) skip; r = 0" and the opposite: the value is the condition. */
bool is_condition(const struct bpfvm_insn *first,
		  const struct bpfvm_insn *jump, const struct bpfvm_insn *over)
{
	uint8_t dst = insn_dst(over);

	return (first->code == (CLS_ALU64 | OP_MOV) ||
		first->code == (CLS_ALU | OP_MOV)) &&
	       (over->code == (CLS_ALU64 | OP_MOV) ||
		over->code == (CLS_ALU | OP_MOV)) &&
	       insn_dst(first) == dst && (uint32_t)first->imm <= 1 &&
	       over->imm == 1 - first->imm &&
	       !(insn_reads(jump) & BIT(dst));
}

void set_condition(struct jit_state *j, uint8_t reg, uint8_t cc)
{
	struct code *c = &j->code;

	x_rex(c, false, 0, NO_REG, jit_reg[reg],
	      jit_reg[reg] >= RSP && jit_reg[reg] <= RDI);
	x_byte(c, 0x0f);
	x_byte(c, 0x90 | cc);
	x_modrm_reg(c, 0, jit_reg[reg]);
}
