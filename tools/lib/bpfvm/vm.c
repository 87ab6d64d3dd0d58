// SPDX-License-Identifier: GPL-2.0
/* Loading and running: what the owner of programs calls. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"
#include "verifier.h"

/* Nothing that a program can reach is below this address. */
#define LOWEST_BASE	65536

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void *copy(const void *from, size_t nr, size_t size, bool *ok)
{
	void *to = calloc(nr ? nr : 1, size);

	if (to && nr)
		memcpy(to, from, nr * size);
	*ok = *ok && to;
	return to;
}

static bool copy_helpers(struct bpfvm_prog *prog, const struct bpfvm_opts *opts)
{
	prog->nr_helpers = nr_builtin_helpers + opts->nr_helpers;
	prog->helpers = calloc(prog->nr_helpers, sizeof(*prog->helpers));
	if (!prog->helpers)
		return false;
	memcpy(prog->helpers, builtin_helpers,
	       nr_builtin_helpers * sizeof(*prog->helpers));
	if (opts->nr_helpers)
		memcpy(prog->helpers + nr_builtin_helpers, opts->helpers,
		       opts->nr_helpers * sizeof(*prog->helpers));
	return true;
}

static int check_opts(struct bpfvm_prog *prog, uint32_t nr,
		      const struct bpfvm_opts *opts)
{
	if (nr == 0 || nr > BPFVM_MAX_INSNS) {
		log_add(&prog->log,
			"a program has 1 to %u instructions, this one has %u\n",
			BPFVM_MAX_INSNS, nr);
		return nr ? -E2BIG : -EINVAL;
	}
	for (uint32_t i = 0; i < opts->nr_globals; i++) {
		if ((uintptr_t)opts->globals[i].data >= LOWEST_BASE &&
		    opts->globals[i].size <= INT32_MAX)
			continue;
		log_add(&prog->log, "global memory %s: no usable address, or over 2 GiB\n",
			opts->globals[i].name);
		return -EINVAL;
	}
	if (opts->ctx_size > INT32_MAX) {
		log_add(&prog->log, "the ctx is over 2 GiB\n");
		return -EINVAL;
	}
	return 0;
}

static int compile(struct bpfvm_prog *prog)
{
	uint64_t start = now_ns();
	int err = decode(prog);

	if (!err)
		err = find_liveness(prog);
	if (!err)
		err = verify(prog);
	if (!err)
		err = plan_fuel(prog);
	if (err)
		return err;
	log_accesses(prog);
	prog->info.insns = prog->nr_insns;
	prog->info.verify_ns = now_ns() - start;
	err = interp_prepare(prog);
	if (!err && is_cancelled(prog))
		err = -ECANCELED;
	if (err || prog->flags & BPFVM_NO_JIT)
		return err;
	start = now_ns();
	err = jit_compile(prog);
	prog->info.jit_ns = now_ns() - start;
	prog->info.jited = prog->jit.code;
	prog->info.jit_size = prog->jit.used;
	return err;
}

int bpfvm_load(struct bpfvm_prog **out, const struct bpfvm_insn *insns,
	       uint32_t nr, const struct bpfvm_opts *opts)
{
	struct bpfvm_prog *prog;
	bool ok = true;
	int err;

	*out = NULL;
	if (opts->sz != sizeof(*opts))
		return -EINVAL;
	prog = calloc(1, sizeof(*prog));
	if (!prog)
		return -ENOMEM;
	if (opts->log && opts->log_size)
		opts->log[0] = '\0';
	prog->log = (struct log){ opts->log, opts->log_size, 0,
				  opts->log_level };
	prog->cancel = opts->cancel;
	pthread_mutex_init(&prog->lock, NULL);
	prog->abi = opts->abi;
	prog->flags = opts->flags;
	prog->ctx_size = opts->abi == BPFVM_ABI_BLOCK ? opts->ctx_size : 0;
	err = check_opts(prog, nr, opts);
	if (err)
		goto free;
	prog->nr = nr;
	prog->insns = copy(insns, nr, sizeof(*insns), &ok);
	prog->aux = calloc(nr, sizeof(*prog->aux));
	prog->nr_globals = opts->nr_globals;
	prog->globals = copy(opts->globals, opts->nr_globals,
			     sizeof(*opts->globals), &ok);
	prog->nr_ctx_writable = opts->nr_ctx_writable;
	prog->ctx_writable = copy(opts->ctx_writable, opts->nr_ctx_writable,
				  sizeof(*opts->ctx_writable), &ok);
	err = -ENOMEM;
	if (!ok || !prog->aux || !copy_helpers(prog, opts))
		goto free;
	err = compile(prog);
	if (err)
		goto free;
	/* The caller's. */
	prog->log = (struct log){ 0 };
	prog->cancel = NULL;
	*out = prog;
	return 0;
free:
	bpfvm_free(prog);
	return err;
}

void bpfvm_free(struct bpfvm_prog *prog)
{
	if (!prog)
		return;
	jit_free(prog);
	pthread_mutex_destroy(&prog->lock);
	free(prog->ops);
	free(prog->insns);
	free(prog->aux);
	free(prog->funcs);
	free(prog->blocks);
	free(prog->block_of);
	free(prog->pred_at);
	free(prog->preds);
	free(prog->live);
	free(prog->live_in);
	free(prog->ctx_writable);
	free(prog->helpers);
	free(prog->globals);
	free(prog);
}

void bpfvm_get_info(const struct bpfvm_prog *prog, struct bpfvm_info *info)
{
	*info = prog->info;
}

const char *bpfvm_fault_text(enum bpfvm_fault fault)
{
	static const char *const texts[BPFVM_NR_FAULTS] = {
		[BPFVM_OK] = "no fault",
		[BPFVM_FAULT_ACCESS] = "access outside of the memory that the pointer is for",
		[BPFVM_FAULT_ALIGN] = "atomic operation on an unaligned address",
		[BPFVM_FAULT_FUEL] = "out of fuel",
		[BPFVM_FAULT_STOPPED] = "stopped from outside",
		[BPFVM_FAULT_DATA] = "the data are too long, or at an address that is too low",
		[BPFVM_FAULT_PROOF] = "internal error: an access that was proved is outside",
	};

	return fault < BPFVM_NR_FAULTS ? texts[fault] : "unknown fault";
}

struct bpfvm_thread *bpfvm_thread_new(struct bpfvm_prog *prog, void *priv)
{
	struct bpfvm_thread *thread;

	thread = aligned_alloc(_Alignof(struct bpfvm_thread), sizeof(*thread));
	if (!thread)
		return NULL;
	memset(thread, 0, sizeof(*thread));
	thread->prog = prog;
	thread->priv = priv;
	pthread_mutex_lock(&prog->lock);
	thread->next = prog->threads;
	prog->threads = thread;
	pthread_mutex_unlock(&prog->lock);
	return thread;
}

static void add_counters(struct bpfvm_counters *sum,
			 const struct bpfvm_thread *thread)
{
	sum->runs += atomic_load_explicit(&thread->runs, memory_order_relaxed);
	sum->retired += atomic_load_explicit(&thread->retired,
					     memory_order_relaxed);
	for (int i = 0; i < BPFVM_NR_FAULTS; i++)
		sum->faults[i] += atomic_load_explicit(&thread->faults[i],
						       memory_order_relaxed);
}

void bpfvm_thread_free(struct bpfvm_thread *thread)
{
	struct bpfvm_thread **at;
	struct bpfvm_prog *prog;

	if (!thread)
		return;
	prog = thread->prog;
	pthread_mutex_lock(&prog->lock);
	for (at = &prog->threads; *at != thread; at = &(*at)->next)
		;
	*at = thread->next;
	add_counters(&prog->gone, thread);
	pthread_mutex_unlock(&prog->lock);
	free(thread);
}

void *bpfvm_thread_priv(const struct bpfvm_thread *thread)
{
	return thread->priv;
}

void bpfvm_get_counters(struct bpfvm_prog *prog, struct bpfvm_counters *sum)
{
	pthread_mutex_lock(&prog->lock);
	*sum = prog->gone;
	for (struct bpfvm_thread *t = prog->threads; t; t = t->next)
		add_counters(sum, t);
	pthread_mutex_unlock(&prog->lock);
}

void bpfvm_stop(struct bpfvm_thread *thread)
{
	atomic_store_explicit(&thread->stop, true, memory_order_relaxed);
}

static bool stopped(struct bpfvm_thread *thread)
{
	return atomic_load_explicit(&thread->stop, memory_order_relaxed) &&
	       atomic_exchange(&thread->stop, false);
}

bool refuel(struct bpfvm_thread *thread, uint32_t pc)
{
	int64_t left = thread->rest + thread->slice;

	thread->slice = 0;
	thread->rest = left;
	thread->fault_pc = pc;
	if (stopped(thread)) {
		thread->fault = BPFVM_FAULT_STOPPED;
		return false;
	}
	if (left < 0) {
		thread->fault = BPFVM_FAULT_FUEL;
		return false;
	}
	thread->slice = left < FUEL_SLICE ? left : FUEL_SLICE;
	thread->rest = left - thread->slice;
	return true;
}

static bool inside(uint64_t addr, uint32_t size, uint64_t base, uint64_t len)
{
	return len >= size && addr - base <= len - size;
}

bool check_any(struct bpfvm_thread *thread, uint64_t addr, uint32_t size)
{
	const struct bpfvm_prog *prog = thread->prog;

	if (inside(addr, size, thread->data.base, thread->data_len) ||
	    inside(addr, size, thread->ctx, prog->ctx_size))
		return true;
	for (uint32_t i = 0; i < prog->nr_globals; i++)
		if (inside(addr, size, (uintptr_t)prog->globals[i].data,
			   prog->globals[i].size))
			return true;
	return false;
}

static bool set_up(struct bpfvm_thread *thread, const struct bpfvm_run *run)
{
	uint64_t base = (uintptr_t)run->data;
	uint64_t len = run->data_len;

	if (len == 0)
		base = (uintptr_t)&thread->nothing;
	if (base < LOWEST_BASE || len > BPFVM_MAX_DATA ||
	    (thread->prog->ctx_size && (uintptr_t)run->ctx < LOWEST_BASE))
		return false;
	thread->data.base = base;
	thread->data_len = len;
	for (int i = 0; i < 4; i++)
		thread->data.starts[i] = len >= 1U << i ?
					 len - (1U << i) + 1 : 0;
	thread->ctx = (uintptr_t)run->ctx;
	thread->args_mem[0] = thread->ctx;
	thread->args_mem[1] = base;
	thread->args_mem[2] = base + len;
	thread->args = (uintptr_t)thread->args_mem;
	thread->stack_top = (uintptr_t)(thread->stack + sizeof(thread->stack));
	thread->regs[0] = thread->prog->abi == BPFVM_ABI_RAW ? base :
							     thread->args;
	thread->regs[1] = len;
	return true;
}

/* Only the thread itself counts, so that no locked operation is needed. */
static void count(_Atomic uint64_t *counter, uint64_t by)
{
	uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, old + by, memory_order_relaxed);
}

int bpfvm_run(struct bpfvm_thread *thread, struct bpfvm_run *run)
{
	struct bpfvm_prog *prog = thread->prog;
	int64_t fuel = run->fuel > INT64_MAX / 2 ? INT64_MAX / 2 :
						   (int64_t)run->fuel;
	bool jit = prog->jit.code && run->engine != BPFVM_ENGINE_INTERP;

	if (run->engine == BPFVM_ENGINE_JIT && !jit)
		return -ENOTSUP;
	run->r0 = 0;
	thread->fault = BPFVM_OK;
	thread->fault_pc = 0;
	thread->slice = fuel < FUEL_SLICE ? fuel : FUEL_SLICE;
	thread->rest = fuel - thread->slice;
	count(&thread->runs, 1);
	if (!set_up(thread, run))
		thread->fault = BPFVM_FAULT_DATA;
	else if (stopped(thread))
		thread->fault = BPFVM_FAULT_STOPPED;
	else if (jit)
		run->r0 = prog->jit.enter(thread);
	else
		run->r0 = interp_run(thread);
	run->fault = thread->fault;
	run->fault_pc = thread->fault_pc;
	run->retired = fuel - thread->rest - thread->slice;
	if (thread->fault == BPFVM_OK) {
		count(&thread->retired, run->retired);
		return 0;
	}
	if (thread->fault != BPFVM_FAULT_DATA &&
	    !(thread->fault == BPFVM_FAULT_STOPPED && !run->retired))
		run->retired += prog->aux[thread->fault_pc].owed;
	run->r0 = 0;
	count(&thread->retired, run->retired);
	count(&thread->faults[run->fault], 1);
	return -EFAULT;
}
