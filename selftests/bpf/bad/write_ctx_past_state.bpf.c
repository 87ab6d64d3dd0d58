// SPDX-License-Identifier: GPL-2.0
/* Refused: write of 8 bytes at offset 96 of ctx: only ctx->state */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(write_ctx_past_state, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	ctx->hints[0] = 1;
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)write_ctx_past_state);
