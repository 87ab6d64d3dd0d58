/* SPDX-License-Identifier: GPL-2.0 */
/* What the operations compute: RFC 9669, section 4.1 and 4.2. */
#ifndef BPFVM_ALU_H
#define BPFVM_ALU_H

#include "insn.h"

static inline uint64_t alu_div64(uint64_t a, uint64_t b, bool is_signed)
{
	if (b == 0)
		return 0;
	if (!is_signed)
		return a / b;
	if (b == UINT64_MAX)
		return 0 - a;
	return (int64_t)a / (int64_t)b;
}

static inline uint64_t alu_mod64(uint64_t a, uint64_t b, bool is_signed)
{
	if (b == 0)
		return a;
	if (!is_signed)
		return a % b;
	if (b == UINT64_MAX)
		return 0;
	return (int64_t)a % (int64_t)b;
}

static inline uint32_t alu_div32(uint32_t a, uint32_t b, bool is_signed)
{
	if (b == 0)
		return 0;
	if (!is_signed)
		return a / b;
	if (b == UINT32_MAX)
		return 0 - a;
	return (int32_t)a / (int32_t)b;
}

static inline uint32_t alu_mod32(uint32_t a, uint32_t b, bool is_signed)
{
	if (b == 0)
		return a;
	if (!is_signed)
		return a % b;
	if (b == UINT32_MAX)
		return 0;
	return (int32_t)a % (int32_t)b;
}

static inline uint64_t alu64(uint8_t op, bool is_signed, uint64_t a, uint64_t b)
{
	switch (op) {
	case OP_ADD:
		return a + b;
	case OP_SUB:
		return a - b;
	case OP_MUL:
		return a * b;
	case OP_DIV:
		return alu_div64(a, b, is_signed);
	case OP_MOD:
		return alu_mod64(a, b, is_signed);
	case OP_OR:
		return a | b;
	case OP_AND:
		return a & b;
	case OP_XOR:
		return a ^ b;
	case OP_LSH:
		return a << (b & 63);
	case OP_RSH:
		return a >> (b & 63);
	case OP_ARSH:
		return (int64_t)a >> (b & 63);
	case OP_NEG:
		return 0 - a;
	default:
		return b;
	}
}

static inline uint32_t alu32(uint8_t op, bool is_signed, uint32_t a, uint32_t b)
{
	switch (op) {
	case OP_ADD:
		return a + b;
	case OP_SUB:
		return a - b;
	case OP_MUL:
		return a * b;
	case OP_DIV:
		return alu_div32(a, b, is_signed);
	case OP_MOD:
		return alu_mod32(a, b, is_signed);
	case OP_OR:
		return a | b;
	case OP_AND:
		return a & b;
	case OP_XOR:
		return a ^ b;
	case OP_LSH:
		return a << (b & 31);
	case OP_RSH:
		return a >> (b & 31);
	case OP_ARSH:
		return (int32_t)a >> (b & 31);
	case OP_NEG:
		return 0 - a;
	default:
		return b;
	}
}

static inline uint64_t alu_sign_extend(uint64_t a, int bits)
{
	return (int64_t)(a << (64 - bits)) >> (64 - bits);
}

/* Programs are little-endian: "le" cuts, "be" and "bswap" swap. */
static inline uint64_t alu_end(uint64_t a, int bits, bool swap)
{
	switch (bits) {
	case 16:
		return swap ? __builtin_bswap16(a) : (uint16_t)a;
	case 32:
		return swap ? __builtin_bswap32(a) : (uint32_t)a;
	default:
		return swap ? __builtin_bswap64(a) : a;
	}
}

static inline bool alu_compare(uint8_t op, bool is32, uint64_t a, uint64_t b)
{
	int64_t sa = is32 ? (int32_t)a : (int64_t)a;
	int64_t sb = is32 ? (int32_t)b : (int64_t)b;

	if (is32) {
		a = (uint32_t)a;
		b = (uint32_t)b;
	}
	switch (op) {
	case OP_JEQ:
		return a == b;
	case OP_JNE:
		return a != b;
	case OP_JGT:
		return a > b;
	case OP_JGE:
		return a >= b;
	case OP_JLT:
		return a < b;
	case OP_JLE:
		return a <= b;
	case OP_JSET:
		return a & b;
	case OP_JSGT:
		return sa > sb;
	case OP_JSGE:
		return sa >= sb;
	case OP_JSLT:
		return sa < sb;
	case OP_JSLE:
		return sa <= sb;
	default:
		return true;
	}
}

#endif /* BPFVM_ALU_H */
