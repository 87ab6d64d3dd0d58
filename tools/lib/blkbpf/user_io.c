// SPDX-License-Identifier: GPL-2.0
/*
 * Reading, by io_uring and past the page cache where that is allowed; else by
 * what there is. Which it was is told with the results.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "user.h"

/* What every file and device in use can do. */
#define SAFE_ALIGN	4096U
/* Reads through the page cache begin so that data are aligned as on the disk. */
#define CACHE_ALIGN	512U

static int get_size(struct job *job, int fd, uint32_t *block)
{
	struct stat st;
	int size;

	if (fstat(fd, &st))
		return blkbpf_err(errno, "scan: file descriptor %d: %s", fd,
				  strerror(errno));
	*block = 0;
	if (S_ISREG(st.st_mode)) {
		job->dev_len = st.st_size;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return blkbpf_err(EINVAL, "scan: file descriptor %d is neither a block device nor a regular file",
				  fd);
	if (ioctl(fd, BLKGETSIZE64, &job->dev_len) || ioctl(fd, BLKSSZGET, &size))
		return blkbpf_err(errno, "scan: the device does not say its size: %s",
				  strerror(errno));
	*block = size;
	return 0;
}

/* What O_DIRECT asks for on a regular file, where the kernel says it. */
static uint32_t direct_align(int fd)
{
#ifdef STATX_DIOALIGN
	struct statx st;
	uint32_t align;

	if (!statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) &&
	    st.stx_mask & STATX_DIOALIGN) {
		align = st.stx_dio_offset_align;
		if (align && align <= SAFE_ALIGN && !(align & (align - 1)))
			return align;
	}
#else
	(void)fd;
#endif
	return SAFE_ALIGN;
}

/* The same file once more, past the page cache; -1 with errno if that is refused. */
static int open_direct(struct job *job, int fd, uint32_t block)
{
	void *probe = NULL;
	char path[32];
	int direct;
	ssize_t got;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC | O_NONBLOCK);
	if (direct < 0)
		return -1;
	job->align = block ? block : direct_align(direct);
	/* Some file systems open it and then read nothing. */
	if (posix_memalign(&probe, SAFE_ALIGN, SAFE_ALIGN))
		goto refused;
	got = pread(direct, probe, job->align, 0);
	free(probe);
	if (got >= 0 || errno != EINVAL)
		return direct;
refused:
	close(direct);
	errno = EINVAL;
	return -1;
}

int io_open(struct job *job, int fd)
{
	uint32_t block;
	int err = get_size(job, fd, &block);

	if (err)
		return err;
	if (job->opts->buffered) {
		job->direct_err = -1;
	} else {
		job->fd = open_direct(job, fd, block);
		if (job->fd >= 0)
			return 0;
		job->direct_err = errno;
	}
	job->align = CACHE_ALIGN;
	job->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (job->fd < 0)
		return blkbpf_err(errno, "scan: file descriptor %d: %s", fd,
				  strerror(errno));
	posix_fadvise(job->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return 0;
}

void io_close(struct job *job)
{
	if (job->fd >= 0)
		close(job->fd);
}

void io_describe(const struct job *job, char *text, size_t size)
{
	char ring[64] = "io_uring", cache[64] = "O_DIRECT";

	if (job->ring_err)
		snprintf(ring, sizeof(ring), "pread (no io_uring: %s)",
			 strerror(job->ring_err));
	if (job->direct_err)
		snprintf(cache, sizeof(cache), job->direct_err < 0 ? "page cache" :
			 "page cache (no O_DIRECT: %s)", strerror(job->direct_err));
	snprintf(text, size, "user: %s, %s", ring, cache);
}

/* A ring is worth having, but nothing that a scan would fail for. */
int io_init(struct worker *worker)
{
	struct iovec iov[CHUNKS_PER_WORKER];
	unsigned int i;
	int err;

	if (worker->job->ring_err)
		return 0;
	err = io_uring_queue_init(CHUNKS_PER_WORKER, &worker->ring, 0);
	if (err) {
		worker->job->ring_err = -err;
		return 0;
	}
	worker->has_ring = true;
	for (i = 0; i < CHUNKS_PER_WORKER; i++)
		iov[i] = (struct iovec) {
			.iov_base = worker->chunks[i].buf,
			.iov_len = worker->job->buf_len,
		};
	/* It needs memory that may be locked, of which there may be too little. */
	worker->fixed = !io_uring_register_buffers(&worker->ring, iov,
						   CHUNKS_PER_WORKER);
	return 0;
}

void io_free(struct worker *worker)
{
	if (worker->has_ring)
		io_uring_queue_exit(&worker->ring);
}

/* Positions of the blocks that @len bytes of units at @off need. */
static void extent(const struct chunk *chunk, uint64_t off, uint32_t len,
		   uint64_t *start, uint64_t *end)
{
	const struct job *job = chunk->worker->job;
	const struct blk_bpf_range *range = &job->ranges[chunk->range];
	const uint64_t mask = job->align - 1;
	uint64_t seen = off + len + job->overlap;

	if (seen > range->len)
		seen = range->len;
	*start = (range->off + off) & ~mask;
	*end = (range->off + seen + mask) & ~mask;
	if (*end > job->dev_len)
		*end = job->dev_len;
}

/* What is asked for: whole blocks, also where a file ends inside one. */
static uint32_t rounded(const struct job *job, uint32_t len)
{
	return (len + job->align - 1) & ~(job->align - 1);
}

static ssize_t read_some(struct worker *worker, void *buf, uint32_t len,
			 uint64_t pos)
{
	ssize_t got;

	do {
		got = pread(worker->job->fd, buf, rounded(worker->job, len), pos);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* The rest of @len bytes, of which @have are there, without a ring. */
static int read_rest(struct worker *worker, unsigned char *buf, uint32_t have,
		     uint32_t len, uint64_t pos)
{
	while (have < len) {
		/* Again from the last whole block. */
		uint32_t from = have & ~(worker->job->align - 1);
		ssize_t got = read_some(worker, buf + from, len - from, pos + from);

		if (got < 0)
			return got;
		if (from + got <= have)
			return -EIO;	/* it has become shorter */
		have = from + got;
	}
	return 0;
}

static void count_read(struct worker *worker, uint32_t len)
{
	worker->reads++;
	worker->bytes_read += len;
}

static void prepare(struct worker *worker, struct chunk *chunk)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&worker->ring);
	uint32_t len = rounded(worker->job, chunk->want);

	if (worker->fixed)
		io_uring_prep_read_fixed(sqe, worker->job->fd, chunk->buf, len,
					 chunk->base, chunk - worker->chunks);
	else
		io_uring_prep_read(sqe, worker->job->fd, chunk->buf, len,
				   chunk->base);
	io_uring_sqe_set_data(sqe, chunk);
}

void io_read(struct worker *worker, struct chunk *chunk)
{
	uint64_t end;

	extent(chunk, chunk->off, chunk->len, &chunk->base, &end);
	chunk->want = end - chunk->base;
	chunk->have = 0;
	count_read(worker, chunk->want);
	if (worker->has_ring)
		prepare(worker, chunk);
}

void io_submit(struct worker *worker)
{
	int ret;

	if (!worker->has_ring)
		return;
	/* What is left over goes with the next wait. */
	do {
		ret = io_uring_submit(&worker->ring);
	} while (ret == -EINTR);
}

static void finish_read(struct worker *worker, struct chunk *chunk, int res)
{
	if (res < 0) {
		chunk->read_err = res;
		return;
	}
	chunk->have = (uint32_t)res < chunk->want ? (uint32_t)res : chunk->want;
	chunk->read_err = read_rest(worker, chunk->buf, chunk->have, chunk->want,
				    chunk->base);
}

/* Without a ring a chunk is read when it is wanted. */
static struct chunk *read_now(struct worker *worker)
{
	struct chunk *first = NULL;
	unsigned int i;

	for (i = 0; i < CHUNKS_PER_WORKER; i++) {
		struct chunk *chunk = &worker->chunks[i];

		if (chunk->state == CHUNK_READING &&
		    (!first || chunk->range < first->range ||
		     (chunk->range == first->range && chunk->off < first->off)))
			first = chunk;
	}
	if (first)
		finish_read(worker, first, 0);
	return first;
}

struct chunk *io_reap(struct worker *worker)
{
	struct io_uring_cqe *cqe;
	struct chunk *chunk;
	int res;

	if (!worker->has_ring)
		return read_now(worker);
	/* A read is under way, so that there is an end to this. */
	while (io_uring_peek_cqe(&worker->ring, &cqe))
		if (io_uring_submit_and_wait(&worker->ring, 1) < 0)
			sched_yield();
	chunk = io_uring_cqe_get_data(cqe);
	res = cqe->res;
	io_uring_cqe_seen(&worker->ring, cqe);
	finish_read(worker, chunk, res);
	return chunk;
}

int io_read_unit(struct worker *worker, struct chunk *chunk, uint64_t off,
		 uint32_t len)
{
	uint64_t start, end;

	extent(chunk, off, len, &start, &end);
	count_read(worker, end - start);
	return read_rest(worker, chunk->buf + (start - chunk->base), 0,
			 end - start, start);
}
