/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device: -device nvme-csd,drive=ID,serial=TEXT[,…]. See Documentation/drive.rst
 * for its properties.
 */
#include "csd.h"
#include "exec/ramblock.h"
#include "hw/pci/msix.h"
#include "hw/qdev-properties.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/cutils.h"
#include "trace.h"

#define CSD_CMB_BIR 2
#define CSD_MIN_WINDOW (2 * MiB)

/* Asynchronous events that are supported: of reachability. */
#define CSD_OAES_REACHABILITY (1 << 17 | 1 << 18)
/* Identify Controller, byte 134: reachability reporting is supported. */
#define CSD_ID_CTRL_REACHABILITY 134

static PCIDeviceClass *csd_parent_class(void)
{
    return PCI_DEVICE_CLASS(object_class_by_name(TYPE_NVME));
}

/*
 * Properties
 */

static bool csd_check_range(const char *name, uint64_t value, uint64_t min,
                            uint64_t max, Error **errp)
{
    if (value >= min && value <= max) {
        return true;
    }
    error_setg(errp, "%s=%" PRIu64 " is not from %" PRIu64 " to %" PRIu64,
               name, value, min, max);
    return false;
}

static bool csd_check_memory(const CsdParams *params, Error **errp)
{
    if (!csd_check_range("slm-size", params->slm_size, 1 * MiB, 64 * GiB,
                         errp)) {
        return false;
    }
    if (params->slm_size % (4 * KiB)) {
        error_setg(errp, "slm-size=%" PRIu64 " is not a multiple of 4 KiB",
                   params->slm_size);
        return false;
    }
    if (params->slm_window && (!is_power_of_2(params->slm_window) ||
                               params->slm_window < CSD_MIN_WINDOW ||
                               params->slm_window > params->slm_size)) {
        error_setg(errp, "slm-window=%" PRIu64 " is not a power of two from 2 "
                   "MiB to slm-size, nor 0 for none", params->slm_window);
        return false;
    }
    return csd_check_range("max-copy", params->max_copy, 4 * KiB, 1 * GiB, errp);
}

static bool csd_check_programs(const CsdParams *params, Error **errp)
{
    return csd_check_range("max-programs", params->max_programs, 1, 65535,
                           errp) &&
           csd_check_range("max-active", params->max_active, 1,
                           params->max_programs, errp) &&
           csd_check_range("max-program-size", params->max_program_size,
                           4 * KiB, 64 * MiB, errp) &&
           csd_check_range("max-program-total", params->max_program_total,
                           params->max_program_size, 4 * GiB, errp) &&
           csd_check_range("max-globals", params->max_globals, 0, 1 * GiB,
                           errp) &&
           csd_check_range("max-ranges", params->max_ranges, 1, 255, errp) &&
           csd_check_range("max-range-sets", params->max_range_sets, 1, 65535,
                           errp) &&
           csd_check_range("max-queued", params->max_queued, 1, 65536, errp) &&
           csd_check_range("engines", params->engines, 1, 256, errp) &&
           csd_check_range("deadline-ms", params->deadline_ms, 0, 3600 * 1000,
                           errp);
}

static bool csd_check_params(NvmeCsd *csd, Error **errp)
{
    NvmeParams *params = &csd->parent_obj.params;

    if (HOST_BIG_ENDIAN) {
        error_setg(errp, "nvme-csd: the engine needs a little-endian host");
        return false;
    }
    if (params->cmb_size_mb) {
        error_setg(errp, "cmb_size_mb does not go with nvme-csd: the CMB is a "
                   "part of the SLM; say slm-window");
        return false;
    }
    if (params->sriov_max_vfs) {
        error_setg(errp, "sriov_max_vfs does not go with nvme-csd: the SLM and "
                   "the programs belong to one controller");
        return false;
    }
    if (csd->params.slm_window && params->legacy_cmb) {
        error_setg(errp, "legacy-cmb does not go with slm-window");
        return false;
    }
    return csd_check_memory(&csd->params, errp) &&
           csd_check_programs(&csd->params, errp) &&
           csd_parse_unreachable(csd, errp);
}

static const Property csd_props[] = {
    DEFINE_PROP_SIZE("slm-size", NvmeCsd, params.slm_size, 64 * MiB),
    DEFINE_PROP_SIZE("slm-window", NvmeCsd, params.slm_window, 0),
    DEFINE_PROP_UINT32("max-programs", NvmeCsd, params.max_programs, 16),
    DEFINE_PROP_UINT32("max-active", NvmeCsd, params.max_active, 8),
    DEFINE_PROP_SIZE("max-program-size", NvmeCsd, params.max_program_size,
                     1 * MiB),
    DEFINE_PROP_SIZE("max-program-total", NvmeCsd, params.max_program_total,
                     16 * MiB),
    DEFINE_PROP_SIZE("max-globals", NvmeCsd, params.max_globals, 1 * MiB),
    DEFINE_PROP_UINT32("max-ranges", NvmeCsd, params.max_ranges, 16),
    DEFINE_PROP_UINT32("max-range-sets", NvmeCsd, params.max_range_sets, 64),
    DEFINE_PROP_UINT32("max-queued", NvmeCsd, params.max_queued, 256),
    DEFINE_PROP_UINT32("engines", NvmeCsd, params.engines, 2),
    DEFINE_PROP_UINT32("deadline-ms", NvmeCsd, params.deadline_ms, 100),
    DEFINE_PROP_UINT64("fuel", NvmeCsd, params.fuel, 0),
    DEFINE_PROP_BOOL("jit", NvmeCsd, params.jit, true),
    DEFINE_PROP_SIZE("max-copy", NvmeCsd, params.max_copy, 16 * MiB),
    DEFINE_PROP_BOOL("fast-copy", NvmeCsd, params.fast_copy, true),
    DEFINE_PROP_STRING("unreachable", NvmeCsd, params.unreachable),
    DEFINE_PROP_STRING("lie", NvmeCsd, params.lie),
    DEFINE_PROP_BOOL("timing", NvmeCsd, params.timing, false),
    DEFINE_PROP_STRING("timing-preset", NvmeCsd, params.timing_preset),
    DEFINE_PROP_UINT64("read-latency-ns", NvmeCsd, params.read_latency_ns, 0),
    DEFINE_PROP_UINT64("write-latency-ns", NvmeCsd, params.write_latency_ns, 0),
    DEFINE_PROP_UINT32("channels", NvmeCsd, params.channels, 0),
    DEFINE_PROP_UINT64("channel-bw", NvmeCsd, params.channel_bw, 0),
    DEFINE_PROP_SIZE("stripe", NvmeCsd, params.stripe, 16 * KiB),
    DEFINE_PROP_UINT64("link-bw", NvmeCsd, params.link_bw, 0),
    DEFINE_PROP_UINT64("engine-ips", NvmeCsd, params.engine_ips, 1000000000),
    DEFINE_PROP_UINT64("overhead-ns", NvmeCsd, params.overhead_ns, 0),
};

static void csd_get_fault(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    NvmeCsd *csd = NVME_CSD(obj);
    g_autofree char *spec = g_strdup(csd->params.fault ?: "");

    visit_type_str(v, name, &spec, errp);
}

static void csd_set_fault(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    NvmeCsd *csd = NVME_CSD(obj);
    g_autofree char *spec = NULL;

    if (!visit_type_str(v, name, &spec, errp) ||
        !csd_fault_set(csd, spec, errp)) {
        return;
    }
    g_free(csd->params.fault);
    csd->params.fault = g_steal_pointer(&spec);
}

/*
 * The two namespaces
 */

static bool csd_add_ns(NvmeCsd *csd, NvmeNamespace *ns, uint8_t csi,
                       Error **errp)
{
    NvmeCtrl *n = &csd->parent_obj;
    uint32_t nsid = 2;

    while (nsid <= NVME_MAX_NAMESPACES && n->subsys->namespaces[nsid]) {
        nsid++;
    }
    if (nsid > NVME_MAX_NAMESPACES) {
        error_setg(errp, "nvme-csd: all %d namespace identifiers of the "
                   "subsystem are in use", NVME_MAX_NAMESPACES);
        return false;
    }
    ns->csi = csi;
    ns->params.nsid = nsid;
    ns->subsys = n->subsys;
    /*
     * Private: other controllers of the subsystem and VFs pass it over, and
     * nvme_csd_is_foreign() has it attached to none of them, so that in no table
     * but this controller's is a pointer to it.
     */
    ns->ctrl = n;
    n->subsys->namespaces[nsid] = ns;
    return true;
}

static void csd_remove_ns(NvmeCsd *csd, NvmeNamespace *ns)
{
    NvmeCtrl *n = &csd->parent_obj;

    if (ns->params.nsid) {
        n->subsys->namespaces[ns->params.nsid] = NULL;
        n->namespaces[ns->params.nsid] = NULL;
    }
}

/*
 * The SLM, and its part in a BAR
 */

static bool csd_init_slm(NvmeCsd *csd, Error **errp)
{
    const CsdParams *params = &csd->params;
    NvmeCtrl *n = &csd->parent_obj;
    uint64_t cap = ldq_le_p(&n->bar.cap);

    if (!memory_region_init_ram_nomigrate(&csd->slm_mr, OBJECT(csd),
                                          "nvme-csd-slm", params->slm_size,
                                          errp)) {
        return false;
    }
    csd->slm = memory_region_get_ram_ptr(&csd->slm_mr);
    if (!params->slm_window) {
        return true;
    }

    /*
     * As RAM, so that a peer's DMA goes right into it. The controller's own
     * commands find it as the CMB, by its address.
     */
    memory_region_init_alias(&n->cmb.mem, OBJECT(csd), "nvme-csd-window",
                             &csd->slm_mr,
                             params->slm_size - params->slm_window,
                             params->slm_window);
    n->cmb.buf = csd->slm + params->slm_size - params->slm_window;
    pci_register_bar(PCI_DEVICE(csd), CSD_CMB_BIR,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64 |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, &n->cmb.mem);
    NVME_CAP_SET_CMBS(cap, 1);
    stq_le_p(&n->bar.cap, cap);
    return true;
}

/* Data alone: with queues in it, what a host hands to peers would be less. */
bool nvme_csd_cmb_regs(NvmeCtrl *n)
{
    uint64_t window = n->csd ? n->csd->params.slm_window : 0;
    uint32_t cmbloc = 0, cmbsz = 0;

    if (!n->csd) {
        return false;
    }
    NVME_CMBLOC_SET_CDPCILS(cmbloc, 1);
    NVME_CMBLOC_SET_CDPMLS(cmbloc, 1);
    NVME_CMBLOC_SET_BIR(cmbloc, CSD_CMB_BIR);
    stl_le_p(&n->bar.cmbloc, cmbloc);

    NVME_CMBSZ_SET_RDS(cmbsz, 1);
    NVME_CMBSZ_SET_WDS(cmbsz, 1);
    NVME_CMBSZ_SET_SZU(cmbsz, 2); /* MiB */
    NVME_CMBSZ_SET_SZ(cmbsz, window / MiB);
    stl_le_p(&n->bar.cmbsz, cmbsz);
    return true;
}

/*
 * Resets
 */

void nvme_csd_cancel_sq(NvmeSQueue *sq)
{
    NvmeCsd *csd = sq->ctrl->csd;

    if (csd) {
        csd_timing_cancel_sq(csd, sq);
        csd_copies_cancel_sq(csd, sq);
    }
}

/* Copies end with the chunk under way, so that draining does not wait for more. */
void nvme_csd_quiesce(NvmeCtrl *n)
{
    if (n->csd) {
        n->csd->quiescing = true;
    }
}

/*
 * Nothing is fetched any more. A reset cancels the requests of one queue after the
 * other and runs bottom halves while it waits: one whose requests have been
 * cancelled would begin new ones, which are then freed under an engine's thread.
 */
bool nvme_csd_quiescing(NvmeCtrl *n)
{
    return n->csd && n->csd->quiescing;
}

void nvme_csd_reset(NvmeCtrl *n, NvmeResetType rst)
{
    NvmeCsd *csd = n->csd;

    if (!csd) {
        return;
    }
    assert(!csd->queued);
    trace_nvme_csd_reset(rst, csd->generation);
    csd_programs_forget(csd);
    csd_range_sets_forget(csd);
    csd->generation++;
    csd_lies_turn(csd);
    csd->reach_changes = 0;
    if (rst == NVME_RESET_FUNCTION) {
        /* Nothing of it is left to whoever gets the function next. */
        ram_block_discard_range(csd->slm_mr.ram_block, 0,
                                csd->params.slm_size);
    }
    csd->quiescing = false;
}

/*
 * Life
 */

static void csd_init_ctrl(NvmeCsd *csd)
{
    NvmeCtrl *n = &csd->parent_obj;
    NvmeIdCtrl *id = &n->id_ctrl;
    static const uint8_t commands[] = {
        NVME_CSD_ADMIN_LOAD, NVME_CSD_ADMIN_LOAD_ALIAS,
        NVME_CSD_ADMIN_ACTIVATE, NVME_CSD_ADMIN_ACTIVATE_ALIAS,
        NVME_CSD_ADMIN_RANGE_SET, NVME_CSD_ADMIN_RANGE_SET_ALIAS,
    };
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(commands); i++) {
        n->cse.acs[commands[i]] = NVME_CMD_EFF_CSUPP;
    }
    id->ocfs |= cpu_to_le16(1 << NVME_CSD_COPY_BYTES);
    id->oaes |= cpu_to_le32(CSD_OAES_REACHABILITY);
    ((uint8_t *)id)[CSD_ID_CTRL_REACHABILITY] = 1;
    strpadcpy((char *)id->mn, sizeof(id->mn), "QEMU NVMe CSD", ' ');
}

static void csd_free(NvmeCsd *csd)
{
    uint32_t i;

    csd_timing_exit(csd);
    csd_engines_stop(csd);
    csd_fault_clear(csd);
    csd_lies_exit(csd);
    for (i = 0; i <= csd->params.max_programs; i++) {
        g_free(csd->message[i]);
    }
    g_free(csd->message);
    g_free(csd->programs);
    g_free(csd->range_sets);
}

static void csd_realize(PCIDevice *pci_dev, Error **errp)
{
    ERRP_GUARD();
    NvmeCsd *csd = NVME_CSD(pci_dev);
    NvmeCtrl *n = &csd->parent_obj;

    if (!csd_check_params(csd, errp) || !csd_lies_init(csd, errp)) {
        return;
    }
    if (!csd_timing_init(csd, errp)) {
        csd_lies_exit(csd);
        return;
    }
    csd_parent_class()->realize(pci_dev, errp);
    if (*errp) {
        csd_timing_exit(csd);
        csd_lies_exit(csd);
        return;
    }

    csd->programs = g_new0(CsdProgram *, csd->params.max_programs + 1);
    csd->range_sets = g_new0(CsdRangeSet *, csd->params.max_range_sets);
    csd->message = g_new0(struct nvme_csd_log_message *,
                          csd->params.max_programs + 1);
    csd->generation = 1;
    csd->group_changes = 1;
    csd_engines_start(csd);
    if (!csd_init_slm(csd, errp) ||
        !csd_add_ns(csd, &csd->slm_ns, NVME_CSI_SLM, errp) ||
        !csd_add_ns(csd, &csd->cp_ns, NVME_CSI_CP, errp)) {
        csd_remove_ns(csd, &csd->slm_ns);
        csd_parent_class()->exit(pci_dev);
        csd_free(csd);
        return;
    }
    csd_init_ctrl(csd);
    n->csd = csd;
}

static void csd_exit(PCIDevice *pci_dev)
{
    NvmeCsd *csd = NVME_CSD(pci_dev);
    NvmeCtrl *n = &csd->parent_obj;

    /* Its reset cancels all that is outstanding. */
    csd_parent_class()->exit(pci_dev);
    csd_remove_ns(csd, &csd->slm_ns);
    csd_remove_ns(csd, &csd->cp_ns);
    n->csd = NULL;
    csd_free(csd);
}

static void csd_instance_init(Object *obj)
{
    NvmeCsd *csd = NVME_CSD(obj);

    QTAILQ_INIT(&csd->faults);
    object_property_add(obj, "fault", "str", csd_get_fault, csd_set_fault, NULL,
                        NULL);
}

static void csd_instance_finalize(Object *obj)
{
    NvmeCsd *csd = NVME_CSD(obj);

    csd_fault_clear(csd);
    g_free(csd->params.fault);
}

static void csd_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(oc);

    pc->realize = csd_realize;
    pc->exit = csd_exit;
    dc->desc = "NVM Express computational storage drive";
    device_class_set_props(dc, csd_props);
}

static const TypeInfo csd_info = {
    .name = TYPE_NVME_CSD,
    .parent = TYPE_NVME,
    .instance_size = sizeof(NvmeCsd),
    .instance_init = csd_instance_init,
    .instance_finalize = csd_instance_finalize,
    .class_init = csd_class_init,
};

static void csd_register_types(void)
{
    type_register_static(&csd_info);
}

type_init(csd_register_types)
