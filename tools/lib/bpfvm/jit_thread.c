// SPDX-License-Identifier: GPL-2.0
/*
 * Constants, and the branches that they decide.
 *
 * A program that keeps a state in a register compares it again and again, though
 * on many of the ways that lead to the comparison it is a constant. Where such a
 * way is compiled, the code up to the decided branch is compiled another time,
 * without the comparison. What a copy charges is what the original charges.
 */
#include "alu.h"
#include "jit.h"

/* How far it is looked for a branch that is decided. */
#define MAX_AHEAD_BLOCKS	3
#define MAX_AHEAD_INSNS		12
/* Of all copies together, in proportion to the program. */
#define MAX_COPIED(nr)		(64 + 2 * (nr))

void know_nothing(struct known *known)
{
	known->regs = 0;
}

static void know(struct known *known, uint8_t reg, uint64_t value)
{
	known->regs |= BIT(reg);
	known->value[reg] = value;
}

static bool computes(const struct bpfvm_insn *insn)
{
	return insn_is_alu(insn->code) && INSN_OP(insn->code) != OP_END &&
	       (INSN_OP(insn->code) != OP_MOV || !insn->off);
}

void know_insn(struct known *known, const struct bpfvm_insn *insn)
{
	uint16_t reads = insn_reads(insn);
	bool wide = INSN_CLASS(insn->code) == CLS_ALU64;
	uint8_t dst = insn_dst(insn);
	uint64_t a = known->value[dst], b;

	if (insn->code == CODE_LD_IMM64 && insn_src(insn) == IMM64_NUMBER) {
		know(known, dst, insn_imm64(insn));
		return;
	}
	if (!computes(insn) || (reads & ~known->regs)) {
		known->regs &= ~insn_writes(insn);
		return;
	}
	b = INSN_IS_REG(insn->code) ? known->value[insn_src(insn)] :
				      (uint64_t)(int64_t)insn->imm;
	know(known, dst, wide ?
	     alu64(INSN_OP(insn->code), insn->off == 1, a, b) :
	     alu32(INSN_OP(insn->code), insn->off == 1, a, b));
}

int known_branch(const struct known *known, const struct bpfvm_insn *insn)
{
	uint16_t reads = insn_reads(insn);

	if (!known->regs || (reads & ~known->regs))
		return -1;
	return alu_compare(INSN_OP(insn->code),
			   INSN_CLASS(insn->code) == CLS_JMP32,
			   known->value[insn_dst(insn)],
			   INSN_IS_REG(insn->code) ?
			   known->value[insn_src(insn)] :
			   (uint64_t)(int64_t)insn->imm);
}

static bool decides(const struct jit_state *j, uint32_t b, struct known known,
		    unsigned int blocks, uint32_t insns)
{
	const struct bpfvm_prog *prog = j->prog;
	const struct block *block = &prog->blocks[b];
	const struct bpfvm_insn *last = &prog->insns[block->last];

	known.regs &= j->live_in[b];
	if (!known.regs || !blocks || insns + block->nr > MAX_AHEAD_INSNS ||
	    !(prog->aux[block->last].flags & AUX_REACHED))
		return false;
	for (uint32_t pc = block->start; pc < block->last; pc++) {
		know_insn(&known, &prog->insns[pc]);
		if (prog->insns[pc].code == CODE_LD_IMM64)
			pc++;
	}
	insns += block->nr;
	if (block->taken == NO_BLOCK) {
		know_insn(&known, last);
		return block->fall != NO_BLOCK &&
		       INSN_CLASS(last->code) != CLS_JMP &&
		       decides(j, block->fall, known, blocks - 1, insns);
	}
	if (insn_is_ja(last->code))
		return decides(j, block->taken, known, blocks - 1, insns);
	/* A conditional move is no branch. */
	if (j->skipped[block->fall])
		return false;
	if (known_branch(&known, last) >= 0)
		return true;
	return decides(j, block->taken, known, blocks - 1, insns) ||
	       decides(j, block->fall, known, blocks - 1, insns);
}

bool worth_a_copy(const struct jit_state *j, uint32_t b)
{
	if (!(j->known.regs & j->live_in[b]) || j->loop ||
	    j->copied > MAX_COPIED(j->prog->nr))
		return false;
	return decides(j, b, j->known, MAX_AHEAD_BLOCKS, 0);
}
