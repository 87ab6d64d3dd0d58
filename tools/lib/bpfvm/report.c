// SPDX-License-Identifier: GPL-2.0
/* What the verifier tells beyond the reason for a refusal. */
#include <inttypes.h>

#include "verifier.h"

static void log_val(struct log *log, unsigned int reg, const struct val *v)
{
	static const char *const names[] = {
		"args", "ctx", "data", "stack", "global", "mem", "any",
	};

	if (v->type == VAL_NONE)
		return;
	log_add(log, " r%u=", reg);
	if (v->type == VAL_MIXED) {
		log_add(log, "mixed");
		return;
	}
	if (v->type == VAL_FUNC) {
		log_add(log, "function %u", v->where);
		return;
	}
	if (v->type == VAL_PTR) {
		log_add(log, "%s%s", v->null ? "null|" : "",
			names[v->region]);
		if (v->region == REGION_STACK || v->region == REGION_GLOBAL)
			log_add(log, "%u", v->where);
		log_add(log, "+");
	}
	if (val_known(v)) {
		log_add(log, "%" PRId64, v->smin);
	} else {
		log_add(log, "[%" PRId64 ",%" PRId64 "]", v->smin, v->smax);
		if (v->smin < 0)
			log_add(log, "u[%" PRIu64 ",%" PRIu64 "]", v->umin,
				v->umax);
		if (v->step > 1)
			log_add(log, "/%" PRIu64, v->step);
	}
	if (v->id > ID_KNOWN)
		log_add(log, "#%u%+" PRId64, v->id, (int64_t)v->delta);
	if (v->exact)
		log_add(log, "=len%+" PRId64, v->exact_off);
	if (v->exact && v->minus > ID_KNOWN)
		log_add(log, "-#%u", v->minus);
	if (v->room != ROOM_NONE)
		log_add(log, " room %" PRId64 "*%u", v->room, v->scale);
}

void log_state(struct bpfvm_prog *prog, const struct state *st, uint32_t pc)
{
	char text[96];

	if (prog->log.level < BPFVM_LOG_STATE)
		return;
	bpfvm_disasm(prog->insns + pc, prog->nr - pc, pc, text, sizeof(text));
	log_add(&prog->log, "%u: %s\t; len>=%" PRId64, pc, text, st->minlen);
	for (unsigned int i = 0; i < NR_REGS - 1; i++)
		log_val(&prog->log, i, &st->r[i]);
	log_add(&prog->log, "\n");
}

void log_accesses(struct bpfvm_prog *prog)
{
	char text[96];

	for (uint32_t pc = 0; pc < prog->nr; pc++) {
		uint8_t flags = prog->aux[pc].flags;

		if (!insn_is_access(prog->insns[pc].code) ||
		    !(flags & AUX_REACHED))
			continue;
		prog->info.accesses++;
		prog->info.proved += !!(flags & AUX_PROVED);
		if (flags & AUX_PROVED || prog->log.level < BPFVM_LOG_NOTES)
			continue;
		bpfvm_disasm(prog->insns + pc, prog->nr - pc, pc, text,
			     sizeof(text));
		log_add(&prog->log, "insn %u: %s: checked at run time\n", pc,
			text);
	}
}
