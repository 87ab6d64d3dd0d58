/* SPDX-License-Identifier: GPL-2.0 */
/* The parts of the x86-64 JIT. */
#ifndef BPFVM_JIT_H
#define BPFVM_JIT_H

#include "internal.h"
#include "x86.h"

/* Registers that are not the program's. */
#define FUEL	R12		/* what is left of the slice */
#define THREAD	R9		/* struct bpfvm_thread; lost in C functions */
#define TMP	R10
#define TMP2	R11

/* Bits of a set of BPF registers. */
#define BIT(reg)	(1U << (reg))

enum stub_kind {
	STUB_ACCESS,
	STUB_PROOF,
	STUB_ALIGN,
	STUB_REFUEL,
};

/* Code that is rarely run, behind the rest: jumped to from @from. */
struct stub {
	uint8_t kind;
	uint32_t pc;
	uint32_t from;		/* end of the jump */
	uint32_t back;		/* STUB_REFUEL: where to go on */
};

/*
 * A value that has not been computed: base + index << scale + disp, of the
 * contents of BPF registers (NO_REG: none). Most are only used as an address,
 * or dead before they are used at all.
 */
struct pending {
	uint8_t base;
	uint8_t index;
	uint8_t scale;
	int32_t disp;
};

struct jit_state {
	struct bpfvm_prog *prog;
	struct code code;
	bool bmi2;
	bool movbe;
	bool swap;		/* the load is followed by a swap, and does both */
	bool long_jumps;
	uint16_t *live;		/* per slot: registers read after it */
	uint32_t *addr;		/* per slot: where its code is */
	uint32_t *entry;	/* per function */
	uint8_t *nr_preds;	/* per block: ways to it, 2 for more than one */
	uint32_t exit, exit_fault, refuel, any;
	struct stub *stubs;
	uint32_t nr_stubs, room_stubs;
	struct pending pending[11];
	uint16_t active;	/* registers whose pending value counts */
	uint32_t pc;
	uint16_t saved;		/* callee-saved registers of the function */
	int err;
};

extern const uint8_t jit_reg[11];

/* jit_liveness.c */
int find_liveness(struct bpfvm_prog *prog, uint16_t *live);
uint16_t insn_reads(const struct bpfvm_insn *insn);
uint16_t insn_writes(const struct bpfvm_insn *insn);

/* jit_pending.c: @live are the registers whose values are still needed */
/* The register holds its value from here on. */
void settle(struct jit_state *j, uint8_t reg, uint16_t live);
/* The content of the register is about to be overwritten. */
void before_write(struct jit_state *j, uint8_t reg, uint16_t live);
/* Every register in @live holds its value, the others are forgotten. */
void settle_all(struct jit_state *j, uint16_t live);
void forget_dead(struct jit_state *j, uint16_t live);
/* The address at offset @off of what @reg points to. */
struct ea address_of(struct jit_state *j, uint8_t reg, int32_t off,
		     uint16_t live);
/* The register is to hold a number that is not negative. */
void defer_constant(struct jit_state *j, uint8_t dst, int32_t value);
/* Put an instruction off, if it is one of those that can be. */
bool defer(struct jit_state *j, const struct bpfvm_insn *insn, uint16_t live);

/* jit_alu.c */
void jit_alu(struct jit_state *j, const struct bpfvm_insn *insn);

/* jit_access.c */
void jit_access(struct jit_state *j, const struct bpfvm_insn *insn);

/* jit_select.c */
/* If block @b jumps over one computation, that one. */
const struct bpfvm_insn *find_select(const struct jit_state *j, uint32_t b);
/* Compute it on the side; then, after the comparison, take it if @cc. */
void prepare_select(struct jit_state *j, const struct bpfvm_insn *insn);
void finish_select(struct jit_state *j, const struct bpfvm_insn *insn,
		   uint8_t cc);
/* Is the result 0 or 1, and nothing else? @first: before the jump. */
bool is_condition(const struct bpfvm_insn *first,
		  const struct bpfvm_insn *jump, const struct bpfvm_insn *over);
/* After a comparison; the register is 0. */
void set_condition(struct jit_state *j, uint8_t reg, uint8_t cc);

/* jit_x86_64.c */
/* A jump to code for a rare case, if @cc. */
struct stub *jump_to_stub(struct jit_state *j, uint8_t cc, enum stub_kind kind);
/* Call of code at a known place. */
void call_code(struct jit_state *j, uint32_t to);

#endif /* BPFVM_JIT_H */
