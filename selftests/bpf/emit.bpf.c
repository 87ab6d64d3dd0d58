// SPDX-License-Identifier: GPL-2.0
/*
 * In the unit at args[3]: args[2] matches of args[1] bytes, the first at
 * args[0], each one byte before the last, so that they come out of order.
 */
#include <bpf/blk_bpf.h>

struct told {
	__u64 calls;
	__s64 first_error;
} told;

SEC("struct_ops/filter")
int BLK_BPF_FILTER(emit, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	__u32 off = ctx->args[0], len = ctx->args[1], nr = ctx->args[2], i;

	if (ctx->pos != ctx->args[3])
		return BLK_BPF_SKIP;
	bpf_for(i, 0, nr) {
		int err = blk_bpf_emit(ctx, off - (nr > 60000 ? 0 : i), len);

		told.calls++;
		if (err && !told.first_error)
			told.first_error = err;
	}
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(emit_0, .filter = (void *)emit);
BLK_BPF_PROGRAM(emit_64, .filter = (void *)emit, .overlap = 64);
