/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What hw/nvme asks of a computational drive. Every one of these does nothing
 * for a controller of another type, whose NvmeCtrl.csd is NULL.
 */
#ifndef HW_NVME_CSD_HOOKS_H
#define HW_NVME_CSD_HOOKS_H

#include "../nvme.h"

/* The two command sets, beside NVME_CSI_NVM and NVME_CSI_ZONED. */
#define NVME_CSI_SLM    0x3
#define NVME_CSI_CP     0x4

/* Whether @csi is one of the two command sets, and enabled here. */
bool nvme_csd_has_csi(NvmeCtrl *n, uint8_t csi);
/* A drive's memory and programs are attached to its own controller alone. */
static inline bool nvme_csd_is_foreign(NvmeCtrl *n, NvmeNamespace *ns)
{
    return (ns->csi == NVME_CSI_SLM || ns->csi == NVME_CSI_CP) && ns->ctrl != n;
}
/* Commands of the two command sets. */
uint16_t nvme_csd_io_cmd(NvmeCtrl *n, NvmeRequest *req);
uint16_t nvme_csd_admin_cmd(NvmeCtrl *n, NvmeRequest *req);
/* The Copy command with byte sources (format 4h), from SLM to LBAs. */
bool nvme_csd_takes_copy(NvmeCtrl *n, NvmeRequest *req);
uint16_t nvme_csd_copy_to_media(NvmeCtrl *n, NvmeRequest *req);

/* Identify with CNS 05h, for a namespace of the two command sets. */
uint16_t nvme_csd_identify_ns(NvmeCtrl *n, NvmeRequest *req, uint8_t csi);
/* What Identify with CNS 08h says of a namespace of this controller. */
void nvme_csd_fill_ns_ind(NvmeCtrl *n, NvmeNamespace *ns);
/* Log pages that hw/nvme does not know. */
uint16_t nvme_csd_get_log(NvmeCtrl *n, NvmeRequest *req, uint8_t lid,
                          uint32_t len, uint64_t off);
const uint32_t *nvme_csd_effects(NvmeCtrl *n, uint8_t csi);
void nvme_csd_reachability_changed(NvmeCtrl *n);
/* An event that reading the log @lid clears, and reading another does not. */
bool nvme_csd_owns_event(NvmeCtrl *n, uint8_t lid);

/*
 * Time. With the timing model on, queues are looked at and completions are
 * posted at moments of the virtual clock: nvme_csd_kick() and nvme_csd_retry()
 * return true if they take care of that, nvme_csd_end() if it will complete the
 * request later.
 */
bool nvme_csd_kick(NvmeCtrl *n, uint16_t qid, bool is_cq);
bool nvme_csd_retry(NvmeSQueue *sq);
void nvme_csd_begin(NvmeCtrl *n, NvmeRequest *req);
bool nvme_csd_end(NvmeRequest *req);

/* Before requests of a queue, or all, are cancelled; and after a reset. */
void nvme_csd_cancel_sq(NvmeSQueue *sq);
void nvme_csd_quiesce(NvmeCtrl *n);
bool nvme_csd_quiescing(NvmeCtrl *n);
void nvme_csd_reset(NvmeCtrl *n, NvmeResetType rst);

/* The registers of a CMB that is a window of SLM: true if it is one. */
bool nvme_csd_cmb_regs(NvmeCtrl *n);

static inline void nvme_kick_sq(NvmeSQueue *sq)
{
    if (!sq->ctrl->csd || !nvme_csd_kick(sq->ctrl, sq->sqid, false)) {
        qemu_bh_schedule(sq->bh);
    }
}

/* The queue's next command has to wait for another one. */
static inline void nvme_retry_sq(NvmeSQueue *sq)
{
    if (!sq->ctrl->csd || !nvme_csd_retry(sq)) {
        qemu_bh_schedule(sq->bh);
    }
}

static inline void nvme_kick_cq(NvmeCQueue *cq)
{
    if (!cq->ctrl->csd || !nvme_csd_kick(cq->ctrl, cq->cqid, true)) {
        qemu_bh_schedule(cq->bh);
    }
}

/* A namespace that has a block backend, which those of SLM and programs lack. */
static inline NvmeNamespace *nvme_media_ns(NvmeCtrl *n, uint32_t nsid)
{
    NvmeNamespace *ns = nvme_ns(n, nsid);

    return ns && ns->blkconf.blk ? ns : NULL;
}

#endif /* HW_NVME_CSD_HOOKS_H */
