// SPDX-License-Identifier: GPL-2.0
/*
 * Matches of live I/O to user space: a file for each reader, a ring for each
 * file. A reader that is too slow loses events and is told how many; live I/O
 * never waits for one.
 */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "attach.h"

#define STREAM_DEFAULT	4096
#define STREAM_MAX	(1 << 20)
/* Events copied to user space at a time. */
#define STREAM_BATCH	64

/**
 * struct stream - a reader of an attachment
 * @node:  in att->streams: RCU
 * @rcu:   frees it
 * @att:   a reference
 * @lock:  protects @head, @tail, @lost, @end_put and the events between; taken in
 *	   any context with interrupts off
 * @head:  events written, modulo 2^32
 * @tail:  events read, modulo 2^32
 * @mask:  ring size - 1
 * @lost:  events that found the ring full since the last that did not
 * @ended: no event will come any more
 * @end_put: BLK_BPF_EVENT_END is in the ring, or was
 * @wait:  readers
 * @read_lock: one reader at a time
 * @batch: on its way to user space; under @read_lock
 * @ring:  the events
 */
struct stream {
	struct list_head node;
	struct rcu_head rcu;
	struct blk_bpf_att *att;
	raw_spinlock_t lock;
	u32 head;
	u32 tail;
	u32 mask;
	u64 lost;
	bool ended;
	bool end_put;
	wait_queue_head_t wait;
	struct mutex read_lock;
	struct blk_bpf_event batch[STREAM_BATCH];
	struct blk_bpf_event *ring;
};

static bool stream_put(struct stream *stream, const struct blk_bpf_event *event)
{
	lockdep_assert_held(&stream->lock);
	if (stream->head - stream->tail > stream->mask)
		return false;
	stream->ring[stream->head & stream->mask] = *event;
	WRITE_ONCE(stream->head, stream->head + 1);
	return true;
}

/* How many were lost comes before what is written next. */
static bool stream_put_lost(struct stream *stream)
{
	struct blk_bpf_event lost = {
		.time_ns = ktime_get_mono_fast_ns(),
		.type = BLK_BPF_EVENT_LOST,
		.value = stream->lost,
	};

	if (!stream->lost)
		return true;
	if (!stream_put(stream, &lost))
		return false;
	WRITE_ONCE(stream->lost, 0);
	return true;
}

static void stream_event(struct stream *stream, const struct blk_bpf_event *event)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&stream->lock, flags);
	if (!stream_put_lost(stream) || !stream_put(stream, event))
		WRITE_ONCE(stream->lost, stream->lost + 1);
	raw_spin_unlock_irqrestore(&stream->lock, flags);
	wake_up_interruptible_poll(&stream->wait, EPOLLIN | EPOLLRDNORM);
}

void blk_bpf_event(struct blk_bpf_att *att, u16 type, u16 op, u64 pos, u32 len,
		   s64 value)
{
	struct blk_bpf_event event = {
		.pos = pos,
		.len = len,
		.type = type,
		.op = op,
		.value = value,
	};
	struct stream *stream;

	if (list_empty(&att->streams))
		return;
	event.time_ns = ktime_get_mono_fast_ns();
	rcu_read_lock();
	list_for_each_entry_rcu(stream, &att->streams, node)
		stream_event(stream, &event);
	rcu_read_unlock();
}

/*
 * A look at up to STREAM_BATCH events; they stay in the ring until they have
 * reached user space. What was lost last, and the end, have no event behind
 * them that would bring them in.
 */
static u32 stream_peek(struct stream *stream, size_t room)
{
	struct blk_bpf_event end = { .type = BLK_BPF_EVENT_END };
	u32 i, nr;

	lockdep_assert_held(&stream->read_lock);
	raw_spin_lock_irq(&stream->lock);
	if (stream_put_lost(stream) && stream->ended && !stream->end_put) {
		end.time_ns = ktime_get_mono_fast_ns();
		stream->end_put = stream_put(stream, &end);
	}
	nr = min3(stream->head - stream->tail, (u32)STREAM_BATCH,
		  (u32)min_t(size_t, room, STREAM_BATCH));
	for (i = 0; i < nr; i++)
		stream->batch[i] = stream->ring[(stream->tail + i) & stream->mask];
	raw_spin_unlock_irq(&stream->lock);
	return nr;
}

static void stream_consume(struct stream *stream, u32 nr)
{
	raw_spin_lock_irq(&stream->lock);
	WRITE_ONCE(stream->tail, stream->tail + nr);
	raw_spin_unlock_irq(&stream->lock);
}

/* What there is, into user space. */
static ssize_t stream_copy(struct stream *stream, char __user *to, size_t room)
{
	const size_t size = sizeof(struct blk_bpf_event);
	size_t done = 0;
	u32 nr;

	while (room - done >= size &&
	       (nr = stream_peek(stream, (room - done) / size))) {
		if (copy_to_user(to + done, stream->batch, nr * size))
			return done ?: -EFAULT;
		stream_consume(stream, nr);
		done += nr * size;
	}
	return done;
}

static bool stream_is_readable(struct stream *stream)
{
	return READ_ONCE(stream->head) != READ_ONCE(stream->tail) ||
	       READ_ONCE(stream->lost) || READ_ONCE(stream->ended);
}

static ssize_t stream_read(struct file *file, char __user *to, size_t room,
			   loff_t *ppos)
{
	struct stream *stream = file->private_data;
	ssize_t done;

	if (room < sizeof(struct blk_bpf_event))
		return -EINVAL;
	if (mutex_lock_interruptible(&stream->read_lock))
		return -ERESTARTSYS;
	for (;;) {
		bool ended = READ_ONCE(stream->ended);

		done = stream_copy(stream, to, room);
		if (done || ended)
			break;
		done = -EAGAIN;
		if (file->f_flags & O_NONBLOCK)
			break;
		done = wait_event_interruptible(stream->wait,
						stream_is_readable(stream));
		if (done)
			break;
	}
	mutex_unlock(&stream->read_lock);
	return done;
}

static __poll_t stream_poll(struct file *file, struct poll_table_struct *table)
{
	struct stream *stream = file->private_data;
	__poll_t mask = 0;

	poll_wait(file, &stream->wait, table);
	if (stream_is_readable(stream))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(stream->ended))
		mask |= EPOLLHUP;
	return mask;
}

static void stream_free(struct rcu_head *rcu)
{
	struct stream *stream = container_of(rcu, struct stream, rcu);

	kvfree(stream->ring);
	kfree(stream);
}

static int stream_release(struct inode *inode, struct file *file)
{
	struct stream *stream = file->private_data;
	struct blk_bpf_att *att = stream->att;

	raw_spin_lock_irq(&att->lock);
	list_del_rcu(&stream->node);
	raw_spin_unlock_irq(&att->lock);
	call_rcu(&stream->rcu, stream_free);
	blk_bpf_att_put(att);
	return 0;
}

static const struct file_operations stream_fops = {
	.owner		= THIS_MODULE,
	.read		= stream_read,
	.poll		= stream_poll,
	.release	= stream_release,
};

/**
 * blk_bpf_stream_new - a file that follows an attachment
 * @att:     of which it takes a reference
 * @entries: as in struct blk_bpf_stream
 * @msg:     why not
 *
 * Return: a file, or ERR_PTR(-EINVAL), ERR_PTR(-ENOMEM).
 */
struct file *blk_bpf_stream_new(struct blk_bpf_att *att, u32 entries,
				struct blk_bpf_msg *msg)
{
	struct stream *stream;
	struct file *file;

	if (entries > STREAM_MAX)
		return ERR_PTR(blk_bpf_refuse(msg, -EINVAL,
			"%u events are too many to buffer: at most %u",
			entries, STREAM_MAX));
	entries = roundup_pow_of_two(entries ?: STREAM_DEFAULT);

	stream = kzalloc(sizeof(*stream), GFP_KERNEL_ACCOUNT);
	if (!stream)
		return ERR_PTR(-ENOMEM);
	stream->ring = kvcalloc(entries, sizeof(*stream->ring), GFP_KERNEL_ACCOUNT);
	if (!stream->ring) {
		kfree(stream);
		return ERR_PTR(-ENOMEM);
	}
	stream->mask = entries - 1;
	stream->att = att;
	raw_spin_lock_init(&stream->lock);
	mutex_init(&stream->read_lock);
	init_waitqueue_head(&stream->wait);

	file = anon_inode_getfile("[blk_bpf_stream]", &stream_fops, stream,
				  O_RDONLY);
	if (IS_ERR(file)) {
		stream_free(&stream->rcu);
		return file;
	}
	blk_bpf_att_get(att);
	raw_spin_lock_irq(&att->lock);
	/* An attachment that has ended already ends this stream at once. */
	stream->ended = att->state == BLK_BPF_STATE_GONE;
	list_add_rcu(&stream->node, &att->streams);
	raw_spin_unlock_irq(&att->lock);
	return file;
}

/**
 * blk_bpf_stream_end_all - nothing will come any more
 * @att: that ended; its lock is held, interrupts are off
 */
void blk_bpf_stream_end_all(struct blk_bpf_att *att)
{
	struct stream *stream;

	lockdep_assert_held(&att->lock);
	list_for_each_entry(stream, &att->streams, node) {
		WRITE_ONCE(stream->ended, true);
		wake_up_interruptible_poll(&stream->wait,
					   EPOLLIN | EPOLLRDNORM | EPOLLHUP);
	}
}
