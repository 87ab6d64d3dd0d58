// SPDX-License-Identifier: GPL-2.0
/*
 * One ioctl: its argument is made right, then a field or two of it wrong, by what
 * kind of field it is; then the outcome is checked.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ioctl_fuzz.h"

/* What a byte is before a call that should not be written. */
#define UNTOUCHED	0xa5
/* Where the kernel lives; between and above are small negative numbers. */
#define DATA_FIRST	0xffff800000000000ULL
#define DATA_END	0xfffffff000000000ULL
#define TEXT_FIRST	0xffffffff80000000ULL
#define TEXT_END	0xfffffffffffff000ULL

#define MATCHES_MAX	512
#define RANGES_MAX	8

enum kind {
	SIZE, FLAGS, POINTER, LENGTH, LINK, DEVICE, PROGRAM, NUMBER, WIDE, PAD,
	TEXT,
};

struct field {
	uint16_t off;
	uint16_t size;
	uint8_t kind;
};

#define FIELD(type, name, kind)						\
	{ offsetof(struct type, name), sizeof(((struct type *)0)->name), kind }
#define HDR_FIELDS(type)						\
	FIELD(type, hdr.size, SIZE), FIELD(type, hdr.flags, FLAGS),	\
	FIELD(type, hdr.msg, POINTER), FIELD(type, hdr.msg_len, LENGTH), \
	FIELD(type, hdr.pad, PAD)

static const struct field features_fields[] = {
	HDR_FIELDS(blk_bpf_features), FIELD(blk_bpf_features, pad, PAD),
};

static const struct field last_msg_fields[] = { HDR_FIELDS(blk_bpf_last_msg) };

static const struct field attach_fields[] = {
	HDR_FIELDS(blk_bpf_attach), FIELD(blk_bpf_attach, link_fd, LINK),
	FIELD(blk_bpf_attach, dev_fd, DEVICE),
	FIELD(blk_bpf_attach, priority, NUMBER), FIELD(blk_bpf_attach, id, NUMBER),
	FIELD(blk_bpf_attach, budget_ns, WIDE),
};

static const struct field list_fields[] = {
	HDR_FIELDS(blk_bpf_list), FIELD(blk_bpf_list, start, NUMBER),
	FIELD(blk_bpf_list, entry_size, LENGTH),
	FIELD(blk_bpf_list, entries, POINTER), FIELD(blk_bpf_list, nr, LENGTH),
	FIELD(blk_bpf_list, total, NUMBER),
};

static const struct field missed_fields[] = {
	HDR_FIELDS(blk_bpf_missed), FIELD(blk_bpf_missed, id, NUMBER),
	FIELD(blk_bpf_missed, nr, LENGTH), FIELD(blk_bpf_missed, extents, POINTER),
	FIELD(blk_bpf_missed, pad, PAD),
};

static const struct field stream_fields[] = {
	HDR_FIELDS(blk_bpf_stream), FIELD(blk_bpf_stream, id, NUMBER),
	FIELD(blk_bpf_stream, entries, LENGTH), FIELD(blk_bpf_stream, pad, PAD),
};

static const struct field scan_fields[] = {
	HDR_FIELDS(blk_bpf_scan), FIELD(blk_bpf_scan, prog_fd, PROGRAM),
	FIELD(blk_bpf_scan, dev_fd, DEVICE), FIELD(blk_bpf_scan, unit, LENGTH),
	FIELD(blk_bpf_scan, threads, NUMBER),
	FIELD(blk_bpf_scan, ranges, POINTER), FIELD(blk_bpf_scan, nr_ranges, LENGTH),
	FIELD(blk_bpf_scan, max_matches, LENGTH),
	FIELD(blk_bpf_scan, matches, POINTER), FIELD(blk_bpf_scan, data, POINTER),
	FIELD(blk_bpf_scan, data_len, WIDE), FIELD(blk_bpf_scan, cursor.pos, WIDE),
	FIELD(blk_bpf_scan, cursor.range, NUMBER),
	FIELD(blk_bpf_scan, cursor.skip, NUMBER),
	FIELD(blk_bpf_scan, cursor.cookie, WIDE),
	FIELD(blk_bpf_scan, target, TEXT), FIELD(blk_bpf_scan, devs, POINTER),
	FIELD(blk_bpf_scan, nr_devs, LENGTH), FIELD(blk_bpf_scan, image_len, LENGTH),
	FIELD(blk_bpf_scan, image, POINTER), FIELD(blk_bpf_scan, globals, POINTER),
	FIELD(blk_bpf_scan, globals_len, LENGTH), FIELD(blk_bpf_scan, pad, PAD),
};

static const struct field drain_fields[] = { HDR_FIELDS(blk_bpf_drain) };

/* Memory of a call */

/* That many bytes that end at the slot's guard page, set to @byte. */
static void *place(struct fuzzer *f, enum slot_name name, size_t size, int byte)
{
	struct slot *slot = &f->slots[name];
	size_t room = slot->guard - slot->begin;

	if (size > room)
		size = room;
	memset(slot->guard - size, byte, size);
	return slot->guard - size;
}

static uint64_t address(const void *pointer)
{
	return (uintptr_t)pointer;
}

/* Making a field wrong */

static uint64_t wrong_pointer(struct fuzzer *f)
{
	const uint64_t some[] = {
		0, 1, address(f->read_only), address(f->slots[SLOT_DATA].guard),
		address(f->slots[SLOT_DATA].guard - 3), 0x00007ffffffff000ULL,
		0x8000000000000000ULL, 0xffff888000000000ULL,
		0xffffffff81000000ULL, ~0ULL, ~0ULL - 4095,
	};

	return some[fuzz_below(f, ARRAY_SIZE(some))];
}

static uint64_t wrong_number(struct fuzzer *f, uint64_t right)
{
	const uint64_t some[] = {
		0, 1, 2, 3, 511, 512, PAGE, PAGE - 1, PAGE + 1, 0x7fffffff,
		0x80000000, 0xffffffff, 0xfffffffe, 1ULL << 32, 1ULL << 63, ~0ULL,
		~0ULL - 511, right - 1, right + 1, right << 1, right ^ 0x10000,
	};
	uint32_t at = fuzz_below(f, ARRAY_SIZE(some) + 1);

	return at < ARRAY_SIZE(some) ? some[at] : fuzz_random(f);
}

/* Reads and writes of a field, which may be as wide as 8 bytes. */
static uint64_t get_field(const uint8_t *arg, const struct field *field)
{
	uint64_t value = 0;

	memcpy(&value, arg + field->off, field->size);
	return value;
}

static void make_wrong(struct fuzzer *f, uint8_t *arg, const struct field *field)
{
	uint64_t right, value;
	bool own;
	int i;

	if (field->kind == TEXT) {
		for (i = 0; i < field->size; i++)
			arg[field->off + i] = fuzz_one_in(f, 3) ? 0 :
				fuzz_random(f) >> 56;
		return;
	}
	right = get_field(arg, field);
	switch (field->kind) {
	case FLAGS:
		value = right ^ 1U << fuzz_below(f, 32);
		break;
	case POINTER:
		value = wrong_pointer(f);
		break;
	case LINK: case PROGRAM:
		value = fuzz_one_in(f, 2) ? fuzz_wrong_file(f) :
			f->given->programs[0];
		break;
	case DEVICE:
		/* One that is not closed: a link, or what is no device. */
		own = fuzz_one_in(f, 2);
		value = own ? f->links[fuzz_below(f, HELD_MAX)] :
			fuzz_wrong_file(f);
		break;
	default:
		value = wrong_number(f, right);
	}
	memcpy(arg + field->off, &value, field->size);
}

/* An ioctl on its way */
struct call {
	int nr;			/* index of the tally */
	unsigned long cmd;
	uint8_t *arg;
	size_t size;		/* of the struct */
	uint8_t before[512];	/* the argument as it was given */
	uint8_t *msg;
	uint32_t msg_len;
	bool changed;		/* some field was made wrong */
	int device;		/* to be closed, or -1 */
	int devices[RANGES_MAX];
	int nr_devices;
};

static void begin(struct fuzzer *f, struct call *call, int nr, unsigned long cmd,
		  size_t size)
{
	struct blk_bpf_hdr *hdr;

	memset(call, 0, sizeof(*call));
	call->nr = nr;
	call->cmd = cmd;
	call->size = size;
	call->device = -1;
	call->arg = place(f, SLOT_ARG, size, 0);
	call->msg_len = fuzz_one_in(f, 8) ? fuzz_below(f, 64) : BLK_BPF_MSG_MAX;
	call->msg = place(f, SLOT_MSG, call->msg_len, UNTOUCHED);
	/* What lies before the buffer. */
	memset(call->msg - 64, UNTOUCHED, 64);
	hdr = (struct blk_bpf_hdr *)call->arg;
	hdr->size = size;
	hdr->msg = address(call->msg);
	hdr->msg_len = call->msg_len;
}

/* By chance a struct that is longer than the kernel's, with or without zeroes. */
static void make_longer(struct fuzzer *f, struct call *call)
{
	size_t longer = call->size + 8 * (1 + fuzz_below(f, 16));
	uint8_t copy[512];

	memcpy(copy, call->arg, call->size);
	call->arg = place(f, SLOT_ARG, longer, 0);
	memcpy(call->arg, copy, call->size);
	((struct blk_bpf_hdr *)call->arg)->size = longer;
	if (fuzz_one_in(f, 2))
		call->arg[longer - 1 - fuzz_below(f, 8)] = 1;
	call->changed = true;
}

/* The errnos that the header names, by ioctl. */
static bool errno_is_known(int nr, int number)
{
	static const int everywhere[] = {
		EINVAL, EFAULT, ENOMEM, EPERM, E2BIG, EINTR,
	};
	static const int special[NR_CALLS][20] = {
		[1] = { ENOMSG },
		[2] = { ENOTBLK, EOPNOTSUPP, EBUSY, ENODEV, EBADF },
		[4] = { ENOENT },
		[5] = { ENOENT, EMFILE },
		[6] = { EBADF, ENOTBLK, EACCES, EOVERFLOW, EPROTO, ENOENT,
			ENOEXEC, EBUSY, EOPNOTSUPP, ENODEV, ENOTRECOVERABLE,
			ETIMEDOUT, EREMOTEIO, EBADMSG, EIO, ENXIO,
			/* What make_args() has a program return. */
			ENODATA },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(everywhere); i++)
		if (everywhere[i] == number)
			return true;
	for (i = 0; i < ARRAY_SIZE(special[nr]); i++)
		if (special[nr][i] == number)
			return true;
	return false;
}

static void check_sentence(struct fuzzer *f, const struct call *call, int number)
{
	struct blk_bpf_hdr given;
	size_t i;

	for (i = 1; i <= 64; i++)
		if (call->msg[-(ptrdiff_t)i] != UNTOUCHED)
			fuzz_violation(f, "call %d wrote before the sentence's buffer",
				       call->nr);
	/* Whoever says that his buffer is longer than it is gets what he gets. */
	memcpy(&given, call->before, sizeof(given));
	if (!call->msg_len || given.msg_len > call->msg_len)
		return;
	if (call->msg[0] != UNTOUCHED &&
	    !memchr(call->msg, 0, call->msg_len))
		fuzz_violation(f, "call %d: a sentence without an end", call->nr);
	/* A wrong header has nowhere to put it. */
	if (number && number != ENOMSG && number != EFAULT && !call->changed &&
	    call->msg_len > 1 && (call->msg[0] == UNTOUCHED || !call->msg[0]))
		fuzz_violation(f, "call %d: %s without a sentence", call->nr,
			       strerrorname_np(number));
}

static bool is_address(uint64_t word)
{
	return (word >= DATA_FIRST && word < DATA_END) ||
	       (word >= TEXT_FIRST && word < TEXT_END);
}

static void check_no_address(struct fuzzer *f, const struct call *call,
			     const void *memory, size_t size, const char *what)
{
	const uint8_t *bytes = memory;
	uint64_t word, before;
	size_t at;

	for (at = 0; at + 8 <= size; at += 8) {
		memcpy(&word, bytes + at, 8);
		before = word + 1;
		if (memory == call->arg && at + 8 <= sizeof(call->before))
			memcpy(&before, call->before + at, 8);
		if (word != before && is_address(word))
			fuzz_violation(f, "call %d: %s has %#" PRIx64 " at %zu",
				       call->nr, what, word, at);
	}
}

/* Make fields wrong as often as not, call, check what holds for all. */
static int finish(struct fuzzer *f, struct call *call,
		  const struct field *fields, size_t nr_fields)
{
	int number, wrong = fuzz_below(f, 4) - 1;

	for (; wrong > 0; wrong--) {
		make_wrong(f, call->arg, &fields[fuzz_below(f, nr_fields)]);
		call->changed = true;
	}
	if (fuzz_one_in(f, 32))
		make_longer(f, call);
	memcpy(call->before, call->arg, call->size);
	number = ioctl(f->control, call->cmd, call->arg) < 0 ? errno : 0;
	__atomic_add_fetch(&f->tally->calls[call->nr][number], 1,
			   __ATOMIC_RELAXED);
	if (number && !errno_is_known(call->nr, number))
		fuzz_violation(f, "call %d: %s, which the header does not name",
			       call->nr, strerrorname_np(number));
	check_sentence(f, call, number);
	check_no_address(f, call, call->arg, call->size, "the argument");
	if (call->device >= 0)
		close(call->device);
	while (call->nr_devices)
		close(call->devices[--call->nr_devices]);
	return number;
}

#define FINISH(f, call, fields)	finish(f, call, fields, ARRAY_SIZE(fields))

static void no_rights(struct fuzzer *f, const struct call *call, int number)
{
	if (!number && !f->privileged)
		fuzz_violation(f, "call %d went well without rights", call->nr);
}

/* The ioctls */

static void call_features(struct fuzzer *f)
{
	struct call call;

	begin(f, &call, 0, BLK_BPF_IOC_FEATURES, sizeof(struct blk_bpf_features));
	FINISH(f, &call, features_fields);
}

static void call_last_msg(struct fuzzer *f)
{
	struct call call;

	begin(f, &call, 1, BLK_BPF_IOC_LAST_MSG, sizeof(struct blk_bpf_last_msg));
	FINISH(f, &call, last_msg_fields);
}

/* args[0] is what a probe matches below; args[1], what it returns in a range. */
static void make_args(struct fuzzer *f, __u64 *args)
{
	static const int64_t returned[] = { 0, 0, 0, 2, 77, -5, -61, -121, 1 };

	args[0] = fuzz_below(f, 8);
	args[1] = returned[fuzz_below(f, ARRAY_SIZE(returned))];
	args[2] = fuzz_below(f, 1 << 21);
	args[3] = args[2] + fuzz_below(f, 1 << 16);
}

static void call_attach(struct fuzzer *f)
{
	struct blk_bpf_attach *arg;
	uint32_t at = fuzz_below(f, HELD_MAX);
	struct call call;
	bool own;
	int number;

	begin(f, &call, 2, BLK_BPF_IOC_ATTACH, sizeof(*arg));
	arg = (struct blk_bpf_attach *)call.arg;
	arg->hdr.flags = fuzz_below(f, 16);
	arg->link_fd = f->links[at];
	arg->dev_fd = fuzz_device(f, &own);
	call.device = own ? arg->dev_fd : -1;
	arg->priority = fuzz_below(f, 5) - 2;
	arg->budget_ns = fuzz_one_in(f, 3) ? BLK_BPF_BUDGET_NONE :
		fuzz_below(f, 1000000);
	make_args(f, arg->args);
	number = FINISH(f, &call, attach_fields);
	no_rights(f, &call, number);
	arg = (struct blk_bpf_attach *)call.arg;
	if (!number && arg->link_fd == f->links[at])
		f->ids[at] = arg->id;
}

/* But for the word with the priority: that is what a caller gave, sign and all. */
static void check_entries(struct fuzzer *f, const struct call *call,
			  const struct blk_bpf_attachment *entries, uint32_t nr)
{
	const size_t rest = offsetof(struct blk_bpf_attachment, dev_major);

	for (; nr--; entries++) {
		check_no_address(f, call, entries,
				 offsetof(struct blk_bpf_attachment, state),
				 "an entry");
		check_no_address(f, call, (const uint8_t *)entries + rest,
				 sizeof(*entries) - rest, "an entry");
	}
}

static void call_list(struct fuzzer *f)
{
	uint32_t room = fuzz_below(f, 16);
	size_t size = room * sizeof(struct blk_bpf_attachment);
	struct blk_bpf_list *arg;
	struct call call;
	uint8_t *entries = place(f, SLOT_ENTRIES, size, UNTOUCHED);
	int number;

	begin(f, &call, 3, BLK_BPF_IOC_LIST, sizeof(*arg));
	arg = (struct blk_bpf_list *)call.arg;
	arg->start = fuzz_one_in(f, 2) ? f->ids[fuzz_below(f, HELD_MAX)] : 0;
	arg->entry_size = sizeof(struct blk_bpf_attachment);
	arg->entries = address(entries);
	arg->nr = room;
	number = FINISH(f, &call, list_fields);
	no_rights(f, &call, number);
	arg = (struct blk_bpf_list *)call.arg;
	if (!number && !call.changed) {
		if (arg->nr > room || arg->nr > arg->total)
			fuzz_violation(f, "list: %u of %u entries, room for %u",
				       arg->nr, arg->total, room);
		else
			check_entries(f, &call, (void *)entries, arg->nr);
	}
}

static void call_missed(struct fuzzer *f)
{
	uint32_t room = fuzz_below(f, 32);
	struct blk_bpf_missed *arg;
	struct call call;

	begin(f, &call, 4, BLK_BPF_IOC_MISSED, sizeof(*arg));
	arg = (struct blk_bpf_missed *)call.arg;
	arg->id = f->ids[fuzz_below(f, HELD_MAX)];
	arg->nr = room;
	arg->extents = address(place(f, SLOT_EXTENTS,
				     room * sizeof(struct blk_bpf_range), 0));
	no_rights(f, &call, FINISH(f, &call, missed_fields));
}

static void call_stream(struct fuzzer *f)
{
	uint32_t at = fuzz_below(f, HELD_MAX);
	struct blk_bpf_stream *arg;
	struct call call;
	int number, flags;

	begin(f, &call, 5, BLK_BPF_IOC_STREAM, sizeof(*arg));
	arg = (struct blk_bpf_stream *)call.arg;
	arg->id = f->ids[fuzz_below(f, HELD_MAX)];
	arg->entries = fuzz_below(f, 64);
	number = FINISH(f, &call, stream_fields);
	no_rights(f, &call, number);
	if (number)
		return;
	arg = (struct blk_bpf_stream *)call.arg;
	flags = fcntl(arg->fd, F_GETFD);
	if (flags != FD_CLOEXEC)
		fuzz_violation(f, "stream: fd %d has flags %d", arg->fd, flags);
	if (f->streams[at] >= 0)
		close(f->streams[at]);
	f->streams[at] = arg->fd;
	fcntl(arg->fd, F_SETFL, O_NONBLOCK);
}

static void make_devices(struct fuzzer *f, struct call *call,
			 struct blk_bpf_scan *arg)
{
	bool own;
	int *devs;
	uint32_t i;

	if (!fuzz_one_in(f, 4)) {
		arg->dev_fd = fuzz_device(f, &own);
		call->device = own ? arg->dev_fd : -1;
		return;
	}
	arg->nr_devs = 1 + fuzz_below(f, 3);
	devs = place(f, SLOT_DEVS, arg->nr_devs * sizeof(*devs), 0);
	for (i = 0; i < arg->nr_devs; i++) {
		devs[i] = fuzz_device(f, &own);
		if (own)
			call->devices[call->nr_devices++] = devs[i];
	}
	arg->devs = address(devs);
	arg->dev_fd = -1;
}

static void make_ranges(struct fuzzer *f, struct blk_bpf_scan *arg)
{
	struct blk_bpf_range *ranges;
	uint32_t i;

	/* None is the whole device, which takes longer. */
	arg->nr_ranges = fuzz_one_in(f, 32) ? 0 : 1 + fuzz_below(f, RANGES_MAX);
	ranges = place(f, SLOT_RANGES, arg->nr_ranges * sizeof(*ranges), 0);
	for (i = 0; i < arg->nr_ranges; i++) {
		ranges[i].off = fuzz_below(f, 1 << 20);
		ranges[i].len = 1 + fuzz_below(f, 1 << 15);
		if (fuzz_one_in(f, 64))
			ranges[i].len = wrong_number(f, ranges[i].len);
	}
	arg->ranges = address(ranges);
}

/* Where to run; for a drive, with an image that is damaged now and then. */
static void make_target(struct fuzzer *f, struct blk_bpf_scan *arg)
{
	const struct given *given = f->given;
	uint8_t *image;

	if (!given->target || fuzz_one_in(f, 2)) {
		if (fuzz_one_in(f, 2))
			strcpy(arg->target, "kernel");
		return;
	}
	strncpy(arg->target, given->target, sizeof(arg->target) - 1);
	image = place(f, SLOT_IMAGE, given->image_len, 0);
	memcpy(image, given->image, given->image_len);
	if (fuzz_one_in(f, 4))
		image[fuzz_below(f, given->image_len)] ^= 1 << fuzz_below(f, 8);
	arg->image = address(image);
	arg->image_len = given->image_len;
	arg->prog_fd = given->programs[0];
}

static void check_answer(struct fuzzer *f, const struct blk_bpf_scan *arg,
			 const struct blk_bpf_match *matches)
{
	uint32_t i;

	if (arg->nr_matches > arg->max_matches || arg->status > 3 ||
	    arg->data_used > arg->data_len) {
		fuzz_violation(f, "scan: %u matches, status %u, %llu bytes",
			       arg->nr_matches, arg->status,
			       (unsigned long long)arg->data_used);
		return;
	}
	for (i = 1; i < arg->nr_matches; i++) {
		if (matches[i].dev < matches[i - 1].dev || !matches[i].len)
			fuzz_violation(f, "scan: match %u is out of order", i);
	}
}

static void call_scan(struct fuzzer *f)
{
	struct blk_bpf_match *matches;
	struct blk_bpf_scan *arg;
	struct call call;
	int number;

	begin(f, &call, 6, BLK_BPF_IOC_SCAN, sizeof(*arg));
	arg = (struct blk_bpf_scan *)call.arg;
	arg->prog_fd = f->given->programs[fuzz_below(f, f->given->nr_programs)];
	arg->hdr.flags = fuzz_one_in(f, 4) ? fuzz_below(f, 4) : 0;
	arg->unit = fuzz_one_in(f, 2) ? 0 : 512 << fuzz_below(f, 7);
	arg->threads = fuzz_below(f, 4);
	arg->max_matches = fuzz_below(f, MATCHES_MAX);
	matches = place(f, SLOT_MATCHES, arg->max_matches * sizeof(*matches), 0);
	arg->matches = address(matches);
	if (arg->hdr.flags & BLK_BPF_SCAN_DATA) {
		arg->data_len = fuzz_below(f, 32 * PAGE);
		arg->data = address(place(f, SLOT_DATA, arg->data_len, 0));
	}
	make_args(f, arg->args);
	make_devices(f, &call, arg);
	make_ranges(f, arg);
	make_target(f, arg);
	if (fuzz_one_in(f, 3))
		arg->cursor = f->cursor;
	number = FINISH(f, &call, scan_fields);
	arg = (struct blk_bpf_scan *)call.arg;
	f->cursor = arg->cursor;
	if (!number && !call.changed)
		check_answer(f, arg, matches);
}

static void call_drain(struct fuzzer *f)
{
	struct call call;

	begin(f, &call, 7, BLK_BPF_IOC_DRAIN, sizeof(struct blk_bpf_drain));
	no_rights(f, &call, FINISH(f, &call, drain_fields));
}

/* A number that is no ioctl of ours, or one of another size. */
static void call_other(struct fuzzer *f)
{
	static const unsigned long known[] = {
		BLK_BPF_IOC_FEATURES, BLK_BPF_IOC_ATTACH, BLK_BPF_IOC_SCAN,
	};
	unsigned long cmd = fuzz_one_in(f, 2) ? fuzz_random(f) >> 32 :
		known[fuzz_below(f, 3)] ^ 1UL << fuzz_below(f, 32);
	uint8_t *arg = place(f, SLOT_ARG, fuzz_below(f, 4096), 0);
	int number;

	number = ioctl(f->control, cmd, fuzz_one_in(f, 4) ?
		       (void *)wrong_pointer(f) : arg) < 0 ? errno : 0;
	__atomic_add_fetch(&f->tally->calls[NR_CALLS][number], 1,
			   __ATOMIC_RELAXED);
}

/* What is called, and how often in a hundred times. */
static const struct {
	void (*call)(struct fuzzer *f);
	uint32_t share;
} calls[] = {
	{ call_scan, 40 },
	{ call_attach, 22 },
	{ call_stream, 8 },
	{ call_list, 8 },
	{ call_missed, 6 },
	{ call_features, 5 },
	{ call_last_msg, 5 },
	{ call_other, 4 },
	{ call_drain, 2 },
};

void fuzz_call(struct fuzzer *f)
{
	uint32_t which = fuzz_below(f, 100);
	size_t i;

	for (i = 0; which >= calls[i].share; i++)
		which -= calls[i].share;
	calls[i].call(f);
}
