// SPDX-License-Identifier: GPL-2.0
/* All the ways in which state words may be written, in a static function too. */
#include <bpf/blk_bpf.h>

struct words {
	__u64 state[BLK_BPF_NR_STATE];
	__u64 read_by_static;
} words;

static __noinline __u64 total(const __u8 *p, const void *end)
{
	__u64 sum = 0;
	int i;

	for (i = 0; i < 16; i++) {
		if ((void *)p + i + 1 > end)
			break;
		sum += p[i];
	}
	return sum;
}

SEC("struct_ops/filter")
int BLK_BPF_FILTER(state, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	*(volatile __u8 *)&ctx->state[0] = 0x11;
	*((volatile __u8 *)&ctx->state[0] + 7) = 0x22;
	*(volatile __u16 *)&ctx->state[1] = 0x3333;
	*(volatile __u32 *)&ctx->state[2] = 0x44444444;
	__sync_fetch_and_add(&ctx->state[3], 5);
	__sync_fetch_and_add(&ctx->state[3], ctx->state[3]);

	words.state[0] = ctx->state[0];
	words.state[1] = ctx->state[1];
	words.state[2] = ctx->state[2];
	words.state[3] = ctx->state[3];
	words.read_by_static = total(data, data_end);
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(state_ops, .filter = (void *)state);
