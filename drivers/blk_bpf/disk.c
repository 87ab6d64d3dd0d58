// SPDX-License-Identifier: GPL-2.0
/*
 * Whole disks that have attachments: what the hook finds a bio's disk in, and
 * what bios on their way keep.
 */
#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "attach.h"

struct hlist_head blk_bpf_disks[1 << BLK_BPF_DISK_BITS];
/* How many attachments there ever were: tells a bio from a later attachment. */
u64 blk_bpf_attach_seq;

static unsigned int nr_disks;		/* under blk_bpf_attach_mutex */
/* Of what may not be done where it is found out. */
struct workqueue_struct *blk_bpf_wq;

/* Disks without attachments whose bios are not all back, oldest first. */
static LIST_HEAD(dying_disks);		/* under dying_lock */
static u64 last_ticket;			/* under dying_lock */
static DEFINE_SPINLOCK(dying_lock);
static DECLARE_WAIT_QUEUE_HEAD(dying_wait);

static void disk_begin_dying(struct blk_bpf_disk *disk)
{
	spin_lock(&dying_lock);
	disk->ticket = ++last_ticket;
	list_add_tail(&disk->dying, &dying_disks);
	spin_unlock(&dying_lock);
}

static void disk_end_dying(struct blk_bpf_disk *disk)
{
	spin_lock(&dying_lock);
	list_del(&disk->dying);
	spin_unlock(&dying_lock);
	wake_up_all(&dying_wait);
}

/* Whether all that began to die up to @ticket are gone. */
static bool are_gone(u64 ticket)
{
	struct blk_bpf_disk *disk;
	bool gone = true;

	spin_lock(&dying_lock);
	list_for_each_entry(disk, &dying_disks, dying) {
		if (disk->ticket <= ticket)
			gone = false;
	}
	spin_unlock(&dying_lock);
	return gone;
}

/* BLK_BPF_IOC_DRAIN, see the uapi header. */
int blk_bpf_drain(struct blk_bpf_msg *msg)
{
	u64 ticket;

	spin_lock(&dying_lock);
	ticket = last_ticket;
	spin_unlock(&dying_lock);

	/* On a disk that keeps other attachments, programs may still run. */
	synchronize_rcu();
	if (wait_event_killable(dying_wait, are_gone(ticket)))
		return blk_bpf_refuse(msg, -EINTR,
			"killed while bios of a detached disk were still under way");
	return 0;
}

static void disk_free_work(struct work_struct *work)
{
	struct blk_bpf_disk *disk = container_of(work, struct blk_bpf_disk, free);

	disk_end_dying(disk);
	percpu_ref_exit(&disk->inflight);
	kfree_rcu(disk, rcu);
	/* blk_bpf_wq is drained before this text goes away. */
	module_put(THIS_MODULE);
}

/* The last bio came back after the last attachment went. Context: any. */
static void disk_release(struct percpu_ref *ref)
{
	struct blk_bpf_disk *disk = container_of(ref, struct blk_bpf_disk, inflight);

	queue_work(blk_bpf_wq, &disk->free);
}

static struct blk_bpf_disk *disk_create(struct gendisk *gendisk)
{
	struct blk_bpf_disk *disk;
	int err;

	disk = kzalloc(sizeof(*disk), GFP_KERNEL_ACCOUNT);
	if (!disk)
		return ERR_PTR(-ENOMEM);
	err = percpu_ref_init(&disk->inflight, disk_release, 0,
			      GFP_KERNEL_ACCOUNT);
	if (err) {
		kfree(disk);
		return ERR_PTR(err);
	}
	INIT_LIST_HEAD(&disk->atts);
	INIT_WORK(&disk->free, disk_free_work);
	disk->gendisk = gendisk;
	__module_get(THIS_MODULE);
	return disk;
}

/**
 * blk_bpf_disk_get - the disk as something that can be attached to
 * @gendisk: the caller holds it
 *
 * Context: blk_bpf_attach_mutex is held, and stays so until
 * blk_bpf_disk_add_att(), which is to follow.
 * Return: the disk, or an ERR_PTR().
 */
struct blk_bpf_disk *blk_bpf_disk_get(struct gendisk *gendisk)
{
	struct blk_bpf_disk *disk;
	int err;

	lockdep_assert_held(&blk_bpf_attach_mutex);
	hlist_for_each_entry(disk,
			     &blk_bpf_disks[hash_ptr(gendisk, BLK_BPF_DISK_BITS)],
			     hash) {
		if (disk->gendisk == gendisk)
			return disk;
	}
	err = blk_bpf_interpose_start();
	if (err)
		return ERR_PTR(err);
	disk = disk_create(gendisk);
	if (IS_ERR(disk)) {
		if (!nr_disks)
			blk_bpf_interpose_stop();
		return disk;
	}
	hlist_add_head_rcu(&disk->hash,
			   &blk_bpf_disks[hash_ptr(gendisk, BLK_BPF_DISK_BITS)]);
	nr_disks++;
	return disk;
}

static void disk_update_mask(struct blk_bpf_disk *disk)
{
	struct blk_bpf_att *att;
	u32 mask = 0;

	list_for_each_entry(att, &disk->atts, disk_node)
		mask |= att->ops_mask;
	WRITE_ONCE(disk->ops_mask, mask);
}

/* By priority, and behind those of the same. Context: blk_bpf_attach_mutex. */
void blk_bpf_disk_add_att(struct blk_bpf_disk *disk, struct blk_bpf_att *att)
{
	struct blk_bpf_att *pos;

	lockdep_assert_held(&blk_bpf_attach_mutex);
	list_for_each_entry(pos, &disk->atts, disk_node) {
		if (pos->priority > att->priority)
			break;
	}
	list_add_tail_rcu(&att->disk_node, &pos->disk_node);
	att->disk = disk;
	disk_update_mask(disk);
	/* In the list first: a bio with this seq finds the attachment. */
	smp_store_release(&blk_bpf_attach_seq, att->seq);
}

/*
 * Off its disk, if it is on one; bios on their way find no program. Waits for
 * nothing. Context: blk_bpf_attach_mutex.
 */
void blk_bpf_disk_del_att(struct blk_bpf_att *att)
{
	struct blk_bpf_disk *disk = att->disk;

	lockdep_assert_held(&blk_bpf_attach_mutex);
	if (!disk)
		return;
	att->disk = NULL;
	list_del_rcu(&att->disk_node);
	disk_update_mask(disk);
	if (list_empty(&disk->atts)) {
		hlist_del_rcu(&disk->hash);
		disk_begin_dying(disk);
		percpu_ref_kill(&disk->inflight);
		if (!--nr_disks)
			blk_bpf_interpose_stop();
	}
}

int blk_bpf_disks_init(void)
{
	blk_bpf_wq = alloc_workqueue("blk_bpf", WQ_MEM_RECLAIM, 0);
	return blk_bpf_wq ? 0 : -ENOMEM;
}

void blk_bpf_disks_exit(void)
{
	destroy_workqueue(blk_bpf_wq);
}
