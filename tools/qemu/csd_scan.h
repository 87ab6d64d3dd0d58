/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An Execute at work: see csd_execute.c and csd_scan.c. */
#ifndef HW_NVME_CSD_SCAN_H
#define HW_NVME_CSD_SCAN_H

#include "csd.h"

/**
 * struct CsdExecute - an Execute
 * @job:      its job
 * @prog:     the program
 * @set:      its memory; its own if it has no identifier
 * @mode:     NVME_CSD_CALL or NVME_CSD_SCAN
 * @flags:    NVME_CSD_EXEC_*
 * @data:     in the SLM, as @result; @data_len bytes, and @tail_len behind them
 * @pos:      of the first byte on the device
 * @dev:      for matches
 * @unit:     bytes a call
 * @overlap:  bytes behind a unit that a call sees
 * @result:   where the result goes, or NULL
 * @room:     matches that it has room for
 * @fuel:     instructions that are left, and
 * @deadline_fuel: those until the deadline, in the timing model
 * @thread:   what runs the program
 * @ctx:      what the program is told
 * @visible:  data_end - data of the call under way
 * @emitted:  matches of the call under way
 * @emit_err: the first error of one that was refused
 * @match:    matches of the call under way
 * @res:      the result, in host order; its cursor is where the scan is
 */
typedef struct CsdExecute {
    CsdJob job;
    CsdProgram *prog;
    CsdRangeSet *set;
    uint8_t mode;
    uint32_t flags;
    uint8_t *data;
    uint64_t data_len;
    uint32_t tail_len;
    uint64_t pos;
    uint32_t dev;
    uint64_t unit;
    uint32_t overlap;
    uint8_t *result;
    uint32_t room;
    uint64_t fuel;
    uint64_t deadline_fuel;
    struct bpfvm_thread *thread;
    struct blk_bpf_ctx ctx;
    uint64_t visible;
    uint32_t emitted;
    int emit_err;
    GArray *match;
    struct nvme_csd_result res;
} CsdExecute;

void csd_scan_run(CsdJob *job);
const char *csd_scan_fault_text(uint32_t fault);

#endif /* HW_NVME_CSD_SCAN_H */
