// SPDX-License-Identifier: GPL-2.0
/*
 * The numbers of an expression in registers: what is where, along each way
 * through the expression, and what is asked for again.
 */
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include "expr_gen.h"

static bool key_equal(const struct key *a, const struct key *b)
{
	if (a->node || b->node)
		return a->node == b->node;
	return a->field.off == b->field.off && a->field.size == b->field.size &&
	       a->field.is_signed == b->field.is_signed &&
	       a->field.big == b->field.big;
}

struct key gen_key(const struct node *n)
{
	struct key key = { .node = n };

	if (n->kind == NODE_FIELD) {
		key.node = NULL;
		key.field = n->field;
		/* One byte has no order. */
		if (key.field.size == 1)
			key.field.big = false;
	}
	return key;
}

struct key gen_raw_key(const struct field *field)
{
	return (struct key) { .field = { .off = field->off, .size = field->size } };
}

static void no_memory(struct gen *g)
{
	expr_fail(g->expr, 1, "out of memory");
}

/*
 * Uses
 */

static struct use *find_use(struct gen *g, const struct key *key)
{
	uint32_t i;

	for (i = 0; i < g->nr_uses; i++)
		if (key_equal(&g->uses[i].key, key))
			return &g->uses[i];
	return NULL;
}

static void add_use(struct gen *g, struct key key)
{
	struct use *use = find_use(g, &key);

	if (!use) {
		use = reallocarray(g->uses, g->nr_uses + 1, sizeof(*use));
		if (!use)
			no_memory(g);
		g->uses = use;
		use = &g->uses[g->nr_uses++];
		*use = (struct use) { .key = key };
	}
	use->left++;
}

static uint32_t uses_left(struct gen *g, const struct key *key)
{
	const struct use *use = find_use(g, key);

	return use ? use->left : 0;
}

void gen_used(struct gen *g, const struct key *key)
{
	struct use *use = find_use(g, key);

	if (use && use->left)
		use->left--;
}

/*
 * Whether a field is compared as it lies there: with a number, by == or != in
 * whatever byte order and sign, or by any operator if it has 32 bits.
 */
bool gen_is_raw(const struct node *n)
{
	const struct node *a = n->a, *b = n->b;
	bool equal = n->op == OP_EQ || n->op == OP_NE;

	if (n->kind != NODE_COMPARE || a->kind != NODE_FIELD || b->kind != NODE_NUM)
		return false;
	if (!a->field.is_signed && (!a->field.big || a->field.size == 1))
		return false;	/* it is that anyway */
	return equal || (a->field.size == 4 && !a->field.big);
}

/* A range is two comparisons. */
void gen_split_range(const struct node *n, struct node *low, struct node *high)
{
	*low = (struct node) {
		.kind = NODE_COMPARE, .type = TYPE_BOOL, .column = n->column,
		.op = OP_GE, .a = n->a, .b = n->b,
	};
	*high = *low;
	high->op = OP_LE;
	high->b = n->c;
}

void gen_count_uses(struct gen *g, const struct node *n)
{
	if (n->kind == NODE_COMPARE && gen_is_raw(n)) {
		add_use(g, gen_raw_key(&n->a->field));
		return;
	}
	if (n->kind == NODE_FIELD || n->kind == NODE_BINARY ||
	    n->kind == NODE_UNARY) {
		bool known = n->kind != NODE_FIELD && find_use(g, &(struct key) { n, {} });

		add_use(g, gen_key(n));
		if (known || n->kind == NODE_FIELD)
			return;		/* computed once */
	}
	if (n->kind == NODE_RANGE) {
		struct node low, high;

		gen_split_range(n, &low, &high);
		gen_count_uses(g, &low);
		gen_count_uses(g, &high);
		return;
	}
	if (n->a)
		gen_count_uses(g, n->a);
	if (n->b)
		gen_count_uses(g, n->b);
}

/*
 * Registers
 */

unsigned int gen_alloc(struct gen *g, size_t column)
{
	unsigned int reg, stale = NR_REGS, worst = NR_REGS;

	for (reg = 0; reg < NR_REGS; reg++) {
		if (g->refs[reg])
			continue;
		if (!g->held[reg].valid)
			break;
		worst = reg;
		if (!uses_left(g, &g->held[reg].key))
			stale = reg;
	}
	if (reg == NR_REGS)
		reg = stale < NR_REGS ? stale : worst;
	if (reg == NR_REGS)
		expr_fail(g->expr, column, "this computes with more values at a time than there are registers: use fewer parentheses");
	g->held[reg].valid = false;
	g->refs[reg] = 1;
	return reg;
}

void gen_put(struct gen *g, unsigned int reg)
{
	g->refs[reg]--;
}

static void hold(struct gen *g, unsigned int reg, const struct key *key)
{
	g->held[reg] = (struct held) { true, *key };
}

static int find_reg(const struct gen *g, const struct key *key)
{
	unsigned int reg;

	for (reg = 0; reg < NR_REGS; reg++)
		if (g->held[reg].valid && key_equal(&g->held[reg].key, key))
			return reg;
	return -1;
}

/* A register with the value of @reg that may be changed; takes over @reg. */
static unsigned int own_reg(struct gen *g, unsigned int reg, size_t column)
{
	unsigned int copy;

	if (g->refs[reg] == 1 && (!g->held[reg].valid ||
				  !uses_left(g, &g->held[reg].key))) {
		g->held[reg].valid = false;
		return reg;
	}
	copy = gen_alloc(g, column);
	code_mov(g->code, copy, reg);
	gen_put(g, reg);
	return copy;
}

/*
 * Labels
 */

uint32_t gen_label(struct gen *g)
{
	uint32_t label = code_label(g->code);
	struct known *known;

	if (label >= g->nr_known) {
		known = reallocarray(g->known, 2 * label + 8, sizeof(*known));
		if (!known)
			no_memory(g);
		g->known = known;
		g->nr_known = 2 * label + 8;
	}
	g->known[label].reached = false;
	return label;
}

/* Keep what both know. */
static void meet(struct held *to, const struct held *from)
{
	unsigned int reg;

	for (reg = 0; reg < NR_REGS; reg++)
		if (to[reg].valid && (!from[reg].valid ||
				      !key_equal(&to[reg].key, &from[reg].key)))
			to[reg].valid = false;
}

void gen_branch(struct gen *g, uint8_t op, unsigned int dst, unsigned int src,
		 int32_t imm, uint32_t label)
{
	struct known *known = &g->known[label];

	if (!g->reachable)
		return;
	if (known->reached)
		meet(known->held, g->held);
	else
		memcpy(known->held, g->held, sizeof(g->held));
	known->reached = true;
	code_jump(g->code, op, dst, src, imm, label);
	if (op == (BPF_JMP | BPF_JA))
		g->reachable = false;
}

void gen_place(struct gen *g, uint32_t label)
{
	const struct known *known = &g->known[label];

	if (known->reached && g->reachable)
		meet(g->held, known->held);
	else if (known->reached)
		memcpy(g->held, known->held, sizeof(g->held));
	g->reachable |= known->reached;
	code_place(g->code, label);
}

void gen_goto(struct gen *g, uint32_t label)
{
	gen_branch(g, BPF_JMP | BPF_JA, 0, 0, 0, label);
}

/*
 * Values
 */

unsigned int gen_load(struct gen *g, const struct field *field,
			     size_t column)
{
	static const uint8_t sizes[] = {
		[1] = BPF_B, [2] = BPF_H, [4] = BPF_W, [8] = BPF_DW,
	};
	struct key key = gen_raw_key(field);
	int reg = find_reg(g, &key);

	gen_used(g, &key);
	if (reg >= 0) {
		g->refs[reg]++;
		return reg;
	}
	reg = gen_alloc(g, column);
	code_insn(g->code, BPF_LDX | BPF_MEM | sizes[field->size], reg,
		  END_OF_RECORD, (int)field->off - (int)g->expr->record, 0);
	hold(g, reg, &key);
	return reg;
}

void gen_alu_imm(struct gen *g, uint8_t op, unsigned int reg, int32_t imm)
{
	code_insn(g->code, BPF_ALU64 | op | BPF_K, reg, 0, 0, imm);
}

static unsigned int load_field(struct gen *g, const struct node *n)
{
	const struct field *f = &n->field;
	unsigned int bits = 8 * f->size;
	unsigned int reg = gen_load(g, f, n->column);

	if ((!f->is_signed || f->size == 8) && (!f->big || f->size == 1))
		return reg;
	reg = own_reg(g, reg, n->column);
	if (f->big && f->size > 1)
		code_insn(g->code, BPF_ALU | BPF_END | BPF_TO_BE, reg, 0, 0, bits);
	if (f->is_signed && f->size < 8) {
		gen_alu_imm(g, BPF_LSH, reg, 64 - bits);
		gen_alu_imm(g, BPF_ARSH, reg, 64 - bits);
	}
	return reg;
}

static uint8_t alu_op(const struct node *n)
{
	switch (n->op) {
	case '+':
		return BPF_ADD;
	case '-':
		return BPF_SUB;
	case '*':
		return BPF_MUL;
	case '/':
		return BPF_DIV;
	case '%':
		return BPF_MOD;
	case '&':
		return BPF_AND;
	case '|':
		return BPF_OR;
	case '^':
		return BPF_XOR;
	case OP_SHL:
		return BPF_LSH;
	default:
		/* Where no sign can be, the shift is the cheaper kind. */
		return n->a->type == TYPE_U64 || n->a->bits ? BPF_RSH : BPF_ARSH;
	}
}


/* Registers that a value takes to compute. */
unsigned int gen_need(const struct node *n)
{
	unsigned int a, b;

	if (n->kind == NODE_UNARY)
		return gen_need(n->a);
	if (n->kind != NODE_BINARY || n->b->kind == NODE_NUM)
		return n->kind == NODE_BINARY ? gen_need(n->a) : 1;
	a = gen_need(n->a);
	b = gen_need(n->b);
	return a == b ? a + 1 : a > b ? a : b;
}

static void gen_alu(struct gen *g, uint8_t op, unsigned int reg, bool by_reg,
		    unsigned int src, int32_t imm)
{
	if (by_reg)
		code_insn(g->code, BPF_ALU64 | op | BPF_X, reg, src, 0, 0);
	else
		gen_alu_imm(g, op, reg, imm);
}

/* The division of BPF knows no signs: towards zero, by hand. */
static void gen_signed_division(struct gen *g, uint8_t op, unsigned int reg,
				bool by_reg, unsigned int src, int32_t imm)
{
	uint32_t negative = code_label(g->code), done = code_label(g->code);

	code_jump(g->code, BPF_JMP | BPF_JSLT | BPF_K, reg, 0, 0, negative);
	gen_alu(g, op, reg, by_reg, src, imm);
	code_jump(g->code, BPF_JMP | BPF_JA, 0, 0, 0, done);
	code_place(g->code, negative);
	gen_alu_imm(g, BPF_NEG, reg, 0);
	gen_alu(g, op, reg, by_reg, src, imm);
	gen_alu_imm(g, BPF_NEG, reg, 0);
	code_place(g->code, done);
}

static unsigned int gen_binary(struct gen *g, const struct node *n)
{
	bool by_reg = n->b->kind != NODE_NUM ||
		      (int64_t)n->b->num != (int32_t)n->b->num;
	bool b_first = by_reg && n->b->kind != NODE_NUM && gen_need(n->b) > gen_need(n->a);
	uint8_t op = alu_op(n);
	unsigned int reg, src = 0;
	bool is_signed;

	if (b_first)
		src = gen_value(g, n->b);
	reg = gen_value(g, n->a);
	if (by_reg && !b_first)
		src = gen_value(g, n->b);
	reg = own_reg(g, reg, n->column);
	is_signed = n->a->type == TYPE_S64 && !n->a->bits;
	if ((op == BPF_DIV || op == BPF_MOD) && is_signed)
		gen_signed_division(g, op, reg, by_reg, src, n->b->num);
	else
		gen_alu(g, op, reg, by_reg, src, n->b->num);
	if (by_reg)
		gen_put(g, src);
	return reg;
}

static unsigned int gen_unary(struct gen *g, const struct node *n)
{
	unsigned int reg = own_reg(g, gen_value(g, n->a), n->column);

	if (n->op == '-')
		gen_alu_imm(g, BPF_NEG, reg, 0);
	else
		gen_alu_imm(g, BPF_XOR, reg, -1);
	return reg;
}

/* A register that holds the value, to be put. */
unsigned int gen_value(struct gen *g, const struct node *n)
{
	struct key key = gen_key(n);
	int reg;

	if (n->kind == NODE_NUM) {
		reg = gen_alloc(g, n->column);
		code_imm(g->code, reg, n->num);
		return reg;
	}
	reg = find_reg(g, &key);
	gen_used(g, &key);
	if (reg >= 0) {
		g->refs[reg]++;
		return reg;
	}
	if (n->kind == NODE_FIELD)
		reg = load_field(g, n);
	else if (n->kind == NODE_BINARY)
		reg = gen_binary(g, n);
	else
		reg = gen_unary(g, n);
	hold(g, reg, &key);
	return reg;
}
