// SPDX-License-Identifier: GPL-2.0
/*
 * For libFuzzer: bytes are a program and the data it runs on. Whatever is
 * accepted runs on both engines, which have to agree; a proof that fails is an
 * error.
 *
 * The first byte: bit 0 the ABI, bits 1 to 3 how much data, bit 4 whether the
 * rest is instructions or the seed of a generated program that the rest changes,
 * bit 5 that every access is checked, bit 6 that everything is logged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "generate.h"
#include "guarded.h"

#define DATA_MAX	256
#define CTX_SIZE	128
#define FUEL		20000

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Global memory, and the same where an address fits into an instruction. */
static _Alignas(8) uint8_t high[2][GEN_GLOBAL_SIZE];
static uint8_t (*low)[GEN_GLOBAL_SIZE];
static uint8_t (*memory)[GEN_GLOBAL_SIZE];
static _Alignas(8) uint8_t ctx[CTX_SIZE];

static const struct bpfvm_field writable[] = { { 64, 32 } };

struct outcome {
	struct bpfvm_run run;
	uint8_t data[DATA_MAX];
	uint8_t global[GEN_GLOBAL_SIZE];
	uint8_t ctx[CTX_SIZE];
};

static void run(struct bpfvm_thread *thread, enum bpfvm_engine engine,
		uint8_t *data, uint32_t len, struct outcome *o)
{
	memset(o, 0, sizeof(*o));
	for (uint32_t i = 0; i < len; i++)
		data[i] = i * 7 + len;
	for (uint32_t i = 0; i < GEN_GLOBAL_SIZE; i++)
		memory[0][i] = i;
	memset(ctx, 0, sizeof(ctx));
	o->run = (struct bpfvm_run){
		.engine = engine, .ctx = ctx, .data = data, .data_len = len,
		.fuel = FUEL,
	};
	bpfvm_run(thread, &o->run);
	memcpy(o->data, data, len);
	memcpy(o->global, memory[0], GEN_GLOBAL_SIZE);
	memcpy(o->ctx, ctx, CTX_SIZE);
}

static void check(struct bpfvm_prog *prog, uint32_t len)
{
	struct bpfvm_thread *thread = bpfvm_thread_new(prog, NULL);
	static struct outcome a, b;
	static uint8_t *buffer;
	uint8_t *data;

	if (!buffer)
		buffer = guarded_new(DATA_MAX);
	if (!thread || !buffer)
		abort();
	data = buffer + DATA_MAX - len;
	run(thread, BPFVM_ENGINE_INTERP, data, len, &a);
	run(thread, BPFVM_ENGINE_BEST, data, len, &b);
	a.run.engine = b.run.engine;
	if (a.run.fault == BPFVM_FAULT_PROOF || memcmp(&a, &b, sizeof(a))) {
		fprintf(stderr, "r0 %llx %llx fault %d %d at %u %u retired %llu %llu\n",
			(unsigned long long)a.run.r0,
			(unsigned long long)b.run.r0, a.run.fault, b.run.fault,
			a.run.fault_pc, b.run.fault_pc,
			(unsigned long long)a.run.retired,
			(unsigned long long)b.run.retired);
		abort();
	}
	bpfvm_thread_free(thread);
}

static uint32_t make_program(const uint8_t *bytes, size_t size, uint8_t how,
			     struct bpfvm_insn insns[GEN_MAX])
{
	uint64_t seed = 0;
	struct random r;
	uint32_t nr = size / sizeof(*insns);

	nr = nr < GEN_MAX ? nr : GEN_MAX;
	if (!(how & 16) || size < sizeof(seed)) {
		memcpy(insns, bytes, nr * sizeof(*insns));
		return nr;
	}
	memcpy(&seed, bytes, sizeof(seed));
	r.state = seed;
	nr = generate(&r, how & 1 ? BPFVM_ABI_BLOCK : BPFVM_ABI_RAW, insns);
	/* Three bytes each: where, and what to change there. */
	for (size_t i = sizeof(seed); i + 3 <= size; i += 3)
		((uint8_t *)insns)[(bytes[i] << 3 | (bytes[i + 1] & 7)) %
				   (nr * sizeof(*insns))] = bytes[i + 2];
	return nr;
}

static void choose_memory(bool want_low)
{
	if (!low)
		low = mmap(NULL, sizeof(high), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED)
		abort();
	memory = want_low ? low : high;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static const uint32_t lens[] = { 0, 1, 8, 15, 64, 100, 200, 256 };
	static struct bpfvm_insn insns[GEN_MAX];
	static char log[4096];
	struct bpfvm_global globals[2];
	struct bpfvm_prog *prog;
	struct bpfvm_opts opts = {
		.sz = sizeof(opts),
		.globals = globals,
		.ctx_size = CTX_SIZE,
		.ctx_writable = writable,
		.nr_ctx_writable = 1,
		.nr_globals = 2,
		.log = log,
		.log_size = sizeof(log),
	};
	uint32_t nr;

	if (size < 1)
		return 0;
	choose_memory(bytes[0] & 128);
	globals[0] = (struct bpfvm_global){ "rw", memory[0], GEN_GLOBAL_SIZE, false };
	globals[1] = (struct bpfvm_global){ "ro", memory[1], GEN_RDONLY_SIZE, true };
	if (bytes[0] & 64)
		opts.log_level = BPFVM_LOG_STATE;
	opts.abi = bytes[0] & 1 ? BPFVM_ABI_BLOCK : BPFVM_ABI_RAW;
	if (bytes[0] & 32)
		opts.flags = BPFVM_CHECK_ALL;
	nr = make_program(bytes + 1, size - 1, bytes[0], insns);
	if (bpfvm_load(&prog, insns, nr, &opts))
		return 0;
	check(prog, lens[bytes[0] >> 1 & 7]);
	bpfvm_free(prog);
	return 0;
}
