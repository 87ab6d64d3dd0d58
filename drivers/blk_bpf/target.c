// SPDX-License-Identifier: GPL-2.0
/* Where programs can run: the registry of targets. */
#include <linux/export.h>
#include <linux/module.h>
#include <linux/mutex.h>

#include "scan.h"

static LIST_HEAD(targets);		/* under targets_lock */
static DEFINE_MUTEX(targets_lock);

static struct blk_bpf_target *find(const char *name)
{
	struct blk_bpf_target *target;

	lockdep_assert_held(&targets_lock);
	list_for_each_entry(target, &targets, node) {
		if (!strcmp(target->name, name))
			return target;
	}
	return NULL;
}

/**
 * blk_bpf_target_register - let scans run on a target
 * @target: name, ops and owner are set
 *
 * Return: 0, or -EEXIST for a name that is in use.
 */
int blk_bpf_target_register(struct blk_bpf_target *target)
{
	int err = 0;

	mutex_lock(&targets_lock);
	if (find(target->name)) {
		err = -EEXIST;
	} else {
		kref_init(&target->ref);
		list_add_tail(&target->node, &targets);
	}
	mutex_unlock(&targets_lock);
	return err;
}
EXPORT_SYMBOL_GPL(blk_bpf_target_register);

static void target_release(struct kref *ref)
{
	struct blk_bpf_target *target = container_of(ref, struct blk_bpf_target, ref);

	if (target->ops->release)
		target->ops->release(target);
}

/**
 * blk_bpf_target_unregister - the target is gone
 * @target: registered
 *
 * No new job begins on it. Jobs that there are keep a reference; what they hold
 * of the device is the target's to take back: from now on their next call is
 * refused by @begin. The caller's reference is dropped.
 */
void blk_bpf_target_unregister(struct blk_bpf_target *target)
{
	mutex_lock(&targets_lock);
	list_del(&target->node);
	mutex_unlock(&targets_lock);
	kref_put(&target->ref, target_release);
}
EXPORT_SYMBOL_GPL(blk_bpf_target_unregister);

/* The target of that name, with a reference and its module's, or NULL. */
struct blk_bpf_target *blk_bpf_target_get(const char *name)
{
	struct blk_bpf_target *target;

	mutex_lock(&targets_lock);
	target = find(*name ? name : "kernel");
	if (target && !try_module_get(target->owner))
		target = NULL;
	if (target)
		kref_get(&target->ref);
	mutex_unlock(&targets_lock);
	return target;
}

void blk_bpf_target_put(struct blk_bpf_target *target)
{
	struct module *owner = target->owner;

	kref_put(&target->ref, target_release);
	module_put(owner);
}
