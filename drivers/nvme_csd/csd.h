/* SPDX-License-Identifier: GPL-2.0 */
/*
 * nvme_csd: what the files of the module share.
 *
 *	discover  finds controllers with the two namespaces, as they come and go
 *	drive     a drive, from found to gone; sysfs what it shows of itself
 *	info      what a drive says of itself, believed as far as it makes sense
 *	command   one NVMe command, waited for or not
 *	program   which programs a drive holds; image what is in one
 *	slm       its memory, shared by scans
 *	run       a scan: the target's operations; step what becomes of its pieces;
 *	          slot what they have of the memory
 *	result    what an Execute found
 *	source    how data get into the drive's memory; peer by which way
 */
#ifndef NVME_CSD_H
#define NVME_CSD_H

#include <linux/genalloc.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include <linux/nvme_csd.h>

#include "nvme.h"	/* of drivers/nvme/host */
#include "../blk_bpf/target.h"

extern unsigned int csd_timeout_ms;

/**
 * struct csd_info - what a drive can do, after a look at whether it makes sense
 * @slm_nsid, @cp_nsid: its two namespaces
 * @generation: as it was when it was read
 * @slm_size:   bytes of SLM
 * @window_off, @window_size: the part of it that is in a BAR; size 0: none
 * @max_prog_bytes, @max_total_bytes, @max_globals: bytes of a program, of all,
 *	and of a program's global memory
 * @max_programs: highest index
 * @max_active: programs that are active at a time
 * @engines:    programs that run at a time, at least 1
 * @max_queued: Executes and Memory Copies that may be outstanding
 * @deadline_ns, @fuel: limits of one Execute; 0: none
 * @max_copy:   bytes of one Memory Copy
 * @features:   NVME_CSD_INFO_*
 */
struct csd_info {
	u32 slm_nsid;
	u32 cp_nsid;
	u64 generation;
	u64 slm_size;
	u64 window_off;
	u64 window_size;
	u64 max_prog_bytes;
	u64 max_total_bytes;
	u64 max_globals;
	u32 max_programs;
	u32 max_active;
	u32 engines;
	u32 max_queued;
	u64 deadline_ns;
	u64 fuel;
	u64 max_copy;
	u32 features;
};

/**
 * struct csd_drive - a drive
 * @target:   as blk_bpf knows it; its reference count is the drive's
 * @ctrl:     valid until @dead, and while there are @users
 * @slm_ns, @cp_ns: its namespaces, with references, likewise
 * @pdev:     its PCI function, or NULL
 * @dev:      in /sys/class/csd
 * @info:     see there; @info.generation is under @prog_lock, and says of which
 *	      life of the drive's @programs is
 * @vendor_admin: admin commands go by their vendor numbers
 * @lock:     protects @dead, @users, @runs; irq-safe
 * @dead:     it is going or gone
 * @users:    tasks that use it, and Aborts that are out
 * @idle:     for @users to become 0
 * @runs:     the scans among them
 * @slm:      free memory; offsets plus SLM_BIAS
 * @slm_size: bytes of @slm
 * @slm_wait: scans that wait for memory
 * @nr_runs:  scans that use memory
 * @prog_lock: protects @programs and what is in them
 * @programs: by index
 * @prog_clock: counts uses, for eviction
 */
struct csd_drive {
	struct blk_bpf_target target;
	struct nvme_ctrl *ctrl;
	struct nvme_ns *slm_ns;
	struct nvme_ns *cp_ns;
	struct pci_dev *pdev;
	struct device *dev;
	struct csd_info info;
	bool vendor_admin;

	spinlock_t lock;
	bool dead;
	u32 users;
	wait_queue_head_t idle;
	struct list_head runs;

	struct gen_pool *slm;
	u64 slm_size;
	wait_queue_head_t slm_wait;
	atomic_t nr_runs;

	struct mutex prog_lock;
	struct xarray programs;
	u64 prog_clock;
};

static inline struct csd_drive *to_csd_drive(struct blk_bpf_target *target)
{
	return container_of(target, struct csd_drive, target);
}

/* command.c */

/* A status that says the command never came to the drive, or its end never back. */
#define CSD_NOT_SENT	0xffff

/**
 * struct csd_cmd - a command
 * @nvme:    all of it but the data pointer
 * @buf:     its data in kernel memory, @len bytes; or NULL
 * @timeout: in jiffies; 0: the queue's own
 * @path:    where what crosses the link is counted, or NULL
 * @done:    called when it ended; in any context
 * @waiter:  of csd_cmd_wait()
 * @lock:    protects @rq
 * @rq:      while it is under way
 * @status:  as in the completion, without the bits for retries; 0 for success
 * @result:  DW0-1 of the completion
 * @sent, @ended: when, ktime_get_ns()
 */
struct csd_cmd {
	struct nvme_command nvme;
	void *buf;
	u32 len;
	unsigned long timeout;
	struct blk_bpf_scan_path *path;
	void (*done)(struct csd_cmd *cmd);
	struct completion *waiter;
	spinlock_t lock;
	struct request *rq;
	u16 status;
	u64 result;
	u64 sent;
	u64 ended;
};

void csd_cmd_init(struct csd_cmd *cmd);
u32 csd_cmd_limit(struct request_queue *q);
int csd_cmd_submit(struct request_queue *q, struct csd_cmd *cmd);
int csd_cmd_wait(struct request_queue *q, struct csd_cmd *cmd);
bool csd_cmd_abort(struct csd_drive *drive, struct csd_cmd *cmd);
bool csd_status_is_reset(u16 status);
int csd_errno(int ret);
bool csd_status_is_media(u16 status);
const char *csd_status_text(u16 status);
int csd_get_log(struct nvme_ctrl *ctrl, u32 nsid, u8 lid, u16 lsi, void *buf,
		u32 len);

/* info.c */
int csd_info_read(struct nvme_ctrl *ctrl, struct nvme_ns *slm,
		  struct nvme_ns *cp, struct csd_info *info);
int csd_info_ptypes(struct nvme_ctrl *ctrl, u32 cp_nsid);
int csd_info_generation(struct csd_drive *drive, u64 *generation);
bool csd_info_reachable(struct csd_drive *drive, u32 nsid);
void csd_message(struct csd_drive *drive, u16 pind, char *text, size_t size);

/* drive.c */
struct csd_drive *csd_drive_create(struct nvme_ctrl *ctrl, u32 slm_nsid,
				   u32 cp_nsid);
void csd_drive_destroy(struct csd_drive *drive);
bool csd_drive_enter(struct csd_drive *drive);
void csd_drive_hold(struct csd_drive *drive);
void csd_drive_leave(struct csd_drive *drive);
bool csd_drive_is_dead(struct csd_drive *drive);
int csd_drive_wait_live(struct csd_drive *drive);
void csd_drive_release(struct blk_bpf_target *target);
int csd_drive_init(void);
void csd_drive_exit(void);

/* sysfs.c */
extern const struct class csd_class;
extern const struct attribute_group *csd_groups[];

/* discover.c */
int csd_discover_init(void);
void csd_discover_exit(void);

/* image.c */

/* Writable global variables of an image: one after the other, without gaps. */
struct csd_image {
	const struct nvme_csd_image *header;
	const struct nvme_csd_global *globals;
	u32 nr_globals;
	u32 writable;
};

int csd_image_parse(const void *data, u32 len, struct csd_image *image,
		    struct blk_bpf_msg *msg);
void csd_image_initial(const struct csd_image *image, const void *data, void *to);

/* program.c */

/**
 * struct csd_program - a program that a drive holds, or held before a reset
 * @pind:  its index
 * @image, @len: the content
 * @ready: loaded and active, unless the drive was reset since
 * @loaded: when it became so, ktime_get_ns()
 * @users: scans that use it
 * @alone: it has writable global variables: one scan at a time
 * @used:  when it was used last, by csd_drive.prog_clock
 */
struct csd_program {
	u32 pind;
	void *image;
	u32 len;
	bool ready;
	u64 loaded;
	u32 users;
	bool alone;
	u64 used;
};

struct csd_program *csd_program_get(struct csd_drive *drive, const void *image,
				    u32 len, const struct csd_image *parsed,
				    struct blk_bpf_scan_path *path,
				    struct blk_bpf_msg *msg);
void csd_program_put(struct csd_drive *drive, struct csd_program *prog);
int csd_program_reload(struct csd_drive *drive, struct csd_program *prog, u64 sent,
		       struct blk_bpf_scan_path *path, struct blk_bpf_msg *msg);
int csd_program_globals(struct csd_drive *drive, struct csd_program *prog,
			const struct csd_image *image, void *values, bool write,
			struct blk_bpf_scan_path *path);
void csd_programs_free(struct csd_drive *drive, bool unload_them);

/* slm.c */
int csd_slm_init(struct csd_drive *drive);
void csd_slm_exit(struct csd_drive *drive);
bool csd_slm_alloc(struct csd_drive *drive, u64 size, u64 *off);
void csd_slm_free(struct csd_drive *drive, u64 off, u64 size);
u64 csd_slm_share(struct csd_drive *drive, bool window);

/* run.c */
extern const struct blk_bpf_target_ops csd_target_ops;
void csd_runs_wake(struct csd_drive *drive);

#endif /* NVME_CSD_H */
