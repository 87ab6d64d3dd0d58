// SPDX-License-Identifier: GPL-2.0
/* The user target: loading, which needs no privilege and no kernel module. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "user.h"

static void user_prog_free(struct user_prog *user)
{
	if (!user)
		return;
	bpfvm_free(user->vm);
	portable_close(&user->portable);
	free(user);
}

static void user_unload(struct blkbpf_object *obj)
{
	struct blkbpf_prog *prog;

	for (prog = obj->progs; prog; prog = prog->next) {
		user_prog_free(prog->user);
		prog->user = NULL;
	}
}

void place_of(const struct blkbpf_prog *prog, uint32_t pc, char *text,
	      size_t size)
{
	const struct bpfvm_image *image = prog->user->portable.image;
	struct source_place place;
	uint32_t i;

	for (i = 0; i < image->nr_funcs; i++) {
		const struct bpfvm_func *f = &image->funcs[i];

		if (pc - f->slot >= f->nr)
			continue;
		if (!source_find(prog->obj, f->section,
				 f->off + 8 * (uint64_t)(pc - f->slot), &place))
			break;
		snprintf(text, size, "%s:%u: %s", place.file, place.line,
			 place.text);
		return;
	}
	snprintf(text, size, "instruction %u", pc);
}

/* What the engine refused, with the line of source. */
static int explain_refusal(const struct blkbpf_prog *prog, int err,
			   const char *log)
{
	struct source_place place;
	struct refusal r;

	portable_explain(&prog->user->portable, log, &r);
	if (!r.section)
		return blkbpf_err(err, "%s: program '%s': %s", prog->obj->path,
				  prog->name, r.reason);
	if (!source_find(prog->obj, r.section, r.off, &place))
		return blkbpf_err(err, "%s: program '%s': %s (%s)",
				  prog->obj->path, prog->name, r.reason, r.insn);
	return blkbpf_err(err, "%s: program '%s': %s (%s) (%s:%u: %s)",
			  prog->obj->path, prog->name, r.reason, r.insn,
			  place.file, place.line, place.text);
}

static int load_prog(struct blkbpf_prog *prog)
{
	struct user_prog *user;
	char why[1024];
	int err = ops_check(prog);

	if (err)
		return err;
	user = prog->user = calloc(1, sizeof(*user));
	if (!user)
		return blkbpf_err(ENOMEM, "%s: out of memory", prog->obj->path);
	err = portable_open(prog, &user->portable, NULL, NULL, why, sizeof(why));
	if (err)
		return blkbpf_err(err, "%s: program '%s' cannot run outside a kernel: %s",
				  prog->obj->path, prog->name, why);
	err = portable_verify(&user->portable, &user->vm, why, sizeof(why));
	if (err)
		return explain_refusal(prog, err, why);
	user->unit = ops_unit(prog);
	user->overlap = ops_overlap(prog);
	return 0;
}

static int user_load(struct blkbpf_object *obj)
{
	struct blkbpf_prog *prog;
	int err = 0, saved;

	for (prog = obj->progs; prog && !err; prog = prog->next)
		err = load_prog(prog);
	if (err) {
		saved = errno;
		user_unload(obj);
		errno = saved;
	}
	return err;
}

const struct target user_target = {
	.name = "user",
	.open = data_open,
	.load = user_load,
	.unload = user_unload,
	.check = user_check,
	.scan = user_scan,
};
