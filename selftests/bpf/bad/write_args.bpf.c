// SPDX-License-Identifier: GPL-2.0
/* Refused: blk_bpf: the argument array is read-only */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int write_args(volatile __u64 *args)
{
	args[1] = args[0];
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)write_args);
