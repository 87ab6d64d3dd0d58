// SPDX-License-Identifier: GPL-2.0
/* One unit through one program: what is not on the hot path. */
#include "run.h"

/**
 * blk_bpf_run_init - make a run ready for calls
 * @run:   zeroed or used before; out, cap and more are the caller's
 * @unit:  nominal bytes a call
 * @flags: BLK_BPF_F_* that hold for every call
 * @args:  BLK_BPF_NR_ARGS words
 */
void blk_bpf_run_init(struct blk_bpf_run *run, u32 unit, u32 flags,
		      const u64 *args)
{
	memset(&run->kctx, 0, sizeof(run->kctx));
	run->args[0] = (unsigned long)&run->kctx;
	run->kctx.u.size = sizeof(run->kctx.u);
	run->kctx.u.unit = unit;
	run->kctx.u.flags = flags;
	memcpy(run->kctx.u.args, args, sizeof(run->kctx.u.args));
	run->dev = 0;
	run->err = 0;
	run->nr = 0;
}

/* The first error stays, so that a program that ignores it loses nothing silently. */
static int run_fail(struct blk_bpf_run *run, int err)
{
	if (!run->err)
		run->err = err;
	return err;
}

/**
 * blk_bpf_run_add - add a match of the unit that is being run
 * @run: the run
 * @off: from the start of the unit
 * @len: bytes; 0 for a flush, which has no other match
 *
 * Context: any.
 * Return: 0, -ENOSPC, or the error of @run->more.
 */
int blk_bpf_run_add(struct blk_bpf_run *run, u32 off, u32 len)
{
	struct blk_bpf_match *match;
	int err;

	if (run->emitted == BLK_BPF_EMIT_MAX)
		return run_fail(run, -ENOSPC);
	if (unlikely(run->nr == run->cap)) {
		err = run->more(run);
		if (err)
			return run_fail(run, err);
	}

	match = &run->out[run->nr++];
	match->pos = run->kctx.u.pos + off;
	match->len = len;
	match->dev = run->dev;
	run->emitted++;
	return 0;
}

/**
 * blk_bpf_run_emit - what a program asks for with blk_bpf_emit()
 * @run: the run
 * @off: from the start of the unit
 * @len: bytes
 *
 * Context: any.
 * Return: -EINVAL for a range outside, or as blk_bpf_run_add().
 */
int blk_bpf_run_emit(struct blk_bpf_run *run, u32 off, u32 len)
{
	/* A call without data is for all of a bio, of which nothing is visible. */
	u32 end = max(run->visible, run->kctx.u.len);

	if (off >= run->kctx.u.len || !len || len > end - off)
		return run_fail(run, -EINVAL);
	return blk_bpf_run_add(run, off, len);
}
