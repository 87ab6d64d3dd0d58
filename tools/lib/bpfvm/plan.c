// SPDX-License-Identifier: GPL-2.0
/*
 * Where fuel is charged, and how much.
 *
 * Each block has a debt: the instructions that are not paid for when it is
 * entered. A block hands its debt and its own length on to the blocks after it.
 * Where edges with different debts meet, the largest counts: what a branch
 * skipped is charged as if it had been executed, unless that is more than
 * SLACK instructions, which are given back. So a branch inside of a loop costs
 * nothing at run time. Jumps back, which every cycle has one of, are charged and
 * are where it is looked at what is left; so are calls.
 *
 * The charge of a jump is made before it and is the same in both directions, so
 * that a taken jump never needs code of its own.
 */
#include <errno.h>
#include <stdlib.h>

#include "internal.h"

/* More than this is not charged for instructions that are skipped. */
#define SLACK	8

struct planner {
	struct bpfvm_prog *prog;
	int32_t *debt;		/* per block: when it is entered */
	uint32_t *order;	/* per block: in reverse postorder of its function */
	uint32_t *sequence;
	uint32_t nr;		/* blocks in sequence */
};

static bool settles(const struct bpfvm_insn *insn)
{
	return insn->code == CODE_EXIT || insn->code == CODE_CALLX ||
	       (insn->code == CODE_CALL &&
		(insn_src(insn) == CALL_LOCAL ||
		 insn->imm == BPFVM_HELPER_LOOP));
}

/* Number the blocks that can be reached from the beginning of a function. */
static int number_blocks(struct planner *p, const struct func *func)
{
	uint32_t *stack = malloc(func->nr_blocks * sizeof(*stack));
	uint8_t *at = calloc(func->nr_blocks, 1);
	uint32_t depth = 0, left = func->nr_blocks;

	if (!stack || !at) {
		free(stack);
		free(at);
		return -ENOMEM;
	}
	stack[depth++] = func->first_block;
	while (depth) {
		uint32_t b = stack[depth - 1];
		uint8_t *state = &at[b - func->first_block];
		const struct block *block = &p->prog->blocks[b];
		uint32_t next;

		if (*state == 2) {
			p->order[b] = --left;
			p->sequence[left] = b;
			depth--;
			continue;
		}
		next = *state ? block->fall : block->taken;
		++*state;
		if (next != NO_BLOCK && !at[next - func->first_block])
			stack[depth++] = next;
	}
	p->nr = func->nr_blocks - left;
	for (uint32_t i = 0; i < p->nr; i++)
		p->sequence[i] = p->sequence[left + i];
	free(stack);
	free(at);
	return 0;
}

static bool goes_back(const struct planner *p, uint32_t b, uint32_t to)
{
	return to != NO_BLOCK && p->order[to] <= p->order[b];
}

/* Hand a debt on. */
static void hand_on(const struct planner *p, uint32_t b, uint32_t to,
		    int32_t debt)
{
	if (to != NO_BLOCK && !goes_back(p, b, to) && debt > p->debt[to])
		p->debt[to] = debt;
}

/* The debt after the charge that the end of a block makes, for either way. */
static int32_t charge_end(struct planner *p, uint32_t b, bool write)
{
	const struct bpfvm_prog *prog = p->prog;
	const struct block *block = &prog->blocks[b];
	struct insn_aux *aux = &prog->aux[block->last];
	int32_t owed = p->debt[b] + block->nr;
	int32_t charge = 0;

	if (settles(&prog->insns[block->last]))
		charge = owed;
	else if (goes_back(p, b, block->taken))
		charge = owed - p->debt[block->taken];
	else if (goes_back(p, b, block->fall))
		charge = owed - p->debt[block->fall];
	else if (write && block->taken != NO_BLOCK &&
		 p->debt[block->taken] - owed > SLACK)
		charge = owed - p->debt[block->taken];
	if (!write)
		return owed - charge;
	aux->charge = charge;
	if (goes_back(p, b, block->taken) || goes_back(p, b, block->fall) ||
	    (settles(&prog->insns[block->last]) && block->fall != NO_BLOCK))
		aux->flags |= AUX_CHECK;
	return owed - charge;
}

static void plan_block(struct planner *p, uint32_t b)
{
	const struct bpfvm_prog *prog = p->prog;
	const struct block *block = &prog->blocks[b];
	int32_t owed = p->debt[b];
	int32_t left = charge_end(p, b, true);
	struct insn_aux *aux = &prog->aux[block->last];

	for (uint32_t pc = block->start; pc <= block->last; pc++) {
		prog->aux[pc].owed = owed++;
		if (prog->insns[pc].code == CODE_LD_IMM64)
			pc++;
	}
	aux->owed -= aux->charge;
	if (block->fall == NO_BLOCK)
		return;
	aux->fall = left - p->debt[block->fall];
	if (aux->fall < 0 && aux->fall >= -SLACK &&
	    !goes_back(p, b, block->fall))
		aux->fall = 0;
}

static int plan_func(struct planner *p, const struct func *func)
{
	int err = number_blocks(p, func);

	if (err)
		return err;
	for (uint32_t i = 0; i < p->nr; i++) {
		uint32_t b = p->sequence[i];
		const struct block *block = &p->prog->blocks[b];
		int32_t left = charge_end(p, b, false);

		hand_on(p, b, block->taken, left);
		hand_on(p, b, block->fall, left);
	}
	for (uint32_t i = 0; i < p->nr; i++)
		plan_block(p, p->sequence[i]);
	return 0;
}

int plan_fuel(struct bpfvm_prog *prog)
{
	struct planner p = { .prog = prog };
	int err = -ENOMEM;

	p.debt = calloc(prog->nr_blocks, sizeof(*p.debt));
	p.order = calloc(prog->nr_blocks, sizeof(*p.order));
	p.sequence = calloc(prog->nr_blocks, sizeof(*p.sequence));
	if (p.debt && p.order && p.sequence)
		err = 0;
	for (uint32_t f = 0; f < prog->nr_funcs && !err; f++)
		err = plan_func(&p, &prog->funcs[f]);
	free(p.debt);
	free(p.order);
	free(p.sequence);
	return err;
}
