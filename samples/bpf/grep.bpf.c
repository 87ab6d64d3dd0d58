// SPDX-License-Identifier: GPL-2.0
/*
 * Every place where a string of up to 64 bytes begins, also where it reaches
 * from one unit into the next.
 *
 *	blkbpf scan --set needle=EXPORT_SYMBOL grep.bpf.o /dev/nvme0n1
 */
#include <bpf/blk_bpf.h>

#define UNIT	4096
#define NEEDLE	64
#define STRIDE	64

const volatile char needle[NEEDLE];
const volatile __u32 needle_len;

struct haystack {
	struct blk_bpf_ctx *ctx;
	const char *data;
	const char *end;
};

static __noinline int begins_at(const char *p, const void *end)
{
	__u32 i;

	for (i = 1; i < NEEDLE && i < needle_len; i++) {
		if ((void *)p + i + 1 > end || p[i] != needle[i])
			return 0;
	}
	return 1;
}

SEC("struct_ops/filter")
int BLK_BPF_FILTER(grep, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	const __u32 len = needle_len;
	const char first = needle[0];
	__u32 stride, i;

	if (!len || len > NEEDLE)
		return -22;	/* EINVAL: say --set needle=TEXT */

	/* Two levels, so that the verifier walks one stride, not the unit. */
	bpf_for(stride, 0, UNIT / STRIDE) {
		for (i = 0; i < STRIDE; i++) {
			__u32 off = stride * STRIDE + i;
			const char *p = data + (off & (UNIT - 1));

			if (off >= ctx->len || (void *)p + 1 > data_end)
				return BLK_BPF_SKIP;
			if (*p == first && begins_at(p, data_end) &&
			    (void *)p + len <= data_end)
				blk_bpf_emit(ctx, off, len);
		}
	}
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(grep_ops, .filter = (void *)grep, .unit = UNIT,
		.overlap = NEEDLE - 1, .name = "grep");
