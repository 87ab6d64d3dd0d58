// SPDX-License-Identifier: GPL-2.0
/*
 * Finding drives. Every namespace of every NVMe controller, on whatever
 * transport, has a disk, those of other command sets a hidden one; so the class
 * of disks tells of them all, without anything that only one transport has. A
 * disk's parent is its controller.
 *
 * The callbacks run with the class's lock held, one at a time. In the one for
 * removal all that the module has of the controller is given back, because what
 * comes next is the end of the controller, and then perhaps of its driver.
 */
#include <linux/blkdev.h>
#include <linux/device.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "csd.h"

/**
 * struct csd_host - a controller with at least one namespace
 * @node:  in hosts
 * @ctrl:  the controller; the namespaces hold it
 * @disks: namespaces that were announced
 * @work:  looks whether it is a drive
 * @drive: if it is one; the work's, or the callbacks' when that is cancelled
 */
struct csd_host {
	struct list_head node;
	struct nvme_ctrl *ctrl;
	u32 disks;
	struct work_struct work;
	struct csd_drive *drive;
};

static LIST_HEAD(hosts);	/* under the lock of the class of disks */
static struct workqueue_struct *discover_wq;
static struct class_interface disks;
static bool leaving;		/* the module is: nothing is looked at any more */

/* The controller that a disk is a namespace of, or NULL. */
static struct nvme_ctrl *ctrl_of_disk(struct device *dev)
{
	struct device *parent = dev->parent;

	if (!parent || !parent->class || strcmp(parent->class->name, "nvme"))
		return NULL;
	return dev_get_drvdata(parent);
}

static struct csd_host *find_host(const struct nvme_ctrl *ctrl)
{
	struct csd_host *host;

	list_for_each_entry(host, &hosts, node) {
		if (host->ctrl == ctrl)
			return host;
	}
	return NULL;
}

/* The first namespace of a command set that is not on its way out, or 0. */
static u32 find_nsid(struct nvme_ctrl *ctrl, u8 csi)
{
	struct nvme_ns *ns;
	u32 nsid = 0;
	int idx;

	idx = srcu_read_lock(&ctrl->srcu);
	list_for_each_entry_srcu(ns, &ctrl->namespaces, list,
				 srcu_read_lock_held(&ctrl->srcu)) {
		if (ns->head->ids.csi == csi &&
		    !test_bit(GD_DEAD, &ns->disk->state)) {
			nsid = ns->head->ns_id;
			break;
		}
	}
	srcu_read_unlock(&ctrl->srcu, idx);
	return nsid;
}

static void look(struct work_struct *work)
{
	struct csd_host *host = container_of(work, struct csd_host, work);
	u32 slm = find_nsid(host->ctrl, NVME_CSD_CSI_SLM);
	u32 cp = find_nsid(host->ctrl, NVME_CSD_CSI_CP);

	if (!host->drive && slm && cp)
		host->drive = csd_drive_create(host->ctrl, slm, cp);
}

static int disk_added(struct device *dev)
{
	struct nvme_ctrl *ctrl = ctrl_of_disk(dev);
	struct csd_host *host;

	if (!ctrl)
		return 0;
	host = find_host(ctrl);
	if (!host) {
		host = kzalloc(sizeof(*host), GFP_KERNEL);
		if (!host)
			return -ENOMEM;
		host->ctrl = ctrl;
		INIT_WORK(&host->work, look);
		list_add(&host->node, &hosts);
	}
	host->disks++;
	queue_work(discover_wq, &host->work);
	return 0;
}

static bool is_of_drive(const struct csd_drive *drive, const struct device *dev)
{
	const struct gendisk *disk = dev_to_disk(dev);

	return drive->slm_ns->disk == disk || drive->cp_ns->disk == disk;
}

static void disk_removed(struct device *dev)
{
	struct nvme_ctrl *ctrl = ctrl_of_disk(dev);
	struct csd_host *host;
	bool unseen;

	host = ctrl ? find_host(ctrl) : NULL;
	if (!host)
		return;
	unseen = cancel_work_sync(&host->work);
	host->disks--;
	/* The first to go of a controller's that goes itself. */
	if (host->drive && (!host->disks || is_of_drive(host->drive, dev) ||
			    nvme_state_terminal(ctrl))) {
		csd_drive_destroy(host->drive);
		host->drive = NULL;
	}
	if (!host->disks) {
		list_del(&host->node);
		kfree(host);
	} else if (unseen && !READ_ONCE(leaving) && !nvme_state_terminal(ctrl)) {
		queue_work(discover_wq, &host->work);
	}
}

int csd_discover_init(void)
{
	struct gendisk *disk;
	int err;

	discover_wq = alloc_workqueue("nvme_csd", WQ_UNBOUND, 0);
	if (!discover_wq)
		return -ENOMEM;
	/* The class has no name that a module could use, but every disk knows it. */
	disk = blk_alloc_disk(NULL, NUMA_NO_NODE);
	if (IS_ERR(disk)) {
		err = PTR_ERR(disk);
		goto destroy_wq;
	}
	disks.class = disk_to_dev(disk)->class;
	put_disk(disk);
	disks.add_dev = disk_added;
	disks.remove_dev = disk_removed;
	err = class_interface_register(&disks);
	if (err)
		goto destroy_wq;
	return 0;

destroy_wq:
	destroy_workqueue(discover_wq);
	return err;
}

void csd_discover_exit(void)
{
	WRITE_ONCE(leaving, true);
	class_interface_unregister(&disks);
	destroy_workqueue(discover_wq);
}
