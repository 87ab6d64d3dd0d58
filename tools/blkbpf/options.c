// SPDX-License-Identifier: GPL-2.0
/* One table an option: getopt and the help text are made from it. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "main.h"

static const struct opt common_opts[] = {
	{ 'j', "json", NULL, "print JSON, errors too" },
	{ 'p', "pretty", NULL, "print JSON, indented" },
	{ 'd', "debug", NULL, "print all that libbpf and the verifier say" },
	{ 'h', "help", NULL, "print this" },
	{}
};

static const struct command *running;

void run_command_is(const struct command *command)
{
	running = command;
}

const char *running_command(void)
{
	return running ? running->name : NULL;
}

static void add_opts(const struct opt *opts, struct option **longopts,
		     char **shortopts)
{
	for (; opts && opts->name; opts++) {
		*(*longopts)++ = (struct option) {
			.name = opts->name,
			.has_arg = opts->arg ? required_argument : no_argument,
			.val = opts->key,
		};
		if (opts->key >= OPT_LONG)
			continue;
		*(*shortopts)++ = opts->key;
		if (opts->arg)
			*(*shortopts)++ = ':';
	}
}

static size_t count_opts(const struct opt *opts)
{
	size_t nr = 0;

	while (opts && opts[nr].name)
		nr++;
	return nr;
}

int next_option(int argc, char **argv)
{
	static struct option *longopts;
	static char *shortopts;
	int key;

	if (!longopts) {
		size_t nr = count_opts(common_opts) + count_opts(running->opts);
		struct option *lo;
		char *so;

		lo = longopts = must(calloc(nr + 1, sizeof(*longopts)));
		so = shortopts = must(calloc(nr + 1, 2));
		/* a missing argument is ':', not '?' */
		*so++ = ':';
		add_opts(common_opts, &lo, &so);
		add_opts(running->opts, &lo, &so);
		opterr = 0;
	}
	for (;;) {
		/* at the first of several letters it still is the one before */
		int at = optind ? optind : 1;

		key = getopt_long(argc, argv, shortopts, longopts, NULL);
		if (key == 'h') {
			print_command_help(running);
			exit(finish_output(EXIT_OK));
		}
		if (key == ':')
			exit(fail_usage("%s: option '%s' needs an argument",
					running->name, argv[optind - 1]));
		if (key == '?')
			exit(fail_usage("%s: there is no option '%s'",
					running->name,
					optopt && optopt < OPT_LONG ? argv[at] :
					argv[optind - 1]));
		if (!common_option(key))
			return key;
	}
}

bool operands_ok(int argc, int min, int max)
{
	int nr = argc - optind;

	if (nr >= min && (nr <= max || max < 0))
		return true;
	if (nr < min)
		fail_usage("%s: something is missing: it takes %s",
			   running->name, running->operands);
	else if (max)
		fail_usage("%s: there is too much: it takes %s",
			   running->name, running->operands);
	else
		fail_usage("%s: it takes no arguments", running->name);
	return false;
}

static void print_opts(const struct opt *opts)
{
	const char *line, *end;
	char left[40];

	for (; opts && opts->name; opts++) {
		snprintf(left, sizeof(left), "%s%c%s--%s%s%s",
			 opts->key < OPT_LONG ? "-" : " ",
			 opts->key < OPT_LONG ? opts->key : ' ',
			 opts->key < OPT_LONG ? ", " : "  ",
			 opts->name, opts->arg ? " " : "",
			 opts->arg ? opts->arg : "");
		for (line = opts->help; line; line = end ? end + 1 : NULL) {
			end = strchr(line, '\n');
			printf("  %-26s %.*s\n", left,
			       end ? (int)(end - line) : (int)strlen(line), line);
			left[0] = '\0';
		}
	}
}

void print_common_options(void)
{
	print_opts(common_opts);
}

void print_command_help(const struct command *command)
{
	printf("Usage: blkbpf %s%s%s%s\n\n", command->name,
	       command->opts ? " [OPTIONS]" : "",
	       *command->operands ? " " : "", command->operands);
	/* A sentence with a capital of its own. */
	printf("%c%s.\n", command->brief[0] - 'a' + 'A', command->brief + 1);
	if (command->opts) {
		printf("\nOptions:\n");
		print_opts(command->opts);
	}
	printf("\nOptions of every command:\n");
	print_common_options();
}
