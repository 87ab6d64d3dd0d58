// SPDX-License-Identifier: GPL-2.0
/* Objects that are made of an expression, or of bytes to search for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "expr.h"

size_t expr_column(const struct expr *expr, const char *at)
{
	return at - expr->text + 1;
}

void expr_fail(struct expr *expr, size_t column, const char *fmt, ...)
{
	char sentence[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence, sizeof(sentence), fmt, ap);
	va_end(ap);
	expr->column = column;
	blkbpf_err(EINVAL, "where: column %zu: %s", column, sentence);
	longjmp(expr->fail, 1);
}

void expr_free(struct expr *expr)
{
	struct node *node, *next;

	for (node = expr->nodes; node; node = next) {
		next = node->next;
		free(node->text);
		free(node);
	}
	btf__free(expr->layout);
}

/* An object of the instructions; takes @c over. */
static struct blkbpf_object *make_object(const char *name, const struct code *code,
					 uint32_t unit, uint32_t overlap, char *c)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = name,
		    .kernel_log_level = log_level());
	struct blkbpf_object *obj = object_new(name);
	struct bpf_object *bpf;
	int err;

	if (!obj) {
		free(c);
		return NULL;
	}
	obj->c = c;
	obj->fixed_unit = true;
	err = c ? expr_elf(code, name, unit, overlap, &obj->elf, &obj->elf_size) :
		  -ENOMEM;
	if (err) {
		blkbpf_err(err, "%s: out of memory", name);
		goto fail;
	}
	log_begin();
	bpf = bpf_object__open_mem(obj->elf, obj->elf_size, &opts);
	if (!bpf)
		blkbpf_err(errno, "%s: libbpf does not take the program: %s", name,
			   log_reason());
	log_end();
	if (bpf && !object_adopt(obj, bpf))
		return obj;
fail:
	err = errno;
	blkbpf_object__close(obj);
	errno = err;
	return NULL;
}

static int parse(struct expr *expr, const struct blkbpf_expr_opts *opts)
{
	int err = 0;

	if (opts->layout)
		err = layout_open(expr, opts->layout, opts->type ? opts->type : "");
	if (err)
		return err;
	if (!expr->record)
		return blkbpf_err(EINVAL, "where: the size of a record is missing");
	if (expr->record > BLK_BPF_UNIT_MAX)
		return blkbpf_err(EINVAL, "where: records of %u bytes are too large: at most %u",
				  expr->record, BLK_BPF_UNIT_MAX);
	if (setjmp(expr->fail))
		return -EINVAL;
	expr_parse(expr);
	return 0;
}

struct blkbpf_object *blkbpf_object__where(const char *text,
					   const struct blkbpf_expr_opts *user_opts)
{
	struct blkbpf_expr_opts opts = {};
	struct blkbpf_object *obj = NULL;
	struct expr *expr;
	struct code code = {};
	uint32_t unit;
	int err;

	if (!opts_copy(&opts, sizeof(opts), user_opts, "where"))
		return NULL;
	expr = calloc(1, sizeof(*expr));
	if (!expr) {
		blkbpf_err(ENOMEM, "where: out of memory");
		return NULL;
	}
	expr->text = text;
	expr->record = opts.record;
	if (!parse(expr, &opts) && !expr_gen(expr, &code, &unit))
		obj = make_object("where", &code, unit, 0, expr_c(expr, unit));
	err = errno;
	if (opts.column)
		*opts.column = expr->column;
	code_free(&code);
	expr_free(expr);
	free(expr);
	errno = err;
	return obj;
}

struct blkbpf_object *blkbpf_object__match(const char *text)
{
	struct blkbpf_object *obj = NULL;
	struct code code = {};
	unsigned char *bytes;
	size_t len;
	int err;

	bytes = expr_bytes(text, &len);
	if (!bytes)
		return NULL;
	if (!len)
		blkbpf_err(EINVAL, "match: there is nothing to search for: give a text, or hex: and pairs of digits");
	else if (len > EXPR_MATCH_MAX)
		blkbpf_err(EINVAL, "match: %zu bytes are too many to search for: at most %u",
			   len, EXPR_MATCH_MAX);
	else if (match_gen(bytes, len, &code))
		blkbpf_err(ENOMEM, "match: out of memory");
	else
		obj = make_object("match", &code, BLK_BPF_UNIT_DEFAULT, len - 1,
				  match_c(bytes, len));
	err = errno;
	code_free(&code);
	free(bytes);
	errno = err;
	return obj;
}

static char *dump_insns(const struct bpfvm_image *image)
{
	char *text = NULL, line[96];
	uint32_t i, pc;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	for (i = 0; i < image->nr_funcs; i++) {
		const struct bpfvm_func *func = &image->funcs[i];

		fprintf(f, "%s:\n", func->name);
		for (pc = func->slot; pc < func->slot + func->nr;) {
			int slots = bpfvm_disasm(image->insns + pc,
						 image->nr_insns - pc, pc, line,
						 sizeof(line));

			fprintf(f, "%6u: %s\n", pc, line);
			pc += slots;
		}
	}
	if (!fclose(f))
		return text;
	free(text);
	return NULL;
}

char *blkbpf_prog__dump(struct blkbpf_prog *prog, enum blkbpf_dump format)
{
	struct portable portable;
	char why[1024], *text = NULL;
	int err;

	if (format == BLKBPF_DUMP_C) {
		if (!prog->obj || !prog->obj->c) {
			blkbpf_err(EOPNOTSUPP, "program '%s': it was not made of an expression: its C is its author's",
				   prog->name);
			return NULL;
		}
		text = strdup(prog->obj->c);
	} else if (!prog->obj) {
		blkbpf_err(EOPNOTSUPP, "program '%s': it does not come from an object: 'bpftool prog dump' shows what is loaded",
			   prog->name);
		return NULL;
	} else {
		err = portable_open(prog, &portable, NULL, NULL, why, sizeof(why));
		if (err) {
			blkbpf_err(err, "program '%s': %s", prog->name, why);
			return NULL;
		}
		text = dump_insns(portable.image);
		portable_close(&portable);
		if (!prog->obj->loaded)
			object_free_memory(prog->obj);
	}
	if (!text)
		blkbpf_err(ENOMEM, "program '%s': out of memory", prog->name);
	return text;
}
