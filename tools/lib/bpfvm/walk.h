/* SPDX-License-Identifier: GPL-2.0 */
/* The verifier's graph of a program, and its walk over it. */
#ifndef BPFVM_WALK_H
#define BPFVM_WALK_H

#include "order.h"
#include "verifier.h"

/* Numbers where widening stops. */
#define MAX_LIMITS	128

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
	uint32_t order;		/* see order_nodes(); NO_NODE: unreachable */
	uint32_t ways;		/* edges to it */
	uint32_t joins;
	uint32_t restarts;
	bool head;		/* a jump back arrives here */
	bool latch;		/* a jump back begins here */
	bool dirty;
	struct state *in;
	struct state *next;	/* while going down; up: what enters a loop */
	struct state *back;	/* what jumps back bring, while going down */
};

struct walk {
	struct verifier v;
	struct pool pool;	/* of all states */
	struct instance *instances;
	uint32_t nr_instances, room_instances;
	struct node *nodes;
	uint32_t nr_nodes, room_nodes;
	uint32_t *sequence;
	uint32_t nr_sequence;
	int64_t limits[MAX_LIMITS + 8];
	uint32_t nr_limits;
	uint64_t work;
	size_t bytes;		/* of the nodes' states */
	uint32_t forbearance;
	struct state *now, *other, *scratch;
	uint32_t lowest;	/* order of the first dirty node */
	bool widened;
	enum { GO_UP, COLLECT, GO_DOWN, FINISH } phase;
	bool holds;
};

/* graph.c */
int too_complex(struct walk *w);
bool is_loop_call(const struct bpfvm_insn *insn);
/* The node of @block in @instance, or NO_NODE. */
uint32_t node_of(const struct walk *w, uint32_t instance, uint32_t block);
/* Make the nodes, and number them. */
int build(struct walk *w);
void free_nodes(struct walk *w);
void drop_state(struct walk *w, struct state **st);

#endif /* BPFVM_WALK_H */
