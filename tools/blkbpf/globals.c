// SPDX-License-Identifier: GPL-2.0
/* Global variables as JSON, for scan --dump-globals. */
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
	}
	return NULL;
}

static int add_value(void *ctx, const struct blkbpf_value *v)
{
	json_add(ctx, v->path, must(json_value(v)));
	return 0;
}

struct json_object *json_globals(const struct blkbpf_object *obj)
{
	struct json_object *globals = must(json_object_new_object());

	if (blkbpf_object__globals(obj, add_value, globals))
		fail_library();
	return globals;
}
