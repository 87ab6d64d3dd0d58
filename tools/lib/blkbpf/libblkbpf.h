/* SPDX-License-Identifier: GPL-2.0 */
/*
 * libblkbpf: load, attach and scan with BPF programs for block devices.
 *
 * Conventions:
 * - A function that returns int returns 0 (or what its text says) on success
 *   and a negative errno on failure; one that returns a pointer returns NULL.
 *   Both set errno, and both leave a sentence in blkbpf_last_error() that names
 *   the object, the cause and the mend.
 * - Options come in structs that begin with their own size; fill them with a
 *   designated initialiser: { .sz = sizeof(opts), ... }. What is left out is 0.
 * - An object and its programs are used by one thread at a time. Scans with one
 *   program may run in several threads at once.
 */
#ifndef LIBBLKBPF_H
#define LIBBLKBPF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/blk_bpf.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LIBBLKBPF_API __attribute__((visibility("default")))

#define LIBBLKBPF_MAJOR_VERSION 0
#define LIBBLKBPF_MINOR_VERSION 1

/*
 * Targets: the places where programs run. "kernel" is the running kernel with
 * its module; "user" is the calling process, which needs neither privilege nor
 * module. NULL means "kernel" wherever a target is named.
 */

/**
 * blkbpf_target_next - walk over the names of the targets
 * @prev: NULL for the first
 *
 * Return: a name, or NULL after the last.
 */
LIBBLKBPF_API const char *blkbpf_target_next(const char *prev);

/* Where the library and the command keep their pins. */
#define BLKBPF_PIN_ROOT		"/sys/fs/bpf/blkbpf"
#define BLKBPF_PIN_ATTACH	BLKBPF_PIN_ROOT "/attach"

/**
 * blkbpf_version - "MAJOR.MINOR" of the library that is running
 */
LIBBLKBPF_API const char *blkbpf_version(void);

/**
 * blkbpf_libbpf_version - "MAJOR.MINOR" of the libbpf that it was built with
 */
LIBBLKBPF_API const char *blkbpf_libbpf_version(void);

/**
 * blkbpf_last_error - why the calling thread's last call failed
 *
 * Return: a sentence without a newline, valid until the thread's next call into
 * the library; "" if nothing failed yet.
 */
LIBBLKBPF_API const char *blkbpf_last_error(void);

/**
 * blkbpf_log_fn - receives libbpf's messages and the verifier's log, in full
 * @ctx:  as given to blkbpf_set_log()
 * @text: one message, newline included; a verifier's log has many lines
 */
typedef void (*blkbpf_log_fn)(void *ctx, const char *text);

/**
 * blkbpf_set_log - pass on what libbpf prints
 * @fn:  NULL (the default) for silence: errors reach the caller by
 *	 blkbpf_last_error() either way
 * @ctx: handed to @fn
 *
 * For the whole process; call it before there are threads. A process that uses
 * libbpf as well must leave libbpf_set_print() alone, or the reasons for refusals
 * are lost.
 */
LIBBLKBPF_API void blkbpf_set_log(blkbpf_log_fn fn, void *ctx);

/*
 * Objects: a BPF object file, its global variables and programs
 */

struct blkbpf_object;
struct blkbpf_prog;

/**
 * blkbpf_object__open - read a BPF object file
 * @path: the file
 *
 * Needs no privilege and no kernel module. A file without a struct_ops map of
 * type blk_bpf_ops is refused. A program whose .name is empty gets the first 15
 * characters of its variable's name.
 *
 * Return: the object, or NULL with errno set.
 */
LIBBLKBPF_API struct blkbpf_object *blkbpf_object__open(const char *path);

/**
 * struct blkbpf_expr_opts - of what records an expression speaks
 * @sz:     sizeof(struct blkbpf_expr_opts)
 * @record: bytes of a record, 1 to BLK_BPF_UNIT_MAX; 0: the size of @type
 * @layout: a file with BTF, an object file or the BTF alone, whose @type names
 *	    fields; NULL: the expression says offsets
 * @type:   "struct NAME", "union NAME", or the name of a typedef
 * @column: receives where the expression is wrong, from 1; 0 if that is not what
 *	    is wrong. May be NULL
 */
struct blkbpf_expr_opts {
	size_t sz;
	uint32_t record;
	const char *layout;
	const char *type;
	size_t *column;
};

/**
 * blkbpf_object__where - make a program of an expression
 * @expr: over the fields of a record; blkbpf-scan(8) has the grammar
 * @opts: see there; the size of a record has to come from somewhere
 *
 * The object is like one that was opened: it has one program, "where", which
 * emits the records that the expression is true for, and no variables. Its
 * instructions are the same for every target. A scan leaves its unit as it is.
 *
 * Return: the object, or NULL with errno set: EINVAL for an expression that is
 * not understood.
 */
LIBBLKBPF_API struct blkbpf_object *
blkbpf_object__where(const char *expr, const struct blkbpf_expr_opts *opts);

/**
 * blkbpf_object__match - make a program that searches for bytes
 * @what: a text; or "hex:" and pairs of hexadecimal digits; or "text:" and a text
 *	  that begins like one of these. 1 to 64 bytes
 *
 * As blkbpf_object__where(); the program, "match", emits every place where the
 * bytes begin, also where they reach into the next unit.
 *
 * Return: the object, or NULL with errno set.
 */
LIBBLKBPF_API struct blkbpf_object *blkbpf_object__match(const char *what);

/**
 * blkbpf_object__close - free an object and its programs
 * @obj: may be NULL
 *
 * What was pinned or is attached stays.
 */
LIBBLKBPF_API void blkbpf_object__close(struct blkbpf_object *obj);

/**
 * blkbpf_object__set - give a global variable its value, before the load
 * @obj:   an object that is not loaded yet
 * @var:   name of a variable in .rodata, .data or .bss
 * @value: text, read by the variable's type:
 *	   integers: decimal, 0x hexadecimal or 0 octal, checked for range;
 *	   bool: true, false, 1, 0, yes, no, on, off;
 *	   enums: one of the names, or a number;
 *	   arrays of one-byte integers: the text itself, or "hex:" and pairs of
 *	   hexadecimal digits, or "text:" and text that begins like one of these.
 *
 * The rest of an array becomes zero. If there is an integer NAME_len beside an
 * array NAME, it gets the number of bytes that were given, unless it is set by
 * itself. A char array without it must have room for a terminating NUL.
 *
 * Return: 0; -ENOENT if there is no such variable, -EINVAL if the type cannot
 * be set or the value is not of that type, -ERANGE if it does not fit, -EBUSY
 * if the object is loaded.
 */
LIBBLKBPF_API int blkbpf_object__set(struct blkbpf_object *obj, const char *var,
				     const char *value);

/**
 * blkbpf_object__load - verify and load into the kernel
 * @obj: an object that is not loaded yet
 *
 * Afterwards all programs are ready to scan and to attach. They share the global
 * variables of the object; load a second object for a second set. An object
 * whose load failed can only be closed.
 *
 * Return: 0; -EPERM without CAP_SYS_ADMIN, -ENODEV without the kernel module,
 * or what the kernel refused it with: blkbpf_last_error() has its sentence.
 */
LIBBLKBPF_API int blkbpf_object__load(struct blkbpf_object *obj);

/**
 * blkbpf_object__load_on - verify and make ready on a target
 * @obj:    an object that is not loaded yet
 * @target: where; NULL: as blkbpf_object__load()
 *
 * On "user" the programs are verified by the library's own engine and compiled
 * for this machine; they can scan, and can neither be pinned nor attached. The
 * same holds for their global variables as for those in the kernel.
 *
 * On a drive, "csd0" and the others that blkbpf_drives() finds, the programs are
 * loaded into the kernel first, whose verifier has to accept them; a scan
 * downloads them. "auto" means the drive that has the data when a scan begins,
 * and the kernel if there is none, or from where the drive fails: the answer is
 * the same, and blkbpf_scan_result.path says what became of it.
 *
 * Return: 0; -ENOENT or -EOPNOTSUPP if there is no such target, and as
 * blkbpf_object__load().
 */
LIBBLKBPF_API int blkbpf_object__load_on(struct blkbpf_object *obj,
					 const char *target);

/**
 * blkbpf_object__next_prog - walk over the programs, in the order of the file
 * @obj:  the object
 * @prev: NULL for the first
 *
 * Return: a program that belongs to @obj, or NULL after the last.
 */
LIBBLKBPF_API struct blkbpf_prog *
blkbpf_object__next_prog(const struct blkbpf_object *obj,
			 const struct blkbpf_prog *prev);

/**
 * blkbpf_object__find_prog - choose a program
 * @obj:  the object
 * @name: the program's .name or the name of its variable; NULL if there can be
 *	  only one
 *
 * Return: a program that belongs to @obj, or NULL; with errno ENOENT if there is
 * none of that name, EINVAL if @name is NULL and there are several.
 */
LIBBLKBPF_API struct blkbpf_prog *
blkbpf_object__find_prog(const struct blkbpf_object *obj, const char *name);

/* What blkbpf_prog__check() finds. */
enum blkbpf_verdict {
	BLKBPF_RUNS	 = 0,	/* it would be loaded here */
	BLKBPF_REFUSED	 = 1,	/* it would not: there are obstacles */
	BLKBPF_UNCHECKED = 2,	/* nothing is in the way, but not all was checked */
};

/**
 * struct blkbpf_obstacle - what keeps a program from running on a target
 * @reason:  a sentence
 * @section: of the object file, of the instruction at fault; NULL if it is none,
 *	     and then the others are NULL or 0 too
 * @off:     where the instruction is in the section (bytes)
 * @insn:    the instruction in words, or NULL
 * @file:    of the source, from the object's debug information; NULL without
 * @line:    in @file, from 1
 * @text:    that line
 */
struct blkbpf_obstacle {
	const char *reason;
	const char *section;
	uint64_t off;
	const char *insn;
	const char *file;
	uint32_t line;
	const char *text;
};

/**
 * blkbpf_prog__check - find out whether a program runs on a target
 * @prog:   of an object that is not loaded
 * @target: where
 * @fn:     called for each obstacle, and for what could not be checked; another
 *	    value than 0 ends the check. May be NULL
 * @ctx:    handed to @fn
 *
 * Needs no privilege and no kernel module; what only these could tell is left
 * unchecked. The object stays as it is.
 *
 * Return: enum blkbpf_verdict, what @fn returned, or a negative errno.
 */
LIBBLKBPF_API int
blkbpf_prog__check(struct blkbpf_prog *prog, const char *target,
		   int (*fn)(void *ctx, const struct blkbpf_obstacle *obstacle),
		   void *ctx);

/**
 * struct blkbpf_value - a part of a global variable
 * @path: "var", "var.member", "var[3].member"
 * @type: BLKBPF_VALUE_*; the last three come from blkbpf_object__globals_tree()
 *	  alone
 * @u:    unsigned value, or a bool
 * @s:    signed value
 * @name: name of an enum's value, or NULL
 * @bytes: of a one-byte integer array, which is one leaf
 * @len:  length of @bytes
 * @member: name of the variable or the member, as in @path; NULL for an element
 *	    of an array
 * @type_name: as C has it: "__u64", "struct point", "unsigned char[4]", or
 *	       "unsigned int:3" for a bit-field; a struct without a name is "struct"
 *
 * All of it is the library's, and valid during the call.
 */
struct blkbpf_value {
	const char *path;
	enum {
		BLKBPF_VALUE_UNSIGNED,
		BLKBPF_VALUE_SIGNED,
		BLKBPF_VALUE_BOOL,
		BLKBPF_VALUE_ENUM,
		BLKBPF_VALUE_BYTES,
		BLKBPF_VALUE_STRUCT,	/* or a union: its members follow */
		BLKBPF_VALUE_ARRAY,	/* its elements follow */
		BLKBPF_VALUE_END,	/* of the last struct or array that began */
	} type;
	uint64_t u;
	int64_t s;
	const char *name;
	const unsigned char *bytes;
	size_t len;
	const char *member;
	const char *type_name;
};

/**
 * blkbpf_object__globals - read the global variables as they are now
 * @obj: opened: the initial values; loaded: live ones
 * @fn:  called for each leaf; another value than 0 ends the walk
 * @ctx: handed to @fn
 *
 * Members of an unnamed struct belong to the one that it lies in. Pointers, floats
 * and integers of more than 64 bits are left out.
 *
 * Return: 0, what @fn returned, or a negative errno.
 */
LIBBLKBPF_API int blkbpf_object__globals(const struct blkbpf_object *obj,
					 int (*fn)(void *ctx,
						   const struct blkbpf_value *v),
					 void *ctx);

/**
 * blkbpf_object__globals_tree - read the global variables, nested as they are
 * @obj: as for blkbpf_object__globals()
 * @fn:  called for each leaf, and where a struct or an array begins and ends
 * @ctx: handed to @fn
 *
 * Return: as blkbpf_object__globals().
 */
LIBBLKBPF_API int
blkbpf_object__globals_tree(const struct blkbpf_object *obj,
			    int (*fn)(void *ctx, const struct blkbpf_value *v),
			    void *ctx);

/**
 * blkbpf_object__reset - put the variables back to what they were when loaded
 * @obj: loaded, and none of its programs runs
 *
 * For another scan with the same programs.
 *
 * Return: 0, -EINVAL if it is not loaded.
 */
LIBBLKBPF_API int blkbpf_object__reset(struct blkbpf_object *obj);

/*
 * Programs: one loaded struct_ops map of type blk_bpf_ops each
 */

/**
 * blkbpf_prog__open_pinned - use a program that is pinned in bpffs
 * @path: of the pin
 *
 * Permission to read the file is enough for scans.
 *
 * Return: a program to close with blkbpf_prog__close(), or NULL.
 */
LIBBLKBPF_API struct blkbpf_prog *blkbpf_prog__open_pinned(const char *path);

/**
 * blkbpf_prog__open_id - use a loaded program by the id of its map
 * @id: as in blkbpf_prog_info; needs CAP_SYS_ADMIN
 *
 * Return: a program to close with blkbpf_prog__close(), or NULL.
 */
LIBBLKBPF_API struct blkbpf_prog *blkbpf_prog__open_id(uint32_t id);

/**
 * blkbpf_prog__close - close what blkbpf_prog__open_*() returned
 * @prog: may be NULL; a program of an object is left to its object
 */
LIBBLKBPF_API void blkbpf_prog__close(struct blkbpf_prog *prog);

/**
 * blkbpf_prog__name - .name of one from an object, else the pin's or the id
 * @prog: the program
 */
LIBBLKBPF_API const char *blkbpf_prog__name(const struct blkbpf_prog *prog);

/**
 * blkbpf_prog__fd - file descriptor of the struct_ops map, owned by @prog
 * @prog: the program
 *
 * Return: the descriptor, or -EINVAL if its object is not loaded.
 */
LIBBLKBPF_API int blkbpf_prog__fd(const struct blkbpf_prog *prog);

/**
 * blkbpf_prog__pin - keep a loaded program beyond the end of the process
 * @prog: the program
 * @path: a new file in bpffs; missing directories are made
 *
 * Return: 0; -EEXIST, -EPERM, or -EINVAL if @path is not in a bpffs.
 */
LIBBLKBPF_API int blkbpf_prog__pin(const struct blkbpf_prog *prog,
				   const char *path);

/* What blkbpf_prog__dump() writes. */
enum blkbpf_dump {
	BLKBPF_DUMP_BPF,	/* instructions, in words */
	BLKBPF_DUMP_C,		/* C that does the same, of an expression's program */
};

/**
 * blkbpf_prog__dump - show a program
 * @prog:   of an object
 * @format: what to write
 *
 * Return: a text to free(), or NULL.
 */
LIBBLKBPF_API char *blkbpf_prog__dump(struct blkbpf_prog *prog,
				      enum blkbpf_dump format);

/**
 * struct blkbpf_prog_info - a loaded program
 * @id:          of its struct_ops map
 * @prog_id:     of the BPF program that is its filter
 * @unit:        bytes a call
 * @overlap:     bytes after the unit that it may see
 * @ready:       it can scan and be attached
 * @run_cnt:     calls, while bpf statistics are on (sysctl
 *		 kernel.bpf_stats_enabled)
 * @run_time_ns: time in those calls
 * @name:        blk_bpf_ops.name
 */
struct blkbpf_prog_info {
	uint32_t id;
	uint32_t prog_id;
	uint32_t unit;
	uint32_t overlap;
	bool ready;
	uint64_t run_cnt;
	uint64_t run_time_ns;
	char name[BLK_BPF_NAME_LEN];
};

/**
 * blkbpf_prog__info - ask the kernel about a loaded program
 * @prog: the program
 * @info: filled
 *
 * Needs CAP_SYS_ADMIN. Return: 0 or a negative errno.
 */
LIBBLKBPF_API int blkbpf_prog__info(const struct blkbpf_prog *prog,
				    struct blkbpf_prog_info *info);

/**
 * blkbpf_progs - all loaded programs
 * @infos: receives an array to free()
 * @nr:    receives its length
 *
 * Needs CAP_SYS_ADMIN. Return: 0 or a negative errno.
 */
LIBBLKBPF_API int blkbpf_progs(struct blkbpf_prog_info **infos, size_t *nr);

/*
 * Pins
 */

/**
 * struct blkbpf_pin - a file in a mounted bpffs
 * @is_link: a bpf_link; else a map
 * @id:      of the link or map
 * @path:    of the file
 */
struct blkbpf_pin {
	bool is_link;
	uint32_t id;
	char *path;
};

/**
 * blkbpf_pins - find what is pinned
 * @pins: receives an array to free with blkbpf_pins_free()
 * @nr:   receives its length
 *
 * Pins that may not be read are left out. Return: 0 or a negative errno.
 */
LIBBLKBPF_API int blkbpf_pins(struct blkbpf_pin **pins, size_t *nr);
LIBBLKBPF_API void blkbpf_pins_free(struct blkbpf_pin *pins, size_t nr);

/*
 * Block devices
 */

/**
 * struct blkbpf_dev_info - a block device
 * @size:       bytes
 * @block_size: bytes of a logical block
 * @major:      of the device number
 * @minor:      of the device number
 */
struct blkbpf_dev_info {
	uint64_t size;
	uint32_t block_size;
	uint32_t major;
	uint32_t minor;
};

/**
 * blkbpf_target_open - open what a target can scan
 * @target: the target; "user" takes regular files too
 * @path:   of the device or file
 * @info:   filled if not NULL; of a file with blocks of 512 bytes and no device
 *	    number
 *
 * Return: a file descriptor to close(), or a negative errno.
 */
LIBBLKBPF_API int blkbpf_target_open(const char *target, const char *path,
				     struct blkbpf_dev_info *info);

/**
 * blkbpf_dev_open - open a block device for reading
 * @path: of its node
 * @info: filled if not NULL
 *
 * Return: a file descriptor to close(), or a negative errno: -ENOENT, -ENOTBLK,
 * -EACCES, ...
 */
LIBBLKBPF_API int blkbpf_dev_open(const char *path,
				  struct blkbpf_dev_info *info);

/*
 * Scan
 */

/* How a scan ended; the first are those of enum blk_bpf_scan_status. */
enum blkbpf_scan_end {
	BLKBPF_SCAN_DONE	= BLK_BPF_SCAN_DONE,
	BLKBPF_SCAN_STOPPED	= BLK_BPF_SCAN_STOPPED,
	BLKBPF_SCAN_INTERRUPTED	= BLK_BPF_SCAN_INTERRUPTED, /* by opts.stop */
	BLKBPF_SCAN_LIMIT	= 16,	/* opts.limit matches were delivered */
};

/**
 * struct blkbpf_scan_result - what a scan did
 * @sz:      sizeof(struct blkbpf_scan_result), set by the caller
 * @status:  enum blkbpf_scan_end; of an unfinished or failed scan meaningless
 * @cursor:  where to go on
 * @matches: delivered, or counted
 * @done:    bytes of the ranges that are done
 * @total:   bytes of the ranges
 * @stats:   of the whole scan, with the same meaning on every target
 * @insns:   BPF instructions executed, on targets that count them; else 0
 * @path:    the target, and how it read: "user: io_uring, O_DIRECT"
 * @link:    what crossed the link to a drive; zero but for .path and .cpu_ns on
 *	     "kernel", and zero on "user"
 */
struct blkbpf_scan_result {
	size_t sz;
	uint32_t status;
	struct blk_bpf_cursor cursor;
	uint64_t matches;
	uint64_t done;
	uint64_t total;
	struct blk_bpf_scan_stats stats;
	uint64_t insns;
	char path[160];
	struct blk_bpf_scan_path link;
};

/**
 * struct blkbpf_scan_opts - how to scan
 * @sz:        sizeof(struct blkbpf_scan_opts)
 * @target:    where the program is loaded, which is where it runs; NULL says the
 *	       same
 * @ranges:    ranges to scan, in this order; NULL: the whole device
 * @nr_ranges: length of @ranges
 * @unit:      bytes a call, 0: the program's
 * @threads:   most CPUs to use, 0: the target chooses
 * @args:      for blk_bpf_ctx.args
 * @limit:     end after this many matches, 0: no limit; not with @count
 * @count:     count the matches, deliver none
 * @data:      deliver the bytes of the matches too
 * @cursor:    where to begin: all zero, or blkbpf_scan_result.cursor of an
 *	       earlier scan with the same ranges and unit
 * @match:     receives matches in the order of ranges and positions; @data is
 *	       their bytes, one after the other, or NULL. Another return value
 *	       than 0 ends the scan with it (a negative errno)
 * @progress:  called now and then while the scan goes on: on "kernel" when a
 *	       buffer was full or a signal arrived, so that a caller who wants it
 *	       regularly sets an interval timer; on "user" about twice a second.
 *	       As @match
 * @ctx:       handed to @match, @progress and @trace
 * @stop:      looked at when a signal arrived, and now and then: the scan ends
 *	       when it is not 0; a signal handler can set it
 * @buffered:  read through the page cache (target "user")
 * @trace:     receives lines that tell what a call did that ended the scan with
 *	       an error of the program: the unit, the last branches, the
 *	       instruction and its line of source, the registers (target "user").
 *	       The scan then runs on one thread, and slower
 * @devs:      devices to scan by the same ranges, in this order, instead of the
 *	       one; not on "user". blk_bpf_match.dev tells them apart
 * @nr_devs:   length of @devs, 0: the one
 */
struct blkbpf_scan_opts {
	size_t sz;
	const char *target;
	const struct blk_bpf_range *ranges;
	size_t nr_ranges;
	uint32_t unit;
	uint32_t threads;
	uint64_t args[BLK_BPF_NR_ARGS];
	uint64_t limit;
	bool count;
	bool data;
	struct blk_bpf_cursor cursor;
	int (*match)(void *ctx, const struct blk_bpf_match *matches, size_t nr,
		     const void *data);
	int (*progress)(void *ctx, const struct blkbpf_scan_result *so_far);
	void *ctx;
	const volatile int *stop;
	bool buffered;
	void (*trace)(void *ctx, const char *line);
	const int *devs;
	size_t nr_devs;
};

/**
 * blkbpf_scan - run a program over a block device, or a file
 * @prog:   a loaded program
 * @dev_fd: of blkbpf_target_open() for the target that the program is loaded on,
 *	    or of another open for reading
 * @opts:   NULL: the whole device, no matches delivered
 * @result: filled also if the scan fails; may be NULL
 *
 * No privilege beyond the two descriptors is needed. What was found before an
 * error has been delivered when the error is returned.
 *
 * The answer is the same on every target, byte for byte, and so are the errors.
 * But for -EFAULT, that the program reached outside of its memory: on "user" a
 * program can that the kernel's verifier would not have taken, and on a drive one
 * that its engine does not run as that verifier understood it.
 *
 * Return: 0, what a callback returned, or a negative errno as listed for
 * BLK_BPF_IOC_SCAN.
 */
LIBBLKBPF_API int blkbpf_scan(const struct blkbpf_prog *prog, int dev_fd,
			      const struct blkbpf_scan_opts *opts,
			      struct blkbpf_scan_result *result);

/*
 * Drives
 */

/**
 * struct blkbpf_attr - something that a drive says of itself
 * @name:  of the attribute, as in /sys/class/csd/csdN
 * @value: its text
 */
struct blkbpf_attr {
	char *name;
	char *value;
};

/**
 * struct blkbpf_drive - a drive that runs programs
 * @name:     "csd0": a target
 * @attrs:    in order of name
 * @nr_attrs: length of @attrs
 */
struct blkbpf_drive {
	char *name;
	struct blkbpf_attr *attrs;
	size_t nr_attrs;
};

/**
 * blkbpf_drives - find the drives that run programs
 * @drives: receives an array to free with blkbpf_drives_free(), in order of name
 * @nr:     receives its length; 0 also if the kernel module is not loaded
 *
 * Needs no privilege. Return: 0 or a negative errno.
 */
LIBBLKBPF_API int blkbpf_drives(struct blkbpf_drive **drives, size_t *nr);
LIBBLKBPF_API void blkbpf_drives_free(struct blkbpf_drive *drives, size_t nr);

/**
 * blkbpf_drive__attr - one of the things that a drive says
 * @drive: the drive
 * @name:  of the attribute
 *
 * Return: its text, or NULL if there is none of this name.
 */
LIBBLKBPF_API const char *blkbpf_drive__attr(const struct blkbpf_drive *drive,
					     const char *name);

/*
 * Attach
 */

/**
 * struct blkbpf_attach_opts - how to attach
 * @sz:       sizeof(struct blkbpf_attach_opts)
 * @flags:    BLK_BPF_ATTACH_*
 * @priority: programs of a device run by rising priority
 * @args:     for blk_bpf_ctx.args
 * @budget_ns: how long a call may take, or 0: see struct blk_bpf_attach
 */
struct blkbpf_attach_opts {
	size_t sz;
	uint32_t flags;
	int32_t priority;
	uint64_t args[BLK_BPF_NR_ARGS];
	uint64_t budget_ns;
};

/**
 * blkbpf_attach - run a program on the live I/O of a block device
 * @prog:   a loaded program
 * @dev_fd: the block device
 * @opts:   may be NULL
 * @id:     receives the attachment's id, if not NULL
 *
 * Needs CAP_SYS_ADMIN. The attachment lives as long as the link that is
 * returned: until the descriptor is closed, or, once that is pinned with
 * blkbpf_link_pin(), until blkbpf_detach().
 *
 * Return: file descriptor of the link, to close(); or a negative errno as listed
 * for BLK_BPF_IOC_ATTACH.
 */
LIBBLKBPF_API int blkbpf_attach(const struct blkbpf_prog *prog, int dev_fd,
				const struct blkbpf_attach_opts *opts,
				uint32_t *id);

/**
 * blkbpf_link_pin - keep an attachment beyond the end of the process
 * @link_fd: from blkbpf_attach()
 * @path:    a new file in bpffs; missing directories are made
 *
 * Return: 0; -EEXIST, -EPERM, or -EINVAL if @path is not in a bpffs.
 */
LIBBLKBPF_API int blkbpf_link_pin(int link_fd, const char *path);

/**
 * blkbpf_detach - end an attachment and remove the pins of its link
 * @id: the attachment
 *
 * When it returns 0, the program does not run any more, and if it was the last
 * one on its disk, the bios that were hooked for it have come back.
 *
 * Needs CAP_SYS_ADMIN. Return: 0; -ENOENT if there is no such attachment.
 */
LIBBLKBPF_API int blkbpf_detach(uint32_t id);

/**
 * blkbpf_attachments - the attachments and their counters
 * @entries: receives an array to free(), in order of id
 * @nr:      receives its length
 *
 * Needs CAP_SYS_ADMIN. Return: 0 or a negative errno.
 */
LIBBLKBPF_API int blkbpf_attachments(struct blk_bpf_attachment **entries,
				     size_t *nr);

/**
 * blkbpf_missed - where an attachment saw less than there was
 * @id:      the attachment
 * @extents: receives an array to free(), in order of position
 * @nr:      receives its length
 *
 * Needs CAP_SYS_ADMIN. Return: 0; -ENOENT if there is no such attachment.
 */
LIBBLKBPF_API int blkbpf_missed(uint32_t id, struct blk_bpf_range **extents,
				size_t *nr);

/**
 * blkbpf_stream_open - follow the matches of an attachment
 * @id:      the attachment
 * @entries: events to buffer, 0: 4096
 *
 * Needs CAP_SYS_ADMIN. poll() works on the descriptor, read() returns struct
 * blk_bpf_event, and 0 after BLK_BPF_EVENT_END.
 *
 * Return: a file descriptor to close(); -ENOENT if there is no such attachment,
 * -EINVAL for too many @entries.
 */
LIBBLKBPF_API int blkbpf_stream_open(uint32_t id, uint32_t entries);

/**
 * blkbpf_stream_read - wait for events
 * @fd:     from blkbpf_stream_open()
 * @events: filled
 * @nr:     room in @events
 *
 * Return: events read, 0 after the end, or a negative errno: -EINTR for a
 * signal, -EAGAIN if there are none and @fd does not block.
 */
LIBBLKBPF_API ssize_t blkbpf_stream_read(int fd, struct blk_bpf_event *events,
					 size_t nr);

/**
 * blkbpf_features - what the running kernel module can do
 * @features: filled
 *
 * Return: 0; -ENODEV without the kernel module.
 */
LIBBLKBPF_API int blkbpf_features(struct blk_bpf_features *features);

#ifdef __cplusplus
}
#endif

#endif /* LIBBLKBPF_H */
