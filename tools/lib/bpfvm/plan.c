// SPDX-License-Identifier: GPL-2.0
/*
 * Where fuel is charged, and how much.
 *
 * The sum of the charges is the number of instructions executed, exactly, and
 * most blocks charge nothing. Each block has a debt: the instructions executed
 * when it is entered that are not paid for. A block may hand its own debt and
 * length on to one successor for free, because that one's debt can be chosen;
 * where edges with different debts meet, all but one settle the difference.
 * Jumps back, which every loop has, settle theirs and look at what is left, and
 * so do calls. So a loop without inner branches pays once a round.
 *
 * The charge of a conditional jump is made before it and is the same in both
 * directions, so that a taken jump never needs an instruction of its own.
 */
#include <errno.h>
#include <stdlib.h>

#include "internal.h"

struct debt {
	int32_t enter;		/* when the block is entered */
	int32_t fall;		/* when it falls through to the next */
	bool known;
};

static bool settles(const struct bpfvm_insn *insn)
{
	return insn->code == CODE_EXIT || insn->code == CODE_CALLX ||
	       (insn->code == CODE_CALL &&
		(insn_src(insn) == CALL_LOCAL ||
		 insn->imm == BPFVM_HELPER_LOOP));
}

/* The debts of the blocks before @b are known: charge at the end of @b. */
static void plan_block(struct bpfvm_prog *prog, struct debt *debts, uint32_t b)
{
	const struct block *block = &prog->blocks[b];
	const struct bpfvm_insn *insn = &prog->insns[block->last];
	struct insn_aux *aux = &prog->aux[block->last];
	struct debt *debt = &debts[b];
	int32_t owed = debt->enter;

	for (uint32_t pc = block->start; pc <= block->last; pc++) {
		prog->aux[pc].owed = owed++;
		if (prog->insns[pc].code == CODE_LD_IMM64)
			pc++;
	}
	debt->fall = owed;
	if (settles(insn)) {
		aux->charge = owed;
		debt->fall = 0;
		if (insn->code != CODE_EXIT)
			aux->flags |= AUX_CHECK;
	} else if (block->taken != NO_BLOCK) {
		struct debt *target = &debts[block->taken];

		if (block->taken <= b)
			aux->flags |= AUX_CHECK;
		if (!target->known) {
			target->known = true;
			target->enter = owed;
		}
		aux->charge = owed - target->enter;
		debt->fall = target->enter;
	}
	if (aux->charge || (aux->flags & AUX_CHECK))
		aux->owed -= aux->charge;
	if (block->fall == NO_BLOCK)
		return;
	if (!debts[block->fall].known) {
		debts[block->fall].known = true;
		debts[block->fall].enter = debt->fall;
	}
	aux->fall = debt->fall - debts[block->fall].enter;
}

int plan_fuel(struct bpfvm_prog *prog)
{
	struct debt *debts = calloc(prog->nr_blocks, sizeof(*debts));

	if (!debts)
		return -ENOMEM;
	for (uint32_t b = 0; b < prog->nr_blocks; b++) {
		/* Reached by nothing before it: then no debt is handed on. */
		debts[b].known = true;
		plan_block(prog, debts, b);
	}
	free(debts);
	return 0;
}
