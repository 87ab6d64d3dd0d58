// SPDX-License-Identifier: GPL-2.0
/* Refused: BPF_ATOMIC (stores|loads) into R[0-9] pkt is not allowed */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(write_data_atomic, struct blk_bpf_ctx *ctx,
		   __u64 *data, const void *data_end)
{
	if ((void *)data + 8 > data_end)
		return BLK_BPF_SKIP;
	__sync_fetch_and_add(data, 1);
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)write_data_atomic);
