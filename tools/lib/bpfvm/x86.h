/* SPDX-License-Identifier: GPL-2.0 */
/* Encoding of x86-64 instructions (Intel SDM, volume 2). */
#ifndef BPFVM_X86_H
#define BPFVM_X86_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
	RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI,
	R8, R9, R10, R11, R12, R13, R14, R15,
	NO_REG = 0xff,
};

/* condition codes */
enum {
	CC_B	= 0x2,
	CC_AE	= 0x3,
	CC_E	= 0x4,
	CC_NE	= 0x5,
	CC_BE	= 0x6,
	CC_A	= 0x7,
	CC_S	= 0x8,
	CC_L	= 0xc,
	CC_GE	= 0xd,
	CC_LE	= 0xe,
	CC_G	= 0xf,
};

/* The /digit of the immediate group, and the opcode of the others. */
enum {
	X_ADD	= 0,
	X_OR	= 1,
	X_AND	= 4,
	X_SUB	= 5,
	X_XOR	= 6,
	X_CMP	= 7,
};

enum {
	X_SHL	= 4,
	X_SHR	= 5,
	X_SAR	= 7,
};

/* An address: base + index * (1 << scale) + disp. */
struct ea {
	uint8_t base;
	uint8_t index;
	uint8_t scale;
	int32_t disp;
};

/* Where code goes; with no buffer, it is only measured. */
struct code {
	uint8_t *at;
	uint32_t len;
};

static inline void x_byte(struct code *c, uint8_t byte)
{
	if (c->at)
		c->at[c->len] = byte;
	c->len++;
}

static inline void x_u32(struct code *c, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		x_byte(c, value >> 8 * i);
}

static inline void x_u64(struct code *c, uint64_t value)
{
	x_u32(c, value);
	x_u32(c, value >> 32);
}

static inline bool fits8(int64_t value)
{
	return value == (int8_t)value;
}

static inline bool fits32(int64_t value)
{
	return value == (int32_t)value;
}

/* REX if one is needed; @byte_reg: an 8-bit register that needs one to be named */
static inline void x_rex(struct code *c, bool w, uint8_t reg, uint8_t index,
			 uint8_t base, bool byte_reg)
{
	uint8_t rex = 0x40 | w << 3 | (reg >> 3 & 1) << 2 |
		      (index != NO_REG ? (index >> 3 & 1) << 1 : 0) |
		      (base != NO_REG ? base >> 3 & 1 : 0);

	if (rex != 0x40 || byte_reg)
		x_byte(c, rex);
}

static inline void x_modrm_reg(struct code *c, uint8_t reg, uint8_t rm)
{
	x_byte(c, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static inline void x_modrm_ea(struct code *c, uint8_t reg, struct ea ea)
{
	bool sib = ea.index != NO_REG || (ea.base & 7) == RSP ||
		   ea.base == NO_REG;
	uint8_t mod = 2;

	if (ea.base == NO_REG)
		mod = 0;
	else if (ea.disp == 0 && (ea.base & 7) != RBP)
		mod = 0;
	else if (fits8(ea.disp))
		mod = 1;
	x_byte(c, mod << 6 | (reg & 7) << 3 | (sib ? 4 : ea.base & 7));
	if (sib)
		x_byte(c, ea.scale << 6 |
			  (ea.index == NO_REG ? 4 : ea.index & 7) << 3 |
			  (ea.base == NO_REG ? 5 : ea.base & 7));
	if (mod == 1)
		x_byte(c, ea.disp);
	else if (mod == 2 || ea.base == NO_REG)
		x_u32(c, ea.disp);
}

/* opcode with a register and an address */
static inline void x_mem(struct code *c, bool w, uint8_t opcode, uint8_t reg,
			 struct ea ea)
{
	x_rex(c, w, reg, ea.index, ea.base, false);
	x_byte(c, opcode);
	x_modrm_ea(c, reg, ea);
}

static inline void x_mem0f(struct code *c, bool w, uint8_t opcode, uint8_t reg,
			   struct ea ea)
{
	x_rex(c, w, reg, ea.index, ea.base, false);
	x_byte(c, 0x0f);
	x_byte(c, opcode);
	x_modrm_ea(c, reg, ea);
}

/* MOVBE: a load that swaps bytes; of 16 bits it leaves the others alone */
static inline void x_movbe(struct code *c, bool w, bool half, uint8_t reg,
			   struct ea ea)
{
	if (half)
		x_byte(c, 0x66);
	x_rex(c, w, reg, ea.index, ea.base, false);
	x_byte(c, 0x0f);
	x_byte(c, 0x38);
	x_byte(c, 0xf0);
	x_modrm_ea(c, reg, ea);
}

/* opcode with two registers: @reg in the reg field, @rm in the r/m field */
static inline void x_reg(struct code *c, bool w, uint8_t opcode, uint8_t reg,
			 uint8_t rm)
{
	x_rex(c, w, reg, NO_REG, rm, false);
	x_byte(c, opcode);
	x_modrm_reg(c, reg, rm);
}

static inline void x_reg0f(struct code *c, bool w, uint8_t opcode, uint8_t reg,
			   uint8_t rm, bool byte_reg)
{
	x_rex(c, w, reg, NO_REG, rm, byte_reg);
	x_byte(c, 0x0f);
	x_byte(c, opcode);
	x_modrm_reg(c, reg, rm);
}

static inline void x_mov(struct code *c, bool w, uint8_t to, uint8_t from)
{
	x_reg(c, w, 0x89, from, to);
}

/* Leaves the flags alone. */
static inline void x_mov_imm(struct code *c, uint8_t to, uint64_t imm)
{
	if (imm <= UINT32_MAX) {
		x_rex(c, false, 0, NO_REG, to, false);
		x_byte(c, 0xb8 | (to & 7));
		x_u32(c, imm);
	} else if (fits32(imm)) {
		x_rex(c, true, 0, NO_REG, to, false);
		x_byte(c, 0xc7);
		x_modrm_reg(c, 0, to);
		x_u32(c, imm);
	} else {
		x_rex(c, true, 0, NO_REG, to, false);
		x_byte(c, 0xb8 | (to & 7));
		x_u64(c, imm);
	}
}

/* X_ADD and so on of a register into a register */
static inline void x_alu(struct code *c, bool w, uint8_t op, uint8_t to,
			 uint8_t from)
{
	x_reg(c, w, op << 3 | 1, from, to);
}

static inline void x_alu_imm(struct code *c, bool w, uint8_t op, uint8_t to,
			     int32_t imm)
{
	x_rex(c, w, 0, NO_REG, to, false);
	if (fits8(imm)) {
		x_byte(c, 0x83);
		x_modrm_reg(c, op, to);
		x_byte(c, imm);
	} else if (to == RAX) {
		x_byte(c, op << 3 | 5);
		x_u32(c, imm);
	} else {
		x_byte(c, 0x81);
		x_modrm_reg(c, op, to);
		x_u32(c, imm);
	}
}

static inline void x_shift_imm(struct code *c, bool w, uint8_t op, uint8_t to,
			       uint8_t by)
{
	x_rex(c, w, 0, NO_REG, to, false);
	x_byte(c, 0xc1);
	x_modrm_reg(c, op, to);
	x_byte(c, by);
}

static inline void x_shift_cl(struct code *c, bool w, uint8_t op, uint8_t to)
{
	x_rex(c, w, 0, NO_REG, to, false);
	x_byte(c, 0xd3);
	x_modrm_reg(c, op, to);
}

/* BMI2: SHLX, SHRX, SARX */
static inline void x_shiftx(struct code *c, bool w, uint8_t op, uint8_t to,
			    uint8_t by)
{
	uint8_t pp = op == X_SHL ? 1 : op == X_SAR ? 2 : 3;

	x_byte(c, 0xc4);
	x_byte(c, (to & 8 ? 0 : 0x80) | 0x40 | (to & 8 ? 0 : 0x20) | 2);
	x_byte(c, w << 7 | (~by & 15) << 3 | pp);
	x_byte(c, 0xf7);
	x_modrm_reg(c, to, to);
}

/* the group of F7: 2 NOT, 3 NEG, 4 MUL, 6 DIV, 7 IDIV */
static inline void x_unary(struct code *c, bool w, uint8_t op, uint8_t reg)
{
	x_rex(c, w, 0, NO_REG, reg, false);
	x_byte(c, 0xf7);
	x_modrm_reg(c, op, reg);
}

static inline void x_test_imm(struct code *c, bool w, uint8_t reg, int32_t imm)
{
	x_rex(c, w, 0, NO_REG, reg, false);
	x_byte(c, 0xf7);
	x_modrm_reg(c, 0, reg);
	x_u32(c, imm);
}

static inline void x_push(struct code *c, uint8_t reg)
{
	x_rex(c, false, 0, NO_REG, reg, false);
	x_byte(c, 0x50 | (reg & 7));
}

static inline void x_pop(struct code *c, uint8_t reg)
{
	x_rex(c, false, 0, NO_REG, reg, false);
	x_byte(c, 0x58 | (reg & 7));
}

static inline void x_bswap(struct code *c, bool w, uint8_t reg)
{
	x_rex(c, w, 0, NO_REG, reg, false);
	x_byte(c, 0x0f);
	x_byte(c, 0xc8 | (reg & 7));
}

/* A short jump forward whose distance is filled in by x_land(). */
static inline uint32_t x_skip(struct code *c, uint8_t cc)
{
	x_byte(c, 0x70 | cc);
	x_byte(c, 0);
	return c->len;
}

static inline uint32_t x_skip_always(struct code *c)
{
	x_byte(c, 0xeb);
	x_byte(c, 0);
	return c->len;
}

static inline void x_land(struct code *c, uint32_t from)
{
	if (c->at)
		c->at[from - 1] = c->len - from;
}

/* A short jump back to @to. */
static inline void x_back(struct code *c, uint8_t cc, uint32_t to)
{
	x_byte(c, 0x70 | cc);
	x_byte(c, to - (c->len + 1));
}

#endif /* BPFVM_X86_H */
