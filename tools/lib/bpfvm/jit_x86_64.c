// SPDX-License-Identifier: GPL-2.0
/*
 * The JIT for x86-64.
 *
 * Every BPF register has a register of its own; r1 to r5 are where C functions
 * take their arguments. The code is compiled several times, with what is known
 * about distances from the time before, until it does not get shorter.
 *
 * A program's calls are calls, on the native stack, of which eight frames use
 * little. Whatever ends a run early restores the stack pointer of its beginning.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "jit.h"

#define MAX_PASSES	16

const uint8_t jit_reg[11] = {
	RAX, RDI, RSI, RDX, RCX, R8, RBX, R13, R14, R15, RBP,
};

static struct ea field(size_t offset)
{
	return (struct ea){ THREAD, NO_REG, 0, offset };
}

#define FIELD(name)	field(offsetof(struct bpfvm_thread, name))

void call_code(struct jit_state *j, uint32_t to)
{
	x_byte(&j->code, 0xe8);
	x_u32(&j->code, to - (j->code.len + 4));
}

static void jump_back(struct jit_state *j, uint32_t to)
{
	x_byte(&j->code, 0xe9);
	x_u32(&j->code, to - (j->code.len + 4));
}

struct stub *jump_to_stub(struct jit_state *j, uint8_t cc, enum stub_kind kind)
{
	static struct stub nowhere;
	struct stub *stub;

	if (cc == NO_REG) {
		x_byte(&j->code, 0xe9);
	} else {
		x_byte(&j->code, 0x0f);
		x_byte(&j->code, 0x80 | cc);
	}
	x_u32(&j->code, 0);
	if (j->nr_stubs == j->room_stubs) {
		uint32_t room = j->room_stubs ? j->room_stubs * 2 : 64;

		stub = realloc(j->stubs, room * sizeof(*stub));
		if (!stub) {
			j->err = -ENOMEM;
			return &nowhere;
		}
		j->stubs = stub;
		j->room_stubs = room;
	}
	stub = &j->stubs[j->nr_stubs++];
	stub->kind = kind;
	stub->pc = j->pc;
	stub->from = j->code.len;
	stub->back = j->code.len;
	return stub;
}

static void emit_stubs(struct jit_state *j)
{
	static const uint8_t faults[] = {
		[STUB_ACCESS] = BPFVM_FAULT_ACCESS,
		[STUB_PROOF] = BPFVM_FAULT_PROOF,
		[STUB_ALIGN] = BPFVM_FAULT_ALIGN,
	};
	struct code *c = &j->code;

	for (uint32_t i = 0; i < j->nr_stubs; i++) {
		const struct stub *stub = &j->stubs[i];
		uint32_t distance = c->len - stub->from;

		if (c->at)
			memcpy(c->at + stub->from - 4, &distance, 4);
		x_mov_imm(c, TMP, stub->pc);
		if (stub->kind == STUB_REFUEL) {
			call_code(j, j->refuel);
			jump_back(j, stub->back);
		} else {
			x_mov_imm(c, TMP2, faults[stub->kind]);
			jump_back(j, j->exit_fault);
		}
	}
}

static const uint8_t host_saved[] = { RBX, RBP, R12, R13, R14, R15 };
/* What a C function may destroy and a program must not lose. */
static const uint8_t volatile_regs[] = { RAX, RDI, RSI, RDX, RCX, R8, R9 };

/* The way into compiled code, which C calls, and the ways out. */
static void emit_enter(struct jit_state *j)
{
	struct code *c = &j->code;

	for (unsigned int i = 0; i < sizeof(host_saved); i++)
		x_push(c, host_saved[i]);
	x_mov(c, true, THREAD, RDI);
	x_mem(c, true, 0x89, RSP, FIELD(saved_sp));
	x_mem(c, true, 0x8b, FUEL, FIELD(slice));
	x_mem(c, true, 0x8b, RBP, FIELD(stack_top));
	x_mem(c, true, 0x8b, RDI, FIELD(regs[0]));
	x_mem(c, true, 0x8b, RSI, FIELD(regs[1]));
	call_code(j, j->entry[0]);
	j->exit = c->len;
	x_mem(c, true, 0x89, FUEL, FIELD(slice));
	for (unsigned int i = sizeof(host_saved); i-- > 0; )
		x_pop(c, host_saved[i]);
	x_byte(c, 0xc3);

	/* TMP: where, TMP2: what */
	j->exit_fault = c->len;
	x_mem(c, false, 0x89, TMP, FIELD(fault_pc));
	x_mem(c, false, 0x89, TMP2, FIELD(fault));
	x_mem(c, true, 0x8b, RSP, FIELD(saved_sp));
	jump_back(j, j->exit);
}

/* Call a C function from somewhere in a program, which keeps its registers. */
static void emit_c_call(struct jit_state *j, uintptr_t function)
{
	struct code *c = &j->code;

	for (unsigned int i = 0; i < sizeof(volatile_regs); i++)
		x_push(c, volatile_regs[i]);
	x_alu_imm(c, true, X_SUB, RSP, 8);
	x_mov(c, true, RDI, THREAD);
	x_mov(c, true, RSI, TMP);
	x_mov(c, true, RDX, TMP2);
	x_mov_imm(c, RAX, function);
	x_byte(c, 0xff);
	x_modrm_reg(c, 2, RAX);
	/* TEST AL, AL; what follows leaves the flags alone. */
	x_byte(c, 0x84);
	x_modrm_reg(c, RAX, RAX);
	x_mem(c, true, 0x8d, RSP, (struct ea){ RSP, NO_REG, 0, 8 });
	for (unsigned int i = sizeof(volatile_regs); i-- > 0; )
		x_pop(c, volatile_regs[i]);
}

static void emit_common(struct jit_state *j)
{
	struct code *c = &j->code;
	uint32_t go_on;

	emit_enter(j);
	j->refuel = c->len;
	x_mem(c, true, 0x89, FUEL, FIELD(slice));
	emit_c_call(j, (uintptr_t)refuel);
	x_mem(c, true, 0x8b, FUEL, FIELD(slice));
	go_on = x_skip(c, CC_NE);
	x_mem(c, true, 0x8b, RSP, FIELD(saved_sp));
	jump_back(j, j->exit);
	x_land(c, go_on);
	x_byte(c, 0xc3);

	j->any = c->len;
	emit_c_call(j, (uintptr_t)check_any);
	x_byte(c, 0xc3);
}

static uint8_t condition(uint8_t op)
{
	switch (op) {
	case OP_JEQ:
		return CC_E;
	case OP_JNE:
	case OP_JSET:
		return CC_NE;
	case OP_JGT:
		return CC_A;
	case OP_JGE:
		return CC_AE;
	case OP_JLT:
		return CC_B;
	case OP_JLE:
		return CC_BE;
	case OP_JSGT:
		return CC_G;
	case OP_JSGE:
		return CC_GE;
	case OP_JSLT:
		return CC_L;
	default:
		return CC_LE;
	}
}

/* A jump to the instruction at @slot; @cc may be NO_REG. */
static void jump_to_slot(struct jit_state *j, uint8_t cc, uint32_t slot)
{
	struct code *c = &j->code;
	int64_t distance = (int64_t)j->addr[slot] - c->len;

	if (!j->long_jumps && fits8(distance - 2)) {
		x_byte(c, cc == NO_REG ? 0xeb : 0x70 | cc);
		x_byte(c, distance - 2);
	} else if (cc == NO_REG) {
		x_byte(c, 0xe9);
		x_u32(c, distance - 5);
	} else {
		x_byte(c, 0x0f);
		x_byte(c, 0x80 | cc);
		x_u32(c, distance - 6);
	}
}

static void compare(struct jit_state *j, const struct bpfvm_insn *insn)
{
	struct code *c = &j->code;
	bool w = INSN_CLASS(insn->code) == CLS_JMP;
	uint8_t a = jit_reg[insn_dst(insn)];
	uint8_t b = jit_reg[insn_src(insn)];

	if (INSN_OP(insn->code) == OP_JSET) {
		if (INSN_IS_REG(insn->code))
			x_reg(c, w, 0x85, b, a);
		else
			x_test_imm(c, w, a, insn->imm);
	} else if (INSN_IS_REG(insn->code)) {
		x_alu(c, w, X_CMP, a, b);
	} else if (!insn->imm) {
		x_reg(c, w, 0x85, a, a);
	} else {
		x_alu_imm(c, w, X_CMP, a, insn->imm);
	}
}

static void jit_jump(struct jit_state *j, const struct bpfvm_insn *insn)
{
	uint16_t after = j->live[j->pc];
	uint32_t target = insn_target(insn, j->pc);

	settle_all(j, after | insn_reads(insn));
	if (insn_is_ja(insn->code)) {
		if (target != j->pc + 1)
			jump_to_slot(j, NO_REG, target);
		return;
	}
	compare(j, insn);
	jump_to_slot(j, condition(INSN_OP(insn->code)), target);
}

static void call_function(struct jit_state *j, uint32_t slot)
{
	struct code *c = &j->code;
	uint32_t func = func_at(j->prog, slot) - j->prog->funcs;

	x_alu_imm(c, true, X_SUB, RBP, BPFVM_FRAME_SIZE);
	call_code(j, j->entry[func]);
	x_alu_imm(c, true, X_SUB, RBP, -BPFVM_FRAME_SIZE);
}

static void refuel_if(struct jit_state *j, uint8_t cc)
{
	jump_to_stub(j, cc, STUB_REFUEL);
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
	refuel_if(j, CC_S);
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
static void emit_prologue(struct jit_state *j, bool entry)
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

static void emit_epilogue(struct jit_state *j, bool entry)
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

static void jit_call(struct jit_state *j, const struct bpfvm_insn *insn)
{
	settle_all(j, j->live[j->pc] | insn_reads(insn));
	if (insn->code == CODE_CALLX || insn_src(insn) == CALL_LOCAL)
		call_function(j, j->prog->aux[j->pc].where);
	else if (insn->imm == BPFVM_HELPER_LOOP)
		jit_loop(j);
	else
		jit_helper(j);
}

static void jit_imm64(struct jit_state *j, const struct bpfvm_insn *insn)
{
	uint64_t imm = insn_imm64(insn);

	if (insn_src(insn) == IMM64_FUNC)
		imm = j->pc + 1 + insn->imm;
	else if (insn_src(insn) != IMM64_NUMBER)
		imm = (uintptr_t)j->prog->globals[insn->imm].data +
		      (uint32_t)insn[1].imm;
	/* An address in the low part of memory becomes part of others. */
	if (imm <= INT32_MAX) {
		defer_constant(j, insn_dst(insn), imm);
		return;
	}
	before_write(j, insn_dst(insn), j->live[j->pc]);
	j->active &= ~BIT(insn_dst(insn));
	x_mov_imm(&j->code, jit_reg[insn_dst(insn)], imm);
}

static void jit_computation(struct jit_state *j, const struct bpfvm_insn *insn)
{
	uint16_t after = j->live[j->pc];
	uint16_t reads = insn_reads(insn);
	uint16_t before = (after & ~insn_writes(insn)) | reads;
	uint8_t dst = insn_dst(insn);

	if (defer(j, insn, before))
		return;
	if (reads & BIT(insn_src(insn)))
		settle(j, insn_src(insn), before);
	if (reads & BIT(dst))
		settle(j, dst, before);
	before_write(j, dst, after | reads);
	j->active &= ~BIT(dst);
	jit_alu(j, insn);
}

static void jit_insn(struct jit_state *j, const struct bpfvm_insn *insn,
		     bool entry)
{
	switch (INSN_CLASS(insn->code)) {
	case CLS_LD:
		jit_imm64(j, insn);
		break;
	case CLS_ALU:
	case CLS_ALU64:
		jit_computation(j, insn);
		break;
	case CLS_LDX:
	case CLS_ST:
	case CLS_STX:
		jit_access(j, insn);
		break;
	default:
		if (insn_is_jump(insn->code)) {
			jit_jump(j, insn);
		} else if (insn->code == CODE_EXIT) {
			settle_all(j, BIT(0));
			emit_epilogue(j, entry);
		} else {
			jit_call(j, insn);
		}
	}
}

/* A conditional jump over @over, the only instruction of the next block. */
static void jit_select(struct jit_state *j, const struct bpfvm_insn *insn,
		       const struct bpfvm_insn *over, uint32_t next,
		       bool condition_only)
{
	uint32_t target = insn_target(insn, j->pc);

	uint8_t cc = condition(INSN_OP(insn->code));
	uint8_t dst = insn_dst(over);

	settle_all(j, j->live[j->pc] | insn_reads(insn) | insn_reads(over));
	if (condition_only) {
		x_alu(&j->code, false, X_XOR, jit_reg[dst], jit_reg[dst]);
		compare(j, insn);
		set_condition(j, dst, over->imm ? cc ^ 1 : cc);
	} else {
		prepare_select(j, over);
		compare(j, insn);
		finish_select(j, over, cc ^ 1);
	}
	if (target != next)
		jump_to_slot(j, NO_REG, target);
}

static void charge(struct jit_state *j, int32_t amount, bool check)
{
	if (amount || check)
		x_alu_imm(&j->code, true, X_SUB, FUEL, amount);
	if (check)
		refuel_if(j, CC_S);
}

/* Is the load at @pc followed by a swap of the bytes that it loads? */
static bool swaps_load(const struct jit_state *j, const struct block *block,
		       uint32_t pc)
{
	const struct bpfvm_insn *load = &j->prog->insns[pc], *swap = load + 1;
	const struct insn_aux *aux = &j->prog->aux[pc + 1];

	if (!j->movbe || pc >= block->last ||
	    INSN_CLASS(load->code) != CLS_LDX ||
	    INSN_MODE(load->code) != MODE_MEM || !insn_is_alu(swap->code) ||
	    INSN_OP(swap->code) != OP_END || insn_dst(swap) != insn_dst(load))
		return false;
	return swap->imm == 8 * (int)insn_bytes(load->code) &&
	       (INSN_CLASS(swap->code) == CLS_ALU64 ||
		INSN_IS_REG(swap->code)) && !aux->charge && !aux->fall &&
	       !(aux->flags & AUX_CHECK) && (aux->flags & AUX_REACHED);
}

/* Returns the number of blocks that were compiled: 2 with a select. */
static unsigned int jit_block(struct jit_state *j, uint32_t b)
{
	const struct bpfvm_prog *prog = j->prog;
	const struct block *block = &prog->blocks[b];
	const struct bpfvm_insn *over = find_select(j, b);
	bool entry = block->func == 0;
	bool condition_only = false;

	for (uint32_t pc = block->start; pc <= block->last; pc++) {
		const struct insn_aux *aux = &prog->aux[pc];

		j->pc = pc;
		j->addr[pc] = j->code.len;
		if (!(aux->flags & AUX_REACHED)) {
			/* Nor is what follows. */
			jump_to_stub(j, NO_REG, STUB_PROOF);
			j->active = 0;
			return 1;
		}
		charge(j, aux->charge, aux->flags & AUX_CHECK);
		if (over && pc == block->last) {
			jit_select(j, &prog->insns[pc], over,
				   prog->blocks[block->fall].last + 1,
				   condition_only);
			return 2;
		}
		if (over && pc + 1 == block->last &&
		    is_condition(&prog->insns[pc], &prog->insns[pc + 1],
				 over)) {
			/* Its only use is the select: see there. */
			before_write(j, insn_dst(over), j->live[pc + 1] |
				     insn_reads(&prog->insns[pc + 1]));
			j->active &= ~BIT(insn_dst(over));
			condition_only = true;
			continue;
		}
		j->swap = swaps_load(j, block, pc);
		jit_insn(j, &prog->insns[pc], entry);
		if (j->swap)
			pc++;
		forget_dead(j, j->live[pc]);
		j->swap = false;
		if (aux->fall)
			charge(j, aux->fall, false);
		if (prog->insns[pc].code == CODE_LD_IMM64)
			pc++;
	}
	settle_all(j, j->live[block->last]);
	return 1;
}

static void find_saved(struct jit_state *j, const struct func *func)
{
	j->saved = 0;
	for (uint32_t pc = func->start; pc < func->end; pc++) {
		j->saved |= insn_writes(&j->prog->insns[pc]);
		if (j->prog->insns[pc].code == CODE_LD_IMM64)
			pc++;
	}
}

static void emit_program(struct jit_state *j)
{
	const struct bpfvm_prog *prog = j->prog;

	j->code.len = 0;
	j->nr_stubs = 0;
	j->active = 0;
	emit_common(j);
	for (uint32_t f = 0; f < prog->nr_funcs; f++) {
		const struct func *func = &prog->funcs[f];

		j->entry[f] = j->code.len;
		find_saved(j, func);
		emit_prologue(j, f == 0);
		for (uint32_t b = 0; b < func->nr_blocks; )
			b += jit_block(j, func->first_block + b);
	}
	emit_stubs(j);
}

/* Repeat until every jump is as short as it can be. */
static bool settle_lengths(struct jit_state *j)
{
	uint32_t len = 0;

	for (int i = 0; i < MAX_PASSES && !j->err; i++) {
		emit_program(j);
		if (j->code.len == len)
			return true;
		len = j->code.len;
	}
	return false;
}

static int emit(struct jit_state *j)
{
	struct jit *jit = &j->prog->jit;
	uint32_t len;

	/* Far away to begin with: jumps only get shorter. */
	for (uint32_t i = 0; i < j->prog->nr; i++)
		j->addr[i] = 1 << 30;
	if (!settle_lengths(j)) {
		j->long_jumps = true;
		settle_lengths(j);
	}
	if (j->err)
		return j->err;
	len = j->code.len;
	jit->size = (len + 4095) & ~4095UL;
	jit->code = mmap(NULL, jit->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (jit->code == MAP_FAILED) {
		jit->code = NULL;
		return -ENOMEM;
	}
	memset(jit->code, 0xcc, jit->size);
	j->code.at = jit->code;
	emit_program(j);
	jit->used = len;
	if (j->code.len != len ||
	    mprotect(jit->code, jit->size, PROT_READ | PROT_EXEC)) {
		jit_free(j->prog);
		return -EFAULT;
	}
	jit->enter = (uint64_t (*)(struct bpfvm_thread *))jit->code;
	return 0;
}

static void count_preds(struct jit_state *j)
{
	const struct bpfvm_prog *prog = j->prog;

	for (uint32_t b = 0; b < prog->nr_blocks; b++) {
		const uint32_t next[2] = { prog->blocks[b].fall,
					   prog->blocks[b].taken };

		for (int i = 0; i < 2; i++)
			if (next[i] != NO_BLOCK && j->nr_preds[next[i]] < 2)
				j->nr_preds[next[i]]++;
	}
	/* A function is called from elsewhere, too. */
	for (uint32_t f = 0; f < prog->nr_funcs; f++)
		j->nr_preds[prog->funcs[f].first_block] = 2;
}

/* CPUID 1, ECX bit 22 */
static bool has_movbe(void)
{
	unsigned int eax, ebx, ecx, edx;

	return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && ecx & bit_MOVBE;
}

int jit_compile(struct bpfvm_prog *prog)
{
	struct jit_state j = {
		.prog = prog,
		.bmi2 = __builtin_cpu_supports("bmi2") &&
			!(prog->flags & BPFVM_BASELINE),
		.movbe = has_movbe() && !(prog->flags & BPFVM_BASELINE),
	};
	int err = -ENOMEM;

	j.live = calloc(prog->nr, sizeof(*j.live));
	j.addr = calloc(prog->nr, sizeof(*j.addr));
	j.entry = calloc(prog->nr_funcs, sizeof(*j.entry));
	j.nr_preds = calloc(prog->nr_blocks, 1);
	if (j.live && j.addr && j.entry && j.nr_preds)
		err = find_liveness(prog, j.live);
	if (!err)
		count_preds(&j);
	if (!err)
		err = emit(&j);
	free(j.live);
	free(j.addr);
	free(j.entry);
	free(j.nr_preds);
	free(j.stubs);
	return err;
}

void jit_free(struct bpfvm_prog *prog)
{
	if (prog->jit.code)
		munmap(prog->jit.code, prog->jit.size);
	memset(&prog->jit, 0, sizeof(prog->jit));
}
