// SPDX-License-Identifier: GPL-2.0
/* /dev/blk_bpf: everything but scan and attach. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "internal.h"

int control_open(void)
{
	int fd = open(BLK_BPF_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return blkbpf_err(ENODEV,
				  BLK_BPF_DEVICE " is missing: the kernel module is not loaded: run 'modprobe blk_bpf'");
	case EACCES:
	case EPERM:
		return blkbpf_err(errno,
				  BLK_BPF_DEVICE ": no permission to open it: run as root, or let an administrator open it to your group");
	}
	return blkbpf_err(errno, BLK_BPF_DEVICE ": cannot open it: %s",
			  strerror(errno));
}

int control_ioctl(int fd, unsigned long request, void *arg, const char *what)
{
	char msg[BLK_BPF_MSG_MAX] = "";
	struct blk_bpf_hdr *hdr = arg;
	int ret;

	hdr->size = _IOC_SIZE(request);
	hdr->msg = (uintptr_t)msg;
	hdr->msg_len = sizeof(msg);
	ret = ioctl(fd, request, arg);
	hdr->msg = 0;
	hdr->msg_len = 0;
	if (ret >= 0)
		return ret;
	if (errno == ENOTTY)
		return blkbpf_err(ENOTTY,
				  "%s: the kernel module is older than this command and does not know the request: load the one that belongs to it",
				  what);
	return blkbpf_err(errno, "%s: %s", what, *msg ? msg : strerror(errno));
}

void control_last_msg(char *msg)
{
	struct blk_bpf_last_msg arg = {
		.hdr = {
			.size = sizeof(arg),
			.msg = (uintptr_t)msg,
			.msg_len = BLK_BPF_MSG_MAX,
		},
	};
	int saved = errno, fd;

	msg[0] = '\0';
	fd = open(BLK_BPF_DEVICE, O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		if (ioctl(fd, BLK_BPF_IOC_LAST_MSG, &arg))
			msg[0] = '\0';
		close(fd);
	}
	errno = saved;
}

int blkbpf_features(struct blk_bpf_features *features)
{
	int fd = control_open(), ret;

	if (fd < 0)
		return fd;
	memset(features, 0, sizeof(*features));
	ret = control_ioctl(fd, BLK_BPF_IOC_FEATURES, features, "features");
	close(fd);
	return ret;
}

/*
 * Both lists are asked for until the room was enough: there may be more than
 * the call before had said.
 */
int blkbpf_attachments(struct blk_bpf_attachment **entries, size_t *nr)
{
	struct blk_bpf_attachment *buf = NULL, *more;
	struct blk_bpf_list list;
	unsigned int room = 16;
	int fd, ret;

	fd = control_open();
	if (fd < 0)
		return fd;
	for (;;) {
		more = realloc(buf, room * sizeof(*buf));
		if (!more) {
			ret = blkbpf_err(ENOMEM, "list: out of memory");
			break;
		}
		buf = more;
		list = (struct blk_bpf_list) {
			.entry_size = sizeof(*buf),
			.entries = (uintptr_t)buf,
			.nr = room,
		};
		ret = control_ioctl(fd, BLK_BPF_IOC_LIST, &list,
				    "list of attachments");
		if (ret || list.total <= room)
			break;
		room = list.total + 16;
	}
	close(fd);
	if (ret) {
		free(buf);
		return ret;
	}
	*entries = buf;
	*nr = list.nr;
	return 0;
}

int blkbpf_missed(uint32_t id, struct blk_bpf_range **extents, size_t *nr)
{
	struct blk_bpf_range *buf = NULL, *more;
	struct blk_bpf_missed missed;
	unsigned int room = 64;
	int fd, ret;

	fd = control_open();
	if (fd < 0)
		return fd;
	for (;;) {
		more = realloc(buf, room * sizeof(*buf));
		if (!more) {
			ret = blkbpf_err(ENOMEM, "missed: out of memory");
			break;
		}
		buf = more;
		missed = (struct blk_bpf_missed) {
			.id = id,
			.nr = room,
			.extents = (uintptr_t)buf,
		};
		ret = control_ioctl(fd, BLK_BPF_IOC_MISSED, &missed,
				    "missed extents");
		if (ret || missed.total <= room)
			break;
		room = missed.total + 64;
	}
	close(fd);
	if (ret) {
		free(buf);
		return ret;
	}
	*extents = buf;
	*nr = missed.nr;
	return 0;
}

int blkbpf_stream_open(uint32_t id, uint32_t entries)
{
	struct blk_bpf_stream stream = { .id = id, .entries = entries };
	int fd = control_open(), ret;

	if (fd < 0)
		return fd;
	ret = control_ioctl(fd, BLK_BPF_IOC_STREAM, &stream,
			    "stream of an attachment");
	close(fd);
	return ret ? ret : stream.fd;
}

ssize_t blkbpf_stream_read(int fd, struct blk_bpf_event *events, size_t nr)
{
	ssize_t n = read(fd, events, nr * sizeof(*events));

	if (n < 0)
		return blkbpf_err(errno, "stream: %s", strerror(errno));
	return n / sizeof(*events);
}
