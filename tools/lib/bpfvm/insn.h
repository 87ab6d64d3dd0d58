/* SPDX-License-Identifier: GPL-2.0 */
/* Encoding of instructions: RFC 9669, section 3 and 4. */
#ifndef BPFVM_INSN_H
#define BPFVM_INSN_H

#include "bpfvm.h"

#define INSN_CLASS(code)	((code) & 0x07)
#define INSN_SIZE(code)		((code) & 0x18)
#define INSN_MODE(code)		((code) & 0xe0)
#define INSN_OP(code)		((code) & 0xf0)
#define INSN_IS_REG(code)	((code) & 0x08)

enum {
	CLS_LD		= 0x00,
	CLS_LDX		= 0x01,
	CLS_ST		= 0x02,
	CLS_STX		= 0x03,
	CLS_ALU		= 0x04,
	CLS_JMP		= 0x05,
	CLS_JMP32	= 0x06,
	CLS_ALU64	= 0x07,
};

enum {
	SZ_W		= 0x00,
	SZ_H		= 0x08,
	SZ_B		= 0x10,
	SZ_DW		= 0x18,
};

enum {
	MODE_IMM	= 0x00,
	MODE_ABS	= 0x20,
	MODE_IND	= 0x40,
	MODE_MEM	= 0x60,
	MODE_MEMSX	= 0x80,
	MODE_ATOMIC	= 0xc0,
};

enum {
	OP_ADD		= 0x00,
	OP_SUB		= 0x10,
	OP_MUL		= 0x20,
	OP_DIV		= 0x30,
	OP_OR		= 0x40,
	OP_AND		= 0x50,
	OP_LSH		= 0x60,
	OP_RSH		= 0x70,
	OP_NEG		= 0x80,
	OP_MOD		= 0x90,
	OP_XOR		= 0xa0,
	OP_MOV		= 0xb0,
	OP_ARSH		= 0xc0,
	OP_END		= 0xd0,
};

enum {
	OP_JA		= 0x00,
	OP_JEQ		= 0x10,
	OP_JGT		= 0x20,
	OP_JGE		= 0x30,
	OP_JSET		= 0x40,
	OP_JNE		= 0x50,
	OP_JSGT		= 0x60,
	OP_JSGE		= 0x70,
	OP_CALL		= 0x80,
	OP_EXIT		= 0x90,
	OP_JLT		= 0xa0,
	OP_JLE		= 0xb0,
	OP_JSLT		= 0xc0,
	OP_JSLE		= 0xd0,
};

/* imm of an atomic operation; the others are OP_ADD, OP_OR, OP_AND, OP_XOR */
enum {
	ATOMIC_FETCH	= 0x01,
	ATOMIC_XCHG	= 0xe1,
	ATOMIC_CMPXCHG	= 0xf1,
};

/* Whole opcodes that have a name of their own. */
enum {
	CODE_LD_IMM64	= CLS_LD | MODE_IMM | SZ_DW,
	CODE_CALL	= CLS_JMP | OP_CALL,
	CODE_CALLX	= CLS_JMP | OP_CALL | 0x08,
	CODE_EXIT	= CLS_JMP | OP_EXIT,
	CODE_JA		= CLS_JMP | OP_JA,
	CODE_JA32	= CLS_JMP32 | OP_JA,
};

/* source register of an ld_imm64 */
enum {
	IMM64_NUMBER		= 0,
	IMM64_MAP_FD_VALUE	= 2,
	IMM64_FUNC		= 4,
	IMM64_MAP_IDX_VALUE	= 6,
};

/* source register of a call */
enum {
	CALL_HELPER	= 0,
	CALL_LOCAL	= 1,
	CALL_KFUNC	= 2,
};

static inline unsigned int insn_dst(const struct bpfvm_insn *insn)
{
	return insn->regs & 0x0f;
}

static inline unsigned int insn_src(const struct bpfvm_insn *insn)
{
	return insn->regs >> 4;
}

/* Bytes that a load, store or atomic operation touches. */
static inline unsigned int insn_bytes(uint8_t code)
{
	switch (INSN_SIZE(code)) {
	case SZ_B:
		return 1;
	case SZ_H:
		return 2;
	case SZ_W:
		return 4;
	default:
		return 8;
	}
}

static inline bool insn_is_alu(uint8_t code)
{
	return INSN_CLASS(code) == CLS_ALU || INSN_CLASS(code) == CLS_ALU64;
}

/* Jumps, conditional or not; neither calls nor exits. */
static inline bool insn_is_jump(uint8_t code)
{
	if (INSN_CLASS(code) == CLS_JMP32)
		return true;
	return INSN_CLASS(code) == CLS_JMP && INSN_OP(code) != OP_CALL &&
	       INSN_OP(code) != OP_EXIT;
}

static inline bool insn_is_ja(uint8_t code)
{
	return code == CODE_JA || code == CODE_JA32;
}

static inline bool insn_is_access(uint8_t code)
{
	return INSN_CLASS(code) == CLS_LDX || INSN_CLASS(code) == CLS_ST ||
	       INSN_CLASS(code) == CLS_STX;
}

static inline bool insn_is_atomic(uint8_t code)
{
	return INSN_CLASS(code) == CLS_STX && INSN_MODE(code) == MODE_ATOMIC;
}

/* Slot that a jump goes to. */
static inline int64_t insn_target(const struct bpfvm_insn *insn, uint32_t pc)
{
	return (int64_t)pc + 1 +
	       (insn->code == CODE_JA32 ? insn->imm : insn->off);
}

static inline uint64_t insn_imm64(const struct bpfvm_insn *insn)
{
	return (uint32_t)insn[0].imm | (uint64_t)(uint32_t)insn[1].imm << 32;
}

#endif /* BPFVM_INSN_H */
