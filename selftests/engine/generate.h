/* SPDX-License-Identifier: GPL-2.0 */
/* Random programs of the kind that a verifier should take, most of the time. */
#ifndef SELFTESTS_ENGINE_GENERATE_H
#define SELFTESTS_ENGINE_GENERATE_H

#include "bpfvm.h"

#define GEN_MAX		1024
#define GEN_GLOBAL_SIZE	256
#define GEN_RDONLY_SIZE	64

struct random {
	uint64_t state;
};

static inline uint64_t next_random(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline uint32_t below(struct random *r, uint32_t limit)
{
	return next_random(r) % limit;
}

/*
 * A program for BPFVM_ABI_RAW or BPFVM_ABI_BLOCK with two global memories, the
 * second one read-only. Returns the number of slots.
 */
uint32_t generate(struct random *r, enum bpfvm_abi abi,
		  struct bpfvm_insn insns[GEN_MAX]);

#endif
