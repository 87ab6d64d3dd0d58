// SPDX-License-Identifier: GPL-2.0
/*
 * csd_image OBJECT PROGRAM IMAGE - write a program of an object file as a drive
 * takes it. Prints a line for each global memory: index, name, size, "ro" or "rw".
 *
 * PROGRAM is the name of a struct blk_bpf_ops variable, or "-" for the only one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/blk_bpf.h>

#include "bpfvm_elf.h"
#include "csd_image.h"

/* struct blk_bpf_ops as clang lays it out for the bpf target. */
struct ops {
	uint64_t filter;
	uint32_t unit;
	uint32_t overlap;
	char name[BLK_BPF_NAME_LEN];
};

static const struct bpfvm_helper emit = {
	.id = BPFVM_HELPER_BLK_EMIT,
	.name = "blk_bpf_emit",
	.ret = BPFVM_RET_NUM,
	.arg = { BPFVM_ARG_CTX, BPFVM_ARG_NUM, BPFVM_ARG_NUM },
};

static int save(const char *path, const void *data, size_t size)
{
	FILE *file = fopen(path, "wb");
	int bad = !file || fwrite(data, 1, size, file) != size;

	if (file && fclose(file))
		bad = 1;
	if (bad)
		fprintf(stderr, "csd_image: %s: %s\n", path, strerror(errno));
	return bad;
}

static int convert(const struct bpfvm_image *program, const char *path)
{
	struct csd_image_opts opts = {
		.sz = sizeof(opts),
		.insns = program->insns,
		.nr_insns = program->nr_insns,
		.globals = program->globals,
		.nr_globals = program->nr_globals,
		.name = program->name,
	};
	struct ops ops = { 0 };
	size_t size;
	void *image;
	int err;

	if (program->ops_size >= sizeof(ops)) {
		memcpy(&ops, program->ops, sizeof(ops));
		ops.name[sizeof(ops.name) - 1] = '\0';
		opts.unit = ops.unit;
		opts.overlap = ops.overlap;
		opts.name = ops.name[0] ? ops.name : program->ops_name;
	}
	err = csd_image_make(&image, &size, &opts);
	if (err) {
		fprintf(stderr, "csd_image: %s\n", strerror(-err));
		return 1;
	}
	for (uint32_t i = 0; i < program->nr_globals; i++)
		printf("%u %s %u %s\n", i, program->globals[i].name,
		       program->globals[i].size,
		       program->globals[i].rdonly ? "ro" : "rw");
	err = save(path, image, size);
	free(image);
	return err;
}

int main(int argc, char **argv)
{
	struct bpfvm_image *program;
	const char *name;
	char why[256];
	int err;

	if (argc != 4) {
		fprintf(stderr, "usage: csd_image OBJECT PROGRAM|- IMAGE\n");
		return 2;
	}
	name = strcmp(argv[2], "-") ? argv[2] : NULL;
	err = bpfvm_image_open(&program, argv[1], name, &emit, 1, why,
			       sizeof(why));
	if (err) {
		fprintf(stderr, "csd_image: %s: %s\n", argv[1], why);
		return 1;
	}
	err = convert(program, argv[3]);
	bpfvm_image_close(program);
	return err;
}
