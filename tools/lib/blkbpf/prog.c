// SPDX-License-Identifier: GPL-2.0
/* Loaded programs: by pin, by id, and what the kernel knows about them. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

/* The kernel's name for the value of a blk_bpf_ops map. */
#define VALUE_TYPE "bpf_struct_ops_" OPS_TYPE

static struct blkbpf_prog *prog_new(int fd, const char *name)
{
	struct blkbpf_prog *prog = calloc(1, sizeof(*prog));

	if (prog)
		prog->name = strdup(name);
	if (!prog || !prog->name) {
		free(prog);
		close(fd);
		blkbpf_err(ENOMEM, "%s: out of memory", name);
		return NULL;
	}
	prog->fd = fd;
	return prog;
}

int prog_check_fd(int fd, const char *what)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	/*
	 * The type within struct_ops takes CAP_SYS_ADMIN to learn: a map of
	 * another one is refused by the kernel when it is used.
	 */
	if (bpf_map_get_info_by_fd(fd, &info, &len) ||
	    info.type != BPF_MAP_TYPE_STRUCT_OPS)
		return blkbpf_err(EINVAL,
				  "%s: is not a blk_bpf program: give a pin made by 'blkbpf prog load --pin'",
				  what);
	return 0;
}

struct blkbpf_prog *blkbpf_prog__open_pinned(const char *path)
{
	LIBBPF_OPTS(bpf_obj_get_opts, read_only, .file_flags = BPF_F_RDONLY);
	const char *name = strrchr(path, '/');
	int fd;

	fd = bpf_obj_get(path);
	/* Who may only read the pin can still scan with it. */
	if (fd < 0 && errno == EACCES)
		fd = bpf_obj_get_opts(path, &read_only);
	if (fd < 0) {
		if (errno == EACCES || errno == EPERM)
			blkbpf_err(errno, "%s: no permission to use it: let its owner chmod it",
				   path);
		else
			blkbpf_err(errno, "%s: cannot be opened as a pin: %s",
				   path, strerror(errno));
		return NULL;
	}
	if (prog_check_fd(fd, path)) {
		close(fd);
		return NULL;
	}
	return prog_new(fd, name ? name + 1 : path);
}

struct blkbpf_prog *blkbpf_prog__open_id(uint32_t id)
{
	char name[24];
	int fd = bpf_map_get_fd_by_id(id);

	snprintf(name, sizeof(name), "%u", id);
	if (fd < 0) {
		if (errno == EPERM)
			blkbpf_err(errno,
				   "program %u: ids need CAP_SYS_ADMIN: run as root, or name it by its pin",
				   id);
		else
			blkbpf_err(errno,
				   "program %u: there is none with this id: 'blkbpf prog list' shows them",
				   id);
		return NULL;
	}
	if (prog_check_fd(fd, name)) {
		close(fd);
		return NULL;
	}
	return prog_new(fd, name);
}

void blkbpf_prog__close(struct blkbpf_prog *prog)
{
	if (!prog || prog->obj)
		return;
	close(prog->fd);
	free(prog->name);
	free(prog);
}

const char *blkbpf_prog__name(const struct blkbpf_prog *prog)
{
	return prog->name;
}

int blkbpf_prog__fd(const struct blkbpf_prog *prog)
{
	if (prog->user)
		return blkbpf_err(EINVAL, "program '%s': it is loaded on the target 'user': only what is in the kernel can be pinned and attached",
				  prog->name);
	if (prog->fd < 0)
		return blkbpf_err(EINVAL, "program '%s': it is not loaded",
				  prog->name);
	return prog->fd;
}

int blkbpf_prog__pin(const struct blkbpf_prog *prog, const char *path)
{
	int fd = blkbpf_prog__fd(prog);

	return fd < 0 ? fd : pin_fd(fd, "program", path);
}

/*
 * The layout of the kernel's value, from the BTF of whoever defines the type:
 * the module, or vmlinux with blk_bpf built in. Kept for the next program.
 */
struct layout {
	__u32 btf_id, value_id;
	bool ours;
	__u32 state, state_ready;
	__u32 filter, unit, overlap, name;
};

static bool find_member(const struct btf *btf, __s32 type_id, const char *name,
			__u32 *offset, __u32 *member_type)
{
	const struct btf_type *t = btf__type_by_id(btf, type_id);
	const struct btf_member *m;
	int i;

	while (t && (btf_is_mod(t) || btf_is_typedef(t)))
		t = btf__type_by_id(btf, t->type);
	if (!t || !btf_is_struct(t))
		return false;
	m = btf_members(t);
	for (i = 0; i < btf_vlen(t); i++, m++) {
		if (strcmp(btf__name_by_offset(btf, m->name_off), name))
			continue;
		*offset += m->offset / 8;
		if (member_type)
			*member_type = m->type;
		return true;
	}
	return false;
}

/* Offset of @outer.@inner in the value. */
static bool find_nested(const struct btf *btf, __s32 value, const char *outer,
			const char *inner, __u32 *offset)
{
	__u32 type;

	*offset = 0;
	return find_member(btf, value, outer, offset, &type) &&
	       find_member(btf, type, inner, offset, NULL);
}

static int read_layout(const struct btf *btf, struct layout *l)
{
	__s32 value = btf__find_by_name_kind(btf, VALUE_TYPE, BTF_KIND_STRUCT);

	if (value < 0 ||
	    !find_nested(btf, value, "common", "state", &l->state) ||
	    !find_nested(btf, value, "data", "filter", &l->filter) ||
	    !find_nested(btf, value, "data", "unit", &l->unit) ||
	    !find_nested(btf, value, "data", "overlap", &l->overlap) ||
	    !find_nested(btf, value, "data", "name", &l->name))
		return -EINVAL;
	return 0;
}

static struct btf *vmlinux_btf;

static void load_vmlinux_btf(void)
{
	vmlinux_btf = btf__load_vmlinux_btf();
}

/* The BTF with @id: vmlinux itself, or one of a module on top of it. */
static struct btf *load_btf(__u32 id)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	char name[16] = "";
	struct bpf_btf_info info = {
		.name = (uintptr_t)name,
		.name_len = sizeof(name),
	};
	__u32 len = sizeof(info);
	int fd, err;

	pthread_once(&once, load_vmlinux_btf);
	if (!vmlinux_btf)
		return NULL;
	fd = bpf_btf_get_fd_by_id(id);
	if (fd < 0)
		return NULL;
	err = bpf_btf_get_info_by_fd(fd, &info, &len);
	close(fd);
	/* A longer name than fits is not vmlinux. */
	if (err && errno != ENOSPC)
		return NULL;
	if (!strcmp(name, "vmlinux"))
		return btf__load_from_kernel_by_id(id);
	return btf__load_from_kernel_by_id_split(id, vmlinux_btf);
}

/* Is the map's value our type, and where are its members? */
static int map_layout(const struct bpf_map_info *info, struct layout *l)
{
	const struct btf_type *t;
	struct btf *btf;
	int err = 0;

	if (l->btf_id == info->btf_vmlinux_id &&
	    l->value_id == info->btf_vmlinux_value_type_id)
		return 0;
	btf = load_btf(info->btf_vmlinux_id);
	if (!btf)
		return -errno;
	t = btf__type_by_id(btf, info->btf_vmlinux_value_type_id);
	l->btf_id = info->btf_vmlinux_id;
	l->value_id = info->btf_vmlinux_value_type_id;
	l->ours = t && !strcmp(btf__name_by_offset(btf, t->name_off), VALUE_TYPE);
	if (l->ours)
		err = read_layout(btf, l);
	btf__free(btf);
	return err;
}

static void read_counts(struct blkbpf_prog_info *out)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(out->prog_id);

	if (fd < 0)
		return;		/* gone in this moment: nothing ran */
	if (!bpf_prog_get_info_by_fd(fd, &info, &len)) {
		out->run_cnt = info.run_cnt;
		out->run_time_ns = info.run_time_ns;
	}
	close(fd);
}

/* 0; -ENOENT for a struct_ops map of another type */
static int read_info(int fd, struct layout *l, struct blkbpf_prog_info *out)
{
	/* BPF_STRUCT_OPS_STATE_READY of the kernel's enum bpf_struct_ops_state */
	const __u32 ready = 3;
	struct bpf_map_info info = {};
	__u32 len = sizeof(info), zero = 0, state;
	char *value;
	int err;

	if (bpf_map_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (info.type != BPF_MAP_TYPE_STRUCT_OPS)
		return -ENOENT;
	err = map_layout(&info, l);
	if (err)
		return err;
	if (!l->ours)
		return -ENOENT;
	value = calloc(1, info.value_size);
	if (!value)
		return -ENOMEM;
	if (bpf_map_lookup_elem(fd, &zero, value)) {
		err = -errno;
		goto out;
	}
	memset(out, 0, sizeof(*out));
	out->id = info.id;
	memcpy(&state, value + l->state, sizeof(state));
	out->ready = state == ready;
	/* In place of the pointer there is the id of the program. */
	memcpy(&out->prog_id, value + l->filter, sizeof(out->prog_id));
	memcpy(&out->unit, value + l->unit, sizeof(out->unit));
	if (!out->unit)
		out->unit = BLK_BPF_UNIT_DEFAULT;
	memcpy(&out->overlap, value + l->overlap, sizeof(out->overlap));
	memcpy(out->name, value + l->name, sizeof(out->name) - 1);
	if (out->prog_id)
		read_counts(out);
out:
	free(value);
	return err;
}

static int err_info(int err, const char *what)
{
	if (!have_sys_admin())
		return blkbpf_err(EPERM, "%s: to look into loaded programs needs CAP_SYS_ADMIN: run as root",
				  what);
	if (err == -ENOENT)
		return blkbpf_err(err, "%s: it is a struct_ops map of another type than " OPS_TYPE,
				  what);
	return blkbpf_err(err, "%s: cannot be read: %s", what, strerror(-err));
}

int blkbpf_prog__info(const struct blkbpf_prog *prog,
		      struct blkbpf_prog_info *info)
{
	struct layout layout = {};
	int fd = blkbpf_prog__fd(prog), err;

	if (fd < 0)
		return fd;
	err = read_info(fd, &layout, info);
	return err ? err_info(err, prog->name) : 0;
}

int blkbpf_progs(struct blkbpf_prog_info **infos, size_t *nr)
{
	struct blkbpf_prog_info *array = NULL, *more, info;
	struct layout layout = {};
	size_t room = 0, n = 0;
	__u32 id = 0;
	int fd, err;

	while (!bpf_map_get_next_id(id, &id)) {
		fd = bpf_map_get_fd_by_id(id);
		if (fd < 0 && errno == ENOENT)
			continue;	/* gone in this moment */
		if (fd < 0) {
			err = -errno;
			goto fail;
		}
		err = read_info(fd, &layout, &info);
		close(fd);
		if (err == -ENOENT)
			continue;
		if (err)
			goto fail;
		if (n == room) {
			room = room ? 2 * room : 16;
			more = realloc(array, room * sizeof(*array));
			if (!more) {
				err = -ENOMEM;
				goto fail;
			}
			array = more;
		}
		array[n++] = info;
	}
	err = -errno;
	if (err != -ENOENT)
		goto fail;
	*infos = array;
	*nr = n;
	return 0;
fail:
	free(array);
	return err_info(err, "list of programs");
}
