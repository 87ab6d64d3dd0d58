// SPDX-License-Identifier: GPL-2.0
/*
 * The order of a walk over a graph.
 *
 * A reverse postorder puts what follows a loop anywhere behind the loop's head,
 * also between its nodes, and then a walk that repeats the loop until it learns
 * nothing new repeats the rest of the program with it. So the loops are found,
 * with their nesting, and nodes that are ready are taken from the innermost loop
 * that is not finished.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "order.h"

/**
 * struct graph - what is known about the nodes, by node
 * @rank:   place in a reverse postorder, or NO_NODE
 * @loop:   head of the innermost loop around it, not counting its own
 * @found:  towards the head of the outermost loop that was found around it
 * @waits:  nodes before it that have no place yet
 * @ready:  as a head: list of the nodes in its loop that wait for nothing; the
 *	    last one is of no loop
 * @link:   next in such a list
 * @open:   as a head: it is on the stack
 */
struct graph {
	uint32_t nr;
	const uint32_t (*next)[2];
	uint32_t *by_rank;
	uint32_t nr_ranks;
	uint32_t *pred_at;
	uint32_t *preds;
	uint32_t *rank;
	uint32_t *loop;
	uint32_t *found;
	uint32_t *waits;
	uint32_t *ready;
	uint32_t *link;
	uint32_t *stack;
	uint8_t *open;
};

/* Number the nodes in a reverse postorder. */
static void rank_nodes(struct graph *g)
{
	uint32_t depth = 0, rank = g->nr;

	/* open: 0 not seen, 1 and 2 the next one to go to, 3 done */
	g->stack[depth++] = 0;
	g->open[0] = 1;
	while (depth) {
		uint32_t n = g->stack[depth - 1], to;

		if (g->open[n] == 3) {
			g->rank[n] = --rank;
			g->by_rank[rank] = n;
			depth--;
			continue;
		}
		to = g->next[n][g->open[n]++ - 1];
		if (to != NO_NODE && !g->open[to]) {
			g->open[to] = 1;
			g->stack[depth++] = to;
		}
	}
	/* What cannot be reached has no number: move the rest to the front. */
	g->nr_ranks = g->nr - rank;
	memmove(g->by_rank, g->by_rank + rank,
		g->nr_ranks * sizeof(*g->by_rank));
	for (uint32_t i = 0; i < g->nr_ranks; i++)
		g->rank[g->by_rank[i]] = i;
}

/* @preds: of node n, from @pred_at[n] to @pred_at[n + 1]. */
static void find_preds(struct graph *g)
{
	memset(g->pred_at, 0, (g->nr + 2) * sizeof(*g->pred_at));
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < 2 * g->nr_ranks; i++) {
			uint32_t n = g->by_rank[i / 2];
			uint32_t to = g->next[n][i % 2];

			if (to == NO_NODE)
				continue;
			if (pass)
				g->preds[g->pred_at[to + 1]++] = n;
			else
				g->pred_at[to + 2]++;
		}
		for (uint32_t n = 0; !pass && n + 2 <= g->nr; n++)
			g->pred_at[n + 2] += g->pred_at[n + 1];
	}
}

/* The head of the outermost loop around the node that was found so far. */
static uint32_t outermost(struct graph *g, uint32_t n)
{
	while (g->found[n] != n) {
		g->found[n] = g->found[g->found[n]];
		n = g->found[n];
	}
	return n;
}

/* Put @n, or the loop that was found around it, into the loop of @head. */
static void enter_loop(struct graph *g, uint32_t n, uint32_t head,
		       uint32_t *depth)
{
	n = outermost(g, n);
	/* What comes before the head leads into the loop beside it. */
	if (n == head || g->rank[n] < g->rank[head])
		return;
	g->loop[n] = head;
	g->found[n] = head;
	g->stack[(*depth)++] = n;
}

/* Inner loops come first, and are one node for those around them. */
static void find_loops(struct graph *g)
{
	for (uint32_t i = g->nr_ranks; i-- > 0; ) {
		uint32_t head = g->by_rank[i], depth = 0;

		for (uint32_t k = g->pred_at[head]; k < g->pred_at[head + 1];
		     k++)
			if (g->rank[g->preds[k]] >= i)
				enter_loop(g, g->preds[k], head, &depth);
		while (depth) {
			uint32_t n = g->stack[--depth];

			for (uint32_t k = g->pred_at[n]; k < g->pred_at[n + 1];
			     k++)
				enter_loop(g, g->preds[k], head, &depth);
		}
	}
}

static void add_ready(struct graph *g, uint32_t n, uint32_t *depth)
{
	uint32_t loop = g->loop[n] == NO_NODE ? g->nr : g->loop[n];

	g->link[n] = g->ready[loop];
	g->ready[loop] = n;
	/* It was finished, but for what another way leads to. */
	if (!g->open[loop]) {
		g->open[loop] = 1;
		g->stack[(*depth)++] = loop;
	}
}

static void place_nodes(struct graph *g, uint32_t *sequence, uint32_t *order)
{
	uint32_t depth = 0, nr = 0;

	for (uint32_t i = 0; i < g->nr_ranks; i++) {
		uint32_t n = g->by_rank[i];

		for (uint32_t k = g->pred_at[n]; k < g->pred_at[n + 1]; k++)
			g->waits[n] += g->rank[g->preds[k]] < i;
	}
	add_ready(g, 0, &depth);
	while (depth) {
		uint32_t loop = g->stack[depth - 1];
		uint32_t n = g->ready[loop];

		if (n == NO_NODE) {
			g->open[loop] = 0;
			depth--;
			continue;
		}
		g->ready[loop] = g->link[n];
		order[n] = nr;
		sequence[nr++] = n;
		for (int i = 0; i < 2; i++) {
			uint32_t to = g->next[n][i];

			if (to != NO_NODE && g->rank[to] > g->rank[n] &&
			    !--g->waits[to])
				add_ready(g, to, &depth);
		}
	}
}

static void free_graph(struct graph *g)
{
	free(g->by_rank);
	free(g->pred_at);
	free(g->preds);
	free(g->rank);
	free(g->loop);
	free(g->found);
	free(g->waits);
	free(g->ready);
	free(g->link);
	free(g->stack);
	free(g->open);
}

int64_t order_nodes(uint32_t nr, const uint32_t (*next)[2], uint32_t *sequence,
		    uint32_t *order)
{
	struct graph g = { .nr = nr, .next = next };
	size_t size = (nr + 2) * sizeof(uint32_t);
	bool ok;

	g.by_rank = malloc(size);
	g.pred_at = malloc(size);
	g.preds = malloc(2 * size);
	g.rank = malloc(size);
	g.loop = malloc(size);
	g.found = malloc(size);
	g.waits = calloc(1, size);
	g.ready = malloc(size);
	g.link = malloc(size);
	g.stack = malloc(2 * size);
	g.open = calloc(1, nr + 2);
	ok = g.by_rank && g.pred_at && g.preds && g.rank && g.loop &&
	     g.found && g.waits && g.ready && g.link && g.stack && g.open;
	if (ok) {
		rank_nodes(&g);
		find_preds(&g);
		for (uint32_t n = 0; n <= nr; n++) {
			g.loop[n] = NO_NODE;
			g.found[n] = n;
			g.ready[n] = NO_NODE;
			g.open[n] = 0;
			if (n < nr)
				order[n] = NO_NODE;
		}
		find_loops(&g);
		place_nodes(&g, sequence, order);
	}
	free_graph(&g);
	return ok ? (int64_t)g.nr_ranks : -ENOMEM;
}
