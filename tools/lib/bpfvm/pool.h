/* SPDX-License-Identifier: GPL-2.0 */
/* Memory for many small things that all go together. */
#ifndef BPFVM_POOL_H
#define BPFVM_POOL_H

#include <stddef.h>

#define POOL_CLASSES	64

/**
 * struct pool - where they come from; all zeros is an empty one
 * @chunks: what things are in, each with a link to the next
 * @ready:  chunks that an earlier pool left, and that nothing is in yet
 * @large:  things that have a chunk for themselves
 * @at:     what of the first chunk was not given out yet
 * @left:   bytes at @at
 * @spare:  per class of sizes: what was given back
 */
struct pool {
	void *chunks;
	void *ready;
	void *large;
	unsigned char *at;
	size_t left;
	void *spare[POOL_CLASSES];
};

/*
 * @bytes, at most 1 MiB, of any content; NULL if there is no memory. They are
 * given back with the same number, or with all others by pool_end().
 */
void *pool_get(struct pool *pool, size_t bytes);
void pool_put(struct pool *pool, void *at, size_t bytes);
void pool_end(struct pool *pool);

#endif /* BPFVM_POOL_H */
