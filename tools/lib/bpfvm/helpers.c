// SPDX-License-Identifier: GPL-2.0
/* The functions that every program may call: those of the loop macros. */
#include <errno.h>

#include "internal.h"

#define MAX_LOOPS	(1 << 23)

/* What bpf_iter_num keeps in its eight bytes; the program may change it. */
struct iter_num {
	int32_t now;
	int32_t end;
};

static uint64_t iter_num_new(uint64_t it, uint64_t start, uint64_t end,
			     uint64_t r4, uint64_t r5,
			     struct bpfvm_thread *thread)
{
	struct iter_num *iter = (void *)(uintptr_t)it;
	int32_t first = start, last = end;
	int64_t err = 0;

	(void)r4, (void)r5, (void)thread;
	if (first > last)
		err = -EINVAL;
	else if ((int64_t)last - first > MAX_LOOPS)
		err = -E2BIG;
	/* One before the first: INT32_MIN wraps, and next() knows. */
	iter->now = err ? 0 : (int32_t)((uint32_t)first - 1);
	iter->end = err ? 0 : last;
	return err;
}

static uint64_t iter_num_next(uint64_t it, uint64_t r2, uint64_t r3,
			      uint64_t r4, uint64_t r5,
			      struct bpfvm_thread *thread)
{
	struct iter_num *iter = (void *)(uintptr_t)it;
	int32_t next = (int32_t)((uint32_t)iter->now + 1);

	(void)r2, (void)r3, (void)r4, (void)r5, (void)thread;
	if (next >= iter->end) {
		iter->now = 0;
		iter->end = 0;
		return 0;
	}
	iter->now = next;
	return it;
}

static uint64_t iter_num_destroy(uint64_t it, uint64_t r2, uint64_t r3,
				 uint64_t r4, uint64_t r5,
				 struct bpfvm_thread *thread)
{
	struct iter_num *iter = (void *)(uintptr_t)it;

	(void)r2, (void)r3, (void)r4, (void)r5, (void)thread;
	iter->now = 0;
	iter->end = 0;
	return 0;
}

/* bpf_loop() has no function: the engines do it. */
const struct bpfvm_helper builtin_helpers[] = {
	{
		.id = BPFVM_HELPER_LOOP,
		.name = "bpf_loop",
		.arg = { BPFVM_ARG_NUM, BPFVM_ARG_CALLBACK, BPFVM_ARG_ANY,
			 BPFVM_ARG_NUM },
	}, {
		.id = BPFVM_HELPER_ITER_NUM_NEW,
		.name = "bpf_iter_num_new",
		.fn = iter_num_new,
		.arg = { BPFVM_ARG_ITER_NEW, BPFVM_ARG_NUM, BPFVM_ARG_NUM },
	}, {
		.id = BPFVM_HELPER_ITER_NUM_NEXT,
		.name = "bpf_iter_num_next",
		.fn = iter_num_next,
		.ret = BPFVM_RET_ITER,
		.arg = { BPFVM_ARG_ITER },
	}, {
		.id = BPFVM_HELPER_ITER_NUM_DESTROY,
		.name = "bpf_iter_num_destroy",
		.fn = iter_num_destroy,
		.arg = { BPFVM_ARG_ITER },
	},
};

const uint32_t nr_builtin_helpers = sizeof(builtin_helpers) /
				    sizeof(builtin_helpers[0]);
