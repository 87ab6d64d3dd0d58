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

static uint8_t compare_offset(struct jit_state *j, uint32_t len, uint32_t size)
{
	/* TMP is the offset; where there is no room for any, all are outside. */
	if (len < size) {
		x_alu(&j->code, true, X_CMP, TMP, TMP);
		return CC_E;
	}
	x_alu_imm(&j->code, true, X_CMP, TMP, len - size);
	return CC_A;
}

/* TMP is the address: make it the offset from the base at @field. */
static void subtract_base(struct jit_state *j, size_t offset)
{
	x_mem(&j->code, true, 0x2b, TMP, field(offset));
}

uint8_t compare_bounds(struct jit_state *j, const struct insn_aux *aux,
		       struct ea ea, uint32_t size)
{
	struct code *c = &j->code;

	lea(j, TMP, ea);
	switch (aux->region) {
	case REGION_DATA:
		subtract_base(j, offsetof(struct bpfvm_thread, data.base));
		x_mem(c, true, 0x3b, TMP,
		      field(offsetof(struct bpfvm_thread, data.starts) +
			    8 * log2_of(size)));
		return CC_AE;
	case REGION_CTX:
		subtract_base(j, offsetof(struct bpfvm_thread, ctx));
		return compare_offset(j, j->prog->ctx_size, size);
	case REGION_ARGS:
		subtract_base(j, offsetof(struct bpfvm_thread, args));
		return compare_offset(j, sizeof(uint64_t[3]), size);
	case REGION_STACK:
		x_alu(c, true, X_SUB, TMP, RBP);
		x_alu_imm(c, true, X_ADD, TMP,
			  BPFVM_FRAME_SIZE * (1 - aux->frame));
		return compare_offset(j, BPFVM_FRAME_SIZE, size);
	case REGION_GLOBAL:
		x_mov_imm(c, TMP2, (uintptr_t)j->prog->globals[aux->where].data);
		x_alu(c, true, X_SUB, TMP, TMP2);
		return compare_offset(j, j->prog->globals[aux->where].size,
				      size);
	default:
		x_mov_imm(c, TMP2, size);
		call_code(j, j->any);
		return CC_E;
	}
}

/* Jump away if the access at @ea, which TMP may be used for, is not allowed. */
static void check(struct jit_state *j, struct ea ea, uint32_t size)
{
	const struct insn_aux *aux = &j->prog->aux[j->pc];
	bool needless = aux->flags & AUX_PROVED || is_hoisted(j, j->pc);

	/* Of memory of a helper, only the proved size is known. */
	if (aux->region == REGION_MEM)
		return;
	if (!needless)
		jump_to_stub(j, compare_bounds(j, aux, ea, size), STUB_ACCESS);
	else if (j->prog->flags & BPFVM_CHECK_ALL)
		jump_to_stub(j, compare_bounds(j, aux, ea, size), STUB_PROOF);
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

static bool fuses_branch(const struct bpfvm_insn *insn, uint8_t reg,
			 uint8_t bytes)
{
	bool w = INSN_CLASS(insn->code) == CLS_JMP;
	bool is_unsigned = true;

	switch (INSN_OP(insn->code)) {
	case OP_JSET:
		return false;
	case OP_JSGT:
	case OP_JSGE:
	case OP_JSLT:
	case OP_JSLE:
		is_unsigned = false;
	}
	if (INSN_IS_REG(insn->code))
		return insn_dst(insn) != insn_src(insn) &&
		       bytes == (w ? 8 : 4);
	if (insn_dst(insn) != reg)
		return false;
	if (bytes == (w ? 8 : 4))
		return true;
	/* Zeros above what is loaded do not change such a comparison. */
	return is_unsigned && insn->imm >= 0 &&
	       (bytes == 4 || (bytes == 1 && insn->imm <= UINT8_MAX));
}

bool fuses(const struct jit_state *j, const struct bpfvm_insn *insn,
	   uint32_t pc, uint8_t reg, uint8_t bytes)
{
	if (j->live[pc] & BIT(reg))
		return false;
	if (insn_is_alu(insn->code)) {
		uint8_t op = INSN_OP(insn->code);

		return INSN_IS_REG(insn->code) && insn_src(insn) == reg &&
		       insn_dst(insn) != reg &&
		       (op == OP_ADD || op == OP_SUB || op == OP_OR ||
			op == OP_AND || op == OP_XOR) &&
		       bytes == (INSN_CLASS(insn->code) == CLS_ALU64 ? 8 : 4);
	}
	return insn_is_jump(insn->code) && !insn_is_ja(insn->code) &&
	       fuses_branch(insn, reg, bytes);
}

/* Is what is loaded used once, soon, where it can be taken from memory? */
static bool is_operand(const struct jit_state *j, const struct bpfvm_insn *load,
		       uint32_t last)
{
	uint8_t reg = insn_dst(load), bytes = insn_bytes(load->code);

	if (INSN_MODE(load->code) != MODE_MEM)
		return false;
	for (uint32_t pc = j->pc + 1; pc <= last && pc <= j->pc + 4; pc++) {
		const struct bpfvm_insn *insn = &j->prog->insns[pc];

		if (insn_reads(insn) & BIT(reg))
			return fuses(j, insn, pc, reg, bytes);
		if (insn_writes(insn) & BIT(reg) ||
		    INSN_CLASS(insn->code) == CLS_ST ||
		    INSN_CLASS(insn->code) == CLS_STX ||
		    INSN_CLASS(insn->code) == CLS_JMP ||
		    insn->code == CODE_LD_IMM64)
			return false;
	}
	return false;
}

/* The load waits for its use. Everything that it refers to is settled. */
static bool put_off_load(struct jit_state *j, const struct bpfvm_insn *insn,
			 uint16_t after)
{
	uint8_t dst = insn_dst(insn), src = insn_src(insn);
	/* An address that nobody needs later goes into the load. */
	uint16_t active = j->active & (after | ~BIT(src));
	struct pending address;

	if (!pending_address(j, src, insn->off, &address))
		return false;
	if ((address.base != NO_REG && address.base != dst &&
	     active & BIT(address.base)) ||
	    (address.index != NO_REG && address.index != dst &&
	     active & BIT(address.index)))
		return false;
	j->active = active;
	defer_load(j, dst, &address, insn_bytes(insn->code));
	return true;
}

/*
 * Load, change, store: one instruction, if the value is used nowhere else. The
 * last instruction of a block is compiled apart.
 */
static bool changes_memory(const struct jit_state *j,
			   const struct bpfvm_insn *insn, uint32_t last)
{
	const struct bpfvm_insn *op = insn + 1, *store = insn + 2;
	const struct insn_aux *aux = &j->prog->aux[j->pc];
	uint8_t reg = insn_dst(insn), base = insn_src(insn);
	bool wide = insn_bytes(insn->code) == 8;

	if (j->pc + 2 >= last || INSN_MODE(insn->code) != MODE_MEM ||
	    store->code != (CLS_STX | MODE_MEM | INSN_SIZE(insn->code)) ||
	    insn_dst(store) != base || insn_src(store) != reg ||
	    store->off != insn->off || base == reg || !insn_is_alu(op->code) ||
	    insn_dst(op) != reg || j->live[j->pc + 2] & BIT(reg) ||
	    (wide && INSN_CLASS(op->code) == CLS_ALU))
		return false;
	switch (INSN_OP(op->code)) {
	case OP_ADD:
	case OP_SUB:
	case OP_OR:
	case OP_AND:
	case OP_XOR:
		break;
	default:
		return false;
	}
	if (INSN_IS_REG(op->code) ? insn_src(op) == reg :
				    insn_bytes(insn->code) < 4 && !fits8(op->imm))
		return false;
	return aux[0].flags & AUX_PROVED && aux[2].flags & AUX_PROVED &&
	       aux[0].region == aux[2].region;
}

static void change_memory(struct jit_state *j, const struct bpfvm_insn *insn)
{
	const struct bpfvm_insn *change = insn + 1;
	uint8_t op = x_op_of(change);
	uint32_t bytes = insn_bytes(insn->code);
	uint8_t reg = jit_reg[insn_src(change)];
	uint16_t live = j->live[j->pc + 2] | BIT(insn_src(insn));
	struct code *c = &j->code;
	struct ea ea;

	j->active &= ~BIT(insn_dst(insn));
	settle_loads(j, live);
	if (INSN_IS_REG(change->code)) {
		live |= BIT(insn_src(change));
		settle(j, insn_src(change), live);
	}
	ea = address_of(j, insn_src(insn), insn->off, live);
	check(j, ea, bytes);
	if (bytes == 2)
		x_byte(c, 0x66);
	if (INSN_IS_REG(change->code)) {
		x_rex(c, bytes == 8, reg, ea.index, ea.base,
		      bytes == 1 && reg >= RSP && reg <= RDI);
		x_byte(c, op << 3 | (bytes > 1));
		x_modrm_ea(c, reg, ea);
		return;
	}
	x_rex(c, bytes == 8, 0, ea.index, ea.base, false);
	x_byte(c, bytes == 1 ? 0x80 : fits8(change->imm) ? 0x83 : 0x81);
	x_modrm_ea(c, op, ea);
	if (bytes == 1 || fits8(change->imm))
		x_byte(c, change->imm);
	else
		x_u32(c, change->imm);
}

static uint32_t jit_load(struct jit_state *j, const struct bpfvm_insn *insn,
			 uint32_t last)
{
	uint16_t after = j->live[j->pc];
	struct ea ea;

	if (changes_memory(j, insn, last)) {
		change_memory(j, insn);
		return 3;
	}
	if (!j->swap && is_operand(j, insn, last)) {
		ea = address_of(j, insn_src(insn), insn->off,
				after | BIT(insn_src(insn)));
		check(j, ea, insn_bytes(insn->code));
		if (put_off_load(j, insn, after))
			return 1;
		ea = load_address(j, insn, after);
	} else {
		ea = load_address(j, insn, after);
		check(j, ea, insn_bytes(insn->code));
	}
	j->active &= ~BIT(insn_dst(insn));
	load(j, insn, ea);
	return 1;
}

uint32_t jit_access(struct jit_state *j, const struct bpfvm_insn *insn,
		    uint32_t last)
{
	uint16_t after = j->live[j->pc];
	uint16_t before = (after & ~insn_writes(insn)) | insn_reads(insn);
	struct ea ea;

	if (INSN_CLASS(insn->code) == CLS_LDX)
		return jit_load(j, insn, last);
	settle_loads(j, before);
	if (insn_is_atomic(insn->code)) {
		jit_atomic(j, insn, before, after);
		return 1;
	}
	if (INSN_CLASS(insn->code) == CLS_STX)
		settle(j, insn_src(insn), before);
	ea = address_of(j, insn_dst(insn), insn->off, before);
	check(j, ea, insn_bytes(insn->code));
	store(j, insn, ea);
	return 1;
}
