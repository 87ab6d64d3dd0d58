// SPDX-License-Identifier: GPL-2.0
/*
 * An expression to a tree. The grammar is in blkbpf-scan(8); operators bind as
 * in C, but & ^ | bind closer than comparisons, as everybody means them.
 *
 * All numbers have 64 bits. Those of u64 fields are unsigned, and so is what is
 * computed with them; all others are signed, in which narrower unsigned fields
 * fit. Comparisons are those of mathematics, whatever the signs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "expr.h"

#define DEPTH_MAX 200

static struct node *parse_or(struct expr *expr);
static struct node *parse_bits(struct expr *expr);

struct node *expr_node(struct expr *expr, enum node_kind kind, enum type type,
		       size_t column)
{
	struct node *node = calloc(1, sizeof(*node));

	if (!node)
		expr_fail(expr, column, "out of memory");
	node->kind = kind;
	node->type = type;
	node->column = column;
	node->next = expr->nodes;
	expr->nodes = node;
	return node;
}

static size_t column(const struct expr *expr)
{
	return expr_column(expr, expr->token.start);
}

static bool is_op(const struct expr *expr, int op)
{
	return expr->token.kind == TOKEN_OP && expr->token.op == op;
}

static bool is_word(const struct expr *expr, const char *word)
{
	return expr->token.kind == TOKEN_NAME &&
	       expr->token.len == strlen(word) &&
	       !strncmp(expr->token.start, word, expr->token.len);
}

static bool take_op(struct expr *expr, int op)
{
	if (!is_op(expr, op))
		return false;
	expr_next(expr);
	return true;
}

static void need_op(struct expr *expr, int op, const char *what)
{
	if (!take_op(expr, op))
		expr_fail(expr, column(expr), "%s is missing here", what);
}

static bool is_number(const struct node *node)
{
	return node->type == TYPE_S64 || node->type == TYPE_U64;
}

static struct node *need_number(struct expr *expr, struct node *node)
{
	if (node->type == TYPE_BYTES)
		expr_fail(expr, node->column,
			  "these are bytes where a number is needed: bytes can be compared with a text by == and !=");
	if (!is_number(node))
		expr_fail(expr, node->column,
			  "this is true or false, with which there is nothing to compute: combine such by && and ||");
	return node;
}

static struct node *need_bool(struct expr *expr, struct node *node)
{
	struct node *truth;

	if (node->type == TYPE_BOOL)
		return node;
	need_number(expr, node);
	truth = expr_node(expr, NODE_TRUTH, TYPE_BOOL, node->column);
	truth->a = node;
	return truth;
}

static unsigned int bits_of(uint64_t value)
{
	return value ? 64 - __builtin_clzll(value) : 1;
}

static struct node *number(struct expr *expr, uint64_t value, enum type type,
			   size_t at)
{
	struct node *node = expr_node(expr, NODE_NUM, type, at);

	node->num = value;
	if (type == TYPE_U64 || (int64_t)value >= 0)
		node->bits = bits_of(value);
	return node;
}

/*
 * Fields
 */

/* "u32le" and the like; false if the name is none. */
static bool field_type(const char *name, size_t len, struct field *field)
{
	static const struct {
		char text[4];
		uint32_t size;
	} sizes[] = { { "8", 1 }, { "16", 2 }, { "32", 4 }, { "64", 8 } };
	const char *end = name + len;
	size_t i, digits = 0;

	if (len < 2 || (*name != 'u' && *name != 's'))
		return false;
	field->is_signed = *name++ == 's';
	while (name + digits < end && name[digits] >= '0' && name[digits] <= '9')
		digits++;
	for (i = 0; i < 4; i++)
		if (strlen(sizes[i].text) == digits &&
		    !strncmp(name, sizes[i].text, digits))
			break;
	if (i == 4)
		return false;
	field->size = sizes[i].size;
	name += digits;
	field->big = end - name == 2 && !strncmp(name, "be", 2);
	if (field->size == 1)
		return name == end;
	return field->big || (end - name == 2 && !strncmp(name, "le", 2));
}

static void check_inside(struct expr *expr, const struct field *field, size_t at)
{
	if (field->off > expr->record || field->size > expr->record - field->off)
		expr_fail(expr, at, "this reaches to byte %llu, and a record has %u bytes",
			  (unsigned long long)field->off + field->size,
			  expr->record);
}

static uint32_t offset(struct expr *expr, const char *what)
{
	uint64_t num = expr->token.num;

	if (expr->token.kind != TOKEN_NUM)
		expr_fail(expr, column(expr), "%s is missing here", what);
	if (num > BLK_BPF_UNIT_MAX)
		expr_fail(expr, column(expr), "a record has at most %u bytes",
			  BLK_BPF_UNIT_MAX);
	expr_next(expr);
	return num;
}

static struct node *bytes_field(struct expr *expr, size_t at)
{
	struct node *node = expr_node(expr, NODE_BYTES, TYPE_BYTES, at);

	expr_next(expr);
	need_op(expr, '@', "an @ with the offset of the bytes");
	node->field.off = offset(expr, "the offset of the bytes");
	if (take_op(expr, ':')) {
		node->field.size = offset(expr, "the number of bytes");
		if (!node->field.size)
			expr_fail(expr, at, "no bytes cannot be compared");
	}
	check_inside(expr, &node->field, at);
	return node;
}

static struct node *typed_field(struct expr *expr, size_t at)
{
	struct node *node = expr_node(expr, NODE_FIELD, TYPE_S64, at);
	const char *name = expr->token.start;
	size_t len = expr->token.len;

	expr_next(expr);
	if (!field_type(name, len, &node->field))
		expr_fail(expr, at, "there is no type %.*s: use u8, s8, u16le, u16be, s16le, s16be, the same of 32 and 64, or bytes",
			  (int)len, name);
	expr_next(expr);
	node->field.off = offset(expr, "the offset of the field");
	check_inside(expr, &node->field, at);
	if (!node->field.is_signed) {
		node->bits = 8 * node->field.size;
		if (node->field.size == 8)
			node->type = TYPE_U64;
	}
	return node;
}

static struct node *parse_name(struct expr *expr)
{
	size_t at = column(expr);
	struct field field;

	if (is_word(expr, "bytes") && *expr->at == '@')
		return bytes_field(expr, at);
	if (*expr->at == '@')
		return typed_field(expr, at);
	if (expr->layout)
		return layout_field(expr);
	if (field_type(expr->token.start, expr->token.len, &field))
		expr_fail(expr, at, "%.*s is a type: give it an offset, as %.*s@8",
			  (int)expr->token.len, expr->token.start,
			  (int)expr->token.len, expr->token.start);
	expr_fail(expr, at, "the name %.*s means nothing without a layout: write TYPE@OFFSET, as u32le@8",
		  (int)expr->token.len, expr->token.start);
}

/*
 * Computing
 */

bool expr_fold(int op, enum type type, uint64_t a, uint64_t b, uint64_t *result)
{
	switch (op) {
	case '+':
		*result = a + b;
		return true;
	case '-':
		*result = a - b;
		return true;
	case '*':
		*result = a * b;
		return true;
	case '&':
		*result = a & b;
		return true;
	case '|':
		*result = a | b;
		return true;
	case '^':
		*result = a ^ b;
		return true;
	case OP_SHL:
		*result = a << b;
		return true;
	case OP_SHR:
		*result = type == TYPE_S64 ? (uint64_t)((int64_t)a >> b) : a >> b;
		return true;
	case '/':
		/* Divisors are positive, and fit in both types. */
		*result = type == TYPE_S64 ? (uint64_t)((int64_t)a / (int64_t)b) :
					     a / b;
		return true;
	case '%':
		*result = type == TYPE_S64 ? (uint64_t)((int64_t)a % (int64_t)b) :
					     a % b;
		return true;
	}
	return false;
}

/* How large a result can be, if it cannot be negative. */
static unsigned int result_bits(int op, const struct node *a,
				const struct node *b)
{
	unsigned int most = a->bits > b->bits ? a->bits : b->bits;
	unsigned int least = a->bits < b->bits ? a->bits : b->bits;
	unsigned int bits = 0;

	if (op == '&' && most)
		return least ? least : most;	/* a sign is masked away */
	if (!least)
		return 0;
	switch (op) {
	case '+':
		bits = most + 1;
		break;
	case '*':
		bits = a->bits + b->bits;
		break;
	case '|':
	case '^':
		bits = most;
		break;
	case OP_SHL:
		bits = a->bits + (unsigned int)b->num;
		break;
	case OP_SHR:
	case '/':
		bits = a->bits;
		break;
	case '%':
		bits = b->bits;
		break;
	}
	return bits <= 63 ? bits : 0;
}

static void check_operands(struct expr *expr, int op, const struct node *b)
{
	if ((op == OP_SHL || op == OP_SHR) &&
	    (b->kind != NODE_NUM || b->num > 63))
		expr_fail(expr, b->column, "to shift, give a number from 0 to 63");
	if ((op == '/' || op == '%') &&
	    (b->kind != NODE_NUM || !b->num || b->num > INT64_MAX))
		expr_fail(expr, b->column, "to divide, give a number above 0");
}

static struct node *binary(struct expr *expr, int op, struct node *a,
			   struct node *b, size_t at)
{
	enum type type = TYPE_S64;
	struct node *node;
	uint64_t value;

	need_number(expr, a);
	need_number(expr, b);
	check_operands(expr, op, b);
	if (a->type == TYPE_U64 ||
	    (b->type == TYPE_U64 && op != OP_SHL && op != OP_SHR))
		type = TYPE_U64;
	if (a->kind == NODE_NUM && b->kind == NODE_NUM &&
	    expr_fold(op, type, a->num, b->num, &value))
		return number(expr, value, type, a->column);
	node = expr_node(expr, NODE_BINARY, type, at);
	node->op = op;
	node->a = a;
	node->b = b;
	node->bits = result_bits(op, a, b);
	if (type == TYPE_U64 && !node->bits)
		node->bits = 64;
	return node;
}

static struct node *parse_primary(struct expr *expr)
{
	size_t at = column(expr);
	struct node *node;
	uint64_t num = expr->token.num;

	switch (expr->token.kind) {
	case TOKEN_NUM:
		expr_next(expr);
		node = number(expr, num, num > INT64_MAX ? TYPE_U64 : TYPE_S64, at);
		node->literal = true;
		return node;
	case TOKEN_TEXT:
		node = expr_node(expr, NODE_TEXT, TYPE_BYTES, at);
		node->len = expr->token.text_len;
		node->text = malloc(node->len + 1);
		if (!node->text)
			expr_fail(expr, at, "out of memory");
		memcpy(node->text, expr->token.text, node->len);
		expr_next(expr);
		return node;
	case TOKEN_NAME:
		if (!is_word(expr, "in") && !is_word(expr, "not"))
			return parse_name(expr);
		break;
	case TOKEN_OP:
		if (!take_op(expr, '('))
			break;
		if (++expr->depth > DEPTH_MAX)
			expr_fail(expr, at, "parentheses are nested deeper than %d",
				  DEPTH_MAX);
		node = parse_or(expr);
		expr->depth--;
		need_op(expr, ')', "a )");
		return node;
	case TOKEN_END:
		break;
	}
	expr_fail(expr, at, "a field, a number or a ( is missing here");
}

static struct node *parse_unary(struct expr *expr)
{
	size_t at = column(expr);
	struct node *node, *a;
	int op;

	if (!is_op(expr, '-') && !is_op(expr, '~'))
		return parse_primary(expr);
	op = expr->token.op;
	expr_next(expr);
	if (++expr->depth > DEPTH_MAX)
		expr_fail(expr, at, "operators are nested deeper than %d", DEPTH_MAX);
	a = need_number(expr, parse_unary(expr));
	expr->depth--;
	if (a->literal && op == '-') {
		if (a->num > 1ULL << 63)
			expr_fail(expr, at, "this number does not fit in 64 bits");
		return number(expr, -a->num, TYPE_S64, at);
	}
	if (a->kind == NODE_NUM)
		return number(expr, op == '-' ? -a->num : ~a->num, a->type, at);
	node = expr_node(expr, NODE_UNARY, a->type, at);
	node->op = op;
	node->a = a;
	node->bits = a->type == TYPE_U64 ? 64 : 0;
	return node;
}

/* From what binds closest: each level joins what the one before it reads. */
static const int levels[][4] = {
	{ '*', '/', '%' }, { '+', '-' }, { OP_SHL, OP_SHR }, { '&' }, { '^' },
	{ '|' },
};

#define NR_LEVELS (sizeof(levels) / sizeof(levels[0]))

static struct node *parse_level(struct expr *expr, size_t level)
{
	struct node *node = level ? parse_level(expr, level - 1) :
				    parse_unary(expr);
	size_t i, at;
	int op;

	for (;;) {
		for (i = 0; i < 4 && levels[level][i]; i++)
			if (is_op(expr, levels[level][i]))
				break;
		if (i == 4 || !levels[level][i])
			return node;
		op = levels[level][i];
		at = column(expr);
		expr_next(expr);
		node = binary(expr, op, node, level ? parse_level(expr, level - 1) :
						      parse_unary(expr), at);
	}
}

static struct node *parse_bits(struct expr *expr)
{
	return parse_level(expr, NR_LEVELS - 1);
}

/*
 * Comparing
 */

static struct node *not_node(struct expr *expr, struct node *a, size_t at)
{
	struct node *node = expr_node(expr, NODE_NOT, TYPE_BOOL, at);

	node->a = a;
	return node;
}

static struct node *compare_bytes(struct expr *expr, int op, struct node *a,
				  struct node *b, size_t at)
{
	struct node *node, *field = a->kind == NODE_BYTES ? a : b;
	struct node *text = a->kind == NODE_BYTES ? b : a;

	if (field->kind != NODE_BYTES || text->kind != NODE_TEXT)
		expr_fail(expr, at, "bytes can be compared with a text in \"\" or with hex:, and with nothing else");
	if (op != OP_EQ && op != OP_NE)
		expr_fail(expr, at, "bytes can be compared by == and != only");
	if (!text->len)
		expr_fail(expr, text->column, "no bytes cannot be compared");
	if (field->field.size && text->len > field->field.size)
		expr_fail(expr, text->column, "this has %zu bytes, and the field %u",
			  text->len, field->field.size);
	node = expr_node(expr, NODE_BYTES_EQ, TYPE_BOOL, at);
	/* A copy: other texts of a list may have another length. */
	node->a = expr_node(expr, NODE_BYTES, TYPE_BYTES, field->column);
	node->a->field = field->field;
	if (!field->field.size) {
		node->a->field.size = text->len;
		check_inside(expr, &node->a->field, field->column);
	}
	node->b = text;
	return op == OP_NE ? not_node(expr, node, at) : node;
}

static struct node *compare(struct expr *expr, int op, struct node *a,
			    struct node *b, size_t at)
{
	struct node *node;

	if (a->type == TYPE_BYTES || b->type == TYPE_BYTES)
		return compare_bytes(expr, op, a, b, at);
	node = expr_node(expr, NODE_COMPARE, TYPE_BOOL, at);
	node->op = op;
	node->a = need_number(expr, a);
	node->b = need_number(expr, b);
	return node;
}

static struct node *join(struct expr *expr, enum node_kind kind, struct node *a,
			 struct node *b, size_t at)
{
	struct node *node;

	if (!a)
		return b;
	node = expr_node(expr, kind, TYPE_BOOL, at);
	node->a = need_bool(expr, a);
	node->b = need_bool(expr, b);
	return node;
}

/* "5" or "5..9" of the number @a */
static struct node *parse_range(struct expr *expr, struct node *a, size_t at)
{
	struct node *low = parse_bits(expr), *node;

	if (low->kind == NODE_TEXT || !take_op(expr, OP_DOTS))
		return compare(expr, OP_EQ, a, low, at);
	node = expr_node(expr, NODE_RANGE, TYPE_BOOL, at);
	node->a = need_number(expr, a);
	node->b = need_number(expr, low);
	node->c = need_number(expr, parse_bits(expr));
	return node;
}

static struct node *parse_in(struct expr *expr, struct node *a, size_t at)
{
	struct node *node = NULL;

	if (!take_op(expr, '{')) {
		node = parse_range(expr, a, at);
		if (node->kind != NODE_RANGE)
			expr_fail(expr, at, "after in there is a range, as 5..9, or a list, as {1, 5..9}");
		return node;
	}
	do {
		node = join(expr, NODE_OR, node, parse_range(expr, a, at), at);
	} while (take_op(expr, ','));
	need_op(expr, '}', "a , or a }");
	return node;
}

static struct node *parse_compare(struct expr *expr)
{
	static const int ops[] = { OP_EQ, OP_NE, '<', OP_LE, '>', OP_GE };
	struct node *node = parse_bits(expr);
	size_t i, at = column(expr);
	bool negate;

	if (is_word(expr, "in") || is_word(expr, "not")) {
		negate = is_word(expr, "not");
		if (negate)
			expr_next(expr);
		if (!is_word(expr, "in"))
			expr_fail(expr, column(expr), "in is missing here");
		expr_next(expr);
		node = parse_in(expr, node, at);
		return negate ? not_node(expr, node, at) : node;
	}
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (is_op(expr, ops[i]))
			break;
	if (i == sizeof(ops) / sizeof(ops[0]))
		return node;
	expr_next(expr);
	node = compare(expr, ops[i], node, parse_bits(expr), at);
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
		if (is_op(expr, ops[i]))
			expr_fail(expr, column(expr), "one comparison at a time: join two by &&, or use in LOW..HIGH");
	return node;
}

static struct node *parse_not(struct expr *expr)
{
	size_t at = column(expr);
	struct node *node;

	if (!take_op(expr, '!'))
		return parse_compare(expr);
	if (++expr->depth > DEPTH_MAX)
		expr_fail(expr, at, "operators are nested deeper than %d", DEPTH_MAX);
	node = not_node(expr, need_bool(expr, parse_not(expr)), at);
	expr->depth--;
	return node;
}

static struct node *parse_and(struct expr *expr)
{
	struct node *node = parse_not(expr);
	size_t at = column(expr);

	while (take_op(expr, OP_ANDAND)) {
		node = join(expr, NODE_AND, node, parse_not(expr), at);
		at = column(expr);
	}
	return node;
}

static struct node *parse_or(struct expr *expr)
{
	struct node *node = parse_and(expr);
	size_t at = column(expr);

	while (take_op(expr, OP_OROR)) {
		node = join(expr, NODE_OR, node, parse_and(expr), at);
		at = column(expr);
	}
	return node;
}

void expr_parse(struct expr *expr)
{
	expr->at = expr->text;
	expr_next(expr);
	if (expr->token.kind == TOKEN_END)
		expr_fail(expr, 1, "there is nothing in it: give a comparison, as u32le@8 < 1000");
	expr->root = need_bool(expr, parse_or(expr));
	if (expr->token.kind != TOKEN_END)
		expr_fail(expr, column(expr), "an operator is missing in front of this");
}
