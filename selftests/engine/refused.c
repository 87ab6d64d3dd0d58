// SPDX-License-Identifier: GPL-2.0
/*
 * Programs that are refused, by what they are told. Each would otherwise run:
 * where the reason is subtle, its neighbour that is accepted is there too.
 */
#include <errno.h>
#include <string.h>

#include "asm.h"
#include "ktap.h"

enum { HELPER_MEM = 200, HELPER_READ, HELPER_WRITE, HELPER_CTX };

static uint64_t nothing(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4,
			uint64_t r5, struct bpfvm_thread *thread)
{
	(void)r1, (void)r2, (void)r3, (void)r4, (void)r5, (void)thread;
	return 0;
}

static const struct bpfvm_helper helpers[] = {
	{ .id = HELPER_MEM, .name = "get_memory", .fn = nothing,
	  .ret = BPFVM_RET_MEM, .ret_size = 16 },
	{ .id = HELPER_READ, .name = "read_memory", .fn = nothing,
	  .arg = { BPFVM_ARG_MEM_READ, BPFVM_ARG_SIZE } },
	{ .id = HELPER_WRITE, .name = "write_memory", .fn = nothing,
	  .arg = { BPFVM_ARG_MEM_WRITE, BPFVM_ARG_SIZE } },
	{ .id = HELPER_CTX, .name = "use_ctx", .fn = nothing,
	  .arg = { BPFVM_ARG_CTX, BPFVM_ARG_NUM } },
};

static _Alignas(8) unsigned char rw[64], ro[64], rw2[64];

static const struct bpfvm_global globals[] = {
	{ "rw", rw, sizeof(rw), false }, { "ro", ro, sizeof(ro), true },
	{ "rw2", rw2, sizeof(rw2), false },
};

static const struct bpfvm_field writable[] = { { 64, 32 } };

struct program {
	const char *name;
	const char *message;	/* NULL: it is accepted */
	struct bpfvm_insn insns[24];
};

#define CTX(r)	LDX(SZ_DW, r, 1, 0)
#define DATA(r)	LDX(SZ_DW, r, 1, 8)
#define END(r)	LDX(SZ_DW, r, 1, 16)

/* All of BPFVM_ABI_BLOCK, with a ctx of 128 bytes. */
static const struct program programs[] = {
	{ "undefined_opcode", "there is no instruction with this opcode",
	  { INSN(0xff, 0, 0, 0, 0), EXIT } },
	{ "legacy_packet_load", "legacy packet instructions are not supported",
	  { INSN(CLS_LD | MODE_ABS | SZ_W, 0, 0, 0, 0), EXIT } },
	{ "unused_field", "the offset is not used here and has to be 0",
	  { INSN(CLS_ALU64 | OP_ADD, 0, 0, 5, 1), EXIT } },
	{ "register_11", "there is no register r11", { MOV(11, 0), EXIT } },
	{ "frame_pointer_written", "the frame pointer r10 cannot be written",
	  { MOV(10, 0), EXIT } },
	{ "frame_pointer_written_by_atomic",
	  "the frame pointer r10 cannot be written",
	  { ST(SZ_DW, 10, -8, 0),
	    ATOMIC(SZ_DW, ATOMIC_XCHG, 10, 10, -8), EXIT } },
	{ "shift_too_far", "a shift by 32 of a 32-bit number",
	  { MOV(0, 1), ALU32(OP_LSH, 0, 32), EXIT } },
	{ "division_by_zero", "a division by zero",
	  { MOV(0, 1), ALU(OP_DIV, 0, 0), EXIT } },
	{ "atomic_of_a_byte", "atomic operations are of 32 or 64 bits",
	  { MOV(0, 1), ATOMIC(SZ_B, OP_ADD, 10, 0, -8), EXIT } },
	{ "atomic_unknown", "there is no atomic operation 0x1234",
	  { MOV(0, 1), ATOMIC(SZ_W, 0x1234, 10, 0, -8), EXIT } },
	{ "jump_out", "the jump leaves the program", { JA(5), EXIT } },
	{ "jump_into_constant", "goes into the middle of an ld_imm64",
	  { JA(1), IMM64(0, 0, 0, 0), EXIT } },
	{ "jump_into_other_function", "the jump leaves its function",
	  { LOCAL(2), JA(1), EXIT, MOV(0, 0), EXIT } },
	{ "half_a_constant", "its second half is missing",
	  { MOV(0, 0), INSN(CODE_LD_IMM64, 0, 0, 0, 0), EXIT } },
	{ "map", "of kind 1 (maps, BTF variables) is not supported",
	  { IMM64(1, 1, 3, 0), EXIT } },
	{ "global_that_is_not_there", "there is no global memory 3",
	  { GLOBAL(1, 3, 0), EXIT } },
	{ "no_exit", "no exit", { MOV(0, 0) } },
	{ "no_result", "r0 was not written before it is read", { EXIT } },
	{ "function_without_result", NULL, { LOCAL(2), MOV(0, 0), EXIT, EXIT } },
	{ "result_of_a_function_without_one",
	  "r0 was not written before it is read", { LOCAL(1), EXIT, EXIT } },
	{ "callback_without_result", "r0 was not written before it is read",
	  { MOV(1, 1), FUNC(2, 6), MOV(3, 0), MOV(4, 0),
	    HELPER(BPFVM_HELPER_LOOP), MOV(0, 0), EXIT, EXIT } },
	{ "never_returns", "can never reach an exit", { JA(-1), EXIT } },
	{ "unknown_helper", "there is no helper 999", { HELPER(999), EXIT } },
	{ "kfunc_by_id", "a kfunc by BTF id means nothing outside a kernel",
	  { INSN(CODE_CALL, 0, CALL_KFUNC, 0, 1), EXIT } },
	{ "recursion", "calls itself: recursion is not supported",
	  { LOCAL(1), EXIT, LOCAL(-1), EXIT } },
	{ "result_not_written", "r0 was not written before it is read here",
	  { EXIT } },
	{ "lost_in_a_call", "r3 was not written before it is read here, or was lost in a call",
	  { MOV(3, 1), MOVR(4, 10), MOV(0, 0), CTX(1), MOV(2, 0),
	    HELPER(HELPER_CTX), MOVR(0, 3), EXIT } },
	{ "written_on_one_way", "r2 was not written before it is read here",
	  { CTX(1), LDX(SZ_W, 3, 1, 0), JMP(OP_JEQ, 3, 0, 1), MOV(2, 1),
	    MOVR(0, 2), EXIT } },
	{ "number_or_pointer", "r2 holds different kinds of things",
	  { CTX(3), LDX(SZ_W, 3, 3, 0), MOVR(2, 10), JMP(OP_JEQ, 3, 0, 1),
	    MOV(2, 1), LDX(SZ_W, 0, 2, 0), EXIT } },
	{ "stack_not_written", "at offset -8 from the frame pointer was not written",
	  { LDX(SZ_DW, 0, 10, -8), EXIT } },
	{ "stack_half_written", "at offset -4 from the frame pointer was not written",
	  { ST(SZ_W, 10, -8, 0), LDX(SZ_DW, 0, 10, -8), EXIT } },
	{ "stack_written", NULL,
	  { ST(SZ_W, 10, -8, 0), ST(SZ_W, 10, -4, 0), LDX(SZ_DW, 0, 10, -8),
	    EXIT } },
	{ "stack_beyond", "are outside of the stack, which is 512 bytes",
	  { ST(SZ_DW, 10, -520, 0), MOV(0, 0), EXIT } },
	{ "stack_above", "are outside of the stack, which is 512 bytes",
	  { ST(SZ_DW, 10, -4, 0), MOV(0, 0), EXIT } },
	{ "part_of_a_pointer", "holds a pointer, which has to be read as a whole",
	  { STX(SZ_DW, 10, 1, -8), LDX(SZ_W, 0, 10, -8), EXIT } },
	{ "pointer_stored_in_parts", "a pointer is stored in parts",
	  { STX(SZ_W, 10, 1, -8), MOV(0, 0), EXIT } },
	{ "pointer_to_global", "a pointer would leak into global memory",
	  { GLOBAL(2, 0, 0), STX(SZ_DW, 2, 1, 0), MOV(0, 0), EXIT } },
	{ "pointer_to_ctx", "a pointer would leak into the ctx",
	  { CTX(2), STX(SZ_DW, 2, 1, 64), MOV(0, 0), EXIT } },
	{ "pointer_returned", "a pointer would leak into r0",
	  { MOVR(0, 1), EXIT } },
	{ "pointer_by_atomic", "is a pointer, and the operand of an atomic operation",
	  { GLOBAL(2, 0, 0), ATOMIC(SZ_DW, ATOMIC_XCHG, 2, 1, 0), MOV(0, 0),
	    EXIT } },
	{ "pointer_of_a_frame_that_is_gone", "r0 was not written",
	  { LOCAL(2), LDX(SZ_DW, 0, 0, -8), EXIT, ST(SZ_DW, 10, -8, 1),
	    MOVR(0, 10), EXIT } },
	{ "pointer_multiplied", "this would lose a pointer",
	  { ALU(OP_MUL, 1, 2), MOV(0, 0), EXIT } },
	{ "pointer_cut", "is a pointer, of which a part would be lost",
	  { MOV32R(2, 1), MOV(0, 0), EXIT } },
	{ "pointers_added", "two pointers are added",
	  { ALUR(OP_ADD, 1, 1), MOV(0, 0), EXIT } },
	{ "pointers_of_different_memory", "is not in the same memory",
	  { DATA(2), ALUR(OP_SUB, 2, 10), MOV(0, 0), EXIT } },
	{ "pointers_compared", "pointers into different memory are compared",
	  { DATA(2), JMPR(OP_JGT, 2, 10, 0), MOV(0, 0), EXIT } },
	{ "pointer_and_number_compared", "compared with a number other than 0",
	  { JMP(OP_JGT, 1, 4096, 0), MOV(0, 0), EXIT } },
	{ "number_as_pointer", "r2 is a number, not a pointer",
	  { MOV(2, 4096), LDX(SZ_W, 0, 2, 0), EXIT } },
	{ "number_from_memory_as_pointer", "r2 is a number, not a pointer",
	  { CTX(2), LDX(SZ_DW, 2, 2, 64), LDX(SZ_W, 0, 2, 0), EXIT } },
	{ "data_written", "the data are read-only",
	  { DATA(2), ST(SZ_B, 2, 0, 1), MOV(0, 0), EXIT } },
	{ "data_before_the_beginning", "the access is outside of the data",
	  { DATA(2), LDX(SZ_B, 0, 2, -1), EXIT } },
	{ "arguments_written", "the arguments are read-only",
	  { ST(SZ_DW, 1, 0, 1), MOV(0, 0), EXIT } },
	{ "half_an_argument", "have to be read as 64-bit words",
	  { LDX(SZ_W, 0, 1, 8), EXIT } },
	{ "ctx_written", "the ctx cannot be written at offset 8",
	  { CTX(2), ST(SZ_DW, 2, 8, 1), MOV(0, 0), EXIT } },
	{ "ctx_written_over_the_edge", "the ctx cannot be written at offset 92",
	  { CTX(2), ST(SZ_DW, 2, 92, 1), MOV(0, 0), EXIT } },
	{ "ctx_state_written", NULL,
	  { CTX(2), ST(SZ_DW, 2, 88, 1), MOV(0, 0), EXIT } },
	{ "ctx_beyond", "are outside of the ctx, which is 128 bytes",
	  { CTX(2), LDX(SZ_DW, 0, 2, 124), EXIT } },
	{ "store_to_one_of_two_by_the_caller",
	  "points to different kinds of memory, depending on the caller",
	  { CTX(2), LDX(SZ_DW, 6, 2, 64), MOVR(2, 6), GLOBAL(1, 0, 0),
	    LOCAL(5), MOVR(2, 6), GLOBAL(1, 2, 0), LOCAL(1), EXIT,
	    ALUR(OP_ADD, 1, 2), ST(SZ_B, 1, 0, 1), MOV(0, 0), EXIT } },
	{ "proved_store_to_one_of_two_by_the_caller", NULL,
	  { GLOBAL(1, 0, 0), LOCAL(4), GLOBAL(1, 2, 0), LOCAL(1), EXIT,
	    ST(SZ_B, 1, 8, 1), MOV(0, 0), EXIT } },
	{ "rodata_written", "ro is read-only",
	  { GLOBAL(2, 1, 0), ST(SZ_B, 2, 0, 1), MOV(0, 0), EXIT } },
	{ "global_beyond", "are outside of global memory, which is 64 bytes",
	  { GLOBAL(2, 0, 60), LDX(SZ_DW, 0, 2, 0), EXIT } },
	{ "helper_memory_not_compared", "may be NULL: compare it with 0 first",
	  { HELPER(HELPER_MEM), LDX(SZ_DW, 0, 0, 0), EXIT } },
	{ "helper_memory_compared", NULL,
	  { HELPER(HELPER_MEM), JMP(OP_JEQ, 0, 0, 1), LDX(SZ_DW, 0, 0, 8),
	    MOV(0, 0), EXIT } },
	{ "helper_memory_moved", "may be NULL plus something",
	  { HELPER(HELPER_MEM), ALU(OP_ADD, 0, 8), JMP(OP_JEQ, 0, 0, 1),
	    LDX(SZ_DW, 0, 0, 0), MOV(0, 0), EXIT } },
	{ "helper_memory_beyond", "memory of a helper, which is 16 bytes",
	  { HELPER(HELPER_MEM), JMP(OP_JEQ, 0, 0, 1), LDX(SZ_DW, 0, 0, 12),
	    MOV(0, 0), EXIT } },
	{ "helper_gets_fake_ctx", "has to be the ctx that the program was called with",
	  { MOVR(1, 10), MOV(2, 0), HELPER(HELPER_CTX), EXIT } },
	{ "helper_gets_moved_ctx", "has to be the ctx that the program was called with",
	  { CTX(1), ALU(OP_ADD, 1, 8), MOV(2, 0), HELPER(HELPER_CTX), EXIT } },
	{ "helper_gets_pointer_for_number", "this argument has to be a number",
	  { MOVR(2, 10), CTX(1), HELPER(HELPER_CTX), EXIT } },
	{ "helper_reads_too_much", "may be outside of the stack: compare first",
	  { ST(SZ_DW, 10, -8, 0), MOVR(1, 10), ALU(OP_ADD, 1, -8), MOV(2, 16),
	    HELPER(HELPER_READ), EXIT } },
	{ "helper_reads_what_was_not_written", "was not written before it is read",
	  { MOVR(1, 10), ALU(OP_ADD, 1, -8), MOV(2, 8), HELPER(HELPER_READ),
	    EXIT } },
	{ "helper_writes_rodata", "ro is read-only",
	  { GLOBAL(1, 1, 0), MOV(2, 8), HELPER(HELPER_WRITE), EXIT } },
	{ "helper_fills_the_stack", NULL,
	  { MOVR(1, 10), ALU(OP_ADD, 1, -8), MOV(2, 8), HELPER(HELPER_WRITE),
	    LDX(SZ_DW, 0, 10, -8), EXIT } },
	{ "iterator_not_on_the_stack", "has to be 8 aligned bytes of the stack",
	  { GLOBAL(1, 0, 0), MOV(2, 0), MOV(3, 4),
	    HELPER(BPFVM_HELPER_ITER_NUM_NEW), EXIT } },
	{ "iterator_not_new", "was not written before it is read",
	  { MOVR(1, 10), ALU(OP_ADD, 1, -8),
	    HELPER(BPFVM_HELPER_ITER_NUM_NEXT), MOV(0, 0), EXIT } },
	{ "callback_is_a_number", "r2 has to be a function of the program",
	  { MOV(1, 1), MOV(2, 7), MOV(3, 0), MOV(4, 0),
	    HELPER(BPFVM_HELPER_LOOP), EXIT } },
	{ "callback_returns_a_pointer", "what a callback returns has to be a number",
	  { MOV(1, 1), FUNC(2, 5), MOV(3, 0), MOV(4, 0),
	    HELPER(BPFVM_HELPER_LOOP), EXIT, MOVR(0, 10), EXIT } },
	{ "call_of_a_number", "r2 has to be a function of the program",
	  { MOV(2, 7), CALLX(2), EXIT } },
	{ "call_of_one_of_two", "holds different kinds of things",
	  { CTX(3), LDX(SZ_W, 3, 3, 0), FUNC(2, 6), JMP(OP_JEQ, 3, 0, 2),
	    FUNC(2, 5), CALLX(2), EXIT, MOV(0, 1), EXIT, MOV(0, 2), EXIT } },
	{ "function_computed_with", "there is nothing to compute with a function",
	  { FUNC(2, 4), ALU(OP_ADD, 2, 1), MOV(0, 0), EXIT, MOV(0, 1), EXIT } },
	{ "stored_where_it_is_not_known", "stored at an offset that is not known",
	  { CTX(2), LDX(SZ_W, 3, 2, 0), ALU(OP_AND, 3, 7), ALU(OP_LSH, 3, 3),
	    MOVR(4, 10), ALU(OP_ADD, 4, -64), ALUR(OP_ADD, 4, 3),
	    STX(SZ_DW, 4, 1, 0), MOV(0, 0), EXIT } },
};

static uint32_t length(const struct bpfvm_insn *insns)
{
	uint32_t nr = 24;

	/* The last one is not all zeros, unless it is a second half. */
	while (nr && !insns[nr - 1].code && !insns[nr - 1].regs &&
	       !insns[nr - 1].imm &&
	       !(nr > 1 && insns[nr - 2].code == CODE_LD_IMM64))
		nr--;
	return nr;
}

static void try_program(const struct program *p)
{
	static char log[4096];
	struct bpfvm_opts opts = {
		.sz = sizeof(opts),
		.abi = BPFVM_ABI_BLOCK,
		.ctx_size = 128,
		.ctx_writable = writable,
		.nr_ctx_writable = 1,
		.helpers = helpers,
		.nr_helpers = sizeof(helpers) / sizeof(helpers[0]),
		.globals = globals,
		.nr_globals = 3,
		.log = log,
		.log_size = sizeof(log),
	};
	struct bpfvm_prog *prog;
	int err = bpfvm_load(&prog, p->insns, length(p->insns), &opts);
	bool ok = p->message ? err == -EINVAL && strstr(log, p->message) :
			       err == 0;

	if (!ok)
		printf("# %d: %s", err, log[0] ? log : "accepted\n");
	ktap_result(ok, "%s", p->name);
	bpfvm_free(prog);
}

int main(void)
{
	unsigned int nr = sizeof(programs) / sizeof(programs[0]);

	ktap_plan(nr);
	for (unsigned int i = 0; i < nr; i++)
		try_program(&programs[i]);
	return ktap_finish();
}
