// SPDX-License-Identifier: GPL-2.0
/* Which registers are read again after an instruction. */
#include <errno.h>
#include <stdlib.h>

#include "jit.h"

#define CALL_READS	(BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5))
#define CALL_WRITES	(BIT(0) | CALL_READS)

static bool is_call(const struct bpfvm_insn *insn)
{
	return insn->code == CODE_CALL || insn->code == CODE_CALLX;
}

uint16_t insn_reads(const struct bpfvm_insn *insn)
{
	uint16_t dst = BIT(insn_dst(insn)), src = BIT(insn_src(insn));
	uint8_t code = insn->code;

	switch (INSN_CLASS(code)) {
	case CLS_LD:
		return 0;
	case CLS_LDX:
		return src;
	case CLS_ST:
		return dst;
	case CLS_STX:
		return dst | src | (insn_is_atomic(code) ? BIT(0) : 0);
	case CLS_ALU:
	case CLS_ALU64:
		if (INSN_OP(code) == OP_END || INSN_OP(code) == OP_NEG)
			return dst;
		return (INSN_OP(code) == OP_MOV ? 0 : dst) |
		       (INSN_IS_REG(code) ? src : 0);
	}
	if (is_call(insn))
		return CALL_READS;
	if (code == CODE_EXIT)
		return BIT(0);
	if (insn_is_ja(code))
		return 0;
	return dst | (INSN_IS_REG(code) ? src : 0);
}

uint16_t insn_writes(const struct bpfvm_insn *insn)
{
	uint16_t dst = BIT(insn_dst(insn)), src = BIT(insn_src(insn));

	switch (INSN_CLASS(insn->code)) {
	case CLS_LD:
	case CLS_LDX:
	case CLS_ALU:
	case CLS_ALU64:
		return dst;
	case CLS_STX:
		if (!insn_is_atomic(insn->code) || !(insn->imm & ATOMIC_FETCH))
			return 0;
		return insn->imm == ATOMIC_CMPXCHG ? BIT(0) : src;
	}
	return is_call(insn) ? CALL_WRITES : 0;
}

/* Fill in @live of a block whose successors read @out; returns what it reads. */
static uint16_t live_in(const struct bpfvm_prog *prog, const struct block *block,
			uint16_t out, uint16_t *live)
{
	for (uint32_t pc = block->last + 1; pc-- > block->start; ) {
		const struct bpfvm_insn *insn = &prog->insns[pc];

		/* The second half of an ld_imm64. */
		if (pc > block->start && insn[-1].code == CODE_LD_IMM64 &&
		    insn->code == 0)
			continue;
		live[pc] = out;
		out = (out & ~insn_writes(insn)) | insn_reads(insn);
	}
	return out;
}

int find_liveness(struct bpfvm_prog *prog, uint16_t *live)
{
	uint16_t *in = calloc(prog->nr_blocks, sizeof(*in));
	bool again = true;

	if (!in)
		return -ENOMEM;
	while (again) {
		again = false;
		for (uint32_t b = prog->nr_blocks; b-- > 0; ) {
			const struct block *block = &prog->blocks[b];
			uint16_t out = 0;

			if (block->fall != NO_BLOCK)
				out |= in[block->fall];
			if (block->taken != NO_BLOCK)
				out |= in[block->taken];
			out = live_in(prog, block, out, live);
			again |= out != in[b];
			in[b] = out;
		}
	}
	free(in);
	return 0;
}
