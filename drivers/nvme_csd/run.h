/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A scan on a drive, inside.
 *
 * The ranges are cut into pieces. A piece gets a slot of the drive's memory, is
 * filled into it, executed, and what was found is fetched, each by a command that
 * is not waited for; several pieces are under way, so that filling, executing
 * and fetching overlap. Completions only note what ended: the scanning task does
 * the next step of a piece. No unit is handed out before all units before it.
 */
#ifndef NVME_CSD_RUN_H
#define NVME_CSD_RUN_H

#include "csd.h"

/* Bytes of a slot's results, on the drive and on the host. */
#define RESULT_BYTES	SZ_64K
#define RESULT_MATCHES							\
	((RESULT_BYTES - sizeof(struct nvme_csd_result)) /		\
	 sizeof(struct blk_bpf_match))
/* Bytes of units in a piece: at most; and the first ones, to get to know it. */
#define SLICE_MAX	SZ_16M
#define SLICE_FIRST	SZ_64K
/* What a program may take for a piece, so that nobody waits long for it. */
#define SLICE_NS	(25 * NSEC_PER_MSEC)
/* Devices that are read at the same time, and slots of one scan, at most. */
#define DEVS_AT_ONCE	8U
#define SLOTS_MAX	32U
/* How much smaller than others the last pieces may be. */
#define SLICE_PARTS	16
/* Matches that are kept of pieces that are not the next to be handed out. */
#define AHEAD_MATCHES	(4 * BLK_BPF_PIECE_MATCHES)
#define AHEAD_PIECES	1024U
/* How often a unit may run out of time: an engine may have been late to begin. */
#define LATE_MAX	10U
/* For how many timeouts a drive may say that it has too much to do. */
#define BUSY_MAX	6

struct csd_run;
struct csd_slot;

/* What an Execute has at its data pointer. */
struct csd_exec {
	struct nvme_csd_range range[2];
	struct nvme_csd_exec exec;
};

/* Results as they are fetched. */
struct csd_results {
	struct nvme_csd_result head;
	struct blk_bpf_match match[RESULT_MATCHES];
};

/**
 * enum csd_step - where a piece is on its way
 * @STEP_PLANNED:   is to be filled, when there is a slot
 * @STEP_FILLING:   a copy, reads or a write are under way
 * @STEP_FILLED:    is to be executed
 * @STEP_EXECUTING: an Execute is under way
 * @STEP_EXECUTED:  its results are to be fetched
 * @STEP_FETCHING:  a Memory Read is under way
 * @STEP_DONE:      keeps its matches, for now it has no slot
 */
enum csd_step {
	STEP_PLANNED,
	STEP_FILLING,
	STEP_FILLED,
	STEP_EXECUTING,
	STEP_EXECUTED,
	STEP_FETCHING,
	STEP_DONE,
};

/**
 * struct csd_piece - a piece on a drive
 * @base:      what it is, and what was found
 * @node:      in csd_run.pieces, or of no use
 * @run:       it belongs to
 * @slot:      what it has of the drive, or NULL
 * @step:      where it is
 * @fill_off:  first unit that is, or will be, in the slot; from @base.off
 * @fill_len:  bytes of the units in the slot
 * @fill_pos:  position on the device of the first byte in the slot
 * @fill_bytes: bytes in the slot: whole blocks
 * @single:    a block cannot be read: unit by unit from now on
 * @begun:     @cursor before the Execute
 * @cursor:    where to go on, from @fill_off
 * @fetch:     matches that are fetched
 * @kept:      matches that were not handed out yet
 * @late:      Executes in a row that ran out of time in the first unit
 * @busy:      since when the drive takes no command for it, ktime_get_ns(); or 0
 * @whole:     the Execute began with the first unit of the slot
 */
struct csd_piece {
	struct blk_bpf_piece base;
	struct list_head node;
	struct csd_run *run;
	struct csd_slot *slot;
	enum csd_step step;
	u32 fill_off;
	u32 fill_len;
	u64 fill_pos;
	u32 fill_bytes;
	bool single;
	struct nvme_csd_cursor begun;
	struct nvme_csd_cursor cursor;
	u32 fetch;
	u32 kept;
	u32 late;
	u64 busy;
	bool whole;
};

/**
 * struct csd_slot - memory of the drive, and the commands for it
 * @node:    in csd_run.slots, while no piece has it
 * @piece:   that has it
 * @event:   in csd_run.events: its command, or all its reads, ended
 * @size:    bytes for data
 * @data:    where they are in the drive's memory
 * @results: where the results are
 * @p2p:     address of the data in this machine, if they are in the window
 * @host:    memory for data on their way, or NULL
 * @bvecs, @nr_bvecs: the same, for reads
 * @found:   results that were fetched
 * @exec:    for the Execute's data pointer
 * @copy:    for the Memory Copy's
 * @cmd:     the command that is under way
 * @aborted: the drive was told to abort it
 * @reads:   reads that are under way; @read_err: the first error of them
 * @iocb:    a read into @host
 * @written: bytes of @host that are on the drive; U32_MAX while it is read
 */
struct csd_slot {
	struct list_head node;
	struct csd_piece *piece;
	struct list_head event;
	u32 size;
	u64 data;
	u64 results;
	void *p2p;
	void *host;
	struct bio_vec *bvecs;
	u32 nr_bvecs;
	struct csd_results *found;
	struct csd_exec *exec;
	struct nvme_csd_copy_lba *copy;
	struct csd_cmd cmd;
	bool aborted;
	atomic_t reads;
	int read_err;
	struct kiocb iocb;
	u32 written;
};

/**
 * enum csd_way - how a device's data get into the drive's memory
 * @WAY_NEAR: by Memory Copy: it is a namespace of the drive
 * @WAY_PEER: by reads into the window
 * @WAY_HOST: by reads into host memory, and Memory Write
 */
enum csd_way {
	WAY_NEAR,
	WAY_PEER,
	WAY_HOST,
};

/**
 * struct csd_source - a device, as the drive sees it
 * @way:       how it is read
 * @nsid:      WAY_NEAR: the namespace
 * @lba_shift: likewise: of its blocks
 * @start:     likewise: position of the device in the namespace: a partition's
 * @plan:      the first unit that no piece has
 * @done:      all has been planned
 * @active:    pieces of it that are not DONE
 */
struct csd_source {
	enum csd_way way;
	u32 nsid;
	u8 lba_shift;
	u64 start;
	struct blk_bpf_place plan;
	bool done;
	u32 active;
};

/**
 * struct csd_run - a job on a drive
 * @base:     what it is
 * @drive:    where
 * @node:     in csd_drive.runs, during a call
 * @image:    parsed
 * @prog:     during a call
 * @values:   of the program's writable global variables, if the caller has none
 * @fresh:    room for them, until all have come back from the drive
 * @sources:  one for each device
 * @lock:     protects @events and @nr_out; irq-safe
 * @events:   slots whose commands ended
 * @nr_out:   slots with commands under way
 * @wait:     the scanning task, for events
 * @pieces:   in the order of the answer; @idle: of no use
 * @next:     where the next piece to be handed out begins
 * @handed:   that piece, until csd_put()
 * @slots:    that no piece has
 * @nr_slots: all that there are
 * @nr_pieces: in @pieces
 * @ahead:    matches that are kept of DONE pieces
 * @active:   pieces that are not DONE
 * @left:     bytes of units that no piece has
 * @slice:    bytes of units of the next piece
 * @executed: an Execute of this call was successful
 * @reloaded: when the program was loaded again in this call, or 0
 * @again:    the drive was too busy: something is to be tried again
 * @stopping: the call is about to return: begin nothing
 * @limit:    a piece there has an error, or stopped: begin nothing behind it
 * @ended:    when the last Execute ended
 */
struct csd_run {
	struct blk_bpf_job base;
	struct csd_drive *drive;
	struct list_head node;
	struct csd_image image;
	struct csd_program *prog;
	void *values;
	void *fresh;
	struct csd_source *sources;

	spinlock_t lock;
	struct list_head events;
	u32 nr_out;
	wait_queue_head_t wait;

	struct list_head pieces;
	struct list_head idle;
	struct blk_bpf_place next;
	struct csd_piece *handed;
	struct list_head slots;
	u32 nr_slots;
	u32 nr_pieces;
	u32 active;
	u64 ahead;
	u64 left;
	u32 slice;
	bool executed;
	bool again;
	bool stopping;
	struct blk_bpf_place limit;
	u64 reloaded;
	u64 ended;
};

static inline struct csd_run *to_csd_run(struct blk_bpf_job *job)
{
	return container_of(job, struct csd_run, base);
}

static inline struct csd_source *source_of(const struct csd_piece *piece)
{
	const struct blk_bpf_job *job = &piece->run->base;

	return &piece->run->sources[job->extents[piece->base.extent].dev];
}

/* One more piece that is not DONE, or one less. */
static inline void csd_piece_begins(struct csd_piece *piece)
{
	piece->run->active++;
	source_of(piece)->active++;
}

static inline void csd_piece_ends(struct csd_piece *piece)
{
	piece->run->active--;
	source_of(piece)->active--;
}

/* Position on the device of a byte of a piece. */
static inline u64 piece_pos(const struct csd_piece *piece, u32 off)
{
	const struct blk_bpf_job *job = &piece->run->base;

	return job->extents[piece->base.extent].off + piece->base.off + off;
}

static inline bool place_before(u32 extent, u64 off, const struct blk_bpf_place *b)
{
	return extent < b->extent || (extent == b->extent && off < b->off);
}

/* slot.c */
struct csd_slot *csd_slot_get(struct csd_run *run, enum csd_way way, u32 len);
u32 csd_slot_room(const struct csd_run *run, const struct csd_slot *slot);
void csd_slot_put(struct csd_run *run, struct csd_slot *slot);
void csd_slots_free(struct csd_run *run);
u32 csd_slots_wanted(const struct csd_run *run);
u32 csd_slice_limit(const struct csd_run *run, enum csd_way way);

/* source.c, peer.c */
int csd_sources_init(struct csd_run *run, struct blk_bpf_msg *msg);
int csd_fill(struct csd_piece *piece);
bool csd_fill_ended(struct csd_piece *piece);
#ifdef CONFIG_PCI_P2PDMA
bool csd_peer_possible(struct csd_drive *drive, struct block_device *bdev);
void *csd_peer_alloc(struct csd_drive *drive, u32 size, u64 *off);
void csd_peer_free(struct csd_drive *drive, void *mem, u32 size);
int csd_peer_read(struct csd_piece *piece);
#else
static inline bool csd_peer_possible(struct csd_drive *drive,
				     struct block_device *bdev)
{
	return false;
}

static inline void *csd_peer_alloc(struct csd_drive *drive, u32 size, u64 *off)
{
	return NULL;
}

static inline void csd_peer_free(struct csd_drive *drive, void *mem, u32 size)
{
}

static inline int csd_peer_read(struct csd_piece *piece)
{
	return -EOPNOTSUPP;
}
#endif

/* step.c */
void csd_event(struct csd_slot *slot);
void csd_step(struct csd_piece *piece);
void csd_slot_leave(struct csd_piece *piece);
void csd_slot_ended(struct csd_slot *slot);
__printf(3, 4)
void csd_piece_fail(struct csd_piece *piece, int err, const char *fmt, ...);
void csd_piece_fail_status(struct csd_piece *piece, u16 status, const char *what);
void csd_piece_again(struct csd_piece *piece, enum csd_step step);
void csd_limit(struct csd_piece *piece);
bool csd_send(struct csd_piece *piece, struct nvme_ns *ns, enum csd_step next);
struct nvme_command *csd_new_cmd(struct csd_slot *slot, u8 opcode, void *buf,
				 u32 len);

/* run.c */
int csd_give_globals(struct csd_run *run, struct blk_bpf_msg *msg);

/* result.c */
void csd_take_nothing(struct csd_piece *piece);
bool csd_take_results(struct csd_piece *piece);

#endif /* NVME_CSD_RUN_H */
