// SPDX-License-Identifier: GPL-2.0
/* A drive, from found to gone. */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "csd.h"

/* How long a scan waits for a controller that is being reset. */
#define LIVE_MS	30000

/**
 * csd_drive_enter - use a drive: until csd_drive_leave() it stays as it is
 * @drive: of a target to which the caller has a reference
 *
 * Return: false if it is gone.
 */
bool csd_drive_enter(struct csd_drive *drive)
{
	bool entered = false;

	spin_lock_irq(&drive->lock);
	if (!drive->dead) {
		drive->users++;
		entered = true;
	}
	spin_unlock_irq(&drive->lock);
	return entered;
}

/* Once more, by who has entered it: for what outlives that. Context: any. */
void csd_drive_hold(struct csd_drive *drive)
{
	unsigned long flags;

	spin_lock_irqsave(&drive->lock, flags);
	drive->users++;
	spin_unlock_irqrestore(&drive->lock, flags);
}

/* Context: any. */
void csd_drive_leave(struct csd_drive *drive)
{
	unsigned long flags;

	spin_lock_irqsave(&drive->lock, flags);
	if (!--drive->users)
		wake_up_all(&drive->idle);
	spin_unlock_irqrestore(&drive->lock, flags);
}

bool csd_drive_is_dead(struct csd_drive *drive)
{
	return READ_ONCE(drive->dead);
}

static bool drive_is_idle(struct csd_drive *drive)
{
	bool idle;

	/* With the lock: csd_drive_leave() holds it to its end. */
	spin_lock_irq(&drive->lock);
	idle = !drive->users;
	spin_unlock_irq(&drive->lock);
	return idle;
}

/**
 * csd_drive_wait_live - wait until the controller takes commands
 * @drive: in use by the caller
 *
 * Return: 0; -ENODEV if it is gone for good, -ETIMEDOUT, -EINTR.
 */
int csd_drive_wait_live(struct csd_drive *drive)
{
	struct nvme_ctrl *ctrl = drive->ctrl;
	long left;

	left = wait_event_interruptible_timeout(ctrl->state_wq,
			nvme_ctrl_state(ctrl) == NVME_CTRL_LIVE ||
			nvme_state_terminal(ctrl) || csd_drive_is_dead(drive),
			msecs_to_jiffies(LIVE_MS));
	if (left < 0)
		return -EINTR;
	if (csd_drive_is_dead(drive) || nvme_state_terminal(ctrl))
		return -ENODEV;
	return left ? 0 : -ETIMEDOUT;
}

static struct csd_drive *drive_alloc(struct nvme_ctrl *ctrl)
{
	struct csd_drive *drive = kzalloc(sizeof(*drive), GFP_KERNEL);

	if (!drive)
		return NULL;
	/* As the controller is: csd2 is nvme2. */
	snprintf(drive->target.name, sizeof(drive->target.name), "csd%d",
		 ctrl->instance);
	drive->target.ops = &csd_target_ops;
	drive->target.owner = THIS_MODULE;
	drive->ctrl = ctrl;
	spin_lock_init(&drive->lock);
	init_waitqueue_head(&drive->idle);
	INIT_LIST_HEAD(&drive->runs);
	mutex_init(&drive->prog_lock);
	xa_init_flags(&drive->programs, XA_FLAGS_ALLOC1);
	if (ctrl->ops->flags & NVME_F_FABRICS)
		drive->vendor_admin = true;
	else if (dev_is_pci(ctrl->dev))
		drive->pdev = to_pci_dev(ctrl->dev);
	return drive;
}

static void dev_release(struct device *dev)
{
	kfree(dev);
}

/* Udev is told when the drive is a target: then a rule can use it. */
static int drive_show(struct csd_drive *drive)
{
	struct device *dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	int err;

	if (!dev)
		return -ENOMEM;
	device_initialize(dev);
	dev->class = &csd_class;
	dev->parent = drive->ctrl->device;
	dev->groups = csd_groups;
	dev->release = dev_release;
	dev_set_drvdata(dev, drive);
	dev_set_uevent_suppress(dev, true);
	err = dev_set_name(dev, "%s", drive->target.name);
	if (!err)
		err = device_add(dev);
	if (err)
		goto put_dev;
	err = blk_bpf_target_register(&drive->target);
	if (err)
		goto del_dev;
	drive->dev = dev;
	dev_set_uevent_suppress(dev, false);
	kobject_uevent(&dev->kobj, KOBJ_ADD);
	return 0;

del_dev:
	device_del(dev);
put_dev:
	put_device(dev);
	return err;
}

/**
 * csd_drive_create - make a drive of a controller with the two namespaces
 * @ctrl:     stays until csd_drive_destroy()
 * @slm_nsid: memory
 * @cp_nsid:  programs
 *
 * What keeps it from being one is said in the kernel's log.
 *
 * Return: the drive, a target from now on, or NULL.
 */
struct csd_drive *csd_drive_create(struct nvme_ctrl *ctrl, u32 slm_nsid,
				   u32 cp_nsid)
{
	struct csd_drive *drive = drive_alloc(ctrl);

	if (!drive)
		return NULL;
	drive->slm_ns = nvme_find_get_ns(ctrl, slm_nsid);
	drive->cp_ns = nvme_find_get_ns(ctrl, cp_nsid);
	if (!drive->slm_ns || !drive->cp_ns)
		goto put_ns;
	if (csd_info_read(ctrl, drive->slm_ns, drive->cp_ns, &drive->info))
		goto put_ns;
	if (csd_info_ptypes(ctrl, cp_nsid)) {
		dev_warn(ctrl->device,
			 "the drive runs no programs of type 0x%x, ABI %u\n",
			 NVME_CSD_PTYPE_EBPF, NVME_CSD_EBPF_ABI);
		goto put_ns;
	}
	if (csd_slm_init(drive))
		goto put_ns;
	if (drive_show(drive))
		goto exit_slm;
	return drive;

exit_slm:
	csd_slm_exit(drive);
put_ns:
	if (drive->slm_ns)
		nvme_put_ns(drive->slm_ns);
	if (drive->cp_ns)
		nvme_put_ns(drive->cp_ns);
	kfree(drive);
	return NULL;
}

/* The last scan that knew the drive is gone, too. blk_bpf_target_ops.release */
void csd_drive_release(struct blk_bpf_target *target)
{
	kfree(to_csd_drive(target));
}

/**
 * csd_drive_destroy - a drive is going or gone: nothing of its controller is held
 * when this returns
 * @drive: from csd_drive_create()
 *
 * Scans under way end with what they found. Waits for the commands that are out;
 * each ends by itself, by Abort, or by the controller's end.
 */
void csd_drive_destroy(struct csd_drive *drive)
{
	bool live = nvme_ctrl_state(drive->ctrl) == NVME_CTRL_LIVE;

	spin_lock_irq(&drive->lock);
	drive->dead = true;
	spin_unlock_irq(&drive->lock);
	wake_up_all(&drive->slm_wait);
	wake_up_all(&drive->ctrl->state_wq);
	csd_runs_wake(drive);
	wait_event(drive->idle, drive_is_idle(drive));

	device_unregister(drive->dev);
	csd_programs_free(drive, live);
	csd_slm_exit(drive);
	nvme_put_ns(drive->cp_ns);
	nvme_put_ns(drive->slm_ns);
	drive->cp_ns = NULL;
	drive->slm_ns = NULL;
	drive->ctrl = NULL;
	blk_bpf_target_unregister(&drive->target);
}

int csd_drive_init(void)
{
	return class_register(&csd_class);
}

void csd_drive_exit(void)
{
	class_unregister(&csd_class);
}
