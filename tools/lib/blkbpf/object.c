// SPDX-License-Identifier: GPL-2.0
/* Object files: open, load, and the programs in them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "target.h"

/* The program's .name; an empty one becomes the name of its variable. */
static char *ops_name(const struct blkbpf_object *obj, const struct bpf_map *map)
{
	uint32_t room = 0;
	char *name = ops_member(obj, map, "name", &room);

	if (!name || !room)
		return strdup(bpf_map__name(map));
	if (!*name)
		snprintf(name, room, "%s", bpf_map__name(map));
	/* One without an end is for the kernel to refuse. */
	return strndup(name, room);
}

static int add_progs(struct blkbpf_object *obj)
{
	struct blkbpf_prog *prog, **tail = &obj->progs;
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj->bpf) {
		if (!ops_is_ours(obj, map))
			continue;
		prog = calloc(1, sizeof(*prog));
		if (!prog)
			return blkbpf_err(ENOMEM, "%s: out of memory", obj->path);
		prog->obj = obj;
		prog->map = map;
		prog->fd = -1;
		*tail = prog;
		tail = &prog->next;
		prog->name = ops_name(obj, map);
		if (!prog->name)
			return blkbpf_err(ENOMEM, "%s: out of memory", obj->path);
	}
	if (!obj->progs)
		return blkbpf_err(ENOENT,
				  "%s: there is no program in it: define one with BLK_BPF_PROGRAM()",
				  obj->path);
	return 0;
}

/* A file that cannot be opened is not one of a wrong format. */
static int check_readable(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return blkbpf_err(errno, "%s: %s", path, strerror(errno));
	close(fd);
	return 0;
}

struct blkbpf_object *object_new(const char *path)
{
	struct blkbpf_object *obj = calloc(1, sizeof(*obj));

	if (obj)
		obj->path = strdup(path);
	if (obj && obj->path)
		return obj;
	free(obj);
	blkbpf_err(ENOMEM, "%s: out of memory", path);
	return NULL;
}

int object_adopt(struct blkbpf_object *obj, struct bpf_object *bpf)
{
	obj->bpf = bpf;
	return add_progs(obj);
}

struct blkbpf_object *blkbpf_object__open(const char *path)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .kernel_log_level = log_level());
	struct blkbpf_object *obj;
	struct bpf_object *bpf;
	int err;

	if (check_readable(path))
		return NULL;
	obj = object_new(path);
	if (!obj)
		return NULL;
	log_begin();
	bpf = bpf_object__open_file(path, &opts);
	if (!bpf) {
		err = errno;
		blkbpf_err(err,
			   "%s: not a BPF object file that can be used: %s: compile it with clang -g -O2 -target bpf",
			   path, *log_reason() ? log_reason() : strerror(err));
	}
	log_end();
	if (!bpf || object_adopt(obj, bpf)) {
		err = errno;
		blkbpf_object__close(obj);
		errno = err;
		return NULL;
	}
	return obj;
}

void blkbpf_object__close(struct blkbpf_object *obj)
{
	struct blkbpf_prog *prog, *next_prog;
	struct set_var *set, *next_set;

	if (!obj)
		return;
	user_target.unload(obj);
	for (prog = obj->progs; prog; prog = next_prog) {
		next_prog = prog->next;
		free(prog->name);
		free(prog);
	}
	for (set = obj->set; set; set = next_set) {
		next_set = set->next;
		free(set);
	}
	object_free_memory(obj);
	object_free_saved(obj);
	bpf_object__close(obj->bpf);
	free(obj->elf);
	free(obj->c);
	free(obj->path);
	free(obj);
}

struct blkbpf_prog *blkbpf_object__next_prog(const struct blkbpf_object *obj,
					     const struct blkbpf_prog *prev)
{
	return prev ? prev->next : obj->progs;
}

/* "a, b, c", to free(); NULL without memory */
static char *prog_names(const struct blkbpf_object *obj)
{
	const struct blkbpf_prog *prog;
	char *names = NULL;
	size_t len;
	FILE *f = open_memstream(&names, &len);

	if (!f)
		return NULL;
	for (prog = obj->progs; prog; prog = prog->next)
		fprintf(f, "%s%s", prog->name, prog->next ? ", " : "");
	fclose(f);
	return names;
}

struct blkbpf_prog *blkbpf_object__find_prog(const struct blkbpf_object *obj,
					     const char *name)
{
	struct blkbpf_prog *prog = obj->progs;
	char *names;

	if (!name && !prog->next)
		return prog;
	for (; name && prog; prog = prog->next)
		if (!strcmp(prog->name, name) ||
		    !strcmp(bpf_map__name(prog->map), name))
			return prog;
	names = prog_names(obj);
	if (name)
		blkbpf_err(ENOENT, "%s: there is no program '%s' in it: there is %s",
			   obj->path, name, names ? names : "another");
	else
		blkbpf_err(EINVAL, "%s: there are several programs in it: choose one of %s",
			   obj->path, names ? names : "them");
	free(names);
	return NULL;
}

/* The most telling of: no privilege, no module, the module, the verifier. */
static int explain_load(const struct blkbpf_object *obj, const char *what,
			int err)
{
	char msg[BLK_BPF_MSG_MAX];
	const char *reason;

	if (!have_sys_admin())
		return blkbpf_err(EPERM,
				  "%s: loading a program needs CAP_SYS_ADMIN: run as root, or scan with a program that root has pinned",
				  obj->path);
	if (access(BLK_BPF_DEVICE, F_OK))
		return blkbpf_err(ENODEV,
				  "%s: cannot be loaded: " BLK_BPF_DEVICE " is missing: the kernel module is not loaded: run 'modprobe blk_bpf'",
				  obj->path);
	control_last_msg(msg);
	reason = log_reason();
	if (*msg || *reason)
		return blkbpf_err(err, "%s: %s%s", obj->path, what,
				  *msg ? msg : reason);
	return blkbpf_err(err, "%s: %sthe kernel refused it: %s", obj->path, what,
			  strerror(-err));
}

/*
 * Make the map ready. Only libbpf has the value that the kernel wants, and it
 * hands it over when it makes a link; the link itself is not needed.
 */
static int make_ready(struct blkbpf_prog *prog)
{
	struct bpf_link *link = bpf_map__attach_struct_ops(prog->map);
	int err = -errno;
	char *what;

	if (link) {
		bpf_link__destroy(link);
		prog->fd = bpf_map__fd(prog->map);
		return 0;
	}
	if (asprintf(&what, "program '%s': ", prog->name) < 0)
		return blkbpf_err(ENOMEM, "%s: out of memory", prog->obj->path);
	err = explain_load(prog->obj, what, err);
	free(what);
	return err;
}

/* Verify and load into the kernel. */
int kernel_load(struct blkbpf_object *obj)
{
	char stale[BLK_BPF_MSG_MAX];
	struct blkbpf_prog *prog;
	int err;

	/* What an earlier failure left must not explain this one. */
	control_last_msg(stale);
	log_begin();
	err = bpf_object__load(obj->bpf);
	if (err)
		err = explain_load(obj, "", err);
	for (prog = obj->progs; prog && !err; prog = prog->next)
		err = make_ready(prog);
	log_end();
	return err;
}

int blkbpf_object__load_on(struct blkbpf_object *obj, const char *name)
{
	const struct target *target = target_find(name);
	int err;

	if (!target)
		return -errno;
	if (obj->loaded)
		return blkbpf_err(EBUSY, "%s: it was loaded already: open it again",
				  obj->path);
	/* Its variables are not to be set any more, whatever comes of it. */
	obj->loaded = true;
	snprintf(obj->target_name, sizeof(obj->target_name), "%s",
		 name ? name : target->name);
	err = target->load(obj);
	if (!err)
		err = object_save(obj);
	if (!err)
		obj->target = target;
	return err;
}

int blkbpf_object__load(struct blkbpf_object *obj)
{
	return blkbpf_object__load_on(obj, NULL);
}
