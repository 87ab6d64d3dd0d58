// SPDX-License-Identifier: GPL-2.0
/* blkbpf scan: options, signals, and the summary; scan_print.c has the matches. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "main.h"
#include "scan.h"

enum {
	OPT_SET = OPT_LONG, OPT_ARG, OPT_PROGRAM, OPT_RANGE, OPT_UNIT,
	OPT_THREADS, OPT_COUNT, OPT_LIMIT, OPT_PRINT, OPT_STATS, OPT_GLOBALS,
};

static const struct opt scan_opts[] = {
	{ OPT_SET, "set", "VAR=VALUE", "give a global variable its value" },
	{ OPT_ARG, "arg", "N=V", "give the program its argument N" },
	{ OPT_PROGRAM, "program", "NAME", "scan with this program of several" },
	{ OPT_RANGE, "range", "OFF:LEN",
	  "scan this range, again for more; without LEN to\n"
	  "the end of the device" },
	{ OPT_UNIT, "unit", "N", "bytes a call, instead of the program's" },
	{ OPT_THREADS, "threads", "N", "use at most so many CPUs" },
	{ OPT_COUNT, "count", NULL, "print the number of matches alone" },
	{ OPT_LIMIT, "limit", "N", "end after N matches" },
	{ OPT_PRINT, "print", "WHAT",
	  "pos: position and length of each match (default)\n"
	  "lba: logical block, offset in it, and length\n"
	  "text: position and the bytes as text, escaped\n"
	  "bytes: the bytes as they are, and nothing else\n"
	  "none: nothing" },
	{ OPT_STATS, "stats", NULL, "print statistics to stderr" },
	{ OPT_GLOBALS, "dump-globals", NULL,
	  "print the program's global variables at the end" },
	{}
};

struct scan_args {
	struct prog_choice choice;
	struct blkbpf_scan_opts opts;
	struct blk_bpf_range *ranges;
	size_t nr_ranges;
	enum print_what print;
	bool print_given;
	bool count;
	bool stats;
	bool globals;
};

/* A range to the end of the device, until its size is known. */
#define TO_THE_END UINT64_MAX

static bool add_range(struct scan_args *args, const char *text)
{
	const char *colon = strchr(text, ':');
	struct blk_bpf_range range = { .len = TO_THE_END };
	char *off;
	bool ok;

	off = must(strndup(text, colon ? (size_t)(colon - text) : strlen(text)));
	ok = parse_size(off, (uint64_t *)&range.off);
	free(off);
	if (ok && colon && colon[1])
		ok = parse_size(colon + 1, (uint64_t *)&range.len) &&
		     range.len != TO_THE_END;
	if (!ok) {
		fail_usage("scan: --range %s: give OFF:LEN in bytes, as 1M:64K or 4096:",
			   text);
		return false;
	}
	args->ranges = must(reallocarray(args->ranges, args->nr_ranges + 1,
					 sizeof(range)));
	args->ranges[args->nr_ranges++] = range;
	return true;
}

static bool size32_option(const char *name, const char *text, uint32_t *value)
{
	uint64_t size;

	if (parse_size(text, &size) && size && size <= UINT32_MAX) {
		*value = size;
		return true;
	}
	fail_usage("scan: --%s %s: give a number above 0", name, text);
	return false;
}

static bool print_option(struct scan_args *args, const char *text)
{
	static const char *const names[] = {
		[PRINT_POS] = "pos", [PRINT_LBA] = "lba", [PRINT_TEXT] = "text",
		[PRINT_BYTES] = "bytes", [PRINT_NONE] = "none",
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(text, names[i])) {
			args->print = i;
			args->print_given = true;
			return true;
		}
	}
	fail_usage("scan: --print %s: give pos, lba, text, bytes or none", text);
	return false;
}

static bool scan_option(struct scan_args *args, int key)
{
	switch (key) {
	case OPT_SET:
		return choice_add_set(&args->choice, optarg);
	case OPT_ARG:
		return parse_arg(optarg, args->opts.args);
	case OPT_PROGRAM:
		args->choice.name = optarg;
		break;
	case OPT_RANGE:
		return add_range(args, optarg);
	case OPT_UNIT:
		return size32_option("unit", optarg, &args->opts.unit);
	case OPT_THREADS:
		return size32_option("threads", optarg, &args->opts.threads);
	case OPT_COUNT:
		args->count = true;
		break;
	case OPT_LIMIT:
		if (parse_u64(optarg, &args->opts.limit) && args->opts.limit &&
		    *optarg != '-')
			break;
		fail_usage("scan: --limit %s: give a number above 0", optarg);
		return false;
	case OPT_PRINT:
		return print_option(args, optarg);
	case OPT_STATS:
		args->stats = true;
		break;
	case OPT_GLOBALS:
		args->globals = true;
		break;
	}
	return true;
}

static volatile int stop;

/* A signal that came just before the call to the kernel must interrupt it too. */
static void on_stop(int sig)
{
	(void)sig;
	stop = 1;
	alarm(1);
}

static void on_alarm(int sig)
{
	(void)sig;
}

/*
 * The kernel returns for any signal and the library goes on, which is when
 * progress can be shown. Without SA_RESTART, so that it does return.
 */
static void set_signals(bool progress)
{
	struct sigaction stopper = { .sa_handler = on_stop };
	struct sigaction alarmer = { .sa_handler = on_alarm };
	struct itimerval half_second = {
		.it_interval.tv_usec = 500000,
		.it_value.tv_usec = 500000,
	};

	sigaction(SIGALRM, &alarmer, NULL);
	sigaction(SIGINT, &stopper, NULL);
	sigaction(SIGTERM, &stopper, NULL);
	if (progress)
		setitimer(ITIMER_REAL, &half_second, NULL);
}

static void end_signals(void)
{
	struct itimerval never = {};

	setitimer(ITIMER_REAL, &never, NULL);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
}

static const char *status_name(const struct blkbpf_scan_result *result, int ret)
{
	if (ret)
		return "failed";
	switch (result->status) {
	case BLKBPF_SCAN_DONE:
		return "done";
	case BLKBPF_SCAN_STOPPED:
		return "stopped";
	case BLKBPF_SCAN_INTERRUPTED:
		return "interrupted";
	case BLKBPF_SCAN_LIMIT:
		return "limit";
	}
	return "unknown";
}

static uint64_t bytes_returned(const struct scan_printer *printer)
{
	return printer->records * sizeof(struct blk_bpf_match) + printer->bytes;
}

static struct json_object *json_result(const struct scan_args *args,
				       const struct scan_printer *printer,
				       const struct blkbpf_scan_result *result,
				       int ret)
{
	struct json_object *obj = json_object_new_object(), *stats;
	const struct blk_bpf_scan_stats *s = &result->stats;

	json_add_u64(obj, "count", result->matches);
	json_add_str(obj, "status", status_name(result, ret));
	if (ret)
		json_add_str(obj, "error", blkbpf_last_error());
	stats = json_object_new_object();
	json_add_u64(stats, "bytes_read", s->bytes_read);
	json_add_u64(stats, "bytes_scanned", s->bytes_scanned);
	json_add_u64(stats, "bytes_returned", bytes_returned(printer));
	json_add_u64(stats, "units", s->units);
	json_add_u64(stats, "matches", s->matches);
	json_add_u64(stats, "prog_ns", s->prog_ns);
	json_add_u64(stats, "time_ns", s->time_ns);
	json_add_u64(stats, "reads", s->reads);
	json_add_u64(stats, "threads", s->threads);
	json_add(obj, "stats", stats);
	if (args->globals)
		json_add(obj, "globals", json_globals(printer->obj));
	return obj;
}

static void print_stats(const struct scan_printer *printer,
			const struct blkbpf_scan_result *result, int ret)
{
	const struct blk_bpf_scan_stats *s = &result->stats;

	fprintf(stderr,
		"status         %s\n"
		"matches        %llu\n"
		"bytes scanned  %llu\n"
		"bytes read     %llu\n"
		"bytes returned %llu\n"
		"reads          %llu\n"
		"units          %llu\n"
		"threads        %u\n"
		"time           %llu us\n"
		"in the program %llu us\n",
		status_name(result, ret), (unsigned long long)result->matches,
		(unsigned long long)s->bytes_scanned,
		(unsigned long long)s->bytes_read,
		(unsigned long long)bytes_returned(printer),
		(unsigned long long)s->reads, (unsigned long long)s->units,
		s->threads, (unsigned long long)s->time_ns / 1000,
		(unsigned long long)s->prog_ns / 1000);
}

static void print_globals(const struct blkbpf_object *obj)
{
	struct json_object *globals = json_globals(obj);

	json_object_object_foreach(globals, name, value)
		printf("%s = %s\n", name, json_object_to_json_string(value));
	json_object_put(globals);
}

/* What comes after the matches. */
static int report(const struct scan_args *args, struct scan_printer *printer,
		  const struct blkbpf_scan_result *result, int ret)
{
	int err = errno;

	scan_print_end(printer, json_output ?
		       json_result(args, printer, result, ret) : NULL);
	if (!json_output && args->count && !ret)
		printf("%llu\n", (unsigned long long)result->matches);
	if (!json_output && args->globals)
		print_globals(printer->obj);
	if (!json_output && args->stats)
		print_stats(printer, result, ret);
	errno = err;
	if (ret && printer->write_error)
		return EXIT_FAILED;	/* finish_output() says why */
	if (ret)
		return fail_library();
	if (result->status != BLKBPF_SCAN_INTERRUPTED)
		return EXIT_OK;
	fail(EINTR, "scan: interrupted: %llu of %llu bytes are done, %llu matches so far",
	     (unsigned long long)result->done, (unsigned long long)result->total,
	     (unsigned long long)result->matches);
	return EXIT_INTERRUPTED;
}

static int scan_device(struct scan_args *args, const struct opened_prog *opened,
		       int dev_fd, const struct blkbpf_dev_info *dev)
{
	struct scan_printer printer = {
		.what = args->count ? PRINT_NONE : args->print,
		.block_size = dev->block_size,
		.obj = opened->obj,
		.progress = isatty(STDERR_FILENO),
	};
	struct blkbpf_scan_result result;
	size_t i;
	int ret;

	for (i = 0; i < args->nr_ranges; i++)
		if (args->ranges[i].len == TO_THE_END &&
		    args->ranges[i].off <= dev->size)
			args->ranges[i].len = dev->size - args->ranges[i].off;
	/* What is not printed need not leave the kernel. */
	args->opts.count = printer.what == PRINT_NONE && !args->opts.limit;
	args->opts.ranges = args->ranges;
	args->opts.nr_ranges = args->nr_ranges;
	args->opts.data = !args->opts.count &&
			  (args->print == PRINT_TEXT ||
			   args->print == PRINT_BYTES);
	args->opts.match = scan_print_matches;
	args->opts.progress = scan_print_progress;
	args->opts.ctx = &printer;
	args->opts.stop = &stop;

	scan_print_begin(&printer);
	set_signals(printer.progress);
	ret = blkbpf_scan(opened->prog, dev_fd, &args->opts, &result);
	end_signals();
	return report(args, &printer, &result, ret);
}

static int check_args(const struct scan_args *args, int argc)
{
	if (!operands_ok(argc, 2, 2))
		return EXIT_USAGE;
	if (args->count && args->opts.limit)
		return fail_usage("scan: --count and --limit do not go together");
	if (args->count && args->print_given)
		return fail_usage("scan: --count prints no matches: leave out --print");
	return EXIT_OK;
}

static int scan(int argc, char **argv)
{
	struct scan_args args = { .opts.sz = sizeof(args.opts) };
	struct blkbpf_dev_info dev;
	struct opened_prog opened;
	int key, dev_fd, ret;

	while ((key = next_option(argc, argv)) != -1)
		if (!scan_option(&args, key))
			return EXIT_USAGE;
	ret = check_args(&args, argc);
	if (ret)
		return ret;

	dev_fd = blkbpf_dev_open(argv[optind + 1], &dev);
	if (dev_fd < 0)
		return fail_library();
	ret = open_prog(argv[optind], &args.choice, &opened);
	if (!ret) {
		if (args.globals && !opened.obj)
			ret = fail_usage("scan: --dump-globals goes with an object file");
		else
			ret = scan_device(&args, &opened, dev_fd, &dev);
		close_prog(&opened);
	}
	close(dev_fd);
	free(args.ranges);
	free(args.choice.set);
	return ret;
}

const struct command scan_command = {
	.name = "scan",
	.operands = "PROG|FILE.bpf.o DEVICE",
	.brief = "run a program over a block device and print what it finds",
	.opts = scan_opts,
	.run = scan,
};
