// SPDX-License-Identifier: GPL-2.0
/* Refused: invalid access to packet */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(read_unchecked, struct blk_bpf_ctx *ctx,
		   const __u8 *data, const void *data_end)
{
	return data[0] == 0;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)read_unchecked);
