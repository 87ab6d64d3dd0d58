// SPDX-License-Identifier: GPL-2.0
/*
 * The walk over a program that finds, for every place, a state that holds for
 * all ways to get there.
 *
 * Calls are followed as if the callee were there in place of the call, so that
 * each call of a function is judged with its own arguments: a node is a block
 * of an instance of a function. The walk goes up to states that hold (where
 * loops join, bounds are widened in steps, so that it ends), then takes one or
 * two steps down to get back what widening gave away, and last goes over the
 * whole program once more. That last pass checks that the states hold, refuses
 * what is wrong, and writes down what the engines use; nothing depends on how
 * the states were found.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "verifier.h"

/* Limits of what one program may cost. */
#define MAX_NODES	65536
#define MAX_WORK(nr)	(2000000 + 200 * (uint64_t)(nr))
/* Joins at a place before bounds are widened. */
#define PATIENCE	2
/* Times that a loop is begun anew because more is known to enter it. */
#define MAX_RESTARTS	16
/* Joins before they are widened without looking where to stop. */
#define FORBEARANCE	8
/* Times that states which do not hold are joined further. */
#define MAX_REPAIRS	16
/* Numbers where widening stops. */
#define MAX_LIMITS	128
#define NO_NODE		UINT32_MAX

/* A function as it is called from one place. */
struct instance {
	uint32_t func;
	uint32_t parent;
	uint32_t call;		/* node of the call */
	uint32_t depth;
	uint32_t first;		/* its first node */
	bool loop;		/* it is the callback of a bpf_loop() */
};

struct node {
	uint32_t block;
	uint32_t instance;
	uint32_t child;		/* instance that the call at the end enters */
	uint32_t order;		/* in reverse postorder; NO_NODE: unreachable */
	uint32_t joins;
	uint32_t restarts;
	bool head;		/* a jump back arrives here */
	bool dirty;
	struct state *in;
	struct state *next;	/* while going down; up: what enters a loop */
	struct state *back;	/* what jumps back bring, while going down */
};

struct walk {
	struct verifier v;
	struct instance *instances;
	uint32_t nr_instances, room_instances;
	struct node *nodes;
	uint32_t nr_nodes, room_nodes;
	uint32_t *sequence;
	uint32_t nr_sequence;
	int64_t limits[MAX_LIMITS + 8];
	uint32_t nr_limits;
	uint64_t work;
	struct state *now, *other, *scratch;
	uint32_t lowest;	/* order of the first dirty node */
	bool widened;
	enum { GO_UP, COLLECT, GO_DOWN, FINISH } phase;
	bool holds;
};

static int too_complex(struct walk *w)
{
	log_add(&w->v.prog->log,
		"the program is too complex to be verified: split it, or make its call graph or loops simpler\n");
	return -E2BIG;
}

static int add_instance(struct walk *w, uint32_t func, uint32_t parent,
			uint32_t call, bool loop)
{
	const struct func *f = &w->v.prog->funcs[func];
	struct instance *instance;
	uint32_t need = w->nr_nodes + f->nr_blocks;

	if (need > MAX_NODES)
		return too_complex(w);
	if (w->nr_instances == w->room_instances) {
		uint32_t room = w->room_instances ? w->room_instances * 2 : 8;
		void *more = realloc(w->instances,
				     room * sizeof(*w->instances));

		if (!more)
			return -ENOMEM;
		w->instances = more;
		w->room_instances = room;
	}
	if (need > w->room_nodes) {
		void *more = realloc(w->nodes, 2 * need * sizeof(*w->nodes));

		if (!more)
			return -ENOMEM;
		w->nodes = more;
		w->room_nodes = 2 * need;
	}
	instance = &w->instances[w->nr_instances++];
	instance->func = func;
	instance->parent = parent;
	instance->call = call;
	instance->depth = call == NO_NODE ? 0 :
			  w->instances[parent].depth + 1;
	instance->first = w->nr_nodes;
	instance->loop = loop;
	for (uint32_t i = 0; i < f->nr_blocks; i++) {
		struct node *node = &w->nodes[w->nr_nodes++];

		memset(node, 0, sizeof(*node));
		node->block = f->first_block + i;
		node->instance = w->nr_instances - 1;
		node->child = NO_NODE;
		node->order = NO_NODE;
	}
	return 0;
}

static bool is_loop_call(const struct bpfvm_insn *insn)
{
	return insn->code == CODE_CALL && insn_src(insn) == CALL_HELPER &&
	       insn->imm == BPFVM_HELPER_LOOP;
}

/* The function that the call at @pc enters, as far as it is known, or -1. */
static int64_t known_target(struct walk *w, uint32_t pc)
{
	const struct bpfvm_insn *insn = &w->v.prog->insns[pc];

	if (insn->code == CODE_CALL && insn_src(insn) == CALL_LOCAL)
		return (int64_t)pc + 1 + insn->imm;
	if ((insn->code == CODE_CALLX || is_loop_call(insn)) &&
	    w->v.targets[pc])
		return w->v.targets[pc] - 1;
	return -1;
}

static int add_callee(struct walk *w, uint32_t n)
{
	struct bpfvm_prog *prog = w->v.prog;
	uint32_t pc = prog->blocks[w->nodes[n].block].last;
	uint32_t caller = w->nodes[n].instance;
	int64_t target = known_target(w, pc);
	uint32_t func;
	int err;

	if (target < 0)
		return 0;
	func = func_at(prog, target) - prog->funcs;
	for (uint32_t i = caller;; i = w->instances[i].parent) {
		if (w->instances[i].func == func)
			return refuse(prog, pc, "the function at %" PRId64 " calls itself: recursion is not supported",
				      target);
		if (w->instances[i].call == NO_NODE)
			break;
	}
	if (w->instances[caller].depth + 1 >= BPFVM_MAX_FRAMES)
		return refuse(prog, pc, "calls are nested deeper than %d frames",
			      BPFVM_MAX_FRAMES);
	err = add_instance(w, func, caller, n, is_loop_call(&prog->insns[pc]));
	if (!err)
		w->nodes[n].child = w->nr_instances - 1;
	return err;
}

static uint32_t node_of(const struct walk *w, uint32_t instance, uint32_t block)
{
	const struct instance *i = &w->instances[instance];

	if (block == NO_BLOCK)
		return NO_NODE;
	return i->first + block - w->v.prog->funcs[i->func].first_block;
}

/* The nodes that may follow a node. */
static void successors(const struct walk *w, uint32_t n, uint32_t next[2])
{
	const struct bpfvm_prog *prog = w->v.prog;
	const struct node *node = &w->nodes[n];
	const struct block *block = &prog->blocks[node->block];
	const struct instance *instance = &w->instances[node->instance];

	next[0] = node_of(w, node->instance, block->fall);
	next[1] = node_of(w, node->instance, block->taken);
	if (node->child != NO_NODE) {
		next[1] = w->instances[node->child].first;
		if (!w->instances[node->child].loop)
			next[0] = NO_NODE;
	} else if (prog->insns[block->last].code == CODE_EXIT &&
		   instance->call != NO_NODE) {
		const struct node *call = &w->nodes[instance->call];

		next[0] = node_of(w, call->instance,
				  prog->blocks[call->block].fall);
		if (instance->loop)
			next[1] = instance->first;
	}
}

static int number_nodes(struct walk *w)
{
	uint32_t *stack = malloc(w->nr_nodes * sizeof(*stack));
	uint8_t *at = calloc(w->nr_nodes, 1);
	uint32_t depth = 0;
	uint32_t order = w->nr_nodes;

	free(w->sequence);
	w->sequence = malloc(w->nr_nodes * sizeof(*w->sequence));
	if (!stack || !at || !w->sequence) {
		free(stack);
		free(at);
		return -ENOMEM;
	}
	/* at: 0 not seen, 1 and 2 the next successor to go to, 3 done */
	stack[depth++] = 0;
	at[0] = 1;
	while (depth) {
		uint32_t n = stack[depth - 1];
		uint32_t next[2];

		successors(w, n, next);
		if (at[n] == 3) {
			w->nodes[n].order = --order;
			w->sequence[order] = n;
			depth--;
			continue;
		}
		n = next[at[n]++ - 1];
		if (n != NO_NODE && !at[n]) {
			at[n] = 1;
			stack[depth++] = n;
		}
	}
	free(stack);
	free(at);
	/* What cannot be reached has no number: move the rest to the front. */
	w->nr_sequence = w->nr_nodes - order;
	memmove(w->sequence, w->sequence + order,
		w->nr_sequence * sizeof(*w->sequence));
	for (uint32_t i = 0; i < w->nr_sequence; i++)
		w->nodes[w->sequence[i]].order = i;
	for (uint32_t i = 0; i < w->nr_sequence; i++) {
		uint32_t next[2];

		successors(w, w->sequence[i], next);
		for (int k = 0; k < 2; k++)
			if (next[k] != NO_NODE &&
			    w->nodes[next[k]].order <= i)
				w->nodes[next[k]].head = true;
	}
	return 0;
}

static void free_nodes(struct walk *w)
{
	for (uint32_t i = 0; i < w->nr_nodes; i++) {
		state_free(w->nodes[i].in);
		state_free(w->nodes[i].next);
		state_free(w->nodes[i].back);
	}
	w->nr_nodes = 0;
	w->nr_instances = 0;
}

static int build(struct walk *w)
{
	int err;

	free_nodes(w);
	err = add_instance(w, 0, 0, NO_NODE, false);
	for (uint32_t n = 0; n < w->nr_nodes && !err; n++)
		err = add_callee(w, n);
	if (err)
		return err;
	return number_nodes(w);
}

/* Join @st into *@into. Returns 1 if that made it say less, or -ENOMEM. */
static int join_into(struct walk *w, struct state **into,
		     const struct state *st)
{
	if (*into)
		return state_join(&w->v.j, *into, st);
	*into = state_new(st->depth);
	if (!*into || !state_copy(*into, st))
		return -ENOMEM;
	return 1;
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
	if (!to->in)
		to->in = state_new(st->depth);
	if (!to->in || !state_copy(to->in, to->next))
		return -ENOMEM;
	to->restarts++;
	to->joins = 0;
	to->dirty = true;
	if (to->order < w->lowest)
		w->lowest = to->order;
	return 0;
}

static int arrive_up(struct walk *w, struct node *to, const struct state *st,
		     bool back)
{
	int lost;

	if (to->head && !back && to->restarts < MAX_RESTARTS)
		return restart_loop(w, to, st);
	w->v.j.widen = to->head && to->joins >= PATIENCE;
	w->v.j.nr_limits = to->joins < FORBEARANCE ? w->nr_limits : 0;
	w->widened |= w->v.j.widen;
	lost = join_into(w, &to->in, st);
	w->v.j.widen = false;
	if (lost > 0) {
		to->joins++;
		to->dirty = true;
		if (to->order < w->lowest)
			w->lowest = to->order;
	}
	return lost < 0 ? lost : 0;
}

/* Does what arrives follow from what is believed there? */
static int arrive_finish(struct walk *w, struct node *to,
			 const struct state *st)
{
	int lost;

	if (!to->in) {
		w->holds = false;
		return 0;
	}
	if (!state_copy(w->scratch, to->in))
		return -ENOMEM;
	lost = state_join(&w->v.j, w->scratch, st);
	if (lost > 0)
		w->holds = false;
	return lost < 0 ? lost : 0;
}

/* @st holds when node @n is left for node @target. */
static int arrive(struct walk *w, uint32_t n, uint32_t target,
		  const struct state *st)
{
	struct node *to = &w->nodes[target];
	bool back = to->order <= w->nodes[n].order;
	int lost = 0;

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
	struct state *st = state_new(0);

	*in = st;
	if (!st)
		return false;
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
	}
	return 0;
}

/* One step down: every node from what its predecessors bring. */
static int go_down(struct walk *w)
{
	int err;

	w->phase = GO_DOWN;
	for (uint32_t i = 0; i < w->nr_sequence; i++) {
		state_free(w->nodes[w->sequence[i]].next);
		w->nodes[w->sequence[i]].next = NULL;
	}
	if (!enter_program(w, &w->nodes[0].next))
		return -ENOMEM;
	for (uint32_t i = 0; i < w->nr_sequence; i++) {
		struct node *node = &w->nodes[w->sequence[i]];

		if (node->back) {
			err = join_into(w, &node->next, node->back);
			state_free(node->back);
			node->back = NULL;
			if (err < 0)
				return err;
		}
		if (!node->next)
			continue;
		err = run_node(w, w->sequence[i], node->next);
		if (err)
			return err;
	}
	return 0;
}

static int narrow(struct walk *w)
{
	int err = 0;

	w->phase = COLLECT;
	for (uint32_t i = 0; i < w->nr_sequence && !err; i++)
		if (w->nodes[w->sequence[i]].in)
			err = run_node(w, w->sequence[i],
				       w->nodes[w->sequence[i]].in);
	for (int i = 0; i < 2 && !err; i++)
		err = go_down(w);
	return err;
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
		prog->aux[pc].flags = AUX_WIDE;
	}
	for (uint32_t i = 0; i < w->nr_sequence && !err; i++)
		if (w->nodes[w->sequence[i]].in)
			err = run_node(w, w->sequence[i],
				       w->nodes[w->sequence[i]].in);
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

static int walk(struct walk *w)
{
	int err;

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
	for (int i = 0; i < MAX_REPAIRS; i++) {
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

int verify(struct bpfvm_prog *prog)
{
	struct walk *w = calloc(1, sizeof(*w));
	int err = -ENOMEM;

	if (!w)
		return -ENOMEM;
	w->v.prog = prog;
	w->v.targets = calloc(prog->nr, sizeof(*w->v.targets));
	w->now = state_new(BPFVM_MAX_FRAMES - 1);
	w->other = state_new(BPFVM_MAX_FRAMES - 1);
	w->scratch = state_new(BPFVM_MAX_FRAMES - 1);
	find_limits(w);
	if (w->v.targets && w->now && w->other && w->scratch)
		err = walk(w);
	free_nodes(w);
	state_free(w->now);
	state_free(w->other);
	state_free(w->scratch);
	free(w->sequence);
	free(w->nodes);
	free(w->instances);
	free(w->v.targets);
	free(w);
	return err;
}
