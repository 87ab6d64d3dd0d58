// SPDX-License-Identifier: GPL-2.0
/*
 * The verifier alone lets this through: memory that is passed to a global
 * function counts as writable there, a packet pointer included.
 *
 * Refused: write_data_in_g: function 1 is global, .* declare it static
 */
#include <bpf/blk_bpf.h>

struct bytes {
	__u8 b[16];
};

__noinline int clear(struct bytes *bytes)
{
	if (!bytes)
		return 0;
	bytes->b[0] = 0;
	return 0;
}

SEC("struct_ops/filter")
int BLK_BPF_FILTER(write_data_in_global, struct blk_bpf_ctx *ctx,
		   void *data, const void *data_end)
{
	if (data + sizeof(struct bytes) > data_end)
		return BLK_BPF_SKIP;
	return clear(data);
}

BLK_BPF_PROGRAM(bad, .filter = (void *)write_data_in_global);
