// SPDX-License-Identifier: GPL-2.0
/* What programs do beyond single instructions, and what the library promises. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "asm.h"
#include "ktap.h"

static uint64_t record(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4,
		       uint64_t r5, struct bpfvm_thread *thread)
{
	uint64_t *sum = bpfvm_thread_priv(thread);

	(void)r3, (void)r4, (void)r5;
	*sum += r1 * 1000 + r2;
	return *sum;
}

static const struct bpfvm_helper helpers[] = {
	{ .id = 300, .name = "record", .fn = record,
	  .arg = { BPFVM_ARG_NUM, BPFVM_ARG_NUM } },
};

static _Alignas(8) uint64_t counter[2];

static const struct bpfvm_global globals[] = {
	{ "counter", counter, sizeof(counter), false },
};

static char log_text[1 << 16];

static int load_unless(const bool *cancel, struct bpfvm_prog **prog,
		       const struct bpfvm_insn *insns, uint32_t nr, uint32_t flags)
{
	struct bpfvm_opts opts = {
		.sz = sizeof(opts),
		.flags = flags,
		.helpers = helpers,
		.nr_helpers = 1,
		.globals = globals,
		.nr_globals = 1,
		.log_level = BPFVM_LOG_NOTES,
		.log = log_text,
		.log_size = sizeof(log_text),
		.cancel = cancel,
	};
	int err = bpfvm_load(prog, insns, nr, &opts);

	if (err)
		printf("# load: %d %s\n", err, log_text);
	return err;
}

static int load(struct bpfvm_prog **prog, const struct bpfvm_insn *insns,
		uint32_t nr, uint32_t flags)
{
	return load_unless(NULL, prog, insns, nr, flags);
}

#define LOAD(prog, insns)						\
	load(prog, insns, sizeof(insns) / sizeof((insns)[0]), 0)

/* Both engines, which have to do the same. */
static bool run_both(struct bpfvm_prog *prog, struct bpfvm_run *run, void *priv)
{
	struct bpfvm_thread *thread = bpfvm_thread_new(prog, priv);
	struct bpfvm_run first = *run, second = *run;
	bool ok;

	first.engine = BPFVM_ENGINE_INTERP;
	second.engine = BPFVM_ENGINE_BEST;
	bpfvm_run(thread, &first);
	bpfvm_run(thread, &second);
	ok = first.r0 == second.r0 && first.fault == second.fault &&
	     first.fault_pc == second.fault_pc &&
	     first.retired == second.retired;
	if (!ok)
		printf("# r0 %llx %llx fault %d %d at %u %u retired %llu %llu\n",
		       (unsigned long long)first.r0,
		       (unsigned long long)second.r0, first.fault,
		       second.fault, first.fault_pc, second.fault_pc,
		       (unsigned long long)first.retired,
		       (unsigned long long)second.retired);
	*run = second;
	bpfvm_thread_free(thread);
	return ok;
}

/* Load, run, compare r0. */
static bool gives(const struct bpfvm_insn *insns, uint32_t nr, uint64_t r0)
{
	struct bpfvm_run run = { .fuel = 1000000 };
	struct bpfvm_prog *prog;
	uint64_t priv = 0;
	bool ok;

	if (load(&prog, insns, nr, 0))
		return false;
	ok = run_both(prog, &run, &priv);
	if (run.r0 != r0 || run.fault)
		printf("# r0 %llx, fault %s at %u\n",
		       (unsigned long long)run.r0, bpfvm_fault_text(run.fault),
		       run.fault_pc);
	bpfvm_free(prog);
	return ok && !run.fault && run.r0 == r0;
}

#define GIVES(insns, r0)	gives(insns, sizeof(insns) / sizeof((insns)[0]), r0)

static bool calls_keep_registers(void)
{
	static const struct bpfvm_insn insns[] = {
		MOV(6, 10), MOV(7, 20), MOV(1, 3), LOCAL(4),
		ALUR(OP_ADD, 0, 6), ALUR(OP_ADD, 0, 7), JA(0), EXIT,
		MOV(6, 1), MOV(7, 2), MOVR(0, 1), ALU(OP_MUL, 0, 100), EXIT,
	};

	return GIVES(insns, 330);
}

/* data_end - data as a u32, which every program that measures has. */
static bool distance_of_32_bits_is_a_number(void)
{
	static const struct bpfvm_insn insns[] = {
		MOVR(1, 10), MOVR(2, 10), ALU(OP_ADD, 2, -8), MOVR(3, 2),
		INSN(CLS_ALU | OP_SUB | 8, 3, 1, 0, 0),
		INSN(CLS_ALU | OP_SUB | 8, 1, 2, 0, 0),
		MOVR(0, 3), ALU(OP_ADD, 0, 16), ALUR(OP_ADD, 0, 1), EXIT,
	};

	return GIVES(insns, 0xfffffff8ULL + 16 + 8);
}

static bool eight_frames_of_512_bytes(void)
{
	struct bpfvm_insn insns[64];
	uint32_t nr = 0;

	/* Each writes to the end of its frame, calls the next, and adds. */
	for (int f = 0; f < 8; f++) {
		insns[nr++] = (struct bpfvm_insn)ST(SZ_DW, 10, -512, 1 << f);
		if (f < 7)
			insns[nr++] = (struct bpfvm_insn)LOCAL(3);
		else
			insns[nr++] = (struct bpfvm_insn)MOV(0, 0);
		insns[nr++] = (struct bpfvm_insn)LDX(SZ_DW, 1, 10, -512);
		insns[nr++] = (struct bpfvm_insn)ALUR(OP_ADD, 0, 1);
		insns[nr++] = (struct bpfvm_insn)EXIT;
	}
	return gives(insns, nr, 255);
}

static bool ninth_frame_is_refused(void)
{
	struct bpfvm_insn insns[64];
	struct bpfvm_prog *prog;
	uint32_t nr = 0;

	for (int f = 0; f < 9; f++) {
		insns[nr++] = f < 8 ? (struct bpfvm_insn)LOCAL(1) :
				      (struct bpfvm_insn)MOV(0, 0);
		insns[nr++] = (struct bpfvm_insn)EXIT;
	}
	printf("# to be refused:\n");
	return load(&prog, insns, nr, 0) == -EINVAL &&
	       strstr(log_text, "nested deeper than 8 frames");
}

static bool callx_calls_a_function(void)
{
	static const struct bpfvm_insn insns[] = {
		FUNC(2, 5), MOV(1, 5), CALLX(2), ALU(OP_ADD, 0, 1), EXIT,
		MOVR(0, 1), ALU(OP_MUL, 0, 7), EXIT,
	};

	return GIVES(insns, 36);
}

static bool callee_writes_to_its_caller(void)
{
	static const struct bpfvm_insn insns[] = {
		ST(SZ_DW, 10, -8, 1), MOVR(1, 10), ALU(OP_ADD, 1, -8),
		LOCAL(2), LDX(SZ_DW, 0, 10, -8), EXIT,
		ST(SZ_DW, 1, 0, 77), MOV(0, 0), EXIT,
	};

	return GIVES(insns, 77);
}

/* bpf_loop(5, cb, &sum, 0) with sum += index + 1: returns 5, sum 15 */
static bool bpf_loop_runs_its_callback(void)
{
	static const struct bpfvm_insn insns[] = {
		ST(SZ_DW, 10, -8, 0), MOV(1, 5), FUNC(2, 10), MOVR(3, 10),
		ALU(OP_ADD, 3, -8), MOV(4, 0), HELPER(BPFVM_HELPER_LOOP),
		LDX(SZ_DW, 1, 10, -8), ALU(OP_MUL, 0, 1000),
		ALUR(OP_ADD, 0, 1), JA(0), EXIT,
		LDX(SZ_DW, 3, 2, 0), ALUR(OP_ADD, 3, 1), ALU(OP_ADD, 3, 1),
		STX(SZ_DW, 2, 3, 0), MOV(0, 0), EXIT,
	};

	return GIVES(insns, 5015);
}

static bool bpf_loop_stops_when_told(void)
{
	static const struct bpfvm_insn insns[] = {
		MOV(1, 100), FUNC(2, 5), MOV(3, 0), MOV(4, 0),
		HELPER(BPFVM_HELPER_LOOP), EXIT,
		MOV(0, 0), JMP(OP_JNE, 1, 6, 1), MOV(0, 1), EXIT,
	};

	return GIVES(insns, 7);
}

static bool bpf_loop_refuses_nonsense(void)
{
	static const struct bpfvm_insn flags[] = {
		MOV(1, 1), FUNC(2, 5), MOV(3, 0), MOV(4, 1),
		HELPER(BPFVM_HELPER_LOOP), EXIT, MOV(0, 0), EXIT,
	};
	static const struct bpfvm_insn many[] = {
		MOV(1, (1 << 23) + 1), FUNC(2, 5), MOV(3, 0), MOV(4, 0),
		HELPER(BPFVM_HELPER_LOOP), EXIT, MOV(0, 0), EXIT,
	};

	return GIVES(flags, (uint64_t)-EINVAL) && GIVES(many, (uint64_t)-E2BIG);
}

/* for (i = start; i < end; i++) sum += i + 100 */
static bool iterate(int32_t start, int32_t end, uint64_t sum)
{
	const struct bpfvm_insn insns[] = {
		MOV(6, 0), MOVR(1, 10), ALU(OP_ADD, 1, -8), MOV(2, start),
		MOV(3, end), HELPER(BPFVM_HELPER_ITER_NUM_NEW),
		MOVR(1, 10), ALU(OP_ADD, 1, -8),
		HELPER(BPFVM_HELPER_ITER_NUM_NEXT), JMP(OP_JEQ, 0, 0, 4),
		LDX(SZ_W, 1, 0, 0), ALUR(OP_ADD, 6, 1), ALU(OP_ADD, 6, 100),
		JA(-8),
		MOVR(1, 10), ALU(OP_ADD, 1, -8),
		HELPER(BPFVM_HELPER_ITER_NUM_DESTROY), MOVR(0, 6), EXIT,
	};

	return GIVES(insns, sum);
}

static bool bpf_iter_num_counts(void)
{
	return iterate(0, 4, 406) && iterate(3, 3, 0) && iterate(5, 2, 0) &&
	       iterate(7, 8, 107) && iterate(0, INT32_MAX, 0);
}

static bool helpers_get_arguments_and_thread(void)
{
	static const struct bpfvm_insn insns[] = {
		MOV(6, 1), MOV(1, 2), MOV(2, 3), HELPER(300), MOVR(7, 0),
		MOV(1, 4), MOV(2, 5), HELPER(300), ALUR(OP_ADD, 0, 7), EXIT,
	};

	/* The second run goes on with the sum of the first. */
	struct bpfvm_prog *prog;
	struct bpfvm_thread *thread;
	struct bpfvm_run run = { .fuel = 100 };
	uint64_t sum = 0;
	bool ok;

	if (LOAD(&prog, insns))
		return false;
	thread = bpfvm_thread_new(prog, &sum);
	ok = !bpfvm_run(thread, &run) && run.r0 == 2003 + 6008 && sum == 6008;
	bpfvm_thread_free(thread);
	bpfvm_free(prog);
	return ok;
}

static const struct bpfvm_insn endless[] = {
	MOV(0, 0), ALU(OP_ADD, 0, 1), JA(-2), EXIT,
};

static bool fuel_ends_a_loop_where_it_is(void)
{
	struct bpfvm_run run = { .fuel = 1000000 };
	struct bpfvm_insn insns[] = {
		MOV(0, 0), ALU(OP_ADD, 0, 1), JMP(OP_JNE, 0, 0, -2), EXIT,
	};
	struct bpfvm_prog *prog;
	bool ok;

	if (LOAD(&prog, insns))
		return false;
	ok = run_both(prog, &run, NULL) && run.fault == BPFVM_FAULT_FUEL &&
	     run.fault_pc == 2 && run.retired >= 1000000 &&
	     run.retired < 1000010;
	bpfvm_free(prog);
	return ok;
}

static bool counts_instructions(void)
{
	static const struct bpfvm_insn insns[] = {
		MOV(0, 10), ALU(OP_SUB, 0, 1), JMP(OP_JNE, 0, 0, -2), EXIT,
	};
	struct bpfvm_run run = { .fuel = 1000 };
	struct bpfvm_counters sum;
	struct bpfvm_prog *prog;
	bool ok;

	if (LOAD(&prog, insns))
		return false;
	ok = run_both(prog, &run, NULL) && run.retired == 22;
	bpfvm_get_counters(prog, &sum);
	ok = ok && sum.runs == 2 && sum.retired == 44 &&
	     sum.faults[BPFVM_FAULT_FUEL] == 0;
	run.fuel = 5;
	ok = ok && run_both(prog, &run, NULL) && run.fault == BPFVM_FAULT_FUEL;
	bpfvm_get_counters(prog, &sum);
	ok = ok && sum.runs == 4 && sum.faults[BPFVM_FAULT_FUEL] == 2;
	bpfvm_free(prog);
	return ok;
}

struct stopper {
	struct bpfvm_thread *thread;
	struct bpfvm_run run;
	int err;
};

static void *run_endless(void *arg)
{
	struct stopper *s = arg;

	s->err = bpfvm_run(s->thread, &s->run);
	return NULL;
}

static bool another_thread_can_stop(void)
{
	struct bpfvm_insn insns[] = {
		MOV(0, 1), ALU(OP_ADD, 0, 2), JMP(OP_JNE, 0, 0, -2), EXIT,
	};
	bool ok = true;

	for (int engine = BPFVM_ENGINE_INTERP; engine <= BPFVM_ENGINE_JIT;
	     engine++) {
		struct stopper s = { .run = { .fuel = UINT64_MAX,
					      .engine = engine } };
		const struct timespec wait = { 0, 20000000 };
		struct bpfvm_prog *prog;
		pthread_t other;

		if (LOAD(&prog, insns))
			return false;
		s.thread = bpfvm_thread_new(prog, NULL);
		pthread_create(&other, NULL, run_endless, &s);
		nanosleep(&wait, NULL);
		bpfvm_stop(s.thread);
		pthread_join(other, NULL);
		ok = ok && s.err == -EFAULT &&
		     s.run.fault == BPFVM_FAULT_STOPPED;
		bpfvm_thread_free(s.thread);
		bpfvm_free(prog);
	}
	return ok;
}

static bool one_way_out_that_is_never_taken(void)
{
	struct bpfvm_prog *prog;

	printf("# to be refused:\n");
	return load(&prog, endless, 4, 0) == -EINVAL;
}

static bool wild_accesses_fault(void)
{
	/* r0 = data[r2 as given in the first eight bytes] */
	static const struct bpfvm_insn insns[] = {
		JMP(OP_JLT, 2, 8, 3), LDX(SZ_DW, 3, 1, 0), ALUR(OP_ADD, 1, 3),
		LDX(SZ_W, 0, 1, 0), MOV(0, 7), EXIT,
	};
	static const struct { uint64_t index; bool faults; } cases[] = {
		{ 0, false }, { 12, false }, { 13, true }, { 16, true },
		{ -1ULL, true }, { -4ULL, true }, { 1ULL << 63, true },
		{ 1ULL << 32, true }, { -(1ULL << 47), true },
	};
	struct bpfvm_prog *prog;
	bool ok = true;

	if (LOAD(&prog, insns))
		return false;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t data[2] = { cases[i].index, 0 };
		struct bpfvm_run run = { .fuel = 100, .data = data,
					 .data_len = 16 };

		ok = ok && run_both(prog, &run, NULL) &&
		     run.fault == (cases[i].faults ? BPFVM_FAULT_ACCESS :
						     BPFVM_OK) &&
		     (!cases[i].faults || run.fault_pc == 3);
	}
	bpfvm_free(prog);
	return ok;
}

static bool unaligned_atomics_fault(void)
{
	static const struct bpfvm_insn insns[] = {
		GLOBAL(1, 0, 1), MOV(2, 1), ATOMIC(SZ_W, OP_ADD, 1, 2, 0),
		MOV(0, 0), EXIT,
	};
	struct bpfvm_run run = { .fuel = 100 };
	struct bpfvm_prog *prog;
	bool ok;

	if (LOAD(&prog, insns))
		return false;
	ok = run_both(prog, &run, NULL) && run.fault == BPFVM_FAULT_ALIGN &&
	     run.fault_pc == 3;
	bpfvm_free(prog);
	return ok;
}

static bool bad_data_are_not_run(void)
{
	static const struct bpfvm_insn insns[] = { MOV(0, 0), EXIT };
	struct bpfvm_run low = { .fuel = 1, .data = (void *)4096,
				 .data_len = 8 };
	struct bpfvm_run none = { .fuel = 1 };
	struct bpfvm_prog *prog;
	bool ok;

	if (LOAD(&prog, insns))
		return false;
	ok = run_both(prog, &low, NULL) && low.fault == BPFVM_FAULT_DATA &&
	     run_both(prog, &none, NULL) && !none.fault;
	bpfvm_free(prog);
	return ok;
}

static void *count_up(void *arg)
{
	struct bpfvm_thread *thread = bpfvm_thread_new(arg, NULL);

	for (int i = 0; i < 1000; i++) {
		struct bpfvm_run run = { .fuel = 100000 };

		bpfvm_run(thread, &run);
	}
	bpfvm_thread_free(thread);
	return NULL;
}

static bool many_threads_share_globals(void)
{
	static const struct bpfvm_insn insns[] = {
		GLOBAL(1, 0, 0), MOV(2, 1), MOV(3, 10),
		ATOMIC(SZ_DW, OP_ADD, 1, 2, 0), ALU(OP_SUB, 3, 1),
		JMP(OP_JNE, 3, 0, -3), MOV(0, 0), EXIT,
	};
	struct bpfvm_counters sum;
	struct bpfvm_prog *prog;
	pthread_t threads[4];
	bool ok;

	counter[0] = 0;
	if (LOAD(&prog, insns))
		return false;
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, count_up, prog);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	bpfvm_get_counters(prog, &sum);
	ok = counter[0] == 40000 && sum.runs == 4000;
	bpfvm_free(prog);
	return ok;
}

/* for (p = data; p + 8 <= end; p += 8) sum += *p: nothing is left to check */
static bool loops_over_the_data_are_proved(void)
{
	static const struct bpfvm_insn insns[] = {
		MOVR(3, 1), ALUR(OP_ADD, 3, 2), MOV(0, 0),
		MOVR(4, 1), ALU(OP_ADD, 4, 8), JMPR(OP_JGT, 4, 3, 4),
		LDX(SZ_DW, 5, 1, 0), ALUR(OP_ADD, 0, 5), ALU(OP_ADD, 1, 8),
		JA(-7), EXIT,
	};
	struct bpfvm_info info;
	struct bpfvm_prog *prog;

	if (LOAD(&prog, insns))
		return false;
	bpfvm_get_info(prog, &info);
	bpfvm_free(prog);
	return info.accesses == 1 && info.proved == 1;
}

static uint64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Calls that double at every level, in as few instructions as can be. */
static bool costly_programs_are_refused_soon(void)
{
	static struct bpfvm_insn insns[8 * 70 + 2];
	struct bpfvm_prog *prog;
	uint64_t start;
	uint32_t nr = 0;
	int err;

	for (int f = 0; f < 8; f++) {
		int calls = f < 7 ? 64 : 0;

		for (int i = 0; i < calls; i++)
			insns[nr + i] = (struct bpfvm_insn)LOCAL(calls - i + 1);
		nr += calls;
		insns[nr++] = (struct bpfvm_insn)MOV(0, 0);
		insns[nr++] = (struct bpfvm_insn)EXIT;
	}
	printf("# to be refused:\n");
	start = thread_ns();
	err = load(&prog, insns, nr, 0);
	start = thread_ns() - start;
	printf("# %.3f ms\n", start / 1e6);
	return err == -E2BIG && start < 500000000;
}

/* Loops in loops, each with a counter of its own and a number that grows. */
static bool deep_loops_do_not_take_long(void)
{
	static struct bpfvm_insn insns[30 * 5 + 200];
	struct bpfvm_prog *prog;
	uint64_t start;
	uint32_t nr = 0, top[30];
	int err;

	insns[nr++] = (struct bpfvm_insn)MOV(0, 0);
	for (int i = 1; i <= 64; i++)
		insns[nr++] = (struct bpfvm_insn)STX(SZ_DW, 10, 0, -8 * i);
	for (int i = 0; i < 30; i++) {
		insns[nr++] = (struct bpfvm_insn)ST(SZ_DW, 10, -8 * (i + 1), 0);
		top[i] = nr;
	}
	for (int i = 29; i >= 0; i--) {
		insns[nr++] = (struct bpfvm_insn)LDX(SZ_DW, 1, 10,
						     -8 * (i + 1));
		insns[nr++] = (struct bpfvm_insn)ALU(OP_ADD, 1, 1);
		insns[nr++] = (struct bpfvm_insn)STX(SZ_DW, 10, 1,
						     -8 * (i + 1));
		insns[nr] = (struct bpfvm_insn)JMP(OP_JNE, 1, i + 2,
						   (int)top[i] - (int)nr - 1);
		nr++;
	}
	insns[nr++] = (struct bpfvm_insn)EXIT;
	start = thread_ns();
	err = load(&prog, insns, nr, 0);
	start = thread_ns() - start;
	printf("# %d in %.3f ms\n", err, start / 1e6);
	bpfvm_free(prog);
	return (err == 0 || err == -E2BIG) && start < 2000000000;
}

/* What is cancelled is neither verified to its end nor compiled. */
static bool loading_can_be_cancelled(void)
{
	static const struct bpfvm_insn insns[] = { MOV(0, 7), EXIT };
	struct bpfvm_prog *prog;
	bool cancel = false;

	if (load_unless(&cancel, &prog, insns, 2, 0))
		return false;
	bpfvm_free(prog);
	cancel = true;
	return load_unless(&cancel, &prog, insns, 2, 0) == -ECANCELED && !prog;
}

/* As long as a program can be, with as many blocks as can be. */
static bool longest_program_loads(void)
{
	struct bpfvm_insn *insns = calloc(BPFVM_MAX_INSNS, sizeof(*insns));
	struct bpfvm_prog *prog;
	uint64_t start;
	int err;

	insns[0] = (struct bpfvm_insn)MOV(0, 0);
	for (uint32_t i = 1; i < BPFVM_MAX_INSNS - 1; i++)
		insns[i] = i % 2 ? (struct bpfvm_insn)ALU(OP_ADD, 0, 1) :
				   (struct bpfvm_insn)JMP(OP_JEQ, 0, i,
						       i + 2 < BPFVM_MAX_INSNS);
	insns[BPFVM_MAX_INSNS - 1] = (struct bpfvm_insn)EXIT;
	start = thread_ns();
	err = load(&prog, insns, BPFVM_MAX_INSNS, 0);
	start = thread_ns() - start;
	printf("# %d in %.3f ms\n", err, start / 1e6);
	free(insns);
	bpfvm_free(prog);
	return err == 0 && start < 2000000000;
}

/*
 * If this breaks, a check that is made for several rounds at once comes too
 * late, too early, or changes what a run retires.
 */
static bool hoisted_checks_fault_where_they_belong(void)
{
	static const struct bpfvm_insn insns[] = {
		MOV(0, 0),
		MOV(3, 0),
		MOVR(4, 1),
		ALUR(OP_ADD, 4, 3),
		LDX(SZ_B, 5, 4, 0),
		ALUR(OP_ADD, 0, 5),
		ALU(OP_ADD, 3, 1),
		JMP(OP_JLT, 3, 100, -6),
		EXIT,
	};
	static uint8_t data[128];
	struct bpfvm_prog *prog;
	struct bpfvm_info info;
	bool ok = true;

	memset(data, 1, sizeof(data));
	if (LOAD(&prog, insns))
		return false;
	bpfvm_get_info(prog, &info);
	if (info.jited && info.hoisted != 1)
		ok = false;
	for (uint32_t len = 1; len <= sizeof(data) && ok; len++) {
		struct bpfvm_run run = {
			.data = data, .data_len = len, .fuel = 100000,
		};

		ok = run_both(prog, &run, NULL);
		if (len >= 100)
			ok = ok && !run.fault && run.r0 == 100 &&
			     run.retired == 3 + 6 * 100;
		else
			ok = ok && run.fault == BPFVM_FAULT_ACCESS &&
			     run.fault_pc == 4 && run.retired == 4 + 6 * len;
	}
	bpfvm_free(prog);
	return ok;
}

/* If this breaks, a loop whose jump back falls is charged at random. */
static bool loop_that_falls_back_is_charged(void)
{
	static const struct bpfvm_insn insns[] = {
		MOV(0, 0),
		JA(2),
		ALU(OP_ADD, 0, 1),
		JMP(OP_JEQ, 0, 10, 2),
		MOV(3, 1),
		JA(-4),
		EXIT,
	};
	struct bpfvm_run run = { .fuel = 1000 };
	struct bpfvm_prog *prog;
	bool ok;

	if (LOAD(&prog, insns))
		return false;
	ok = run_both(prog, &run, NULL) && !run.fault && run.r0 == 10 &&
	     run.retired >= 43 && run.retired <= 43 + 16;
	bpfvm_free(prog);
	return ok;
}

int main(void)
{
#define TEST(name) { #name, name }
	static const struct {
		const char *name;
		bool (*test)(void);
	} tests[] = {
		TEST(calls_keep_registers),
		TEST(distance_of_32_bits_is_a_number),
		TEST(eight_frames_of_512_bytes),
		TEST(ninth_frame_is_refused),
		TEST(callx_calls_a_function),
		TEST(callee_writes_to_its_caller),
		TEST(bpf_loop_runs_its_callback),
		TEST(bpf_loop_stops_when_told),
		TEST(bpf_loop_refuses_nonsense),
		TEST(bpf_iter_num_counts),
		TEST(helpers_get_arguments_and_thread),
		TEST(fuel_ends_a_loop_where_it_is),
		TEST(counts_instructions),
		TEST(another_thread_can_stop),
		TEST(one_way_out_that_is_never_taken),
		TEST(wild_accesses_fault),
		TEST(unaligned_atomics_fault),
		TEST(bad_data_are_not_run),
		TEST(many_threads_share_globals),
		TEST(loops_over_the_data_are_proved),
		TEST(costly_programs_are_refused_soon),
		TEST(deep_loops_do_not_take_long),
		TEST(loading_can_be_cancelled),
		TEST(longest_program_loads),
		TEST(hoisted_checks_fault_where_they_belong),
		TEST(loop_that_falls_back_is_charged),
	};

	ktap_plan(sizeof(tests) / sizeof(tests[0]));
	for (unsigned int i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		ktap_result(tests[i].test(), "%s", tests[i].name);
	return ktap_finish();
}
