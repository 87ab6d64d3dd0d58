// SPDX-License-Identifier: GPL-2.0
/* blkbpf prog: load and check programs. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "main.h"

enum { OPT_PIN = OPT_LONG, OPT_SET, OPT_PROGRAM, OPT_ON };

static const struct opt load_opts[] = {
	{ OPT_PIN, "pin", "PATH",
	  "keep the program under this path in bpffs; one\n"
	  "that ends in '/' or is a directory takes each\n"
	  "program's name" },
	{ OPT_SET, "set", "VAR=VALUE", "give a global variable its value" },
	{ OPT_PROGRAM, "program", "NAME", "pin this program of several" },
	{}
};

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

/* The obstacles of one program on one target. */
struct check_printer {
	struct json_object *array;
	FILE *text;
};

static struct json_object *json_obstacle(const struct blkbpf_obstacle *o)
{
	struct json_object *obj = json_object_new_object();

	json_add_str(obj, "reason", o->reason);
	if (o->section) {
		json_add_str(obj, "section", o->section);
		json_add_u64(obj, "insn", o->off / 8);
	}
	if (o->insn && *o->insn)
		json_add_str(obj, "text", o->insn);
	if (o->file) {
		json_add_str(obj, "file", o->file);
		json_add_u64(obj, "line", o->line);
		json_add_str(obj, "source", o->text);
	}
	return obj;
}

static int add_obstacle(void *ctx, const struct blkbpf_obstacle *o)
{
	struct check_printer *printer = ctx;

	if (json_output)
		json_object_array_add(printer->array, json_obstacle(o));
	fprintf(printer->text, "\t%s\n", o->reason);
	if (o->file)
		fprintf(printer->text, "\t\t%s:%u: %s\n", o->file, o->line,
			o->text);
	if (o->section)
		fprintf(printer->text, "\t\tinstruction %llu of section %s%s%s\n",
			(unsigned long long)o->off / 8, o->section,
			o->insn && *o->insn ? ": " : "", o->insn ? o->insn : "");
	return 0;
}

static int check_on(struct blkbpf_prog *prog, const char *target,
		    struct json_object *all)
{
	static const char *const words[] = {
		[BLKBPF_RUNS] = "runs", [BLKBPF_REFUSED] = "refused",
		[BLKBPF_UNCHECKED] = "unchecked",
	};
	struct check_printer printer = { .array = must(json_object_new_array()) };
	struct json_object *obj;
	char *text = NULL;
	size_t len;
	int verdict;

	/* The verdict is known last and printed first. */
	printer.text = must(open_memstream(&text, &len));
	verdict = blkbpf_prog__check(prog, target, add_obstacle, &printer);
	fclose(printer.text);
	if (verdict < 0 || !json_output) {
		if (verdict >= 0)
			printf("%s: %s: %s\n%s", blkbpf_prog__name(prog), target,
			       words[verdict], text);
		json_object_put(printer.array);
	} else {
		obj = json_object_new_object();
		json_add_str(obj, "program", blkbpf_prog__name(prog));
		json_add_str(obj, "target", target);
		json_add_str(obj, "verdict", words[verdict]);
		json_add(obj, "obstacles", printer.array);
		json_object_array_add(all, obj);
	}
	free(text);
	return verdict;
}

/* The names of all places that are here, or the one; to free() with its end. */
static char **check_targets(const char *on)
{
	struct blkbpf_drive *drives = NULL;
	const char *target = NULL;
	size_t nr = 0, count = 0, i;
	char **names;

	if (on) {
		names = must(calloc(2, sizeof(*names)));
		names[0] = must(strdup(on));
		return names;
	}
	if (blkbpf_drives(&drives, &nr)) {
		fail_library();
		return NULL;
	}
	while ((target = blkbpf_target_next(target)))
		count++;
	names = must(calloc(count + nr + 1, sizeof(*names)));
	for (i = 0; (target = blkbpf_target_next(target)); i++)
		names[i] = must(strdup(target));
	for (i = 0; i < nr; i++)
		names[count + i] = must(strdup(drives[i].name));
	blkbpf_drives_free(drives, nr);
	return names;
}

static void free_targets(char **targets)
{
	size_t i;

	for (i = 0; targets[i]; i++)
		free(targets[i]);
	free(targets);
}

static int check_progs(const struct blkbpf_object *obj,
		       struct blkbpf_prog *chosen, const char *on)
{
	struct json_object *all = must(json_object_new_array());
	struct blkbpf_prog *prog = NULL;
	char **targets = check_targets(on), **target;
	int verdict = 0, ret = EXIT_OK;

	if (!targets) {
		json_object_put(all);
		return EXIT_FAILED;
	}
	while (verdict >= 0 && (prog = next_kept(obj, chosen, prog))) {
		for (target = targets; *target && verdict >= 0; target++) {
			verdict = check_on(prog, *target, all);
			if (verdict == BLKBPF_REFUSED)
				ret = EXIT_FAILED;
		}
	}
	free_targets(targets);
	if (verdict < 0)
		ret = fail_library();
	else if (json_output) {
		json_print(all);
		return ret;
	}
	json_object_put(all);
	return ret;
}

static int prog_check(int argc, char **argv)
{
	struct blkbpf_prog *chosen = NULL;
	struct prog_choice choice = {};
	struct blkbpf_object *obj;
	int key, ret = EXIT_FAILED;

	while ((key = next_option(argc, argv)) != -1) {
		switch (key) {
		case OPT_ON:
			choice.target = optarg;
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
	obj = open_object(argv[optind], &choice);
	if (obj && choice.name)
		chosen = blkbpf_object__find_prog(obj, choice.name);
	if (obj && choice.name && !chosen)
		fail_library();
	else if (obj)
		ret = check_progs(obj, chosen, choice.target);
	blkbpf_object__close(obj);
	free(choice.set);
	return ret;
}

static const struct opt check_opts[] = {
	{ OPT_ON, "on", "TARGET",
	  "check for this target alone, instead of the kernel,\n"
	  "user space and each drive" },
	{ OPT_SET, "set", "VAR=VALUE", "give a global variable its value" },
	{ OPT_PROGRAM, "program", "NAME", "check this program of several" },
	{}
};

const struct command prog_check_command = {
	.name = "prog check",
	.operands = "FILE.bpf.o",
	.brief = "say where a program can run, and what is in the way elsewhere",
	.opts = check_opts,
	.run = prog_check,
};

const struct command prog_load_command = {
	.name = "prog load",
	.operands = "FILE.bpf.o",
	.brief = "verify a program, load it into the kernel, and keep it",
	.opts = load_opts,
	.run = prog_load,
};
