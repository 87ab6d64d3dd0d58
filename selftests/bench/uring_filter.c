// SPDX-License-Identifier: GPL-2.0
/*
 * The filters of samples/bpf in user space, to compare a scan with: O_DIRECT
 * reads (or, with -b, through the page cache) by io_uring into registered
 * buffers, as large and as many in flight as a scan has, and the same loops over
 * the data in C. With -r or -m, the plainer ways: read(2), or a mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <liburing.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK	(512U << 10)
#define DEPTH	4U
/* In front of each buffer, for the end of the chunk before. */
#define CARRY	4096U
#define NEEDLE	64
#define STRIDE	64

struct record {
	uint64_t key;
	uint32_t value;
	uint8_t payload[52];
};

struct matches {
	uint64_t *pos;
	size_t nr, cap;
};

struct filter {
	const char *name;
	const char *operands;
	int nr_operands;
	void (*setup)(char **operands);
	/* Look at @len bytes that lie at @pos on the disk. */
	void (*run)(const char *data, size_t len, uint64_t pos);
	size_t overlap;
};

static struct matches matches;
static char needle[NEEDLE];
static uint32_t needle_len;
static uint64_t key_min, key_max;
static uint32_t value_min, value_max;

__attribute__((noreturn, format(printf, 2, 3)))
static void die(int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("uring_filter: ", stderr);
	vfprintf(stderr, format, args);
	if (err)
		fprintf(stderr, ": %s", strerror(err));
	fputc('\n', stderr);
	exit(1);
}

static void found(uint64_t pos)
{
	if (matches.nr == matches.cap) {
		matches.cap = matches.cap ? 2 * matches.cap : 4096;
		matches.pos = reallocarray(matches.pos, matches.cap,
					   sizeof(*matches.pos));
		if (!matches.pos)
			die(ENOMEM, "%zu matches", matches.cap);
	}
	matches.pos[matches.nr++] = pos;
}

static void no_setup(char **operands)
{
	(void)operands;
}

/* What the reading alone costs. */
static void run_none(const char *data, size_t len, uint64_t pos)
{
	(void)data;
	(void)len;
	(void)pos;
}

static struct filter filters[];

static void grep_setup(char **operands)
{
	needle_len = strlen(operands[0]);
	if (!needle_len || needle_len > NEEDLE)
		die(0, "grep: the text must have 1 to %d bytes", NEEDLE);
	memcpy(needle, operands[0], needle_len);
	filters[1].overlap = needle_len - 1;
}

static void look_at(const char *data, size_t start, size_t end, uint64_t pos)
{
	size_t i;

	for (i = start; i < end; i++)
		if (!memcmp(data + i, needle, needle_len))
			found(pos + i);
}

/* What samples/bpf/grep.bpf.c finds, in plain C: two bytes, then all of them. */
static void run_grep(const char *data, size_t len, uint64_t pos)
{
	const char first = needle[0], second = needle[needle_len > 1];
	const uint32_t next = needle_len > 1;
	size_t start, end;

	if (len < needle_len)
		return;
	end = len - needle_len + 1;
	for (start = 0; start < end; start += STRIDE) {
		const char *p = data + start;
		uint32_t maybe = 0, i;

		if (start + STRIDE + 1 <= len) {
			for (i = 0; i < STRIDE; i++)
				maybe |= (p[i] == first) & (p[i + next] == second);
			if (!maybe)
				continue;
		}
		look_at(data, start, start + STRIDE < end ? start + STRIDE : end,
			pos);
	}
}

static void records_setup(char **operands)
{
	key_min = strtoull(operands[0], NULL, 0);
	key_max = strtoull(operands[1], NULL, 0);
	value_min = strtoul(operands[2], NULL, 0);
	value_max = strtoul(operands[3], NULL, 0);
}

/* As samples/bpf/records.bpf.c does it. */
static void run_records(const char *data, size_t len, uint64_t pos)
{
	const struct record *r = (const void *)data;
	size_t i;

	for (i = 0; i < len / sizeof(*r); i++, r++)
		if (r->key >= key_min && r->key <= key_max &&
		    r->value >= value_min && r->value <= value_max)
			found(pos + i * sizeof(*r));
}

static struct filter filters[] = {
	{ "none", "", 0, no_setup, run_none, 0 },
	{ "grep", "TEXT", 1, grep_setup, run_grep, 0 },
	{ "records", "KEY_MIN KEY_MAX VALUE_MIN VALUE_MAX", 4, records_setup,
	  run_records, 0 },
	{}
};

static int open_disk(const char *path, bool buffered, uint64_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | (buffered ? 0 : O_DIRECT));
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		die(errno, "%s", path);
	*size = st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, size))
		die(errno, "%s", path);
	if (*size % CHUNK)
		die(0, "%s: its size is no multiple of %u", path, CHUNK);
	return fd;
}

static void queue_read(struct io_uring *ring, int fd, char *buf, uint64_t index)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	int ret;

	io_uring_prep_read_fixed(sqe, fd, buf, CHUNK, index * CHUNK,
				 index % DEPTH);
	io_uring_sqe_set_data64(sqe, index);
	ret = io_uring_submit(ring);
	if (ret < 0)
		die(-ret, "submit a read");
}

/* Wait until the read of chunk @index, and perhaps later ones, are there. */
static void wait_for(struct io_uring *ring, uint64_t index, uint64_t *done)
{
	struct io_uring_cqe *cqe;
	int ret;

	while (!(*done & (1U << index % DEPTH))) {
		ret = io_uring_wait_cqe(ring, &cqe);
		if (ret)
			die(-ret, "wait for a read");
		if (cqe->res != CHUNK)
			die(cqe->res < 0 ? -cqe->res : EIO, "read chunk %llu",
			    (unsigned long long)cqe->user_data);
		*done |= 1U << cqe->user_data % DEPTH;
		io_uring_cqe_seen(ring, cqe);
	}
	*done &= ~(1U << index % DEPTH);
}

static void scan(const struct filter *filter, int fd, uint64_t size)
{
	const uint64_t chunks = size / CHUNK;
	uint64_t done = 0, i, begin;
	struct io_uring ring;
	struct iovec iov[DEPTH];
	int ret;

	ret = io_uring_queue_init(DEPTH, &ring, IORING_SETUP_SINGLE_ISSUER |
						IORING_SETUP_DEFER_TASKRUN);
	if (ret)
		die(-ret, "make a ring");
	for (i = 0; i < DEPTH; i++) {
		char *memory = aligned_alloc(CARRY, CARRY + CHUNK);

		if (!memory)
			die(ENOMEM, "a buffer");
		iov[i].iov_base = memory + CARRY;
		iov[i].iov_len = CHUNK;
	}
	ret = io_uring_register_buffers(&ring, iov, DEPTH);
	if (ret)
		die(-ret, "register buffers");

	for (i = 0; i < DEPTH && i < chunks; i++)
		queue_read(&ring, fd, iov[i].iov_base, i);
	for (i = 0; i < chunks; i++) {
		char *buf = iov[i % DEPTH].iov_base;

		wait_for(&ring, i, &done);
		begin = i ? filter->overlap : 0;
		filter->run(buf - begin, CHUNK + begin, i * CHUNK - begin);
		memcpy((char *)iov[(i + 1) % DEPTH].iov_base - filter->overlap,
		       buf + CHUNK - filter->overlap, filter->overlap);
		if (i + DEPTH < chunks)
			queue_read(&ring, fd, buf, i + DEPTH);
	}
	io_uring_queue_exit(&ring);
}

/* By read(2), one chunk after the other. */
static void scan_by_read(const struct filter *filter, int fd, uint64_t size)
{
	char *memory = aligned_alloc(CARRY, CARRY + CHUNK), *buf = memory + CARRY;
	size_t begin = 0;
	uint64_t pos;
	ssize_t len;

	if (!memory)
		die(ENOMEM, "a buffer");
	for (pos = 0; pos < size; pos += CHUNK) {
		len = read(fd, buf, CHUNK);
		if (len != CHUNK)
			die(len < 0 ? errno : EIO, "read at %" PRIu64, pos);
		filter->run(buf - begin, CHUNK + begin, pos - begin);
		begin = filter->overlap;
		memcpy(buf - begin, buf + CHUNK - begin, begin);
	}
	free(memory);
}

static void scan_mapping(const struct filter *filter, int fd, uint64_t size)
{
	char *memory = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		die(errno, "mmap");
	madvise(memory, size, MADV_SEQUENTIAL);
	filter->run(memory, size, 0);
	munmap(memory, size);
}

static void usage(void)
{
	const struct filter *filter;

	for (filter = filters; filter->name; filter++)
		fprintf(stderr,
			"usage: uring_filter [-b|-r|-m] [-p] DISK|FILE %s %s\n",
			filter->name, filter->operands);
	exit(2);
}

int main(int argc, char **argv)
{
	const struct filter *filter;
	void (*way)(const struct filter *, int, uint64_t) = scan;
	bool print = false, buffered = false;
	uint64_t size;
	int fd, key;
	size_t i;

	while ((key = getopt(argc, argv, "bmpr")) != -1) {
		switch (key) {
		case 'p': print = true; break;
		case 'b': buffered = true; break;
		case 'r': buffered = true; way = scan_by_read; break;
		case 'm': buffered = true; way = scan_mapping; break;
		default: usage();
		}
	}
	argc -= optind;
	argv += optind;
	if (argc < 2)
		usage();
	for (filter = filters; filter->name; filter++)
		if (!strcmp(argv[1], filter->name) &&
		    argc - 2 == filter->nr_operands)
			break;
	if (!filter->name)
		usage();
	filter->setup(argv + 2);

	fd = open_disk(argv[0], buffered, &size);
	way(filter, fd, size);
	if (!print)
		printf("%zu\n", matches.nr);
	for (i = 0; print && i < matches.nr; i++)
		printf("%" PRIu64 "\n", matches.pos[i]);
	return 0;
}
