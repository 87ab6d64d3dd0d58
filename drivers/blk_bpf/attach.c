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
 * or under none), then blk_bpf_attach_mutex, then the tracepoint's own; att->lock
 * inside all of them. Nobody waits for a bio with a lock held, but where memory is
 * allocated and reclaim does.
 */
#include <linux/bitops.h>
#include <linux/device/class.h>
#include <linux/file.h>
#include <linux/log2.h>
#include <linux/slab.h>

#include "attach.h"

/* Protects what says so here and in attach.h. */
DEFINE_MUTEX(blk_bpf_attach_mutex);
static LIST_HEAD(all_atts);		/* by age; under blk_bpf_attach_mutex */
static u32 next_id = 1;			/* under blk_bpf_attach_mutex */

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
	att->missed = kcalloc(BLK_BPF_MISSED_MAX, sizeof(*att->missed),
			      GFP_KERNEL_ACCOUNT);
	if (!att->missed) {
		att_free_rcu(&att->rcu);
		return NULL;
	}
	kref_init(&att->ref);
	raw_spin_lock_init(&att->lock);
	INIT_LIST_HEAD(&att->streams);
	INIT_LIST_HEAD(&att->disk_node);
	INIT_WORK(&att->ejected, blk_bpf_ejected_work);
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
 * Takes over a reference to what att->prog has become. Who is calling the
 * program before it is given a grace period by bpf-core.
 */
static void att_hold(struct blk_bpf_att *att, struct bpf_prog *prog)
{
	if (att->held)
		bpf_prog_put(att->held);
	att->held = prog;
}

/* No program any more, and nobody to follow. */
static void att_end(struct blk_bpf_att *att)
{
	lockdep_assert_held(&blk_bpf_attach_mutex);
	blk_bpf_disk_del_att(att);
	raw_spin_lock_irq(&att->lock);
	RCU_INIT_POINTER(att->prog, NULL);
	att->state = BLK_BPF_STATE_GONE;
	blk_bpf_stream_end_all(att);
	raw_spin_unlock_irq(&att->lock);
	att_hold(att, NULL);
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

	lockdep_assert_held(&blk_bpf_attach_mutex);
	list_for_each_entry(att, &all_atts, node) {
		if (att->link == link)
			return att;
	}
	return NULL;
}

/* A new program does not owe what the old one did. */
static void att_forgive(struct blk_bpf_att *att)
{
	int cpu;
	u32 i;

	if (!att->frames)
		return;
	for_each_possible_cpu(cpu) {
		for (i = 0; i < BLK_BPF_CONTEXTS; i++)
			WRITE_ONCE(blk_bpf_att_frame(att, cpu, i)->payer, NULL);
	}
}

static void att_set_program(struct blk_bpf_att *att,
			    const struct blk_bpf_program *program)
{
	bpf_prog_inc(program->prog);
	att->unit = program->ops->unit;
	att->overlap = program->ops->overlap;
	/* In one: an ejection is of the old program and forgotten, or of the new. */
	raw_spin_lock_irq(&att->lock);
	memcpy(att->name, program->ops->name, sizeof(att->name));
	att->state = BLK_BPF_STATE_LIVE;
	att->reason[0] = '\0';
	memset(&att->exit, 0, sizeof(att->exit));
	rcu_assign_pointer(att->prog, program->prog);
	raw_spin_unlock_irq(&att->lock);
	att_forgive(att);
	att_hold(att, program->prog);
}

/**
 * blk_bpf_link_add - a program was linked and can be attached
 * @ops:  the program
 * @link: by which it will be named
 *
 * Return: 0, -ENOMEM or -EOPNOTSUPP.
 */
int blk_bpf_link_add(const struct blk_bpf_ops *ops, struct bpf_link *link)
{
	struct blk_bpf_program program;
	struct blk_bpf_att *att;
	int err;

	err = blk_bpf_program_of_ops(ops, &program, NULL);
	if (err)
		return err;
	att = att_alloc();
	if (!att)
		return blk_bpf_refuse(NULL, -ENOMEM, "no memory for a link");
	att->link = link;

	mutex_lock(&blk_bpf_attach_mutex);
	att_set_program(att, &program);
	list_add_tail(&att->node, &all_atts);
	mutex_unlock(&blk_bpf_attach_mutex);
	return 0;
}

/**
 * blk_bpf_link_del - a link ends, and with it the attachment
 * @link: the link
 */
void blk_bpf_link_del(struct bpf_link *link)
{
	struct blk_bpf_att *att;

	mutex_lock(&blk_bpf_attach_mutex);
	att = find_link(link);
	if (att) {
		list_del(&att->node);
		att->link = NULL;
		att_end(att);
	}
	mutex_unlock(&blk_bpf_attach_mutex);
	if (att)
		blk_bpf_att_put(att);
}

static int check_update(const struct blk_bpf_att *att,
			const struct blk_bpf_ops *ops)
{
	if (!att)
		return -ENOENT;
	if (att->state == BLK_BPF_STATE_GONE)
		return blk_bpf_refuse(NULL, -ENODEV,
			"the device of this attachment was removed: detach it");
	if (att->dev && (ops->unit != att->unit || ops->overlap != att->overlap))
		return blk_bpf_refuse(NULL, -EINVAL,
			"the attached program has unit %u and overlap %u, the new one %u and %u: detach, and attach the new one",
			att->unit, att->overlap, ops->unit, ops->overlap);
	return 0;
}

/**
 * blk_bpf_link_update - a link gets another program
 * @ops:  the new one
 * @link: the link
 *
 * Between two bios, also for those that are on their way. A program that was
 * ejected is replaced like any other.
 *
 * Return: 0, -EINVAL, -ENOENT, -ENODEV or -EOPNOTSUPP.
 */
int blk_bpf_link_update(const struct blk_bpf_ops *ops, struct bpf_link *link)
{
	struct blk_bpf_program program;
	struct blk_bpf_att *att;
	int err;

	err = blk_bpf_program_of_ops(ops, &program, NULL);
	if (err)
		return err;
	mutex_lock(&blk_bpf_attach_mutex);
	att = find_link(link);
	err = check_update(att, ops);
	if (!err)
		att_set_program(att, &program);
	mutex_unlock(&blk_bpf_attach_mutex);
	return err;
}

/*
 * Devices that go away
 */

static void dev_removed(struct device *dev)
{
	struct blk_bpf_att *att;

	mutex_lock(&blk_bpf_attach_mutex);
	list_for_each_entry(att, &all_atts, node) {
		if (att->dev == dev)
			att_end(att);
	}
	mutex_unlock(&blk_bpf_attach_mutex);
}

static struct class_interface removal = {
	.remove_dev = dev_removed,
};
static DEFINE_MUTEX(removal_mutex);	/* protects removal.class */

/*
 * The class of block devices is not exported, but every disk has it. Outside
 * blk_bpf_attach_mutex: the class's own mutex is held around dev_removed().
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
	if (arg->budget_ns > BLK_BPF_BUDGET_MAX &&
	    arg->budget_ns != BLK_BPF_BUDGET_NONE)
		return blk_bpf_refuse(msg, -EINVAL,
			"budget_ns is %llu: a call may take at most %llu, or as long as it likes with BLK_BPF_BUDGET_NONE",
			arg->budget_ns, BLK_BPF_BUDGET_MAX);
	if (next_id == U32_MAX)
		return blk_bpf_refuse(msg, -ENOSPC,
			"every id was given to an attachment, and none is used again: unload the module and load it anew");
	if (bdev->bd_disk->flags & GENHD_FL_HIDDEN)
		return blk_bpf_refuse(msg, -EOPNOTSUPP,
			"%pg is a path of a multipath disk: attach to its head",
			bdev);
	return 0;
}

static void att_set_budget(struct blk_bpf_att *att, u64 budget_ns)
{
	att->budget_ns = budget_ns ?: BLK_BPF_BUDGET_DEFAULT;
	att->slack = blk_bpf_ns_to_cycles(BLK_BPF_BUDGET_SLACK_NS);
	att->budget = att->budget_ns == BLK_BPF_BUDGET_NONE ?
		      U64_MAX : blk_bpf_ns_to_cycles(att->budget_ns);
}

static void att_set_device(struct blk_bpf_att *att,
			   const struct blk_bpf_attach *arg,
			   struct block_device *bdev)
{
	att->flags = arg->hdr.flags;
	att->priority = arg->priority;
	att->ops_mask = ops_mask(att->flags);
	memcpy(att->args, arg->args, sizeof(att->args));
	att->part = bdev_is_partition(bdev) ? bdev : NULL;
	att->start = att->part ? (u64)bdev->bd_start_sect << SECTOR_SHIFT : 0;
	att->plain_unit = att->part || att->flags & BLK_BPF_ATTACH_MAY_FAIL ?
			  1 : att->unit;
	att_set_budget(att, arg->budget_ns);
	att->plain_flags = BLK_BPF_F_LIVE | (att->overlap ? BLK_BPF_F_EDGE : 0);
	att->devt = bdev->bd_dev;
	snprintf(att->disk_name, sizeof(att->disk_name), "%pg", bdev);
}

/* Context: blk_bpf_attach_mutex is held. */
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

	disk = blk_bpf_disk_get(bdev->bd_disk);
	if (IS_ERR(disk)) {
		att_free_frames(att);
		return blk_bpf_refuse(msg, PTR_ERR(disk),
				      "cannot hook the bios of %pg", bdev);
	}
	att->dev = get_device(&bdev->bd_device);
	att->id = next_id++;
	att->seq = blk_bpf_attach_seq + 1;
	blk_bpf_disk_add_att(disk, att);

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
		mutex_lock(&blk_bpf_attach_mutex);
		err = attach_locked(arg, link, bdev, msg);
		mutex_unlock(&blk_bpf_attach_mutex);
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

/**
 * blk_bpf_att_next - an attachment by id
 * @start: the lowest id that will do
 *
 * Ids are given in the order of attaching, the list is in that of linking.
 *
 * Context: blk_bpf_attach_mutex is held, and keeps it.
 * Return: the one with the lowest id, or NULL.
 */
struct blk_bpf_att *blk_bpf_att_next(u32 start)
{
	struct blk_bpf_att *att, *next = NULL;

	lockdep_assert_held(&blk_bpf_attach_mutex);
	list_for_each_entry(att, &all_atts, node) {
		if (att->id && att->id >= start && (!next || att->id < next->id))
			next = att;
	}
	return next;
}

int blk_bpf_attach_init(void)
{
	int err;

	err = blk_bpf_disks_init();
	if (err)
		return err;
	err = blk_bpf_interpose_init();
	if (err)
		blk_bpf_disks_exit();
	return err;
}

/*
 * Done with what is told through the control device. No bio is under way and
 * no program is left, so that nothing is added.
 */
void blk_bpf_attach_flush(void)
{
	flush_workqueue(blk_bpf_wq);
}

void blk_bpf_attach_exit(void)
{
	if (removal.class)
		class_interface_unregister(&removal);
	blk_bpf_disks_exit();
	blk_bpf_interpose_exit();
	/* att_free_rcu() and the streams' like */
	rcu_barrier();
}
