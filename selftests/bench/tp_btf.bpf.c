// SPDX-License-Identifier: GPL-2.0
/*
 * Another thing that a kernel without blk_bpf offers: an empty program on the
 * tracepoint of completed requests, which sees no data either.
 */
#include <bpf/blk_bpf.h>

SEC("tp_btf/block_rq_complete")
int empty_tp_btf(void *args)
{
	return 0;
}
