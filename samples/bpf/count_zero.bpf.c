// SPDX-License-Identifier: GPL-2.0
/*
 * Blocks of zeros: the smallest filter that looks at all its data.
 *
 *	blkbpf scan --count count_zero.bpf.o /dev/nvme0n1
 */
#include <bpf/blk_bpf.h>

#define UNIT 4096

__u64 blocks;	/* seen, read back after a scan */

SEC("struct_ops/filter")
int BLK_BPF_FILTER(count_zero, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	const __u64 *word = data;
	__u64 ones = 0;
	int i;

	if (ctx->unit != UNIT)
		return -22;	/* EINVAL: a block has 4096 bytes here */
	/* One check for the whole unit; the last of a range may be short. */
	if (data + UNIT > data_end)
		return BLK_BPF_SKIP;
	for (i = 0; i < UNIT / 8; i++)
		ones |= word[i];

	__sync_fetch_and_add(&blocks, 1);
	return ones ? BLK_BPF_SKIP : BLK_BPF_MATCH;
}

BLK_BPF_PROGRAM(count_zero_ops, .filter = (void *)count_zero, .unit = UNIT,
		.name = "count_zero");
