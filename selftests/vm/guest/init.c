// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's first process: makes what every system has, and hands over to
 * load, a script. In C, since an emulated CPU with a kernel that checks
 * everything takes a good part of a second for each program that a shell starts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOAD "/usr/lib/vm/load"

static const struct {
	const char *type;
	const char *at;
	unsigned long flags;
} mounts[] = {
	{ "proc", "/proc", MS_NOSUID | MS_NOEXEC | MS_NODEV },
	{ "sysfs", "/sys", MS_NOSUID | MS_NOEXEC | MS_NODEV },
	{ "devtmpfs", "/dev", MS_NOSUID },
	{ "tmpfs", "/dev/shm", 0 },
	{ "devpts", "/dev/pts", 0 },
	{ "tmpfs", "/run", 0 },
	{ "tmpfs", "/tmp", 0 },
	{ "debugfs", "/sys/kernel/debug", 0 },
	{ "tracefs", "/sys/kernel/tracing", 0 },
	{ "bpf", "/sys/fs/bpf", 0 },
	{ "cgroup2", "/sys/fs/cgroup", 0 },
};

static const char *const links[][2] = {
	{ "/proc/self/fd", "/dev/fd" },
	{ "/proc/self/fd/0", "/dev/stdin" },
	{ "/proc/self/fd/1", "/dev/stdout" },
	{ "/proc/self/fd/2", "/dev/stderr" },
};

/* What fails is said on the console; the runner then shows that. */
static void need(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "init: failed: %s: %s\n", what, strerror(errno));
	sync();
	reboot(RB_POWER_OFF);
	exit(1);
}

static void loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	/* Any family's will do, and the own kernels have no other. */
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	need(fd, "socket");
	need(ioctl(fd, SIOCSIFFLAGS, &request), "setting lo up");
	close(fd);
}

int main(void)
{
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		/* Some exist in what was mounted before. */
		mkdir(mounts[i].at, 0755);
		need(mount(mounts[i].type, mounts[i].at, mounts[i].type,
			   mounts[i].flags, NULL), mounts[i].at);
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		need(symlink(links[i][0], links[i][1]), links[i][1]);
	need(sethostname("guest", 5), "sethostname");
	loopback_up();
	need(setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1),
	     "setenv");
	need(setenv("HOME", "/root", 1), "setenv");
	need(setenv("TERM", "dumb", 1), "setenv");
	need(setenv("LANG", "C.UTF-8", 1), "setenv");
	execl("/bin/sh", "sh", LOAD, NULL);
	need(-1, LOAD);
}
