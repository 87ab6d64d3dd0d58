/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The reader of BPF object files: makes the image of a program, instructions and
 * global memory, that is the same for a user process and for a drive.
 *
 * What it takes is what can run outside a kernel: global variables as the only
 * maps, static functions, the helpers of the caller by name. Needs libelf.
 */
#ifndef BPFVM_ELF_H
#define BPFVM_ELF_H

#include "bpfvm.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct bpfvm_func - a function of an image, and where it came from
 * @name:    of the function
 * @section: of the object file that holds it
 * @off:     where in that section it begins (bytes)
 * @slot:    where in the image it begins
 * @nr:      its slots
 */
struct bpfvm_func {
	char *name;
	char *section;
	uint64_t off;
	uint32_t slot;
	uint32_t nr;
};

/**
 * struct bpfvm_image - a program as bpfvm_load() takes it
 * @insns:      instructions, the entry first; calls and globals are resolved
 * @nr_insns:   slots
 * @globals:    one for each .rodata, .data and .bss section that is used, with
 *		their initial content
 * @nr_globals: their number
 * @name:       of the entry function
 * @ops:        content of the struct_ops variable whose first member is the
 *		entry, or NULL: bytes as the compiler laid them out
 * @ops_size:   its size in bytes
 * @ops_name:   its name
 * @funcs:      the functions of @insns, the entry first
 * @nr_funcs:   their number
 */
struct bpfvm_image {
	struct bpfvm_insn *insns;
	uint32_t nr_insns;
	struct bpfvm_global *globals;
	uint32_t nr_globals;
	char *name;
	uint8_t *ops;
	uint32_t ops_size;
	char *ops_name;
	struct bpfvm_func *funcs;
	uint32_t nr_funcs;
};

/**
 * struct bpfvm_image_opts - how to read a program
 * @sz:         sizeof(struct bpfvm_image_opts)
 * @name:       the entry: a function, or a struct_ops variable; NULL if there is
 *		only one to choose
 * @helpers:    functions that may be called, besides the built-in ones
 * @nr_helpers: their number
 * @mem:        the object file in memory, instead of a path; or NULL
 * @mem_size:   its size in bytes
 * @obstacle:   called for each thing that keeps the program from running outside
 *		a kernel, with the section and the offset in it (bytes) of its
 *		instruction; the reader then goes on to the next. May be NULL
 * @obstacle_ctx: handed to @obstacle
 * @why:        receives a sentence when the object is refused
 * @why_size:   its size
 */
struct bpfvm_image_opts {
	size_t sz;
	const char *name;
	const struct bpfvm_helper *helpers;
	uint32_t nr_helpers;
	const void *mem;
	size_t mem_size;
	void (*obstacle)(void *ctx, const char *section, uint64_t off,
			 const char *why);
	void *obstacle_ctx;
	char *why;
	size_t why_size;
};

/**
 * bpfvm_image_open_opts - read a program from an object file
 * @image: out: the image
 * @path:  the file, unless there is @opts->mem
 * @opts:  see there
 *
 * Return: 0, -ENOENT if the file cannot be read, -EINVAL if the program cannot
 * run outside a kernel or is not there, -ENOMEM.
 */
int bpfvm_image_open_opts(struct bpfvm_image **image, const char *path,
			  const struct bpfvm_image_opts *opts);

/**
 * bpfvm_image_open - the same, for who needs no more than this
 * @image:      out: the image
 * @path:       the file
 * @name:       as in struct bpfvm_image_opts, and the others too
 * @helpers:    as there
 * @nr_helpers: as there
 * @why:        as there
 * @why_size:   as there
 *
 * Return: as bpfvm_image_open_opts().
 */
int bpfvm_image_open(struct bpfvm_image **image, const char *path,
		     const char *name, const struct bpfvm_helper *helpers,
		     uint32_t nr_helpers, char *why, size_t why_size);
void bpfvm_image_close(struct bpfvm_image *image);

/**
 * bpfvm_map_globals - memory for global variables
 * @size: bytes, at least 1
 *
 * Where the machine can put it there, at an address of 31 bits, which is part of an
 * instruction that uses it.
 *
 * Return: zeros, until munmap(); NULL if there is no memory.
 */
void *bpfvm_map_globals(size_t size);

#ifdef __cplusplus
}
#endif

#endif /* BPFVM_ELF_H */
