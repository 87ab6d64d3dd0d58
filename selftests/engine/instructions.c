// SPDX-License-Identifier: GPL-2.0
/*
 * Every instruction against its definition, on edge values, with every pair of
 * registers, in the interpreter and the JIT with and without extensions. The
 * definitions here are written from RFC 9669 and share nothing with the engine.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "insn.h"
#include "ktap.h"

static const uint64_t edges[] = {
	0, 1, 2, 3, 7, 31, 32, 33, 63, 64, 127, 128, 255, 256, 0x7fff, 0x8000,
	0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
	0x7fffffffffffffff, 0x8000000000000000, 0xffffffffffffffff,
	0xffffffffffffff80, 0xffffffff80000000, 0x0123456789abcdef,
	0xfedcba9876543210, 0xfffffffffffffffe, 0x80000001, 0xffffffff00000001,
};

#define NR_EDGES	(sizeof(edges) / sizeof(edges[0]))

static unsigned int wrong;

static struct bpfvm_insn I(uint8_t code, unsigned int dst, unsigned int src,
			   int16_t off, int32_t imm)
{
	return (struct bpfvm_insn){ code, dst | src << 4, off, imm };
}

struct test {
	struct bpfvm_insn insns[64];
	uint32_t nr;
	struct bpfvm_prog *progs[2];
	struct bpfvm_thread *threads[2];
};

static void add(struct test *t, struct bpfvm_insn insn)
{
	t->insns[t->nr++] = insn;
}

static void complain(const struct test *t, const char *what)
{
	if (wrong++ > 5)
		return;
	printf("# %s\n", what);
	ktap_program(t->insns, t->nr);
}

static bool load(struct test *t)
{
	static char log[1024];

	for (int i = 0; i < 2; i++) {
		struct bpfvm_opts opts = {
			.sz = sizeof(opts),
			.flags = i ? BPFVM_BASELINE : 0,
			.log = log,
			.log_size = sizeof(log),
		};

		if (bpfvm_load(&t->progs[i], t->insns, t->nr, &opts)) {
			complain(t, log);
			return false;
		}
		t->threads[i] = bpfvm_thread_new(t->progs[i], NULL);
	}
	return true;
}

static void unload(struct test *t)
{
	for (int i = 0; i < 2; i++) {
		bpfvm_thread_free(t->threads[i]);
		bpfvm_free(t->progs[i]);
	}
	memset(t, 0, sizeof(*t));
}

/* Data: a, b, and room for what the program stores. */
struct data {
	uint64_t a, b;
	uint64_t out[4];
};

/* Run everywhere; the outcome is the same or it is wrong. */
static void run(struct test *t, const struct data *in, struct data *out)
{
	static const enum bpfvm_engine engines[] = {
		BPFVM_ENGINE_INTERP, BPFVM_ENGINE_BEST, BPFVM_ENGINE_BEST,
	};
	struct data all[3];

	for (int i = 0; i < 3; i++) {
		struct bpfvm_run r = {
			.engine = engines[i],
			.data = &all[i],
			.data_len = sizeof(all[i]),
			.fuel = 1000,
		};

		all[i] = *in;
		if (bpfvm_run(t->threads[i == 2], &r))
			complain(t, bpfvm_fault_text(r.fault));
		all[i].out[3] = r.r0;
	}
	if (memcmp(&all[0], &all[1], sizeof(all[0])) ||
	    memcmp(&all[0], &all[2], sizeof(all[0])))
		complain(t, "the engines differ");
	*out = all[0];
}

static void expect(struct test *t, uint64_t got, uint64_t want, uint64_t a,
		   uint64_t b)
{
	char what[128];

	if (got == want)
		return;
	snprintf(what, sizeof(what), "0x%llx and 0x%llx: got 0x%llx, not 0x%llx",
		 (unsigned long long)a, (unsigned long long)b,
		 (unsigned long long)got, (unsigned long long)want);
	complain(t, what);
}

/*
 * The beginning of each program: a into @dst, b into @src, and every other
 * register gets a number that must not change.
 */
static void begin(struct test *t, unsigned int dst, unsigned int src)
{
	memset(t, 0, sizeof(*t));
	/* The data pointer is needed to the end: on the stack. */
	add(t, I(CLS_STX | MODE_MEM | SZ_DW, 10, 1, -8, 0));
	for (unsigned int r = 0; r < 10; r++)
		if (r != dst && r != src && r != 1)
			add(t, I(CLS_ALU64 | OP_MOV, r, 0, 0, 1000 + r));
	if (dst != 1)
		add(t, I(CLS_LDX | MODE_MEM | SZ_DW, dst, 1, 0, 0));
	if (src != 1 && src != dst)
		add(t, I(CLS_LDX | MODE_MEM | SZ_DW, src, 1, 8, 0));
	if (dst == 1)
		add(t, I(CLS_LDX | MODE_MEM | SZ_DW, 1, 1, 0, 0));
	else if (src == 1)
		add(t, I(CLS_LDX | MODE_MEM | SZ_DW, 1, 1, 8, 0));
	else
		add(t, I(CLS_ALU64 | OP_MOV, 1, 0, 0, 1001));
}

/* The end: dst, src and the sum of the others to the data. */
static void end(struct test *t, unsigned int dst, unsigned int src)
{
	unsigned int ptr = 0, sum;

	while (ptr == dst || ptr == src)
		ptr++;
	sum = ptr + 1;
	while (sum == dst || sum == src)
		sum++;
	for (unsigned int r = 0; r < 10; r++)
		if (r != dst && r != src && r != sum)
			add(t, I(CLS_ALU64 | OP_ADD | 8, sum, r, 0, 0));
	add(t, I(CLS_LDX | MODE_MEM | SZ_DW, ptr, 10, -8, 0));
	add(t, I(CLS_STX | MODE_MEM | SZ_DW, ptr, dst, 16, 0));
	add(t, I(CLS_STX | MODE_MEM | SZ_DW, ptr, src, 24, 0));
	add(t, I(CLS_STX | MODE_MEM | SZ_DW, ptr, sum, 32, 0));
	add(t, I(CLS_ALU64 | OP_MOV, 0, 0, 0, 0));
	add(t, I(CODE_EXIT, 0, 0, 0, 0));
}

static uint64_t others(unsigned int dst, unsigned int src)
{
	uint64_t sum = 0;

	for (unsigned int r = 0; r < 10; r++)
		if (r != dst && r != src)
			sum += 1000 + r;
	return sum;
}

/* Wide enough that nothing overflows: the definition, then the cut. */
static uint64_t define_alu(uint8_t op, int16_t off, int bits, uint64_t a,
			   uint64_t b)
{
	unsigned __int128 mask = ((unsigned __int128)1 << bits) - 1;
	unsigned __int128 ua = a & mask, ub = b & mask, r;
	__int128 sa = ua, sb = ub;

	if (sa >> (bits - 1))
		sa -= (__int128)1 << bits;
	if (sb >> (bits - 1))
		sb -= (__int128)1 << bits;
	switch (op) {
	case OP_ADD: r = ua + ub; break;
	case OP_SUB: r = ua - ub; break;
	case OP_MUL: r = ua * ub; break;
	case OP_DIV: r = !ub ? 0 : off ? (unsigned __int128)(sa / sb) : ua / ub; break;
	case OP_MOD: r = !ub ? ua : off ? (unsigned __int128)(sa % sb) : ua % ub; break;
	case OP_OR: r = ua | ub; break;
	case OP_AND: r = ua & ub; break;
	case OP_XOR: r = ua ^ ub; break;
	case OP_LSH: r = ua << ub % bits; break;
	case OP_RSH: r = ua >> ub % bits; break;
	case OP_ARSH: r = (unsigned __int128)(sa >> ub % bits); break;
	case OP_NEG: r = -ua; break;
	default: /* OP_MOV */
		r = ub;
		if (off && r >> (off - 1) & 1)
			r |= mask << off;
		else if (off)
			r &= ((unsigned __int128)1 << off) - 1;
	}
	return r & mask;
}

struct alu {
	uint8_t op;
	int16_t off;
};

static const struct alu alus[] = {
	{ OP_ADD, 0 }, { OP_SUB, 0 }, { OP_MUL, 0 }, { OP_DIV, 0 },
	{ OP_DIV, 1 }, { OP_OR, 0 }, { OP_AND, 0 }, { OP_LSH, 0 },
	{ OP_RSH, 0 }, { OP_MOD, 0 }, { OP_MOD, 1 }, { OP_XOR, 0 },
	{ OP_MOV, 0 }, { OP_MOV, 8 }, { OP_MOV, 16 }, { OP_MOV, 32 },
	{ OP_ARSH, 0 },
};

static void alu_registers(const struct alu *alu, bool wide, unsigned int dst,
			  unsigned int src, unsigned int stride)
{
	uint8_t class = wide ? CLS_ALU64 : CLS_ALU;
	struct data in = { 0 }, out;
	struct test t;

	begin(&t, dst, src);
	add(&t, I(class | alu->op | 8, dst, src, alu->off, 0));
	end(&t, dst, src);
	if (!load(&t))
		return;
	for (unsigned int i = 0; i < NR_EDGES; i++) {
		for (unsigned int k = i % stride; k < NR_EDGES; k += stride) {
			uint64_t want;

			in.a = edges[i];
			in.b = edges[k];
			run(&t, &in, &out);
			want = define_alu(alu->op, alu->off, wide ? 64 : 32,
					  in.a, dst == src ? in.a : in.b);
			expect(&t, out.out[0], want, in.a, in.b);
			if (dst != src)
				expect(&t, out.out[1], in.b, in.a, in.b);
			expect(&t, out.out[2], others(dst, src), in.a, in.b);
		}
	}
	unload(&t);
}

static void test_alu_registers(void)
{
	for (unsigned int n = 0; n < sizeof(alus) / sizeof(alus[0]); n++)
		for (int wide = 0; wide < 2; wide++)
			for (unsigned int dst = 0; dst < 10; dst++)
				for (unsigned int src = 0; src < 10; src++)
					if (wide || alus[n].off != 32)
						alu_registers(&alus[n], wide,
							      dst, src, 13);
	for (unsigned int n = 0; n < sizeof(alus) / sizeof(alus[0]); n++)
		for (int wide = 0; wide < 2; wide++)
			if (wide || alus[n].off != 32)
				alu_registers(&alus[n], wide, 3, 4, 1);
}

static void alu_immediate(const struct alu *alu, bool wide, unsigned int dst,
			  int32_t imm)
{
	uint8_t class = wide ? CLS_ALU64 : CLS_ALU;
	int bits = wide ? 64 : 32;
	bool shift = alu->op == OP_LSH || alu->op == OP_RSH ||
		     alu->op == OP_ARSH;
	struct data in = { 0 }, out;
	struct test t;

	if ((alu->op == OP_MOV && alu->off) || (shift && (uint32_t)imm >= (uint32_t)bits) ||
	    ((alu->op == OP_DIV || alu->op == OP_MOD) && !imm))
		return;
	begin(&t, dst, dst);
	add(&t, I(class | alu->op, dst, 0, alu->off, imm));
	end(&t, dst, dst);
	if (!load(&t))
		return;
	for (unsigned int i = 0; i < NR_EDGES; i++) {
		in.a = edges[i];
		run(&t, &in, &out);
		expect(&t, out.out[0],
		       define_alu(alu->op, alu->off, bits, in.a, (int64_t)imm),
		       in.a, (int64_t)imm);
		expect(&t, out.out[2], others(dst, dst), in.a, imm);
	}
	unload(&t);
}

static void test_alu_immediates(void)
{
	for (unsigned int n = 0; n < sizeof(alus) / sizeof(alus[0]); n++)
		for (int wide = 0; wide < 2; wide++)
			for (unsigned int k = 0; k < NR_EDGES; k++)
				alu_immediate(&alus[n], wide, (n + k) % 10,
					      edges[k]);
}

static uint64_t define_end(uint64_t a, int bits, bool swap)
{
	uint64_t r = 0;

	for (int i = 0; i < bits; i += 8)
		r |= (a >> i & 0xff) << (swap ? bits - 8 - i : i);
	return r;
}

static void unary(uint8_t code, int32_t imm, unsigned int dst)
{
	struct data in = { 0 }, out;
	struct test t;

	begin(&t, dst, dst);
	add(&t, I(code, dst, 0, 0, imm));
	end(&t, dst, dst);
	if (!load(&t))
		return;
	for (unsigned int i = 0; i < NR_EDGES; i++) {
		bool wide = INSN_CLASS(code) == CLS_ALU64;
		uint64_t want;

		in.a = edges[i];
		run(&t, &in, &out);
		want = INSN_OP(code) == OP_NEG ?
		       define_alu(OP_NEG, 0, wide ? 64 : 32, in.a, 0) :
		       define_end(in.a, imm, wide || INSN_IS_REG(code));
		expect(&t, out.out[0], want, in.a, imm);
		expect(&t, out.out[2], others(dst, dst), in.a, imm);
	}
	unload(&t);
}

static void test_unary(void)
{
	for (unsigned int dst = 0; dst < 10; dst++) {
		unary(CLS_ALU | OP_NEG, 0, dst);
		unary(CLS_ALU64 | OP_NEG, 0, dst);
		for (int bits = 16; bits <= 64; bits *= 2) {
			unary(CLS_ALU | OP_END, bits, dst);
			unary(CLS_ALU | OP_END | 8, bits, dst);
			unary(CLS_ALU64 | OP_END, bits, dst);
		}
	}
}

static bool define_jump(uint8_t op, int bits, uint64_t a, uint64_t b)
{
	__int128 mask = ((__int128)1 << bits) - 1;
	__int128 ua = a & mask, ub = b & mask, sa = ua, sb = ub;

	if (sa >> (bits - 1))
		sa -= (__int128)1 << bits;
	if (sb >> (bits - 1))
		sb -= (__int128)1 << bits;
	switch (op) {
	case OP_JEQ: return ua == ub;
	case OP_JNE: return ua != ub;
	case OP_JGT: return ua > ub;
	case OP_JGE: return ua >= ub;
	case OP_JLT: return ua < ub;
	case OP_JLE: return ua <= ub;
	case OP_JSET: return ua & ub;
	case OP_JSGT: return sa > sb;
	case OP_JSGE: return sa >= sb;
	case OP_JSLT: return sa < sb;
	default: return sa <= sb;
	}
}

static const uint8_t jumps[] = {
	OP_JEQ, OP_JNE, OP_JGT, OP_JGE, OP_JLT, OP_JLE, OP_JSET, OP_JSGT,
	OP_JSGE, OP_JSLT, OP_JSLE,
};

/* @form 0: a branch, 1: a value of 0 or 1, 2: a computation that is skipped. */
static void jump(uint8_t op, bool wide, unsigned int dst, unsigned int src,
		 const int32_t *imm, int form)
{
	uint8_t code = (wide ? CLS_JMP : CLS_JMP32) | op;
	struct data in = { 0 }, out;
	unsigned int r = 0;
	struct test t;

	while (r == dst || r == src)
		r++;
	begin(&t, dst, src);
	add(&t, I(CLS_ALU64 | OP_MOV, r, 0, 0, form == 2 ? 40 : 1));
	add(&t, I(code | (imm ? 0 : 8), dst, imm ? 0 : src, form ? 1 : 2,
		  imm ? *imm : 0));
	add(&t, form == 2 ? I(CLS_ALU64 | OP_ADD, r, 0, 0, 2) :
			    I(CLS_ALU | OP_MOV, r, 0, 0, 0));
	if (!form)
		add(&t, I(CLS_ALU64 | OP_ADD, r, 0, 0, 5));
	add(&t, I(CLS_STX | MODE_MEM | SZ_DW, 10, r, -16, 0));
	add(&t, I(CLS_ALU64 | OP_MOV, r, 0, 0, 1000 + r));
	add(&t, I(CLS_STX | MODE_MEM | SZ_DW, 10, r, -24, 0));
	end(&t, dst, src);
	t.nr -= 2;
	add(&t, I(CLS_LDX | MODE_MEM | SZ_DW, 0, 10, -16, 0));
	add(&t, I(CODE_EXIT, 0, 0, 0, 0));
	if (!load(&t))
		return;
	for (unsigned int i = 0; i < NR_EDGES; i++) {
		for (unsigned int k = i % 3; k < NR_EDGES; k += 3) {
			static const uint64_t results[3][2] = {
				{ 5, 1 }, { 0, 1 }, { 42, 40 },
			};
			bool taken;

			in.a = edges[i];
			in.b = edges[k];
			run(&t, &in, &out);
			taken = define_jump(op, wide ? 64 : 32, in.a,
					    imm ? (uint64_t)(int64_t)*imm :
					    dst == src ? in.a : in.b);
			expect(&t, out.out[3], results[form][taken], in.a,
			       imm ? (uint64_t)*imm : in.b);
			expect(&t, out.out[2], others(dst, src), in.a, in.b);
		}
	}
	unload(&t);
}

static void test_jumps(void)
{
	for (unsigned int n = 0; n < sizeof(jumps); n++)
		for (int wide = 0; wide < 2; wide++)
			for (int form = 0; form < 3; form++) {
				for (unsigned int r = 0; r < 10; r++)
					jump(jumps[n], wide, r, (r * 3 + n) % 10,
					     NULL, form);
				for (unsigned int k = 0; k < NR_EDGES; k += 2) {
					int32_t imm = edges[k];

					jump(jumps[n], wide, k % 10, k % 10,
					     &imm, form);
				}
			}
}

/* b at an offset of the frame by every way to load and store. */
static void memory(uint8_t size, uint8_t how, unsigned int reg,
		   unsigned int base, int16_t off)
{
	int bits = 8 * insn_bytes(size);
	struct data in = { 0 }, out;
	struct test t;

	memset(&t, 0, sizeof(t));
	/* base = address - off, whatever that is, must be a pointer. */
	add(&t, I(CLS_STX | MODE_MEM | SZ_DW, 10, 1, -8, 0));
	add(&t, I(CLS_LDX | MODE_MEM | SZ_DW, reg, 1, 0, 0));
	add(&t, I(CLS_LDX | MODE_MEM | SZ_DW, base, 10, -8, 0));
	add(&t, I(CLS_ALU64 | OP_ADD, base, 0, 0, 16 - off));
	if (how == CLS_LDX)
		add(&t, I(CLS_STX | MODE_MEM | SZ_DW, base, reg, off, 0));
	if (how == CLS_ST)
		add(&t, I(CLS_ST | MODE_MEM | size, base, 0, off, -559038737));
	else if (how == CLS_STX)
		add(&t, I(CLS_STX | MODE_MEM | size, base, reg, off, 0));
	else
		add(&t, I(CLS_LDX | (how == CLS_LDX ? MODE_MEM : MODE_MEMSX) |
			  size, reg, base, off, 0));
	add(&t, I(CLS_ALU64 | OP_MOV | 8, 0, reg, 0, 0));
	add(&t, I(CODE_EXIT, 0, 0, 0, 0));
	if (how == 0xff)
		t.insns[4] = I(CLS_LDX | MODE_MEMSX | size, reg, base, off, 0);
	if (!load(&t))
		return;
	for (unsigned int i = 0; i < NR_EDGES; i++) {
		uint64_t cut = bits == 64 ? ~0ULL : (1ULL << bits) - 1;
		uint64_t value = how == CLS_ST ? (uint64_t)-559038737LL :
						 edges[i];
		uint64_t want = edges[i] & cut;

		in.a = edges[i];
		in.out[0] = how == 0xff ? edges[i] : 0;
		run(&t, &in, &out);
		if (how == 0xff && want >> (bits - 1))
			want |= ~cut;
		if (how == CLS_ST || how == CLS_STX)
			expect(&t, out.out[0], value & cut, in.a, off);
		else
			expect(&t, out.out[3], want, in.a, off);
	}
	unload(&t);
}

static void test_memory(void)
{
	static const int16_t offs[] = {
		0, 1, 16, 127, 128, -1, -128, -129, 32767, -32768,
	};

	for (unsigned int n = 0; n < sizeof(offs) / sizeof(offs[0]); n++)
		for (unsigned int reg = 0; reg < 10; reg++)
			for (uint8_t size = 0; size <= SZ_DW; size += 8) {
				unsigned int base = (reg + 1 + n) % 10;

				if (base == reg || reg == 1 || base == 1)
					continue;
				memory(size, CLS_LDX, reg, base, offs[n]);
				memory(size, CLS_ST, reg, base, offs[n]);
				memory(size, CLS_STX, reg, base, offs[n]);
				if (size != SZ_DW)
					memory(size, 0xff, reg, base, offs[n]);
			}
}

/* A load and a swap of what it loaded, which some machines do at once. */
static void swapped(uint8_t size, uint8_t code, int32_t bits, unsigned int reg,
		    unsigned int base)
{
	struct data in = { 0 }, out;
	struct test t;

	memset(&t, 0, sizeof(t));
	add(&t, I(CLS_ALU64 | OP_MOV | 8, base, 1, 0, 0));
	add(&t, I(CLS_ALU64 | OP_MOV, reg == base ? 2 : reg, 0, 0, -1));
	add(&t, I(CLS_LDX | MODE_MEM | size, reg, base, 0, 0));
	add(&t, I(code, reg, 0, 0, bits));
	add(&t, I(CLS_ALU64 | OP_MOV | 8, 0, reg, 0, 0));
	add(&t, I(CODE_EXIT, 0, 0, 0, 0));
	if (!load(&t))
		return;
	for (unsigned int i = 0; i < NR_EDGES; i++) {
		uint64_t cut = size == SZ_DW ? ~0ULL :
			       (1ULL << 8 * insn_bytes(size)) - 1;

		in.a = edges[i];
		run(&t, &in, &out);
		expect(&t, out.out[3],
		       define_end(edges[i] & cut, bits,
				  INSN_CLASS(code) == CLS_ALU64 ||
				  INSN_IS_REG(code)), in.a, bits);
	}
	unload(&t);
}

static void test_swapped_loads(void)
{
	for (uint8_t size = 0; size <= SZ_DW; size += 8)
		for (int bits = 16; bits <= 64; bits *= 2)
			for (unsigned int reg = 0; reg < 10; reg++) {
				unsigned int base = 2 + reg * 3 % 8;

				swapped(size, CLS_ALU | OP_END, bits, reg, base);
				swapped(size, CLS_ALU | OP_END | 8, bits, reg,
					base);
				swapped(size, CLS_ALU64 | OP_END, bits, reg,
					base);
			}
}

static void atomic(int32_t imm, bool wide, unsigned int src, unsigned int base)
{
	int bits = wide ? 64 : 32;
	uint64_t cut = wide ? ~0ULL : 0xffffffff;
	struct data in = { 0 }, out;
	struct test t;

	begin(&t, src, src);
	if (src != 0)
		add(&t, I(CLS_ALU64 | OP_MOV, 0, 0, 0, 7));
	add(&t, I(CLS_LDX | MODE_MEM | SZ_DW, base, 10, -8, 0));
	add(&t, I(CLS_STX | MODE_ATOMIC | (wide ? SZ_DW : SZ_W), base, src, 16,
		  imm));
	add(&t, I(CLS_STX | MODE_MEM | SZ_DW, base, src, 24, 0));
	add(&t, I(CLS_STX | MODE_MEM | SZ_DW, base, 0, 32, 0));
	add(&t, I(CLS_ALU64 | OP_MOV, 0, 0, 0, 0));
	add(&t, I(CODE_EXIT, 0, 0, 0, 0));
	if (!load(&t))
		return;
	for (unsigned int i = 0; i < NR_EDGES; i++) {
		for (unsigned int k = 0; k < NR_EDGES; k++) {
			uint64_t old = edges[k] & cut, want, r0, rs;

			in.a = edges[i];
			in.out[0] = edges[k];
			run(&t, &in, &out);
			r0 = src ? 7 : in.a;
			rs = in.a;
			if (imm == ATOMIC_XCHG)
				want = in.a & cut;
			else if (imm == ATOMIC_CMPXCHG)
				want = old == (r0 & cut) ? in.a & cut : old;
			else
				want = define_alu(imm & 0xf0, 0, bits, old,
						  in.a);
			if (imm == ATOMIC_CMPXCHG)
				r0 = old;
			else if (imm & ATOMIC_FETCH)
				rs = old;
			if (!src)
				r0 = rs = imm == ATOMIC_CMPXCHG ? r0 : rs;
			expect(&t, out.out[0], want | (edges[k] & ~cut), in.a,
			       edges[k]);
			expect(&t, out.out[1], rs, in.a, edges[k]);
			expect(&t, out.out[2], r0, in.a, edges[k]);
		}
	}
	unload(&t);
}

static void test_atomics(void)
{
	static const int32_t ops[] = {
		OP_ADD, OP_OR, OP_AND, OP_XOR, OP_ADD | 1, OP_OR | 1,
		OP_AND | 1, OP_XOR | 1, ATOMIC_XCHG, ATOMIC_CMPXCHG,
	};

	for (unsigned int n = 0; n < sizeof(ops) / sizeof(ops[0]); n++)
		for (int wide = 0; wide < 2; wide++)
			for (unsigned int src = 0; src < 10; src++) {
				unsigned int base = (src + 1 + n) % 10;

				if (base != 0 && base != src)
					atomic(ops[n], wide, src, base);
			}
}

int main(void)
{
	static const struct {
		const char *name;
		void (*test)(void);
	} tests[] = {
		{ "arithmetic_with_registers", test_alu_registers },
		{ "arithmetic_with_immediates", test_alu_immediates },
		{ "negation_and_byte_order", test_unary },
		{ "jumps_and_selected_values", test_jumps },
		{ "loads_and_stores", test_memory },
		{ "swapped_loads", test_swapped_loads },
		{ "atomic_operations", test_atomics },
	};

	ktap_plan(sizeof(tests) / sizeof(tests[0]));
	for (unsigned int i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		wrong = 0;
		tests[i].test();
		ktap_result(!wrong, "%s", tests[i].name);
	}
	return ktap_finish();
}
