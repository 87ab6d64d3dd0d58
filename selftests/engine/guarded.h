/* SPDX-License-Identifier: GPL-2.0 */
/* Memory before and behind which there is none. */
#ifndef SELFTESTS_ENGINE_GUARDED_H
#define SELFTESTS_ENGINE_GUARDED_H

#include <stdint.h>
#include <sys/mman.h>

#define GUARD	65536UL

/* @size bytes whose end is the end of a page; NULL if there is no memory. */
static inline uint8_t *guarded_new(size_t size)
{
	size_t room = (size + GUARD - 1) / GUARD * GUARD;
	uint8_t *at = mmap(NULL, room + 2 * GUARD, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED ||
	    mprotect(at + GUARD, room, PROT_READ | PROT_WRITE))
		return NULL;
	return at + GUARD + room - size;
}

#endif
