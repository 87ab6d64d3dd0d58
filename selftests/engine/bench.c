// SPDX-License-Identifier: GPL-2.0
/*
 * The kernels of kernels.h on the engine, in proportion to the same C compiled
 * for the machine, and how long programs take to load. Medians of the processor
 * time of runs that take turns, so that what else goes on in the machine meets
 * them alike.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bpfvm.h"
#include "bpfvm_elf.h"

#define SIZE	(1 << 20)

extern unsigned int crc_table[256], base64_table[256], bins[256];

typedef unsigned long long native_fn(const unsigned char *data,
				     const unsigned char *end);

#define FOR_EACH_NAME(X)						\
	X(count_field) X(count_field_rec) X(range_1) X(range_1_rec)	\
	X(range_10) X(range_10_rec) X(search_8) X(search_8_rec)		\
	X(search_n) X(search_n_rec) X(sum) X(sum_rec)			\
	X(fnv1a) X(fnv1a_rec) X(crc32c) X(crc32c_rec)			\
	X(btree) X(btree_rec) X(json) X(json_rec)			\
	X(histogram) X(histogram_rec) X(base64) X(base64_rec)

#define X(name) extern native_fn name;
FOR_EACH_NAME(X)
#undef X

static const struct {
	const char *name;
	native_fn *native;
} kernels[] = {
#define X(name) { #name, name },
	FOR_EACH_NAME(X)
#undef X
};

#define NR_KERNELS	(sizeof(kernels) / sizeof(kernels[0]))

static _Alignas(4096) unsigned char data[SIZE];

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void make_tables(void)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
		crc_table[i] = crc;
		base64_table[i] = 1 << 24;
	}
	for (uint32_t i = 0; i < 64; i++)
		base64_table[(unsigned char)digits[i]] = i;
}

static uint64_t random_state = 1;

static uint64_t random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Data that make the kernel do what it is for. */
static void make_data(const char *name)
{
	static const char json[] =
		"{\"id\": 12345, \"name\": \"some \\\"thing\\\"\", \"price\": -17.25, \"tags\": [\"a\", \"bc\", \"def\"]},\n";

	for (uint32_t i = 0; i < SIZE; i += 8) {
		uint64_t v = random64();

		memcpy(data + i, &v, 8);
	}
	if (!strncmp(name, "json", 4))
		for (uint32_t i = 0; i < SIZE; i++)
			data[i] = json[i % (sizeof(json) - 1)];
	if (!strncmp(name, "base64", 6))
		for (uint32_t i = 0; i < SIZE; i++)
			data[i] = "ABCDwxyz0189+/"[data[i] % 14];
	if (!strncmp(name, "btree", 5)) {
		uint32_t node = strcmp(name, "btree") ? 64 : 4096;

		for (uint32_t i = 0; i < SIZE; i += node)
			qsort(data + i, node / 8, 8, compare_u64);
	}
}

struct subject {
	struct bpfvm_image *image;
	struct bpfvm_prog *prog;
	struct bpfvm_thread *thread;
	struct bpfvm_info info;
	uint64_t read_ns;	/* how long reading the object took */
};

static int load(struct subject *s, const char *object, const char *name)
{
	static char log[1 << 16];
	char why[256];
	struct bpfvm_opts opts = {
		.sz = sizeof(opts),
		.abi = BPFVM_ABI_BLOCK,
		.ctx_size = 128,
		.log = log,
		.log_size = sizeof(log),
	};

	s->read_ns = now_ns();
	if (bpfvm_image_open(&s->image, object, name, NULL, 0, why,
			     sizeof(why))) {
		fprintf(stderr, "%s: %s: %s\n", object, name, why);
		return 1;
	}
	s->read_ns = now_ns() - s->read_ns;
	opts.globals = s->image->globals;
	opts.nr_globals = s->image->nr_globals;
	if (bpfvm_load(&s->prog, s->image->insns, s->image->nr_insns, &opts)) {
		fprintf(stderr, "%s: %s", name, log);
		return 1;
	}
	s->thread = bpfvm_thread_new(s->prog, NULL);
	bpfvm_get_info(s->prog, &s->info);
	return !s->thread;
}

static void unload(struct subject *s)
{
	bpfvm_thread_free(s->thread);
	bpfvm_free(s->prog);
	bpfvm_image_close(s->image);
}

/* Tables are the same three words in a row in both worlds: found by size. */
static void set_globals(struct subject *s, const uint32_t off[3])
{
	for (uint32_t i = 0; i < s->image->nr_globals; i++) {
		struct bpfvm_global *g = &s->image->globals[i];

		if (strncmp(g->name, ".bss", 4))
			continue;
		memcpy((char *)g->data + off[0], crc_table, 1024);
		memcpy((char *)g->data + off[1], base64_table, 1024);
		memset((char *)g->data + off[2], 0, 1024);
	}
}

static uint64_t run(struct subject *s, enum bpfvm_engine engine, uint64_t *ns)
{
	static unsigned char ctx[128];
	struct bpfvm_run r = {
		.engine = engine,
		.ctx = ctx,
		.data = data,
		.data_len = SIZE,
		.fuel = UINT64_MAX,
	};
	uint64_t start = now_ns();

	if (bpfvm_run(s->thread, &r)) {
		fprintf(stderr, "fault at %u: %s\n", r.fault_pc,
			bpfvm_fault_text(r.fault));
		exit(1);
	}
	*ns = now_ns() - start;
	return r.r0;
}

static uint64_t median(uint64_t *times, unsigned int nr)
{
	qsort(times, nr, sizeof(*times), compare_u64);
	return times[nr / 2];
}

#define MAX_ROUNDS	1001

static int measure(const char *object, unsigned int k, unsigned int rounds,
		   const uint32_t off[3], double *jit, double *interp)
{
	static uint64_t native[MAX_ROUNDS], jited[MAX_ROUNDS], slow[MAX_ROUNDS];
	unsigned int slow_rounds = rounds / 8 + 1;
	struct subject s = { 0 };
	uint64_t expected = 0, got = 0, t;

	if (load(&s, object, kernels[k].name))
		return 1;
	make_data(kernels[k].name);
	set_globals(&s, off);
	memset(bins, 0, sizeof(bins));
	for (unsigned int i = 0; i < rounds; i++) {
		uint64_t start = now_ns();

		expected = kernels[k].native(data, data + SIZE);
		native[i] = now_ns() - start;
		got = run(&s, BPFVM_ENGINE_JIT, &jited[i]);
		if (got != expected)
			break;
	}
	if (got != expected) {
		printf("%-16s WRONG: 0x%" PRIx64 " instead of 0x%" PRIx64 "\n",
		       kernels[k].name, got, expected);
		return 1;
	}
	for (unsigned int i = 0; i < slow_rounds; i++) {
		expected = kernels[k].native(data, data + SIZE);
		got = run(&s, BPFVM_ENGINE_INTERP, &slow[i]);
	}
	if (got != expected) {
		printf("%-16s WRONG in the interpreter\n", kernels[k].name);
		return 1;
	}
	t = median(native, rounds);
	*jit = (double)median(jited, rounds) / t;
	*interp = (double)median(slow, slow_rounds) / t;
	printf("%-16s %9.1f %9.1f %7.2f %7.2f   %u/%u %4.0f us\n",
	       kernels[k].name, t / 1e3, median(jited, rounds) / 1e3, *jit,
	       *interp, s.info.proved, s.info.accesses,
	       (s.info.verify_ns + s.info.jit_ns) / 1e3);
	fflush(stdout);
	unload(&s);
	return 0;
}

#define LOADS	51

/* How long it takes until the program can run: verified and compiled. */
static int measure_load(const char *object, const char *name)
{
	uint64_t all[LOADS], verify[LOADS], jit[LOADS];
	struct bpfvm_info info;

	for (int i = 0; i < LOADS; i++) {
		struct subject s = { 0 };
		uint64_t start = now_ns();

		if (load(&s, object, name))
			return 1;
		/* Reading the object is not part of it. */
		start += s.read_ns;
		all[i] = now_ns() - start;
		verify[i] = s.info.verify_ns;
		jit[i] = s.info.jit_ns;
		info = s.info;
		unload(&s);
	}
	printf("%-16s %5u %9.0f %9.0f %9.0f   %u/%u\n", name, info.insns,
	       median(verify, LOADS) / 1e3, median(jit, LOADS) / 1e3,
	       median(all, LOADS) / 1e3, info.proved, info.accesses);
	return 0;
}

static int measure_loads(const char *object)
{
	printf("\n%-16s %5s %9s %9s %9s   proved\n", "load", "insns",
	       "verify us", "jit us", "all us");
	return measure_load(object, "rules") + measure_load(object, "all");
}

int main(int argc, char **argv)
{
	unsigned int rounds = argc > 3 ? atoi(argv[3]) : 101;
	const char *only = argc > 4 ? argv[4] : NULL;
	/* Where clang puts the three tables in .bss, in order of definition. */
	static const uint32_t off[3] = { 0, 1024, 2048 };
	double jit_log = 0, interp_log = 0, worst = 0;
	unsigned int nr = 0, bad = 0;

	if (argc < 3 || rounds < 1 || rounds > MAX_ROUNDS) {
		fprintf(stderr, "Usage: bench KERNELS LOADS [ROUNDS [KERNEL]]\n");
		return 3;
	}
	make_tables();
	printf("%-16s %9s %9s %7s %7s   proved load\n", "1 MiB", "gcc us",
	       "jit us", "jit/gcc", "int/gcc");
	for (unsigned int k = 0; k < NR_KERNELS; k++) {
		double jit, interp;

		if (only && strcmp(only, kernels[k].name))
			continue;
		if (measure(argv[1], k, rounds, off, &jit, &interp)) {
			bad++;
			continue;
		}
		jit_log += log(jit);
		interp_log += log(interp);
		worst = jit > worst ? jit : worst;
		nr++;
	}
	if (nr)
		printf("geometric mean: jit %.3f, worst %.2f; interpreter %.2f\n",
		       exp(jit_log / nr), worst, exp(interp_log / nr));
	if (!only)
		bad += measure_loads(argv[2]);
	return bad != 0;
}
