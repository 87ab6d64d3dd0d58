/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Targets: places that can run a program over ranges of block devices.
 *
 * blk_bpf knows no target by name. It checks what a caller asks for and makes a
 * job of it, hands matches out in order, and keeps the cursor. The target cuts
 * the job's ranges into pieces, has them run in whatever order and by whomever,
 * and gives them back one by one, in the order of the ranges. The kernel target
 * (kernel.c) is one of them; a driver registers others.
 */
#ifndef BLK_BPF_TARGET_H
#define BLK_BPF_TARGET_H

#include <linux/blkdev.h>
#include <linux/bpf.h>
#include <linux/fs.h>
#include <linux/kref.h>
#include <linux/list.h>

#include <linux/blk_bpf.h>

struct blk_bpf_ops;
struct blk_bpf_job;
struct blk_bpf_target;

/* Matches that a piece gathers before it is handed out, half done or not. */
#define BLK_BPF_PIECE_MATCHES	65536U

/**
 * struct blk_bpf_msg - where the sentence of an ioctl's refusal is kept
 * @text: empty until something is refused
 */
struct blk_bpf_msg {
	char text[BLK_BPF_MSG_MAX];
};

__printf(3, 4)
int blk_bpf_refuse(struct blk_bpf_msg *msg, int err, const char *fmt, ...);

/**
 * struct blk_bpf_program - a program that can be called
 * @ops:  what its author said of it
 * @prog: the filter
 *
 * Both belong to the struct_ops map, whose reference keeps them.
 */
struct blk_bpf_program {
	const struct blk_bpf_ops *ops;
	struct bpf_prog *prog;
};

/* Matches, a page of them. */
struct blk_bpf_match_page {
	struct list_head node;
	u32 nr;
	struct blk_bpf_match match[];
};

#define BLK_BPF_MATCHES_PER_PAGE					\
	((PAGE_SIZE - sizeof(struct blk_bpf_match_page)) /		\
	 sizeof(struct blk_bpf_match))

/**
 * struct blk_bpf_extent - a range of one of a job's devices
 * @off: first byte
 * @len: bytes
 * @dev: index in blk_bpf_job.devs, and what blk_bpf_match.dev says
 */
struct blk_bpf_extent {
	u64 off;
	u64 len;
	u32 dev;
};

/**
 * struct blk_bpf_dev - a device that is scanned
 * @file:  the caller's, opened for reading; the job holds a reference
 * @bdev:  what it is open on
 * @block: logical block size
 * @len:   bytes of the device
 */
struct blk_bpf_dev {
	struct file *file;
	struct block_device *bdev;
	u32 block;
	u64 len;
};

/**
 * struct blk_bpf_piece - a part of an extent, and what was found in it
 * @extent:  index of the extent
 * @off:     of the first unit, from the start of the extent
 * @len:     bytes of its units; the last may be short
 * @done:    bytes of units that were run, or that are before what failed
 * @counted: of these, bytes that are in the statistics (the core's)
 * @units, @matches, @prog_ns: calls, what they found, and the time they took,
 *	     since they were counted last
 * @err:     why the unit at @off + @done could not be run, or 0
 * @ret:     what the program returned, if that is why
 * @emit:    the error of blk_bpf_emit(), if that is why
 * @stop:    the unit before @off + @done returned BLK_BPF_STOP
 * @why:     a sentence if neither @ret nor @emit nor an unreadable device is
 *	     why; by kmalloc()
 * @pages:   its matches, in order
 * @out_page, @out_idx: the first match that was not handed out yet (the core's)
 */
struct blk_bpf_piece {
	u32 extent;
	u64 off;
	u32 len;
	u32 done;
	u32 counted;
	u64 units;
	u64 matches;
	u64 prog_ns;
	int err;
	int ret;
	int emit;
	bool stop;
	char *why;
	struct list_head pages;
	struct blk_bpf_match_page *out_page;
	u32 out_idx;
};

/**
 * struct blk_bpf_place - where planning goes on
 * @extent: index of the extent
 * @off:    of the first unit that no piece has, from its start
 */
struct blk_bpf_place {
	u32 extent;
	u64 off;
};

/**
 * struct blk_bpf_window - blocks that were read for the bytes of matches
 * @buf:  @size bytes, or NULL
 * @dev:  index of the device
 * @base: position of the first byte
 * @len:  bytes that are there
 * @size: room
 */
struct blk_bpf_window {
	void *buf;
	u32 dev;
	u64 base;
	u32 len;
	u32 size;
};

/**
 * struct blk_bpf_job - a scan, as long as it can go on
 * @target:   where it runs
 * @devs, @nr_devs: what is scanned
 * @map:      holds the program
 * @program:  in @map
 * @flags:    BLK_BPF_SCAN_*
 * @unit:     bytes a call
 * @overlap:  bytes that a call sees behind its unit
 * @threads:  as in struct blk_bpf_scan
 * @args:     for the program
 * @extents, @nr_extents: what to scan, in the order of the answer
 * @image, @image_len: the program for the target, or NULL
 * @globals, @globals_len: its writable global variables as they are; in the
 *	      order of the image, without gaps. Or NULL
 * @begin:    where the job began
 * @cursor:   the first unit whose matches are not all handed out, and how many
 *	      are (the core's)
 * @to_skip:  matches of the unit at @cursor that an earlier job handed out
 * @window:   for bytes of matches (the core's)
 * @stats, @path: of the current call
 *
 * Used by the scanning task alone. A target's own job begins with this one.
 */
struct blk_bpf_job {
	struct blk_bpf_target *target;
	struct blk_bpf_dev *devs;
	u32 nr_devs;
	struct bpf_map *map;
	struct blk_bpf_program program;
	u32 flags;
	u32 unit;
	u32 overlap;
	u32 threads;
	u64 args[BLK_BPF_NR_ARGS];
	struct blk_bpf_extent *extents;
	u32 nr_extents;
	void *image;
	u32 image_len;
	void *globals;
	u32 globals_len;
	struct blk_bpf_place begin;
	struct blk_bpf_cursor cursor;
	u32 to_skip;
	struct blk_bpf_window window;
	struct blk_bpf_scan_stats stats;
	struct blk_bpf_scan_path path;
};

/**
 * struct blk_bpf_target_ops - what a target does
 * @job_size: bytes of its own job, which begins with a struct blk_bpf_job
 * @image:    it runs images (struct nvme_csd_image), and needs one
 * @check:    say what of a new job cannot be done here. The job is complete but
 *	      for the target's own part, which is zero. Return: 0 or an errno,
 *	      with its sentence
 * @start:    settle how a new job is cut. Return: as @check
 * @begin:    a call begins: load the program, unless it is there, and give it
 *	      @globals. Return: as @check; @end is not called if it fails
 * @next:     the next piece in order, when all that was to be done of it is
 *	      done, or BLK_BPF_PIECE_MATCHES were found, or something is in the
 *	      way. May sleep. Return: NULL at the end, ERR_PTR(-ERESTARTSYS) for
 *	      a signal, ERR_PTR(-ENOMEM)
 * @put:      all of the piece that @next returned has been handed out: the
 *	      target goes on with it if it is not done, or has it back
 * @data:     the bytes of a match of that piece, to user space; NULL: they are
 *	      read from the device. Return: 0 or an errno
 * @end:      a call ends: cancel what is under way, keep what was found, save
 *	      @globals, and hold nothing of the device any more. Return: 0, or an
 *	      errno with its sentence if @globals could not be saved
 * @free:     the job ends, between calls; the target's own part is freed, not
 *	      the job
 * @release:  the last reference to the target is gone
 *
 * Context: all may sleep; for one job they are called by one task at a time.
 */
struct blk_bpf_target_ops {
	size_t job_size;
	bool image;
	int (*check)(struct blk_bpf_job *job, struct blk_bpf_msg *msg);
	int (*start)(struct blk_bpf_job *job, struct blk_bpf_msg *msg);
	int (*begin)(struct blk_bpf_job *job, struct blk_bpf_msg *msg);
	struct blk_bpf_piece *(*next)(struct blk_bpf_job *job);
	void (*put)(struct blk_bpf_job *job, struct blk_bpf_piece *piece);
	int (*data)(struct blk_bpf_job *job, const struct blk_bpf_piece *piece,
		    const struct blk_bpf_match *match, void __user *to);
	int (*end)(struct blk_bpf_job *job, struct blk_bpf_msg *msg);
	void (*free)(struct blk_bpf_job *job);
	void (*release)(struct blk_bpf_target *target);
};

/**
 * struct blk_bpf_target - a place that can run programs
 * @name:  what a caller calls it
 * @ops:   what it does
 * @owner: the module that a job holds
 * @node:  in the registry, under its lock (the core's)
 * @ref:   of the registry and of jobs (the core's)
 */
struct blk_bpf_target {
	char name[BLK_BPF_TARGET_LEN];
	const struct blk_bpf_target_ops *ops;
	struct module *owner;
	struct list_head node;
	struct kref ref;
};

/* target.c: the registry */
int blk_bpf_target_register(struct blk_bpf_target *target);
void blk_bpf_target_unregister(struct blk_bpf_target *target);

/* kernel.c: reads that programs attached to the device do not see */

/**
 * struct blk_bpf_submitter - a task that submits reads of a scan
 * @node: in the list of all; under its lock
 * @task: the task
 * @disk: what it reads
 */
struct blk_bpf_submitter {
	struct list_head node;
	const struct task_struct *task;
	const struct gendisk *disk;
};

void blk_bpf_submit_begin(struct blk_bpf_submitter *submitter,
			  const struct gendisk *disk);
void blk_bpf_submit_end(struct blk_bpf_submitter *submitter);
ssize_t blk_bpf_job_read(struct blk_bpf_job *job, u32 dev, u64 pos,
			 struct iov_iter *iter, struct kiocb *iocb,
			 void (*done)(struct kiocb *iocb, long ret));

/* piece.c: what is the same for pieces of all targets */
void blk_bpf_piece_init(struct blk_bpf_piece *piece);
void blk_bpf_piece_reset(struct blk_bpf_piece *piece);
void blk_bpf_piece_drop_matches(struct blk_bpf_piece *piece);
int blk_bpf_piece_add(struct blk_bpf_piece *piece,
		      const struct blk_bpf_match *matches, u32 nr);
struct blk_bpf_match_page *blk_bpf_match_page_alloc(gfp_t gfp);
void blk_bpf_match_pages_free(struct list_head *pages);
int blk_bpf_match_cmp(const void *a, const void *b);
bool blk_bpf_job_plan(const struct blk_bpf_job *job, struct blk_bpf_place *place,
		      u64 len, struct blk_bpf_piece *piece);
void blk_bpf_job_blocks(const struct blk_bpf_job *job, u32 extent, u64 off,
			u32 len, u64 *start, u64 *end);

#endif /* BLK_BPF_TARGET_H */
