// SPDX-License-Identifier: GPL-2.0
/* What may go wrong on live I/O, recorded where nothing can be allocated. */
#include <linux/minmax.h>
#include <linux/overflow.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/timex.h>

#include "attach.h"

/*
 * @prog runs no more, and I/O goes on without it; @event is for who follows.
 * Of several CPUs that find out at a time the first says why. A program that
 * has been replaced meanwhile takes nothing with it.
 */
__printf(5, 6)
static void eject(struct blk_bpf_frame *frame, const struct bpf_prog *prog,
		  struct blk_bpf_exit_record exit, int event,
		  const char *reason, ...)
{
	struct blk_bpf_att *att = frame->att;
	unsigned long flags;
	va_list args;
	bool first;

	exit.op = frame->run.kctx.u.op;
	exit.pos = frame->run.kctx.u.pos;
	exit.len = frame->run.kctx.u.len;
	exit.time_ns = ktime_get_mono_fast_ns();

	raw_spin_lock_irqsave(&att->lock, flags);
	first = att->state == BLK_BPF_STATE_LIVE &&
		rcu_access_pointer(att->prog) == prog;
	if (first) {
		RCU_INIT_POINTER(att->prog, NULL);
		va_start(args, reason);
		vscnprintf(att->reason, sizeof(att->reason), reason, args);
		va_end(args);
		att->exit = exit;
		att->state = BLK_BPF_STATE_EJECTED;
		/* The list's own is there: att_end() needs this lock before. */
		blk_bpf_att_get(att);
	}
	raw_spin_unlock_irqrestore(&att->lock, flags);
	if (!first)
		return;
	blk_bpf_event(att, BLK_BPF_EVENT_EJECTED, exit.op, exit.pos, exit.len,
		      event);
	if (!queue_work(blk_bpf_wq, &att->ejected))
		blk_bpf_att_put(att);
}

/**
 * blk_bpf_eject_returned - a program returned what no program may return
 * @frame: in which it was called
 * @prog:  runs no more; I/O goes on without it
 * @ret:   what it returned
 *
 * Context: any.
 */
void blk_bpf_eject_returned(struct blk_bpf_frame *frame,
			    const struct bpf_prog *prog, int ret)
{
	struct blk_bpf_exit_record exit = {
		.kind = BLK_BPF_EXIT_RETURN,
		.value = ret,
	};

	eject(frame, prog, exit, ret,
	      "the filter returned %d: it may return 0, 1, 2 or a negative errno",
	      ret);
}

/**
 * blk_bpf_overran - whether a program has used up its time
 * @frame: in which it was called, and is presenting
 * @prog:  is ejected if it has
 *
 * Called only when a presentation took longer than one call may: all others
 * were within their budget, and what they left over is computed here, from
 * counters that are kept anyway.
 *
 * Context: any, preemption disabled.
 * Return: whether it has.
 */
bool blk_bpf_overran(struct blk_bpf_frame *frame, const struct bpf_prog *prog)
{
	const struct blk_bpf_counters *count = &frame->count;
	const struct blk_bpf_att *att = frame->att;
	s64 took = get_cycles() - frame->began;
	struct blk_bpf_exit_record exit = { .kind = BLK_BPF_EXIT_BUDGET };
	u64 runs = count->runs + count->whole;
	s64 credit, earned;

	/* A call of the old program may end after an update: it pays for itself. */
	if (READ_ONCE(frame->payer) != prog) {
		WRITE_ONCE(frame->payer, prog);
		frame->credit = att->slack;
		frame->paid_runs = runs;
		frame->paid_cycles = count->cycles;
	}
	if (check_mul_overflow(runs - frame->paid_runs, att->budget, &earned) ||
	    earned > S64_MAX / 2)
		earned = S64_MAX / 2;
	/* What earlier presentations took; this one's part, if seen, not twice. */
	credit = frame->credit + earned -
		 (s64)(count->cycles - frame->paid_cycles);
	credit = min(credit, att->slack) - took;
	frame->paid_runs = runs;
	frame->paid_cycles = count->cycles + took;
	frame->credit = credit;
	if (likely(credit >= 0))
		return false;

	exit.value = blk_bpf_cycles_to_ns(took);
	eject(frame, prog, exit, -ETIME,
	      "the filter took longer than its budget of %llu ns a call, by a second in all; the last bio took %lld ns",
	      att->budget_ns, exit.value);
	return true;
}

/* A uevent of the control device: for udev, and for who waits there. */
void blk_bpf_ejected_work(struct work_struct *work)
{
	struct blk_bpf_att *att = container_of(work, struct blk_bpf_att, ejected);
	struct blk_bpf_exit_record exit;
	char reason[sizeof(att->reason)];
	char name[sizeof(att->name)];

	raw_spin_lock_irq(&att->lock);
	exit = att->exit;
	memcpy(reason, att->reason, sizeof(reason));
	memcpy(name, att->name, sizeof(name));
	raw_spin_unlock_irq(&att->lock);
	/* Replaced already: nobody wants to hear of it. */
	if (exit.kind != BLK_BPF_EXIT_NONE)
		blk_bpf_control_ejected(att->id, name, att->disk_name, exit.pos,
					reason);
	blk_bpf_att_put(att);
}

static u64 range_end(const struct blk_bpf_range *range)
{
	return range->off + range->len;
}

/* Makes @range cover [@pos, @end) too. */
static void range_extend(struct blk_bpf_range *range, u64 pos, u64 end)
{
	end = max(end, range_end(range));
	range->off = min(pos, range->off);
	range->len = end - range->off;
}

/* Joins an extent with those after it that it has come to touch. */
static void missed_join(struct blk_bpf_att *att, u32 i)
{
	struct blk_bpf_range *range = &att->missed[i];
	u32 next = i + 1;

	while (next < att->nr_missed && range[next - i].off <= range_end(range)) {
		range_extend(range, range[next - i].off, range_end(&range[next - i]));
		next++;
	}
	memmove(&att->missed[i + 1], &att->missed[next],
		(att->nr_missed - next) * sizeof(*range));
	att->nr_missed -= next - i - 1;
}

/**
 * blk_bpf_att_missed - record what a program did not get to see
 * @att: the attachment
 * @pos: bytes from the start of the attached device
 * @len: bytes
 *
 * Allocates nothing: memory is what may have been short.
 *
 * Context: any.
 */
void blk_bpf_att_missed(struct blk_bpf_att *att, u64 pos, u64 len)
{
	unsigned long flags;
	u32 i = 0;

	raw_spin_lock_irqsave(&att->lock, flags);
	att->missed_bios++;
	/* i: the first extent that ends at or after pos */
	while (i < att->nr_missed && range_end(&att->missed[i]) < pos)
		i++;
	if (i < att->nr_missed && att->missed[i].off <= pos + len) {
		range_extend(&att->missed[i], pos, pos + len);
	} else if (att->nr_missed < BLK_BPF_MISSED_MAX) {
		memmove(&att->missed[i + 1], &att->missed[i],
			(att->nr_missed - i) * sizeof(*att->missed));
		att->missed[i].off = pos;
		att->missed[i].len = len;
		att->nr_missed++;
	} else {
		/* Full: a neighbour covers it, and what lies between. */
		i = min(i, att->nr_missed - 1);
		range_extend(&att->missed[i], pos, pos + len);
	}
	missed_join(att, i);
	raw_spin_unlock_irqrestore(&att->lock, flags);
}
