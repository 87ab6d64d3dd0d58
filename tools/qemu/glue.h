/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Functions of hw/nvme/ctrl.c for the drive: see glue.c.inc. */
#ifndef HW_NVME_CSD_GLUE_H
#define HW_NVME_CSD_GLUE_H

#include "../nvme.h"

/* @len bytes between @buf and the request's data pointer; return a status. */
uint16_t nvme_csd_from_host(NvmeCtrl *n, void *buf, uint32_t len,
                            NvmeRequest *req);
uint16_t nvme_csd_to_host(NvmeCtrl *n, void *buf, uint32_t len,
                          NvmeRequest *req);
uint16_t nvme_csd_check_mdts(NvmeCtrl *n, size_t len);
void nvme_csd_aio_cb(void *opaque, int ret);
void nvme_csd_complete(NvmeRequest *req);
uint16_t nvme_csd_check_read(NvmeNamespace *ns, uint64_t slba, uint32_t nlb);
uint16_t nvme_csd_check_write(NvmeCtrl *n, NvmeNamespace *ns, uint64_t slba,
                              uint32_t nlb);
void nvme_csd_written(NvmeNamespace *ns, uint64_t slba, uint32_t nlb);
void nvme_csd_notice(NvmeCtrl *n, uint8_t info, uint8_t lid);
void nvme_csd_clear_notices(NvmeCtrl *n, uint8_t lid);

#endif /* HW_NVME_CSD_GLUE_H */
