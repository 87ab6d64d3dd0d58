// SPDX-License-Identifier: GPL-2.0
/*
 * Behind the part of ctx that programs see lies what is the kernel's own.
 *
 * Refused: access beyond struct
 */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(read_behind_ctx, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return ((volatile __u64 *)(ctx + 1))[64] == 0;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)read_behind_ctx);
