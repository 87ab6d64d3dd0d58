/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * blk_bpf: BPF-programmable block devices, the kernel ABI.
 *
 * What a program sees (struct blk_bpf_ctx and the return codes) is the same on
 * every target; the ioctls below belong to the control device /dev/blk_bpf.
 *
 * Rules of this file: sizes and positions are in bytes; every struct that
 * crosses the border begins with its own size, so that it can grow at its end;
 * unknown flags, reserved fields that are not zero, and non-zero bytes beyond
 * what the kernel knows are refused. A caller that knows less than the kernel
 * gives the smaller size, and means 0 in every field that it does not know.
 */
#ifndef _UAPI_LINUX_BLK_BPF_H
#define _UAPI_LINUX_BLK_BPF_H

#ifndef __bpf__
#include <linux/types.h>
#include <linux/ioctl.h>
#endif

/*
 * The program contract
 */

#define BLK_BPF_NR_ARGS		4
#define BLK_BPF_NR_STATE	4
#define BLK_BPF_NR_HINTS	4
#define BLK_BPF_NAME_LEN	16

#define BLK_BPF_UNIT_DEFAULT	4096U
/* The verifier follows a packet pointer for 65,535 bytes. */
#define BLK_BPF_UNIT_MAX	32768U
#define BLK_BPF_OVERLAP_MAX	4096U
/* An attached program's unit is a power of two of at least this. */
#define BLK_BPF_UNIT_MIN_ATTACH	512U
/* The most matches that one call may emit; more is an error of the program. */
#define BLK_BPF_EMIT_MAX	65536U

/**
 * enum blk_bpf_ret - what a filter returns
 * @BLK_BPF_SKIP:  nothing to add to what was emitted
 * @BLK_BPF_MATCH: the whole unit is a match
 * @BLK_BPF_STOP:  as SKIP, and do not call again: the scan ends after this
 *		   unit; on live I/O the rest of this bio is left alone
 *
 * Or a negative errno. It ends a scan with that error. On live I/O it fails
 * the bio if the program was attached with BLK_BPF_ATTACH_MAY_FAIL and the
 * errno is one of BLK_BPF_FAIL_*; else it is refused and counted. Any other
 * value is refused: it ends a scan, and ejects an attached program.
 */
enum blk_bpf_ret {
	BLK_BPF_SKIP	= 0,
	BLK_BPF_MATCH	= 1,
	BLK_BPF_STOP	= 2,
};

/*
 * The errors that a program may give a bio: those that have no private meaning
 * between layers of the block stack (-ENODATA, -EILSEQ, -EREMOTEIO).
 */
#define BLK_BPF_FAIL_MEDIUM	(-61)
#define BLK_BPF_FAIL_PROTECTION	(-84)
#define BLK_BPF_FAIL_TARGET	(-121)

/* enum blk_bpf_op - what the bio does; a scan always reads */
enum blk_bpf_op {
	BLK_BPF_OP_READ		= 0,
	BLK_BPF_OP_WRITE	= 1,
	BLK_BPF_OP_FLUSH	= 2,
	BLK_BPF_OP_DISCARD	= 3,
	BLK_BPF_OP_WRITE_ZEROES	= 4,
	BLK_BPF_OP_ZONE		= 5,
	BLK_BPF_OP_OTHER	= 6,
};

/* blk_bpf_ctx.flags */
/* @len is less than @unit: the last piece of a range, or a cut one of a bio. */
#define BLK_BPF_F_SHORT		(1U << 0)
/* Fewer bytes than the program's overlap follow the unit. */
#define BLK_BPF_F_EDGE		(1U << 1)
/* Called for a live bio, not for a scan. */
#define BLK_BPF_F_LIVE		(1U << 2)
/* No data comes with this call: data == data_end. */
#define BLK_BPF_F_NODATA	(1U << 3)

/**
 * struct blk_bpf_ctx - what a program is told about the unit it is called for
 * @size:  bytes of this struct that are valid
 * @op:    enum blk_bpf_op
 * @pos:   position of the unit's first byte on the device (bytes)
 * @len:   bytes that this call is responsible for; data_end - data may be more,
 *	   by up to the program's overlap
 * @unit:  the unit that was asked for; @len is less only with BLK_BPF_F_SHORT
 * @flags: BLK_BPF_F_*
 * @pad:   zero
 * @args:  the arguments given with the scan or the attachment
 * @state: four words that the program may write; zero when a call begins
 * @hints: what a device says about the unit; zero where it says nothing
 *
 * Read-only but for @state. It grows at its end only.
 */
struct blk_bpf_ctx {
	__u32 size;
	__u32 op;
	__u64 pos;
	__u32 len;
	__u32 unit;
	__u32 flags;
	__u32 pad;
	__u64 args[BLK_BPF_NR_ARGS];
	__u64 state[BLK_BPF_NR_STATE];
	__u64 hints[BLK_BPF_NR_HINTS];
};

/**
 * struct blk_bpf_match - a range of the device that a program chose
 * @pos:   first byte (bytes from the start of the scanned device)
 * @len:   length in bytes, at least 1
 * @dev:   which of the scanned devices: 0 with one
 */
struct blk_bpf_match {
	__u64 pos;
	__u32 len;
	__u32 dev;
};

#ifndef __bpf__

/*
 * The control device
 */

#define BLK_BPF_DEVICE		"/dev/blk_bpf"
#define BLK_BPF_ABI_VERSION	1U
/* Long enough for every sentence; a shorter buffer gets a shortened one. */
#define BLK_BPF_MSG_MAX		512U

/**
 * struct blk_bpf_hdr - the beginning of every ioctl's argument
 * @size:    sizeof the whole struct, as the caller was compiled with it
 * @flags:   the ioctl's flags
 * @msg:     buffer that receives a NUL-terminated sentence when the ioctl is
 *	     refused (a user pointer), or 0
 * @msg_len: size of that buffer in bytes
 * @pad:     zero
 */
struct blk_bpf_hdr {
	__u32 size;
	__u32 flags;
	__u64 msg;
	__u32 msg_len;
	__u32 pad;
};

/* blk_bpf_features.features */
#define BLK_BPF_FEAT_SCAN	(1ULL << 0)	/* BLK_BPF_IOC_SCAN, kernel target */
#define BLK_BPF_FEAT_ATTACH	(1ULL << 1)	/* BLK_BPF_IOC_ATTACH works here */
#define BLK_BPF_FEAT_OVERLAP	(1ULL << 2)	/* blk_bpf_ops.overlap */
#define BLK_BPF_FEAT_FAIL	(1ULL << 3)	/* BLK_BPF_ATTACH_MAY_FAIL */
#define BLK_BPF_FEAT_STREAM	(1ULL << 4)	/* BLK_BPF_IOC_STREAM */
#define BLK_BPF_FEAT_BUDGET	(1ULL << 5)	/* blk_bpf_attach.budget_ns */
#define BLK_BPF_FEAT_TARGET	(1ULL << 6)	/* blk_bpf_scan.target and what follows */

/**
 * struct blk_bpf_features - BLK_BPF_IOC_FEATURES: what this kernel can do
 * @hdr:          in: flags must be 0
 * @abi:          out: BLK_BPF_ABI_VERSION
 * @ctx_size:     out: sizeof(struct blk_bpf_ctx) of the running module
 * @features:     out: BLK_BPF_FEAT_*
 * @scan_flags:   out: the BLK_BPF_SCAN_* that are known
 * @attach_flags: out: the BLK_BPF_ATTACH_* that are known
 * @unit_max:     out: largest unit (bytes)
 * @overlap_max:  out: largest overlap (bytes)
 * @threads_max:  out: most CPUs that one scan can use
 * @pad:          zero
 */
struct blk_bpf_features {
	struct blk_bpf_hdr hdr;
	__u32 abi;
	__u32 ctx_size;
	__u64 features;
	__u32 scan_flags;
	__u32 attach_flags;
	__u32 unit_max;
	__u32 overlap_max;
	__u32 threads_max;
	__u32 pad;
};

/**
 * struct blk_bpf_last_msg - BLK_BPF_IOC_LAST_MSG: why bpf(2) just refused
 * @hdr: msg receives the last sentence that blk_bpf had for the calling thread
 *
 * For the steps of loading and linking a program that have no log of their own.
 * Reading it clears it. Returns 0, or -ENOMSG if there is none.
 */
struct blk_bpf_last_msg {
	struct blk_bpf_hdr hdr;
};

/* blk_bpf_attach.hdr.flags, also reported in blk_bpf_attachment.flags */
/* The program may fail a bio. It then gets a copy of the data. */
#define BLK_BPF_ATTACH_MAY_FAIL	(1U << 0)
/* Call for writes too, without data. */
#define BLK_BPF_ATTACH_WRITES	(1U << 1)
/* Call for everything else too (flush, discard, zone commands), without data. */
#define BLK_BPF_ATTACH_OTHERS	(1U << 2)
/* Do not call for reads. */
#define BLK_BPF_ATTACH_NO_READS	(1U << 3)

/* blk_bpf_attach.budget_ns */
#define BLK_BPF_BUDGET_DEFAULT	1000000ULL	/* 1 ms: what 0 stands for */
#define BLK_BPF_BUDGET_MAX	10000000000ULL	/* 10 s: the most, but for: */
#define BLK_BPF_BUDGET_NONE	(~0ULL)		/* as long as it takes */
/* How far a program may be behind its budget. */
#define BLK_BPF_BUDGET_SLACK_NS	1000000000ULL	/* 1 s */

/**
 * struct blk_bpf_attach - BLK_BPF_IOC_ATTACH: run a program on live I/O
 * @hdr:      flags: BLK_BPF_ATTACH_*
 * @link_fd:  a bpf_link of a blk_bpf_ops map; the attachment lives exactly as
 *	      long as this link, and a link has one attachment
 * @dev_fd:   the block device, whole or partition, opened in any mode
 * @priority: programs of a device run by rising priority, and in the order of
 *	      attaching within one
 * @id:       out: names the attachment; not used again while the module is loaded
 * @args:     handed to the program in blk_bpf_ctx.args
 * @budget_ns: the time that a call may take (nanoseconds): up to
 *	      BLK_BPF_BUDGET_MAX, 0 for BLK_BPF_BUDGET_DEFAULT, or
 *	      BLK_BPF_BUDGET_NONE
 *
 * A program whose calls have taken BLK_BPF_BUDGET_SLACK_NS more than their
 * budget, on one CPU and in one kind of context, is ejected. A call that took
 * less makes up for one that took more, until nothing is owed: so an interrupt,
 * or a CPU that a hypervisor took away, ejects nobody. A call is not cut short;
 * what it may do is bounded by the verifier.
 *
 * In effect for bios that are submitted after the ioctl returned. A bio of a
 * whole disk and one of a partition are both seen by an attachment to the disk.
 *
 * Needs CAP_SYS_ADMIN. Returns 0 or: -EPERM; -EINVAL for flags, link or unit;
 * -ENOTBLK if dev_fd is no block device; -EOPNOTSUPP for a hidden path disk;
 * -EBUSY if the link is attached; -ENODEV if the device is going away; -ENOSPC
 * after 4,294,967,294 attachments; -ENOMEM.
 */
struct blk_bpf_attach {
	struct blk_bpf_hdr hdr;
	__s32 link_fd;
	__s32 dev_fd;
	__s32 priority;
	__u32 id;
	__u64 args[BLK_BPF_NR_ARGS];
	__u64 budget_ns;
};

/* blk_bpf_attachment.state */
enum blk_bpf_attach_state {
	BLK_BPF_STATE_LIVE	= 0,
	BLK_BPF_STATE_EJECTED	= 1,	/* misbehaved: see @exit and @reason */
	BLK_BPF_STATE_GONE	= 2,	/* the device was removed */
};

/* blk_bpf_attachment.exit: why a program was ejected */
enum blk_bpf_exit {
	BLK_BPF_EXIT_NONE	= 0,	/* it was not */
	BLK_BPF_EXIT_RETURN	= 1,	/* it returned what no program may */
	BLK_BPF_EXIT_BUDGET	= 2,	/* it took longer than its budget */
};

/**
 * struct blk_bpf_attachment - one attachment and its counters
 * @id:        as given by BLK_BPF_IOC_ATTACH
 * @flags:     BLK_BPF_ATTACH_*
 * @state:     enum blk_bpf_attach_state
 * @priority:  as given
 * @dev_major: the device
 * @dev_minor: the device
 * @link_id:   of the bpf_link
 * @map_id:    of the struct_ops map, 0 while a link is being replaced
 * @unit:      of the program
 * @overlap:   of the program
 * @args:      as given
 * @runs:      calls of the program
 * @bios:      bios that were presented
 * @bytes:     bytes that were presented
 * @matches:   matches it emitted or returned
 * @partial:   calls for less than a whole unit, because a bio began or ended
 *	       inside one
 * @failed:    bios it failed
 * @refused:   errnos it returned without the right to, or of a wrong kind
 * @missed:    bios that could not be presented: BLK_BPF_IOC_MISSED has where
 * @time_ns:   time spent presenting, in nanoseconds
 * @name:      blk_bpf_ops.name
 * @disk:      name of the block device
 * @reason:    why it was ejected, a sentence; else empty
 * @budget_ns: in effect, never 0
 * @exit:      enum blk_bpf_exit; what follows is 0 with BLK_BPF_EXIT_NONE
 * @exit_op:   enum blk_bpf_op of the bio it was called for last
 * @exit_value: BLK_BPF_EXIT_RETURN: what it returned; BLK_BPF_EXIT_BUDGET: how
 *	       long it was at that bio (nanoseconds)
 * @exit_pos:  position of the unit it was called for last
 * @exit_len:  length of that unit
 * @exit_time_ns: when, CLOCK_MONOTONIC
 */
struct blk_bpf_attachment {
	__u32 id;
	__u32 flags;
	__u32 state;
	__s32 priority;
	__u32 dev_major;
	__u32 dev_minor;
	__u32 link_id;
	__u32 map_id;
	__u32 unit;
	__u32 overlap;
	__u64 args[BLK_BPF_NR_ARGS];
	__u64 runs;
	__u64 bios;
	__u64 bytes;
	__u64 matches;
	__u64 partial;
	__u64 failed;
	__u64 refused;
	__u64 missed;
	__u64 time_ns;
	char name[BLK_BPF_NAME_LEN];
	char disk[32];
	char reason[128];
	__u64 budget_ns;
	__u32 exit;
	__u32 exit_op;
	__s64 exit_value;
	__u64 exit_pos;
	__u64 exit_len;
	__u64 exit_time_ns;
};

/**
 * struct blk_bpf_list - BLK_BPF_IOC_LIST: the attachments
 * @hdr:        flags must be 0
 * @start:      report attachments with an id of at least this
 * @entry_size: sizeof(struct blk_bpf_attachment), as the caller knows it; what
 *		the kernel does not know of it is set to zero
 * @entries:    user pointer to an array of @nr entries
 * @nr:         in: room; out: entries written, in order of id
 * @total:      out: attachments with an id of at least @start
 *
 * Needs CAP_SYS_ADMIN.
 */
struct blk_bpf_list {
	struct blk_bpf_hdr hdr;
	__u32 start;
	__u32 entry_size;
	__u64 entries;
	__u32 nr;
	__u32 total;
};

/* An extent of a device, or a range to scan (bytes). */
struct blk_bpf_range {
	__u64 off;
	__u64 len;
};

/**
 * struct blk_bpf_missed - BLK_BPF_IOC_MISSED: what an attachment did not see
 * @hdr:     flags must be 0
 * @id:      the attachment
 * @nr:      in: room in @extents; out: extents written
 * @extents: user pointer to an array of struct blk_bpf_range
 * @total:   out: extents there are
 * @pad:     zero
 *
 * Extents are in device order and cover everything that was missed; when there
 * are too many to keep, neighbours are joined, so that they may cover more.
 * Needs CAP_SYS_ADMIN. -ENOENT if there is no such attachment.
 */
struct blk_bpf_missed {
	struct blk_bpf_hdr hdr;
	__u32 id;
	__u32 nr;
	__u64 extents;
	__u32 total;
	__u32 pad;
};

/* blk_bpf_event.type */
enum blk_bpf_event_type {
	BLK_BPF_EVENT_MATCH	= 0,	/* @pos, @len: what the program chose */
	BLK_BPF_EVENT_FAILED	= 1,	/* @pos, @len: the bio, @value: errno */
	BLK_BPF_EVENT_MISSED	= 2,	/* @pos, @len: the bio */
	BLK_BPF_EVENT_LOST	= 3,	/* @value: events the reader was too slow for */
	BLK_BPF_EVENT_EJECTED	= 4,	/* @pos, @len: the unit, @value: see below */
	BLK_BPF_EVENT_END	= 5,	/* the attachment or its device is gone */
};

/**
 * struct blk_bpf_event - what read() on a stream returns, any number at a time
 * @time_ns: CLOCK_MONOTONIC
 * @pos:     bytes
 * @len:     bytes; 0 if it is of a bio that has none, as a flush
 * @type:    enum blk_bpf_event_type
 * @op:      enum blk_bpf_op
 * @value:   depends on @type; of BLK_BPF_EVENT_EJECTED: what the program
 *	     returned, or -ETIME if it took longer than its budget
 */
struct blk_bpf_event {
	__u64 time_ns;
	__u64 pos;
	__u32 len;
	__u16 type;
	__u16 op;
	__s64 value;
};

/**
 * struct blk_bpf_stream - BLK_BPF_IOC_STREAM: follow an attachment
 * @hdr:     flags must be 0
 * @id:      the attachment
 * @entries: events to buffer, rounded up to a power of two; 0 for 4096
 * @fd:      out: a file (O_CLOEXEC): read() gives struct blk_bpf_event, blocks
 *	     while there are none, and returns 0 after BLK_BPF_EVENT_END;
 *	     poll() works; O_NONBLOCK can be set with fcntl()
 * @pad:     zero
 *
 * Needs CAP_SYS_ADMIN. -ENOENT if there is no such attachment, -EINVAL for more
 * than 1,048,576 entries.
 */
struct blk_bpf_stream {
	struct blk_bpf_hdr hdr;
	__u32 id;
	__u32 entries;
	__s32 fd;
	__u32 pad;
};

/* blk_bpf_scan.hdr.flags */
/* Count the matches and return none. */
#define BLK_BPF_SCAN_COUNT	(1U << 0)
/* Copy the bytes of every match to @data, one after the other. */
#define BLK_BPF_SCAN_DATA	(1U << 1)

/* blk_bpf_scan.status: why a scan returned */
enum blk_bpf_scan_status {
	BLK_BPF_SCAN_DONE	 = 0,	/* all ranges */
	BLK_BPF_SCAN_FULL	 = 1,	/* no room for the next match */
	BLK_BPF_SCAN_STOPPED	 = 2,	/* the program returned BLK_BPF_STOP */
	BLK_BPF_SCAN_INTERRUPTED = 3,	/* a signal, the freezer's too */
};

/**
 * struct blk_bpf_cursor - where a scan goes on; all zero: at the beginning
 * @pos:    first byte that is not done yet, from the start of its range
 * @range:  index of the range; with several devices the ranges of the first come
 *	    first, then those of the second, and so on
 * @skip:   matches of the unit at @pos that were returned already
 * @cookie: names results that the file keeps for the next call, or 0
 *
 * On the file that returned it, a cursor goes on exactly where the last call
 * ended: no unit is run twice. On another file, or after another scan on this
 * one, the matches are the same, but units that had been run ahead are run
 * again, which a program's global variables show.
 */
struct blk_bpf_cursor {
	__u64 pos;
	__u32 range;
	__u32 skip;
	__u64 cookie;
};

/**
 * struct blk_bpf_scan_stats - what a call to BLK_BPF_IOC_SCAN did
 * @bytes_read:    bytes read from the device
 * @bytes_scanned: bytes of the ranges that programs have seen
 * @units:         calls of the program
 * @matches:       matches found, with BLK_BPF_SCAN_COUNT too
 * @prog_ns:       time in the program, summed over CPUs, in nanoseconds
 * @time_ns:       time in the call, in nanoseconds
 * @reads:         read requests
 * @threads:       CPUs used
 * @pad:           zero
 */
struct blk_bpf_scan_stats {
	__u64 bytes_read;
	__u64 bytes_scanned;
	__u64 units;
	__u64 matches;
	__u64 prog_ns;
	__u64 time_ns;
	__u64 reads;
	__u32 threads;
	__u32 pad;
};

#define BLK_BPF_TARGET_LEN	16
/* The most devices of one scan. */
#define BLK_BPF_DEVS_MAX	64U
/* The most ranges of one scan, counted once for each device. */
#define BLK_BPF_RANGES_MAX	1048576U

/* blk_bpf_scan_path.path: which way the data went, bits */
#define BLK_BPF_PATH_KERNEL	(1U << 0)	/* into this kernel */
#define BLK_BPF_PATH_NEAR	(1U << 1)	/* from the drive's media to its memory */
#define BLK_BPF_PATH_PEER	(1U << 2)	/* from a peer to the drive's memory */
#define BLK_BPF_PATH_HOST	(1U << 3)	/* through host memory to the drive's */

/**
 * struct blk_bpf_scan_path - what a call cost beside the reading of the device
 * @path:          BLK_BPF_PATH_*
 * @loads:         programs that were downloaded to the target
 * @link_to_drive: bytes that crossed the host's link to the drive: commands and
 *		   their data
 * @link_to_host:  bytes that came back: data and completions
 * @link_data:     scanned data in both of these (bytes)
 * @commands:      commands to the drive
 * @insns:         BPF instructions that the drive says it executed
 * @drive_ns:      time that the drive took for programs, as seen from the host,
 *		   in nanoseconds
 * @cpu_ns:        CPU time of the calling task in the call, in nanoseconds
 *
 * On the kernel target all but @path and @cpu_ns are 0.
 */
struct blk_bpf_scan_path {
	__u32 path;
	__u32 loads;
	__u64 link_to_drive;
	__u64 link_to_host;
	__u64 link_data;
	__u64 commands;
	__u64 insns;
	__u64 drive_ns;
	__u64 cpu_ns;
};

/**
 * struct blk_bpf_scan - BLK_BPF_IOC_SCAN: run a program over block devices
 * @hdr:         flags: BLK_BPF_SCAN_*
 * @prog_fd:     struct_ops map of type blk_bpf_ops, loaded and updated
 * @dev_fd:      block device, opened for reading
 * @unit:        bytes a call, any size up to BLK_BPF_UNIT_MAX; 0: the program's
 * @threads:     most CPUs to use; 0: the kernel chooses, 1: the caller alone; not
 *		 looked at by a call that goes on with the scan that the file keeps
 * @ranges:      user pointer to an array of struct blk_bpf_range, or 0
 * @nr_ranges:   its length; 0: the whole device; times the number of devices, at
 *		 most BLK_BPF_RANGES_MAX
 * @max_matches: room in @matches
 * @args:        handed to the program in blk_bpf_ctx.args
 * @matches:     user pointer to an array of struct blk_bpf_match
 * @data:        user pointer, with BLK_BPF_SCAN_DATA
 * @data_len:    its size in bytes
 * @cursor:      in: where to begin; out: where to go on
 * @nr_matches:  out: records written, in the order of ranges and positions
 * @status:      out: enum blk_bpf_scan_status
 * @data_used:   out: bytes written to @data
 * @stats:       out: of this call
 * @target:      where to run: "" or "kernel", or the name of a drive in
 *		 /sys/class/csd, NUL-terminated
 * @devs:        user pointer to an array of __s32: the devices to scan, in this
 *		 order, in place of @dev_fd, which is -1 then; or 0
 * @nr_devs:     its length, at most BLK_BPF_DEVS_MAX
 * @image_len:   bytes of @image
 * @image:       user pointer to the same program as a struct nvme_csd_image, for
 *		 a drive; else 0
 * @globals:     user pointer to the program's writable global variables, those
 *		 of the image in its order and without gaps; in: their values, out:
 *		 their values at the end of the call; or 0: those of the image
 * @globals_len: bytes of @globals, 0 or the sum of their sizes
 * @pad:         zero
 * @path:        out: which way the data went, and what crossed the link
 *
 * Units are laid from the start of each range; the last of a range may be
 * short. Ranges need no alignment. Data is read as by O_DIRECT: what is dirty
 * in the device's own page cache is written back first, what is dirty in a
 * mounted file system is not seen.
 *
 * All output fields are written also when an error is returned, so that
 * nothing found is lost: @cursor then names the unit that could not be done.
 *
 * Of several devices each is scanned by the same ranges, one after the other in
 * the order of the answer, and blk_bpf_match.dev tells them apart.
 *
 * A drive takes CAP_SYS_ADMIN, as whatever else gives commands to it.
 *
 * Returns 0 or: -EINVAL (ranges, unit, flags, program), -EBADF, -ENOTBLK,
 * -EACCES (device not opened for reading), -EFAULT, -ENOMEM, -EOVERFLOW (a match
 * longer than @data), -EPROTO (the program returned nonsense), an error of the
 * device, or the negative errno that the program returned. Of a drive also: -ENOENT
 * (there is none of that name), -EPERM, -ENOEXEC (it refuses the program), -EBUSY
 * (no room for it, or it has too much to do), -EOPNOTSUPP (it cannot scan this
 * device), -ENODEV (it was removed), -ENOTRECOVERABLE (it was reset), -ETIMEDOUT
 * (it does not answer, or the program takes too long), -EBADMSG (it contradicts
 * itself), -EINTR (the task was killed while the program was sent), -EREMOTEIO
 * (another error of the drive's).
 */
struct blk_bpf_scan {
	struct blk_bpf_hdr hdr;
	__s32 prog_fd;
	__s32 dev_fd;
	__u32 unit;
	__u32 threads;
	__u64 ranges;
	__u32 nr_ranges;
	__u32 max_matches;
	__u64 args[BLK_BPF_NR_ARGS];
	__u64 matches;
	__u64 data;
	__u64 data_len;
	struct blk_bpf_cursor cursor;
	__u32 nr_matches;
	__u32 status;
	__u64 data_used;
	struct blk_bpf_scan_stats stats;
	char target[BLK_BPF_TARGET_LEN];
	__u64 devs;
	__u32 nr_devs;
	__u32 image_len;
	__u64 image;
	__u64 globals;
	__u32 globals_len;
	__u32 pad;
	struct blk_bpf_scan_path path;
};

/**
 * struct blk_bpf_drain - BLK_BPF_IOC_DRAIN: wait until what was detached is gone
 * @hdr: flags must be 0
 *
 * Detaching itself waits for nothing: it may be done by who has to complete the
 * I/O. When this returns 0, no program whose attachment ended before the call
 * runs any more, and the bios of disks that lost their last attachment before
 * it have all come back.
 *
 * Needs CAP_SYS_ADMIN. -EINTR if the waiting task is killed.
 */
struct blk_bpf_drain {
	struct blk_bpf_hdr hdr;
};

#define BLK_BPF_IOC_MAGIC	0xBF
#define BLK_BPF_IOC_FEATURES	_IOWR(BLK_BPF_IOC_MAGIC, 0x00, struct blk_bpf_features)
#define BLK_BPF_IOC_LAST_MSG	_IOWR(BLK_BPF_IOC_MAGIC, 0x01, struct blk_bpf_last_msg)
#define BLK_BPF_IOC_ATTACH	_IOWR(BLK_BPF_IOC_MAGIC, 0x02, struct blk_bpf_attach)
#define BLK_BPF_IOC_LIST	_IOWR(BLK_BPF_IOC_MAGIC, 0x03, struct blk_bpf_list)
#define BLK_BPF_IOC_MISSED	_IOWR(BLK_BPF_IOC_MAGIC, 0x04, struct blk_bpf_missed)
#define BLK_BPF_IOC_STREAM	_IOWR(BLK_BPF_IOC_MAGIC, 0x05, struct blk_bpf_stream)
#define BLK_BPF_IOC_SCAN	_IOWR(BLK_BPF_IOC_MAGIC, 0x06, struct blk_bpf_scan)
#define BLK_BPF_IOC_DRAIN	_IOWR(BLK_BPF_IOC_MAGIC, 0x07, struct blk_bpf_drain)

#endif /* !__bpf__ */

#endif /* _UAPI_LINUX_BLK_BPF_H */
