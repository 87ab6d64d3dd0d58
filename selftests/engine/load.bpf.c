// SPDX-License-Identifier: GPL-2.0
/*
 * A program of about 1,000 instructions, to time loading: one that looks at many
 * fields of each record, as a generated filter does, and one that is all the
 * kernels one after another.
 */
unsigned int crc_table[256];
unsigned int base64_table[256];
unsigned int bins[256];

#define KERNEL(name)							\
static __attribute__((always_inline)) u64				\
body_##name(const u8 *data, const u8 *end)

#include "kernels.h"

struct record {
	volatile u32 field[64];	/* read where it is used */
};

/* Each is five or six instructions; which way it goes depends on the data. */
#define RULE(n)								\
	do {								\
		u32 v = r->field[(n) % 64];				\
									\
		if (v > (n) * 40503u && v < (n) * 40503u + 5000)	\
			hits += v & 0xff;				\
		else if (v == (n) * 31u)				\
			hits ^= n;					\
	} while (0)

#define RULES8(n)							\
	RULE(n); RULE(n + 1); RULE(n + 2); RULE(n + 3);			\
	RULE(n + 4); RULE(n + 5); RULE(n + 6); RULE(n + 7)

#define RULES64(n)							\
	RULES8(n); RULES8(n + 8); RULES8(n + 16); RULES8(n + 24);	\
	RULES8(n + 32); RULES8(n + 40); RULES8(n + 48); RULES8(n + 56)

__attribute__((section("struct_ops/rules"))) u64 rules(u64 *args)
{
	const struct record *r = (const void *)args[1];
	u64 hits = 0;

	for (; (const void *)(r + 1) <= (const void *)args[2]; r++) {
		RULES64(1);
		RULES8(65); RULES8(73); RULES8(81); RULES8(89);
		RULES8(97); RULES8(105);
	}
	return hits;
}

__attribute__((section("struct_ops/all"))) u64 all(u64 *args)
{
	const u8 *data = (const u8 *)args[1], *end = (const u8 *)args[2];
	u64 sum = 0;

#define X(name)	sum += body_##name(data, end);
	FOR_EACH_KERNEL(X)
#undef X
	return sum;
}
