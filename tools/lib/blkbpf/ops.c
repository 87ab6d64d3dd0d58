// SPDX-License-Identifier: GPL-2.0
/* The variable of a program, struct blk_bpf_ops as its author compiled it. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include "internal.h"

static const struct btf_type *ops_type(const struct blkbpf_object *obj,
				       const struct bpf_map *map)
{
	const struct btf *btf = bpf_object__btf(obj->bpf);
	const struct btf_type *t;

	if (bpf_map__type(map) != BPF_MAP_TYPE_STRUCT_OPS)
		return NULL;
	t = btf__type_by_id(btf, bpf_map__btf_value_type_id(map));
	if (!t || strcmp(btf__name_by_offset(btf, t->name_off), OPS_TYPE))
		return NULL;
	return t;
}

bool ops_is_ours(const struct blkbpf_object *obj, const struct bpf_map *map)
{
	return ops_type(obj, map);
}

void *ops_member(const struct blkbpf_object *obj, const struct bpf_map *map,
		 const char *name, uint32_t *size)
{
	const struct btf *btf = bpf_object__btf(obj->bpf);
	const struct btf_type *t = ops_type(obj, map);
	const struct btf_member *m = btf_members(t);
	char *value = bpf_map__initial_value(map, NULL);
	int i;

	for (i = 0; value && i < btf_vlen(t); i++, m++) {
		__s64 bytes = btf__resolve_size(btf, m->type);

		if (strcmp(btf__name_by_offset(btf, m->name_off), name))
			continue;
		if (bytes < 0 || m->offset / 8 + bytes > t->size)
			return NULL;
		*size = bytes;
		return value + m->offset / 8;
	}
	return NULL;
}

static uint32_t ops_number(const struct blkbpf_prog *prog, const char *name)
{
	uint32_t size, number = 0;
	void *at = ops_member(prog->obj, prog->map, name, &size);

	if (at && size == sizeof(number))
		memcpy(&number, at, sizeof(number));
	return number;
}

uint32_t ops_unit(const struct blkbpf_prog *prog)
{
	uint32_t unit = ops_number(prog, "unit");

	return unit ? unit : BLK_BPF_UNIT_DEFAULT;
}

uint32_t ops_overlap(const struct blkbpf_prog *prog)
{
	return ops_number(prog, "overlap");
}

#define OPS_ERR(prog, err, fmt, ...)					\
	blkbpf_err(err, "%s: program '%s': " fmt, (prog)->obj->path,	\
		   (prog)->name, ##__VA_ARGS__)

static int check_name(const struct blkbpf_prog *prog)
{
	uint32_t size = 0, i;
	const unsigned char *name = ops_member(prog->obj, prog->map, "name", &size);

	for (i = 0; name && i < size && name[i]; i++) {
		if (!isalnum(name[i]) && !strchr("_.-", name[i]))
			return OPS_ERR(prog, EINVAL,
				       ".name: letter %u (0x%02x) is not allowed: use letters, digits, '_', '.' and '-'",
				       i + 1, name[i]);
	}
	if (name && i == size)
		return OPS_ERR(prog, EINVAL, ".name has no end: at most %u letters",
			       size - 1);
	return 0;
}

/* A member that this version does not know must not be ignored. */
static int check_unknown(const struct blkbpf_prog *prog)
{
	static const char *const known[] = { "filter", "unit", "overlap", "name" };
	const struct btf *btf = bpf_object__btf(prog->obj->bpf);
	const struct btf_type *t = ops_type(prog->obj, prog->map);
	const struct btf_member *m = btf_members(t);
	uint32_t size = 0, i, k;
	int n;

	for (n = 0; n < btf_vlen(t); n++, m++) {
		const char *name = btf__name_by_offset(btf, m->name_off);
		const char *at = ops_member(prog->obj, prog->map, name, &size);

		for (k = 0; k < sizeof(known) / sizeof(known[0]); k++)
			if (!strcmp(known[k], name))
				break;
		if (k < sizeof(known) / sizeof(known[0]))
			continue;
		for (i = 0; at && i < size; i++)
			if (at[i])
				return OPS_ERR(prog, EOPNOTSUPP, ".%s is not known to this version of the library: use a newer one",
					       name);
	}
	return 0;
}

int ops_check(const struct blkbpf_prog *prog)
{
	int err;

	if (!(bpf_map__map_flags(prog->map) & BPF_F_LINK))
		return OPS_ERR(prog, EOPNOTSUPP,
			       "the program is in section .struct_ops: put it into .struct_ops.link, as BLK_BPF_PROGRAM() does, so that a link holds it");
	if (ops_unit(prog) > BLK_BPF_UNIT_MAX)
		return OPS_ERR(prog, EINVAL, ".unit = %u is too large: at most %u bytes, because the verifier follows a data pointer for 64 KiB",
			       ops_unit(prog), BLK_BPF_UNIT_MAX);
	if (ops_overlap(prog) > BLK_BPF_OVERLAP_MAX)
		return OPS_ERR(prog, EINVAL, ".overlap = %u is too large: at most %u bytes",
			       ops_overlap(prog), BLK_BPF_OVERLAP_MAX);
	err = check_name(prog);
	return err ? err : check_unknown(prog);
}
