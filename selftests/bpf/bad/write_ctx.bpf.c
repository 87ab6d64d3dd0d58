// SPDX-License-Identifier: GPL-2.0
/*
 * Refused: write of 8 bytes at offset 8 of ctx: only ctx->state \(offsets 64 to 95\) can be written
 */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(write_ctx, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	ctx->pos = 0;
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)write_ctx);
