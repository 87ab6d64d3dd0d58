/* SPDX-License-Identifier: GPL-2.0 */
/* KTAP from C programs: ktap_plan() first, ktap_result() for each test. */
#ifndef SELFTESTS_ENGINE_KTAP_H
#define SELFTESTS_ENGINE_KTAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "bpfvm.h"

static unsigned int ktap_planned, ktap_done, ktap_failed;

static inline void ktap_plan(unsigned int tests)
{
	ktap_planned = tests;
	printf("KTAP version 1\n1..%u\n", tests);
}

__attribute__((format(printf, 2, 3)))
static inline void ktap_result(bool ok, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %u ", ok ? "" : "not ", ++ktap_done);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	ktap_failed += !ok;
}

/* What a failure was about. */
static inline void ktap_program(const struct bpfvm_insn *insns, uint32_t nr)
{
	char text[96];

	for (uint32_t pc = 0; pc < nr; ) {
		int slots = bpfvm_disasm(insns + pc, nr - pc, pc, text,
					 sizeof(text));

		printf("# %4u: %s\n", pc, text);
		pc += slots;
	}
}

/* Exit code: a test that was planned and did not run is a failure. */
static inline int ktap_finish(void)
{
	return ktap_failed || ktap_done != ktap_planned;
}

#endif
