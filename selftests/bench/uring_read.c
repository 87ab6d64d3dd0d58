// SPDX-License-Identifier: GPL-2.0
/*
 * Random reads of 4 KiB, in batches: submit so many, wait for them all. What fio
 * does, without its own choices and statistics, so that two runs execute the
 * same instructions. Prints the nanoseconds that a read takes.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#define DEPTH	32U
#define SIZE	4096U

static unsigned int batch;

static void die(int err, const char *what)
{
	fprintf(stderr, "uring_read: %s: %s\n", what, strerror(err));
	exit(1);
}

/* Any sequence will do that does not repeat soon (Numerical Recipes' ranqd1). */
static uint32_t next(uint32_t *state)
{
	*state = *state * 1664525U + 1013904223U;
	return *state >> 8;
}

static void read_batch(struct io_uring *ring, int fd, char *buffers,
		       uint64_t blocks, uint32_t *state)
{
	struct io_uring_cqe *cqe;
	unsigned int i;
	int ret;

	for (i = 0; i < batch; i++)
		io_uring_prep_read(io_uring_get_sqe(ring), fd, buffers + i * SIZE,
				   SIZE, next(state) % blocks * SIZE);
	ret = io_uring_submit_and_wait(ring, batch);
	if (ret < 0)
		die(-ret, "submit");
	for (i = 0; i < batch; i++) {
		ret = io_uring_wait_cqe(ring, &cqe);
		if (ret)
			die(-ret, "wait");
		if (cqe->res != SIZE)
			die(cqe->res < 0 ? -cqe->res : EIO, "read");
		io_uring_cqe_seen(ring, cqe);
	}
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

int main(int argc, char **argv)
{
	unsigned long reads, i;
	uint64_t size, began;
	struct io_uring ring;
	uint32_t state = 1;
	char *buffers;
	int fd, ret;

	if (argc == 4) {
		batch = strtoul(argv[2], NULL, 10);
		reads = strtoul(argv[3], NULL, 10);
	}
	if (argc != 4 || !batch || batch > DEPTH || !reads || reads % batch) {
		fprintf(stderr, "usage: uring_read DISK BATCH READS\n");
		return 2;
	}
	fd = open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size))
		die(errno, argv[1]);
	if (size < SIZE)
		die(EINVAL, argv[1]);
	buffers = aligned_alloc(SIZE, DEPTH * SIZE);
	if (!buffers)
		die(ENOMEM, "buffers");
	memset(buffers, 0, DEPTH * SIZE);
	ret = io_uring_queue_init(DEPTH, &ring, IORING_SETUP_SINGLE_ISSUER |
						IORING_SETUP_DEFER_TASKRUN);
	if (ret)
		die(-ret, "make a ring");

	/* What is set up at the first use is not to be counted. */
	for (i = 0; i < reads / 8; i += batch)
		read_batch(&ring, fd, buffers, size / SIZE, &state);
	began = now_ns();
	for (i = 0; i < reads; i += batch)
		read_batch(&ring, fd, buffers, size / SIZE, &state);
	printf("%.3f\n", (double)(now_ns() - began) / reads);
	return 0;
}
