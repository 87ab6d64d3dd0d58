// SPDX-License-Identifier: GPL-2.0
/*
 * A sentence for every refusal.
 *
 * An ioctl brings a buffer for it. The steps of bpf(2) that have no log (map
 * update, link) keep the sentence for the calling thread until it asks with
 * BLK_BPF_IOC_LAST_MSG, which the library does right after a failure.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/export.h>
#include <linux/list.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "blk_bpf.h"

/*
 * Threads that were refused and have not asked why: as a rule one, for a few
 * microseconds. The oldest is forgotten when so many never ask.
 */
#define LAST_MSGS_MAX	64

struct last_msg {
	struct list_head node;
	/* start_boottime tells a thread from a later one with its address */
	const struct task_struct *task;
	u64 start;
	struct blk_bpf_msg msg;
};

static LIST_HEAD(last_msgs);		/* newest first; under last_msgs_lock */
static unsigned int nr_last_msgs;	/* under last_msgs_lock */
static DEFINE_SPINLOCK(last_msgs_lock);

static struct last_msg *last_msg_take(void)
{
	struct last_msg *pos;

	lockdep_assert_held(&last_msgs_lock);
	list_for_each_entry(pos, &last_msgs, node) {
		if (pos->task == current && pos->start == current->start_boottime) {
			list_del(&pos->node);
			nr_last_msgs--;
			return pos;
		}
	}
	return NULL;
}

static void last_msg_keep(const struct blk_bpf_msg *msg)
{
	struct last_msg *kept, *forgotten = NULL;

	kept = kmalloc(sizeof(*kept), GFP_KERNEL_ACCOUNT);
	if (!kept)
		return;
	kept->task = current;
	kept->start = current->start_boottime;
	kept->msg = *msg;

	spin_lock(&last_msgs_lock);
	forgotten = last_msg_take();
	if (!forgotten && nr_last_msgs == LAST_MSGS_MAX) {
		forgotten = list_last_entry(&last_msgs, struct last_msg, node);
		list_del(&forgotten->node);
		nr_last_msgs--;
	}
	list_add(&kept->node, &last_msgs);
	nr_last_msgs++;
	spin_unlock(&last_msgs_lock);
	kfree(forgotten);
}

/**
 * blk_bpf_refuse - say why something is refused
 * @msg: the ioctl's message, or NULL to keep it for BLK_BPF_IOC_LAST_MSG
 * @err: negative errno
 * @fmt: a sentence that names what was wrong and how to mend it
 *
 * Context: may sleep.
 * Return: @err
 */
int blk_bpf_refuse(struct blk_bpf_msg *msg, int err, const char *fmt, ...)
{
	struct blk_bpf_msg *own = NULL;
	va_list args;

	if (!msg)
		msg = own = kzalloc(sizeof(*own), GFP_KERNEL_ACCOUNT);
	if (!msg)
		return err;

	va_start(args, fmt);
	vscnprintf(msg->text, sizeof(msg->text), fmt, args);
	va_end(args);

	if (own) {
		last_msg_keep(own);
		pr_info_ratelimited("%s[%d]: %s\n", current->comm,
				    task_pid_nr(current), own->text);
		kfree(own);
	}
	return err;
}
EXPORT_SYMBOL_GPL(blk_bpf_refuse);

/**
 * blk_bpf_last_msg - hand out and forget the calling thread's sentence
 * @msg: receives it
 *
 * Return: 0, or -ENOMSG if there is none.
 */
int blk_bpf_last_msg(struct blk_bpf_msg *msg)
{
	struct last_msg *kept;

	spin_lock(&last_msgs_lock);
	kept = last_msg_take();
	spin_unlock(&last_msgs_lock);
	if (!kept)
		return -ENOMSG;
	*msg = kept->msg;
	kfree(kept);
	return 0;
}

void blk_bpf_msg_exit(void)
{
	struct last_msg *pos, *next;

	list_for_each_entry_safe(pos, next, &last_msgs, node)
		kfree(pos);
}
