// SPDX-License-Identifier: GPL-2.0
/* The text of an expression to tokens. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "expr.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Pairs of digits up to something else; the number of bytes. */
static size_t hex_bytes(const char *at, unsigned char *bytes)
{
	size_t nr = 0;

	while (hex_digit(at[0]) >= 0 && hex_digit(at[1]) >= 0) {
		bytes[nr++] = hex_digit(at[0]) << 4 | hex_digit(at[1]);
		at += 2;
	}
	return nr;
}

unsigned char *expr_bytes(const char *text, size_t *len)
{
	unsigned char *bytes = malloc(strlen(text) + 1);

	if (!bytes) {
		blkbpf_err(ENOMEM, "match: out of memory");
		return NULL;
	}
	if (!strncmp(text, "text:", 5))
		text += 5;
	else if (!strncmp(text, "hex:", 4)) {
		*len = hex_bytes(text + 4, bytes);
		if (2 * *len == strlen(text + 4))
			return bytes;
		blkbpf_err(EINVAL, "match: %s: give pairs of hexadecimal digits after hex:",
			   text);
		free(bytes);
		return NULL;
	}
	*len = strlen(text);
	memcpy(bytes, text, *len);
	return bytes;
}

static void lex_number(struct expr *expr)
{
	struct token *t = &expr->token;
	char *end;

	errno = 0;
	t->kind = TOKEN_NUM;
	t->num = strtoull(expr->at, &end, expr->at[0] == '0' &&
			  (expr->at[1] | 0x20) == 'x' ? 16 : 10);
	if (errno)
		expr_fail(expr, expr_column(expr, expr->at),
			  "this number does not fit in 64 bits");
	/* "0x" alone, "12ab", "07": what it was meant to be is not known. */
	if (isalnum((unsigned char)*end) || *end == '_')
		expr_fail(expr, expr_column(expr, expr->at),
			  "this is no number: give a decimal or 0x hexadecimal one");
	expr->at = end;
}

/* One character of a text or a character constant; advances. */
static unsigned char lex_char(struct expr *expr)
{
	static const char escapes[] = "n\nt\tr\r0\0\\\\\"\"''";
	size_t i;
	int value;

	if (*expr->at != '\\')
		return *expr->at++;
	expr->at++;
	if (*expr->at == 'x' && hex_digit(expr->at[1]) >= 0 &&
	    hex_digit(expr->at[2]) >= 0) {
		value = hex_digit(expr->at[1]) << 4 | hex_digit(expr->at[2]);
		expr->at += 3;
		return value;
	}
	for (i = 0; i + 1 < sizeof(escapes); i += 2) {
		if (*expr->at && *expr->at == escapes[i]) {
			expr->at++;
			return escapes[i + 1];
		}
	}
	expr_fail(expr, expr_column(expr, expr->at - 1),
		  "there is no such escape: use \\n \\t \\r \\0 \\\\ \\\" \\' or \\xNN");
}

static void take_text(struct expr *expr, const unsigned char *bytes, size_t len)
{
	/* The node is there to be freed with the rest. */
	struct node *node = expr_node(expr, NODE_TEXT, TYPE_BYTES,
				      expr_column(expr, expr->token.start));

	node->text = malloc(len + 1);
	if (!node->text)
		expr_fail(expr, 1, "out of memory");
	memcpy(node->text, bytes, len);
	node->len = len;
	expr->token.kind = TOKEN_TEXT;
	expr->token.text = node->text;
	expr->token.text_len = len;
}

static void lex_text(struct expr *expr)
{
	unsigned char bytes[EXPR_TEXT_MAX];
	const char *start = expr->at++;
	size_t len = 0;

	while (*expr->at != '"') {
		if (!*expr->at)
			expr_fail(expr, expr_column(expr, start),
				  "this text has no end: a \" is missing");
		if (len == sizeof(bytes))
			expr_fail(expr, expr_column(expr, start),
				  "this text is too long: at most %u bytes",
				  EXPR_TEXT_MAX);
		bytes[len++] = lex_char(expr);
	}
	expr->at++;
	take_text(expr, bytes, len);
}

static void lex_hex(struct expr *expr)
{
	unsigned char bytes[EXPR_TEXT_MAX];
	const char *digits = expr->at + 4;
	size_t len = 0;

	while (isalnum((unsigned char)digits[len]))
		len++;
	if (len > 2 * sizeof(bytes))
		expr_fail(expr, expr_column(expr, expr->at),
			  "these are too many bytes: at most %u", EXPR_TEXT_MAX);
	if (!len || hex_bytes(digits, bytes) * 2 != len)
		expr_fail(expr, expr_column(expr, digits),
			  "give pairs of hexadecimal digits after hex:");
	expr->at = digits + len;
	take_text(expr, bytes, len / 2);
}

static void lex_op(struct expr *expr)
{
	static const struct {
		char text[3];
		int op;
	} ops[] = {
		{ "==", OP_EQ }, { "!=", OP_NE }, { "<=", OP_LE }, { ">=", OP_GE },
		{ "<<", OP_SHL }, { ">>", OP_SHR }, { "&&", OP_ANDAND },
		{ "||", OP_OROR }, { "..", OP_DOTS },
	};
	struct token *t = &expr->token;
	size_t i;

	t->kind = TOKEN_OP;
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (!strncmp(expr->at, ops[i].text, 2)) {
			t->op = ops[i].op;
			expr->at += 2;
			return;
		}
	}
	if (*expr->at == '=')
		expr_fail(expr, expr_column(expr, expr->at), "to compare, write ==");
	if (!strchr("+-*/%&|^~!<>()@:.,[]{}", *expr->at))
		expr_fail(expr, expr_column(expr, expr->at),
			  "this character has no meaning here");
	t->op = *expr->at++;
}

void expr_next(struct expr *expr)
{
	struct token *t = &expr->token;

	expr->at += strspn(expr->at, " \t\n");
	*t = (struct token) { .start = expr->at };
	if (!*expr->at) {
		t->kind = TOKEN_END;
	} else if (isdigit((unsigned char)*expr->at)) {
		lex_number(expr);
	} else if (!strncmp(expr->at, "hex:", 4)) {
		lex_hex(expr);
	} else if (isalpha((unsigned char)*expr->at) || *expr->at == '_') {
		t->kind = TOKEN_NAME;
		while (isalnum((unsigned char)*expr->at) || *expr->at == '_')
			expr->at++;
	} else if (*expr->at == '"') {
		lex_text(expr);
	} else if (*expr->at == '\'') {
		expr->at++;
		t->kind = TOKEN_NUM;
		if (!*expr->at || *expr->at == '\'')
			expr_fail(expr, expr_column(expr, t->start),
				  "there is no character between these");
		t->num = lex_char(expr);
		if (*expr->at++ != '\'')
			expr_fail(expr, expr_column(expr, t->start),
				  "this character has no end: a ' is missing; a text is in \"\"");
	} else {
		lex_op(expr);
	}
	t->len = expr->at - t->start;
}
