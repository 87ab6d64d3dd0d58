/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Filters without a compiler: an expression over the fields of a record, or some
 * bytes to search for, becomes a BPF program in an object file in memory, which
 * every target loads like any other.
 *
 *	expr.c		the interface
 *	expr_lex.c	text to tokens
 *	expr_parse.c	tokens to a tree, with types
 *	expr_layout.c	names to fields, by BTF
 *	expr_code.c	instructions: registers, constants, jumps
 *	expr_value.c	numbers in registers
 *	expr_gen.c	a tree to instructions
 *	expr_match.c	bytes to search for to instructions
 *	expr_c.c	both as C
 *	expr_elf.c	instructions to an object file
 */
#ifndef LIBBLKBPF_EXPR_H
#define LIBBLKBPF_EXPR_H

#include <setjmp.h>
#include <stdio.h>
#include "internal.h"

/* Bytes of a text in an expression. */
#define EXPR_TEXT_MAX	256U
/* Bytes to search for: the verifier compares them at every place of a unit. */
#define EXPR_MATCH_MAX	64U

enum node_kind {
	NODE_NUM,	/* @num */
	NODE_FIELD,	/* an integer at @field */
	NODE_BYTES,	/* @field.off, @field.size; 0: as long as what it is compared with */
	NODE_TEXT,	/* @text, @len */
	NODE_UNARY,	/* @op of @a: '-', '~' */
	NODE_BINARY,	/* @a @op @b: + - * / % & | ^ << >> */
	NODE_COMPARE,	/* @a @op @b: == != < <= > >= */
	NODE_RANGE,	/* @a lies in @b..@c */
	NODE_BYTES_EQ,	/* NODE_BYTES @a is NODE_TEXT @b */
	NODE_AND,
	NODE_OR,
	NODE_NOT,
	NODE_TRUTH,	/* number @a is not 0 */
};

enum type {
	TYPE_BOOL,
	TYPE_S64,
	TYPE_U64,
	TYPE_BYTES,
};

/* Operators; those of C are their characters. */
enum op {
	OP_EQ = 256, OP_NE, OP_LE, OP_GE, OP_SHL, OP_SHR, OP_ANDAND, OP_OROR,
	OP_DOTS,
};

/**
 * struct field - an integer in a record
 * @off:       where (bytes)
 * @size:      1, 2, 4 or 8; of bytes any
 * @is_signed: it is
 * @big:       big-endian
 */
struct field {
	uint32_t off;
	uint32_t size;
	bool is_signed;
	bool big;
};

/**
 * struct node - a part of an expression
 * @kind: and what the others mean with it
 * @type: of its value
 * @bits: of a number that cannot be negative: it is below 2^@bits; else 0
 * @literal: a number as it was written
 * @column: in the text, from 1
 */
struct node {
	enum node_kind kind;
	enum type type;
	unsigned int bits;
	bool literal;
	size_t column;
	int op;
	struct node *a, *b, *c;
	uint64_t num;
	struct field field;
	unsigned char *text;
	size_t len;
	struct node *next;	/* in the order of making, to be freed */
};

enum token_kind {
	TOKEN_END,
	TOKEN_NUM,	/* @num */
	TOKEN_NAME,	/* @start, @len */
	TOKEN_TEXT,	/* @text, @text_len */
	TOKEN_OP,	/* @op */
};

struct token {
	enum token_kind kind;
	const char *start;
	size_t len;
	int op;
	uint64_t num;
	unsigned char *text;
	size_t text_len;
};

/**
 * struct expr - an expression on its way to a program
 * @text:   as it was given
 * @record: bytes of a record
 * @layout: BTF with the record's type, or NULL; @layout_id: the type
 * @at:     what is not read yet
 * @token:  the next token
 * @nodes:  all there are
 * @depth:  of nested parentheses
 * @root:   the whole
 * @fail:   where errors go; blkbpf_last_error() is set
 * @column: where the error is, from 1
 */
struct expr {
	const char *text;
	uint32_t record;
	struct btf *layout;
	uint32_t layout_id;
	const char *at;
	struct token token;
	struct node *nodes;
	unsigned int depth;
	struct node *root;
	jmp_buf fail;
	size_t column;
};

/* An error at a column; does not return. */
void expr_fail(struct expr *expr, size_t column, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));
size_t expr_column(const struct expr *expr, const char *at);
struct node *expr_node(struct expr *expr, enum node_kind kind, enum type type,
		       size_t column);
void expr_free(struct expr *expr);

/* expr_lex.c */
void expr_next(struct expr *expr);
/* "hex:6162" or text; to free(). NULL with an error. */
unsigned char *expr_bytes(const char *text, size_t *len);

/* expr_parse.c */
void expr_parse(struct expr *expr);
bool expr_fold(int op, enum type type, uint64_t a, uint64_t b, uint64_t *result);

/* expr_layout.c */
int layout_open(struct expr *expr, const char *path, const char *type);
/* A name, which begins at the next token, with members and indices behind it. */
struct node *layout_field(struct expr *expr);

/* Functions that the program does not define itself. */
enum callee {
	CALL_EMIT,
	CALL_ITER_NEW,
	CALL_ITER_NEXT,
	CALL_ITER_DESTROY,
	NR_CALLEES,
};

/**
 * struct code - instructions being made
 * @insns, @nr, @room: the slots
 * @failed: there was no memory for one
 * @labels: slot of each label, or -1; @nr_labels
 * @jumps:  jumps to labels, to be filled in; @nr_jumps
 * @calls:  calls of functions elsewhere; @nr_calls
 */
struct code {
	struct bpfvm_insn *insns;
	uint32_t nr;
	uint32_t room;
	bool failed;
	int32_t *labels;
	uint32_t nr_labels;
	struct jump {
		uint32_t at;
		uint32_t label;
	} *jumps;
	uint32_t nr_jumps;
	struct call {
		uint32_t at;
		enum callee callee;
	} *calls;
	uint32_t nr_calls;
};

void code_free(struct code *code);
void code_insn(struct code *code, uint8_t op, unsigned int dst, unsigned int src,
	       int16_t off, int32_t imm);
void code_imm(struct code *code, unsigned int dst, uint64_t value);
void code_mov(struct code *code, unsigned int dst, unsigned int src);
void code_call(struct code *code, enum callee callee);
uint32_t code_label(struct code *code);
void code_place(struct code *code, uint32_t label);
/* A jump of opcode @op, "ja" included, to a label. */
void code_jump(struct code *code, uint8_t op, unsigned int dst, unsigned int src,
	       int32_t imm, uint32_t label);
/* Fill in the jumps; 0, -E2BIG or -ENOMEM. */
int code_finish(struct code *code);

/* expr_gen.c: a loop over the records of a unit; *unit: bytes of it */
int expr_gen(struct expr *expr, struct code *code, uint32_t *unit);
/* expr_match.c */
int match_gen(const unsigned char *bytes, size_t len, struct code *code);

/* expr_c.c: to free() */
char *expr_c(const struct expr *expr, uint32_t unit);
char *match_c(const unsigned char *bytes, size_t len);

/* expr_elf.c: an object file in memory, to free() */
int expr_elf(const struct code *code, const char *name, uint32_t unit,
	     uint32_t overlap, void **elf, size_t *size);

#endif /* LIBBLKBPF_EXPR_H */
