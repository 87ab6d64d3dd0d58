// SPDX-License-Identifier: GPL-2.0
/* An object with one of everything that the reader has to resolve. */
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;

#define SEC(name)	__attribute__((section(name), used))
#define __ksym		__attribute__((section(".ksyms")))

struct ops {
	u64 (*filter)(u64 *args);
	u32 unit;
	u32 overlap;
	char name[16];
};

extern int add_match(void *ctx, u32 off, u32 len) __ksym;
extern int not_there(void *ctx) __ksym;
static long (*loop)(u32 rounds, void *callback, void *ctx, u64 flags) =
	(void *)181;

const volatile u32 limit = 5;
u32 start = 100;
u64 calls;

static __attribute__((noinline)) u64 twice(u64 n)
{
	calls++;
	return n * 2;
}

struct sum {
	const u8 *data;
	const u8 *end;
	u64 all;
};

static long add_byte(u32 i, struct sum *sum)
{
	const u8 *p = sum->data + (i & 255);

	if (p + 1 > sum->end)
		return 1;
	sum->all += *p;
	return 0;
}

/* Byte sum of what there is, up to limit bytes, doubled, plus start. */
SEC("struct_ops/first") u64 first(u64 *args)
{
	struct sum sum = { (const u8 *)args[1], (const u8 *)args[2], 0 };

	loop(limit, add_byte, &sum, 0);
	add_match((void *)args[0], sum.all, 1);
	start++;
	return twice(sum.all) + start;
}

SEC("struct_ops/second") u64 second(u64 *args)
{
	return not_there((void *)args[0]);
}

SEC(".struct_ops.link") struct ops one = {
	.filter = first, .unit = 4096, .overlap = 7, .name = "first-one",
};
SEC(".struct_ops.link") struct ops two = { .filter = second, .unit = 512 };
