// SPDX-License-Identifier: GPL-2.0
/*
 * A completed bio, to the programs of its device: the hot path of live I/O.
 *
 * Context: any, with interrupts off at worst. Preemption is off while a
 * program runs, because the frame it runs in belongs to the CPU; interrupts
 * that nest on top of it take the next frame.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/memremap.h>
#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/timex.h>

#include "attach.h"

/* How many contexts of this CPU are presenting: index of the next frame. */
static DEFINE_PER_CPU(unsigned int, present_depth);

/**
 * struct data_walk - where the data of a bio is
 * @bvecs: of the bio
 * @iter:  where @data is in them
 * @data:  contiguous bytes from here on
 * @len:   how many
 */
struct data_walk {
	const struct bio_vec *bvecs;
	struct bvec_iter iter;
	void *data;
	u32 len;
};

static __always_inline void walk_map(struct data_walk *walk)
{
	struct bio_vec bvec = mp_bvec_iter_bvec(walk->bvecs, walk->iter);

	walk->data = page_address(bvec.bv_page) + bvec.bv_offset;
	walk->len = bvec.bv_len;
}

/* Over the end of what is contiguous. */
static noinline void walk_advance_far(struct data_walk *walk, u32 len)
{
	const u32 mapped = mp_bvec_iter_len(walk->bvecs, walk->iter);

	bvec_iter_advance(walk->bvecs, &walk->iter, mapped - walk->len + len);
	walk_map(walk);
}

static __always_inline void walk_advance(struct data_walk *walk, u32 len)
{
	if (unlikely(len >= walk->len)) {
		walk_advance_far(walk, len);
	} else {
		walk->data += len;
		walk->len -= len;
	}
}

/*
 * A unit that is in pieces; or all of it for a program that may fail the bio,
 * so that it decides on bytes that nobody changes while it looks.
 */
static noinline void *walk_copy(struct data_walk walk, u8 *to, u32 len)
{
	u32 done = 0;

	for (;;) {
		u32 part = min(walk.len, len - done);

		memcpy(to + done, walk.data, part);
		done += part;
		if (done == len)
			return to;
		walk_advance_far(&walk, part);
	}
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

	frame->count.matches += run->nr;
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
static noinline bool take_ret(struct blk_bpf_frame *frame,
			      const struct bpf_prog *prog, struct bio *bio,
			      int ret, u64 pos, u64 end)
{
	struct blk_bpf_att *att = frame->att;

	if (frame->run.err) {
		/* A bad emit: refused there, counted here. */
		frame->run.err = 0;
		frame->count.refused++;
		return false;
	}
	if (ret == BLK_BPF_STOP)
		return true;
	if (blk_bpf_ret_is_nonsense(ret)) {
		blk_bpf_eject_returned(frame, prog, ret);
		return true;
	}
	if (!may_fail_with(att, ret)) {
		frame->count.refused++;
		return false;
	}
	bio->bi_status = errno_to_blk_status(ret);
	frame->count.failed++;
	blk_bpf_event(att, BLK_BPF_EVENT_FAILED, frame->hook->op, pos,
		      end - pos, ret);
	return true;
}

/*
 * Whether the program is over its time. Looked at where a bio ends, and between
 * two units, so that a bio of many does not multiply what one call may take.
 */
static __always_inline bool overran(struct blk_bpf_frame *frame,
				    const struct bpf_prog *prog, u64 took)
{
	return unlikely(took > frame->att->budget) &&
	       blk_bpf_overran(frame, prog);
}

/* @left bytes of the attached device from @pos on, unit by unit. */
static void
present_data(struct blk_bpf_frame *frame, const struct bpf_prog *prog,
	     struct bio *bio, struct data_walk *walk, u64 pos, u32 left)
{
	const struct blk_bpf_att *att = frame->att;
	const bool copy = att->flags & BLK_BPF_ATTACH_MAY_FAIL;
	const u32 overlap = att->overlap, unit = att->unit;
	struct blk_bpf_run *run = &frame->run;
	const u64 start = pos, end = pos + left;

	for (;;) {
		u32 len = unit - ((u32)pos & (unit - 1));
		u32 flags = BLK_BPF_F_LIVE;
		u32 visible;
		void *data;
		int ret;

		if (unlikely(len != unit || left < unit)) {
			len = min(len, left);
			flags |= BLK_BPF_F_SHORT;
			frame->count.partial++;
		}
		visible = len + overlap;
		if (visible > left) {
			visible = left;
			flags |= BLK_BPF_F_EDGE;
		}
		run->kctx.u.flags = flags;

		data = walk->data;
		if (unlikely(walk->len < visible || copy))
			data = walk_copy(*walk, frame->bounce, visible);
		ret = blk_bpf_run_unit(run, prog, pos, data, len, visible);
		frame->count.runs++;
		if (unlikely(ret) && take_ret(frame, prog, bio, ret, start, end))
			return;
		left -= len;
		if (!left || overran(frame, prog, get_cycles() - frame->began))
			return;
		pos += len;
		walk_advance(walk, len);
	}
}

/* A bio that is observed without its data: one call for all of it. */
static noinline void present_nodata(struct blk_bpf_frame *frame,
				    const struct bpf_prog *prog,
				    struct bio *bio, u64 pos, u32 len)
{
	struct blk_bpf_run *run = &frame->run;
	int ret;

	run->kctx.u.flags = BLK_BPF_F_LIVE | BLK_BPF_F_NODATA;
	ret = blk_bpf_run_unit(run, prog, pos, frame->bounce, len, 0);
	frame->count.runs++;
	if (ret)
		take_ret(frame, prog, bio, ret, pos, pos + len);
}

/*
 * Whether memory of another PCI device is among what was read. The probe has
 * looked at where the bio begins, but each buffer of a readv() may be of another
 * kind.
 */
static bool walk_is_unreadable(const struct data_walk *walk, u32 len)
{
	struct bvec_iter iter = walk->iter;
	struct bio_vec bvec;

	if (!IS_ENABLED(CONFIG_PCI_P2PDMA))
		return false;
	for (iter.bi_size = len; iter.bi_size;
	     bvec_iter_advance_single(walk->bvecs, &iter, bvec.bv_len)) {
		bvec = mp_bvec_iter_bvec(walk->bvecs, iter);
		if (is_pci_p2pdma_page(bvec.bv_page))
			return true;
	}
	return false;
}

static void present_missed(struct blk_bpf_att *att, u32 op, u64 pos, u64 len)
{
	blk_bpf_att_missed(att, pos, len);
	blk_bpf_event(att, BLK_BPF_EVENT_MISSED, op, pos, len, 0);
}

/*
 * The bio that there is most of: a read of one whole unit, in one piece. What
 * present_any() would do for it, in a third of the instructions. @start and
 * @last are where such a bio may be; on a whole disk constants, and no bounds.
 *
 * Return: false if it is not such a bio, and nothing was done.
 */
static __always_inline bool
present_unit(const struct blk_bpf_att *att, const struct bpf_prog *prog,
	     struct blk_bpf_frame *frame, const struct blk_bpf_hook *hook,
	     struct bio *bio, u32 unit, u64 start, u64 last)
{
	const struct bio_vec *bvec = &bio->bi_io_vec[hook->iter.bi_idx];
	u64 pos = ((u64)hook->iter.bi_sector << SECTOR_SHIFT) - start;
	u32 len = hook->iter.bi_size, off = hook->iter.bi_bvec_done;
	int ret;

	/* Before the start, pos has wrapped around and is past the last. */
	if (unlikely(len != unit || hook->op != BLK_BPF_OP_READ ||
		     (pos & (len - 1)) || pos > last ||
		     bvec->bv_len - off < len))
		return false;

	frame->hook = hook;
	frame->run.kctx.u.op = BLK_BPF_OP_READ;
	frame->run.kctx.u.flags = att->plain_flags;
	ret = blk_bpf_run_unit(&frame->run, prog, pos,
			       page_address(bvec->bv_page) + bvec->bv_offset + off,
			       len, len);
	frame->count.whole++;
	if (unlikely(ret))
		take_ret(frame, prog, bio, ret, frame->run.kctx.u.pos,
			 frame->run.kctx.u.pos + att->unit);
	return true;
}

/* The same on a partition, which ends where it ends today. */
static __always_inline bool
present_part_unit(const struct blk_bpf_att *att, const struct bpf_prog *prog,
		  struct blk_bpf_frame *frame, const struct blk_bpf_hook *hook,
		  struct bio *bio)
{
	u64 size = bdev_nr_bytes(att->part);

	return !(att->flags & BLK_BPF_ATTACH_MAY_FAIL) && size >= att->unit &&
	       present_unit(att, prog, frame, hook, bio, att->unit, att->start,
			    size - att->unit);
}

/*
 * The part of a bio that lies in the attached partition. An empty one lies
 * nowhere, and has its position on the device that it was submitted to: it is
 * that device's and, which needs no clipping, its disk's.
 *
 * Return: false if there is none.
 */
static noinline bool clip(const struct blk_bpf_att *att,
			  const struct blk_bpf_hook *hook, u64 *pos, u32 *len)
{
	u64 end = att->start + bdev_nr_bytes(att->part);
	u64 from = max(*pos, att->start), to = min(*pos + *len, end);

	if (!*len) {
		*pos += att->start;
		return hook->dev == att->devt;
	}
	if (from >= to)
		return false;
	*pos = from;
	*len = to - from;
	return true;
}

/* Any bio: in pieces, of several units, cut by the edge of what is attached. */
static noinline void present_any(const struct bpf_prog *prog,
				 struct blk_bpf_frame *frame,
				 const struct blk_bpf_hook *hook,
				 struct bio *bio)
{
	struct blk_bpf_att *att = frame->att;
	struct data_walk walk = { .bvecs = bio->bi_io_vec, .iter = hook->iter };
	u64 begin = (u64)hook->iter.bi_sector << SECTOR_SHIFT, pos = begin;
	u32 len = hook->iter.bi_size;

	if (att->part && (present_part_unit(att, prog, frame, hook, bio) ||
			  !clip(att, hook, &pos, &len)))
		return;

	frame->hook = hook;
	frame->run.kctx.u.op = hook->op;
	if (hook->op == BLK_BPF_OP_READ && len) {
		if (pos != begin)
			bvec_iter_advance(walk.bvecs, &walk.iter, pos - begin);
		if (unlikely(walk_is_unreadable(&walk, len))) {
			present_missed(att, hook->op, pos - att->start, len);
			return;
		}
		walk_map(&walk);
		present_data(frame, prog, bio, &walk, pos - att->start, len);
	} else {
		present_nodata(frame, prog, bio, pos - att->start, len);
	}
	frame->count.bios++;
	frame->count.bytes += len;
}

static __always_inline void
present_one(const struct blk_bpf_att *att, const struct bpf_prog *prog,
	    struct blk_bpf_frame *frame, const struct blk_bpf_hook *hook,
	    struct bio *bio)
{
	u64 took;

	frame->began = get_cycles();
	if (!present_unit(att, prog, frame, hook, bio, att->plain_unit, 0, U64_MAX))
		present_any(prog, frame, hook, bio);
	if (unlikely(frame->run.nr))
		blk_bpf_frame_flush(&frame->run);
	took = get_cycles() - frame->began;
	overran(frame, prog, took);
	frame->count.cycles += took;
}

/* Whether @att is to see a bio that was hooked as @seq. */
static __always_inline const struct bpf_prog *
att_prog(const struct blk_bpf_att *att, u64 seq, u32 op)
{
	if (att->seq > seq || !(att->ops_mask & BIT(op)))
		return NULL;
	return rcu_dereference_sched(att->prog);
}

/**
 * blk_bpf_present - show a completed bio to the programs of its device
 * @hook: what it was when it was submitted
 * @bio:  gives the data, and gets an error if a program has the right to
 *
 * A program that fails a bio is the last to see it.
 *
 * Context: any, preemption disabled; the bio has not failed.
 */
void blk_bpf_present(const struct blk_bpf_hook *hook, struct bio *bio)
{
	const struct bpf_prog *prog;
	struct blk_bpf_att *att;
	unsigned int depth;

	depth = this_cpu_inc_return(present_depth) - 1;
	if (unlikely(depth >= BLK_BPF_CONTEXTS)) {
		/* An interrupt in an interrupt in an interrupt: there is no frame. */
		blk_bpf_present_missed(hook);
		goto out;
	}
	list_for_each_entry_rcu(att, &hook->disk->atts, disk_node, 1) {
		prog = att_prog(att, hook->seq, hook->op);
		if (!prog)
			continue;
		present_one(att, prog,
			    blk_bpf_att_frame(att, smp_processor_id(), depth),
			    hook, bio);
		if (unlikely(bio->bi_status))
			break;
	}
out:
	this_cpu_dec(present_depth);
}

/**
 * blk_bpf_present_missed - a bio that could not be presented
 * @hook: what it was when it was submitted
 *
 * Context: any, preemption disabled.
 */
noinline void blk_bpf_present_missed(const struct blk_bpf_hook *hook)
{
	struct blk_bpf_att *att;

	list_for_each_entry_rcu(att, &hook->disk->atts, disk_node, 1) {
		u64 pos = (u64)hook->iter.bi_sector << SECTOR_SHIFT;
		u32 len = hook->iter.bi_size;

		if (!att_prog(att, hook->seq, hook->op) ||
		    (att->part && !clip(att, hook, &pos, &len)))
			continue;
		present_missed(att, hook->op, pos - att->start, len);
	}
}
