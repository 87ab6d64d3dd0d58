/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What Identify and the reachability logs say. */
#include "csd.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "trace.h"

QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_id_ns_cp) != NVME_IDENTIFY_DATA_SIZE);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_log_reach_hdr) != 16);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_reach_group) != 32);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_reach_assoc) != 32);

/* Asynchronous Event Configuration (feature 0Bh), and the notice that it enables. */
#define CSD_AEC_REACH_GROUPS    (1 << 18)
#define CSD_NOTICE_REACH_GROUPS 0x6

/* All namespaces that reach each other are in the first, all others in the second. */
#define CSD_GROUP_REACHABLE     1
#define CSD_GROUP_UNREACHABLE   2

/* Where CNS 08h has the reachability group of a namespace. */
#define CSD_IND_RGRPID          20

static const uint32_t csd_effects_slm[256] = {
    [NVME_CMD_FLUSH] = NVME_CMD_EFF_CSUPP,
    [NVME_CSD_SLM_COPY] = NVME_CMD_EFF_CSUPP,
    [NVME_CSD_SLM_READ] = NVME_CMD_EFF_CSUPP,
    [NVME_CSD_SLM_FILL] = NVME_CMD_EFF_CSUPP,
    [NVME_CSD_SLM_WRITE] = NVME_CMD_EFF_CSUPP,
};

static const uint32_t csd_effects_cp[256] = {
    [NVME_CMD_FLUSH] = NVME_CMD_EFF_CSUPP,
    [NVME_CSD_CP_EXECUTE] = NVME_CMD_EFF_CSUPP,
    [NVME_CSD_CP_EXECUTE_DLEN] = NVME_CMD_EFF_CSUPP,
    [NVME_CSD_CP_GLOBALS_READ] = NVME_CMD_EFF_CSUPP,
    [NVME_CSD_CP_GLOBALS_WRITE] = NVME_CMD_EFF_CSUPP,
};

bool nvme_csd_has_csi(NvmeCtrl *n, uint8_t csi)
{
    return n->csd && (csi == NVME_CSI_SLM || csi == NVME_CSI_CP) &&
           NVME_CC_CSS(ldl_le_p(&n->bar.cc)) == NVME_CC_CSS_ALL;
}

const uint32_t *nvme_csd_effects(NvmeCtrl *n, uint8_t csi)
{
    if (!nvme_csd_has_csi(n, csi)) {
        return NULL;
    }
    return csi == NVME_CSI_SLM ? csd_effects_slm : csd_effects_cp;
}

void csd_fill_id_ns(NvmeCsd *csd, struct nvme_csd_id_ns_cp *id)
{
    const CsdParams *params = &csd->params;

    id->max_active = cpu_to_le16(params->max_active);
    id->max_range_sets = cpu_to_le16(params->max_range_sets);
    id->range_granularity = cpu_to_le16(2);
    id->max_ranges = params->max_ranges;
    id->max_prog_mib = cpu_to_le64(DIV_ROUND_UP(params->max_program_total, MiB));
    id->load_granularity = 2;
}

uint16_t nvme_csd_identify_ns(NvmeCtrl *n, NvmeRequest *req, uint8_t csi)
{
    g_autofree struct nvme_csd_id_ns_cp *id = g_new0(struct nvme_csd_id_ns_cp, 1);

    trace_nvme_csd_identify_ns(nvme_cid(req), csi);

    if (csi == NVME_CSI_CP) {
        csd_fill_id_ns(csd_of(n), id);
    }
    return nvme_csd_to_host(n, id, sizeof(*id), req);
}

void nvme_csd_fill_ns_ind(NvmeCtrl *n, NvmeNamespace *ns)
{
    uint8_t *ind = (uint8_t *)&ns->id_ns_ind;

    if (n->csd) {
        ns->id_ns_ind.nstat |= NVME_ID_NS_IND_NSTAT_NRDY;
        stl_le_p(ind + CSD_IND_RGRPID, csd_reachable(n->csd, nvme_nsid(ns)) ?
                 CSD_GROUP_REACHABLE : CSD_GROUP_UNREACHABLE);
    }
}

/*
 * Reachability
 */

static bool csd_listed(const char *list, uint32_t nsid)
{
    g_auto(GStrv) words = g_strsplit(list ? list : "", ":", -1);
    unsigned i;

    for (i = 0; words[i]; i++) {
        unsigned value;

        if (*words[i] && !qemu_strtoui(words[i], NULL, 10, &value) &&
            value == nsid) {
            return true;
        }
    }
    return false;
}

bool csd_parse_unreachable(NvmeCsd *csd, Error **errp)
{
    const char *list = csd->params.unreachable;
    g_auto(GStrv) words = g_strsplit(list ? list : "", ":", -1);
    unsigned i;

    for (i = 0; words[i]; i++) {
        unsigned value;

        if (qemu_strtoui(words[i], NULL, 10, &value) || !value ||
            value > NVME_MAX_NAMESPACES) {
            error_setg(errp, "unreachable=%s: '%s' is no namespace identifier; "
                       "give numbers from 1 to %d, with ':' between them", list,
                       words[i], NVME_MAX_NAMESPACES);
            return false;
        }
    }
    return true;
}

/* Whether the SLM and programs can get at namespace @nsid. */
bool csd_reachable(NvmeCsd *csd, uint32_t nsid)
{
    return !csd_listed(csd->params.unreachable, nsid);
}

static uint32_t csd_group_nsids(NvmeCsd *csd, bool reachable, uint32_t *nsids)
{
    uint32_t nsid, nr = 0;

    for (nsid = 1; nsid <= NVME_MAX_NAMESPACES; nsid++) {
        if (nvme_ns(&csd->parent_obj, nsid) &&
            csd_reachable(csd, nsid) == reachable) {
            nsids[nr++] = cpu_to_le32(nsid);
        }
    }
    return nr;
}

size_t csd_reach_groups(NvmeCsd *csd, bool only_groups, uint8_t **log)
{
    size_t most = sizeof(struct nvme_csd_log_reach_hdr) +
                  2 * sizeof(struct nvme_csd_reach_group) +
                  NVME_MAX_NAMESPACES * sizeof(uint32_t);
    struct nvme_csd_log_reach_hdr *hdr = g_malloc0(most);
    uint8_t *p = (void *)(hdr + 1);
    unsigned id, nr = 0;

    for (id = CSD_GROUP_REACHABLE; id <= CSD_GROUP_UNREACHABLE; id++) {
        struct nvme_csd_reach_group *group = (void *)p;
        uint32_t nsids[NVME_MAX_NAMESPACES];
        uint32_t n = csd_group_nsids(csd, id == CSD_GROUP_REACHABLE, nsids);

        if (!n) {
            continue;
        }
        nr++;
        group->id = cpu_to_le32(id);
        group->nr_nsids = cpu_to_le32(n);
        group->change_count = cpu_to_le64(csd->group_changes);
        p = (void *)(group + 1);
        if (!only_groups) {
            memcpy(p, nsids, n * sizeof(nsids[0]));
            p += n * sizeof(nsids[0]);
        }
    }
    hdr->nr = cpu_to_le16(nr);
    hdr->change_count = cpu_to_le64(csd->reach_changes);
    *log = (void *)hdr;
    return p - (uint8_t *)hdr;
}

/* Of one group with itself: the members of the other reach only themselves. */
size_t csd_reach_assocs(NvmeCsd *csd, bool only_assocs, uint8_t **log)
{
    size_t size = sizeof(struct nvme_csd_log_reach_hdr) +
                  sizeof(struct nvme_csd_reach_assoc) +
                  (only_assocs ? 0 : sizeof(uint32_t));
    struct nvme_csd_log_reach_hdr *hdr = g_malloc0(size);
    struct nvme_csd_reach_assoc *assoc = (void *)(hdr + 1);

    hdr->nr = cpu_to_le16(1);
    assoc->id = cpu_to_le32(1);
    assoc->nr_groups = cpu_to_le32(1);
    assoc->change_count = cpu_to_le64(1);
    assoc->rac = csd->params.fast_copy ? NVME_CSD_RAC_FAST_COPY :
                                         NVME_CSD_RAC_NO_FAST_COPY;
    if (!only_assocs) {
        stl_le_p(assoc + 1, CSD_GROUP_REACHABLE);
    }
    *log = (void *)hdr;
    return size;
}

bool nvme_csd_owns_event(NvmeCtrl *n, uint8_t lid)
{
    return n->csd && lid == NVME_CSD_LOG_REACH_GROUPS;
}

/* Namespaces were attached or detached: groups changed, associations did not. */
void nvme_csd_reachability_changed(NvmeCtrl *n)
{
    NvmeCsd *csd = n->csd;

    if (!csd) {
        return;
    }
    csd->reach_changes++;
    csd->group_changes++;
    if (n->features.async_config & CSD_AEC_REACH_GROUPS) {
        nvme_csd_notice(n, CSD_NOTICE_REACH_GROUPS, NVME_CSD_LOG_REACH_GROUPS);
    }
}
