// SPDX-License-Identifier: GPL-2.0
/* Refused: cannot write into packet */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(write_data, struct blk_bpf_ctx *ctx,
		   __u8 *data, const void *data_end)
{
	if ((void *)data + 1 > data_end)
		return BLK_BPF_SKIP;
	data[0] = 0;
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)write_data);
