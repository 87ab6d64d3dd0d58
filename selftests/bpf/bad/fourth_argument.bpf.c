// SPDX-License-Identifier: GPL-2.0
/* Refused: (doesn't have 4-th argument|invalid bpf_context access) */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int fourth_argument(volatile __u64 *args)
{
	return args[3] & 1;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)fourth_argument);
