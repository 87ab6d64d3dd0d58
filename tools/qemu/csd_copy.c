/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies: Memory Copy, from LBAs or SLM into SLM, and the NVM Copy command with
 * byte sources, from SLM to LBAs. Both are a list of pieces that follow each
 * other at the destination.
 */
#include "csd.h"
#include "qemu/cutils.h"
#include "system/block-backend.h"
#include "trace.h"

QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_copy_lba) != 32);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_copy_lba_long) != 40);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_copy_bytes) != 32);

/**
 * struct CsdPiece - a source
 * @ns:   where it is; NULL: SLM
 * @off:  first byte there
 * @len:  bytes
 */
typedef struct CsdPiece {
    NvmeNamespace *ns;
    uint64_t off;
    uint64_t len;
} CsdPiece;

/**
 * struct CsdCopy - a copy under way
 * @aiocb:  the block layer's request for the chunk under way
 * @ret:    0, or why it ends early; a status may be in the request
 * @to:     where it goes, if that are LBAs; NULL: SLM
 * @to_off: next byte there
 * @total:  bytes of all pieces
 * @done:   bytes that have been copied
 * @piece:  the sources; @idx of them are done, and @pos bytes of the next
 * @chunk:  bytes under way
 */
typedef struct CsdCopy {
    BlockAIOCB common;
    NvmeCsd *csd;
    NvmeRequest *req;
    BlockAIOCB *aiocb;
    int ret;
    NvmeNamespace *to;
    uint64_t to_off;
    uint64_t total;
    uint64_t done;
    CsdPiece *piece;
    uint32_t nr;
    uint32_t idx;
    uint64_t pos;
    uint64_t chunk;
    QEMUIOVector iov;
} CsdCopy;

static void csd_copy_cancel(BlockAIOCB *common)
{
    CsdCopy *copy = container_of(common, CsdCopy, common);

    copy->ret = -ECANCELED;
    if (copy->aiocb) {
        blk_aio_cancel_async(copy->aiocb);
    }
}

static const AIOCBInfo csd_copy_aiocb_info = {
    .aiocb_size = sizeof(CsdCopy),
    .cancel_async = csd_copy_cancel,
};

/*
 * Copies of a queue that is about to go end with the chunk under way. Draining
 * has that done now, also where the block backend is throttled.
 */
void csd_copies_cancel_sq(NvmeCsd *csd, NvmeSQueue *sq)
{
    NvmeRequest *req;
    bool any = false;
    uint32_t nsid;

    QTAILQ_FOREACH(req, &sq->out_req_list, entry) {
        if (req->aiocb && req->aiocb->aiocb_info == &csd_copy_aiocb_info) {
            container_of(req->aiocb, CsdCopy, common)->ret = -ECANCELED;
            req->status = NVME_CMD_ABORT_SQ_DEL;
            any = true;
        }
    }
    for (nsid = 1; any && nsid <= NVME_MAX_NAMESPACES; nsid++) {
        NvmeNamespace *ns = nvme_media_ns(&csd->parent_obj, nsid);

        if (ns) {
            nvme_ns_drain(ns);
        }
    }
}

static void csd_copy_finish(CsdCopy *copy)
{
    NvmeRequest *req = copy->req;

    if (copy->to) {
        copy->csd->counters.slm_to_media += copy->done;
        nvme_csd_written(copy->to, csd_qw(req, 10),
                         copy->done >> copy->to->lbaf.ds);
    } else if (copy->piece[0].ns) {
        copy->csd->counters.media_to_slm += copy->done;
    } else {
        copy->csd->counters.slm_to_slm += copy->done;
    }
    trace_nvme_csd_copy_done(nvme_cid(req), copy->done, copy->ret);

    copy->csd->queued--;
    qemu_iovec_destroy(&copy->iov);
    g_free(copy->piece);
    copy->common.cb(copy->common.opaque, copy->ret);
    qemu_aio_unref(copy);
}

static void csd_copy_step(void *opaque);

static void csd_copy_chunk_done(CsdCopy *copy)
{
    copy->pos += copy->chunk;
    copy->to_off += copy->chunk;
    copy->done += copy->chunk;
    if (copy->pos == copy->piece[copy->idx].len) {
        copy->idx++;
        copy->pos = 0;
    }
}

static void csd_copy_block_cb(void *opaque, int ret)
{
    CsdCopy *copy = opaque;

    copy->aiocb = NULL;
    if (ret < 0 && !copy->ret) {
        copy->ret = ret;
        copy->req->status = copy->to ? NVME_WRITE_FAULT : NVME_UNRECOVERED_READ;
    }
    if (ret >= 0) {
        csd_copy_chunk_done(copy);
    }
    csd_copy_step(copy);
}

/* One chunk between the SLM and a block backend. */
static void csd_copy_block(CsdCopy *copy, const CsdPiece *piece)
{
    uint64_t from = piece->off + copy->pos;

    qemu_iovec_reset(&copy->iov);
    if (copy->to) {
        qemu_iovec_add(&copy->iov, copy->csd->slm + from, copy->chunk);
        copy->aiocb = blk_aio_pwritev(copy->to->blkconf.blk, copy->to_off,
                                      &copy->iov, 0, csd_copy_block_cb, copy);
    } else {
        qemu_iovec_add(&copy->iov, copy->csd->slm + copy->to_off, copy->chunk);
        copy->aiocb = blk_aio_preadv(piece->ns->blkconf.blk, from, &copy->iov,
                                     0, csd_copy_block_cb, copy);
    }
}

static void csd_copy_step(void *opaque)
{
    CsdCopy *copy = opaque;
    const CsdPiece *piece;

    if (copy->csd->quiescing) {
        copy->ret = -ECANCELED;
    }
    if (copy->ret || copy->idx == copy->nr) {
        csd_copy_finish(copy);
        return;
    }

    piece = &copy->piece[copy->idx];
    copy->chunk = MIN(piece->len - copy->pos, CSD_COPY_CHUNK);
    if (copy->to || piece->ns) {
        csd_copy_block(copy, piece);
        return;
    }

    memmove(copy->csd->slm + copy->to_off, copy->csd->slm + piece->off +
            copy->pos, copy->chunk);
    csd_copy_chunk_done(copy);
    aio_bh_schedule_oneshot(qemu_get_aio_context(), csd_copy_step, copy);
}

/*
 * What a copy is asked for: parsed into @copy, whose pieces are checked.
 */

static uint16_t csd_copy_bad_source(NvmeCsd *csd, NvmeRequest *req,
                                    uint32_t idx, uint16_t status,
                                    const char *what)
{
    return csd_refuse(csd, req, status, 0, "source %u: %s", idx, what);
}

static uint16_t csd_copy_source_ns(NvmeCsd *csd, NvmeRequest *req, uint32_t idx,
                                   uint32_t nsid, uint16_t sopt,
                                   NvmeNamespace **ns)
{
    *ns = nvme_ns(&csd->parent_obj, nsid);
    if (!*ns) {
        return csd_copy_bad_source(csd, req, idx, NVME_INVALID_NSID,
                                   "there is no such namespace");
    }
    if (!csd_reachable(csd, nsid)) {
        return csd_copy_bad_source(csd, req, idx, NVME_CSD_SC_UNREACHABLE,
                                   "its namespace cannot be reached from this "
                                   "one (logs 1Ah and 1Bh)");
    }
    if (sopt & ~NVME_CSD_COPY_FCO) {
        return csd_copy_bad_source(csd, req, idx, NVME_INVALID_FIELD,
                                   "a reserved source option is set");
    }
    if ((sopt & NVME_CSD_COPY_FCO) && !csd->params.fast_copy) {
        return csd_copy_bad_source(csd, req, idx, NVME_CSD_SC_NO_FAST_COPY,
                                   "a fast copy is not possible");
    }
    return NVME_SUCCESS;
}

/* Formats 2h and 3h, which differ behind the fields that are used here. */
static uint16_t csd_copy_lba_source(NvmeCsd *csd, NvmeRequest *req,
                                    uint32_t idx, uint8_t format,
                                    const void *desc, CsdPiece *piece)
{
    const struct nvme_csd_copy_lba *lba = desc;
    const struct nvme_csd_copy_lba_long *lba_long = desc;
    uint32_t nsid = le32_to_cpu(lba->nsid);
    uint64_t slba = le64_to_cpu(lba->slba);
    uint32_t nlb = le16_to_cpu(lba->nlb) + 1;
    NvmeNamespace *ns;
    uint16_t status;

    if (!buffer_is_zero(lba->rsvd4, sizeof(lba->rsvd4)) || lba->rsvd19 ||
        (format == NVME_CSD_COPY_LBA_LONG &&
         !buffer_is_zero(lba_long->rsvd24, sizeof(lba_long->rsvd24)))) {
        return csd_copy_bad_source(csd, req, idx, NVME_INVALID_FIELD,
                                   "a reserved byte is set");
    }
    status = csd_copy_source_ns(csd, req, idx, nsid, le16_to_cpu(lba->sopt),
                                &ns);
    if (status) {
        return status;
    }
    if (!ns->blkconf.blk || ns->lbaf.ms) {
        return csd_copy_bad_source(csd, req, idx, NVME_CSD_SC_BAD_NS_FORMAT,
                                   "its namespace has no LBAs, or metadata with "
                                   "them");
    }
    status = nvme_csd_check_read(ns, slba, nlb);
    if (status) {
        return csd_copy_bad_source(csd, req, idx, status & ~NVME_DNR,
                                   "these LBAs cannot be read: beyond the end, "
                                   "deallocated, or a zone's");
    }
    *piece = (CsdPiece) {
        .ns = ns, .off = nvme_l2b(ns, slba), .len = nvme_l2b(ns, nlb),
    };
    return NVME_SUCCESS;
}

static uint16_t csd_copy_byte_source(NvmeCsd *csd, NvmeRequest *req,
                                     uint32_t idx, const void *desc,
                                     CsdPiece *piece)
{
    const struct nvme_csd_copy_bytes *bytes = desc;
    uint64_t off = le64_to_cpu(bytes->off);
    uint64_t len = le32_to_cpu(bytes->len);
    NvmeNamespace *ns;
    uint16_t status;

    if (!buffer_is_zero(bytes->rsvd4, sizeof(bytes->rsvd4)) ||
        !buffer_is_zero(bytes->rsvd20, sizeof(bytes->rsvd20)) ||
        !buffer_is_zero(bytes->rsvd24, sizeof(bytes->rsvd24))) {
        return csd_copy_bad_source(csd, req, idx, NVME_INVALID_FIELD,
                                   "a reserved byte is set");
    }
    status = csd_copy_source_ns(csd, req, idx, le32_to_cpu(bytes->nsid),
                                le16_to_cpu(bytes->sopt), &ns);
    if (status) {
        return status;
    }
    if (ns != &csd->slm_ns) {
        return csd_copy_bad_source(csd, req, idx, NVME_CSD_SC_BAD_NS_FORMAT,
                                   "its namespace is not the SLM of this drive");
    }
    if (!csd_slm_range_ok(csd, off, len)) {
        return csd_copy_bad_source(csd, req, idx, NVME_INVALID_FIELD,
                                   "no range of the SLM, or not in multiples "
                                   "of 4");
    }
    *piece = (CsdPiece) { .off = off, .len = len };
    return NVME_SUCCESS;
}

static uint16_t csd_copy_sources(NvmeCsd *csd, NvmeRequest *req,
                                 CsdCopy *copy, uint8_t format)
{
    size_t each = format == NVME_CSD_COPY_LBA_LONG ?
                  sizeof(struct nvme_csd_copy_lba_long) :
                  sizeof(struct nvme_csd_copy_lba);
    g_autofree uint8_t *descs = g_malloc(copy->nr * each);
    uint16_t status = csd_from_host(csd, req, descs, copy->nr * each);
    uint32_t i;

    for (i = 0; i < copy->nr && !status; i++) {
        const void *desc = descs + i * each;

        if (format == NVME_CSD_COPY_BYTES) {
            status = csd_copy_byte_source(csd, req, i, desc, &copy->piece[i]);
        } else {
            status = csd_copy_lba_source(csd, req, i, format, desc,
                                         &copy->piece[i]);
        }
        if (!status) {
            copy->total += copy->piece[i].len;
        }
    }
    return status;
}

static bool csd_copy_overlaps(const CsdCopy *copy)
{
    uint32_t i;

    for (i = 0; i < copy->nr; i++) {
        const CsdPiece *piece = &copy->piece[i];

        if (piece->off < copy->to_off + copy->total &&
            copy->to_off < piece->off + piece->len) {
            return true;
        }
    }
    return false;
}

/* Into SLM, of which CDW2-3 bytes at CDW10-11 are written. */
static uint16_t csd_copy_check_slm(NvmeCsd *csd, NvmeRequest *req,
                                   CsdCopy *copy, uint8_t format)
{
    uint64_t len = csd_qw(req, 2);

    if (copy->total != len) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "the sources have %"
                          PRIu64 " bytes, the command says %" PRIu64,
                          copy->total, len);
    }
    if (!csd_slm_range_ok(csd, csd_qw(req, 10), len)) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "%" PRIu64 " bytes "
                          "at %" PRIu64 " are no range of the SLM: its size is "
                          "%" PRIu64 ", and both are multiples of 4", len,
                          csd_qw(req, 10), csd->params.slm_size);
    }
    copy->to_off = csd_qw(req, 10);
    if (format == NVME_CSD_COPY_BYTES && csd_copy_overlaps(copy)) {
        return csd_refuse(csd, req, NVME_CSD_SC_OVERLAP, 0, "a source overlaps "
                          "the destination");
    }
    return NVME_SUCCESS;
}

/* To LBAs, from CDW10-11 on. */
static uint16_t csd_copy_check_media(NvmeCsd *csd, NvmeRequest *req,
                                     CsdCopy *copy)
{
    NvmeNamespace *ns = req->ns;
    uint64_t slba = csd_qw(req, 10);
    uint16_t status;

    if (ns->lbaf.ms) {
        return csd_refuse(csd, req, NVME_CSD_SC_BAD_NS_FORMAT, 0, "the "
                          "namespace has metadata, which SLM has none of");
    }
    if (!csd_reachable(csd, nvme_nsid(ns))) {
        return csd_refuse(csd, req, NVME_CSD_SC_UNREACHABLE, 0, "this "
                          "namespace cannot be reached from the SLM");
    }
    if (copy->total % ns->lbasz) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "the sources have %"
                          PRIu64 " bytes: no whole number of LBAs of %zu bytes",
                          copy->total, ns->lbasz);
    }
    status = nvme_csd_check_write(&csd->parent_obj, ns, slba,
                                  copy->total >> ns->lbaf.ds);
    if (status) {
        return csd_refuse(csd, req, status, 0, "these LBAs cannot be written: "
                          "beyond the end, or not at a zone's write pointer");
    }
    copy->to = ns;
    copy->to_off = nvme_l2b(ns, slba);
    return NVME_SUCCESS;
}

static uint16_t csd_copy_parse(NvmeCsd *csd, NvmeRequest *req, CsdCopy *copy)
{
    bool to_media = req->ns != &csd->slm_ns;
    uint32_t dw12 = csd_dw(req, 12);
    uint8_t format = NVME_CSD_COPY_FORMAT(dw12);
    uint16_t status;

    copy->nr = NVME_CSD_COPY_NR(dw12);
    if (format < NVME_CSD_COPY_LBA || format > NVME_CSD_COPY_BYTES ||
        (dw12 & NVME_CSD_COPY_RSVD) ||
        (!to_media && (csd_dw(req, 13) || csd_dw(req, 14) || csd_dw(req, 15)))) {
        return csd_refuse(csd, req, NVME_INVALID_FIELD, 0, "format %u is not 2h "
                          "to 4h, or a reserved field is set", format);
    }
    if (copy->nr > CSD_COPY_MAX_RANGES ||
        (!to_media && csd_qw(req, 2) > csd->params.max_copy)) {
        return csd_refuse(csd, req, NVME_CSD_SC_SIZE_LIMIT, 0, "a copy has at "
                          "most %d sources and %" PRIu64 " bytes",
                          CSD_COPY_MAX_RANGES, csd->params.max_copy);
    }

    copy->piece = g_new0(CsdPiece, copy->nr);
    status = csd_copy_sources(csd, req, copy, format);
    if (status) {
        return status;
    }
    if (copy->total > csd->params.max_copy) {
        return csd_refuse(csd, req, NVME_CSD_SC_SIZE_LIMIT, 0, "a copy has at "
                          "most %" PRIu64 " bytes", csd->params.max_copy);
    }
    return to_media ? csd_copy_check_media(csd, req, copy) :
                      csd_copy_check_slm(csd, req, copy, format);
}

/* With the timing model on: when the last byte has arrived. */
static void csd_copy_set_due(NvmeCsd *csd, NvmeRequest *req,
                             const CsdCopy *copy)
{
    int64_t start = csd_timing_start(csd);
    int64_t due = start;
    uint32_t i;

    if (copy->to) {
        due = csd_timing_media(csd, copy->to_off, copy->total, true, start);
    } else {
        for (i = 0; i < copy->nr; i++) {
            const CsdPiece *piece = &copy->piece[i];

            if (piece->ns) {
                due = MAX(due, csd_timing_media(csd, piece->off, piece->len,
                                                false, start));
            }
        }
    }
    csd_timing_set_due(req, due);
}

uint16_t csd_memory_copy(NvmeCsd *csd, NvmeRequest *req)
{
    CsdCopy *copy;
    uint16_t status;

    if (csd->queued >= csd->params.max_queued) {
        return csd_refuse(csd, req, NVME_CSD_SC_RESOURCES, 0, "%u Executes and "
                          "copies are outstanding; no more are taken",
                          csd->queued);
    }

    copy = qemu_aio_get(&csd_copy_aiocb_info, NULL, nvme_csd_aio_cb, req);
    copy->csd = csd;
    copy->req = req;
    copy->aiocb = NULL;
    copy->ret = 0;
    copy->to = NULL;
    copy->total = 0;
    copy->done = 0;
    copy->piece = NULL;
    copy->idx = 0;
    copy->pos = 0;

    status = csd_copy_parse(csd, req, copy);
    if (status) {
        g_free(copy->piece);
        qemu_aio_unref(copy);
        return status;
    }
    trace_nvme_csd_copy(nvme_cid(req), copy->nr, copy->total,
                        nvme_nsid(copy->to), copy->to_off);

    qemu_iovec_init(&copy->iov, 1);
    csd->queued++;
    req->aiocb = &copy->common;
    if (csd->timing.on) {
        csd_copy_set_due(csd, req, copy);
    }
    csd_copy_step(copy);
    return NVME_NO_COMPLETE;
}
