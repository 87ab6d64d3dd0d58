// SPDX-License-Identifier: GPL-2.0
/* Instructions being made, with jumps to places that are not known yet. */
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include "expr.h"

void code_free(struct code *code)
{
	free(code->insns);
	free(code->labels);
	free(code->jumps);
	free(code->calls);
	memset(code, 0, sizeof(*code));
}

/* Room for one more; arrays grow by doubling. */
static bool grow(struct code *code, void *array, uint32_t nr, size_t size)
{
	void *more, *old;

	if (nr & (nr - 1) || code->failed)
		return !code->failed;
	memcpy(&old, array, sizeof(old));
	more = realloc(old, (nr ? 2 * nr : 1) * size);
	code->failed = !more;
	if (more)
		memcpy(array, &more, sizeof(more));
	return more;
}

void code_insn(struct code *code, uint8_t op, unsigned int dst, unsigned int src,
	       int16_t off, int32_t imm)
{
	if (grow(code, &code->insns, code->nr, sizeof(*code->insns)))
		code->insns[code->nr++] = (struct bpfvm_insn) {
			.code = op,
			.regs = dst | src << 4,
			.off = off,
			.imm = imm,
		};
}

void code_imm(struct code *code, unsigned int dst, uint64_t value)
{
	if ((int64_t)value == (int32_t)value) {
		code_insn(code, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value);
	} else if (value <= UINT32_MAX) {
		code_insn(code, BPF_ALU | BPF_MOV | BPF_K, dst, 0, 0, value);
	} else {
		code_insn(code, BPF_LD | BPF_IMM | BPF_DW, dst, 0, 0, value);
		code_insn(code, 0, 0, 0, 0, value >> 32);
	}
}

void code_mov(struct code *code, unsigned int dst, unsigned int src)
{
	code_insn(code, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

/* As clang calls what is extern. */
void code_call(struct code *code, enum callee callee)
{
	if (!grow(code, &code->calls, code->nr_calls, sizeof(*code->calls)))
		return;
	code->calls[code->nr_calls++] = (struct call) { code->nr, callee };
	code_insn(code, BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, -1);
}

uint32_t code_label(struct code *code)
{
	if (!grow(code, &code->labels, code->nr_labels, sizeof(*code->labels)))
		return 0;
	code->labels[code->nr_labels] = -1;
	return code->nr_labels++;
}

void code_place(struct code *code, uint32_t label)
{
	if (!code->failed)
		code->labels[label] = code->nr;
}

void code_jump(struct code *code, uint8_t op, unsigned int dst, unsigned int src,
	       int32_t imm, uint32_t label)
{
	if (!grow(code, &code->jumps, code->nr_jumps, sizeof(*code->jumps)))
		return;
	code->jumps[code->nr_jumps++] = (struct jump) { code->nr, label };
	code_insn(code, op, dst, src, 0, imm);
}

int code_finish(struct code *code)
{
	uint32_t i;

	if (code->failed)
		return -ENOMEM;
	for (i = 0; i < code->nr_jumps; i++) {
		const struct jump *jump = &code->jumps[i];
		int64_t off = (int64_t)code->labels[jump->label] - jump->at - 1;

		if (off < INT16_MIN || off > INT16_MAX)
			return -E2BIG;
		code->insns[jump->at].off = off;
	}
	return code->nr > BPFVM_MAX_INSNS ? -E2BIG : 0;
}
