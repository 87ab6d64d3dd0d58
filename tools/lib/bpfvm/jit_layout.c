// SPDX-License-Identifier: GPL-2.0
/*
 * In which order blocks are compiled.
 *
 * A taken jump costs more than one that is not, and a jump that is not there
 * costs nothing. So blocks are put together into chains, along the edges that
 * are probably used most, those of inner loops first; then the chains are put
 * behind each other.
 */
#include <errno.h>
#include <stdlib.h>

#include "jit.h"

/* Loops nested deeper are not told apart. */
#define MAX_DEPTH	15
/* How probable an edge is, compared with others of the same loop. */
#define PROB_LESS	0
#define PROB_MORE	1
#define PROB_LIKELY	2
#define PROB_ALWAYS	3
#define NR_CLASSES	(4 * (MAX_DEPTH + 1))

struct edge {
	uint32_t from;
	uint32_t to;
};

struct chains {
	struct jit_state *j;
	uint8_t *depth;		/* per block: loops around it */
	uint32_t *next;		/* per block: the one behind it */
	uint32_t *prev;
	uint32_t *chain;	/* per block: towards a block that names its chain */
	struct edge *edges;
	uint32_t nr_edges;
	uint32_t count[NR_CLASSES + 1];
};

/* A jump back spans a loop, as compilers write them. */
static void find_depths(struct chains *c)
{
	const struct bpfvm_prog *prog = c->j->prog;
	int32_t *change = (int32_t *)c->chain;
	int32_t depth = 0;

	for (uint32_t b = 0; b < prog->nr_blocks; b++)
		change[b] = 0;
	for (uint32_t b = 0; b < prog->nr_blocks; b++) {
		uint32_t to = prog->blocks[b].taken;

		if (to == NO_BLOCK || to > b)
			continue;
		change[to]++;
		if (b + 1 < prog->nr_blocks)
			change[b + 1]--;
	}
	for (uint32_t b = 0; b < prog->nr_blocks; b++) {
		depth += change[b];
		c->depth[b] = depth < MAX_DEPTH ? depth : MAX_DEPTH;
	}
}

/* How probable it is that control goes from @b to @to, at its end. */
static unsigned int probability(const struct chains *c, uint32_t b, uint32_t to)
{
	const struct block *block = &c->j->prog->blocks[b];

	if (block->taken == NO_BLOCK || block->fall == NO_BLOCK ||
	    c->j->skipped[block->fall])
		return PROB_ALWAYS;
	if (to == block->taken)
		return to <= b ? PROB_LIKELY : PROB_LESS;
	return block->taken <= b ? PROB_LESS : PROB_MORE;
}

/* The edges along which one block can be put behind another. */
static uint32_t edges_of(const struct chains *c, uint32_t b, uint32_t to[2])
{
	const struct bpfvm_prog *prog = c->j->prog;
	const struct block *block = &prog->blocks[b];
	uint32_t nr = 0;

	if (c->j->skipped[b] ||
	    !(prog->aux[block->start].flags & AUX_REACHED))
		return 0;
	if (block->fall != NO_BLOCK && c->j->skipped[block->fall]) {
		to[nr++] = block->taken;
		return nr;
	}
	if (block->fall != NO_BLOCK)
		to[nr++] = block->fall;
	/* What falling costs is charged behind the jump. */
	if (block->taken != NO_BLOCK && !prog->aux[block->last].fall)
		to[nr++] = block->taken;
	return nr;
}

static unsigned int class_of(const struct chains *c, uint32_t b, uint32_t to)
{
	unsigned int depth = c->depth[b] < c->depth[to] ? c->depth[b] :
							  c->depth[to];
	unsigned int prob = probability(c, b, to);

	return NR_CLASSES - 1 - (4 * depth + prob);
}

/* Sorted: by class, and in the order of the program. */
static void collect_edges(struct chains *c)
{
	uint32_t to[2];

	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t b = 0; b < c->j->prog->nr_blocks; b++) {
			uint32_t nr = edges_of(c, b, to);

			for (uint32_t i = 0; i < nr; i++) {
				unsigned int class = class_of(c, b, to[i]);

				if (pass)
					c->edges[c->count[class]++] =
						(struct edge){ b, to[i] };
				else
					c->count[class + 1]++;
			}
		}
		for (int i = 0; !pass && i < NR_CLASSES; i++)
			c->count[i + 1] += c->count[i];
		if (!pass)
			c->nr_edges = c->count[NR_CLASSES];
	}
}

static uint32_t chain_of(struct chains *c, uint32_t b)
{
	while (c->chain[b] != b) {
		c->chain[b] = c->chain[c->chain[b]];
		b = c->chain[b];
	}
	return b;
}

static void make_chains(struct chains *c)
{
	const struct bpfvm_prog *prog = c->j->prog;

	for (uint32_t b = 0; b < prog->nr_blocks; b++) {
		c->chain[b] = b;
		c->next[b] = NO_BLOCK;
		c->prev[b] = NO_BLOCK;
	}
	for (uint32_t i = 0; i < c->nr_edges; i++) {
		const struct edge *e = &c->edges[i];
		bool entry = prog->funcs[prog->blocks[e->to].func].first_block ==
			     e->to;

		if (entry || c->next[e->from] != NO_BLOCK ||
		    c->prev[e->to] != NO_BLOCK ||
		    chain_of(c, e->from) == chain_of(c, e->to))
			continue;
		c->next[e->from] = e->to;
		c->prev[e->to] = e->from;
		c->chain[chain_of(c, e->to)] = chain_of(c, e->from);
	}
}

/* Every function's entry comes first. */
static void put_chains(struct chains *c)
{
	const struct bpfvm_prog *prog = c->j->prog;
	uint32_t nr = 0;

	for (uint32_t b = 0; b < prog->nr_blocks; b++) {
		if (c->prev[b] != NO_BLOCK)
			continue;
		for (uint32_t k = b; k != NO_BLOCK; k = c->next[k])
			c->j->layout[nr++] = k;
	}
}

int find_layout(struct jit_state *j)
{
	uint32_t nr = j->prog->nr_blocks;
	struct chains c = { .j = j };
	int err = -ENOMEM;

	c.depth = malloc(nr);
	c.next = malloc(nr * sizeof(*c.next));
	c.prev = malloc(nr * sizeof(*c.prev));
	c.chain = malloc(nr * sizeof(*c.chain));
	c.edges = malloc(2 * nr * sizeof(*c.edges));
	if (c.depth && c.next && c.prev && c.chain && c.edges) {
		find_depths(&c);
		collect_edges(&c);
		make_chains(&c);
		put_chains(&c);
		err = 0;
	}
	free(c.depth);
	free(c.next);
	free(c.prev);
	free(c.chain);
	free(c.edges);
	return err;
}
