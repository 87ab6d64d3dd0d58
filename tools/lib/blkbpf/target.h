/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a program can run. What is above this line of the library (objects,
 * options, results) knows targets by these functions alone; a new one is a
 * struct target in the table of target.c.
 */
#ifndef LIBBLKBPF_TARGET_H
#define LIBBLKBPF_TARGET_H

#include "internal.h"

/**
 * struct target - a kind of place that can run programs
 * @name:   what the user calls it
 * @open:   open what is to be scanned: as blkbpf_target_open()
 * @load:   make the programs of @obj ready: as blkbpf_object__load_on()
 * @unload: give back what @load took, of an object or of half of one; NULL if
 *	    the object's own end does it
 * @check:  say what keeps a program from running here, by check_add(), and set
 *	    the verdict; 0 or a negative errno if it could not be found out
 * @scan:   run a program of @prog's target over @fd; @opts are complete and have
 *	    been checked for what no target can do; @result is zeroed but for the
 *	    cursor, which is where the scan begins
 *
 * All return 0 or a negative errno with its sentence in blkbpf_last_error();
 * @open returns a file descriptor.
 */
struct target {
	const char *name;
	int (*open)(const char *path, struct blkbpf_dev_info *info);
	int (*load)(struct blkbpf_object *obj);
	void (*unload)(struct blkbpf_object *obj);
	int (*check)(struct blkbpf_prog *prog, struct check *check);
	int (*scan)(const struct blkbpf_prog *prog, int fd,
		    const struct blkbpf_scan_opts *opts,
		    struct blkbpf_scan_result *result);
};

extern const struct target kernel_target, user_target, drive_target;

/* scan.c: BLK_BPF_IOC_SCAN until it is done */

struct drive_prog;

/*
 * On a target of the kernel's: @drive NULL for the kernel itself, else the drive
 * of that name. As struct target.scan.
 */
int ioctl_scan(const struct blkbpf_prog *prog, int fd,
	       const struct blkbpf_scan_opts *opts,
	       struct blkbpf_scan_result *result, const char *drive);

/* drive.c */

/* What a scan on a drive takes along, and brings back. */
int drive_fill(const struct blkbpf_prog *prog, const char *drive,
	       struct blk_bpf_scan *arg);
void drive_take(const struct blkbpf_prog *prog, const struct blk_bpf_scan *arg);

/* The target of that name, NULL for kernel; NULL with an error if there is none. */
const struct target *target_find(const char *name);

#endif /* LIBBLKBPF_TARGET_H */
