/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory range sets: which parts of the SLM an Execute may be given. */
#include "csd.h"
#include "qemu/cutils.h"
#include "qemu/range.h"
#include "trace.h"

QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_range) != 32);

static bool csd_range_overlaps(const CsdRangeSet *set, uint32_t nr)
{
    uint32_t i;

    for (i = 0; i < nr; i++) {
        if (ranges_overlap(set->range[i].off, set->range[i].len,
                           set->range[nr].off, set->range[nr].len)) {
            return true;
        }
    }
    return false;
}

static uint16_t csd_range_parse(NvmeCsd *csd, NvmeRequest *req,
                                const struct nvme_csd_range *desc,
                                CsdRangeSet *set, uint32_t i)
{
    uint64_t off = le64_to_cpu(desc->off);
    uint32_t len = le32_to_cpu(desc->len);

    if (nvme_ns(&csd->parent_obj, le32_to_cpu(desc->nsid)) != &csd->slm_ns) {
        return csd_refuse(csd, req, NVME_CSD_SC_BAD_MEM_NS, 0, "range %u: "
                          "namespace %u is not the SLM of this drive, which is "
                          "%u, or that is not attached", i,
                          le32_to_cpu(desc->nsid), nvme_nsid(&csd->slm_ns));
    }
    if (!buffer_is_zero(desc->rsvd, sizeof(desc->rsvd)) ||
        !csd_slm_range_ok(csd, off, len)) {
        return csd_refuse(csd, req, NVME_CSD_SC_BAD_RANGE_SET, 0, "range %u: %u "
                          "bytes at %" PRIu64 " are no range of the SLM, whose "
                          "size is %" PRIu64 ", or are no multiples of 4, or a "
                          "reserved byte is set", i, len, off,
                          csd->params.slm_size);
    }
    set->range[i].off = off;
    set->range[i].len = len;
    if (csd_range_overlaps(set, i)) {
        return csd_refuse(csd, req, NVME_CSD_SC_RANGES_OVERLAP, 0, "range %u "
                          "overlaps one before it", i);
    }
    return NVME_SUCCESS;
}

/* @nr descriptors into a new set that has no identifier yet. */
uint16_t csd_ranges_parse(NvmeCsd *csd, NvmeRequest *req, const void *descs,
                          uint32_t nr, CsdRangeSet **set)
{
    const struct nvme_csd_range *desc = descs;
    uint16_t status = NVME_SUCCESS;
    CsdRangeSet *new;
    uint32_t i;

    new = g_malloc0(sizeof(*new) + nr * sizeof(new->range[0]));
    new->nr = nr;
    for (i = 0; i < nr && !status; i++) {
        status = csd_range_parse(csd, req, &desc[i], new, i);
    }
    if (status) {
        g_free(new);
        return status;
    }
    *set = new;
    return NVME_SUCCESS;
}

CsdRangeSet *csd_range_set_find(NvmeCsd *csd, uint32_t rsid)
{
    if (!rsid || rsid > csd->params.max_range_sets) {
        return NULL;
    }
    return csd->range_sets[rsid - 1];
}

static uint16_t csd_range_set_create(NvmeCsd *csd, NvmeRequest *req)
{
    uint32_t nr = NVME_CSD_RANGE_SET_NUMR(csd_dw(req, 11));
    g_autofree struct nvme_csd_range *desc = NULL;
    CsdRangeSet *set;
    uint16_t status;
    uint32_t i;

    if (!nr) {
        return csd_refuse(csd, req, NVME_CSD_SC_BAD_RANGE_SET, 0, "a set has "
                          "at least one range");
    }
    if (nr > csd->params.max_ranges) {
        return csd_refuse(csd, req, NVME_CSD_SC_MAX_RANGES, 0, "a set has at "
                          "most %u ranges", csd->params.max_ranges);
    }
    if (csd->nr_range_sets == csd->params.max_range_sets) {
        return csd_refuse(csd, req, NVME_CSD_SC_MAX_RANGE_SETS, 0, "all %u sets "
                          "are in use; delete one", csd->nr_range_sets);
    }

    desc = g_new(struct nvme_csd_range, nr);
    status = csd_from_host(csd, req, desc, nr * sizeof(*desc));
    if (!status) {
        status = csd_ranges_parse(csd, req, desc, nr, &set);
    }
    if (status) {
        return status;
    }

    for (i = 0; csd->range_sets[i]; i++) {
        /* There is a free one, as checked above. */
    }
    set->rsid = i + 1;
    csd->range_sets[i] = set;
    csd->nr_range_sets++;
    req->cqe.result = cpu_to_le32(set->rsid);
    trace_nvme_csd_range_set(nvme_cid(req), set->rsid, nr);
    return NVME_SUCCESS;
}

static void csd_range_set_free(NvmeCsd *csd, CsdRangeSet *set)
{
    csd->range_sets[set->rsid - 1] = NULL;
    csd->nr_range_sets--;
    g_free(set);
}

static uint16_t csd_range_set_delete(NvmeCsd *csd, NvmeRequest *req)
{
    uint32_t rsid = NVME_CSD_RANGE_SET_RSID(csd_dw(req, 10));
    CsdRangeSet *set = csd_range_set_find(csd, rsid);

    if (!set) {
        return csd_refuse(csd, req, NVME_CSD_SC_BAD_RSID, 0, "there is no "
                          "memory range set %u", rsid);
    }
    if (set->users) {
        return csd_refuse(csd, req, NVME_CSD_SC_RANGE_SET_IN_USE, 0, "%u "
                          "Executes use memory range set %u", set->users, rsid);
    }
    csd_range_set_free(csd, set);
    trace_nvme_csd_range_set(nvme_cid(req), rsid, 0);
    return NVME_SUCCESS;
}

uint16_t csd_range_set(NvmeCsd *csd, NvmeRequest *req)
{
    uint32_t dw10 = csd_dw(req, 10);
    uint32_t dw11 = csd_dw(req, 11);
    uint32_t sel = NVME_CSD_RANGE_SET_SEL(dw10);

    if ((dw10 & NVME_CSD_RANGE_SET_RSVD) || (dw11 & ~0xffU) ||
        sel > NVME_CSD_RANGE_SET_DELETE ||
        (sel == NVME_CSD_RANGE_SET_CREATE && NVME_CSD_RANGE_SET_RSID(dw10)) ||
        (sel == NVME_CSD_RANGE_SET_DELETE && dw11)) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "SEL is 0 to create "
                          "or 1 to delete; NUMR goes with the one, RSID with "
                          "the other, and all other bits are zero");
    }
    return sel == NVME_CSD_RANGE_SET_CREATE ? csd_range_set_create(csd, req) :
                                              csd_range_set_delete(csd, req);
}

/* A reset. No Execute is left. */
void csd_range_sets_forget(NvmeCsd *csd)
{
    uint32_t i;

    for (i = 0; i < csd->params.max_range_sets; i++) {
        if (csd->range_sets[i]) {
            csd_range_set_free(csd, csd->range_sets[i]);
        }
    }
}
