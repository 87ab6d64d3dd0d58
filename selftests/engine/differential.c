// SPDX-License-Identifier: GPL-2.0
/*
 * Random programs on the interpreter and the JIT, which have to agree on the
 * result, the memory, the fault and where it was, and the instructions executed.
 * Each is run as loaded by default, with every access checked (a proved one
 * that fails is an error of the verifier), and without processor extensions.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "generate.h"
#include "ktap.h"

#define DATA_MAX	512
#define CTX_SIZE	128
#define STATE_AT	64

static _Alignas(8) uint8_t global_rw[GEN_GLOBAL_SIZE];
static _Alignas(8) uint8_t global_ro[GEN_RDONLY_SIZE];

struct memory {
	_Alignas(8) uint8_t data[DATA_MAX];
	uint8_t global[GEN_GLOBAL_SIZE];
	uint8_t ctx[CTX_SIZE];
};

struct outcome {
	int err;
	struct bpfvm_run run;
	struct memory memory;
};

struct totals {
	uint64_t programs, accepted, runs, faults[BPFVM_NR_FAULTS];
	uint64_t accesses, proved, retired;
	uint64_t slowest_ns;
	uint64_t slowest_seed;
};

static const struct bpfvm_global globals[] = {
	{ "rw", global_rw, sizeof(global_rw), false },
	{ "ro", global_ro, sizeof(global_ro), true },
};

static const struct bpfvm_field writable[] = { { STATE_AT, 32 } };

/* At the end of its allocation, so that a sanitizer sees what goes over. */
static uint8_t *data_buffer;

static void run_one(struct bpfvm_thread *thread, enum bpfvm_engine engine,
		    const struct memory *before, uint32_t len, uint64_t fuel,
		    struct outcome *out)
{
	uint8_t *data = data_buffer + DATA_MAX - len;
	static _Alignas(8) uint8_t ctx[CTX_SIZE];

	memcpy(data, before->data, len);
	memcpy(global_rw, before->global, sizeof(global_rw));
	memcpy(ctx, before->ctx, sizeof(ctx));
	memset(out, 0, sizeof(*out));
	out->run = (struct bpfvm_run){
		.engine = engine,
		.ctx = ctx,
		.data = data,
		.data_len = len,
		.fuel = fuel,
	};
	out->err = bpfvm_run(thread, &out->run);
	memcpy(out->memory.data, data, len);
	memcpy(out->memory.global, global_rw, sizeof(global_rw));
	memcpy(out->memory.ctx, ctx, sizeof(ctx));
}

static bool same(const struct outcome *a, const struct outcome *b)
{
	return a->err == b->err && a->run.r0 == b->run.r0 &&
	       a->run.fault == b->run.fault &&
	       a->run.fault_pc == b->run.fault_pc &&
	       a->run.retired == b->run.retired &&
	       !memcmp(&a->memory, &b->memory, sizeof(a->memory));
}

static void show(const char *name, const struct outcome *o)
{
	printf("# %s: err %d r0 0x%" PRIx64 " fault %d at %u retired %" PRIu64 "\n",
	       name, o->err, o->run.r0, o->run.fault, o->run.fault_pc,
	       o->run.retired);
}

static void show_program(const struct bpfvm_insn *insns, uint32_t nr)
{
	char text[96];

	for (uint32_t pc = 0; pc < nr; ) {
		int slots = bpfvm_disasm(insns + pc, nr - pc, pc, text,
					 sizeof(text));

		printf("# %4u: %s\n", pc, text);
		pc += slots;
	}
}

static const uint32_t variants[] = {
	0, BPFVM_CHECK_ALL, BPFVM_BASELINE,
};

#define NR_VARIANTS	(sizeof(variants) / sizeof(variants[0]))

struct trial {
	enum bpfvm_abi abi;
	uint32_t nr;
	struct bpfvm_insn insns[GEN_MAX];
	struct bpfvm_prog *progs[NR_VARIANTS];
	struct bpfvm_thread *threads[NR_VARIANTS];
	char log[512];
};

static int load_trial(struct trial *t, struct totals *sum)
{
	struct bpfvm_info info;
	int err = 0;

	for (unsigned int i = 0; i < NR_VARIANTS && !err; i++) {
		struct bpfvm_opts opts = {
			.sz = sizeof(opts),
			.abi = t->abi,
			.flags = variants[i],
			.ctx_size = CTX_SIZE,
			.ctx_writable = writable,
			.nr_ctx_writable = 1,
			.globals = globals,
			.nr_globals = 2,
			.log = t->log,
			.log_size = sizeof(t->log),
		};

		err = bpfvm_load(&t->progs[i], t->insns, t->nr, &opts);
		if (!err)
			t->threads[i] = bpfvm_thread_new(t->progs[i], NULL);
	}
	if (err)
		return err;
	bpfvm_get_info(t->progs[0], &info);
	sum->accesses += info.accesses;
	sum->proved += info.proved;
	return 0;
}

static void free_trial(struct trial *t)
{
	for (unsigned int i = 0; i < NR_VARIANTS; i++) {
		bpfvm_thread_free(t->threads[i]);
		bpfvm_free(t->progs[i]);
	}
}

/* Returns false if the engines differ, or a proof was wrong. */
static bool compare(struct trial *t, struct random *r, struct totals *sum)
{
	static const uint32_t lens[] = { 0, 1, 7, 8, 40, 64, 100, 256, 512 };
	static const uint64_t fuels[] = { 10, 100, 1000, 100000, 1000000 };
	uint32_t len = below(r, 2) ? below(r, DATA_MAX + 1) :
				     lens[below(r, 9)];
	uint64_t fuel = fuels[below(r, 5)] + below(r, 50);
	static struct outcome first, other;
	static struct memory before;
	char name[32];

	memset(&before, 0, sizeof(before));
	for (uint32_t i = 0; i < len; i++)
		before.data[i] = next_random(r);
	for (uint32_t i = 0; i < sizeof(before.global); i++)
		before.global[i] = next_random(r);
	run_one(t->threads[0], BPFVM_ENGINE_INTERP, &before, len, fuel, &first);
	sum->runs++;
	sum->faults[first.run.fault]++;
	sum->retired += first.run.retired;
	if (first.run.fault == BPFVM_FAULT_PROOF) {
		show("interpreter", &first);
		return false;
	}
	for (unsigned int i = 0; i < NR_VARIANTS; i++) {
		run_one(t->threads[i], BPFVM_ENGINE_BEST, &before, len, fuel,
			&other);
		if (same(&first, &other))
			continue;
		snprintf(name, sizeof(name), "jit, flags %u", variants[i]);
		show("interpreter", &first);
		show(name, &other);
		printf("# data length %u, fuel %" PRIu64 "\n", len, fuel);
		return false;
	}
	return true;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static bool try_program(uint64_t seed, struct totals *sum, bool verbose)
{
	struct random r = { seed };
	static struct trial t;
	uint64_t start;
	bool ok = true;
	int err;

	memset(&t, 0, sizeof(t));
	t.abi = below(&r, 2) ? BPFVM_ABI_RAW : BPFVM_ABI_BLOCK;
	t.nr = generate(&r, t.abi, t.insns);
	sum->programs++;
	start = now_ns();
	err = load_trial(&t, sum);
	start = now_ns() - start;
	if (start > sum->slowest_ns) {
		sum->slowest_ns = start;
		sum->slowest_seed = seed;
	}
	if (verbose) {
		show_program(t.insns, t.nr);
		printf("# load: %d %s", err, t.log);
	}
	if (err == -EINVAL && strstr(t.log, "internal error"))
		ok = false;
	for (int i = 0; !err && ok && i < 3; i++)
		ok = compare(&t, &r, sum);
	sum->accepted += !err;
	free_trial(&t);
	if (!ok) {
		show_program(t.insns, t.nr);
		printf("# seed %" PRIu64 " %s", seed, t.log);
	}
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t programs = argc > 1 ? strtoull(argv[1], NULL, 0) : 20000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	struct totals sum = { 0 };
	uint64_t bad = 0;

	ktap_plan(2);
	data_buffer = malloc(DATA_MAX);
	if (!data_buffer)
		return 1;
	for (uint32_t i = 0; i < sizeof(global_ro); i++)
		global_ro[i] = 37 * i;
	for (uint64_t i = 0; i < programs && bad < 3; i++)
		bad += !try_program(seed + i, &sum, programs == 1);
	printf("# %" PRIu64 " programs, %" PRIu64 " accepted, %" PRIu64 " runs, %" PRIu64 " instructions; %" PRIu64 " of %" PRIu64 " accesses proved\n",
	       sum.programs, sum.accepted, sum.runs, sum.retired, sum.proved,
	       sum.accesses);
	printf("# faults: access %" PRIu64 ", alignment %" PRIu64 ", fuel %" PRIu64 "; slowest load %.1f ms (seed %" PRIu64 ")\n",
	       sum.faults[BPFVM_FAULT_ACCESS], sum.faults[BPFVM_FAULT_ALIGN],
	       sum.faults[BPFVM_FAULT_FUEL], sum.slowest_ns / 1e6,
	       sum.slowest_seed);
	ktap_result(bad == 0, "interpreter_and_jit_agree");
	/* A generator whose programs are refused tests nothing. */
	ktap_result(sum.accepted * 2 > sum.programs || programs < 100,
		    "most_programs_are_accepted");
	free(data_buffer);
	return ktap_finish();
}
