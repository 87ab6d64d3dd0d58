// SPDX-License-Identifier: GPL-2.0
/* Every unit is a match, and nobody follows: what a match costs. */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(match, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return BLK_BPF_MATCH;
}

BLK_BPF_PROGRAM(match_ops, .filter = (void *)match, .unit = 4096,
		.name = "match");
