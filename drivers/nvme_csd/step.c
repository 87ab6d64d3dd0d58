// SPDX-License-Identifier: GPL-2.0
/* What becomes of a piece: filled, executed, fetched, done. */
#include <linux/slab.h>

#include "run.h"

/* Nothing behind this piece is wanted any more; what is before it is. */
void csd_limit(struct csd_piece *piece)
{
	struct csd_run *run = piece->run;

	if (place_before(piece->base.extent, piece->base.off, &run->limit)) {
		run->limit.extent = piece->base.extent;
		run->limit.off = piece->base.off;
	}
}

/**
 * csd_piece_fail - a piece cannot be done, and the scan ends at it
 * @piece: becomes DONE
 * @err:   negative errno
 * @fmt:   a sentence
 */
void csd_piece_fail(struct csd_piece *piece, int err, const char *fmt, ...)
{
	va_list args;

	kfree(piece->base.why);
	va_start(args, fmt);
	piece->base.why = kvasprintf(GFP_KERNEL, fmt, args);
	va_end(args);
	piece->base.err = err;
	csd_limit(piece);
}

static int status_errno(u16 status)
{
	if (status == NVME_CSD_SC_UNREACHABLE || status == NVME_CSD_SC_BAD_NS_FORMAT)
		return -EOPNOTSUPP;
	return csd_errno(status);
}

static bool drive_is_going(struct csd_drive *drive)
{
	return csd_drive_is_dead(drive) || nvme_state_terminal(drive->ctrl);
}

static void fail_removed(struct csd_piece *piece)
{
	csd_piece_fail(piece, -ENODEV, "%s was removed when the scan was at %llu",
		       piece->run->drive->target.name,
		       piece_pos(piece, piece->base.done));
}

/* A command of the piece failed: what the drive, or its absence, says. */
void csd_piece_fail_status(struct csd_piece *piece, u16 status, const char *what)
{
	struct csd_drive *drive = piece->run->drive;
	u64 pos = piece_pos(piece, piece->base.done);
	const char *name = drive->target.name;

	if (drive_is_going(drive)) {
		fail_removed(piece);
	} else if (csd_status_is_reset(status) ||
		   status == NVME_CSD_SC_NO_PROGRAM ||
		   status == NVME_CSD_SC_NOT_ACTIVE) {
		csd_piece_fail(piece, -ENOTRECOVERABLE,
			"%s was reset when the scan was at %llu: go on with the cursor",
			name, pos);
	} else if (status == NVME_SC_ABORT_REQ) {
		csd_piece_fail(piece, -ETIMEDOUT,
			"%s did not %s for the units at %llu within %u ms, and was told to abort it",
			name, what, pos, csd_timeout_ms);
	} else {
		csd_piece_fail(piece, status_errno(status),
			"%s could not %s for the units at %llu: %s (status 0x%x)",
			name, what, pos, csd_status_text(status), status);
	}
}

/**
 * csd_piece_again - the drive has too much to do: later, but not for ever
 * @piece: its command was refused for that
 * @step:  where it goes on
 */
void csd_piece_again(struct csd_piece *piece, enum csd_step step)
{
	u64 limit = (u64)BUSY_MAX * csd_timeout_ms * NSEC_PER_MSEC;
	u64 now = ktime_get_ns();

	if (!piece->busy)
		piece->busy = now;
	if (now - piece->busy > limit) {
		csd_piece_fail(piece, -EBUSY,
			"%s has been too busy for the units at %llu for %llu ms: go on with the cursor",
			piece->run->drive->target.name,
			piece_pos(piece, piece->base.done),
			div_u64(now - piece->busy, NSEC_PER_MSEC));
		return;
	}
	piece->run->again = true;
	piece->step = step;
}

/*
 * Commands: out, and back
 */

/* A slot's command, or its last read, ended. Context: any. */
void csd_slot_ended(struct csd_slot *slot)
{
	struct csd_run *run = slot->piece->run;
	unsigned long flags;

	spin_lock_irqsave(&run->lock, flags);
	list_add_tail(&slot->event, &run->events);
	run->nr_out--;
	/* Under the lock: who sees nr_out at 0 may free the run. */
	wake_up(&run->wait);
	spin_unlock_irqrestore(&run->lock, flags);
}

static void cmd_done(struct csd_cmd *cmd)
{
	csd_slot_ended(container_of(cmd, struct csd_slot, cmd));
}

static void count_out(struct csd_run *run, int nr)
{
	spin_lock_irq(&run->lock);
	run->nr_out += nr;
	spin_unlock_irq(&run->lock);
}

/**
 * csd_send - send the command of a piece's slot
 * @piece: has a slot
 * @ns:    to which namespace
 * @next:  the step that the piece is at until the end of the command
 *
 * A queue that is full is no error: it is tried again.
 *
 * Return: whether it is under way.
 */
bool csd_send(struct csd_piece *piece, struct nvme_ns *ns, enum csd_step next)
{
	struct csd_cmd *cmd = &piece->slot->cmd;
	struct csd_run *run = piece->run;
	int err;

	cmd->nvme.common.nsid = cpu_to_le32(ns->head->ns_id);
	cmd->done = cmd_done;
	cmd->timeout = msecs_to_jiffies(csd_timeout_ms);
	count_out(run, 1);
	err = csd_cmd_submit(ns->queue, cmd);
	if (!err) {
		piece->step = next;
		return true;
	}
	count_out(run, -1);
	if (err == -EAGAIN)
		run->again = true;
	else if (err == -ENODEV)
		fail_removed(piece);
	else
		/* The host's own trouble: the drive keeps what it has. */
		csd_piece_fail(piece, err,
			"a command to %s for the units at %llu could not be made (error %d): go on with the cursor",
			run->drive->target.name,
			piece_pos(piece, piece->base.done), err);
	return false;
}

/* A command for the slot, without the last one's fields. */
struct nvme_command *csd_new_cmd(struct csd_slot *slot, u8 opcode, void *buf,
				 u32 len)
{
	memset(&slot->cmd.nvme, 0, sizeof(slot->cmd.nvme));
	slot->aborted = false;
	slot->cmd.nvme.common.opcode = opcode;
	slot->cmd.buf = buf;
	slot->cmd.len = len;
	return &slot->cmd.nvme;
}

/*
 * Execute
 */

/* As many as come back by one command. */
static u32 result_bytes(const struct csd_drive *drive)
{
	return min_t(u32, RESULT_BYTES, csd_cmd_limit(drive->slm_ns->queue));
}

static u32 result_matches(const struct csd_drive *drive)
{
	return (result_bytes(drive) - sizeof(struct nvme_csd_result)) /
	       sizeof(struct blk_bpf_match);
}

static void set_exec(struct csd_piece *piece)
{
	const struct blk_bpf_job *job = &piece->run->base;
	const struct blk_bpf_extent *extent = &job->extents[piece->base.extent];
	struct csd_exec *data = piece->slot->exec;
	struct nvme_csd_exec *exec = &data->exec;
	u64 behind = extent->len - (piece->base.off + piece->fill_off + piece->fill_len);
	u64 pos = piece_pos(piece, piece->fill_off);
	u32 nsid = piece->run->drive->info.slm_nsid, i;

	memset(data, 0, sizeof(*data));
	data->range[0].nsid = cpu_to_le32(nsid);
	data->range[0].off = cpu_to_le64(piece->slot->data);
	data->range[0].len = cpu_to_le32(round_up(piece->fill_bytes, 4));
	data->range[1].nsid = cpu_to_le32(nsid);
	data->range[1].off = cpu_to_le64(piece->slot->results);
	data->range[1].len = cpu_to_le32(result_bytes(piece->run->drive));

	exec->size = cpu_to_le32(sizeof(*exec));
	exec->mode = NVME_CSD_SCAN;
	if (job->flags & BLK_BPF_SCAN_COUNT)
		exec->flags = cpu_to_le32(NVME_CSD_EXEC_COUNT);
	exec->data_range = cpu_to_le32(0);
	exec->result_range = cpu_to_le32(1);
	exec->unit = cpu_to_le32(job->unit);
	exec->data_off = cpu_to_le64(pos - piece->fill_pos);
	exec->data_len = cpu_to_le64(piece->fill_len);
	exec->tail_len = cpu_to_le32(min_t(u64, job->overlap, behind));
	exec->dev = cpu_to_le32(extent->dev);
	exec->pos = cpu_to_le64(pos);
	for (i = 0; i < BLK_BPF_NR_ARGS; i++)
		exec->args[i] = cpu_to_le64(job->args[i]);
	exec->cursor = piece->cursor;
}

static void execute(struct csd_piece *piece)
{
	struct csd_drive *drive = piece->run->drive;
	struct csd_slot *slot = piece->slot;
	struct nvme_command *cmd;

	set_exec(piece);
	piece->begun = piece->cursor;
	piece->whole = !piece->cursor.off && !piece->cursor.skip;
	cmd = csd_new_cmd(slot, drive->vendor_admin ? NVME_CSD_CP_EXECUTE_DLEN :
						      NVME_CSD_CP_EXECUTE,
			  slot->exec, sizeof(*slot->exec));
	cmd->common.cdw2[0] = cpu_to_le32(piece->run->prog->pind);
	cmd->common.cdw2[1] = cpu_to_le32(ARRAY_SIZE(slot->exec->range));
	if (drive->vendor_admin)
		cmd->common.cdw14 = cpu_to_le32(sizeof(*slot->exec));
	else	/* CDW4 is where other commands have the metadata pointer. */
		cmd->common.metadata = cpu_to_le64(sizeof(*slot->exec));
	csd_send(piece, drive->cp_ns, STEP_EXECUTING);
}

/*
 * Pieces become larger while they end soon, and smaller when they do not. How
 * long one took is counted from when the one before it ended, as it waited
 * until then; so with several engines it looks shorter than it was, at worst by
 * as many times.
 */
static void learn(struct csd_run *run, struct csd_piece *piece)
{
	const struct csd_cmd *cmd = &piece->slot->cmd;
	u64 since = max(cmd->sent, run->ended);
	u64 took = cmd->ended > since ? cmd->ended - since : 0;
	u64 limit = run->drive->info.deadline_ns ?: U64_MAX;
	u32 unit = run->base.unit;

	limit = min_t(u64, div_u64(limit, 4), SLICE_NS);
	run->ended = max(run->ended, cmd->ended);
	run->base.path.drive_ns += cmd->ended - cmd->sent;
	piece->base.prog_ns += cmd->ended - cmd->sent;
	if (!piece->whole)
		return;
	if (took * min(run->drive->info.engines, run->nr_slots) > limit)
		run->slice = max(rounddown(run->slice / 2, unit), unit);
	else if (took < limit / 4 && piece->fill_len >= run->slice)
		run->slice = min_t(u64, 2ULL * run->slice, SLICE_MAX);
}

/* The drive forgot the program before this call: once, that is no error. */
static bool reload(struct csd_piece *piece)
{
	struct csd_run *run = piece->run;
	struct blk_bpf_msg msg = {};
	int err;

	if (run->reloaded && piece->slot->cmd.sent < run->reloaded) {
		/* It was on its way before that. */
		piece->step = STEP_FILLED;
		return true;
	}
	if (run->executed || run->reloaded)
		return false;
	err = csd_program_reload(run->drive, run->prog, piece->slot->cmd.sent,
				 &run->base.path, &msg);
	if (!err)
		err = csd_give_globals(run, &msg);
	run->reloaded = ktime_get_ns();
	if (err)
		csd_piece_fail(piece, err, "%s", msg.text);
	else
		piece->step = STEP_FILLED;
	return true;
}

static void fetch(struct csd_piece *piece)
{
	struct csd_slot *slot = piece->slot;
	struct nvme_command *cmd;
	u32 len = sizeof(slot->found->head) +
		  piece->fetch * sizeof(slot->found->match[0]);

	cmd = csd_new_cmd(slot, NVME_CSD_SLM_READ, slot->found, len);
	cmd->common.cdw10 = cpu_to_le32(lower_32_bits(slot->results));
	cmd->common.cdw11 = cpu_to_le32(upper_32_bits(slot->results));
	cmd->common.cdw12 = cpu_to_le32(len);
	csd_send(piece, piece->run->drive->slm_ns, STEP_FETCHING);
}

static void execute_ended(struct csd_piece *piece)
{
	const struct csd_cmd *cmd = &piece->slot->cmd;
	struct csd_run *run = piece->run;
	u32 nr = lower_32_bits(cmd->result);
	u8 status = upper_32_bits(cmd->result) & 0xff;

	learn(run, piece);
	switch (cmd->status) {
	case 0:
	case NVME_CSD_SC_PROG_FAULT:
	case NVME_CSD_SC_DEADLINE:
		break;
	case NVME_SC_ABORT_REQ:
		if (!run->stopping) {
			csd_piece_fail_status(piece, cmd->status, "run the program");
			return;
		}
		/* Aborted by us: the scan returns, and runs it again. */
		piece->cursor = piece->begun;
		piece->step = STEP_PLANNED;
		return;
	case NVME_CSD_SC_RESOURCES:
		csd_piece_again(piece, STEP_FILLED);
		return;
	case NVME_CSD_SC_NO_PROGRAM:
	case NVME_CSD_SC_NOT_ACTIVE:
		if (reload(piece))
			return;
		fallthrough;
	default:
		csd_piece_fail_status(piece, cmd->status, "run the program");
		return;
	}
	run->executed = true;
	piece->busy = 0;
	if (!cmd->status && !nr && status == NVME_CSD_DONE &&
	    !(run->base.flags & BLK_BPF_SCAN_COUNT)) {
		csd_take_nothing(piece);
		piece->step = STEP_PLANNED;
		return;
	}
	piece->fetch = run->base.flags & BLK_BPF_SCAN_COUNT ? 0 :
		       min(nr, result_matches(run->drive));
	piece->step = STEP_EXECUTED;
}

/* Results that are there: then on, unless enough are kept already. */
static void fetch_ended(struct csd_piece *piece)
{
	const struct csd_slot *slot = piece->slot;
	bool more;

	if (slot->cmd.status) {
		csd_piece_fail_status(piece, slot->cmd.status, "return what it found");
		return;
	}
	/* More than the completion said: then once more, for all of it. */
	if (le32_to_cpu(slot->found->head.nr) > piece->fetch &&
	    le32_to_cpu(slot->found->head.nr) <= result_matches(piece->run->drive) &&
	    !piece->fetch) {
		piece->fetch = le32_to_cpu(slot->found->head.nr);
		piece->step = STEP_EXECUTED;
		return;
	}
	more = csd_take_results(piece);
	if (!more || piece->base.stop)
		piece->step = STEP_DONE;
	else if (le64_to_cpu(piece->cursor.off) == piece->fill_len)
		piece->step = STEP_PLANNED;
	else
		piece->step = STEP_FILLED;
}

/*
 * The scanning task
 */

/* The command of a slot, or its reads, ended. */
void csd_event(struct csd_slot *slot)
{
	struct csd_piece *piece = slot->piece;

	switch (piece->step) {
	case STEP_FILLING:
		if (csd_fill_ended(piece))
			piece->step = STEP_FILLED;
		break;
	case STEP_EXECUTING:
		execute_ended(piece);
		break;
	case STEP_FETCHING:
		fetch_ended(piece);
		break;
	default:
		WARN_ON_ONCE(1);
	}
	if (piece->base.err)
		piece->step = STEP_DONE;
}

/* More of the piece, in the slot that it has or gets; false if it gets none. */
static void plan_fill(struct csd_piece *piece)
{
	struct csd_run *run = piece->run;
	u32 left = piece->base.len - piece->base.done, len;
	int err;

	if (!left) {
		piece->step = STEP_DONE;
		return;
	}
	len = piece->single ? min(left, run->base.unit) : left;
	if (!piece->slot) {
		struct csd_slot *slot = csd_slot_get(run, source_of(piece)->way, len);

		if (!slot)
			return;
		if (IS_ERR(slot)) {
			csd_piece_fail(piece, PTR_ERR(slot),
				"no memory for a slot of %s's memory",
				run->drive->target.name);
			return;
		}
		slot->piece = piece;
		piece->slot = slot;
	}
	piece->fill_off = piece->base.done;
	piece->fill_len = min(len, csd_slot_room(run, piece->slot));
	piece->cursor.off = 0;
	err = csd_fill(piece);
	if (err && drive_is_going(run->drive))
		fail_removed(piece);
	else if (err)
		csd_piece_fail(piece, err, "%s cannot be given the units at %llu (error %d)",
			       run->drive->target.name,
			       piece_pos(piece, piece->fill_off), err);
}

void csd_slot_leave(struct csd_piece *piece)
{
	if (!piece->slot)
		return;
	csd_slot_put(piece->run, piece->slot);
	piece->slot = NULL;
}

/**
 * csd_step - have the next thing done with a piece
 * @piece: not DONE, and none of its commands is under way
 *
 * What was executed is fetched whatever happens, so that no unit is run twice;
 * else nothing begins when the scan is about to return, or behind an error.
 */
void csd_step(struct csd_piece *piece)
{
	struct csd_run *run = piece->run;
	bool begin = !run->stopping &&
		     (place_before(piece->base.extent, piece->base.off, &run->limit) ||
		      (piece->base.extent == run->limit.extent &&
		       piece->base.off == run->limit.off));

	if (piece->step == STEP_EXECUTED)
		fetch(piece);
	if (piece->step == STEP_FILLED && !begin)
		piece->step = STEP_PLANNED;
	if (piece->step == STEP_FILLED) {
		/* Enough for now: on when these were handed out. */
		if (piece->kept >= BLK_BPF_PIECE_MATCHES)
			piece->step = STEP_DONE;
		else
			execute(piece);
	}
	if (piece->step == STEP_PLANNED && !begin)
		csd_slot_leave(piece);
	if (piece->step == STEP_PLANNED && (begin || piece->base.done == piece->base.len))
		plan_fill(piece);
	if (piece->base.err)
		piece->step = STEP_DONE;
	if (piece->step == STEP_DONE) {
		csd_slot_leave(piece);
		csd_piece_ends(piece);
	}
}
