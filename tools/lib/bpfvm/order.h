/* SPDX-License-Identifier: GPL-2.0 */
/* In which order the nodes of a graph are walked. */
#ifndef BPFVM_ORDER_H
#define BPFVM_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#define NO_NODE		UINT32_MAX

/**
 * order_nodes - number the nodes that can be reached from node 0
 * @nr:   nodes
 * @next: per node: those that may follow, or NO_NODE
 * @sequence: out: nodes in order
 * @order: out: per node: its place in @sequence, or NO_NODE
 *
 * A node comes after those that lead to it, but by jumps back; and all nodes of
 * a loop come before what follows the loop.
 *
 * Return: how many can be reached, or -ENOMEM.
 */
int64_t order_nodes(uint32_t nr, const uint32_t (*next)[2], uint32_t *sequence,
		    uint32_t *order);

#endif /* BPFVM_ORDER_H */
