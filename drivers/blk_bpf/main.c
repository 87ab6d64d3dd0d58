// SPDX-License-Identifier: GPL-2.0
/* blk_bpf: BPF programs on the data of any block device. */
#include <linux/module.h>

#include "blk_bpf.h"

static int __init blk_bpf_init(void)
{
	int err;

	err = blk_bpf_attach_init();
	if (err)
		return err;
	err = blk_bpf_kernel_target_init();
	if (err)
		goto exit_attach;
	err = blk_bpf_kfuncs_init();
	if (err)
		goto exit_target;
	err = blk_bpf_struct_ops_init();
	if (err)
		goto exit_target;
	err = blk_bpf_control_init();
	if (err)
		goto exit_target;
	return 0;

exit_target:
	blk_bpf_kernel_target_exit();
exit_attach:
	blk_bpf_attach_exit();
	return err;
}

/* Programs, open control devices and streams hold the module: none is left. */
static void __exit blk_bpf_exit(void)
{
	blk_bpf_attach_flush();
	blk_bpf_control_exit();
	blk_bpf_kernel_target_exit();
	blk_bpf_attach_exit();
	blk_bpf_msg_exit();
}

module_init(blk_bpf_init);
module_exit(blk_bpf_exit);

MODULE_DESCRIPTION("BPF programs on the data of any block device");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS(BPF_INTERNAL);
