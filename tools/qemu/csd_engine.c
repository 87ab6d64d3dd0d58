/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compute engines: threads that run jobs.
 *
 * The main loop decides what an engine does next, so that what waits can be
 * cancelled at once. Each engine has a queue; one that has nothing to do takes
 * from the longest. With the timing model on an engine is busy for as long as
 * the instructions that it executed take in the model, however fast they were.
 */
#include "csd.h"
#include "block/aio-wait.h"
#include "qapi/error.h"
#include "qemu/main-loop.h"
#include "trace.h"

/* How far the model looks ahead of an engine's thread. */
#define CSD_QUANTUM_NS (50 * SCALE_US)

static bool csd_engine_is_timed(const CsdEngine *engine)
{
    return engine->csd->timing.on &&
           engine->index < engine->csd->params.engines;
}

/*
 * On the engine's thread
 */

bool csd_job_stopped(CsdJob *job)
{
    return qatomic_read(&job->stop);
}

/* @vm is what is to be ended when the job is to stop; NULL before it is freed. */
void csd_job_set_vm(CsdJob *job, struct bpfvm_thread *vm)
{
    CsdEngine *engine = job->engine;

    qemu_mutex_lock(&engine->lock);
    job->vm = vm;
    if (vm && job->stop) {
        bpfvm_stop(vm);
    }
    qemu_mutex_unlock(&engine->lock);
}

void csd_job_wait_for_stop(CsdJob *job)
{
    CsdEngine *engine = job->engine;

    qemu_mutex_lock(&engine->lock);
    while (!job->stop) {
        qemu_cond_wait(&engine->cond, &engine->lock);
    }
    qemu_mutex_unlock(&engine->lock);
}

static void csd_job_finished_bh(void *opaque);

static void *csd_engine_thread(void *opaque)
{
    CsdEngine *engine = opaque;

    qemu_mutex_lock(&engine->lock);
    while (!engine->quit) {
        CsdJob *job = engine->next;

        if (!job) {
            qemu_cond_wait(&engine->cond, &engine->lock);
            continue;
        }
        engine->next = NULL;
        qemu_mutex_unlock(&engine->lock);
        if (job->hang) {
            csd_job_wait_for_stop(job);
        }
        job->run(job);
        aio_bh_schedule_oneshot(qemu_get_aio_context(), csd_job_finished_bh,
                                job);
        qemu_mutex_lock(&engine->lock);
    }
    qemu_mutex_unlock(&engine->lock);
    return NULL;
}

/*
 * On the main loop
 */

static void csd_job_stop(CsdJob *job)
{
    CsdEngine *engine = job->engine;

    qemu_mutex_lock(&engine->lock);
    qatomic_set(&job->stop, true);
    if (job->vm) {
        bpfvm_stop(job->vm);
    }
    qemu_cond_broadcast(&engine->cond);
    qemu_mutex_unlock(&engine->lock);
}

static void csd_job_expired(void *opaque)
{
    CsdJob *job = opaque;

    job->expired = true;
    csd_job_stop(job);
}

static void csd_job_complete(CsdJob *job)
{
    job->common.cb(job->common.opaque, 0);
    qemu_aio_unref(job);
}

/* The longest queue, that is not empty. */
static CsdEngine *csd_engine_longest(NvmeCsd *csd)
{
    CsdEngine *longest = NULL;
    unsigned i;

    for (i = 0; i < csd->params.engines; i++) {
        CsdEngine *engine = &csd->engines[i];

        if (engine->nr_queued &&
            (!longest || engine->nr_queued > longest->nr_queued)) {
            longest = engine;
        }
    }
    return longest;
}

static CsdJob *csd_engine_take(CsdEngine *engine)
{
    CsdEngine *from = engine;
    CsdJob *job;

    if (!engine->nr_queued && engine->index < engine->csd->params.engines) {
        from = csd_engine_longest(engine->csd);
    }
    if (!from || !from->nr_queued) {
        return NULL;
    }
    job = QTAILQ_FIRST(&from->queue);
    QTAILQ_REMOVE(&from->queue, job, entry);
    from->nr_queued--;
    return job;
}

static void csd_engine_start_deadline(CsdEngine *engine, CsdJob *job)
{
    uint32_t ms = engine->csd->params.deadline_ms;

    /*
     * With the timing model the deadline is a number of instructions. An engine
     * that hangs is not stopped by it: that is what is wrong with it.
     */
    if (!ms || job->hang || csd_engine_is_timed(engine) ||
        engine->index == engine->csd->params.engines) {
        return;
    }
    job->deadline = timer_new_ms(QEMU_CLOCK_VIRTUAL, csd_job_expired, job);
    timer_mod(job->deadline, qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL) + ms);
}

/* Give an engine that has nothing to do what waits, if anything does. */
static void csd_engine_dispatch(CsdEngine *engine)
{
    CsdJob *job;

    if (engine->job) {
        return;
    }
    job = csd_engine_take(engine);
    if (!job) {
        return;
    }

    engine->job = job;
    job->engine = engine;
    job->running = true;
    job->started = qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
    csd_engine_start_deadline(engine, job);
    engine->started = job->started;
    engine->finished = false;
    engine->event = job->req->csd_event;

    qemu_mutex_lock(&engine->lock);
    engine->next = job;
    qemu_cond_broadcast(&engine->cond);
    qemu_mutex_unlock(&engine->lock);

    if (csd_engine_is_timed(engine)) {
        csd_timing_at(engine->csd, &engine->look, job->started);
    }
}

static void csd_job_finished_bh(void *opaque)
{
    CsdJob *job = opaque;
    CsdEngine *engine = job->engine;

    if (job->deadline) {
        timer_free(job->deadline);
    }
    job->done(job);

    if (csd_engine_is_timed(engine)) {
        /* It is busy until csd_engine_look() has seen this. */
        engine->retired = job->retired;
        engine->stopped = job->stop;
        engine->finished = true;
        csd_job_complete(job);
        return;
    }

    if (engine->index < engine->csd->params.engines) {
        engine->busy_ns += qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL) - job->started;
    }
    engine->job = NULL;
    csd_job_complete(job);
    csd_engine_dispatch(engine);
}

/*
 * Whether the thread is as far as the model needs it to be. Nobody waits for one
 * that hangs: it executes nothing until it is stopped.
 */
static bool csd_engine_is_ahead(CsdEngine *engine, uint64_t insns)
{
    const CsdJob *job = engine->job;

    return engine->finished || (job->hang && !job->stop) ||
           qatomic_read(&job->retired) >= insns;
}

/*
 * A look at an engine at a moment of the virtual clock: its thread has to have
 * executed what it would have by the next look; if it is done, it is known when
 * it would have been. Virtual time stands still while this waits.
 */
void csd_engine_look(CsdEngine *engine, int64_t now)
{
    NvmeCsd *csd = engine->csd;
    int64_t due;

    if (!engine->job) {
        return;
    }
    if (engine->due <= now && engine->due_known) {
        engine->due_known = false;
        engine->job = NULL;
        csd_engine_dispatch(engine);
        return;
    }

    AIO_WAIT_WHILE_UNLOCKED(NULL, !csd_engine_is_ahead(engine,
            csd_timing_insns(csd, now - engine->started + CSD_QUANTUM_NS)));
    if (!engine->finished) {
        csd_timing_at(csd, &engine->look, now + CSD_QUANTUM_NS);
        return;
    }

    due = engine->started + csd_timing_run_ns(csd, engine->retired);
    engine->due = engine->stopped ? now : MAX(due, now);
    engine->due_known = true;
    engine->busy_ns += engine->due - engine->started;
    if (engine->event) {
        csd_timing_set_due(engine->event->req, engine->due);
        engine->event = NULL;
    }
    csd_timing_at(csd, &engine->look, engine->due);
}

static void csd_job_dropped_bh(void *opaque)
{
    CsdJob *job = opaque;

    job->drop(job);
    if (job->req->csd_event) {
        csd_timing_set_due(job->req, qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL));
    }
    csd_job_complete(job);
}

/* AIOCBInfo.cancel_async of all jobs. */
void csd_job_cancel(BlockAIOCB *common)
{
    CsdJob *job = container_of(common, CsdJob, common);

    if (job->running) {
        csd_job_stop(job);
        return;
    }
    if (!job->stop) {
        job->stop = true;
        QTAILQ_REMOVE(&job->engine->queue, job, entry);
        job->engine->nr_queued--;
        aio_bh_schedule_oneshot(qemu_get_aio_context(), csd_job_dropped_bh,
                                job);
    }
}

/* A job of the size that @info says, all zero but for what is known of every job. */
void *csd_job_new(NvmeCsd *csd, NvmeRequest *req, const AIOCBInfo *info)
{
    CsdJob *job = qemu_aio_get(info, NULL, nvme_csd_aio_cb, req);

    memset((uint8_t *)job + sizeof(job->common), 0,
           info->aiocb_size - sizeof(job->common));
    job->csd = csd;
    job->req = req;
    return job;
}

static void csd_job_enqueue(CsdJob *job, CsdEngine *engine)
{
    job->engine = engine;
    job->req->aiocb = &job->common;
    QTAILQ_INSERT_TAIL(&engine->queue, job, entry);
    engine->nr_queued++;
    csd_engine_dispatch(engine);
}

/* To the engine that has the least to do. */
void csd_job_submit(CsdJob *job)
{
    NvmeCsd *csd = job->csd;
    CsdEngine *best = &csd->engines[0];
    unsigned i;

    for (i = 1; i < csd->params.engines; i++) {
        CsdEngine *engine = &csd->engines[i];

        if (engine->nr_queued + !!engine->job <
            best->nr_queued + !!best->job) {
            best = engine;
        }
    }
    csd_timing_hold(job->req);
    csd_job_enqueue(job, best);
}

void csd_job_submit_verifier(CsdJob *job)
{
    csd_job_enqueue(job, &job->csd->engines[job->csd->params.engines]);
}

/* The event is about to be forgotten: its request is being cancelled. */
void csd_engines_forget_event(NvmeCsd *csd, const CsdEvent *event)
{
    unsigned i;

    for (i = 0; i < csd->params.engines; i++) {
        if (csd->engines[i].event == event) {
            csd->engines[i].event = NULL;
        }
    }
}

void csd_engines_start(NvmeCsd *csd)
{
    unsigned i, nr = csd->params.engines + 1;

    csd->engines = g_new0(CsdEngine, nr);
    for (i = 0; i < nr; i++) {
        CsdEngine *engine = &csd->engines[i];
        g_autofree char *name = i < csd->params.engines ?
                                g_strdup_printf("csd-engine/%u", i) :
                                g_strdup("csd-verifier");

        engine->csd = csd;
        engine->index = i;
        engine->look.kind = CSD_EVENT_ENGINE;
        engine->look.engine = engine;
        QTAILQ_INIT(&engine->queue);
        qemu_mutex_init(&engine->lock);
        qemu_cond_init(&engine->cond);
        qemu_thread_create(&engine->thread, name, csd_engine_thread, engine,
                           QEMU_THREAD_JOINABLE);
    }
}

/* When every request has been cancelled and completed. */
void csd_engines_stop(NvmeCsd *csd)
{
    unsigned i;

    for (i = 0; i < csd->params.engines + 1; i++) {
        CsdEngine *engine = &csd->engines[i];

        assert(!engine->nr_queued && !engine->next);
        qemu_mutex_lock(&engine->lock);
        engine->quit = true;
        qemu_cond_broadcast(&engine->cond);
        qemu_mutex_unlock(&engine->lock);
        qemu_thread_join(&engine->thread);
        qemu_cond_destroy(&engine->cond);
        qemu_mutex_destroy(&engine->lock);
    }
    g_free(csd->engines);
    csd->engines = NULL;
}
