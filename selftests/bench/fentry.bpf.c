// SPDX-License-Identifier: GPL-2.0
/*
 * What a kernel without blk_bpf offers, to compare with: an empty tracing
 * program on the completion of bios, which sees no data.
 */
#include <bpf/blk_bpf.h>

SEC("fentry/bio_endio")
int empty_fentry(void *args)
{
	return 0;
}
