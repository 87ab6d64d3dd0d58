// SPDX-License-Identifier: GPL-2.0
/* Pieces of a job: what is the same for all targets. */
#include <linux/export.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "target.h"

struct blk_bpf_match_page *blk_bpf_match_page_alloc(gfp_t gfp)
{
	struct blk_bpf_match_page *page;

	page = (void *)__get_free_page(gfp | __GFP_ACCOUNT | __GFP_NOWARN);
	if (page)
		page->nr = 0;
	return page;
}

void blk_bpf_match_pages_free(struct list_head *pages)
{
	struct blk_bpf_match_page *page, *next;

	list_for_each_entry_safe(page, next, pages, node)
		free_page((unsigned long)page);
	INIT_LIST_HEAD(pages);
}

void blk_bpf_piece_init(struct blk_bpf_piece *piece)
{
	memset(piece, 0, sizeof(*piece));
	INIT_LIST_HEAD(&piece->pages);
}
EXPORT_SYMBOL_GPL(blk_bpf_piece_init);

/* All matches have been handed out, or nobody wants them. */
void blk_bpf_piece_drop_matches(struct blk_bpf_piece *piece)
{
	blk_bpf_match_pages_free(&piece->pages);
	piece->out_page = NULL;
	piece->out_idx = 0;
}
EXPORT_SYMBOL_GPL(blk_bpf_piece_drop_matches);

/* Forget what was run, for a run from the start, or before it is freed. */
void blk_bpf_piece_reset(struct blk_bpf_piece *piece)
{
	u32 extent = piece->extent, len = piece->len;
	u64 off = piece->off;

	blk_bpf_piece_drop_matches(piece);
	kfree(piece->why);
	blk_bpf_piece_init(piece);
	piece->extent = extent;
	piece->off = off;
	piece->len = len;
}
EXPORT_SYMBOL_GPL(blk_bpf_piece_reset);

/* The order of matches: that of the device. */
int blk_bpf_match_cmp(const void *a, const void *b)
{
	const struct blk_bpf_match *l = a, *r = b;

	if (l->pos != r->pos)
		return l->pos < r->pos ? -1 : 1;
	return l->len < r->len ? -1 : l->len > r->len;
}
EXPORT_SYMBOL_GPL(blk_bpf_match_cmp);

/**
 * blk_bpf_piece_add - keep matches that were found behind those that are kept
 * @piece:   the piece
 * @matches: in order
 * @nr:      how many
 *
 * Context: may sleep.
 * Return: 0, or -ENOMEM with none of them kept.
 */
int blk_bpf_piece_add(struct blk_bpf_piece *piece,
		      const struct blk_bpf_match *matches, u32 nr)
{
	struct blk_bpf_match_page *page = NULL;
	LIST_HEAD(added);
	u32 part, room = 0, first;

	if (!list_empty(&piece->pages)) {
		page = list_last_entry(&piece->pages, struct blk_bpf_match_page, node);
		room = BLK_BPF_MATCHES_PER_PAGE - page->nr;
	}
	first = min(room, nr);
	for (part = first; part < nr; ) {
		struct blk_bpf_match_page *more = blk_bpf_match_page_alloc(GFP_KERNEL);

		if (!more) {
			blk_bpf_match_pages_free(&added);
			return -ENOMEM;
		}
		more->nr = min_t(u32, nr - part, BLK_BPF_MATCHES_PER_PAGE);
		memcpy(more->match, matches + part, more->nr * sizeof(*matches));
		part += more->nr;
		list_add_tail(&more->node, &added);
	}
	if (first) {
		memcpy(&page->match[page->nr], matches, first * sizeof(*matches));
		page->nr += first;
	}
	list_splice_tail(&added, &piece->pages);
	return 0;
}
EXPORT_SYMBOL_GPL(blk_bpf_piece_add);

/**
 * blk_bpf_job_plan - the next part of a job's extents
 * @job:   the job
 * @place: where to begin; moves on to what is behind the piece
 * @len:   most bytes, a multiple of the unit
 * @piece: reset, and made that part
 *
 * Return: false if there is no more.
 */
bool blk_bpf_job_plan(const struct blk_bpf_job *job, struct blk_bpf_place *place,
		      u64 len, struct blk_bpf_piece *piece)
{
	while (place->extent < job->nr_extents &&
	       place->off == job->extents[place->extent].len) {
		place->extent++;
		place->off = 0;
	}
	if (place->extent == job->nr_extents)
		return false;

	blk_bpf_piece_reset(piece);
	piece->extent = place->extent;
	piece->off = place->off;
	piece->len = min(len, job->extents[place->extent].len - place->off);
	place->off += piece->len;
	return true;
}
EXPORT_SYMBOL_GPL(blk_bpf_job_plan);

/**
 * blk_bpf_job_blocks - which blocks units need
 * @job:    the job
 * @extent: index of the extent
 * @off:    of the first unit, from the start of the extent
 * @len:    bytes of the units
 * @start:  receives the position on the device of the first block
 * @end:    receives that of the end of the last: what the units and their
 *	    overlap see is inside
 */
void blk_bpf_job_blocks(const struct blk_bpf_job *job, u32 extent, u64 off,
			u32 len, u64 *start, u64 *end)
{
	const struct blk_bpf_extent *e = &job->extents[extent];
	const struct blk_bpf_dev *dev = &job->devs[e->dev];
	u64 seen = min(off + len + job->overlap, e->len);

	*start = round_down(e->off + off, dev->block);
	*end = min(round_up(e->off + seen, dev->block), dev->len);
}
EXPORT_SYMBOL_GPL(blk_bpf_job_blocks);
