// SPDX-License-Identifier: GPL-2.0
/*
 * Fails reads of a part of the device, as a bad medium would.
 *
 *	blkbpf attach --may-fail --arg 0=1M --arg 1=4K deny.bpf.o /dev/nvme0n1
 */
#include <bpf/blk_bpf.h>

/* Arguments: where the part begins, and how long it is (bytes). */
#define START	0
#define LENGTH	1

SEC("struct_ops/filter")
int BLK_BPF_FILTER(deny, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	__u64 start = ctx->args[START], end = start + ctx->args[LENGTH];

	if (ctx->pos < end && ctx->pos + ctx->len > start)
		return BLK_BPF_FAIL_MEDIUM;
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(deny_ops, .filter = (void *)deny, .unit = 512, .name = "deny");
