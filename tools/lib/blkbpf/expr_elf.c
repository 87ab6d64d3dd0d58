// SPDX-License-Identifier: GPL-2.0
/*
 * Instructions to an object file in memory: what clang would have made of a
 * program without variables, so that there is one way into each target.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "expr.h"

#ifndef EM_BPF
#define EM_BPF 247
#endif
/* Relocations of BPF objects, from the psABI of the target. */
#define R_BPF_64_ABS64	2
#define R_BPF_64_32	10

/* struct blk_bpf_ops, as include/bpf/blk_bpf.h has it. */
struct ops {
	uint64_t filter;
	uint32_t unit;
	uint32_t overlap;
	char name[BLK_BPF_NAME_LEN];
};

enum {
	SEC_NULL, SEC_STRINGS, SEC_CODE, SEC_CODE_REL, SEC_OPS, SEC_OPS_REL,
	SEC_LICENSE, SEC_BTF, SEC_SYMBOLS, NR_SECTIONS,
};

enum { SYM_NULL, SYM_FUNC, SYM_OPS, SYM_CALLEES, NR_SYMBOLS = SYM_CALLEES + NR_CALLEES };

static const char *const section_names[NR_SECTIONS] = {
	"", ".strtab", "struct_ops/filter", ".relstruct_ops/filter",
	".struct_ops.link", ".rel.struct_ops.link", "license", ".BTF", ".symtab",
};

static const char *const symbol_names[NR_SYMBOLS] = {
	"", "filter", "filter_ops",
	[SYM_CALLEES + CALL_EMIT] = "blk_bpf_emit",
	[SYM_CALLEES + CALL_ITER_NEW] = "bpf_iter_num_new",
	[SYM_CALLEES + CALL_ITER_NEXT] = "bpf_iter_num_next",
	[SYM_CALLEES + CALL_ITER_DESTROY] = "bpf_iter_num_destroy",
};

struct file {
	FILE *f;
	Elf64_Shdr sections[NR_SECTIONS];
};

/* Ids of types that others are made of. */
struct types {
	struct btf *btf;
	int num, u32, ptr_ctx, ptr_iter, ptr_num;
};

/* What a callee takes and returns, as the kernel has it. */
static int add_callee(const struct types *t, enum callee callee)
{
	int proto = btf__add_func_proto(t->btf, callee == CALL_ITER_DESTROY ? 0 :
					callee == CALL_ITER_NEXT ? t->ptr_num :
								   t->num);

	btf__add_func_param(t->btf, callee == CALL_EMIT ? "ctx" : "it",
			    callee == CALL_EMIT ? t->ptr_ctx : t->ptr_iter);
	if (callee == CALL_EMIT) {
		btf__add_func_param(t->btf, "off", t->u32);
		btf__add_func_param(t->btf, "len", t->u32);
	} else if (callee == CALL_ITER_NEW) {
		btf__add_func_param(t->btf, "start", t->num);
		btf__add_func_param(t->btf, "end", t->num);
	}
	return btf__add_func(t->btf, symbol_names[SYM_CALLEES + callee],
			     BTF_FUNC_EXTERN, proto);
}

static int add_ops(const struct types *t)
{
	struct btf *btf = t->btf;
	int array, ptr_void, proto, filter, ops;

	array = btf__add_array(btf, t->u32, btf__add_int(btf, "char", 1,
							 BTF_INT_SIGNED),
			       BLK_BPF_NAME_LEN);
	ptr_void = btf__add_ptr(btf, 0);
	proto = btf__add_func_proto(btf, t->num);
	btf__add_func_param(btf, "ctx", t->ptr_ctx);
	btf__add_func_param(btf, "data", ptr_void);
	btf__add_func_param(btf, "data_end", ptr_void);
	filter = btf__add_ptr(btf, proto);
	ops = btf__add_struct(btf, OPS_TYPE, sizeof(struct ops));
	btf__add_field(btf, "filter", filter, 0, 0);
	btf__add_field(btf, "unit", t->u32, 8 * offsetof(struct ops, unit), 0);
	btf__add_field(btf, "overlap", t->u32, 8 * offsetof(struct ops, overlap), 0);
	btf__add_field(btf, "name", array, 8 * offsetof(struct ops, name), 0);
	return btf__add_var(btf, symbol_names[SYM_OPS], BTF_VAR_GLOBAL_ALLOCATED,
			    ops);
}

static bool is_called(const struct code *code, enum callee callee)
{
	uint32_t i;

	for (i = 0; i < code->nr_calls; i++)
		if (code->calls[i].callee == callee)
			return true;
	return false;
}

/*
 * What the program is to libbpf and the kernel. Ids are errors if negative, and
 * after an error nothing more is added: the last one tells.
 */
static int add_types(struct btf *btf, const struct code *code)
{
	struct types t = { .btf = btf };
	int ids[NR_CALLEES], u64, proto, var, last;
	enum callee callee;

	t.num = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	t.u32 = btf__add_int(btf, "unsigned int", 4, 0);
	u64 = btf__add_int(btf, "unsigned long long", 8, 0);
	t.ptr_num = btf__add_ptr(btf, t.num);
	t.ptr_ctx = btf__add_ptr(btf, btf__add_struct(btf, "blk_bpf_ctx",
						sizeof(struct blk_bpf_ctx)));
	t.ptr_iter = btf__add_ptr(btf, btf__add_struct(btf, "bpf_iter_num", 8));
	proto = btf__add_func_proto(btf, t.num);
	btf__add_func_param(btf, "args", btf__add_ptr(btf, u64));
	btf__add_func(btf, symbol_names[SYM_FUNC], BTF_FUNC_GLOBAL, proto);
	for (callee = 0; callee < NR_CALLEES; callee++)
		ids[callee] = is_called(code, callee) ? add_callee(&t, callee) : 0;
	var = add_ops(&t);
	btf__add_datasec(btf, ".struct_ops.link", sizeof(struct ops));
	last = btf__add_datasec_var_info(btf, var, 0, sizeof(struct ops));
	if (!code->nr_calls)
		return last;
	last = btf__add_datasec(btf, ".ksyms", 0);
	for (callee = 0; callee < NR_CALLEES && last >= 0; callee++)
		if (ids[callee])
			last = btf__add_datasec_var_info(btf, ids[callee], 0, 0);
	return last < 0 ? last : 0;
}

static uint32_t name_at(const char *const *names, size_t nr)
{
	uint32_t at = 0;
	size_t i;

	for (i = 0; i < nr; i++)
		at += strlen(names[i]) + 1;
	return at;
}

static void begin_section(struct file *file, int section, uint32_t type,
			  uint64_t flags, uint32_t link, uint32_t info,
			  uint64_t entry)
{
	while (ftell(file->f) % 8)
		putc(0, file->f);
	file->sections[section] = (Elf64_Shdr) {
		.sh_name = name_at(section_names, section),
		.sh_type = type,
		.sh_flags = flags,
		.sh_offset = ftell(file->f),
		.sh_link = link,
		.sh_info = info,
		.sh_addralign = 8,
		.sh_entsize = entry,
	};
}

static void end_section(struct file *file, int section)
{
	Elf64_Shdr *s = &file->sections[section];

	s->sh_size = ftell(file->f) - s->sh_offset;
}

static void write_names(struct file *file, const char *const *names, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		fwrite(names[i], 1, strlen(names[i]) + 1, file->f);
}

static void write_strings(struct file *file)
{
	begin_section(file, SEC_STRINGS, SHT_STRTAB, 0, 0, 0, 0);
	write_names(file, section_names, NR_SECTIONS);
	write_names(file, symbol_names, NR_SYMBOLS);
	end_section(file, SEC_STRINGS);
}

static void write_reloc(struct file *file, uint64_t off, uint32_t symbol,
			uint32_t type)
{
	Elf64_Rel rel = {
		.r_offset = off,
		.r_info = ELF64_R_INFO((uint64_t)symbol, type),
	};

	fwrite(&rel, sizeof(rel), 1, file->f);
}

static void write_code(struct file *file, const struct code *code)
{
	uint32_t i;

	begin_section(file, SEC_CODE, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, 0, 0,
		      0);
	fwrite(code->insns, sizeof(*code->insns), code->nr, file->f);
	end_section(file, SEC_CODE);
	begin_section(file, SEC_CODE_REL, SHT_REL, 0, SEC_SYMBOLS, SEC_CODE,
		      sizeof(Elf64_Rel));
	for (i = 0; i < code->nr_calls; i++)
		write_reloc(file, code->calls[i].at * sizeof(*code->insns),
			    SYM_CALLEES + code->calls[i].callee, R_BPF_64_32);
	end_section(file, SEC_CODE_REL);
}

static void write_ops(struct file *file, const char *name, uint32_t unit,
		      uint32_t overlap)
{
	struct ops ops = { .unit = unit, .overlap = overlap };

	strncpy(ops.name, name, sizeof(ops.name) - 1);
	begin_section(file, SEC_OPS, SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 0, 0, 0);
	fwrite(&ops, sizeof(ops), 1, file->f);
	end_section(file, SEC_OPS);
	begin_section(file, SEC_OPS_REL, SHT_REL, 0, SEC_SYMBOLS, SEC_OPS,
		      sizeof(Elf64_Rel));
	write_reloc(file, 0, SYM_FUNC, R_BPF_64_ABS64);
	end_section(file, SEC_OPS_REL);
	begin_section(file, SEC_LICENSE, SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, 0, 0,
		      0);
	fwrite("GPL", 1, 4, file->f);
	end_section(file, SEC_LICENSE);
}

static void write_symbols(struct file *file, const struct code *code)
{
	uint32_t names = name_at(section_names, NR_SECTIONS);
	Elf64_Sym symbols[NR_SYMBOLS] = {
		[SYM_FUNC] = {
			.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
			.st_shndx = SEC_CODE,
			.st_size = code->nr * sizeof(*code->insns),
		},
		[SYM_OPS] = {
			.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),
			.st_shndx = SEC_OPS,
			.st_size = sizeof(struct ops),
		},
	};
	int i;

	for (i = 1; i < NR_SYMBOLS; i++) {
		/* One that nobody calls stays empty. */
		if (i >= SYM_CALLEES && !is_called(code, i - SYM_CALLEES))
			continue;
		symbols[i].st_name = names + name_at(symbol_names, i);
		if (i >= SYM_CALLEES)
			symbols[i].st_info = ELF64_ST_INFO(STB_GLOBAL, STT_NOTYPE);
	}
	/* The first global one is the first behind the empty one. */
	begin_section(file, SEC_SYMBOLS, SHT_SYMTAB, 0, SEC_STRINGS, 1,
		      sizeof(Elf64_Sym));
	fwrite(symbols, sizeof(symbols), 1, file->f);
	end_section(file, SEC_SYMBOLS);
}

static Elf64_Ehdr write_all(struct file *file, const struct code *code,
			    const void *types, uint32_t types_size,
			    const char *name, uint32_t unit, uint32_t overlap)
{
	Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			     ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_REL,
		.e_machine = EM_BPF,
		.e_version = EV_CURRENT,
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = NR_SECTIONS,
		.e_shstrndx = SEC_STRINGS,
	};

	fwrite(&header, sizeof(header), 1, file->f);
	write_strings(file);
	write_code(file, code);
	write_ops(file, name, unit, overlap);
	begin_section(file, SEC_BTF, SHT_PROGBITS, 0, 0, 0, 0);
	fwrite(types, 1, types_size, file->f);
	end_section(file, SEC_BTF);
	write_symbols(file, code);
	while (ftell(file->f) % 8)
		putc(0, file->f);
	header.e_shoff = ftell(file->f);
	fwrite(file->sections, sizeof(file->sections), 1, file->f);
	return header;
}

int expr_elf(const struct code *code, const char *name, uint32_t unit,
	     uint32_t overlap, void **elf, size_t *size)
{
	struct btf *btf = btf__new_empty();
	struct file file = {};
	char *buffer = NULL;
	const void *types;
	Elf64_Ehdr header;
	__u32 types_size;
	int err = -ENOMEM;

	if (!btf || add_types(btf, code))
		goto out;
	types = btf__raw_data(btf, &types_size);
	file.f = open_memstream(&buffer, size);
	if (!types || !file.f)
		goto out;
	header = write_all(&file, code, types, types_size, name, unit, overlap);
	err = ferror(file.f) ? -ENOMEM : 0;
out:
	if (file.f && fclose(file.f))
		err = -ENOMEM;
	btf__free(btf);
	if (err) {
		free(buffer);
		return err;
	}
	/* Where the sections are is known at the end. */
	memcpy(buffer, &header, sizeof(header));
	*elf = buffer;
	return 0;
}
