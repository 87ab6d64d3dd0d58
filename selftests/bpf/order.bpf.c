// SPDX-License-Identifier: GPL-2.0
/*
 * Writes args[0] into a list that all links of the map share, so that the order
 * of programs shows.
 */
#include <bpf/blk_bpf.h>

struct order {
	__u64 nr;
	__u64 who[64];
} order;

SEC("struct_ops/filter")
int BLK_BPF_FILTER(order_of, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	__u64 n = __sync_fetch_and_add(&order.nr, 1);

	if (n < 64)
		order.who[n] = ctx->args[0];
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(order_ops, .filter = (void *)order_of);
