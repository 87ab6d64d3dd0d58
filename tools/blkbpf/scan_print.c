// SPDX-License-Identifier: GPL-2.0
/*
 * A scan's matches and progress. Matches are printed as they come: there can be
 * more of them than fit in memory, in JSON too.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "scan.h"

void scan_print_begin(struct scan_printer *printer)
{
	clock_gettime(CLOCK_MONOTONIC, &printer->begun);
	if (json_output)
		printf(printer->what == PRINT_NONE ? "{" : "{\"matches\":[");
}

/* Text on one line, from which the bytes can be told. */
static void print_text(const unsigned char *bytes, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (bytes[i] == '\n')
			fputs("\\n", stdout);
		else if (bytes[i] == '\t')
			fputs("\\t", stdout);
		else if (bytes[i] == '\\')
			fputs("\\\\", stdout);
		else if (bytes[i] < 0x80 && isprint(bytes[i]))
			putchar(bytes[i]);
		else
			printf("\\x%02x", bytes[i]);
	}
}

static void print_json(struct scan_printer *printer,
		       const struct blk_bpf_match *m, const unsigned char *bytes)
{
	struct json_object *obj = must(json_object_new_object());

	json_add_u64(obj, "pos", m->pos);
	json_add_u64(obj, "len", m->len);
	json_add_u64(obj, "lba", m->pos / printer->block_size);
	if (printer->devs)
		json_add_u64(obj, "dev", m->dev);
	if (bytes)
		json_add(obj, "hex", json_bytes_hex(bytes, m->len));
	printf("%s%s", printer->records ? ",\n" : "\n", json_text(obj));
	json_object_put(obj);
}

static void print_plain(const struct scan_printer *printer,
			const struct blk_bpf_match *m, const unsigned char *bytes)
{
	unsigned long long pos = m->pos;

	/* The number of the device, from 0, in the order of the operands. */
	if (printer->devs && printer->what != PRINT_BYTES)
		printf("%u ", m->dev);
	switch (printer->what) {
	case PRINT_POS:
		printf("%llu %u\n", pos, m->len);
		break;
	case PRINT_LBA:
		printf("%llu %llu %u\n", pos / printer->block_size,
		       pos % printer->block_size, m->len);
		break;
	case PRINT_TEXT:
		printf("%llu:", pos);
		print_text(bytes, m->len);
		putchar('\n');
		break;
	case PRINT_BYTES:
		fwrite(bytes, 1, m->len, stdout);
		break;
	case PRINT_NONE:
		break;
	}
}

static void clear_progress(struct scan_printer *printer)
{
	if (!printer->shown)
		return;
	fputs("\r\033[K", stderr);
	printer->shown = false;
}

int scan_print_matches(void *ctx, const struct blk_bpf_match *matches, size_t nr,
		       const void *data)
{
	struct scan_printer *printer = ctx;
	const unsigned char *bytes = data;
	size_t i;

	if (printer->what != PRINT_NONE)
		clear_progress(printer);
	for (i = 0; i < nr; i++) {
		if (json_output && printer->what != PRINT_NONE)
			print_json(printer, &matches[i], bytes);
		else if (!json_output)
			print_plain(printer, &matches[i], bytes);
		printer->records++;
		if (!bytes)
			continue;
		bytes += matches[i].len;
		printer->bytes += matches[i].len;
	}
	/* With no reader left there is nothing to scan for. */
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	printer->write_error = true;
	return errno ? -errno : -EIO;
}

int scan_print_progress(void *ctx, const struct blkbpf_scan_result *so_far)
{
	struct scan_printer *printer = ctx;
	struct timespec now;
	double seconds;

	if (!printer->progress)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	seconds = now.tv_sec - printer->begun.tv_sec +
		  (now.tv_nsec - printer->begun.tv_nsec) / 1e9;
	if (seconds < 1)
		return 0;
	fprintf(stderr, "\r%5.1f %%  %llu of %llu MiB  %.0f MiB/s  %llu matches\033[K",
		so_far->total ? 100.0 * so_far->done / so_far->total : 0.0,
		(unsigned long long)so_far->done >> 20,
		(unsigned long long)so_far->total >> 20,
		so_far->done / seconds / (1 << 20),
		(unsigned long long)so_far->matches);
	fflush(stderr);
	printer->shown = true;
	return 0;
}

void scan_print_end(struct scan_printer *printer, struct json_object *result)
{
	const char *text;

	clear_progress(printer);
	if (!result)
		return;
	if (printer->what != PRINT_NONE)
		printf("%s],", printer->records ? "\n" : "");
	/* The members of @result follow in the object that is open. */
	text = json_text(result);
	puts(text + 1);
	json_object_put(result);
}
