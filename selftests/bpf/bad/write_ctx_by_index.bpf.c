// SPDX-License-Identifier: GPL-2.0
/* Refused: R[0-9] is .*ptr_blk_bpf_kctx invalid variable offset */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(write_ctx_by_index, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	ctx->state[(ctx->pos >> 12) & 3] = 1;
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)write_ctx_by_index);
