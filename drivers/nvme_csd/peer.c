// SPDX-License-Identifier: GPL-2.0
/* Data of other SSDs, read by these straight into the drive's memory. */
#include <linux/bio.h>
#include <linux/blk-integrity.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>

#include "run.h"

/* Bytes of the window that one read fills. */
#define READ_BYTES	SZ_512K

/**
 * csd_peer_possible - whether a device can write into the drive's window
 * @drive: in use by the caller
 * @bdev:  what is to be read
 *
 * Only a disk that does its own DMA: what is stacked might look at the data, or
 * copy them, and this memory is not for the CPU.
 */
bool csd_peer_possible(struct csd_drive *drive, struct block_device *bdev)
{
	struct request_queue *q = bdev_get_queue(bdev);
	struct device *dev = disk_to_dev(bdev->bd_disk)->parent;

	if (!drive->pdev || !drive->info.window_size ||
	    !pci_has_p2pmem(drive->pdev))
		return false;
	if (!queue_is_mq(q) || !blk_queue_pci_p2pdma(q) || blk_get_integrity(bdev->bd_disk))
		return false;
	/* The parent of a namespace is its controller, that of which is on the bus. */
	while (dev && !dev_is_pci(dev))
		dev = dev->parent;
	return dev && pci_p2pdma_distance(drive->pdev, dev, false) >= 0;
}

/* Where the window is on the bus, by the register that says where the CMB is. */
static bool window_bus(struct csd_drive *drive, u64 *bus)
{
	static const u64 units[] = { SZ_4K, SZ_64K, SZ_1M, SZ_16M, SZ_256M };
	struct nvme_ctrl *ctrl = drive->ctrl;
	u32 loc, size, unit;

	if (ctrl->ops->reg_read32(ctrl, NVME_REG_CMBLOC, &loc) ||
	    ctrl->ops->reg_read32(ctrl, NVME_REG_CMBSZ, &size))
		return false;
	unit = (size >> NVME_CMBSZ_SZU_SHIFT) & NVME_CMBSZ_SZU_MASK;
	if (unit >= ARRAY_SIZE(units))
		return false;
	*bus = pci_bus_address(drive->pdev, NVME_CMB_BIR(loc)) +
	       units[unit] * NVME_CMB_OFST(loc);
	return true;
}

/**
 * csd_peer_alloc - a part of the window
 * @drive: in use by the caller
 * @size:  bytes
 * @off:   receives where it is in the drive's memory
 *
 * Return: its address, for pages; NULL if there is none.
 */
void *csd_peer_alloc(struct csd_drive *drive, u32 size, u64 *off)
{
	void *mem = pci_alloc_p2pmem(drive->pdev, size);
	u64 base, at;

	if (!mem)
		return NULL;
	at = pci_p2pmem_virt_to_bus(drive->pdev, mem);
	/* What the drive and the bus say must agree, or data go astray. */
	if (!window_bus(drive, &base) || at < base ||
	    at - base > drive->info.window_size ||
	    size > drive->info.window_size - (at - base)) {
		pci_free_p2pmem(drive->pdev, mem, size);
		return NULL;
	}
	*off = drive->info.window_off + (at - base);
	return mem;
}

void csd_peer_free(struct csd_drive *drive, void *mem, u32 size)
{
	pci_free_p2pmem(drive->pdev, mem, size);
}

static void read_ended(struct bio *bio)
{
	struct csd_slot *slot = bio->bi_private;

	if (bio->bi_status)
		cmpxchg(&slot->read_err, 0, blk_status_to_errno(bio->bi_status));
	bio_put(bio);
	if (atomic_dec_and_test(&slot->reads))
		csd_slot_ended(slot);
}

/* One bio from @pos, as many bytes as it takes; returns these, or 0. */
static u32 read_some(struct csd_piece *piece, struct block_device *bdev, u32 at)
{
	struct csd_slot *slot = piece->slot;
	u32 len = min(piece->fill_bytes - at, READ_BYTES), done = 0;
	struct bio *bio;

	/* Not merged with another: their memory may be on different devices. */
	bio = bio_alloc(bdev, bio_max_segs(len >> PAGE_SHIFT) + 1,
			REQ_OP_READ | REQ_NOMERGE, GFP_KERNEL);
	bio->bi_iter.bi_sector = (piece->fill_pos + at) >> SECTOR_SHIFT;
	bio->bi_private = slot;
	bio->bi_end_io = read_ended;
	while (done < len) {
		u32 part = min_t(u32, len - done, PAGE_SIZE);

		if (bio_add_page(bio, virt_to_page(slot->p2p + at + done), part, 0) != part)
			break;
		done += part;
	}
	if (!done) {
		bio_put(bio);
		return 0;
	}
	atomic_inc(&slot->reads);
	submit_bio(bio);
	return done;
}

/**
 * csd_peer_read - begin to read a piece's data into its part of the window
 * @piece: as for csd_fill()
 *
 * Return: 0 with the piece FILLING, or a negative errno.
 */
int csd_peer_read(struct csd_piece *piece)
{
	struct csd_run *run = piece->run;
	const struct blk_bpf_job *job = &run->base;
	struct block_device *bdev = job->devs[job->extents[piece->base.extent].dev].bdev;
	struct csd_slot *slot = piece->slot;
	u32 at = 0, done;

	slot->read_err = 0;
	/* One for us, so that the last bio does not end it too early. */
	atomic_set(&slot->reads, 1);
	spin_lock_irq(&run->lock);
	run->nr_out++;
	spin_unlock_irq(&run->lock);
	piece->step = STEP_FILLING;
	run->base.path.path |= BLK_BPF_PATH_PEER;
	while (at < piece->fill_bytes) {
		done = read_some(piece, bdev, at);
		if (!done) {
			cmpxchg(&slot->read_err, 0, -EIO);
			break;
		}
		at += done;
	}
	if (atomic_dec_and_test(&slot->reads))
		csd_slot_ended(slot);
	return 0;
}
