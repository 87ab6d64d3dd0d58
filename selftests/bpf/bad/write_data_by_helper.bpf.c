// SPDX-License-Identifier: GPL-2.0
/* Refused: (R1 type=pkt expected|helper access to the packet is not allowed) */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(write_data_by_helper, struct blk_bpf_ctx *ctx,
		   void *data, const void *data_end)
{
	if (data + 8 > data_end)
		return BLK_BPF_SKIP;
	bpf_probe_read_kernel(data, 8, ctx);
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)write_data_by_helper);
