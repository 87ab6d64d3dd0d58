// SPDX-License-Identifier: GPL-2.0
/* Reading global variables: a walk over them by their BTF types. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "internal.h"

/**
 * struct reader - a walk over the variables of an object
 * @btf:  of the object
 * @tree: tell where structs and arrays begin and end, too
 * @fn:   the caller's
 * @ctx:  for @fn
 */
struct reader {
	const struct btf *btf;
	bool tree;
	int (*fn)(void *ctx, const struct blkbpf_value *v);
	void *ctx;
};

/**
 * struct place - where the walk is
 * @path:    of all of it, as in struct blkbpf_value
 * @member:  its last part, or NULL for an element of an array
 * @type_id: as the source has it
 * @data:    the byte it begins in
 * @shift:   of a bit-field in @data (bits)
 * @bits:    of a bit-field, else 0
 */
struct place {
	const char *path;
	const char *member;
	__u32 type_id;
	const unsigned char *data;
	__u32 shift;
	__u32 bits;
};

static int out_of_memory(const struct place *at)
{
	return blkbpf_err(ENOMEM, "%s: out of memory", at->path);
}

/* Hand it over, with what is the same for all kinds of values. */
static int tell(const struct reader *r, const struct place *at,
		struct blkbpf_value *v)
{
	char *type = NULL;
	size_t len;
	FILE *f = open_memstream(&type, &len);
	int ret;

	if (!f)
		return out_of_memory(at);
	print_type(f, r->btf, at->type_id, NULL);
	if (at->bits)
		fprintf(f, ":%u", at->bits);
	if (fclose(f)) {
		free(type);
		return out_of_memory(at);
	}
	v->path = at->path;
	v->member = at->member;
	v->type_name = type;
	ret = r->fn(r->ctx, v);
	free(type);
	return ret;
}

/* As the library stores them: every target of BPF on this host has its byte order. */
static __u64 load_number(const unsigned char *data, __u32 shift, __u32 bits,
			 bool is_signed)
{
	__u64 value = 0;
	__u32 i;

	for (i = 0; i < bits; i++)
		value |= (__u64)(data[(shift + i) / 8] >> (shift + i) % 8 & 1) << i;
	if (is_signed && bits < 64 && value >> (bits - 1) & 1)
		value |= ~0ULL << bits;
	return value;
}

static const char *enum_name(const struct btf *btf, const struct btf_type *t,
			     __u64 value)
{
	int i;

	for (i = 0; btf_is_enum(t) && i < btf_vlen(t); i++)
		if ((__u32)btf_enum(t)[i].val == (__u32)value)
			return btf__name_by_offset(btf, btf_enum(t)[i].name_off);
	for (i = 0; btf_is_enum64(t) && i < btf_vlen(t); i++)
		if (btf_enum64_value(&btf_enum64(t)[i]) == value)
			return btf__name_by_offset(btf, btf_enum64(t)[i].name_off);
	return NULL;
}

static int read_scalar(const struct reader *r, const struct btf_type *t,
		       const struct place *at)
{
	struct blkbpf_value v = {};
	bool is_signed;

	if (t->size > 8)
		return 0;
	is_signed = btf_is_int(t) ? btf_int_encoding(t) & BTF_INT_SIGNED :
				    btf_kflag(t);
	v.u = load_number(at->data, at->shift, at->bits ? at->bits : 8 * t->size,
			  is_signed);
	v.s = v.u;
	v.type = is_signed ? BLKBPF_VALUE_SIGNED : BLKBPF_VALUE_UNSIGNED;
	if (btf_is_int(t) && btf_int_encoding(t) & BTF_INT_BOOL)
		v.type = BLKBPF_VALUE_BOOL;
	if (btf_is_any_enum(t)) {
		v.type = BLKBPF_VALUE_ENUM;
		v.name = enum_name(r->btf, t, v.u);
	}
	return tell(r, at, &v);
}

static int read_value(const struct reader *r, const struct place *at);

static int read_array(const struct reader *r, const struct btf_type *t,
		      const struct place *at)
{
	const struct btf_array *array = btf_array(t);
	__s64 size = btf__resolve_size(r->btf, array->type);
	struct place element = { .type_id = array->type };
	char *path;
	__u32 i;
	int ret = 0;

	for (i = 0; size > 0 && i < array->nelems && !ret; i++) {
		if (asprintf(&path, "%s[%u]", at->path, i) < 0)
			return out_of_memory(at);
		element.path = path;
		element.data = at->data + i * size;
		ret = read_value(r, &element);
		free(path);
	}
	return ret;
}

static int read_members(const struct reader *r, const struct btf_type *t,
			const struct place *at)
{
	const struct btf_member *m = btf_members(t);
	char *path;
	int i, ret = 0;

	for (i = 0; i < btf_vlen(t) && !ret; i++, m++) {
		__u32 offset = btf_member_bit_offset(t, i);
		struct place member = {
			.member = btf__name_by_offset(r->btf, m->name_off),
			.type_id = m->type,
			.data = at->data + offset / 8,
			.shift = offset % 8,
			.bits = btf_member_bitfield_size(t, i),
		};

		if (asprintf(&path, "%s%s%s", at->path, *member.member ? "." : "",
			     member.member) < 0)
			return out_of_memory(at);
		member.path = path;
		ret = read_value(r, &member);
		free(path);
	}
	return ret;
}

/* A struct, a union or an array, and what is in it. */
static int read_nested(const struct reader *r, const struct btf_type *t,
		       const struct place *at)
{
	struct blkbpf_value begin = { .type = btf_is_array(t) ?
		BLKBPF_VALUE_ARRAY : BLKBPF_VALUE_STRUCT };
	struct blkbpf_value end = { .type = BLKBPF_VALUE_END };
	/* The members of an unnamed struct belong to the one around it. */
	bool told = r->tree && !(at->member && !*at->member);
	int ret = told ? tell(r, at, &begin) : 0;

	if (!ret)
		ret = btf_is_array(t) ? read_array(r, t, at) :
					read_members(r, t, at);
	if (!ret && told)
		ret = tell(r, at, &end);
	return ret;
}

static int read_value(const struct reader *r, const struct place *at)
{
	const struct btf_type *t = skip_mods(r->btf, at->type_id);
	struct blkbpf_value v = { .type = BLKBPF_VALUE_BYTES, .bytes = at->data };

	if (!t)
		return 0;
	if (btf_is_int(t) || btf_is_any_enum(t))
		return read_scalar(r, t, at);
	if (is_bytes(r->btf, t)) {
		v.len = btf_array(t)->nelems;
		return tell(r, at, &v);
	}
	if (btf_is_array(t) || btf_is_composite(t))
		return read_nested(r, t, at);
	return 0;
}

static int read_var(const struct btf *btf, const struct var *var, void *ctx)
{
	struct reader *r = ctx;
	struct place at = {
		.path = var->name,
		.member = var->name,
		.type_id = var->type_id,
		.data = var->data,
	};

	r->btf = btf;
	return read_value(r, &at);
}

int blkbpf_object__globals(const struct blkbpf_object *obj,
			   int (*fn)(void *ctx, const struct blkbpf_value *v),
			   void *ctx)
{
	struct reader r = { .fn = fn, .ctx = ctx };

	return for_each_var(obj, read_var, &r);
}

int blkbpf_object__globals_tree(const struct blkbpf_object *obj,
				int (*fn)(void *ctx, const struct blkbpf_value *v),
				void *ctx)
{
	struct reader r = { .tree = true, .fn = fn, .ctx = ctx };

	return for_each_var(obj, read_var, &r);
}
