/* SPDX-License-Identifier: GPL-2.0 */
/* A third engine, as plain as can be: it counts what is really executed. */
#ifndef SELFTESTS_ENGINE_REFERENCE_H
#define SELFTESTS_ENGINE_REFERENCE_H

#include "bpfvm.h"

struct reference {
	const struct bpfvm_insn *insns;
	const struct bpfvm_global *globals;
	uint64_t executed;	/* instructions */
	uint64_t jumps;		/* of them */
	uint64_t most;		/* not more than these */
};

/*
 * Run a program that is known not to fault. Returns false if it executes more
 * than @most instructions.
 */
bool reference_run(struct reference *ref, uint64_t r1, uint64_t r2,
		   uint64_t *r0);

#endif
