// SPDX-License-Identifier: GPL-2.0
/*
 * Blocks: their instructions, and the ways out of them.
 *
 * The same code compiles a block where it belongs and copies of it: those for
 * what is known on some way (jit_thread.c), which are inserted in place of a
 * jump, and those of the rounds of a loop (jit_unroll.c).
 */
#include <errno.h>
#include <stdlib.h>

#include "alu.h"
#include "jit.h"

/* Copies in a row, before it goes on where the code belongs. */
#define MAX_COPIES	8

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

void jump_to_slot(struct jit_state *j, uint8_t cc, uint32_t slot)
{
	jump_to(j, cc, &j->addr[slot]);
}

/* Can the comparison take the register's value from memory? */
static bool compares_memory(const struct jit_state *j,
			    const struct bpfvm_insn *insn, uint8_t reg)
{
	return is_load(j, reg) && fuses(j, insn, j->pc, reg,
					j->pending[reg].load);
}

/* The operands hold their values, or are loads that compare() does itself. */
static void settle_operands(struct jit_state *j, const struct bpfvm_insn *insn,
			    uint16_t others, uint16_t live)
{
	uint8_t dst = insn_dst(insn), src = insn_src(insn);
	uint16_t need = insn_reads(insn);
	uint16_t memory = 0;

	if (compares_memory(j, insn, dst) && !(others & BIT(dst)))
		memory = BIT(dst);
	else if (INSN_IS_REG(insn->code) && compares_memory(j, insn, src) &&
		 !(others & BIT(src)))
		memory = BIT(src);
	live |= need | others;
	for (uint8_t r = 0; r < 11; r++)
		if ((need | others) & ~memory & BIT(r))
			settle(j, r, live);
}

static void compare_memory(struct jit_state *j, const struct bpfvm_insn *insn,
			   uint8_t reg)
{
	struct code *c = &j->code;
	const struct ea ea = load_ea(j, reg);
	uint8_t bytes = j->pending[reg].load;
	uint8_t dst = insn_dst(insn), src = insn_src(insn);

	j->active &= ~BIT(reg);
	if (INSN_IS_REG(insn->code)) {
		x_mem(c, bytes == 8, reg == dst ? 0x39 : 0x3b,
		      jit_reg[reg == dst ? src : dst], ea);
	} else if (bytes == 1) {
		x_mem(c, false, 0x80, X_CMP, ea);
		x_byte(c, insn->imm);
	} else if (fits8(insn->imm)) {
		x_mem(c, bytes == 8, 0x83, X_CMP, ea);
		x_byte(c, insn->imm);
	} else {
		x_mem(c, bytes == 8, 0x81, X_CMP, ea);
		x_u32(c, insn->imm);
	}
}

static void compare(struct jit_state *j, const struct bpfvm_insn *insn)
{
	struct code *c = &j->code;
	bool w = INSN_CLASS(insn->code) == CLS_JMP;
	uint8_t dst = insn_dst(insn), src = insn_src(insn);
	uint8_t a = jit_reg[dst], b = jit_reg[src];

	if (is_load(j, dst))
		compare_memory(j, insn, dst);
	else if (INSN_IS_REG(insn->code) && is_load(j, src))
		compare_memory(j, insn, src);
	else if (INSN_OP(insn->code) == OP_JSET && INSN_IS_REG(insn->code))
		x_reg(c, w, 0x85, b, a);
	else if (INSN_OP(insn->code) == OP_JSET)
		x_test_imm(c, w, a, insn->imm);
	else if (INSN_IS_REG(insn->code))
		x_alu(c, w, X_CMP, a, b);
	else if (!insn->imm)
		x_reg(c, w, 0x85, a, a);
	else
		x_alu_imm(c, w, X_CMP, a, insn->imm);
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

/* dst op= what is in memory */
static bool operate_on_memory(struct jit_state *j,
			      const struct bpfvm_insn *insn, uint16_t before)
{
	struct code *c = &j->code;
	uint8_t dst = insn_dst(insn), src = insn_src(insn);

	if (!INSN_IS_REG(insn->code) || dst == src || !is_load(j, src) ||
	    !fuses(j, insn, j->pc, src, j->pending[src].load))
		return false;
	settle(j, dst, before);
	before_write(j, dst, before);
	if (!is_load(j, src))
		return false;
	x_mem(c, j->pending[src].load == 8, x_op_of(insn) << 3 | 3, jit_reg[dst],
	      load_ea(j, src));
	j->active &= ~(BIT(src) | BIT(dst));
	return true;
}

/* 32 bits of a sum: an address of which the upper half is dropped. */
static bool add_narrow(struct jit_state *j, const struct bpfvm_insn *insn,
		       uint16_t before)
{
	uint8_t dst = insn_dst(insn);
	const struct pending *p = &j->pending[dst];
	struct ea ea;
	int64_t imm = insn->imm;

	if (INSN_CLASS(insn->code) != CLS_ALU || INSN_IS_REG(insn->code) ||
	    (INSN_OP(insn->code) != OP_ADD && INSN_OP(insn->code) != OP_SUB) ||
	    !(j->active & BIT(dst)) || p->load ||
	    (p->base == NO_REG && p->index == NO_REG))
		return false;
	if (INSN_OP(insn->code) == OP_SUB)
		imm = -imm;
	if (!fits32(imm + p->disp))
		return false;
	ea = address_of(j, dst, imm, before);
	j->active &= ~BIT(dst);
	before_write(j, dst, j->live[j->pc]);
	x_mem(&j->code, false, 0x8d, jit_reg[dst], ea);
	return true;
}

static void jit_computation(struct jit_state *j, const struct bpfvm_insn *insn)
{
	uint16_t after = j->live[j->pc];
	uint16_t reads = insn_reads(insn);
	uint16_t before = (after & ~insn_writes(insn)) | reads;
	uint8_t dst = insn_dst(insn);

	if (j->prog->aux[j->pc].flags & AUX_SAME)
		return;
	if ((j->known.regs & BIT(dst)) && j->known.value[dst] <= INT32_MAX) {
		defer_constant(j, dst, j->known.value[dst]);
		return;
	}
	if (operate_on_memory(j, insn, before) || defer(j, insn, before) ||
	    add_narrow(j, insn, before))
		return;
	if (reads & BIT(insn_src(insn)))
		settle(j, insn_src(insn), before);
	if (reads & BIT(dst))
		settle(j, dst, before);
	before_write(j, dst, after | reads);
	j->active &= ~BIT(dst);
	jit_alu(j, insn);
}

/* Any but jumps and exits. Returns the slots that were compiled with it. */
static uint32_t jit_insn(struct jit_state *j, const struct bpfvm_insn *insn,
			 uint32_t last)
{
	know_insn(&j->known, insn);
	switch (INSN_CLASS(insn->code)) {
	case CLS_LD:
		jit_imm64(j, insn);
		return 2;
	case CLS_ALU:
	case CLS_ALU64:
		jit_computation(j, insn);
		return 1;
	case CLS_LDX:
	case CLS_ST:
	case CLS_STX:
		return jit_access(j, insn, last);
	default:
		jit_call(j, insn);
		return 1;
	}
}

static void charge(struct jit_state *j, int32_t amount, bool check)
{
	if (j->loop) {
		j->unpaid += amount;
		return;
	}
	if (amount || check)
		x_alu_imm(&j->code, true, X_SUB, FUEL, amount);
	if (check)
		jump_to_stub(j, CC_S, STUB_REFUEL);
}

/*
 * Is the load at @pc followed by a swap of the bytes that it loads? The last
 * instruction of a block is compiled apart.
 */
static bool swaps_load(const struct jit_state *j, const struct block *block,
		       uint32_t pc)
{
	const struct bpfvm_insn *load = &j->prog->insns[pc], *swap = load + 1;
	const struct insn_aux *aux = &j->prog->aux[pc + 1];

	if (!j->movbe || pc + 1 >= block->last ||
	    INSN_CLASS(load->code) != CLS_LDX ||
	    INSN_MODE(load->code) != MODE_MEM || !insn_is_alu(swap->code) ||
	    INSN_OP(swap->code) != OP_END || insn_dst(swap) != insn_dst(load))
		return false;
	return swap->imm == 8 * (int)insn_bytes(load->code) &&
	       (INSN_CLASS(swap->code) == CLS_ALU64 ||
		INSN_IS_REG(swap->code)) && !aux->charge && !aux->fall &&
	       !(aux->flags & AUX_CHECK) && (aux->flags & AUX_REACHED);
}

/* A jump into a copy of the code at @b, which is compiled later. */
static void jump_to_thread(struct jit_state *j, uint8_t cc, uint32_t b)
{
	if (j->nr_threads == j->room_threads) {
		uint32_t room = j->room_threads ? j->room_threads * 2 : 16;
		void *more = realloc(j->threads, room * sizeof(*j->threads));

		if (!more) {
			j->err = -ENOMEM;
			return;
		}
		j->threads = more;
		j->room_threads = room;
	}
	x_byte(&j->code, 0x0f);
	x_byte(&j->code, 0x80 | cc);
	x_u32(&j->code, 0);
	j->threads[j->nr_threads++] = (struct thread_copy){
		.block = b, .from = j->code.len, .known = j->known,
	};
	/* Counted now, so that the next one knows. */
	j->copied += 4;
}

/*
 * Go to block @b if @cc, after all that it needs was settled. @extra: fuel that
 * this way costs, in a round of a loop.
 */
static void leave(struct jit_state *j, uint8_t cc, uint32_t b, int32_t extra)
{
	uint32_t slot = j->prog->blocks[b].start;
	struct stub *stub;
	int in;

	if (!j->loop) {
		if (worth_a_copy(j, b))
			jump_to_thread(j, cc, b);
		else
			jump_to_slot(j, cc, slot);
		return;
	}
	in = b == j->loop->header ? -1 : block_in_loop(j->loop, b);
	if (in >= 0) {
		jump_to(j, cc, &j->loop->addr[j->round][in]);
	} else if (j->unpaid + extra) {
		stub = jump_to_stub(j, cc, STUB_LEAVE);
		stub->slot = slot;
		stub->unpaid = j->unpaid + extra;
	} else {
		jump_to_slot(j, cc, slot);
	}
}

/* Which of two ways is the one without a jump? */
static bool goes_on_taken(const struct jit_state *j, const struct block *block,
			  int32_t fall, uint32_t next)
{
	/* What falling costs is charged behind the jump. */
	if (fall && !j->loop)
		return false;
	if (j->copying && !j->loop)
		return worth_a_copy(j, block->taken) &&
		       !worth_a_copy(j, block->fall);
	return next == block->taken;
}

static uint32_t jit_branch(struct jit_state *j, const struct block *block,
			   uint32_t next)
{
	const struct bpfvm_insn *insn = &j->prog->insns[j->pc];
	int32_t fall = j->prog->aux[j->pc].fall;
	uint8_t cc = condition(INSN_OP(insn->code));
	int decided = known_branch(&j->known, insn);

	if (decided == 1)
		return block->taken;
	if (decided == 0) {
		charge(j, fall, false);
		return block->fall;
	}
	if (goes_on_taken(j, block, fall, next)) {
		settle_operands(j, insn, j->live_in[block->fall],
				j->live[j->pc]);
		compare(j, insn);
		leave(j, cc ^ 1, block->fall, fall);
		return block->taken;
	}
	settle_operands(j, insn, j->live_in[block->taken], j->live[j->pc]);
	compare(j, insn);
	leave(j, cc, block->taken, 0);
	charge(j, fall, false);
	return block->fall;
}

/* A conditional jump over @over, the only instruction of the next block. */
static void jit_select(struct jit_state *j, const struct bpfvm_insn *insn,
		       const struct bpfvm_insn *over, bool condition_only)
{
	uint8_t cc = condition(INSN_OP(insn->code));
	uint8_t dst = insn_dst(over);
	uint16_t live = j->live[j->pc] | insn_reads(insn) | insn_reads(over);

	settle_operands(j, insn, condition_only ? 0 :
			insn_reads(over) | BIT(dst), live);
	before_write(j, dst, live);
	/* What that computed may have been an operand. */
	settle_operands(j, insn, condition_only ? 0 :
			insn_reads(over) | BIT(dst), live);
	j->active &= ~BIT(dst);
	if (condition_only) {
		x_alu(&j->code, false, X_XOR, jit_reg[dst], jit_reg[dst]);
		compare(j, insn);
		set_condition(j, dst, over->imm ? cc ^ 1 : cc);
	} else {
		prepare_select(j, over);
		compare(j, insn);
		finish_select(j, over, cc ^ 1);
	}
	j->known.regs &= ~BIT(dst);
}

/* The last instruction of a block. */
static uint32_t jit_end(struct jit_state *j, uint32_t b, uint32_t next,
			bool condition_only)
{
	const struct bpfvm_prog *prog = j->prog;
	const struct block *block = &prog->blocks[b];
	const struct bpfvm_insn *insn = &prog->insns[j->pc];

	if (insn->code == CODE_EXIT) {
		settle_all(j, BIT(0));
		emit_epilogue(j, block->func == 0);
		return NO_BLOCK;
	}
	if (insn_is_ja(insn->code))
		return block->taken;
	if (block->fall != NO_BLOCK && j->skipped[block->fall]) {
		jit_select(j, insn, &prog->insns[prog->blocks[block->fall].start],
			   condition_only);
		return block->taken;
	}
	if (insn_is_jump(insn->code))
		return jit_branch(j, block, next);
	jit_insn(j, insn, j->pc);
	forget_dead(j, j->live[j->pc]);
	charge(j, prog->aux[j->pc].fall, false);
	return block->fall;
}

/* The instruction sets what the select after it makes of the comparison. */
static bool begins_condition(const struct jit_state *j, uint32_t b, uint32_t pc)
{
	const struct bpfvm_prog *prog = j->prog;
	const struct block *block = &prog->blocks[b];

	return block->fall != NO_BLOCK && j->skipped[block->fall] &&
	       pc + 1 == block->last &&
	       is_condition(&prog->insns[pc], &prog->insns[pc + 1],
			    &prog->insns[prog->blocks[block->fall].start]);
}

uint32_t jit_block(struct jit_state *j, uint32_t b, uint32_t next)
{
	const struct bpfvm_prog *prog = j->prog;
	const struct block *block = &prog->blocks[b];
	bool condition_only = false;

	for (uint32_t pc = block->start; pc < block->last; ) {
		const struct bpfvm_insn *insn = &prog->insns[pc];

		j->pc = pc;
		if (!(prog->aux[pc].flags & AUX_REACHED))
			break;
		if (begins_condition(j, b, pc)) {
			condition_only = true;
			know_insn(&j->known, insn);
			pc++;
			continue;
		}
		j->swap = swaps_load(j, block, pc);
		pc += jit_insn(j, insn, block->last) + j->swap;
		j->swap = false;
		/* The last one of those that were compiled. */
		forget_dead(j, j->live[insn->code == CODE_LD_IMM64 ? pc - 2 :
								     pc - 1]);
	}
	j->pc = block->last;
	if (!(prog->aux[block->last].flags & AUX_REACHED)) {
		/* Nor is what follows. */
		jump_to_stub(j, NO_REG, STUB_PROOF);
		j->active = 0;
		return NO_BLOCK;
	}
	charge(j, prog->aux[block->last].charge,
	       prog->aux[block->last].flags & AUX_CHECK);
	return jit_end(j, b, next, condition_only);
}

bool go_on(struct jit_state *j, uint32_t b, uint32_t next)
{
	int i;

	for (i = 0; b != NO_BLOCK && i < MAX_COPIES &&
		    worth_a_copy(j, b); i++) {
		j->copied += j->prog->blocks[b].nr;
		j->copying = true;
		b = jit_block(j, b, NO_BLOCK);
		j->copying = false;
	}
	if (b == NO_BLOCK)
		return false;
	settle_all(j, j->live_in[b]);
	if (b != next)
		jump_to_slot(j, NO_REG, j->prog->blocks[b].start);
	/* What is known after copies is not of the only way to @next. */
	return b == next && !i;
}

void jit_leave(struct jit_state *j, uint32_t b)
{
	leave(j, NO_REG, b, 0);
}

void emit_threads(struct jit_state *j)
{
	struct code *c = &j->code;

	/* Copies make further ones: the number grows meanwhile. */
	for (uint32_t i = 0; i < j->nr_threads; i++) {
		uint32_t distance = c->len - j->threads[i].from;

		if (c->at)
			memcpy(c->at + j->threads[i].from - 4, &distance, 4);
		j->active = 0;
		j->known = j->threads[i].known;
		go_on(j, j->threads[i].block, NO_BLOCK);
	}
}
