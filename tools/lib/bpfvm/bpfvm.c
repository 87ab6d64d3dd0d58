// SPDX-License-Identifier: GPL-2.0
/*
 * bpfvm: run, verify, disassemble and time programs from the command line.
 *
 * Exit codes: 0 it worked; 1 the program was refused; 2 it faulted at run time;
 * 3 the command line is wrong, or a file cannot be read.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/blk_bpf.h>

#include "bpfvm.h"
#include "bpfvm_elf.h"

enum {
	EXIT_REFUSED	= 1,
	EXIT_FAULT	= 2,
	EXIT_USAGE	= 3,
};

#define LOG_SIZE	(1 << 20)

struct bytes {
	uint8_t *at;
	size_t len;
};

struct command {
	enum bpfvm_engine engine;
	enum bpfvm_abi abi;
	struct bytes mem;
	uint64_t fuel;
	uint32_t flags;
	enum bpfvm_log_level level;
	unsigned int rounds;
	const char *entry;
	const char *program;
};

struct loaded {
	struct bytes insns;
	struct bpfvm_prog *prog;
	char *log;
	struct bpfvm_image *image;
};

static void usage(FILE *to)
{
	fputs("Usage: bpfvm run    [OPTIONS] PROGRAM    print r0\n"
	      "       bpfvm verify [OPTIONS] PROGRAM    say whether it is accepted\n"
	      "       bpfvm disasm PROGRAM\n"
	      "       bpfvm bench  [OPTIONS] PROGRAM    time it\n"
	      "\n"
	      "PROGRAM is hexadecimal, @FILE of raw instructions, or an object file.\n"
	      "\n"
	      "  -e, --engine jit|interp  what runs it (the JIT where there is one)\n"
	      "  -a, --abi raw|block      raw: r1 = memory, r2 = its length (default);\n"
	      "                           block: r1 = { ctx, data, data_end }\n"
	      "  -m, --mem HEX|@FILE      the data\n"
	      "  -f, --fuel N             most instructions (default: 10^12)\n"
	      "  -p, --program NAME       which program of an object file\n"
	      "  -r, --rounds N           runs to time (default: 100)\n"
	      "      --check-all          check the proved accesses too\n"
	      "      --baseline           no BMI2, no MOVBE\n"
	      "  -v, --verbose            tell what is checked; twice: all that is known\n"
	      "\n"
	      "Exit code: 0, 1 if the program is refused, 2 if it faults, 3 for usage.\n",
	      to);
}

static int read_file(const char *path, struct bytes *bytes)
{
	FILE *file = fopen(path, "rb");
	size_t room = 4096, got;

	if (!file)
		goto fail;
	bytes->len = 0;
	bytes->at = malloc(room);
	while (bytes->at && (got = fread(bytes->at + bytes->len, 1,
					 room - bytes->len, file)) > 0) {
		bytes->len += got;
		if (bytes->len == room)
			bytes->at = realloc(bytes->at, room *= 2);
	}
	if (!bytes->at || ferror(file)) {
		fclose(file);
		goto fail;
	}
	fclose(file);
	return 0;
fail:
	fprintf(stderr, "bpfvm: %s: %s\n", path, strerror(errno));
	return EXIT_USAGE;
}

static bool is_hex(const char *text)
{
	return strspn(text, "0123456789abcdefABCDEF") == strlen(text);
}

static int parse_hex(const char *text, struct bytes *bytes)
{
	size_t len = strlen(text);

	if (!is_hex(text) || len % 2) {
		fprintf(stderr, "bpfvm: '%s' is not an even number of hexadecimal digits\n",
			text);
		return EXIT_USAGE;
	}
	bytes->len = len / 2;
	bytes->at = malloc(bytes->len + 1);
	if (!bytes->at)
		return EXIT_USAGE;
	for (size_t i = 0; i < bytes->len; i++)
		sscanf(text + 2 * i, "%2hhx", &bytes->at[i]);
	return 0;
}

static int parse_bytes(const char *text, struct bytes *bytes)
{
	if (text[0] == '@')
		return read_file(text + 1, bytes);
	return parse_hex(text, bytes);
}

static int parse_number(const char *text, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 0);
	if (errno || !isdigit((unsigned char)text[0]) || *end) {
		fprintf(stderr, "bpfvm: '%s' is not a number\n", text);
		return EXIT_USAGE;
	}
	return 0;
}

static int bad_choice(const char *option, const char *text, const char *choice)
{
	fprintf(stderr, "bpfvm: %s is %s, not '%s'\n", option, choice, text);
	return EXIT_USAGE;
}

static int parse_option(struct command *c, int option, const char *arg)
{
	uint64_t number;
	int err;

	switch (option) {
	case 'e':
		if (strcmp(arg, "jit") && strcmp(arg, "interp"))
			return bad_choice("--engine", arg, "jit or interp");
		c->engine = arg[0] == 'j' ? BPFVM_ENGINE_JIT :
					    BPFVM_ENGINE_INTERP;
		return 0;
	case 'a':
		if (strcmp(arg, "raw") && strcmp(arg, "block"))
			return bad_choice("--abi", arg, "raw or block");
		c->abi = arg[0] == 'r' ? BPFVM_ABI_RAW : BPFVM_ABI_BLOCK;
		return 0;
	case 'm':
		return parse_bytes(arg, &c->mem);
	case 'f':
		return parse_number(arg, &c->fuel);
	case 'p':
		c->entry = arg;
		return 0;
	case 'r':
		err = parse_number(arg, &number);
		c->rounds = number;
		if (!err && (number == 0 || number > 1000000))
			return bad_choice("--rounds", arg, "1 to 1000000");
		return err;
	case 'A':
		c->flags |= BPFVM_CHECK_ALL;
		return 0;
	case 'B':
		c->flags |= BPFVM_BASELINE;
		return 0;
	case 'v':
		if (c->level < BPFVM_LOG_STATE)
			c->level++;
		return 0;
	default:
		usage(stderr);
		return EXIT_USAGE;
	}
}

static int parse_options(struct command *c, int argc, char **argv)
{
	static const struct option options[] = {
		{ "engine", required_argument, NULL, 'e' },
		{ "abi", required_argument, NULL, 'a' },
		{ "mem", required_argument, NULL, 'm' },
		{ "fuel", required_argument, NULL, 'f' },
		{ "program", required_argument, NULL, 'p' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "check-all", no_argument, NULL, 'A' },
		{ "baseline", no_argument, NULL, 'B' },
		{ "verbose", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int option, err;

	while ((option = getopt_long(argc, argv, "e:a:m:f:p:r:v", options,
				     NULL)) != -1) {
		err = parse_option(c, option, optarg);
		if (err)
			return err;
	}
	if (optind != argc - 1) {
		fprintf(stderr, "bpfvm: one PROGRAM is needed\n");
		return EXIT_USAGE;
	}
	c->program = argv[optind];
	return 0;
}

static uint64_t print_match(uint64_t ctx, uint64_t off, uint64_t len,
			    uint64_t r4, uint64_t r5,
			    struct bpfvm_thread *thread)
{
	const struct blk_bpf_ctx *c = (void *)(uintptr_t)ctx;
	bool quiet = *(bool *)bpfvm_thread_priv(thread);

	(void)r4, (void)r5;
	off = (uint32_t)off;
	len = (uint32_t)len;
	if (len == 0 || off >= c->len || len > c->len - off)
		return -EINVAL;
	if (!quiet)
		printf("match %" PRIu64 " %" PRIu64 "\n", off, len);
	return 0;
}

static const struct bpfvm_helper helpers[] = {
	{
		.id = BPFVM_HELPER_BLK_EMIT,
		.name = "blk_bpf_emit",
		.fn = print_match,
		.arg = { BPFVM_ARG_CTX, BPFVM_ARG_NUM, BPFVM_ARG_NUM },
	},
};

static const struct bpfvm_field writable[] = {
	{ offsetof(struct blk_bpf_ctx, state),
	  sizeof(((struct blk_bpf_ctx *)0)->state) },
};

static int get_insns(const struct command *c, struct loaded *l,
		     struct bpfvm_opts *opts)
{
	const char *name = c->program;

	if (name[0] != '@' && !is_hex(name)) {
		char why[256];
		int err = bpfvm_image_open(&l->image, name, c->entry,
					   opts->helpers, opts->nr_helpers,
					   why, sizeof(why));

		if (err) {
			fprintf(stderr, "bpfvm: %s: %s\n", name, why);
			return err == -ENOENT ? EXIT_USAGE : EXIT_REFUSED;
		}
		l->insns.at = (uint8_t *)l->image->insns;
		l->insns.len = l->image->nr_insns * sizeof(struct bpfvm_insn);
		opts->globals = l->image->globals;
		opts->nr_globals = l->image->nr_globals;
		return 0;
	}
	if (parse_bytes(name, &l->insns))
		return EXIT_USAGE;
	if (l->insns.len % sizeof(struct bpfvm_insn)) {
		fprintf(stderr, "bpfvm: %zu bytes are no whole number of instructions\n",
			l->insns.len);
		return EXIT_REFUSED;
	}
	return 0;
}

static int load(const struct command *c, struct loaded *l)
{
	struct bpfvm_opts opts = {
		.sz = sizeof(opts),
		.abi = c->abi,
		.flags = c->flags,
		.ctx_size = sizeof(struct blk_bpf_ctx),
		.ctx_writable = writable,
		.nr_ctx_writable = 1,
		.helpers = helpers,
		.nr_helpers = c->abi == BPFVM_ABI_BLOCK ? 1 : 0,
		.log_level = c->level,
		.log_size = LOG_SIZE,
	};
	int err = get_insns(c, l, &opts);

	if (err)
		return err;
	l->log = malloc(LOG_SIZE);
	opts.log = l->log;
	err = bpfvm_load(&l->prog, (const struct bpfvm_insn *)l->insns.at,
			 l->insns.len / sizeof(struct bpfvm_insn), &opts);
	if (l->log)
		fputs(l->log, err ? stderr : stdout);
	if (err && (!l->log || !l->log[0]))
		fprintf(stderr, "bpfvm: %s\n", strerror(-err));
	return err ? EXIT_REFUSED : 0;
}

static void set_up_run(const struct command *c, struct bpfvm_run *run,
		       struct blk_bpf_ctx *ctx)
{
	memset(ctx, 0, sizeof(*ctx));
	ctx->size = sizeof(*ctx);
	ctx->len = c->mem.len;
	ctx->unit = c->mem.len;
	memset(run, 0, sizeof(*run));
	run->engine = c->engine;
	run->ctx = ctx;
	run->data = c->mem.at;
	run->data_len = c->mem.len;
	run->fuel = c->fuel;
}

static int report_fault(const struct loaded *l, const struct bpfvm_run *run,
			int err)
{
	const struct bpfvm_insn *insns = (void *)l->insns.at;
	uint32_t nr = l->insns.len / sizeof(*insns);
	char text[96];

	if (err == -ENOTSUP) {
		fprintf(stderr, "bpfvm: there is no JIT for this machine\n");
		return EXIT_USAGE;
	}
	bpfvm_disasm(insns + run->fault_pc, nr - run->fault_pc, run->fault_pc,
		     text, sizeof(text));
	fprintf(stderr, "insn %u: %s: %s\n", run->fault_pc, text,
		bpfvm_fault_text(run->fault));
	return EXIT_FAULT;
}

static int do_run(const struct command *c, struct loaded *l)
{
	bool quiet = false;
	struct bpfvm_thread *thread = bpfvm_thread_new(l->prog, &quiet);
	struct blk_bpf_ctx ctx;
	struct bpfvm_run run;
	int err;

	if (!thread)
		return EXIT_USAGE;
	set_up_run(c, &run, &ctx);
	err = bpfvm_run(thread, &run);
	bpfvm_thread_free(thread);
	if (err)
		return report_fault(l, &run, err);
	if (c->level)
		printf("retired %" PRIu64 "\n", run.retired);
	printf("0x%" PRIx64 "\n", run.r0);
	return 0;
}

static int compare_times(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int do_bench(const struct command *c, struct loaded *l)
{
	bool quiet = true;
	struct bpfvm_thread *thread = bpfvm_thread_new(l->prog, &quiet);
	uint64_t *times = calloc(c->rounds, sizeof(*times));
	struct bpfvm_info info;
	struct blk_bpf_ctx ctx;
	struct bpfvm_run run;
	int err = 0;

	if (!thread || !times)
		return EXIT_USAGE;
	for (unsigned int i = 0; i < c->rounds && !err; i++) {
		struct timespec start, end;

		set_up_run(c, &run, &ctx);
		clock_gettime(CLOCK_MONOTONIC, &start);
		err = bpfvm_run(thread, &run);
		clock_gettime(CLOCK_MONOTONIC, &end);
		times[i] = (end.tv_sec - start.tv_sec) * 1000000000ULL +
			   end.tv_nsec - start.tv_nsec;
	}
	bpfvm_thread_free(thread);
	qsort(times, c->rounds, sizeof(*times), compare_times);
	if (!err) {
		bpfvm_get_info(l->prog, &info);
		printf("verify %.1f us, compile %.1f us, %u of %u accesses proved\n",
		       info.verify_ns / 1e3, info.jit_ns / 1e3, info.proved,
		       info.accesses);
		printf("run %.3f us (median of %u), %" PRIu64 " instructions, %.1f MB/s\n",
		       times[c->rounds / 2] / 1e3, c->rounds, run.retired,
		       c->mem.len * 1e3 / (times[c->rounds / 2] + 1));
	}
	free(times);
	return err ? report_fault(l, &run, err) : 0;
}

static int do_verify(const struct loaded *l)
{
	struct bpfvm_info info;

	bpfvm_get_info(l->prog, &info);
	printf("accepted: %u instructions, %u of %u accesses proved, verified in %.1f us",
	       info.insns, info.proved, info.accesses, info.verify_ns / 1e3);
	if (info.jited)
		printf(", compiled in %.1f us to %u bytes",
		       info.jit_ns / 1e3, info.jit_size);
	printf("\n");
	return 0;
}

static int do_disasm(const struct command *c)
{
	struct bpfvm_opts opts = { .helpers = helpers, .nr_helpers = 1 };
	struct loaded l = { 0 };
	const struct bpfvm_insn *insns;
	uint32_t nr;
	char text[96];
	int err = get_insns(c, &l, &opts);

	if (err)
		return err;
	insns = (void *)l.insns.at;
	nr = l.insns.len / sizeof(*insns);
	for (uint32_t pc = 0; pc < nr; ) {
		int slots = bpfvm_disasm(insns + pc, nr - pc, pc, text,
					 sizeof(text));

		printf("%4u: %s\n", pc, text);
		pc += slots;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct command c = { .fuel = 1000000000000, .rounds = 100 };
	struct loaded l = { 0 };
	const char *verb = argc > 1 ? argv[1] : "";
	int err;

	if (!strcmp(verb, "help") || !strcmp(verb, "--help")) {
		usage(stdout);
		return 0;
	}
	if (strcmp(verb, "run") && strcmp(verb, "verify") &&
	    strcmp(verb, "disasm") && strcmp(verb, "bench")) {
		usage(stderr);
		return EXIT_USAGE;
	}
	err = parse_options(&c, argc - 1, argv + 1);
	if (err)
		return err;
	if (!strcmp(verb, "disasm"))
		return do_disasm(&c);
	err = load(&c, &l);
	if (err)
		return err;
	if (!strcmp(verb, "run"))
		err = do_run(&c, &l);
	else if (!strcmp(verb, "bench"))
		err = do_bench(&c, &l);
	else
		err = do_verify(&l);
	bpfvm_free(l.prog);
	bpfvm_image_close(l.image);
	return err;
}
