// SPDX-License-Identifier: GPL-2.0
/* Attachments: making and ending them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "internal.h"

static int err_link(const struct blkbpf_prog *prog, int err)
{
	char msg[BLK_BPF_MSG_MAX];

	control_last_msg(msg);
	if (*msg)
		return blkbpf_err(err, "program '%s': %s", prog->name, msg);
	if (!have_sys_admin())
		return blkbpf_err(EPERM,
				  "program '%s': attaching needs CAP_SYS_ADMIN: run as root",
				  prog->name);
	return blkbpf_err(err, "program '%s': the kernel made no link of it: %s",
			  prog->name, strerror(err));
}

int blkbpf_attach(const struct blkbpf_prog *prog, int dev_fd,
		  const struct blkbpf_attach_opts *user_opts, uint32_t *id)
{
	struct blk_bpf_attach attach = { .dev_fd = dev_fd };
	struct blkbpf_attach_opts opts = {};
	char stale[BLK_BPF_MSG_MAX];
	int map_fd, control, ret;

	if (!opts_copy(&opts, sizeof(opts), user_opts, "attach"))
		return -errno;
	map_fd = blkbpf_prog__fd(prog);
	if (map_fd < 0)
		return map_fd;
	control = control_open();
	if (control < 0)
		return control;

	control_last_msg(stale);
	attach.link_fd = bpf_link_create(map_fd, 0, BPF_STRUCT_OPS, NULL);
	if (attach.link_fd < 0) {
		ret = err_link(prog, errno);
		goto out;
	}
	attach.hdr.flags = opts.flags;
	attach.priority = opts.priority;
	attach.budget_ns = opts.budget_ns;
	memcpy(attach.args, opts.args, sizeof(attach.args));
	ret = control_ioctl(control, BLK_BPF_IOC_ATTACH, &attach, prog->name);
	if (ret) {
		close(attach.link_fd);
		goto out;
	}
	if (id)
		*id = attach.id;
	ret = attach.link_fd;
out:
	close(control);
	return ret;
}

static int remove_pins(uint32_t link_id)
{
	struct blkbpf_pin *pins;
	size_t nr, i;
	int ret;

	ret = blkbpf_pins(&pins, &nr);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++)
		if (pins[i].is_link && pins[i].id == link_id &&
		    unlink(pins[i].path) && errno != ENOENT && !ret)
			ret = blkbpf_err(errno, "%s: detached, but the pin cannot be removed: %s",
					 pins[i].path, strerror(errno));
	blkbpf_pins_free(pins, nr);
	return ret;
}

/* Whoever detaches wants the program to be gone, not only on its way. */
static int drain(uint32_t id)
{
	struct blk_bpf_drain arg = {};
	char what[64];
	int fd, ret;

	fd = control_open();
	if (fd < 0)
		return fd;
	snprintf(what, sizeof(what), "attachment %u: detached, but waiting for its I/O failed", id);
	ret = control_ioctl(fd, BLK_BPF_IOC_DRAIN, &arg, what);
	close(fd);
	return ret;
}

int blkbpf_detach(uint32_t id)
{
	struct blk_bpf_attachment *entries;
	uint32_t link_id = 0;
	size_t nr, i;
	int fd, ret;

	ret = blkbpf_attachments(&entries, &nr);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++)
		if (entries[i].id == id)
			link_id = entries[i].link_id;
	free(entries);

	fd = link_id ? bpf_link_get_fd_by_id(link_id) : -1;
	if (!link_id || (fd < 0 && errno == ENOENT))
		return blkbpf_err(ENOENT, "attachment %u: there is none with this id: 'blkbpf list' shows them",
				  id);
	if (fd < 0)
		return blkbpf_err(errno, "attachment %u: its link %u cannot be opened: %s",
				  id, link_id, strerror(errno));
	ret = bpf_link_detach(fd);
	if (ret)
		ret = blkbpf_err(errno, "attachment %u: cannot be detached: %s",
				 id, strerror(errno));
	close(fd);
	if (!ret)
		ret = remove_pins(link_id);
	return ret ? ret : drain(id);
}
