// SPDX-License-Identifier: GPL-2.0
/* One NVMe command, waited for or not. */
#include <linux/blk-mq.h>
#include <linux/completion.h>
#include <linux/sched/signal.h>

#include "csd.h"

/* Bytes of a submission and of a completion queue entry. */
#define SQE_BYTES	64
#define CQE_BYTES	16
/* How long a command may find no place in a queue. */
#define FULL_QUEUE_MS	10

void csd_cmd_init(struct csd_cmd *cmd)
{
	memset(cmd, 0, sizeof(*cmd));
	spin_lock_init(&cmd->lock);
}

static void count_traffic(const struct csd_cmd *cmd)
{
	struct blk_bpf_scan_path *path = cmd->path;

	if (!path)
		return;
	path->commands++;
	path->link_to_drive += SQE_BYTES;
	path->link_to_host += CQE_BYTES;
	if (nvme_is_write((struct nvme_command *)&cmd->nvme))
		path->link_to_drive += cmd->len;
	else
		path->link_to_host += cmd->len;
}

static enum rq_end_io_ret cmd_end_io(struct request *rq, blk_status_t error)
{
	struct csd_cmd *cmd = rq->end_io_data;
	unsigned long flags;

	spin_lock_irqsave(&cmd->lock, flags);
	cmd->rq = NULL;
	spin_unlock_irqrestore(&cmd->lock, flags);
	cmd->ended = ktime_get_ns();
	cmd->result = le64_to_cpu(nvme_req(rq)->result.u64);
	cmd->status = nvme_req(rq)->status & NVME_SCT_SC_MASK;
	if (nvme_req(rq)->flags & NVME_REQ_CANCELLED)
		cmd->status = NVME_SC_HOST_ABORTED_CMD;
	else if (!cmd->status && error)
		cmd->status = CSD_NOT_SENT;
	cmd->done(cmd);
	return RQ_END_IO_FREE;
}

/**
 * csd_cmd_limit - bytes of data that one command may have
 * @q: as for csd_cmd_submit()
 *
 * Wherever in memory they are: each page may be a segment of its own, and the
 * first and the last one a part of a page.
 */
u32 csd_cmd_limit(struct request_queue *q)
{
	u64 bytes = (u64)queue_max_hw_sectors(q) << SECTOR_SHIFT;
	u64 pages = max(queue_max_segments(q), 2) - 1;

	return min3(bytes, pages << PAGE_SHIFT, (u64)SZ_1G);
}

/**
 * csd_cmd_submit - send a command
 * @q:   the admin queue, or that of a namespace to which there is a reference
 * @cmd: its @done is called once it ended, if this returns 0
 *
 * Context: may sleep for memory, never for the drive.
 * Return: 0; -EAGAIN if the queue is full or frozen; -ENODEV if it is dead;
 * -ENOMEM; another error if the data do not fit into one command, which those of
 * csd_cmd_limit() do.
 */
int csd_cmd_submit(struct request_queue *q, struct csd_cmd *cmd)
{
	struct request *rq;
	int err;

	rq = blk_mq_alloc_request(q, nvme_req_op(&cmd->nvme), BLK_MQ_REQ_NOWAIT);
	/* Who does not wait is not told that there is nothing to wait for. */
	if (rq == ERR_PTR(-EWOULDBLOCK))
		return blk_queue_dying(q) ? -ENODEV : -EAGAIN;
	if (IS_ERR(rq))
		return PTR_ERR(rq);
	nvme_init_request(rq, &cmd->nvme);
	/* Without this it could go out while a reset sets the controller up. */
	nvme_req(rq)->flags |= NVME_REQ_USERCMD;
	if (cmd->timeout)
		rq->timeout = cmd->timeout;
	if (cmd->buf) {
		err = blk_rq_map_kern(q, rq, cmd->buf, cmd->len, GFP_KERNEL);
		if (err) {
			blk_mq_free_request(rq);
			return err;
		}
	}
	rq->end_io = cmd_end_io;
	rq->end_io_data = cmd;
	cmd->status = CSD_NOT_SENT;
	cmd->result = 0;
	cmd->rq = rq;
	cmd->sent = ktime_get_ns();
	count_traffic(cmd);
	blk_execute_rq_nowait(rq, false);
	return 0;
}

static void wake_waiter(struct csd_cmd *cmd)
{
	complete(cmd->waiter);
}

/**
 * csd_cmd_wait - send a command and wait for its end
 * @q:   as in csd_cmd_submit()
 * @cmd: its @done is not the caller's
 *
 * The wait for a place in the queue ends by a signal, or after the queue's own
 * timeout; the wait for the end by the request's timeout.
 *
 * Return: 0, with @cmd->status; or an error as csd_cmd_submit(), or -EINTR.
 */
int csd_cmd_wait(struct request_queue *q, struct csd_cmd *cmd)
{
	unsigned long end = jiffies + NVME_IO_TIMEOUT;
	DECLARE_COMPLETION_ONSTACK(ended);
	int err;

	cmd->done = wake_waiter;
	cmd->waiter = &ended;
	while ((err = csd_cmd_submit(q, cmd)) == -EAGAIN) {
		if (time_after(jiffies, end))
			return err;
		if (fatal_signal_pending(current))
			return -EINTR;
		schedule_timeout_killable(msecs_to_jiffies(FULL_QUEUE_MS));
	}
	if (!err)
		wait_for_completion_io(&ended);
	return err;
}

/*
 * Abort, by hand: before the request's timeout, when a scan ends and a program
 * does not.
 */
static enum rq_end_io_ret abort_end_io(struct request *rq, blk_status_t error)
{
	struct csd_drive *drive = rq->end_io_data;

	atomic_inc(&drive->ctrl->abort_limit);
	csd_drive_leave(drive);
	return RQ_END_IO_FREE;
}

/**
 * csd_cmd_abort - have the drive end a command early
 * @drive: in use by the caller
 * @cmd:   perhaps under way
 *
 * Best effort: its end, aborted or not, is still to be waited for. The Abort uses
 * the drive until its own end.
 *
 * Context: does not wait.
 * Return: whether there is nothing more to be tried.
 */
bool csd_cmd_abort(struct csd_drive *drive, struct csd_cmd *cmd)
{
	struct nvme_ctrl *ctrl = drive->ctrl;
	struct nvme_command abort = { .abort.opcode = nvme_admin_abort_cmd };
	unsigned long flags;
	struct request *rq;
	bool found = false;

	spin_lock_irqsave(&cmd->lock, flags);
	if (cmd->rq) {
		abort.abort.cid = nvme_cid(cmd->rq);
		abort.abort.sqid = cpu_to_le16(nvme_req_qid(cmd->rq));
		found = true;
	}
	spin_unlock_irqrestore(&cmd->lock, flags);
	if (!found)
		return true;
	if (atomic_dec_return(&ctrl->abort_limit) < 0) {
		atomic_inc(&ctrl->abort_limit);
		return false;
	}
	rq = blk_mq_alloc_request(ctrl->admin_q, nvme_req_op(&abort),
				  BLK_MQ_REQ_NOWAIT);
	if (IS_ERR(rq)) {
		atomic_inc(&ctrl->abort_limit);
		return false;
	}
	nvme_init_request(rq, &abort);
	/* As in csd_cmd_submit(); one that is being removed is not reset again. */
	if (!nvme_state_terminal(ctrl))
		nvme_req(rq)->flags |= NVME_REQ_USERCMD;
	csd_drive_hold(drive);
	rq->end_io = abort_end_io;
	rq->end_io_data = drive;
	blk_execute_rq_nowait(rq, false);
	return true;
}

/* Statuses that say the controller was reset, or is being reset. */
bool csd_status_is_reset(u16 status)
{
	switch (status) {
	case NVME_SC_ABORT_QUEUE:
	case NVME_SC_HOST_PATH_ERROR:
	case NVME_SC_HOST_ABORTED_CMD:
	case CSD_NOT_SENT:
		return true;
	}
	return false;
}

/* What a command that was waited for ended with, as an errno. */
int csd_errno(int ret)
{
	if (ret <= 0)
		return ret;
	return csd_status_is_reset(ret) ? -ENOTRECOVERABLE : -EREMOTEIO;
}

/* Statuses that say a block could not be read. */
bool csd_status_is_media(u16 status)
{
	return (status & NVME_SCT_MASK) == NVME_SCT_MEDIA_ERROR;
}

static const struct {
	u16 status;
	const char *text;
} status_texts[] = {
	{ NVME_SC_INVALID_OPCODE,	"it does not know the command" },
	{ NVME_SC_INVALID_FIELD,	"a field of the command is invalid" },
	{ NVME_SC_INTERNAL,		"internal error" },
	{ NVME_SC_ABORT_REQ,		"the command was aborted" },
	{ NVME_SC_ABORT_QUEUE,		"the controller was reset" },
	{ NVME_SC_INVALID_NS,		"there is no such namespace" },
	{ NVME_SC_LBA_RANGE,		"blocks past the end of the namespace" },
	{ NVME_CSD_SC_SIZE_LIMIT,	"a command is too long for it" },
	{ NVME_CSD_SC_BAD_NS_FORMAT,	"the namespace has a format that it cannot copy" },
	{ NVME_CSD_SC_NO_FAST_COPY,	"no fast copy" },
	{ NVME_CSD_SC_OVERLAP,		"ranges overlap" },
	{ NVME_CSD_SC_UNREACHABLE,	"its memory cannot reach the namespace" },
	{ NVME_CSD_SC_RESOURCES,	"too many commands are outstanding" },
	{ NVME_CSD_SC_PROG_RESOURCES,	"not enough memory for the program" },
	{ NVME_CSD_SC_BAD_MEM_NS,	"it does not know its memory namespace" },
	{ NVME_CSD_SC_BAD_RANGE_SET,	"it does not take the memory ranges" },
	{ NVME_CSD_SC_BAD_RSID,		"it lost a memory range set" },
	{ NVME_CSD_SC_BAD_PROG_DATA,	"it does not take the program" },
	{ NVME_CSD_SC_BAD_PIND,		"it does not know the program's index" },
	{ NVME_CSD_SC_BAD_PTYPE,	"it does not run programs of this type" },
	{ NVME_CSD_SC_MAX_RANGES,	"too many memory ranges" },
	{ NVME_CSD_SC_MAX_RANGE_SETS,	"too many memory range sets" },
	{ NVME_CSD_SC_MAX_ACTIVE,	"too many programs are active" },
	{ NVME_CSD_SC_MAX_PROG_BYTES,	"its memory for programs is full" },
	{ NVME_CSD_SC_NO_PROGRAM,	"the program is gone" },
	{ NVME_CSD_SC_NOT_ACTIVE,	"the program is not active" },
	{ NVME_CSD_SC_PROG_IN_USE,	"the program is in use" },
	{ NVME_CSD_SC_NOT_DOWNLOADABLE,	"the index holds a program already" },
	{ NVME_CSD_SC_PROG_TOO_BIG,	"the program is too big for it" },
	{ NVME_CSD_SC_PROG_FAULT,	"the program ended with a fault" },
	{ NVME_CSD_SC_DEADLINE,		"the program took too long" },
	{ NVME_SC_HOST_PATH_ERROR,	"the controller is not ready" },
	{ NVME_SC_HOST_ABORTED_CMD,	"the controller went away" },
	{ CSD_NOT_SENT,			"the command could not be sent" },
};

/* A status in words; its number is for the caller to add. */
const char *csd_status_text(u16 status)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(status_texts); i++) {
		if (status_texts[i].status == status)
			return status_texts[i].text;
	}
	return "an error that this driver has no words for";
}

/**
 * csd_get_log - read a log page
 * @ctrl: live
 * @nsid: or NVME_NSID_ALL
 * @lid:  which log
 * @lsi:  log specific identifier
 * @buf:  zeroed first
 * @len:  bytes, a multiple of 4
 *
 * Return: 0, a status of the drive's (positive), or a negative errno.
 */
int csd_get_log(struct nvme_ctrl *ctrl, u32 nsid, u8 lid, u16 lsi, void *buf,
		u32 len)
{
	struct csd_cmd cmd;
	u32 dwords = nvme_bytes_to_numd(len);
	int err;

	csd_cmd_init(&cmd);
	memset(buf, 0, len);
	cmd.nvme.get_log_page.opcode = nvme_admin_get_log_page;
	cmd.nvme.get_log_page.nsid = cpu_to_le32(nsid);
	cmd.nvme.get_log_page.lid = lid;
	cmd.nvme.get_log_page.numdl = cpu_to_le16(dwords & 0xffff);
	cmd.nvme.get_log_page.numdu = cpu_to_le16(dwords >> 16);
	cmd.nvme.common.cdw11 |= cpu_to_le32((u32)lsi << 16);
	cmd.buf = buf;
	cmd.len = len;
	err = csd_cmd_wait(ctrl->admin_q, &cmd);
	return err ?: cmd.status;
}
