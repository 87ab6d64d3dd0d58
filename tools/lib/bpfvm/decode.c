// SPDX-License-Identifier: GPL-2.0
/*
 * What can be said about a program without following values: every instruction
 * is defined, jumps arrive at instructions of their own function, functions end.
 * Splits the program into functions and blocks.
 */
#include <errno.h>
#include <stdlib.h>

#include "internal.h"

/* marks of a slot */
enum {
	SLOT_SECOND	= 1 << 0,	/* second half of an ld_imm64 */
	SLOT_FUNC	= 1 << 1,
	SLOT_LEADER	= 1 << 2,
	SLOT_SEEN	= 1 << 3,
};

struct decoder {
	struct bpfvm_prog *prog;
	uint8_t *mark;
};

struct func *func_at(const struct bpfvm_prog *prog, uint32_t slot)
{
	uint32_t lo = 0, hi = prog->nr_funcs;

	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (prog->funcs[mid].start <= slot)
			lo = mid;
		else
			hi = mid;
	}
	return &prog->funcs[lo];
}

const struct bpfvm_helper *find_helper(const struct bpfvm_prog *prog,
				       uint32_t id)
{
	for (uint32_t i = 0; i < prog->nr_helpers; i++)
		if (prog->helpers[i].id == id)
			return &prog->helpers[i];
	return NULL;
}

static int check_unused(struct bpfvm_prog *prog, uint32_t pc, bool dst,
			bool src, bool off, bool imm)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];

	if (dst && insn_dst(insn))
		return refuse(prog, pc, "the destination register is not used here and has to be 0");
	if (src && insn_src(insn))
		return refuse(prog, pc, "the source register is not used here and has to be 0");
	if (off && insn->off)
		return refuse(prog, pc, "the offset is not used here and has to be 0");
	if (imm && insn->imm)
		return refuse(prog, pc, "the immediate is not used here and has to be 0");
	return 0;
}

static int undefined(struct bpfvm_prog *prog, uint32_t pc)
{
	return refuse(prog, pc, "there is no instruction with this opcode");
}

static int check_end(struct bpfvm_prog *prog, uint32_t pc)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];

	if (INSN_CLASS(insn->code) == CLS_ALU64 && INSN_IS_REG(insn->code))
		return undefined(prog, pc);
	if (insn->imm != 16 && insn->imm != 32 && insn->imm != 64)
		return refuse(prog, pc, "a byte swap is of 16, 32 or 64 bits, not %d",
			      insn->imm);
	return check_unused(prog, pc, false, true, true, false);
}

/* The offset of an ALU instruction chooses a signed variant, or is 0. */
static int check_alu_off(struct bpfvm_prog *prog, uint32_t pc)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];
	bool wide = INSN_CLASS(insn->code) == CLS_ALU64;

	switch (INSN_OP(insn->code)) {
	case OP_DIV:
	case OP_MOD:
		if (insn->off != 0 && insn->off != 1)
			return refuse(prog, pc, "the offset of a division is 0, or 1 for a signed one");
		return 0;
	case OP_MOV:
		if (!INSN_IS_REG(insn->code) || insn->off == 0)
			break;
		if (insn->off == 8 || insn->off == 16 ||
		    (insn->off == 32 && wide))
			return 0;
		return refuse(prog, pc, "a sign extension is from 8, 16 or, to 64 bits, 32 bits");
	}
	return check_unused(prog, pc, false, false, true, false);
}

static int check_alu(struct bpfvm_prog *prog, uint32_t pc)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];
	uint8_t op = INSN_OP(insn->code);
	int bits = INSN_CLASS(insn->code) == CLS_ALU64 ? 64 : 32;
	int err;

	if (op > OP_END)
		return undefined(prog, pc);
	if (op == OP_END)
		return check_end(prog, pc);
	if (op == OP_NEG) {
		if (INSN_IS_REG(insn->code))
			return undefined(prog, pc);
		return check_unused(prog, pc, false, true, true, true);
	}
	err = check_alu_off(prog, pc);
	if (err)
		return err;
	if (INSN_IS_REG(insn->code))
		return check_unused(prog, pc, false, false, false, true);
	if ((op == OP_LSH || op == OP_RSH || op == OP_ARSH) &&
	    (insn->imm < 0 || insn->imm >= bits))
		return refuse(prog, pc, "a shift by %d of a %d-bit number",
			      insn->imm, bits);
	if ((op == OP_DIV || op == OP_MOD) && insn->imm == 0)
		return refuse(prog, pc, "a division by zero");
	return check_unused(prog, pc, false, true, false, false);
}

static int check_jump(struct bpfvm_prog *prog, uint32_t pc)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];

	if (INSN_OP(insn->code) > OP_JSLE)
		return undefined(prog, pc);
	if (insn->code == CODE_JA)
		return check_unused(prog, pc, true, true, false, true);
	if (insn->code == CODE_JA32)
		return check_unused(prog, pc, true, true, true, false);
	if (INSN_OP(insn->code) == OP_JA || INSN_OP(insn->code) == OP_CALL ||
	    INSN_OP(insn->code) == OP_EXIT)
		return undefined(prog, pc);
	if (INSN_IS_REG(insn->code))
		return check_unused(prog, pc, false, false, false, true);
	return check_unused(prog, pc, false, true, false, false);
}

static int check_call(struct bpfvm_prog *prog, uint32_t pc)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];

	switch (insn->code) {
	case CODE_EXIT:
		return check_unused(prog, pc, true, true, true, true);
	case CODE_CALLX:
		return check_unused(prog, pc, false, true, true, true);
	case CODE_CALL:
		break;
	default:
		return undefined(prog, pc);
	}
	switch (insn_src(insn)) {
	case CALL_LOCAL:
		break;
	case CALL_HELPER:
		if (!find_helper(prog, insn->imm))
			return refuse(prog, pc, "there is no helper %d here",
				      insn->imm);
		break;
	case CALL_KFUNC:
		return refuse(prog, pc, "a kfunc by BTF id means nothing outside a kernel: load the program from its object file");
	default:
		return refuse(prog, pc, "there is no call of kind %u",
			      insn_src(insn));
	}
	return check_unused(prog, pc, true, false, true, false);
}

static int check_atomic(struct bpfvm_prog *prog, uint32_t pc)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];

	if (INSN_SIZE(insn->code) != SZ_W && INSN_SIZE(insn->code) != SZ_DW)
		return refuse(prog, pc, "atomic operations are of 32 or 64 bits");
	switch (insn->imm) {
	case OP_ADD:
	case OP_OR:
	case OP_AND:
	case OP_XOR:
	case OP_ADD | ATOMIC_FETCH:
	case OP_OR | ATOMIC_FETCH:
	case OP_AND | ATOMIC_FETCH:
	case OP_XOR | ATOMIC_FETCH:
	case ATOMIC_XCHG:
	case ATOMIC_CMPXCHG:
		return 0;
	}
	return refuse(prog, pc, "there is no atomic operation 0x%x", insn->imm);
}

static int check_access(struct bpfvm_prog *prog, uint32_t pc)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];
	uint8_t mode = INSN_MODE(insn->code);

	switch (INSN_CLASS(insn->code)) {
	case CLS_LDX:
		if (mode == MODE_MEMSX && INSN_SIZE(insn->code) != SZ_DW)
			mode = MODE_MEM;
		if (mode != MODE_MEM)
			return undefined(prog, pc);
		return check_unused(prog, pc, false, false, false, true);
	case CLS_ST:
		if (mode != MODE_MEM)
			return undefined(prog, pc);
		return check_unused(prog, pc, false, true, false, false);
	default:
		if (mode == MODE_ATOMIC)
			return check_atomic(prog, pc);
		if (mode != MODE_MEM)
			return undefined(prog, pc);
		return check_unused(prog, pc, false, false, false, true);
	}
}

static int check_ld(struct decoder *d, uint32_t pc)
{
	struct bpfvm_prog *prog = d->prog;
	const struct bpfvm_insn *insn = &prog->insns[pc];
	uint8_t mode = INSN_MODE(insn->code);

	if (mode == MODE_ABS || mode == MODE_IND)
		return refuse(prog, pc, "the legacy packet instructions are not supported: read through the data pointer");
	if (insn->code != CODE_LD_IMM64)
		return undefined(prog, pc);
	if (pc + 1 >= prog->nr || insn[1].code)
		return refuse(prog, pc, "its second half is missing");
	if (insn[1].regs || insn[1].off)
		return refuse(prog, pc, "registers and offset of its second half have to be 0");
	if (insn->off)
		return check_unused(prog, pc, false, false, true, false);
	d->mark[pc + 1] |= SLOT_SECOND;
	switch (insn_src(insn)) {
	case IMM64_NUMBER:
		return 0;
	case IMM64_FUNC:
		if (insn[1].imm)
			return refuse(prog, pc, "the immediate of its second half has to be 0 for a function");
		return 0;
	case IMM64_MAP_FD_VALUE:
	case IMM64_MAP_IDX_VALUE:
		if (insn->imm < 0 || (uint32_t)insn->imm >= prog->nr_globals)
			return refuse(prog, pc, "there is no global memory %d",
				      insn->imm);
		if ((uint32_t)insn[1].imm >
		    prog->globals[insn->imm].size)
			return refuse(prog, pc, "the offset is beyond the %u bytes of %s",
				      prog->globals[insn->imm].size,
				      prog->globals[insn->imm].name);
		return 0;
	}
	return refuse(prog, pc, "an ld_imm64 of kind %u (maps, BTF variables) is not supported: use global variables",
		      insn_src(insn));
}

static int check_registers(struct bpfvm_prog *prog, uint32_t pc)
{
	const struct bpfvm_insn *insn = &prog->insns[pc];
	uint8_t class = INSN_CLASS(insn->code);

	if (insn_dst(insn) > 10)
		return refuse(prog, pc, "there is no register r%u",
			      insn_dst(insn));
	if (class != CLS_LD && !(class == CLS_JMP && !insn_is_jump(insn->code)) &&
	    insn_src(insn) > 10)
		return refuse(prog, pc, "there is no register r%u",
			      insn_src(insn));
	if (insn_dst(insn) == 10 &&
	    (insn_is_alu(insn->code) || class == CLS_LDX || class == CLS_LD))
		return refuse(prog, pc, "the frame pointer r10 cannot be written");
	if (insn_is_atomic(insn->code) && (insn->imm & ATOMIC_FETCH) &&
	    insn->imm != ATOMIC_CMPXCHG && insn_src(insn) == 10)
		return refuse(prog, pc, "the frame pointer r10 cannot be written");
	return 0;
}

static int check_insn(struct decoder *d, uint32_t pc)
{
	struct bpfvm_prog *prog = d->prog;
	uint8_t code = prog->insns[pc].code;
	int err = check_registers(prog, pc);

	if (err)
		return err;
	switch (INSN_CLASS(code)) {
	case CLS_LD:
		return check_ld(d, pc);
	case CLS_ALU:
	case CLS_ALU64:
		return check_alu(prog, pc);
	case CLS_LDX:
	case CLS_ST:
	case CLS_STX:
		return check_access(prog, pc);
	default:
		if (insn_is_jump(code))
			return check_jump(prog, pc);
		return check_call(prog, pc);
	}
}

/* Mark the functions: the entry, what is called, and what is pointed to. */
static int find_funcs(struct decoder *d)
{
	struct bpfvm_prog *prog = d->prog;
	uint32_t nr = 0;

	d->mark[0] |= SLOT_FUNC;
	for (uint32_t pc = 0; pc < prog->nr; pc++) {
		const struct bpfvm_insn *insn = &prog->insns[pc];
		bool call = insn->code == CODE_CALL &&
			    insn_src(insn) == CALL_LOCAL;
		bool func = insn->code == CODE_LD_IMM64 &&
			    insn_src(insn) == IMM64_FUNC;
		int64_t target = (int64_t)pc + 1 + insn->imm;

		if ((d->mark[pc] & SLOT_SECOND) || (!call && !func))
			continue;
		if (target < 0 || target >= prog->nr ||
		    d->mark[target] & SLOT_SECOND)
			return refuse(prog, pc, "there is no function at %lld",
				      (long long)target);
		d->mark[target] |= SLOT_FUNC;
	}
	for (uint32_t pc = 0; pc < prog->nr; pc++)
		nr += !!(d->mark[pc] & SLOT_FUNC);
	prog->funcs = calloc(nr, sizeof(*prog->funcs));
	if (!prog->funcs)
		return -ENOMEM;
	for (uint32_t pc = 0; pc < prog->nr; pc++) {
		if (!(d->mark[pc] & SLOT_FUNC))
			continue;
		if (prog->nr_funcs)
			prog->funcs[prog->nr_funcs - 1].end = pc;
		prog->funcs[prog->nr_funcs++].start = pc;
	}
	prog->funcs[prog->nr_funcs - 1].end = prog->nr;
	return 0;
}

/* Is the dataflow split after this call? */
static bool enters_function(const struct bpfvm_insn *insn)
{
	return insn->code == CODE_CALLX ||
	       (insn->code == CODE_CALL &&
		(insn_src(insn) == CALL_LOCAL ||
		 insn->imm == BPFVM_HELPER_LOOP));
}

static int mark_func(struct decoder *d, const struct func *func)
{
	struct bpfvm_prog *prog = d->prog;
	uint32_t last = func->start;

	d->mark[func->start] |= SLOT_LEADER;
	for (uint32_t pc = func->start; pc < func->end; pc++) {
		const struct bpfvm_insn *insn = &prog->insns[pc];
		int64_t target;

		if (d->mark[pc] & SLOT_SECOND)
			continue;
		last = pc;
		prog->nr_insns++;
		if (pc + 1 < func->end &&
		    (insn_is_jump(insn->code) || insn->code == CODE_EXIT ||
		     enters_function(insn)))
			d->mark[pc + 1] |= SLOT_LEADER;
		if (!insn_is_jump(insn->code))
			continue;
		target = insn_target(insn, pc);
		if (target < 0 || target >= prog->nr)
			return refuse(prog, pc, "the jump leaves the program");
		if (d->mark[target] & SLOT_SECOND)
			return refuse(prog, pc, "the jump goes into the middle of an ld_imm64");
		if (target < func->start || target >= func->end)
			return refuse(prog, pc, "the jump leaves its function, which is %u to %u",
				      func->start, func->end - 1);
		d->mark[target] |= SLOT_LEADER;
	}
	if (prog->insns[last].code != CODE_EXIT &&
	    !insn_is_ja(prog->insns[last].code))
		return refuse(prog, last, "execution runs over the end of the function that begins at %u: no exit",
			      func->start);
	return 0;
}

static void fill_block(struct decoder *d, const struct func *func, uint32_t b)
{
	struct bpfvm_prog *prog = d->prog;
	struct block *block = &prog->blocks[b];
	uint32_t pc = block->start;
	const struct bpfvm_insn *insn;

	block->func = func - prog->funcs;
	block->fall = NO_BLOCK;
	block->taken = NO_BLOCK;
	do {
		if (!(d->mark[pc] & SLOT_SECOND)) {
			block->last = pc;
			block->nr++;
		}
		prog->block_of[pc++] = b;
	} while (pc < func->end && !(d->mark[pc] & SLOT_LEADER));
	insn = &prog->insns[block->last];
	if (insn->code != CODE_EXIT && !insn_is_ja(insn->code))
		block->fall = b + 1;
}

static int make_blocks(struct decoder *d)
{
	struct bpfvm_prog *prog = d->prog;
	uint32_t nr = 0;

	for (uint32_t pc = 0; pc < prog->nr; pc++)
		nr += !!(d->mark[pc] & SLOT_LEADER);
	prog->blocks = calloc(nr, sizeof(*prog->blocks));
	prog->block_of = calloc(prog->nr, sizeof(*prog->block_of));
	if (!prog->blocks || !prog->block_of)
		return -ENOMEM;
	for (uint32_t f = 0; f < prog->nr_funcs; f++) {
		struct func *func = &prog->funcs[f];

		func->first_block = prog->nr_blocks;
		for (uint32_t pc = func->start; pc < func->end; pc++) {
			if (!(d->mark[pc] & SLOT_LEADER))
				continue;
			prog->blocks[prog->nr_blocks].start = pc;
			fill_block(d, func, prog->nr_blocks++);
		}
		func->nr_blocks = prog->nr_blocks - func->first_block;
	}
	for (uint32_t b = 0; b < prog->nr_blocks; b++) {
		struct block *block = &prog->blocks[b];
		const struct bpfvm_insn *insn = &prog->insns[block->last];

		if (insn_is_jump(insn->code))
			block->taken = prog->block_of[insn_target(insn,
								  block->last)];
	}
	return 0;
}

/* A function from whose beginning no exit can be reached never returns. */
static int check_returns(struct decoder *d, const struct func *func)
{
	struct bpfvm_prog *prog = d->prog;
	uint32_t *stack = malloc(func->nr_blocks * sizeof(*stack));
	uint32_t depth = 0;
	bool returns = false;

	if (!stack)
		return -ENOMEM;
	stack[depth++] = func->first_block;
	d->mark[func->start] |= SLOT_SEEN;
	while (depth) {
		const struct block *block = &prog->blocks[stack[--depth]];
		const uint32_t next[2] = { block->fall, block->taken };

		if (prog->insns[block->last].code == CODE_EXIT)
			returns = true;
		for (int i = 0; i < 2; i++) {
			uint8_t *mark;

			if (next[i] == NO_BLOCK)
				continue;
			mark = &d->mark[prog->blocks[next[i]].start];
			if (*mark & SLOT_SEEN)
				continue;
			*mark |= SLOT_SEEN;
			stack[depth++] = next[i];
		}
	}
	free(stack);
	if (!returns)
		return refuse(prog, func->start, "the function that begins here can never reach an exit");
	return 0;
}

int decode(struct bpfvm_prog *prog)
{
	struct decoder d = { .prog = prog };
	int err = 0;

	d.mark = calloc(prog->nr, 1);
	if (!d.mark)
		return -ENOMEM;
	for (uint32_t pc = 0; pc < prog->nr && !err; pc++)
		if (!(d.mark[pc] & SLOT_SECOND))
			err = check_insn(&d, pc);
	if (!err)
		err = find_funcs(&d);
	for (uint32_t f = 0; f < prog->nr_funcs && !err; f++)
		err = mark_func(&d, &prog->funcs[f]);
	if (!err)
		err = make_blocks(&d);
	for (uint32_t f = 0; f < prog->nr_funcs && !err; f++)
		err = check_returns(&d, &prog->funcs[f]);
	free(d.mark);
	return err;
}
