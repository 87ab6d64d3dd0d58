// SPDX-License-Identifier: GPL-2.0
/*
 * Every place where a string of up to 64 bytes begins, also where it reaches
 * from one unit into the next.
 *
 *	blkbpf scan --set needle=EXPORT_SYMBOL grep.bpf.o /dev/nvme0n1
 */
#include <bpf/blk_bpf.h>

#define NEEDLE	64
#define STRIDE	64

const volatile char needle[NEEDLE];
const volatile __u32 needle_len;	/* set along with needle */

static __noinline int begins_at(const char *p, const void *end)
{
	__u32 i;

	bpf_for(i, 0, NEEDLE) {
		if (i >= needle_len)
			return 1;
		if ((void *)p + i + 1 > end || p[i] != needle[i & (NEEDLE - 1)])
			return 0;
	}
	return 1;
}

/* The long way, where something may begin or the data ends. */
static __noinline void look_at(struct blk_bpf_ctx *ctx, const char *data,
			       const void *end, __u32 start)
{
	const char first = needle[0];
	__u32 i;

	bpf_for(i, start, start + STRIDE) {
		if (i >= BLK_BPF_UNIT_MAX || i >= ctx->len)
			break;
		if ((void *)data + i + 1 > end)
			break;
		if (data[i] == first && begins_at(data + i, end))
			blk_bpf_emit(ctx, i, needle_len);
	}
}

#define EACH_BYTE(byte)	(0x0101010101010101ULL * (__u8)(byte))

SEC("struct_ops/filter")
int BLK_BPF_FILTER(grep, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	const __u32 next = needle_len > 1;
	const __u64 firsts = EACH_BYTE(needle[0]);
	const __u64 seconds = EACH_BYTE(needle[next]);
	__u32 stride;

	if (!needle_len || needle_len > NEEDLE)
		return -22;	/* EINVAL: say --set needle=TEXT */

	bpf_for(stride, 0, BLK_BPF_UNIT_MAX / STRIDE) {
		__u32 start = stride * STRIDE, i;
		__u64 none = ~0ULL, both;
		const char *p;

		if (stride >= BLK_BPF_UNIT_MAX / STRIDE || start >= ctx->len)
			break;
		/*
		 * Two bytes at eight places at once: as a rule, nothing. Where both
		 * are as wanted, a byte of "both" is zero, and taking one from it
		 * sets its high bit, which was not set. "none" gathers where that
		 * did not happen: ~((both - ones) & ~both), in fewer steps.
		 */
		p = data + start;
		if ((void *)p + STRIDE + 1 <= data_end) {
			for (i = 0; i < STRIDE; i += sizeof(__u64)) {
				both = *(__u64 *)(p + i) ^ firsts;
				both |= *(__u64 *)(p + i + next) ^ seconds;
				none &= (EACH_BYTE(1) - 1 - both) | both;
			}
			if ((none & EACH_BYTE(0x80)) == EACH_BYTE(0x80))
				continue;
		}
		look_at(ctx, data, data_end, start);
	}
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(grep_ops, .filter = (void *)grep, .unit = 4096,
		.overlap = NEEDLE, .name = "grep");
