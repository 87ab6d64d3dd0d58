// SPDX-License-Identifier: GPL-2.0
/* A kernel that does not have a feature yet refuses it by its name.
 *
 * Refused: struct_ops init_kern bad: Cannot find member compress in kernel BTF
 */
#define blk_bpf_ops blk_bpf_ops___ours
#include <bpf/blk_bpf.h>
#undef blk_bpf_ops

struct blk_bpf_ops {
	int (*filter)(struct blk_bpf_ctx *ctx, void *data, void *data_end);
	__u32 unit;
	__u32 overlap;
	char name[BLK_BPF_NAME_LEN];
	__u32 compress;
};

SEC("struct_ops/filter")
int BLK_BPF_FILTER(nothing, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return BLK_BPF_SKIP;
}

SEC(".struct_ops.link") struct blk_bpf_ops bad = {
	.filter = (void *)nothing,
	.compress = 1,
};
