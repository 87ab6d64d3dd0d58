// SPDX-License-Identifier: GPL-2.0
/*
 * Random programs on the interpreter and the JIT, which have to agree on the
 * result, the memory, the fault and where it was, and the instructions retired;
 * and, where there is no fault, on a plain third engine.
 * Each is run as loaded by default, with every access checked (a proved one
 * that fails is an error of the verifier), and without processor extensions.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "generate.h"
#include "guarded.h"
#include "ktap.h"
#include "reference.h"

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
	uint64_t accesses, proved, hoisted, retired;
	uint64_t slowest_ns;
	uint64_t slowest_seed;
};

static const struct bpfvm_global globals[] = {
	{ "rw", global_rw, sizeof(global_rw), false },
	{ "ro", global_ro, sizeof(global_ro), true },
};

static const struct bpfvm_field writable[] = { { STATE_AT, 32 } };

/* The same where an address fits into an instruction. */
static struct bpfvm_global low_globals[2];

/* What is behind it cannot be read. */
static uint8_t *data_buffer;

static void run_one(struct bpfvm_thread *thread, enum bpfvm_engine engine,
		    uint8_t *rw, const struct memory *before, uint32_t len,
		    uint64_t fuel, struct outcome *out)
{
	uint8_t *data = data_buffer + DATA_MAX - len;
	static _Alignas(8) uint8_t ctx[CTX_SIZE];

	memcpy(data, before->data, len);
	memcpy(rw, before->global, GEN_GLOBAL_SIZE);
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
	memcpy(out->memory.global, rw, GEN_GLOBAL_SIZE);
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

static const struct {
	uint32_t flags;
	const struct bpfvm_global *globals;
} variants[] = {
	{ 0, globals },
	{ BPFVM_CHECK_ALL, globals },
	{ BPFVM_BASELINE, globals },
	{ 0, low_globals },
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
			.flags = variants[i].flags,
			.ctx_size = CTX_SIZE,
			.ctx_writable = writable,
			.nr_ctx_writable = 1,
			.globals = variants[i].globals,
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
	sum->hoisted += info.hoisted;
	return 0;
}

static void free_trial(struct trial *t)
{
	for (unsigned int i = 0; i < NR_VARIANTS; i++) {
		bpfvm_thread_free(t->threads[i]);
		bpfvm_free(t->progs[i]);
	}
}

/*
 * The same on a third engine that knows nothing of plans and proofs. Where ways
 * of different length meet, what is charged may be up to 16 instructions too
 * much; it is never too little.
 */
static bool check_against_reference(const struct trial *t,
				    const struct memory *before, uint32_t len,
				    const struct outcome *first)
{
	static _Alignas(8) uint8_t ctx[CTX_SIZE];
	uint8_t *data = data_buffer + DATA_MAX - len;
	uint64_t args[3] = {
		(uintptr_t)ctx, (uintptr_t)data, (uintptr_t)data + len,
	};
	struct reference ref = {
		.insns = t->insns,
		.globals = globals,
		.most = first->run.retired,
	};
	bool raw = t->abi == BPFVM_ABI_RAW;
	uint64_t r0;

	memcpy(data, before->data, len);
	memcpy(global_rw, before->global, sizeof(global_rw));
	memcpy(ctx, before->ctx, sizeof(ctx));
	if (reference_run(&ref, raw ? args[1] : (uintptr_t)args, len, &r0) &&
	    r0 == first->run.r0 &&
	    ref.executed + 16 * (ref.jumps + 1) >= first->run.retired &&
	    !memcmp(data, first->memory.data, len) &&
	    !memcmp(global_rw, first->memory.global, sizeof(global_rw)) &&
	    !memcmp(ctx, first->memory.ctx, sizeof(ctx)))
		return true;
	show("interpreter", first);
	printf("# reference: r0 0x%" PRIx64 ", %" PRIu64 " executed, %" PRIu64 " of them jumps\n",
	       r0, ref.executed, ref.jumps);
	return false;
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
	run_one(t->threads[0], BPFVM_ENGINE_INTERP, global_rw, &before, len, fuel,
		&first);
	sum->runs++;
	sum->faults[first.run.fault]++;
	sum->retired += first.run.retired;
	if (first.run.fault == BPFVM_FAULT_PROOF) {
		show("interpreter", &first);
		return false;
	}
	for (unsigned int i = 0; i < NR_VARIANTS; i++) {
		run_one(t->threads[i], BPFVM_ENGINE_BEST,
			variants[i].globals[0].data, &before, len, fuel, &other);
		if (same(&first, &other))
			continue;
		snprintf(name, sizeof(name), "jit, variant %u", i);
		show("interpreter", &first);
		show(name, &other);
		printf("# data length %u, fuel %" PRIu64 "\n", len, fuel);
		return false;
	}
	return first.err ||
	       check_against_reference(t, &before, len, &first);
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
		ktap_program(t.insns, t.nr);
		printf("# load: %d %s", err, t.log);
	}
	if (err == -EINVAL && strstr(t.log, "internal error"))
		ok = false;
	for (int i = 0; !err && ok && i < 3; i++)
		ok = compare(&t, &r, sum);
	sum->accepted += !err;
	free_trial(&t);
	if (!ok) {
		ktap_program(t.insns, t.nr);
		printf("# seed %" PRIu64 " %s", seed, t.log);
	}
	return ok;
}

static bool make_globals(void)
{
	uint8_t *low = mmap(NULL, GEN_GLOBAL_SIZE + GEN_RDONLY_SIZE,
			    PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	if (low == MAP_FAILED)
		return false;
	for (uint32_t i = 0; i < sizeof(global_ro); i++)
		global_ro[i] = 37 * i;
	memcpy(low + GEN_GLOBAL_SIZE, global_ro, sizeof(global_ro));
	memcpy(low_globals, globals, sizeof(globals));
	low_globals[0].data = low;
	low_globals[1].data = low + GEN_GLOBAL_SIZE;
	return true;
}

int main(int argc, char **argv)
{
	uint64_t programs = argc > 1 ? strtoull(argv[1], NULL, 0) : 20000;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	struct totals sum = { 0 };
	uint64_t bad = 0;

	ktap_plan(3);
	data_buffer = guarded_new(DATA_MAX);
	if (!data_buffer || !make_globals())
		return 1;
	for (uint64_t i = 0; i < programs && bad < 3; i++)
		bad += !try_program(seed + i, &sum, programs == 1);
	printf("# %" PRIu64 " programs, %" PRIu64 " accepted, %" PRIu64 " runs, %" PRIu64 " instructions; of %" PRIu64 " accesses %" PRIu64 " proved, %" PRIu64 " hoisted\n",
	       sum.programs, sum.accepted, sum.runs, sum.retired, sum.accesses,
	       sum.proved, sum.hoisted);
	printf("# faults: access %" PRIu64 ", alignment %" PRIu64 ", fuel %" PRIu64 "; slowest load %.1f ms (seed %" PRIu64 ")\n",
	       sum.faults[BPFVM_FAULT_ACCESS], sum.faults[BPFVM_FAULT_ALIGN],
	       sum.faults[BPFVM_FAULT_FUEL], sum.slowest_ns / 1e6,
	       sum.slowest_seed);
	ktap_result(bad == 0, "interpreter_and_jit_agree");
	/* A generator whose programs are refused tests nothing. */
	ktap_result(sum.accepted * 2 > sum.programs || programs < 100,
		    "most_programs_are_accepted");
	ktap_result(sum.hoisted || programs < 100, "checks_are_hoisted");
	return ktap_finish();
}
