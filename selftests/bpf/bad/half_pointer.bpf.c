// SPDX-License-Identifier: GPL-2.0
/* Refused: blk_bpf: data and data_end are loaded as 8 bytes, not 4 */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int half_pointer(volatile __u32 *args)
{
	return args[2] & 1;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)half_pointer);
