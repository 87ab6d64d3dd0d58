// SPDX-License-Identifier: GPL-2.0
/* Slots: a scan's share of a drive's memory, in parts that are worked on at a time. */
#include <linux/bvec.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "run.h"

/* Beside the units of a slot: their overlap, and whole blocks around them. */
static u32 slot_extra(const struct csd_run *run)
{
	u32 i, block = 0;

	for (i = 0; i < run->base.nr_devs; i++)
		block = max(block, run->base.devs[i].block);
	return run->base.overlap + 2 * block;
}

/*
 * One that is executed by each engine, and of each device that is read meanwhile
 * one that is filled and one that is next.
 */
u32 csd_slots_wanted(const struct csd_run *run)
{
	const struct csd_info *info = &run->drive->info;
	u32 reads = 2 * min(run->base.nr_devs, DEVS_AT_ONCE);

	return clamp(min(info->engines + reads, info->max_queued), 2U, SLOTS_MAX);
}

/**
 * csd_slice_limit - the most bytes of units that a piece may have now
 * @run: the scan
 * @way: how it is filled
 *
 * Whole units, at least one; the scan's share of the memory, which all scans
 * have alike, so that no scan's programs run for longer than another's.
 */
u32 csd_slice_limit(const struct csd_run *run, enum csd_way way)
{
	u64 share = csd_slm_share(run->drive, way == WAY_PEER);
	u32 extra = slot_extra(run), unit = run->base.unit;
	u64 limit;

	limit = div_u64(share, csd_slots_wanted(run));
	limit -= min_t(u64, limit, RESULT_BYTES + extra + PAGE_SIZE);
	limit = min3(limit, run->drive->info.max_copy - min_t(u64, extra,
		     run->drive->info.max_copy), (u64)SLICE_MAX);
	return max_t(u32, rounddown((u32)limit, unit), unit);
}

/* Memory of this machine for data that come through it. */
static int slot_alloc_host(struct csd_slot *slot)
{
	const u32 nr_pages = slot->size >> PAGE_SHIFT;
	u32 i;

	slot->host = kvmalloc(slot->size, GFP_KERNEL_ACCOUNT);
	slot->bvecs = kcalloc(nr_pages, sizeof(*slot->bvecs), GFP_KERNEL_ACCOUNT);
	if (!slot->host || !slot->bvecs)
		return -ENOMEM;
	for (i = 0; i < nr_pages; i++) {
		void *addr = slot->host + i * PAGE_SIZE;

		bvec_set_page(&slot->bvecs[i],
			      is_vmalloc_addr(addr) ? vmalloc_to_page(addr) :
						      virt_to_page(addr),
			      PAGE_SIZE, 0);
	}
	slot->nr_bvecs = nr_pages;
	return 0;
}

/* Context: no command is under way for it. */
static void slot_free(struct csd_run *run, struct csd_slot *slot)
{
	struct csd_drive *drive = run->drive;

	if (slot->p2p)
		csd_peer_free(drive, slot->p2p, slot->size);
	else if (slot->size)
		csd_slm_free(drive, slot->data, slot->size);
	if (slot->results != U64_MAX)
		csd_slm_free(drive, slot->results, RESULT_BYTES);
	kvfree(slot->host);
	kfree(slot->bvecs);
	kvfree(slot->found);
	kfree(slot->exec);
	kfree(slot->copy);
	kfree(slot);
	run->nr_slots--;
}

static bool slot_alloc_slm(struct csd_run *run, struct csd_slot *slot,
			   enum csd_way way, u32 size)
{
	if (way == WAY_PEER) {
		slot->p2p = csd_peer_alloc(run->drive, size, &slot->data);
		if (!slot->p2p)
			return false;
	} else if (!csd_slm_alloc(run->drive, size, &slot->data)) {
		return false;
	}
	slot->size = size;
	return csd_slm_alloc(run->drive, RESULT_BYTES, &slot->results);
}

/* Return: a slot; NULL if the drive's memory is full; or an ERR_PTR(). */
static struct csd_slot *slot_alloc(struct csd_run *run, enum csd_way way, u32 size)
{
	struct csd_slot *slot = kzalloc(sizeof(*slot), GFP_KERNEL_ACCOUNT);
	int err = -ENOMEM;

	if (!slot)
		return ERR_PTR(-ENOMEM);
	run->nr_slots++;
	slot->results = U64_MAX;
	INIT_LIST_HEAD(&slot->node);
	INIT_LIST_HEAD(&slot->event);
	csd_cmd_init(&slot->cmd);
	slot->cmd.path = &run->base.path;
	/* Zeroes: what a drive does not write is no secret of this machine's. */
	slot->found = kvzalloc(sizeof(*slot->found), GFP_KERNEL_ACCOUNT);
	slot->exec = kzalloc(sizeof(*slot->exec), GFP_KERNEL_ACCOUNT);
	slot->copy = kzalloc(sizeof(*slot->copy), GFP_KERNEL_ACCOUNT);
	if (!slot->found || !slot->exec || !slot->copy)
		goto free;
	err = 0;
	if (!slot_alloc_slm(run, slot, way, size))
		goto free;
	if (way == WAY_HOST)
		err = slot_alloc_host(slot);
	if (!err)
		return slot;
free:
	slot_free(run, slot);
	return err ? ERR_PTR(err) : NULL;
}

static u32 slot_size(const struct csd_run *run, u32 len)
{
	return PAGE_ALIGN(len + slot_extra(run));
}

/* Bytes of units that a slot has room for, at least one unit. */
u32 csd_slot_room(const struct csd_run *run, const struct csd_slot *slot)
{
	return rounddown(slot->size - slot_extra(run), run->base.unit);
}

static bool slot_is_for(const struct csd_slot *slot, enum csd_way way)
{
	return !!slot->p2p == (way == WAY_PEER) && !!slot->host == (way == WAY_HOST);
}

/**
 * csd_slot_get - a slot for a piece
 * @run: the scan
 * @way: how it is filled
 * @len: bytes of units that are wanted; when the memory is short it gets fewer
 *
 * Return: a slot with room for one unit at least; NULL if there is none now; or
 * ERR_PTR(-ENOMEM) if there is no memory in this machine.
 */
struct csd_slot *csd_slot_get(struct csd_run *run, enum csd_way way, u32 len)
{
	const u32 largest = slot_size(run, csd_slice_limit(run, way));
	struct csd_slot *slot, *next;

	list_for_each_entry_safe(slot, next, &run->slots, node) {
		list_del_init(&slot->node);
		/* One that is much too large a scan that came later waits for. */
		if (slot_is_for(slot, way) && slot->size >= slot_size(run, len) &&
		    slot->size / 2 <= largest)
			return slot;
		slot_free(run, slot);
	}
	if (run->nr_slots >= csd_slots_wanted(run))
		return NULL;
	/* As large as the next pieces may become, if there is that much. */
	slot = slot_alloc(run, way, max(largest, slot_size(run, len)));
	for (;;) {
		if (slot)
			return slot;
		slot = slot_alloc(run, way, slot_size(run, len));
		if (slot || len <= run->base.unit)
			return slot;
		len = max(len / 2, run->base.unit);
	}
}

void csd_slot_put(struct csd_run *run, struct csd_slot *slot)
{
	slot->piece = NULL;
	list_add(&slot->node, &run->slots);
}

/* Context: no piece has one. */
void csd_slots_free(struct csd_run *run)
{
	struct csd_slot *slot, *next;

	list_for_each_entry_safe(slot, next, &run->slots, node) {
		list_del(&slot->node);
		slot_free(run, slot);
	}
}
