// SPDX-License-Identifier: GPL-2.0
/* blkbpf tail: what an attached program finds, as it finds it. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "main.h"

enum { OPT_BUFFER = OPT_LONG };

static const struct opt tail_opts[] = {
	{ 'n', "lines", "N", "end after N events" },
	{ OPT_BUFFER, "buffer", "N",
	  "buffer N events in the kernel, 4096 if not given" },
	{}
};

static const char *const event_names[] = {
	[BLK_BPF_EVENT_MATCH] = "match",
	[BLK_BPF_EVENT_FAILED] = "failed",
	[BLK_BPF_EVENT_MISSED] = "missed",
	[BLK_BPF_EVENT_LOST] = "lost",
	[BLK_BPF_EVENT_EJECTED] = "ejected",
	[BLK_BPF_EVENT_END] = "end",
};

static const char *const op_names[] = {
	[BLK_BPF_OP_READ] = "read",
	[BLK_BPF_OP_WRITE] = "write",
	[BLK_BPF_OP_FLUSH] = "flush",
	[BLK_BPF_OP_DISCARD] = "discard",
	[BLK_BPF_OP_WRITE_ZEROES] = "write-zeroes",
	[BLK_BPF_OP_ZONE] = "zone",
	[BLK_BPF_OP_OTHER] = "other",
};

static const char *name_of(const char *const *names, size_t nr, size_t i)
{
	return i < nr ? names[i] : "unknown";
}

#define NAME_OF(names, i) name_of(names, ARRAY_SIZE(names), i)

const char *op_name(uint32_t op)
{
	return NAME_OF(op_names, op);
}

static bool has_value(const struct blk_bpf_event *e)
{
	return e->type == BLK_BPF_EVENT_FAILED || e->type == BLK_BPF_EVENT_LOST ||
	       e->type == BLK_BPF_EVENT_EJECTED;
}

static bool has_extent(const struct blk_bpf_event *e)
{
	return e->type == BLK_BPF_EVENT_MATCH || e->type == BLK_BPF_EVENT_FAILED ||
	       e->type == BLK_BPF_EVENT_MISSED || e->type == BLK_BPF_EVENT_EJECTED;
}

/* With JSON one object a line, so that a reader need not wait for the end. */
static void print_event(const struct blk_bpf_event *e)
{
	struct json_object *obj;

	if (json_output) {
		obj = json_object_new_object();
		json_add_u64(obj, "time_ns", e->time_ns);
		json_add_str(obj, "type", NAME_OF(event_names, e->type));
		if (has_extent(e)) {
			json_add_str(obj, "op", op_name(e->op));
			json_add_u64(obj, "pos", e->pos);
			json_add_u64(obj, "len", e->len);
		}
		if (has_value(e))
			json_add(obj, "value", json_object_new_int64(e->value));
		json_print(obj);
		return;
	}
	printf("%llu.%09llu %s", (unsigned long long)e->time_ns / 1000000000,
	       (unsigned long long)e->time_ns % 1000000000,
	       NAME_OF(event_names, e->type));
	if (has_extent(e))
		printf(" %s %llu %u", op_name(e->op),
		       (unsigned long long)e->pos, e->len);
	if (e->type == BLK_BPF_EVENT_FAILED)
		printf(" %s", strerrorname_np(-e->value) ?: "error");
	else if (has_value(e))
		printf(" %lld", (long long)e->value);
	putchar('\n');
}

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	(void)sig;
	interrupted = 1;
}

/* SIGINT and SIGTERM arrive in ppoll() only, so that none is lost. */
static void block_signals(sigset_t *unblocked)
{
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t blocked;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, unblocked);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/* From here on no event is lost unseen: who waits for that reads it. */
static void print_following(uint32_t id)
{
	struct json_object *obj;

	if (!json_output) {
		fprintf(stderr, "following attachment %u\n", id);
		return;
	}
	obj = json_object_new_object();
	json_add_u64(obj, "following", id);
	fprintf(stderr, "%s\n", json_text(obj));
	json_object_put(obj);
}

static int follow(int fd, uint64_t lines, const sigset_t *unblocked)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };
	struct blk_bpf_event events[256];
	ssize_t nr, i;

	while (!interrupted) {
		if (ppoll(&pollfd, 1, NULL, unblocked) < 0) {
			if (errno == EINTR)
				continue;
			return fail(errno, "tail: poll: %s", strerror(errno));
		}
		nr = blkbpf_stream_read(fd, events, ARRAY_SIZE(events));
		if (nr == -EAGAIN)
			continue;
		if (nr < 0)
			return fail_library();
		if (!nr)
			return EXIT_OK;
		for (i = 0; i < nr; i++) {
			print_event(&events[i]);
			if (lines && !--lines)
				return EXIT_OK;
		}
		if (fflush(stdout))
			return EXIT_FAILED;	/* finish_output() says why */
	}
	return EXIT_OK;
}

static int tail(int argc, char **argv)
{
	struct blk_bpf_attachment *entries;
	uint32_t buffer = 0, id;
	uint64_t lines = 0;
	sigset_t unblocked;
	int key, fd, ret;
	size_t nr;

	while ((key = next_option(argc, argv)) != -1) {
		if (key == 'n' && (!parse_u64(optarg, &lines) || !lines))
			return fail_usage("tail: --lines %s: give a number above 0",
					  optarg);
		if (key == OPT_BUFFER && (!parse_u32(optarg, &buffer) || !buffer))
			return fail_usage("tail: --buffer %s: give a number above 0",
					  optarg);
	}
	if (!operands_ok(argc, 1, 1))
		return EXIT_USAGE;
	if (!find_attachments(argv[optind], &entries, &nr))
		return EXIT_FAILED;
	id = entries[0].id;
	free(entries);
	if (nr > 1)
		return fail(EINVAL, "%s: %zu programs are attached to it: give the id of one, from 'blkbpf list'",
			    argv[optind], nr);
	fd = blkbpf_stream_open(id, buffer);
	if (fd < 0)
		return fail_library();
	block_signals(&unblocked);
	print_following(id);
	ret = follow(fd, lines, &unblocked);
	close(fd);
	return ret;
}

const struct command tail_command = {
	.name = "tail",
	.operands = "ID|DEVICE",
	.brief = "show the matches of an attached program, live",
	.opts = tail_opts,
	.run = tail,
};
