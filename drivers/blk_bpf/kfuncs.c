// SPDX-License-Identifier: GPL-2.0
/* What programs may call beside the base helpers of BPF. */
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/module.h>

#include "run.h"

__bpf_kfunc_start_defs();

/**
 * blk_bpf_emit - add a match inside the unit that is being filtered
 * @ctx: as the filter was given it
 * @off: from the start of the unit, below ctx->len (bytes)
 * @len: at least 1, ending inside the bytes that the call sees
 *
 * Context: any; RCU read side.
 * Return: 0; -EINVAL, -ENOSPC or -ENOMEM, and a scan then ends with it.
 */
__bpf_kfunc int blk_bpf_emit(struct blk_bpf_kctx *ctx, u32 off, u32 len)
{
	return blk_bpf_run_emit(container_of(ctx, struct blk_bpf_run, kctx),
				off, len);
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(blk_bpf_kfunc_ids)
BTF_ID_FLAGS(func, blk_bpf_emit, KF_TRUSTED_ARGS)
BTF_KFUNCS_END(blk_bpf_kfunc_ids)

static const struct btf_kfunc_id_set blk_bpf_kfunc_set = {
	.owner	= THIS_MODULE,
	.set	= &blk_bpf_kfunc_ids,
};

int blk_bpf_kfuncs_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS,
					 &blk_bpf_kfunc_set);
}
