// SPDX-License-Identifier: GPL-2.0
/* Refused: (infinite loop detected|BPF program is too large|too complex) */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(loop_without_end, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	volatile __u32 zero = 0;

	while (!zero)
		;
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)loop_without_end);
