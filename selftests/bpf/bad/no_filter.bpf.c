// SPDX-License-Identifier: GPL-2.0
/* Refused: the program has no \.filter */
#include <bpf/blk_bpf.h>

SEC("?struct_ops/filter")
int BLK_BPF_FILTER(nothing, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .unit = 4096);
