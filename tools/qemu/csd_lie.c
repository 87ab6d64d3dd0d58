/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lies on demand, so that a host can be tested against a drive that says of
 * itself what is not so, or of a program what it did not find.
 *
 *	lie=NAME[:NAME…]
 *
 * The drive tells one lie at a time: the first until it is reset, the next until
 * it is reset again, and so on, in turn. It works as it does without: only some
 * fields of its answers are others.
 */
#include "csd.h"
#include "qapi/error.h"

/* What a lie is in, beside the numbers of log pages: the result of an Execute. */
#define CSD_LIE_RESULT 0

/**
 * struct CsdLie - a field that is another than the truth
 * @name:  of the lie; one with several fields is in the table several times
 * @page:  the log page, or CSD_LIE_RESULT
 * @size:  of the field
 * @off:   from the beginning of the page
 * @value: what is said
 */
typedef struct CsdLie {
    const char *name;
    uint8_t page;
    uint8_t size;
    uint16_t off;
    uint64_t value;
} CsdLie;

#define LIE_AT(name, page, base, type, field, value) \
    { name, page, sizeof_field(type, field), (base) + offsetof(type, field), value }
#define LIE_INFO(name, field, value) \
    LIE_AT(name, NVME_CSD_LOG_INFO, 0, struct nvme_csd_log_info, field, value)
#define LIE_RESULT(name, field, value) \
    LIE_AT(name, CSD_LIE_RESULT, 0, struct nvme_csd_result, field, value)
#define LIE_MATCH(name, field, value) \
    LIE_AT(name, CSD_LIE_RESULT, sizeof(struct nvme_csd_result), \
           struct blk_bpf_match, field, value)
#define LIE_REACH(name, page, field, value) \
    LIE_AT(name, page, 0, struct nvme_csd_log_reach_hdr, field, value)
#define LIE_GROUP(name, field, value) \
    LIE_AT(name, NVME_CSD_LOG_REACH_GROUPS, \
           sizeof(struct nvme_csd_log_reach_hdr), struct nvme_csd_reach_group, \
           field, value)
#define LIE_ASSOC(name, field, value) \
    LIE_AT(name, NVME_CSD_LOG_REACH_ASSOC, \
           sizeof(struct nvme_csd_log_reach_hdr), struct nvme_csd_reach_assoc, \
           field, value)
/* A word of the list behind the first group. */
#define LIE_NSID(name, n, value) \
    { name, NVME_CSD_LOG_REACH_GROUPS, 4, \
      sizeof(struct nvme_csd_log_reach_hdr) + \
      sizeof(struct nvme_csd_reach_group) + 4 * (n), value }

static const CsdLie csd_lies[] = {
    /* Figures that make no sense. */
    LIE_INFO("layout", layout, 99),
    LIE_INFO("short-info", size, 8),
    LIE_INFO("no-generation", generation, 0),
    LIE_INFO("no-memory", slm_size, 0),
    LIE_INFO("endless-memory", slm_size, UINT64_MAX),
    LIE_INFO("window-outside", window_off, UINT64_MAX - 4095),
    LIE_INFO("window-outside", window_size, 1 * MiB),
    LIE_INFO("no-programs", max_programs, 0),
    LIE_INFO("none-active", max_active, 0),
    LIE_INFO("tiny-programs", max_prog_bytes, 8),
    LIE_INFO("one-range", max_ranges, 1),
    LIE_INFO("no-queue", max_queued, 0),
    LIE_INFO("tiny-copies", max_copy, 512),
    LIE_INFO("wrong-nsid", slm_nsid, 77),
    { "no-types", NVME_CSD_LOG_PTYPES, 4, 0, 0 },
    { "wrong-type", NVME_CSD_LOG_PTYPES, 1,
      sizeof(struct nvme_csd_log_ptypes_hdr), 0x11 },

    /* Figures that could be, and are not so. */
    LIE_INFO("large-memory", slm_size, 16 * TiB),
    LIE_INFO("small-memory", slm_size, 256 * KiB),
    LIE_INFO("small-memory", window_off, 256 * KiB),
    LIE_INFO("all-window", window_off, 0),
    LIE_INFO("all-window", window_size, 64 * MiB),
    LIE_INFO("many-programs", max_programs, UINT32_MAX),
    LIE_INFO("large-programs", max_prog_bytes, UINT64_MAX),
    LIE_INFO("large-globals", max_globals, UINT64_MAX),
    LIE_INFO("many-engines", engines, UINT32_MAX),
    LIE_INFO("no-engines", engines, 0),
    LIE_INFO("long-queue", max_queued, UINT32_MAX),
    LIE_INFO("large-copies", max_copy, UINT64_MAX),
    LIE_INFO("short-deadline", deadline_ns, 1),
    LIE_INFO("no-fuel", fuel, 1),
    { "many-types", NVME_CSD_LOG_PTYPES, 4, 0, UINT32_MAX },

    /* Reachability. */
    LIE_REACH("no-groups", NVME_CSD_LOG_REACH_GROUPS, nr, 0),
    LIE_REACH("many-groups", NVME_CSD_LOG_REACH_GROUPS, nr, UINT16_MAX),
    LIE_GROUP("long-group", nr_nsids, UINT32_MAX),
    LIE_GROUP("group-zero", id, 0),
    LIE_REACH("no-associations", NVME_CSD_LOG_REACH_ASSOC, nr, 0),
    LIE_REACH("many-associations", NVME_CSD_LOG_REACH_ASSOC, nr, UINT16_MAX),
    LIE_ASSOC("long-association", nr_groups, UINT32_MAX),
    LIE_GROUP("foreign-nsids", nr_nsids, 8),
    LIE_NSID("foreign-nsids", 3, 1),
    LIE_NSID("foreign-nsids", 4, 4),
    LIE_NSID("foreign-nsids", 5, 5),
    LIE_NSID("foreign-nsids", 6, 0),
    LIE_NSID("foreign-nsids", 7, UINT32_MAX),

    /* What an Execute did. */
    LIE_RESULT("result-status", status, 99),
    LIE_RESULT("result-many", nr, UINT32_MAX),
    LIE_RESULT("result-far", cursor.off, UINT64_MAX),
    LIE_RESULT("result-inside", cursor.off, 1),
    LIE_RESULT("result-early", cursor.off, 0),
    LIE_RESULT("result-early", nr, 0),
    LIE_RESULT("result-skip", status, NVME_CSD_FULL),
    LIE_RESULT("result-skip", nr, 0),
    LIE_RESULT("result-skip", cursor.off, 0),
    LIE_RESULT("result-skip", cursor.skip, 7),
    LIE_RESULT("result-full", status, NVME_CSD_FULL),
    LIE_RESULT("result-full", nr, 0),
    LIE_RESULT("result-full", cursor.off, 0),
    LIE_RESULT("result-error", status, NVME_CSD_PROGRAM_ERROR),
    LIE_RESULT("result-error", error, 1),
    LIE_RESULT("result-emit", status, NVME_CSD_EMIT_ERROR),
    LIE_RESULT("result-emit", error, UINT32_MAX - 4095),
    LIE_RESULT("result-sense", status, NVME_CSD_NONSENSE),
    LIE_RESULT("result-sense", error, 1),
    LIE_RESULT("result-fault", status, NVME_CSD_FAULT),
    LIE_RESULT("result-fault", fault, 99),
    LIE_RESULT("result-late", status, NVME_CSD_FAULT),
    LIE_RESULT("result-late", fault, NVME_CSD_FAULT_DEADLINE),
    LIE_RESULT("result-late", nr, 0),
    LIE_RESULT("result-late", cursor.off, 0),
    LIE_MATCH("match-far", pos, UINT64_MAX),
    LIE_MATCH("match-long", len, UINT32_MAX),
    LIE_MATCH("match-empty", len, 0),
    LIE_MATCH("match-elsewhere", dev, 1),

    /* What it has to say: a sequence that clears a terminal, and no end. */
    LIE_AT("message", NVME_CSD_LOG_MESSAGE, 0, struct nvme_csd_log_message, len,
           UINT32_MAX),
    { "message", NVME_CSD_LOG_MESSAGE, 4,
      offsetof(struct nvme_csd_log_message, text), 0x4a325b1b },
};

static bool csd_lie_exists(const char *name)
{
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(csd_lies); i++) {
        if (!strcmp(csd_lies[i].name, name)) {
            return true;
        }
    }
    return false;
}

bool csd_lies_init(NvmeCsd *csd, Error **errp)
{
    g_auto(GStrv) names = g_strsplit(csd->params.lie ?: "", ":", -1);
    unsigned i;

    for (i = 0; names[i]; i++) {
        if (!csd_lie_exists(names[i])) {
            error_setg(errp, "lie=%s: there is no lie '%s'; Documentation/drive"
                       ".rst has a list of them", csd->params.lie, names[i]);
            return false;
        }
    }
    csd->lies = i ? g_steal_pointer(&names) : NULL;
    csd->lie = 0;
    return true;
}

void csd_lies_exit(NvmeCsd *csd)
{
    g_strfreev(csd->lies);
    csd->lies = NULL;
}

/* A reset: the next one. */
void csd_lies_turn(NvmeCsd *csd)
{
    if (csd->lies) {
        qatomic_set(&csd->lie, (csd->lie + 1) % g_strv_length(csd->lies));
    }
}

/* The fields of the lie of now that are in the page; those beyond @size are not. */
static void csd_lie_tell(NvmeCsd *csd, uint8_t page, uint8_t *data, size_t size)
{
    const char *name = csd->lies[qatomic_read(&csd->lie)];
    unsigned i;

    for (i = 0; i < ARRAY_SIZE(csd_lies); i++) {
        const CsdLie *lie = &csd_lies[i];

        if (lie->page == page && !strcmp(lie->name, name) &&
            lie->off + lie->size <= size) {
            stn_le_p(data + lie->off, lie->size, lie->value);
        }
    }
}

/* A log page of ours is about to be sent. It may become longer. */
void csd_lie_log(NvmeCsd *csd, uint8_t page, uint8_t **log, size_t *size)
{
    size_t most = MAX(*size, 128);

    if (!csd->lies) {
        return;
    }
    *log = g_realloc(*log, most);
    memset(*log + *size, 0, most - *size);
    *size = most;
    csd_lie_tell(csd, page, *log, most);
}

/* A result of @size bytes in all has been written. Context: an engine's thread. */
void csd_lie_result(NvmeCsd *csd, uint8_t *result, size_t size)
{
    if (csd->lies) {
        csd_lie_tell(csd, CSD_LIE_RESULT, result, size);
    }
}
