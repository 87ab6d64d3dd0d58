/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of the library know about each other. */
#ifndef BPFVM_INTERNAL_H
#define BPFVM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "bpfvm.h"
#include "insn.h"

#define NO_BLOCK	UINT32_MAX
#define NO_FUNC		UINT32_MAX

/* The kinds of memory that a pointer can point to. */
enum region {
	REGION_ARGS,		/* u64 args[3] */
	REGION_CTX,
	REGION_DATA,
	REGION_STACK,
	REGION_GLOBAL,
	REGION_MEM,		/* returned by a helper */
	REGION_ANY,		/* more than one of the above */
};

/* insn_aux.flags */
enum {
	AUX_REACHED	= 1 << 0,	/* can be executed */
	AUX_PROVED	= 1 << 1,	/* the access needs no check */
	AUX_ALIGNED	= 1 << 2,	/* the atomic's address is aligned */
	AUX_CHECK	= 1 << 3,	/* fuel is looked at before this */
	AUX_WIDE	= 1 << 4,	/* 32-bit operation: the 64-bit one is the same */
	AUX_SAME	= 1 << 5,	/* the register stays what it is */
};

/**
 * struct insn_aux - what the verifier found out about an instruction
 * @flags:  AUX_*
 * @region: what an access is to; it is checked against that and nothing else
 * @frame:  REGION_STACK: frames above the one of the running function
 * @where:  REGION_GLOBAL: index; REGION_MEM: size; call: first slot of the
 *	    function, or index of the helper; bpf_loop(): of the callback
 * @charge: fuel taken before the instruction; with AUX_CHECK it is then looked
 *	    at how much is left; may be negative
 * @fall:   fuel taken when the next instruction follows
 * @owed:   instructions before this one that are not paid for yet
 */
struct insn_aux {
	uint8_t flags;
	uint8_t region;
	uint8_t frame;
	uint32_t where;
	int32_t charge;
	int32_t fall;
	int32_t owed;
};

struct func {
	uint32_t start;
	uint32_t end;		/* slot after the last */
	uint32_t first_block;
	uint32_t nr_blocks;
};

/**
 * struct block - instructions that are executed one after the other
 * @start: first slot
 * @last:  slot of the last instruction
 * @fall:  block that follows, or NO_BLOCK
 * @taken: block that the jump at the end goes to, or NO_BLOCK
 * @func:  function
 * @nr:    instructions
 * @order: position in a reverse postorder of the function
 */
struct block {
	uint32_t start;
	uint32_t last;
	uint32_t fall;
	uint32_t taken;
	uint32_t func;
	uint32_t nr;
	uint32_t order;
};

struct log {
	char *buf;
	size_t size;
	size_t used;
	enum bpfvm_log_level level;
};

/* The machine code of a program. */
struct jit {
	void *code;
	size_t size;		/* of the mapping */
	uint32_t used;
	uint64_t (*enter)(struct bpfvm_thread *thread);
};

struct op;

struct bpfvm_prog {
	struct bpfvm_insn *insns;
	uint32_t nr;
	uint32_t nr_insns;
	struct insn_aux *aux;
	struct func *funcs;
	uint32_t nr_funcs;
	struct block *blocks;
	uint32_t nr_blocks;
	uint32_t *block_of;		/* slot to block */
	uint32_t *pred_at;		/* per block: where in preds its begin */
	uint32_t *preds;
	uint16_t *live;			/* per slot: registers read after it */
	uint16_t *live_in;		/* per block: read from its beginning on */

	enum bpfvm_abi abi;
	uint32_t flags;
	uint32_t ctx_size;
	struct bpfvm_field *ctx_writable;
	uint32_t nr_ctx_writable;
	struct bpfvm_helper *helpers;
	uint32_t nr_helpers;
	struct bpfvm_global *globals;
	uint32_t nr_globals;

	struct log log;
	const bool *cancel;		/* while it is loaded; may be NULL */
	struct op *ops;			/* of the interpreter */
	struct jit jit;
	struct bpfvm_info info;

	pthread_mutex_t lock;		/* protects threads and gone */
	struct bpfvm_thread *threads;
	struct bpfvm_counters gone;	/* of threads that were freed */
};

static inline bool is_cancelled(const struct bpfvm_prog *prog)
{
	return prog->cancel && __atomic_load_n(prog->cancel, __ATOMIC_RELAXED);
}

/* Fuel is handed out in pieces, and bpfvm_stop() is looked at in between. */
#define FUEL_SLICE	65536

/*
 * The memory of a run as machine code needs it: bases, and for each size of an
 * access (1, 2, 4, 8) the number of offsets at which one may begin.
 */
struct bounds {
	uint64_t base;
	uint64_t starts[4];
};

struct bpfvm_thread {
	/* Read by compiled code: within the first 128 bytes. */
	struct bounds data;
	uint64_t ctx;
	uint64_t args;
	int64_t slice;			/* fuel of the running slice */
	uint64_t saved_sp;
	uint64_t stack_top;
	uint64_t regs[2];		/* r1 and r2 at entry */

	int64_t rest;			/* fuel beyond the slice */
	uint32_t fault;
	uint32_t fault_pc;
	atomic_bool stop;

	uint64_t data_len;
	uint64_t args_mem[3];
	struct bpfvm_prog *prog;
	struct bpfvm_thread *next;
	void *priv;
	_Atomic uint64_t runs;
	_Atomic uint64_t retired;
	_Atomic uint64_t faults[BPFVM_NR_FAULTS];
	/* Where data of no length are. */
	uint64_t nothing;
	_Alignas(16) uint8_t stack[BPFVM_MAX_FRAMES * BPFVM_FRAME_SIZE];
};

/* log.c */
void log_add(struct log *log, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Forget what was logged after @used bytes were. */
void log_rewind(struct log *log, size_t used);
/* Log why the instruction at @pc is refused. Returns -EINVAL. */
int refuse(struct bpfvm_prog *prog, uint32_t pc, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* decode.c: all that can be said without following values */
int decode(struct bpfvm_prog *prog);
struct func *func_at(const struct bpfvm_prog *prog, uint32_t slot);
const struct bpfvm_helper *find_helper(const struct bpfvm_prog *prog,
				       uint32_t id);

/* Bits of a set of registers. */
#define BIT(reg)	(1U << (reg))

/* liveness.c */
int find_liveness(struct bpfvm_prog *prog);
uint16_t insn_reads(const struct bpfvm_insn *insn);
uint16_t insn_writes(const struct bpfvm_insn *insn);

/* plan.c: where fuel is charged, and how much */
int plan_fuel(struct bpfvm_prog *prog);

/* verify.c: fills prog->aux */
int verify(struct bpfvm_prog *prog);

/* interp.c */
int interp_prepare(struct bpfvm_prog *prog);
uint64_t interp_run(struct bpfvm_thread *thread);

/* jit_x86_64.c, or nojit.c */
int jit_compile(struct bpfvm_prog *prog);
void jit_free(struct bpfvm_prog *prog);

/* helpers.c */
extern const struct bpfvm_helper builtin_helpers[];
extern const uint32_t nr_builtin_helpers;

/* vm.c */
/* The slice is used up: get another one. Returns false if the run is over. */
bool refuel(struct bpfvm_thread *thread, uint32_t pc);
/* Are these bytes all in the data, the ctx, or one global memory? */
bool check_any(struct bpfvm_thread *thread, uint64_t addr, uint32_t size);

#endif /* BPFVM_INTERNAL_H */
