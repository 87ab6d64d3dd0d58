// SPDX-License-Identifier: GPL-2.0
/* blkbpf drive: the NVMe drives that run programs. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "main.h"

static const char *attr(const struct blkbpf_drive *drive, const char *name)
{
	const char *value = blkbpf_drive__attr(drive, name);

	return value && *value ? value : "-";
}

/* "namespaces" and "programs" are lists; what is all digits is a number. */
static struct json_object *json_value(const char *name, const char *text)
{
	bool words = !strcmp(name, "namespaces"), lines = !strcmp(name, "programs");
	struct json_object *array;
	uint64_t number;
	char *copy, *word, *save = NULL;

	if (!words && !lines)
		return must(is_number(text) && parse_u64(text, &number) ?
			    json_object_new_uint64(number) :
			    json_object_new_string(text));
	array = must(json_object_new_array());
	copy = must(strdup(text));
	for (word = strtok_r(copy, words ? " " : "\n", &save); word;
	     word = strtok_r(NULL, words ? " " : "\n", &save))
		json_object_array_add(array, must(json_object_new_string(word)));
	free(copy);
	return array;
}

static struct json_object *json_drive(const struct blkbpf_drive *drive)
{
	struct json_object *obj = must(json_object_new_object());
	size_t i;

	json_add_str(obj, "name", drive->name);
	for (i = 0; i < drive->nr_attrs; i++)
		json_add(obj, drive->attrs[i].name,
			 json_value(drive->attrs[i].name, drive->attrs[i].value));
	return obj;
}

static void print_json(const struct blkbpf_drive *drives, size_t nr)
{
	struct json_object *array = must(json_object_new_array());
	size_t i;

	for (i = 0; i < nr; i++)
		json_object_array_add(array, json_drive(&drives[i]));
	json_print(array);
}

static int drive_list(int argc, char **argv)
{
	struct blkbpf_drive *drives;
	size_t nr, i;

	while (next_option(argc, argv) != -1)
		;
	if (!operands_ok(argc, 0, 0))
		return EXIT_USAGE;
	if (blkbpf_drives(&drives, &nr))
		return fail_library();
	if (json_output) {
		print_json(drives, nr);
	} else if (nr) {
		printf("%-7s %-11s %-10s %-20s %-12s %-8s %s\n", "DRIVE",
		       "CONTROLLER", "TRANSPORT", "NEAR", "MEMORY", "ENGINES",
		       "SCANS");
		for (i = 0; i < nr; i++)
			printf("%-7s %-11s %-10s %-20s %-12s %-8s %s\n",
			       drives[i].name, attr(&drives[i], "controller"),
			       attr(&drives[i], "transport"),
			       attr(&drives[i], "namespaces"),
			       attr(&drives[i], "slm_size"),
			       attr(&drives[i], "engines"),
			       attr(&drives[i], "scans"));
	}
	blkbpf_drives_free(drives, nr);
	return EXIT_OK;
}

static void print_drive(const struct blkbpf_drive *drive)
{
	const char *value, *end;
	size_t i;

	printf("%s\n", drive->name);
	for (i = 0; i < drive->nr_attrs; i++) {
		value = drive->attrs[i].value;
		printf("  %-17s ", drive->attrs[i].name);
		/* A list of programs has a line for each. */
		while ((end = strchr(value, '\n'))) {
			printf("%.*s\n%20s", (int)(end - value), value, "");
			value = end + 1;
		}
		printf("%s\n", value);
	}
}

static int drive_show(int argc, char **argv)
{
	struct blkbpf_drive *drives;
	const char *name;
	size_t nr, i;

	while (next_option(argc, argv) != -1)
		;
	if (!operands_ok(argc, 1, 1))
		return EXIT_USAGE;
	name = argv[optind];
	if (blkbpf_drives(&drives, &nr))
		return fail_library();
	for (i = 0; i < nr && strcmp(drives[i].name, name); i++)
		;
	if (i == nr) {
		blkbpf_drives_free(drives, nr);
		return fail(ENOENT, "drive %s: there is none of this name: 'blkbpf drive list' shows them",
			    name);
	}
	if (json_output)
		json_print(json_drive(&drives[i]));
	else
		print_drive(&drives[i]);
	blkbpf_drives_free(drives, nr);
	return EXIT_OK;
}

const struct command drive_list_command = {
	.name = "drive list",
	.operands = "",
	.brief = "list the drives that run programs",
	.run = drive_list,
};

const struct command drive_show_command = {
	.name = "drive show",
	.operands = "DRIVE",
	.brief = "show what a drive says of itself, and what it holds",
	.run = drive_show,
};
