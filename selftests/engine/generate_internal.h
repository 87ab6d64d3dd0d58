/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of the generator know about each other. */
#ifndef SELFTESTS_ENGINE_GENERATE_INTERNAL_H
#define SELFTESTS_ENGINE_GENERATE_INTERNAL_H

#include "generate.h"
#include "insn.h"

struct generator {
	struct random *r;
	struct bpfvm_insn *insns;
	uint32_t nr;
	enum bpfvm_abi abi;
	uint32_t calls[16];	/* call instructions to be pointed somewhere */
	bool loops[16];		/* ... it is a bpf_loop(): an ld_imm64 */
	uint32_t nr_calls;
	unsigned int depth;
	unsigned int loops_deep;
	bool in_callee;
};

void put(struct generator *g, uint8_t code, uint8_t dst, uint8_t src,
	 int16_t off, int32_t imm);
void put_imm64(struct generator *g, uint8_t dst, uint8_t src, int32_t low,
	       int32_t high);
int64_t edge_value(struct random *r);
/* A register that holds a number. */
uint8_t number(struct generator *g);
void load_number(struct generator *g, uint8_t dst);
uint8_t random_jump(struct generator *g);
uint8_t random_size(struct generator *g);
void load_from(struct generator *g, uint8_t ptr, int16_t off);
void store_to(struct generator *g, uint8_t ptr, int16_t off);
/* The jump goes to where the next instruction will be. */
void patch(struct generator *g, uint32_t jump);

/* generate_loops.c: loops of the forms that the JIT treats in a way of its own */
void stmt_loop(struct generator *g);

#endif
