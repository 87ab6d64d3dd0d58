// SPDX-License-Identifier: GPL-2.0
/* Refused: \.unit = 32769 is too large: at most 32768 bytes */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(nothing, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)nothing, .unit = BLK_BPF_UNIT_MAX + 1);
