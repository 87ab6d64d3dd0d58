// SPDX-License-Identifier: GPL-2.0
/* From an instruction to its line of source: the line records of .BTF.ext. */
#include <stdio.h>
#include <string.h>
#include "internal.h"

/* The head of .BTF.ext, as the kernel's Documentation/bpf/btf.rst has it. */
struct ext_header {
	uint16_t magic;
	uint8_t version;
	uint8_t flags;
	uint32_t hdr_len;
	uint32_t func_info_off;
	uint32_t func_info_len;
	uint32_t line_info_off;
	uint32_t line_info_len;
};

struct ext_section {
	uint32_t name_off;
	uint32_t nr;
};

static const char *skip_space(const char *text)
{
	return text + strspn(text, " \t");
}

static void take_line(const struct btf *btf, const struct bpf_line_info *info,
		      struct source_place *place)
{
	const char *file = btf__str_by_offset(btf, info->file_name_off);
	const char *text = btf__str_by_offset(btf, info->line_off);

	place->line = BPF_LINE_INFO_LINE_NUM(info->line_col);
	snprintf(place->file, sizeof(place->file), "%s", file ? file : "?");
	snprintf(place->text, sizeof(place->text), "%s",
		 text ? skip_space(text) : "");
}

/* The last record of the section that does not lie behind the instruction. */
static void find_in_section(const struct btf *btf, const uint8_t *record,
			    uint32_t size, uint32_t nr, uint64_t off,
			    struct source_place *place)
{
	struct bpf_line_info info, best = {};
	bool found = false;
	uint32_t i;

	for (i = 0; i < nr; i++, record += size) {
		memcpy(&info, record, sizeof(info));
		if (info.insn_off > off ||
		    (found && info.insn_off < best.insn_off))
			continue;
		best = info;
		found = true;
	}
	if (found)
		take_line(btf, &best, place);
}

static void find_line(const struct btf *btf, const uint8_t *at, uint32_t len,
		      const char *section, uint64_t off,
		      struct source_place *place)
{
	struct ext_section head;
	uint32_t size;

	if (len < sizeof(size))
		return;
	memcpy(&size, at, sizeof(size));
	at += sizeof(size);
	len -= sizeof(size);
	while (size >= sizeof(struct bpf_line_info) && len >= sizeof(head)) {
		const char *name;

		memcpy(&head, at, sizeof(head));
		at += sizeof(head);
		len -= sizeof(head);
		if (head.nr > len / size)
			return;
		name = btf__str_by_offset(btf, head.name_off);
		if (name && !strcmp(name, section))
			find_in_section(btf, at, size, head.nr, off, place);
		at += head.nr * size;
		len -= head.nr * size;
	}
}

bool source_find(const struct blkbpf_object *obj, const char *section,
		 uint64_t off, struct source_place *place)
{
	struct btf_ext *ext = NULL;
	struct ext_header header;
	const uint8_t *raw;
	struct btf *btf;
	__u32 size;

	memset(place, 0, sizeof(*place));
	if (obj->elf)
		return false;	/* made from something that has no lines */
	btf = btf__parse(obj->path, &ext);
	raw = ext ? btf_ext__raw_data(ext, &size) : NULL;
	if (btf && raw && size >= sizeof(header)) {
		memcpy(&header, raw, sizeof(header));
		if (header.hdr_len <= size &&
		    header.line_info_off <= size - header.hdr_len &&
		    header.line_info_len <=
			    size - header.hdr_len - header.line_info_off)
			find_line(btf, raw + header.hdr_len + header.line_info_off,
				  header.line_info_len, section, off, place);
	}
	btf_ext__free(ext);
	btf__free(btf);
	return place->line;
}
