// SPDX-License-Identifier: GPL-2.0
/*
 * Where fuel is charged, and how much.
 *
 * Each block has a debt: the instructions that are not paid for when it is
 * entered. A block hands its debt and its own length on to the blocks after it.
 * Where edges with different debts meet, the largest counts, so that what a
 * branch skipped is charged as if it had been executed; but only up to SLACK
 * instructions: an edge that brings more pays for what is over. So a branch
 * inside of a loop mostly costs nothing at run time. Jumps back, of which every
 * cycle has one, are charged and are where it is looked at what is left; so are
 * calls.
 *
 * The charge of a jump is made before it and is the same in both directions, so
 * that a taken jump never needs code of its own.
 */
#include <errno.h>
#include <stdlib.h>

#include "internal.h"

/* What may be charged for instructions that are skipped where ways meet. */
#define SLACK	8
/* More is given back. */
#define TOO_MUCH	16

#define UNDECIDED	INT32_MIN

struct planner {
	struct bpfvm_prog *prog;
	int32_t *most;		/* per block: debt when it is entered, at most */
	int32_t *debt;		/* and what is decided, or UNDECIDED */
	uint8_t *ways;		/* per block: edges to it, 2 for more */
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
			p->prog->blocks[b].order = --left;
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
	return to != NO_BLOCK &&
	       p->prog->blocks[to].order <= p->prog->blocks[b].order;
}

/* First pass: nothing is charged but where it has to be. */
static void hand_on(struct planner *p, uint32_t b, uint32_t to, int32_t debt)
{
	if (to == NO_BLOCK)
		return;
	if (p->ways[to] < 2)
		p->ways[to]++;
	if (!goes_back(p, b, to) && debt > p->most[to])
		p->most[to] = debt;
}

static void measure_block(struct planner *p, uint32_t b)
{
	const struct block *block = &p->prog->blocks[b];
	int32_t owed = p->most[b] + block->nr;

	if (settles(&p->prog->insns[block->last]))
		owed = 0;
	else if (goes_back(p, b, block->taken))
		owed = p->most[block->taken];
	else if (goes_back(p, b, block->fall))
		owed = p->most[block->fall];
	hand_on(p, b, block->taken, owed);
	hand_on(p, b, block->fall, owed);
}

/* What is to be paid on the way from @b, which owes @owed, to @to. */
static int32_t pay(struct planner *p, uint32_t b, uint32_t to, int32_t owed)
{
	int32_t *debt = &p->debt[to];
	int32_t over;

	if (*debt == UNDECIDED) {
		*debt = owed;
		if (p->ways[to] > 1 && p->most[to] > owed)
			*debt = p->most[to] < owed + SLACK ? p->most[to] :
							     owed + SLACK;
	}
	over = owed - *debt;
	if (goes_back(p, b, to) || over > 0 || over < -TOO_MUCH)
		return over;
	return 0;
}

/* The block is left when it owes @owed: charge for the ways out of it. */
static void plan_end(struct planner *p, uint32_t b,
		     const struct bpfvm_insn *last, struct insn_aux *aux,
		     int32_t owed)
{
	const struct block *block = &p->prog->blocks[b];
	bool falls_back = goes_back(p, b, block->fall);

	if (settles(last))
		aux->charge = owed;
	else if (block->taken == NO_BLOCK && falls_back)
		aux->charge = pay(p, b, block->fall, owed);
	else if (falls_back && p->ways[block->taken] < 2)
		/* The other way takes over what this one leaves. */
		aux->charge = pay(p, b, block->fall, owed);
	if (falls_back && block->taken != NO_BLOCK)
		aux->charge += pay(p, b, block->taken, owed - aux->charge);
	else if (block->taken != NO_BLOCK)
		aux->charge = pay(p, b, block->taken, owed);
	if (block->fall != NO_BLOCK)
		aux->fall = pay(p, b, block->fall, owed - aux->charge);
}

static void plan_block(struct planner *p, uint32_t b)
{
	const struct bpfvm_prog *prog = p->prog;
	const struct block *block = &prog->blocks[b];
	const struct bpfvm_insn *last = &prog->insns[block->last];
	struct insn_aux *aux = &prog->aux[block->last];
	int32_t owed = p->debt[b];

	for (uint32_t pc = block->start; pc <= block->last; pc++) {
		prog->aux[pc].owed = owed++;
		if (prog->insns[pc].code == CODE_LD_IMM64)
			pc++;
	}
	plan_end(p, b, last, aux, owed);
	if (goes_back(p, b, block->taken) || goes_back(p, b, block->fall) ||
	    (settles(last) && block->fall != NO_BLOCK))
		aux->flags |= AUX_CHECK;
	aux->owed -= aux->charge;
}

static int plan_func(struct planner *p, const struct func *func)
{
	int err = number_blocks(p, func);

	if (err)
		return err;
	for (uint32_t i = 0; i < p->nr; i++)
		measure_block(p, p->sequence[i]);
	p->debt[func->first_block] = 0;
	for (uint32_t i = 0; i < p->nr; i++)
		plan_block(p, p->sequence[i]);
	return 0;
}

int plan_fuel(struct bpfvm_prog *prog)
{
	struct planner p = { .prog = prog };
	int err = -ENOMEM;

	p.most = calloc(prog->nr_blocks, sizeof(*p.most));
	p.debt = malloc(prog->nr_blocks * sizeof(*p.debt));
	p.ways = calloc(prog->nr_blocks, 1);
	p.sequence = calloc(prog->nr_blocks, sizeof(*p.sequence));
	if (p.most && p.debt && p.ways && p.sequence)
		err = 0;
	for (uint32_t b = 0; b < prog->nr_blocks && !err; b++)
		p.debt[b] = UNDECIDED;
	for (uint32_t f = 0; f < prog->nr_funcs && !err; f++)
		err = plan_func(&p, &prog->funcs[f]);
	free(p.most);
	free(p.debt);
	free(p.ways);
	free(p.sequence);
	return err;
}
