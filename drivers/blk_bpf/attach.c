// SPDX-License-Identifier: GPL-2.0
/*
 * Which program is on which device: plumbing, nothing of it is on the hot path.
 *
 * A bpf_link makes a program attachable and BLK_BPF_IOC_ATTACH puts it on a
 * device; from then on the two share one life, whether the link is held by a
 * process or pinned. The device is named by an open file and not by its number
 * in the program, so that it cannot be mistaken for a later one of that
 * number, and one loaded program can be on many devices.
 *
 * Order of locks: bpf-core's update mutex (reg and unreg are called under it,
 * or under none), then attach_mutex, then the tracepoint's own; att->lock
 * inside all of them. Nobody waits for a bio with a lock held.
 */
#include <linux/bitops.h>
#include <linux/device/class.h>
#include <linux/file.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>

#include "attach.h"

struct hlist_head blk_bpf_disks[1 << BLK_BPF_DISK_BITS];
/* How many attachments there ever were: tells a bio from a later attachment. */
u64 blk_bpf_attach_seq;

/* Protects what says so here and in attach.h. */
static DEFINE_MUTEX(attach_mutex);
static LIST_HEAD(all_atts);		/* by age; under attach_mutex */
static unsigned int nr_disks;		/* under attach_mutex */
static u32 next_id = 1;			/* under attach_mutex */
static struct workqueue_struct *free_wq;

/*
 * An attachment's memory
 */

void blk_bpf_att_get(struct blk_bpf_att *att)
{
	kref_get(&att->ref);
}

static void att_free_frames(struct blk_bpf_att *att)
{
	int cpu;

	if (!att->frames)
		return;
	for_each_possible_cpu(cpu)
		kvfree(att->frames[cpu]);
	kfree(att->frames);
	att->frames = NULL;
}

static void att_free_rcu(struct rcu_head *rcu)
{
	struct blk_bpf_att *att = container_of(rcu, struct blk_bpf_att, rcu);

	att_free_frames(att);
	free_percpu(att->counters);
	kfree(att->missed);
	kfree(att);
}

static void att_release(struct kref *ref)
{
	struct blk_bpf_att *att = container_of(ref, struct blk_bpf_att, ref);

	call_rcu(&att->rcu, att_free_rcu);
}

void blk_bpf_att_put(struct blk_bpf_att *att)
{
	kref_put(&att->ref, att_release);
}

static struct blk_bpf_att *att_alloc(void)
{
	struct blk_bpf_att *att = kzalloc(sizeof(*att), GFP_KERNEL_ACCOUNT);

	if (!att)
		return NULL;
	att->counters = alloc_percpu_gfp(struct blk_bpf_counters,
					 GFP_KERNEL_ACCOUNT);
	att->missed = kcalloc(BLK_BPF_MISSED_MAX, sizeof(*att->missed),
			      GFP_KERNEL_ACCOUNT);
	if (!att->counters || !att->missed) {
		att_free_rcu(&att->rcu);
		return NULL;
	}
	kref_init(&att->ref);
	raw_spin_lock_init(&att->lock);
	INIT_LIST_HEAD(&att->streams);
	INIT_LIST_HEAD(&att->disk_node);
	return att;
}

/* Frames for a program of this size, with what stays the same in every call. */
static int att_alloc_frames(struct blk_bpf_att *att)
{
	int cpu;
	u32 i;

	att->frame_size = ALIGN(sizeof(struct blk_bpf_frame) + att->unit +
				att->overlap, SMP_CACHE_BYTES);
	att->frames = kcalloc(nr_cpu_ids, sizeof(*att->frames),
			      GFP_KERNEL_ACCOUNT);
	if (!att->frames)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		att->frames[cpu] = kvzalloc_node(BLK_BPF_CONTEXTS * att->frame_size,
						 GFP_KERNEL_ACCOUNT,
						 cpu_to_node(cpu));
		if (!att->frames[cpu]) {
			att_free_frames(att);
			return -ENOMEM;
		}
		for (i = 0; i < BLK_BPF_CONTEXTS; i++) {
			struct blk_bpf_frame *frame = blk_bpf_att_frame(att, cpu, i);

			frame->att = att;
			frame->run.out = frame->matches;
			frame->run.cap = BLK_BPF_FRAME_MATCHES;
			frame->run.more = blk_bpf_frame_flush;
			blk_bpf_run_init(&frame->run, att->unit, 0, att->args);
		}
	}
	return 0;
}

/*
 * A disk
 */

static void disk_free_work(struct work_struct *work)
{
	struct blk_bpf_disk *disk = container_of(work, struct blk_bpf_disk, free);

	percpu_ref_exit(&disk->inflight);
	put_device(disk->dev);
	kfree_rcu(disk, rcu);
	/* free_wq is drained before this text goes away. */
	module_put(THIS_MODULE);
}

/* The last bio came back after the last attachment went. Context: any. */
static void disk_release(struct percpu_ref *ref)
{
	struct blk_bpf_disk *disk = container_of(ref, struct blk_bpf_disk, inflight);

	queue_work(free_wq, &disk->free);
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
	disk->dev = get_device(disk_to_dev(gendisk));
	__module_get(THIS_MODULE);
	return disk;
}

static struct blk_bpf_disk *disk_get(struct gendisk *gendisk)
{
	struct blk_bpf_disk *disk;
	int err;

	lockdep_assert_held(&attach_mutex);
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

/* By priority, and behind those of the same. */
static void disk_add_att(struct blk_bpf_disk *disk, struct blk_bpf_att *att)
{
	struct blk_bpf_att *pos;

	lockdep_assert_held(&attach_mutex);
	list_for_each_entry(pos, &disk->atts, disk_node) {
		if (pos->priority > att->priority)
			break;
	}
	list_add_tail_rcu(&att->disk_node, &pos->disk_node);
	att->disk = disk;
	WRITE_ONCE(blk_bpf_attach_seq, att->seq);
	disk_update_mask(disk);
}

/* Off its disk; bios on their way find no program. Waits for nothing. */
static void disk_del_att(struct blk_bpf_att *att)
{
	struct blk_bpf_disk *disk = att->disk;

	lockdep_assert_held(&attach_mutex);
	if (!disk)
		return;
	att->disk = NULL;
	list_del_rcu(&att->disk_node);
	disk_update_mask(disk);
	if (list_empty(&disk->atts)) {
		hlist_del_rcu(&disk->hash);
		percpu_ref_kill(&disk->inflight);
		if (!--nr_disks)
			blk_bpf_interpose_stop();
	}
}

/* No program any more, and nobody to follow. */
static void att_end(struct blk_bpf_att *att)
{
	lockdep_assert_held(&attach_mutex);
	disk_del_att(att);
	raw_spin_lock_irq(&att->lock);
	RCU_INIT_POINTER(att->ops, NULL);
	att->state = BLK_BPF_STATE_GONE;
	blk_bpf_stream_end_all(att);
	raw_spin_unlock_irq(&att->lock);
	if (att->dev) {
		put_device(att->dev);
		att->dev = NULL;
	}
}

/*
 * Links: called by bpf-core
 */

static struct blk_bpf_att *find_link(const struct bpf_link *link)
{
	struct blk_bpf_att *att;

	lockdep_assert_held(&attach_mutex);
	list_for_each_entry(att, &all_atts, node) {
		if (att->link == link)
			return att;
	}
	return NULL;
}

static void att_set_ops(struct blk_bpf_att *att, const struct blk_bpf_ops *ops)
{
	raw_spin_lock_irq(&att->lock);
	rcu_assign_pointer(att->ops, ops);
	strscpy(att->name, ops->name);
	if (att->state == BLK_BPF_STATE_EJECTED) {
		att->state = BLK_BPF_STATE_LIVE;
		att->reason[0] = '\0';
	}
	raw_spin_unlock_irq(&att->lock);
}

/**
 * blk_bpf_link_add - a program was linked and can be attached
 * @ops:  the program
 * @link: by which it will be named
 *
 * Return: 0 or -ENOMEM.
 */
int blk_bpf_link_add(const struct blk_bpf_ops *ops, struct bpf_link *link)
{
	struct blk_bpf_att *att = att_alloc();

	if (!att)
		return blk_bpf_refuse(NULL, -ENOMEM, "no memory for a link");
	att->link = link;
	att->unit = ops->unit;
	att->overlap = ops->overlap;
	att_set_ops(att, ops);

	mutex_lock(&attach_mutex);
	list_add_tail(&att->node, &all_atts);
	mutex_unlock(&attach_mutex);
	return 0;
}

/**
 * blk_bpf_link_del - a link ends, and with it the attachment
 * @ops:  the program; bpf-core keeps it for a grace period
 * @link: the link
 */
void blk_bpf_link_del(const struct blk_bpf_ops *ops, struct bpf_link *link)
{
	struct blk_bpf_att *att;

	mutex_lock(&attach_mutex);
	att = find_link(link);
	if (att) {
		list_del(&att->node);
		att->link = NULL;
		att_end(att);
	}
	mutex_unlock(&attach_mutex);
	if (att)
		blk_bpf_att_put(att);
}

/**
 * blk_bpf_link_update - a link gets another program
 * @ops:  the new one
 * @link: the link
 *
 * Between two units, for bios on their way too. A program that was ejected is
 * replaced like any other.
 *
 * Return: 0, -EINVAL or -ENOENT.
 */
int blk_bpf_link_update(const struct blk_bpf_ops *ops, struct bpf_link *link)
{
	struct blk_bpf_att *att;
	int err = 0;

	mutex_lock(&attach_mutex);
	att = find_link(link);
	if (!att)
		err = -ENOENT;
	else if (att->dev && (ops->unit != att->unit || ops->overlap != att->overlap))
		err = blk_bpf_refuse(NULL, -EINVAL,
			"the attached program has unit %u and overlap %u, the new one %u and %u: detach, and attach the new one",
			att->unit, att->overlap, ops->unit, ops->overlap);
	else if (att->state == BLK_BPF_STATE_GONE)
		err = blk_bpf_refuse(NULL, -ENODEV,
			"the device of this attachment was removed: detach it");
	if (!err) {
		att->unit = ops->unit;
		att->overlap = ops->overlap;
		att_set_ops(att, ops);
	}
	mutex_unlock(&attach_mutex);
	return err;
}

/*
 * Devices that go away
 */

static void dev_removed(struct device *dev)
{
	struct blk_bpf_att *att;

	mutex_lock(&attach_mutex);
	list_for_each_entry(att, &all_atts, node) {
		if (att->dev == dev)
			att_end(att);
	}
	mutex_unlock(&attach_mutex);
}

static struct class_interface removal = {
	.remove_dev = dev_removed,
};
static DEFINE_MUTEX(removal_mutex);	/* protects removal.class */

/*
 * The class of block devices is not exported, but every disk has it. Outside
 * attach_mutex: the class's own mutex is held around dev_removed().
 */
static int learn_of_removals(const struct gendisk *disk)
{
	int err = 0;

	mutex_lock(&removal_mutex);
	if (!removal.class) {
		removal.class = disk_to_dev(disk)->class;
		err = class_interface_register(&removal);
		if (err)
			removal.class = NULL;
	}
	mutex_unlock(&removal_mutex);
	return err;
}

/*
 * BLK_BPF_IOC_ATTACH
 */

static u32 ops_mask(u32 flags)
{
	u32 mask = 0;

	if (!(flags & BLK_BPF_ATTACH_NO_READS))
		mask |= BIT(BLK_BPF_OP_READ);
	if (flags & BLK_BPF_ATTACH_WRITES)
		mask |= BIT(BLK_BPF_OP_WRITE);
	if (flags & BLK_BPF_ATTACH_OTHERS)
		mask |= GENMASK(BLK_BPF_OP_OTHER, BLK_BPF_OP_FLUSH);
	return mask;
}

static int attach_check(const struct blk_bpf_att *att,
			const struct blk_bpf_attach *arg,
			struct block_device *bdev, struct blk_bpf_msg *msg)
{
	if (!att)
		return blk_bpf_refuse(msg, -EINVAL,
			"link_fd is not a link of a blk_bpf_ops program, or was detached: make one from the program's map");
	if (att->dev || att->state == BLK_BPF_STATE_GONE)
		return blk_bpf_refuse(msg, -EBUSY,
			"this link is attached to %s already: make another link from the program's map",
			att->disk_name);
	if (!is_power_of_2(att->unit) || att->unit < BLK_BPF_UNIT_MIN_ATTACH)
		return blk_bpf_refuse(msg, -EINVAL,
			"the program's unit is %u bytes: to be attached it must be a power of two of at least %u",
			att->unit, BLK_BPF_UNIT_MIN_ATTACH);
	if (!ops_mask(arg->hdr.flags))
		return blk_bpf_refuse(msg, -EINVAL,
			"flags 0x%x leave nothing to call the program for: without reads, ask for writes or others",
			arg->hdr.flags);
	if (bdev->bd_disk->flags & GENHD_FL_HIDDEN)
		return blk_bpf_refuse(msg, -EOPNOTSUPP,
			"%pg is a path of a multipath disk: attach to its head",
			bdev);
	return 0;
}

static void att_set_device(struct blk_bpf_att *att,
			   const struct blk_bpf_attach *arg,
			   struct block_device *bdev)
{
	const bool part = bdev_is_partition(bdev);

	att->flags = arg->hdr.flags;
	att->priority = arg->priority;
	att->ops_mask = ops_mask(att->flags);
	memcpy(att->args, arg->args, sizeof(att->args));
	att->start = part ? (u64)bdev->bd_start_sect << SECTOR_SHIFT : 0;
	/* A disk may grow while it is attached; a partition is what it is. */
	att->end = part ? att->start + bdev_nr_bytes(bdev) : U64_MAX;
	att->devt = bdev->bd_dev;
	snprintf(att->disk_name, sizeof(att->disk_name), "%pg", bdev);
}

/* Context: attach_mutex is held. */
static int attach_locked(struct blk_bpf_attach *arg, struct bpf_link *link,
			 struct block_device *bdev, struct blk_bpf_msg *msg)
{
	struct blk_bpf_att *att = find_link(link);
	struct blk_bpf_disk *disk;
	int err;

	err = attach_check(att, arg, bdev, msg);
	if (err)
		return err;
	att_set_device(att, arg, bdev);
	err = att_alloc_frames(att);
	if (err)
		return blk_bpf_refuse(msg, err, "no memory for an attachment");

	disk = disk_get(bdev->bd_disk);
	if (IS_ERR(disk)) {
		att_free_frames(att);
		return blk_bpf_refuse(msg, PTR_ERR(disk),
				      "cannot hook the bios of %pg", bdev);
	}
	att->dev = get_device(&bdev->bd_device);
	att->id = next_id++;
	att->seq = blk_bpf_attach_seq + 1;
	disk_add_att(disk, att);

	/* dev_removed() may have been here before @att was. */
	if (inode_unhashed(bdev->bd_mapping->host)) {
		att_end(att);
		return blk_bpf_refuse(msg, -ENODEV, "%pg was removed", bdev);
	}
	arg->id = att->id;
	return 0;
}

static int attach_link(struct blk_bpf_attach *arg, struct block_device *bdev,
		       struct blk_bpf_msg *msg)
{
	struct bpf_link *link;
	int err;

	link = bpf_link_get_from_fd(arg->link_fd);
	if (IS_ERR(link))
		return blk_bpf_refuse(msg, PTR_ERR(link),
			"link_fd %d is not a bpf_link: make one from the program's map",
			arg->link_fd);
	err = learn_of_removals(bdev->bd_disk);
	if (!err) {
		mutex_lock(&attach_mutex);
		err = attach_locked(arg, link, bdev, msg);
		mutex_unlock(&attach_mutex);
	}
	/* Outside the mutex: the last reference ends the attachment. */
	bpf_link_put(link);
	return err;
}

/* BLK_BPF_IOC_ATTACH, see the uapi header. */
int blk_bpf_attach(struct blk_bpf_attach *arg, struct blk_bpf_msg *msg)
{
	struct fd f = fdget(arg->dev_fd);
	int err;

	if (!fd_file(f))
		return blk_bpf_refuse(msg, -EBADF, "dev_fd %d is not an open file",
				      arg->dev_fd);
	if (S_ISBLK(file_inode(fd_file(f))->i_mode))
		err = attach_link(arg, file_bdev(fd_file(f)), msg);
	else
		err = blk_bpf_refuse(msg, -ENOTBLK,
			"dev_fd %d is not a block device", arg->dev_fd);
	fdput(f);
	return err;
}

/*
 * BLK_BPF_IOC_LIST, _MISSED, _STREAM
 */

static u64 cycles_to_ns(u64 cycles)
{
#ifdef CONFIG_X86
	return mul_u64_u64_div_u64(cycles, NSEC_PER_MSEC, tsc_khz ?: 1);
#else
	return cycles;
#endif
}

static void report_counters(const struct blk_bpf_att *att,
			    struct blk_bpf_attachment *entry)
{
	u64 cycles = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct blk_bpf_counters *c = per_cpu_ptr(att->counters, cpu);

		entry->runs += READ_ONCE(c->runs);
		entry->bios += READ_ONCE(c->bios);
		entry->bytes += READ_ONCE(c->bytes);
		entry->matches += READ_ONCE(c->matches);
		entry->partial += READ_ONCE(c->partial);
		entry->failed += READ_ONCE(c->failed);
		entry->refused += READ_ONCE(c->refused);
		cycles += READ_ONCE(c->cycles);
	}
	entry->time_ns = cycles_to_ns(cycles);
}

static void report_link(const struct blk_bpf_att *att,
			struct blk_bpf_attachment *entry)
{
	struct bpf_link_info info = {};

	/* unreg takes attach_mutex before a link goes away: it is there. */
	lockdep_assert_held(&attach_mutex);
	entry->link_id = att->link->id;
	if (!att->link->ops->fill_link_info(att->link, &info))
		entry->map_id = info.struct_ops.map_id;
}

static void report(struct blk_bpf_att *att, struct blk_bpf_attachment *entry)
{
	memset(entry, 0, sizeof(*entry));
	report_link(att, entry);
	report_counters(att, entry);
	entry->id = att->id;
	entry->flags = att->flags;
	entry->priority = att->priority;
	entry->dev_major = MAJOR(att->devt);
	entry->dev_minor = MINOR(att->devt);
	entry->unit = att->unit;
	entry->overlap = att->overlap;
	memcpy(entry->args, att->args, sizeof(entry->args));
	strscpy(entry->disk, att->disk_name);
	raw_spin_lock_irq(&att->lock);
	entry->state = att->state;
	entry->missed = att->missed_bios;
	memcpy(entry->name, att->name, sizeof(entry->name));
	memcpy(entry->reason, att->reason, sizeof(entry->reason));
	raw_spin_unlock_irq(&att->lock);
}

/* Ids are given in the order of attaching, the list is in that of linking. */
static struct blk_bpf_att *next_att(u32 start)
{
	struct blk_bpf_att *att, *next = NULL;

	lockdep_assert_held(&attach_mutex);
	list_for_each_entry(att, &all_atts, node) {
		if (att->id && att->id >= start && (!next || att->id < next->id))
			next = att;
	}
	return next;
}

/* BLK_BPF_IOC_LIST, see the uapi header. */
int blk_bpf_list(struct blk_bpf_list *arg, struct blk_bpf_msg *msg)
{
	struct blk_bpf_attachment __user *to = u64_to_user_ptr(arg->entries);
	struct blk_bpf_attachment *entry;
	struct blk_bpf_att *att;
	u32 room = arg->nr;
	int err = 0;

	if (arg->entry_size != sizeof(*entry))
		return blk_bpf_refuse(msg, -EINVAL,
			"entry_size is %u: this kernel's struct blk_bpf_attachment has %zu bytes",
			arg->entry_size, sizeof(*entry));
	entry = kmalloc(sizeof(*entry), GFP_KERNEL_ACCOUNT);
	if (!entry)
		return -ENOMEM;

	arg->nr = 0;
	arg->total = 0;
	mutex_lock(&attach_mutex);
	for (att = next_att(arg->start); att; att = next_att(att->id + 1)) {
		arg->total++;
		if (arg->nr == room)
			continue;
		report(att, entry);
		if (copy_to_user(&to[arg->nr], entry, sizeof(*entry))) {
			err = -EFAULT;
			break;
		}
		arg->nr++;
	}
	mutex_unlock(&attach_mutex);
	kfree(entry);
	return err;
}

/* A reference to the attachment of that id, or an error. */
static struct blk_bpf_att *att_by_id(u32 id, struct blk_bpf_msg *msg)
{
	struct blk_bpf_att *att;

	mutex_lock(&attach_mutex);
	att = next_att(id);
	if (att && att->id == id && id)
		blk_bpf_att_get(att);
	else
		att = NULL;
	mutex_unlock(&attach_mutex);
	return att ?: ERR_PTR(blk_bpf_refuse(msg, -ENOENT,
		"there is no attachment %u: list them", id));
}

/* BLK_BPF_IOC_MISSED, see the uapi header. */
int blk_bpf_missed(struct blk_bpf_missed *arg, struct blk_bpf_msg *msg)
{
	struct blk_bpf_range *copy;
	struct blk_bpf_att *att;
	int err = 0;

	if (arg->pad)
		return blk_bpf_refuse(msg, -EINVAL, "pad is not 0");
	att = att_by_id(arg->id, msg);
	if (IS_ERR(att))
		return PTR_ERR(att);
	copy = kmalloc_array(BLK_BPF_MISSED_MAX, sizeof(*copy), GFP_KERNEL_ACCOUNT);
	if (!copy) {
		err = -ENOMEM;
		goto put;
	}
	raw_spin_lock_irq(&att->lock);
	arg->total = att->nr_missed;
	memcpy(copy, att->missed, att->nr_missed * sizeof(*copy));
	raw_spin_unlock_irq(&att->lock);

	arg->nr = min(arg->nr, arg->total);
	if (copy_to_user(u64_to_user_ptr(arg->extents), copy,
			 arg->nr * sizeof(*copy)))
		err = -EFAULT;
	kfree(copy);
put:
	blk_bpf_att_put(att);
	return err;
}

/* BLK_BPF_IOC_STREAM, see the uapi header. */
struct file *blk_bpf_stream_open(struct blk_bpf_stream *arg,
				 struct blk_bpf_msg *msg)
{
	struct blk_bpf_att *att;
	struct file *file;

	if (arg->pad)
		return ERR_PTR(blk_bpf_refuse(msg, -EINVAL, "pad is not 0"));
	att = att_by_id(arg->id, msg);
	if (IS_ERR(att))
		return ERR_CAST(att);
	file = blk_bpf_stream_new(att, arg->entries, msg);
	blk_bpf_att_put(att);
	return file;
}

/*
 * Called from live I/O
 */

/**
 * blk_bpf_att_eject - a program returned what no program may return
 * @att: runs no more; I/O goes on without it
 * @ret: what it returned
 *
 * Context: any.
 */
void blk_bpf_att_eject(struct blk_bpf_att *att, int ret)
{
	unsigned long flags;
	bool first;

	raw_spin_lock_irqsave(&att->lock, flags);
	first = att->state == BLK_BPF_STATE_LIVE && rcu_access_pointer(att->ops);
	if (first) {
		RCU_INIT_POINTER(att->ops, NULL);
		scnprintf(att->reason, sizeof(att->reason),
			  "the filter returned %d: it may return 0, 1, 2 or a negative errno",
			  ret);
		att->state = BLK_BPF_STATE_EJECTED;
	}
	raw_spin_unlock_irqrestore(&att->lock, flags);
	if (first)
		blk_bpf_event(att, BLK_BPF_EVENT_EJECTED, 0, 0, 0, ret);
}

static u64 range_end(const struct blk_bpf_range *range)
{
	return range->off + range->len;
}

/* Makes @range cover [@pos, @end) too. */
static void range_extend(struct blk_bpf_range *range, u64 pos, u64 end)
{
	end = max(end, range_end(range));
	range->off = min(pos, range->off);
	range->len = end - range->off;
}

/* Joins an extent with those after it that it has come to touch. */
static void missed_join(struct blk_bpf_att *att, u32 i)
{
	struct blk_bpf_range *range = &att->missed[i];
	u32 next = i + 1;

	while (next < att->nr_missed && range[next - i].off <= range_end(range)) {
		range_extend(range, range[next - i].off, range_end(&range[next - i]));
		next++;
	}
	memmove(&att->missed[i + 1], &att->missed[next],
		(att->nr_missed - next) * sizeof(*range));
	att->nr_missed -= next - i - 1;
}

/**
 * blk_bpf_att_missed - record what a program did not get to see
 * @att: the attachment
 * @pos: bytes from the start of the attached device
 * @len: bytes
 *
 * Allocates nothing: memory is what may have been short.
 *
 * Context: any.
 */
void blk_bpf_att_missed(struct blk_bpf_att *att, u64 pos, u64 len)
{
	unsigned long flags;
	u32 i = 0;

	raw_spin_lock_irqsave(&att->lock, flags);
	att->missed_bios++;
	/* i: the first extent that ends at or after pos */
	while (i < att->nr_missed && range_end(&att->missed[i]) < pos)
		i++;
	if (i < att->nr_missed && att->missed[i].off <= pos + len) {
		range_extend(&att->missed[i], pos, pos + len);
	} else if (att->nr_missed < BLK_BPF_MISSED_MAX) {
		memmove(&att->missed[i + 1], &att->missed[i],
			(att->nr_missed - i) * sizeof(*att->missed));
		att->missed[i].off = pos;
		att->missed[i].len = len;
		att->nr_missed++;
	} else {
		/* Full: a neighbour covers it, and what lies between. */
		i = min(i, att->nr_missed - 1);
		range_extend(&att->missed[i], pos, pos + len);
	}
	missed_join(att, i);
	raw_spin_unlock_irqrestore(&att->lock, flags);
}

int blk_bpf_attach_init(void)
{
	int err;

	free_wq = alloc_workqueue("blk_bpf", WQ_MEM_RECLAIM, 0);
	if (!free_wq)
		return -ENOMEM;
	err = blk_bpf_interpose_init();
	if (err)
		destroy_workqueue(free_wq);
	return err;
}

void blk_bpf_attach_exit(void)
{
	if (removal.class)
		class_interface_unregister(&removal);
	destroy_workqueue(free_wq);
	blk_bpf_interpose_exit();
	/* att_free_rcu() and the streams' like */
	rcu_barrier();
}
