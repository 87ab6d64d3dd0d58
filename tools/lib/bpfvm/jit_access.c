// SPDX-License-Identifier: GPL-2.0
/* Loads, stores and atomic operations, with the checks that are not proved away. */
#include <stddef.h>

#include "jit.h"

static struct ea field(size_t offset)
{
	return (struct ea){ THREAD, NO_REG, 0, offset };
}

static unsigned int log2_of(unsigned int size)
{
	return size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
}

static void lea(struct jit_state *j, uint8_t to, struct ea ea)
{
	x_mem(&j->code, true, 0x8d, to, ea);
}

/* TMP is the offset into something of @len bytes: is there room for @size? */
static void check_offset(struct jit_state *j, enum stub_kind kind,
			 uint32_t len, uint32_t size)
{
	if (len < size) {
		jump_to_stub(j, NO_REG, kind);
		return;
	}
	x_alu_imm(&j->code, true, X_CMP, TMP, len - size);
	jump_to_stub(j, CC_A, kind);
}

static void check_any_memory(struct jit_state *j, enum stub_kind kind,
			     uint32_t size)
{
	x_mov_imm(&j->code, TMP2, size);
	call_code(j, j->any);
	jump_to_stub(j, CC_E, kind);
}

/* Jump away if the access at @ea, which TMP may be used for, is not allowed. */
static void check_bounds(struct jit_state *j, struct ea ea, uint32_t size,
			 enum stub_kind kind)
{
	const struct insn_aux *aux = &j->prog->aux[j->pc];
	struct code *c = &j->code;

	switch (aux->region) {
	case REGION_DATA:
		lea(j, TMP, ea);
		x_mem(c, true, 0x2b, TMP,
		      field(offsetof(struct bpfvm_thread, data.base)));
		x_mem(c, true, 0x3b, TMP,
		      field(offsetof(struct bpfvm_thread, data.starts) +
			    8 * log2_of(size)));
		jump_to_stub(j, CC_AE, kind);
		break;
	case REGION_CTX:
		lea(j, TMP, ea);
		x_mem(c, true, 0x2b, TMP,
		      field(offsetof(struct bpfvm_thread, ctx)));
		check_offset(j, kind, j->prog->ctx_size, size);
		break;
	case REGION_ARGS:
		lea(j, TMP, ea);
		x_mem(c, true, 0x2b, TMP,
		      field(offsetof(struct bpfvm_thread, args)));
		check_offset(j, kind, 24, size);
		break;
	case REGION_STACK:
		lea(j, TMP, ea);
		x_alu(c, true, X_SUB, TMP, RBP);
		x_alu_imm(c, true, X_ADD, TMP,
			  BPFVM_FRAME_SIZE * (1 - aux->frame));
		check_offset(j, kind, BPFVM_FRAME_SIZE, size);
		break;
	case REGION_GLOBAL:
		lea(j, TMP, ea);
		x_mov_imm(c, TMP2, (uintptr_t)j->prog->globals[aux->where].data);
		x_alu(c, true, X_SUB, TMP, TMP2);
		check_offset(j, kind, j->prog->globals[aux->where].size, size);
		break;
	case REGION_ANY:
		lea(j, TMP, ea);
		check_any_memory(j, kind, size);
		break;
	}
}

static void check(struct jit_state *j, struct ea ea, uint32_t size)
{
	bool proved = j->prog->aux[j->pc].flags & AUX_PROVED;

	if (!proved)
		check_bounds(j, ea, size, STUB_ACCESS);
	else if (j->prog->flags & BPFVM_CHECK_ALL)
		check_bounds(j, ea, size, STUB_PROOF);
}

static void load(struct jit_state *j, const struct bpfvm_insn *insn,
		 struct ea ea)
{
	struct code *c = &j->code;
	uint8_t to = jit_reg[insn_dst(insn)];
	bool sx = INSN_MODE(insn->code) == MODE_MEMSX;
	uint8_t size = INSN_SIZE(insn->code);

	if (j->swap) {
		x_movbe(c, size == SZ_DW, size == SZ_H, to, ea);
		if (size == SZ_H)
			x_reg0f(c, false, 0xb7, to, to, false);
		return;
	}
	switch (size) {
	case SZ_B:
		x_mem0f(c, sx, sx ? 0xbe : 0xb6, to, ea);
		break;
	case SZ_H:
		x_mem0f(c, sx, sx ? 0xbf : 0xb7, to, ea);
		break;
	case SZ_W:
		x_mem(c, sx, sx ? 0x63 : 0x8b, to, ea);
		break;
	default:
		x_mem(c, true, 0x8b, to, ea);
	}
}

static void store(struct jit_state *j, const struct bpfvm_insn *insn,
		  struct ea ea)
{
	struct code *c = &j->code;
	bool imm = INSN_CLASS(insn->code) == CLS_ST;
	uint8_t from = imm ? 0 : jit_reg[insn_src(insn)];
	uint8_t size = INSN_SIZE(insn->code);

	if (size == SZ_H)
		x_byte(c, 0x66);
	/* SPL, BPL, SIL and DIL are what they are only with a REX. */
	x_rex(c, size == SZ_DW, from, ea.index, ea.base,
	      size == SZ_B && from >= RSP && from <= RDI);
	if (imm)
		x_byte(c, size == SZ_B ? 0xc6 : 0xc7);
	else
		x_byte(c, size == SZ_B ? 0x88 : 0x89);
	x_modrm_ea(c, from, ea);
	if (!imm)
		return;
	if (size == SZ_B) {
		x_byte(c, insn->imm);
	} else if (size == SZ_H) {
		x_byte(c, insn->imm);
		x_byte(c, insn->imm >> 8);
	} else {
		x_u32(c, insn->imm);
	}
}

/* TMP2 has the address: old value to @src, which took part in @op. */
static void fetch_by_compare(struct jit_state *j, uint8_t op, uint8_t src,
			     bool w)
{
	struct code *c = &j->code;
	const struct ea at = { TMP2, NO_REG, 0, 0 };
	uint8_t changed = src == RDX ? RCX : RDX;
	uint8_t operand = src == RAX ? TMP : src;
	uint32_t again;

	x_push(c, changed);
	x_mov(c, true, TMP, RAX);
	again = c->len;
	x_mem(c, w, 0x8b, RAX, at);
	x_mov(c, true, changed, RAX);
	x_alu(c, w, op, changed, operand);
	x_byte(c, 0xf0);
	x_mem0f(c, w, 0xb1, changed, at);
	x_back(c, CC_NE, again);
	x_pop(c, changed);
	if (src != RAX) {
		x_mov(c, true, src, RAX);
		x_mov(c, true, RAX, TMP);
	}
}

static uint8_t group_op(uint8_t op)
{
	return op == OP_AND ? X_AND : op == OP_OR ? X_OR :
	       op == OP_XOR ? X_XOR : X_ADD;
}

/* TMP2 has the address, which is checked. */
static void atomic(struct jit_state *j, const struct bpfvm_insn *insn)
{
	struct code *c = &j->code;
	const struct ea at = { TMP2, NO_REG, 0, 0 };
	bool w = INSN_SIZE(insn->code) == SZ_DW;
	uint8_t src = jit_reg[insn_src(insn)];
	uint8_t op = group_op(INSN_OP(insn->imm));

	switch (insn->imm) {
	case ATOMIC_XCHG:
		x_mem(c, w, 0x87, src, at);
		break;
	case ATOMIC_CMPXCHG:
		x_byte(c, 0xf0);
		x_mem0f(c, w, 0xb1, src, at);
		if (!w)
			x_mov(c, false, RAX, RAX);
		break;
	case OP_ADD | ATOMIC_FETCH:
		x_byte(c, 0xf0);
		x_mem0f(c, w, 0xc1, src, at);
		break;
	default:
		if (insn->imm & ATOMIC_FETCH) {
			fetch_by_compare(j, op, src, w);
		} else {
			x_byte(c, 0xf0);
			x_mem(c, w, op << 3 | 1, src, at);
		}
	}
}

static void jit_atomic(struct jit_state *j, const struct bpfvm_insn *insn,
		       uint16_t before, uint16_t after)
{
	uint32_t size = insn_bytes(insn->code);
	uint8_t src = insn_src(insn);
	struct ea ea;

	settle(j, src, before);
	if (insn->imm == ATOMIC_CMPXCHG)
		settle(j, 0, before);
	ea = address_of(j, insn_dst(insn), insn->off, before);
	check(j, ea, size);
	lea(j, TMP2, ea);
	if (!(j->prog->aux[j->pc].flags & AUX_ALIGNED)) {
		x_test_imm(&j->code, false, TMP2, size - 1);
		jump_to_stub(j, CC_NE, STUB_ALIGN);
	}
	/* The address is in TMP2: nothing is lost by settling what is over. */
	if (insn->imm & ATOMIC_FETCH)
		before_write(j, insn->imm == ATOMIC_CMPXCHG ? 0 : src, after);
	atomic(j, insn);
}

/* The address of a load, where its destination can be overwritten. */
static struct ea load_address(struct jit_state *j,
			      const struct bpfvm_insn *insn, uint16_t after)
{
	uint8_t dst = insn_dst(insn), src = insn_src(insn);
	bool others = after & BIT(src);

	for (uint8_t r = 0; r < 11; r++)
		others |= r != src && r != dst && (j->active & BIT(r)) &&
			  (after & BIT(r)) && (j->pending[r].base == dst ||
					       j->pending[r].index == dst);
	if (others) {
		if (dst != src)
			j->active &= ~BIT(dst);
		before_write(j, dst, after | BIT(src));
	}
	return address_of(j, src, insn->off, after | BIT(src));
}

void jit_access(struct jit_state *j, const struct bpfvm_insn *insn)
{
	uint16_t after = j->live[j->pc];
	uint16_t before = (after & ~insn_writes(insn)) | insn_reads(insn);
	uint32_t size = insn_bytes(insn->code);
	uint8_t dst = insn_dst(insn);
	struct ea ea;

	if (insn_is_atomic(insn->code)) {
		jit_atomic(j, insn, before, after);
		return;
	}
	if (INSN_CLASS(insn->code) == CLS_LDX) {
		ea = load_address(j, insn, after);
		check(j, ea, size);
		j->active &= ~BIT(dst);
		load(j, insn, ea);
		return;
	}
	if (INSN_CLASS(insn->code) == CLS_STX)
		settle(j, insn_src(insn), before);
	ea = address_of(j, dst, insn->off, before);
	check(j, ea, size);
	store(j, insn, ea);
}
