// SPDX-License-Identifier: GPL-2.0
/*
 * Random calls of /dev/blk_bpf from several processes, that know what an
 * argument looks like: most are right but for a field or two.
 *
 *   ioctl_fuzz [--seed N] [--calls N] [--processes N] [--target DRIVE
 *              --image FILE] --program PIN… DEVICE…
 *
 * The processes make links of the programs, attach them to the devices, read
 * what is attached to, follow, scan, detach; the devices may come and go, and
 * with --target, scans go to that drive, too, with FILE as the image of the first
 * program. The last process has no rights. A signal every few milliseconds
 * interrupts what is interruptible.
 *
 * Checked of each call: that its errno is one the header names for it, that a
 * refusal has a sentence that ends inside its buffer, that nothing is written
 * beside the buffers, that no kernel address comes back, that what was refused
 * to who has no rights is, and that a scan's answer is in order.
 *
 * Prints a line "NAME ERRNO COUNT" for each ioctl and outcome. Exits with 0, with
 * 1 if a check failed, and with 2 if it could not run.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ioctl_fuzz.h"

#define SLOT_BYTES	(64 * PAGE)
/* Every so many microseconds, a signal. */
#define TICK_US		7000
#define VIOLATIONS_SHOWN	20
/* Who has no rights. */
#define NOBODY		65534

static const char * const call_names[NR_CALLS + 1] = {
	"features", "last_msg", "attach", "list", "missed", "stream", "scan",
	"drain", "other",
};

/* Random numbers: xorshift64*, Vigna 2016. */

uint64_t fuzz_random(struct fuzzer *f)
{
	f->random ^= f->random >> 12;
	f->random ^= f->random << 25;
	f->random ^= f->random >> 27;
	return f->random * 0x2545f4914f6cdd1dULL;
}

uint32_t fuzz_below(struct fuzzer *f, uint32_t limit)
{
	return (fuzz_random(f) >> 32) % limit;
}

bool fuzz_one_in(struct fuzzer *f, uint32_t n)
{
	return !fuzz_below(f, n);
}

void fuzz_violation(struct fuzzer *f, const char *fmt, ...)
{
	char text[512];
	va_list args;

	if (__atomic_add_fetch(&f->tally->violations, 1, __ATOMIC_RELAXED) >
	    VIOLATIONS_SHOWN)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	dprintf(1, "violation: process %d: %s\n", f->number, text);
}

/*
 * bpf(2), as far as it is needed. Headers older than 6.4 have no names for a
 * link of a struct_ops map: map_fd lies where prog_fd does, new_map_fd where
 * new_prog_fd does.
 */
#define STRUCT_OPS	44

static int bpf(int cmd, union bpf_attr *attr)
{
	return syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static int obj_get(const char *path)
{
	union bpf_attr attr = { .pathname = (uintptr_t)path };

	return bpf(BPF_OBJ_GET, &attr);
}

static int link_create(int map)
{
	union bpf_attr attr = {
		.link_create = { .prog_fd = map, .attach_type = STRUCT_OPS },
	};

	return bpf(BPF_LINK_CREATE, &attr);
}

static void link_update(int link, int map)
{
	union bpf_attr attr = {
		.link_update = { .link_fd = link, .new_prog_fd = map },
	};

	bpf(BPF_LINK_UPDATE, &attr);
}

static void link_detach(int link)
{
	union bpf_attr attr = { .link_detach = { .link_fd = link } };

	bpf(BPF_LINK_DETACH, &attr);
}

/* Files */

int fuzz_wrong_file(struct fuzzer *f)
{
	return fuzz_one_in(f, 3) ? -1 - (int)fuzz_below(f, 3) :
		f->wrong[fuzz_below(f, ARRAY_SIZE(f->wrong))];
}

int fuzz_device(struct fuzzer *f, bool *own)
{
	const char *path = f->given->devices[fuzz_below(f, f->given->nr_devices)];
	int fd = open(path, (fuzz_one_in(f, 16) ? O_WRONLY : O_RDONLY) | O_CLOEXEC);

	*own = fd >= 0;
	return fd >= 0 ? fd : fuzz_wrong_file(f);
}

static void close_held(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Beside the calls: links come and go, devices are read, streams too. */

static void touch_link(struct fuzzer *f)
{
	int at = fuzz_below(f, HELD_MAX);
	int program = f->given->programs[fuzz_below(f, f->given->nr_programs)];

	if (f->links[at] < 0) {
		f->links[at] = link_create(program);
		f->ids[at] = 0;
		return;
	}
	switch (fuzz_below(f, 4)) {
	case 0:
		link_detach(f->links[at]);
		break;
	case 1:
		link_update(f->links[at], program);
		break;
	default:
		close_held(&f->links[at]);
	}
}

static void read_device(struct fuzzer *f)
{
	static uint8_t buffer[16 * PAGE] __attribute__((aligned(4096)));
	const char *path = f->given->devices[fuzz_below(f, f->given->nr_devices)];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
	int i;

	if (fd < 0)
		return;
	for (i = 0; i < 4; i++) {
		off_t pos = fuzz_below(f, 256) * PAGE;

		if (pread(fd, buffer, PAGE << fuzz_below(f, 5), pos) < 0 &&
		    errno != EIO && errno != EINTR && errno != ENXIO &&
		    errno != ENODATA && errno != EILSEQ && errno != EREMOTEIO)
			fuzz_violation(f, "read of %s: %s", path, strerror(errno));
	}
	close(fd);
}

static void touch_stream(struct fuzzer *f)
{
	int at = fuzz_below(f, HELD_MAX);
	uint8_t buffer[1024];

	if (f->streams[at] < 0)
		return;
	if (fuzz_one_in(f, 4)) {
		close_held(&f->streams[at]);
	} else if (read(f->streams[at], buffer, fuzz_below(f, sizeof(buffer))) < 0 &&
		   errno != EAGAIN && errno != EINVAL && errno != EINTR) {
		fuzz_violation(f, "read of a stream: %s", strerror(errno));
	}
}

static void reopen_control(struct fuzzer *f)
{
	int fd = open(BLK_BPF_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	close(f->control);
	f->control = fd;
}

static void touch_something(struct fuzzer *f)
{
	switch (fuzz_below(f, 8)) {
	case 0: case 1: case 2:
		touch_link(f);
		break;
	case 3: case 4:
		read_device(f);
		break;
	case 5: case 6:
		touch_stream(f);
		break;
	default:
		reopen_control(f);
	}
}

/* A process */

static void *map(size_t size, int prot)
{
	void *memory = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		err(2, "mmap");
	return memory;
}

static void make_slots(struct fuzzer *f)
{
	int i;

	for (i = 0; i < NR_SLOTS; i++) {
		struct slot *slot = &f->slots[i];

		slot->begin = map(SLOT_BYTES + PAGE, PROT_READ | PROT_WRITE);
		slot->guard = slot->begin + SLOT_BYTES;
		if (mprotect(slot->guard, PAGE, PROT_NONE))
			err(2, "mprotect");
	}
	f->read_only = map(PAGE, PROT_READ);
}

static void make_wrong_files(struct fuzzer *f)
{
	int pipes[2];

	if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK))
		err(2, "pipe");
	f->wrong[0] = pipes[0];
	f->wrong[1] = pipes[1];
	f->wrong[2] = open("/dev/null", O_RDWR | O_CLOEXEC);
	f->wrong[3] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void on_tick(int number)
{
	(void)number;
}

static void start_ticking(void)
{
	struct sigaction action = { .sa_handler = on_tick };
	struct itimerval timer = {
		.it_interval.tv_usec = TICK_US, .it_value.tv_usec = TICK_US,
	};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void drop_rights(void)
{
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		err(2, "setresuid");
}

static void run_process(const struct given *given, struct tally *tally,
			uint64_t seed, int number, bool privileged, uint64_t calls)
{
	struct fuzzer f = {
		.given = given, .tally = tally, .number = number,
		.privileged = privileged,
		.random = (seed * 64 + number) * 0x9e3779b97f4a7c15ULL | 1,
	};
	int i;

	make_slots(&f);
	make_wrong_files(&f);
	f.control = open(BLK_BPF_DEVICE, O_RDWR | O_CLOEXEC);
	if (f.control < 0)
		err(2, "%s", BLK_BPF_DEVICE);
	for (i = 0; i < HELD_MAX; i++) {
		f.streams[i] = -1;
		f.links[i] = i % 2 ? link_create(given->programs[0]) : -1;
	}
	if (!privileged)
		drop_rights();
	start_ticking();
	while (calls) {
		if (fuzz_one_in(&f, 4)) {
			touch_something(&f);
		} else {
			fuzz_call(&f);
			calls--;
		}
	}
	exit(0);
}

/* The parent */

static void print_tally(const struct tally *tally)
{
	int call, number;

	for (call = 0; call <= NR_CALLS; call++)
		for (number = 0; number < ERRNO_MAX; number++)
			if (tally->calls[call][number])
				printf("%s %s %llu\n", call_names[call],
				       number ? strerrorname_np(number) : "0",
				       (unsigned long long)
				       tally->calls[call][number]);
}

static void read_image(struct given *given, const char *path)
{
	struct stat about;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &about))
		err(2, "%s", path);
	given->image = malloc(about.st_size);
	if (!given->image ||
	    read(fd, given->image, about.st_size) != about.st_size)
		err(2, "%s", path);
	given->image_len = about.st_size;
	close(fd);
}

static void add_program(struct given *given, const char *pin)
{
	if (given->nr_programs == GIVEN_MAX)
		errx(2, "at most %d programs", GIVEN_MAX);
	given->programs[given->nr_programs] = obj_get(pin);
	if (given->programs[given->nr_programs++] < 0)
		err(2, "%s", pin);
}

static int run_all(const struct given *given, uint64_t seed, uint64_t calls,
		   int processes)
{
	struct tally *tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int i, status, result = 0;

	if (tally == MAP_FAILED)
		err(2, "mmap");
	for (i = 0; i < processes; i++) {
		/* The last has what the division leaves. */
		uint64_t share = calls / processes +
			(i == processes - 1 ? calls % processes : 0);
		pid_t pid = fork();

		if (pid < 0)
			err(2, "fork");
		if (!pid)
			run_process(given, tally, seed, i,
				    processes == 1 || i < processes - 1, share);
	}
	while (wait(&status) > 0) {
		if (!WIFEXITED(status) || WEXITSTATUS(status)) {
			printf("violation: a process ended with status 0x%x\n",
			       status);
			result = 1;
		}
	}
	print_tally(tally);
	return tally->violations ? 1 : result;
}

static uint64_t number_of(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (!*text || *end)
		errx(2, "%s is no number", text);
	return value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "calls", required_argument, NULL, 'c' },
		{ "processes", required_argument, NULL, 'n' },
		{ "program", required_argument, NULL, 'p' },
		{ "target", required_argument, NULL, 't' },
		{ "image", required_argument, NULL, 'i' },
		{ 0 }
	};
	uint64_t seed = 1, calls = 20000, processes = 4;
	struct given given = { 0 };
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 's': seed = number_of(optarg); break;
		case 'c': calls = number_of(optarg); break;
		case 'n': processes = number_of(optarg); break;
		case 'p': add_program(&given, optarg); break;
		case 't': given.target = optarg; break;
		case 'i': read_image(&given, optarg); break;
		default: return 2;
		}
	}
	for (; optind < argc && given.nr_devices < GIVEN_MAX; optind++)
		given.devices[given.nr_devices++] = argv[optind];
	if (!given.nr_devices || !given.nr_programs || !processes || processes > 64)
		errx(2, "--program PIN and a DEVICE are needed, and 1 to 64 processes");
	return run_all(&given, seed, calls, processes);
}
