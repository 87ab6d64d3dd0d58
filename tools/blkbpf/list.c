// SPDX-License-Identifier: GPL-2.0
/* blkbpf list: attachments and their counters. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "main.h"

enum { OPT_MISSED = OPT_LONG };

static const struct opt list_opts[] = {
	{ OPT_MISSED, "missed", NULL,
	  "show the extents that could not be presented" },
	{}
};

static const struct {
	uint32_t flag;
	const char *name;
} flag_names[] = {
	{ BLK_BPF_ATTACH_MAY_FAIL, "may-fail" },
	{ BLK_BPF_ATTACH_WRITES, "writes" },
	{ BLK_BPF_ATTACH_OTHERS, "others" },
	{ BLK_BPF_ATTACH_NO_READS, "no-reads" },
};

const char *attachment_state(uint32_t state)
{
	switch (state) {
	case BLK_BPF_STATE_LIVE:
		return "live";
	case BLK_BPF_STATE_EJECTED:
		return "ejected";
	case BLK_BPF_STATE_GONE:
		return "gone";
	}
	return "unknown";
}

static const char *exit_name(uint32_t exit)
{
	switch (exit) {
	case BLK_BPF_EXIT_RETURN:
		return "return";
	case BLK_BPF_EXIT_BUDGET:
		return "budget";
	}
	return "unknown";
}

void json_add_exit(struct json_object *obj, const struct blk_bpf_attachment *a)
{
	struct json_object *exit;

	if (a->exit == BLK_BPF_EXIT_NONE)
		return;
	exit = json_object_new_object();
	json_add_str(exit, "kind", exit_name(a->exit));
	json_add_str(exit, "reason", a->reason);
	json_add(exit, "value", json_object_new_int64(a->exit_value));
	json_add_str(exit, "op", op_name(a->exit_op));
	json_add_u64(exit, "pos", a->exit_pos);
	json_add_u64(exit, "len", a->exit_len);
	json_add_u64(exit, "time_ns", a->exit_time_ns);
	json_add(obj, "exit", exit);
}

void print_exit(const struct blk_bpf_attachment *a)
{
	if (a->exit == BLK_BPF_EXIT_NONE)
		return;
	printf("\tejected at %s %llu %llu: %s\n", op_name(a->exit_op),
	       (unsigned long long)a->exit_pos, (unsigned long long)a->exit_len,
	       a->reason);
}

/* Keep the entries of a device, or of an id. */
static size_t keep(struct blk_bpf_attachment *entries, size_t nr,
		   const struct stat *dev, uint32_t id)
{
	size_t i, kept = 0;

	for (i = 0; i < nr; i++) {
		if (dev ? entries[i].dev_major != major(dev->st_rdev) ||
			  entries[i].dev_minor != minor(dev->st_rdev) :
			  entries[i].id != id)
			continue;
		entries[kept++] = entries[i];
	}
	return kept;
}

bool find_attachments(const char *which, struct blk_bpf_attachment **entries,
		      size_t *nr)
{
	bool by_id = which && is_number(which);
	uint32_t id = 0;
	struct stat st;

	if (by_id && !parse_u32(which, &id)) {
		fail(ERANGE, "attachment %s: ids are smaller", which);
		return false;
	}
	if (which && !by_id && stat(which, &st)) {
		fail(errno, "%s: there is no such device: give an attachment's id or a block device",
		     which);
		return false;
	}
	if (which && !by_id && !S_ISBLK(st.st_mode)) {
		fail(ENOTBLK, "%s: is not a block device: give an attachment's id or a block device",
		     which);
		return false;
	}
	if (blkbpf_attachments(entries, nr)) {
		fail_library();
		return false;
	}
	if (!which)
		return true;
	*nr = keep(*entries, *nr, by_id ? NULL : &st, id);
	if (*nr)
		return true;
	free(*entries);
	if (by_id)
		fail(ENOENT, "attachment %s: there is none with this id: 'blkbpf list' shows them",
		     which);
	else
		fail(ENOENT, "%s: nothing is attached to it", which);
	return false;
}

static struct json_object *json_attachment(const struct blk_bpf_attachment *a)
{
	struct json_object *obj = json_object_new_object(), *array;
	size_t i;

	json_add_u64(obj, "id", a->id);
	json_add_str(obj, "disk", a->disk);
	json_add_u64(obj, "major", a->dev_major);
	json_add_u64(obj, "minor", a->dev_minor);
	json_add_str(obj, "name", a->name);
	json_add_str(obj, "state", attachment_state(a->state));
	if (*a->reason)
		json_add_str(obj, "reason", a->reason);
	json_add_exit(obj, a);
	json_add(obj, "priority", json_object_new_int(a->priority));
	array = must(json_object_new_array());
	for (i = 0; i < ARRAY_SIZE(flag_names); i++)
		if (a->flags & flag_names[i].flag)
			json_object_array_add(array,
				must(json_object_new_string(flag_names[i].name)));
	json_add(obj, "flags", array);
	array = must(json_object_new_array());
	for (i = 0; i < BLK_BPF_NR_ARGS; i++)
		json_object_array_add(array,
				      must(json_object_new_uint64(a->args[i])));
	json_add(obj, "args", array);
	json_add_u64(obj, "link_id", a->link_id);
	json_add_u64(obj, "map_id", a->map_id);
	json_add_u64(obj, "unit", a->unit);
	json_add_u64(obj, "overlap", a->overlap);
	json_add_u64(obj, "budget_ns", a->budget_ns);
	json_add_u64(obj, "runs", a->runs);
	json_add_u64(obj, "bios", a->bios);
	json_add_u64(obj, "bytes", a->bytes);
	json_add_u64(obj, "matches", a->matches);
	json_add_u64(obj, "partial", a->partial);
	json_add_u64(obj, "failed", a->failed);
	json_add_u64(obj, "refused", a->refused);
	json_add_u64(obj, "missed", a->missed);
	json_add_u64(obj, "time_ns", a->time_ns);
	return obj;
}

static int missed_json(struct json_object *obj, uint32_t id)
{
	struct json_object *array = must(json_object_new_array()), *extent;
	struct blk_bpf_range *extents;
	size_t nr, i;

	json_add(obj, "missed_extents", array);
	if (blkbpf_missed(id, &extents, &nr))
		return fail_library();
	for (i = 0; i < nr; i++) {
		extent = json_object_new_object();
		json_add_u64(extent, "off", extents[i].off);
		json_add_u64(extent, "len", extents[i].len);
		json_object_array_add(array, extent);
	}
	free(extents);
	return EXIT_OK;
}

static int print_missed(uint32_t id)
{
	struct blk_bpf_range *extents;
	size_t nr, i;

	if (blkbpf_missed(id, &extents, &nr))
		return fail_library();
	for (i = 0; i < nr; i++)
		printf("\tmissed %llu:%llu\n",
		       (unsigned long long)extents[i].off,
		       (unsigned long long)extents[i].len);
	free(extents);
	return EXIT_OK;
}

static void print_head(void)
{
	printf("%-5s %-12s %-15s %-8s %5s %10s %10s %14s %10s %8s %8s %10s\n",
	       "ID", "DEVICE", "PROGRAM", "STATE", "PRIO", "RUNS", "BIOS",
	       "BYTES", "MATCHES", "FAILED", "MISSED", "TIME_US");
}

static void print_attachment(const struct blk_bpf_attachment *a)
{
	printf("%-5u %-12s %-15s %-8s %5d %10llu %10llu %14llu %10llu %8llu %8llu %10llu\n",
	       a->id, a->disk, a->name, attachment_state(a->state), a->priority,
	       (unsigned long long)a->runs, (unsigned long long)a->bios,
	       (unsigned long long)a->bytes, (unsigned long long)a->matches,
	       (unsigned long long)a->failed, (unsigned long long)a->missed,
	       (unsigned long long)a->time_ns / 1000);
	print_exit(a);
	if (a->refused)
		printf("\trefused %llu errors that it had no right to, or of a wrong kind\n",
		       (unsigned long long)a->refused);
}

static int list(int argc, char **argv)
{
	struct blk_bpf_attachment *entries;
	struct json_object *array, *obj;
	bool missed = false;
	int key, ret = EXIT_OK;
	size_t nr, i;

	while ((key = next_option(argc, argv)) != -1)
		missed |= key == OPT_MISSED;
	if (!operands_ok(argc, 0, 1))
		return EXIT_USAGE;
	if (!find_attachments(argv[optind], &entries, &nr))
		return EXIT_FAILED;
	array = must(json_object_new_array());
	if (!json_output && nr)
		print_head();
	for (i = 0; i < nr && ret == EXIT_OK; i++) {
		if (json_output) {
			obj = json_attachment(&entries[i]);
			json_object_array_add(array, obj);
			if (missed)
				ret = missed_json(obj, entries[i].id);
		} else {
			print_attachment(&entries[i]);
			if (missed)
				ret = print_missed(entries[i].id);
		}
	}
	if (json_output)
		json_print(array);
	else
		json_object_put(array);
	free(entries);
	return ret;
}

const struct command list_command = {
	.name = "list",
	.operands = "[ID|DEVICE]",
	.brief = "list attachments with their counters",
	.opts = list_opts,
	.run = list,
};
