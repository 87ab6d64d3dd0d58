/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The wire format of computational NVMe drives: the Subsystem Local Memory (SLM)
 * and Computational Programs (CP) command sets as blkbpf's drive and its host
 * speak them. Included by both sides, and by tests.
 *
 * What is standard and what is not. The base specification fixes the command
 * set identifiers, the admin opcodes, the status codes and the log identifiers
 * (NVM Express Base 2.3, 4.2.3.2, 5.1, 5.2). The layouts of the two command sets
 * are those that public implementations agree on; where they disagree or only
 * one is known, the name below says PROVISIONAL, and NVME_CSD_LAYOUT changes if
 * the value does. What is ours is in the ranges for vendors and says VENDOR.
 *
 * All fields are little-endian. Sizes and offsets are in bytes unless a name
 * says otherwise; counts are plain counts unless they say "0's based". Reserved
 * fields are zero; a drive refuses others with Invalid Field in Command.
 */
#ifndef _UAPI_LINUX_NVME_CSD_H
#define _UAPI_LINUX_NVME_CSD_H

#include <linux/types.h>

/* Changes whenever a PROVISIONAL or VENDOR layout of this file does. */
#define NVME_CSD_LAYOUT			1U
/* The contract of programs: struct blk_bpf_ctx, args[3], helper numbers. */
#define NVME_CSD_EBPF_ABI		1U

/*
 * Command sets
 */

#define NVME_CSD_CSI_SLM		0x03
#define NVME_CSD_CSI_CP			0x04

/*
 * Opcodes
 */

/* Admin, interpreted by the command set of the NSID: a CP namespace's. */
#define NVME_CSD_ADMIN_LOAD		0x85	/* Load Program, host to drive */
#define NVME_CSD_ADMIN_ACTIVATE		0x88	/* Program Activation Management */
#define NVME_CSD_ADMIN_RANGE_SET	0x89	/* Memory Range Set Management */

/*
 * VENDOR: the same three commands, for a path that does not let the standard
 * numbers through (the Linux NVMe target's passthrough does not). Bits 1:0 say
 * the direction of the data.
 */
#define NVME_CSD_ADMIN_LOAD_ALIAS	0xc1
#define NVME_CSD_ADMIN_ACTIVATE_ALIAS	0xc4
#define NVME_CSD_ADMIN_RANGE_SET_ALIAS	0xc9

/* I/O commands of a CP namespace. */
#define NVME_CSD_CP_EXECUTE		0x01	/* host to drive; DLEN in CDW4 */
/*
 * VENDOR: Execute with DLEN in CDW14, as CDW4 cannot be set from user space on
 * Linux; and access to the global variables of a loaded program.
 */
#define NVME_CSD_CP_EXECUTE_DLEN	0x81
#define NVME_CSD_CP_GLOBALS_READ	0x82
#define NVME_CSD_CP_GLOBALS_WRITE	0x85

/* I/O commands of an SLM namespace. */
#define NVME_CSD_SLM_COPY		0x01	/* into this namespace */
#define NVME_CSD_SLM_READ		0x02
#define NVME_CSD_SLM_FILL		0x04	/* PROVISIONAL: others use 00h, which is Flush */
#define NVME_CSD_SLM_WRITE		0x05

/*
 * Load Program: CDW10 PIND, PTYPE, SEL, PIT; CDW11 PSIZE, bytes of the whole
 * program; CDW12-13 PID; CDW14 NUMB, bytes in this command; CDW15 LOFF, offset of
 * this chunk. A program is sent in order, from LOFF 0; when its last byte has
 * come it is verified, and the command that brought that byte says how it went.
 * Unload has SEL set and no data.
 */
#define NVME_CSD_LOAD_PIND(dw10)	((dw10) & 0xffff)
#define NVME_CSD_LOAD_PTYPE(dw10)	(((dw10) >> 16) & 0xff)
#define NVME_CSD_LOAD_SEL_UNLOAD	(1U << 24)
#define NVME_CSD_LOAD_PIT(dw10)		(((dw10) >> 25) & 0x7)
#define NVME_CSD_LOAD_RSVD		0xf0000000U
#define NVME_CSD_PIT_NONE		0
#define NVME_CSD_PIT_PUID		1

/* PROVISIONAL: indices of programs begin at 1, as those of range sets do. */
#define NVME_CSD_PIND_FIRST		1

/* VENDOR: the type of a program in the form of struct nvme_csd_image. */
#define NVME_CSD_PTYPE_EBPF		0xc0

/* Program Activation Management: CDW10 PIND and SEL. PROVISIONAL: 1 activates. */
#define NVME_CSD_ACTIVATE_PIND(dw10)	((dw10) & 0xffff)
#define NVME_CSD_ACTIVATE_SEL(dw10)	(((dw10) >> 16) & 0xf)
#define NVME_CSD_ACTIVATE_RSVD		0xfff00000U
#define NVME_CSD_DEACTIVATE		0
#define NVME_CSD_ACTIVATE		1

/* Memory Range Set Management: CDW10 SEL, RSID; CDW11 NUMR. */
#define NVME_CSD_RANGE_SET_SEL(dw10)	((dw10) & 0xf)
#define NVME_CSD_RANGE_SET_RSID(dw10)	((dw10) >> 16)
#define NVME_CSD_RANGE_SET_RSVD		0x0000fff0U
#define NVME_CSD_RANGE_SET_NUMR(dw11)	((dw11) & 0xff)
#define NVME_CSD_RANGE_SET_CREATE	0
#define NVME_CSD_RANGE_SET_DELETE	1

/**
 * struct nvme_csd_range - a memory range descriptor
 * @nsid: an SLM namespace
 * @len:  bytes, a multiple of 4, at least 4
 * @off:  first byte, a multiple of 4
 * @rsvd: zero
 */
struct nvme_csd_range {
	__le32 nsid;
	__le32 len;
	__le64 off;
	__u8 rsvd[16];
};

/*
 * SLM Read, Write, Fill: CDW10-11 first byte, CDW12 length (bytes); multiples of
 * 4. Memory Copy: CDW2-3 length in all, CDW10-11 first byte of the destination,
 * CDW12 NR (PROVISIONAL: 0's based) and the format of the source descriptors at
 * the data pointer. NVM Copy with format 4h goes the other way: from SLM to LBAs.
 */
#define NVME_CSD_COPY_NR(dw12)		(((dw12) & 0xff) + 1)
#define NVME_CSD_COPY_FORMAT(dw12)	(((dw12) >> 8) & 0xf)
#define NVME_CSD_COPY_RSVD		0xfffff000U
#define NVME_CSD_COPY_LBA		0x2	/* struct nvme_csd_copy_lba */
#define NVME_CSD_COPY_LBA_LONG		0x3	/* struct nvme_csd_copy_lba_long */
#define NVME_CSD_COPY_BYTES		0x4	/* struct nvme_csd_copy_bytes */
/* Source options: only by a fast copy. */
#define NVME_CSD_COPY_FCO		(1U << 15)

/* Format 2h: @nlb is 0's based; the rest is for end-to-end protection. */
struct nvme_csd_copy_lba {
	__le32 nsid;
	__u8 rsvd4[4];
	__le64 slba;
	__le16 nlb;
	__u8 cetype;
	__u8 rsvd19;
	__le16 cev;
	__le16 sopt;
	__u8 elbrt[4];
	__le16 elbat;
	__le16 elbatm;
};

/* Format 3h. */
struct nvme_csd_copy_lba_long {
	__le32 nsid;
	__u8 rsvd4[4];
	__le64 slba;
	__le16 nlb;
	__u8 cetype;
	__u8 rsvd19;
	__le16 cev;
	__le16 sopt;
	__u8 rsvd24[2];
	__u8 elbt[10];
	__le16 elbat;
	__le16 elbatm;
};

/* Format 4h. */
struct nvme_csd_copy_bytes {
	__le32 nsid;
	__u8 rsvd4[4];
	__le64 off;
	__le32 len;
	__u8 rsvd20[2];
	__le16 sopt;
	__u8 rsvd24[8];
};

/*
 * Execute Program: CDW2 PIND and RSID; CDW3 NUMR, ranges that the data begin with
 * (with RSID 0); CDW4 DLEN, bytes at the data pointer; CDW10-11, CDW12-13 the two
 * parameters. CQE DW0-1 is what the program returned.
 *
 * For programs of NVME_CSD_PTYPE_EBPF the data, after the ranges, are a struct
 * nvme_csd_exec (VENDOR). Without one the program is called once (NVME_CSD_CALL)
 * for the bytes of the first range, with the two parameters in ctx->args[0..1];
 * if there is a second range it receives the results.
 */
#define NVME_CSD_EXECUTE_PIND(dw2)	((dw2) & 0xffff)
#define NVME_CSD_EXECUTE_RSID(dw2)	((dw2) >> 16)

/* struct nvme_csd_exec.mode */
#define NVME_CSD_CALL			0	/* one call for all the bytes */
#define NVME_CSD_SCAN			1	/* a call for every unit of them */

/* struct nvme_csd_exec.flags: count the matches and return none */
#define NVME_CSD_EXEC_COUNT		(1U << 0)

#define NVME_CSD_NO_RANGE		0xffffffffU

/**
 * struct nvme_csd_cursor - where a scan goes on; all zero: at the beginning
 * @off:    first byte that is not done yet, from the start of the data
 * @skip:   matches of the unit at @off that were returned already
 * @rsvd:   zero
 * @cookie: names matches that the drive keeps for the next Execute, or 0
 *
 * With a cookie that the drive still keeps no unit is run twice. When it does
 * not (it keeps few), the unit at @off is run again and its first @skip matches
 * are left out: the matches are the same, global variables show the second run.
 */
struct nvme_csd_cursor {
	__le64 off;
	__le32 skip;
	__le32 rsvd;
	__le64 cookie;
};

/**
 * struct nvme_csd_exec - what to run an eBPF program on (VENDOR)
 * @size:         sizeof(struct nvme_csd_exec)
 * @mode:         NVME_CSD_CALL or NVME_CSD_SCAN
 * @rsvd:         zero
 * @flags:        NVME_CSD_EXEC_*
 * @data_range:   index of the range that holds the data
 * @result_range: index of the range that receives a struct nvme_csd_result and
 *		  the matches, or NVME_CSD_NO_RANGE
 * @data_off:     first byte of the data in their range
 * @data_len:     bytes of the data, at least 1
 * @tail_len:     bytes behind the data, in the same range, that a unit may see as
 *		  its overlap
 * @pos:          position on the device of the first byte of the data
 * @unit:         bytes a call, 1 to BLK_BPF_UNIT_MAX; 0: the program's
 * @dev:          goes into struct blk_bpf_match.dev
 * @args:         blk_bpf_ctx.args
 * @cursor:       where to begin
 *
 * Units are laid from the first byte of the data. Only the last may be short.
 */
struct nvme_csd_exec {
	__le32 size;
	__u8 mode;
	__u8 rsvd[3];
	__le32 flags;
	__le32 data_range;
	__le32 result_range;
	__le32 unit;
	__le64 data_off;
	__le64 data_len;
	__le32 tail_len;
	__le32 dev;
	__le64 pos;
	__le64 args[4];
	struct nvme_csd_cursor cursor;
};

/* struct nvme_csd_result.status: why an Execute ended */
#define NVME_CSD_DONE			0	/* all of the data */
#define NVME_CSD_FULL			1	/* no room for the next match */
#define NVME_CSD_STOPPED		2	/* the program returned BLK_BPF_STOP */
#define NVME_CSD_PROGRAM_ERROR		3	/* it returned @error, a negative errno */
#define NVME_CSD_NONSENSE		4	/* it returned @error, no value of the contract */
#define NVME_CSD_FAULT			5	/* the engine ended it: @fault, @fault_pc */
#define NVME_CSD_EMIT_ERROR		6	/* a match was refused: @error, a negative errno */

/* struct nvme_csd_result.fault */
#define NVME_CSD_FAULT_NONE		0
#define NVME_CSD_FAULT_ACCESS		1	/* outside of what its pointer points to */
#define NVME_CSD_FAULT_ALIGN		2	/* an atomic operation, unaligned */
#define NVME_CSD_FAULT_FUEL		3	/* out of instructions */
#define NVME_CSD_FAULT_DEADLINE		4	/* out of time */
#define NVME_CSD_FAULT_ABORTED		5	/* by Abort, a reset or removal */
#define NVME_CSD_FAULT_ENGINE		6	/* an error of the engine itself */

/**
 * struct nvme_csd_result - what an Execute did; at the start of the result range
 * @status:   NVME_CSD_DONE etc.
 * @nr:       matches that follow this struct, struct blk_bpf_match each
 * @cursor:   where to go on; on an error the unit that could not be done
 * @units:    calls of the program
 * @bytes:    bytes of the data that programs have seen
 * @matches:  matches found, with NVME_CSD_EXEC_COUNT too
 * @retired:  BPF instructions executed
 * @error:    see @status
 * @fault:    NVME_CSD_FAULT_*
 * @fault_pc: slot of the instruction
 * @r0:       what the last call returned
 * @rsvd:     zero
 *
 * In CQE DW0-1 of an Execute with NVME_CSD_SCAN: bits 31:0 @nr, or with
 * NVME_CSD_EXEC_COUNT @matches (2^32 - 1 for more), and bits 39:32 @status, so that
 * a host that finds 0 need not read the range.
 */
struct nvme_csd_result {
	__le32 status;
	__le32 nr;
	struct nvme_csd_cursor cursor;
	__le64 units;
	__le64 bytes;
	__le64 matches;
	__le64 retired;
	__le32 error;
	__le32 fault;
	__le32 fault_pc;
	__le32 rsvd;
	__le64 r0;
	__u8 rsvd2[40];
};

/*
 * Globals Read and Write (VENDOR): CDW2 PIND; CDW10 index of the global; CDW11
 * first byte; CDW12 length (bytes). Global variables belong to a loaded program:
 * they get their initial values when it is activated. Those that are read-only
 * to the program cannot be written by the host either.
 */

/**
 * struct nvme_csd_image - a program of type NVME_CSD_PTYPE_EBPF (VENDOR)
 * @magic:       NVME_CSD_IMAGE_MAGIC
 * @abi:         NVME_CSD_EBPF_ABI
 * @hdr_size:    sizeof(struct nvme_csd_image)
 * @size:        bytes of the whole image
 * @crc:         CRC-32C of the whole image with this field zero
 * @nr_insns:    slots of eight bytes
 * @insns_off:   where they are in the image, a multiple of 8
 * @nr_globals:  entries of struct nvme_csd_global
 * @globals_off: where they are, a multiple of 8
 * @unit:        the program's (bytes)
 * @overlap:     the program's (bytes)
 * @ctx_size:    sizeof(struct blk_bpf_ctx) that it was compiled with
 * @rsvd:        zero
 * @name:        NUL-terminated, printable
 *
 * Instructions are as in an object file after relocation: the entry first, local
 * calls relative, helpers by number (struct nvme_csd_helpers), an address in
 * global memory as an ld_imm64 with source 6: the index of the global in the
 * first slot's immediate, the offset in the second's.
 */
struct nvme_csd_image {
	__le32 magic;
	__le16 abi;
	__le16 hdr_size;
	__le32 size;
	__le32 crc;
	__le32 nr_insns;
	__le32 insns_off;
	__le32 nr_globals;
	__le32 globals_off;
	__le32 unit;
	__le32 overlap;
	__le32 ctx_size;
	__le32 rsvd;
	char name[16];
};

#define NVME_CSD_IMAGE_MAGIC		0x50425343U	/* "CSBP" */

/**
 * struct nvme_csd_global - one piece of a program's global memory
 * @size:     bytes, at least 1
 * @flags:    NVME_CSD_GLOBAL_*
 * @init_len: bytes of its initial value that are in the image; the rest is zero
 * @init_off: where
 */
struct nvme_csd_global {
	__le32 size;
	__le32 flags;
	__le32 init_len;
	__le32 init_off;
};

#define NVME_CSD_GLOBAL_RDONLY		(1U << 0)

/* Numbers of functions that a program may call; 181 is bpf_loop(). */
#define NVME_CSD_HELPER_LOOP		181
#define NVME_CSD_HELPER_ITER_NUM_NEW	0x10001
#define NVME_CSD_HELPER_ITER_NUM_NEXT	0x10002
#define NVME_CSD_HELPER_ITER_NUM_DESTROY 0x10003
#define NVME_CSD_HELPER_EMIT		0x10010

/*
 * Status codes, with status code type 1h (Base 2.3, 4.2.3.2)
 */

#define NVME_CSD_SCT			0x100
#define NVME_CSD_SC_SIZE_LIMIT		0x183	/* command size limit exceeded */
#define NVME_CSD_SC_BAD_NS_FORMAT	0x185	/* incompatible namespace or format */
#define NVME_CSD_SC_NO_FAST_COPY	0x186
#define NVME_CSD_SC_OVERLAP		0x187	/* overlapping I/O range */
#define NVME_CSD_SC_UNREACHABLE		0x188	/* namespace not reachable */
#define NVME_CSD_SC_RESOURCES		0x189	/* insufficient resources */
#define NVME_CSD_SC_PROG_RESOURCES	0x18a	/* insufficient program resources */
#define NVME_CSD_SC_BAD_MEM_NS		0x18b	/* invalid memory namespace */
#define NVME_CSD_SC_BAD_RANGE_SET	0x18c	/* invalid memory range set */
#define NVME_CSD_SC_BAD_RSID		0x18d	/* invalid memory range set identifier */
#define NVME_CSD_SC_BAD_PROG_DATA	0x18e	/* invalid program data */
#define NVME_CSD_SC_BAD_PIND		0x18f	/* invalid program index */
#define NVME_CSD_SC_BAD_PTYPE		0x190	/* invalid program type */
#define NVME_CSD_SC_MAX_RANGES		0x191
#define NVME_CSD_SC_MAX_RANGE_SETS	0x192
#define NVME_CSD_SC_MAX_ACTIVE		0x193
#define NVME_CSD_SC_MAX_PROG_BYTES	0x194
#define NVME_CSD_SC_RANGE_SET_IN_USE	0x195
#define NVME_CSD_SC_NO_PROGRAM		0x196
#define NVME_CSD_SC_RANGES_OVERLAP	0x197
#define NVME_CSD_SC_NOT_ACTIVE		0x198
#define NVME_CSD_SC_PROG_IN_USE		0x199
#define NVME_CSD_SC_NOT_DOWNLOADABLE	0x19a	/* the index holds a program */
#define NVME_CSD_SC_PROG_TOO_BIG	0x19b
/* VENDOR: the program ended with an error or a fault: see the result, or the log. */
#define NVME_CSD_SC_PROG_FAULT		0x1c0
/* VENDOR: and the fault was its deadline. */
#define NVME_CSD_SC_DEADLINE		0x1c1

/*
 * Log pages
 */

#define NVME_CSD_LOG_REACH_GROUPS	0x1a
#define NVME_CSD_LOG_REACH_ASSOC	0x1b
#define NVME_CSD_LOG_PROGRAMS		0x82
#define NVME_CSD_LOG_PTYPES		0x83
#define NVME_CSD_LOG_RANGE_SETS		0x84
#define NVME_CSD_LOG_HOST_ADDRESSABLE	0x85
/* VENDOR */
#define NVME_CSD_LOG_INFO		0xd0	/* struct nvme_csd_log_info */
#define NVME_CSD_LOG_MESSAGE		0xd1	/* struct nvme_csd_log_message */
#define NVME_CSD_LOG_COUNTERS		0xd2	/* struct nvme_csd_log_counters */
/* What Identify says of the two namespaces, for paths that do not let it through. */
#define NVME_CSD_LOG_IDENTIFY		0xd3	/* struct nvme_csd_log_identify */

/*
 * Logs 1Ah and 1Bh. Their entries come right after lists of four-byte numbers, so
 * they can begin where an eight-byte one could not.
 */
struct nvme_csd_log_reach_hdr {
	__le64 change_count;
	__le16 nr;
	__u8 rsvd[6];
};

/* Followed by @nr_nsids __le32. */
struct nvme_csd_reach_group {
	__le32 id;
	__le32 nr_nsids;
	__le64 change_count;
	__u8 rsvd[16];
} __attribute__((packed, aligned(4)));

/* Followed by @nr_groups __le32. */
struct nvme_csd_reach_assoc {
	__le32 id;
	__le32 nr_groups;
	__le64 change_count;
	__u8 rac;
	__u8 rsvd[15];
} __attribute__((packed, aligned(4)));

#define NVME_CSD_RAC_REACHABLE		1
#define NVME_CSD_RAC_FAST_COPY		2
#define NVME_CSD_RAC_NO_FAST_COPY	3

/* Log 82h, PROVISIONAL. Entries are in the order of their index, from index 0 on. */
struct nvme_csd_log_programs_hdr {
	__le32 nr;
	__u8 rsvd[60];
};

struct nvme_csd_log_program {
	__u8 flags;		/* 1:0 PEOCC, 2 active, 5:3 PIT */
	__u8 ptype;
	__u8 rsvd2[6];
	__le64 pid;
	__u8 rsvd16[48];
};

#define NVME_CSD_PEOCC_EMPTY		0
#define NVME_CSD_PEOCC_DOWNLOADED	1
#define NVME_CSD_PEOCC_ACTIVE		(1U << 2)

/* Log 83h, PROVISIONAL. */
struct nvme_csd_log_ptypes_hdr {
	__le32 nr;
	__u8 rsvd[28];
};

struct nvme_csd_log_ptype {
	__u8 ptype;
	__u8 version;		/* NVME_CSD_EBPF_ABI */
	__u8 rsvd[30];
};

/* Log 84h, PROVISIONAL: each set is followed by its ranges. */
struct nvme_csd_log_range_sets_hdr {
	__le32 nr;
	__u8 rsvd[28];
};

struct nvme_csd_log_range_set {
	__le16 rsid;
	__le16 nr_ranges;
	__u8 rsvd[28];
};

/* Log 85h: memory that the host can address. */
struct nvme_csd_log_host_hdr {
	__le16 nr;
	__u8 rsvd[14];
};

struct nvme_csd_log_host_entry {
	__le32 nsid;
	__u8 type;		/* bit 0: in a BAR */
	__u8 rsvd[3];
	__le64 off;		/* of the memory in the BAR */
};

/**
 * struct nvme_csd_log_info - log D0h: what the drive is and can do (VENDOR)
 * @layout:          NVME_CSD_LAYOUT
 * @ebpf_abi:        NVME_CSD_EBPF_ABI
 * @size:            bytes of this struct that are valid
 * @slm_nsid:        the SLM namespace
 * @cp_nsid:         the CP namespace
 * @generation:      goes up by one when the drive forgets programs and range sets
 *		     (a reset); never 0
 * @slm_size:        bytes of SLM
 * @window_off:      first byte of the SLM that is in a BAR
 * @window_size:     its size, or 0
 * @max_prog_bytes:  bytes of one program
 * @max_total_bytes: bytes of all loaded programs
 * @max_globals:     bytes of global memory, of all active programs together
 * @max_programs:    highest PIND
 * @max_active:      programs active at a time
 * @max_ranges:      ranges of a set, or of an Execute
 * @max_range_sets:  sets
 * @max_insns:       instruction slots of a program
 * @engines:         programs that run at the same time
 * @max_queued:      Executes and Memory Copies that can be outstanding
 * @deadline_ns:     time that one Execute may run (0: no limit)
 * @fuel:            BPF instructions that one Execute may run (0: no limit)
 * @max_copy:        bytes of one Memory Copy
 * @copy_granularity: what a Memory Copy from LBAs should be a multiple of
 * @features:        NVME_CSD_INFO_*
 * @rsvd:            zero
 */
struct nvme_csd_log_info {
	__le16 layout;
	__le16 ebpf_abi;
	__le32 size;
	__le32 slm_nsid;
	__le32 cp_nsid;
	__le64 generation;
	__le64 slm_size;
	__le64 window_off;
	__le64 window_size;
	__le64 max_prog_bytes;
	__le64 max_total_bytes;
	__le64 max_globals;
	__le32 max_programs;
	__le32 max_active;
	__le32 max_ranges;
	__le32 max_range_sets;
	__le32 max_insns;
	__le32 engines;
	__le32 max_queued;
	__le32 copy_granularity;
	__le64 deadline_ns;
	__le64 fuel;
	__le64 max_copy;
	__le32 features;
	__u8 rsvd[124];
};

/* A timing model is on: what the drive does takes modelled time. */
#define NVME_CSD_INFO_TIMING		(1U << 0)
/* Programs are compiled, not interpreted. */
#define NVME_CSD_INFO_JIT		(1U << 1)

/**
 * struct nvme_csd_log_message - log D1h: what a command has to say (VENDOR)
 * @seq:    counts messages; 0: none yet
 * @opcode: of the command
 * @sqid:   of the command
 * @cid:    of the command
 * @status: its status
 * @pind:   the program, or 0
 * @len:    bytes of @text, without the NUL
 * @text:   a sentence, or the verifier's log
 *
 * The log specific identifier (CDW11 31:16) chooses: 0 the last message of all,
 * else the last one of the program with that PIND.
 */
struct nvme_csd_log_message {
	__le64 seq;
	__u8 opcode;
	__u8 rsvd[1];
	__le16 sqid;
	__le16 cid;
	__le16 status;
	__le16 pind;
	__le16 rsvd2;
	__le32 len;
	__u8 rsvd3[8];
	char text[4064];
};

/**
 * struct nvme_csd_log_counters - log D2h: since power on (VENDOR)
 * @loads:          programs loaded
 * @load_refused:   programs refused by the verifier
 * @executes:       Executes begun
 * @units:          calls of programs
 * @retired:        BPF instructions executed
 * @matches:        matches found
 * @faults:         by NVME_CSD_FAULT_*
 * @media_to_slm:   bytes copied from LBAs into SLM
 * @slm_to_media:   bytes copied from SLM to LBAs
 * @slm_to_slm:     bytes copied inside SLM
 * @host_to_slm:    bytes written by the host (Memory Write)
 * @slm_to_host:    bytes read by the host (Memory Read)
 * @link_to_drive:  bytes of commands' data that the drive fetched from the host,
 *		    of the two namespaces and the admin commands for them
 * @link_to_host:   bytes that it sent, likewise
 * @engine_busy_ns: time that engines were running programs, summed
 * @rsvd:           zero
 */
struct nvme_csd_log_counters {
	__le64 loads;
	__le64 load_refused;
	__le64 executes;
	__le64 units;
	__le64 retired;
	__le64 matches;
	__le64 faults[8];
	__le64 media_to_slm;
	__le64 slm_to_media;
	__le64 slm_to_slm;
	__le64 host_to_slm;
	__le64 slm_to_host;
	__le64 link_to_drive;
	__le64 link_to_host;
	__le64 engine_busy_ns;
	__u8 rsvd[336];
};

/*
 * Identify Namespace of a command set (CNS 05h) for CSI 04h, PROVISIONAL. Zeros:
 * CNS 05h for CSI 03h, and Identify Controller (CNS 06h) for both.
 */
struct nvme_csd_id_ns_cp {
	__le16 max_active;
	__le16 max_range_sets;
	__le16 range_granularity;	/* 2^n bytes */
	__u8 max_ranges;
	__u8 rsvd7;
	__le64 max_prog_mib;		/* of all programs, MiB */
	__u8 load_granularity;		/* 2^n bytes */
	__u8 rsvd17[4079];
};

/**
 * struct nvme_csd_log_identify - log D3h: Identify, by another way (VENDOR)
 * @slm_nsid:   as in log D0h
 * @cp_nsid:    likewise
 * @slm_csi:    NVME_CSD_CSI_SLM
 * @cp_csi:     NVME_CSD_CSI_CP
 * @ocfs:       copy formats, as in Identify Controller
 * @rsvd:       zero
 * @cp:         what CNS 05h has for CSI 04h, its first bytes
 */
struct nvme_csd_log_identify {
	__le32 slm_nsid;
	__le32 cp_nsid;
	__u8 slm_csi;
	__u8 cp_csi;
	__le16 ocfs;
	__u8 rsvd[52];
	__u8 cp[64];
};

#endif /* _UAPI_LINUX_NVME_CSD_H */
