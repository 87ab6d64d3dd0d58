// SPDX-License-Identifier: GPL-2.0
/*
 * What an Execute found. The results are the drive's: nothing in them is used
 * before it was looked at.
 */
#include <linux/sort.h>

#include "run.h"

/* Bytes of units that are done, from the start of the slot's. */
static u32 cursor_off(const struct nvme_csd_cursor *cursor)
{
	return le64_to_cpu(cursor->off);
}

static void advance(struct csd_piece *piece, const struct nvme_csd_cursor *cursor)
{
	const u32 unit = piece->run->base.unit;
	u32 before = cursor_off(&piece->cursor), now = cursor_off(cursor);

	piece->base.units += DIV_ROUND_UP(now - before, unit);
	piece->base.done = piece->fill_off + now;
	piece->cursor = *cursor;
}

/* The Execute says that it is done with all units and found nothing. */
void csd_take_nothing(struct csd_piece *piece)
{
	struct nvme_csd_cursor end = { .off = cpu_to_le64(piece->fill_len) };

	advance(piece, &end);
}

static bool contradiction(struct csd_piece *piece, const char *what)
{
	csd_piece_fail(piece, -EBADMSG,
		       "%s contradicts itself at the unit at %llu: %s",
		       piece->run->drive->target.name,
		       piece_pos(piece, piece->base.done), what);
	return false;
}

/* @nr: matches that came with it */
static bool cursor_makes_sense(struct csd_piece *piece,
			       const struct nvme_csd_cursor *cursor, u32 nr)
{
	u64 off = le64_to_cpu(cursor->off), skip = nr;
	u32 in_unit;

	if (off > piece->fill_len || off < cursor_off(&piece->begun))
		return contradiction(piece, "its cursor is outside of the data");
	div_u64_rem(off, piece->run->base.unit, &in_unit);
	if (in_unit && off != piece->fill_len)
		return contradiction(piece, "its cursor is inside a unit");
	/* What is skipped was returned, so none gets lost; nor are there ever more. */
	if (cursor->off == piece->begun.off)
		skip += le32_to_cpu(piece->begun.skip);
	if (le32_to_cpu(cursor->skip) > min(skip, BLK_BPF_EMIT_MAX))
		return contradiction(piece, "its cursor skips matches that there are not");
	return true;
}

/* A match begins in a unit that was run, and ends in what that unit saw. */
static bool match_makes_sense(const struct csd_piece *piece, u64 begin, u64 end,
			      const struct blk_bpf_match *match)
{
	const struct blk_bpf_job *job = &piece->run->base;
	const struct blk_bpf_extent *extent = &job->extents[piece->base.extent];
	u64 base = piece_pos(piece, piece->fill_off), unit, seen;

	if (match->pos < begin || match->pos >= end || !match->len ||
	    match->dev != extent->dev)
		return false;
	unit = base + div_u64(match->pos - base, job->unit) * job->unit;
	seen = min(unit + job->unit, piece_pos(piece, piece->base.len)) + job->overlap;
	seen = min(seen, extent->off + extent->len);
	return match->len <= seen - match->pos;
}

static const struct blk_bpf_match *last_match(const struct csd_piece *piece)
{
	const struct blk_bpf_match_page *page;

	if (list_empty(&piece->base.pages))
		return NULL;
	page = list_last_entry(&piece->base.pages, struct blk_bpf_match_page, node);
	return page->nr ? &page->match[page->nr - 1] : NULL;
}

/* The matches that were fetched, in order; false with an error. */
static bool take_matches(struct csd_piece *piece, struct blk_bpf_match *match, u32 nr,
			 u32 end_off)
{
	u64 begin = piece_pos(piece, piece->fill_off + cursor_off(&piece->begun));
	u64 end = piece_pos(piece, piece->fill_off + end_off);
	const struct blk_bpf_match *last = last_match(piece);
	bool sorted = true;
	u32 i;

	for (i = 0; i < nr; i++) {
		match[i].pos = le64_to_cpu((__force __le64)match[i].pos);
		match[i].len = le32_to_cpu((__force __le32)match[i].len);
		match[i].dev = le32_to_cpu((__force __le32)match[i].dev);
		if (!match_makes_sense(piece, begin, end, &match[i]))
			return contradiction(piece,
				"a match is not in what the program has seen");
		if (i && blk_bpf_match_cmp(&match[i - 1], &match[i]) > 0)
			sorted = false;
	}
	/* Those of a unit may come in the order in which they were emitted. */
	if (!sorted)
		sort(match, nr, sizeof(*match), blk_bpf_match_cmp, NULL);
	if (nr && last && blk_bpf_match_cmp(last, &match[0]) > 0)
		return contradiction(piece, "its matches are out of order");
	if (blk_bpf_piece_add(&piece->base, match, nr)) {
		csd_piece_fail(piece, -ENOMEM, "no memory for the matches of the unit at %llu",
			       piece_pos(piece, piece->base.done));
		return false;
	}
	piece->run->ahead += nr;
	piece->kept += nr;
	return true;
}

static const char *fault_text(u32 fault)
{
	switch (fault) {
	case NVME_CSD_FAULT_ACCESS:
		return "it reached outside of what its pointers point to";
	case NVME_CSD_FAULT_ALIGN:
		return "an atomic operation was not aligned";
	case NVME_CSD_FAULT_FUEL:
		return "it executed more instructions than the drive allows; use a smaller unit, or the target kernel";
	case NVME_CSD_FAULT_DEADLINE:
		return "it took longer than the drive allows; use a smaller unit, or the target kernel";
	case NVME_CSD_FAULT_ABORTED:
		return "it was aborted";
	case NVME_CSD_FAULT_ENGINE:
		return "the drive's engine failed";
	}
	return "for no reason that this driver knows";
}

/* Whether the Execute got anything done. */
static bool made_progress(const struct csd_piece *piece)
{
	return piece->begun.off != piece->cursor.off ||
	       piece->begun.skip != piece->cursor.skip;
}

/*
 * A limit of one Execute is none of the scan: it goes on where the program was,
 * with a fresh one and with smaller pieces.
 */
static bool take_fault(struct csd_piece *piece, const struct nvme_csd_result *head)
{
	struct csd_run *run = piece->run;
	u32 fault = le32_to_cpu(head->fault);
	bool limit = fault == NVME_CSD_FAULT_FUEL || fault == NVME_CSD_FAULT_DEADLINE;
	bool again = limit && made_progress(piece);

	if (again)
		piece->late = 0;
	else if (fault == NVME_CSD_FAULT_DEADLINE)
		again = ++piece->late < LATE_MAX;
	if (again) {
		run->slice = max(rounddown(run->slice / 2, run->base.unit),
				 run->base.unit);
		return true;
	}
	csd_piece_fail(piece, limit ? -ETIMEDOUT :
			      fault == NVME_CSD_FAULT_ACCESS ||
			      fault == NVME_CSD_FAULT_ALIGN ? -EFAULT : -EREMOTEIO,
		       "%s ended the program in the unit at %llu, at instruction %u: %s",
		       run->drive->target.name, piece_pos(piece, piece->base.done),
		       le32_to_cpu(head->fault_pc), fault_text(fault));
	return false;
}

static bool take_error(struct csd_piece *piece, int error, bool emit)
{
	if (error >= 0 || error < -MAX_ERRNO)
		return contradiction(piece, "an error that is no error");
	if (emit)
		piece->base.emit = error;
	else
		piece->base.ret = error;
	piece->base.err = error;
	piece->base.units++;
	csd_limit(piece);
	return false;
}

static bool take_status(struct csd_piece *piece, const struct nvme_csd_result *head)
{
	int error = (s32)le32_to_cpu(head->error);

	switch (le32_to_cpu(head->status)) {
	case NVME_CSD_DONE:
		if (cursor_off(&piece->cursor) != piece->fill_len)
			return contradiction(piece, "it is done, and is not");
		return true;
	case NVME_CSD_FULL:
		if (!made_progress(piece))
			return contradiction(piece, "it has no room, and found nothing");
		return true;
	case NVME_CSD_STOPPED:
		piece->base.stop = true;
		csd_limit(piece);
		return true;
	case NVME_CSD_PROGRAM_ERROR:
		return take_error(piece, error, false);
	case NVME_CSD_EMIT_ERROR:
		return take_error(piece, error, true);
	case NVME_CSD_NONSENSE:
		if (error <= BLK_BPF_STOP && error >= -MAX_ERRNO)
			return contradiction(piece, "a value that a program may return");
		piece->base.ret = error;
		piece->base.err = -EPROTO;
		piece->base.units++;
		csd_limit(piece);
		return false;
	case NVME_CSD_FAULT:
		return take_fault(piece, head);
	}
	return contradiction(piece, "its result has a status that does not exist");
}

/**
 * csd_take_results - take over what was fetched
 * @piece: its slot has the results
 *
 * Return: whether the piece can go on; else it has an error.
 */
bool csd_take_results(struct csd_piece *piece)
{
	struct csd_results *found = piece->slot->found;
	const struct nvme_csd_result *head = &found->head;
	bool count = piece->run->base.flags & BLK_BPF_SCAN_COUNT;
	u32 nr = le32_to_cpu(head->nr), status = le32_to_cpu(head->status), end;

	if (nr > piece->fetch || (count && nr))
		return contradiction(piece, "more matches than it announced");
	if (!cursor_makes_sense(piece, &head->cursor, nr))
		return false;
	/* The unit at the cursor may have matches, too: it goes on inside it. */
	end = cursor_off(&head->cursor);
	if (status == NVME_CSD_FULL && le32_to_cpu(head->cursor.skip))
		end = min(end + piece->run->base.unit, piece->fill_len);
	if (!take_matches(piece, found->match, nr, end))
		return false;
	if (count)
		piece->base.matches += le64_to_cpu(head->matches);
	piece->base.matches += nr;
	piece->run->base.path.insns += le64_to_cpu(head->retired);
	advance(piece, &head->cursor);
	return take_status(piece, head);
}
