// SPDX-License-Identifier: GPL-2.0
/* A tree to instructions: comparisons, truth, and the loop over the records. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include "expr_gen.h"

/*
 * What the kernel's verifier takes in a unit, with room to spare: it walks through
 * all records (a million instructions), and keeps every branch on the way to come
 * back to (8,192 of them).
 */
#define UNIT_INSNS	200000U
#define UNIT_JUMPS	6000U
/* More would make loading slow, and scans no faster. */
#define UNIT_RECORDS	512U

static void gen_jump(struct gen *g, const struct node *n, uint32_t target,
		     bool sense);

/*
 * Comparisons
 */

static int flip(int op)
{
	switch (op) {
	case '<':
		return '>';
	case '>':
		return '<';
	case OP_LE:
		return OP_GE;
	case OP_GE:
		return OP_LE;
	}
	return op;
}

/* The jump for "a @op b is @sense". */
static uint8_t jump_op(int op, bool is_signed, bool sense)
{
	static const struct {
		int op;
		uint8_t jump[2][2];	/* [signed][sense] */
	} table[] = {
		{ OP_EQ, { { BPF_JNE, BPF_JEQ }, { BPF_JNE, BPF_JEQ } } },
		{ OP_NE, { { BPF_JEQ, BPF_JNE }, { BPF_JEQ, BPF_JNE } } },
		{ '<', { { BPF_JGE, BPF_JLT }, { BPF_JSGE, BPF_JSLT } } },
		{ OP_LE, { { BPF_JGT, BPF_JLE }, { BPF_JSGT, BPF_JSLE } } },
		{ '>', { { BPF_JLE, BPF_JGT }, { BPF_JSLE, BPF_JSGT } } },
		{ OP_GE, { { BPF_JLT, BPF_JGE }, { BPF_JSLT, BPF_JSGE } } },
	};
	unsigned int i;

	for (i = 0; table[i].op != op; i++)
		;
	return table[i].jump[is_signed][sense];
}

/* The result of "a @op b" if a is smaller than b, equal, or greater. */
static bool result_of(int op, int order)
{
	switch (op) {
	case OP_EQ:
		return order == 0;
	case OP_NE:
		return order != 0;
	case '<':
		return order < 0;
	case OP_LE:
		return order <= 0;
	case '>':
		return order > 0;
	default:
		return order >= 0;
	}
}

static void jump_known(struct gen *g, bool result, uint32_t target, bool sense)
{
	if (result == sense)
		gen_goto(g, target);
}

static bool is_negative(const struct node *num)
{
	return num->type == TYPE_S64 && (int64_t)num->num < 0;
}

static int order_of(const struct node *a, const struct node *b)
{
	if (is_negative(a) != is_negative(b))
		return is_negative(a) ? -1 : 1;
	return a->num == b->num ? 0 : a->num < b->num ? -1 : 1;
}

/* A number in front of all, or behind all, that @a can be: -1, 1; else 0. */
static int beyond(const struct node *a, const struct node *num)
{
	const struct field *f = &a->field;
	unsigned int bits = 8 * f->size;
	bool negative = is_negative(num);

	if (a->type == TYPE_U64 || a->bits) {
		if (negative)
			return -1;
		return a->bits && a->bits < 64 && num->num >> a->bits ? 1 : 0;
	}
	if (a->kind == NODE_FIELD && bits < 64) {
		if (negative)
			return (int64_t)num->num < -(1LL << (bits - 1)) ? -1 : 0;
		return num->num >= 1ULL << (bits - 1) ? 1 : 0;
	}
	return !negative && num->num > INT64_MAX ? 1 : 0;
}

static uint64_t swapped(uint64_t value, uint32_t size)
{
	return __builtin_bswap64(value) >> (64 - 8 * size);
}

/* if (reg op value) goto label; with one instruction where it can be. */
static void jump_imm(struct gen *g, uint8_t op, unsigned int reg, uint64_t value,
		     bool narrow, uint32_t target, size_t column)
{
	unsigned int src;

	if (narrow) {
		gen_branch(g, BPF_JMP32 | op | BPF_K, reg, 0, (int32_t)value, target);
	} else if ((int64_t)value == (int32_t)value) {
		gen_branch(g, BPF_JMP | op | BPF_K, reg, 0, value, target);
	} else {
		src = gen_alloc(g, column);
		code_imm(g->code, src, value);
		gen_branch(g, BPF_JMP | op | BPF_X, reg, src, 0, target);
		gen_put(g, src);
	}
}

static void gen_compare_raw(struct gen *g, const struct node *n, uint32_t target,
			    bool sense)
{
	const struct field *f = &n->a->field;
	uint64_t value = n->b->num;
	unsigned int reg;

	if (f->size < 8)
		value &= (1ULL << 8 * f->size) - 1;
	if (f->big)
		value = swapped(value, f->size);
	reg = gen_load(g, f, n->column);
	jump_imm(g, jump_op(n->op, f->is_signed, sense), reg, value,
		 f->size == 4, target, n->column);
	gen_put(g, reg);
}

static void gen_compare_num(struct gen *g, const struct node *n, uint32_t target,
			    bool sense)
{
	const struct node *a = n->a, *b = n->b;
	bool is_signed = a->type == TYPE_S64 && !a->bits;
	unsigned int reg;
	int side = beyond(a, b);

	if (side) {
		struct key key = gen_is_raw(n) ? gen_raw_key(&a->field) : gen_key(a);

		gen_used(g, &key);
		jump_known(g, result_of(n->op, -side), target, sense);
		return;
	}
	if (gen_is_raw(n)) {
		gen_compare_raw(g, n, target, sense);
		return;
	}
	reg = gen_value(g, a);
	jump_imm(g, jump_op(n->op, is_signed, sense), reg, b->num,
		 !is_signed && a->bits <= 32 && b->num > INT32_MAX, target,
		 n->column);
	gen_put(g, reg);
}

/* One of them can be negative, the other one can be above all that fits there. */
static void gen_compare_mixed(struct gen *g, int op, unsigned int s,
			      unsigned int u, uint32_t target, bool sense)
{
	uint32_t skip = gen_label(g);

	gen_branch(g, BPF_JMP | BPF_JSLT | BPF_K, s, 0, 0,
	     result_of(op, -1) == sense ? target : skip);
	gen_branch(g, BPF_JMP | jump_op(op, false, sense) | BPF_X, s, u, 0, target);
	gen_place(g, skip);
}

static void gen_compare(struct gen *g, const struct node *n, uint32_t target,
			bool sense)
{
	struct node turned;
	unsigned int a, b;
	bool a_signed, b_signed;

	if (n->a->kind == NODE_NUM && n->b->kind == NODE_NUM) {
		jump_known(g, result_of(n->op, order_of(n->a, n->b)), target, sense);
		return;
	}
	if (n->a->kind == NODE_NUM) {
		turned = *n;
		turned.a = n->b;
		turned.b = n->a;
		turned.op = flip(n->op);
		n = &turned;
	}
	if (n->b->kind == NODE_NUM) {
		gen_compare_num(g, n, target, sense);
		return;
	}
	if (gen_need(n->b) > gen_need(n->a)) {
		b = gen_value(g, n->b);
		a = gen_value(g, n->a);
	} else {
		a = gen_value(g, n->a);
		b = gen_value(g, n->b);
	}
	a_signed = n->a->type == TYPE_S64 && !n->a->bits;
	b_signed = n->b->type == TYPE_S64 && !n->b->bits;
	if (a_signed && n->b->type == TYPE_U64)
		gen_compare_mixed(g, n->op, a, b, target, sense);
	else if (b_signed && n->a->type == TYPE_U64)
		gen_compare_mixed(g, flip(n->op), b, a, target, sense);
	else
		gen_branch(g, BPF_JMP | jump_op(n->op, a_signed || b_signed, sense) |
		     BPF_X, a, b, 0, target);
	gen_put(g, a);
	gen_put(g, b);
}

/*
 * Bytes
 */

struct piece {
	uint32_t off;
	uint32_t size;
};

/* The next @size of @len bytes to compare; the last ones may overlap. */
static struct piece next_piece(uint32_t done, uint32_t len)
{
	uint32_t left = len - done, size = 8;

	while (size > left && size > 1)
		size /= 2;
	/* One load more than there are bytes, rather than two. */
	if (size < left && 2 * size <= len && left < 2 * size && size < 8)
		size *= 2;
	if (size > left && size <= len)
		return (struct piece) { len - size, size };
	return (struct piece) { done, size };
}

static void compare_piece(struct gen *g, const struct node *n,
			  const unsigned char *bytes, struct piece piece,
			  uint32_t differs)
{
	struct field field = {
		.off = n->a->field.off + piece.off,
		.size = piece.size,
	};
	unsigned int reg = gen_load(g, &field, n->column);
	uint64_t value = 0;

	memcpy(&value, bytes + piece.off, piece.size);	/* both little-endian */
	jump_imm(g, BPF_JNE, reg, value, piece.size == 4, differs, n->column);
	gen_put(g, reg);
}

static void gen_bytes(struct gen *g, const struct node *n, uint32_t target,
		      bool sense)
{
	uint32_t differs = sense ? gen_label(g) : target;
	uint32_t len = n->b->len, done;
	unsigned char bytes[EXPR_TEXT_MAX + 1] = {};
	struct piece piece;

	memcpy(bytes, n->b->text, len);
	/* A shorter text ends with a zero. */
	if (len < n->a->field.size)
		len++;
	for (done = 0; done < len; done = piece.off + piece.size) {
		piece = next_piece(done, len);
		compare_piece(g, n, bytes, piece, differs);
	}
	if (!sense)
		return;
	gen_goto(g, target);
	gen_place(g, differs);
}

/*
 * Truth
 */

static void gen_range(struct gen *g, const struct node *n, uint32_t target,
		      bool sense)
{
	struct node low, high, both = {
		.kind = NODE_AND, .type = TYPE_BOOL, .column = n->column,
		.a = &low, .b = &high,
	};

	gen_split_range(n, &low, &high);
	gen_jump(g, &both, target, sense);
}

static void gen_join(struct gen *g, const struct node *n, uint32_t target,
		     bool sense)
{
	/* The value that decides at once. */
	bool decides = n->kind == NODE_OR;
	uint32_t over;

	if (sense == decides) {
		gen_jump(g, n->a, target, sense);
		gen_jump(g, n->b, target, sense);
		return;
	}
	over = gen_label(g);
	gen_jump(g, n->a, over, decides);
	gen_jump(g, n->b, target, sense);
	gen_place(g, over);
}

static void gen_truth(struct gen *g, const struct node *n, uint32_t target,
		      bool sense)
{
	unsigned int reg;

	if (n->a->kind == NODE_NUM) {
		jump_known(g, n->a->num, target, sense);
		return;
	}
	reg = gen_value(g, n->a);
	gen_branch(g, BPF_JMP | (sense ? BPF_JNE : BPF_JEQ) | BPF_K, reg, 0, 0, target);
	gen_put(g, reg);
}

/* Go to @target if @n is @sense, else go on. */
static void gen_jump(struct gen *g, const struct node *n, uint32_t target,
		     bool sense)
{
	/* What a decided comparison jumped over. */
	if (!g->reachable)
		return;
	switch (n->kind) {
	case NODE_AND:
	case NODE_OR:
		gen_join(g, n, target, sense);
		break;
	case NODE_NOT:
		gen_jump(g, n->a, target, !sense);
		break;
	case NODE_COMPARE:
		gen_compare(g, n, target, sense);
		break;
	case NODE_RANGE:
		gen_range(g, n, target, sense);
		break;
	case NODE_BYTES_EQ:
		gen_bytes(g, n, target, sense);
		break;
	default:
		gen_truth(g, n, target, sense);
	}
}

/*
 * The program
 */

static void gen_begin(struct gen *g)
{
	struct code *code = g->code;

	code_insn(code, BPF_LDX | BPF_MEM | BPF_DW, CTX, 1, 0, 0);
	code_insn(code, BPF_LDX | BPF_MEM | BPF_DW, END_OF_RECORD, 1, 8, 0);
	code_insn(code, BPF_LDX | BPF_MEM | BPF_DW, DATA_END, 1, 16, 0);
	gen_alu_imm(g, BPF_ADD, END_OF_RECORD, g->expr->record);
	code_imm(code, OFFSET, 0);
}

static void gen_record(struct gen *g, uint32_t next)
{
	struct code *code = g->code;

	g->reachable = true;
	memset(g->held, 0, sizeof(g->held));
	gen_jump(g, g->expr->root, next, false);
	if (g->reachable) {
		code_mov(code, 1, CTX);
		code_mov(code, 2, OFFSET);
		code_imm(code, 3, g->expr->record);
		code_call(code, CALL_EMIT);
	}
	code_place(code, next);
}

/* Fewer records a unit for a long expression. */
static uint32_t choose_unit(const struct expr *expr, uint32_t insns, uint32_t jumps)
{
	uint32_t most = BLK_BPF_UNIT_DEFAULT / expr->record;
	uint32_t records = UNIT_INSNS / insns;

	if (records > UNIT_JUMPS / jumps)
		records = UNIT_JUMPS / jumps;
	if (records > UNIT_RECORDS)
		records = UNIT_RECORDS;
	if (records > most)
		records = most;
	return (records ? records : 1) * expr->record;
}

static int gen_program(struct gen *g, uint32_t *unit)
{
	struct code *code = g->code;
	uint32_t loop = code_label(code), out = code_label(code);
	uint32_t next = gen_label(g), begin;

	gen_begin(g);
	code_place(code, loop);
	begin = code->nr;
	/* A record that is cut by the end of the range is none. */
	code_jump(code, BPF_JMP | BPF_JGT | BPF_X, END_OF_RECORD, DATA_END, 0, out);
	gen_record(g, next);
	*unit = choose_unit(g->expr, code->nr - begin, code->nr_jumps + 1);
	if (*unit > g->expr->record) {
		gen_alu_imm(g, BPF_ADD, END_OF_RECORD, g->expr->record);
		gen_alu_imm(g, BPF_ADD, OFFSET, g->expr->record);
		code_jump(code, BPF_JMP | BPF_JLT | BPF_K, OFFSET, 0, *unit, loop);
	}
	code_place(code, out);
	code_imm(code, 0, BLK_BPF_SKIP);
	code_insn(code, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return code_finish(code);
}

int expr_gen(struct expr *expr, struct code *code, uint32_t *unit)
{
	/* Not on the stack of who might be left by a longjmp(). */
	static __thread struct gen g;
	int err;

	g = (struct gen) { .expr = expr, .code = code };
	if (setjmp(expr->fail)) {
		err = -EINVAL;
	} else {
		gen_count_uses(&g, expr->root);
		err = gen_program(&g, unit);
		if (err == -E2BIG)
			blkbpf_err(err, "where: the expression is too long for a program");
		else if (err)
			blkbpf_err(err, "where: out of memory");
	}
	free(g.known);
	free(g.uses);
	return err;
}
