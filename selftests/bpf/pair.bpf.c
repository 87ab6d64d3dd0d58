// SPDX-License-Identifier: GPL-2.0
/* Every place where byte args[0] is followed by byte args[1]. */
#include <bpf/blk_bpf.h>

static __always_inline int search(struct blk_bpf_ctx *ctx, const __u8 *data,
				  const void *data_end)
{
	const __u8 first = ctx->args[0], second = ctx->args[1];
	__u32 i;

	bpf_for(i, 0, BLK_BPF_UNIT_MAX) {
		if (i >= BLK_BPF_UNIT_MAX || i >= ctx->len ||
		    (void *)data + i + 2 > data_end)
			break;
		if (data[i] == first && data[i + 1] == second)
			blk_bpf_emit(ctx, i, 2);
	}
	return BLK_BPF_SKIP;
}

#define PAIR(_overlap)							\
SEC("struct_ops/filter")						\
int BLK_BPF_FILTER(p_##_overlap, struct blk_bpf_ctx *ctx,		\
		   const void *data, const void *data_end)		\
{									\
	return search(ctx, data, data_end);				\
}									\
BLK_BPF_PROGRAM(pair_##_overlap, .filter = (void *)p_##_overlap,	\
		.overlap = _overlap)

PAIR(0);
PAIR(1);
PAIR(63);
PAIR(4096);
