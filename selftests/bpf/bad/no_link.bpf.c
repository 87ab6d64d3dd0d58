// SPDX-License-Identifier: GPL-2.0
/* Refused: section \.struct_ops: put it into \.struct_ops\.link */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(nothing, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return BLK_BPF_SKIP;
}

SEC(".struct_ops") struct blk_bpf_ops bad = { .filter = (void *)nothing };
