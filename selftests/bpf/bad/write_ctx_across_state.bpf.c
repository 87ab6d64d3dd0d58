// SPDX-License-Identifier: GPL-2.0
/* Refused: write of 8 bytes at offset 60 of ctx: only ctx->state */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(write_ctx_across_state, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	*(volatile __u64 *)((char *)ctx->state - 4) = 1;
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)write_ctx_across_state);
