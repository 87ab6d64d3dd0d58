// SPDX-License-Identifier: GPL-2.0
/* Refused: program sleepable is sleepable, .* without \.s */
#include <bpf/blk_bpf.h>

SEC("struct_ops.s/filter")
int BLK_BPF_FILTER(sleepable, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)sleepable);
