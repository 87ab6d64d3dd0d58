/* SPDX-License-Identifier: GPL-2.0 */
/* Which program is on which device: what the hook and the streams see of it. */
#ifndef BLK_BPF_ATTACH_H
#define BLK_BPF_ATTACH_H

#include <linux/hash.h>
#include <linux/kref.h>
#include <linux/percpu-refcount.h>
#include <linux/rculist.h>
#include <linux/workqueue.h>

#include "run.h"

struct bio;

/* Task, softirq, hard interrupt, and one more for what nests beyond. */
#define BLK_BPF_CONTEXTS	4
#define BLK_BPF_FRAME_MATCHES	64

/*
 * Written by one context of one CPU only; cycles are get_cycles(). A bio that
 * is one whole unit is counted in @whole, and in no other of the first four.
 */
struct blk_bpf_counters {
	u64 whole;
	u64 runs;
	u64 bios;
	u64 bytes;
	u64 matches;
	u64 partial;
	u64 failed;
	u64 refused;
	u64 cycles;
};

/**
 * struct blk_bpf_frame - what one context of a CPU needs to present a bio
 * @run:     the program being called
 * @hook:    of the bio that is being presented, for events
 * @att:     whose frame this is
 * @began:   when, in cycles
 * @payer:   the program that @credit is of; NULL: all of it is to be had
 * @credit:  by how much calls were shorter than their budget, at most
 *	     @att->slack, as of the last look (cycles)
 * @paid_runs, @paid_cycles: the counters that this is computed from
 * @count:   what was done in it
 * @matches: what @run emitted and nobody has counted yet
 * @bounce:  a copy of a unit that is not contiguous, or that may not change
 */
struct blk_bpf_frame {
	struct blk_bpf_run run;
	const struct blk_bpf_hook *hook;
	struct blk_bpf_att *att;
	u64 began;
	struct blk_bpf_counters count;
	const struct bpf_prog *payer;
	s64 credit;
	u64 paid_runs;
	u64 paid_cycles;
	struct blk_bpf_match matches[BLK_BPF_FRAME_MATCHES];
	u8 bounce[] __aligned(8);
};

/**
 * struct blk_bpf_exit_record - why a program was ejected, as uapi has it
 * @kind:    enum blk_bpf_exit
 * @op:      enum blk_bpf_op
 * @value:   depends on @kind
 * @pos:     of the unit
 * @len:     of the unit
 * @time_ns: when
 */
struct blk_bpf_exit_record {
	u32 kind;
	u32 op;
	s64 value;
	u64 pos;
	u64 len;
	u64 time_ns;
};

/* Extents kept before neighbours are joined. */
#define BLK_BPF_MISSED_MAX	128

/**
 * struct blk_bpf_att - a program on a device, from link to end
 * @node:     in the list of all; under the attach mutex
 * @ref:      the list of all, and every stream
 * @rcu:      frees it
 * @link:     whose life it shares; valid while in the list of all
 * @prog:     the program: RCU, written under @lock; NULL once unlinked, ejected
 *	      or gone. Who reads it with preemption disabled may call it
 * @held:     the same, for the reference; under blk_bpf_attach_mutex
 * @disk:     the disk it is on, or NULL; under the attach mutex
 * @disk_node: in disk->atts: RCU list
 * @dev:      the block device; a reference from attaching to removal
 * @name, @disk_name, @devt, @id, @flags, @priority, @args: as uapi has them
 * @plain_unit: bytes of a bio that needs no cutting and no copy: @unit, or 1,
 *	      which no bio has, on a partition and if the program gets a copy of all
 * @plain_flags: BLK_BPF_F_* of a call for such a bio
 * @budget:   that a call may take (cycles)
 * @unit, @overlap: of the program that was attached
 * @ops_mask: BIT(enum blk_bpf_op) of what it wants to be called for
 * @part:     the partition it is on, which may be resized any time, or NULL on a
 *	      whole disk; as long as the program may be called
 * @start:    where that begins on the disk, or 0 (bytes)
 * @seq:      bios hooked before have a lower one
 * @state:    enum blk_bpf_attach_state; written under @lock
 * @budget_ns: the same in nanoseconds, as uapi has it
 * @slack:    what calls may have taken more, in all (cycles)
 * @reason:   why ejected; under @lock
 * @exit:     the same in numbers; under @lock
 * @ejected:  tells user space of it
 * @frames:   by CPU: BLK_BPF_CONTEXTS times @frame_size bytes
 * @frame_size: of a struct blk_bpf_frame with its bounce buffer
 * @streams:  RCU list of open streams
 * @lock:     protects @prog, @state, @reason and @streams against writers, and
 *	      @missed with its counts; taken in any context, interrupts off
 * @missed:   extents, by position
 * @nr_missed: of them
 * @missed_bios: how many bios they come from
 */
struct blk_bpf_att {
	/* What the hot path reads, together. */
	struct list_head disk_node;
	struct bpf_prog __rcu *prog;
	u64 seq;
	struct block_device *part;
	u64 start;
	u32 ops_mask;
	u32 plain_unit;
	u32 plain_flags;
	u64 budget;
	u32 frame_size;
	void **frames;

	struct list_head node;
	struct kref ref;
	struct rcu_head rcu;
	struct bpf_link *link;
	struct bpf_prog *held;
	struct blk_bpf_disk *disk;
	struct device *dev;
	char name[BLK_BPF_NAME_LEN];
	char disk_name[BDEVNAME_SIZE];
	dev_t devt;
	u32 id;
	u32 flags;
	s32 priority;
	u64 args[BLK_BPF_NR_ARGS];
	u32 unit;
	u32 overlap;
	u64 budget_ns;
	s64 slack;

	u32 state;
	char reason[128];
	struct blk_bpf_exit_record exit;
	struct work_struct ejected;
	struct list_head streams;
	raw_spinlock_t lock;
	struct blk_bpf_range *missed;
	u32 nr_missed;
	u64 missed_bios;
};

static __always_inline struct blk_bpf_frame *
blk_bpf_att_frame(const struct blk_bpf_att *att, unsigned int cpu,
		  unsigned int context)
{
	return att->frames[cpu] + context * att->frame_size;
}

/**
 * struct blk_bpf_disk - a whole disk with at least one attachment
 * @hash:     in blk_bpf_disks: RCU
 * @gendisk:  by which the hook finds it, and no more: the attachments have the
 *	      references, and when the last goes this is in no hash any more
 * @atts:     RCU list by priority and age; written under the attach mutex
 * @ops_mask: what any of them wants
 * @inflight: hooked bios; killed when the last attachment goes
 * @dying:    in the list of those that wait for their last bio
 * @ticket:   rises along that list
 * @free:     after the last bio
 * @rcu:      frees it
 */
struct blk_bpf_disk {
	struct hlist_node hash;
	struct gendisk *gendisk;
	struct list_head atts;
	u32 ops_mask;
	struct percpu_ref inflight;
	struct list_head dying;
	u64 ticket;
	struct work_struct free;
	struct rcu_head rcu;
};

#define BLK_BPF_DISK_BITS	6
extern struct hlist_head blk_bpf_disks[1 << BLK_BPF_DISK_BITS];

/* Context: preemption disabled, as RCU read side. */
static __always_inline struct blk_bpf_disk *
blk_bpf_disk_find(const struct gendisk *gendisk)
{
	struct blk_bpf_disk *disk;

	hlist_for_each_entry_rcu(disk,
			&blk_bpf_disks[hash_ptr(gendisk, BLK_BPF_DISK_BITS)],
			hash, 1) {
		if (disk->gendisk == gendisk)
			return disk;
	}
	return NULL;
}

/*
 * References of bios to their disk. Preemption is off where they are taken and
 * dropped, which is as good a reader for percpu_ref's switch to atomic mode as
 * the rcu_read_lock() that its own functions bring, and costs nothing: those
 * are a sixth of what an empty filter costs. The slow case is theirs.
 */
static __always_inline bool blk_bpf_disk_tryget(struct blk_bpf_disk *disk)
{
	unsigned long __percpu *count;

	if (unlikely(!__ref_is_percpu(&disk->inflight, &count)))
		return percpu_ref_tryget_live(&disk->inflight);
	this_cpu_inc(*count);
	return true;
}

static __always_inline void blk_bpf_disk_put(struct blk_bpf_disk *disk)
{
	unsigned long __percpu *count;

	if (unlikely(!__ref_is_percpu(&disk->inflight, &count)))
		percpu_ref_put(&disk->inflight);
	else
		this_cpu_dec(*count);
}

/**
 * struct blk_bpf_hook - a bio on its way, borrowed
 * @end_io:  the submitter's
 * @private: the submitter's
 * @iter:    the range it submitted, before anybody consumed it
 * @disk:    a reference to @disk->inflight
 * @seq:     attachments with a higher one came later
 * @op:      enum blk_bpf_op, before anybody rewrote it
 * @dev:     of an empty bio: the disk or partition that it was submitted to
 */
struct blk_bpf_hook {
	bio_end_io_t *end_io;
	void *private;
	struct bvec_iter iter;
	struct blk_bpf_disk *disk;
	u64 seq;
	u32 op;
	dev_t dev;
};

extern u64 blk_bpf_attach_seq;

/* interpose.c */
int blk_bpf_interpose_init(void);
void blk_bpf_interpose_exit(void);
int blk_bpf_interpose_start(void);
void blk_bpf_interpose_stop(void);

/* present.c */
void blk_bpf_present(const struct blk_bpf_hook *hook, struct bio *bio);
int blk_bpf_frame_flush(struct blk_bpf_run *run);
void blk_bpf_present_missed(const struct blk_bpf_hook *hook);

/* disk.c */
extern struct workqueue_struct *blk_bpf_wq;
int blk_bpf_disks_init(void);
void blk_bpf_disks_exit(void);
struct blk_bpf_disk *blk_bpf_disk_get(struct gendisk *gendisk);
void blk_bpf_disk_add_att(struct blk_bpf_disk *disk, struct blk_bpf_att *att);
void blk_bpf_disk_del_att(struct blk_bpf_att *att);

/* attach.c */
extern struct mutex blk_bpf_attach_mutex;
struct blk_bpf_att *blk_bpf_att_next(u32 start);
void blk_bpf_att_get(struct blk_bpf_att *att);
void blk_bpf_att_put(struct blk_bpf_att *att);

/* trouble.c: context: any */
void blk_bpf_eject_returned(struct blk_bpf_frame *frame,
			    const struct bpf_prog *prog, int ret);
bool blk_bpf_overran(struct blk_bpf_frame *frame, const struct bpf_prog *prog);
void blk_bpf_att_missed(struct blk_bpf_att *att, u64 pos, u64 len);
void blk_bpf_ejected_work(struct work_struct *work);

/* report.c: the unit of what get_cycles() returns */
u64 blk_bpf_cycles_to_ns(u64 cycles);
u64 blk_bpf_ns_to_cycles(u64 ns);

/* stream.c: an event to whoever follows; context: any */
void blk_bpf_event(struct blk_bpf_att *att, u16 type, u16 op, u64 pos, u32 len,
		   s64 value);
struct file *blk_bpf_stream_new(struct blk_bpf_att *att, u32 entries,
				struct blk_bpf_msg *msg);
void blk_bpf_stream_end_all(struct blk_bpf_att *att);

#endif /* BLK_BPF_ATTACH_H */
