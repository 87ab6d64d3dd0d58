// SPDX-License-Identifier: GPL-2.0
/* Lays out struct nvme_csd_image: header, instructions, globals, their values. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/blk_bpf.h>
#include <linux/nvme_csd.h>

#include "csd_image.h"

#define ALIGN_UP(x)	(((x) + 7) & ~(uint64_t)7)

uint32_t csd_image_crc(const void *data, size_t size)
{
	const uint8_t *p = data;
	uint32_t crc = ~0U;

	while (size--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0);
	}
	return ~crc;
}

/* Bytes of global memory up to the last that is not zero. */
static uint32_t stored_size(const struct bpfvm_global *global)
{
	const uint8_t *data = global->data;
	uint32_t size = global->size;

	while (size && !data[size - 1])
		size--;
	return size;
}

struct layout {
	uint64_t insns;
	uint64_t globals;
	uint64_t values;
	uint64_t size;
};

static struct layout lay_out(const struct csd_image_opts *opts)
{
	struct layout at;

	at.insns = sizeof(struct nvme_csd_image);
	at.globals = at.insns + (uint64_t)opts->nr_insns * 8;
	at.values = at.globals +
		    opts->nr_globals * sizeof(struct nvme_csd_global);
	at.size = at.values;
	for (uint32_t i = 0; i < opts->nr_globals; i++)
		at.size = ALIGN_UP(at.size + stored_size(&opts->globals[i]));
	return at;
}

static void write_insns(uint8_t *out, const struct csd_image_opts *opts)
{
	for (uint32_t i = 0; i < opts->nr_insns; i++, out += 8) {
		const struct bpfvm_insn *insn = &opts->insns[i];
		uint16_t off = htole16(insn->off);
		uint32_t imm = htole32(insn->imm);

		out[0] = insn->code;
		out[1] = insn->regs;
		memcpy(out + 2, &off, sizeof(off));
		memcpy(out + 4, &imm, sizeof(imm));
	}
}

static void write_globals(uint8_t *image, const struct layout *at,
			  const struct csd_image_opts *opts)
{
	uint64_t value = at->values;

	for (uint32_t i = 0; i < opts->nr_globals; i++) {
		const struct bpfvm_global *global = &opts->globals[i];
		uint32_t stored = stored_size(global);
		struct nvme_csd_global entry = {
			.size = htole32(global->size),
			.flags = htole32(global->rdonly ?
					 NVME_CSD_GLOBAL_RDONLY : 0),
			.init_len = htole32(stored),
			.init_off = htole32(stored ? value : 0),
		};

		memcpy(image + at->globals + i * sizeof(entry), &entry,
		       sizeof(entry));
		if (stored)
			memcpy(image + value, global->data, stored);
		value = ALIGN_UP(value + stored);
	}
}

int csd_image_make(void **image, size_t *size,
		   const struct csd_image_opts *opts)
{
	uint32_t unit = opts->unit ? opts->unit : BLK_BPF_UNIT_DEFAULT;
	struct nvme_csd_image *head;
	struct layout at;

	*image = NULL;
	*size = 0;
	if (opts->sz < sizeof(*opts) || !opts->nr_insns)
		return -EINVAL;
	at = lay_out(opts);
	if (at.size > UINT32_MAX)
		return -E2BIG;
	head = calloc(1, at.size);
	if (!head)
		return -ENOMEM;
	head->magic = htole32(NVME_CSD_IMAGE_MAGIC);
	head->abi = htole16(NVME_CSD_EBPF_ABI);
	head->hdr_size = htole16(sizeof(*head));
	head->size = htole32(at.size);
	head->nr_insns = htole32(opts->nr_insns);
	head->insns_off = htole32(at.insns);
	head->nr_globals = htole32(opts->nr_globals);
	head->globals_off = htole32(at.globals);
	head->unit = htole32(unit);
	head->overlap = htole32(opts->overlap);
	head->ctx_size = htole32(sizeof(struct blk_bpf_ctx));
	if (opts->name)
		memcpy(head->name, opts->name,
		       strnlen(opts->name, sizeof(head->name) - 1));
	write_insns((uint8_t *)head + at.insns, opts);
	write_globals((uint8_t *)head, &at, opts);
	head->crc = htole32(csd_image_crc(head, at.size));
	*image = head;
	*size = at.size;
	return 0;
}
