// SPDX-License-Identifier: GPL-2.0
/* blkbpf OBJECT [COMMAND]: finds the command and runs it. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "main.h"

static const struct command help_command, version_command;

static const struct command *const commands[] = {
	&prog_load_command,
	&prog_check_command,
	&prog_list_command,
	&prog_show_command,
	&scan_command,
	&attach_command,
	&detach_command,
	&list_command,
	&tail_command,
	&drive_list_command,
	&drive_show_command,
	&feature_command,
	&version_command,
	&help_command,
};

static void print_help(void)
{
	size_t i;

	printf("Usage: blkbpf [OPTIONS] COMMAND ...\n\n"
	       "Run BPF programs on block devices.\n\nCommands:\n");
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-12s %s\n", commands[i]->name, commands[i]->brief);
	printf("\nOptions of every command:\n");
	print_common_options();
	printf("\n'blkbpf help COMMAND' and 'blkbpf COMMAND --help' explain a command.\n");
}

/*
 * The command that argv names, with the number of words it took; NULL if there
 * is none, with @words 1 if the first word is the first of several commands.
 */
static const struct command *find_command(int argc, char **argv, int *words)
{
	size_t i, len;

	*words = 0;
	for (i = 0; i < ARRAY_SIZE(commands) && argc; i++) {
		const char *name = commands[i]->name;
		const char *space = strchr(name, ' ');

		len = space ? (size_t)(space - name) : strlen(name);
		if (strlen(argv[0]) != len || strncmp(argv[0], name, len))
			continue;
		*words = 1;
		if (!space)
			return commands[i];
		if (argc > 1 && !strcmp(argv[1], space + 1)) {
			*words = 2;
			return commands[i];
		}
	}
	return NULL;
}

/* "prog" alone: the commands it has */
static void print_object_help(const char *object)
{
	size_t i, len = strlen(object);

	printf("Usage: blkbpf [OPTIONS] %s COMMAND ...\n\nCommands:\n", object);
	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strncmp(commands[i]->name, object, len) &&
		    commands[i]->name[len] == ' ')
			printf("  %-12s %s\n", commands[i]->name,
			       commands[i]->brief);
	printf("\nOptions of every command:\n");
	print_common_options();
}

static int run_help(int argc, char **argv)
{
	const struct command *command;
	int words;

	while (next_option(argc, argv) != -1)
		;
	argc -= optind;
	argv += optind;
	if (!argc) {
		print_help();
		return EXIT_OK;
	}
	command = find_command(argc, argv, &words);
	if (command && words == argc)
		print_command_help(command);
	else if (words == 1 && argc == 1)
		print_object_help(argv[0]);
	else
		return fail_usage("there is no command '%s%s%s'", argv[0],
				  argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
	return EXIT_OK;
}

static const struct command help_command = {
	.name = "help",
	.operands = "[COMMAND]",
	.brief = "explain a command",
	.run = run_help,
};

static int run_version(int argc, char **argv)
{
	struct blk_bpf_features features;
	struct json_object *obj;
	bool loaded;

	while (next_option(argc, argv) != -1)
		;
	if (!operands_ok(argc, 0, 0))
		return EXIT_USAGE;
	loaded = !blkbpf_features(&features);
	if (json_output) {
		obj = json_object_new_object();
		json_add_str(obj, "version", blkbpf_version());
		json_add_str(obj, "libbpf", blkbpf_libbpf_version());
		if (loaded)
			json_add_u64(obj, "kernel_abi", features.abi);
		json_print(obj);
		return EXIT_OK;
	}
	printf("blkbpf %s\nlibbpf %s\n", blkbpf_version(),
	       blkbpf_libbpf_version());
	if (loaded)
		printf("kernel ABI %u\n", features.abi);
	else
		printf("kernel ABI unknown (%s)\n", blkbpf_last_error());
	return EXIT_OK;
}

static const struct command version_command = {
	.name = "version",
	.operands = "",
	.brief = "show the versions of the command and of what it uses",
	.run = run_version,
};

static void log_to_stderr(void *ctx, const char *text)
{
	(void)ctx;
	fputs(text, stderr);
}

bool common_option(int key)
{
	switch (key) {
	case 'j':
		json_enable(false);
		return true;
	case 'p':
		json_enable(true);
		return true;
	case 'd':
		blkbpf_set_log(log_to_stderr, NULL);
		return true;
	}
	return false;
}

/* The options in front of the command; returns the index of the first word. */
static int global_options(int argc, char **argv, bool *help, bool *version)
{
	static const struct option longopts[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "pretty", no_argument, NULL, 'p' },
		{ "debug", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{}
	};
	int key;

	opterr = 0;
	while ((key = getopt_long(argc, argv, "+jpdhV", longopts, NULL)) != -1) {
		if (key == 'h')
			*help = true;
		else if (key == 'V')
			*version = true;
		else if (!common_option(key))
			exit(fail_usage("there is no option '%s' in front of a command",
					argv[optind - 1]));
	}
	return optind;
}

/* The words name no command; of "prog" alone there is something to say. */
static int no_command(int argc, char **argv, int words)
{
	if (words && argc == 1)
		return fail_usage("%s: which command?", argv[0]);
	if (words && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		print_object_help(argv[0]);
		return finish_output(EXIT_OK);
	}
	return fail_usage("there is no command '%s%s%s'", argv[0],
			  words ? " " : "", words ? argv[1] : "");
}

int main(int argc, char **argv)
{
	const struct command *command;
	bool help = false, version = false;
	int words;

	words = global_options(argc, argv, &help, &version);
	argc -= words;
	argv += words;
	/* getopt() starts again, in an argv of its own. */
	optind = 0;

	if (help || version) {
		/* "blkbpf --help scan" is "blkbpf help scan" */
		argc++;
		argv--;
		argv[0] = help ? "help" : "version";
	}
	if (!argc)
		return fail_usage("which command?");
	command = find_command(argc, argv, &words);
	if (!command)
		return no_command(argc, argv, words);
	run_command_is(command);
	return finish_output(command->run(argc - words + 1, argv + words - 1));
}
