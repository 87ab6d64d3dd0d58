/* SPDX-License-Identifier: GPL-2.0 */
/* Printing of a scan's matches and progress. */
#ifndef BLKBPF_SCAN_H
#define BLKBPF_SCAN_H

#include <time.h>
#include "main.h"

enum print_what { PRINT_POS, PRINT_LBA, PRINT_TEXT, PRINT_BYTES, PRINT_NONE };

/**
 * struct scan_printer - the state of the output
 * @what:       of --print
 * @block_size: of the device's logical blocks
 * @obj:        for the global variables; NULL for a pinned program
 * @devs:       there are several devices: a match says of which it is
 * @progress:   there is a terminal for a progress line
 * @shown:      a progress line is on the terminal now
 * @write_error: stdout could not be written, and errno says why
 * @begun:      time of the beginning
 * @records:    matches received
 * @bytes:      bytes of matches received
 */
struct scan_printer {
	enum print_what what;
	uint32_t block_size;
	const struct blkbpf_object *obj;
	bool devs;
	bool progress;
	bool shown;
	bool write_error;
	struct timespec begun;
	uint64_t records;
	uint64_t bytes;
};

void scan_print_begin(struct scan_printer *printer);
int scan_print_matches(void *ctx, const struct blk_bpf_match *matches, size_t nr,
		       const void *data);
int scan_print_progress(void *ctx, const struct blkbpf_scan_result *so_far);
/* @result, with JSON: goes behind the matches, and is freed */
void scan_print_end(struct scan_printer *printer, struct json_object *result);

#endif /* BLKBPF_SCAN_H */
