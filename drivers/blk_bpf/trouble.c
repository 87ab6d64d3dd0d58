// SPDX-License-Identifier: GPL-2.0
/* What may go wrong on live I/O, recorded where nothing can be allocated. */
#include <linux/minmax.h>
#include <linux/string.h>

#include "attach.h"

/**
 * blk_bpf_att_eject - a program returned what no program may return
 * @att: runs no more; I/O goes on without it
 * @ret: what it returned
 *
 * Context: any.
 */
void blk_bpf_att_eject(struct blk_bpf_att *att, int ret)
{
	unsigned long flags;
	bool first;

	raw_spin_lock_irqsave(&att->lock, flags);
	first = att->state == BLK_BPF_STATE_LIVE && rcu_access_pointer(att->prog);
	if (first) {
		RCU_INIT_POINTER(att->prog, NULL);
		scnprintf(att->reason, sizeof(att->reason),
			  "the filter returned %d: it may return 0, 1, 2 or a negative errno",
			  ret);
		att->state = BLK_BPF_STATE_EJECTED;
	}
	raw_spin_unlock_irqrestore(&att->lock, flags);
	if (first)
		blk_bpf_event(att, BLK_BPF_EVENT_EJECTED, 0, 0, 0, ret);
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
