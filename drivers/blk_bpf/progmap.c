// SPDX-License-Identifier: GPL-2.0
/*
 * From a struct_ops map to the program in it.
 *
 * bpf-core hands a struct_ops implementation a trampoline, and only when a link
 * is made. A scan names its program by map and needs no link, and the hot path
 * calls the program itself. For both bpf-core has no interface:
 * bpf_struct_ops_map is private to kernel/bpf/bpf_struct_ops.c. So the three
 * members that matter are found in the running kernel's BTF, by their types. If
 * their shape is ever another, the sentence says so, and nothing is guessed.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>

#include "run.h"

BTF_ID_LIST_SINGLE(struct_ops_map_id, struct, bpf_struct_ops_map)

/* As bpf-core lays the value of a struct_ops map of our type. */
struct blk_bpf_value {
	struct bpf_struct_ops_common_value common;
	struct blk_bpf_ops ops ____cacheline_aligned_in_smp;
};

/**
 * struct map_layout - where it is in struct bpf_struct_ops_map (bytes)
 * @value: struct bpf_struct_ops_value kvalue
 * @desc:  const struct bpf_struct_ops_desc *st_ops_desc
 * @links: struct bpf_link **links, one for every function that is set
 */
struct map_layout {
	u32 value;
	u32 desc;
	u32 links;
};

static const struct btf_type *type_of(u32 id)
{
	return blk_bpf_type_by_id(&id);
}

static const struct btf_type *pointee(const struct btf_type *t)
{
	return t && btf_type_is_ptr(t) ? type_of(t->type) : NULL;
}

static bool is_struct_of(const struct btf_type *t, u32 size)
{
	return t && btf_type_is_struct(t) && btf_type_vlen(t) && t->size == size;
}

/* struct bpf_struct_ops_value: a common value and a flexible array */
static bool is_value(const struct btf_type *t)
{
	const struct btf_member *member;
	const struct btf_type *last;

	if (!t || !btf_type_is_struct(t) || btf_type_vlen(t) != 2)
		return false;
	member = btf_type_member(t);
	last = type_of(member[1].type);
	return is_struct_of(type_of(member[0].type),
			    sizeof(struct bpf_struct_ops_common_value)) &&
	       last && btf_type_is_array(last) &&
	       __btf_member_bit_offset(t, &member[1]) / 8 ==
			offsetof(struct blk_bpf_value, ops);
}

/* A pointer to struct bpf_struct_ops_desc, whose first member points to ours. */
static bool is_desc(const struct btf_type *t)
{
	t = pointee(t);
	return is_struct_of(t, sizeof(struct bpf_struct_ops_desc)) &&
	       is_struct_of(pointee(type_of(btf_type_member(t)[0].type)),
			    sizeof(struct bpf_struct_ops));
}

static bool is_links(const struct btf_type *t)
{
	return is_struct_of(pointee(pointee(t)), sizeof(struct bpf_link));
}

/* False if one of the members is not there exactly once. */
static bool find_layout(struct map_layout *layout)
{
	const struct btf_type *t = type_of(struct_ops_map_id[0]);
	int nr_values = 0, nr_descs = 0, nr_links = 0;
	u32 i;

	if (!t || !btf_type_is_struct(t))
		return false;
	for (i = 0; i < btf_type_vlen(t); i++) {
		const struct btf_member *member = &btf_type_member(t)[i];
		const struct btf_type *type = type_of(member->type);
		u32 off = __btf_member_bit_offset(t, member) / 8;

		if (is_value(type)) {
			layout->value = off;
			nr_values++;
		} else if (is_desc(type)) {
			layout->desc = off;
			nr_descs++;
		} else if (is_links(type)) {
			layout->links = off;
			nr_links++;
		}
	}
	return nr_values == 1 && nr_descs == 1 && nr_links == 1;
}

static int refuse_layout(struct blk_bpf_msg *msg)
{
	return blk_bpf_refuse(msg, -EOPNOTSUPP,
		"this kernel lays out struct_ops maps in a way that blk_bpf does not know: it needs a newer blk_bpf");
}

static int get_program(struct bpf_map *map, const struct map_layout *layout,
		       struct blk_bpf_program *program, struct blk_bpf_msg *msg)
{
	struct blk_bpf_value *value = (void *)map + layout->value;
	struct bpf_link **links = *(struct bpf_link ***)((void *)map + layout->links);

	program->ops = &value->ops;
	/* There is one function in our type, so it is the first that is set. */
	program->prog = links[0]->prog;
	if (program->prog->type != BPF_PROG_TYPE_STRUCT_OPS)
		return refuse_layout(msg);
	return 0;
}

/**
 * blk_bpf_program_of_map - the program that a map holds
 * @map:     any map; the caller's reference keeps the program too
 * @program: the result
 * @msg:     says why there is none
 *
 * Return: 0, -EINVAL or -EOPNOTSUPP.
 */
int blk_bpf_program_of_map(struct bpf_map *map, struct blk_bpf_program *program,
			   struct blk_bpf_msg *msg)
{
	const struct bpf_struct_ops_desc *desc;
	struct map_layout layout;
	struct blk_bpf_value *value;

	if (map->map_type != BPF_MAP_TYPE_STRUCT_OPS)
		return blk_bpf_refuse(msg, -EINVAL,
			"prog_fd is a map of type %d, not a struct_ops map: give the map of a blk_bpf_ops program",
			map->map_type);
	if (!find_layout(&layout))
		return refuse_layout(msg);

	desc = *(const struct bpf_struct_ops_desc **)((void *)map + layout.desc);
	if (!blk_bpf_is_our_st_ops(desc->st_ops))
		return blk_bpf_refuse(msg, -EINVAL,
			"prog_fd is a struct_ops map of another type: give one of type blk_bpf_ops");

	value = (void *)map + layout.value;
	/* Pairs with the release in bpf_struct_ops_map_update_elem(). */
	if (smp_load_acquire(&value->common.state) != BPF_STRUCT_OPS_STATE_READY)
		return blk_bpf_refuse(msg, -EINVAL,
			"the program is loaded, but its map has no value yet: update the map before the scan");
	return get_program(map, &layout, program, msg);
}

/**
 * blk_bpf_program_of_ops - the program, from what bpf-core registers
 * @ops:     in the value of a struct_ops map
 * @program: the result
 * @msg:     says why there is none
 *
 * Return: 0 or -EOPNOTSUPP.
 */
int blk_bpf_program_of_ops(const struct blk_bpf_ops *ops,
			   struct blk_bpf_program *program,
			   struct blk_bpf_msg *msg)
{
	struct map_layout layout;
	struct bpf_map *map;

	if (!find_layout(&layout))
		return refuse_layout(msg);
	map = (void *)container_of(ops, struct blk_bpf_value, ops) - layout.value;
	return get_program(map, &layout, program, msg);
}
