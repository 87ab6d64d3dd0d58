// SPDX-License-Identifier: GPL-2.0
/*
 * Fixed-size records, chosen by a range of two fields: what a database pushes
 * down. A record has 64 bytes and begins with its key and its value.
 *
 *	blkbpf scan --set key_min=100 --set key_max=200 --set value_max=9 \
 *		--print bytes records.bpf.o /dev/nvme0n1
 */
#include <bpf/blk_bpf.h>

struct record {
	__le64 key;
	__le32 value;
	__u8 payload[52];
};

const volatile __u64 key_min, key_max = ~0ULL;
const volatile __u32 value_min, value_max = ~0U;

SEC("struct_ops/filter")
int BLK_BPF_FILTER(records, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	/* Read once: a volatile global is read wherever it is named. */
	const __u64 first_key = key_min, last_key = key_max;
	const __u32 first_value = value_min, last_value = value_max;
	const struct record *r = data;
	__u32 i;

	if (ctx->unit % sizeof(*r))
		return -22;	/* EINVAL: a unit holds whole records */

	for (i = 0; i < BLK_BPF_UNIT_MAX / sizeof(*r); i++, r++) {
		__u64 key;
		__u32 value;

		/* A record that is cut by the end of the range is none. */
		if ((void *)(r + 1) > data_end)
			break;
		key = bpf_le64_to_cpu(r->key);
		value = bpf_le32_to_cpu(r->value);
		if (key >= first_key && key <= last_key &&
		    value >= first_value && value <= last_value)
			blk_bpf_emit(ctx, i * sizeof(*r), sizeof(*r));
	}
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(records_ops, .filter = (void *)records, .unit = 4096,
		.name = "records");
