/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the blkbpf command share. */
#ifndef BLKBPF_MAIN_H
#define BLKBPF_MAIN_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <libblkbpf.h>

/* Exit codes; blkbpf(8) documents them. */
enum {
	EXIT_OK		 = 0,
	EXIT_FAILED	 = 1,
	EXIT_USAGE	 = 2,
	EXIT_INTERRUPTED = 3,
};

/**
 * struct opt - an option of a command
 * @key:  what next_option() returns; a printable character is the short form too
 * @name: the long form
 * @arg:  its argument for the help text, or NULL
 * @help: one or more lines
 */
struct opt {
	int key;
	const char *name;
	const char *arg;
	const char *help;
};

/* Keys of options without a short form start here. */
#define OPT_LONG 256

/**
 * struct command - "blkbpf OBJECT [COMMAND]"
 * @name:     one or two words
 * @operands: for the help text
 * @brief:    what it does, one line
 * @opts:     ends with an empty one; NULL for none
 * @run:      returns the exit code; argv[0] is the command
 */
struct command {
	const char *name;
	const char *operands;
	const char *brief;
	const struct opt *opts;
	int (*run)(int argc, char **argv);
};

extern const struct command attach_command, detach_command, drive_list_command,
	drive_show_command, feature_command,
	list_command, prog_check_command, prog_list_command, prog_load_command,
	prog_show_command,
	scan_command, tail_command;

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

extern bool json_output;

/* options.c */

/*
 * The next option of the running command, or -1 after the last; a wrong one
 * ends the process with EXIT_USAGE. Operands may come before options.
 */
int next_option(int argc, char **argv);
/* Check the number of operands: argv[optind]... */
bool operands_ok(int argc, int min, int max);
void run_command_is(const struct command *command);
const char *running_command(void);	/* NULL before it is known */
void print_command_help(const struct command *command);
void print_common_options(void);

/* main.c */

/* Take one of the options that every command has. */
bool common_option(int key);

/* output.c */

void json_enable(bool pretty);
void json_print(struct json_object *value);	/* frees it */
const char *json_text(struct json_object *value);
struct json_object *json_bytes_hex(const unsigned char *bytes, size_t len);
void json_add(struct json_object *obj, const char *key, struct json_object *val);
void json_add_u64(struct json_object *obj, const char *key, uint64_t value);
void json_add_str(struct json_object *obj, const char *key, const char *value);

/* Print an error and return the exit code for it. */
int fail(int err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int fail_library(void);
int fail_usage(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));
/* Flush stdout: an error that only shows there must not be lost. */
int finish_output(int status);
void *must(void *memory);

/* parse.c */

/* Numbers, decimal or 0x; the sizes with a K, M, G or T for powers of 1024. */
bool parse_u64(const char *text, uint64_t *value);
bool parse_size(const char *text, uint64_t *value);
/* A number with ns, us, ms or s; in nanoseconds. */
bool parse_time(const char *text, uint64_t *ns);
bool parse_s32(const char *text, int32_t *value);
bool parse_u32(const char *text, uint32_t *value);
bool is_number(const char *text);
bool is_in_bpffs(const char *path);
/* "N=V" of --arg; prints the error */
bool parse_arg(const char *text, uint64_t args[BLK_BPF_NR_ARGS]);

/* open.c */

/**
 * struct prog_choice - a program and its variables, as given by options
 * @set:    texts of --set, "VAR=VALUE"
 * @nr:     length of @set
 * @name:   of --program, or NULL
 * @target: of --on, or NULL for the kernel
 */
struct prog_choice {
	const char **set;
	size_t nr;
	const char *name;
	const char *target;
};

struct opened_prog {
	struct blkbpf_object *obj;	/* NULL unless from an object file */
	struct blkbpf_prog *prog;
};

bool is_kernel(const char *target);
bool choice_add_set(struct prog_choice *choice, const char *text);
/* Open a file and set its variables; prints the error. */
struct blkbpf_object *open_object(const char *path,
				  const struct prog_choice *choice);
/*
 * A pin, an id, a name, or an object file, which is loaded on the target; only
 * the kernel has anything but files. Prints the error and
 * returns the exit code for it.
 */
int open_prog(const char *spec, const struct prog_choice *choice,
	      struct opened_prog *opened);
/* As open_prog(), of an object that is there; which it closes if that fails. */
int open_prog_of(struct blkbpf_object *obj, const struct prog_choice *choice,
		 struct opened_prog *opened);
void close_prog(struct opened_prog *opened);
/* Of what open_prog() takes, what can be the name of a program alone. */
bool is_program_name(const char *spec);

/* expr.c */

/**
 * struct expr_choice - a program that is written as an option
 * @where:  of --where, or NULL
 * @match:  of --match, or NULL
 * @layout: of --layout, "FILE:TYPE", or NULL
 * @record: of --record, or 0
 * @dump:   of --dump, "bpf" or "c", or NULL
 */
struct expr_choice {
	const char *where;
	const char *match;
	const char *layout;
	uint32_t record;
	const char *dump;
};

/* NULL after having printed the error. */
struct blkbpf_object *open_expr(const struct expr_choice *choice);
/* Print the program; the exit code. */
int dump_expr(const struct expr_choice *choice);

/* globals.c */

/* "globals", nested as they are, and "types", as C has them. */
void json_add_globals(struct json_object *obj, const struct blkbpf_object *object);
/* One leaf a line. */
void print_globals(const struct blkbpf_object *object);

/* tail.c */

const char *op_name(uint32_t op);

/* list.c */

const char *attachment_state(uint32_t state);
/* Why and where a program was ejected: nothing, unless it was. */
void json_add_exit(struct json_object *obj, const struct blk_bpf_attachment *a);
void print_exit(const struct blk_bpf_attachment *a);
/*
 * The attachments that @which names: an id or a device; NULL for all. Prints
 * the error; an empty result is one unless @which is NULL.
 */
bool find_attachments(const char *which, struct blk_bpf_attachment **entries,
		      size_t *nr);

#endif /* BLKBPF_MAIN_H */
