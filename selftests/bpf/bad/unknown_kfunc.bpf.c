// SPDX-License-Identifier: GPL-2.0
/* Refused: blk_bpf_erase */
#include <bpf/blk_bpf.h>

extern int blk_bpf_erase(struct blk_bpf_ctx *ctx) __ksym;

SEC("struct_ops/filter")
int BLK_BPF_FILTER(unknown_kfunc, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return blk_bpf_erase(ctx);
}

BLK_BPF_PROGRAM(bad, .filter = (void *)unknown_kfunc);
