// SPDX-License-Identifier: GPL-2.0
/* A drive's memory, shared by scans. */
#include "csd.h"

/* gen_pool's answer for "none" is 0, which is an offset too. */
#define SLM_BIAS	SZ_4K
#define SLM_ORDER	12
/*
 * More is not made use of: the pool has a bit for each page, and a drive may claim
 * as much as it likes.
 */
#define SLM_USED	(64ULL << 30)

/* All of it but the window in the BAR: that is the PCI peer code's to hand out. */
int csd_slm_init(struct csd_drive *drive)
{
	const struct csd_info *info = &drive->info;
	u64 end = round_down(min(info->slm_size, SLM_USED), 1 << SLM_ORDER);
	u64 before = info->window_size ?
		     min(round_down(info->window_off, 1 << SLM_ORDER), end) : end;
	u64 behind = round_up(info->window_off + info->window_size, 1 << SLM_ORDER);
	int err = 0;

	init_waitqueue_head(&drive->slm_wait);
	drive->slm = gen_pool_create(SLM_ORDER, NUMA_NO_NODE);
	if (!drive->slm)
		return -ENOMEM;
	if (before)
		err = gen_pool_add(drive->slm, SLM_BIAS, before, NUMA_NO_NODE);
	drive->slm_size = before;
	if (!err && info->window_size && behind < end) {
		err = gen_pool_add(drive->slm, behind + SLM_BIAS, end - behind,
				   NUMA_NO_NODE);
		drive->slm_size += end - behind;
	}
	if (err)
		csd_slm_exit(drive);
	return err;
}

void csd_slm_exit(struct csd_drive *drive)
{
	gen_pool_destroy(drive->slm);
	drive->slm = NULL;
}

bool csd_slm_alloc(struct csd_drive *drive, u64 size, u64 *off)
{
	unsigned long at = gen_pool_alloc(drive->slm, size);

	if (!at)
		return false;
	*off = at - SLM_BIAS;
	return true;
}

void csd_slm_free(struct csd_drive *drive, u64 off, u64 size)
{
	gen_pool_free(drive->slm, off + SLM_BIAS, size);
	wake_up_all(&drive->slm_wait);
}

/*
 * What one scan should have of the memory, or of the window on the bus: as much as
 * each of the others, and one share is left for who comes next.
 */
u64 csd_slm_share(struct csd_drive *drive, bool window)
{
	u64 size = window ? drive->info.window_size : drive->slm_size;

	return div_u64(size, max(atomic_read(&drive->nr_runs), 1) + 1);
}
