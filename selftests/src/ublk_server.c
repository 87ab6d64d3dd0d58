// SPDX-License-Identifier: GPL-2.0
/*
 * A ublk server that a test can kill: a disk of zeroes, whose second half never
 * answers.
 *
 * ublk_server ID        serves /dev/ublkbID; prints a line when it is there.
 *			  Standard input is a socket: it keeps the file that
 *			  is sent there, closes it when a byte comes without
 *			  one, and prints a line for each.
 * ublk_server --delete ID removes what a killed server left behind
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/ublk_cmd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEPTH		16
#define IO_BYTES	(64 << 10)
#define SECTORS		(8 << 11)		/* 8 MiB */
#define SILENT_FROM	(SECTORS / 2)

/* The commands as ioctl numbers: that is the form every kernel takes. */
#define CONTROL_CMD(cmd)	_IOWR('u', cmd, struct ublksrv_ctrl_cmd)
#define IO_CMD(cmd)		_IOWR('u', cmd, struct ublksrv_io_cmd)

static int dev_id;

/* The rings have as many entries as are ever used at once. */
static struct io_uring_sqe *next_sqe(struct io_uring *ring, size_t size)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	if (!sqe)
		errx(2, "the ring is full");
	memset(sqe, 0, size);
	return sqe;
}

/* One command to the control device, to its end. */
static int control(__u32 op, void *data, __u16 len)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQE128 };
	struct ublksrv_ctrl_cmd cmd = {
		.dev_id = dev_id,
		.queue_id = (__u16)-1,
		.len = len,
		.addr = (unsigned long)data,
	};
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	struct io_uring ring;
	int fd, ret;

	if (op == CONTROL_CMD(UBLK_CMD_START_DEV))
		*(__u64 *)cmd.data = getpid();
	fd = open("/dev/ublk-control", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(2, "/dev/ublk-control");
	ret = io_uring_queue_init_params(1, &ring, &params);
	if (ret)
		errx(2, "io_uring: %s", strerror(-ret));
	sqe = next_sqe(&ring, 2 * sizeof(*sqe));
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = op;
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
	ret = io_uring_submit_and_wait(&ring, 1);
	if (ret < 0)
		errx(2, "io_uring_submit: %s", strerror(-ret));
	ret = io_uring_wait_cqe(&ring, &cqe);
	if (!ret)
		ret = cqe->res;
	io_uring_queue_exit(&ring);
	close(fd);
	return ret;
}

static void control_or_exit(__u32 op, void *data, __u16 len, const char *what)
{
	int ret = control(op, data, len);

	if (ret < 0)
		errx(1, "%s: %s", what, strerror(-ret));
}

static void queue_io(struct io_uring *ring, int fd, __u32 op, __u16 tag,
		     int result, const void *buffer)
{
	struct ublksrv_io_cmd cmd = {
		.tag = tag,
		.result = result,
		.addr = (unsigned long)buffer,
	};
	struct io_uring_sqe *sqe = next_sqe(ring, sizeof(*sqe));

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = op;
	sqe->user_data = tag;
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
}

/* The queue's commands must all come from one thread: this. */
static void *serve(void *unused)
{
	const struct ublksrv_io_desc *descs;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	char *zeroes;
	char path[32];
	__u16 tag;
	int fd;

	snprintf(path, sizeof(path), "/dev/ublkc%d", dev_id);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		err(2, "%s", path);
	descs = mmap(NULL, getpagesize(), PROT_READ, MAP_SHARED | MAP_POPULATE, fd,
		     UBLKSRV_CMD_BUF_OFFSET);
	zeroes = calloc(DEPTH, IO_BYTES);
	if (descs == MAP_FAILED || !zeroes || io_uring_queue_init(DEPTH, &ring, 0))
		err(2, "setting up the queue");
	for (tag = 0; tag < DEPTH; tag++)
		queue_io(&ring, fd, IO_CMD(UBLK_IO_FETCH_REQ), tag, 0,
			 zeroes + tag * IO_BYTES);
	while (io_uring_submit_and_wait(&ring, 1) >= 0) {
		if (io_uring_peek_cqe(&ring, &cqe))
			continue;
		tag = cqe->user_data;
		if (cqe->res != UBLK_IO_RES_OK)
			errx(1, "tag %u: %s", tag, strerror(-cqe->res));
		io_uring_cqe_seen(&ring, cqe);
		if (descs[tag].start_sector >= SILENT_FROM)
			continue;
		queue_io(&ring, fd, IO_CMD(UBLK_IO_COMMIT_AND_FETCH_REQ), tag,
			 descs[tag].nr_sectors << 9, zeroes + tag * IO_BYTES);
	}
	err(2, "io_uring_submit_and_wait");
	return unused;
}

/*
 * Keeps the file that comes with the next message on standard input, or closes
 * the one it keeps if none comes with it.
 */
static const char *receive(void)
{
	char byte, room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = room,
		.msg_controllen = sizeof(room),
	};
	static int file = -1;
	ssize_t got = recvmsg(STDIN_FILENO, &msg, 0);

	if (got < 0)
		err(2, "standard input");
	if (!got)
		return NULL;
	if (CMSG_FIRSTHDR(&msg)) {
		memcpy(&file, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(file));
		return "received";
	}
	if (close(file))
		err(2, "closing file %d", file);
	return "closed";
}

int main(int argc, char **argv)
{
	struct ublksrv_ctrl_dev_info info = {
		.nr_hw_queues = 1,
		.queue_depth = DEPTH,
		.max_io_buf_bytes = IO_BYTES,
	};
	struct ublk_params params = {
		.len = sizeof(params),
		.types = UBLK_PARAM_TYPE_BASIC,
		.basic = {
			.logical_bs_shift = 9,
			.physical_bs_shift = 12,
			.io_opt_shift = 12,
			.io_min_shift = 9,
			.max_sectors = IO_BYTES >> 9,
			.dev_sectors = SECTORS,
		},
	};
	const char *answer;
	pthread_t thread;

	if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[1], "--delete")))
		errx(2, "usage: ublk_server [--delete] ID");
	dev_id = atoi(argv[argc - 1]);
	if (argc == 3) {
		control_or_exit(CONTROL_CMD(UBLK_CMD_DEL_DEV), NULL, 0, "deleting");
		return 0;
	}
	info.dev_id = dev_id;
	control_or_exit(CONTROL_CMD(UBLK_CMD_ADD_DEV), &info, sizeof(info), "adding");
	control_or_exit(CONTROL_CMD(UBLK_CMD_SET_PARAMS), &params, sizeof(params),
			"setting parameters");
	if (pthread_create(&thread, NULL, serve, NULL))
		errx(2, "no thread");
	control_or_exit(CONTROL_CMD(UBLK_CMD_START_DEV), NULL, 0, "starting");
	puts("started");
	fflush(stdout);
	while ((answer = receive())) {
		puts(answer);
		fflush(stdout);
	}
	return 0;
}
