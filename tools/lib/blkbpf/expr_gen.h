/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A tree to instructions. r6 is the ctx, r7 the end of the record, r8 data_end, r9
 * the record's offset; r0 to r5 hold values. A field that was loaded stays where it
 * is until its register is needed, so that it is loaded once along each way through
 * the expression: every jump brings what is known of the registers to its target.
 */
#ifndef LIBBLKBPF_EXPR_GEN_H
#define LIBBLKBPF_EXPR_GEN_H

#include "expr.h"

#define NR_REGS		6
#define CTX		6
#define END_OF_RECORD	7
#define DATA_END	8
#define OFFSET		9

/* What a register holds: a field, or a node that occurs more than once. */
struct key {
	const struct node *node;	/* NULL for a field */
	struct field field;
};

struct held {
	bool valid;
	struct key key;
};

/* What is known where a label is jumped to. */
struct known {
	bool reached;
	struct held held[NR_REGS];
};

/* How often a value is asked for, from here on. */
struct use {
	struct key key;
	uint32_t left;
};

struct gen {
	struct expr *expr;
	struct code *code;
	struct held held[NR_REGS];
	uint32_t refs[NR_REGS];
	bool reachable;
	struct known *known;
	uint32_t nr_known;
	struct use *uses;
	uint32_t nr_uses;
};

/* expr_value.c */
struct key gen_key(const struct node *n);
/* Of a field as it lies there. */
struct key gen_raw_key(const struct field *field);
/* What will be asked for, which decides what stays in a register. */
void gen_count_uses(struct gen *g, const struct node *n);
void gen_used(struct gen *g, const struct key *key);
/*
 * Whether a field is compared as it lies there: with a number, by == or != in
 * whatever byte order and sign, or by any operator if it has 32 bits.
 */
bool gen_is_raw(const struct node *n);
/* A range is two comparisons. */
void gen_split_range(const struct node *n, struct node *low, struct node *high);

unsigned int gen_alloc(struct gen *g, size_t column);
void gen_put(struct gen *g, unsigned int reg);
void gen_alu_imm(struct gen *g, uint8_t op, unsigned int reg, int32_t imm);
unsigned int gen_load(struct gen *g, const struct field *field, size_t column);
/* A register that holds the value, to be put. */
unsigned int gen_value(struct gen *g, const struct node *n);
/* Registers that a value takes to compute. */
unsigned int gen_need(const struct node *n);

uint32_t gen_label(struct gen *g);
void gen_place(struct gen *g, uint32_t label);
void gen_branch(struct gen *g, uint8_t op, unsigned int dst, unsigned int src,
		int32_t imm, uint32_t label);
void gen_goto(struct gen *g, uint32_t label);

#endif /* LIBBLKBPF_EXPR_GEN_H */
