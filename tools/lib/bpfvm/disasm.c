// SPDX-License-Identifier: GPL-2.0
/* Instructions in words, in the notation of RFC 9669 and of LLVM. */
#include <inttypes.h>
#include <stdio.h>

#include "insn.h"

static const char *const alu_op[16] = {
	[OP_ADD >> 4] = "+=", [OP_SUB >> 4] = "-=", [OP_MUL >> 4] = "*=",
	[OP_DIV >> 4] = "/=", [OP_OR >> 4] = "|=", [OP_AND >> 4] = "&=",
	[OP_LSH >> 4] = "<<=", [OP_RSH >> 4] = ">>=", [OP_MOD >> 4] = "%=",
	[OP_XOR >> 4] = "^=", [OP_MOV >> 4] = "=", [OP_ARSH >> 4] = "s>>=",
};

static const char *const jmp_op[16] = {
	[OP_JEQ >> 4] = "==", [OP_JGT >> 4] = ">", [OP_JGE >> 4] = ">=",
	[OP_JSET >> 4] = "&", [OP_JNE >> 4] = "!=", [OP_JSGT >> 4] = "s>",
	[OP_JSGE >> 4] = "s>=", [OP_JLT >> 4] = "<", [OP_JLE >> 4] = "<=",
	[OP_JSLT >> 4] = "s<", [OP_JSLE >> 4] = "s<=",
};

static const char *type_name(uint8_t code, bool is_signed)
{
	static const char *const names[2][4] = {
		{ "u32", "u16", "u8", "u64" }, { "s32", "s16", "s8", "s64" },
	};

	return names[is_signed][INSN_SIZE(code) >> 3];
}

static void unknown(const struct bpfvm_insn *insn, char *buf, size_t size)
{
	snprintf(buf, size, "(%02x) undefined", insn->code);
}

static void disasm_alu(const struct bpfvm_insn *insn, char *buf, size_t size)
{
	bool wide = INSN_CLASS(insn->code) == CLS_ALU64;
	unsigned int dst = insn_dst(insn), src = insn_src(insn);
	const char *op = alu_op[INSN_OP(insn->code) >> 4];
	const char *sign = "";
	char r = wide ? 'r' : 'w';

	if (INSN_OP(insn->code) == OP_NEG) {
		snprintf(buf, size, "%c%u = -%c%u", r, dst, r, dst);
		return;
	}
	if (INSN_OP(insn->code) == OP_END) {
		snprintf(buf, size, "r%u = %s%d r%u", dst,
			 wide ? "bswap" :
			 INSN_IS_REG(insn->code) ? "be" : "le", insn->imm, dst);
		return;
	}
	if (!op) {
		unknown(insn, buf, size);
		return;
	}
	if (INSN_OP(insn->code) == OP_MOV && insn->off &&
	    INSN_IS_REG(insn->code)) {
		snprintf(buf, size, "%c%u = (s%d)%c%u", r, dst, insn->off, r,
			 src);
		return;
	}
	if (insn->off == 1 && (INSN_OP(insn->code) == OP_DIV ||
			       INSN_OP(insn->code) == OP_MOD))
		sign = "s";
	if (INSN_IS_REG(insn->code))
		snprintf(buf, size, "%c%u %s%s %c%u", r, dst, sign, op, r, src);
	else
		snprintf(buf, size, "%c%u %s%s %d", r, dst, sign, op, insn->imm);
}

static void disasm_jump(const struct bpfvm_insn *insn, uint32_t pc, char *buf,
			size_t size)
{
	char r = INSN_CLASS(insn->code) == CLS_JMP ? 'r' : 'w';
	const char *op = jmp_op[INSN_OP(insn->code) >> 4];
	int64_t target = insn_target(insn, pc);

	if (insn_is_ja(insn->code))
		snprintf(buf, size, "goto%s %" PRId64,
			 insn->code == CODE_JA32 ? "l" : "", target);
	else if (!op)
		unknown(insn, buf, size);
	else if (INSN_IS_REG(insn->code))
		snprintf(buf, size, "if %c%u %s %c%u goto %" PRId64, r,
			 insn_dst(insn), op, r, insn_src(insn), target);
	else
		snprintf(buf, size, "if %c%u %s %d goto %" PRId64, r,
			 insn_dst(insn), op, insn->imm, target);
}

static void disasm_call(const struct bpfvm_insn *insn, uint32_t pc, char *buf,
			size_t size)
{
	if (insn->code == CODE_EXIT)
		snprintf(buf, size, "exit");
	else if (insn->code == CODE_CALLX)
		snprintf(buf, size, "callx r%u", insn_dst(insn));
	else if (insn->code != CODE_CALL)
		unknown(insn, buf, size);
	else if (insn_src(insn) == CALL_LOCAL)
		snprintf(buf, size, "call pc %" PRId64,
			 (int64_t)pc + 1 + insn->imm);
	else
		snprintf(buf, size, "call %s%d",
			 insn_src(insn) == CALL_KFUNC ? "kfunc " : "",
			 insn->imm);
}

static void disasm_atomic(const struct bpfvm_insn *insn, char *buf, size_t size)
{
	const char *type = type_name(insn->code, false);
	unsigned int dst = insn_dst(insn), src = insn_src(insn);
	const char *op = alu_op[INSN_OP(insn->imm) >> 4];

	if (insn->imm == ATOMIC_XCHG)
		snprintf(buf, size, "r%u = xchg((%s *)(r%u %+d), r%u)", src,
			 type, dst, insn->off, src);
	else if (insn->imm == ATOMIC_CMPXCHG)
		snprintf(buf, size, "r0 = cmpxchg((%s *)(r%u %+d), r0, r%u)",
			 type, dst, insn->off, src);
	else if (!op || insn->imm & ~0xf1)
		unknown(insn, buf, size);
	else if (insn->imm & ATOMIC_FETCH)
		snprintf(buf, size, "r%u = lock *(%s *)(r%u %+d) %s r%u", src,
			 type, dst, insn->off, op, src);
	else
		snprintf(buf, size, "lock *(%s *)(r%u %+d) %s r%u", type, dst,
			 insn->off, op, src);
}

static void disasm_access(const struct bpfvm_insn *insn, char *buf, size_t size)
{
	unsigned int dst = insn_dst(insn), src = insn_src(insn);
	bool sx = INSN_MODE(insn->code) == MODE_MEMSX;
	const char *type = type_name(insn->code, sx);

	if (insn_is_atomic(insn->code))
		disasm_atomic(insn, buf, size);
	else if (INSN_MODE(insn->code) != MODE_MEM && !sx)
		unknown(insn, buf, size);
	else if (INSN_CLASS(insn->code) == CLS_LDX)
		snprintf(buf, size, "r%u = *(%s *)(r%u %+d)", dst, type, src,
			 insn->off);
	else if (INSN_CLASS(insn->code) == CLS_STX)
		snprintf(buf, size, "*(%s *)(r%u %+d) = r%u", type, dst,
			 insn->off, src);
	else
		snprintf(buf, size, "*(%s *)(r%u %+d) = %d", type, dst,
			 insn->off, insn->imm);
}

static int disasm_ld(const struct bpfvm_insn *insn, uint32_t nr, uint32_t pc,
		     char *buf, size_t size)
{
	unsigned int dst = insn_dst(insn);

	if (INSN_MODE(insn->code) == MODE_ABS ||
	    INSN_MODE(insn->code) == MODE_IND) {
		snprintf(buf, size, "(%02x) legacy packet load", insn->code);
		return 1;
	}
	if (insn->code != CODE_LD_IMM64 || nr < 2) {
		unknown(insn, buf, size);
		return 1;
	}
	switch (insn_src(insn)) {
	case IMM64_NUMBER:
		snprintf(buf, size, "r%u = 0x%" PRIx64 " ll", dst,
			 insn_imm64(insn));
		break;
	case IMM64_MAP_FD_VALUE:
	case IMM64_MAP_IDX_VALUE:
		snprintf(buf, size, "r%u = global %d%+d ll", dst, insn->imm,
			 insn[1].imm);
		break;
	case IMM64_FUNC:
		snprintf(buf, size, "r%u = function %" PRId64 " ll", dst,
			 (int64_t)pc + 1 + insn->imm);
		break;
	default:
		snprintf(buf, size, "r%u = ld_imm64 of kind %u", dst,
			 insn_src(insn));
	}
	return 2;
}

int bpfvm_disasm(const struct bpfvm_insn *insns, uint32_t nr, uint32_t pc,
		 char *buf, size_t size)
{
	switch (INSN_CLASS(insns->code)) {
	case CLS_LD:
		return disasm_ld(insns, nr, pc, buf, size);
	case CLS_LDX:
	case CLS_ST:
	case CLS_STX:
		disasm_access(insns, buf, size);
		break;
	case CLS_ALU:
	case CLS_ALU64:
		disasm_alu(insns, buf, size);
		break;
	default:
		if (insn_is_jump(insns->code))
			disasm_jump(insns, pc, buf, size);
		else
			disasm_call(insns, pc, buf, size);
	}
	return 1;
}
