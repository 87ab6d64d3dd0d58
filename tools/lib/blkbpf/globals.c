// SPDX-License-Identifier: GPL-2.0
/* Finding and setting global variables by name and BTF type. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "internal.h"

const struct btf_type *skip_mods(const struct btf *btf, __u32 id)
{
	const struct btf_type *t = btf__type_by_id(btf, id);

	while (t && (btf_is_mod(t) || btf_is_typedef(t)))
		t = btf__type_by_id(btf, t->type);
	return t;
}

static bool is_globals(const char *section)
{
	return !strncmp(section, ".rodata", 7) || !strncmp(section, ".data", 5) ||
	       !strncmp(section, ".bss", 4);
}

int for_each_var(const struct blkbpf_object *obj,
		 int (*fn)(const struct btf *btf, const struct var *var, void *ctx),
		 void *ctx)
{
	const struct btf *btf = bpf_object__btf(obj->bpf);
	__u32 id, nr = btf ? btf__type_cnt(btf) : 0;
	int ret = 0;

	for (id = 1; id < nr && !ret; id++) {
		const struct btf_type *sec = btf__type_by_id(btf, id), *v;
		const struct btf_var_secinfo *vsi;
		unsigned char *data;
		size_t size;
		int i;

		if (!btf_is_datasec(sec) ||
		    !is_globals(btf__name_by_offset(btf, sec->name_off)))
			continue;
		data = object_section(obj, btf__name_by_offset(btf, sec->name_off),
				      &size);
		vsi = btf_var_secinfos(sec);
		for (i = 0; data && i < btf_vlen(sec) && !ret; i++, vsi++) {
			struct var var = { .size = vsi->size };

			v = btf__type_by_id(btf, vsi->type);
			if (!btf_is_var(v) || vsi->offset + vsi->size > size)
				continue;
			var.name = btf__name_by_offset(btf, v->name_off);
			var.type_id = v->type;
			var.type = skip_mods(btf, v->type);
			var.data = data + vsi->offset;
			if (var.type)
				ret = fn(btf, &var, ctx);
		}
	}
	return ret;
}

struct find {
	const char *name;
	struct var var;
};

static int match_name(const struct btf *btf, const struct var *var, void *ctx)
{
	struct find *find = ctx;

	(void)btf;
	if (strcmp(var->name, find->name))
		return 0;
	find->var = *var;
	return 1;
}

static bool find_var(const struct blkbpf_object *obj, const char *name,
		     struct var *var)
{
	struct find find = { .name = name };

	if (!for_each_var(obj, match_name, &find))
		return false;
	*var = find.var;
	return true;
}

void print_type(FILE *f, const struct btf *btf, __u32 type_id, const char *name)
{
	const struct btf_type *t = btf__type_by_id(btf, type_id), *array = NULL;
	const char *kind;

	/* A typedef's name says more than what it stands for, but for an array. */
	while (t && (btf_is_mod(t) || btf_is_array(t))) {
		if (!array && btf_is_array(t))
			array = t;
		t = btf__type_by_id(btf, btf_is_array(t) ? btf_array(t)->type :
							   t->type);
	}
	if (!t)
		return;
	kind = btf_is_struct(t) ? "struct" : btf_is_union(t) ? "union" :
	       btf_is_any_enum(t) ? "enum" : btf_is_ptr(t) ? "pointer" : "";
	fputs(kind, f);
	if (t->name_off)
		fprintf(f, "%s%s", *kind ? " " : "",
			btf__name_by_offset(btf, t->name_off));
	if (name)
		fprintf(f, " %s", name);
	for (; array && array != t; array = btf__type_by_id(btf,
			btf_is_array(array) ? btf_array(array)->type : array->type))
		if (btf_is_array(array))
			fprintf(f, "[%u]", btf_array(array)->nelems);
}

struct listing {
	FILE *f;
	bool any;
};

static int list_var(const struct btf *btf, const struct var *var, void *ctx)
{
	struct listing *list = ctx;

	fputs(list->any ? ", " : "there is ", list->f);
	print_type(list->f, btf, var->type_id, var->name);
	list->any = true;
	return 0;
}

static int err_unknown(const struct blkbpf_object *obj, const char *name)
{
	struct listing list = {};
	char *text = NULL;
	size_t len;
	int ret;

	list.f = open_memstream(&text, &len);
	if (!list.f)
		return blkbpf_err(ENOMEM, "%s: out of memory", obj->path);
	for_each_var(obj, list_var, &list);
	if (!list.any)
		fputs("there is none", list.f);
	fclose(list.f);
	ret = blkbpf_err(ENOENT, "%s: there is no global variable '%s': %s",
			 obj->path, name, text);
	free(text);
	return ret;
}

/* A number with a sign of its own, as wide as there is. */
struct number {
	bool negative;
	__u64 magnitude;
};

static bool parse_number(const char *text, struct number *n)
{
	char *end;

	n->negative = *text == '-';
	if (*text == '-' || *text == '+')
		text++;
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n->magnitude = strtoull(text, &end, 0);
	return !*end && !errno;
}

/* Does it fit in @bits bits? */
static bool number_fits(const struct number *n, unsigned int bits, bool is_signed)
{
	__u64 max = bits == 64 ? UINT64_MAX : (1ULL << bits) - 1;

	if (n->negative && n->magnitude)
		return is_signed && n->magnitude <= max / 2 + 1;
	return n->magnitude <= (is_signed ? max / 2 : max);
}

/* Every BPF target of Linux that this runs on shares the host's byte order. */
static void store_number(unsigned char *data, __u32 size, const struct number *n)
{
	__u64 value = n->negative ? -n->magnitude : n->magnitude;
	__u8 v8 = value;
	__u16 v16 = value;
	__u32 v32 = value;

	switch (size) {
	case 1:
		memcpy(data, &v8, 1);
		break;
	case 2:
		memcpy(data, &v16, 2);
		break;
	case 4:
		memcpy(data, &v32, 4);
		break;
	case 8:
		memcpy(data, &value, 8);
		break;
	}
}

static int set_int(const struct blkbpf_object *obj, const struct var *var,
		   const char *value, bool is_signed)
{
	struct number n;

	if (!parse_number(value, &n))
		return blkbpf_err(EINVAL,
				  "%s: %s=%s: not an integer: give a decimal or 0x hexadecimal number that fits in 64 bits",
				  obj->path, var->name, value);
	if (var->size > 8)
		return blkbpf_err(EINVAL, "%s: %s: integers of %u bytes cannot be set",
				  obj->path, var->name, var->size);
	if (!number_fits(&n, var->size * 8, is_signed))
		return blkbpf_err(ERANGE,
				  "%s: %s=%s: does not fit: it is %s integer of %u bits",
				  obj->path, var->name, value,
				  is_signed ? "a signed" : "an unsigned",
				  var->size * 8);
	store_number(var->data, var->size, &n);
	return 0;
}

static int set_bool(const struct blkbpf_object *obj, const struct var *var,
		    const char *value)
{
	static const char *const words[][2] = {
		{ "false", "true" }, { "0", "1" }, { "no", "yes" }, { "off", "on" },
	};
	size_t i;
	int v;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (v = 0; v < 2; v++) {
			if (!strcasecmp(value, words[i][v])) {
				*var->data = v;
				return 0;
			}
		}
	}
	return blkbpf_err(EINVAL, "%s: %s=%s: it is a bool: give true or false",
			  obj->path, var->name, value);
}

static int set_enum(const struct blkbpf_object *obj, const struct btf *btf,
		    const struct var *var, const char *value)
{
	const struct btf_enum64 *e64 = btf_enum64(var->type);
	const struct btf_enum *e = btf_enum(var->type);
	struct number n = {};
	char *names = NULL;
	size_t len;
	FILE *f;
	int i, ret;

	if (*value == '-' || (*value >= '0' && *value <= '9'))
		return set_int(obj, var, value, btf_kflag(var->type));

	f = open_memstream(&names, &len);
	if (!f)
		return blkbpf_err(ENOMEM, "%s: out of memory", obj->path);
	for (i = 0; i < btf_vlen(var->type); i++) {
		bool is64 = btf_is_enum64(var->type);
		const char *name = btf__name_by_offset(btf, is64 ?
					e64[i].name_off : e[i].name_off);

		fprintf(f, "%s%s", i ? ", " : "", name);
		if (strcmp(name, value))
			continue;
		n.magnitude = is64 ? btf_enum64_value(&e64[i]) : (__u64)e[i].val;
		store_number(var->data, var->size, &n);
		fclose(f);
		free(names);
		return 0;
	}
	fclose(f);
	ret = blkbpf_err(EINVAL, "%s: %s=%s: it is an enum: give one of %s",
			 obj->path, var->name, value, names);
	free(names);
	return ret;
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;

	return at ? at - digits : -1;
}

/* The bytes that a value means; to free(). */
static unsigned char *parse_bytes(const char *value, size_t *len)
{
	unsigned char *bytes;
	size_t i;

	if (strncmp(value, "hex:", 4)) {
		if (!strncmp(value, "text:", 5))
			value += 5;
		*len = strlen(value);
		return (unsigned char *)strdup(value);
	}
	value += 4;
	*len = strlen(value) / 2;
	bytes = malloc(*len + 1);
	if (!bytes)
		return NULL;
	for (i = 0; i < 2 * *len; i += 2) {
		int high = hex_digit(value[i]), low = hex_digit(value[i + 1]);

		if (high < 0 || low < 0)
			break;
		bytes[i / 2] = high << 4 | low;
	}
	if (i == strlen(value))
		return bytes;
	free(bytes);
	errno = EINVAL;
	return NULL;
}

static bool is_byte(const struct btf_type *t)
{
	return t && btf_is_int(t) && t->size == 1 &&
	       !(btf_int_encoding(t) & BTF_INT_BOOL);
}

bool is_bytes(const struct btf *btf, const struct btf_type *t)
{
	return btf_is_array(t) && is_byte(skip_mods(btf, btf_array(t)->type));
}

static bool is_char(const struct btf *btf, const struct btf_type *array)
{
	const struct btf_type *t = skip_mods(btf, btf_array(array)->type);

	return !strcmp(btf__name_by_offset(btf, t->name_off), "char");
}

static bool was_set(const struct blkbpf_object *obj, const char *name)
{
	const struct set_var *set;

	for (set = obj->set; set; set = set->next)
		if (!strcmp(set->name, name))
			return true;
	return false;
}

/* NAME_len beside NAME[]: false if there is none. */
static bool find_companion(const struct blkbpf_object *obj, const char *name,
			   struct var *companion)
{
	char *companion_name;
	bool found;

	if (asprintf(&companion_name, "%s_len", name) < 0)
		return false;
	found = find_var(obj, companion_name, companion) &&
		btf_is_int(companion->type);
	free(companion_name);
	return found;
}

static int set_bytes(struct blkbpf_object *obj, const struct btf *btf,
		     const struct var *var, const char *value)
{
	struct var companion;
	unsigned char *bytes;
	size_t len, room;
	char number[24];
	bool counted;
	int ret = 0;

	bytes = parse_bytes(value, &len);
	if (!bytes)
		return blkbpf_err(errno,
				  "%s: %s=%s: give pairs of hexadecimal digits after hex:",
				  obj->path, var->name, value);
	counted = find_companion(obj, var->name, &companion);
	room = var->size - (is_char(btf, var->type) && !counted);
	if (len > room) {
		ret = blkbpf_err(ERANGE, "%s: %s: %zu bytes are too many: there is room for %zu",
				 obj->path, var->name, len, room);
		goto out;
	}
	if (counted && !was_set(obj, companion.name)) {
		snprintf(number, sizeof(number), "%zu", len);
		ret = set_int(obj, &companion, number,
			      btf_int_encoding(companion.type) & BTF_INT_SIGNED);
		if (ret)
			goto out;
	}
	memset(var->data, 0, var->size);
	memcpy(var->data, bytes, len);
out:
	free(bytes);
	return ret;
}

static int remember_set(struct blkbpf_object *obj, const char *name)
{
	struct set_var *set = malloc(sizeof(*set) + strlen(name) + 1);

	if (!set)
		return blkbpf_err(ENOMEM, "%s: out of memory", obj->path);
	strcpy(set->name, name);
	set->next = obj->set;
	obj->set = set;
	return 0;
}

int blkbpf_object__set(struct blkbpf_object *obj, const char *name,
		       const char *value)
{
	const struct btf *btf = bpf_object__btf(obj->bpf);
	struct var var;
	int ret;

	if (obj->loaded)
		return blkbpf_err(EBUSY, "%s: %s: it is loaded already: variables are set before that",
				  obj->path, name);
	if (!find_var(obj, name, &var))
		return err_unknown(obj, name);

	if (btf_is_int(var.type) && btf_int_encoding(var.type) & BTF_INT_BOOL)
		ret = set_bool(obj, &var, value);
	else if (btf_is_int(var.type))
		ret = set_int(obj, &var, value,
			      btf_int_encoding(var.type) & BTF_INT_SIGNED);
	else if (btf_is_any_enum(var.type))
		ret = set_enum(obj, btf, &var, value);
	else if (is_bytes(btf, var.type))
		ret = set_bytes(obj, btf, &var, value);
	else
		ret = blkbpf_err(EINVAL,
				 "%s: %s: cannot be set: only integers, bool, enums and arrays of bytes can",
				 obj->path, name);
	return ret ? ret : remember_set(obj, name);
}

static bool is_writable(const char *section)
{
	return is_globals(section) && strncmp(section, ".rodata", 7);
}

int object_save(struct blkbpf_object *obj)
{
	const struct btf *btf = bpf_object__btf(obj->bpf);
	__u32 id, nr = btf ? btf__type_cnt(btf) : 0;

	for (id = 1; id < nr; id++) {
		const struct btf_type *t = btf__type_by_id(btf, id);
		const char *name = btf__name_by_offset(btf, t->name_off);
		struct saved *saved;
		size_t size;
		void *data;

		if (!btf_is_datasec(t) || !is_writable(name))
			continue;
		data = object_section(obj, name, &size);
		if (!data)
			continue;
		saved = malloc(sizeof(*saved) + size);
		if (saved)
			saved->name = strdup(name);
		if (!saved || !saved->name) {
			free(saved);
			return blkbpf_err(ENOMEM, "%s: out of memory", obj->path);
		}
		saved->size = size;
		memcpy(saved->data, data, size);
		saved->next = obj->saved;
		obj->saved = saved;
	}
	return 0;
}

void object_free_saved(struct blkbpf_object *obj)
{
	struct saved *saved, *next;

	for (saved = obj->saved; saved; saved = next) {
		next = saved->next;
		free(saved->name);
		free(saved);
	}
	obj->saved = NULL;
}

int blkbpf_object__reset(struct blkbpf_object *obj)
{
	const struct saved *saved;
	size_t size;
	void *data;

	if (!obj->target)
		return blkbpf_err(EINVAL, "%s: it is not loaded: its variables are as they were set",
				  obj->path);
	for (saved = obj->saved; saved; saved = saved->next) {
		data = object_section(obj, saved->name, &size);
		if (data && size == saved->size)
			memcpy(data, saved->data, size);
	}
	return 0;
}
