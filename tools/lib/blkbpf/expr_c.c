// SPDX-License-Identifier: GPL-2.0
/*
 * An expression, or bytes to search for, as the C program that does the same: to
 * read, and to go on from where an expression ends.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "expr.h"

static const char *op_text(int op)
{
	switch (op) {
	case OP_EQ:
		return "==";
	case OP_NE:
		return "!=";
	case OP_LE:
		return "<=";
	case OP_GE:
		return ">=";
	case OP_SHL:
		return "<<";
	case OP_SHR:
		return ">>";
	case '<':
		return "<";
	case '>':
		return ">";
	case '+':
		return "+";
	case '-':
		return "-";
	case '*':
		return "*";
	case '/':
		return "/";
	case '%':
		return "%";
	case '&':
		return "&";
	case '|':
		return "|";
	case '^':
		return "^";
	default:
		return "~";
	}
}

static const char *op_name(int op)
{
	switch (op) {
	case OP_EQ:
		return "eq";
	case OP_NE:
		return "ne";
	case '<':
		return "lt";
	case OP_LE:
		return "le";
	case '>':
		return "gt";
	default:
		return "ge";
	}
}

static void c_bytes(FILE *f, const unsigned char *bytes, size_t len)
{
	size_t i;

	putc('"', f);
	for (i = 0; i < len; i++) {
		if (bytes[i] < 0x80 && isprint(bytes[i]) && bytes[i] != '"' &&
		    bytes[i] != '\\' && bytes[i] != '?')
			putc(bytes[i], f);
		else
			/* Octal ends after three digits, hexadecimal does not. */
			fprintf(f, "\\%03o", bytes[i]);
	}
	putc('"', f);
}

static void c_number(FILE *f, const struct node *n)
{
	if (n->type == TYPE_U64)
		fprintf(f, "%lluULL", (unsigned long long)n->num);
	else if ((int64_t)n->num == INT64_MIN)
		fputs("(-9223372036854775807LL - 1)", f);
	else
		fprintf(f, (int64_t)n->num < 0 ? "(%lldLL)" : "%lldLL",
			(long long)n->num);
}

/*
 * In C a narrow field has a type in which its values fit; 64 bits are said where
 * something is computed with it.
 */
static void c_field(FILE *f, const struct node *n)
{
	fprintf(f, "%c%u%s(r + %u)", n->field.is_signed ? 's' : 'u',
		8 * n->field.size, n->field.size == 1 ? "" :
		n->field.big ? "be" : "le", n->field.off);
}

static void c_node(FILE *f, const struct node *n);

static void c_binary(FILE *f, const struct node *n)
{
	const char *type = n->type == TYPE_U64 ? "__u64" : "__s64";

	putc('(', f);
	/* Overflow is defined for what is unsigned, and shifts keep their sign. */
	if (n->type == TYPE_S64 && strchr("+-*", n->op)) {
		fprintf(f, "(__s64)((__u64)");
		c_node(f, n->a);
		fprintf(f, " %s (__u64)", op_text(n->op));
		c_node(f, n->b);
		putc(')', f);
	} else if (n->type == TYPE_S64 && n->op == OP_SHL) {
		fprintf(f, "(__s64)((__u64)");
		c_node(f, n->a);
		fputs(" << ", f);
		c_node(f, n->b);
		putc(')', f);
	} else if (n->type == TYPE_S64 && !n->a->bits && strchr("/%", n->op)) {
		fprintf(f, "%s_s64(", n->op == '/' ? "div" : "mod");
		c_node(f, n->a);
		fputs(", ", f);
		c_node(f, n->b);
		putc(')', f);
	} else if (strchr("/%", n->op)) {
		fputs("(__u64)", f);
		c_node(f, n->a);
		fprintf(f, " %s (__u64)", op_text(n->op));
		c_node(f, n->b);
	} else {
		fprintf(f, "(%s)", type);
		c_node(f, n->a);
		fprintf(f, " %s (%s)", op_text(n->op), type);
		c_node(f, n->b);
	}
	putc(')', f);
}

static bool needs_mixed(const struct node *a, const struct node *b)
{
	return (a->type == TYPE_U64 && b->type != TYPE_U64 && !b->bits) ||
	       (b->type == TYPE_U64 && a->type != TYPE_U64 && !a->bits);
}

static void c_compare(FILE *f, int op, const struct node *a, const struct node *b)
{
	/* One of 64 bits without a sign and one that can be negative. */
	if (needs_mixed(a, b)) {
		fprintf(f, "%s_%s(", op_name(op), a->type == TYPE_U64 ? "us" : "su");
		c_node(f, a);
		fputs(", ", f);
		c_node(f, b);
		putc(')', f);
		return;
	}
	c_node(f, a);
	fprintf(f, " %s ", op_text(op));
	c_node(f, b);
}

static void c_bytes_eq(FILE *f, const struct node *n)
{
	size_t len = n->b->len;

	/* The text's own end is compared too where the field goes on. */
	if (len < n->a->field.size)
		len++;
	fprintf(f, "!__builtin_memcmp(r + %u, ", n->a->field.off);
	c_bytes(f, n->b->text, n->b->len);
	fprintf(f, ", %zu)", len);
}

static void c_node(FILE *f, const struct node *n)
{
	switch (n->kind) {
	case NODE_NUM:
		c_number(f, n);
		break;
	case NODE_FIELD:
		c_field(f, n);
		break;
	case NODE_UNARY:
		fprintf(f, n->op == '-' ? "(%s)(0 - (__u64)" : "(%s)(~(__u64)",
			n->type == TYPE_U64 ? "__u64" : "__s64");
		c_node(f, n->a);
		putc(')', f);
		break;
	case NODE_BINARY:
		c_binary(f, n);
		break;
	case NODE_COMPARE:
		putc('(', f);
		c_compare(f, n->op, n->a, n->b);
		putc(')', f);
		break;
	case NODE_RANGE:
		putc('(', f);
		c_compare(f, OP_GE, n->a, n->b);
		fputs(" && ", f);
		c_compare(f, OP_LE, n->a, n->c);
		putc(')', f);
		break;
	case NODE_BYTES_EQ:
		c_bytes_eq(f, n);
		break;
	case NODE_AND:
	case NODE_OR:
		putc('(', f);
		c_node(f, n->a);
		fputs(n->kind == NODE_AND ? " &&\n\t\t    " : " ||\n\t\t    ", f);
		c_node(f, n->b);
		putc(')', f);
		break;
	case NODE_NOT:
		putc('!', f);
		c_node(f, n->a);
		break;
	case NODE_TRUTH:
		putc('(', f);
		c_node(f, n->a);
		fputs(" != 0)", f);
		break;
	default:
		break;
	}
}

static bool has_kind(const struct node *n, bool (*fits)(const struct node *))
{
	return n && (fits(n) || has_kind(n->a, fits) || has_kind(n->b, fits) ||
		     has_kind(n->c, fits));
}

static bool is_mixed(const struct node *n)
{
	if (n->kind == NODE_RANGE && needs_mixed(n->a, n->c))
		return true;
	return (n->kind == NODE_COMPARE || n->kind == NODE_RANGE) &&
	       needs_mixed(n->a, n->b);
}

static bool is_signed_division(const struct node *n)
{
	return n->kind == NODE_BINARY && n->type == TYPE_S64 &&
	       (n->op == '/' || n->op == '%') && !n->a->bits;
}

static const char accessors[] =
	"#define FIELD(name, type, get)						\\\n"
	"static __always_inline type name(const __u8 *p)				\\\n"
	"{									\\\n"
	"	return get;							\\\n"
	"}\n\n"
	"FIELD(u8, __u8, *p)\n"
	"FIELD(s8, __s8, *p)\n"
	"FIELD(u16le, __u16, bpf_le16_to_cpu(*(const __le16 *)p))\n"
	"FIELD(u32le, __u32, bpf_le32_to_cpu(*(const __le32 *)p))\n"
	"FIELD(u64le, __u64, bpf_le64_to_cpu(*(const __le64 *)p))\n"
	"FIELD(s16le, __s16, bpf_le16_to_cpu(*(const __le16 *)p))\n"
	"FIELD(s32le, __s32, bpf_le32_to_cpu(*(const __le32 *)p))\n"
	"FIELD(s64le, __s64, bpf_le64_to_cpu(*(const __le64 *)p))\n"
	"FIELD(u16be, __u16, bpf_ntohs(*(const __be16 *)p))\n"
	"FIELD(u32be, __u32, bpf_ntohl(*(const __be32 *)p))\n"
	"FIELD(u64be, __u64, bpf_be64_to_cpu(*(const __be64 *)p))\n"
	"FIELD(s16be, __s16, bpf_ntohs(*(const __be16 *)p))\n"
	"FIELD(s32be, __s32, bpf_ntohl(*(const __be32 *)p))\n"
	"FIELD(s64be, __s64, bpf_be64_to_cpu(*(const __be64 *)p))\n\n";

static const char comparisons[] =
	"/* Of a signed and an unsigned number, as in mathematics. */\n"
	"#define MIXED(name, op, negative_su, negative_us)			\\\n"
	"static __always_inline int name##_su(__s64 s, __u64 u)			\\\n"
	"{									\\\n"
	"	return s < 0 ? negative_su : (__u64)s op u;			\\\n"
	"}									\\\n"
	"static __always_inline int name##_us(__u64 u, __s64 s)			\\\n"
	"{									\\\n"
	"	return s < 0 ? negative_us : u op (__u64)s;			\\\n"
	"}\n\n"
	"MIXED(eq, ==, 0, 0)\n"
	"MIXED(ne, !=, 1, 1)\n"
	"MIXED(lt, <, 1, 0)\n"
	"MIXED(le, <=, 1, 0)\n"
	"MIXED(gt, >, 0, 1)\n"
	"MIXED(ge, >=, 0, 1)\n\n";

static const char divisions[] =
	"/* BPF divides without signs before -mcpu=v4. */\n"
	"static __always_inline __s64 div_s64(__s64 a, __u64 b)\n"
	"{\n"
	"	return a < 0 ? -(__s64)(-(__u64)a / b) : (__s64)((__u64)a / b);\n"
	"}\n\n"
	"static __always_inline __s64 mod_s64(__s64 a, __u64 b)\n"
	"{\n"
	"	return a < 0 ? -(__s64)(-(__u64)a % b) : (__s64)((__u64)a % b);\n"
	"}\n\n";

static void c_head(FILE *f)
{
	fputs("// SPDX-License-Identifier: GPL-2.0\n"
	      "#include <bpf/blk_bpf.h>\n\n", f);
}

static void c_tail(FILE *f, const char *name, uint32_t unit, uint32_t overlap)
{
	fprintf(f, "	return BLK_BPF_SKIP;\n}\n\n"
		"BLK_BPF_PROGRAM(%s_ops, .filter = (void *)%s, .unit = %u,\n"
		"		.overlap = %u, .name = \"%s\");\n",
		name, name, unit, overlap, name);
}

/* Ends what open_memstream() began. Returns the text, or NULL without memory. */
static char *c_done(FILE *f, char **text)
{
	if (!fclose(f))
		return *text;
	free(*text);
	return NULL;
}

char *expr_c(const struct expr *expr, uint32_t unit)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	c_head(f);
	fprintf(f, "#define UNIT	%u\n#define RECORD	%u\n\n", unit,
		expr->record);
	fputs(accessors, f);
	if (has_kind(expr->root, is_mixed))
		fputs(comparisons, f);
	if (has_kind(expr->root, is_signed_division))
		fputs(divisions, f);
	fputs("SEC(\"struct_ops/filter\")\n"
	      "int BLK_BPF_FILTER(where, struct blk_bpf_ctx *ctx,\n"
	      "		   const void *data, const void *data_end)\n"
	      "{\n"
	      "	const __u8 *r = data;\n"
	      "	__u32 i;\n\n"
	      "	if (ctx->unit != UNIT)\n"
	      "		return -22;	/* EINVAL: the loop is for this unit */\n"
	      "	for (i = 0; i < UNIT / RECORD; i++, r += RECORD) {\n"
	      "		/* A record that is cut by the end of the range is none. */\n"
	      "		if ((void *)r + RECORD > data_end)\n"
	      "			break;\n"
	      "		if (", f);
	c_node(f, expr->root);
	fputs(")\n"
	      "			blk_bpf_emit(ctx, i * RECORD, RECORD);\n"
	      "	}\n", f);
	c_tail(f, "where", unit, 0);
	return c_done(f, &text);
}

static const char match_head[] =
	"#define UNIT	4096\n"
	"#define STRIDE	64\n"
	"#define EACH_BYTE(byte)	(0x0101010101010101ULL * (__u8)(byte))\n\n";

static const char match_body[] =
	"/* Place by place, where something may begin or the data end. */\n"
	"static __noinline void look_at(struct blk_bpf_ctx *ctx, const char *data,\n"
	"			       const void *end, __u32 start)\n"
	"{\n"
	"	__u32 i;\n\n"
	"	bpf_for(i, start, start + STRIDE) {\n"
	"		if (i >= UNIT || i >= ctx->len)\n"
	"			break;\n"
	"		if ((void *)data + i + LEN > end)\n"
	"			break;\n"
	"		if (!__builtin_memcmp(data + i, WANTED, LEN))\n"
	"			blk_bpf_emit(ctx, i, LEN);\n"
	"	}\n"
	"}\n\n"
	"SEC(\"struct_ops/filter\")\n"
	"int BLK_BPF_FILTER(match, struct blk_bpf_ctx *ctx,\n"
	"		   const void *data, const void *data_end)\n"
	"{\n"
	"	__u32 stride;\n\n"
	"	if (ctx->unit != UNIT)\n"
	"		return -22;	/* EINVAL: the loop is for this unit */\n"
	"	bpf_for(stride, 0, UNIT / STRIDE) {\n"
	"		__u32 start = stride * STRIDE, i;\n"
	"		__u64 maybe = 0, both;\n"
	"		const char *p;\n\n"
	"		if (stride >= UNIT / STRIDE || start >= ctx->len)\n"
	"			break;\n"
	"		/* The first two bytes at eight places at once. */\n"
	"		p = data + start;\n"
	"		if ((void *)p + STRIDE + NEXT <= data_end) {\n"
	"			for (i = 0; i < STRIDE; i += sizeof(__u64)) {\n"
	"				both = *(__u64 *)(p + i) ^ EACH_BYTE(WANTED[0]);\n"
	"				both |= *(__u64 *)(p + i + NEXT) ^\n"
	"					EACH_BYTE(WANTED[NEXT]);\n"
	"				maybe |= (both - EACH_BYTE(1)) & ~both;\n"
	"			}\n"
	"			if (!(maybe & EACH_BYTE(0x80)))\n"
	"				continue;\n"
	"		}\n"
	"		look_at(ctx, data, data_end, start);\n"
	"	}\n";

char *match_c(const unsigned char *bytes, size_t len)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	c_head(f);
	fputs("#define WANTED	", f);
	c_bytes(f, bytes, len);
	fprintf(f, "\n#define LEN	%zu\n#define NEXT	%u\n", len, len > 1);
	fputs(match_head, f);
	fputs(match_body, f);
	c_tail(f, "match", BLK_BPF_UNIT_DEFAULT, len - 1);
	return c_done(f, &text);
}
