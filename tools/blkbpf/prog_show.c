// SPDX-License-Identifier: GPL-2.0
/* blkbpf prog: list and show programs, and who holds on to them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "main.h"

/**
 * struct held - a program that a drive holds
 * @drive: name of the drive
 * @name:  of the program, which is all that it has in common with the kernel's
 * @index: on the drive
 * @size:  bytes of its image
 * @scans: that use it now
 * @state: "loaded", or "forgotten" by a reset
 * @line:  of the attribute, which @name and @state are in
 */
struct held {
	const char *drive;
	const char *name;
	uint64_t index;
	uint64_t size;
	uint64_t scans;
	const char *state;
	char *line;
};

/* What holds on to programs, all of them: pins, attachments, drives. */
struct holders {
	struct blkbpf_pin *pins;
	size_t nr_pins;
	struct blk_bpf_attachment *attachments;
	size_t nr_attachments;
	struct blkbpf_drive *drives;
	size_t nr_drives;
	struct held *held;
	size_t nr_held;
};

/* The last word of a text, cut off from it; NULL if it has one alone. */
static char *cut_word(char *text)
{
	char *space = strrchr(text, ' ');

	if (!space)
		return NULL;
	*space = '\0';
	return space + 1;
}

/* A line of a drive's programs: index, name, bytes, scans, state. */
static bool parse_held(char *line, struct held *held)
{
	const char *state, *scans, *size;
	char *name;

	state = cut_word(line);
	scans = state ? cut_word(line) : NULL;
	size = scans ? cut_word(line) : NULL;
	/* What is left in between is the name, spaces and all. */
	name = size ? strchr(line, ' ') : NULL;
	if (!name)
		return false;
	*name++ = '\0';
	held->name = name;
	held->state = state;
	return parse_u64(line, &held->index) && parse_u64(size, &held->size) &&
	       parse_u64(scans, &held->scans);
}

static void add_held(struct holders *h, const struct blkbpf_drive *drive)
{
	const char *line = blkbpf_drive__attr(drive, "programs"), *end;
	struct held *held;

	for (; line && *line; line = *end ? end + 1 : end) {
		end = strchrnul(line, '\n');
		h->held = must(reallocarray(h->held, h->nr_held + 1,
					    sizeof(*h->held)));
		held = &h->held[h->nr_held];
		held->drive = drive->name;
		held->line = must(strndup(line, end - line));
		if (parse_held(held->line, held))
			h->nr_held++;
		else
			free(held->line);
	}
}

static void put_holders(struct holders *h)
{
	size_t i;

	for (i = 0; i < h->nr_held; i++)
		free(h->held[i].line);
	free(h->held);
	blkbpf_drives_free(h->drives, h->nr_drives);
	blkbpf_pins_free(h->pins, h->nr_pins);
	free(h->attachments);
}

static bool get_holders(struct holders *h)
{
	size_t i;

	memset(h, 0, sizeof(*h));
	if (blkbpf_pins(&h->pins, &h->nr_pins) ||
	    blkbpf_attachments(&h->attachments, &h->nr_attachments) ||
	    blkbpf_drives(&h->drives, &h->nr_drives)) {
		fail_library();
		put_holders(h);
		return false;
	}
	for (i = 0; i < h->nr_drives; i++)
		add_held(h, &h->drives[i]);
	return true;
}

/* The next program of this name on a drive, after @prev; NULL after the last. */
static const struct held *next_held(const struct holders *h, const char *name,
				    const struct held *prev)
{
	const struct held *held = prev ? prev + 1 : h->held;

	for (; held < h->held + h->nr_held; held++)
		if (!strcmp(held->name, name))
			return held;
	return NULL;
}

static struct json_object *json_held(const struct holders *h, const char *name)
{
	struct json_object *array = must(json_object_new_array()), *obj;
	const struct held *held = NULL;

	while ((held = next_held(h, name, held))) {
		obj = must(json_object_new_object());
		json_add_str(obj, "drive", held->drive);
		json_add_u64(obj, "index", held->index);
		json_add_u64(obj, "bytes", held->size);
		json_add_u64(obj, "scans", held->scans);
		json_add_str(obj, "state", held->state);
		json_object_array_add(array, obj);
	}
	return array;
}

static void print_held(const struct holders *h, const char *name)
{
	const struct held *held = NULL;

	while ((held = next_held(h, name, held)))
		printf("\ton %s: index %llu, %llu bytes, %llu scans, %s\n",
		       held->drive, (unsigned long long)held->index,
		       (unsigned long long)held->size,
		       (unsigned long long)held->scans, held->state);
}

static struct json_object *json_info(const struct blkbpf_prog_info *info,
				     const struct holders *h)
{
	struct json_object *obj = json_object_new_object(), *array, *a;
	size_t i;

	json_add_u64(obj, "id", info->id);
	json_add_str(obj, "name", info->name);
	json_add_u64(obj, "unit", info->unit);
	json_add_u64(obj, "overlap", info->overlap);
	json_add(obj, "ready", json_object_new_boolean(info->ready));
	json_add_u64(obj, "prog_id", info->prog_id);
	json_add_u64(obj, "run_cnt", info->run_cnt);
	json_add_u64(obj, "run_time_ns", info->run_time_ns);

	array = must(json_object_new_array());
	for (i = 0; i < h->nr_pins; i++)
		if (!h->pins[i].is_link && h->pins[i].id == info->id)
			json_object_array_add(array,
				must(json_object_new_string(h->pins[i].path)));
	json_add(obj, "pins", array);

	array = must(json_object_new_array());
	for (i = 0; i < h->nr_attachments; i++) {
		if (h->attachments[i].map_id != info->id)
			continue;
		a = json_object_new_object();
		json_add_u64(a, "id", h->attachments[i].id);
		json_add_u64(a, "link_id", h->attachments[i].link_id);
		json_add_str(a, "disk", h->attachments[i].disk);
		json_add_str(a, "state",
			     attachment_state(h->attachments[i].state));
		json_add_exit(a, &h->attachments[i]);
		json_object_array_add(array, a);
	}
	json_add(obj, "attachments", array);
	json_add(obj, "drives", json_held(h, info->name));
	return obj;
}

static void print_info(const struct blkbpf_prog_info *info,
		       const struct holders *h)
{
	size_t i;

	printf("%u: %s  unit %u  overlap %u  prog %u%s\n", info->id, info->name,
	       info->unit, info->overlap, info->prog_id,
	       info->ready ? "" : "  not ready");
	if (info->run_cnt)
		printf("\truns %llu  time %llu ns\n",
		       (unsigned long long)info->run_cnt,
		       (unsigned long long)info->run_time_ns);
	for (i = 0; i < h->nr_pins; i++)
		if (!h->pins[i].is_link && h->pins[i].id == info->id)
			printf("\tpinned %s\n", h->pins[i].path);
	for (i = 0; i < h->nr_attachments; i++) {
		const struct blk_bpf_attachment *a = &h->attachments[i];

		if (a->map_id != info->id)
			continue;
		printf("\tattached to %s: id %u, link %u%s%s\n", a->disk, a->id,
		       a->link_id, a->state == BLK_BPF_STATE_LIVE ? "" : ", ",
		       a->state == BLK_BPF_STATE_LIVE ? "" :
		       attachment_state(a->state));
		print_exit(a);
	}
	print_held(h, info->name);
}

static int prog_list(int argc, char **argv)
{
	struct blkbpf_prog_info *infos;
	struct json_object *array;
	struct holders holders;
	size_t nr, i;

	while (next_option(argc, argv) != -1)
		;
	if (!operands_ok(argc, 0, 0))
		return EXIT_USAGE;
	if (blkbpf_progs(&infos, &nr))
		return fail_library();
	if (!get_holders(&holders)) {
		free(infos);
		return EXIT_FAILED;
	}
	array = must(json_object_new_array());
	for (i = 0; i < nr; i++) {
		if (json_output)
			json_object_array_add(array, json_info(&infos[i], &holders));
		else
			print_info(&infos[i], &holders);
	}
	if (json_output)
		json_print(array);
	else
		json_object_put(array);
	put_holders(&holders);
	free(infos);
	return EXIT_OK;
}

/*
 * Shows what the kernel does not have and a drive has, of this name: a scan
 * leaves its program there. Returns false if there is none.
 */
static bool show_held(const char *name, const struct holders *h)
{
	struct json_object *obj;

	if (!next_held(h, name, NULL))
		return false;
	if (json_output) {
		obj = must(json_object_new_object());
		json_add_str(obj, "name", name);
		json_add(obj, "drives", json_held(h, name));
		json_print(obj);
	} else {
		printf("%s: not in the kernel\n", name);
		print_held(h, name);
	}
	return true;
}

static int show_loaded(const char *spec, const struct holders *h)
{
	struct prog_choice choice = {};
	struct blkbpf_prog_info info;
	struct opened_prog opened;
	int ret;

	ret = open_prog(spec, &choice, &opened);
	if (ret)
		return ret;
	ret = blkbpf_prog__info(opened.prog, &info);
	close_prog(&opened);
	if (ret)
		return fail_library();
	if (json_output)
		json_print(json_info(&info, h));
	else
		print_info(&info, h);
	return EXIT_OK;
}

/* -1 if that is not known, for want of privilege. */
static int kernel_has(const char *name)
{
	struct blkbpf_prog_info *infos;
	size_t nr, i;
	int found = 0;

	if (blkbpf_progs(&infos, &nr))
		return -1;
	for (i = 0; i < nr && !found; i++)
		found = !strcmp(infos[i].name, name);
	free(infos);
	return found;
}

static int prog_show(int argc, char **argv)
{
	struct holders holders;
	const char *spec;
	int ret = EXIT_OK;

	while (next_option(argc, argv) != -1)
		;
	if (!operands_ok(argc, 1, 1))
		return EXIT_USAGE;
	spec = argv[optind];
	if (!access(spec, F_OK) && !is_in_bpffs(spec))
		return fail_usage("prog show: %s: is not a loaded program: give a pin, a name or an id",
				  spec);
	if (!get_holders(&holders))
		return EXIT_FAILED;
	/* Whatever the kernel can name comes first. */
	if (!is_program_name(spec) || kernel_has(spec) || !show_held(spec, &holders))
		ret = show_loaded(spec, &holders);
	put_holders(&holders);
	return ret;
}

const struct command prog_list_command = {
	.name = "prog list",
	.operands = "",
	.brief = "list the loaded programs, their pins and attachments",
	.run = prog_list,
};

const struct command prog_show_command = {
	.name = "prog show",
	.operands = "PIN|NAME|ID",
	.brief = "show one loaded program, in the kernel and on drives",
	.run = prog_show,
};
