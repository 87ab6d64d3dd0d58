// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <string.h>

#include "alu.h"
#include "reference.h"

#define MAX_LOOPS	(1 << 23)

static bool run_function(struct reference *ref, uint32_t pc, uint64_t reg[11]);

static uint64_t load(uint64_t addr, uint8_t code)
{
	unsigned int bytes = insn_bytes(code);
	uint64_t value = 0;

	memcpy(&value, (void *)(uintptr_t)addr, bytes);
	return INSN_MODE(code) == MODE_MEMSX ?
	       alu_sign_extend(value, 8 * bytes) : value;
}

static void atomic(const struct bpfvm_insn *insn, uint64_t *reg)
{
	unsigned int bytes = insn_bytes(insn->code);
	uint64_t mask = bytes == 4 ? UINT32_MAX : UINT64_MAX;
	uint64_t addr = reg[insn_dst(insn)] + insn->off;
	uint64_t *src = &reg[insn_src(insn)];
	uint64_t old = load(addr, CLS_LDX | MODE_MEM | INSN_SIZE(insn->code));
	uint64_t new = *src;

	if (insn->imm == ATOMIC_CMPXCHG)
		new = old == (reg[0] & mask) ? *src : old;
	else if (insn->imm != ATOMIC_XCHG)
		new = alu64(INSN_OP(insn->imm), false, old, *src);
	memcpy((void *)(uintptr_t)addr, &new, bytes);
	if (insn->imm == ATOMIC_CMPXCHG)
		reg[0] = old;
	else if (insn->imm & ATOMIC_FETCH)
		*src = old;
}

static void access_memory(const struct bpfvm_insn *insn, uint64_t *reg)
{
	uint64_t addr = reg[insn_dst(insn)] + insn->off;
	uint64_t value = (int64_t)insn->imm;

	if (INSN_CLASS(insn->code) == CLS_LDX) {
		reg[insn_dst(insn)] = load(reg[insn_src(insn)] + insn->off,
					   insn->code);
	} else if (insn_is_atomic(insn->code)) {
		atomic(insn, reg);
	} else {
		if (INSN_CLASS(insn->code) == CLS_STX)
			value = reg[insn_src(insn)];
		memcpy((void *)(uintptr_t)addr, &value,
		       insn_bytes(insn->code));
	}
}

static void compute(const struct bpfvm_insn *insn, uint64_t *reg)
{
	bool is32 = INSN_CLASS(insn->code) == CLS_ALU;
	uint8_t op = INSN_OP(insn->code);
	uint64_t *dst = &reg[insn_dst(insn)];
	uint64_t b = INSN_IS_REG(insn->code) ? reg[insn_src(insn)] :
					       (uint64_t)(int64_t)insn->imm;

	if (op == OP_END) {
		*dst = alu_end(*dst, insn->imm,
			       !is32 || INSN_IS_REG(insn->code));
		return;
	}
	if (op == OP_MOV && INSN_IS_REG(insn->code) && insn->off)
		b = alu_sign_extend(b, insn->off);
	*dst = is32 ? alu32(op, insn->off == 1, *dst, b) :
		      alu64(op, insn->off == 1, *dst, b);
}

/* A function of the program, on 512 bytes of its own. */
static bool call(struct reference *ref, uint32_t pc, uint64_t reg[11])
{
	_Alignas(16) uint8_t stack[BPFVM_FRAME_SIZE];
	uint64_t saved[5];
	bool ok;

	memcpy(saved, &reg[6], sizeof(saved));
	reg[10] = (uintptr_t)(stack + sizeof(stack));
	ok = run_function(ref, pc, reg);
	memcpy(&reg[6], saved, sizeof(saved));
	return ok;
}

static bool loop(struct reference *ref, uint64_t reg[11])
{
	uint32_t rounds = reg[1], callback = reg[2], i = 0;
	uint64_t context = reg[3];

	if (reg[4] || rounds > MAX_LOOPS) {
		reg[0] = reg[4] ? -EINVAL : -E2BIG;
		return true;
	}
	while (i < rounds) {
		reg[1] = i++;
		reg[2] = context;
		if (!call(ref, callback, reg))
			return false;
		if (reg[0])
			break;
	}
	reg[0] = i;
	return true;
}

/* bpf_iter_num_*(): the next number, and the end. */
static void iterate(uint32_t id, uint64_t reg[11])
{
	int32_t *it = (void *)(uintptr_t)reg[1];
	int32_t start = reg[2], end = reg[3];

	reg[0] = 0;
	switch (id) {
	case BPFVM_HELPER_ITER_NUM_NEW:
		if (start > end)
			reg[0] = -EINVAL;
		else if ((int64_t)end - start > MAX_LOOPS)
			reg[0] = -E2BIG;
		it[0] = reg[0] ? 0 : start - 1;
		it[1] = reg[0] ? 0 : end;
		break;
	case BPFVM_HELPER_ITER_NUM_NEXT:
		if (it[0] + 1 < it[1]) {
			it[0]++;
			reg[0] = reg[1];
			break;
		}
		/* fallthrough */
	default:
		it[0] = 0;
		it[1] = 0;
	}
}

static bool call_insn(struct reference *ref, const struct bpfvm_insn *insn,
		      uint64_t reg[11])
{
	if (insn->code == CODE_CALLX)
		return call(ref, reg[insn_dst(insn)], reg);
	if (insn_src(insn) == CALL_LOCAL)
		return call(ref, insn - ref->insns + 1 + insn->imm, reg);
	if (insn->imm == BPFVM_HELPER_LOOP)
		return loop(ref, reg);
	iterate(insn->imm, reg);
	return true;
}

static void load_imm64(const struct reference *ref, uint32_t pc, uint64_t *reg)
{
	const struct bpfvm_insn *insn = &ref->insns[pc];
	uint64_t *dst = &reg[insn_dst(insn)];

	if (insn_src(insn) == IMM64_NUMBER)
		*dst = insn_imm64(insn);
	else if (insn_src(insn) == IMM64_FUNC)
		*dst = pc + 1 + insn->imm;
	else
		*dst = (uintptr_t)ref->globals[insn->imm].data +
		       (uint32_t)insn[1].imm;
}

static bool taken(const struct bpfvm_insn *insn, const uint64_t *reg)
{
	return insn_is_ja(insn->code) ||
	       alu_compare(INSN_OP(insn->code),
			   INSN_CLASS(insn->code) == CLS_JMP32,
			   reg[insn_dst(insn)],
			   INSN_IS_REG(insn->code) ? reg[insn_src(insn)] :
			   (uint64_t)(int64_t)insn->imm);
}

static bool run_function(struct reference *ref, uint32_t pc, uint64_t reg[11])
{
	for (;; pc++) {
		const struct bpfvm_insn *insn = &ref->insns[pc];

		if (++ref->executed > ref->most)
			return false;
		if (insn->code == CODE_EXIT)
			return true;
		if (insn->code == CODE_LD_IMM64) {
			load_imm64(ref, pc++, reg);
		} else if (insn_is_alu(insn->code)) {
			compute(insn, reg);
		} else if (insn_is_access(insn->code)) {
			access_memory(insn, reg);
		} else if (!insn_is_jump(insn->code)) {
			if (!call_insn(ref, insn, reg))
				return false;
		} else {
			ref->jumps++;
			if (taken(insn, reg))
				pc = insn_target(insn, pc) - 1;
		}
	}
}

bool reference_run(struct reference *ref, uint64_t r1, uint64_t r2,
		   uint64_t *r0)
{
	uint64_t reg[11] = { 0, r1, r2 };
	bool ok;

	ref->executed = 0;
	ref->jumps = 0;
	ok = call(ref, 0, reg);
	*r0 = reg[0];
	return ok;
}
