/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The image of a program, struct nvme_csd_image, as it comes from a host that
 * nobody here trusts. Runs on the verifier's thread; touches the program alone,
 * which nobody else does meanwhile.
 */
#include "csd.h"
#include "qemu/crc32c.h"
#include "qemu/ctype.h"

QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_image) != 64);
QEMU_BUILD_BUG_ON(sizeof(struct nvme_csd_global) != 16);
QEMU_BUILD_BUG_ON(sizeof(struct bpfvm_insn) != 8);

/* More are a mistake: an object file has one for each section. */
#define CSD_MAX_GLOBALS 64

static bool csd_inside(const CsdProgram *prog, uint32_t off, uint64_t len,
                       uint32_t align)
{
    return off % align == 0 && off <= prog->size && len <= prog->size - off;
}

static void csd_image_read_head(CsdProgram *prog)
{
    const struct nvme_csd_image *wire = (void *)prog->image;
    struct nvme_csd_image *head = &prog->head;

    head->magic = le32_to_cpu(wire->magic);
    head->abi = le16_to_cpu(wire->abi);
    head->hdr_size = le16_to_cpu(wire->hdr_size);
    head->size = le32_to_cpu(wire->size);
    head->crc = le32_to_cpu(wire->crc);
    head->nr_insns = le32_to_cpu(wire->nr_insns);
    head->insns_off = le32_to_cpu(wire->insns_off);
    head->nr_globals = le32_to_cpu(wire->nr_globals);
    head->globals_off = le32_to_cpu(wire->globals_off);
    head->unit = le32_to_cpu(wire->unit);
    head->overlap = le32_to_cpu(wire->overlap);
    head->ctx_size = le32_to_cpu(wire->ctx_size);
    head->rsvd = le32_to_cpu(wire->rsvd);
    memcpy(head->name, wire->name, sizeof(head->name));
}

static uint32_t csd_image_crc(const CsdProgram *prog)
{
    g_autofree uint8_t *copy = g_memdup2(prog->image, prog->size);

    memset(copy + offsetof(struct nvme_csd_image, crc), 0,
           sizeof(prog->head.crc));
    return crc32c(0xffffffff, copy, prog->size);
}

static bool csd_name_ok(const char *name, size_t size)
{
    size_t i;

    for (i = 0; i < size && name[i]; i++) {
        if (!qemu_isgraph(name[i])) {
            return false;
        }
    }
    return i < size;
}

static const char *csd_image_check_head(const CsdProgram *prog)
{
    const struct nvme_csd_image *head = &prog->head;

    if (head->magic != NVME_CSD_IMAGE_MAGIC) {
        return "it does not begin as an image of a program";
    }
    if (head->abi != NVME_CSD_EBPF_ABI) {
        return "it is for another version of the contract of programs";
    }
    if (head->hdr_size != sizeof(*head) || head->size != prog->size) {
        return "its sizes are not those of the header and of what came";
    }
    if (csd_image_crc(prog) != head->crc) {
        return "its checksum is wrong: it was damaged on the way";
    }
    if (head->rsvd || !csd_name_ok(head->name, sizeof(head->name))) {
        return "a reserved field is set, or its name has no end or characters "
               "that cannot be printed";
    }
    if (!head->nr_insns || head->nr_insns > BPFVM_MAX_INSNS ||
        !csd_inside(prog, head->insns_off, head->nr_insns * 8ULL, 8)) {
        return "its instructions are not inside it, or too many";
    }
    if (head->nr_globals > CSD_MAX_GLOBALS ||
        !csd_inside(prog, head->globals_off, head->nr_globals *
                    (uint64_t)sizeof(struct nvme_csd_global), 8)) {
        return "its list of globals is not inside it, or too long";
    }
    if (!head->unit || head->unit > BLK_BPF_UNIT_MAX ||
        head->overlap > BLK_BPF_OVERLAP_MAX) {
        return "its unit is not 1 to 32768, or its overlap more than 4096";
    }
    if (head->ctx_size != sizeof(struct blk_bpf_ctx)) {
        return "its ctx has another size than this drive's";
    }
    return NULL;
}

static const char *csd_image_check_global(const CsdProgram *prog,
                                          const struct nvme_csd_global *wire,
                                          uint64_t left)
{
    uint32_t size = le32_to_cpu(wire->size);
    uint32_t init_len = le32_to_cpu(wire->init_len);

    if (!size || size > left) {
        return "a global is empty, or they are more memory than a program may "
               "have";
    }
    if (le32_to_cpu(wire->flags) & ~NVME_CSD_GLOBAL_RDONLY) {
        return "a global has an unknown flag";
    }
    if (init_len > size ||
        !csd_inside(prog, le32_to_cpu(wire->init_off), init_len, 1)) {
        return "a global's initial value is not inside the image, or longer "
               "than the global";
    }
    return NULL;
}

static const char *csd_image_globals(CsdProgram *prog, uint64_t max_globals)
{
    const struct nvme_csd_global *wire =
        (void *)(prog->image + prog->head.globals_off);
    uint32_t nr = prog->head.nr_globals;
    uint64_t left = max_globals;
    uint32_t i;

    prog->globals = g_new0(struct bpfvm_global, nr);
    prog->initial = g_new0(uint8_t *, nr);
    for (i = 0; i < nr; i++) {
        const char *why = csd_image_check_global(prog, &wire[i], left);
        struct bpfvm_global *global = &prog->globals[i];

        if (why) {
            return why;
        }
        global->size = le32_to_cpu(wire[i].size);
        global->rdonly = le32_to_cpu(wire[i].flags) & NVME_CSD_GLOBAL_RDONLY;
        global->name = global->rdonly ? "a read-only global" : "a global";
        /* Atomics want the alignment that they would have in a kernel's map. */
        global->data = g_malloc0(ROUND_UP(global->size, 8));
        prog->initial[i] = g_malloc0(global->size);
        memcpy(prog->initial[i], prog->image + le32_to_cpu(wire[i].init_off),
               le32_to_cpu(wire[i].init_len));
        left -= global->size;
    }
    return NULL;
}

/* The image in pieces that the engine takes. On failure @why has a sentence. */
bool csd_image_parse(CsdProgram *prog, uint64_t max_globals, char *why,
                     size_t why_size)
{
    const char *what = "it is shorter than its header";

    if (prog->size >= sizeof(struct nvme_csd_image)) {
        csd_image_read_head(prog);
        what = csd_image_check_head(prog);
    }
    if (!what) {
        what = csd_image_globals(prog, max_globals);
    }
    if (what) {
        g_snprintf(why, why_size, "the image is refused: %s", what);
        return false;
    }

    /* Fields of an instruction are little-endian, and so is the host. */
    prog->insns = g_memdup2(prog->image + prog->head.insns_off,
                            prog->head.nr_insns * sizeof(*prog->insns));
    csd_globals_reset(prog);
    return true;
}

void csd_globals_reset(CsdProgram *prog)
{
    uint32_t i;

    for (i = 0; i < prog->head.nr_globals; i++) {
        memcpy(prog->globals[i].data, prog->initial[i], prog->globals[i].size);
    }
}
