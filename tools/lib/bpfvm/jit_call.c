// SPDX-License-Identifier: GPL-2.0
/* Calls: of the program's functions, of helpers, and bpf_loop(). */
#include <errno.h>

#include "jit.h"

static void call_function(struct jit_state *j, uint32_t slot)
{
	struct code *c = &j->code;
	uint32_t func = func_at(j->prog, slot) - j->prog->funcs;

	x_alu_imm(c, true, X_SUB, RBP, BPFVM_FRAME_SIZE);
	jump_to(j, CALL_CODE, &j->entry[func]);
	x_alu_imm(c, true, X_SUB, RBP, -BPFVM_FRAME_SIZE);
}

/* bpf_loop(): r1 rounds, r3 the callback's context, r4 flags */
static void jit_loop(struct jit_state *j)
{
	struct code *c = &j->code;
	const struct ea rounds = { RSP, NO_REG, 0, 0 };
	const struct ea context = { RSP, NO_REG, 0, 8 };
	const struct ea round = { RSP, NO_REG, 0, 16 };
	uint32_t flags, many, end1, end2, done, top;

	x_reg(c, true, 0x85, RCX, RCX);
	flags = x_skip(c, CC_NE);
	x_alu_imm(c, false, X_CMP, RDI, 1 << 23);
	many = x_skip(c, CC_A);
	x_alu_imm(c, true, X_SUB, RSP, 32);
	x_mem(c, false, 0x89, RDI, rounds);
	x_mem(c, true, 0x89, RDX, context);
	x_alu(c, false, X_XOR, RAX, RAX);
	x_mem(c, false, 0x89, RAX, round);
	top = c->len;
	x_mem(c, false, 0x8b, RDI, round);
	x_mem(c, false, 0x3b, RDI, rounds);
	done = x_skip(c, CC_AE);
	x_reg(c, true, 0x85, FUEL, FUEL);
	jump_to_stub(j, CC_S, STUB_REFUEL);
	x_mem(c, true, 0x8b, RSI, context);
	call_function(j, j->prog->aux[j->pc].where);
	/* INC */
	x_mem(c, false, 0xff, 0, round);
	x_reg(c, true, 0x85, RAX, RAX);
	x_back(c, CC_E, top);
	x_land(c, done);
	x_mem(c, false, 0x8b, RAX, round);
	x_alu_imm(c, true, X_ADD, RSP, 32);
	end1 = x_skip_always(c);
	x_land(c, flags);
	x_mov_imm(c, RAX, (uint64_t)-EINVAL);
	end2 = x_skip_always(c);
	x_land(c, many);
	x_mov_imm(c, RAX, (uint64_t)-E2BIG);
	x_land(c, end1);
	x_land(c, end2);
}

static void jit_helper(struct jit_state *j)
{
	struct code *c = &j->code;
	const struct bpfvm_helper *helper =
		&j->prog->helpers[j->prog->aux[j->pc].where];

	/* The thread is the sixth argument already. */
	x_push(c, THREAD);
	x_mov_imm(c, RAX, (uintptr_t)helper->fn);
	x_byte(c, 0xff);
	x_modrm_reg(c, 2, RAX);
	x_pop(c, THREAD);
}

static const uint8_t saved_regs[] = { 6, 7, 8, 9 };

/* On entry the stack is aligned, in the body it is off by 8, for one push. */
void emit_prologue(struct jit_state *j, bool entry)
{
	unsigned int pushes = 0;

	for (int i = 0; i < 4; i++) {
		if (entry || !(j->saved & BIT(saved_regs[i])))
			continue;
		x_push(&j->code, jit_reg[saved_regs[i]]);
		pushes++;
	}
	if (pushes % 2 == 0)
		x_alu_imm(&j->code, true, X_SUB, RSP, 8);
}

void emit_epilogue(struct jit_state *j, bool entry)
{
	unsigned int pushes = 0;

	for (int i = 0; i < 4; i++)
		pushes += !entry && (j->saved & BIT(saved_regs[i]));
	if (pushes % 2 == 0)
		x_alu_imm(&j->code, true, X_ADD, RSP, 8);
	for (int i = 4; i-- > 0; )
		if (!entry && (j->saved & BIT(saved_regs[i])))
			x_pop(&j->code, jit_reg[saved_regs[i]]);
	x_byte(&j->code, 0xc3);
}

void jit_call(struct jit_state *j, const struct bpfvm_insn *insn)
{
	settle_all(j, j->live[j->pc] | insn_reads(insn));
	if (insn->code == CODE_CALLX || insn_src(insn) == CALL_LOCAL)
		call_function(j, j->prog->aux[j->pc].where);
	else if (insn->imm == BPFVM_HELPER_LOOP)
		jit_loop(j);
	else
		jit_helper(j);
}
