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
};

/**
 * bpfvm_image_open - read a program from an object file
 * @image:      out: the image
 * @path:       the file
 * @name:       the entry: a function, or a struct_ops variable; NULL if there is
 *		only one to choose
 * @helpers:    functions that may be called, besides the built-in ones
 * @nr_helpers: their number
 * @why:        receives a sentence when the object is refused
 * @why_size:   its size
 *
 * Return: 0, -ENOENT if the file cannot be read, -EINVAL if the program cannot
 * run outside a kernel or is not there, -ENOMEM.
 */
int bpfvm_image_open(struct bpfvm_image **image, const char *path,
		     const char *name, const struct bpfvm_helper *helpers,
		     uint32_t nr_helpers, char *why, size_t why_size);
void bpfvm_image_close(struct bpfvm_image *image);

#ifdef __cplusplus
}
#endif

#endif /* BPFVM_ELF_H */
