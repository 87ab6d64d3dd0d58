// SPDX-License-Identifier: GPL-2.0
/*
 * A completed bio, to the programs of its device: the hot path of live I/O.
 *
 * Context: any, with interrupts off at worst. Preemption is off while a
 * program runs, because the frame it runs in belongs to the CPU; interrupts
 * that nest on top of it take the next frame.
 */
#include <linux/bio.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/timex.h>

#include "attach.h"

/* How many contexts of this CPU are presenting: index of the next frame. */
static DEFINE_PER_CPU(unsigned int, present_depth);

/* Where the data of a bio is, unit by unit. */
struct data_walk {
	const struct bio_vec *bvecs;
	struct bvec_iter iter;
};

static void *walk_contiguous(const struct data_walk *walk, u32 *len)
{
	struct bio_vec bvec = mp_bvec_iter_bvec(walk->bvecs, walk->iter);

	*len = bvec.bv_len;
	return page_address(bvec.bv_page) + bvec.bv_offset;
}

static void walk_advance(struct data_walk *walk, u32 len)
{
	bvec_iter_advance(walk->bvecs, &walk->iter, len);
}

static noinline void walk_copy(struct data_walk walk, u8 *to, u32 len)
{
	while (len) {
		u32 part;
		void *from = walk_contiguous(&walk, &part);

		part = min(part, len);
		memcpy(to, from, part);
		walk_advance(&walk, part);
		to += part;
		len -= part;
	}
}

/*
 * Contiguous bytes of the unit: in place, or copied if they are in pieces. A
 * program that may fail the bio gets a copy in any case, so that it decides on
 * bytes that nobody changes while it looks.
 */
static void *walk_map(const struct data_walk *walk, struct blk_bpf_frame *frame,
		      bool copy, u32 len)
{
	u32 contiguous;
	void *data = walk_contiguous(walk, &contiguous);

	if (likely(contiguous >= len && !copy))
		return data;
	walk_copy(*walk, frame->bounce, len);
	return frame->bounce;
}

/**
 * blk_bpf_frame_flush - count what was emitted and tell whoever follows
 * @run: of a frame; empty afterwards
 *
 * Return: 0, always: it is the frame's &blk_bpf_run.more.
 */
int blk_bpf_frame_flush(struct blk_bpf_run *run)
{
	struct blk_bpf_frame *frame = container_of(run, struct blk_bpf_frame, run);
	struct blk_bpf_att *att = frame->att;
	u32 i;

	this_cpu_add(att->counters->matches, run->nr);
	if (!list_empty(&att->streams)) {
		for (i = 0; i < run->nr; i++)
			blk_bpf_event(att, BLK_BPF_EVENT_MATCH, frame->hook->op,
				      run->out[i].pos, run->out[i].len, 0);
	}
	run->nr = 0;
	return 0;
}

static bool may_fail_with(const struct blk_bpf_att *att, int ret)
{
	return (att->flags & BLK_BPF_ATTACH_MAY_FAIL) &&
	       (ret == BLK_BPF_FAIL_MEDIUM || ret == BLK_BPF_FAIL_PROTECTION ||
		ret == BLK_BPF_FAIL_TARGET);
}

/*
 * What a program returned, if it is not SKIP. A value from BPF is never
 * trusted: only an error that it has the right to give reaches the bio.
 *
 * Return: true if the program wants no more of this bio.
 */
static noinline bool take_ret(struct blk_bpf_frame *frame, struct bio *bio,
			      int ret, u64 pos, u64 end)
{
	struct blk_bpf_att *att = frame->att;

	if (frame->run.err) {
		/* A bad emit: refused there, counted here. */
		frame->run.err = 0;
		this_cpu_inc(att->counters->refused);
		return false;
	}
	if (ret == BLK_BPF_STOP)
		return true;
	if (blk_bpf_ret_is_nonsense(ret)) {
		blk_bpf_att_eject(att, ret);
		return true;
	}
	if (!may_fail_with(att, ret)) {
		this_cpu_inc(att->counters->refused);
		return false;
	}
	bio->bi_status = errno_to_blk_status(ret);
	this_cpu_inc(att->counters->failed);
	blk_bpf_event(att, BLK_BPF_EVENT_FAILED, frame->hook->op, pos,
		      end - pos, ret);
	return true;
}

/* The bytes [@pos, @end) of the attached device, unit by unit. */
static void present_data(struct blk_bpf_frame *frame,
			 const struct blk_bpf_ops *ops, struct bio *bio,
			 struct data_walk *walk, u64 pos, u64 end)
{
	struct blk_bpf_att *att = frame->att;
	struct blk_bpf_run *run = &frame->run;
	const bool copy = att->flags & BLK_BPF_ATTACH_MAY_FAIL;
	const u32 unit = att->unit;
	const u64 start = pos;
	u32 runs = 0;

	while (pos < end) {
		u32 len = min_t(u64, unit - (pos & (unit - 1)), end - pos);
		u32 visible = min_t(u64, len + att->overlap, end - pos);
		u32 flags = BLK_BPF_F_LIVE;
		void *data;
		int ret;

		if (unlikely(len != unit)) {
			flags |= BLK_BPF_F_SHORT;
			this_cpu_inc(att->counters->partial);
		}
		if (visible != len + att->overlap)
			flags |= BLK_BPF_F_EDGE;
		run->kctx.u.flags = flags;

		data = walk_map(walk, frame, copy, visible);
		ret = blk_bpf_run_unit(run, ops, pos, data, len, visible);
		runs++;
		if (unlikely(ret) && take_ret(frame, bio, ret, start, end))
			break;
		pos += len;
		if (pos < end)
			walk_advance(walk, len);
	}
	this_cpu_add(att->counters->runs, runs);
}

/* A bio that is observed without its data: one call for all of it. */
static void present_nodata(struct blk_bpf_frame *frame,
			   const struct blk_bpf_ops *ops, struct bio *bio,
			   u64 pos, u64 end)
{
	struct blk_bpf_run *run = &frame->run;
	int ret;

	run->kctx.u.flags = BLK_BPF_F_LIVE | BLK_BPF_F_NODATA;
	ret = blk_bpf_run_unit(run, ops, pos, frame->bounce, end - pos, 0);
	if (ret)
		take_ret(frame, bio, ret, pos, end);
	this_cpu_inc(frame->att->counters->runs);
}

/* A bio, or the part of it that lies in what is attached. */
static void present_one(struct blk_bpf_att *att, const struct blk_bpf_ops *ops,
			struct blk_bpf_frame *frame,
			const struct blk_bpf_hook *hook, struct bio *bio)
{
	struct data_walk walk = { bio->bi_io_vec, hook->iter };
	u64 pos = (u64)hook->iter.bi_sector << SECTOR_SHIFT;
	u64 end = pos + hook->iter.bi_size;
	cycles_t began;

	if (unlikely(pos < att->start || end > att->end)) {
		if (end <= att->start || pos >= att->end)
			return;
		if (pos < att->start && hook->op == BLK_BPF_OP_READ)
			walk_advance(&walk, att->start - pos);
		pos = max(pos, att->start);
		end = min(end, att->end);
	}

	began = get_cycles();
	frame->hook = hook;
	frame->run.kctx.u.op = hook->op;
	pos -= att->start;
	end -= att->start;
	if (likely(hook->op == BLK_BPF_OP_READ))
		present_data(frame, ops, bio, &walk, pos, end);
	else
		present_nodata(frame, ops, bio, pos, end);
	if (frame->run.nr)
		blk_bpf_frame_flush(&frame->run);

	this_cpu_inc(att->counters->bios);
	this_cpu_add(att->counters->bytes, end - pos);
	this_cpu_add(att->counters->cycles, get_cycles() - began);
}

/* Whether @att is to see a bio that was hooked as @seq. */
static __always_inline const struct blk_bpf_ops *
att_ops(const struct blk_bpf_att *att, u64 seq, u32 op)
{
	if (att->seq > seq || !(att->ops_mask & BIT(op)))
		return NULL;
	return rcu_dereference_sched(att->ops);
}

/* An interrupt in an interrupt in an interrupt: there is no frame for it. */
static noinline void present_too_deep(const struct blk_bpf_hook *hook)
{
	blk_bpf_present_missed(hook->disk, hook->seq, hook->op, &hook->iter);
}

/**
 * blk_bpf_present - show a completed bio to the programs of its device
 * @hook: what it was when it was submitted
 * @bio:  gives the data, and gets an error if a program has the right to
 *
 * A bio that failed has no data to show, and a program that fails one is the
 * last to see it.
 */
void blk_bpf_present(const struct blk_bpf_hook *hook, struct bio *bio)
{
	const struct blk_bpf_ops *ops;
	struct blk_bpf_att *att;
	unsigned int depth;

	if (unlikely(bio->bi_status))
		return;

	preempt_disable();
	depth = this_cpu_inc_return(present_depth) - 1;
	if (unlikely(depth >= BLK_BPF_CONTEXTS)) {
		present_too_deep(hook);
		goto out;
	}
	list_for_each_entry_rcu(att, &hook->disk->atts, disk_node, 1) {
		ops = att_ops(att, hook->seq, hook->op);
		if (!ops)
			continue;
		present_one(att, ops,
			    blk_bpf_att_frame(att, smp_processor_id(), depth),
			    hook, bio);
		if (unlikely(bio->bi_status))
			break;
	}
out:
	this_cpu_dec(present_depth);
	preempt_enable();
}

/**
 * blk_bpf_present_missed - a bio that could not be presented
 * @disk: where it goes
 * @seq:  when it was submitted
 * @op:   enum blk_bpf_op
 * @iter: its range
 *
 * Context: any, preemption disabled.
 */
void blk_bpf_present_missed(struct blk_bpf_disk *disk, u64 seq, u32 op,
			    const struct bvec_iter *iter)
{
	u64 pos = (u64)iter->bi_sector << SECTOR_SHIFT;
	u64 end = pos + iter->bi_size;
	struct blk_bpf_att *att;

	list_for_each_entry_rcu(att, &disk->atts, disk_node, 1) {
		u64 from = max(pos, att->start), to = min(end, att->end);

		if (att_ops(att, seq, op) && from <= to &&
		    (from < to || !iter->bi_size)) {
			blk_bpf_att_missed(att, from - att->start, to - from);
			blk_bpf_event(att, BLK_BPF_EVENT_MISSED, op,
				      from - att->start, to - from, 0);
		}
	}
}
