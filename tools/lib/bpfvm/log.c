// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

static void __attribute__((format(printf, 2, 0)))
log_vadd(struct log *log, const char *fmt, va_list ap)
{
	int n;

	if (!log->buf || log->used + 1 >= log->size)
		return;
	n = vsnprintf(log->buf + log->used, log->size - log->used, fmt, ap);
	if (n < 0)
		return;
	log->used += n;
	if (log->used >= log->size)
		log->used = log->size - 1;
}

void log_add(struct log *log, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vadd(log, fmt, ap);
	va_end(ap);
}

void log_rewind(struct log *log, size_t used)
{
	log->used = used;
	if (log->buf && used < log->size)
		log->buf[used] = '\0';
}

int refuse(struct bpfvm_prog *prog, uint32_t pc, const char *fmt, ...)
{
	char text[96];
	va_list ap;

	if (pc < prog->nr) {
		bpfvm_disasm(prog->insns + pc, prog->nr - pc, pc, text,
			     sizeof(text));
		log_add(&prog->log, "insn %u: %s: ", pc, text);
	}
	va_start(ap, fmt);
	log_vadd(&prog->log, fmt, ap);
	va_end(ap);
	log_add(&prog->log, "\n");
	return -EINVAL;
}
