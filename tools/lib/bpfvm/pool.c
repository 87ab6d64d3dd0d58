// SPDX-License-Identifier: GPL-2.0
/*
 * Verifying a program makes and drops states by the thousand. The heap would go
 * back to the system and be faulted in again between them, and between programs,
 * which takes longer than to verify. So a pool keeps what was given back until it
 * ends, and a few chunks are kept for the pool after it.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "pool.h"

#define SMALLEST_LOG	5
#define SMALLEST	(1 << SMALLEST_LOG)
#define CHUNK_BYTES	(128 << 10)
/* Before what is given out: the link. */
#define CHUNK_HEAD	16
/* That are kept for the next pool. */
#define KEPT_CHUNKS	4

#if defined(__SANITIZE_ADDRESS__)
#define EACH_APART
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EACH_APART
#endif
#endif

#ifdef EACH_APART
/* The sanitizer sees where each begins and ends, and what is not given back. */
void *pool_get(struct pool *pool, size_t bytes)
{
	(void)pool;
	return malloc(bytes);
}

void pool_put(struct pool *pool, void *at, size_t bytes)
{
	(void)pool;
	(void)bytes;
	free(at);
}

void pool_end(struct pool *pool)
{
	(void)pool;
}
#else
/* Of all pools of the process; whoever wants some takes all. */
static _Atomic(void *) kept_chunks;

static void push(void **list, void *chunk)
{
	*(void **)chunk = *list;
	*list = chunk;
}

static void *pop(void **list)
{
	void *chunk = *list;

	if (chunk)
		*list = *(void **)chunk;
	return chunk;
}

static void free_all(void **list)
{
	void *chunk;

	while ((chunk = pop(list)))
		free(chunk);
}

/* Four classes for each power of two. */
static unsigned int class_of(size_t bytes)
{
	unsigned int log;

	if (bytes <= SMALLEST)
		return 0;
	log = 63 - __builtin_clzll(bytes - 1);
	return (log - SMALLEST_LOG) * 4 + ((bytes - 1) >> (log - 2)) - 4 + 1;
}

static size_t size_of_class(unsigned int class)
{
	return (size_t)(SMALLEST / 4) * (4 + class % 4) << class / 4;
}

static void *get_large(struct pool *pool, size_t bytes)
{
	unsigned char *chunk = malloc(CHUNK_HEAD + bytes);

	if (!chunk)
		return NULL;
	push(&pool->large, chunk);
	return chunk + CHUNK_HEAD;
}

static bool next_chunk(struct pool *pool)
{
	void *chunk;

	if (!pool->chunks)
		pool->ready = atomic_exchange(&kept_chunks, NULL);
	chunk = pop(&pool->ready);
	if (!chunk)
		chunk = malloc(CHUNK_HEAD + CHUNK_BYTES);
	if (!chunk)
		return false;
	push(&pool->chunks, chunk);
	pool->at = (unsigned char *)chunk + CHUNK_HEAD;
	pool->left = CHUNK_BYTES;
	return true;
}

void *pool_get(struct pool *pool, size_t bytes)
{
	unsigned int class = class_of(bytes);
	size_t size = size_of_class(class);
	void *at;

	if (class >= POOL_CLASSES)
		return NULL;
	at = pop(&pool->spare[class]);
	if (at)
		return at;
	if (size > CHUNK_BYTES / 4)
		return get_large(pool, size);
	if (size > pool->left && !next_chunk(pool))
		return NULL;
	at = pool->at;
	pool->at += size;
	pool->left -= size;
	return at;
}

void pool_put(struct pool *pool, void *at, size_t bytes)
{
	push(&pool->spare[class_of(bytes)], at);
}

void pool_end(struct pool *pool)
{
	unsigned int nr = 0;
	void *keep = NULL;
	void *chunk;

	free_all(&pool->large);
	while ((chunk = pop(&pool->chunks)) || (chunk = pop(&pool->ready))) {
		if (nr++ < KEPT_CHUNKS)
			push(&keep, chunk);
		else
			free(chunk);
	}
	keep = atomic_exchange(&kept_chunks, keep);
	free_all(&keep);
}
#endif /* EACH_APART */
