// SPDX-License-Identifier: GPL-2.0
/* How a device's data get into the drive's memory. */
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include "run.h"

/*
 * Which way
 */

/* Looks for the namespace of the drive that a disk is; false if it is none. */
static bool find_near(struct csd_drive *drive, const struct gendisk *disk,
		      struct csd_source *source, bool *metadata)
{
	struct nvme_ctrl *ctrl = drive->ctrl;
	struct nvme_ns *ns;
	bool found = false;
	int idx;

	idx = srcu_read_lock(&ctrl->srcu);
	list_for_each_entry_srcu(ns, &ctrl->namespaces, list,
				 srcu_read_lock_held(&ctrl->srcu)) {
		if (ns->disk != disk && ns->head->disk != disk)
			continue;
		source->nsid = ns->head->ns_id;
		source->lba_shift = ns->head->lba_shift;
		*metadata = ns->head->ms;
		found = true;
		break;
	}
	srcu_read_unlock(&ctrl->srcu, idx);
	return found;
}

static int source_init(struct csd_run *run, u32 index, struct blk_bpf_msg *msg)
{
	struct block_device *bdev = run->base.devs[index].bdev;
	struct csd_source *source = &run->sources[index];
	struct csd_drive *drive = run->drive;
	bool metadata;

	if (!find_near(drive, bdev->bd_disk, source, &metadata)) {
		source->way = csd_peer_possible(drive, bdev) ? WAY_PEER : WAY_HOST;
		return 0;
	}
	source->way = WAY_NEAR;
	source->start = (u64)get_start_sect(bdev) << SECTOR_SHIFT;
	if (metadata)
		return blk_bpf_refuse(msg, -EOPNOTSUPP,
			"%s cannot scan %pg: blocks of its namespace have metadata; use the target kernel",
			drive->target.name, bdev);
	if (!csd_info_reachable(drive, source->nsid))
		return blk_bpf_refuse(msg, -EOPNOTSUPP,
			"%s cannot scan %pg: its memory cannot reach this namespace; use the target kernel",
			drive->target.name, bdev);
	return 0;
}

/**
 * csd_sources_init - find out how each device of a new job is read
 * @run: the job; its drive is in use by the caller
 * @msg: why one cannot be
 *
 * Return: 0 or a negative errno.
 */
int csd_sources_init(struct csd_run *run, struct blk_bpf_msg *msg)
{
	u32 i, extent = 0;
	int err;

	run->sources = kcalloc(run->base.nr_devs, sizeof(*run->sources),
			       GFP_KERNEL_ACCOUNT);
	if (!run->sources)
		return -ENOMEM;
	for (i = 0; i < run->base.nr_devs; i++) {
		err = source_init(run, i, msg);
		if (err)
			return err;
		while (extent < run->base.nr_extents &&
		       run->base.extents[extent].dev < i)
			extent++;
		run->sources[i].plan.extent = extent;
		/* What is before the cursor is done. */
		if (place_before(extent, 0, &run->base.begin))
			run->sources[i].plan = run->base.begin;
	}
	return 0;
}

/*
 * Filling
 */

/* By a copy inside the drive. */
static void fill_near(struct csd_piece *piece)
{
	const struct csd_source *source = source_of(piece);
	struct csd_drive *drive = piece->run->drive;
	struct csd_slot *slot = piece->slot;
	u64 lba = (source->start + piece->fill_pos) >> source->lba_shift;
	u32 blocks = piece->fill_bytes >> source->lba_shift;
	struct nvme_command *cmd;

	memset(slot->copy, 0, sizeof(*slot->copy));
	slot->copy->nsid = cpu_to_le32(source->nsid);
	slot->copy->slba = cpu_to_le64(lba);
	slot->copy->nlb = cpu_to_le16(blocks - 1);

	cmd = csd_new_cmd(slot, NVME_CSD_SLM_COPY, slot->copy, sizeof(*slot->copy));
	cmd->common.cdw2[0] = cpu_to_le32(piece->fill_bytes);
	cmd->common.cdw10 = cpu_to_le32(lower_32_bits(slot->data));
	cmd->common.cdw11 = cpu_to_le32(upper_32_bits(slot->data));
	cmd->common.cdw12 = cpu_to_le32(NVME_CSD_COPY_LBA << 8);
	piece->run->base.path.path |= BLK_BPF_PATH_NEAR;
	csd_send(piece, drive->slm_ns, STEP_FILLING);
}

/* The first half of the way through this machine: a read. */
static void host_read_done(struct kiocb *iocb, long ret)
{
	struct csd_slot *slot = container_of(iocb, struct csd_slot, iocb);

	if (ret != slot->piece->fill_bytes)
		slot->read_err = ret < 0 ? ret : -EIO;
	csd_slot_ended(slot);
}

static void fill_host(struct csd_piece *piece)
{
	const struct blk_bpf_job *job = &piece->run->base;
	struct file *file = job->devs[job->extents[piece->base.extent].dev].file;
	struct csd_slot *slot = piece->slot;
	struct csd_run *run = piece->run;
	struct iov_iter iter;
	ssize_t ret;

	slot->read_err = 0;
	slot->written = U32_MAX;
	iov_iter_bvec(&iter, ITER_DEST, slot->bvecs, slot->nr_bvecs,
		      piece->fill_bytes);
	init_sync_kiocb(&slot->iocb, file);
	slot->iocb.ki_pos = piece->fill_pos;
	slot->iocb.ki_flags |= IOCB_DIRECT;
	slot->iocb.ki_complete = host_read_done;
	spin_lock_irq(&run->lock);
	run->nr_out++;
	spin_unlock_irq(&run->lock);
	piece->step = STEP_FILLING;
	run->base.path.path |= BLK_BPF_PATH_HOST;
	ret = vfs_iocb_iter_read(file, &slot->iocb, &iter);
	if (ret != -EIOCBQUEUED)
		host_read_done(&slot->iocb, ret);
}

/* The second half: into the drive, as much at a time as a command takes. */
static void write_host(struct csd_piece *piece)
{
	struct nvme_ns *ns = piece->run->drive->slm_ns;
	struct csd_slot *slot = piece->slot;
	u32 len = min(piece->fill_bytes - slot->written, csd_cmd_limit(ns->queue));
	u64 to = slot->data + slot->written;
	struct nvme_command *cmd;

	cmd = csd_new_cmd(slot, NVME_CSD_SLM_WRITE, slot->host + slot->written, len);
	cmd->common.cdw10 = cpu_to_le32(lower_32_bits(to));
	cmd->common.cdw11 = cpu_to_le32(upper_32_bits(to));
	cmd->common.cdw12 = cpu_to_le32(len);
	piece->run->base.path.link_data += len;
	if (csd_send(piece, ns, STEP_FILLING))
		slot->written += len;
	else	/* Once more, from the read on. */
		piece->step = STEP_PLANNED;
}

/**
 * csd_fill - begin to bring a piece's data into its slot
 * @piece: has a slot; fill_off and fill_len say which units
 *
 * What is dirty in the page cache of the device is written back first, as by a
 * read with O_DIRECT: so a scan sees the same on every target.
 *
 * Return: 0 with the piece FILLING, or PLANNED if it is to be tried again; or a
 * negative errno.
 */
int csd_fill(struct csd_piece *piece)
{
	struct blk_bpf_job *job = &piece->run->base;
	const struct blk_bpf_dev *dev = &job->devs[job->extents[piece->base.extent].dev];
	struct blk_bpf_submitter submitter;
	u64 end;
	int err;

	blk_bpf_job_blocks(job, piece->base.extent, piece->base.off + piece->fill_off,
			   piece->fill_len, &piece->fill_pos, &end);
	piece->fill_bytes = end - piece->fill_pos;
	/* The number of a namespace that is gone may be another's now. */
	if (source_of(piece)->way == WAY_NEAR &&
	    test_bit(GD_DEAD, &dev->bdev->bd_disk->state))
		return -ENODEV;
	err = filemap_write_and_wait_range(dev->bdev->bd_mapping, piece->fill_pos,
					   end - 1);
	if (err)
		return err;
	job->stats.reads++;
	job->stats.bytes_read += piece->fill_bytes;
	blk_bpf_submit_begin(&submitter, dev->bdev->bd_disk);
	switch (source_of(piece)->way) {
	case WAY_NEAR:
		fill_near(piece);
		break;
	case WAY_PEER:
		err = csd_peer_read(piece);
		break;
	case WAY_HOST:
		fill_host(piece);
		break;
	}
	blk_bpf_submit_end(&submitter);
	return err;
}

static int media_errno(u16 status)
{
	switch (status) {
	case NVME_SC_READ_ERROR:
		return -ENODATA;
	case NVME_SC_GUARD_CHECK:
	case NVME_SC_APPTAG_CHECK:
	case NVME_SC_REFTAG_CHECK:
		return -EILSEQ;
	}
	return -EIO;
}

/*
 * A block that cannot be read costs its unit and no match before it: from here
 * on the piece goes unit by unit.
 */
static void read_failed(struct csd_piece *piece, int err)
{
	if (piece->fill_len > piece->run->base.unit) {
		piece->single = true;
		piece->step = STEP_PLANNED;
		return;
	}
	piece->base.err = err;
	csd_limit(piece);
}

/**
 * csd_fill_ended - a command or the reads of filling ended
 * @piece: FILLING
 *
 * Return: whether all data are in the slot. Else there is more to do, or an error.
 */
bool csd_fill_ended(struct csd_piece *piece)
{
	struct csd_slot *slot = piece->slot;
	enum csd_way way = source_of(piece)->way;

	if (way != WAY_NEAR && (way == WAY_PEER || slot->written == U32_MAX)) {
		if (slot->read_err) {
			read_failed(piece, slot->read_err);
			return false;
		}
		if (way == WAY_PEER)
			return true;
		slot->written = 0;
	} else if (slot->cmd.status) {
		u16 status = slot->cmd.status;

		if (csd_status_is_media(status))
			read_failed(piece, media_errno(status));
		else if (status == NVME_CSD_SC_RESOURCES)
			csd_piece_again(piece, STEP_PLANNED);
		else
			csd_piece_fail_status(piece, status, "take the data");
		return false;
	} else if (way == WAY_NEAR) {
		return true;
	}
	if (slot->written == piece->fill_bytes)
		return true;
	write_host(piece);
	return false;
}
