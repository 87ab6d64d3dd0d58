/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Execute Program: what it is asked for, on the main loop; csd_scan.c runs it. */
#include "csd.h"
#include "csd_scan.h"
#include "qemu/cutils.h"
#include "trace.h"

QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_cursor) != 24);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_exec) != 112);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_result) != 128);

/* Releases what it holds, however it ended. */
static void csd_execute_end(CsdExecute *ex)
{
    NvmeCsd *csd = ex->job.csd;

    ex->prog->running--;
    csd->queued--;
    if (ex->set->rsid) {
        ex->set->users--;
    } else {
        g_free(ex->set);
    }
    g_array_unref(ex->match);
}

static void csd_execute_count(NvmeCsd *csd, const struct nvme_csd_result *res)
{
    csd->counters.units += res->units;
    csd->counters.retired += res->retired;
    csd->counters.matches += res->matches;
    if (res->status == NVME_CSD_FAULT) {
        csd->counters.faults[res->fault]++;
    }
}

static uint16_t csd_execute_status(CsdExecute *ex)
{
    const struct nvme_csd_result *res = &ex->res;
    NvmeCsd *csd = ex->job.csd;
    NvmeRequest *req = ex->job.req;
    uint16_t pind = ex->prog->pind;
    uint64_t unit = ex->pos + res->cursor.off;

    switch (res->status) {
    case NVME_CSD_DONE:
    case NVME_CSD_FULL:
    case NVME_CSD_STOPPED:
        return NVME_SUCCESS;
    case NVME_CSD_PROGRAM_ERROR:
        return csd_refuse(csd, req, NVME_CSD_SC_PROG_FAULT, pind, "the program "
                          "returned the error %d for the unit at %" PRIu64,
                          (int32_t)res->error, unit);
    case NVME_CSD_NONSENSE:
        return csd_refuse(csd, req, NVME_CSD_SC_PROG_FAULT, pind, "the program "
                          "returned %d, which means nothing, for the unit at %"
                          PRIu64, (int32_t)res->error, unit);
    case NVME_CSD_EMIT_ERROR:
        return csd_refuse(csd, req, NVME_CSD_SC_PROG_FAULT, pind, "a match that "
                          "the program emitted for the unit at %" PRIu64 " was "
                          "refused: error %d", unit, (int32_t)res->error);
    default:
        return csd_refuse(csd, req, res->fault == NVME_CSD_FAULT_DEADLINE ?
                          NVME_CSD_SC_DEADLINE : NVME_CSD_SC_PROG_FAULT, pind,
                          "the program was ended at instruction %u in the unit "
                          "at %" PRIu64 ": %s", res->fault_pc, unit,
                          csd_scan_fault_text(res->fault));
    }
}

static void csd_execute_done(CsdJob *job)
{
    CsdExecute *ex = container_of(job, CsdExecute, job);
    const struct nvme_csd_result *res = &ex->res;
    NvmeRequest *req = job->req;
    uint64_t cqe = res->r0;

    csd_execute_count(job->csd, res);
    trace_nvme_csd_executed(nvme_cid(req), ex->prog->pind, res->status, res->nr,
                            res->units, res->retired, res->fault);

    if (res->status == NVME_CSD_FAULT &&
        res->fault == NVME_CSD_FAULT_ABORTED) {
        req->status = req->status ?: NVME_CMD_ABORT_REQ;
    } else {
        /* That it was also cancelled, too late, is forgotten. */
        req->status = csd_execute_status(ex);
        if (ex->mode == NVME_CSD_SCAN) {
            cqe = (ex->flags & NVME_CSD_EXEC_COUNT ?
                   MIN(res->matches, UINT32_MAX) : res->nr) |
                  (uint64_t)res->status << 32;
        }
        req->cqe.result = cpu_to_le32(cqe);
        req->cqe.dw1 = cpu_to_le32(cqe >> 32);
    }
    csd_execute_end(ex);
}

static void csd_execute_drop(CsdJob *job)
{
    CsdExecute *ex = container_of(job, CsdExecute, job);

    job->req->status = job->req->status ?: NVME_CMD_ABORT_REQ;
    csd_execute_end(ex);
}

static const AIOCBInfo csd_execute_aiocb_info = {
    .aiocb_size = sizeof(CsdExecute),
    .cancel_async = csd_job_cancel,
};

/*
 * Parsing
 */

static uint16_t csd_execute_program(NvmeCsd *csd, NvmeRequest *req,
                                    CsdProgram **prog)
{
    uint32_t pind = NVME_CSD_EXECUTE_PIND(csd_dw(req, 2));

    if (pind < NVME_CSD_PIND_FIRST || pind > csd->params.max_programs) {
        return csd_refuse(csd, req, NVME_CSD_SC_BAD_PIND, 0, "program index %u "
                          "is not from %d to %u", pind, NVME_CSD_PIND_FIRST,
                          csd->params.max_programs);
    }
    *prog = csd_program(csd, pind);
    if (!*prog || !(*prog)->loaded) {
        return csd_refuse(csd, req, NVME_CSD_SC_NO_PROGRAM, pind, "there is no "
                          "program at index %u", pind);
    }
    if (!(*prog)->active) {
        return csd_refuse(csd, req, NVME_CSD_SC_NOT_ACTIVE, pind, "the program "
                          "at index %u is not active; activate it", pind);
    }
    return NVME_SUCCESS;
}

/* The ranges: a set's, or those that @data, of @dlen bytes, begins with. */
static uint16_t csd_execute_ranges(NvmeCsd *csd, NvmeRequest *req,
                                   const uint8_t *data, uint32_t dlen,
                                   CsdRangeSet **set)
{
    uint32_t rsid = NVME_CSD_EXECUTE_RSID(csd_dw(req, 2));
    uint32_t numr = csd_dw(req, 3);

    if (rsid) {
        *set = csd_range_set_find(csd, rsid);
        return *set ? NVME_SUCCESS :
               csd_refuse(csd, req, NVME_CSD_SC_BAD_RSID, 0, "there is no "
                          "memory range set %u", rsid);
    }
    if (!numr) {
        return csd_refuse(csd, req, NVME_CSD_SC_BAD_RANGE_SET, 0, "an Execute "
                          "needs memory: neither RSID nor NUMR is given");
    }
    return csd_ranges_parse(csd, req, data, numr, set);
}

/* Checks of CDW3 and DLEN that need no data. */
static uint16_t csd_execute_sizes(NvmeCsd *csd, NvmeRequest *req, uint32_t dlen)
{
    uint32_t numr = csd_dw(req, 3);
    uint32_t rest = dlen - numr * sizeof(struct nvme_csd_range);
    uint16_t status;

    if (numr && NVME_CSD_EXECUTE_RSID(csd_dw(req, 2))) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "RSID and NUMR are "
                          "both given");
    }
    if (numr > csd->params.max_ranges) {
        return csd_refuse(csd, req, NVME_CSD_SC_MAX_RANGES, 0, "%u ranges are "
                          "more than %u", numr, csd->params.max_ranges);
    }
    if (dlen < numr * sizeof(struct nvme_csd_range) || csd_dw(req, 15) ||
        csd_dw(req, 5) ||
        csd_dw(req, req->cmd.opcode == NVME_CSD_CP_EXECUTE ? 14 : 4)) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "DLEN is %u, less "
                          "than %u ranges need, or a reserved field is set",
                          dlen, numr);
    }
    if (rest && rest != sizeof(struct nvme_csd_exec)) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "%u bytes follow the "
                          "ranges; a struct nvme_csd_exec has %zu", rest,
                          sizeof(struct nvme_csd_exec));
    }
    status = nvme_csd_check_mdts(&csd->parent_obj, dlen);
    return status ? csd_refuse(csd, req, status, 0, "%u bytes are more than "
                               "one command may transfer (MDTS)", dlen) :
                    NVME_SUCCESS;
}

/* What to do when nothing is said: one call for all of the first range. */
static void csd_execute_default(NvmeRequest *req, const CsdRangeSet *set,
                                struct nvme_csd_exec *exec)
{
    exec->size = cpu_to_le32(sizeof(*exec));
    exec->mode = NVME_CSD_CALL;
    exec->result_range = cpu_to_le32(set->nr > 1 ? 1 : NVME_CSD_NO_RANGE);
    exec->data_len = cpu_to_le64(set->range[0].len);
    exec->args[0] = cpu_to_le64(csd_qw(req, 10));
    exec->args[1] = cpu_to_le64(csd_qw(req, 12));
}

static const char *csd_execute_check_data(const CsdRangeSet *set,
                                          const struct nvme_csd_exec *exec)
{
    uint32_t idx = le32_to_cpu(exec->data_range);
    uint64_t off = le64_to_cpu(exec->data_off);
    uint64_t len = le64_to_cpu(exec->data_len);
    uint64_t tail = le32_to_cpu(exec->tail_len);
    uint64_t size;

    if (idx >= set->nr) {
        return "data_range is not the index of a range";
    }
    size = set->range[idx].len;
    if (!len || off > size || len > size - off || tail > size - off - len) {
        return "data_off, data_len and tail_len are not inside the range";
    }
    if (len + tail > BPFVM_MAX_DATA) {
        return "data_len and tail_len are more than 2 GiB";
    }
    if (le64_to_cpu(exec->pos) > UINT64_MAX - len - tail) {
        return "pos and data_len go beyond 64 bits";
    }
    return NULL;
}

static const char *csd_execute_check(const CsdRangeSet *set,
                                     const struct nvme_csd_exec *exec,
                                     const CsdProgram *prog)
{
    uint32_t result = le32_to_cpu(exec->result_range);
    uint32_t flags = le32_to_cpu(exec->flags);
    uint64_t unit = le32_to_cpu(exec->unit) ?: prog->head.unit;
    uint64_t off = le64_to_cpu(exec->cursor.off);
    uint64_t len = le64_to_cpu(exec->data_len);
    const char *why;

    if (le32_to_cpu(exec->size) != sizeof(*exec)) {
        return "size is not that of struct nvme_csd_exec";
    }
    if (exec->mode > NVME_CSD_SCAN || (flags & ~NVME_CSD_EXEC_COUNT) ||
        !buffer_is_zero(exec->rsvd, sizeof(exec->rsvd)) || exec->cursor.rsvd) {
        return "a mode or flag is unknown, or a reserved byte is set";
    }
    if (result != NVME_CSD_NO_RANGE && (result >= set->nr ||
        set->range[result].len < sizeof(struct nvme_csd_result))) {
        return "result_range is not the index of a range that has room for a "
               "struct nvme_csd_result";
    }
    if (result == NVME_CSD_NO_RANGE && exec->mode == NVME_CSD_SCAN &&
        !(flags & NVME_CSD_EXEC_COUNT)) {
        return "a scan that does not only count needs a result_range";
    }
    if (exec->mode == NVME_CSD_SCAN && unit > BLK_BPF_UNIT_MAX) {
        return "unit is more than 32768";
    }
    if (result == le32_to_cpu(exec->data_range)) {
        return "result_range and data_range are the same";
    }
    why = csd_execute_check_data(set, exec);
    if (why) {
        return why;
    }
    /* There are data, so that this is not 0. */
    if (exec->mode == NVME_CSD_CALL) {
        unit = len;
    }
    if (off > len || (off % unit && off != len) ||
        (off && exec->mode == NVME_CSD_CALL)) {
        return "the cursor is not at the beginning of a unit";
    }
    return NULL;
}

static void csd_execute_fill(CsdExecute *ex, NvmeCsd *csd,
                             const struct nvme_csd_exec *exec)
{
    const CsdRangeSet *set = ex->set;
    uint32_t result = le32_to_cpu(exec->result_range);
    uint32_t i;

    ex->mode = exec->mode;
    ex->flags = le32_to_cpu(exec->flags);
    ex->data = csd->slm + set->range[le32_to_cpu(exec->data_range)].off +
               le64_to_cpu(exec->data_off);
    ex->data_len = le64_to_cpu(exec->data_len);
    ex->tail_len = le32_to_cpu(exec->tail_len);
    ex->pos = le64_to_cpu(exec->pos);
    ex->dev = le32_to_cpu(exec->dev);
    ex->unit = le32_to_cpu(exec->unit) ?: ex->prog->head.unit;
    ex->overlap = ex->prog->head.overlap;
    if (ex->mode == NVME_CSD_CALL) {
        ex->unit = ex->data_len;
    }
    if (result != NVME_CSD_NO_RANGE) {
        ex->result = csd->slm + set->range[result].off;
        ex->room = (set->range[result].len - sizeof(struct nvme_csd_result)) /
                   sizeof(struct blk_bpf_match);
    }
    for (i = 0; i < BLK_BPF_NR_ARGS; i++) {
        ex->ctx.args[i] = le64_to_cpu(exec->args[i]);
    }
    ex->res.cursor.off = le64_to_cpu(exec->cursor.off);
    ex->res.cursor.skip = le32_to_cpu(exec->cursor.skip);
    ex->res.cursor.cookie = le64_to_cpu(exec->cursor.cookie);
    ex->match = g_array_new(false, false, sizeof(struct blk_bpf_match));
    ex->fuel = csd->params.fuel ?: UINT64_MAX;
    if (csd->timing.on && csd->params.deadline_ms) {
        ex->deadline_fuel = csd_timing_insns(csd, csd->params.deadline_ms *
                                             (int64_t)SCALE_MS);
    } else {
        ex->deadline_fuel = UINT64_MAX;
    }
}

static uint16_t csd_execute_submit(NvmeCsd *csd, NvmeRequest *req,
                                   CsdProgram *prog, CsdRangeSet *set,
                                   const struct nvme_csd_exec *exec, bool hang)
{
    CsdExecute *ex = csd_job_new(csd, req, &csd_execute_aiocb_info);

    ex->job.run = csd_scan_run;
    ex->job.done = csd_execute_done;
    ex->job.drop = csd_execute_drop;
    ex->job.hang = hang;
    ex->prog = prog;
    ex->set = set;
    csd_execute_fill(ex, csd, exec);

    prog->running++;
    csd->queued++;
    set->users++;
    csd->counters.executes++;
    trace_nvme_csd_execute(nvme_cid(req), prog->pind, set->rsid, ex->mode,
                           ex->pos, ex->data_len, ex->res.cursor.off);
    csd_job_submit(&ex->job);
    return NVME_NO_COMPLETE;
}

uint16_t csd_execute(NvmeCsd *csd, NvmeRequest *req, uint32_t dlen, bool hang)
{
    uint32_t inline_size = csd_dw(req, 3) * sizeof(struct nvme_csd_range);
    g_autofree uint8_t *data = NULL;
    struct nvme_csd_exec exec = {};
    CsdRangeSet *set = NULL;
    CsdProgram *prog = NULL;
    const char *why;
    uint16_t status;

    status = csd_execute_program(csd, req, &prog);
    status = status ?: csd_execute_sizes(csd, req, dlen);
    if (status) {
        return status;
    }
    if (csd->queued >= csd->params.max_queued) {
        return csd_refuse(csd, req, NVME_CSD_SC_RESOURCES, prog->pind, "%u "
                          "Executes and copies are outstanding; no more are "
                          "taken", csd->queued);
    }
    if (dlen) {
        data = g_malloc(dlen);
        status = csd_from_host(csd, req, data, dlen);
    }
    status = status ?: csd_execute_ranges(csd, req, data, dlen, &set);
    if (status) {
        return status;
    }

    if (dlen > inline_size) {
        memcpy(&exec, data + inline_size, sizeof(exec));
    } else {
        csd_execute_default(req, set, &exec);
    }
    why = csd_execute_check(set, &exec, prog);
    if (why) {
        if (!set->rsid) {
            g_free(set);
        }
        return csd_refuse(csd, req, NVME_INVALID_FIELD, prog->pind,
                          "struct nvme_csd_exec: %s", why);
    }
    return csd_execute_submit(csd, req, prog, set, &exec, hang);
}
