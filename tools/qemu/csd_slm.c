/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The SLM namespace: Memory Read, Write and Fill. */
#include "csd.h"
#include "trace.h"

#define CSD_SLM_GRANULARITY 4

bool csd_slm_range_ok(NvmeCsd *csd, uint64_t off, uint64_t len)
{
    return len && off % CSD_SLM_GRANULARITY == 0 &&
           len % CSD_SLM_GRANULARITY == 0 && off <= csd->params.slm_size &&
           len <= csd->params.slm_size - off;
}

/* A Fill can be as long as the SLM, and goes in pieces as copies do. */
typedef struct CsdFill {
    BlockAIOCB common;
    NvmeCsd *csd;
    uint64_t off;
    uint64_t left;
    int ret;
} CsdFill;

static void csd_fill_cancel(BlockAIOCB *common)
{
    container_of(common, CsdFill, common)->ret = -ECANCELED;
}

static const AIOCBInfo csd_fill_info_aio = {
    .aiocb_size = sizeof(CsdFill),
    .cancel_async = csd_fill_cancel,
};

static void csd_fill_step(void *opaque)
{
    CsdFill *fill = opaque;
    uint64_t len = MIN(fill->left, CSD_COPY_CHUNK);

    if (fill->csd->quiescing) {
        fill->ret = -ECANCELED;
    }
    if (!fill->ret) {
        memset(fill->csd->slm + fill->off, 0, len);
        fill->off += len;
        fill->left -= len;
        if (fill->left) {
            aio_bh_schedule_oneshot(qemu_get_aio_context(), csd_fill_step,
                                    fill);
            return;
        }
    }
    fill->common.cb(fill->common.opaque, fill->ret);
    qemu_aio_unref(fill);
}

static uint16_t csd_slm_fill(NvmeCsd *csd, NvmeRequest *req, uint64_t off,
                             uint64_t len)
{
    CsdFill *fill = qemu_aio_get(&csd_fill_info_aio, NULL, nvme_csd_aio_cb,
                                 req);

    fill->csd = csd;
    fill->off = off;
    fill->left = len;
    fill->ret = 0;
    req->aiocb = &fill->common;
    csd_fill_step(fill);
    return NVME_NO_COMPLETE;
}

static uint16_t csd_slm_transfer(NvmeCsd *csd, NvmeRequest *req, uint64_t off,
                                 uint32_t len, bool to_host)
{
    uint16_t status = nvme_csd_check_mdts(&csd->parent_obj, len);

    if (status) {
        return csd_refuse(csd, req, status, 0, "%u bytes are more than one "
                          "command may transfer (MDTS)", len);
    }
    if (to_host) {
        status = csd_to_host(csd, req, csd->slm + off, len);
        csd->counters.slm_to_host += status ? 0 : len;
    } else {
        status = csd_from_host(csd, req, csd->slm + off, len);
        csd->counters.host_to_slm += status ? 0 : len;
    }
    if (!status && csd->timing.on) {
        csd_timing_set_due(req, csd_timing_link(csd, len, to_host,
                                                csd_timing_start(csd)));
    }
    return status;
}

uint16_t csd_slm_cmd(NvmeCsd *csd, NvmeRequest *req, CsdCommand command)
{
    uint64_t off = csd_qw(req, 10);
    uint32_t len = csd_dw(req, 12);

    if (csd_dw(req, 2) || csd_dw(req, 3) || csd_dw(req, 13) ||
        csd_dw(req, 14) || csd_dw(req, 15)) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "CDW2, 3 and 13 to "
                          "15 are reserved in this command");
    }
    if (!csd_slm_range_ok(csd, off, len)) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "%u bytes at %"
                          PRIu64 " are no range of the SLM: its size is %"
                          PRIu64 ", and both are multiples of %d", len, off,
                          csd->params.slm_size, CSD_SLM_GRANULARITY);
    }
    if (command == CSD_SLM_FILL) {
        return csd_slm_fill(csd, req, off, len);
    }
    return csd_slm_transfer(csd, req, off, len, command == CSD_SLM_READ);
}
