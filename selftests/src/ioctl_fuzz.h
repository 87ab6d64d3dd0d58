/* SPDX-License-Identifier: GPL-2.0 */
/* What the two halves of ioctl_fuzz share; ioctl_fuzz.c says what it does. */
#ifndef IOCTL_FUZZ_H
#define IOCTL_FUZZ_H

#include <linux/blk_bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))

#define PAGE		4096UL
#define HELD_MAX	8	/* links, streams of a process */
#define GIVEN_MAX	16	/* devices, programs of the command line */
#define NR_CALLS	8	/* ioctls that there are; one more counts others */
#define ERRNO_MAX	256

/* What the processes count, in memory that they share. */
struct tally {
	uint64_t calls[NR_CALLS + 1][ERRNO_MAX];	/* 0: went well */
	uint32_t violations;
};

/* A piece of memory that ends at a page nobody can read or write. */
struct slot {
	uint8_t *begin;		/* of what can be used */
	uint8_t *guard;		/* its end, the page */
};

enum slot_name {
	SLOT_ARG, SLOT_MSG, SLOT_RANGES, SLOT_MATCHES, SLOT_DATA, SLOT_DEVS,
	SLOT_IMAGE, SLOT_GLOBALS, SLOT_ENTRIES, SLOT_EXTENTS,
	NR_SLOTS
};

/* What was given on the command line, opened before anybody loses a right. */
struct given {
	const char *devices[GIVEN_MAX];
	int nr_devices;
	int programs[GIVEN_MAX];
	int nr_programs;
	const char *target;
	uint8_t *image;
	uint32_t image_len;
};

/**
 * struct fuzzer - a process that calls
 * @given:      see there
 * @tally:      shared
 * @random:     state of its generator
 * @number:     which process
 * @privileged: whether it kept CAP_SYS_ADMIN
 * @control:    /dev/blk_bpf
 * @links:      bpf_links, or -1
 * @streams:    or -1
 * @ids:        of the attachments of the links of the same index, or 0
 * @wrong:      files of other kinds
 * @slots:      where arguments lie
 * @read_only:  a page that can be read only
 * @cursor:     of the last scan
 */
struct fuzzer {
	const struct given *given;
	struct tally *tally;
	uint64_t random;
	int number;
	bool privileged;
	int control;
	int links[HELD_MAX];
	int streams[HELD_MAX];
	uint32_t ids[HELD_MAX];
	int wrong[4];
	struct slot slots[NR_SLOTS];
	uint8_t *read_only;
	struct blk_bpf_cursor cursor;
};

/* One ioctl, with an argument that is often wrong. */
void fuzz_call(struct fuzzer *f);

uint64_t fuzz_random(struct fuzzer *f);
/* Below @limit, which is not 0. */
uint32_t fuzz_below(struct fuzzer *f, uint32_t limit);
bool fuzz_one_in(struct fuzzer *f, uint32_t n);
/* An open device, by chance a wrong file; the caller closes it if *@own. */
int fuzz_device(struct fuzzer *f, bool *own);
int fuzz_wrong_file(struct fuzzer *f);

__attribute__((format(printf, 2, 3)))
void fuzz_violation(struct fuzzer *f, const char *fmt, ...);

#endif
