// SPDX-License-Identifier: GPL-2.0
/* Global variables, for scan --dump-globals. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "main.h"

static struct json_object *json_value(const struct blkbpf_value *v)
{
	switch (v->type) {
	case BLKBPF_VALUE_UNSIGNED:
		return json_object_new_uint64(v->u);
	case BLKBPF_VALUE_SIGNED:
		return json_object_new_int64(v->s);
	case BLKBPF_VALUE_BOOL:
		return json_object_new_boolean(v->u);
	case BLKBPF_VALUE_ENUM:
		return v->name ? json_object_new_string(v->name) :
				 json_object_new_int64(v->s);
	case BLKBPF_VALUE_BYTES:
		return json_bytes_hex(v->bytes, v->len);
	case BLKBPF_VALUE_STRUCT:
		return json_object_new_object();
	case BLKBPF_VALUE_ARRAY:
		return json_object_new_array();
	case BLKBPF_VALUE_END:
		break;
	}
	return NULL;
}

/**
 * struct nest - a struct or an array that has begun and not ended
 * @outer:  what it is in; NULL for that of the variables
 * @values: what is in it, a JSON object or array
 * @types:  where the types of its members belong; NULL for nowhere
 */
struct nest {
	struct nest *outer;
	struct json_object *values;
	struct json_object *types;
};

struct tree {
	struct nest *inner;
	struct json_object *types;
};

/* The members of a type that has a name are told once, under that name. */
static struct json_object *types_of(const struct tree *tree,
				    const struct blkbpf_value *v)
{
	struct json_object *types;

	if (v->type != BLKBPF_VALUE_STRUCT || !strcmp(v->type_name, "struct") ||
	    !strcmp(v->type_name, "union") ||
	    json_object_object_get_ex(tree->types, v->type_name, &types))
		return NULL;
	types = must(json_object_new_object());
	json_add(tree->types, v->type_name, types);
	return types;
}

static void nest_begin(struct tree *tree, const struct blkbpf_value *v,
		       struct json_object *values)
{
	struct nest *nest = must(malloc(sizeof(*nest)));

	*nest = (struct nest) {
		.outer = tree->inner,
		.values = values,
		.types = types_of(tree, v),
	};
	tree->inner = nest;
}

static void nest_end(struct tree *tree)
{
	struct nest *nest = tree->inner;

	tree->inner = nest->outer;
	free(nest);
}

static int add_value(void *ctx, const struct blkbpf_value *v)
{
	struct tree *tree = ctx;
	struct nest *in = tree->inner;
	struct json_object *value;

	if (v->type == BLKBPF_VALUE_END) {
		nest_end(tree);
		return 0;
	}
	value = must(json_value(v));
	if (v->member && in->types)
		json_add_str(in->types, v->member, v->type_name);
	if (v->member)
		json_add(in->values, v->member, value);
	else if (json_object_array_add(in->values, value))
		must(NULL);
	if (v->type == BLKBPF_VALUE_STRUCT || v->type == BLKBPF_VALUE_ARRAY)
		nest_begin(tree, v, value);
	return 0;
}

void json_add_globals(struct json_object *obj,
		      const struct blkbpf_object *object)
{
	struct nest variables = {
		.values = must(json_object_new_object()),
		.types = must(json_object_new_object()),
	};
	struct tree tree = { .inner = &variables, .types = variables.types };

	if (blkbpf_object__globals_tree(object, add_value, &tree))
		fail_library();
	while (tree.inner != &variables)
		nest_end(&tree);
	json_add(obj, "globals", variables.values);
	json_add(obj, "types", variables.types);
}

static int print_value(void *ctx, const struct blkbpf_value *v)
{
	struct json_object *value = must(json_value(v));

	(void)ctx;
	printf("%s = %s\n", v->path, json_object_to_json_string(value));
	json_object_put(value);
	return 0;
}

void print_globals(const struct blkbpf_object *object)
{
	if (blkbpf_object__globals(object, print_value, NULL))
		fail_library();
}
