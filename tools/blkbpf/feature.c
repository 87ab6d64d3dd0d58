// SPDX-License-Identifier: GPL-2.0
/* blkbpf feature: what the running kernel module can do. */
#include <getopt.h>
#include <stdio.h>
#include "main.h"

struct bit {
	uint64_t bit;
	const char *name;
};

static const struct bit features[] = {
	{ BLK_BPF_FEAT_SCAN, "scan" },
	{ BLK_BPF_FEAT_ATTACH, "attach" },
	{ BLK_BPF_FEAT_OVERLAP, "overlap" },
	{ BLK_BPF_FEAT_FAIL, "fail" },
	{ BLK_BPF_FEAT_STREAM, "stream" },
	{ BLK_BPF_FEAT_BUDGET, "budget" },
	{ BLK_BPF_FEAT_TARGET, "target" },
	{}
};

static const struct bit scan_flags[] = {
	{ BLK_BPF_SCAN_COUNT, "count" },
	{ BLK_BPF_SCAN_DATA, "data" },
	{}
};

static const struct bit attach_flags[] = {
	{ BLK_BPF_ATTACH_MAY_FAIL, "may-fail" },
	{ BLK_BPF_ATTACH_WRITES, "writes" },
	{ BLK_BPF_ATTACH_OTHERS, "others" },
	{ BLK_BPF_ATTACH_NO_READS, "no-reads" },
	{}
};

/* A bit that this command has no name for is shown as a number. */
static struct json_object *json_bits(const struct bit *bits, uint64_t value)
{
	struct json_object *array = must(json_object_new_array());
	char text[24];

	for (; bits->name; bits++) {
		if (value & bits->bit)
			json_object_array_add(array,
				must(json_object_new_string(bits->name)));
		value &= ~bits->bit;
	}
	if (value) {
		snprintf(text, sizeof(text), "0x%llx",
			 (unsigned long long)value);
		json_object_array_add(array, must(json_object_new_string(text)));
	}
	return array;
}

static void print_value(const char *key, struct json_object *value)
{
	size_t i;

	printf("%-14s", key);
	if (!json_object_is_type(value, json_type_array))
		printf(" %s", json_object_get_string(value));
	else
		for (i = 0; i < json_object_array_length(value); i++)
			printf(" %s", json_object_get_string(
				       json_object_array_get_idx(value, i)));
	putchar('\n');
}

static int feature(int argc, char **argv)
{
	struct blk_bpf_features f;
	struct json_object *obj;

	while (next_option(argc, argv) != -1)
		;
	if (!operands_ok(argc, 0, 0))
		return EXIT_USAGE;
	if (blkbpf_features(&f))
		return fail_library();
	obj = json_object_new_object();
	json_add_u64(obj, "abi", f.abi);
	json_add(obj, "features", json_bits(features, f.features));
	json_add(obj, "scan_flags", json_bits(scan_flags, f.scan_flags));
	json_add(obj, "attach_flags", json_bits(attach_flags, f.attach_flags));
	json_add_u64(obj, "ctx_size", f.ctx_size);
	json_add_u64(obj, "unit_max", f.unit_max);
	json_add_u64(obj, "overlap_max", f.overlap_max);
	json_add_u64(obj, "threads_max", f.threads_max);
	if (json_output) {
		json_print(obj);
		return EXIT_OK;
	}
	json_object_object_foreach(obj, key, value)
		print_value(key, value);
	json_object_put(obj);
	return EXIT_OK;
}

const struct command feature_command = {
	.name = "feature",
	.operands = "",
	.brief = "show what the running kernel module can do",
	.run = feature,
};
