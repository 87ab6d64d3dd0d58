// SPDX-License-Identifier: GPL-2.0
/* Refused: \.overlap = 4097 is too large: at most 4096 bytes */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(nothing, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)nothing, .overlap = BLK_BPF_OVERLAP_MAX + 1);
