// SPDX-License-Identifier: GPL-2.0
/* A helper of network programs.
 *
 * Refused: (program of this type cannot use helper bpf_redirect#23|unknown func bpf_redirect#23)
 */
#include <bpf/blk_bpf.h>

SEC("struct_ops/filter")
int BLK_BPF_FILTER(unknown_helper, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return bpf_redirect(1, 0) & 1;
}

BLK_BPF_PROGRAM(bad, .filter = (void *)unknown_helper);
