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
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <cpuid.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "jit.h"

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

static struct jump *add_jump(struct jit_state *j, const uint32_t *target,
			     bool is_call)
{
	static struct jump nowhere;
	struct jump *jump;

	if (j->nr_jumps == j->room_jumps) {
		uint32_t room = j->room_jumps ? j->room_jumps * 2 : 64;

		jump = realloc(j->jumps, room * sizeof(*jump));
		if (!jump) {
			j->err = -ENOMEM;
			return &nowhere;
		}
		/* Long, as long as nothing is known. */
		memset(jump + j->room_jumps, 0,
		       (room - j->room_jumps) * sizeof(*jump));
		j->jumps = jump;
		j->room_jumps = room;
	}
	jump = &j->jumps[j->nr_jumps++];
	jump->target = target;
	jump->is_call = is_call;
	return jump;
}

void jump_to(struct jit_state *j, uint8_t cc, const uint32_t *target)
{
	struct jump *jump = add_jump(j, target, cc == CALL_CODE);
	struct code *c = &j->code;

	if (jump->is_short) {
		x_byte(c, cc == NO_REG ? 0xeb : 0x70 | cc);
		x_byte(c, 0);
		jump->from = c->len;
		return;
	}
	if (cc == CALL_CODE) {
		x_byte(c, 0xe8);
	} else if (cc == NO_REG) {
		x_byte(c, 0xe9);
	} else {
		x_byte(c, 0x0f);
		x_byte(c, 0x80 | cc);
	}
	x_u32(c, 0);
	jump->from = c->len;
}

/* How far the jumps go is known now, or with all of them long, at most. */
static void land_jumps(struct jit_state *j)
{
	struct code *c = &j->code;

	for (uint32_t i = 0; i < j->nr_jumps; i++) {
		struct jump *jump = &j->jumps[i];
		uint32_t distance = *jump->target - jump->from;

		if (!c->at)
			jump->is_short = fits8((int32_t)distance) &&
					 !jump->is_call;
		else if (jump->is_short)
			c->at[jump->from - 1] = distance;
		else
			memcpy(c->at + jump->from - 4, &distance, 4);
	}
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
	*stub = (struct stub){
		.kind = kind,
		.pc = j->pc,
		.from = j->code.len,
		.back = j->code.len,
		.unpaid = j->unpaid,
	};
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
		if (stub->unpaid)
			x_alu_imm(c, true, X_SUB, FUEL, stub->unpaid);
		if (stub->kind == STUB_LEAVE) {
			jump_back(j, j->addr[stub->slot]);
			continue;
		}
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
	jump_to(j, CALL_CODE, &j->entry[0]);
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

static void find_saved(struct jit_state *j, const struct func *func)
{
	j->saved = 0;
	for (uint32_t pc = func->start; pc < func->end; pc++) {
		j->saved |= insn_writes(&j->prog->insns[pc]);
		if (j->prog->insns[pc].code == CODE_LD_IMM64)
			pc++;
	}
}

/* A block, and before it the rounds of the loop that it begins. */
static bool emit_block(struct jit_state *j, uint32_t b, uint32_t next)
{
	struct loop *loop = loop_at(j, b);

	j->addr[j->prog->blocks[b].start] = j->code.len;
	if (loop)
		jit_rounds(j, loop);
	return go_on(j, jit_block(j, b, next), next);
}

/* The layout's part of the function: blocks of others are not among them. */
static void emit_blocks(struct jit_state *j, const struct func *func)
{
	const uint32_t *layout = j->layout + func->first_block;
	bool falls = false;

	j->nr_threads = 0;
	for (uint32_t i = 0; i < func->nr_blocks; i++) {
		uint32_t b = layout[i], next = NO_BLOCK;

		if (j->skipped[b])
			continue;
		for (uint32_t k = i + 1; k < func->nr_blocks &&
					 next == NO_BLOCK; k++)
			if (!j->skipped[layout[k]])
				next = layout[k];
		if (!falls || j->nr_preds[b] > 1)
			know_nothing(&j->known);
		falls = emit_block(j, b, next);
	}
	emit_threads(j);
}

static void emit_program(struct jit_state *j)
{
	const struct bpfvm_prog *prog = j->prog;

	j->code.len = 0;
	j->nr_stubs = 0;
	j->nr_jumps = 0;
	j->active = 0;
	j->copied = 0;
	emit_common(j);
	for (uint32_t f = 0; f < prog->nr_funcs; f++) {
		const struct func *func = &prog->funcs[f];

		j->entry[f] = j->code.len;
		find_saved(j, func);
		emit_prologue(j, f == 0);
		emit_blocks(j, func);
	}
	emit_stubs(j);
	land_jumps(j);
}

/*
 * Once with long jumps, without writing anything; what is near enough then is so
 * when others are shorter, too.
 */
static int emit(struct jit_state *j)
{
	struct jit *jit = &j->prog->jit;

	emit_program(j);
	if (j->err)
		return j->err;
	jit->size = (j->code.len + 4095) & ~4095UL;
	jit->code = mmap(NULL, jit->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (jit->code == MAP_FAILED) {
		jit->code = NULL;
		return -ENOMEM;
	}
	j->code.at = jit->code;
	emit_program(j);
	jit->used = j->code.len;
	memset((char *)jit->code + jit->used, 0xcc, jit->size - jit->used);
	if (j->err ||
	    mprotect(jit->code, jit->size, PROT_READ | PROT_EXEC)) {
		jit_free(j->prog);
		return j->err ? j->err : -EFAULT;
	}
	jit->enter = (uint64_t (*)(struct bpfvm_thread *))jit->code;
	return 0;
}

static void find_selects(struct jit_state *j)
{
	const struct bpfvm_prog *prog = j->prog;

	for (uint32_t b = 0; b < prog->nr_blocks; b++)
		if (find_select(j, b))
			j->skipped[prog->blocks[b].fall] = 1;
}

static void count_preds(struct jit_state *j)
{
	const struct bpfvm_prog *prog = j->prog;

	for (uint32_t b = 0; b < prog->nr_blocks; b++) {
		uint32_t ways = prog->pred_at[b + 1] - prog->pred_at[b];

		j->nr_preds[b] = ways < 2 ? ways : 2;
	}
	/* A function is called from elsewhere, too. */
	for (uint32_t f = 0; f < prog->nr_funcs; f++)
		j->nr_preds[prog->funcs[f].first_block] = 2;
}

static int analyse(struct jit_state *j)
{
	int err;

	count_preds(j);
	find_selects(j);
	err = find_layout(j);
	if (!err)
		err = find_loops(j);
	return err;
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
		.live = prog->live,
		.live_in = prog->live_in,
		.bmi2 = __builtin_cpu_supports("bmi2") &&
			!(prog->flags & BPFVM_BASELINE),
		.movbe = has_movbe() && !(prog->flags & BPFVM_BASELINE),
	};
	int err = -ENOMEM;

	j.addr = calloc(prog->nr, sizeof(*j.addr));
	j.entry = calloc(prog->nr_funcs, sizeof(*j.entry));
	j.nr_preds = calloc(prog->nr_blocks, 1);
	j.skipped = calloc(prog->nr_blocks, 1);
	j.heads = calloc(prog->nr_blocks, 1);
	j.layout = calloc(prog->nr_blocks, sizeof(*j.layout));
	if (j.addr && j.entry && j.nr_preds &&
	    j.skipped && j.heads && j.layout)
		err = analyse(&j);
	if (!err)
		err = emit(&j);
	free(j.addr);
	free(j.entry);
	free(j.nr_preds);
	free(j.skipped);
	free(j.heads);
	free(j.layout);
	free(j.loops);
	free(j.stubs);
	free(j.threads);
	free(j.jumps);
	return err;
}

void jit_free(struct bpfvm_prog *prog)
{
	if (prog->jit.code)
		munmap(prog->jit.code, prog->jit.size);
	memset(&prog->jit, 0, sizeof(prog->jit));
}
