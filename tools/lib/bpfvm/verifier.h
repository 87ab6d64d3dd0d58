/* SPDX-License-Identifier: GPL-2.0 */
/* The parts of the verifier: verify.c walks, the others judge instructions. */
#ifndef BPFVM_VERIFIER_H
#define BPFVM_VERIFIER_H

#include "state.h"

/**
 * struct verifier - the verification of a program
 * @prog:     the program
 * @final:    the states hold: complain, and fill in insn_aux
 * @learnt:   a call whose callee depends on values was met for the first time
 * @targets:  slot of a call to 1 + the function it enters, for those calls
 * @j:        for joining
 */
struct verifier {
	struct bpfvm_prog *prog;
	bool final;
	bool learnt;
	uint32_t *targets;
	struct joiner j;
};

/* Why the program is refused, if this is the final pass; returns -EINVAL. */
#define complain(v, pc, ...)						\
	((v)->final ? refuse((v)->prog, pc, __VA_ARGS__) : -EINVAL)

/* Returned instead of 0 when execution never gets past an instruction. */
#define PATH_ENDS	1

/* How an instruction uses memory */
enum use {
	USE_READ	= 1,
	USE_WRITE	= 2,
};

/* step.c */
/* Any instruction that is not a jump, exit, or call of a function. */
int step(struct verifier *v, struct state *st, uint32_t pc);
/*
 * A conditional jump: is it taken from here, is it not? The states of both
 * directions; @st is the one that falls through.
 */
int step_branch(struct verifier *v, struct state *st, struct state *taken_st,
		uint32_t pc, bool *taken, bool *falls);

/* access.c */
/* A register that has to be readable; @what it is for. */
int need_value(struct verifier *v, struct state *st, uint32_t pc,
	       unsigned int reg);
int need_number(struct verifier *v, struct state *st, uint32_t pc,
		unsigned int reg, const char *what);
/* A load, a store or an atomic operation. */
int step_access(struct verifier *v, struct state *st, uint32_t pc);
/* Memory that a helper reads or writes: all of it has to be proved. */
int check_helper_mem(struct verifier *v, struct state *st, uint32_t pc,
		     unsigned int reg, const struct val *size, enum use use);
/* The bytes of the stack were written by something that leaves no pointers. */
int stack_fill(struct state *st, uint32_t frame, int64_t off, int64_t size);

/* report.c */
/* At BPFVM_LOG_STATE: what is known before the instruction at @pc. */
void log_state(struct bpfvm_prog *prog, const struct state *st, uint32_t pc);
/* At BPFVM_LOG_NOTES: which accesses are checked at run time. */
void log_accesses(struct bpfvm_prog *prog);

/* call.c */
int step_helper(struct verifier *v, struct state *st, uint32_t pc);
/* Which function a call enters: its first slot, or -EINVAL. */
int64_t call_target(struct verifier *v, struct state *st, uint32_t pc);
/* @st becomes the state at the entry of the callee, or after its return. */
void enter_function(struct state *st);
void leave_function(struct state *st);
/* bpf_loop(): at the call, the entry of its callback, and after the last. */
int check_loop(struct verifier *v, struct state *st, uint32_t pc);
void enter_callback(struct state *st);
void repeat_callback(struct state *st);
void finish_loop(struct state *st);
/* @loop: the function that ends is the callback of a bpf_loop(). */
int check_exit(struct verifier *v, struct state *st, uint32_t pc, bool loop);

#endif /* BPFVM_VERIFIER_H */
