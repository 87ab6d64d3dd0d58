// SPDX-License-Identifier: GPL-2.0
/*
 * Verifying a program makes and drops states by the thousand. The heap would go
 * back to the system and be faulted in again between them; a pool keeps what was
 * given back, by powers of two, until it ends.
 */
#include <stdlib.h>

#include "pool.h"

#define SMALLEST	32
#define CHUNK_BYTES	(128 << 10)
/* Before what is given out, to keep it aligned for anything. */
#define CHUNK_HEAD	16

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
#else
static unsigned int class_of(size_t bytes)
{
	unsigned int class = 0;

	while ((size_t)SMALLEST << class < bytes)
		class++;
	return class;
}

static unsigned char *new_chunk(struct pool *pool, size_t bytes)
{
	unsigned char *chunk = malloc(CHUNK_HEAD + bytes);

	if (!chunk)
		return NULL;
	*(void **)chunk = pool->chunks;
	pool->chunks = chunk;
	return chunk + CHUNK_HEAD;
}

void *pool_get(struct pool *pool, size_t bytes)
{
	unsigned int class = class_of(bytes);
	size_t size = (size_t)SMALLEST << class;
	void *at;

	if (class >= POOL_CLASSES)
		return NULL;
	at = pool->spare[class];
	if (at) {
		pool->spare[class] = *(void **)at;
		return at;
	}
	if (size > CHUNK_BYTES / 4)
		return new_chunk(pool, size);
	if (size > pool->left) {
		unsigned char *chunk = new_chunk(pool, CHUNK_BYTES);

		if (!chunk)
			return NULL;
		pool->at = chunk;
		pool->left = CHUNK_BYTES;
	}
	at = pool->at;
	pool->at += size;
	pool->left -= size;
	return at;
}

void pool_put(struct pool *pool, void *at, size_t bytes)
{
	unsigned int class = class_of(bytes);

	*(void **)at = pool->spare[class];
	pool->spare[class] = at;
}

#endif /* EACH_APART */

void pool_end(struct pool *pool)
{
	while (pool->chunks) {
		void *chunk = pool->chunks;

		pool->chunks = *(void **)chunk;
		free(chunk);
	}
}
