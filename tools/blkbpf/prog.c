// SPDX-License-Identifier: GPL-2.0
/* blkbpf prog: load, list and show programs. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "main.h"

enum { OPT_PIN = OPT_LONG, OPT_SET, OPT_PROGRAM };

static const struct opt load_opts[] = {
	{ OPT_PIN, "pin", "PATH",
	  "keep the program under this path in bpffs; one\n"
	  "that ends in '/' or is a directory takes each\n"
	  "program's name" },
	{ OPT_SET, "set", "VAR=VALUE", "give a global variable its value" },
	{ OPT_PROGRAM, "program", "NAME", "pin this program of several" },
	{}
};

/* What else holds on to programs; the pins and attachments of all of them. */
struct holders {
	struct blkbpf_pin *pins;
	size_t nr_pins;
	struct blk_bpf_attachment *attachments;
	size_t nr_attachments;
};

static bool get_holders(struct holders *h)
{
	memset(h, 0, sizeof(*h));
	if (blkbpf_pins(&h->pins, &h->nr_pins) ||
	    blkbpf_attachments(&h->attachments, &h->nr_attachments)) {
		blkbpf_pins_free(h->pins, h->nr_pins);
		fail_library();
		return false;
	}
	return true;
}

static void put_holders(struct holders *h)
{
	blkbpf_pins_free(h->pins, h->nr_pins);
	free(h->attachments);
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
		json_object_array_add(array, a);
	}
	json_add(obj, "attachments", array);
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
	for (i = 0; i < h->nr_attachments; i++)
		if (h->attachments[i].map_id == info->id)
			printf("\tattached to %s: id %u, link %u\n",
			       h->attachments[i].disk, h->attachments[i].id,
			       h->attachments[i].link_id);
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

static int prog_show(int argc, char **argv)
{
	struct prog_choice choice = {};
	struct blkbpf_prog_info info;
	struct opened_prog opened;
	struct holders holders;
	int ret;

	while (next_option(argc, argv) != -1)
		;
	if (!operands_ok(argc, 1, 1))
		return EXIT_USAGE;
	if (!access(argv[optind], F_OK) && !is_in_bpffs(argv[optind]))
		return fail_usage("prog show: %s: is not a loaded program: give a pin, a name or an id",
				  argv[optind]);
	ret = open_prog(argv[optind], &choice, &opened);
	if (ret)
		return ret;
	ret = blkbpf_prog__info(opened.prog, &info);
	close_prog(&opened);
	if (ret)
		return fail_library();
	if (!get_holders(&holders))
		return EXIT_FAILED;
	if (json_output)
		json_print(json_info(&info, &holders));
	else
		print_info(&info, &holders);
	put_holders(&holders);
	return EXIT_OK;
}

/* Where @prog is to be pinned, to free(). */
static char *pin_path(const struct blkbpf_prog *prog, const char *pin)
{
	size_t len = strlen(pin);
	struct stat st;
	char *path, *dot;

	if (pin[len - 1] != '/' && (stat(pin, &st) || !S_ISDIR(st.st_mode)))
		return must(strdup(pin));
	if (asprintf(&path, "%s%s%s", pin, pin[len - 1] == '/' ? "" : "/",
		     blkbpf_prog__name(prog)) < 0)
		must(NULL);
	/* bpffs keeps the dot for itself */
	for (dot = strrchr(path, '/'); (dot = strchr(dot, '.'));)
		*dot = '_';
	return path;
}

/* The programs to keep: one that was chosen, or all of the object. */
static struct blkbpf_prog *next_kept(const struct blkbpf_object *obj,
				     struct blkbpf_prog *chosen,
				     struct blkbpf_prog *prev)
{
	if (!chosen)
		return blkbpf_object__next_prog(obj, prev);
	return prev ? NULL : chosen;
}

/* All or none. */
static int pin_progs(const struct blkbpf_object *obj, struct blkbpf_prog *chosen,
		     const char *pin)
{
	struct blkbpf_prog *prog = NULL, *undo;
	char *path;

	while ((prog = next_kept(obj, chosen, prog))) {
		path = pin_path(prog, pin);
		if (!blkbpf_prog__pin(prog, path)) {
			free(path);
			continue;
		}
		free(path);
		fail_library();
		for (undo = NULL;
		     (undo = next_kept(obj, chosen, undo)) && undo != prog;) {
			path = pin_path(undo, pin);
			unlink(path);
			free(path);
		}
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

static int report_loaded(const struct blkbpf_object *obj,
			 struct blkbpf_prog *chosen, const char *pin)
{
	struct json_object *array = must(json_object_new_array()), *entry;
	struct blkbpf_prog *prog = NULL;
	struct blkbpf_prog_info info;
	char *path;

	while ((prog = next_kept(obj, chosen, prog))) {
		if (blkbpf_prog__info(prog, &info)) {
			json_object_put(array);
			return fail_library();
		}
		path = pin ? pin_path(prog, pin) : NULL;
		if (!json_output && pin)
			printf("%s: loaded and pinned at %s (id %u)\n",
			       info.name, path, info.id);
		else if (!json_output)
			printf("%s: loaded and verified; not kept, for want of --pin\n",
			       info.name);
		entry = json_object_new_object();
		json_add_str(entry, "name", info.name);
		json_add_u64(entry, "id", info.id);
		json_add_u64(entry, "unit", info.unit);
		json_add_u64(entry, "overlap", info.overlap);
		if (pin)
			json_add_str(entry, "pin", path);
		json_object_array_add(array, entry);
		free(path);
	}
	if (json_output)
		json_print(array);
	else
		json_object_put(array);
	return EXIT_OK;
}

static int load_object(const char *file, const struct prog_choice *choice,
		       const char *pin)
{
	struct blkbpf_object *obj = open_object(file, choice);
	struct blkbpf_prog *chosen = NULL, *first;
	int ret = EXIT_FAILED;

	if (!obj)
		return EXIT_FAILED;
	first = blkbpf_object__next_prog(obj, NULL);
	if (choice->name) {
		chosen = blkbpf_object__find_prog(obj, choice->name);
		if (!chosen) {
			fail_library();
			goto out;
		}
	}
	if (pin && !chosen && blkbpf_object__next_prog(obj, first) &&
	    pin[strlen(pin) - 1] != '/') {
		ret = fail_usage("prog load: %s: there are several programs in it: give --pin DIRECTORY/, or choose one by --program",
				 file);
		goto out;
	}
	if (blkbpf_object__load(obj))
		fail_library();
	else
		ret = pin ? pin_progs(obj, chosen, pin) : EXIT_OK;
	if (ret == EXIT_OK)
		ret = report_loaded(obj, chosen, pin);
out:
	blkbpf_object__close(obj);
	return ret;
}

static int prog_load(int argc, char **argv)
{
	struct prog_choice choice = {};
	const char *pin = NULL;
	int key, ret;

	while ((key = next_option(argc, argv)) != -1) {
		switch (key) {
		case OPT_PIN:
			pin = optarg;
			break;
		case OPT_SET:
			if (!choice_add_set(&choice, optarg))
				return EXIT_USAGE;
			break;
		case OPT_PROGRAM:
			choice.name = optarg;
			break;
		}
	}
	if (!operands_ok(argc, 1, 1))
		return EXIT_USAGE;
	if (pin && !*pin)
		return fail_usage("prog load: --pin needs a path");
	ret = load_object(argv[optind], &choice, pin);
	free(choice.set);
	return ret;
}

const struct command prog_load_command = {
	.name = "prog load",
	.operands = "FILE.bpf.o",
	.brief = "verify a program, load it into the kernel, and keep it",
	.opts = load_opts,
	.run = prog_load,
};

const struct command prog_list_command = {
	.name = "prog list",
	.operands = "",
	.brief = "list the loaded programs, their pins and attachments",
	.run = prog_list,
};

const struct command prog_show_command = {
	.name = "prog show",
	.operands = "PIN|NAME|ID",
	.brief = "show one loaded program",
	.run = prog_show,
};
