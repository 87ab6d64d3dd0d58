// SPDX-License-Identifier: GPL-2.0
/* Whether a program runs on a target, and if not, what is in the way. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "user.h"

static void tell(struct check *check, struct blkbpf_obstacle *obstacle,
		 const struct source_place *place)
{
	if (place->line) {
		obstacle->file = place->file;
		obstacle->line = place->line;
		obstacle->text = place->text;
	}
	check->nr++;
	if (check->fn && !check->ret)
		check->ret = check->fn(check->ctx, obstacle);
}

void check_add(struct check *check, const char *section, uint64_t off,
	       const char *insn, const char *reason)
{
	struct blkbpf_obstacle obstacle = {
		.reason = reason,
		.section = section && *section ? section : NULL,
	};
	struct source_place place = {};

	if (obstacle.section) {
		obstacle.off = off;
		obstacle.insn = insn;
		if (!source_find(check->prog->obj, section, off, &place))
			place.line = 0;
	}
	tell(check, &obstacle, &place);
}

void check_refuse(struct check *check, const char *reason)
{
	check->verdict = BLKBPF_REFUSED;
	check_add(check, NULL, 0, NULL, reason);
}

void check_leave_open(struct check *check, const char *why)
{
	if (check->verdict == BLKBPF_RUNS)
		check->verdict = BLKBPF_UNCHECKED;
	check_add(check, NULL, 0, NULL, why);
}

/* What the kernel's verifier said, with the place that it named by itself. */
static int refuse_verified(struct check *check, const char *reason)
{
	struct blkbpf_obstacle obstacle = {};
	struct source_place place;
	char *copy = strdup(reason);

	if (!copy)
		return blkbpf_err(ENOMEM, "%s: out of memory",
				  check->prog->obj->path);
	obstacle.reason = log_take_place(copy, &place);
	check->verdict = BLKBPF_REFUSED;
	tell(check, &obstacle, &place);
	free(copy);
	return 0;
}

/* What ops_check() said, without the names in front of it. */
static const char *last_reason(const struct blkbpf_prog *prog)
{
	const char *text = blkbpf_last_error();
	char *front;

	if (asprintf(&front, "%s: program '%s': ", prog->obj->path, prog->name) < 0)
		return text;
	if (!strncmp(text, front, strlen(front)))
		text += strlen(front);
	free(front);
	return text;
}

/*
 * The user target
 */

static void image_obstacle(void *ctx, const char *section, uint64_t off,
			   const char *why)
{
	struct check *check = ctx;

	check->verdict = BLKBPF_REFUSED;
	check_add(check, section, off, NULL, why);
}

/* What is refused for its members is so on every target. */
static void check_members(struct blkbpf_prog *prog, struct check *check)
{
	if (ops_check(prog))
		check_refuse(check, last_reason(prog));
}

int engine_check(struct blkbpf_prog *prog, struct check *check)
{
	struct bpfvm_prog *vm = NULL;
	struct portable portable;
	struct refusal r;
	char why[1024];
	size_t before = check->nr;
	int err;

	err = portable_open(prog, &portable, image_obstacle, check, why,
			    sizeof(why));
	if (err == -ENOMEM)
		return blkbpf_err(err, "%s: out of memory", prog->obj->path);
	if (err) {
		if (check->nr == before)
			check_refuse(check, why);
		return 0;
	}
	err = portable_verify(&portable, &vm, why, sizeof(why));
	if (err && err != -ENOMEM) {
		check->verdict = BLKBPF_REFUSED;
		portable_explain(&portable, why, &r);
		check_add(check, r.section, r.off, r.insn, r.reason);
	}
	bpfvm_free(vm);
	portable_close(&portable);
	/* A scan of an object that was checked begins with its variables. */
	object_free_memory(prog->obj);
	return err == -ENOMEM ? blkbpf_err(err, "%s: out of memory",
					   prog->obj->path) : 0;
}

int user_check(struct blkbpf_prog *prog, struct check *check)
{
	check_members(prog, check);
	return engine_check(prog, check);
}

/*
 * The kernel target
 */

/* A copy of the object, with the variables as they are set, loaded and let go. */
static int try_load(struct blkbpf_prog *prog, struct check *check)
{
	struct blkbpf_object *obj = prog->obj, *copy;
	struct bpf_map *map, *other;
	size_t size, len;
	const char *reason;
	void *value;
	int err = 0;

	if (obj->elf)
		copy = NULL;
	else
		copy = blkbpf_object__open(obj->path);
	if (!copy)
		return -errno;
	bpf_object__for_each_map(map, obj->bpf) {
		other = bpf_object__find_map_by_name(copy->bpf, bpf_map__name(map));
		value = bpf_map__initial_value(map, &size);
		if (value && other && bpf_map__is_internal(map))
			bpf_map__set_initial_value(other, value, size);
	}
	if (kernel_load(copy)) {
		reason = blkbpf_last_error();
		len = strlen(obj->path);
		if (!strncmp(reason, obj->path, len) && reason[len] == ':')
			reason += len + 2;
		err = refuse_verified(check, reason);
	}
	blkbpf_object__close(copy);
	return err;
}

/* Global functions of the program, which the module refuses. */
static void check_global_functions(struct blkbpf_prog *prog, struct check *check)
{
	struct bpf_program *p;
	const char *name;
	char reason[256];
	struct btf *btf;
	__u32 id;

	/* As it is in the file: libbpf has changed what is extern. */
	btf = prog->obj->elf ? NULL : btf__parse(prog->obj->path, NULL);
	for (id = 1; btf && id < btf__type_cnt(btf); id++) {
		const struct btf_type *t = btf__type_by_id(btf, id);
		bool entry = false;

		if (!btf_is_func(t) || btf_vlen(t) != BTF_FUNC_GLOBAL)
			continue;
		name = btf__name_by_offset(btf, t->name_off);
		bpf_object__for_each_program(p, prog->obj->bpf)
			entry |= !strcmp(bpf_program__name(p), name);
		if (entry)
			continue;
		snprintf(reason, sizeof(reason),
			 "function %s() is global, and a global function could write to the data of a bio: declare it static (with __noinline if it is to stay a function)",
			 name);
		check_refuse(check, reason);
	}
	btf__free(btf);
}

static void check_sleepable(struct blkbpf_prog *prog, struct check *check)
{
	struct bpf_program *p;

	bpf_object__for_each_program(p, prog->obj->bpf)
		if (!strncmp(bpf_program__section_name(p), "struct_ops.s", 12))
			check_refuse(check, "it is sleepable, but filters run in completion context: use SEC(\"struct_ops/filter\"), without .s");
}

int kernel_check(struct blkbpf_prog *prog, struct check *check)
{
	const char *missing = NULL;

	check_members(prog, check);
	check_global_functions(prog, check);
	check_sleepable(prog, check);
	if (check->verdict == BLKBPF_REFUSED)
		return 0;
	if (access(BLK_BPF_DEVICE, F_OK))
		missing = "not asked: the kernel's verifier, because " BLK_BPF_DEVICE " is missing: the kernel module is not loaded";
	else if (!have_sys_admin())
		missing = "not asked: the kernel's verifier, because that needs CAP_SYS_ADMIN: run as root";
	if (!missing)
		return try_load(prog, check);
	check_leave_open(check, missing);
	return 0;
}

int blkbpf_prog__check(struct blkbpf_prog *prog, const char *name,
		       int (*fn)(void *ctx,
				 const struct blkbpf_obstacle *obstacle),
		       void *ctx)
{
	const struct target *target = target_find(name);
	struct check check = { .prog = prog, .target = name, .fn = fn, .ctx = ctx };
	int err;

	if (!target)
		return -errno;
	if (!prog->obj || prog->obj->loaded)
		return blkbpf_err(EINVAL, "program '%s': to be checked it must come from an object that is not loaded",
				  prog->name);
	err = target->check(prog, &check);
	if (err)
		return err;
	return check.ret ? check.ret : check.verdict;
}
