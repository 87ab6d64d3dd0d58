/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An Execute at work: the loop over units, on an engine's thread. It reaches the
 * SLM, the program, and its own CsdExecute; nothing else.
 *
 * What a unit is, what a program sees of it, and what becomes of what it returns
 * is the same as in the kernel (drivers/blk_bpf/chunk.c), so that the answers
 * are.
 */
#include "csd.h"
#include "block/aio-wait.h"
#include "csd_scan.h"

#define CSD_MAX_ERRNO 4095

/* In the timing model the main loop waits for this to have got somewhere. */
static void csd_scan_publish(CsdExecute *ex)
{
    qatomic_set(&ex->job.retired, ex->res.retired);
    if (ex->job.csd->timing.on) {
        aio_wait_kick();
    }
}

/*
 * Matches
 */

static int csd_scan_add(CsdExecute *ex, uint32_t off, uint32_t len)
{
    struct blk_bpf_match match = {
        .pos = ex->ctx.pos + off,
        .len = len,
        .dev = ex->dev,
    };

    if (ex->emitted == BLK_BPF_EMIT_MAX) {
        ex->emit_err = ex->emit_err ?: -ENOSPC;
        return -ENOSPC;
    }
    ex->emitted++;
    if (!(ex->flags & NVME_CSD_EXEC_COUNT)) {
        g_array_append_val(ex->match, match);
    }
    return 0;
}

/* blk_bpf_emit() */
static uint64_t csd_scan_emit(uint64_t ctx, uint64_t off64, uint64_t len64,
                              uint64_t unused4, uint64_t unused5,
                              struct bpfvm_thread *thread)
{
    CsdExecute *ex = bpfvm_thread_priv(thread);
    uint32_t off = off64, len = len64;

    if (off >= ex->ctx.len || !len || len > ex->visible - off) {
        ex->emit_err = ex->emit_err ?: -EINVAL;
        return -EINVAL;
    }
    return csd_scan_add(ex, off, len);
}

const struct bpfvm_helper csd_helpers[] = {
    {
        .id = NVME_CSD_HELPER_EMIT,
        .name = "blk_bpf_emit",
        .fn = csd_scan_emit,
        .ret = BPFVM_RET_NUM,
        .arg = { BPFVM_ARG_CTX, BPFVM_ARG_NUM, BPFVM_ARG_NUM },
    },
};

const unsigned csd_nr_helpers = ARRAY_SIZE(csd_helpers);

static int csd_match_cmp(const void *a, const void *b)
{
    const struct blk_bpf_match *l = a, *r = b;

    if (l->pos != r->pos) {
        return l->pos < r->pos ? -1 : 1;
    }
    return l->len < r->len ? -1 : l->len > r->len;
}

/* Matches are reported in device order, whatever order they were emitted in. */
static void csd_scan_sort(GArray *match)
{
    unsigned i;

    for (i = 1; i < match->len; i++) {
        if (csd_match_cmp(&g_array_index(match, struct blk_bpf_match, i - 1),
                          &g_array_index(match, struct blk_bpf_match, i)) > 0) {
            g_array_sort(match, csd_match_cmp);
            return;
        }
    }
}

/* Matches from number @from on to the result; returns how many had room. */
static uint32_t csd_scan_put(CsdExecute *ex, const GArray *match, uint32_t from)
{
    uint32_t nr = MIN(match->len - from, ex->room - ex->res.nr);
    uint8_t *to;
    uint32_t i;

    if (!nr) {
        return 0;
    }
    /* A range need not begin where a struct could. */
    to = ex->result + sizeof(struct nvme_csd_result) +
         (size_t)ex->res.nr * sizeof(struct blk_bpf_match);
    for (i = 0; i < nr; i++) {
        const struct blk_bpf_match *m =
            &g_array_index(match, struct blk_bpf_match, from + i);
        struct blk_bpf_match wire = {
            .pos = cpu_to_le64(m->pos),
            .len = cpu_to_le32(m->len),
            .dev = cpu_to_le32(m->dev),
        };

        memcpy(to + i * sizeof(wire), &wire, sizeof(wire));
    }
    ex->res.nr += nr;
    return nr;
}

/*
 * What had no room is kept for the Execute that brings the cookie.
 */

static void csd_scan_keep(CsdExecute *ex, uint32_t next, uint32_t done, bool stop)
{
    CsdProgram *prog = ex->prog;
    CsdKept *kept = g_new0(CsdKept, 1);
    uint64_t cookie = qatomic_inc_fetch(&ex->job.csd->last_cookie);

    kept->cookie = cookie;
    kept->match = ex->match;
    kept->next = next;
    kept->pos = ex->pos + ex->res.cursor.off;
    kept->done = done;
    kept->stop = stop;
    ex->match = g_array_new(false, false, sizeof(struct blk_bpf_match));

    qemu_mutex_lock(&prog->lock);
    QTAILQ_INSERT_TAIL(&prog->kept, kept, entry);
    prog->nr_kept += kept->match->len;
    while (prog->nr_kept > CSD_MAX_KEPT) {
        csd_kept_free(prog, QTAILQ_FIRST(&prog->kept));
    }
    qemu_mutex_unlock(&prog->lock);

    ex->res.status = NVME_CSD_FULL;
    ex->res.cursor.skip = next;
    ex->res.cursor.cookie = cookie;
}

/* The kept matches that a cursor names, which are the caller's then. */
static CsdKept *csd_scan_claim(CsdExecute *ex)
{
    const struct nvme_csd_cursor *cursor = &ex->res.cursor;
    uint64_t len = MIN(ex->unit, ex->data_len - cursor->off);
    CsdProgram *prog = ex->prog;
    CsdKept *kept;

    qemu_mutex_lock(&prog->lock);
    QTAILQ_FOREACH(kept, &prog->kept, entry) {
        if (kept->cookie == cursor->cookie && kept->next == cursor->skip &&
            kept->pos == ex->pos + cursor->off && kept->done == len) {
            QTAILQ_REMOVE(&prog->kept, kept, entry);
            prog->nr_kept -= kept->match->len;
            break;
        }
    }
    qemu_mutex_unlock(&prog->lock);
    return kept;
}

/* Returns whether the scan goes on. */
static bool csd_scan_resume(CsdExecute *ex)
{
    CsdKept *kept = ex->res.cursor.cookie ? csd_scan_claim(ex) : NULL;
    uint32_t next, done;
    bool stop;

    ex->res.cursor.cookie = 0;
    if (!kept) {
        return true;
    }

    g_array_unref(ex->match);
    ex->match = kept->match;
    next = kept->next + csd_scan_put(ex, kept->match, kept->next);
    done = kept->done;
    stop = kept->stop;
    g_free(kept);
    if (next < ex->match->len) {
        csd_scan_keep(ex, next, done, stop);
        return false;
    }

    g_array_set_size(ex->match, 0);
    ex->res.cursor.off += done;
    ex->res.cursor.skip = 0;
    if (stop) {
        ex->res.status = NVME_CSD_STOPPED;
    }
    return !stop;
}

/*
 * Units
 */

static void csd_scan_fault(CsdExecute *ex, uint32_t fault, uint32_t pc)
{
    ex->res.status = NVME_CSD_FAULT;
    ex->res.fault = fault;
    ex->res.fault_pc = pc;
}

const char *csd_scan_fault_text(uint32_t fault)
{
    static const char *const text[] = {
        [NVME_CSD_FAULT_NONE] = "no fault",
        [NVME_CSD_FAULT_ACCESS] = "an access outside of what its pointer "
                                  "points to",
        [NVME_CSD_FAULT_ALIGN] = "an atomic operation on an unaligned address",
        [NVME_CSD_FAULT_FUEL] = "its instructions are used up",
        [NVME_CSD_FAULT_DEADLINE] = "its time is over",
        [NVME_CSD_FAULT_ABORTED] = "it was aborted",
        [NVME_CSD_FAULT_ENGINE] = "an error of the engine itself",
    };

    return fault < ARRAY_SIZE(text) ? text[fault] : "an unknown fault";
}

static uint32_t csd_scan_stop_reason(const CsdExecute *ex)
{
    return qatomic_read(&ex->job.expired) ? NVME_CSD_FAULT_DEADLINE :
                                            NVME_CSD_FAULT_ABORTED;
}

static void csd_scan_take_fault(CsdExecute *ex, const struct bpfvm_run *run)
{
    uint32_t fault;

    switch (run->fault) {
    case BPFVM_FAULT_ACCESS:
        fault = NVME_CSD_FAULT_ACCESS;
        break;
    case BPFVM_FAULT_ALIGN:
        fault = NVME_CSD_FAULT_ALIGN;
        break;
    case BPFVM_FAULT_FUEL:
        fault = ex->deadline_fuel < ex->fuel ? NVME_CSD_FAULT_DEADLINE :
                                               NVME_CSD_FAULT_FUEL;
        break;
    case BPFVM_FAULT_STOPPED:
        fault = csd_scan_stop_reason(ex);
        break;
    default:
        fault = NVME_CSD_FAULT_ENGINE;
        break;
    }
    csd_scan_fault(ex, fault, run->fault_pc);
}

/* What a unit of a scan returned. Returns whether the unit is done. */
static bool csd_scan_take_ret(CsdExecute *ex, int32_t ret, uint32_t len,
                              bool *stop)
{
    if (ex->mode == NVME_CSD_SCAN) {
        if (ret == BLK_BPF_MATCH) {
            csd_scan_add(ex, 0, len);
        } else if (ret == BLK_BPF_STOP) {
            *stop = true;
        } else if (ret && !ex->emit_err) {
            ex->res.status = ret < 0 && ret >= -CSD_MAX_ERRNO ?
                             NVME_CSD_PROGRAM_ERROR : NVME_CSD_NONSENSE;
            ex->res.error = ret;
            return false;
        }
    }
    if (ex->emit_err) {
        ex->res.status = NVME_CSD_EMIT_ERROR;
        ex->res.error = ex->emit_err;
        return false;
    }
    return true;
}

static void csd_scan_prepare_ctx(CsdExecute *ex, uint32_t len)
{
    uint64_t off = ex->res.cursor.off;
    struct blk_bpf_ctx *ctx = &ex->ctx;
    uint64_t behind = ex->data_len - off - len + ex->tail_len;

    ex->visible = len + MIN(ex->overlap, behind);
    ctx->size = sizeof(*ctx);
    ctx->op = BLK_BPF_OP_READ;
    ctx->pos = ex->pos + off;
    ctx->len = len;
    ctx->unit = ex->unit;
    ctx->flags = (len != ex->unit ? BLK_BPF_F_SHORT : 0) |
                 (behind < ex->overlap ? BLK_BPF_F_EDGE : 0);
    memset(ctx->state, 0, sizeof(ctx->state));
    ex->emitted = 0;
    ex->emit_err = 0;
}

/* One call. Returns whether the unit is done. */
static bool csd_scan_call(CsdExecute *ex, uint32_t len, bool *stop)
{
    struct bpfvm_run run = {
        .engine = ex->job.csd->params.jit ? BPFVM_ENGINE_BEST :
                                            BPFVM_ENGINE_INTERP,
        .ctx = &ex->ctx,
        .data = ex->data + ex->res.cursor.off,
        .fuel = MIN(ex->fuel, ex->deadline_fuel),
    };
    int err;

    csd_scan_prepare_ctx(ex, len);
    run.data_len = ex->visible;
    err = bpfvm_run(ex->thread, &run);
    ex->res.units++;
    ex->res.retired += run.retired;
    ex->res.r0 = run.r0;
    ex->fuel -= MIN(ex->fuel, run.retired);
    ex->deadline_fuel -= MIN(ex->deadline_fuel, run.retired);
    csd_scan_publish(ex);
    if (err) {
        csd_scan_take_fault(ex, &run);
        return false;
    }
    return csd_scan_take_ret(ex, run.r0, len, stop);
}

/* A unit that is done. Returns whether the scan goes on. */
static bool csd_scan_finish_unit(CsdExecute *ex, uint32_t len, bool stop)
{
    uint32_t skip = MIN(ex->res.cursor.skip, ex->match->len);
    uint32_t next;

    ex->res.bytes += len;
    ex->res.matches += ex->emitted;
    csd_scan_sort(ex->match);
    next = skip + csd_scan_put(ex, ex->match, skip);
    if (next < ex->match->len) {
        csd_scan_keep(ex, next, len, stop);
        return false;
    }
    g_array_set_size(ex->match, 0);
    ex->res.cursor.off += len;
    ex->res.cursor.skip = 0;
    if (stop) {
        ex->res.status = NVME_CSD_STOPPED;
    }
    return !stop;
}

static void csd_scan_units(CsdExecute *ex)
{
    while (ex->res.cursor.off < ex->data_len) {
        uint32_t len = MIN(ex->unit, ex->data_len - ex->res.cursor.off);
        bool stop = false;

        if (csd_job_stopped(&ex->job)) {
            csd_scan_fault(ex, csd_scan_stop_reason(ex), 0);
            return;
        }
        if (!csd_scan_call(ex, len, &stop)) {
            return;
        }
        if (!csd_scan_finish_unit(ex, len, stop)) {
            return;
        }
    }
    ex->res.status = NVME_CSD_DONE;
}

static void csd_scan_put_result(const CsdExecute *ex)
{
    const struct nvme_csd_result *res = &ex->res;
    struct nvme_csd_result wire = {
        .status = cpu_to_le32(res->status),
        .nr = cpu_to_le32(res->nr),
        .cursor.off = cpu_to_le64(res->cursor.off),
        .cursor.skip = cpu_to_le32(res->cursor.skip),
        .cursor.cookie = cpu_to_le64(res->cursor.cookie),
        .units = cpu_to_le64(res->units),
        .bytes = cpu_to_le64(res->bytes),
        .matches = cpu_to_le64(res->matches),
        .retired = cpu_to_le64(res->retired),
        .error = cpu_to_le32(res->error),
        .fault = cpu_to_le32(res->fault),
        .fault_pc = cpu_to_le32(res->fault_pc),
        .r0 = cpu_to_le64(res->r0),
    };

    if (ex->result && res->fault != NVME_CSD_FAULT_ABORTED) {
        memcpy(ex->result, &wire, sizeof(wire));
        csd_lie_result(ex->job.csd, ex->result, sizeof(wire) +
                       ex->room * sizeof(struct blk_bpf_match));
    }
}

/* CsdJob.run of an Execute. */
void csd_scan_run(CsdJob *job)
{
    CsdExecute *ex = container_of(job, CsdExecute, job);

    ex->thread = bpfvm_thread_new(ex->prog->vm, ex);
    if (!ex->thread) {
        csd_scan_fault(ex, NVME_CSD_FAULT_ENGINE, 0);
        csd_scan_put_result(ex);
        return;
    }
    csd_job_set_vm(job, ex->thread);
    if (csd_scan_resume(ex)) {
        csd_scan_units(ex);
    }
    csd_job_set_vm(job, NULL);
    bpfvm_thread_free(ex->thread);
    csd_scan_put_result(ex);
}
