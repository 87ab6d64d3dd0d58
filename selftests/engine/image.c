// SPDX-License-Identifier: GPL-2.0
/* The reader of object files, on an object that has one of everything. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpfvm_elf.h"
#include "ktap.h"

static uint64_t last_match;

static uint64_t add_match(uint64_t ctx, uint64_t off, uint64_t len, uint64_t r4,
			  uint64_t r5, struct bpfvm_thread *thread)
{
	(void)ctx, (void)len, (void)r4, (void)r5, (void)thread;
	last_match = (uint32_t)off;
	return 0;
}

static const struct bpfvm_helper helpers[] = {
	{ .id = 0x20000, .name = "add_match", .fn = add_match,
	  .arg = { BPFVM_ARG_CTX, BPFVM_ARG_NUM, BPFVM_ARG_NUM } },
};

static const char *object;
static char why[256];

static int open_image(struct bpfvm_image **image, const char *name)
{
	int err = bpfvm_image_open(image, object, name, helpers, 1, why,
				   sizeof(why));

	if (err)
		printf("# %s\n", why);
	return err;
}

static bool run_image(struct bpfvm_image *image, enum bpfvm_engine engine,
		      uint64_t *r0)
{
	static uint8_t data[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	static uint8_t ctx[128];
	static char log[4096];
	struct bpfvm_opts opts = {
		.sz = sizeof(opts),
		.abi = BPFVM_ABI_BLOCK,
		.ctx_size = sizeof(ctx),
		.helpers = helpers,
		.nr_helpers = 1,
		.globals = image->globals,
		.nr_globals = image->nr_globals,
		.log = log,
		.log_size = sizeof(log),
	};
	struct bpfvm_run run = {
		.engine = engine, .ctx = ctx, .data = data,
		.data_len = sizeof(data), .fuel = 100000,
	};
	struct bpfvm_thread *thread;
	struct bpfvm_prog *prog;
	int err;

	if (bpfvm_load(&prog, image->insns, image->nr_insns, &opts)) {
		printf("# %s", log);
		return false;
	}
	thread = bpfvm_thread_new(prog, NULL);
	err = bpfvm_run(thread, &run);
	*r0 = run.r0;
	bpfvm_thread_free(thread);
	bpfvm_free(prog);
	return !err;
}

/* 1 + 2 + 3 + 4 + 5, doubled, and start, which every run counts up. */
static bool program_runs_with_its_globals(void)
{
	struct bpfvm_image *image;
	uint64_t r0;
	bool ok;

	if (open_image(&image, "one"))
		return false;
	ok = run_image(image, BPFVM_ENGINE_INTERP, &r0) && r0 == 30 + 101 &&
	     last_match == 15;
	ok = ok && run_image(image, BPFVM_ENGINE_BEST, &r0) && r0 == 30 + 102;
	bpfvm_image_close(image);
	return ok;
}

static bool images_have_globals_of_their_own(void)
{
	struct bpfvm_image *image;
	uint64_t r0;
	bool ok;

	if (open_image(&image, "first"))
		return false;
	ok = run_image(image, BPFVM_ENGINE_BEST, &r0) && r0 == 30 + 101;
	bpfvm_image_close(image);
	return ok;
}

static bool ops_are_handed_out(void)
{
	struct bpfvm_image *image;
	uint32_t unit, overlap;
	bool ok;

	if (open_image(&image, "one"))
		return false;
	ok = image->ops && image->ops_size == 32 &&
	     !strcmp(image->ops_name, "one") && !strcmp(image->name, "first");
	if (ok) {
		memcpy(&unit, image->ops + 8, 4);
		memcpy(&overlap, image->ops + 12, 4);
		ok = unit == 4096 && overlap == 7 &&
		     !strcmp((char *)image->ops + 16, "first-one");
	}
	bpfvm_image_close(image);
	return ok;
}

static bool refused(const char *path, const char *name, int err,
		    const char *message)
{
	struct bpfvm_image *image;
	int got = bpfvm_image_open(&image, path, name, helpers, 1, why,
				   sizeof(why));

	if (got != err || !strstr(why, message) || image)
		printf("# %d: %s\n", got, why);
	return got == err && strstr(why, message) && !image;
}

static bool unknown_function_is_named(void)
{
	return refused(object, "two", -EINVAL,
		       "it calls not_there(), which is not there outside a kernel");
}

static bool a_choice_has_to_be_made(void)
{
	return refused(object, NULL, -EINVAL, "name one") &&
	       refused(object, "three", -EINVAL, "there is no program three");
}

static bool other_files_are_refused(void)
{
	return refused("/nonexistent", NULL, -ENOENT, "No such file") &&
	       refused("/dev/null", NULL, -EINVAL, "not an ELF file") &&
	       refused("/proc/self/exe", NULL, -EINVAL, "not a little-endian BPF object");
}

int main(int argc, char **argv)
{
#define TEST(name) { #name, name }
	static const struct {
		const char *name;
		bool (*test)(void);
	} tests[] = {
		TEST(program_runs_with_its_globals),
		TEST(images_have_globals_of_their_own),
		TEST(ops_are_handed_out),
		TEST(unknown_function_is_named),
		TEST(a_choice_has_to_be_made),
		TEST(other_files_are_refused),
	};

	if (argc != 2) {
		fprintf(stderr, "Usage: image OBJECT\n");
		return 3;
	}
	object = argv[1];
	ktap_plan(sizeof(tests) / sizeof(tests[0]));
	for (unsigned int i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		ktap_result(tests[i].test(), "%s", tests[i].name);
	return ktap_finish();
}
