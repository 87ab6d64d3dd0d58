// SPDX-License-Identifier: GPL-2.0
/* The targets by name, and what is the same for a scan on any of them. */
#include <errno.h>
#include <string.h>
#include "target.h"

/* Those of one name each; drives have theirs from the kernel. */
static const struct target *const targets[] = {
	&kernel_target,
	&user_target,
};

#define NR_TARGETS (sizeof(targets) / sizeof(targets[0]))

const struct target *target_find(const char *name)
{
	size_t i;

	if (!name)
		return &kernel_target;
	for (i = 0; i < NR_TARGETS; i++)
		if (!strcmp(targets[i]->name, name))
			return targets[i];
	if (!strcmp(name, "auto") ||
	    (!strncmp(name, "csd", 3) && strlen(name) < BLK_BPF_TARGET_LEN))
		return &drive_target;
	blkbpf_err(ENOENT, "target '%s': there is none of this name: there are kernel, user, auto and the drives ('blkbpf drive list')",
		   name);
	return NULL;
}

const char *blkbpf_target_next(const char *prev)
{
	size_t i = 0;

	if (prev)
		for (i = 0; i < NR_TARGETS; i++)
			if (!strcmp(targets[i++]->name, prev))
				break;
	return i < NR_TARGETS ? targets[i]->name : NULL;
}

int blkbpf_target_open(const char *name, const char *path,
		       struct blkbpf_dev_info *info)
{
	const struct target *target = target_find(name);

	return target ? target->open(path, info) : -errno;
}

static int check_opts(const struct blkbpf_scan_opts *opts)
{
	if (opts->count && (opts->limit || opts->data))
		return blkbpf_err(EINVAL, "scan: to count delivers nothing: it goes with neither a limit nor data");
	if (opts->nr_ranges > UINT32_MAX)
		return blkbpf_err(EINVAL, "scan: %zu ranges are too many",
				  opts->nr_ranges);
	return 0;
}

/* Where the program is, which is where it runs. */
static const struct target *scan_target(const struct blkbpf_prog *prog,
					const char *name)
{
	const struct target *target = prog->obj ? prog->obj->target :
						  &kernel_target;

	if (!target) {
		blkbpf_err(EINVAL, "program '%s': it is not loaded", prog->name);
		return NULL;
	}
	if (!name || !strcmp(name, prog->obj ? prog->obj->target_name : target->name))
		return target;
	if (target_find(name))
		blkbpf_err(EINVAL, "scan: program '%s' is loaded on the target '%s', not on '%s': load it there",
			   prog->name,
			   prog->obj ? prog->obj->target_name : target->name, name);
	return NULL;
}

int blkbpf_scan(const struct blkbpf_prog *prog, int dev_fd,
		const struct blkbpf_scan_opts *user_opts,
		struct blkbpf_scan_result *user_result)
{
	struct blkbpf_scan_result result = {};
	struct blkbpf_scan_opts opts = {};
	const struct target *target;
	size_t room = sizeof(result);
	int ret, err;

	if (user_result) {
		room = user_result->sz;
		if (room < sizeof(size_t))
			return blkbpf_err(EINVAL, "scan: result.sz is not set: set it to sizeof(result)");
		if (room > sizeof(result))
			room = sizeof(result);
	}
	if (!opts_copy(&opts, sizeof(opts), user_opts, "scan"))
		return -errno;
	result.cursor = opts.cursor;
	ret = check_opts(&opts);
	if (!ret && opts.unit && prog->obj && prog->obj->fixed_unit)
		ret = blkbpf_err(EINVAL, "scan: the program of an expression is made for its unit: leave the unit out");
	if (!ret) {
		target = scan_target(prog, opts.target);
		if (target == &user_target && opts.nr_devs)
			ret = blkbpf_err(EOPNOTSUPP, "scan: the target 'user' scans one device or file at a time");
		else
			ret = target ? target->scan(prog, dev_fd, &opts, &result) :
				       -errno;
	}
	err = errno;
	if (user_result) {
		result.sz = user_result->sz;
		memcpy(user_result, &result, room);
	}
	errno = err;
	return ret;
}

/* Bytes of the ranges before the cursor. */
uint64_t ranges_done(const struct blk_bpf_range *ranges, size_t nr,
		     const struct blk_bpf_cursor *cursor)
{
	uint64_t done = 0;
	size_t i;

	for (i = 0; i < nr && i < cursor->range; i++)
		done += ranges[i].len;
	return i < nr ? done + cursor->pos : done;
}
