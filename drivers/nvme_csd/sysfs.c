// SPDX-License-Identifier: GPL-2.0
/* /sys/class/csd: what a drive shows of itself; Documentation/ABI/testing/sysfs-class-csd */
#include <linux/device.h>

#include "csd.h"

static struct csd_drive *to_drive(struct device *dev)
{
	return dev_get_drvdata(dev);
}

#define CSD_ATTR(_name, _format, _value)				\
static ssize_t _name##_show(struct device *dev,				\
			    struct device_attribute *attr, char *buf)	\
{									\
	const struct csd_drive *drive = to_drive(dev);			\
									\
	return sysfs_emit(buf, _format "\n", _value);			\
}									\
static DEVICE_ATTR_RO(_name)

CSD_ATTR(controller, "%s", dev_name(drive->ctrl->device));
CSD_ATTR(transport, "%s", drive->ctrl->ops->name);
CSD_ATTR(slm_nsid, "%u", drive->info.slm_nsid);
CSD_ATTR(cp_nsid, "%u", drive->info.cp_nsid);
CSD_ATTR(slm_size, "%llu", drive->info.slm_size);
CSD_ATTR(slm_window, "%llu", drive->info.window_size);
CSD_ATTR(max_program_size, "%llu", drive->info.max_prog_bytes);
CSD_ATTR(max_globals, "%llu", drive->info.max_globals);
CSD_ATTR(max_programs, "%u", drive->info.max_programs);
CSD_ATTR(max_active, "%u", drive->info.max_active);
CSD_ATTR(max_copy, "%llu", drive->info.max_copy);
CSD_ATTR(max_queued, "%u", drive->info.max_queued);
CSD_ATTR(engines, "%u", drive->info.engines);
CSD_ATTR(deadline_ns, "%llu", drive->info.deadline_ns);
CSD_ATTR(fuel, "%llu", drive->info.fuel);
CSD_ATTR(jit, "%d", !!(drive->info.features & NVME_CSD_INFO_JIT));
CSD_ATTR(timing_model, "%d", !!(drive->info.features & NVME_CSD_INFO_TIMING));
CSD_ATTR(scans, "%d", atomic_read(&drive->nr_runs));

static ssize_t slm_free_show(struct device *dev, struct device_attribute *attr,
			     char *buf)
{
	return sysfs_emit(buf, "%zu\n", gen_pool_avail(to_drive(dev)->slm));
}
static DEVICE_ATTR_RO(slm_free);

/* The block devices whose data are near: their names, in a line. */
static ssize_t namespaces_show(struct device *dev, struct device_attribute *attr,
			       char *buf)
{
	struct nvme_ctrl *ctrl = to_drive(dev)->ctrl;
	struct nvme_ns *ns;
	ssize_t at = 0;
	int idx;

	idx = srcu_read_lock(&ctrl->srcu);
	list_for_each_entry_srcu(ns, &ctrl->namespaces, list,
				 srcu_read_lock_held(&ctrl->srcu)) {
		const struct gendisk *disk = nvme_ns_head_multipath(ns->head) ?
					     ns->head->disk : ns->disk;

		if (ns->head->ids.csi == NVME_CSI_NVM)
			at += sysfs_emit_at(buf, at, "%s%s", at ? " " : "",
					    disk->disk_name);
	}
	srcu_read_unlock(&ctrl->srcu, idx);
	at += sysfs_emit_at(buf, at, "\n");
	return at;
}
static DEVICE_ATTR_RO(namespaces);

/* One program a line: index, name, bytes, scans that use it, state. */
static ssize_t programs_show(struct device *dev, struct device_attribute *attr,
			     char *buf)
{
	struct csd_drive *drive = to_drive(dev);
	struct csd_program *prog;
	unsigned long pind;
	ssize_t at = 0;

	mutex_lock(&drive->prog_lock);
	xa_for_each(&drive->programs, pind, prog) {
		const struct nvme_csd_image *image = prog->image;

		if (!image)
			continue;
		at += sysfs_emit_at(buf, at, "%lu %.*s %u %u %s\n", pind,
				    (int)strnlen(image->name, sizeof(image->name)),
				    image->name, prog->len, prog->users,
				    prog->ready ? "loaded" : "forgotten");
	}
	mutex_unlock(&drive->prog_lock);
	return at;
}
static DEVICE_ATTR_RO(programs);

static struct attribute *csd_attrs[] = {
	&dev_attr_controller.attr,
	&dev_attr_transport.attr,
	&dev_attr_namespaces.attr,
	&dev_attr_slm_nsid.attr,
	&dev_attr_cp_nsid.attr,
	&dev_attr_slm_size.attr,
	&dev_attr_slm_window.attr,
	&dev_attr_slm_free.attr,
	&dev_attr_max_program_size.attr,
	&dev_attr_max_globals.attr,
	&dev_attr_max_programs.attr,
	&dev_attr_max_active.attr,
	&dev_attr_max_copy.attr,
	&dev_attr_max_queued.attr,
	&dev_attr_engines.attr,
	&dev_attr_deadline_ns.attr,
	&dev_attr_fuel.attr,
	&dev_attr_jit.attr,
	&dev_attr_timing_model.attr,
	&dev_attr_scans.attr,
	&dev_attr_programs.attr,
	NULL
};

static const struct attribute_group csd_group = { .attrs = csd_attrs };

const struct attribute_group *csd_groups[] = { &csd_group, NULL };

/* So that a rule can tell drives apart without reading attributes. */
static int csd_uevent(const struct device *dev, struct kobj_uevent_env *env)
{
	const struct csd_drive *drive = dev_get_drvdata(dev);

	return add_uevent_var(env, "CSD_CONTROLLER=%s",
			      dev_name(drive->ctrl->device));
}

const struct class csd_class = {
	.name		= "csd",
	.dev_uevent	= csd_uevent,
};
