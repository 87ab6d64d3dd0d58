// SPDX-License-Identifier: GPL-2.0
/*
 * The portable loader: from an object file to what runs outside the kernel, on
 * the user target and on drives alike. libbpf has read the variables, and holds
 * what was set; instructions come from the engine's reader of object files.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "internal.h"
#include "user.h"

/* What blk_bpf offers to programs; the rest is the engine's own. */
const struct bpfvm_helper portable_helpers[] = {
	{
		.id = BPFVM_HELPER_BLK_EMIT,
		.name = "blk_bpf_emit",
		.fn = user_emit,
		.ret = BPFVM_RET_NUM,
		.arg = { BPFVM_ARG_CTX, BPFVM_ARG_NUM, BPFVM_ARG_NUM },
	},
};

const uint32_t nr_portable_helpers = sizeof(portable_helpers) /
				     sizeof(portable_helpers[0]);

static struct memory *find_memory(const struct blkbpf_object *obj,
				  const char *name)
{
	struct memory *m;

	for (m = obj->memory; m; m = m->next)
		if (!strcmp(m->name, name))
			return m;
	return NULL;
}

void *object_section(const struct blkbpf_object *obj, const char *name,
		     size_t *size)
{
	const struct memory *m = find_memory(obj, name);
	struct bpf_map *map;

	if (m) {
		*size = m->size;
		return m->data;
	}
	map = bpf_object__find_map_by_name(obj->bpf, name);
	return map ? bpf_map__initial_value(map, size) : NULL;
}

void object_free_memory(struct blkbpf_object *obj)
{
	struct memory *m, *next;

	for (m = obj->memory; m; m = next) {
		next = m->next;
		munmap(m->data, m->size ? m->size : 1);
		free(m->name);
		free(m);
	}
	obj->memory = NULL;
}

/* The object's copy of a section, as it is set; made at the first use. */
static struct memory *get_memory(struct blkbpf_object *obj,
				 const struct bpfvm_global *global)
{
	struct memory *m = find_memory(obj, global->name);
	size_t size = 0;
	void *set;

	if (m)
		return m;
	set = object_section(obj, global->name, &size);
	m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->size = global->size;
	m->rdonly = global->rdonly;
	m->name = strdup(global->name);
	m->data = bpfvm_map_globals(m->size ? m->size : 1);
	if (!m->name || !m->data) {
		if (m->data)
			munmap(m->data, m->size ? m->size : 1);
		free(m->name);
		free(m);
		return NULL;
	}
	if (set && size >= m->size)
		memcpy(m->data, set, m->size);
	else
		memcpy(m->data, global->data, m->size);
	m->next = obj->memory;
	obj->memory = m;
	return m;
}

static int use_memory(struct blkbpf_object *obj, struct portable *portable)
{
	const struct bpfvm_image *image = portable->image;
	struct memory *m;
	uint32_t i;

	portable->globals = calloc(image->nr_globals + 1,
				   sizeof(*portable->globals));
	if (!portable->globals)
		return -ENOMEM;
	for (i = 0; i < image->nr_globals; i++) {
		m = get_memory(obj, &image->globals[i]);
		if (!m)
			return -ENOMEM;
		portable->globals[i] = (struct bpfvm_global) {
			.name = m->name,
			.data = m->data,
			.size = m->size,
			.rdonly = m->rdonly,
		};
	}
	return 0;
}

int portable_open(struct blkbpf_prog *prog, struct portable *portable,
		  void (*obstacle)(void *ctx, const char *section, uint64_t off,
				   const char *why),
		  void *obstacle_ctx, char *why, size_t why_size)
{
	struct bpfvm_image_opts opts = {
		.sz = sizeof(opts),
		.name = bpf_map__name(prog->map),
		.helpers = portable_helpers,
		.nr_helpers = nr_portable_helpers,
		.mem = prog->obj->elf,
		.mem_size = prog->obj->elf_size,
		.obstacle = obstacle,
		.obstacle_ctx = obstacle_ctx,
		.why = why,
		.why_size = why_size,
	};
	int err;

	memset(portable, 0, sizeof(*portable));
	err = bpfvm_image_open_opts(&portable->image, prog->obj->path, &opts);
	if (err)
		return err;
	err = use_memory(prog->obj, portable);
	if (err) {
		snprintf(why, why_size, "out of memory");
		portable_close(portable);
	}
	return err;
}

void portable_close(struct portable *portable)
{
	bpfvm_image_close(portable->image);
	free(portable->globals);
	memset(portable, 0, sizeof(*portable));
}

/* "bpf_ktime_get_ns" of a helper's number. */
static const char *helper_name(int32_t number)
{
#define NAME(name, nr, ...) [nr] = "bpf_" #name,
	static const char *const names[] = { ___BPF_FUNC_MAPPER(NAME) };
#undef NAME

	if (number < 0 || (size_t)number >= sizeof(names) / sizeof(names[0]))
		return NULL;
	return names[number];
}

/* The engine's "insn N: WORDS: reason", or a reason alone. */
void portable_explain(const struct portable *portable, const char *log,
		      struct refusal *r)
{
	const struct bpfvm_image *image = portable->image;
	const struct bpfvm_insn *insn;
	const char *reason = log, *name;
	uint32_t pc, i;
	size_t front;

	memset(r, 0, sizeof(*r));
	if (sscanf(log, "insn %u:", &pc) == 1 && pc < image->nr_insns) {
		insn = &image->insns[pc];
		bpfvm_disasm(insn, image->nr_insns - pc, pc, r->insn,
			     sizeof(r->insn));
		front = strcspn(log, ":") + 2 + strlen(r->insn) + 2;
		if (front < strlen(log))
			reason = log + front;
		for (i = 0; i < image->nr_funcs; i++) {
			const struct bpfvm_func *f = &image->funcs[i];

			if (pc - f->slot >= f->nr)
				continue;
			r->section = f->section;
			r->off = f->off + 8 * (uint64_t)(pc - f->slot);
		}
		name = helper_name(insn->imm);
		if (insn->code == (BPF_JMP | BPF_CALL) && !(insn->regs >> 4) &&
		    name && strstr(reason, "there is no helper")) {
			snprintf(r->reason, sizeof(r->reason),
				 "it calls %s(), which is not there outside a kernel",
				 name);
			return;
		}
	}
	front = strcspn(reason, "\n");
	snprintf(r->reason, sizeof(r->reason), "%.*s", (int)front, reason);
	if (!front)
		strcpy(r->reason, "it cannot be verified");
}

int portable_verify(const struct portable *portable, struct bpfvm_prog **vm,
		    char *log, size_t log_size)
{
	static const struct bpfvm_field writable[] = {
		{ offsetof(struct blk_bpf_ctx, state),
		  sizeof(((struct blk_bpf_ctx *)0)->state) },
	};
	struct bpfvm_opts opts = {
		.sz = sizeof(opts),
		.abi = BPFVM_ABI_BLOCK,
		.ctx_size = sizeof(struct blk_bpf_ctx),
		.ctx_writable = writable,
		.nr_ctx_writable = 1,
		.helpers = portable_helpers,
		.nr_helpers = nr_portable_helpers,
		.globals = portable->globals,
		.nr_globals = portable->image->nr_globals,
		.log = log,
		.log_size = log_size,
	};
	int err;

	err = bpfvm_load(vm, portable->image->insns, portable->image->nr_insns,
			 &opts);
	log_pass(log);
	return err;
}
