// SPDX-License-Identifier: GPL-2.0
/*
 * Every sequence of operations that the interpreter has code of its own for,
 * beside the JIT, which knows of none: programs around it with random registers,
 * numbers and lengths of the data, so that jumps go both ways and loads in the
 * middle of it fault.
 */
#include <stdlib.h>
#include <string.h>

#include "interp.h"
#include "ktap.h"

#define PROGRAMS	400
#define MAX_INSNS	96

enum kind { NUMBER, TO_DATA, TO_GLOBAL };

/* Registers: what pointers are in, and what sequences compute with. */
#define R_DATA		1
#define R_SMALL		2
#define R_JUMPED	6
#define R_POINTER	7
#define R_GLOBAL	9
static const uint8_t scratch[] = { 0, 3, 4, 5 };
#define NR_SCRATCH	(sizeof(scratch) / sizeof(scratch[0]))

static const uint8_t binary_ops[] = {
#define X(n) OP_##n,
#define OP_SDIV OP_DIV
#define OP_SMOD OP_MOD
	BINARY_OPS(X)
#undef X
};

static const uint8_t jump_ops[] = {
#define X(n) OP_##n,
	JUMP_OPS(X)
#undef X
};

static uint8_t global[64];
static const struct bpfvm_global globals[] = {
	{ .name = ".bss", .data = global, .size = sizeof(global) },
};

struct test {
	const struct op_sequence *seq;
	enum kind kinds[4];	/* of the results */
	struct bpfvm_insn insns[MAX_INSNS];
	uint32_t nr;
	uint32_t jumps[4];
	uint32_t nr_jumps;
};

static uint64_t random_state = 88172645463325252;

static uint32_t below(uint32_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 16) % limit;
}

/* Small ones are often equal, and others find what is cut off. */
static int32_t number(void)
{
	static const int32_t some[] = { 0, 1, 2, -1, INT32_MIN, INT32_MAX };

	switch (below(3)) {
	case 0:
		return some[below(6)];
	case 1:
		return below(4);
	default:
		return random_state >> 8;
	}
}

static void add(struct test *t, uint8_t code, unsigned int dst,
		unsigned int src, int16_t off, int32_t imm)
{
	t->insns[t->nr++] = (struct bpfvm_insn){ code, dst | src << 4, off, imm };
}

static void add_imm64(struct test *t, unsigned int dst, unsigned int src,
		      int32_t low, int32_t high)
{
	add(t, CODE_LD_IMM64, dst, src, 0, low);
	add(t, 0, 0, 0, 0, high);
}

static uint8_t scratch_register(void)
{
	return scratch[below(NR_SCRATCH)];
}

static bool is_load(uint16_t code)
{
	return code >= OP_LDD8 && code <= OP_STG64 && (code - OP_LDD8) % 3 < 2;
}

/* What each operation has to leave for the next one to use. */
static void find_kinds(struct test *t)
{
	const struct op_sequence *seq = t->seq;

	for (int k = seq->nr - 1; k >= 0; k--) {
		t->kinds[k] = NUMBER;
		if ((uint32_t)k + 1 == seq->nr)
			continue;
		if (seq->how[k + 1] == SRC && is_load(seq->codes[k + 1]))
			t->kinds[k] = (seq->codes[k + 1] - OP_LDD8) % 3 ?
				      TO_GLOBAL : TO_DATA;
		else if (seq->how[k + 1] == ON)
			t->kinds[k] = t->kinds[k + 1];
	}
}

static void begin(struct test *t)
{
	enum kind first = t->kinds[0];

	add_imm64(t, R_GLOBAL, IMM64_MAP_IDX_VALUE, 0, 0);
	add(t, CLS_ALU64 | OP_MOV, R_SMALL, 0, 0, below(8));
	add(t, CLS_ALU64 | OP_MOV | 8, R_POINTER,
	    first == TO_GLOBAL ? R_GLOBAL : R_DATA, 0, 0);
	add(t, CLS_ALU64 | OP_MOV, R_JUMPED, 0, 0, 1);
	for (uint32_t i = 0; i < NR_SCRATCH; i++)
		add_imm64(t, scratch[i], 0, number(), below(2) ? 0 : number());
}

static void add_binary(struct test *t, uint32_t k, uint8_t dst, uint8_t src)
{
	uint16_t code = t->seq->codes[k];
	uint8_t class = code & 2 ? CLS_ALU : CLS_ALU64;
	uint8_t op = binary_ops[code / 4];

	bool shifts = op == OP_LSH || op == OP_RSH || op == OP_ARSH;

	if (code & 1)
		add(t, class | op, dst, 0, 0,
		    shifts ? (int32_t)below(32) : number());
	else
		add(t, class | op | 8, dst, src, 0, 0);
}

static void add_jump(struct test *t, uint32_t k, uint8_t dst, uint8_t src)
{
	uint16_t code = t->seq->codes[k] - OPJ_JEQ64_REG;
	uint8_t class = code & 2 ? CLS_JMP32 : CLS_JMP;

	t->jumps[t->nr_jumps++] = t->nr;
	if (t->seq->codes[k] == OPX_JA)
		add(t, CODE_JA, 0, 0, 0, 0);
	else if (code & 1)
		add(t, class | jump_ops[code / 4], dst, 0, 0, number());
	else
		add(t, class | jump_ops[code / 4] | 8, dst, src, 0, 0);
}

static void add_access(struct test *t, uint32_t k, uint8_t dst, uint8_t src)
{
	static const uint8_t sizes[] = { SZ_B, SZ_H, SZ_W, SZ_DW };
	uint16_t code = t->seq->codes[k] - OP_LDD8;
	uint8_t size = sizes[code / 3];
	bool chained = t->seq->how[k] == SRC;

	switch (code % 3) {
	case 0:
		add(t, CLS_LDX | MODE_MEM | size, dst, chained ? src : R_DATA,
		    below(24), 0);
		break;
	case 1:
		add(t, CLS_LDX | MODE_MEM | size, dst, chained ? src : R_GLOBAL,
		    below(24), 0);
		break;
	default:
		add(t, CLS_STX | MODE_MEM | size, R_GLOBAL, src, below(56), 0);
	}
}

/* One operation of the sequence, after one that wrote @last. Returns its dst. */
static uint8_t add_op(struct test *t, uint32_t k, uint8_t last)
{
	uint16_t code = t->seq->codes[k];
	enum kind kind = t->kinds[k];
	bool on_last = t->seq->how[k] == DST || t->seq->how[k] == ON;
	uint8_t dst = on_last ? last : kind == NUMBER ? scratch_register() :
		      R_POINTER;
	uint8_t src = t->seq->how[k] == SRC ? last : scratch_register();

	if (kind != NUMBER && code == OP_MOV64_REG)
		src = kind == TO_DATA ? R_DATA : R_GLOBAL;
	else if (kind != NUMBER)
		src = R_SMALL;
	if (code == OPX_IMM64 && kind == TO_GLOBAL)
		add_imm64(t, dst, IMM64_MAP_IDX_VALUE, 0, below(8));
	else if (code == OPX_IMM64)
		add_imm64(t, dst, 0, number(), number());
	else if (code < OPJ_JEQ64_REG)
		add_binary(t, k, dst, src);
	else if (code >= OP_LDD8 && code <= OP_STG64)
		add_access(t, k, dst, src);
	else
		add_jump(t, k, dst, src);
	return dst;
}

/* r0 becomes a sum of all that could be wrong. */
static void end(struct test *t)
{
	add(t, CODE_JA, 0, 0, 1, 0);
	for (uint32_t i = 0; i < t->nr_jumps; i++)
		t->insns[t->jumps[i]].off = t->nr - t->jumps[i] - 1;
	add(t, CLS_ALU64 | OP_MOV, R_JUMPED, 0, 0, 2);
	for (uint32_t i = 1; i < NR_SCRATCH; i++) {
		add(t, CLS_ALU64 | OP_MUL, 0, 0, 0, 31);
		add(t, CLS_ALU64 | OP_ADD | 8, 0, scratch[i], 0, 0);
	}
	add(t, CLS_ALU64 | OP_MUL, 0, 0, 0, 31);
	add(t, CLS_ALU64 | OP_ADD | 8, 0, R_JUMPED, 0, 0);
	add(t, CODE_EXIT, 0, 0, 0, 0);
}

static bool uses(const struct bpfvm_prog *prog, const struct op_sequence *seq)
{
	const struct op *op = prog->ops;

	while (op->code != OPX_EXIT)
		if (op++->go == seq->code)
			return true;
	return false;
}

struct outcome {
	struct bpfvm_run run;
	uint8_t global[sizeof(global)];
};

static void run(struct bpfvm_thread *thread, enum bpfvm_engine engine,
		const uint8_t *data, uint64_t len, struct outcome *o)
{
	memset(o, 0, sizeof(*o));
	memset(global, 0x5a, sizeof(global));
	o->run.engine = engine;
	o->run.data = data;
	o->run.data_len = len;
	o->run.fuel = UINT64_MAX;
	bpfvm_run(thread, &o->run);
	memcpy(o->global, global, sizeof(global));
	o->run.engine = 0;
}

/* Returns 1 if the program used the sequence, 0 if not, -1 if it was wrong. */
static int try_program(struct test *t)
{
	static char log[1024];
	struct bpfvm_opts opts = {
		.sz = sizeof(opts), .log = log, .log_size = sizeof(log),
		.globals = globals, .nr_globals = 1,
	};
	struct outcome interp, jit;
	struct bpfvm_thread *thread;
	struct bpfvm_prog *prog;
	uint8_t data[64];
	int result = -1;

	for (uint32_t i = 0; i < sizeof(data); i++)
		data[i] = below(2) ? below(4) : below(256);
	if (bpfvm_load(&prog, t->insns, t->nr, &opts)) {
		printf("# %s\n", log);
		ktap_program(t->insns, t->nr);
		return -1;
	}
	thread = bpfvm_thread_new(prog, NULL);
	if (thread) {
		uint64_t len = below(4) ? sizeof(data) : below(40);

		run(thread, BPFVM_ENGINE_INTERP, data, len, &interp);
		run(thread, BPFVM_ENGINE_JIT, data, len, &jit);
		if (!memcmp(&interp, &jit, sizeof(jit)))
			result = uses(prog, t->seq);
		else
			ktap_program(t->insns, t->nr);
	}
	bpfvm_thread_free(thread);
	bpfvm_free(prog);
	return result;
}

static bool test_sequence(const struct op_sequence *seq)
{
	uint32_t used = 0;

	for (int i = 0; i < PROGRAMS; i++) {
		struct test t = { .seq = seq };
		uint8_t last = 0;
		int result;

		find_kinds(&t);
		begin(&t);
		for (uint32_t k = 0; k < seq->nr; k++)
			last = add_op(&t, k, last);
		end(&t);
		result = try_program(&t);
		if (result < 0)
			return false;
		used += result;
	}
	/* Some programs are such that another one fits better, or none. */
	if (used < PROGRAMS / 4)
		printf("# only %u of %u programs used it\n", used, PROGRAMS);
	return used >= PROGRAMS / 4;
}

int main(void)
{
	struct op_codes codes;

	interp_codes(&codes);
	ktap_plan(codes.nr_sequences);
	for (uint32_t i = 0; i < codes.nr_sequences; i++) {
		const struct op_sequence *seq = &codes.sequences[i];

		ktap_result(test_sequence(seq),
			    "sequence_of_%u_operations_from_code_%u_no_%u",
			    seq->nr, seq->codes[0], i);
	}
	return ktap_finish();
}
