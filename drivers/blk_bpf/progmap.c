// SPDX-License-Identifier: GPL-2.0
/*
 * From a map to the program in it.
 *
 * bpf-core tells a struct_ops implementation of a program when a link is made,
 * not when a map is, and offers no way from a map to what is in it:
 * bpf_struct_ops_map is private to kernel/bpf/bpf_struct_ops.c. A scan names
 * its program by map and needs no link, so the two members that matter are
 * found in the running kernel's BTF, by their types. If their shape is ever
 * another, scans are refused with a sentence instead of guessing.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/log2.h>

#include "run.h"

/* As bpf-core lays the value of a struct_ops map of our type. */
struct blk_bpf_value {
	struct bpf_struct_ops_common_value common;
	struct blk_bpf_ops ops ____cacheline_aligned_in_smp;
};

static const struct btf_type *type_of(u32 id)
{
	return blk_bpf_type_by_id(&id);
}

/* struct bpf_struct_ops_value: a common value and a flexible array */
static bool is_value(const struct btf_type *t)
{
	const struct btf_type *first, *last;

	if (!t || !btf_type_is_struct(t) || btf_type_vlen(t) != 2)
		return false;
	first = type_of(btf_type_member(t)[0].type);
	last = type_of(btf_type_member(t)[1].type);
	return first && btf_type_is_struct(first) &&
	       first->size == sizeof(struct bpf_struct_ops_common_value) &&
	       last && btf_type_is_array(last) &&
	       __btf_member_bit_offset(t, &btf_type_member(t)[1]) / 8 ==
			offsetof(struct blk_bpf_value, ops);
}

/* A pointer to struct bpf_struct_ops_desc, which begins with a bpf_struct_ops */
static bool is_desc_pointer(const struct btf_type *t)
{
	if (!t || !btf_type_is_ptr(t))
		return false;
	t = type_of(t->type);
	if (!t || !btf_type_is_struct(t) || !btf_type_vlen(t) ||
	    t->size != sizeof(struct bpf_struct_ops_desc))
		return false;
	t = type_of(btf_type_member(t)[0].type);
	if (!t || !btf_type_is_ptr(t))
		return false;
	t = type_of(t->type);
	return t && btf_type_is_struct(t) &&
	       t->size == sizeof(struct bpf_struct_ops);
}

/* Where the two members are, or false if they are not what they were. */
static bool find_members(const struct bpf_map *map, u32 *value_off,
			 u32 *desc_off)
{
	const struct btf_type *t;
	int nr_values = 0, nr_descs = 0;
	u32 i;

	t = map->ops->map_btf_id ? type_of(*map->ops->map_btf_id) : NULL;
	if (!t || !btf_type_is_struct(t))
		return false;
	for (i = 0; i < btf_type_vlen(t); i++) {
		const struct btf_member *member = &btf_type_member(t)[i];
		const struct btf_type *type = type_of(member->type);
		u32 off = __btf_member_bit_offset(t, member) / 8;

		if (is_value(type)) {
			*value_off = off;
			nr_values++;
		} else if (is_desc_pointer(type)) {
			*desc_off = off;
			nr_descs++;
		}
	}
	return nr_values == 1 && nr_descs == 1;
}

/**
 * blk_bpf_map_ops - the program that a map holds
 * @map: any map; the caller's reference keeps the program too
 * @msg: says why there is none
 *
 * Return: the program, or ERR_PTR(-EINVAL), ERR_PTR(-EOPNOTSUPP).
 */
const struct blk_bpf_ops *blk_bpf_map_ops(struct bpf_map *map,
					  struct blk_bpf_msg *msg)
{
	const struct bpf_struct_ops_desc *desc;
	const struct blk_bpf_value *value;
	u32 value_off, desc_off;

	if (map->map_type != BPF_MAP_TYPE_STRUCT_OPS)
		return ERR_PTR(blk_bpf_refuse(msg, -EINVAL,
			"prog_fd is a map of type %d, not a struct_ops map: give the map of a blk_bpf_ops program",
			map->map_type));
	if (!find_members(map, &value_off, &desc_off))
		return ERR_PTR(blk_bpf_refuse(msg, -EOPNOTSUPP,
			"this kernel lays out struct_ops maps in a way that blk_bpf does not know: it needs a newer blk_bpf"));

	desc = *(const struct bpf_struct_ops_desc **)((void *)map + desc_off);
	if (!blk_bpf_is_our_st_ops(desc->st_ops))
		return ERR_PTR(blk_bpf_refuse(msg, -EINVAL,
			"prog_fd is a struct_ops map of another type: give one of type blk_bpf_ops"));

	value = (void *)map + value_off;
	/* Pairs with the release in bpf_struct_ops_map_update_elem(). */
	if (smp_load_acquire(&value->common.state) != BPF_STRUCT_OPS_STATE_READY)
		return ERR_PTR(blk_bpf_refuse(msg, -EINVAL,
			"the program is loaded, but its map has no value yet: update the map before the scan"));
	return &value->ops;
}
