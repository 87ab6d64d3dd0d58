// SPDX-License-Identifier: GPL-2.0
/*
 * The walk over a program that finds, for every place, a state that holds for
 * all ways to get there.
 *
 * Calls are followed as if the callee were there in place of the call, so that
 * each call of a function is judged with its own arguments: a node is a block
 * of an instance of a function. The walk goes up to states that hold (where
 * loops join, bounds are widened in steps, so that it ends), then takes a step
 * down to get back what widening gave away, and last goes over the
 * whole program once more. That last pass checks that the states hold, refuses
 * what is wrong, and writes down what the engines use; nothing depends on how
 * the states were found.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "walk.h"

/* Limits of what one program may cost. */
#define MAX_WORK(nr)	(2000000 + 200 * (uint64_t)(nr))
#define MAX_BYTES(nr)	((16U << 20) + 4096 * (size_t)(nr))
/* Joins at a place before bounds are widened. */
#define PATIENCE	1
/* Times that a loop is begun anew because more is known to enter it. */
#define MAX_RESTARTS	16
/* Times that a state is replaced, which need not come to an end, not joined. */
#define MAX_FOLLOWED	32
/*
 * Joins before they are widened without looking where to stop: at first, and if
 * that leaves accesses to be checked at run time.
 */
#define HASTY		1
#define THOROUGH	8
/* Times that states which do not hold are joined further; thorough: twice. */
#define MAX_REPAIRS	16

/* Remember @st for a node. Returns 1, -ENOMEM, or -E2BIG. */
static int keep_state(struct walk *w, struct state **into,
		      const struct state *st)
{
	size_t before = *into ? state_bytes(*into) : 0;

	if (!*into)
		*into = state_new(&w->pool, st->depth);
	if (!*into || !state_copy(*into, st))
		return -ENOMEM;
	w->bytes += state_bytes(*into) - before;
	return w->bytes > MAX_BYTES(w->v.prog->nr) ? too_complex(w) : 1;
}

/* Join @st into *@into. Returns 1 if that made it say less, or an error. */
static int join_into(struct walk *w, struct state **into,
		     const struct state *st)
{
	if (*into)
		return state_join(&w->v.j, *into, st);
	return keep_state(w, into, st);
}

static void mark_dirty(struct walk *w, struct node *node)
{
	node->dirty = true;
	if (node->order < w->lowest)
		w->lowest = node->order;
}

/*
 * There is one way to @node, from a node before it: what is known there is what
 * arrives. It need not be kept when it was gone on from, and most of the nodes of
 * a long program are like that.
 */
static bool has_one_way(const struct node *node)
{
	return node->ways == 1 && node->order && !node->head;
}

static int follow_only_way(struct walk *w, struct node *to,
			   const struct state *st)
{
	int err = keep_state(w, &to->in, st);

	if (err < 0)
		return err;
	to->joins++;
	mark_dirty(w, to);
	return 0;
}

/*
 * More is known to enter a loop from outside: begin anew with it. What earlier
 * rounds brought was of an earlier entry, and what the loop does not change
 * would be widened with the rest if they were joined.
 */
static int restart_loop(struct walk *w, struct node *to,
			const struct state *st)
{
	int lost = join_into(w, &to->next, st);

	if (lost <= 0)
		return lost;
	lost = keep_state(w, &to->in, to->next);
	if (lost < 0)
		return lost;
	to->restarts++;
	to->joins = 0;
	mark_dirty(w, to);
	return 0;
}

static int arrive_up(struct walk *w, struct node *to, const struct state *st,
		     bool back)
{
	int lost;

	if (has_one_way(to) && to->joins < MAX_FOLLOWED)
		return follow_only_way(w, to, st);
	if (to->head && !back && to->restarts < MAX_RESTARTS)
		return restart_loop(w, to, st);
	w->v.j.widen = to->head && to->joins >= PATIENCE;
	w->v.j.nr_limits = to->joins < w->forbearance ? w->nr_limits : 0;
	w->widened |= w->v.j.widen;
	lost = join_into(w, &to->in, st);
	w->v.j.widen = false;
	if (lost > 0) {
		to->joins++;
		mark_dirty(w, to);
	}
	return lost < 0 ? lost : 0;
}

/* Does what arrives follow from what is believed there? */
static int arrive_finish(struct walk *w, struct node *to,
			 const struct state *st)
{
	int lost;

	if (!to->in && has_one_way(to)) {
		lost = keep_state(w, &to->in, st);
		return lost < 0 ? lost : 0;
	}
	if (!to->in) {
		w->holds = false;
		return 0;
	}
	if (state_same(to->in, st))
		return 0;
	if (!state_copy(w->scratch, to->in))
		return -ENOMEM;
	lost = state_join(&w->v.j, w->scratch, st);
	if (lost > 0)
		w->holds = false;
	return lost < 0 ? lost : 0;
}

/* What is not read any more need not be known. */
static void forget_dead(const struct walk *w, const struct node *node,
			struct state *st)
{
	uint16_t live = w->v.prog->live_in[node->block];

	for (unsigned int r = 0; r < NR_REGS - 1; r++)
		if (!(live & BIT(r)))
			st->r[r].type = VAL_NONE;
}

/* @st, which is lost, holds when node @n is left for node @target. */
static int arrive(struct walk *w, uint32_t n, uint32_t target,
		  struct state *st)
{
	struct node *to = &w->nodes[target];
	bool back = to->order <= w->nodes[n].order;
	int lost = 0;

	forget_dead(w, to, st);
	switch (w->phase) {
	case GO_UP:
		return arrive_up(w, to, st, back);
	case COLLECT:
	case GO_DOWN:
		if (back)
			lost = join_into(w, &to->back, st);
		else if (w->phase == GO_DOWN)
			lost = join_into(w, &to->next, st);
		return lost < 0 ? lost : 0;
	default:
		return arrive_finish(w, to, st);
	}
}

static int leave_call(struct walk *w, uint32_t n, uint32_t pc)
{
	struct node *node = &w->nodes[n];
	struct bpfvm_prog *prog = w->v.prog;
	bool loop = is_loop_call(&prog->insns[pc]);
	int err = loop ? check_loop(&w->v, w->now, pc) : 0;
	int64_t target;

	if (err)
		return err;
	target = call_target(&w->v, w->now, pc);
	if (target < 0)
		return target;
	if (node->child == NO_NODE) {
		w->v.targets[pc] = target + 1;
		w->v.learnt = true;
		return 0;
	}
	if (target != prog->funcs[w->instances[node->child].func].start)
		return complain(&w->v, pc, "more than one function may be called here");
	if (w->phase == FINISH)
		prog->aux[pc].where = target;
	if (loop) {
		if (!state_copy(w->other, w->now))
			return -ENOMEM;
		finish_loop(w->other);
		err = arrive(w, n, node_of(w, node->instance,
					   prog->blocks[node->block].fall),
			     w->other);
		if (err)
			return err;
	}
	enter_function(w->now);
	if (loop)
		enter_callback(w->now);
	return arrive(w, n, w->instances[node->child].first, w->now);
}

static int leave_exit(struct walk *w, uint32_t n, uint32_t pc)
{
	const struct instance *instance = &w->instances[w->nodes[n].instance];
	const struct node *call;
	int err = check_exit(&w->v, w->now, pc, instance->loop);

	if (err || instance->call == NO_NODE)
		return err;
	call = &w->nodes[instance->call];
	if (instance->loop) {
		/* Before now leaves: what was saved is of the running frame. */
		if (!state_copy(w->other, w->now))
			return -ENOMEM;
		leave_function(w->other);
		repeat_callback(w->other);
		err = arrive(w, n, instance->first, w->other);
		if (err)
			return err;
	}
	leave_function(w->now);
	if (instance->loop)
		finish_loop(w->now);
	return arrive(w, n, node_of(w, call->instance,
				    w->v.prog->blocks[call->block].fall),
		      w->now);
}

static int leave_branch(struct walk *w, uint32_t n, uint32_t pc)
{
	const struct node *node = &w->nodes[n];
	const struct block *block = &w->v.prog->blocks[node->block];
	bool taken, falls;
	int err = step_branch(&w->v, w->now, w->other, pc, &taken, &falls);

	if (!err && taken)
		err = arrive(w, n, node_of(w, node->instance, block->taken),
			     w->other);
	if (!err && falls)
		err = arrive(w, n, node_of(w, node->instance, block->fall),
			     w->now);
	return err;
}

/* The end of a block. */
static int leave(struct walk *w, uint32_t n, uint32_t pc)
{
	const struct node *node = &w->nodes[n];
	const struct bpfvm_insn *insn = &w->v.prog->insns[pc];
	const struct block *block = &w->v.prog->blocks[node->block];
	int err;

	if (insn->code == CODE_EXIT)
		return leave_exit(w, n, pc);
	if (insn_is_ja(insn->code))
		return arrive(w, n, node_of(w, node->instance, block->taken),
			      w->now);
	if (insn_is_jump(insn->code))
		return leave_branch(w, n, pc);
	if (is_loop_call(insn) || insn->code == CODE_CALLX ||
	    (insn->code == CODE_CALL && insn_src(insn) == CALL_LOCAL))
		return leave_call(w, n, pc);
	err = step(&w->v, w->now, pc);
	if (err)
		return err;
	return arrive(w, n, node_of(w, node->instance, block->fall), w->now);
}

static int run_node(struct walk *w, uint32_t n, const struct state *in)
{
	struct bpfvm_prog *prog = w->v.prog;
	const struct block *block = &prog->blocks[w->nodes[n].block];
	int err = 0;

	if (!state_copy(w->now, in))
		return -ENOMEM;
	/* A state is copied and joined about as fast as it is computed with. */
	w->work += block->nr + 4;
	for (uint32_t f = 0; f <= in->depth; f++)
		w->work += in->frames[f].nr;
	if (w->work + w->v.j.work > MAX_WORK(prog->nr))
		return too_complex(w);
	if (is_cancelled(prog))
		return -ECANCELED;
	for (uint32_t pc = block->start; !err; pc++) {
		if (w->phase == FINISH)
			log_state(prog, w->now, pc);
		if (pc == block->last)
			err = leave(w, n, pc);
		else
			err = step(&w->v, w->now, pc);
		if (w->phase == FINISH)
			prog->aux[pc].flags |= AUX_REACHED;
		if (pc == block->last)
			break;
		if (prog->insns[pc].code == CODE_LD_IMM64)
			pc++;
	}
	if (err > 0 || (err == -EINVAL && w->phase != FINISH))
		return 0;
	return err;
}

static bool enter_program(struct walk *w, struct state **in)
{
	struct state *st = state_new(&w->pool, 0);

	*in = st;
	if (!st)
		return false;
	w->bytes += state_bytes(st);
	val_set_ptr(&st->r[10], REGION_STACK, 0, BPFVM_FRAME_SIZE);
	if (w->v.prog->abi == BPFVM_ABI_BLOCK) {
		val_set_ptr(&st->r[1], REGION_ARGS, 0, 0);
		return true;
	}
	val_set_ptr(&st->r[1], REGION_DATA, 0, 0);
	val_set_range(&st->r[2], 0, BPFVM_MAX_DATA);
	st->r[2].exact = true;
	st->r[2].room = 0;
	return true;
}

/* Run what is dirty until nothing is. */
static int go_up(struct walk *w)
{
	int err;

	w->phase = GO_UP;
	w->lowest = 0;
	while (w->lowest < w->nr_sequence) {
		uint32_t n = w->sequence[w->lowest++];

		if (!w->nodes[n].dirty)
			continue;
		w->nodes[n].dirty = false;
		err = run_node(w, n, w->nodes[n].in);
		if (err)
			return err;
		if (has_one_way(&w->nodes[n]) && !w->nodes[n].latch &&
		    w->nodes[n].joins < MAX_FOLLOWED)
			drop_state(w, &w->nodes[n].in);
	}
	return 0;
}

/* One step down: every node from what its predecessors bring. */
static int go_down(struct walk *w)
{
	int err;

	w->phase = GO_DOWN;
	for (uint32_t i = 0; i < w->nr_sequence; i++)
		drop_state(w, &w->nodes[w->sequence[i]].next);
	if (!enter_program(w, &w->nodes[0].next))
		return -ENOMEM;
	for (uint32_t i = 0; i < w->nr_sequence; i++) {
		struct node *node = &w->nodes[w->sequence[i]];

		if (node->back) {
			err = join_into(w, &node->next, node->back);
			drop_state(w, &node->back);
			if (err < 0)
				return err;
		}
		if (!node->next)
			continue;
		err = run_node(w, w->sequence[i], node->next);
		if (err)
			return err;
		if (has_one_way(node))
			drop_state(w, &node->next);
	}
	return 0;
}

static int narrow(struct walk *w)
{
	int err = 0;

	w->phase = COLLECT;
	for (uint32_t i = 0; i < w->nr_sequence && !err; i++) {
		const struct node *node = &w->nodes[w->sequence[i]];

		if (node->in && node->latch)
			err = run_node(w, w->sequence[i], node->in);
	}
	return err ? err : go_down(w);
}

static void swap_solutions(struct walk *w)
{
	for (uint32_t i = 0; i < w->nr_nodes; i++) {
		struct state *t = w->nodes[i].in;

		w->nodes[i].in = w->nodes[i].next;
		w->nodes[i].next = t;
	}
}

static int finish(struct walk *w)
{
	struct bpfvm_prog *prog = w->v.prog;
	int err = 0;

	w->phase = FINISH;
	w->v.final = true;
	w->holds = true;
	for (uint32_t pc = 0; pc < prog->nr; pc++) {
		memset(&prog->aux[pc], 0, sizeof(prog->aux[pc]));
		prog->aux[pc].flags = AUX_WIDE |
			(INSN_OP(prog->insns[pc].code) == OP_AND ? AUX_SAME : 0);
	}
	for (uint32_t i = 0; i < w->nr_sequence && !err; i++) {
		struct node *node = &w->nodes[w->sequence[i]];

		if (!node->in)
			continue;
		err = run_node(w, w->sequence[i], node->in);
		if (has_one_way(node))
			drop_state(w, &node->in);
	}
	w->v.final = false;
	return err;
}

static int compare_limits(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Widening stops where the program compares. */
static void find_limits(struct walk *w)
{
	static const int64_t always[] = {
		-65536, 0, INT32_MAX, UINT32_MAX,
	};
	const struct bpfvm_prog *prog = w->v.prog;
	uint32_t nr = 0;

	for (uint32_t pc = 0; pc < prog->nr && nr + 2 <= MAX_LIMITS; pc++) {
		const struct bpfvm_insn *insn = &prog->insns[pc];

		if (insn_is_jump(insn->code) && !insn_is_ja(insn->code) &&
		    !INSN_IS_REG(insn->code)) {
			w->limits[nr++] = (int64_t)insn->imm - 1;
			w->limits[nr++] = insn->imm;
		}
		if (insn->code == CODE_LD_IMM64)
			pc++;
	}
	for (uint32_t i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		w->limits[nr++] = always[i];
	qsort(w->limits, nr, sizeof(w->limits[0]), compare_limits);
	w->nr_limits = nr;
	w->v.j.limits = w->limits;
	w->v.j.next_id = ID_KNOWN;
}

static int solve(struct walk *w, uint32_t forbearance)
{
	int err;

	w->forbearance = forbearance;
	w->work = 0;
	w->v.j.work = 0;
	do {
		w->v.learnt = false;
		w->widened = false;
		err = build(w);
		if (err)
			break;
		if (!enter_program(w, &w->nodes[0].in))
			return -ENOMEM;
		w->nodes[0].dirty = true;
		err = go_up(w);
	} while (!err && w->v.learnt);
	if (err)
		return err;
	if (w->widened) {
		err = narrow(w);
		if (err)
			return err;
		swap_solutions(w);
		err = finish(w);
		if (err || w->holds)
			return err;
		swap_solutions(w);
	}
	/*
	 * Knowing more at a place can mean knowing less after it, since a value
	 * has room for one fact of a kind. Then what is believed is joined with
	 * what arrives until they agree.
	 */
	for (uint32_t i = 0; i < MAX_REPAIRS / forbearance; i++) {
		err = finish(w);
		if (err || w->holds)
			return err;
		for (uint32_t n = 0; n < w->nr_nodes; n++) {
			w->nodes[n].dirty = w->nodes[n].in;
			w->nodes[n].restarts = MAX_RESTARTS;
		}
		err = go_up(w);
		if (err)
			return err;
	}
	return too_complex(w);
}

/* Does something remain to be checked at run time? */
static bool leaves_checks(const struct bpfvm_prog *prog)
{
	for (uint32_t pc = 0; pc < prog->nr; pc++) {
		if (insn_is_access(prog->insns[pc].code) &&
		    (prog->aux[pc].flags & (AUX_REACHED | AUX_PROVED)) ==
		    AUX_REACHED)
			return true;
		if (prog->insns[pc].code == CODE_LD_IMM64)
			pc++;
	}
	return false;
}

static int walk(struct walk *w)
{
	struct log *log = &w->v.prog->log;
	size_t used = log->used;
	int err = solve(w, HASTY);

	if (!w->widened || (err && err != -EINVAL) ||
	    (!err && !leaves_checks(w->v.prog)))
		return err;
	log_rewind(log, used);
	err = solve(w, THOROUGH);
	if (err != -E2BIG)
		return err;
	log_rewind(log, used);
	return solve(w, HASTY);
}

int verify(struct bpfvm_prog *prog)
{
	struct walk *w = calloc(1, sizeof(*w));
	int err = -ENOMEM;

	if (!w)
		return -ENOMEM;
	w->v.prog = prog;
	w->v.targets = calloc(prog->nr, sizeof(*w->v.targets));
	w->now = state_new(&w->pool, BPFVM_MAX_FRAMES - 1);
	w->other = state_new(&w->pool, BPFVM_MAX_FRAMES - 1);
	w->scratch = state_new(&w->pool, BPFVM_MAX_FRAMES - 1);
	find_limits(w);
	if (w->v.targets && w->now && w->other && w->scratch)
		err = walk(w);
	free_nodes(w);
	state_free(w->now);
	state_free(w->other);
	state_free(w->scratch);
	pool_end(&w->pool);
	free(w->sequence);
	free(w->nodes);
	free(w->instances);
	free(w->v.targets);
	free(w);
	return err;
}
