/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Programs: download, verification, activation, and their global memory. */
#include "csd.h"
#include "trace.h"

/* What the verifier says at most; a log page has room for as much. */
#define CSD_LOG_SIZE 4064

CsdProgram *csd_program(NvmeCsd *csd, uint32_t pind)
{
    if (pind < NVME_CSD_PIND_FIRST || pind > csd->params.max_programs) {
        return NULL;
    }
    return csd->programs[pind];
}

void csd_kept_free(CsdProgram *prog, CsdKept *kept)
{
    QTAILQ_REMOVE(&prog->kept, kept, entry);
    prog->nr_kept -= kept->match->len;
    g_array_unref(kept->match);
    g_free(kept);
}

static void csd_program_free(NvmeCsd *csd, CsdProgram *prog)
{
    uint32_t i;

    assert(!prog->running && !prog->loading);
    csd->programs[prog->pind] = NULL;
    csd->prog_bytes -= prog->size;
    csd->nr_active -= prog->active;
    while (!QTAILQ_EMPTY(&prog->kept)) {
        csd_kept_free(prog, QTAILQ_FIRST(&prog->kept));
    }
    bpfvm_free(prog->vm);
    for (i = 0; prog->globals && i < prog->head.nr_globals; i++) {
        g_free(prog->globals[i].data);
        g_free(prog->initial[i]);
    }
    g_free(prog->globals);
    g_free(prog->initial);
    g_free(prog->insns);
    g_free(prog->image);
    qemu_mutex_destroy(&prog->lock);
    g_free(prog);
}

/* A reset. No Execute and no download is left. */
void csd_programs_forget(NvmeCsd *csd)
{
    uint32_t pind;

    for (pind = NVME_CSD_PIND_FIRST; pind <= csd->params.max_programs; pind++) {
        if (csd->programs[pind]) {
            csd_program_free(csd, csd->programs[pind]);
        }
    }
}

/*
 * Verification, on a thread of its own
 */

typedef struct CsdVerify {
    CsdJob job;
    CsdProgram *prog;
    int err;
    char log[CSD_LOG_SIZE];
} CsdVerify;

static void csd_verify_run(CsdJob *job)
{
    CsdVerify *verify = container_of(job, CsdVerify, job);
    CsdProgram *prog = verify->prog;
    static const struct bpfvm_field state = {
        .off = offsetof(struct blk_bpf_ctx, state),
        .size = sizeof_field(struct blk_bpf_ctx, state),
    };
    struct bpfvm_opts opts = {
        .sz = sizeof(opts),
        .abi = BPFVM_ABI_BLOCK,
        .flags = job->csd->params.jit ? 0 : BPFVM_NO_JIT,
        .ctx_size = sizeof(struct blk_bpf_ctx),
        .ctx_writable = &state,
        .nr_ctx_writable = 1,
        .helpers = csd_helpers,
        .nr_helpers = csd_nr_helpers,
        .log = verify->log,
        .log_size = sizeof(verify->log),
        .cancel = &job->stop,
    };

    if (!csd_image_parse(prog, job->csd->params.max_globals, verify->log,
                         sizeof(verify->log))) {
        verify->err = -EINVAL;
        return;
    }
    opts.globals = prog->globals;
    opts.nr_globals = prog->head.nr_globals;
    verify->err = bpfvm_load(&prog->vm, prog->insns, prog->head.nr_insns,
                             &opts);
}

static void csd_verify_end(CsdVerify *verify, bool cancelled)
{
    NvmeCsd *csd = verify->job.csd;
    NvmeRequest *req = verify->job.req;
    CsdProgram *prog = verify->prog;

    prog->loading = false;
    g_free(prog->image);
    prog->image = NULL;

    if (cancelled) {
        req->status = req->status ?: NVME_CMD_ABORT_REQ;
    } else if (verify->err) {
        req->status = csd_refuse(csd, req, NVME_CSD_SC_BAD_PROG_DATA,
                                 prog->pind, "%s", *verify->log ? verify->log :
                                 strerror(-verify->err));
        csd->counters.load_refused++;
    } else {
        prog->loaded = true;
        csd->counters.loads++;
        csd_say(csd, req, NVME_SUCCESS, prog->pind, "loaded: %s, %u "
                "instructions", prog->head.name, prog->head.nr_insns);
    }
    trace_nvme_csd_loaded(nvme_cid(req), prog->pind, prog->head.name,
                          prog->head.nr_insns, req->status);
    if (!prog->loaded) {
        csd_program_free(csd, prog);
    }
}

static void csd_verify_done(CsdJob *job)
{
    csd_verify_end(container_of(job, CsdVerify, job), csd_job_stopped(job));
}

static void csd_verify_drop(CsdJob *job)
{
    csd_verify_end(container_of(job, CsdVerify, job), true);
}

static const AIOCBInfo csd_verify_aiocb_info = {
    .aiocb_size = sizeof(CsdVerify),
    .cancel_async = csd_job_cancel,
};

static uint16_t csd_verify(NvmeCsd *csd, NvmeRequest *req, CsdProgram *prog)
{
    CsdVerify *verify = csd_job_new(csd, req, &csd_verify_aiocb_info);

    verify->job.run = csd_verify_run;
    verify->job.done = csd_verify_done;
    verify->job.drop = csd_verify_drop;
    verify->prog = prog;
    prog->loading = true;
    csd_job_submit_verifier(&verify->job);
    return NVME_NO_COMPLETE;
}

/*
 * Load Program
 */

static uint16_t csd_load_begin(NvmeCsd *csd, NvmeRequest *req, uint32_t pind,
                               uint32_t size)
{
    CsdProgram *prog = csd->programs[pind];

    if (prog) {
        /* A download that was not ended, and now begins anew. */
        csd_program_free(csd, prog);
    }
    if (!size || size % 4) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, pind, "PSIZE is %u, not "
                          "a multiple of 4 of at least 4", size);
    }
    if (size > csd->params.max_program_size) {
        return csd_refuse(csd, req, NVME_CSD_SC_PROG_TOO_BIG, pind, "%u bytes "
                          "are more than a program may have, %" PRIu64, size,
                          csd->params.max_program_size);
    }
    if (size > csd->params.max_program_total - csd->prog_bytes) {
        return csd_refuse(csd, req, NVME_CSD_SC_MAX_PROG_BYTES, pind, "%u bytes "
                          "more are more than all programs may have, %" PRIu64
                          " of %" PRIu64 " being in use; unload one", size,
                          csd->prog_bytes, csd->params.max_program_total);
    }

    prog = g_new0(CsdProgram, 1);
    prog->pind = pind;
    prog->ptype = NVME_CSD_LOAD_PTYPE(csd_dw(req, 10));
    prog->pit = NVME_CSD_LOAD_PIT(csd_dw(req, 10));
    prog->pid = csd_qw(req, 12);
    prog->size = size;
    prog->image = g_malloc(size);
    qemu_mutex_init(&prog->lock);
    QTAILQ_INIT(&prog->kept);
    csd->programs[pind] = prog;
    csd->prog_bytes += size;
    return NVME_SUCCESS;
}

static uint16_t csd_load_check_chunk(NvmeCsd *csd, NvmeRequest *req,
                                     uint32_t pind)
{
    const CsdProgram *prog = csd->programs[pind];
    uint32_t size = csd_dw(req, 11);
    uint32_t numb = csd_dw(req, 14);
    uint32_t loff = csd_dw(req, 15);
    uint16_t status;

    if (!prog || prog->size != size || prog->received != loff) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, pind, "bytes from %u on "
                          "of a program of %u were not expected: %u have come, "
                          "of %u", loff, size, prog ? prog->received : 0,
                          prog ? prog->size : 0);
    }
    if (!numb || numb % 4 || numb > size - loff) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, pind, "NUMB is %u, not "
                          "a multiple of 4 from 4 to what is missing, %u", numb,
                          size - loff);
    }
    status = nvme_csd_check_mdts(&csd->parent_obj, numb);
    if (status) {
        return csd_refuse(csd, req, status, pind, "%u bytes are more than one "
                          "command may transfer (MDTS)", numb);
    }
    return NVME_SUCCESS;
}

static uint16_t csd_load_chunk(NvmeCsd *csd, NvmeRequest *req, uint32_t pind,
                               bool corrupt)
{
    uint32_t numb = csd_dw(req, 14);
    CsdProgram *prog;
    uint16_t status = NVME_SUCCESS;

    if (!csd_dw(req, 15)) {
        status = csd_load_begin(csd, req, pind, csd_dw(req, 11));
    }
    if (!status) {
        status = csd_load_check_chunk(csd, req, pind);
    }
    if (status) {
        return status;
    }

    prog = csd->programs[pind];
    status = csd_from_host(csd, req, prog->image + prog->received, numb);
    if (status) {
        return status;
    }
    if (corrupt) {
        prog->image[prog->received + numb / 2] ^= 0x40;
    }
    prog->received += numb;
    if (prog->received < prog->size) {
        return NVME_SUCCESS;
    }
    return csd_verify(csd, req, prog);
}

static uint16_t csd_unload(NvmeCsd *csd, NvmeRequest *req, uint32_t pind)
{
    CsdProgram *prog = csd->programs[pind];

    if (csd_dw(req, 11) || csd_dw(req, 14) || csd_dw(req, 15)) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, pind, "unloading has no "
                          "PSIZE, NUMB and LOFF");
    }
    if (!prog) {
        return csd_refuse(csd, req, NVME_CSD_SC_NO_PROGRAM, pind, "there is no "
                          "program at index %u", pind);
    }
    if (prog->active || prog->running || prog->loading) {
        return csd_refuse(csd, req, NVME_CSD_SC_PROG_IN_USE, pind, "the program "
                          "at index %u is active, running or being verified; "
                          "deactivate it first", pind);
    }
    trace_nvme_csd_unloaded(nvme_cid(req), pind);
    csd_program_free(csd, prog);
    return NVME_SUCCESS;
}

uint16_t csd_load(NvmeCsd *csd, NvmeRequest *req, bool corrupt)
{
    uint32_t dw10 = csd_dw(req, 10);
    uint32_t pind = NVME_CSD_LOAD_PIND(dw10);
    const CsdProgram *prog;

    if ((dw10 & NVME_CSD_LOAD_RSVD) ||
        NVME_CSD_LOAD_PIT(dw10) > NVME_CSD_PIT_PUID) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "PIT is %u, not 0 or "
                          "1, or a reserved bit of CDW10 is set",
                          NVME_CSD_LOAD_PIT(dw10));
    }
    if (pind < NVME_CSD_PIND_FIRST || pind > csd->params.max_programs) {
        return csd_refuse(csd, req, NVME_CSD_SC_BAD_PIND, 0, "program index %u "
                          "is not from %d to %u", pind, NVME_CSD_PIND_FIRST,
                          csd->params.max_programs);
    }
    if (dw10 & NVME_CSD_LOAD_SEL_UNLOAD) {
        return csd_unload(csd, req, pind);
    }
    if (NVME_CSD_LOAD_PTYPE(dw10) != NVME_CSD_PTYPE_EBPF) {
        return csd_refuse(csd, req, NVME_CSD_SC_BAD_PTYPE, pind, "program type "
                          "%02xh is not known; eBPF is %02xh (log 83h)",
                          NVME_CSD_LOAD_PTYPE(dw10), NVME_CSD_PTYPE_EBPF);
    }
    prog = csd->programs[pind];
    if (prog && (prog->loaded || prog->loading)) {
        return csd_refuse(csd, req, NVME_CSD_SC_NOT_DOWNLOADABLE, pind, "index "
                          "%u has a program; unload it first, or take another",
                          pind);
    }
    return csd_load_chunk(csd, req, pind, corrupt);
}

/*
 * Program Activation Management
 */

static uint64_t csd_globals_size(const CsdProgram *prog)
{
    uint64_t sum = 0;
    uint32_t i;

    for (i = 0; i < prog->head.nr_globals; i++) {
        sum += prog->globals[i].size;
    }
    return sum;
}

static uint64_t csd_active_globals_size(NvmeCsd *csd)
{
    uint64_t sum = 0;
    uint32_t pind;

    for (pind = NVME_CSD_PIND_FIRST; pind <= csd->params.max_programs; pind++) {
        const CsdProgram *prog = csd->programs[pind];

        sum += prog && prog->active ? csd_globals_size(prog) : 0;
    }
    return sum;
}

static uint16_t csd_do_activate(NvmeCsd *csd, NvmeRequest *req,
                                CsdProgram *prog)
{
    if (prog->active) {
        return NVME_SUCCESS;
    }
    if (csd->nr_active == csd->params.max_active) {
        return csd_refuse(csd, req, NVME_CSD_SC_MAX_ACTIVE, prog->pind, "%u "
                          "programs are active, and no more can be; deactivate "
                          "one", csd->nr_active);
    }
    if (csd_globals_size(prog) >
        csd->params.max_globals - csd_active_globals_size(csd)) {
        return csd_refuse(csd, req, NVME_CSD_SC_PROG_RESOURCES, prog->pind,
                          "its global memory and that of the active programs "
                          "are more than %" PRIu64 " bytes; deactivate one",
                          csd->params.max_globals);
    }
    csd_globals_reset(prog);
    prog->active = true;
    csd->nr_active++;
    return NVME_SUCCESS;
}

static uint16_t csd_do_deactivate(NvmeCsd *csd, NvmeRequest *req,
                                  CsdProgram *prog)
{
    if (prog->running) {
        return csd_refuse(csd, req, NVME_CSD_SC_PROG_IN_USE, prog->pind, "%u "
                          "Executes of this program are running or waiting",
                          prog->running);
    }
    csd->nr_active -= prog->active;
    prog->active = false;
    while (!QTAILQ_EMPTY(&prog->kept)) {
        csd_kept_free(prog, QTAILQ_FIRST(&prog->kept));
    }
    return NVME_SUCCESS;
}

uint16_t csd_activate(NvmeCsd *csd, NvmeRequest *req)
{
    uint32_t dw10 = csd_dw(req, 10);
    uint32_t pind = NVME_CSD_ACTIVATE_PIND(dw10);
    uint32_t sel = NVME_CSD_ACTIVATE_SEL(dw10);
    CsdProgram *prog;
    uint16_t status;

    if ((dw10 & NVME_CSD_ACTIVATE_RSVD) || sel > NVME_CSD_ACTIVATE) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "SEL is %u, not 0 to "
                          "deactivate or 1 to activate, or a reserved bit of "
                          "CDW10 is set", sel);
    }
    if (pind < NVME_CSD_PIND_FIRST || pind > csd->params.max_programs) {
        return csd_refuse(csd, req, NVME_CSD_SC_BAD_PIND, 0, "program index %u "
                          "is not from %d to %u", pind, NVME_CSD_PIND_FIRST,
                          csd->params.max_programs);
    }
    prog = csd_program(csd, pind);
    if (!prog || !prog->loaded) {
        return csd_refuse(csd, req, NVME_CSD_SC_NO_PROGRAM, pind, "there is no "
                          "program at index %u", pind);
    }
    status = sel == NVME_CSD_ACTIVATE ? csd_do_activate(csd, req, prog) :
                                        csd_do_deactivate(csd, req, prog);
    trace_nvme_csd_activate(nvme_cid(req), pind, sel, status);
    return status;
}

/*
 * Globals Read and Write
 */

uint16_t csd_globals(NvmeCsd *csd, NvmeRequest *req)
{
    bool write = req->cmd.opcode == NVME_CSD_CP_GLOBALS_WRITE;
    uint32_t pind = csd_dw(req, 2);
    uint32_t idx = csd_dw(req, 10);
    uint32_t off = csd_dw(req, 11);
    uint32_t len = csd_dw(req, 12);
    CsdProgram *prog = csd_program(csd, pind);
    struct bpfvm_global *global;
    uint16_t status;

    if (csd_dw(req, 3) || csd_dw(req, 13) || csd_dw(req, 14) ||
        csd_dw(req, 15)) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "CDW3 and 13 to 15 "
                          "are reserved in this command");
    }
    if (pind < NVME_CSD_PIND_FIRST || pind > csd->params.max_programs) {
        return csd_refuse(csd, req, NVME_CSD_SC_BAD_PIND, 0, "program index %u "
                          "is not from %d to %u", pind, NVME_CSD_PIND_FIRST,
                          csd->params.max_programs);
    }
    if (!prog || !prog->active) {
        return csd_refuse(csd, req, prog && prog->loaded ?
                          NVME_CSD_SC_NOT_ACTIVE : NVME_CSD_SC_NO_PROGRAM, pind,
                          "there is no active program at index %u", pind);
    }
    if (idx >= prog->head.nr_globals) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, pind, "the program has "
                          "%u globals; there is no number %u",
                          prog->head.nr_globals, idx);
    }
    global = &prog->globals[idx];
    if (!len || off > global->size || len > global->size - off ||
        (write && global->rdonly)) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, pind, "%u bytes at %u "
                          "of global %u cannot be %s: it has %u bytes%s", len,
                          off, idx, write ? "written" : "read", global->size,
                          global->rdonly ? " and is read-only" : "");
    }
    status = nvme_csd_check_mdts(&csd->parent_obj, len);
    if (status) {
        return csd_refuse(csd, req, status, pind, "%u bytes are more than one "
                          "command may transfer (MDTS)", len);
    }
    return write ? csd_from_host(csd, req, (uint8_t *)global->data + off, len) :
                   csd_to_host(csd, req, (uint8_t *)global->data + off, len);
}
