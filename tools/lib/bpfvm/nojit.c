// SPDX-License-Identifier: GPL-2.0
/* For machines without a JIT: programs are interpreted. */
#include "internal.h"

int jit_compile(struct bpfvm_prog *prog)
{
	(void)prog;
	return 0;
}

void jit_free(struct bpfvm_prog *prog)
{
	(void)prog;
}
