/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of libblkbpf share. */
#ifndef LIBBLKBPF_INTERNAL_H
#define LIBBLKBPF_INTERNAL_H

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include "../bpfvm/bpfvm_elf.h"
#include "libblkbpf.h"

#define OPS_TYPE "blk_bpf_ops"

struct user_prog;
struct drive_prog;
struct target;

struct blkbpf_prog {
	struct blkbpf_object *obj;	/* NULL for one that was opened by itself */
	struct blkbpf_prog *next;	/* in its object */
	struct bpf_map *map;		/* NULL without an object */
	int fd;				/* -1 unless loaded into the kernel */
	struct user_prog *user;		/* NULL unless loaded on the user target */
	struct drive_prog *drive;	/* NULL unless loaded for a drive */
	char *name;
};

/* A variable that was set by name, so that no companion overwrites it. */
struct set_var {
	struct set_var *next;
	char name[];
};

/**
 * struct memory - a section of global variables, outside of the kernel
 * @next: in the object, whose programs share them
 * @name: of the section
 * @data: at an address of 31 bits where the machine can do that
 * @size: in bytes
 */
struct memory {
	struct memory *next;
	char *name;
	void *data;
	uint32_t size;
	bool rdonly;
};

/* What a section of variables held when it was loaded. */
struct saved {
	struct saved *next;
	char *name;
	size_t size;
	unsigned char data[];
};

/**
 * struct blkbpf_object - an object file
 * @path:   for messages
 * @elf:    the file's content, of one that was made in memory; else NULL
 * @c:      the same as C, of one that was made of an expression
 * @fixed_unit: its programs are made for their unit and no other
 * @bpf:    libbpf's view of it
 * @progs:  the programs in it
 * @set:    variables that were set
 * @memory: its variables, once a target outside the kernel needs them
 * @saved:  of the sections that programs can write to
 * @loaded: a load was begun: only once
 * @target: where it is loaded, or NULL
 * @target_name: as the caller called it
 */
struct blkbpf_object {
	char *path;
	void *elf;
	size_t elf_size;
	char *c;
	bool fixed_unit;
	struct bpf_object *bpf;
	struct blkbpf_prog *progs;
	struct set_var *set;
	struct memory *memory;
	struct saved *saved;
	bool loaded;
	const struct target *target;
	char target_name[BLK_BPF_TARGET_LEN];
};

/**
 * struct source_place - where an instruction comes from
 * @file: of the source
 * @line: in it, from 1; 0 if it is not known, and then the others are empty
 * @text: the line, without the space around it
 */
struct source_place {
	char file[256];
	uint32_t line;
	char text[160];
};

/**
 * struct check - what was found out about a program and a target
 * @prog:    the program
 * @target:  the name of the target
 * @verdict: enum blkbpf_verdict
 * @fn:      as given to blkbpf_prog__check()
 * @ctx:     as given
 * @ret:     what @fn returned, if that was not 0: nothing more is told
 * @nr:      obstacles told
 */
struct check {
	const struct blkbpf_prog *prog;
	const char *target;
	int verdict;
	int (*fn)(void *ctx, const struct blkbpf_obstacle *obstacle);
	void *ctx;
	int ret;
	size_t nr;
};

/* error.c */

/* Remember the sentence, set errno; returns -err for err of either sign. */
int blkbpf_err(int err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
bool have_sys_admin(void);

/* log.c */

/* Collect libbpf's messages of this thread until log_end(). */
void log_begin(void);
void log_end(void);
/* What somebody else than libbpf says, to who listens. */
void log_pass(const char *text);
/* What to ask of the kernel's verifier: numbers, if somebody listens; else errors. */
unsigned int log_level(void);
/* The sentences in the collected log that say why: valid until log_end(). */
const char *log_reason(void);
/*
 * The place that the last load's reason ends in, cut off a sentence that was made of
 * that reason; line 0 if there is none. Until the next log_begin().
 */
char *log_take_place(char *reason, struct source_place *place);

/* control.c */

/* Open /dev/blk_bpf; -ENODEV with its sentence if there is none. */
int control_open(void);
/*
 * An ioctl whose refusal becomes the last error, with @what in front of it. The
 * argument begins with a struct blk_bpf_hdr whose size and flags are filled in.
 */
int control_ioctl(int fd, unsigned long request, void *arg, const char *what);
/*
 * The sentence that the module has for this thread's last bpf(2), or ""; reading
 * clears it. @msg has room for BLK_BPF_MSG_MAX bytes.
 */
void control_last_msg(char *msg);

/* device.c */

/* As blkbpf_dev_open(), and regular files too. */
int data_open(const char *path, struct blkbpf_dev_info *info);

/* object.c */

int kernel_load(struct blkbpf_object *obj);
/* An object of libbpf's, with @path for messages. */
struct blkbpf_object *object_new(const char *path);
int object_adopt(struct blkbpf_object *obj, struct bpf_object *bpf);

/* ops.c */

/* Is it a struct_ops map of our type? */
bool ops_is_ours(const struct blkbpf_object *obj, const struct bpf_map *map);
/* A member of the program's variable, by name; NULL if its type has none. */
void *ops_member(const struct blkbpf_object *obj, const struct bpf_map *map,
		 const char *name, uint32_t *size);
/* What the kernel would say of the members, by the same sentences; 0 or an error. */
int ops_check(const struct blkbpf_prog *prog);
uint32_t ops_unit(const struct blkbpf_prog *prog);
uint32_t ops_overlap(const struct blkbpf_prog *prog);

/* globals.c */

/* A global variable, found in the object's BTF. */
struct var {
	const char *name;
	const struct btf_type *type;	/* without typedef, const, volatile */
	__u32 type_id;
	__u32 size;
	unsigned char *data;
};

/* Call @fn for each global variable until it returns something. */
int for_each_var(const struct blkbpf_object *obj,
		 int (*fn)(const struct btf *btf, const struct var *var, void *ctx),
		 void *ctx);
/* What is under typedef, const and volatile; NULL if that is nothing. */
const struct btf_type *skip_mods(const struct btf *btf, __u32 id);
/* An array of one-byte integers. */
bool is_bytes(const struct btf *btf, const struct btf_type *t);
/* "__u32 x[4]", or "__u32[4]" without a name */
void print_type(FILE *f, const struct btf *btf, __u32 type_id, const char *name);
/* Keep the variables as they are, for blkbpf_object__reset(). */
int object_save(struct blkbpf_object *obj);
void object_free_saved(struct blkbpf_object *obj);

/* portable.c */

/**
 * struct portable - a program as a target outside the kernel takes it
 * @image:   instructions and functions; its own copies of variables are not used
 * @globals: the variables that its instructions name by number: the object's
 */
struct portable {
	struct bpfvm_image *image;
	struct bpfvm_global *globals;
};

extern const struct bpfvm_helper portable_helpers[];
extern const uint32_t nr_portable_helpers;

/*
 * The image of a program with the variables as they are set. 0, or a negative
 * errno with its sentence in @why; obstacles as in struct bpfvm_image_opts.
 */
int portable_open(struct blkbpf_prog *prog, struct portable *portable,
		  void (*obstacle)(void *ctx, const char *section, uint64_t off,
				   const char *why),
		  void *obstacle_ctx, char *why, size_t why_size);
void portable_close(struct portable *portable);
/* Verify for the engine; the log has its reasons. */
int portable_verify(const struct portable *portable, struct bpfvm_prog **vm,
		    char *log, size_t log_size);
/**
 * struct refusal - what the engine refused
 * @reason:  a sentence
 * @section: of the instruction, NULL if it was none
 * @off:     in the section (bytes)
 * @insn:    the instruction in words
 */
struct refusal {
	char reason[512];
	const char *section;
	uint64_t off;
	char insn[96];
};

void portable_explain(const struct portable *portable, const char *log,
		      struct refusal *refusal);
/* The content of a section of global variables, wherever it is now. */
void *object_section(const struct blkbpf_object *obj, const char *name,
		     size_t *size);
void object_free_memory(struct blkbpf_object *obj);

/* source.c */

/* From the object's debug information. Whether it is known. */
bool source_find(const struct blkbpf_object *obj, const char *section,
		 uint64_t off, struct source_place *place);

/* check.c */

/* The program will not run: for this reason, which has no place in it. */
void check_refuse(struct check *check, const char *reason);
/* What could not be found out leaves the verdict open, if it is not known yet. */
void check_leave_open(struct check *check, const char *why);
/* Tell of an obstacle; @section is NULL for one without an instruction. */
void check_add(struct check *check, const char *section, uint64_t off,
	       const char *insn, const char *reason);
int kernel_check(struct blkbpf_prog *prog, struct check *check);
/* By the engine alone, which the user target and drives have. */
int engine_check(struct blkbpf_prog *prog, struct check *check);

/* target.c */

uint64_t ranges_done(const struct blk_bpf_range *ranges, size_t nr,
		     const struct blk_bpf_cursor *cursor);

/* pin.c */

int pin_fd(int fd, const char *what, const char *path);

/* prog.c */

/* 0 if @fd is a blk_bpf_ops map, else an error about @what. */
int prog_check_fd(int fd, const char *what);

/*
 * Copy the caller's options: what its struct does not reach stays 0, and what
 * this library does not know must not be ignored. false with an error about
 * @what.
 */
bool opts_copy(void *dst, size_t dst_sz, const void *src, const char *what);

#endif /* LIBBLKBPF_INTERNAL_H */
