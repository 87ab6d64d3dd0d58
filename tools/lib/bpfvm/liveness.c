// SPDX-License-Identifier: GPL-2.0
/* Which registers are read again after an instruction. */
#include <errno.h>
#include <stdlib.h>

#include "internal.h"

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
	if (insn->code == CODE_CALLX)
		return CALL_READS | dst;
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

/* @preds: of block b, from @pred_at[b] to @pred_at[b + 1]. */
static int find_preds(struct bpfvm_prog *prog)
{
	uint32_t nr = prog->nr_blocks;

	prog->pred_at = calloc(nr + 2, sizeof(*prog->pred_at));
	prog->preds = calloc(2 * nr, sizeof(*prog->preds));
	if (!prog->pred_at || !prog->preds)
		return -ENOMEM;
	for (int pass = 0; pass < 2; pass++) {
		/* First how many, two places further; then where. */
		for (uint32_t b = 0; b < nr; b++) {
			const uint32_t next[2] = { prog->blocks[b].fall,
						   prog->blocks[b].taken };

			for (int i = 0; i < 2; i++) {
				if (next[i] == NO_BLOCK)
					continue;
				if (pass)
					prog->preds[prog->pred_at[next[i] + 1]++] = b;
				else
					prog->pred_at[next[i] + 2]++;
			}
		}
		for (uint32_t b = 0; !pass && b + 2 <= nr; b++)
			prog->pred_at[b + 2] += prog->pred_at[b + 1];
	}
	return 0;
}

/*
 * A block is looked at again when one after it is found to read more, which is
 * at most once for each register: the work is linear in the program.
 */
int find_liveness(struct bpfvm_prog *prog)
{
	uint32_t nr = prog->nr_blocks;
	uint32_t *todo = malloc(nr * sizeof(*todo));
	uint8_t *waits = malloc(nr);

	prog->live = calloc(prog->nr, sizeof(*prog->live));
	prog->live_in = calloc(nr, sizeof(*prog->live_in));
	if (!todo || !waits || !prog->live || !prog->live_in ||
	    find_preds(prog)) {
		free(todo);
		free(waits);
		return -ENOMEM;
	}
	for (uint32_t b = 0; b < nr; b++) {
		todo[b] = b;
		waits[b] = 1;
	}
	while (nr) {
		uint32_t b = todo[--nr];
		const struct block *block = &prog->blocks[b];
		uint16_t out = 0;

		waits[b] = 0;
		if (block->fall != NO_BLOCK)
			out |= prog->live_in[block->fall];
		if (block->taken != NO_BLOCK)
			out |= prog->live_in[block->taken];
		out = live_in(prog, block, out, prog->live);
		if (out == prog->live_in[b])
			continue;
		prog->live_in[b] = out;
		for (uint32_t i = prog->pred_at[b]; i < prog->pred_at[b + 1]; i++) {
			uint32_t pred = prog->preds[i];

			if (!waits[pred])
				todo[nr++] = pred;
			waits[pred] = 1;
		}
	}
	free(todo);
	free(waits);
	return 0;
}
