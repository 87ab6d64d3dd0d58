// SPDX-License-Identifier: GPL-2.0
/* Names of fields, by the BTF of a struct. */
#include <errno.h>
#include <string.h>
#include "expr.h"

static const struct btf_type *skip(const struct btf *btf, uint32_t *id)
{
	const struct btf_type *t = btf__type_by_id(btf, *id);

	while (t && (btf_is_mod(t) || btf_is_typedef(t))) {
		*id = t->type;
		t = btf__type_by_id(btf, *id);
	}
	return t;
}

/* The kernel's types for big-endian numbers say so by their names. */
static bool is_big(const struct btf *btf, uint32_t id)
{
	const struct btf_type *t = btf__type_by_id(btf, id);

	for (; t && (btf_is_mod(t) || btf_is_typedef(t));
	     t = btf__type_by_id(btf, t->type)) {
		const char *name = btf__name_by_offset(btf, t->name_off);

		if (btf_is_typedef(t) &&
		    (!strcmp(name, "__be16") || !strcmp(name, "__be32") ||
		     !strcmp(name, "__be64")))
			return true;
	}
	return false;
}

/* "struct item", "union u", or a typedef's name */
static int32_t find_type(const struct btf *btf, const char *type)
{
	if (!strncmp(type, "struct ", 7))
		return btf__find_by_name_kind(btf, type + 7, BTF_KIND_STRUCT);
	if (!strncmp(type, "union ", 6))
		return btf__find_by_name_kind(btf, type + 6, BTF_KIND_UNION);
	return btf__find_by_name_kind(btf, type, BTF_KIND_TYPEDEF);
}

int layout_open(struct expr *expr, const char *path, const char *type)
{
	const struct btf_type *t;
	uint32_t id;
	int32_t found;

	expr->layout = btf__parse(path, NULL);
	if (!expr->layout)
		return blkbpf_err(errno, "%s: has no BTF that can be read: compile it with clang -g -target bpf",
				  path);
	found = find_type(expr->layout, type);
	if (found < 0)
		return blkbpf_err(ENOENT, "%s: there is no '%s' in it: give 'struct NAME', 'union NAME' or a typedef that is used",
				  path, type);
	id = found;
	t = skip(expr->layout, &id);
	if (!t || !btf_is_composite(t))
		return blkbpf_err(EINVAL, "%s: '%s' is neither a struct nor a union",
				  path, type);
	expr->layout_id = id;
	if (!expr->record)
		expr->record = t->size;
	if (!expr->record || expr->record > BLK_BPF_UNIT_MAX)
		return blkbpf_err(EINVAL, "%s: '%s' has %u bytes: a record has 1 to %u",
				  path, type, expr->record, BLK_BPF_UNIT_MAX);
	return 0;
}

/* Where a walk along the name is. */
struct place {
	uint32_t type;
	uint32_t off;		/* bits */
	uint32_t bits;		/* of a bit-field, or 0 */
};

static bool find_member(const struct btf *btf, uint32_t id, const char *name,
			size_t len, struct place *place)
{
	const struct btf_type *t = skip(btf, &id);
	const struct btf_member *m;
	struct place inner;
	int i;

	if (!t || !btf_is_composite(t))
		return false;
	m = btf_members(t);
	for (i = 0; i < btf_vlen(t); i++, m++) {
		const char *member = btf__name_by_offset(btf, m->name_off);
		uint32_t off = btf_member_bit_offset(t, i);

		if (strlen(member) == len && !strncmp(member, name, len)) {
			*place = (struct place) {
				.type = m->type,
				.off = off,
				.bits = btf_member_bitfield_size(t, i),
			};
			return true;
		}
		/* The members of an anonymous struct belong to the outer one. */
		if (!*member && find_member(btf, m->type, name, len, &inner)) {
			inner.off += off;
			*place = inner;
			return true;
		}
	}
	return false;
}

/* "a, b, c": what there is instead */
static void member_names(const struct btf *btf, uint32_t id, char *text, size_t size)
{
	const struct btf_type *t = skip(btf, &id);
	size_t used = 0;
	int i;

	*text = '\0';
	if (!t || !btf_is_composite(t))
		return;
	for (i = 0; i < btf_vlen(t) && used < size; i++)
		used += snprintf(text + used, size - used, "%s%s", i ? ", " : "",
				 btf__name_by_offset(btf,
					btf_members(t)[i].name_off));
}

static void take_member(struct expr *expr, struct place *place)
{
	size_t at = expr_column(expr, expr->token.start);
	struct place member;
	char names[256];

	if (expr->token.kind != TOKEN_NAME)
		expr_fail(expr, at, "the name of a member is missing here");
	if (!find_member(expr->layout, place->type, expr->token.start,
			 expr->token.len, &member)) {
		member_names(expr->layout, place->type, names, sizeof(names));
		if (!*names)
			expr_fail(expr, at, "there is no member %.*s here, which is no struct",
				  (int)expr->token.len, expr->token.start);
		expr_fail(expr, at, "there is no member %.*s: there is %s",
			  (int)expr->token.len, expr->token.start, names);
	}
	member.off += place->off;
	*place = member;
	expr_next(expr);
}

static void take_index(struct expr *expr, struct place *place)
{
	size_t at = expr_column(expr, expr->token.start);
	uint32_t id = place->type;
	const struct btf_type *t = skip(expr->layout, &id);
	const struct btf_array *array;

	if (!t || !btf_is_array(t))
		expr_fail(expr, at, "this is no array");
	array = btf_array(t);
	if (expr->token.kind != TOKEN_NUM)
		expr_fail(expr, at, "an index is missing here");
	if (expr->token.num >= array->nelems)
		expr_fail(expr, at, "the array has %u elements, from 0", array->nelems);
	place->type = array->type;
	place->off += 8 * expr->token.num *
		      btf__resolve_size(expr->layout, array->type);
	expr_next(expr);
	if (expr->token.kind != TOKEN_OP || expr->token.op != ']')
		expr_fail(expr, expr_column(expr, expr->token.start),
			  "a ] is missing here");
	expr_next(expr);
}

static struct node *constant(struct expr *expr, unsigned int value, size_t at)
{
	struct node *node = expr_node(expr, NODE_NUM, TYPE_S64, at);

	node->num = value;
	node->bits = value ? 32 - __builtin_clz(value) : 1;
	return node;
}

static struct node *shift(struct expr *expr, struct node *a, int op,
			  unsigned int by, enum type type, size_t at)
{
	struct node *node = expr_node(expr, NODE_BINARY, type, at);

	node->op = op;
	node->a = a;
	node->b = constant(expr, by, at);
	node->bits = type == TYPE_U64 ? 64 : 0;
	return node;
}

/*
 * Bits of a number: what lies around them is shifted out. The load is of the
 * smallest number that holds them.
 */
static struct node *bit_field(struct expr *expr, const struct place *place,
			      bool is_signed, size_t at)
{
	struct node *load = expr_node(expr, NODE_FIELD, TYPE_U64, at);
	unsigned int size = 1, first, up;
	struct node *node;

	while (size < 8 && place->off / (8 * size) !=
			   (place->off + place->bits - 1) / (8 * size))
		size *= 2;
	load->field.size = size;
	load->field.off = place->off / (8 * size) * size;
	load->bits = 8 * size;
	first = place->off - 8 * load->field.off;
	if (first + place->bits > 64 || load->field.off + size > expr->record)
		expr_fail(expr, at, "this bit-field lies over the border of two numbers: read it by its offset");
	up = 64 - first - place->bits;
	node = shift(expr, load, OP_SHL, up, is_signed ? TYPE_S64 : TYPE_U64, at);
	node = shift(expr, node, OP_SHR, 64 - place->bits,
		     is_signed ? TYPE_S64 : TYPE_U64, at);
	if (!is_signed) {
		node->bits = place->bits;
		if (place->bits < 64)
			node->type = TYPE_S64;
	}
	return node;
}

static bool is_byte(const struct btf *btf, uint32_t id)
{
	const struct btf_type *t = skip(btf, &id);

	return t && btf_is_int(t) && t->size == 1;
}

/* The node for where the walk has ended. */
static struct node *at_place(struct expr *expr, const struct place *place, size_t at)
{
	uint32_t id = place->type;
	const struct btf_type *t = skip(expr->layout, &id);
	struct node *node;
	bool is_signed;

	if (t && btf_is_array(t) && is_byte(expr->layout, btf_array(t)->type)) {
		node = expr_node(expr, NODE_BYTES, TYPE_BYTES, at);
		node->field.off = place->off / 8;
		node->field.size = btf_array(t)->nelems;
		if (!node->field.size)
			expr_fail(expr, at, "this array has no end: give bytes@OFFSET");
	} else if (t && (btf_is_int(t) || btf_is_any_enum(t)) && t->size <= 8) {
		is_signed = btf_is_int(t) ?
			    btf_int_encoding(t) & BTF_INT_SIGNED : btf_kflag(t);
		if (place->bits)
			return bit_field(expr, place, is_signed, at);
		node = expr_node(expr, NODE_FIELD, TYPE_S64, at);
		node->field.off = place->off / 8;
		node->field.size = t->size;
		node->field.is_signed = is_signed;
		node->field.big = is_big(expr->layout, place->type);
		if (!is_signed)
			node->bits = 8 * t->size;
		if (!is_signed && t->size == 8)
			node->type = TYPE_U64;
	} else {
		expr_fail(expr, at, "this is neither a number nor an array of bytes: name a member of it");
	}
	if (node->field.off + node->field.size > expr->record)
		expr_fail(expr, at, "this reaches to byte %u, and a record has %u bytes",
			  node->field.off + node->field.size, expr->record);
	return node;
}

struct node *layout_field(struct expr *expr)
{
	size_t at = expr_column(expr, expr->token.start);
	struct place place = { .type = expr->layout_id };

	take_member(expr, &place);
	while (expr->token.kind == TOKEN_OP &&
	       (expr->token.op == '.' || expr->token.op == '[')) {
		bool index = expr->token.op == '[';

		expr_next(expr);
		if (index)
			take_index(expr, &place);
		else
			take_member(expr, &place);
	}
	return at_place(expr, &place, at);
}
