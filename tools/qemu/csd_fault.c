/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Faults on demand, so that a host can be tested against a drive that fails.
 *
 *	fault=EVENT[@N]:ACTION[=VALUE][;…]
 *
 * EVENT is a command (load, execute, slm-copy, …), N says which of those that
 * come from now on (1, the next, by default; '*': every one), and ACTION what
 * becomes of it:
 *
 *	fail=STATUS	it fails with this status (code type and code)
 *	delay=MS	it begins so much later
 *	hang		it never ends, but can be aborted; an Execute then
 *			occupies its engine
 *	corrupt		of a load: a byte of what was sent is changed
 *
 * The property can be set at run time; setting it forgets what was there.
 */
#include "csd.h"
#include "qapi/error.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "trace.h"

static bool csd_fault_parse_event(CsdFault *fault, const char *text,
                                  Error **errp)
{
    g_auto(GStrv) words = g_strsplit(text, "@", 2);
    CsdCommand command;

    for (command = 0; command < CSD_NR_COMMANDS && words[0]; command++) {
        if (!strcmp(words[0], csd_command_name(command))) {
            break;
        }
    }
    if (command == CSD_NR_COMMANDS || !words[0]) {
        error_setg(errp, "fault: '%s' is no command; there are load, activate, "
                   "range-set, execute, slm-read, slm-write, slm-fill, "
                   "slm-copy, nvm-copy and globals", text);
        return false;
    }
    fault->command = command;
    fault->countdown = 1;
    if (!words[1]) {
        return true;
    }
    if (!strcmp(words[1], "*")) {
        fault->every = true;
    } else if (qemu_strtou64(words[1], NULL, 10, &fault->countdown) ||
               !fault->countdown) {
        error_setg(errp, "fault: '@%s' says not which: a number from 1 on, or "
                   "'*' for every one", words[1]);
        return false;
    }
    return true;
}

static bool csd_fault_parse_action(CsdFault *fault, const char *text,
                                   Error **errp)
{
    g_auto(GStrv) words = g_strsplit(text, "=", 2);
    bool number = words[1] && !qemu_strtou64(words[1], NULL, 0, &fault->value);

    if (!words[0]) {
        error_setg(errp, "fault: no action is given");
        return false;
    }
    if (!strcmp(words[0], "fail") && number && fault->value &&
        fault->value <= 0x7ff) {
        fault->action = CSD_FAULT_FAIL;
    } else if (!strcmp(words[0], "delay") && number &&
               fault->value <= 3600 * 1000) {
        fault->action = CSD_FAULT_DELAY;
    } else if (!strcmp(words[0], "hang") && !words[1]) {
        fault->action = CSD_FAULT_HANG;
    } else if (!strcmp(words[0], "corrupt") && !words[1] &&
               fault->command == CSD_LOAD) {
        fault->action = CSD_FAULT_CORRUPT;
    } else {
        error_setg(errp, "fault: '%s' is no action; there are fail=STATUS "
                   "(0x001 to 0x7ff), delay=MS (up to an hour), hang, and "
                   "corrupt for load", text);
        return false;
    }
    return true;
}

static bool csd_fault_parse(CsdFault *fault, const char *text, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(text, ":", 2);

    if (!words[0] || !words[1]) {
        error_setg(errp, "fault: '%s' is not of the form "
                   "COMMAND[@N]:ACTION[=VALUE]", text);
        return false;
    }
    return csd_fault_parse_event(fault, words[0], errp) &&
           csd_fault_parse_action(fault, words[1], errp);
}

void csd_fault_clear(NvmeCsd *csd)
{
    CsdFault *fault;

    while ((fault = QTAILQ_FIRST(&csd->faults))) {
        QTAILQ_REMOVE(&csd->faults, fault, entry);
        g_free(fault);
    }
}

/* Replaces the faults that are there, or none of them if @spec is no good. */
bool csd_fault_set(NvmeCsd *csd, const char *spec, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(spec, ";", -1);
    g_autoptr(GPtrArray) new = g_ptr_array_new_with_free_func(g_free);
    unsigned i;

    for (i = 0; words[i]; i++) {
        CsdFault *fault;

        if (!*words[i]) {
            continue;
        }
        fault = g_new0(CsdFault, 1);
        g_ptr_array_add(new, fault);
        if (!csd_fault_parse(fault, words[i], errp)) {
            return false;
        }
    }

    csd_fault_clear(csd);
    for (i = 0; i < new->len; i++) {
        CsdFault *fault = g_memdup2(new->pdata[i], sizeof(*fault));

        QTAILQ_INSERT_TAIL(&csd->faults, fault, entry);
    }
    return true;
}

/* Whether this command is one that a fault was asked for; it then is @fault. */
bool csd_fault_take(NvmeCsd *csd, CsdCommand command, CsdFault *fault)
{
    CsdFault *it, *next;
    bool found = false;

    /* Each counts for itself; the first that is due is taken. */
    QTAILQ_FOREACH_SAFE(it, &csd->faults, entry, next) {
        if (it->command != command || (!it->every && --it->countdown)) {
            continue;
        }
        if (found && !it->every) {
            it->countdown = 1;
            continue;
        }
        if (!found) {
            *fault = *it;
            found = true;
        }
        if (!it->every) {
            QTAILQ_REMOVE(&csd->faults, it, entry);
            g_free(it);
        }
    }
    if (found) {
        trace_nvme_csd_fault(csd_command_name(command), fault->action,
                             fault->value);
    }
    return found;
}

/*
 * A command that is delayed, or hangs
 */

typedef struct CsdDeferred {
    BlockAIOCB common;
    NvmeCsd *csd;
    NvmeRequest *req;
    CsdCommand command;
    QEMUTimer *timer;
    bool cancelled;
} CsdDeferred;

static void csd_deferred_free(CsdDeferred *deferred)
{
    if (deferred->timer) {
        timer_free(deferred->timer);
    }
    qemu_aio_unref(deferred);
}

static void csd_deferred_cancelled_bh(void *opaque)
{
    CsdDeferred *deferred = opaque;

    csd_timing_set_due(deferred->req, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL));
    deferred->common.cb(deferred->common.opaque, -ECANCELED);
    csd_deferred_free(deferred);
}

static void csd_deferred_cancel(BlockAIOCB *common)
{
    CsdDeferred *deferred = container_of(common, CsdDeferred, common);

    if (deferred->cancelled) {
        return;
    }
    deferred->cancelled = true;
    if (deferred->timer) {
        timer_del(deferred->timer);
    }
    aio_bh_schedule_oneshot(qemu_get_aio_context(), csd_deferred_cancelled_bh,
                            deferred);
}

static const AIOCBInfo csd_deferred_aiocb_info = {
    .aiocb_size = sizeof(CsdDeferred),
    .cancel_async = csd_deferred_cancel,
};

static void csd_deferred_expired(void *opaque)
{
    CsdDeferred *deferred = opaque;
    NvmeRequest *req = deferred->req;
    uint16_t status;

    req->aiocb = NULL;
    csd_timing_set_due(req, csd_timing_start(deferred->csd));
    status = csd_dispatch(deferred->csd, req, deferred->command, NULL);
    csd_deferred_free(deferred);
    if (status != NVME_NO_COMPLETE) {
        req->status = status;
        nvme_csd_complete(req);
    }
}

uint16_t csd_fault_defer(NvmeCsd *csd, NvmeRequest *req, CsdCommand command,
                         const CsdFault *fault)
{
    CsdDeferred *deferred = qemu_aio_get(&csd_deferred_aiocb_info, NULL,
                                         nvme_csd_aio_cb, req);

    deferred->csd = csd;
    deferred->req = req;
    deferred->command = command;
    deferred->timer = NULL;
    deferred->cancelled = false;
    req->aiocb = &deferred->common;
    csd_timing_hold(req);
    if (fault->action == CSD_FAULT_DELAY) {
        deferred->timer = timer_new_ms(QEMU_CLOCK_VIRTUAL, csd_deferred_expired,
                                       deferred);
        timer_mod(deferred->timer,
                  qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL) + fault->value);
    }
    return NVME_NO_COMPLETE;
}
