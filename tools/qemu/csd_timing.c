/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The timing model: when things happen that take time on a real drive.
 *
 * Off, commands complete as soon as they are done. On, everything that the host
 * can see happens at a moment of the virtual clock that follows from the
 * properties and from what was asked for, not from how long it took to emulate:
 * under -icount a run repeats exactly. Queues are looked at by a timer, a
 * request is held back until its time, and if it is not ready by then, virtual
 * time stands still until it is, within reason: of a disk that does not answer
 * the model knows nothing.
 *
 *	media	a read or write is cut into stripes, each on the channel that its
 *		position names. A stripe needs the latency, which overlaps with
 *		those of others, and then its channel for its bytes.
 *	link	one transfer after the other in each direction, for its bytes: of
 *		Read and Write, Memory Read and Write. Descriptors and programs
 *		take none.
 *	engines	an Execute needs an engine for the overhead and the instructions
 *		that it executed.
 *	others	the overhead, at the beginning, overlapping with those of others.
 */
#include "csd.h"
#include "block/aio-wait.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "trace.h"

/* Some seconds of a host. */
#define CSD_TIMED_MAX_INSNS 10000000000ULL

/*
 * So long the machine stands still for a request, by the host's clock. It could be
 * for ever: a disk may be stopped by an error, and a guest may name memory whose
 * mapping has to wait.
 */
#define CSD_PATIENCE_MS 5000

/*
 * Drives as they are described in public: the latency of a 4 KiB random read and
 * write at queue depth 1, from which the model's time for 4 KiB on a channel and
 * the link is taken off, and the sequential read bandwidth, which the channels
 * share. What is not said of any of them is the number of channels, the stripe,
 * and an engine's speed (by default one BPF instruction a clock at 1 GHz).
 * Documentation/drive.rst has the sources.
 */
static const struct {
    const char *name;
    uint64_t read_latency_ns;
    uint64_t write_latency_ns;
    uint32_t channels;
    uint64_t channel_bw;
    uint64_t link_bw;
} csd_presets[] = {
    /* Intel SSD DC P4500 2 TB, PCIe 3.0 x4: 85 and 20 us, 3.2 GB/s */
    { "p4500", 73720, 8720, 8, 400000000, 3938000000 },
    /* Samsung PM9A3, PCIe 4.0 x4: 6.5 GB/s; 85 and 50 us, of the PM983 */
    { "pm9a3", 79439, 44439, 8, 812500000, 7877000000 },
    /* Intel Optane SSD P5800X, PCIe 4.0 x4: 6 us, 7.2 GB/s */
    { "p5800x", 929, 929, 8, 900000000, 7877000000 },
};

/* A preset gives what the user left at 0. */
static bool csd_timing_preset(CsdParams *params, Error **errp)
{
    g_autoptr(GString) names = g_string_new(NULL);
    unsigned i;

    if (!params->timing_preset) {
        return true;
    }
    for (i = 0; i < ARRAY_SIZE(csd_presets); i++) {
        if (!strcmp(csd_presets[i].name, params->timing_preset)) {
            params->read_latency_ns =
                params->read_latency_ns ?: csd_presets[i].read_latency_ns;
            params->write_latency_ns =
                params->write_latency_ns ?: csd_presets[i].write_latency_ns;
            params->channels = params->channels ?: csd_presets[i].channels;
            params->channel_bw =
                params->channel_bw ?: csd_presets[i].channel_bw;
            params->link_bw = params->link_bw ?: csd_presets[i].link_bw;
            return true;
        }
        g_string_append_printf(names, " %s", csd_presets[i].name);
    }
    error_setg(errp, "timing-preset=%s is not known; there are:%s",
               params->timing_preset, names->str);
    return false;
}

/*
 * The main loop waits for engines, so that what an Execute may run has to have an
 * end that is not far.
 */
static bool csd_timing_check_end(const CsdParams *params, Error **errp)
{
    uint64_t fuel = params->fuel ?: UINT64_MAX;

    if (params->deadline_ms) {
        fuel = MIN(fuel, (__uint128_t)params->deadline_ms *
                         params->engine_ips / 1000);
    }
    if (fuel > CSD_TIMED_MAX_INSNS) {
        error_setg(errp, "timing=on needs an end to what an Execute may run: "
                   "deadline-ms times engine-ips, or fuel, of at most %llu "
                   "instructions", CSD_TIMED_MAX_INSNS);
        return false;
    }
    return true;
}

static bool csd_timing_check(const CsdParams *params, Error **errp)
{
    if (params->channels > 1024) {
        error_setg(errp, "channels=%u is more than 1024", params->channels);
        return false;
    }
    if (params->stripe < 512 || params->stripe % 512 ||
        params->stripe > 1 * GiB) {
        error_setg(errp, "stripe=%" PRIu64 " is not a multiple of 512 from 512 "
                   "to 1 GiB", params->stripe);
        return false;
    }
    if (params->engine_ips < 1000) {
        error_setg(errp, "engine-ips=%" PRIu64 ": an engine executes at least "
                   "1000 instructions a second", params->engine_ips);
        return false;
    }
    if (params->read_latency_ns > NANOSECONDS_PER_SECOND ||
        params->write_latency_ns > NANOSECONDS_PER_SECOND ||
        params->overhead_ns > NANOSECONDS_PER_SECOND) {
        error_setg(errp, "a latency or the overhead is more than a second "
                   "(1000000000)");
        return false;
    }
    return csd_timing_check_end(params, errp);
}

static void csd_timing_arm(NvmeCsd *csd)
{
    CsdEvent *first = QTAILQ_FIRST(&csd->timing.agenda);

    if (first && first->when != CSD_NEVER) {
        timer_mod_ns(csd->timing.timer, first->when);
    } else {
        timer_del(csd->timing.timer);
    }
}

static void csd_timing_remove(NvmeCsd *csd, CsdEvent *event)
{
    if (QTAILQ_IN_USE(event, entry)) {
        QTAILQ_REMOVE(&csd->timing.agenda, event, entry);
    }
}

/* Puts an event on the agenda, or moves it there. Later ones are looked at first. */
void csd_timing_at(NvmeCsd *csd, CsdEvent *event, int64_t when)
{
    CsdEvent *other;

    csd_timing_remove(csd, event);
    event->when = when;
    QTAILQ_FOREACH_REVERSE(other, &csd->timing.agenda, entry) {
        if (other->when <= when) {
            QTAILQ_INSERT_AFTER(&csd->timing.agenda, other, event, entry);
            break;
        }
    }
    if (!other) {
        QTAILQ_INSERT_HEAD(&csd->timing.agenda, event, entry);
    }
    csd_timing_arm(csd);
}

/*
 * What happens
 */

static void csd_timing_kick(NvmeCsd *csd, CsdEvent *event)
{
    NvmeCtrl *n = &csd->parent_obj;
    QEMUBH *bh = NULL;

    /* The queue may be another by now, for which a look is harmless. */
    if (event->kind == CSD_EVENT_KICK_SQ && n->sq[event->qid]) {
        bh = n->sq[event->qid]->bh;
    } else if (event->kind == CSD_EVENT_KICK_CQ && n->cq[event->qid]) {
        bh = n->cq[event->qid]->bh;
    }
    g_free(event);
    if (bh) {
        aio_bh_call(bh);
    }
}

static void csd_timing_impatient(void *opaque)
{
    *(bool *)opaque = true;
}

/*
 * Whether it is ready, after a wait. When that was in vain the machine goes on for
 * as long without any: then half of its time is all that is lost.
 */
static bool csd_timing_wait(NvmeCsd *csd, CsdEvent *event)
{
    bool impatient = false;
    QEMUTimer timer;

    if (event->ready || qemu_clock_get_ms(QEMU_CLOCK_REALTIME) <
                        csd->timing.hasty_until_ms) {
        return event->ready;
    }
    aio_timer_init(qemu_get_aio_context(), &timer, QEMU_CLOCK_REALTIME,
                   SCALE_MS, csd_timing_impatient, &impatient);
    timer_mod(&timer,
              qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + CSD_PATIENCE_MS);
    AIO_WAIT_WHILE_UNLOCKED(NULL, !event->ready && !impatient);
    timer_del(&timer);
    if (!event->ready) {
        csd->timing.hasty_until_ms =
            qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + CSD_PATIENCE_MS;
    }
    return event->ready;
}

/* A request that is not ready by now completes when it is. */
static void csd_timing_complete(NvmeCsd *csd, CsdEvent *event)
{
    NvmeRequest *req = event->req;
    bool ready = csd_timing_wait(csd, event);

    req->csd_event = NULL;
    csd_engines_forget_event(csd, event);
    g_free(event);
    if (ready) {
        nvme_csd_complete(req);
    } else {
        trace_nvme_csd_late(nvme_cid(req), req->cmd.opcode);
    }
}

static void csd_timing_tick(void *opaque)
{
    NvmeCsd *csd = opaque;
    int64_t now = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
    CsdEvent *event;

    while ((event = QTAILQ_FIRST(&csd->timing.agenda)) && event->when <= now) {
        csd_timing_remove(csd, event);
        switch (event->kind) {
        case CSD_EVENT_KICK_SQ:
        case CSD_EVENT_KICK_CQ:
            csd_timing_kick(csd, event);
            break;
        case CSD_EVENT_REQUEST:
            csd_timing_complete(csd, event);
            break;
        case CSD_EVENT_ENGINE:
            csd_engine_look(event->engine, now);
            break;
        }
    }
    csd_timing_arm(csd);
}

/*
 * The model
 */

static int64_t csd_timing_bytes_ns(uint64_t bytes, uint64_t bw)
{
    if (!bw) {
        return 0;
    }
    return ((__uint128_t)bytes * NANOSECONDS_PER_SECOND + bw - 1) / bw;
}

/* When a command that comes now begins. */
int64_t csd_timing_start(NvmeCsd *csd)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) + csd->params.overhead_ns;
}

/* When @len bytes at @off have been read or written. */
int64_t csd_timing_media(NvmeCsd *csd, uint64_t off, uint64_t len, bool write,
                         int64_t from)
{
    const CsdParams *params = &csd->params;
    int64_t due, ready = from + (write ? params->write_latency_ns :
                                         params->read_latency_ns);

    due = ready;
    while (len && params->channels) {
        uint64_t piece = MIN(len, params->stripe - off % params->stripe);
        int64_t *free = &csd->timing.channel_free[off / params->stripe %
                                                  params->channels];

        *free = MAX(*free, ready) +
                csd_timing_bytes_ns(piece, params->channel_bw);
        due = MAX(due, *free);
        off += piece;
        len -= piece;
    }
    return due;
}

/* When @len bytes have crossed the link. */
int64_t csd_timing_link(NvmeCsd *csd, uint64_t len, bool to_host, int64_t from)
{
    int64_t *free = &csd->timing.link_free[to_host];

    *free = MAX(*free, from) + csd_timing_bytes_ns(len, csd->params.link_bw);
    return *free;
}

int64_t csd_timing_run_ns(NvmeCsd *csd, uint64_t insns)
{
    return csd->params.overhead_ns +
           csd_timing_bytes_ns(insns, csd->params.engine_ips);
}

/* Instructions that an engine executes in @ns; at least one. */
uint64_t csd_timing_insns(NvmeCsd *csd, int64_t ns)
{
    return (__uint128_t)ns * csd->params.engine_ips / NANOSECONDS_PER_SECOND +
           1;
}

/*
 * Requests
 */

/* Of Read and Write, by which the host reaches LBAs. */
static int64_t csd_timing_io_due(NvmeCsd *csd, NvmeRequest *req, int64_t start)
{
    NvmeNamespace *ns = nvme_media_ns(&csd->parent_obj,
                                      le32_to_cpu(req->cmd.nsid));
    const NvmeRwCmd *rw = (NvmeRwCmd *)&req->cmd;
    uint64_t off, len;

    if (!req->sq->sqid || !ns || (req->cmd.opcode != NVME_CMD_READ &&
                                  req->cmd.opcode != NVME_CMD_WRITE)) {
        return start;
    }
    off = nvme_l2b(ns, le64_to_cpu(rw->slba));
    len = nvme_l2b(ns, le16_to_cpu(rw->nlb) + 1);
    if (req->cmd.opcode == NVME_CMD_READ) {
        start = csd_timing_media(csd, off, len, false, start);
        return csd_timing_link(csd, len, true, start);
    }
    start = csd_timing_link(csd, len, false, start);
    return csd_timing_media(csd, off, len, true, start);
}

/* A request has been fetched. */
void nvme_csd_begin(NvmeCtrl *n, NvmeRequest *req)
{
    NvmeCsd *csd = n->csd;
    CsdEvent *event;

    if (!csd || !csd->timing.on) {
        return;
    }
    /* These wait for something to happen. */
    if (!req->sq->sqid && req->cmd.opcode == NVME_ADM_CMD_ASYNC_EV_REQ) {
        return;
    }
    event = g_new0(CsdEvent, 1);
    event->kind = CSD_EVENT_REQUEST;
    event->req = req;
    req->csd_event = event;
    csd_timing_at(csd, event,
                  csd_timing_io_due(csd, req, csd_timing_start(csd)));
}

/* When it is to be completed is not known yet: csd_timing_set_due() will say. */
void csd_timing_hold(NvmeRequest *req)
{
    csd_timing_set_due(req, CSD_NEVER);
}

void csd_timing_set_due(NvmeRequest *req, int64_t due)
{
    if (req->csd_event) {
        csd_timing_at(csd_of(nvme_ctrl(req)), req->csd_event, due);
    }
}

/* A request's work is done. */
bool nvme_csd_end(NvmeRequest *req)
{
    CsdEvent *event = req->csd_event;

    if (!event) {
        return false;
    }
    /* It stays among the outstanding ones, and there is nothing to cancel. */
    req->aiocb = NULL;
    event->ready = true;
    return true;
}

/*
 * Requests of a queue are about to be cancelled: they complete when they are, as
 * without the model.
 */
void csd_timing_cancel_sq(NvmeCsd *csd, NvmeSQueue *sq)
{
    NvmeRequest *req, *next;

    if (!csd->timing.on) {
        return;
    }
    QTAILQ_FOREACH_SAFE(req, &sq->out_req_list, entry, next) {
        CsdEvent *event = req->csd_event;
        bool ready = event && event->ready;

        if (!event) {
            continue;
        }
        csd_timing_remove(csd, event);
        csd_engines_forget_event(csd, event);
        req->csd_event = NULL;
        g_free(event);
        if (ready) {
            nvme_csd_complete(req);
        }
    }
    csd_timing_arm(csd);
}

static void csd_timing_kick_at(NvmeCsd *csd, CsdEventKind kind, uint16_t qid,
                               int64_t when)
{
    CsdEvent *event = g_new0(CsdEvent, 1);

    event->kind = kind;
    event->qid = qid;
    csd_timing_at(csd, event, when);
}

bool nvme_csd_kick(NvmeCtrl *n, uint16_t qid, bool is_cq)
{
    NvmeCsd *csd = n->csd;

    if (!csd->timing.on) {
        return false;
    }
    csd_timing_kick_at(csd, is_cq ? CSD_EVENT_KICK_CQ : CSD_EVENT_KICK_SQ, qid,
                       qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL));
    return true;
}

/*
 * The next look at a queue whose next command has to wait for another one: when the
 * next request is due, and behind it. Before that it would be in vain, and as long
 * as there are looks to be taken now, virtual time stands still.
 */
bool nvme_csd_retry(NvmeSQueue *sq)
{
    NvmeCsd *csd = sq->ctrl->csd;
    CsdEvent *event;

    if (!csd->timing.on) {
        return false;
    }
    QTAILQ_FOREACH(event, &csd->timing.agenda, entry) {
        if (event->kind == CSD_EVENT_REQUEST && event->when != CSD_NEVER) {
            csd_timing_kick_at(csd, CSD_EVENT_KICK_SQ, sq->sqid, event->when);
            return true;
        }
    }
    /* It is a late one, that is not waited for any more. */
    return false;
}

/*
 * The device
 */

bool csd_timing_init(NvmeCsd *csd, Error **errp)
{
    CsdParams *params = &csd->params;

    QTAILQ_INIT(&csd->timing.agenda);
    if (!params->timing) {
        if (params->timing_preset) {
            error_setg(errp, "timing-preset needs timing=on");
            return false;
        }
        return true;
    }
    if (csd->parent_obj.params.ioeventfd) {
        error_setg(errp, "timing=on does not go with ioeventfd=on, which has "
                   "doorbells rung when the host's clock pleases");
        return false;
    }
    if (!csd_timing_preset(params, errp) || !csd_timing_check(params, errp)) {
        return false;
    }
    csd->timing.on = true;
    csd->timing.channel_free = g_new0(int64_t, MAX(params->channels, 1));
    csd->timing.timer = timer_new_ns(QEMU_CLOCK_VIRTUAL, csd_timing_tick, csd);
    return true;
}

/* No request is left; kicks and looks may be. */
void csd_timing_exit(NvmeCsd *csd)
{
    CsdEvent *event;

    if (!csd->timing.on) {
        return;
    }
    while ((event = QTAILQ_FIRST(&csd->timing.agenda))) {
        csd_timing_remove(csd, event);
        if (event->kind != CSD_EVENT_ENGINE) {
            g_free(event);
        }
    }
    timer_free(csd->timing.timer);
    g_free(csd->timing.channel_free);
}
