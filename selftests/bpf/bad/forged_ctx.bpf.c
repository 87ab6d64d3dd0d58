// SPDX-License-Identifier: GPL-2.0
/* Refused: (must point to scalar|must be referenced or trusted) */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(forged_ctx, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	struct blk_bpf_ctx forged = { .len = 4096, .unit = 4096 };
	__u64 room[8] = {};

	blk_bpf_emit(&forged, 0, 1);
	return room[ctx->len & 7] + forged.state[0];
}

BLK_BPF_PROGRAM(bad, .filter = (void *)forged_ctx);
