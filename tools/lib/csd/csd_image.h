/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Programs as computational drives take them: struct nvme_csd_image, made from
 * what the engine's reader of object files has found (bpfvm_elf.h). Needs libc.
 */
#ifndef CSD_IMAGE_H
#define CSD_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "bpfvm.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct csd_image_opts - what goes into an image
 * @sz:         sizeof(struct csd_image_opts)
 * @insns:      instructions, the entry first, calls and globals resolved
 * @nr_insns:   slots
 * @globals:    global memory, with the values that the program starts with
 * @nr_globals: their number
 * @unit:       the program's (bytes); 0: BLK_BPF_UNIT_DEFAULT
 * @overlap:    the program's (bytes)
 * @name:       for lists and messages; what is beyond 15 letters is left out
 */
struct csd_image_opts {
	size_t sz;
	const struct bpfvm_insn *insns;
	uint32_t nr_insns;
	const struct bpfvm_global *globals;
	uint32_t nr_globals;
	uint32_t unit;
	uint32_t overlap;
	const char *name;
};

/**
 * csd_image_make - write a program down for a drive
 * @image: out: the image, to be freed with free()
 * @size:  out: its size in bytes, a multiple of 8
 * @opts:  see there
 *
 * Zeros at the end of global memory are not stored: the drive adds them.
 *
 * Return: 0, -EINVAL if there are no instructions or @opts->sz is not known,
 * -E2BIG if the image would be over 4 GiB, -ENOMEM.
 */
int csd_image_make(void **image, size_t *size,
		   const struct csd_image_opts *opts);

/**
 * csd_image_crc - CRC-32C (Castagnoli) of bytes
 * @data: the bytes
 * @size: their number
 */
uint32_t csd_image_crc(const void *data, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* CSD_IMAGE_H */
