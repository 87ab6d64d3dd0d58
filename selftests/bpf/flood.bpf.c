// SPDX-License-Identifier: GPL-2.0
/*
 * In every unit from args[1] on: args[0] matches of its first byte. A unit before
 * has none, and goes args[2] times round a loop.
 */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(flood, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	__u32 nr = ctx->args[0], rounds = ctx->args[2], i;

	if (ctx->pos < ctx->args[1]) {
		bpf_for(i, 0, rounds)
			asm volatile("");
		return BLK_BPF_SKIP;
	}
	bpf_for(i, 0, nr)
		blk_bpf_emit(ctx, 0, 1);
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(flood_ops, .filter = (void *)flood);
