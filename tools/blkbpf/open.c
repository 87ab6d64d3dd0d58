// SPDX-License-Identifier: GPL-2.0
/* From what a user calls a program to the program. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "main.h"

bool is_kernel(const char *target)
{
	return !target || !strcmp(target, "kernel");
}

bool choice_add_set(struct prog_choice *choice, const char *text)
{
	const char *equal = strchr(text, '=');

	if (!equal || equal == text) {
		fail_usage("--set %s: give VAR=VALUE", text);
		return false;
	}
	choice->set = must(reallocarray(choice->set, choice->nr + 1,
					sizeof(*choice->set)));
	choice->set[choice->nr++] = text;
	return true;
}

static bool set_var(struct blkbpf_object *obj, const char *text)
{
	const char *equal = strchr(text, '=');
	char *name = must(strndup(text, equal - text));
	int ret = blkbpf_object__set(obj, name, equal + 1);

	free(name);
	if (ret)
		fail_library();
	return !ret;
}

struct blkbpf_object *open_object(const char *path,
				  const struct prog_choice *choice)
{
	struct blkbpf_object *obj = blkbpf_object__open(path);
	size_t i;

	if (!obj) {
		fail_library();
		return NULL;
	}
	for (i = 0; i < choice->nr; i++) {
		if (!set_var(obj, choice->set[i])) {
			blkbpf_object__close(obj);
			return NULL;
		}
	}
	return obj;
}

int open_prog_of(struct blkbpf_object *obj, const struct prog_choice *choice,
		 struct opened_prog *opened)
{
	*opened = (struct opened_prog) { .obj = obj };
	if (!obj)
		return EXIT_FAILED;
	opened->prog = blkbpf_object__find_prog(obj, choice->name);
	if (opened->prog && !blkbpf_object__load_on(obj, choice->target))
		return EXIT_OK;
	fail_library();
	blkbpf_object__close(obj);
	return EXIT_FAILED;
}

static int open_pin(const char *path, struct opened_prog *opened)
{
	struct stat st;

	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return fail(EISDIR, "%s: is a directory: name the pin in it",
			    path);
	opened->prog = blkbpf_prog__open_pinned(path);
	return opened->prog ? EXIT_OK : fail_library();
}

static int open_id(uint32_t id, struct opened_prog *opened)
{
	opened->prog = blkbpf_prog__open_id(id);
	return opened->prog ? EXIT_OK : fail_library();
}

/* The one loaded program of this name. */
static int open_loaded(const char *name, struct opened_prog *opened)
{
	struct blkbpf_prog_info *infos;
	size_t nr, i, found = 0;
	uint32_t id = 0;

	if (blkbpf_progs(&infos, &nr))
		return fail_library();
	for (i = 0; i < nr; i++) {
		if (!strcmp(infos[i].name, name)) {
			id = infos[i].id;
			found++;
		}
	}
	free(infos);
	if (!found)
		return fail(ENOENT, "%s: there is no such file and no loaded program of this name: 'blkbpf prog list' shows them",
			    name);
	if (found > 1)
		return fail(EINVAL, "%s: %zu loaded programs have this name: give the id of one, from 'blkbpf prog list'",
			    name, found);
	return open_id(id, opened);
}

/* A word that is no file: the name of a pin of ours, or of a loaded program. */
static int open_name(const char *name, struct opened_prog *opened)
{
	char *pin;
	int ret;

	if (asprintf(&pin, BLKBPF_PIN_ROOT "/%s", name) < 0)
		must(NULL);
	if (!access(pin, F_OK))
		ret = open_pin(pin, opened);
	else if (!geteuid())
		ret = open_loaded(name, opened);
	else	/* without privilege there is only the pin to go by */
		ret = fail(ENOENT, "%s: there is no such file, nor a pin %s",
			   name, pin);
	free(pin);
	return ret;
}

bool is_program_name(const char *spec)
{
	bool pinned;
	char *pin;

	if (strchr(spec, '/') || is_number(spec) || !access(spec, F_OK))
		return false;
	if (asprintf(&pin, BLKBPF_PIN_ROOT "/%s", spec) < 0)
		must(NULL);
	pinned = !access(pin, F_OK);
	free(pin);
	return !pinned;
}

int open_prog(const char *spec, const struct prog_choice *choice,
	      struct opened_prog *opened)
{
	bool exists = !access(spec, F_OK);
	uint32_t id;

	*opened = (struct opened_prog) {};
	if (exists && !is_in_bpffs(spec))
		return open_prog_of(open_object(spec, choice), choice, opened);
	if (!exists && strchr(spec, '/'))
		return fail(errno, "%s: %s", spec, strerror(errno));
	if (!is_kernel(choice->target) && exists)
		return fail(EINVAL, "%s: a pinned program is in the kernel: for the target '%s' give the object file",
			    spec, choice->target);
	if (!is_kernel(choice->target))
		return fail(ENOENT, "%s: there is no such file: for the target '%s' give an object file",
			    spec, choice->target);
	if (choice->nr || choice->name)
		return fail_usage("%s: --%s goes with an object file, which this is not",
				  spec, choice->nr ? "set" : "program");
	if (exists)
		return open_pin(spec, opened);
	if (!is_number(spec))
		return open_name(spec, opened);
	if (!parse_u32(spec, &id))
		return fail(ERANGE, "program %s: ids are smaller", spec);
	return open_id(id, opened);
}

void close_prog(struct opened_prog *opened)
{
	blkbpf_prog__close(opened->prog);
	blkbpf_object__close(opened->obj);
}
