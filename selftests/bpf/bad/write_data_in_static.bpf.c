// SPDX-License-Identifier: GPL-2.0
/* Refused: cannot write into packet */
#include <bpf/blk_bpf.h>

static __noinline void clear(volatile __u8 *p, const void *end)
{
	if ((void *)p + 1 <= end)
		*p = 0;
}

SEC("struct_ops/filter")
int BLK_BPF_FILTER(write_data_in_static, struct blk_bpf_ctx *ctx,
		   __u8 *data, const void *data_end)
{
	clear(data, data_end);
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)write_data_in_static);
