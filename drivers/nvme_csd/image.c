// SPDX-License-Identifier: GPL-2.0
/* What is in an image, as far as the host has to know. */
#include <linux/overflow.h>

#include "csd.h"

static int refuse_image(struct blk_bpf_msg *msg, const char *what)
{
	return blk_bpf_refuse(msg, -EINVAL,
		"the program's image is damaged: %s", what);
}

/**
 * csd_image_parse - find the global variables
 * @data:  an image
 * @len:   its bytes
 * @image: filled; points into @data
 * @msg:   why not
 *
 * The drive checks the rest, and this too.
 *
 * Return: 0 or -EINVAL.
 */
int csd_image_parse(const void *data, u32 len, struct csd_image *image,
		    struct blk_bpf_msg *msg)
{
	const struct nvme_csd_image *header = data;
	u32 off, nr, i;

	if (len < sizeof(*header) ||
	    le32_to_cpu(header->magic) != NVME_CSD_IMAGE_MAGIC ||
	    le32_to_cpu(header->size) != len)
		return refuse_image(msg, "its header does not fit");
	off = le32_to_cpu(header->globals_off);
	nr = le32_to_cpu(header->nr_globals);
	if (off % 8 || off > len ||
	    nr > (len - off) / sizeof(struct nvme_csd_global))
		return refuse_image(msg, "its globals are not in it");
	image->header = header;
	image->globals = data + off;
	image->nr_globals = nr;
	image->writable = 0;
	for (i = 0; i < nr; i++) {
		const struct nvme_csd_global *global = &image->globals[i];
		u32 init_len = le32_to_cpu(global->init_len);
		u32 init_off = le32_to_cpu(global->init_off);
		u32 size = le32_to_cpu(global->size);

		if (init_len > size || init_off > len || init_len > len - init_off)
			return refuse_image(msg, "a global's value is not in it");
		if (le32_to_cpu(global->flags) & NVME_CSD_GLOBAL_RDONLY)
			continue;
		if (check_add_overflow(image->writable, size, &image->writable))
			return refuse_image(msg, "its globals are too large");
	}
	return 0;
}

/* The writable global variables as the program's author has them begin. */
void csd_image_initial(const struct csd_image *image, const void *data, void *to)
{
	u32 i;

	for (i = 0; i < image->nr_globals; i++) {
		const struct nvme_csd_global *global = &image->globals[i];
		u32 init_len = le32_to_cpu(global->init_len);
		u32 size = le32_to_cpu(global->size);

		if (le32_to_cpu(global->flags) & NVME_CSD_GLOBAL_RDONLY)
			continue;
		memcpy(to, data + le32_to_cpu(global->init_off), init_len);
		memset(to + init_len, 0, size - init_len);
		to += size;
	}
}
