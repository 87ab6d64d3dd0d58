// SPDX-License-Identifier: GPL-2.0
/* The graph that the verifier walks over: a node is a block of a called function. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "walk.h"

/* Of one program; a call makes nodes of all blocks of what it calls. */
#define MAX_NODES	65536

int too_complex(struct walk *w)
{
	log_add(&w->v.prog->log,
		"the program is too complex to be verified: split it, or make its call graph or loops simpler\n");
	return -E2BIG;
}

void drop_state(struct walk *w, struct state **st)
{
	if (*st)
		w->bytes -= state_bytes(*st);
	state_free(*st);
	*st = NULL;
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

bool is_loop_call(const struct bpfvm_insn *insn)
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

uint32_t node_of(const struct walk *w, uint32_t instance, uint32_t block)
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
	uint32_t (*next)[2] = malloc(w->nr_nodes * sizeof(*next));
	uint32_t *order = malloc(w->nr_nodes * sizeof(*order));
	int64_t nr = -ENOMEM;

	free(w->sequence);
	w->sequence = malloc(w->nr_nodes * sizeof(*w->sequence));
	if (next && order && w->sequence) {
		for (uint32_t n = 0; n < w->nr_nodes; n++)
			successors(w, n, next[n]);
		nr = order_nodes(w->nr_nodes, (const uint32_t (*)[2])next,
				 w->sequence, order);
	}
	for (int64_t i = 0; i < nr; i++) {
		uint32_t n = w->sequence[i];

		w->nodes[n].order = i;
		for (int k = 0; k < 2; k++) {
			if (next[n][k] == NO_NODE)
				continue;
			w->nodes[next[n][k]].ways++;
			if (order[next[n][k]] > i)
				continue;
			w->nodes[next[n][k]].head = true;
			w->nodes[n].latch = true;
		}
	}
	free(next);
	free(order);
	if (nr < 0)
		return nr;
	w->nr_sequence = nr;
	return 0;
}

void free_nodes(struct walk *w)
{
	for (uint32_t i = 0; i < w->nr_nodes; i++) {
		drop_state(w, &w->nodes[i].in);
		drop_state(w, &w->nodes[i].next);
		drop_state(w, &w->nodes[i].back);
	}
	w->nr_nodes = 0;
	w->nr_instances = 0;
}

int build(struct walk *w)
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
