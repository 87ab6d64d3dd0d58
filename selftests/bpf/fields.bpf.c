// SPDX-License-Identifier: GPL-2.0
/*
 * Records of args[0] bytes, one after the other in a unit: those whose first
 * four bytes, a little-endian number, lie in [args[1], args[2]]. A record that
 * the unit cuts off is none.
 */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(fields, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	const __u32 size = ctx->args[0];
	__u32 i, off = 0;

	if (size < 4 || size > BLK_BPF_UNIT_MAX)
		return -22;
	bpf_for(i, 0, BLK_BPF_UNIT_MAX / 4) {
		const __u8 *p;
		__u32 value;

		if (off > BLK_BPF_UNIT_MAX || off + size > ctx->len)
			break;
		p = data + off;
		if ((void *)p + 4 > data_end)
			break;
		value = p[0] | p[1] << 8 | p[2] << 16 | (__u32)p[3] << 24;
		if (value >= ctx->args[1] && value <= ctx->args[2])
			blk_bpf_emit(ctx, off, size);
		off += size;
	}
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(fields_ops, .filter = (void *)fields, .unit = 4096);
