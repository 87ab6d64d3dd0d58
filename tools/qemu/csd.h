/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A computational NVMe drive: hw/nvme's controller with a Subsystem Local Memory
 * (SLM) namespace and a Computational Programs (CP) namespace beside its NVM
 * namespaces.
 *
 * Threads. All state is the main loop's, under the BQL, but for the fields of an
 * engine and its job that say otherwise. Engines never take the BQL: they get a
 * job, run it, and hand it back through a bottom half.
 *
 * Life of a request. Every command that does not complete at once has an AIOCB
 * that can be cancelled, so that Abort, Delete SQ, a reset and an unplug find it.
 */
#ifndef HW_NVME_CSD_H
#define HW_NVME_CSD_H

#include "qemu/osdep.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "block/aio.h"
#include "system/dma.h"

#include "hooks.h"
#include "glue.h"
#include "uapi/linux/blk_bpf.h"
#include "uapi/linux/nvme_csd.h"
#include "bpfvm/bpfvm.h"

#define TYPE_NVME_CSD "nvme-csd"
OBJECT_DECLARE_SIMPLE_TYPE(NvmeCsd, NVME_CSD)

/* The most source descriptors of a Memory Copy. */
#define CSD_COPY_MAX_RANGES     128
/* A copy goes in pieces of this, so that it can be stopped between them. */
#define CSD_COPY_CHUNK          (1 * MiB)
/* Matches that a program keeps for Executes that had no room: 2 MiB of them. */
#define CSD_MAX_KEPT            (2 * BLK_BPF_EMIT_MAX)

/* Commands that a fault can be made for; the order of csd_fault_names[]. */
typedef enum CsdCommand {
    CSD_LOAD,
    CSD_ACTIVATE,
    CSD_RANGE_SET,
    CSD_EXECUTE,
    CSD_SLM_READ,
    CSD_SLM_WRITE,
    CSD_SLM_FILL,
    CSD_SLM_COPY,
    CSD_NVM_COPY,
    CSD_GLOBALS,
    CSD_NR_COMMANDS,
} CsdCommand;

/* Properties. Sizes are in bytes, times in ns unless they say otherwise. */
typedef struct CsdParams {
    uint64_t slm_size;
    uint64_t slm_window;
    uint32_t max_programs;
    uint32_t max_active;
    uint64_t max_program_size;
    uint64_t max_program_total;
    uint64_t max_globals;
    uint32_t max_ranges;
    uint32_t max_range_sets;
    uint32_t max_queued;
    uint32_t engines;
    uint32_t deadline_ms;
    uint64_t fuel;
    bool jit;
    uint64_t max_copy;
    bool fast_copy;
    char *unreachable;
    char *fault;
    char *lie;

    bool timing;
    char *timing_preset;
    uint64_t read_latency_ns;
    uint64_t write_latency_ns;
    uint32_t channels;
    uint64_t channel_bw;        /* bytes a second */
    uint64_t stripe;
    uint64_t link_bw;           /* bytes a second */
    uint64_t engine_ips;        /* BPF instructions a second */
    uint64_t overhead_ns;
} CsdParams;

/**
 * struct CsdKept - matches of a unit that had no room in an Execute's result
 * @cookie: names them
 * @next:   the first one that was not returned yet
 * @match:  all of the unit's, in device order
 * @pos:    of the unit on the device: the data of the Execute that comes for them
 *          may begin elsewhere
 * @done:   its length: where a scan goes on when they are all returned
 * @stop:   the program said that the scan ends with this unit
 */
typedef struct CsdKept {
    uint64_t cookie;
    uint32_t next;
    GArray *match;
    uint64_t pos;
    uint32_t done;
    bool stop;
    QTAILQ_ENTRY(CsdKept) entry;
} CsdKept;

/**
 * struct CsdProgram - what is at a program index
 * @pind:     the index
 * @ptype:    program type
 * @pit:      kind of @pid
 * @pid:      program identifier, opaque
 * @image:    what has been downloaded
 * @size:     PSIZE: bytes that @image has when it is complete
 * @received: bytes that have come
 * @loading:  the verifier is at work
 * @loaded:   verified
 * @active:   may be executed
 * @running:  Executes that were not completed yet
 * @head:     of the image, in host order
 * @insns:    its instructions, @head.nr_insns
 * @globals:  its global memory, @head.nr_globals; @initial has what the program
 *            starts with
 * @vm:       the verified program; its globals lead to @globals
 * @nr_kept:  matches in @kept
 * @kept:     oldest first; both under @lock, which engines take
 */
typedef struct CsdProgram {
    uint16_t pind;
    uint8_t ptype;
    uint8_t pit;
    uint64_t pid;
    uint8_t *image;
    uint32_t size;
    uint32_t received;
    bool loading;
    bool loaded;
    bool active;
    uint32_t running;
    struct nvme_csd_image head;
    struct bpfvm_insn *insns;
    struct bpfvm_global *globals;
    uint8_t **initial;
    struct bpfvm_prog *vm;
    QemuMutex lock;
    uint32_t nr_kept;
    QTAILQ_HEAD(, CsdKept) kept;
} CsdProgram;

/**
 * struct CsdRangeSet - memory that an Execute may be given
 * @rsid:   its identifier; 0 for the inline ranges of one Execute
 * @users:  Executes that use it
 * @nr:     ranges
 * @range:  in host order
 */
typedef struct CsdRangeSet {
    uint16_t rsid;
    uint32_t users;
    uint32_t nr;
    struct {
        uint64_t off;
        uint32_t len;
    } range[];
} CsdRangeSet;

typedef struct CsdJob CsdJob;
typedef struct CsdEngine CsdEngine;

/**
 * struct CsdJob - something for an engine to do
 * @common:   cancels the job
 * @csd:      the drive
 * @req:      the request that it is done for
 * @run:      does it; on the engine's thread, without the BQL
 * @done:     afterwards, on the main loop: sets the status and frees what @run
 *            used; not called for a job that never ran and was cancelled, but
 *            for @drop
 * @drop:     for a job that never ran
 * @engine:   that it was given to
 * @running:  @run has been or is being called
 * @stop:     @run is to return soon; atomic
 * @deadline: ends it in time, or NULL
 * @expired:  @deadline did
 * @vm:       the run to end when @stop is set; under the engine's lock
 * @hang:     a fault on demand: do nothing until stopped
 * @retired:  instructions executed so far; atomic, for the timing model
 * @started:  when, on the virtual clock
 * @entry:    in the queue of its engine
 */
struct CsdJob {
    BlockAIOCB common;
    NvmeCsd *csd;
    NvmeRequest *req;
    void (*run)(CsdJob *job);
    void (*done)(CsdJob *job);
    void (*drop)(CsdJob *job);
    CsdEngine *engine;
    bool running;
    bool stop;
    QEMUTimer *deadline;
    bool expired;
    struct bpfvm_thread *vm;
    bool hang;
    uint64_t retired;
    int64_t started;
    QTAILQ_ENTRY(CsdJob) entry;
};

/* What happens at a moment of the virtual clock. */
typedef enum CsdEventKind {
    CSD_EVENT_KICK_SQ,
    CSD_EVENT_KICK_CQ,
    CSD_EVENT_REQUEST,
    CSD_EVENT_ENGINE,
} CsdEventKind;

/**
 * struct CsdEvent - an entry of the timing model's agenda
 * @when:   CSD_NEVER until it is known
 * @kind:   what it is
 * @qid:    of a kick
 * @req:    of a request
 * @ready:  the request's work is done, and it can be completed at @when
 * @engine: of a look at an engine
 */
typedef struct CsdEvent {
    int64_t when;
    CsdEventKind kind;
    uint16_t qid;
    NvmeRequest *req;
    bool ready;
    CsdEngine *engine;
    QTAILQ_ENTRY(CsdEvent) entry;
} CsdEvent;

#define CSD_NEVER INT64_MAX

/**
 * struct CsdEngine - a thread that runs jobs
 * @csd:       the drive
 * @index:     its number; that of the verifier's is beyond those of the engines
 * @thread:    the thread
 * @lock:      for @cond, @next, @quit, and what a job says is under it
 * @cond:      something changed
 * @next:      a job to begin
 * @quit:      end
 * @job:       what it is at work on; with the timing model, until the time that
 *             it takes there is over. It may be freed when @finished is set
 * @queue:     jobs that wait for it
 * @nr_queued: their number
 * @busy_ns:   time spent on jobs, on the virtual clock
 * @look:      with the timing model: when to look how far it is
 * @event:     likewise: of the request that @job is done for
 * @started:   likewise: when @job was
 * @finished:  likewise: @job is done, and executed @retired instructions
 * @stopped:   likewise: and did not come to its end
 * @due:       likewise: when it is to be done, if @due_known
 */
struct CsdEngine {
    NvmeCsd *csd;
    unsigned index;
    QemuThread thread;
    QemuMutex lock;
    QemuCond cond;
    CsdJob *next;
    bool quit;
    CsdJob *job;
    QTAILQ_HEAD(, CsdJob) queue;
    unsigned nr_queued;
    uint64_t busy_ns;
    CsdEvent look;
    CsdEvent *event;
    int64_t started;
    bool finished;
    uint64_t retired;
    bool stopped;
    int64_t due;
    bool due_known;
};

typedef struct CsdTiming {
    bool on;
    QEMUTimer *timer;
    QTAILQ_HEAD(, CsdEvent) agenda;     /* by time, then by order of coming */
    int64_t *channel_free;              /* one a channel */
    int64_t link_free[2];               /* to the drive, to the host */
    int64_t hasty_until_ms;             /* no waiting, by the host's clock */
} CsdTiming;

/* A fault that was asked for: see csd_fault.c. */
typedef struct CsdFault {
    CsdCommand command;
    bool every;
    uint64_t countdown;
    enum { CSD_FAULT_FAIL, CSD_FAULT_DELAY, CSD_FAULT_HANG,
           CSD_FAULT_CORRUPT } action;
    uint64_t value;
    QTAILQ_ENTRY(CsdFault) entry;
} CsdFault;

/**
 * struct NvmeCsd - the device
 * @params:      properties
 * @slm_ns:      the SLM namespace, private to this controller, as the next
 * @cp_ns:       the CP namespace
 * @slm_mr:      the SLM: RAM
 * @slm:         its first byte
 * @generation:  of programs and range sets
 * @programs:    by index, from 0 on; NULL where there is none
 * @prog_bytes:  PSIZE of all of them
 * @nr_active:   programs that are active
 * @last_cookie: of matches that were kept, of any program. It never starts anew,
 *               so that a cookie of a program that is gone names nothing. Atomic
 * @range_sets:  by RSID - 1; NULL where there is none
 * @nr_range_sets: their number
 * @engines:     params.engines, and one for the verifier at the end
 * @queued:      Executes and Memory Copies that are outstanding
 * @quiescing:   a reset has begun: nothing new is started
 * @counters:    in host order. Those of units, instructions, matches and faults
 *               are added up when an Execute completes
 * @message:     the last one of all, and one for every program index
 * @lies:        the names of those to be told in turn, or NULL
 * @lie:         which of them is told now; atomic
 */
struct NvmeCsd {
    NvmeCtrl parent_obj;

    CsdParams params;
    NvmeNamespace slm_ns;
    NvmeNamespace cp_ns;
    MemoryRegion slm_mr;
    uint8_t *slm;
    uint64_t generation;
    uint64_t reach_changes;
    uint64_t group_changes;

    CsdProgram **programs;
    uint64_t prog_bytes;
    uint32_t nr_active;
    uint64_t last_cookie;
    CsdRangeSet **range_sets;
    uint32_t nr_range_sets;

    CsdEngine *engines;
    uint32_t queued;
    bool quiescing;

    struct nvme_csd_log_counters counters;
    struct nvme_csd_log_message **message;
    uint64_t message_seq;

    CsdTiming timing;
    QTAILQ_HEAD(, CsdFault) faults;
    char **lies;
    unsigned lie;
};

/* The drive behind a controller that is one. */
static inline NvmeCsd *csd_of(NvmeCtrl *n)
{
    return n->csd;
}

static inline uint32_t csd_dw(const NvmeRequest *req, unsigned dw)
{
    return ldl_le_p((const uint8_t *)&req->cmd + dw * 4);
}

static inline uint64_t csd_qw(const NvmeRequest *req, unsigned dw)
{
    return ldq_le_p((const uint8_t *)&req->cmd + dw * 4);
}

/* csd_log.c */
void csd_say(NvmeCsd *csd, NvmeRequest *req, uint16_t status, uint16_t pind,
             const char *fmt, ...) G_GNUC_PRINTF(5, 6);
uint16_t csd_refuse(NvmeCsd *csd, NvmeRequest *req, uint16_t status,
                    uint16_t pind, const char *fmt, ...) G_GNUC_PRINTF(5, 6);
uint16_t csd_from_host(NvmeCsd *csd, NvmeRequest *req, void *buf, uint32_t len);
uint16_t csd_to_host(NvmeCsd *csd, NvmeRequest *req, void *buf, uint32_t len);
void csd_fill_info(NvmeCsd *csd, struct nvme_csd_log_info *info);

/* csd_identify.c */
void csd_fill_id_ns(NvmeCsd *csd, struct nvme_csd_id_ns_cp *id);
bool csd_reachable(NvmeCsd *csd, uint32_t nsid);
bool csd_parse_unreachable(NvmeCsd *csd, Error **errp);
size_t csd_reach_groups(NvmeCsd *csd, bool only_groups, uint8_t **log);
size_t csd_reach_assocs(NvmeCsd *csd, bool only_assocs, uint8_t **log);

/* csd_slm.c, csd_copy.c */
bool csd_slm_range_ok(NvmeCsd *csd, uint64_t off, uint64_t len);
uint16_t csd_slm_cmd(NvmeCsd *csd, NvmeRequest *req, CsdCommand command);
uint16_t csd_memory_copy(NvmeCsd *csd, NvmeRequest *req);
void csd_copies_cancel_sq(NvmeCsd *csd, NvmeSQueue *sq);

/* csd_image.c */
bool csd_image_parse(CsdProgram *prog, uint64_t max_globals, char *why,
                     size_t why_size);
void csd_globals_reset(CsdProgram *prog);

/* csd_program.c */
uint16_t csd_load(NvmeCsd *csd, NvmeRequest *req, bool corrupt);
uint16_t csd_activate(NvmeCsd *csd, NvmeRequest *req);
uint16_t csd_globals(NvmeCsd *csd, NvmeRequest *req);
CsdProgram *csd_program(NvmeCsd *csd, uint32_t pind);
void csd_programs_forget(NvmeCsd *csd);
void csd_kept_free(CsdProgram *prog, CsdKept *kept);

/* csd_ranges.c */
uint16_t csd_range_set(NvmeCsd *csd, NvmeRequest *req);
uint16_t csd_ranges_parse(NvmeCsd *csd, NvmeRequest *req, const void *descs,
                          uint32_t nr, CsdRangeSet **set);
CsdRangeSet *csd_range_set_find(NvmeCsd *csd, uint32_t rsid);
void csd_range_sets_forget(NvmeCsd *csd);

/* csd_execute.c */
uint16_t csd_execute(NvmeCsd *csd, NvmeRequest *req, uint32_t dlen, bool hang);
extern const struct bpfvm_helper csd_helpers[];
extern const unsigned csd_nr_helpers;

/* csd_engine.c */
void csd_engines_start(NvmeCsd *csd);
void csd_engines_stop(NvmeCsd *csd);
void *csd_job_new(NvmeCsd *csd, NvmeRequest *req, const AIOCBInfo *info);
void csd_job_cancel(BlockAIOCB *common);
void csd_job_submit(CsdJob *job);
void csd_job_submit_verifier(CsdJob *job);
bool csd_job_stopped(CsdJob *job);
void csd_job_set_vm(CsdJob *job, struct bpfvm_thread *vm);
void csd_job_wait_for_stop(CsdJob *job);
void csd_engine_look(CsdEngine *engine, int64_t now);
void csd_engines_forget_event(NvmeCsd *csd, const CsdEvent *event);

/* csd_timing.c */
bool csd_timing_init(NvmeCsd *csd, Error **errp);
void csd_timing_exit(NvmeCsd *csd);
void csd_timing_hold(NvmeRequest *req);
void csd_timing_set_due(NvmeRequest *req, int64_t due);
void csd_timing_at(NvmeCsd *csd, CsdEvent *event, int64_t when);
int64_t csd_timing_media(NvmeCsd *csd, uint64_t off, uint64_t len, bool write,
                         int64_t from);
int64_t csd_timing_link(NvmeCsd *csd, uint64_t len, bool to_host, int64_t from);
int64_t csd_timing_start(NvmeCsd *csd);
void csd_timing_cancel_sq(NvmeCsd *csd, NvmeSQueue *sq);
int64_t csd_timing_run_ns(NvmeCsd *csd, uint64_t insns);
uint64_t csd_timing_insns(NvmeCsd *csd, int64_t ns);

/* csd_fault.c */
bool csd_fault_set(NvmeCsd *csd, const char *spec, Error **errp);
void csd_fault_clear(NvmeCsd *csd);
bool csd_fault_take(NvmeCsd *csd, CsdCommand command, CsdFault *fault);
uint16_t csd_fault_defer(NvmeCsd *csd, NvmeRequest *req, CsdCommand command,
                         const CsdFault *fault);

/* csd_lie.c */
bool csd_lies_init(NvmeCsd *csd, Error **errp);
void csd_lies_exit(NvmeCsd *csd);
void csd_lies_turn(NvmeCsd *csd);
void csd_lie_log(NvmeCsd *csd, uint8_t page, uint8_t **log, size_t *size);
void csd_lie_result(NvmeCsd *csd, uint8_t *result, size_t size);

/* csd_command.c */
uint16_t csd_dispatch(NvmeCsd *csd, NvmeRequest *req, CsdCommand command,
                      const CsdFault *fault);
const char *csd_command_name(CsdCommand command);

#endif /* HW_NVME_CSD_H */
