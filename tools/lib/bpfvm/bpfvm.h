/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bpfvm: verify and run BPF programs (RFC 9669) outside a kernel.
 *
 * A program is loaded once: its instructions are verified and, where there is
 * a JIT for the machine, compiled. It then runs on as many threads as wanted,
 * each with a struct bpfvm_thread of its own. Programs are not trusted: they
 * reach nothing but what they were given, they end, and whatever they do wrong
 * is a value that bpfvm_run() returns, never a signal.
 *
 * The verifier refuses what can never be right. An access that it can prove
 * costs nothing at run time, one that it cannot prove is checked.
 *
 * The library needs libc and nothing else; the reader of object files,
 * bpfvm_elf.h, is separate because it needs libelf.
 */
#ifndef BPFVM_H
#define BPFVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct bpfvm_insn - one instruction slot, as in an object file
 * @code: opcode
 * @regs: destination register in the low four bits, source in the high four
 * @off:  signed offset of a jump or an access
 * @imm:  immediate
 *
 * Little-endian programs only; fields are in the byte order of the host.
 */
struct bpfvm_insn {
	uint8_t code;
	uint8_t regs;
	int16_t off;
	int32_t imm;
};

/* The most slots that a program may have. */
#define BPFVM_MAX_INSNS		65536U
/* Data longer than this is refused by bpfvm_run(). */
#define BPFVM_MAX_DATA		0x7fffffffU
#define BPFVM_MAX_FRAMES	8
#define BPFVM_FRAME_SIZE	512

struct bpfvm_prog;
struct bpfvm_thread;

/**
 * enum bpfvm_abi - what a program finds at its entry
 * @BPFVM_ABI_RAW:   r1 = the data, r2 = their length in bytes; for tests: the
 *		     program may write to the data
 * @BPFVM_ABI_BLOCK: r1 points to u64 args[3] = { ctx, data, data_end }
 */
enum bpfvm_abi {
	BPFVM_ABI_RAW,
	BPFVM_ABI_BLOCK,
};

/**
 * enum bpfvm_arg - what a helper takes in one register
 * @BPFVM_ARG_NONE:     nothing: the helper has no more arguments
 * @BPFVM_ARG_NUM:      a number
 * @BPFVM_ARG_CTX:      the ctx that the program was called with, unchanged
 * @BPFVM_ARG_MEM_READ: memory that the helper reads; how much is said by the
 *			next argument, which has to be BPFVM_ARG_SIZE
 * @BPFVM_ARG_MEM_WRITE: memory that the helper fills, likewise
 * @BPFVM_ARG_SIZE:     size in bytes of the memory before it
 * @BPFVM_ARG_ITER_NEW: eight bytes of the stack, aligned, that the helper fills
 * @BPFVM_ARG_ITER:     the same, filled before
 * @BPFVM_ARG_CALLBACK: a function of the program (for bpf_loop() alone)
 * @BPFVM_ARG_ANY:      a number or a pointer, which the helper must not use
 */
enum bpfvm_arg {
	BPFVM_ARG_NONE,
	BPFVM_ARG_NUM,
	BPFVM_ARG_CTX,
	BPFVM_ARG_MEM_READ,
	BPFVM_ARG_MEM_WRITE,
	BPFVM_ARG_SIZE,
	BPFVM_ARG_ITER_NEW,
	BPFVM_ARG_ITER,
	BPFVM_ARG_CALLBACK,
	BPFVM_ARG_ANY,
};

/**
 * enum bpfvm_ret - what a helper returns
 * @BPFVM_RET_NUM:      a number
 * @BPFVM_RET_MEM:      a pointer to ret_size bytes, or NULL; they stay valid
 *			until the run ends and may be written
 * @BPFVM_RET_ITER:     its first argument, or NULL
 */
enum bpfvm_ret {
	BPFVM_RET_NUM,
	BPFVM_RET_MEM,
	BPFVM_RET_ITER,
};

/* The owner's function behind a helper; @thread is the one that runs. */
typedef uint64_t (*bpfvm_helper_fn)(uint64_t r1, uint64_t r2, uint64_t r3,
				    uint64_t r4, uint64_t r5,
				    struct bpfvm_thread *thread);

/**
 * struct bpfvm_helper - a function that programs may call
 * @id:       number in the call instruction
 * @name:     for messages, and for the symbols of object files
 * @fn:       the function; called on the thread that runs the program
 * @ret:      what it returns
 * @ret_size: bytes behind a BPFVM_RET_MEM
 * @arg:      what it takes
 *
 * bpf_loop() (181) and the three bpf_iter_num_*() are always there.
 */
struct bpfvm_helper {
	uint32_t id;
	const char *name;
	bpfvm_helper_fn fn;
	enum bpfvm_ret ret;
	uint32_t ret_size;
	enum bpfvm_arg arg[5];
};

#define BPFVM_HELPER_LOOP		181
/* Numbers of kfuncs, which have none in an object file. */
#define BPFVM_HELPER_ITER_NUM_NEW	0x10001
#define BPFVM_HELPER_ITER_NUM_NEXT	0x10002
#define BPFVM_HELPER_ITER_NUM_DESTROY	0x10003
#define BPFVM_HELPER_BLK_EMIT		0x10010

/**
 * struct bpfvm_global - memory that a program shares between its runs
 * @name:   for messages
 * @data:   at least 65536 as an address; it must outlive the program
 * @size:   in bytes
 * @rdonly: a store is refused
 *
 * An ld_imm64 with source 6 (or 2) names one by its index in @imm; the second
 * slot's imm is the offset.
 */
struct bpfvm_global {
	const char *name;
	void *data;
	uint32_t size;
	bool rdonly;
};

/* A part of the ctx (bytes). */
struct bpfvm_field {
	uint32_t off;
	uint32_t size;
};

/* enum bpfvm_log_level - how much the verifier tells */
enum bpfvm_log_level {
	BPFVM_LOG_ERROR	= 0,	/* why a program was refused */
	BPFVM_LOG_NOTES	= 1,	/* and which accesses are checked at run time */
	BPFVM_LOG_STATE	= 2,	/* and what is known at every instruction */
};

/* bpfvm_opts.flags */
/* Do not compile: bpfvm_run() interprets. */
#define BPFVM_NO_JIT		(1U << 0)
/* Check every access at run time, the proved ones too (for tests). */
#define BPFVM_CHECK_ALL		(1U << 1)
/* Do not use BMI2 and MOVBE even where the machine has them. */
#define BPFVM_BASELINE		(1U << 2)

/**
 * struct bpfvm_opts - how to load a program
 * @sz:          sizeof(struct bpfvm_opts)
 * @abi:         what the program finds at its entry
 * @flags:       BPFVM_*
 * @ctx_size:    bytes of the ctx (BPFVM_ABI_BLOCK)
 * @ctx_writable: fields of the ctx that a program may store to
 * @nr_ctx_writable: their number
 * @helpers:     functions that it may call; copied
 * @nr_helpers:  their number
 * @globals:     its global memory; the array is copied, the memory is not
 * @nr_globals:  their number
 * @log_level:   how much goes to @log
 * @log:         buffer for messages, may be NULL
 * @log_size:    its size; what does not fit is cut off, always NUL-terminated
 * @cancel:      set by another thread, atomically, to end bpfvm_load() soon; may
 *		 be NULL
 */
struct bpfvm_opts {
	size_t sz;
	enum bpfvm_abi abi;
	uint32_t flags;
	uint32_t ctx_size;
	const struct bpfvm_field *ctx_writable;
	uint32_t nr_ctx_writable;
	const struct bpfvm_helper *helpers;
	uint32_t nr_helpers;
	const struct bpfvm_global *globals;
	uint32_t nr_globals;
	enum bpfvm_log_level log_level;
	char *log;
	size_t log_size;
	const bool *cancel;
};

/**
 * bpfvm_load - verify a program and compile it
 * @prog:  out: the program
 * @insns: its instructions, copied; the entry is the first one
 * @nr:    number of slots
 * @opts:  see there
 *
 * Return: 0, -EINVAL if the program is refused (the reason is in the log),
 * -E2BIG if it is too long or too complex to be verified, -ECANCELED if
 * @opts->cancel was set, -ENOMEM.
 */
int bpfvm_load(struct bpfvm_prog **prog, const struct bpfvm_insn *insns,
	       uint32_t nr, const struct bpfvm_opts *opts);

/**
 * bpfvm_free - forget a program, whose threads are gone; NULL is allowed
 */
void bpfvm_free(struct bpfvm_prog *prog);

/**
 * struct bpfvm_info - what is known about a loaded program
 * @insns:    instructions (an ld_imm64 is one)
 * @accesses: loads, stores and atomics that can be reached
 * @proved:   those of them that need no check at run time
 * @hoisted:  those that compiled code need not check in each round of their loop
 * @jited:    the program is compiled
 * @jit_size: bytes of machine code
 * @verify_ns: time that verifying took
 * @jit_ns:   time that compiling took
 */
struct bpfvm_info {
	uint32_t insns;
	uint32_t accesses;
	uint32_t proved;
	uint32_t hoisted;
	bool jited;
	uint32_t jit_size;
	uint64_t verify_ns;
	uint64_t jit_ns;
};

void bpfvm_get_info(const struct bpfvm_prog *prog, struct bpfvm_info *info);

/**
 * enum bpfvm_fault - why a run ended before the program did
 * @BPFVM_OK:            it did not
 * @BPFVM_FAULT_ACCESS:  an access outside of what its pointer points to
 * @BPFVM_FAULT_ALIGN:   an atomic operation on an unaligned address
 * @BPFVM_FAULT_FUEL:    the fuel is used up
 * @BPFVM_FAULT_STOPPED: bpfvm_stop() was called
 * @BPFVM_FAULT_DATA:    the data of this run are too long, or at an address
 *			 below 65536; the program was not called
 * @BPFVM_FAULT_PROOF:   a proved access failed: an error of the verifier
 */
enum bpfvm_fault {
	BPFVM_OK,
	BPFVM_FAULT_ACCESS,
	BPFVM_FAULT_ALIGN,
	BPFVM_FAULT_FUEL,
	BPFVM_FAULT_STOPPED,
	BPFVM_FAULT_DATA,
	BPFVM_FAULT_PROOF,
	BPFVM_NR_FAULTS,
};

/* A few words on a fault, for messages. */
const char *bpfvm_fault_text(enum bpfvm_fault fault);

/* enum bpfvm_engine - what runs a program */
enum bpfvm_engine {
	BPFVM_ENGINE_BEST,	/* the JIT if there is one */
	BPFVM_ENGINE_INTERP,
	BPFVM_ENGINE_JIT,	/* bpfvm_run() returns -ENOTSUP if there is none */
};

/**
 * struct bpfvm_run - one run of a program
 * @engine:   in: what to run it on
 * @ctx:      in: the ctx, of the size given at load (BPFVM_ABI_BLOCK)
 * @data:     in: the data, which are not written to (but see BPFVM_ABI_RAW)
 * @data_len: in: their length in bytes, up to BPFVM_MAX_DATA
 * @fuel:     in: instructions that it may execute; loops and calls are where
 *	      this is looked at, so that straight code may go over by its length
 * @r0:       out: what it returned
 * @retired:  out: instructions executed, the same number on every engine; where
 *	      ways of different length meet, up to 16 of the longer one that
 *	      were not executed may count
 * @fault:    out: why it ended early
 * @fault_pc: out: slot of the instruction that faulted
 */
struct bpfvm_run {
	enum bpfvm_engine engine;
	void *ctx;
	const void *data;
	uint64_t data_len;
	uint64_t fuel;
	uint64_t r0;
	uint64_t retired;
	enum bpfvm_fault fault;
	uint32_t fault_pc;
};

/**
 * bpfvm_thread_new - what one thread needs to run @prog
 * @prog: the program
 * @priv: for the owner's helpers: bpfvm_thread_priv()
 *
 * Return: NULL if there is no memory.
 */
struct bpfvm_thread *bpfvm_thread_new(struct bpfvm_prog *prog, void *priv);
void bpfvm_thread_free(struct bpfvm_thread *thread);
void *bpfvm_thread_priv(const struct bpfvm_thread *thread);

/**
 * bpfvm_run - run a program to its end
 * @thread: not in use by anybody else
 * @run:    in and out: see there
 *
 * Return: 0 if the program returned, with @run->r0; -EFAULT if it faulted, with
 * @run->fault and @run->fault_pc; -ENOTSUP.
 */
int bpfvm_run(struct bpfvm_thread *thread, struct bpfvm_run *run);

/**
 * bpfvm_stop - end the run that goes on in @thread, and the next if none does
 * @thread: the thread; may be called from any other, and from signal handlers
 *
 * The program stops at a loop or call within some ten thousand instructions.
 */
void bpfvm_stop(struct bpfvm_thread *thread);

/**
 * struct bpfvm_counters - of a program, over its threads
 * @runs:    runs begun
 * @retired: instructions executed, as in struct bpfvm_run
 * @faults:  runs that faulted, by kind; @faults[BPFVM_OK] is not used
 */
struct bpfvm_counters {
	uint64_t runs;
	uint64_t retired;
	uint64_t faults[BPFVM_NR_FAULTS];
};

/* Exact when no thread runs; else each number is of a recent moment. */
void bpfvm_get_counters(struct bpfvm_prog *prog, struct bpfvm_counters *sum);

/**
 * bpfvm_disasm - write an instruction in words
 * @insns: instructions
 * @nr:    slots there are from @insns on (an ld_imm64 takes two)
 * @pc:    number of the first slot, for the targets of jumps
 * @buf:   receives the text, NUL-terminated
 * @size:  its size; 64 is enough
 *
 * Return: slots used, 1 or 2. An undefined opcode is written as its number.
 */
int bpfvm_disasm(const struct bpfvm_insn *insns, uint32_t nr, uint32_t pc,
		 char *buf, size_t size);

#ifdef __cplusplus
}
#endif

#endif /* BPFVM_H */
