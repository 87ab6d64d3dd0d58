/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One unit through one program: the kernel's side of the contract, shared by
 * scans and live I/O. No function of this file sleeps.
 */
#ifndef BLK_BPF_RUN_H
#define BLK_BPF_RUN_H

#include <linux/filter.h>

#include "blk_bpf.h"

/**
 * struct blk_bpf_kctx - a ctx as the verifier knows it
 * @u:       what programs see
 * @pointer: always NULL; programs have no business here
 *
 * The verifier lets any memory stand for a struct of scalars, so that without
 * a pointer in the type a program could forge a ctx on its stack and hand it
 * to a kfunc. With one it is refused ("must point to scalar"). The private
 * part is found by container_of(), so that there is nothing to leak.
 */
struct blk_bpf_kctx {
	struct blk_bpf_ctx u;
	void *pointer;
};

/**
 * struct blk_bpf_ops - a program; the kernel's side of the BPF struct_ops type
 * @filter:  for every unit; see enum blk_bpf_ret for what it returns. Its type
 *	     is what the verifier goes by; it is called by blk_bpf_run_unit()
 * @unit:    bytes a call, never 0 here
 * @overlap: bytes after the unit that a call sees
 * @name:    NUL-terminated
 */
struct blk_bpf_ops {
	int (*filter)(struct blk_bpf_kctx *ctx, void *data, void *data_end);
	u32 unit;
	u32 overlap;
	char name[BLK_BPF_NAME_LEN];
};

/* progmap.c: from a map, or from what is in it, to the program */
int blk_bpf_program_of_map(struct bpf_map *map, struct blk_bpf_program *program,
			   struct blk_bpf_msg *msg);
int blk_bpf_program_of_ops(const struct blk_bpf_ops *ops,
			   struct blk_bpf_program *program,
			   struct blk_bpf_msg *msg);

/**
 * struct blk_bpf_run - a program being called, and what it emitted
 * @args:    what the program's r1 points to: kctx, data, data_end
 * @kctx:    handed to the program, and all that it reaches
 * @visible: data_end - data of this call (bytes)
 * @dev:     what blk_bpf_match.dev says
 * @emitted: matches of this call
 * @err:     the first error of blk_bpf_emit() in this call, or 0
 * @nr:      matches in @out
 * @cap:     room in @out
 * @out:     matches of this and of former calls, in the order of emitting
 * @more:    makes room in @out when @nr reaches @cap; 0 or an error
 *
 * Emitting needs no lock: a run belongs to the CPU and the context that calls.
 */
struct blk_bpf_run {
	u64 args[3];
	struct blk_bpf_kctx kctx;
	u32 visible;
	u32 dev;
	u32 emitted;
	int err;
	u32 nr;
	u32 cap;
	struct blk_bpf_match *out;
	int (*more)(struct blk_bpf_run *run);
};

void blk_bpf_run_init(struct blk_bpf_run *run, u32 unit, u32 flags,
		      const u64 *args);
int blk_bpf_run_add(struct blk_bpf_run *run, u32 off, u32 len);
int blk_bpf_run_emit(struct blk_bpf_run *run, u32 off, u32 len);

/**
 * blk_bpf_run_unit - call a program for one unit
 * @run:     initialised; kctx.u.flags and op are the caller's
 * @prog:    the program
 * @pos:     of the unit's first byte on the device
 * @data:    @visible contiguous bytes
 * @len:     bytes of the unit
 * @visible: @len and what the program may see of the bytes behind it
 *
 * The program is called as the struct_ops trampoline would call it, with the
 * same array of arguments, but without the trampoline: it costs more than an
 * empty filter and all of the hook together, a unit, and what it does (RCU,
 * staying on the CPU) a caller does once for many units.
 *
 * Context: RCU read side, on a CPU that cannot change.
 * Return: what the program returned, unchecked (see blk_bpf_ret_is_nonsense()),
 * but BLK_BPF_MATCH has become a match and BLK_BPF_SKIP; or the first error of
 * an emit, which @run->err tells from the program's own.
 */
static __always_inline int
blk_bpf_run_unit(struct blk_bpf_run *run, const struct bpf_prog *prog,
		 u64 pos, void *data, u32 len, u32 visible)
{
	struct blk_bpf_ctx *ctx = &run->kctx.u;
	int ret;

	ctx->pos = pos;
	ctx->len = len;
	memset(ctx->state, 0, sizeof(ctx->state));
	run->visible = visible;
	run->emitted = 0;
	run->args[1] = (unsigned long)data;
	run->args[2] = (unsigned long)data + visible;

	ret = bpf_prog_run(prog, run->args);
	if (ret == BLK_BPF_MATCH) {
		blk_bpf_run_add(run, 0, len);
		ret = BLK_BPF_SKIP;
	}
	if (unlikely(run->err))
		return run->err;
	return ret;
}

/* kfuncs.c: what programs call */
int blk_bpf_emit(struct blk_bpf_kctx *ctx, u32 off, u32 len);

/* A value that no program may return. */
static inline bool blk_bpf_ret_is_nonsense(int ret)
{
	return ret > BLK_BPF_STOP || ret < -MAX_ERRNO;
}

#endif /* BLK_BPF_RUN_H */
