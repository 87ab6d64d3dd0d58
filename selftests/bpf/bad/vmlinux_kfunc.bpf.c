// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that is passed to a kfunc is not checked for writing either, so that
 * only those are allowed that are known to be harmless.
 *
 * Refused: program vmlinux_kfunc: instruction [0-9]+ calls a kernel function .* that filters may not call
 */
#include <bpf/blk_bpf.h>

extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

SEC("struct_ops/filter")
int BLK_BPF_FILTER(vmlinux_kfunc, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)vmlinux_kfunc);
