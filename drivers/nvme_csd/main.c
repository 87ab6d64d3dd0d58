// SPDX-License-Identifier: GPL-2.0
/* nvme_csd: NVMe drives that run programs, as targets of blk_bpf. */
#include <linux/module.h>

#include "csd.h"

unsigned int csd_timeout_ms = 10000;
module_param_named(timeout_ms, csd_timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms,
		 "time after which a program that a drive runs is aborted (default 10000)");

static int __init nvme_csd_init(void)
{
	int err;

	err = csd_drive_init();
	if (err)
		return err;
	err = csd_discover_init();
	if (err)
		csd_drive_exit();
	return err;
}

static void __exit nvme_csd_exit(void)
{
	csd_discover_exit();
	csd_drive_exit();
}

module_init(nvme_csd_init);
module_exit(nvme_csd_exit);

MODULE_DESCRIPTION("NVMe drives that run programs, as targets of blk_bpf");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(NVME_TARGET_PASSTHRU);
