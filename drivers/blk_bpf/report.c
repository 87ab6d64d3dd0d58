// SPDX-License-Identifier: GPL-2.0
/* What attachments have to say: BLK_BPF_IOC_LIST, _MISSED and _STREAM. */
#include <linux/math64.h>
#include <linux/slab.h>
#include <linux/timex.h>
#include <linux/uaccess.h>

#include "attach.h"

#ifndef CONFIG_X86_64
#error "what get_cycles() counts, and how fast, is known of x86-64 alone"
#endif

u64 blk_bpf_cycles_to_ns(u64 cycles)
{
	return mul_u64_u64_div_u64(cycles, NSEC_PER_MSEC, tsc_khz ?: 1);
}

u64 blk_bpf_ns_to_cycles(u64 ns)
{
	return mul_u64_u64_div_u64(ns, tsc_khz ?: 1, NSEC_PER_MSEC);
}

static void report_counters(const struct blk_bpf_att *att,
			    struct blk_bpf_attachment *entry)
{
	const struct blk_bpf_counters *c;
	unsigned int context;
	u64 cycles = 0, whole;
	int cpu;

	for_each_possible_cpu(cpu) {
		for (context = 0; context < BLK_BPF_CONTEXTS; context++) {
			c = &blk_bpf_att_frame(att, cpu, context)->count;
			whole = READ_ONCE(c->whole);
			entry->runs += READ_ONCE(c->runs) + whole;
			entry->bios += READ_ONCE(c->bios) + whole;
			entry->bytes += READ_ONCE(c->bytes) + whole * att->unit;
			entry->matches += READ_ONCE(c->matches);
			entry->partial += READ_ONCE(c->partial);
			entry->failed += READ_ONCE(c->failed);
			entry->refused += READ_ONCE(c->refused);
			cycles += READ_ONCE(c->cycles);
		}
	}
	entry->time_ns = blk_bpf_cycles_to_ns(cycles);
}

static void report_link(const struct blk_bpf_att *att,
			struct blk_bpf_attachment *entry)
{
	struct bpf_link_info info = {};

	/* unreg takes blk_bpf_attach_mutex before a link goes away: it is there. */
	lockdep_assert_held(&blk_bpf_attach_mutex);
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
	entry->budget_ns = att->budget_ns;
	memcpy(entry->args, att->args, sizeof(entry->args));
	strscpy(entry->disk, att->disk_name);
	raw_spin_lock_irq(&att->lock);
	entry->state = att->state;
	entry->missed = att->missed_bios;
	memcpy(entry->name, att->name, sizeof(entry->name));
	memcpy(entry->reason, att->reason, sizeof(entry->reason));
	entry->exit = att->exit.kind;
	entry->exit_op = att->exit.op;
	entry->exit_value = att->exit.value;
	entry->exit_pos = att->exit.pos;
	entry->exit_len = att->exit.len;
	entry->exit_time_ns = att->exit.time_ns;
	raw_spin_unlock_irq(&att->lock);
}

/* Up to @room attachments into @entries, and how many there are from @start on. */
static u32 report_all(u32 start, struct blk_bpf_attachment *entries, u32 room,
		      u32 *total)
{
	struct blk_bpf_att *att;
	u32 nr = 0;

	*total = 0;
	mutex_lock(&blk_bpf_attach_mutex);
	for (att = blk_bpf_att_next(start); att; att = blk_bpf_att_next(att->id + 1)) {
		++*total;
		if (nr < room)
			report(att, &entries[nr++]);
	}
	mutex_unlock(&blk_bpf_attach_mutex);
	return nr;
}

/* The first version of struct blk_bpf_attachment ended here. */
#define ENTRY_SIZE_MIN	offsetofend(struct blk_bpf_attachment, reason)

/* To a caller that may know less of an entry than we do, or more. */
static int copy_entries(const struct blk_bpf_list *arg,
			const struct blk_bpf_attachment *entries)
{
	const size_t size = min_t(size_t, arg->entry_size, sizeof(*entries));
	void __user *to = u64_to_user_ptr(arg->entries);
	u32 i;

	for (i = 0; i < arg->nr; i++, to += arg->entry_size) {
		if (copy_to_user(to, &entries[i], size) ||
		    clear_user(to + size, arg->entry_size - size))
			return -EFAULT;
	}
	return 0;
}

/* BLK_BPF_IOC_LIST, see the uapi header. */
int blk_bpf_list(struct blk_bpf_list *arg, struct blk_bpf_msg *msg)
{
	struct blk_bpf_attachment *entries;
	int err;
	u32 room;

	if (arg->entry_size < ENTRY_SIZE_MIN || arg->entry_size > PAGE_SIZE)
		return blk_bpf_refuse(msg, -EINVAL,
			"entry_size is %u: a struct blk_bpf_attachment has at least %zu bytes, and %zu for this kernel",
			arg->entry_size, ENTRY_SIZE_MIN, sizeof(*entries));

	/* Memory for those that there are, not for those that are asked for. */
	report_all(arg->start, NULL, 0, &room);
	room = min(room, arg->nr);
	entries = kvcalloc(room, sizeof(*entries), GFP_KERNEL_ACCOUNT);
	if (room && !entries)
		return -ENOMEM;
	arg->nr = report_all(arg->start, entries, room, &arg->total);
	err = copy_entries(arg, entries);
	kvfree(entries);
	return err;
}

/* A reference to the attachment of that id, or an error. */
static struct blk_bpf_att *att_by_id(u32 id, struct blk_bpf_msg *msg)
{
	struct blk_bpf_att *att;

	mutex_lock(&blk_bpf_attach_mutex);
	att = blk_bpf_att_next(id);
	if (att && att->id == id && id)
		blk_bpf_att_get(att);
	else
		att = NULL;
	mutex_unlock(&blk_bpf_attach_mutex);
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
