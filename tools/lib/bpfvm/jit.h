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

/* X_ADD and so on: ADD, SUB, OR, AND or XOR of this machine. */
static inline uint8_t x_op_of(const struct bpfvm_insn *insn)
{
	static const uint8_t ops[16] = {
		[OP_ADD >> 4] = X_ADD, [OP_SUB >> 4] = X_SUB,
		[OP_OR >> 4] = X_OR, [OP_AND >> 4] = X_AND,
		[OP_XOR >> 4] = X_XOR,
	};

	return ops[INSN_OP(insn->code) >> 4];
}

enum stub_kind {
	STUB_ACCESS,
	STUB_PROOF,
	STUB_ALIGN,
	STUB_REFUEL,
	STUB_LEAVE,
};

/* Code that is rarely run, behind the rest: jumped to from @from. */
struct stub {
	uint8_t kind;
	uint32_t pc;
	uint32_t from;		/* end of the jump */
	uint32_t back;		/* STUB_REFUEL: where to go on */
	uint32_t slot;		/* STUB_LEAVE: where to go */
	int32_t unpaid;		/* fuel that is charged here */
};

/*
 * A value that has not been computed: base + index << scale + disp, of the
 * contents of BPF registers (NO_REG: none), or what is in memory there. Most are
 * only used as an address or operand, or dead before they are used at all.
 */
struct pending {
	uint8_t base;
	uint8_t index;
	uint8_t scale;
	uint8_t load;		/* bytes to load from there; 0: the address itself */
	int32_t disp;
};

/**
 * struct jump - a jump whose length depends on how far it goes
 * @from:     end of it
 * @target:   where the place that it goes to will be known
 * @is_short: it has a distance of 8 bits
 * @is_call:  it is a call, which has no short form
 */
struct jump {
	uint32_t from;
	const uint32_t *target;
	bool is_short;
	bool is_call;
};

/* What registers are known to hold, on the way that is being compiled. */
struct known {
	uint16_t regs;
	uint64_t value[11];
};

/* A jump into a copy of the code at @block for what is known. */
struct thread_copy {
	uint32_t block;
	uint32_t from;		/* end of the jump */
	struct known known;
};

#define MAX_LOOP_BLOCKS	8
#define MAX_ROUNDS	4
#define MAX_HOISTED	4

/* The address of an access, over what registers hold when a round begins. */
struct hoisted {
	uint32_t pc;
	uint8_t base;
	uint8_t index;
	uint8_t scale;
	int32_t disp;
	int32_t advance;	/* by how much it differs from round to round */
};

/**
 * struct loop - a small innermost loop, of which several rounds are compiled
 * @header:  block that it is entered by
 * @latch:   block that jumps back
 * @nr:      blocks
 * @blocks:  in the order of execution
 * @rounds:  how many rounds
 * @charge:  fuel of a round
 * @nr_hoisted: accesses that are checked before the rounds, not in them
 * @addr:    per round and block: where the code is
 */
struct loop {
	uint32_t header;
	uint32_t latch;
	uint32_t nr;
	uint32_t blocks[MAX_LOOP_BLOCKS];
	uint32_t rounds;
	int32_t charge;
	uint32_t nr_hoisted;
	struct hoisted hoisted[MAX_HOISTED];
	uint32_t addr[MAX_ROUNDS][MAX_LOOP_BLOCKS];
};

/**
 * struct jit_state - a compilation
 * @live:     of the program
 * @swap:     the load is followed by a swap, and does both
 * @addr:     per slot: where its code is
 * @entry:    per function
 * @nr_preds: per block: ways to it, 2 for more than one
 * @layout:   blocks in the order in which they are compiled
 * @skipped:  per block: it is part of the one before it (a select)
 * @heads:    per block: a jump back arrives there
 * @loops:    loops whose rounds are copied, by header
 * @jumps:    in the order in which they are compiled
 * @pending:  what is put off, for the registers in @active
 * @known:    constants
 * @copied:   instructions compiled for another time
 * @copying:  this is a copy: there are no labels
 * @loop:     the copy is one of a round of this loop
 * @round:    which
 * @unpaid:   fuel that this copy has not charged yet
 * @saved:    callee-saved registers of the function
 */
struct jit_state {
	struct bpfvm_prog *prog;
	struct code code;
	bool bmi2;
	bool movbe;
	bool swap;
	const uint16_t *live;
	const uint16_t *live_in;
	uint32_t *addr;
	uint32_t *entry;
	uint8_t *nr_preds;
	uint32_t *layout;
	uint8_t *skipped;
	uint8_t *heads;
	struct loop *loops;
	uint32_t nr_loops, room_loops;
	uint32_t exit, exit_fault, refuel, any;
	struct stub *stubs;
	uint32_t nr_stubs, room_stubs;
	struct thread_copy *threads;
	uint32_t nr_threads, room_threads;
	struct jump *jumps;
	uint32_t nr_jumps, room_jumps;
	struct pending pending[11];
	uint16_t active;
	struct known known;
	uint32_t copied;
	bool copying;
	struct loop *loop;
	uint32_t round;
	int32_t unpaid;
	uint32_t pc;
	uint16_t saved;
	int err;
};

extern const uint8_t jit_reg[11];

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
/* The register is to hold what is at @ea, an address over BPF registers. */
void defer_load(struct jit_state *j, uint8_t dst, const struct pending *address,
		uint8_t bytes);
/* The address of @reg plus @off as it stands, over settled registers. */
bool pending_address(struct jit_state *j, uint8_t reg, int32_t off,
		     struct pending *address);
/* Is it a load that is put off? */
bool is_load(const struct jit_state *j, uint8_t reg);
struct ea load_ea(const struct jit_state *j, uint8_t reg);
/* Memory is about to be written. */
void settle_loads(struct jit_state *j, uint16_t live);

/* jit_alu.c */
void jit_alu(struct jit_state *j, const struct bpfvm_insn *insn);

/* jit_access.c */
/* Returns the slots that were compiled with it. */
uint32_t jit_access(struct jit_state *j, const struct bpfvm_insn *insn,
		    uint32_t last);
/* Compare the address with its bounds: the condition of being outside. */
uint8_t compare_bounds(struct jit_state *j, const struct insn_aux *aux,
		       struct ea ea, uint32_t size);
/* Can operation and operand be one instruction with the load of @bytes? */
bool fuses(const struct jit_state *j, const struct bpfvm_insn *insn,
	   uint32_t pc, uint8_t reg, uint8_t bytes);

/* jit_call.c */
void jit_call(struct jit_state *j, const struct bpfvm_insn *insn);
void emit_prologue(struct jit_state *j, bool entry);
void emit_epilogue(struct jit_state *j, bool entry);

/* jit_block.c */
/*
 * Compile a block. Returns the one that is to follow, which is @next if there is
 * a choice, or NO_BLOCK.
 */
uint32_t jit_block(struct jit_state *j, uint32_t b, uint32_t next);
/* A jump to the instruction at @slot; @cc may be NO_REG. */
void jump_to_slot(struct jit_state *j, uint8_t cc, uint32_t slot);
/*
 * The block that was to follow is @b: get there, if that is not @next. Returns
 * true if @next is just entered, with what is known.
 */
bool go_on(struct jit_state *j, uint32_t b, uint32_t next);
/* From the round of a loop to what is not behind it. */
void jit_leave(struct jit_state *j, uint32_t b);
void emit_threads(struct jit_state *j);

/* jit_layout.c */
/* In which order to compile the blocks. */
int find_layout(struct jit_state *j);

/* jit_thread.c */
void know_nothing(struct known *known);
/* What is known after the instruction. */
void know_insn(struct known *known, const struct bpfvm_insn *insn);
/* Is the jump taken: 1, 0, or -1 if that is not known. */
int known_branch(const struct known *known, const struct bpfvm_insn *insn);
/* Is it worth a copy of block @b that some branch soon is decided? */
bool worth_a_copy(const struct jit_state *j, uint32_t b);

/* jit_unroll.c */
int find_loops(struct jit_state *j);
struct loop *loop_at(struct jit_state *j, uint32_t header);
/* The rounds that are not checked each, in front of the loop itself. */
void jit_rounds(struct jit_state *j, struct loop *loop);
bool is_hoisted(const struct jit_state *j, uint32_t pc);
int block_in_loop(const struct loop *loop, uint32_t b);

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
/* A jump, or with CALL_CODE a call, to what will be at *@target. */
#define CALL_CODE	0xfe
void jump_to(struct jit_state *j, uint8_t cc, const uint32_t *target);
/* A jump to code for a rare case, if @cc. */
struct stub *jump_to_stub(struct jit_state *j, uint8_t cc, enum stub_kind kind);
/* Call of code at a known place. */
void call_code(struct jit_state *j, uint32_t to);

#endif /* BPFVM_JIT_H */
