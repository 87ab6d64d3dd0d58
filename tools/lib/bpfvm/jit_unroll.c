// SPDX-License-Identifier: GPL-2.0
/*
 * Small loops, several rounds at a time.
 *
 * In front of the loop stands a copy of a few rounds that do less: if there is
 * fuel for all of them, it need not be looked at after each; and if an access
 * whose address moves by the same amount in every round is inside of its memory
 * in the first and in the last of them, it is inside in those between, and need
 * not be checked in any. If either is not so, the loop itself runs, one round,
 * and that charges, checks and faults as ever. So what a run does, where it
 * faults and what it retires are the same as without the copy.
 */
#include <errno.h>
#include <stdlib.h>

#include "jit.h"

/* Longer loops gain little. */
#define SHORT_LOOP	12
#define LONG_LOOP	32
/* Blocks that are looked at to find a short way through a loop. */
#define MAX_SEARCH	64
/* Addresses that move further, or are further off, are left to the checks. */
#define MAX_ADVANCE	65536
#define MAX_DISP	(1 << 20)

/* What a register holds, over the registers at the beginning of the round. */
struct expression {
	bool ok;
	uint8_t base;
	uint8_t index;
	uint8_t scale;
	int64_t disp;
};

/**
 * struct round - what one round does to the registers
 * @written:   those that it writes
 * @steps:     those of them that are written once a round, by adding @step
 * @in_header: that happens in the header
 */
struct round {
	uint16_t written;
	uint16_t steps;
	uint16_t in_header;
	int64_t step[11];
};

int block_in_loop(const struct loop *loop, uint32_t b)
{
	for (uint32_t i = 0; i < loop->nr; i++)
		if (loop->blocks[i] == b)
			return i;
	return -1;
}

bool is_hoisted(const struct jit_state *j, uint32_t pc)
{
	for (uint32_t i = 0; j->loop && i < j->loop->nr_hoisted; i++)
		if (j->loop->hoisted[i].pc == pc)
			return true;
	return false;
}

static bool goes_back(const struct bpfvm_prog *prog, uint32_t b, uint32_t to)
{
	return to != NO_BLOCK && prog->blocks[to].order <= prog->blocks[b].order;
}

/* Collect what leads to the latch without passing the header again. */
static bool collect(const struct jit_state *j, struct loop *loop)
{
	const struct bpfvm_prog *prog = j->prog;
	uint32_t entry = prog->funcs[prog->blocks[loop->latch].func].first_block;
	uint32_t insns = 0;

	loop->nr = 1;
	loop->blocks[0] = loop->latch;
	for (uint32_t i = 0; i < loop->nr; i++) {
		uint32_t b = loop->blocks[i];

		insns += prog->blocks[b].nr;
		if (b == loop->header)
			continue;
		/* There is a way in beside the header. */
		if (b == entry)
			return false;
		for (uint32_t k = j->prog->pred_at[b]; k < j->prog->pred_at[b + 1]; k++) {
			if (block_in_loop(loop, j->prog->preds[k]) >= 0)
				continue;
			if (loop->nr == MAX_LOOP_BLOCKS)
				return false;
			loop->blocks[loop->nr++] = j->prog->preds[k];
		}
	}
	loop->rounds = insns <= SHORT_LOOP ? MAX_ROUNDS : 2;
	return insns <= LONG_LOOP && block_in_loop(loop, loop->header) >= 0;
}

/* A block that is found on the way back from the latch, and where it leads. */
struct step {
	uint32_t block;
	uint32_t next;
};

/* The rest of a conditional move belongs to the block before it. */
static bool add_selects(const struct jit_state *j, struct loop *loop)
{
	uint32_t nr = loop->nr;

	for (uint32_t i = 0; i < nr; i++) {
		uint32_t fall = j->prog->blocks[loop->blocks[i]].fall;

		if (fall == NO_BLOCK || !j->skipped[fall])
			continue;
		if (loop->nr == MAX_LOOP_BLOCKS)
			return false;
		loop->blocks[loop->nr++] = fall;
	}
	return true;
}

/*
 * Of a loop that is too long, the shortest way through: that is the one of what
 * is not looked for. Other ways leave the copy.
 */
static bool find_way(const struct jit_state *j, struct loop *loop)
{
	const struct bpfvm_prog *prog = j->prog;
	struct step steps[MAX_SEARCH] = { { loop->latch, 0 } };
	uint32_t nr = 1, at = 0, insns = 0;

	for (; at < nr && steps[at].block != loop->header; at++) {
		uint32_t b = steps[at].block;

		for (uint32_t k = j->prog->pred_at[b];
		     k < j->prog->pred_at[b + 1] && nr < MAX_SEARCH; k++) {
			uint32_t pred = j->prog->preds[k];

			if (!j->skipped[pred] &&
			    prog->blocks[pred].order < prog->blocks[b].order)
				steps[nr++] = (struct step){ pred, at };
		}
	}
	if (at == nr)
		return false;
	loop->nr = 0;
	for (;; at = steps[at].next) {
		if (loop->nr == MAX_LOOP_BLOCKS)
			return false;
		insns += prog->blocks[steps[at].block].nr;
		loop->blocks[loop->nr++] = steps[at].block;
		if (steps[at].block == loop->latch)
			break;
	}
	loop->rounds = insns <= SHORT_LOOP ? MAX_ROUNDS : 2;
	return insns <= LONG_LOOP && add_selects(j, loop);
}

/* All is reached, only the latch charges, nothing is called, no loop is inside. */
static bool suits(const struct jit_state *j, const struct loop *loop)
{
	const struct bpfvm_prog *prog = j->prog;

	for (uint32_t i = 0; i < loop->nr; i++) {
		uint32_t b = loop->blocks[i];
		const struct block *block = &prog->blocks[b];
		const struct insn_aux *last = &prog->aux[block->last];

		for (uint32_t pc = block->start; pc <= block->last; pc++) {
			if (!(prog->aux[pc].flags & AUX_REACHED) ||
			    prog->insns[pc].code == CODE_CALL ||
			    prog->insns[pc].code == CODE_CALLX)
				return false;
			if (prog->insns[pc].code == CODE_LD_IMM64)
				pc++;
		}
		if (b != loop->header && j->heads[b])
			return false;
		if (b == loop->latch)
			continue;
		if (last->charge || last->fall || last->flags & AUX_CHECK ||
		    goes_back(prog, b, block->fall) ||
		    goes_back(prog, b, block->taken))
			return false;
	}
	return true;
}

static bool find_charge(const struct jit_state *j, struct loop *loop)
{
	const struct block *latch = &j->prog->blocks[loop->latch];
	const struct insn_aux *aux = &j->prog->aux[latch->last];

	if (latch->fall == latch->taken || aux->charge < 0 || aux->fall < 0)
		return false;
	loop->charge = aux->charge;
	if (latch->fall == loop->header)
		loop->charge += aux->fall;
	return loop->charge > 0 && loop->charge < 1 << 16;
}

/* In the order of execution; there are only a few. */
static void sort_blocks(const struct bpfvm_prog *prog, struct loop *loop)
{
	for (uint32_t i = 1; i < loop->nr; i++) {
		uint32_t b = loop->blocks[i], k = i;

		while (k && prog->blocks[loop->blocks[k - 1]].order >
			    prog->blocks[b].order) {
			loop->blocks[k] = loop->blocks[k - 1];
			k--;
		}
		loop->blocks[k] = b;
	}
}

/* What the instruction adds to its destination, if that is all it does. */
static bool adds(const struct bpfvm_prog *prog, uint32_t pc, int64_t *amount)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];
	uint8_t op = INSN_OP(insn->code);

	if (!insn_is_alu(insn->code) || INSN_IS_REG(insn->code) ||
	    (op != OP_ADD && op != OP_SUB) ||
	    (INSN_CLASS(insn->code) == CLS_ALU &&
	     !(prog->aux[pc].flags & AUX_WIDE)))
		return false;
	*amount = op == OP_ADD ? insn->imm : -(int64_t)insn->imm;
	return true;
}

static void measure_round(const struct jit_state *j, const struct loop *loop,
			  struct round *round)
{
	const struct bpfvm_prog *prog = j->prog;

	*round = (struct round){ 0 };
	for (uint32_t i = 0; i < loop->nr; i++) {
		uint32_t b = loop->blocks[i];
		const struct block *block = &prog->blocks[b];

		for (uint32_t pc = block->start; pc <= block->last; pc++) {
			uint16_t writes = insn_writes(&prog->insns[pc]);
			uint8_t dst = insn_dst(&prog->insns[pc]);

			/* What was written before is not written once. */
			round->steps &= ~writes;
			if (writes && !(round->written & writes) &&
			    (b == loop->header || b == loop->latch) &&
			    adds(prog, pc, &round->step[dst])) {
				round->steps |= BIT(dst);
				if (b == loop->header)
					round->in_header |= BIT(dst);
			}
			round->written |= writes;
			if (prog->insns[pc].code == CODE_LD_IMM64)
				pc++;
		}
	}
}

/* What the registers hold where block @b begins. */
static void begin_block(const struct loop *loop, const struct round *round,
			uint32_t b, struct expression regs[11])
{
	for (uint8_t r = 0; r < 11; r++) {
		regs[r] = (struct expression){ true, r, NO_REG, 0, 0 };
		if (!(round->written & BIT(r)))
			continue;
		regs[r].ok = round->steps & BIT(r);
		if (b != loop->header && round->in_header & BIT(r))
			regs[r].disp = round->step[r];
	}
}

static void add_expression(struct expression *a, const struct expression *b)
{
	a->ok = a->ok && b->ok && a->index == NO_REG &&
		(b->base == NO_REG || b->index == NO_REG);
	a->index = b->base == NO_REG ? b->index : b->base;
	a->scale = b->base == NO_REG ? b->scale : 0;
	a->disp += b->disp;
}

static void follow(const struct bpfvm_prog *prog, uint32_t pc,
		   struct expression regs[11])
{
	const struct bpfvm_insn *insn = &prog->insns[pc];
	struct expression *dst = &regs[insn_dst(insn)];
	const struct expression *src = &regs[insn_src(insn) % 11];
	bool wide = INSN_CLASS(insn->code) == CLS_ALU64 ||
		    prog->aux[pc].flags & AUX_WIDE;
	uint16_t writes = insn_writes(insn);
	int64_t amount;

	if (adds(prog, pc, &amount)) {
		dst->disp += amount;
	} else if (insn_is_alu(insn->code) && wide &&
		   INSN_OP(insn->code) == OP_MOV &&
		   INSN_IS_REG(insn->code) && !insn->off) {
		*dst = *src;
	} else if (insn_is_alu(insn->code) && wide &&
		   INSN_OP(insn->code) == OP_ADD && dst != src) {
		add_expression(dst, src);
	} else if (insn_is_alu(insn->code) && wide &&
		   INSN_OP(insn->code) == OP_LSH && !INSN_IS_REG(insn->code) &&
		   insn->imm >= 1 && insn->imm <= 3 && dst->index == NO_REG &&
		   !dst->disp) {
		dst->index = dst->base;
		dst->base = NO_REG;
		dst->scale = insn->imm;
	} else {
		for (uint8_t r = 0; r < 11; r++)
			if (writes & BIT(r))
				regs[r].ok = false;
	}
}

static int64_t advance_of(const struct round *round, uint8_t reg)
{
	return reg != NO_REG && round->steps & BIT(reg) ? round->step[reg] : 0;
}

/* Take the check of the access out of the rounds, if it can be. */
static void hoist(const struct jit_state *j, struct loop *loop,
		  const struct round *round, uint32_t pc,
		  const struct expression regs[11])
{
	const struct bpfvm_insn *insn = &j->prog->insns[pc];
	const struct insn_aux *aux = &j->prog->aux[pc];
	const struct expression *e =
		&regs[INSN_CLASS(insn->code) == CLS_LDX ? insn_src(insn) :
							  insn_dst(insn)];
	int64_t disp = e->disp + insn->off;
	int64_t advance;

	if (!insn_is_access(insn->code) || insn_is_atomic(insn->code) ||
	    aux->flags & AUX_PROVED || aux->region == REGION_ANY ||
	    aux->region == REGION_MEM || !e->ok ||
	    loop->nr_hoisted == MAX_HOISTED)
		return;
	advance = advance_of(round, e->base) +
		  advance_of(round, e->index) * (1 << e->scale);
	if (disp > MAX_DISP || disp < -MAX_DISP || advance > MAX_ADVANCE ||
	    advance < -MAX_ADVANCE)
		return;
	loop->hoisted[loop->nr_hoisted++] = (struct hoisted){
		.pc = pc, .base = e->base, .index = e->index,
		.scale = e->scale, .disp = disp, .advance = advance,
	};
}

static void hoist_checks(const struct jit_state *j, struct loop *loop)
{
	const struct bpfvm_prog *prog = j->prog;
	struct expression regs[11];
	struct round round;

	loop->nr_hoisted = 0;
	measure_round(j, loop, &round);
	for (uint32_t i = 0; i < loop->nr; i++) {
		const struct block *block = &prog->blocks[loop->blocks[i]];

		begin_block(loop, &round, loop->blocks[i], regs);
		for (uint32_t pc = block->start; pc <= block->last; pc++) {
			hoist(j, loop, &round, pc, regs);
			follow(prog, pc, regs);
			if (prog->insns[pc].code == CODE_LD_IMM64)
				pc++;
		}
	}
}

static int add_loop(struct jit_state *j, const struct loop *loop)
{
	if (j->nr_loops == j->room_loops) {
		uint32_t room = j->room_loops ? j->room_loops * 2 : 8;
		void *more = realloc(j->loops, room * sizeof(*j->loops));

		if (!more)
			return -ENOMEM;
		j->loops = more;
		j->room_loops = room;
	}
	j->loops[j->nr_loops++] = *loop;
	return 0;
}

static int compare_header(const void *a, const void *b)
{
	uint32_t x = ((const struct loop *)a)->header;
	uint32_t y = ((const struct loop *)b)->header;

	return (x > y) - (x < y);
}

static void find_heads(struct jit_state *j)
{
	const struct bpfvm_prog *prog = j->prog;

	for (uint32_t b = 0; b < prog->nr_blocks; b++) {
		const struct block *block = &prog->blocks[b];

		if (goes_back(prog, b, block->taken))
			j->heads[block->taken] = 1;
		if (goes_back(prog, b, block->fall))
			j->heads[block->fall] = 1;
	}
}

int find_loops(struct jit_state *j)
{
	const struct bpfvm_prog *prog = j->prog;
	struct loop loop;
	int err = 0;

	find_heads(j);
	for (uint32_t b = 0; b < prog->nr_blocks && !err; b++) {
		const struct block *block = &prog->blocks[b];

		if (!(prog->aux[block->last].flags & AUX_REACHED) ||
		    j->skipped[b])
			continue;
		loop.latch = b;
		loop.header = goes_back(prog, b, block->taken) ? block->taken :
								 block->fall;
		if (!goes_back(prog, b, loop.header) ||
		    !find_charge(j, &loop))
			continue;
		if (!(collect(j, &loop) && suits(j, &loop)) &&
		    !(find_way(j, &loop) && suits(j, &loop)))
			continue;
		sort_blocks(prog, &loop);
		hoist_checks(j, &loop);
		j->prog->info.hoisted += loop.nr_hoisted;
		err = add_loop(j, &loop);
	}
	if (j->nr_loops)
		qsort(j->loops, j->nr_loops, sizeof(*j->loops), compare_header);
	return err;
}

struct loop *loop_at(struct jit_state *j, uint32_t header)
{
	const struct loop key = { .header = header };

	if (!j->nr_loops)
		return NULL;
	return bsearch(&key, j->loops, j->nr_loops, sizeof(*j->loops),
		       compare_header);
}

/* Jumps to the loop itself, whose place is not known yet. */
struct exits {
	uint32_t nr;
	uint32_t from[1 + 2 * MAX_HOISTED];
};

static void exit_if(struct jit_state *j, struct exits *exits, uint8_t cc)
{
	x_byte(&j->code, 0x0f);
	x_byte(&j->code, 0x80 | cc);
	x_u32(&j->code, 0);
	exits->from[exits->nr++] = j->code.len;
}

static uint8_t host(uint8_t reg)
{
	return reg == NO_REG ? NO_REG : jit_reg[reg];
}

static void check_hoisted(struct jit_state *j, const struct loop *loop,
			  const struct hoisted *h, struct exits *exits)
{
	const struct insn_aux *aux = &j->prog->aux[h->pc];
	uint32_t size = insn_bytes(j->prog->insns[h->pc].code);
	struct ea ea = { host(h->base), host(h->index), h->scale, h->disp };

	exit_if(j, exits, compare_bounds(j, aux, ea, size));
	if (!h->advance)
		return;
	ea.disp += h->advance * (int32_t)(loop->rounds - 1);
	exit_if(j, exits, compare_bounds(j, aux, ea, size));
}

static void jit_round(struct jit_state *j, struct loop *loop, uint32_t round)
{
	uint32_t i = 0, emitted = 0;

	j->round = round;
	j->unpaid = round * loop->charge;
	while (i < loop->nr) {
		uint32_t k = i + 1, next, b;

		while (k < loop->nr && j->skipped[loop->blocks[k]])
			k++;
		next = k < loop->nr ? loop->blocks[k] : loop->header;
		loop->addr[round][i] = j->code.len;
		know_nothing(&j->known);
		b = jit_block(j, loop->blocks[i], next);
		emitted++;
		/* Where nothing else arrives, values can stay put off. */
		if (k < loop->nr || emitted > 1)
			settle_all(j, j->live_in[b]);
		if (b != next)
			jit_leave(j, b);
		i = k;
	}
}

void jit_rounds(struct jit_state *j, struct loop *loop)
{
	struct code *c = &j->code;
	int32_t charge = loop->rounds * loop->charge;
	uint32_t top = c->len;
	struct exits exits = { 0 };

	x_alu_imm(c, true, X_CMP, FUEL, charge);
	exit_if(j, &exits, CC_L);
	for (uint32_t i = 0; i < loop->nr_hoisted; i++)
		check_hoisted(j, loop, &loop->hoisted[i], &exits);
	j->copying = true;
	j->loop = loop;
	for (uint32_t r = 0; r < loop->rounds; r++)
		jit_round(j, loop, r);
	j->copying = false;
	j->loop = NULL;
	j->unpaid = 0;
	settle_all(j, j->live_in[loop->header]);
	x_alu_imm(c, true, X_SUB, FUEL, charge);
	x_byte(c, 0xe9);
	x_u32(c, top - (c->len + 4));
	for (uint32_t i = 0; i < exits.nr; i++) {
		uint32_t distance = c->len - exits.from[i];

		if (c->at)
			memcpy(c->at + exits.from[i] - 4, &distance, 4);
	}
	know_nothing(&j->known);
}
