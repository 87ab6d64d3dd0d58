// SPDX-License-Identifier: GPL-2.0
/* BLK_BPF_IOC_SCAN until it is done; and the kernel target, which is no more. */
#include <errno.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "target.h"

/* Matches and bytes fetched by one call: big enough that calls do not count. */
#define BATCH_MATCHES	65536U
#define BATCH_BYTES	(4U << 20)

_Static_assert(BATCH_BYTES > BLK_BPF_UNIT_MAX + BLK_BPF_OVERLAP_MAX,
	       "the longest match must fit, or a scan could not go on");

struct scan {
	const struct blkbpf_scan_opts *opts;
	struct blkbpf_scan_result *result;
	const struct blk_bpf_range *ranges;	/* never none */
	size_t nr_ranges;
	struct blk_bpf_match *matches;
	void *data;
	struct blk_bpf_scan arg;
	int control;
	const struct blkbpf_prog *prog;
	const char *drive;		/* NULL: the kernel itself */
	int32_t *devs;
};

static void add_stats(struct blk_bpf_scan_stats *sum,
		      const struct blk_bpf_scan_stats *s)
{
	sum->bytes_read += s->bytes_read;
	sum->bytes_scanned += s->bytes_scanned;
	sum->units += s->units;
	sum->matches += s->matches;
	sum->prog_ns += s->prog_ns;
	sum->time_ns += s->time_ns;
	sum->reads += s->reads;
	if (s->threads > sum->threads)
		sum->threads = s->threads;
}

static void add_path(struct blk_bpf_scan_path *sum,
		     const struct blk_bpf_scan_path *p)
{
	sum->path |= p->path;
	sum->loads += p->loads;
	sum->link_to_drive += p->link_to_drive;
	sum->link_to_host += p->link_to_host;
	sum->link_data += p->link_data;
	sum->commands += p->commands;
	sum->insns += p->insns;
	sum->drive_ns += p->drive_ns;
	sum->cpu_ns += p->cpu_ns;
}

/* One call; takes the results along even if it failed. */
static int scan_call(struct scan *scan)
{
	const struct blkbpf_scan_opts *opts = scan->opts;
	struct blkbpf_scan_result *result = scan->result;
	struct blk_bpf_scan *arg = &scan->arg;
	int ret, delivered = 0;

	arg->max_matches = opts->count ? 0 : BATCH_MATCHES;
	if (opts->limit && opts->limit - result->matches < arg->max_matches)
		arg->max_matches = opts->limit - result->matches;
	arg->nr_matches = 0;
	arg->status = 0;
	arg->data_used = 0;
	memset(&arg->stats, 0, sizeof(arg->stats));
	memset(&arg->path, 0, sizeof(arg->path));
	if (scan->drive) {
		ret = drive_fill(scan->prog, scan->drive, arg);
		if (ret)
			return ret;
	}

	ret = control_ioctl(scan->control, BLK_BPF_IOC_SCAN, arg, "scan");
	if (ret == -EINTR) {
		arg->status = BLK_BPF_SCAN_INTERRUPTED;
		ret = 0;
	}
	if (scan->drive)
		drive_take(scan->prog, arg);
	add_stats(&result->stats, &arg->stats);
	add_path(&result->link, &arg->path);
	result->insns = result->link.insns;
	result->cursor = arg->cursor;
	result->done = ranges_done(scan->ranges, scan->nr_ranges, &arg->cursor);
	result->matches += opts->count ? arg->stats.matches : arg->nr_matches;
	if (arg->nr_matches && opts->match)
		delivered = opts->match(opts->ctx, scan->matches,
					arg->nr_matches,
					opts->data ? scan->data : NULL);
	if (delivered)
		return blkbpf_err(delivered, "scan: ended by its caller");
	return ret;
}

static int scan_loop(struct scan *scan)
{
	const struct blkbpf_scan_opts *opts = scan->opts;
	struct blkbpf_scan_result *result = scan->result;
	int ret;

	for (;;) {
		if (opts->stop && *opts->stop) {
			result->status = BLKBPF_SCAN_INTERRUPTED;
			return 0;
		}
		ret = scan_call(scan);
		if (ret)
			return ret;
		switch (scan->arg.status) {
		case BLK_BPF_SCAN_DONE:
			result->done = result->total;
			/* fallthrough */
		case BLK_BPF_SCAN_STOPPED:
			result->status = scan->arg.status;
			return 0;
		case BLK_BPF_SCAN_FULL:
			if (opts->limit && result->matches >= opts->limit) {
				result->status = BLKBPF_SCAN_LIMIT;
				return 0;
			}
			break;
		case BLK_BPF_SCAN_INTERRUPTED:
			break;
		default:
			return blkbpf_err(EPROTO, "scan: the kernel ended it with status %u, which this library does not know: use the one that belongs to the kernel module",
					  scan->arg.status);
		}
		if (opts->progress) {
			ret = opts->progress(opts->ctx, result);
			if (ret)
				return blkbpf_err(ret, "scan: ended by its caller");
		}
	}
}

static int kernel_check_opts(const struct blkbpf_scan_opts *opts)
{
	if (opts->trace)
		return blkbpf_err(EOPNOTSUPP, "scan: only the target 'user' can trace a program");
	if (opts->buffered)
		return blkbpf_err(EOPNOTSUPP, "scan: only the target 'user' reads through the page cache");
	return 0;
}

static int scan_init(struct scan *scan, const struct blkbpf_prog *prog,
		     int dev_fd, struct blk_bpf_range *whole)
{
	const struct blkbpf_scan_opts *opts = scan->opts;
	size_t i;
	int fd;

	scan->ranges = opts->ranges;
	scan->nr_ranges = opts->nr_ranges;
	if (!scan->nr_ranges) {
		/* Only to know how much there is; the kernel says what is wrong. */
		if (ioctl(dev_fd, BLKGETSIZE64, &whole->len))
			whole->len = 0;
		scan->ranges = whole;
		scan->nr_ranges = 1;
	}
	for (i = 0; i < scan->nr_ranges; i++)
		scan->result->total += scan->ranges[i].len;

	fd = blkbpf_prog__fd(prog);
	if (fd < 0)
		return fd;
	scan->arg = (struct blk_bpf_scan) {
		.hdr.flags = (opts->count ? BLK_BPF_SCAN_COUNT : 0) |
			     (opts->data ? BLK_BPF_SCAN_DATA : 0),
		.prog_fd = fd,
		.dev_fd = dev_fd,
		.unit = opts->unit,
		.threads = opts->threads,
		.ranges = (uintptr_t)opts->ranges,
		.nr_ranges = opts->nr_ranges,
		.cursor = opts->cursor,
	};
	memcpy(scan->arg.args, opts->args, sizeof(opts->args));
	if (!opts->count) {
		scan->matches = malloc(BATCH_MATCHES * sizeof(*scan->matches));
		if (!scan->matches)
			return blkbpf_err(ENOMEM, "scan: out of memory");
		scan->arg.matches = (uintptr_t)scan->matches;
	}
	if (opts->data) {
		scan->data = malloc(BATCH_BYTES);
		if (!scan->data)
			return blkbpf_err(ENOMEM, "scan: out of memory");
		scan->arg.data = (uintptr_t)scan->data;
		scan->arg.data_len = BATCH_BYTES;
	}
	/* Of its own for each scan: the file keeps where the scan goes on. */
	scan->control = control_open();
	return scan->control < 0 ? scan->control : 0;
}

/* With several devices the ranges are those of each. */
static int scan_devs(struct scan *scan, const struct blkbpf_scan_opts *opts)
{
	size_t i;

	if (!opts->nr_devs)
		return 0;
	if (opts->nr_devs > BLK_BPF_DEVS_MAX)
		return blkbpf_err(EINVAL, "scan: %zu devices are too many: at most %u",
				  opts->nr_devs, BLK_BPF_DEVS_MAX);
	scan->devs = calloc(opts->nr_devs, sizeof(*scan->devs));
	if (!scan->devs)
		return blkbpf_err(ENOMEM, "scan: out of memory");
	for (i = 0; i < opts->nr_devs; i++)
		scan->devs[i] = opts->devs[i];
	scan->arg.devs = (uintptr_t)scan->devs;
	scan->arg.nr_devs = opts->nr_devs;
	scan->arg.dev_fd = -1;
	return 0;
}

/* Bytes of the devices when each is scanned whole, or of the ranges of each. */
static void scan_total(struct scan *scan, const struct blkbpf_scan_opts *opts)
{
	uint64_t len;
	size_t i;

	if (!opts->nr_devs)
		return;
	if (opts->nr_ranges) {
		scan->result->total *= opts->nr_devs;
		return;
	}
	scan->result->total = 0;
	for (i = 0; i < opts->nr_devs; i++)
		if (!ioctl(opts->devs[i], BLKGETSIZE64, &len))
			scan->result->total += len;
}

int ioctl_scan(const struct blkbpf_prog *prog, int dev_fd,
	       const struct blkbpf_scan_opts *opts,
	       struct blkbpf_scan_result *result, const char *drive)
{
	struct blk_bpf_range whole = {};
	struct scan scan = {
		.opts = opts,
		.result = result,
		.control = -1,
		.prog = prog,
		.drive = drive,
	};
	int ret, err;

	result->total = 0;
	ret = kernel_check_opts(opts);
	if (!ret)
		ret = scan_init(&scan, prog, dev_fd, &whole);
	if (!ret)
		ret = scan_devs(&scan, opts);
	if (!ret) {
		scan_total(&scan, opts);
		ret = scan_loop(&scan);
	}
	err = errno;
	if (scan.control >= 0)
		close(scan.control);
	free((void *)(uintptr_t)scan.arg.globals);
	free(scan.devs);
	free(scan.data);
	free(scan.matches);
	errno = err;
	return ret;
}

static int kernel_scan(const struct blkbpf_prog *prog, int dev_fd,
		       const struct blkbpf_scan_opts *opts,
		       struct blkbpf_scan_result *result)
{
	strcpy(result->path, "kernel");
	return ioctl_scan(prog, dev_fd, opts, result, NULL);
}

const struct target kernel_target = {
	.name = "kernel",
	.open = blkbpf_dev_open,
	.load = kernel_load,
	.check = kernel_check,
	.scan = kernel_scan,
};
