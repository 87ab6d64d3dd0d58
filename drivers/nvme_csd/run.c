// SPDX-License-Identifier: GPL-2.0
/* A drive as a target of blk_bpf: its scans, and who does what when. */
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "run.h"

/* How long the end of a call waits for programs before it aborts them. */
#define GRACE_MS	200
/* How soon what found no place on the drive is tried again. */
#define AGAIN_MS	10

/*
 * Jobs
 */

static int refuse_gone(struct csd_drive *drive, struct blk_bpf_msg *msg)
{
	return blk_bpf_refuse(msg, -ENODEV,
		"%s was removed: scan on another target", drive->target.name);
}

static int check_image(struct csd_run *run, struct blk_bpf_msg *msg)
{
	struct blk_bpf_job *job = &run->base;
	struct csd_image *image = &run->image;
	int err;

	err = csd_image_parse(job->image, job->image_len, image, msg);
	if (err)
		return err;
	if (le32_to_cpu(image->header->overlap) != job->overlap)
		return blk_bpf_refuse(msg, -EINVAL,
			"the image's program has an overlap of %u, the loaded one of %u: give the image of the same program",
			le32_to_cpu(image->header->overlap), job->overlap);
	if (image->writable > run->drive->info.max_globals)
		return blk_bpf_refuse(msg, -ENOEXEC,
			"the program has %u bytes of global variables, %s takes %llu",
			image->writable, run->drive->target.name,
			run->drive->info.max_globals);
	if (job->globals_len && job->globals_len != image->writable)
		return blk_bpf_refuse(msg, -EINVAL,
			"globals_len is %u, the image's writable global variables have %u bytes",
			job->globals_len, image->writable);
	if (!image->writable)
		return 0;
	run->fresh = kvmalloc(image->writable, GFP_KERNEL_ACCOUNT);
	if (!run->fresh)
		return -ENOMEM;
	if (job->globals_len)
		return 0;
	run->values = kvmalloc(image->writable, GFP_KERNEL_ACCOUNT);
	if (!run->values)
		return -ENOMEM;
	csd_image_initial(image, job->image, run->values);
	return 0;
}

static u64 bytes_from(const struct blk_bpf_job *job, const struct blk_bpf_place *place)
{
	u64 bytes = 0;
	u32 i;

	for (i = place->extent; i < job->nr_extents; i++)
		bytes += job->extents[i].len;
	return bytes - place->off;
}

static int csd_start(struct blk_bpf_job *job, struct blk_bpf_msg *msg)
{
	struct csd_run *run = to_csd_run(job);
	int err;

	run->drive = to_csd_drive(job->target);
	spin_lock_init(&run->lock);
	init_waitqueue_head(&run->wait);
	INIT_LIST_HEAD(&run->node);
	INIT_LIST_HEAD(&run->events);
	INIT_LIST_HEAD(&run->pieces);
	INIT_LIST_HEAD(&run->idle);
	INIT_LIST_HEAD(&run->slots);
	run->next = job->begin;
	run->left = bytes_from(job, &job->begin);
	run->limit.extent = U32_MAX;
	run->slice = max(rounddown(SLICE_FIRST, job->unit), job->unit);
	if (!csd_drive_enter(run->drive))
		return refuse_gone(run->drive, msg);
	err = check_image(run, msg);
	if (!err)
		err = csd_sources_init(run, msg);
	csd_drive_leave(run->drive);
	return err;
}

static void csd_free(struct blk_bpf_job *job)
{
	struct csd_run *run = to_csd_run(job);
	struct csd_piece *piece, *next;

	list_splice_init(&run->pieces, &run->idle);
	list_for_each_entry_safe(piece, next, &run->idle, node) {
		blk_bpf_piece_reset(&piece->base);
		kfree(piece);
	}
	kvfree(run->values);
	kvfree(run->fresh);
	kfree(run->sources);
}

/*
 * Calls
 */

static void *values_of(struct csd_run *run)
{
	return run->base.globals ?: run->values;
}

static int refuse_globals(struct csd_run *run, int ret, struct blk_bpf_msg *msg)
{
	if (ret < 0)
		return ret;
	return blk_bpf_refuse(msg, csd_errno(ret),
		"%s does not take the program's global variables: %s (status 0x%x)",
		run->drive->target.name, csd_status_text(ret), ret);
}

static int write_globals(struct csd_run *run)
{
	if (!run->image.writable)
		return 0;
	return csd_program_globals(run->drive, run->prog, &run->image,
				   values_of(run), true, &run->base.path);
}

/* The program's global variables are what the caller says. */
int csd_give_globals(struct csd_run *run, struct blk_bpf_msg *msg)
{
	int ret = write_globals(run);

	return ret ? refuse_globals(run, ret, msg) : 0;
}

/*
 * What the program's global variables are now, all of them or none: a reset
 * half-way must not leave some of this call and some of the one before.
 */
static int read_globals(struct csd_run *run, struct blk_bpf_msg *msg)
{
	struct csd_drive *drive = run->drive;
	int ret = CSD_NOT_SENT;

	if (!run->image.writable)
		return 0;
	if (!csd_drive_is_dead(drive))
		ret = csd_program_globals(drive, run->prog, &run->image, run->fresh,
					  false, &run->base.path);
	if (!ret) {
		memcpy(values_of(run), run->fresh, run->image.writable);
		return 0;
	}
	return blk_bpf_refuse(msg, csd_errno(ret),
		"%s did not give the program's global variables back, which are as before this call: scan again from where it began (%d)",
		drive->target.name, ret);
}

/* The program with its variables; loaded again if a reset made the drive forget. */
static int load(struct csd_run *run, struct blk_bpf_msg *msg)
{
	struct csd_drive *drive = run->drive;
	struct blk_bpf_job *job = &run->base;
	u64 sent;
	int ret;

	run->prog = csd_program_get(drive, job->image, job->image_len, &run->image,
				    &job->path, msg);
	if (IS_ERR(run->prog))
		return PTR_ERR(run->prog);
	sent = ktime_get_ns();
	ret = write_globals(run);
	if (ret == NVME_CSD_SC_NO_PROGRAM || ret == NVME_CSD_SC_NOT_ACTIVE) {
		run->reloaded = ktime_get_ns();
		ret = csd_program_reload(drive, run->prog, sent, &job->path, msg);
		if (!ret)
			ret = csd_give_globals(run, msg);
	} else if (ret) {
		ret = refuse_globals(run, ret, msg);
	}
	if (ret)
		csd_program_put(drive, run->prog);
	return ret;
}

static int refuse_not_live(struct csd_drive *drive, int err, struct blk_bpf_msg *msg)
{
	if (err == -ENODEV)
		return refuse_gone(drive, msg);
	if (err == -ETIMEDOUT)
		return blk_bpf_refuse(msg, err,
			"%s does not come back from a reset: see the kernel's log",
			drive->target.name);
	return err;
}

static int csd_begin(struct blk_bpf_job *job, struct blk_bpf_msg *msg)
{
	struct csd_run *run = to_csd_run(job);
	struct csd_drive *drive = run->drive;
	int err;

	if (!csd_drive_enter(drive))
		return refuse_gone(drive, msg);
	run->executed = false;
	run->reloaded = 0;
	run->stopping = false;
	run->again = false;
	err = csd_drive_wait_live(drive);
	if (err)
		err = refuse_not_live(drive, err, msg);
	else
		err = load(run, msg);
	if (err) {
		csd_drive_leave(drive);
		return err;
	}
	job->stats.threads = 1;
	atomic_inc(&drive->nr_runs);
	spin_lock_irq(&drive->lock);
	list_add(&run->node, &drive->runs);
	spin_unlock_irq(&drive->lock);
	return 0;
}

/* The drive is going: scans look up. */
void csd_runs_wake(struct csd_drive *drive)
{
	struct csd_run *run;

	spin_lock_irq(&drive->lock);
	list_for_each_entry(run, &drive->runs, node)
		wake_up(&run->wait);
	spin_unlock_irq(&drive->lock);
}

static bool has_events(struct csd_run *run)
{
	bool has;

	spin_lock_irq(&run->lock);
	has = !list_empty(&run->events);
	spin_unlock_irq(&run->lock);
	return has;
}

static bool is_quiet(struct csd_run *run)
{
	bool quiet;

	/* With the lock: csd_slot_ended() holds it to its end. */
	spin_lock_irq(&run->lock);
	quiet = !run->nr_out;
	spin_unlock_irq(&run->lock);
	return quiet;
}

static void take_events(struct csd_run *run)
{
	struct csd_slot *slot;

	for (;;) {
		spin_lock_irq(&run->lock);
		slot = list_first_entry_or_null(&run->events, struct csd_slot, event);
		if (slot)
			list_del_init(&slot->event);
		spin_unlock_irq(&run->lock);
		if (!slot)
			return;
		csd_event(slot);
	}
}

/* Whether the next step of a piece is the scanning task's. */
static bool is_ours(const struct csd_piece *piece)
{
	return piece->step == STEP_PLANNED || piece->step == STEP_FILLED ||
	       piece->step == STEP_EXECUTED ||
	       (piece->step == STEP_DONE && piece->slot);
}

static void take_steps(struct csd_run *run)
{
	struct csd_piece *piece;

	list_for_each_entry(piece, &run->pieces, node) {
		if (is_ours(piece))
			csd_step(piece);
	}
}

/* Results that the drive has, and no place in a queue to fetch them. */
static bool has_unfetched(struct csd_run *run)
{
	struct csd_piece *piece;

	list_for_each_entry(piece, &run->pieces, node) {
		if (piece->step == STEP_EXECUTED)
			return true;
	}
	return false;
}

/* Those that the drive takes no Abort for now are for the next time. */
static void abort_programs(struct csd_run *run)
{
	struct csd_piece *piece;

	list_for_each_entry(piece, &run->pieces, node) {
		if (piece->step == STEP_EXECUTING && !piece->slot->aborted)
			piece->slot->aborted = csd_cmd_abort(run->drive,
							     &piece->slot->cmd);
	}
}

/*
 * Come to rest: nothing begins, what is under way is waited for. Results on
 * their way are fetched. A program that takes long is aborted.
 */
static void quiesce(struct csd_run *run)
{
	run->stopping = true;
	for (;;) {
		take_events(run);
		take_steps(run);
		if (is_quiet(run) && !has_events(run)) {
			if (!run->again || !has_unfetched(run))
				return;
			run->again = false;
			schedule_timeout_uninterruptible(msecs_to_jiffies(AGAIN_MS));
			continue;
		}
		if (!wait_event_timeout(run->wait, has_events(run),
					msecs_to_jiffies(GRACE_MS)))
			abort_programs(run);
	}
}

static int csd_end(struct blk_bpf_job *job, struct blk_bpf_msg *msg)
{
	struct csd_run *run = to_csd_run(job);
	struct csd_drive *drive = run->drive;
	struct csd_piece *piece;
	int err;

	quiesce(run);
	list_for_each_entry(piece, &run->pieces, node) {
		if (piece->step != STEP_DONE)
			piece->step = STEP_PLANNED;
		csd_slot_leave(piece);
	}
	csd_slots_free(run);
	err = read_globals(run, msg);
	csd_program_put(drive, run->prog);

	spin_lock_irq(&drive->lock);
	list_del_init(&run->node);
	spin_unlock_irq(&drive->lock);
	atomic_dec(&drive->nr_runs);
	csd_drive_leave(drive);
	return err;
}

/*
 * Pieces
 */

static bool place_is_end(const struct csd_run *run, const struct blk_bpf_place *place)
{
	return place->extent == run->base.nr_extents;
}

static void place_normalise(const struct csd_run *run, struct blk_bpf_place *place)
{
	while (!place_is_end(run, place) &&
	       place->off == run->base.extents[place->extent].len) {
		place->extent++;
		place->off = 0;
	}
}

/* The piece that is handed out next, if it is planned already. */
static struct csd_piece *head(struct csd_run *run)
{
	struct csd_piece *piece;

	place_normalise(run, &run->next);
	piece = list_first_entry_or_null(&run->pieces, struct csd_piece, node);
	if (piece && piece->base.extent == run->next.extent &&
	    piece->base.off == run->next.off)
		return piece;
	return NULL;
}

static struct csd_piece *piece_new(struct csd_run *run)
{
	struct csd_piece *piece;

	piece = list_first_entry_or_null(&run->idle, struct csd_piece, node);
	if (piece) {
		list_del(&piece->node);
		return piece;
	}
	piece = kzalloc(sizeof(*piece), GFP_KERNEL_ACCOUNT);
	if (piece) {
		blk_bpf_piece_init(&piece->base);
		piece->run = run;
	}
	return piece;
}

/* In the order of the answer; most are the last. */
static void piece_insert(struct csd_run *run, struct csd_piece *new)
{
	struct blk_bpf_place place = { .extent = new->base.extent, .off = new->base.off };
	struct csd_piece *piece;

	list_for_each_entry_reverse(piece, &run->pieces, node) {
		if (place_before(piece->base.extent, piece->base.off, &place)) {
			list_add(&new->node, &piece->node);
			return;
		}
	}
	list_add(&new->node, &run->pieces);
}

/*
 * Bytes of units of the next piece. Towards the end they become smaller, so that
 * all engines are busy until then; not so small that commands count more.
 */
static u32 next_slice(struct csd_run *run, enum csd_way way)
{
	u64 turn = div_u64(run->left, 2 * run->drive->info.engines);
	u64 slice = min(run->slice, csd_slice_limit(run, way));
	u32 unit = run->base.unit;

	slice = min(slice, max(turn, run->slice / SLICE_PARTS));
	return max(rounddown((u32)slice, unit), unit);
}

/* The next part of a device. Return: 0; -ENODATA if all is planned; -ENOMEM. */
static int plan(struct csd_run *run, u32 dev)
{
	struct csd_source *source = &run->sources[dev];
	struct blk_bpf_place place = source->plan;
	struct csd_piece *piece;

	place_normalise(run, &place);
	if (place_is_end(run, &place) || run->base.extents[place.extent].dev != dev) {
		source->done = true;
		return -ENODATA;
	}
	piece = piece_new(run);
	if (!piece)
		return -ENOMEM;
	blk_bpf_job_plan(&run->base, &place, next_slice(run, source->way),
			 &piece->base);
	source->plan = place;
	run->left -= piece->base.len;
	piece->slot = NULL;
	piece->step = STEP_PLANNED;
	piece->single = false;
	piece->kept = 0;
	piece->late = 0;
	piece->busy = 0;
	memset(&piece->cursor, 0, sizeof(piece->cursor));
	piece_insert(run, piece);
	run->nr_pieces++;
	csd_piece_begins(piece);
	return 0;
}

/* Whether one more piece of this device is wanted now. */
static bool is_wanted(struct csd_run *run, u32 dev, u32 head_dev)
{
	if (run->sources[dev].done)
		return false;
	if (dev == head_dev && !head(run))
		return true;
	return run->active < csd_slots_wanted(run) &&
	       run->ahead < AHEAD_MATCHES && run->nr_pieces < AHEAD_PIECES;
}

/*
 * The device that a piece is wanted of, and that has the fewest under way; or
 * U32_MAX. One behind the device that is handed out is read ahead, so that all
 * are busy.
 */
static u32 next_dev(struct csd_run *run)
{
	u32 head_dev = run->base.extents[run->next.extent].dev, dev, found = U32_MAX;
	u32 devs = min(run->base.nr_devs - head_dev, DEVS_AT_ONCE);

	for (dev = head_dev; dev < head_dev + devs; dev++) {
		if (is_wanted(run, dev, head_dev) &&
		    (found == U32_MAX ||
		     run->sources[dev].active < run->sources[found].active))
			found = dev;
	}
	return found;
}

/* As many pieces as there are slots. */
static int plan_pieces(struct csd_run *run)
{
	int err;
	u32 dev;

	place_normalise(run, &run->next);
	if (place_is_end(run, &run->next))
		return 0;
	while ((dev = next_dev(run)) != U32_MAX) {
		err = plan(run, dev);
		if (err == -ENOMEM)
			return run->nr_pieces ? 0 : err;
	}
	return 0;
}

/* Nothing is under way, and yet the head is not done: somebody has what it needs. */
static int wait_for_room(struct csd_run *run, struct csd_piece *piece)
{
	struct csd_drive *drive = run->drive;
	bool alone = atomic_read(&drive->nr_runs) == 1;

	if (run->again || !alone || run->nr_slots) {
		run->again = false;
		if (wait_event_interruptible_timeout(drive->slm_wait,
						     csd_drive_is_dead(drive),
						     msecs_to_jiffies(AGAIN_MS)) < 0)
			return -ERESTARTSYS;
		csd_slots_free(run);
		return 0;
	}
	csd_piece_fail(piece, -ENOSPC,
		"%s has not enough memory for a unit of %u bytes: use a smaller unit, or the target kernel",
		drive->target.name, run->base.unit);
	return 0;
}

static int wait_for_events(struct csd_run *run)
{
	return wait_event_interruptible(run->wait, has_events(run) ||
					csd_drive_is_dead(run->drive));
}

/* The drive is gone: the head is what the scan ends at. */
static struct blk_bpf_piece *gone(struct csd_run *run)
{
	struct csd_piece *piece;

	quiesce(run);
	piece = head(run);
	if (piece->step != STEP_DONE) {
		csd_piece_fail_status(piece, CSD_NOT_SENT, "answer");
		piece->step = STEP_DONE;
		csd_slot_leave(piece);
		csd_piece_ends(piece);
	}
	return &piece->base;
}

static struct blk_bpf_piece *csd_next(struct blk_bpf_job *job)
{
	struct csd_run *run = to_csd_run(job);
	struct csd_piece *piece;
	int err;

	for (;;) {
		take_events(run);
		/* What is done makes room for what is planned, and that begins below. */
		if (!csd_drive_is_dead(run->drive))
			take_steps(run);
		err = plan_pieces(run);
		if (err)
			return ERR_PTR(err);
		piece = head(run);
		if (!piece)
			return NULL;
		if (csd_drive_is_dead(run->drive))
			return gone(run);
		take_steps(run);
		if (piece->step == STEP_DONE)
			return &piece->base;
		if (signal_pending(current))
			return ERR_PTR(-ERESTARTSYS);
		if (is_quiet(run) && !has_events(run))
			err = wait_for_room(run, piece);
		else
			err = wait_for_events(run);
		if (err)
			return ERR_PTR(-ERESTARTSYS);
	}
}

static void csd_put(struct blk_bpf_job *job, struct blk_bpf_piece *base)
{
	struct csd_piece *piece = container_of(base, struct csd_piece, base);
	struct csd_run *run = to_csd_run(job);

	run->ahead -= piece->kept;
	piece->kept = 0;
	blk_bpf_piece_drop_matches(base);
	if (base->done < base->len) {
		piece->step = STEP_PLANNED;
		csd_piece_begins(piece);
		return;
	}
	run->next.off += base->len;
	list_move(&piece->node, &run->idle);
	run->nr_pieces--;
}

const struct blk_bpf_target_ops csd_target_ops = {
	.job_size	= sizeof(struct csd_run),
	.image		= true,
	.start		= csd_start,
	.begin		= csd_begin,
	.next		= csd_next,
	.put		= csd_put,
	.end		= csd_end,
	.free		= csd_free,
	.release	= csd_drive_release,
};
