// SPDX-License-Identifier: GPL-2.0
/* The least of what every member allows. */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(nothing, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(by_default, .filter = (void *)nothing);
BLK_BPF_PROGRAM(largest, .filter = (void *)nothing, .unit = BLK_BPF_UNIT_MAX,
		.overlap = BLK_BPF_OVERLAP_MAX, .name = "Az09_.-longest1");
BLK_BPF_PROGRAM(smallest, .filter = (void *)nothing, .unit = 1);
