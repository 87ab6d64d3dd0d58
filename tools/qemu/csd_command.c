/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which command it is, and who does it. */
#include "csd.h"
#include "trace.h"

static const char *const csd_command_names[CSD_NR_COMMANDS] = {
    [CSD_LOAD] = "load",
    [CSD_ACTIVATE] = "activate",
    [CSD_RANGE_SET] = "range-set",
    [CSD_EXECUTE] = "execute",
    [CSD_SLM_READ] = "slm-read",
    [CSD_SLM_WRITE] = "slm-write",
    [CSD_SLM_FILL] = "slm-fill",
    [CSD_SLM_COPY] = "slm-copy",
    [CSD_NVM_COPY] = "nvm-copy",
    [CSD_GLOBALS] = "globals",
};

const char *csd_command_name(CsdCommand command)
{
    return csd_command_names[command];
}

static uint16_t csd_bad_opcode(NvmeCsd *csd, NvmeRequest *req)
{
    return csd_refuse(csd, req, NVME_INVALID_OPCODE, 0,
                      "opcode %02xh is no command of this namespace's command "
                      "set", req->cmd.opcode);
}

/* Also for what was deferred, with @fault NULL: nothing more is injected. */
uint16_t csd_dispatch(NvmeCsd *csd, NvmeRequest *req, CsdCommand command,
                      const CsdFault *fault)
{
    bool hang = fault && fault->action == CSD_FAULT_HANG;
    bool corrupt = fault && fault->action == CSD_FAULT_CORRUPT;

    switch (command) {
    case CSD_LOAD:
        return csd_load(csd, req, corrupt);
    case CSD_ACTIVATE:
        return csd_activate(csd, req);
    case CSD_RANGE_SET:
        return csd_range_set(csd, req);
    case CSD_EXECUTE:
        return csd_execute(csd, req,
                           csd_dw(req, req->cmd.opcode == NVME_CSD_CP_EXECUTE ?
                                  4 : 14), hang);
    case CSD_SLM_READ:
    case CSD_SLM_WRITE:
    case CSD_SLM_FILL:
        return csd_slm_cmd(csd, req, command);
    case CSD_SLM_COPY:
    case CSD_NVM_COPY:
        return csd_memory_copy(csd, req);
    case CSD_GLOBALS:
        return csd_globals(csd, req);
    default:
        g_assert_not_reached();
    }
}

/* A command, and the fault that somebody may have asked for in its place. */
static uint16_t csd_command(NvmeCsd *csd, NvmeRequest *req, CsdCommand command)
{
    CsdFault fault;

    trace_nvme_csd_command(nvme_cid(req), csd_command_name(command),
                           csd_dw(req, 2), csd_dw(req, 3), csd_dw(req, 10),
                           csd_dw(req, 11), csd_dw(req, 12));

    if (!csd_fault_take(csd, command, &fault)) {
        return csd_dispatch(csd, req, command, NULL);
    }
    switch (fault.action) {
    case CSD_FAULT_FAIL:
        return csd_refuse(csd, req, fault.value, 0, "a fault on demand");
    case CSD_FAULT_HANG:
        if (command == CSD_EXECUTE) {
            break;
        }
        /* fallthrough */
    case CSD_FAULT_DELAY:
        return csd_fault_defer(csd, req, command, &fault);
    case CSD_FAULT_CORRUPT:
        break;
    }
    return csd_dispatch(csd, req, command, &fault);
}

static uint16_t csd_slm_io(NvmeCsd *csd, NvmeRequest *req)
{
    switch (req->cmd.opcode) {
    case NVME_CSD_SLM_COPY:
        return csd_command(csd, req, CSD_SLM_COPY);
    case NVME_CSD_SLM_READ:
        return csd_command(csd, req, CSD_SLM_READ);
    case NVME_CSD_SLM_WRITE:
        return csd_command(csd, req, CSD_SLM_WRITE);
    case NVME_CSD_SLM_FILL:
        return csd_command(csd, req, CSD_SLM_FILL);
    default:
        return csd_bad_opcode(csd, req);
    }
}

static uint16_t csd_cp_io(NvmeCsd *csd, NvmeRequest *req)
{
    switch (req->cmd.opcode) {
    case NVME_CSD_CP_EXECUTE:
    case NVME_CSD_CP_EXECUTE_DLEN:
        return csd_command(csd, req, CSD_EXECUTE);
    case NVME_CSD_CP_GLOBALS_READ:
    case NVME_CSD_CP_GLOBALS_WRITE:
        return csd_command(csd, req, CSD_GLOBALS);
    default:
        return csd_bad_opcode(csd, req);
    }
}

uint16_t nvme_csd_io_cmd(NvmeCtrl *n, NvmeRequest *req)
{
    NvmeCsd *csd = csd_of(n);

    /*
     * Namespaces stay attached over a reset, so that a host that then enables
     * the NVM command set alone could reach them, and its opcodes mean other
     * things here.
     */
    if (!nvme_csd_has_csi(n, NVME_CSI_CP)) {
        return NVME_INVALID_NSID | NVME_DNR;
    }
    return req->ns->csi == NVME_CSI_SLM ? csd_slm_io(csd, req) :
                                          csd_cp_io(csd, req);
}

static bool csd_admin_command(uint8_t opcode, CsdCommand *command)
{
    switch (opcode) {
    case NVME_CSD_ADMIN_LOAD:
    case NVME_CSD_ADMIN_LOAD_ALIAS:
        *command = CSD_LOAD;
        return true;
    case NVME_CSD_ADMIN_ACTIVATE:
    case NVME_CSD_ADMIN_ACTIVATE_ALIAS:
        *command = CSD_ACTIVATE;
        return true;
    case NVME_CSD_ADMIN_RANGE_SET:
    case NVME_CSD_ADMIN_RANGE_SET_ALIAS:
        *command = CSD_RANGE_SET;
        return true;
    default:
        return false;
    }
}

/* Admin commands whose meaning depends on the command set of their namespace. */
uint16_t nvme_csd_admin_cmd(NvmeCtrl *n, NvmeRequest *req)
{
    NvmeCsd *csd = csd_of(n);
    NvmeNamespace *ns = nvme_ns(n, le32_to_cpu(req->cmd.nsid));
    CsdCommand command;

    if (!csd_admin_command(req->cmd.opcode, &command)) {
        return csd_bad_opcode(csd, req);
    }
    if (!nvme_csd_has_csi(n, NVME_CSI_CP) || !ns) {
        return csd_refuse(csd, req, NVME_INVALID_NSID, 0,
                          "namespace %u is not attached, or CC.CSS does not "
                          "enable all command sets",
                          le32_to_cpu(req->cmd.nsid));
    }
    if (ns->csi != NVME_CSI_CP) {
        return csd_refuse(csd, req, NVME_INVALID_OPCODE, 0,
                          "namespace %u has command set %u; programs are the "
                          "business of command set %u", nvme_nsid(ns), ns->csi,
                          NVME_CSI_CP);
    }
    req->ns = ns;
    return csd_command(csd, req, command);
}

bool nvme_csd_takes_copy(NvmeCtrl *n, NvmeRequest *req)
{
    NvmeCopyCmd *copy = (NvmeCopyCmd *)&req->cmd;

    return n->csd && (copy->control[0] & 0xf) == NVME_CSD_COPY_BYTES;
}

uint16_t nvme_csd_copy_to_media(NvmeCtrl *n, NvmeRequest *req)
{
    NvmeCsd *csd = csd_of(n);

    if (!nvme_csd_has_csi(n, NVME_CSI_CP) ||
        !(n->features.hbs.cdfe & (1 << NVME_CSD_COPY_BYTES))) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0,
                          "copy descriptor format 4h is not enabled (Host "
                          "Behavior Support, CDFE bit 4)");
    }
    return csd_command(csd, req, CSD_NVM_COPY);
}
