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
	OPT_ON, OPT_BUFFERED, OPT_TRACE, OPT_WHERE, OPT_RECORD, OPT_LAYOUT,
	OPT_MATCH, OPT_DUMP, OPT_CURSOR,
};

static const struct opt scan_opts[] = {
	{ OPT_ON, "on", "TARGET",
	  "where the program runs: kernel (default); user: in\n"
	  "this process, without privilege or module, over a\n"
	  "device or a plain file; a drive, as csd0; or auto:\n"
	  "the drive that has the data, else the kernel" },
	{ OPT_WHERE, "where", "EXPR",
	  "instead of a program: find the records for which\n"
	  "this holds, as 'u32le@8 < 1000 && u8@12 in 5..9'" },
	{ OPT_RECORD, "record", "N", "bytes of a record (--where)" },
	{ OPT_LAYOUT, "layout", "FILE:TYPE",
	  "name fields as this C header, or object file with\n"
	  "BTF, does (--where); as item.h:'struct item'" },
	{ OPT_MATCH, "match", "TEXT",
	  "instead of a program: find this text, or bytes as\n"
	  "hex:6162" },
	{ OPT_DUMP, "dump", "bpf|c",
	  "print the program of --where or --match, and do\n"
	  "not scan" },
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
	{ OPT_CURSOR, "cursor", "R:P:S",
	  "go on where a scan of the same ranges and unit\n"
	  "ended, by what --stats or -j say" },
	{ OPT_PRINT, "print", "WHAT",
	  "pos: position and length of each match (default)\n"
	  "lba: logical block, offset in it, and length\n"
	  "text: position and the bytes as text, escaped\n"
	  "bytes: the bytes as they are, and nothing else\n"
	  "none: nothing" },
	{ OPT_STATS, "stats", NULL, "print statistics to stderr" },
	{ OPT_GLOBALS, "dump-globals", NULL,
	  "print the program's global variables at the end" },
	{ OPT_BUFFERED, "buffered", NULL,
	  "read through the page cache (--on user)" },
	{ OPT_TRACE, "trace", NULL,
	  "if the program fails, print what it did in that\n"
	  "unit (--on user)" },
	{}
};

struct scan_args {
	struct prog_choice choice;
	struct expr_choice expr;
	struct blkbpf_scan_opts opts;
	struct blk_bpf_range *ranges;
	size_t nr_ranges;
	int *devs;
	size_t nr_devs;
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

static bool cursor_part(char **rest, uint64_t most, uint64_t *value)
{
	const char *part = strsep(rest, ":");

	return part && *part != '-' && parse_u64(part, value) && *value <= most;
}

static bool cursor_option(struct scan_args *args, const char *text)
{
	char *copy = must(strdup(text)), *rest = copy;
	uint64_t range, pos, skip;
	bool ok;

	ok = cursor_part(&rest, UINT32_MAX, &range) &&
	     cursor_part(&rest, UINT64_MAX, &pos) &&
	     cursor_part(&rest, UINT32_MAX, &skip) && !rest;
	free(copy);
	if (!ok) {
		fail_usage("scan: --cursor %s: give RANGE:POSITION:SKIP, as a scan that ended early says it",
			   text);
		return false;
	}
	args->opts.cursor = (struct blk_bpf_cursor) {
		.range = range,
		.pos = pos,
		.skip = skip,
	};
	return true;
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

static bool expr_option(struct scan_args *args, int key)
{
	switch (key) {
	case OPT_WHERE:
		args->expr.where = optarg;
		break;
	case OPT_RECORD:
		return size32_option("record", optarg, &args->expr.record);
	case OPT_LAYOUT:
		args->expr.layout = optarg;
		break;
	case OPT_MATCH:
		args->expr.match = optarg;
		break;
	case OPT_DUMP:
		if (strcmp(optarg, "bpf") && strcmp(optarg, "c")) {
			fail_usage("scan: --dump %s: give bpf or c", optarg);
			return false;
		}
		args->expr.dump = optarg;
		break;
	}
	return true;
}

static void print_trace(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "trace: %s\n", line);
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
	case OPT_CURSOR:
		return cursor_option(args, optarg);
	case OPT_PRINT:
		return print_option(args, optarg);
	case OPT_STATS:
		args->stats = true;
		break;
	case OPT_GLOBALS:
		args->globals = true;
		break;
	case OPT_ON:
		args->choice.target = optarg;
		break;
	case OPT_BUFFERED:
		args->opts.buffered = true;
		break;
	case OPT_TRACE:
		args->opts.trace = print_trace;
		break;
	default:
		return expr_option(args, key);
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

/* Where an early end can be gone on from, by --cursor; "" after a whole scan. */
static void cursor_text(const struct blkbpf_scan_result *result, int ret,
			char *text, size_t size)
{
	const struct blk_bpf_cursor *cursor = &result->cursor;

	*text = '\0';
	if (ret || result->status != BLKBPF_SCAN_DONE)
		snprintf(text, size, "%u:%llu:%u", cursor->range,
			 (unsigned long long)cursor->pos, cursor->skip);
}

static uint64_t bytes_returned(const struct scan_printer *printer)
{
	return printer->records * sizeof(struct blk_bpf_match) + printer->bytes;
}

/* What a drive cost. */
static void json_add_link(struct json_object *stats,
			  const struct blk_bpf_scan_path *link)
{
	json_add_u64(stats, "link_to_drive", link->link_to_drive);
	json_add_u64(stats, "link_to_host", link->link_to_host);
	json_add_u64(stats, "link_data", link->link_data);
	json_add_u64(stats, "commands", link->commands);
	json_add_u64(stats, "programs_loaded", link->loads);
	json_add_u64(stats, "drive_ns", link->drive_ns);
}

static struct json_object *json_result(const struct scan_args *args,
				       const struct scan_printer *printer,
				       const struct blkbpf_scan_result *result,
				       int ret)
{
	struct json_object *obj = json_object_new_object(), *stats;
	const struct blk_bpf_scan_stats *s = &result->stats;
	char cursor[64];

	cursor_text(result, ret, cursor, sizeof(cursor));
	json_add_u64(obj, "count", result->matches);
	json_add_str(obj, "status", status_name(result, ret));
	if (ret)
		json_add_str(obj, "error", blkbpf_last_error());
	if (*cursor)
		json_add_str(obj, "cursor", cursor);
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
	if (result->insns)
		json_add_u64(stats, "instructions", result->insns);
	json_add_str(stats, "path", result->path);
	if (result->link.cpu_ns)
		json_add_u64(stats, "cpu_ns", result->link.cpu_ns);
	if (result->link.commands)
		json_add_link(stats, &result->link);
	json_add(obj, "stats", stats);
	if (args->globals)
		json_add_globals(obj, printer->obj);
	return obj;
}

static void print_stats(const struct scan_printer *printer,
			const struct blkbpf_scan_result *result, int ret)
{
	const struct blk_bpf_scan_stats *s = &result->stats;
	char cursor[64];

	cursor_text(result, ret, cursor, sizeof(cursor));
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
		"in the program %llu us\n"
		"path           %s\n",
		status_name(result, ret), (unsigned long long)result->matches,
		(unsigned long long)s->bytes_scanned,
		(unsigned long long)s->bytes_read,
		(unsigned long long)bytes_returned(printer),
		(unsigned long long)s->reads, (unsigned long long)s->units,
		s->threads, (unsigned long long)s->time_ns / 1000,
		(unsigned long long)s->prog_ns / 1000, result->path);
	if (*cursor)
		fprintf(stderr, "cursor         %s\n", cursor);
	if (result->insns)
		fprintf(stderr, "instructions   %llu\n",
			(unsigned long long)result->insns);
	if (result->link.cpu_ns)
		fprintf(stderr, "CPU time       %llu us\n",
			(unsigned long long)result->link.cpu_ns / 1000);
	if (result->link.commands)
		fprintf(stderr,
			"over the link  %llu bytes to the drive, %llu back, %llu of them scanned data\n"
			"commands       %llu\n"
			"on the drive   %llu us\n",
			(unsigned long long)result->link.link_to_drive,
			(unsigned long long)result->link.link_to_host,
			(unsigned long long)result->link.link_data,
			(unsigned long long)result->link.commands,
			(unsigned long long)result->link.drive_ns / 1000);
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
	struct blkbpf_scan_result result = { .sz = sizeof(result) };
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
	args->opts.target = args->choice.target;
	printer.devs = args->opts.nr_devs > 1;
	if (args->opts.nr_devs == 1)
		args->opts.nr_devs = 0;

	scan_print_begin(&printer);
	set_signals(printer.progress);
	ret = blkbpf_scan(opened->prog, dev_fd, &args->opts, &result);
	end_signals();
	return report(args, &printer, &result, ret);
}

static bool is_expr(const struct scan_args *args)
{
	return args->expr.where || args->expr.match;
}

/* An expression is a program: what goes with a file has no place beside it. */
static int check_expr(const struct scan_args *args)
{
	const struct expr_choice *e = &args->expr;

	if (e->where && e->match)
		return fail_usage("scan: --where and --match do not go together");
	if (!e->where && (e->record || e->layout))
		return fail_usage("scan: --%s goes with --where",
				  e->record ? "record" : "layout");
	if (e->where && !e->record && !e->layout)
		return fail_usage("scan: --where needs --record: the size of a record, or a --layout that has one");
	if (!is_expr(args) && e->dump)
		return fail_usage("scan: --dump goes with --where or --match");
	if (is_expr(args) && (args->choice.nr || args->choice.name))
		return fail_usage("scan: --%s goes with an object file, and --%s is a program itself",
				  args->choice.nr ? "set" : "program",
				  e->where ? "where" : "match");
	if (is_expr(args) && args->opts.unit)
		return fail_usage("scan: --unit does not go with --%s, which has a unit of its own",
				  e->where ? "where" : "match");
	return EXIT_OK;
}

static void close_devices(struct scan_args *args)
{
	size_t i;

	for (i = 0; i < args->nr_devs; i++)
		close(args->devs[i]);
	free(args->devs);
}

/* All of them; blocks and size are of the first. Returns its descriptor. */
static int open_devices(struct scan_args *args, int nr, char **paths,
			struct blkbpf_dev_info *dev)
{
	struct blkbpf_dev_info other;
	int i, fd, err;

	args->devs = must(calloc(nr, sizeof(*args->devs)));
	for (i = 0; i < nr; i++) {
		fd = blkbpf_target_open(args->choice.target, paths[i],
					i ? &other : dev);
		if (fd < 0) {
			err = errno;
			close_devices(args);
			errno = err;
			return fd;
		}
		args->devs[args->nr_devs++] = fd;
	}
	args->opts.devs = args->devs;
	args->opts.nr_devs = args->nr_devs;
	return args->devs[0];
}

static int check_args(const struct scan_args *args, int argc)
{
	int operands = is_expr(args) ? args->expr.dump ? 0 : 1 : 2;

	if (is_expr(args) && argc - optind > operands)
		return fail_usage("scan: there is too much: with --%s it takes %s",
				  args->expr.where ? "where" : "match",
				  operands ? "DEVICE|FILE alone" :
				  "no device if the program is to be printed");
	/* A program goes over several devices. */
	if (!operands_ok(argc, operands, operands == 2 ? 1 + (int)BLK_BPF_DEVS_MAX :
							 operands))
		return EXIT_USAGE;
	if (args->count && args->opts.limit)
		return fail_usage("scan: --count and --limit do not go together");
	if (args->count && args->print_given)
		return fail_usage("scan: --count prints no matches: leave out --print");
	return check_expr(args);
}

static int scan_with(struct scan_args *args, int nr, char **operands)
{
	const int first = !is_expr(args);
	struct blkbpf_dev_info dev;
	struct opened_prog opened;
	int dev_fd, ret;

	dev_fd = open_devices(args, nr - first, operands + first, &dev);
	if (dev_fd < 0)
		return fail_library();
	if (is_expr(args))
		ret = open_prog_of(open_expr(&args->expr), &args->choice, &opened);
	else
		ret = open_prog(operands[0], &args->choice, &opened);
	if (!ret) {
		if (args->globals && !opened.obj)
			ret = fail_usage("scan: --dump-globals goes with an object file");
		else
			ret = scan_device(args, &opened, dev_fd, &dev);
		close_prog(&opened);
	}
	close_devices(args);
	return ret;
}

static int scan(int argc, char **argv)
{
	struct scan_args args = { .opts.sz = sizeof(args.opts) };
	int key, ret;

	while ((key = next_option(argc, argv)) != -1)
		if (!scan_option(&args, key))
			return EXIT_USAGE;
	ret = check_args(&args, argc);
	if (!ret && args.expr.dump)
		ret = dump_expr(&args.expr);
	else if (!ret)
		ret = scan_with(&args, argc - optind, argv + optind);
	free(args.ranges);
	free(args.choice.set);
	return ret;
}

const struct command scan_command = {
	.name = "scan",
	.operands = "PROG|FILE.bpf.o DEVICE|FILE...",
	.brief = "run a program over a block device and print what it finds",
	.opts = scan_opts,
	.run = scan,
};
