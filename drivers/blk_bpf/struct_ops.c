// SPDX-License-Identifier: GPL-2.0
/*
 * The BPF struct_ops type blk_bpf_ops: what a program may look like.
 *
 * A filter gets its data as an XDP program does, by a packet pointer that the
 * verifier follows, so that reads are direct and checked once. Everything that
 * would let such a pointer be written through is refused here.
 */
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/ctype.h>
#include <linux/filter.h>
#include <linux/log2.h>
#include <linux/module.h>

#include "run.h"

/* The module's BTF, on top of vmlinux's; valid while the module is loaded. */
static struct btf *blk_bpf_btf;
/* Of struct blk_bpf_kctx; learned when the first program is checked. */
static u32 kctx_type_id;

/* Kfuncs of vmlinux that take no memory that a program could write through. */
BTF_SET_START(allowed_vmlinux_kfuncs)
BTF_ID(func, bpf_iter_num_new)
BTF_ID(func, bpf_iter_num_next)
BTF_ID(func, bpf_iter_num_destroy)
BTF_SET_END(allowed_vmlinux_kfuncs)

/* Our own: of the BTF that comes with us. */
BTF_ID_LIST_SINGLE(emit_id, func, blk_bpf_emit)

/* The type of that id in the module's BTF or in vmlinux's, without qualifiers. */
const struct btf_type *blk_bpf_type_by_id(u32 *id)
{
	const struct btf_type *t;

	for (;;) {
		t = btf_type_by_id(blk_bpf_btf, *id);
		if (!t)
			return NULL;
		switch (BTF_INFO_KIND(t->info)) {
		case BTF_KIND_TYPEDEF:
		case BTF_KIND_CONST:
		case BTF_KIND_VOLATILE:
		case BTF_KIND_RESTRICT:
		case BTF_KIND_TYPE_TAG:
			*id = t->type;
			break;
		default:
			return t;
		}
	}
}

/*
 * The verifier: what a program may access
 */

#define ARG_CTX		0
#define ARG_DATA	1
#define ARG_DATA_END	2

/*
 * Loads from the argument array. Half a pointer would be a number to the
 * verifier and a leak to the program, so data and data_end are whole or not.
 */
static bool ops_is_valid_access(int off, int size, enum bpf_access_type type,
				const struct bpf_prog *prog,
				struct bpf_insn_access_aux *info)
{
	int arg = off / (int)sizeof(u64);

	if (off < 0 || type != BPF_READ) {
		bpf_log(info->log, "blk_bpf: the argument array is read-only\n");
		return false;
	}
	if (arg != ARG_DATA && arg != ARG_DATA_END)
		return bpf_tracing_btf_ctx_access(off, size, type, prog, info);

	if (size != sizeof(u64) || off % sizeof(u64)) {
		bpf_log(info->log,
			"blk_bpf: data and data_end are loaded as 8 bytes, not %d\n",
			size);
		return false;
	}
	info->reg_type = arg == ARG_DATA ? PTR_TO_PACKET : PTR_TO_PACKET_END;
	return true;
}

/* Writes through a BTF pointer: the state words of a ctx and nothing else. */
static int ops_btf_struct_access(struct bpf_verifier_log *log,
				 const struct bpf_reg_state *reg, int off,
				 int size)
{
	const int first = offsetof(struct blk_bpf_ctx, state);
	const int end = first + sizeof_field(struct blk_bpf_ctx, state);

	if (reg->btf != blk_bpf_btf || reg->btf_id != READ_ONCE(kctx_type_id)) {
		bpf_log(log, "blk_bpf: only ctx->state can be written, no other kernel memory\n");
		return -EACCES;
	}
	if (off < first || off + size > end) {
		bpf_log(log,
			"blk_bpf: write of %d bytes at offset %d of ctx: only ctx->state (offsets %d to %d) can be written\n",
			size, off, first, end - 1);
		return -EACCES;
	}
	return 0;
}

static const struct bpf_func_proto *
ops_get_func_proto(enum bpf_func_id id, const struct bpf_prog *prog)
{
	return bpf_base_func_proto(id, prog);
}

static const struct bpf_verifier_ops blk_bpf_verifier_ops = {
	.get_func_proto		= ops_get_func_proto,
	.is_valid_access	= ops_is_valid_access,
	.btf_struct_access	= ops_btf_struct_access,
};

/*
 * A program, before the verifier walks it
 */

/*
 * Memory that is passed to a global function counts as writable there, a
 * packet pointer included (check_mem_reg() in the verifier tests both kinds of
 * access and ignores the answer about writing), so that a global function
 * could change the data of a bio in flight.
 */
static int check_no_global_function(const struct bpf_prog *prog)
{
	const struct bpf_func_info_aux *aux = prog->aux->func_info_aux;
	u32 i;

	for (i = 1; aux && i < prog->aux->func_info_cnt; i++) {
		if (aux[i].linkage == BTF_FUNC_GLOBAL)
			return blk_bpf_refuse(NULL, -EACCES,
				"program %s: function %u is global, and a global function could write to the data of a bio: declare it static (with __noinline if it is to stay a function)",
				prog->aux->name, i);
	}
	return 0;
}

/*
 * For the same reason: kfuncs whose memory arguments are taken as writable. An
 * offset that is not 0 says that it is a module's, but not of which one: that
 * is the verifier's. So of modules' functions the number of our own passes.
 */
static int check_kfuncs(const struct bpf_prog *prog)
{
	const struct bpf_insn *insn = prog->insnsi;
	u32 i;

	for (i = 0; i < prog->len; i++, insn++) {
		if (insn->code != (BPF_JMP | BPF_CALL) ||
		    insn->src_reg != BPF_PSEUDO_KFUNC_CALL ||
		    insn->imm == emit_id[0])
			continue;
		if (insn->off ||
		    !btf_id_set_contains(&allowed_vmlinux_kfuncs, insn->imm))
			return blk_bpf_refuse(NULL, -EACCES,
				"program %s: instruction %u calls a kernel function (BTF id %d) that filters may not call: use blk_bpf_emit() and bpf_for() only",
				prog->aux->name, i, insn->imm);
	}
	return 0;
}

static int ops_check_member(const struct btf_type *t,
			    const struct btf_member *member,
			    const struct bpf_prog *prog)
{
	const struct btf_type *proto;
	u32 id;
	int err;

	/* @member is a pointer to a function whose first argument is the ctx. */
	id = member->type;
	id = blk_bpf_type_by_id(&id)->type;
	proto = blk_bpf_type_by_id(&id);
	id = btf_params(proto)[0].type;
	id = blk_bpf_type_by_id(&id)->type;
	blk_bpf_type_by_id(&id);
	WRITE_ONCE(kctx_type_id, id);

	if (prog->sleepable)
		return blk_bpf_refuse(NULL, -EINVAL,
			"program %s is sleepable, but filters run in completion context: use SEC(\"struct_ops/filter\"), without .s",
			prog->aux->name);
	err = check_no_global_function(prog);
	if (err)
		return err;
	return check_kfuncs(prog);
}

/*
 * A map, when its value is set
 */

static int init_name(struct blk_bpf_ops *ops, const struct blk_bpf_ops *uops)
{
	size_t len = strnlen(uops->name, sizeof(uops->name));
	size_t i;

	if (len == sizeof(uops->name))
		return blk_bpf_refuse(NULL, -EINVAL,
			".name has no end: at most %zu letters",
			sizeof(uops->name) - 1);
	for (i = 0; i < len; i++) {
		if (!isalnum(uops->name[i]) && !strchr("_.-", uops->name[i]))
			return blk_bpf_refuse(NULL, -EINVAL,
				".name: letter %zu (0x%02x) is not allowed: use letters, digits, '_', '.' and '-'",
				i + 1, (unsigned char)uops->name[i]);
	}
	memcpy(ops->name, uops->name, len);
	return 1;
}

static int init_unit(struct blk_bpf_ops *ops, const struct blk_bpf_ops *uops)
{
	if (uops->unit > BLK_BPF_UNIT_MAX)
		return blk_bpf_refuse(NULL, -EINVAL,
			".unit = %u is too large: at most %u bytes, because the verifier follows a data pointer for 64 KiB",
			uops->unit, BLK_BPF_UNIT_MAX);
	ops->unit = uops->unit ?: BLK_BPF_UNIT_DEFAULT;
	return 1;
}

static int init_overlap(struct blk_bpf_ops *ops, const struct blk_bpf_ops *uops)
{
	if (uops->overlap > BLK_BPF_OVERLAP_MAX)
		return blk_bpf_refuse(NULL, -EINVAL,
			".overlap = %u is too large: at most %u bytes",
			uops->overlap, BLK_BPF_OVERLAP_MAX);
	ops->overlap = uops->overlap;
	return 1;
}

static int ops_init_member(const struct btf_type *t,
			   const struct btf_member *member,
			   void *kdata, const void *udata)
{
	switch (__btf_member_bit_offset(t, member) / 8) {
	case offsetof(struct blk_bpf_ops, name):
		return init_name(kdata, udata);
	case offsetof(struct blk_bpf_ops, unit):
		return init_unit(kdata, udata);
	case offsetof(struct blk_bpf_ops, overlap):
		return init_overlap(kdata, udata);
	}
	return 0;
}

static int ops_validate(void *kdata)
{
	const struct blk_bpf_ops *ops = kdata;

	if (!ops->filter)
		return blk_bpf_refuse(NULL, -EINVAL,
			"the program has no .filter: BLK_BPF_PROGRAM(name, .filter = (void *)function)");
	return 0;
}

/*
 * A link: a program that can be attached
 */

static int ops_reg(void *kdata, struct bpf_link *link)
{
	if (!link)
		return blk_bpf_refuse(NULL, -EOPNOTSUPP,
			"the program is in section .struct_ops: put it into .struct_ops.link, as BLK_BPF_PROGRAM() does, so that a link holds it");
	return blk_bpf_link_add(kdata, link);
}

static void ops_unreg(void *kdata, struct bpf_link *link)
{
	if (link)
		blk_bpf_link_del(link);
}

static int ops_update(void *kdata, void *old_kdata, struct bpf_link *link)
{
	return blk_bpf_link_update(kdata, link);
}

static int ops_init(struct btf *btf)
{
	blk_bpf_btf = btf;
	return 0;
}

static int cfi_filter(struct blk_bpf_kctx *ctx, void *data, void *data_end)
{
	return 0;
}

static struct blk_bpf_ops blk_bpf_cfi_stubs = {
	.filter	= cfi_filter,
};

static struct bpf_struct_ops bpf_blk_bpf_ops = {
	.verifier_ops	= &blk_bpf_verifier_ops,
	.init		= ops_init,
	.check_member	= ops_check_member,
	.init_member	= ops_init_member,
	.validate	= ops_validate,
	.reg		= ops_reg,
	.unreg		= ops_unreg,
	.update		= ops_update,
	.cfi_stubs	= &blk_bpf_cfi_stubs,
	.name		= "blk_bpf_ops",
	.owner		= THIS_MODULE,
};

bool blk_bpf_is_our_st_ops(const struct bpf_struct_ops *st_ops)
{
	return st_ops == &bpf_blk_bpf_ops;
}

int blk_bpf_struct_ops_init(void)
{
	return register_bpf_struct_ops(&bpf_blk_bpf_ops, blk_bpf_ops);
}
