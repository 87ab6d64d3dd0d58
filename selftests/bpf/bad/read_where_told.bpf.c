// SPDX-License-Identifier: GPL-2.0
/* Refused: invalid access to packet */
#include <bpf/blk_bpf.h>

#define UNIT 4096

SEC("struct_ops/filter")
int BLK_BPF_FILTER(read_where_told, struct blk_bpf_ctx *ctx,
		   const __u8 *data, const void *data_end)
{
	if ((void *)data + UNIT > data_end)
		return BLK_BPF_SKIP;
	/* In the unit unless its first byte is one of the largest. */
	return data[17 * data[0]] < 200 ? BLK_BPF_MATCH : BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)read_where_told, .unit = UNIT);
