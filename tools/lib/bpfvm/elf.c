// SPDX-License-Identifier: GPL-2.0
/* The reader of object files: libelf parses, this relocates. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpfvm_elf.h"
#include "internal.h"

/* Relocations of BPF objects, from the psABI of the target. */
#ifndef R_BPF_64_64
#define R_BPF_64_64	1
#endif
#ifndef R_BPF_64_32
#define R_BPF_64_32	10
#endif

#define NO_GLOBAL	UINT32_MAX

struct section {
	const char *name;
	GElf_Shdr header;
	Elf_Data *data;
	size_t relocs;		/* section that relocates this one, or 0 */
	uint32_t global;	/* index in the image, or NO_GLOBAL */
};

/* A function that is in the image, or is going to be. */
struct placed {
	size_t section;
	uint64_t off;		/* bytes */
	uint32_t nr;
	uint32_t slot;
};

struct reader {
	int fd;
	Elf *elf;
	struct section *sections;
	size_t nr_sections;
	Elf_Data *symbols;
	size_t nr_symbols;
	size_t strings;
	struct placed *placed;
	uint32_t nr_placed;
	struct bpfvm_image *image;
	const struct bpfvm_image_opts *opts;
	bool obstructed;	/* opts->obstacle was called */
};

__attribute__((format(printf, 3, 4)))
static int fail(struct reader *r, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->opts->why, r->opts->why_size, fmt, ap);
	va_end(ap);
	return err;
}

/*
 * What keeps an instruction from running outside a kernel: told to who wants to
 * know of all of them; else it is the end. @err and its sentence are set.
 */
static int obstacle(struct reader *r, size_t section, uint64_t off, int err)
{
	if (err != -EINVAL || !r->opts->obstacle)
		return err;
	r->opts->obstacle(r->opts->obstacle_ctx, r->sections[section].name, off,
			  r->opts->why);
	r->obstructed = true;
	return 0;
}

static const char *symbol_name(const struct reader *r, const GElf_Sym *sym)
{
	const char *name = NULL;

	if (GELF_ST_TYPE(sym->st_info) == STT_SECTION &&
	    sym->st_shndx < r->nr_sections)
		name = r->sections[sym->st_shndx].name;
	else
		name = elf_strptr(r->elf, r->strings, sym->st_name);
	return name ? name : "?";
}

static bool is_code(const struct section *s)
{
	return s->header.sh_type == SHT_PROGBITS &&
	       (s->header.sh_flags & SHF_EXECINSTR);
}

/* Global variables, with constants that the compiler put aside. */
static bool is_memory(const struct section *s)
{
	return !strncmp(s->name, ".rodata", 7) || !strncmp(s->name, ".data", 5) ||
	       !strncmp(s->name, ".bss", 4);
}

static int read_sections(struct reader *r)
{
	size_t names;

	if (elf_getshdrstrndx(r->elf, &names) ||
	    elf_getshdrnum(r->elf, &r->nr_sections))
		return fail(r, -EINVAL, "its section table is damaged");
	r->sections = calloc(r->nr_sections + 1, sizeof(*r->sections));
	if (!r->sections)
		return -ENOMEM;
	for (size_t i = 0; i < r->nr_sections; i++) {
		struct section *s = &r->sections[i];
		Elf_Scn *scn = elf_getscn(r->elf, i);

		if (!scn || !gelf_getshdr(scn, &s->header))
			return fail(r, -EINVAL, "section %zu is damaged", i);
		s->name = elf_strptr(r->elf, names, s->header.sh_name);
		s->name = s->name ? s->name : "";
		s->data = elf_getdata(scn, NULL);
		s->global = NO_GLOBAL;
		if (s->header.sh_type == SHT_SYMTAB) {
			r->symbols = s->data;
			r->strings = s->header.sh_link;
			r->nr_symbols = s->header.sh_entsize ?
				s->header.sh_size / s->header.sh_entsize : 0;
		}
	}
	for (size_t i = 0; i < r->nr_sections; i++) {
		const struct section *s = &r->sections[i];

		if (s->header.sh_type == SHT_REL && s->header.sh_info &&
		    s->header.sh_info < r->nr_sections)
			r->sections[s->header.sh_info].relocs = i;
	}
	if (!r->symbols)
		return fail(r, -EINVAL, "it has no symbols");
	return 0;
}

#define CORE_TROUBLE "it has CO-RE relocations, which mean nothing outside a kernel: do not use vmlinux.h types or preserve_access_index"

/* Where the strings of .BTF are; NULL if there are none that can be read. */
static const char *btf_strings(const struct reader *r, uint32_t *size)
{
	for (size_t i = 0; i < r->nr_sections; i++) {
		const struct section *s = &r->sections[i];
		uint32_t header[6];

		if (strcmp(s->name, ".BTF") || !s->data ||
		    s->data->d_size < sizeof(header))
			continue;
		memcpy(header, s->data->d_buf, sizeof(header));
		/* Words 1: length of the header, 4 and 5: strings. */
		if (header[1] > s->data->d_size ||
		    header[4] > s->data->d_size - header[1] ||
		    header[5] > s->data->d_size - header[1] - header[4] ||
		    !header[5])
			return NULL;
		*size = header[5];
		return (const char *)s->data->d_buf + header[1] + header[4];
	}
	return NULL;
}

static size_t section_by_name(const struct reader *r, const char *name)
{
	for (size_t i = 1; i < r->nr_sections; i++)
		if (!strcmp(r->sections[i].name, name))
			return i;
	return 0;
}

/*
 * CO-RE records: for each section its name and number of records, then these,
 * which begin with the offset of the instruction.
 */
static void core_obstacles(struct reader *r, const uint8_t *at, uint32_t len)
{
	uint32_t strings_size = 0, record = 0, info[2], off;
	const char *strings = btf_strings(r, &strings_size);

	if (len < sizeof(record))
		return;
	memcpy(&record, at, sizeof(record));
	at += sizeof(record);
	len -= sizeof(record);
	while (record >= sizeof(off) && len >= sizeof(info)) {
		size_t section = 0;

		memcpy(info, at, sizeof(info));
		at += sizeof(info);
		len -= sizeof(info);
		if (strings && info[0] < strings_size &&
		    memchr(strings + info[0], 0, strings_size - info[0]))
			section = section_by_name(r, strings + info[0]);
		for (uint32_t i = 0; i < info[1] && len >= record; i++) {
			memcpy(&off, at, sizeof(off));
			obstacle(r, section, off,
				 fail(r, -EINVAL, CORE_TROUBLE));
			at += record;
			len -= record;
		}
	}
}

/* CO-RE relocations change instructions by what a kernel looks like. */
static int check_core(struct reader *r)
{
	for (size_t i = 0; i < r->nr_sections; i++) {
		const struct section *s = &r->sections[i];
		uint32_t header[8];

		if (strcmp(s->name, ".BTF.ext") || !s->data ||
		    s->data->d_size < sizeof(header))
			continue;
		memcpy(header, s->data->d_buf, sizeof(header));
		/* Words 1: length of the header, 6 and 7: the relocations. */
		if (header[1] < sizeof(header) || !header[7])
			continue;
		if (!r->opts->obstacle)
			return fail(r, -EINVAL, CORE_TROUBLE);
		if (header[1] <= s->data->d_size &&
		    header[6] <= s->data->d_size - header[1] &&
		    header[7] <= s->data->d_size - header[1] - header[6])
			core_obstacles(r, (uint8_t *)s->data->d_buf +
				       header[1] + header[6], header[7]);
	}
	return 0;
}

static int open_elf(struct reader *r, const char *path)
{
	GElf_Ehdr header;

	elf_version(EV_CURRENT);
	if (r->opts->mem) {
		r->elf = elf_memory((char *)r->opts->mem, r->opts->mem_size);
	} else {
		r->fd = open(path, O_RDONLY | O_CLOEXEC);
		if (r->fd < 0)
			return fail(r, -ENOENT, "%s", strerror(errno));
		r->elf = elf_begin(r->fd, ELF_C_READ, NULL);
	}
	if (!r->elf || !gelf_getehdr(r->elf, &header))
		return fail(r, -EINVAL, "it is not an ELF file");
	if (header.e_machine != EM_BPF || header.e_type != ET_REL ||
	    header.e_ident[EI_DATA] != ELFDATA2LSB)
		return fail(r, -EINVAL, "it is not a little-endian BPF object: compile with -target bpf");
	return 0;
}

static bool get_symbol(const struct reader *r, size_t index, GElf_Sym *sym)
{
	return index < r->nr_symbols && gelf_getsym(r->symbols, index, sym);
}

/* Make sure that the function at a place is going to be in the image. */
static int place(struct reader *r, size_t section, uint64_t off, uint32_t *slot)
{
	struct placed *p;
	GElf_Sym sym;
	size_t i;

	for (uint32_t k = 0; k < r->nr_placed; k++) {
		if (r->placed[k].section == section &&
		    r->placed[k].off == off) {
			*slot = r->placed[k].slot;
			return 0;
		}
	}
	for (i = 0; i < r->nr_symbols; i++)
		if (get_symbol(r, i, &sym) && sym.st_shndx == section &&
		    sym.st_value == off &&
		    GELF_ST_TYPE(sym.st_info) == STT_FUNC)
			break;
	if (i == r->nr_symbols || section >= r->nr_sections ||
	    !is_code(&r->sections[section]) || !sym.st_size ||
	    sym.st_size % 8 || off % 8 ||
	    off + sym.st_size > r->sections[section].data->d_size)
		return fail(r, -EINVAL, "a call goes to byte %llu of section %zu, where no function is",
			    (unsigned long long)off, section);
	p = realloc(r->placed, (r->nr_placed + 1) * sizeof(*p));
	if (!p)
		return -ENOMEM;
	r->placed = p;
	p = &r->placed[r->nr_placed++];
	*p = (struct placed){ section, off, sym.st_size / 8,
			      r->image->nr_insns };
	*slot = p->slot;
	r->image->nr_insns += p->nr;
	if (r->image->nr_insns > BPFVM_MAX_INSNS)
		return fail(r, -EINVAL, "the program is over %u instructions",
			    BPFVM_MAX_INSNS);
	return 0;
}

void *bpfvm_map_globals(size_t size)
{
	void *at = MAP_FAILED;

#ifdef MAP_32BIT
	at = mmap(NULL, size, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
#endif
	if (at == MAP_FAILED)
		at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return at == MAP_FAILED ? NULL : at;
}

/* The index of the global memory that a section becomes. */
static int place_global(struct reader *r, struct section *s, uint32_t *index)
{
	struct bpfvm_image *image = r->image;
	struct bpfvm_global *globals;
	size_t size = s->header.sh_size;
	size_t room = size ? size : 1;
	void *data;

	if (s->global != NO_GLOBAL) {
		*index = s->global;
		return 0;
	}
	if (s->relocs)
		return fail(r, -EINVAL, "%s holds pointers that are set before the program runs: set them in the program",
			    s->name);
	if (size > INT32_MAX)
		return fail(r, -EINVAL, "%s is over 2 GiB", s->name);
	globals = realloc(image->globals,
			  (image->nr_globals + 1) * sizeof(*globals));
	if (!globals)
		return -ENOMEM;
	image->globals = globals;
	data = bpfvm_map_globals(room);
	if (!data)
		return -ENOMEM;
	if (s->header.sh_type != SHT_NOBITS && s->data && s->data->d_buf)
		memcpy(data, s->data->d_buf, s->data->d_size);
	s->global = image->nr_globals;
	globals[image->nr_globals++] = (struct bpfvm_global){
		.name = strdup(s->name),
		.data = data,
		.size = size,
		.rdonly = !strncmp(s->name, ".rodata", 7),
	};
	*index = s->global;
	return 0;
}

static const struct bpfvm_helper *helper_by_name(const struct reader *r,
						 const char *name)
{
	for (uint32_t i = 0; i < r->opts->nr_helpers; i++)
		if (!strcmp(r->opts->helpers[i].name, name))
			return &r->opts->helpers[i];
	for (uint32_t i = 0; i < nr_builtin_helpers; i++)
		if (!strcmp(builtin_helpers[i].name, name))
			return &builtin_helpers[i];
	return NULL;
}

static int relocate_call(struct reader *r, struct bpfvm_insn *insn,
			 uint32_t slot, const GElf_Sym *sym)
{
	const struct bpfvm_helper *helper;
	uint32_t target = 0;
	int err;

	if (sym->st_shndx == SHN_UNDEF) {
		helper = helper_by_name(r, symbol_name(r, sym));
		if (!helper)
			return fail(r, -EINVAL, "it calls %s(), which is not there outside a kernel",
				    symbol_name(r, sym));
		insn->regs = CALL_HELPER << 4;
		insn->imm = helper->id;
		return 0;
	}
	err = place(r, sym->st_shndx,
		    sym->st_value + ((int64_t)insn->imm + 1) * 8, &target);
	if (err)
		return err;
	insn->regs = CALL_LOCAL << 4;
	insn->imm = (int64_t)target - slot - 1;
	return 0;
}

static int relocate_imm64(struct reader *r, struct bpfvm_insn *insn,
			  uint32_t slot, const GElf_Sym *sym)
{
	uint64_t off = sym->st_value + (uint32_t)insn[0].imm;
	struct section *s;
	uint32_t target = 0;
	int err;

	if (sym->st_shndx == SHN_UNDEF || sym->st_shndx >= r->nr_sections)
		return fail(r, -EINVAL, "it uses %s, which the object does not define: variables of a kernel are not there outside one",
			    symbol_name(r, sym));
	s = &r->sections[sym->st_shndx];
	if (is_code(s)) {
		err = place(r, sym->st_shndx, off, &target);
		if (err)
			return err;
		insn[0].regs = insn_dst(insn) | IMM64_FUNC << 4;
		insn[0].imm = (int64_t)target - slot - 1;
		insn[1].imm = 0;
		return 0;
	}
	if (!is_memory(s))
		return fail(r, -EINVAL, "it uses the map %s: outside a kernel global variables are the only maps",
			    symbol_name(r, sym));
	err = place_global(r, s, &target);
	if (err)
		return err;
	insn[0].regs = insn_dst(insn) | IMM64_MAP_IDX_VALUE << 4;
	insn[0].imm = target;
	insn[1].imm = off;
	return 0;
}

static bool find_reloc(const struct reader *r, const struct placed *p,
		       uint32_t at, GElf_Rel *rel)
{
	const struct section *s = &r->sections[r->sections[p->section].relocs];
	size_t nr;

	if (!r->sections[p->section].relocs || !s->header.sh_entsize)
		return false;
	nr = s->header.sh_size / s->header.sh_entsize;
	for (size_t i = 0; i < nr; i++)
		if (gelf_getrel(s->data, i, rel) &&
		    rel->r_offset == p->off + 8 * (uint64_t)at)
			return true;
	return false;
}

static int relocate(struct reader *r, const struct placed *p, uint32_t at)
{
	struct bpfvm_insn *insn = &r->image->insns[p->slot + at];
	uint32_t target;
	GElf_Rel rel;
	GElf_Sym sym;
	int err;

	if (!find_reloc(r, p, at, &rel)) {
		if (insn->code != CODE_CALL || insn_src(insn) != CALL_LOCAL)
			return 0;
		/* In the same section the assembler has resolved it. */
		err = place(r, p->section,
			    p->off + 8 * ((int64_t)at + 1 + insn->imm),
			    &target);
		if (!err)
			insn->imm = (int64_t)target - (p->slot + at) - 1;
		return err;
	}
	if (!get_symbol(r, GELF_R_SYM(rel.r_info), &sym))
		return fail(r, -EINVAL, "a relocation names no symbol");
	if (GELF_R_TYPE(rel.r_info) == R_BPF_64_32 && insn->code == CODE_CALL)
		return relocate_call(r, insn, p->slot + at, &sym);
	if (GELF_R_TYPE(rel.r_info) == R_BPF_64_64 &&
	    insn->code == CODE_LD_IMM64 && at + 1 < p->nr)
		return relocate_imm64(r, insn, p->slot + at, &sym);
	return fail(r, -EINVAL, "a relocation of type %u is not known",
		    (unsigned int)GELF_R_TYPE(rel.r_info));
}

/* Copy and relocate functions; that may place further ones. */
static int build_image(struct reader *r)
{
	struct bpfvm_image *image = r->image;
	int err = 0;

	for (uint32_t i = 0; i < r->nr_placed && !err; i++) {
		struct placed p = r->placed[i];
		const uint8_t *code = r->sections[p.section].data->d_buf;
		struct bpfvm_insn *insns;

		insns = realloc(image->insns,
				(p.slot + p.nr) * sizeof(*insns));
		if (!insns)
			return -ENOMEM;
		image->insns = insns;
		memcpy(insns + p.slot, code + p.off, p.nr * sizeof(*insns));
		for (uint32_t at = 0; at < p.nr && !err; at++) {
			err = relocate(r, &p, at);
			if (err)
				err = obstacle(r, p.section,
					       p.off + 8 * (uint64_t)at, err);
			if (image->insns[p.slot + at].code == CODE_LD_IMM64)
				at++;
		}
	}
	return err;
}

/* Where each function came from, for who explains an instruction. */
static int name_funcs(struct reader *r)
{
	struct bpfvm_image *image = r->image;
	GElf_Sym sym;

	image->funcs = calloc(r->nr_placed, sizeof(*image->funcs));
	if (!image->funcs)
		return -ENOMEM;
	image->nr_funcs = r->nr_placed;
	for (uint32_t k = 0; k < r->nr_placed; k++) {
		const struct placed *p = &r->placed[k];
		struct bpfvm_func *f = &image->funcs[k];
		const char *name = "?";

		for (size_t i = 0; i < r->nr_symbols; i++)
			if (get_symbol(r, i, &sym) &&
			    sym.st_shndx == p->section &&
			    sym.st_value == p->off &&
			    GELF_ST_TYPE(sym.st_info) == STT_FUNC)
				name = symbol_name(r, &sym);
		f->name = strdup(name);
		f->section = strdup(r->sections[p->section].name);
		f->off = p->off;
		f->slot = p->slot;
		f->nr = p->nr;
		if (!f->name || !f->section)
			return -ENOMEM;
	}
	return 0;
}

/* The function that the first member of a struct_ops variable names. */
static int entry_of_ops(struct reader *r, const GElf_Sym *ops, GElf_Sym *func)
{
	const struct section *s = &r->sections[ops->st_shndx];
	const struct section *rels = &r->sections[s->relocs];
	struct bpfvm_image *image = r->image;
	GElf_Rel rel;

	if (!s->relocs || !s->data ||
	    ops->st_value + ops->st_size > s->data->d_size)
		return fail(r, -EINVAL, "%s has no program",
			    symbol_name(r, ops));
	for (size_t i = 0; gelf_getrel(rels->data, i, &rel); i++) {
		if (rel.r_offset != ops->st_value)
			continue;
		if (!get_symbol(r, GELF_R_SYM(rel.r_info), func))
			break;
		image->ops_size = ops->st_size;
		image->ops = malloc(ops->st_size + 1);
		image->ops_name = strdup(symbol_name(r, ops));
		if (!image->ops || !image->ops_name)
			return -ENOMEM;
		memcpy(image->ops, (uint8_t *)s->data->d_buf + ops->st_value,
		       ops->st_size);
		/* The compiler may name the section and not the function. */
		if (GELF_ST_TYPE(func->st_info) == STT_SECTION) {
			uint64_t off;

			memcpy(&off, image->ops, sizeof(off));
			func->st_value += off;
		}
		return 0;
	}
	return fail(r, -EINVAL, "%s has no program: its first member is not set",
		    symbol_name(r, ops));
}

static bool is_ops(const struct reader *r, const GElf_Sym *sym)
{
	return GELF_ST_TYPE(sym->st_info) == STT_OBJECT &&
	       sym->st_shndx < r->nr_sections && sym->st_size >= 8 &&
	       !strncmp(r->sections[sym->st_shndx].name, ".struct_ops", 11);
}

static bool is_entry(const struct reader *r, const GElf_Sym *sym)
{
	return GELF_ST_TYPE(sym->st_info) == STT_FUNC &&
	       GELF_ST_BIND(sym->st_info) == STB_GLOBAL &&
	       sym->st_shndx < r->nr_sections &&
	       is_code(&r->sections[sym->st_shndx]);
}

/* Choose among the symbols that @fits, by name if there is one. */
static int choose(const struct reader *r, const char *name, GElf_Sym *chosen,
		  bool (*fits)(const struct reader *, const GElf_Sym *))
{
	GElf_Sym sym;
	int found = 0;

	for (size_t i = 0; i < r->nr_symbols; i++) {
		if (!get_symbol(r, i, &sym) || !fits(r, &sym) ||
		    (name && strcmp(name, symbol_name(r, &sym))))
			continue;
		*chosen = sym;
		found++;
	}
	return found;
}

static int find_entry(struct reader *r, const char *name, GElf_Sym *func)
{
	GElf_Sym ops;
	int found = choose(r, name, &ops, is_ops);

	if (found == 1)
		return entry_of_ops(r, &ops, func);
	if (found == 0)
		found = choose(r, name, func, is_entry);
	if (found == 1)
		return 0;
	if (name)
		return fail(r, -EINVAL, "there is no program %s in it", name);
	return fail(r, -EINVAL, found ? "there are %d programs in it: name one" :
					"there is no program in it", found);
}

static int read_image(struct reader *r, const char *path)
{
	GElf_Sym func;
	uint32_t slot;
	int err = open_elf(r, path);

	if (!err)
		err = read_sections(r);
	if (!err)
		err = check_core(r);
	if (!err)
		err = find_entry(r, r->opts->name, &func);
	if (err)
		return err;
	r->image->name = strdup(symbol_name(r, &func));
	if (!r->image->name)
		return -ENOMEM;
	err = place(r, func.st_shndx, func.st_value, &slot);
	if (!err)
		err = build_image(r);
	if (!err)
		err = name_funcs(r);
	return !err && r->obstructed ? -EINVAL : err;
}

int bpfvm_image_open_opts(struct bpfvm_image **image, const char *path,
			  const struct bpfvm_image_opts *opts)
{
	struct reader r = {
		.fd = -1,
		.opts = opts,
	};
	int err = -ENOMEM;

	*image = NULL;
	if (opts->sz != sizeof(*opts))
		return -EINVAL;
	snprintf(opts->why, opts->why_size, "out of memory");
	r.image = calloc(1, sizeof(*r.image));
	if (r.image)
		err = read_image(&r, path);
	if (r.elf)
		elf_end(r.elf);
	if (r.fd >= 0)
		close(r.fd);
	free(r.sections);
	free(r.placed);
	if (err) {
		bpfvm_image_close(r.image);
		r.image = NULL;
	} else if (opts->why_size) {
		opts->why[0] = '\0';
	}
	*image = r.image;
	return err;
}

int bpfvm_image_open(struct bpfvm_image **image, const char *path,
		     const char *name, const struct bpfvm_helper *helpers,
		     uint32_t nr_helpers, char *why, size_t why_size)
{
	struct bpfvm_image_opts opts = {
		.sz = sizeof(opts),
		.name = name,
		.helpers = helpers,
		.nr_helpers = nr_helpers,
		.why = why,
		.why_size = why_size,
	};

	return bpfvm_image_open_opts(image, path, &opts);
}

void bpfvm_image_close(struct bpfvm_image *image)
{
	if (!image)
		return;
	for (uint32_t i = 0; i < image->nr_globals; i++) {
		munmap(image->globals[i].data, image->globals[i].size ?
		       image->globals[i].size : 1);
		free((char *)image->globals[i].name);
	}
	for (uint32_t i = 0; i < image->nr_funcs; i++) {
		free(image->funcs[i].name);
		free(image->funcs[i].section);
	}
	free(image->funcs);
	free(image->globals);
	free(image->insns);
	free(image->name);
	free(image->ops);
	free(image->ops_name);
	free(image);
}
