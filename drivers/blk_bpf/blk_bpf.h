/* SPDX-License-Identifier: GPL-2.0 */
/*
 * blk_bpf: what the files of the module share.
 *
 *	struct_ops  registers the program type; kfuncs what programs may call
 *	progmap     finds the program behind a map fd
 *	run         calls a program for one unit
 *	scan, job   a program over ranges of devices: the ioctl, and what it asks for
 *	target, piece   where it runs, and what all targets share
 *	kernel, chunk   the kernel target
 *	attach      which program is on which device; disk: what has any
 *	report      what attachments have to say
 *	interpose   the way into live I/O and out of it, alone
 *	present     a completed bio to the programs of its device; trouble: what
 *	            may go wrong there
 *	stream      matches of live I/O to user space
 *	control     /dev/blk_bpf; msg: a sentence for every refusal
 */
#ifndef BLK_BPF_H
#define BLK_BPF_H

#include <linux/blkdev.h>
#include <linux/bpf.h>
#include <linux/types.h>

#include <linux/blk_bpf.h>

#include "target.h"

struct bio;
struct blk_bpf_ops;

/* msg.c: a sentence for every refusal */

int blk_bpf_last_msg(struct blk_bpf_msg *msg);
void blk_bpf_msg_exit(void);

/* struct_ops.c, kfuncs.c: the program type */

int blk_bpf_struct_ops_init(void);
int blk_bpf_kfuncs_init(void);
bool blk_bpf_is_our_st_ops(const struct bpf_struct_ops *st_ops);
const struct btf_type *blk_bpf_type_by_id(u32 *id);

/* attach.c: which program is on which device */

int blk_bpf_attach_init(void);
void blk_bpf_attach_flush(void);
void blk_bpf_attach_exit(void);

int blk_bpf_link_add(const struct blk_bpf_ops *ops, struct bpf_link *link);
void blk_bpf_link_del(struct bpf_link *link);
int blk_bpf_link_update(const struct blk_bpf_ops *ops, struct bpf_link *link);

int blk_bpf_attach(struct blk_bpf_attach *arg, struct blk_bpf_msg *msg);

/* disk.c */
int blk_bpf_drain(struct blk_bpf_msg *msg);

/* report.c: what attachments have to say */

int blk_bpf_list(struct blk_bpf_list *arg, struct blk_bpf_msg *msg);
int blk_bpf_missed(struct blk_bpf_missed *arg, struct blk_bpf_msg *msg);
struct file *blk_bpf_stream_open(struct blk_bpf_stream *arg,
				 struct blk_bpf_msg *msg);

#define BLK_BPF_ATTACH_KNOWN						\
	(BLK_BPF_ATTACH_MAY_FAIL | BLK_BPF_ATTACH_WRITES |		\
	 BLK_BPF_ATTACH_OTHERS | BLK_BPF_ATTACH_NO_READS)

/* scan.c: a program over ranges of a device */

/**
 * struct blk_bpf_scanner - what an open control device keeps between scans
 * @lock: one scan at a time a file; protects @job
 * @job:  the last scan, if it can go on where it ended
 */
struct blk_bpf_scanner {
	struct mutex lock;
	struct blk_bpf_job *job;
};

#define BLK_BPF_SCAN_KNOWN	(BLK_BPF_SCAN_COUNT | BLK_BPF_SCAN_DATA)

int blk_bpf_scan(struct blk_bpf_scanner *scanner, struct blk_bpf_scan *arg,
		 struct blk_bpf_msg *msg);
void blk_bpf_scanner_release(struct blk_bpf_scanner *scanner);

/* kernel.c: the kernel target */

int blk_bpf_kernel_target_init(void);
void blk_bpf_kernel_target_exit(void);
u32 blk_bpf_scan_threads_max(void);

extern atomic_t blk_bpf_scan_submitters;
bool __blk_bpf_scan_submitting(const struct gendisk *disk);

/* True while the current task submits a scan's reads of the disk. */
static __always_inline bool blk_bpf_scan_submitting(const struct gendisk *disk)
{
	return unlikely(atomic_read(&blk_bpf_scan_submitters)) &&
	       __blk_bpf_scan_submitting(disk);
}

/* control.c */

void blk_bpf_control_ejected(u32 id, const char *name, const char *disk,
			     u64 pos, const char *reason);
int blk_bpf_control_init(void);
void blk_bpf_control_exit(void);

#endif /* BLK_BPF_H */
