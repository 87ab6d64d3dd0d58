// SPDX-License-Identifier: GPL-2.0
/*
 * Values that are put off.
 *
 * BPF computes addresses with two-operand additions, one at a time; x86 does
 * that inside loads and stores. So moves, additions and small shifts are not
 * compiled where they stand but remembered, as an expression over the contents
 * of registers, and become part of the addresses they are used in. Before a
 * content is overwritten, the expressions over it that are still needed are
 * computed. At the end of a block nothing is put off any more.
 *
 * An expression refers to registers that had nothing put off when it was made,
 * and to its own register: so there is always an order to compute them in.
 */
#include "jit.h"

static bool refers(const struct pending *p, uint8_t reg)
{
	return p->base == reg || p->index == reg;
}

static uint8_t host(uint8_t reg)
{
	return reg == NO_REG ? NO_REG : jit_reg[reg];
}

static struct ea to_ea(const struct pending *p)
{
	return (struct ea){ host(p->base), host(p->index), p->scale, p->disp };
}

static void compute_load(struct jit_state *j, uint8_t to,
			 const struct pending *p)
{
	struct code *c = &j->code;

	switch (p->load) {
	case 1:
		x_mem0f(c, false, 0xb6, to, to_ea(p));
		break;
	case 2:
		x_mem0f(c, false, 0xb7, to, to_ea(p));
		break;
	default:
		x_mem(c, p->load == 8, 0x8b, to, to_ea(p));
	}
}

static void compute(struct jit_state *j, uint8_t reg, const struct pending *p)
{
	struct code *c = &j->code;
	uint8_t to = jit_reg[reg];

	if (p->load) {
		compute_load(j, to, p);
		return;
	}
	if (p->base == NO_REG && p->index == NO_REG) {
		/* Nothing is put off between a comparison and its jump. */
		if (p->disp)
			x_mov_imm(c, to, p->disp);
		else
			x_alu(c, false, X_XOR, to, to);
		return;
	}
	if (p->index == NO_REG) {
		if (p->base == reg && p->disp)
			x_alu_imm(c, true, X_ADD, to, p->disp);
		else if (p->base != reg && p->disp)
			x_mem(c, true, 0x8d, to, to_ea(p));
		else if (p->base != reg)
			x_mov(c, true, to, host(p->base));
		return;
	}
	if (p->base == NO_REG && !p->disp) {
		if (p->index != reg)
			x_mov(c, true, to, host(p->index));
		if (p->scale)
			x_shift_imm(c, true, X_SHL, to, p->scale);
		return;
	}
	if (p->base == reg && !p->scale && !p->disp) {
		x_alu(c, true, X_ADD, to, host(p->index));
		return;
	}
	x_mem(c, true, 0x8d, to, to_ea(p));
}

static bool is_pending(const struct jit_state *j, uint8_t reg)
{
	return j->active & BIT(reg);
}

void before_write(struct jit_state *j, uint8_t reg, uint16_t live)
{
	if (!(j->active & ~BIT(reg)))
		return;
	for (uint8_t r = 0; r < 11; r++) {
		if (r == reg || !(j->active & BIT(r)) ||
		    !refers(&j->pending[r], reg))
			continue;
		if (live & BIT(r))
			settle(j, r, live);
		else
			j->active &= ~BIT(r);
	}
}

void settle(struct jit_state *j, uint8_t reg, uint16_t live)
{
	struct pending p = j->pending[reg];

	if (!is_pending(j, reg))
		return;
	/* Not pending itself while the others that refer to it are computed. */
	before_write(j, reg, live);
	j->active &= ~BIT(reg);
	compute(j, reg, &p);
}

void settle_all(struct jit_state *j, uint16_t live)
{
	forget_dead(j, live);
	for (uint8_t r = 0; r < 11 && j->active; r++)
		settle(j, r, live);
}

void forget_dead(struct jit_state *j, uint16_t live)
{
	j->active &= live;
}

bool is_load(const struct jit_state *j, uint8_t reg)
{
	return is_pending(j, reg) && j->pending[reg].load;
}

struct ea load_ea(const struct jit_state *j, uint8_t reg)
{
	return to_ea(&j->pending[reg]);
}

void settle_loads(struct jit_state *j, uint16_t live)
{
	for (uint8_t r = 0; r < 11 && j->active; r++)
		if (is_load(j, r))
			settle(j, r, live);
}

bool pending_address(struct jit_state *j, uint8_t reg, int32_t off,
		     struct pending *address)
{
	*address = (struct pending){ reg, NO_REG, 0, 0, off };
	if (!is_pending(j, reg))
		return true;
	if (j->pending[reg].load ||
	    __builtin_add_overflow(j->pending[reg].disp, off, &address->disp))
		return false;
	address->base = j->pending[reg].base;
	address->index = j->pending[reg].index;
	address->scale = j->pending[reg].scale;
	return true;
}

void defer_load(struct jit_state *j, uint8_t dst, const struct pending *address,
		uint8_t bytes)
{
	j->active |= BIT(dst);
	j->pending[dst] = *address;
	j->pending[dst].load = bytes;
}

struct ea address_of(struct jit_state *j, uint8_t reg, int32_t off,
		     uint16_t live)
{
	struct pending *p = &j->pending[reg];
	struct ea ea = { jit_reg[reg], NO_REG, 0, off };
	int32_t disp;

	if (is_load(j, reg))
		settle(j, reg, live);
	if (!is_pending(j, reg))
		return ea;
	if (__builtin_add_overflow(p->disp, off, &disp)) {
		settle(j, reg, live);
		return ea;
	}
	ea = to_ea(p);
	ea.disp = disp;
	return ea;
}

/* The expression for the value of @reg, to be extended. */
static struct pending *expression(struct jit_state *j, uint8_t reg)
{
	struct pending *p = &j->pending[reg];

	if (!is_pending(j, reg)) {
		j->active |= BIT(reg);
		*p = (struct pending){ reg, NO_REG, 0, 0, 0 };
	}
	return p;
}

void defer_constant(struct jit_state *j, uint8_t dst, int32_t value)
{
	j->active |= BIT(dst);
	j->pending[dst] = (struct pending){ NO_REG, NO_REG, 0, 0, value };
}

static bool defer_add_imm(struct jit_state *j, uint8_t dst, int64_t imm,
			  uint16_t live)
{
	struct pending *p;
	int32_t disp;

	if (!fits32(imm))
		return false;
	if ((j->active & BIT(dst)) &&
	    __builtin_add_overflow(j->pending[dst].disp, (int32_t)imm, &disp))
		settle(j, dst, live);
	p = expression(j, dst);
	p->disp += imm;
	return true;
}

static bool defer_add(struct jit_state *j, uint8_t dst, uint8_t src,
		      uint16_t live)
{
	struct pending *p = &j->pending[dst];
	struct pending *s = &j->pending[src];

	if (dst == src) {
		settle(j, dst, live);
		p = expression(j, dst);
		p->index = dst;
		return true;
	}
	if (is_load(j, src))
		settle(j, src, live);
	/* A constant. */
	if (is_pending(j, src) && s->base == NO_REG && s->index == NO_REG)
		return defer_add_imm(j, dst, s->disp, live);
	/* A scaled index becomes the index, if its register is settled. */
	if (is_pending(j, src) && s->base == NO_REG && !s->disp &&
	    s->index != NO_REG && s->index != dst &&
	    (s->index == src || !(j->active & BIT(s->index))) &&
	    (!is_pending(j, dst) || p->index == NO_REG)) {
		uint8_t index = s->index, scale = s->scale;

		if (index != src) {
			p = expression(j, dst);
			p->index = index;
			p->scale = scale;
			return true;
		}
		/* Its own register is overwritten when it is computed. */
		if (!(j->live[j->pc] & BIT(src))) {
			j->active &= ~BIT(src);
			p = expression(j, dst);
			p->index = index;
			p->scale = scale;
			return true;
		}
	}
	settle(j, src, live);
	if (is_pending(j, dst) && p->index != NO_REG && p->base != NO_REG)
		settle(j, dst, live);
	/* That may have been computed because it refers to the other. */
	p = expression(j, dst);
	if (p->base == NO_REG)
		p->base = src;
	else
		p->index = src;
	return true;
}

static bool defer_shift(struct jit_state *j, uint8_t dst, int32_t by,
			uint16_t live)
{
	struct pending *p = &j->pending[dst];

	if (by < 1 || by > 3)
		return false;
	if (is_pending(j, dst) &&
	    (p->index != NO_REG || p->disp || p->base == NO_REG))
		settle(j, dst, live);
	p = expression(j, dst);
	p->index = p->base;
	p->base = NO_REG;
	p->scale = by;
	return true;
}

static bool defer_mov(struct jit_state *j, uint8_t dst, uint8_t src,
		      uint16_t live)
{
	struct pending *p = &j->pending[dst];

	if (dst == src)
		return true;
	settle(j, src, live | BIT(src));
	j->active |= BIT(dst);
	*p = (struct pending){ src, NO_REG, 0, 0, 0 };
	return true;
}

bool defer(struct jit_state *j, const struct bpfvm_insn *insn, uint16_t live)
{
	uint8_t dst = insn_dst(insn), src = insn_src(insn);
	bool reg = INSN_IS_REG(insn->code);
	bool wide = INSN_CLASS(insn->code) == CLS_ALU64 ||
		    j->prog->aux[j->pc].flags & AUX_WIDE;

	if (!wide)
		return false;
	if (is_load(j, dst) && INSN_OP(insn->code) != OP_MOV)
		settle(j, dst, live);
	switch (INSN_OP(insn->code)) {
	case OP_ADD:
		return reg ? defer_add(j, dst, src, live) :
			     defer_add_imm(j, dst, insn->imm, live);
	case OP_SUB:
		return !reg && defer_add_imm(j, dst, -(int64_t)insn->imm, live);
	case OP_LSH:
		return !reg && defer_shift(j, dst, insn->imm, live);
	case OP_MOV:
		return reg && !insn->off && defer_mov(j, dst, src, live);
	}
	return false;
}
