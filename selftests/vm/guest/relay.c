// SPDX-License-Identifier: GPL-2.0
/*
 * The last stage of the guest's init: runs the command, carries its output to
 * the runner over virtio-serial ports, reports how it ended, powers off.
 *
 * A write to such a port returns when the data is in the queue between guest and
 * host, which is lost when the machine goes. So the report says how much there
 * was, and the power stays on until the runner has answered that it has it all.
 *
 * The command gets pipes and not the ports themselves: a port can be opened
 * once only, so that "> /dev/stderr" in a script would fail.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORTS "/sys/class/virtio-ports"

struct stream {
	int from;	/* our end of the command's pipe, -1 when it has ended */
	int port;
	unsigned long long carried;	/* bytes */
};

static void power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	_exit(1);	/* init must not return: the kernel panics, the runner sees it */
}

__attribute__((noreturn, format(printf, 1, 2)))
static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "relay: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	power_off();
	abort();
}

static bool port_has_name(const char *port, const char *wanted)
{
	char path[300], name[64] = "";
	FILE *file;

	snprintf(path, sizeof(path), PORTS "/%s/name", port);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(name, sizeof(name), file))
		name[0] = '\0';
	fclose(file);
	name[strcspn(name, "\n")] = '\0';
	return !strcmp(name, wanted);
}

static int open_port(const char *name, int mode)
{
	char path[300];
	struct dirent *entry;
	DIR *dir = opendir(PORTS);
	int fd = -1;

	if (!dir)
		die("cannot read %s: %s", PORTS, strerror(errno));
	while (fd < 0 && (entry = readdir(dir))) {
		if (!port_has_name(entry->d_name, name))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		fd = open(path, mode | O_CLOEXEC);
		if (fd < 0)
			die("cannot open port %s: %s", name, strerror(errno));
	}
	closedir(dir);
	if (fd < 0)
		die("the machine has no port named %s", name);
	return fd;
}

static void write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t done = write(fd, data, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			die("cannot write to the runner: %s", strerror(errno));
		data += done;
		len -= done;
	}
}

/* Carries what is there; false when there is nothing more at the moment. */
static bool carry(struct stream *stream)
{
	static char buffer[32768];
	ssize_t len;

	if (stream->from < 0)
		return false;
	len = read(stream->from, buffer, sizeof(buffer));
	if (len > 0) {
		write_all(stream->port, buffer, len);
		stream->carried += len;
		return true;
	}
	if (len < 0 && errno == EINTR)
		return true;
	if (len < 0 && errno == EAGAIN)
		return false;
	close(stream->from);
	stream->from = -1;
	return false;
}

static pid_t start(char **argv, struct stream *streams)
{
	int pipes[2][2];
	pid_t child;

	for (int i = 0; i < 2; i++) {
		if (pipe2(pipes[i], O_CLOEXEC))
			die("pipe: %s", strerror(errno));
		streams[i].from = pipes[i][0];
		streams[i].carried = 0;
	}
	child = fork();
	if (child < 0)
		die("fork: %s", strerror(errno));
	if (!child) {
		int null = open("/dev/null", O_RDONLY);
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setsid();
		dup2(null, 0);
		dup2(pipes[0][1], 1);
		dup2(pipes[1][1], 2);
		if (null > 2)
			close(null);
		execvp(argv[0], argv);
		dprintf(2, "%s: %s\n", argv[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	for (int i = 0; i < 2; i++) {
		close(pipes[i][1]);
		fcntl(streams[i].from, F_SETFL, O_NONBLOCK);
	}
	return child;
}

/* Reaps whoever ended; true, with the status, when it was the command. */
static bool reap(pid_t command, int *status)
{
	bool ended = false;
	pid_t pid;
	int how;

	while ((pid = waitpid(-1, &how, WNOHANG)) > 0) {
		if (pid != command)
			continue;
		*status = WIFSIGNALED(how) ? 128 + WTERMSIG(how)
					   : WEXITSTATUS(how);
		ended = true;
	}
	return ended;
}

static int relay(pid_t command, struct stream *streams, int signals)
{
	struct pollfd polled[3] = {
		{ .events = POLLIN },
		{ .events = POLLIN },
		{ .fd = signals, .events = POLLIN },
	};
	int status = 0;

	for (;;) {
		struct signalfd_siginfo info;

		for (int i = 0; i < 2; i++)
			polled[i].fd = streams[i].from;
		if (poll(polled, 3, -1) < 0 && errno != EINTR)
			die("poll: %s", strerror(errno));
		for (int i = 0; i < 2; i++)
			if (polled[i].revents)
				carry(&streams[i]);
		if (polled[2].revents &&
		    read(signals, &info, sizeof(info)) > 0 &&
		    reap(command, &status))
			break;
	}
	/*
	 * What the command wrote is in the pipes by now. Something it left in
	 * the background may hold them open for ever: do not wait for an end.
	 */
	for (int i = 0; i < 2; i++)
		while (carry(&streams[i]))
			;
	return status;
}

int main(int argc, char **argv)
{
	struct stream streams[2];
	int control, signals, status;
	char line[128];
	sigset_t chld;

	if (argc < 3)
		die("usage: relay TOKEN COMMAND [ARG...]");
	control = open_port("control", O_RDWR);
	streams[0].port = open_port("out", O_WRONLY);
	streams[1].port = open_port("err", O_WRONLY);

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	signals = signalfd(-1, &chld, SFD_CLOEXEC);
	if (signals < 0)
		die("signalfd: %s", strerror(errno));

	snprintf(line, sizeof(line), "ready %s\n", argv[1]);
	write_all(control, line, strlen(line));
	status = relay(start(argv + 2, streams), streams, signals);
	sync();
	snprintf(line, sizeof(line), "status %s %d %llu %llu\n", argv[1], status,
		 streams[0].carried, streams[1].carried);
	write_all(control, line, strlen(line));
	/* Whatever is read, a byte or the runner's end, nothing is lost now. */
	while (read(control, line, 1) < 0 && errno == EINTR)
		;
	power_off();
}
