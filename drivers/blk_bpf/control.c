// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/blk_bpf: the border. Every ioctl comes in here: its argument is copied
 * and checked as far as it does not depend on the command, and its results and
 * its sentence go back from here.
 */
#include <linux/capability.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "blk_bpf.h"

/* An ioctl's argument, whichever it is. */
union control_arg {
	struct blk_bpf_hdr hdr;
	struct blk_bpf_features features;
	struct blk_bpf_last_msg last_msg;
	struct blk_bpf_attach attach;
	struct blk_bpf_list list;
	struct blk_bpf_missed missed;
	struct blk_bpf_stream stream;
	struct blk_bpf_scan scan;
	struct blk_bpf_drain drain;
};

/**
 * struct control_call - an ioctl on its way
 * @arg:  in and out
 * @msg:  why it was refused
 * @new:  a file that it opened, or NULL; @fd is reserved for it and given out
 *	  when nothing can fail any more
 * @fd:   see @new
 */
struct control_call {
	union control_arg arg;
	struct blk_bpf_msg msg;
	struct file *new;
	int fd;
};

#define FEATURES	(BLK_BPF_FEAT_SCAN | BLK_BPF_FEAT_ATTACH |	\
			 BLK_BPF_FEAT_OVERLAP | BLK_BPF_FEAT_FAIL |	\
			 BLK_BPF_FEAT_STREAM | BLK_BPF_FEAT_BUDGET |	\
			 BLK_BPF_FEAT_TARGET)

static int control_features(struct control_call *call, struct file *file)
{
	struct blk_bpf_features *arg = &call->arg.features;

	arg->abi = BLK_BPF_ABI_VERSION;
	arg->ctx_size = sizeof(struct blk_bpf_ctx);
	arg->features = FEATURES;
	arg->scan_flags = BLK_BPF_SCAN_KNOWN;
	arg->attach_flags = BLK_BPF_ATTACH_KNOWN;
	arg->unit_max = BLK_BPF_UNIT_MAX;
	arg->overlap_max = BLK_BPF_OVERLAP_MAX;
	arg->threads_max = blk_bpf_scan_threads_max();
	arg->pad = 0;
	return 0;
}

static int control_last_msg(struct control_call *call, struct file *file)
{
	return blk_bpf_last_msg(&call->msg);
}

static int control_attach(struct control_call *call, struct file *file)
{
	return blk_bpf_attach(&call->arg.attach, &call->msg);
}

static int control_list(struct control_call *call, struct file *file)
{
	return blk_bpf_list(&call->arg.list, &call->msg);
}

static int control_missed(struct control_call *call, struct file *file)
{
	return blk_bpf_missed(&call->arg.missed, &call->msg);
}

static int control_stream(struct control_call *call, struct file *file)
{
	int err;

	call->fd = get_unused_fd_flags(O_CLOEXEC);
	if (call->fd < 0)
		return call->fd;
	call->new = blk_bpf_stream_open(&call->arg.stream, &call->msg);
	if (IS_ERR(call->new)) {
		put_unused_fd(call->fd);
		err = PTR_ERR(call->new);
		call->new = NULL;
		return err;
	}
	call->arg.stream.fd = call->fd;
	return 0;
}

static int control_scan(struct control_call *call, struct file *file)
{
	return blk_bpf_scan(file->private_data, &call->arg.scan, &call->msg);
}

static int control_drain(struct control_call *call, struct file *file)
{
	return blk_bpf_drain(&call->msg);
}

/**
 * struct control_cmd - one ioctl
 * @fn:        does it; results go into the argument
 * @cmd:       BLK_BPF_IOC_*
 * @size:      of its argument
 * @size_min:  of what it was at first: fields that came later are 0 if a caller
 *	       does not know them
 * @flags:     the flags that are known
 * @admin:     whether it takes CAP_SYS_ADMIN
 */
struct control_cmd {
	int (*fn)(struct control_call *call, struct file *file);
	unsigned int cmd;
	u32 size;
	u32 size_min;
	u32 flags;
	bool admin;
};

#define CMD(_cmd, _fn, _type, _last, _flags, _admin)			\
	[_IOC_NR(_cmd)] = {						\
		.cmd = (_cmd), .fn = (_fn), .size = sizeof(_type),	\
		.size_min = offsetofend(_type, _last),			\
		.flags = (_flags), .admin = (_admin),			\
	}

static const struct control_cmd control_cmds[] = {
	CMD(BLK_BPF_IOC_FEATURES, control_features, struct blk_bpf_features, pad,
	    0, false),
	CMD(BLK_BPF_IOC_LAST_MSG, control_last_msg, struct blk_bpf_last_msg, hdr,
	    0, false),
	CMD(BLK_BPF_IOC_ATTACH, control_attach, struct blk_bpf_attach, args,
	    BLK_BPF_ATTACH_KNOWN, true),
	CMD(BLK_BPF_IOC_LIST, control_list, struct blk_bpf_list, total, 0, true),
	CMD(BLK_BPF_IOC_MISSED, control_missed, struct blk_bpf_missed, pad,
	    0, true),
	CMD(BLK_BPF_IOC_STREAM, control_stream, struct blk_bpf_stream, pad,
	    0, true),
	CMD(BLK_BPF_IOC_SCAN, control_scan, struct blk_bpf_scan, stats,
	    BLK_BPF_SCAN_KNOWN, false),
	CMD(BLK_BPF_IOC_DRAIN, control_drain, struct blk_bpf_drain, hdr, 0, true),
};

/* What holds for every ioctl, before its own function sees it. */
static int control_check(const struct control_cmd *cmd,
			 struct control_call *call)
{
	const struct blk_bpf_hdr *hdr = &call->arg.hdr;

	if (hdr->pad)
		return blk_bpf_refuse(&call->msg, -EINVAL,
				      "hdr.pad is 0x%x: it must be 0", hdr->pad);
	if (hdr->flags & ~cmd->flags)
		return blk_bpf_refuse(&call->msg, -EINVAL,
			"unknown flags 0x%x: this kernel knows 0x%x here",
			hdr->flags & ~cmd->flags, cmd->flags);
	if (cmd->admin && !capable(CAP_SYS_ADMIN))
		return blk_bpf_refuse(&call->msg, -EPERM,
			"this needs CAP_SYS_ADMIN: run it as root");
	return 0;
}

/* A sentence that does not fit is shortened; one is never left unterminated. */
static int control_copy_msg(const struct control_call *call)
{
	const struct blk_bpf_hdr *hdr = &call->arg.hdr;
	size_t len = min_t(size_t, hdr->msg_len, strlen(call->msg.text) + 1);

	if (!hdr->msg || !len)
		return 0;
	if (copy_to_user(u64_to_user_ptr(hdr->msg), call->msg.text, len - 1) ||
	    put_user('\0', (char __user *)u64_to_user_ptr(hdr->msg) + len - 1))
		return -EFAULT;
	return 0;
}

/* The two errors that may come from anywhere below get their sentence here. */
static void control_explain(struct control_call *call, int err)
{
	if (call->msg.text[0])
		return;
	if (err == -ENOMEM)
		blk_bpf_refuse(&call->msg, err,
			"no memory for this request: free some, or ask for less");
	else if (err == -EFAULT)
		blk_bpf_refuse(&call->msg, err,
			"an address in the request cannot be read or written: check its pointers and lengths");
}

static long control_call(const struct control_cmd *cmd, struct file *file,
			 void __user *uarg, u32 usize)
{
	struct control_call *call;
	int err, fault;

	call = kzalloc(sizeof(*call), GFP_KERNEL_ACCOUNT);
	if (!call)
		return -ENOMEM;

	err = copy_struct_from_user(&call->arg, cmd->size, uarg, usize);
	if (err)
		goto free;
	err = control_check(cmd, call);
	if (!err)
		err = cmd->fn(call, file);
	control_explain(call, err);

	/* What a refused command found before it was is results, too. */
	fault = copy_to_user(uarg, &call->arg, min(usize, cmd->size)) ? -EFAULT : 0;
	if (!fault)
		fault = control_copy_msg(call);
	err = err ?: fault;
	if (call->new && !err) {
		fd_install(call->fd, call->new);
	} else if (call->new) {
		put_unused_fd(call->fd);
		fput(call->new);
	}
free:
	kfree(call);
	return err;
}

static long control_ioctl(struct file *file, unsigned int nr, unsigned long arg)
{
	void __user *uarg = (void __user *)arg;
	const struct control_cmd *cmd;
	unsigned int i = _IOC_NR(nr);
	u32 usize;

	/* The size of the caller's struct is in its number: compare the rest. */
	if (_IOC_TYPE(nr) != BLK_BPF_IOC_MAGIC ||
	    _IOC_DIR(nr) != (_IOC_READ | _IOC_WRITE) ||
	    i >= ARRAY_SIZE(control_cmds))
		return -ENOTTY;
	cmd = &control_cmds[array_index_nospec(i, ARRAY_SIZE(control_cmds))];

	if (get_user(usize, (u32 __user *)uarg))
		return -EFAULT;
	if (usize < cmd->size_min || usize > PAGE_SIZE)
		return -EINVAL;
	return control_call(cmd, file, uarg, usize);
}

static int control_open(struct inode *inode, struct file *file)
{
	struct blk_bpf_scanner *scanner;

	scanner = kzalloc(sizeof(*scanner), GFP_KERNEL_ACCOUNT);
	if (!scanner)
		return -ENOMEM;
	mutex_init(&scanner->lock);
	file->private_data = scanner;
	return 0;
}

static int control_release(struct inode *inode, struct file *file)
{
	blk_bpf_scanner_release(file->private_data);
	kfree(file->private_data);
	return 0;
}

static const struct file_operations control_fops = {
	.owner		= THIS_MODULE,
	.open		= control_open,
	.release	= control_release,
	.unlocked_ioctl	= control_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

/* Anybody may scan what he can read; the rest asks for CAP_SYS_ADMIN. */
static struct miscdevice control_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "blk_bpf",
	.mode	= 0666,
	.fops	= &control_fops,
};

/**
 * blk_bpf_control_ejected - tell user space, by a uevent of the control device
 * @id:     of the attachment
 * @name:   of the program
 * @disk:   of the block device
 * @pos:    of the unit that it was called for last
 * @reason: a sentence
 *
 * Of the control device and not of the disk, because a change of a disk has
 * others read its partition table and signatures again.
 */
void blk_bpf_control_ejected(u32 id, const char *name, const char *disk,
			     u64 pos, const char *reason)
{
	char *env[7] = {
		"BLK_BPF_EVENT=ejected",
		kasprintf(GFP_KERNEL, "BLK_BPF_ID=%u", id),
		kasprintf(GFP_KERNEL, "BLK_BPF_PROGRAM=%s", name),
		kasprintf(GFP_KERNEL, "BLK_BPF_DISK=%s", disk),
		kasprintf(GFP_KERNEL, "BLK_BPF_POS=%llu", pos),
		kasprintf(GFP_KERNEL, "BLK_BPF_REASON=%s", reason),
		NULL
	};
	size_t i;

	/* Without memory it is short of what follows; the list has it all. */
	kobject_uevent_env(&control_device.this_device->kobj, KOBJ_CHANGE, env);
	for (i = 1; i < ARRAY_SIZE(env); i++)
		kfree(env[i]);
}

int blk_bpf_control_init(void)
{
	return misc_register(&control_device);
}

void blk_bpf_control_exit(void)
{
	misc_deregister(&control_device);
}
