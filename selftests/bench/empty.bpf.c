// SPDX-License-Identifier: GPL-2.0
/* The least that can be attached: what remains is the cost of the hook. */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(empty, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(empty_ops, .filter = (void *)empty, .unit = 4096,
		.name = "empty");
