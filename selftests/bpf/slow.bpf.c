// SPDX-License-Identifier: GPL-2.0
/* Goes args[0] times round a loop for every unit in [args[1], args[2]). */
#include <bpf/blk_bpf.h>

__u64 calls;

static long round(__u32 i, void *sum)
{
	*(__u64 *)sum += i;
	return 0;
}

SEC("struct_ops/filter")
int BLK_BPF_FILTER(slow, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	__u64 sum = 0;

	__sync_fetch_and_add(&calls, 1);
	if (ctx->pos >= ctx->args[1] && ctx->pos < ctx->args[2])
		bpf_loop(ctx->args[0], round, &sum, 0);
	/* Never true, and the compiler does not know. */
	return sum == 1 ? BLK_BPF_MATCH : BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(slow_ops, .filter = (void *)slow, .unit = 4096, .name = "slow");
