// SPDX-License-Identifier: GPL-2.0
/* Calls: of helpers, of the program's own functions, and bpf_loop(). */
#include <errno.h>
#include <string.h>

#include "verifier.h"

/* The kernel's limit of bpf_loop() and bpf_iter_num. */
#define MAX_LOOPS	(1 << 23)

static void clobber(struct state *st)
{
	for (int i = 0; i <= 5; i++)
		memset(&st->r[i], 0, sizeof(st->r[i]));
}

static int check_ctx_arg(struct verifier *v, struct state *st, uint32_t pc,
			 unsigned int reg)
{
	const struct val *a = &st->r[reg];

	if (a->type != VAL_PTR || a->region != REGION_CTX || a->null ||
	    !val_known(a) || a->umin)
		return complain(v, pc, "r%u has to be the ctx that the program was called with",
				reg);
	return 0;
}

static int check_iter_arg(struct verifier *v, struct state *st, uint32_t pc,
			  unsigned int reg, bool fresh)
{
	struct val *a = &st->r[reg];
	struct val size;
	int err;

	val_set_known(&size, 8);
	if (a->type != VAL_PTR || a->region != REGION_STACK || a->null ||
	    !val_known(a) || a->umin % 8)
		return complain(v, pc, "r%u has to be 8 aligned bytes of the stack",
				reg);
	err = check_helper_mem(v, st, pc, reg, &size,
			       fresh ? USE_WRITE : USE_READ);
	if (err)
		return err;
	/* Its content changes with every call. */
	return stack_fill(st, a->where, a->umin, 8);
}

static int check_arg(struct verifier *v, struct state *st, uint32_t pc,
		     unsigned int reg, enum bpfvm_arg arg)
{
	int err = need_value(v, st, pc, reg);

	if (err)
		return err;
	switch (arg) {
	case BPFVM_ARG_NUM:
	case BPFVM_ARG_SIZE:
		return need_number(v, st, pc, reg, "this argument");
	case BPFVM_ARG_CTX:
		return check_ctx_arg(v, st, pc, reg);
	case BPFVM_ARG_MEM_READ:
	case BPFVM_ARG_MEM_WRITE:
		err = need_number(v, st, pc, reg + 1, "the size of the memory");
		if (err)
			return err;
		return check_helper_mem(v, st, pc, reg, &st->r[reg + 1],
					arg == BPFVM_ARG_MEM_READ ? USE_READ :
								    USE_WRITE);
	case BPFVM_ARG_ITER_NEW:
	case BPFVM_ARG_ITER:
		return check_iter_arg(v, st, pc, reg,
				      arg == BPFVM_ARG_ITER_NEW);
	default:
		return 0;
	}
}

int step_helper(struct verifier *v, struct state *st, uint32_t pc)
{
	uint32_t id = v->prog->insns[pc].imm;
	const struct bpfvm_helper *helper = find_helper(v->prog, id);
	struct val first = st->r[1];
	int err;

	if (v->final)
		v->prog->aux[pc].where = helper - v->prog->helpers;
	for (int i = 0; i < 5 && helper->arg[i] != BPFVM_ARG_NONE; i++) {
		err = check_arg(v, st, pc, i + 1, helper->arg[i]);
		if (err)
			return err;
	}
	clobber(st);
	switch (helper->ret) {
	case BPFVM_RET_NUM:
		val_set_num(&st->r[0]);
		break;
	case BPFVM_RET_MEM:
		val_set_ptr(&st->r[0], REGION_MEM, helper->ret_size, 0);
		st->r[0].null = NULL_MAYBE;
		st->r[0].id = 0;
		break;
	case BPFVM_RET_ITER:
		st->r[0] = first;
		st->r[0].null = NULL_MAYBE;
		st->r[0].id = 0;
		break;
	}
	state_name(&v->j, &st->r[0]);
	return 0;
}

int64_t call_target(struct verifier *v, struct state *st, uint32_t pc)
{
	const struct bpfvm_insn *insn = &v->prog->insns[pc];
	unsigned int reg = insn->code == CODE_CALLX ? insn_dst(insn) : 2;
	int err;

	if (insn->code == CODE_CALL && insn_src(insn) == CALL_LOCAL)
		return (int64_t)pc + 1 + insn->imm;
	err = need_value(v, st, pc, reg);
	if (err)
		return err;
	if (st->r[reg].type != VAL_FUNC)
		return complain(v, pc, "r%u has to be a function of the program",
				reg);
	return st->r[reg].where;
}

int check_loop(struct verifier *v, struct state *st, uint32_t pc)
{
	int err = need_number(v, st, pc, 1, "the number of rounds");

	if (!err)
		err = need_value(v, st, pc, 3);
	if (!err)
		err = need_number(v, st, pc, 4, "the flags argument");
	return err;
}

void enter_function(struct state *st)
{
	struct frame *caller = &st->frames[st->depth];

	memset(caller->saved, 0, NR_SAVED * sizeof(*caller->saved));
	for (int i = 0; i < 4; i++)
		caller->saved[i] = st->r[6 + i];
	caller->saved[SAVED_LOOP_NR] = st->r[1];
	caller->saved[SAVED_LOOP_CTX] = st->r[3];
	st->depth++;
	st->frames[st->depth].nr = 0;
	memset(&st->r[0], 0, sizeof(st->r[0]));
	for (int i = 6; i < 10; i++)
		memset(&st->r[i], 0, sizeof(st->r[i]));
	val_set_ptr(&st->r[10], REGION_STACK, st->depth, BPFVM_FRAME_SIZE);
}

static bool points_to_frame(const struct val *v, uint32_t frame)
{
	return v->type == VAL_PTR && v->region == REGION_STACK &&
	       v->where == frame;
}

/* Return to the caller. What points to the frame that is gone is gone too. */
void leave_function(struct state *st)
{
	uint32_t gone = st->depth;
	struct frame *caller = &st->frames[gone - 1];

	if (points_to_frame(&st->r[0], gone))
		memset(&st->r[0], 0, sizeof(st->r[0]));
	for (uint32_t f = 0; f < gone; f++) {
		struct frame *frame = &st->frames[f];

		for (uint32_t i = 0; i < frame->nr; i++) {
			if (points_to_frame(&frame->slots[i].v, gone))
				memset(&frame->slots[i], 0,
				       sizeof(frame->slots[i]));
		}
	}
	for (int i = 1; i <= 5; i++)
		memset(&st->r[i], 0, sizeof(st->r[i]));
	for (int i = 0; i < 4; i++)
		st->r[6 + i] = caller->saved[i];
	st->depth = gone - 1;
	val_set_ptr(&st->r[10], REGION_STACK, st->depth, BPFVM_FRAME_SIZE);
}

/* From the state after enter_function() to the entry of a loop's callback. */
void enter_callback(struct state *st)
{
	const struct frame *caller = &st->frames[st->depth - 1];
	uint64_t most = caller->saved[SAVED_LOOP_NR].umax;

	if (most > MAX_LOOPS)
		most = MAX_LOOPS;
	val_set_range(&st->r[1], 0, most ? most - 1 : 0);
	st->r[2] = caller->saved[SAVED_LOOP_CTX];
	for (int i = 3; i <= 5; i++)
		memset(&st->r[i], 0, sizeof(st->r[i]));
}

/* From the state after leave_function() to the next round of the callback. */
void repeat_callback(struct state *st)
{
	st->depth++;
	st->frames[st->depth].nr = 0;
	memset(&st->r[0], 0, sizeof(st->r[0]));
	for (int i = 6; i < 10; i++)
		memset(&st->r[i], 0, sizeof(st->r[i]));
	val_set_ptr(&st->r[10], REGION_STACK, st->depth, BPFVM_FRAME_SIZE);
	enter_callback(st);
}

void finish_loop(struct state *st)
{
	clobber(st);
	/* Rounds, or -EINVAL or -E2BIG. */
	val_set_num(&st->r[0]);
	val_cut(&st->r[0], 0, UINT64_MAX, -4095, MAX_LOOPS);
}

int check_exit(struct verifier *v, struct state *st, uint32_t pc, bool loop)
{
	int err;

	/* A function may return nothing: who reads that all the same is refused. */
	if (st->depth && !loop)
		return 0;
	err = need_value(v, st, pc, 0);
	if (err)
		return err;
	if (loop)
		return need_number(v, st, pc, 0, "what a callback returns");
	if (st->r[0].type != VAL_NUM)
		return complain(v, pc, "a pointer would leak into r0, the result of the program");
	return 0;
}
