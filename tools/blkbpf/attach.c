// SPDX-License-Identifier: GPL-2.0
/* blkbpf attach and blkbpf detach. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "main.h"

enum {
	OPT_SET = OPT_LONG, OPT_ARG, OPT_PROGRAM, OPT_MAY_FAIL, OPT_WRITES,
	OPT_OTHERS, OPT_NO_READS, OPT_PRIORITY, OPT_BUDGET, OPT_PIN,
};

static const struct opt attach_opts[] = {
	{ OPT_SET, "set", "VAR=VALUE", "give a global variable its value" },
	{ OPT_ARG, "arg", "N=V", "give the program its argument N" },
	{ OPT_PROGRAM, "program", "NAME", "attach this program of several" },
	{ OPT_MAY_FAIL, "may-fail", NULL, "let it fail reads with an error" },
	{ OPT_WRITES, "writes", NULL, "call it for writes too, without data" },
	{ OPT_OTHERS, "others", NULL,
	  "call it for flush, discard and zone commands too" },
	{ OPT_NO_READS, "no-reads", NULL, "do not call it for reads" },
	{ OPT_PRIORITY, "priority", "N",
	  "programs of a device run by rising priority;\n"
	  "0 if not given" },
	{ OPT_BUDGET, "budget", "TIME",
	  "eject it when its calls take longer: such as 50us,\n"
	  "or none; 1ms if not given" },
	{ OPT_PIN, "pin", "PATH",
	  "pin the attachment here instead of\n"
	  BLKBPF_PIN_ATTACH "/ID" },
	{}
};

struct attach_args {
	struct prog_choice choice;
	struct blkbpf_attach_opts opts;
	const char *pin;
};

static bool parse_budget(struct attach_args *args, const char *text)
{
	if (!strcmp(text, "none")) {
		args->opts.budget_ns = BLK_BPF_BUDGET_NONE;
		return true;
	}
	/* 0 is the kernel's word for its own choice, and nobody's for a time */
	if (parse_time(text, &args->opts.budget_ns) && args->opts.budget_ns)
		return true;
	fail_usage("attach: --budget %s: is not a time: give a number with ns, us, ms or s, or none",
		   text);
	return false;
}

static bool attach_option(struct attach_args *args, int key)
{
	switch (key) {
	case OPT_SET:
		return choice_add_set(&args->choice, optarg);
	case OPT_ARG:
		return parse_arg(optarg, args->opts.args);
	case OPT_PROGRAM:
		args->choice.name = optarg;
		break;
	case OPT_MAY_FAIL:
		args->opts.flags |= BLK_BPF_ATTACH_MAY_FAIL;
		break;
	case OPT_WRITES:
		args->opts.flags |= BLK_BPF_ATTACH_WRITES;
		break;
	case OPT_OTHERS:
		args->opts.flags |= BLK_BPF_ATTACH_OTHERS;
		break;
	case OPT_NO_READS:
		args->opts.flags |= BLK_BPF_ATTACH_NO_READS;
		break;
	case OPT_PRIORITY:
		if (parse_s32(optarg, &args->opts.priority))
			break;
		fail_usage("attach: --priority %s: is not an integer of 32 bits",
			   optarg);
		return false;
	case OPT_BUDGET:
		return parse_budget(args, optarg);
	case OPT_PIN:
		args->pin = optarg;
		break;
	}
	return true;
}

/* Without a pin the attachment would end with this process. */
static int attach_and_pin(const struct attach_args *args,
			  const struct opened_prog *opened, int dev_fd,
			  const char *dev)
{
	struct json_object *obj;
	uint32_t id;
	char *pin;
	int link, ret;

	link = blkbpf_attach(opened->prog, dev_fd, &args->opts, &id);
	if (link < 0)
		return fail_library();
	if (asprintf(&pin, BLKBPF_PIN_ATTACH "/%u", id) < 0)
		must(NULL);
	ret = blkbpf_link_pin(link, args->pin ? args->pin : pin);
	close(link);
	if (ret) {
		ret = fail_library();
	} else if (json_output) {
		obj = json_object_new_object();
		json_add_u64(obj, "id", id);
		json_add_str(obj, "device", dev);
		json_add_str(obj, "pin", args->pin ? args->pin : pin);
		json_print(obj);
	} else {
		printf("attached to %s: id %u, pinned at %s\n", dev, id,
		       args->pin ? args->pin : pin);
	}
	free(pin);
	return ret;
}

static int attach(int argc, char **argv)
{
	struct attach_args args = { .opts.sz = sizeof(args.opts) };
	struct opened_prog opened;
	int key, dev_fd, ret;

	while ((key = next_option(argc, argv)) != -1)
		if (!attach_option(&args, key))
			return EXIT_USAGE;
	if (!operands_ok(argc, 2, 2))
		return EXIT_USAGE;

	dev_fd = blkbpf_dev_open(argv[optind + 1], NULL);
	if (dev_fd < 0)
		return fail_library();
	ret = open_prog(argv[optind], &args.choice, &opened);
	if (!ret) {
		ret = attach_and_pin(&args, &opened, dev_fd, argv[optind + 1]);
		close_prog(&opened);
	}
	close(dev_fd);
	free(args.choice.set);
	return ret;
}

/* A pinned link: detach what it attaches; a link that is dead leaves its pin. */
static int detach_pin(const char *path, struct json_object *done)
{
	struct blk_bpf_attachment *entries = NULL;
	size_t nr_pins, nr, i;
	struct blkbpf_pin *pins;
	uint32_t link_id = 0, id = 0;
	char *real;

	if (blkbpf_pins(&pins, &nr_pins))
		return fail_library();
	real = must(realpath(path, NULL));
	for (i = 0; i < nr_pins; i++)
		if (pins[i].is_link && !strcmp(pins[i].path, real))
			link_id = pins[i].id;
	free(real);
	blkbpf_pins_free(pins, nr_pins);
	if (!link_id)
		return fail(EINVAL, "%s: is not the pin of an attachment: 'blkbpf list' shows attachments",
			    path);

	if (blkbpf_attachments(&entries, &nr))
		return fail_library();
	for (i = 0; i < nr; i++)
		if (entries[i].link_id == link_id)
			id = entries[i].id;
	free(entries);
	if (!id)
		return unlink(path) ? fail(errno, "%s: cannot be removed: %s",
					   path, strerror(errno)) : EXIT_OK;
	if (blkbpf_detach(id))
		return fail_library();
	json_object_array_add(done, must(json_object_new_uint64(id)));
	return EXIT_OK;
}

static int detach_one(const char *which, struct json_object *done)
{
	struct blk_bpf_attachment *entries;
	int ret = EXIT_OK;
	struct stat st;
	size_t nr, i;

	if (!stat(which, &st) && !S_ISBLK(st.st_mode) && is_in_bpffs(which))
		return detach_pin(which, done);
	if (!find_attachments(which, &entries, &nr))
		return EXIT_FAILED;
	for (i = 0; i < nr; i++) {
		if (blkbpf_detach(entries[i].id))
			ret = fail_library();
		else
			json_object_array_add(done,
				must(json_object_new_uint64(entries[i].id)));
	}
	free(entries);
	return ret;
}

static int detach(int argc, char **argv)
{
	struct json_object *done, *obj;
	int ret = EXIT_OK, i;
	size_t k;

	while (next_option(argc, argv) != -1)
		;
	if (!operands_ok(argc, 1, -1))
		return EXIT_USAGE;
	done = must(json_object_new_array());
	for (i = optind; i < argc; i++)
		if (detach_one(argv[i], done))
			ret = EXIT_FAILED;
	if (json_output) {
		obj = json_object_new_object();
		json_add(obj, "detached", done);
		json_print(obj);
		return ret;
	}
	for (k = 0; k < json_object_array_length(done); k++)
		printf("detached %s\n", json_object_get_string(
					json_object_array_get_idx(done, k)));
	json_object_put(done);
	return ret;
}

const struct command attach_command = {
	.name = "attach",
	.operands = "PROG|FILE.bpf.o DEVICE",
	.brief = "run a program on the live I/O of a block device",
	.opts = attach_opts,
	.run = attach,
};

const struct command detach_command = {
	.name = "detach",
	.operands = "ID|DEVICE|PIN...",
	.brief = "end attachments: by id, all of a device, or by pin",
	.run = detach,
};
