// SPDX-License-Identifier: GPL-2.0
/*
 * The way into live I/O and out of it on a kernel that has no hook for this.
 *
 * The tracepoint block_bio_queue fires once for every bio, after partition
 * remap and checks, for bio-based and blk-mq devices alike. There the bio's
 * completion function is borrowed; when the bio completes it is given back and
 * called. Nothing outside this file knows how it is done, so that a kernel
 * with a filter hook of its own needs another file and no more.
 *
 * Rules that keep it safe:
 *  - everything about a bio is decided and copied in the probe: at completion
 *    bi_iter is consumed, bi_bdev may be another, the op may be rewritten;
 *  - bi_private is read in our own completion function only, and both fields
 *    are restored before anybody else sees the bio, so that hookers nest;
 *  - the submitter's function is called last, as a sibling call with no lock,
 *    no RCU section and no disabled preemption around it, and the bio is not
 *    touched after: chains of bios of any length then use no stack.
 */
#include <linux/bio.h>
#include <linux/memremap.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>

#include <trace/events/block.h>

#include "attach.h"

#ifdef CONFIG_FRAME_POINTER
#error "frame pointers turn sibling calls off, and chained bios would use up the stack: choose CONFIG_UNWINDER_ORC"
#endif
#ifdef CONFIG_PREEMPT_RT
#error "the probe allocates, and completions wake readers, where PREEMPT_RT could sleep: choose another preemption model"
#endif

/* Hooks for when there is no memory: enough for reclaim to go on being seen. */
#define HOOK_RESERVE	64
/* Hooks that a CPU keeps: what a batch of bios takes at a time. */
#define HOOK_STOCK	32

/* A CPU's hooks that nobody uses; interrupts off. */
struct hook_stock {
	unsigned int nr;
	struct blk_bpf_hook *hooks[HOOK_STOCK];
};

static struct kmem_cache *hook_cache;
/* One more that can be had, and given back, without turning interrupts off. */
static DEFINE_PER_CPU(struct blk_bpf_hook *, hook_spare);
static DEFINE_PER_CPU(struct hook_stock, hook_stock);

/* Hooks that wait for an emergency, linked by their first word. */
static LLIST_HEAD(hook_reserve);
static DEFINE_RAW_SPINLOCK(hook_reserve_lock);	/* takers of hook_reserve */
static atomic_t hook_reserve_wanted;		/* how many are out */

static struct tracepoint *bio_queue_tp;
static bool started;				/* under the attach mutex */

static struct blk_bpf_hook *hook_take_reserve(void)
{
	struct llist_node *node;
	unsigned long flags;

	raw_spin_lock_irqsave(&hook_reserve_lock, flags);
	node = llist_del_first(&hook_reserve);
	raw_spin_unlock_irqrestore(&hook_reserve_lock, flags);
	if (!node)
		return NULL;
	atomic_inc(&hook_reserve_wanted);
	return (struct blk_bpf_hook *)node;
}

/* Context: preemption disabled. */
static __always_inline struct blk_bpf_hook *hook_take_spare(void)
{
	return this_cpu_xchg(hook_spare, NULL);
}

static struct blk_bpf_hook *hook_take_stock(void)
{
	struct blk_bpf_hook *hook = NULL;
	struct hook_stock *stock;
	unsigned long flags;

	local_irq_save(flags);
	stock = this_cpu_ptr(&hook_stock);
	if (stock->nr)
		hook = stock->hooks[--stock->nr];
	local_irq_restore(flags);
	return hook;
}

static bool hook_put_stock(struct blk_bpf_hook *hook)
{
	struct hook_stock *stock;
	unsigned long flags;
	bool put;

	local_irq_save(flags);
	stock = this_cpu_ptr(&hook_stock);
	put = stock->nr < HOOK_STOCK;
	if (put)
		stock->hooks[stock->nr++] = hook;
	local_irq_restore(flags);
	return put;
}

/* Context: preemption disabled. */
static struct blk_bpf_hook *hook_alloc(void)
{
	struct blk_bpf_hook *hook;

	hook = hook_take_spare();
	if (hook)
		return hook;
	hook = hook_take_stock();
	if (likely(hook))
		return hook;
	hook = kmem_cache_alloc(hook_cache, GFP_NOWAIT | __GFP_NOWARN);
	if (likely(hook))
		return hook;
	return hook_take_reserve();
}

static noinline void hook_free_slow(struct blk_bpf_hook *hook)
{
	if (unlikely(atomic_read(&hook_reserve_wanted)) &&
	    atomic_dec_if_positive(&hook_reserve_wanted) >= 0)
		llist_add((struct llist_node *)hook, &hook_reserve);
	else if (unlikely(!hook_put_stock(hook)))
		kmem_cache_free(hook_cache, hook);
}

/*
 * The spare first, also while the reserve is short: it would be the next to be
 * taken in any case. Context: preemption disabled.
 */
static __always_inline void hook_free(struct blk_bpf_hook *hook)
{
	if (this_cpu_cmpxchg(hook_spare, NULL, hook))
		hook_free_slow(hook);
}

static noinline u32 bio_class_of_others(const struct bio *bio)
{
	switch (bio_op(bio)) {
	case REQ_OP_WRITE:
	case REQ_OP_ZONE_APPEND:
		/* A flush comes as an empty write. */
		return bio->bi_iter.bi_size ? BLK_BPF_OP_WRITE : BLK_BPF_OP_FLUSH;
	case REQ_OP_FLUSH:
		return BLK_BPF_OP_FLUSH;
	case REQ_OP_DISCARD:
	case REQ_OP_SECURE_ERASE:
		return BLK_BPF_OP_DISCARD;
	case REQ_OP_WRITE_ZEROES:
		return BLK_BPF_OP_WRITE_ZEROES;
	case REQ_OP_ZONE_OPEN:
	case REQ_OP_ZONE_CLOSE:
	case REQ_OP_ZONE_FINISH:
	case REQ_OP_ZONE_RESET:
	case REQ_OP_ZONE_RESET_ALL:
		return BLK_BPF_OP_ZONE;
	default:
		return BLK_BPF_OP_OTHER;
	}
}

static u32 bio_class(const struct bio *bio)
{
	return bio_op(bio) == REQ_OP_READ ? BLK_BPF_OP_READ :
					    bio_class_of_others(bio);
}

/* Out: the bio is complete. */
static void hook_end_io(struct bio *bio)
{
	struct blk_bpf_hook *hook = bio->bi_private;

	preempt_disable();
	if (likely(!bio->bi_status))
		blk_bpf_present(hook, bio);
	bio->bi_end_io = hook->end_io;
	bio->bi_private = hook->private;
	blk_bpf_disk_put(hook->disk);
	hook_free(hook);
	preempt_enable();

	if (likely(bio->bi_end_io))
		bio->bi_end_io(bio);
}

/*
 * The bytes of peer-to-peer memory are not for the CPU to read. What is behind the
 * first page is looked at by who shows it. There is data.
 */
static __always_inline bool bio_is_unreadable(const struct bio *bio)
{
	return is_pci_p2pdma_page(mp_bvec_iter_page(bio->bi_io_vec, bio->bi_iter));
}

static __always_inline void hook_borrow(struct blk_bpf_disk *disk,
					struct bio *bio,
					struct blk_bpf_hook *hook, u32 op)
{
	hook->end_io = bio->bi_end_io;
	hook->private = bio->bi_private;
	hook->iter = bio->bi_iter;
	hook->disk = disk;
	hook->seq = READ_ONCE(blk_bpf_attach_seq);
	hook->op = op;
	bio->bi_end_io = hook_end_io;
	bio->bi_private = hook;
}

/* Apart, because its frame would be everybody's. */
static noinline void hook_miss(struct blk_bpf_disk *disk, const struct bio *bio, u32 op)
{
	const struct blk_bpf_hook hook = {
		.iter = bio->bi_iter,
		.disk = disk,
		.seq = READ_ONCE(blk_bpf_attach_seq),
		.op = op,
		.dev = bio->bi_bdev->bd_dev,
	};

	blk_bpf_present_missed(&hook);
}

/* Any bio, whatever there is to it. */
static noinline void hook_any_bio(struct blk_bpf_disk *disk, struct bio *bio)
{
	struct blk_bpf_hook *hook;
	u32 op = bio_class(bio);

	if (!(READ_ONCE(disk->ops_mask) & BIT(op)) ||
	    bio->bi_end_io == hook_end_io)
		return;
	if (op == BLK_BPF_OP_READ && blk_bpf_scan_submitting(bio->bi_bdev->bd_disk))
		return;
	if (op == BLK_BPF_OP_READ && bio_has_data(bio) && bio_is_unreadable(bio)) {
		hook_miss(disk, bio, op);
		return;
	}
	if (!blk_bpf_disk_tryget(disk))
		return;
	hook = hook_alloc();
	if (hook) {
		hook->dev = bio->bi_bdev->bd_dev;
		hook_borrow(disk, bio, hook, op);
	} else {
		blk_bpf_disk_put(disk);
		hook_miss(disk, bio, op);
	}
}

/*
 * A read, while all is as it is most of the time; else, as a last step,
 * hook_any_bio(). No call comes back here, so that nothing has to be saved.
 */
static noinline void hook_bio(struct blk_bpf_disk *disk, struct bio *bio)
{
	unsigned long __percpu *inflight;
	struct blk_bpf_hook *hook;

	if (unlikely(bio_op(bio) != REQ_OP_READ ||
		     atomic_read(&blk_bpf_scan_submitters) ||
		     !bio_has_data(bio) || bio_is_unreadable(bio) ||
		     !__ref_is_percpu(&disk->inflight, &inflight))) {
		hook_any_bio(disk, bio);
		return;
	}
	if (!(READ_ONCE(disk->ops_mask) & BIT(BLK_BPF_OP_READ)) ||
	    bio->bi_end_io == hook_end_io)
		return;
	hook = hook_take_spare();
	if (unlikely(!hook)) {
		hook_any_bio(disk, bio);
		return;
	}
	this_cpu_inc(*inflight);
	hook_borrow(disk, bio, hook, BLK_BPF_OP_READ);
}

/*
 * In: the bio is about to be submitted. All that a bio of another disk sees of
 * us: the rest is in a function of its own, that this one has nothing to save.
 *
 * Context: preemption disabled.
 */
static void hook_probe(void *unused, struct bio *bio)
{
	struct blk_bpf_disk *disk = blk_bpf_disk_find(bio->bi_bdev->bd_disk);

	if (unlikely(disk))
		hook_bio(disk, bio);
}

/**
 * blk_bpf_interpose_start - see bios from now on
 *
 * Context: the attach mutex is held.
 * Return: 0 or a negative errno.
 */
int blk_bpf_interpose_start(void)
{
	int err;

	if (started)
		return 0;
	err = tracepoint_probe_register(bio_queue_tp, hook_probe, NULL);
	started = !err;
	return err;
}

/**
 * blk_bpf_interpose_stop - see no new bios; those on their way come back
 *
 * Context: the attach mutex is held. Does not wait for bios.
 */
void blk_bpf_interpose_stop(void)
{
	if (!started)
		return;
	tracepoint_probe_unregister(bio_queue_tp, hook_probe, NULL);
	started = false;
}

static void find_tp(struct tracepoint *tp, void *unused)
{
	if (!strcmp(tp->name, "block_bio_queue"))
		bio_queue_tp = tp;
}

static void free_hooks(void)
{
	struct llist_node *node, *next;
	int cpu;

	for_each_possible_cpu(cpu) {
		struct blk_bpf_hook **spare = per_cpu_ptr(&hook_spare, cpu);
		struct hook_stock *stock = per_cpu_ptr(&hook_stock, cpu);

		if (*spare)
			kmem_cache_free(hook_cache, *spare);
		*spare = NULL;
		while (stock->nr)
			kmem_cache_free(hook_cache, stock->hooks[--stock->nr]);
	}
	llist_for_each_safe(node, next, llist_del_all(&hook_reserve))
		kmem_cache_free(hook_cache, node);
}

int blk_bpf_interpose_init(void)
{
	struct blk_bpf_hook *hook;
	int i;

	/* The tracepoint is there, but its symbol is not exported. */
	for_each_kernel_tracepoint(find_tp, NULL);
	if (!bio_queue_tp) {
		pr_err("blk_bpf: this kernel has no tracepoint block_bio_queue: it needs CONFIG_TRACEPOINTS and CONFIG_BLOCK\n");
		return -EOPNOTSUPP;
	}
	hook_cache = KMEM_CACHE(blk_bpf_hook, 0);
	if (!hook_cache)
		return -ENOMEM;
	for (i = 0; i < HOOK_RESERVE; i++) {
		hook = kmem_cache_alloc(hook_cache, GFP_KERNEL);
		if (!hook) {
			blk_bpf_interpose_exit();
			return -ENOMEM;
		}
		llist_add((struct llist_node *)hook, &hook_reserve);
	}
	return 0;
}

/*
 * No bio is on its way: each holds its disk, and a disk holds the module. What
 * may remain is a probe that was called before it was unregistered, and the
 * last instructions of a completion, after it dropped its reference.
 */
void blk_bpf_interpose_exit(void)
{
	tracepoint_synchronize_unregister();
	synchronize_rcu();
	synchronize_rcu_tasks();
	free_hooks();
	kmem_cache_destroy(hook_cache);
}
