// SPDX-License-Identifier: GPL-2.0
/*
 * ngtime DEVICE DEPTH < COMMANDS - send NVMe commands to a generic device and
 * say when each began and ended.
 *
 * COMMANDS is a struct nvme_uring_cmd for each command; behind one whose opcode
 * has bit 0 set are the bytes that it sends. At most DEPTH are outstanding; each
 * gets a buffer of its own. For each command, in their order, a line: when it was
 * submitted and when it was seen to be done, in ns since the first submission,
 * its status, and its 64-bit result.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/nvme_ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct command {
	struct nvme_uring_cmd cmd;
	long long begun, ended;
	int status;
	unsigned long long result;
};

static void die(const char *what, int err)
{
	fprintf(stderr, "ngtime: %s: %s\n", what, strerror(err));
	exit(1);
}

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* The next command of standard input; false at its end. */
static bool take(struct command *c)
{
	void *data = NULL;

	memset(c, 0, sizeof(*c));
	if (fread(&c->cmd, sizeof(c->cmd), 1, stdin) != 1)
		return false;
	if (c->cmd.data_len) {
		if (posix_memalign(&data, 4096, c->cmd.data_len))
			die("memory", ENOMEM);
		/* Touched, so that it is not measured how that is done. */
		memset(data, 0, c->cmd.data_len);
	}
	if ((c->cmd.opcode & 1) && c->cmd.data_len &&
	    fread(data, c->cmd.data_len, 1, stdin) != 1)
		die("commands", EINVAL);
	c->cmd.addr = (unsigned long)data;
	return true;
}

static void submit(struct io_uring *ring, int fd, struct command *c, size_t n)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	if (!sqe)
		die("io_uring_get_sqe", EBUSY);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = NVME_URING_CMD_IO;
	sqe->user_data = n;
	memcpy(sqe->cmd, &c->cmd, sizeof(c->cmd));
	c->begun = now();
}

static void run(struct io_uring *ring, int fd, struct command *c, size_t nr,
		size_t depth)
{
	size_t next = 0, done = 0;

	while (done < nr) {
		struct io_uring_cqe *cqe;
		int err;

		while (next < nr && next - done < depth) {
			submit(ring, fd, &c[next], next);
			next++;
		}
		err = io_uring_submit_and_wait(ring, 1);
		if (err < 0 && err != -EINTR)
			die("io_uring_submit_and_wait", -err);
		while (!io_uring_peek_cqe(ring, &cqe)) {
			struct command *ended = &c[cqe->user_data];

			ended->ended = now();
			ended->status = cqe->res;
			ended->result = cqe->big_cqe[0];
			io_uring_cqe_seen(ring, cqe);
			done++;
		}
	}
}

int main(int argc, char **argv)
{
	struct command *commands = NULL;
	struct io_uring ring;
	size_t nr = 0, i;
	int fd, err, depth;

	depth = argc == 3 ? atoi(argv[2]) : 0;
	if (depth < 1 || depth > 1024) {
		fprintf(stderr, "usage: ngtime DEVICE DEPTH < COMMANDS\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	if (fd < 0)
		die(argv[1], errno);
	do {
		commands = realloc(commands, (nr + 1) * sizeof(*commands));
		if (!commands)
			die("memory", ENOMEM);
	} while (take(&commands[nr]) && ++nr);

	err = io_uring_queue_init(1024, &ring,
				  IORING_SETUP_SQE128 | IORING_SETUP_CQE32);
	if (err)
		die("io_uring_queue_init", -err);
	run(&ring, fd, commands, nr, depth);
	for (i = 0; i < nr; i++)
		printf("%lld %lld %d %llu\n",
		       commands[i].begun - commands[0].begun,
		       commands[i].ended - commands[0].begun,
		       commands[i].status, commands[i].result);
	return 0;
}
