/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of libblkbpf share. */
#ifndef LIBBLKBPF_INTERNAL_H
#define LIBBLKBPF_INTERNAL_H

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include "libblkbpf.h"

#define OPS_TYPE "blk_bpf_ops"

struct blkbpf_prog {
	struct blkbpf_object *obj;	/* NULL for one that was opened by itself */
	struct blkbpf_prog *next;	/* in its object */
	struct bpf_map *map;		/* NULL without an object */
	int fd;				/* -1 before the load */
	char *name;
};

/* A variable that was set by name, so that no companion overwrites it. */
struct set_var {
	struct set_var *next;
	char name[];
};

struct blkbpf_object {
	char *path;
	struct bpf_object *bpf;
	struct blkbpf_prog *progs;
	struct set_var *set;
	bool loaded;
};

/* error.c */

/* Remember the sentence, set errno; returns -err for err of either sign. */
int blkbpf_err(int err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
bool have_sys_admin(void);

/* log.c */

/* Collect libbpf's messages of this thread until log_end(). */
void log_begin(void);
void log_end(void);
/* The sentences in the collected log that say why: valid until log_end(). */
const char *log_reason(void);

/* control.c */

/* Open /dev/blk_bpf; -ENODEV with its sentence if there is none. */
int control_open(void);
/*
 * An ioctl whose refusal becomes the last error, with @what in front of it. The
 * argument begins with a struct blk_bpf_hdr whose size and flags are filled in.
 */
int control_ioctl(int fd, unsigned long request, void *arg, const char *what);
/*
 * The sentence that the module has for this thread's last bpf(2), or ""; reading
 * clears it. @msg has room for BLK_BPF_MSG_MAX bytes.
 */
void control_last_msg(char *msg);

/* pin.c */

int pin_fd(int fd, const char *what, const char *path);

/* prog.c */

/* 0 if @fd is a blk_bpf_ops map, else an error about @what. */
int prog_check_fd(int fd, const char *what);

/*
 * Copy the caller's options: what its struct does not reach stays 0, and what
 * this library does not know must not be ignored. false with an error about
 * @what.
 */
bool opts_copy(void *dst, size_t dst_sz, const void *src, const char *what);

#endif /* LIBBLKBPF_INTERNAL_H */
