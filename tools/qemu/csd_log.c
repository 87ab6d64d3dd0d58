/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log pages, the sentences in one of them, and data to and from the host. */
#include "csd.h"
#include "qemu/cutils.h"
#include "qemu/log.h"
#include "trace.h"

QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_log_info) != 256);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_log_message) != 4096);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_log_counters) != 512);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_log_identify) != 128);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_log_program) != 64);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_log_ptype) != 32);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_log_range_set) != 32);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_log_host_entry) != 16);

/* Get Log Page, CDW10: Retain Asynchronous Event. */
#define CSD_LOG_RAE (1 << 15)

static void csd_message_set(NvmeCsd *csd, struct nvme_csd_log_message **slot,
                            NvmeRequest *req, uint16_t status, uint16_t pind,
                            const char *text)
{
    struct nvme_csd_log_message *message = *slot;

    if (!message) {
        message = *slot = g_new0(struct nvme_csd_log_message, 1);
    }
    message->seq = cpu_to_le64(csd->message_seq);
    message->opcode = req->cmd.opcode;
    message->sqid = cpu_to_le16(req->sq->sqid);
    message->cid = req->cqe.cid;
    message->status = cpu_to_le16(status & ~NVME_DNR);
    message->pind = cpu_to_le16(pind);
    pstrcpy(message->text, sizeof(message->text), text);
    message->len = cpu_to_le32(strlen(message->text));
}

static void G_GNUC_PRINTF(5, 0)
csd_vsay(NvmeCsd *csd, NvmeRequest *req, uint16_t status, uint16_t pind,
         const char *fmt, va_list args)
{
    g_autofree char *text = g_strdup_vprintf(fmt, args);

    csd->message_seq++;
    csd_message_set(csd, &csd->message[0], req, status, pind, text);
    if (pind && pind <= csd->params.max_programs) {
        csd_message_set(csd, &csd->message[pind], req, status, pind, text);
    }
}

/* Keep a sentence for log D1h: of all commands, and of the program @pind if any. */
void csd_say(NvmeCsd *csd, NvmeRequest *req, uint16_t status, uint16_t pind,
             const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    csd_vsay(csd, req, status, pind, fmt, args);
    va_end(args);
}

/* The same for a command that is refused. Returns its status. */
uint16_t csd_refuse(NvmeCsd *csd, NvmeRequest *req, uint16_t status,
                    uint16_t pind, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    csd_vsay(csd, req, status, pind, fmt, args);
    va_end(args);

    trace_nvme_csd_refused(nvme_cid(req), nvme_nsid(req->ns), req->cmd.opcode,
                           status & ~NVME_DNR, csd->message[0]->text);
    qemu_log_mask(LOG_GUEST_ERROR, "nvme-csd: opcode %02xh, status %03xh: %s\n",
                  req->cmd.opcode, status & ~NVME_DNR, csd->message[0]->text);
    return status | NVME_DNR;
}

uint16_t csd_from_host(NvmeCsd *csd, NvmeRequest *req, void *buf, uint32_t len)
{
    uint16_t status = nvme_csd_from_host(&csd->parent_obj, buf, len, req);

    if (status) {
        return csd_refuse(csd, req, status, 0, "%u bytes could not be fetched "
                          "from where the data pointer points", len);
    }
    csd->counters.link_to_drive += len;
    return NVME_SUCCESS;
}

uint16_t csd_to_host(NvmeCsd *csd, NvmeRequest *req, void *buf, uint32_t len)
{
    uint16_t status = nvme_csd_to_host(&csd->parent_obj, buf, len, req);

    if (status) {
        return csd_refuse(csd, req, status, 0, "%u bytes could not be sent to "
                          "where the data pointer points", len);
    }
    csd->counters.link_to_host += len;
    return NVME_SUCCESS;
}

/*
 * Pages. Each function allocates its whole page and returns its size.
 */

static size_t csd_log_programs(NvmeCsd *csd, uint8_t **log)
{
    uint32_t nr = csd->params.max_programs + 1;
    size_t size = sizeof(struct nvme_csd_log_programs_hdr) +
                  nr * sizeof(struct nvme_csd_log_program);
    struct nvme_csd_log_programs_hdr *hdr = g_malloc0(size);
    struct nvme_csd_log_program *entry = (void *)(hdr + 1);
    uint32_t i;

    hdr->nr = cpu_to_le32(nr);
    for (i = 0; i < nr; i++) {
        const CsdProgram *prog = csd->programs[i];

        if (!prog || !prog->loaded) {
            continue;
        }
        entry[i].flags = NVME_CSD_PEOCC_DOWNLOADED | prog->pit << 3 |
                         (prog->active ? NVME_CSD_PEOCC_ACTIVE : 0);
        entry[i].ptype = prog->ptype;
        entry[i].pid = cpu_to_le64(prog->pid);
    }
    *log = (void *)hdr;
    return size;
}

static size_t csd_log_ptypes(NvmeCsd *csd, uint8_t **log)
{
    size_t size = sizeof(struct nvme_csd_log_ptypes_hdr) +
                  sizeof(struct nvme_csd_log_ptype);
    struct nvme_csd_log_ptypes_hdr *hdr = g_malloc0(size);
    struct nvme_csd_log_ptype *type = (void *)(hdr + 1);

    hdr->nr = cpu_to_le32(1);
    type->ptype = NVME_CSD_PTYPE_EBPF;
    type->version = NVME_CSD_EBPF_ABI;
    *log = (void *)hdr;
    return size;
}

static size_t csd_log_range_sets(NvmeCsd *csd, uint8_t **log)
{
    size_t size = sizeof(struct nvme_csd_log_range_sets_hdr);
    struct nvme_csd_log_range_sets_hdr *hdr;
    uint32_t i, j;
    uint8_t *p;

    for (i = 0; i < csd->params.max_range_sets; i++) {
        if (csd->range_sets[i]) {
            size += sizeof(struct nvme_csd_log_range_set) +
                    csd->range_sets[i]->nr * sizeof(struct nvme_csd_range);
        }
    }

    *log = g_malloc0(size);
    hdr = (void *)*log;
    hdr->nr = cpu_to_le32(csd->nr_range_sets);
    p = (void *)(hdr + 1);
    for (i = 0; i < csd->params.max_range_sets; i++) {
        const CsdRangeSet *set = csd->range_sets[i];
        struct nvme_csd_log_range_set *entry = (void *)p;
        struct nvme_csd_range *range = (void *)(entry + 1);

        if (!set) {
            continue;
        }
        entry->rsid = cpu_to_le16(set->rsid);
        entry->nr_ranges = cpu_to_le16(set->nr);
        for (j = 0; j < set->nr; j++) {
            range[j].nsid = cpu_to_le32(nvme_nsid(&csd->slm_ns));
            range[j].len = cpu_to_le32(set->range[j].len);
            range[j].off = cpu_to_le64(set->range[j].off);
        }
        p = (void *)(range + set->nr);
    }
    return size;
}

static size_t csd_log_host_addressable(NvmeCsd *csd, uint8_t **log)
{
    size_t size = sizeof(struct nvme_csd_log_host_hdr) +
                  sizeof(struct nvme_csd_log_host_entry);
    struct nvme_csd_log_host_hdr *hdr = g_malloc0(size);
    struct nvme_csd_log_host_entry *entry = (void *)(hdr + 1);

    if (csd->params.slm_window) {
        hdr->nr = cpu_to_le16(1);
        entry->nsid = cpu_to_le32(nvme_nsid(&csd->slm_ns));
        entry->type = 1;
        /* Where the window begins in the SLM is in log D0h. */
        entry->off = 0;
    }
    *log = (void *)hdr;
    return hdr->nr ? size : sizeof(*hdr);
}

void csd_fill_info(NvmeCsd *csd, struct nvme_csd_log_info *info)
{
    const CsdParams *params = &csd->params;

    info->layout = cpu_to_le16(NVME_CSD_LAYOUT);
    info->ebpf_abi = cpu_to_le16(NVME_CSD_EBPF_ABI);
    info->size = cpu_to_le32(sizeof(*info));
    info->slm_nsid = cpu_to_le32(nvme_nsid(&csd->slm_ns));
    info->cp_nsid = cpu_to_le32(nvme_nsid(&csd->cp_ns));
    info->generation = cpu_to_le64(csd->generation);
    info->slm_size = cpu_to_le64(params->slm_size);
    info->window_off = cpu_to_le64(params->slm_size - params->slm_window);
    info->window_size = cpu_to_le64(params->slm_window);
    info->max_prog_bytes = cpu_to_le64(params->max_program_size);
    info->max_total_bytes = cpu_to_le64(params->max_program_total);
    info->max_globals = cpu_to_le64(params->max_globals);
    info->max_programs = cpu_to_le32(params->max_programs);
    info->max_active = cpu_to_le32(params->max_active);
    info->max_ranges = cpu_to_le32(params->max_ranges);
    info->max_range_sets = cpu_to_le32(params->max_range_sets);
    info->max_insns = cpu_to_le32(BPFVM_MAX_INSNS);
    info->engines = cpu_to_le32(params->engines);
    info->max_queued = cpu_to_le32(params->max_queued);
    info->copy_granularity = cpu_to_le32(CSD_COPY_CHUNK);
    info->deadline_ns = cpu_to_le64(params->deadline_ms * (uint64_t)SCALE_MS);
    info->fuel = cpu_to_le64(params->fuel);
    info->max_copy = cpu_to_le64(params->max_copy);
    info->features = cpu_to_le32((params->timing ? NVME_CSD_INFO_TIMING : 0) |
                                 (params->jit ? NVME_CSD_INFO_JIT : 0));
}

static size_t csd_log_info(NvmeCsd *csd, uint8_t **log)
{
    struct nvme_csd_log_info *info = g_new0(struct nvme_csd_log_info, 1);

    csd_fill_info(csd, info);
    *log = (void *)info;
    return sizeof(*info);
}

static size_t csd_log_message(NvmeCsd *csd, uint16_t pind, uint8_t **log)
{
    struct nvme_csd_log_message *message;

    if (pind > csd->params.max_programs) {
        return 0;
    }
    message = g_new0(struct nvme_csd_log_message, 1);
    if (csd->message[pind]) {
        *message = *csd->message[pind];
    }
    *log = (void *)message;
    return sizeof(*message);
}

static size_t csd_log_counters(NvmeCsd *csd, uint8_t **log)
{
    struct nvme_csd_log_counters *copy =
        g_memdup2(&csd->counters, sizeof(csd->counters));
    uint64_t *word = (void *)copy;
    unsigned i;

    copy->engine_busy_ns = 0;
    for (i = 0; i < csd->params.engines; i++) {
        copy->engine_busy_ns += csd->engines[i].busy_ns;
    }
    for (i = 0; i < sizeof(*copy) / sizeof(*word); i++) {
        word[i] = cpu_to_le64(word[i]);
    }
    *log = (void *)copy;
    return sizeof(*copy);
}

static size_t csd_log_identify(NvmeCsd *csd, uint8_t **log)
{
    g_autofree struct nvme_csd_id_ns_cp *id = g_new0(struct nvme_csd_id_ns_cp, 1);
    struct nvme_csd_log_identify *page = g_new0(struct nvme_csd_log_identify, 1);

    csd_fill_id_ns(csd, id);
    page->slm_nsid = cpu_to_le32(nvme_nsid(&csd->slm_ns));
    page->cp_nsid = cpu_to_le32(nvme_nsid(&csd->cp_ns));
    page->slm_csi = NVME_CSI_SLM;
    page->cp_csi = NVME_CSI_CP;
    page->ocfs = csd->parent_obj.id_ctrl.ocfs;
    memcpy(page->cp, id, sizeof(page->cp));
    *log = (void *)page;
    return sizeof(*page);
}

static size_t csd_log_page(NvmeCsd *csd, NvmeRequest *req, uint8_t lid,
                           uint8_t **log)
{
    bool only_heads = csd_dw(req, 10) & (1 << 8);

    switch (lid) {
    case NVME_CSD_LOG_REACH_GROUPS:
        return csd_reach_groups(csd, only_heads, log);
    case NVME_CSD_LOG_REACH_ASSOC:
        return csd_reach_assocs(csd, only_heads, log);
    case NVME_CSD_LOG_PROGRAMS:
        return csd_log_programs(csd, log);
    case NVME_CSD_LOG_PTYPES:
        return csd_log_ptypes(csd, log);
    case NVME_CSD_LOG_RANGE_SETS:
        return csd_log_range_sets(csd, log);
    case NVME_CSD_LOG_HOST_ADDRESSABLE:
        return csd_log_host_addressable(csd, log);
    case NVME_CSD_LOG_INFO:
        return csd_log_info(csd, log);
    case NVME_CSD_LOG_MESSAGE:
        return csd_log_message(csd, csd_dw(req, 11) >> 16, log);
    case NVME_CSD_LOG_COUNTERS:
        return csd_log_counters(csd, log);
    case NVME_CSD_LOG_IDENTIFY:
        return csd_log_identify(csd, log);
    default:
        return 0;
    }
}

/* What is beyond the end of a page reads as zeros, but an offset there is refused. */
uint16_t nvme_csd_get_log(NvmeCtrl *n, NvmeRequest *req, uint8_t lid,
                          uint32_t len, uint64_t off)
{
    g_autofree uint8_t *log = NULL;
    g_autofree uint8_t *answer = NULL;
    size_t size;

    size = n->csd ? csd_log_page(n->csd, req, lid, &log) : 0;
    trace_nvme_csd_get_log(nvme_cid(req), lid, len, off, size);
    if (size) {
        csd_lie_log(n->csd, lid, &log, &size);
    }
    if (!size || off >= size) {
        return NVME_INVALID_FIELD | NVME_DNR;
    }
    answer = g_malloc0(len);
    memcpy(answer, log + off, MIN(size - off, len));
    if (nvme_csd_owns_event(n, lid) && !(csd_dw(req, 10) & CSD_LOG_RAE)) {
        nvme_csd_clear_notices(n, lid);
    }
    return nvme_csd_to_host(n, answer, len, req);
}
