// SPDX-License-Identifier: GPL-2.0
/* One worker of a scan: it keeps its reads under way, and runs what is there. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include "user.h"

/* Reads that are as good as begun, up to the number of chunks. With the lock. */
static void begin_reads(struct worker *worker)
{
	struct job *job = worker->job;
	uint32_t i, begun = 0;

	for (i = 0; i < CHUNKS_PER_WORKER; i++) {
		struct chunk *chunk = &worker->chunks[i];

		if (chunk->state != CHUNK_FREE)
			continue;
		if (!job_plan(job, chunk))
			break;
		chunk->state = CHUNK_READING;
		pthread_mutex_unlock(&job->lock);
		io_read(worker, chunk);
		begun++;
		pthread_mutex_lock(&job->lock);
	}
	if (!begun)
		return;
	pthread_mutex_unlock(&job->lock);
	io_submit(worker);
	pthread_mutex_lock(&job->lock);
}

/* The first in the order of the answer. */
static struct chunk *first_of(struct worker *worker, enum chunk_state state)
{
	struct chunk *first = NULL;
	uint32_t i;

	for (i = 0; i < CHUNKS_PER_WORKER; i++) {
		struct chunk *chunk = &worker->chunks[i];

		if (chunk->state == state &&
		    (!first || chunk->range < first->range ||
		     (chunk->range == first->range && chunk->off < first->off)))
			first = chunk;
	}
	return first;
}

static bool has_chunks(const struct worker *worker)
{
	uint32_t i;

	for (i = 0; i < CHUNKS_PER_WORKER; i++)
		if (worker->chunks[i].state != CHUNK_FREE)
			return true;
	return false;
}

/* Whether @worker has something to do, and then did it. With the lock. */
static bool work(struct worker *worker)
{
	struct job *job = worker->job;
	struct chunk *chunk;

	begin_reads(worker);
	chunk = first_of(worker, CHUNK_READY);
	if (!chunk && first_of(worker, CHUNK_READING)) {
		pthread_mutex_unlock(&job->lock);
		chunk = io_reap(worker);
		pthread_mutex_lock(&job->lock);
		chunk->state = CHUNK_READY;
		return true;
	}
	if (!chunk)
		return false;
	chunk->state = CHUNK_RUNNING;
	pthread_mutex_unlock(&job->lock);
	run_chunk(worker, chunk);
	pthread_mutex_lock(&job->lock);
	chunk->state = CHUNK_DONE;
	/* What is to be traced must be the last call. */
	if (chunk->trouble && job->opts->trace)
		atomic_store(&job->quit, true);
	job_advance(job);
	return true;
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	struct job *job = worker->job;

	pthread_mutex_lock(&job->lock);
	while (!atomic_load(&job->quit)) {
		if (work(worker))
			continue;
		/* Nothing to plan, to read or to run: what is left is handed out. */
		if (!has_chunks(worker))
			break;
		pthread_cond_wait(&worker->wake, &job->lock);
	}
	pthread_mutex_unlock(&job->lock);
	/* Reads go into our memory: they are waited for whatever happens. */
	while (first_of(worker, CHUNK_READING))
		io_reap(worker)->state = CHUNK_READY;
	pthread_mutex_lock(&job->lock);
	job->running--;
	job_advance(job);
	pthread_mutex_unlock(&job->lock);
	return NULL;
}

int worker_init(struct worker *worker, struct job *job)
{
	const struct user_prog *user = job->prog->user;
	uint32_t i;

	worker->job = job;
	pthread_cond_init(&worker->wake, NULL);
	worker->vm = bpfvm_thread_new(user->vm, worker);
	if (!worker->vm)
		return -ENOMEM;
	if (job->opts->trace) {
		worker->before = malloc(trace_room(job) + 1);
		if (!worker->before)
			return -ENOMEM;
	}
	for (i = 0; i < CHUNKS_PER_WORKER; i++) {
		worker->chunks[i].worker = worker;
		worker->chunks[i].buf = aligned_alloc(4096, job->buf_len);
		if (!worker->chunks[i].buf)
			return -ENOMEM;
	}
	run_init(worker);
	return io_init(worker);
}

/* Signals are for the caller's threads. */
int worker_start(struct worker *worker)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&worker->thread, NULL, worker_main, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	worker->started = !err;
	return -err;
}

void worker_free(struct worker *worker)
{
	uint32_t i;

	if (!worker->job)
		return;
	if (worker->started)
		pthread_join(worker->thread, NULL);
	io_free(worker);
	for (i = 0; i < CHUNKS_PER_WORKER; i++) {
		free(worker->chunks[i].buf);
		free(worker->chunks[i].matches);
	}
	free(worker->before);
	bpfvm_thread_free(worker->vm);
	pthread_cond_destroy(&worker->wake);
}
