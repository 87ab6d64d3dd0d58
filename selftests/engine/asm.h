/* SPDX-License-Identifier: GPL-2.0 */
/* Instructions by name, for tests. */
#ifndef SELFTESTS_ENGINE_ASM_H
#define SELFTESTS_ENGINE_ASM_H

#include "insn.h"

#define INSN(c, d, s, o, i)	{ .code = (c), .regs = (d) | (s) << 4,	\
				  .off = (o), .imm = (i) }
#define MOV(d, i)		INSN(CLS_ALU64 | OP_MOV, d, 0, 0, i)
#define MOVR(d, s)		INSN(CLS_ALU64 | OP_MOV | 8, d, s, 0, 0)
#define MOV32R(d, s)		INSN(CLS_ALU | OP_MOV | 8, d, s, 0, 0)
#define ALU(op, d, i)		INSN(CLS_ALU64 | (op), d, 0, 0, i)
#define ALUR(op, d, s)		INSN(CLS_ALU64 | (op) | 8, d, s, 0, 0)
#define ALU32(op, d, i)		INSN(CLS_ALU | (op), d, 0, 0, i)
#define LDX(sz, d, s, o)	INSN(CLS_LDX | MODE_MEM | (sz), d, s, o, 0)
#define STX(sz, d, s, o)	INSN(CLS_STX | MODE_MEM | (sz), d, s, o, 0)
#define ST(sz, d, o, i)		INSN(CLS_ST | MODE_MEM | (sz), d, 0, o, i)
#define ATOMIC(sz, op, d, s, o)	INSN(CLS_STX | MODE_ATOMIC | (sz), d, s, o, op)
#define JA(o)			INSN(CODE_JA, 0, 0, o, 0)
#define JMP(op, d, i, o)	INSN(CLS_JMP | (op), d, 0, o, i)
#define JMPR(op, d, s, o)	INSN(CLS_JMP | (op) | 8, d, s, o, 0)
#define HELPER(i)		INSN(CODE_CALL, 0, CALL_HELPER, 0, i)
#define LOCAL(i)		INSN(CODE_CALL, 0, CALL_LOCAL, 0, i)
#define CALLX(d)		INSN(CODE_CALLX, d, 0, 0, 0)
#define EXIT			INSN(CODE_EXIT, 0, 0, 0, 0)
#define IMM64(d, s, lo, hi)	INSN(CODE_LD_IMM64, d, s, 0, lo),	\
				INSN(0, 0, 0, 0, hi)
#define FUNC(d, o)		IMM64(d, IMM64_FUNC, o, 0)
#define GLOBAL(d, n, o)		IMM64(d, IMM64_MAP_IDX_VALUE, n, o)

#endif
