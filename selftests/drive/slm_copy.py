#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Memory Copy into SLM, from LBAs and from SLM, and NVM Copy out of it."""

import random

import drives
import nvme_csd as csd
import nvmequeue as nvme
from csdrive import CP, NVM, SLM, byte_source, lba_source
from ktap import expect, test, test_each
from nvmequeue import Raw
from qtest import PAGE

SIZE = 8 << 20
MAX_COPY = 4 << 20
BLOCK = 512
BLOCKS = drives.DISK_SIZE // BLOCK
DISK = drives.DISK


def get(**more):
    return drives.get(slm_size=SIZE, max_copy=MAX_COPY, **more)


def lbas(slba, blocks):
    return DISK[slba * BLOCK:(slba + blocks) * BLOCK]


def random_lbas(source, most=300):
    """Up to ten pieces of the disk, as (slba, blocks)."""
    pieces = []
    for _ in range(source.randint(1, 10)):
        blocks = source.randint(1, most)
        pieces.append((source.randint(0, BLOCKS - blocks), blocks))
    return pieces


@test_each(short=False, long=True)
def lbas_arrive_in_slm(long):
    """If this breaks, a scan near the data looks at other data: pieces of the
    disk follow each other in SLM, by both formats, and nothing else changes."""
    drive = get()
    source = random.Random(f"copy {long}")
    model = bytearray(drive.slm_read(0, SIZE))
    kind = csd.COPY_LBA_LONG if long else csd.COPY_LBA
    for _ in range(25):
        pieces = random_lbas(source)
        data = b"".join(lbas(*piece) for piece in pieces)
        off = 4 * source.randint(0, (SIZE - len(data)) // 4)
        drive.must(drive.copy(off, [lba_source(*piece, long=long)
                                    for piece in pieces], len(data), kind))
        model[off:off + len(data)] = data
    expect(drive.slm_read(0, SIZE) == model, what="the whole memory")


@test
def slm_arrives_in_slm():
    """If this breaks, pieces of SLM are copied wrongly into other SLM."""
    drive = get()
    source = random.Random(8)
    model = bytearray(source.randbytes(SIZE))
    drive.slm_write(0, model)
    for _ in range(40):
        half = source.choice([0, SIZE // 2])	# sources; the other one receives
        pieces = []
        for _ in range(source.randint(1, 8)):
            length = 4 * source.randint(1, 20000)
            pieces.append((half + 4 * source.randint(
                0, (SIZE // 2 - length) // 4), length))
        data = b"".join(model[off:off + length] for off, length in pieces)
        off = SIZE // 2 - half + 4 * source.randint(
            0, (SIZE // 2 - len(data)) // 4)
        drive.must(drive.copy(off, [byte_source(*p) for p in pieces], len(data),
                              csd.COPY_BYTES))
        model[off:off + len(data)] = data
    expect(drive.slm_read(0, SIZE) == model, what="the whole memory")


@test
def slm_arrives_in_lbas():
    """If this breaks, NVM Copy with byte sources, the way from SLM to the
    medium, writes other bytes or other blocks."""
    drive = get(fuel=1)	# a disk of its own, as it is written to
    drive.must(drive.enable_copy_formats())
    source = random.Random(9)
    data = source.randbytes(SIZE)
    drive.slm_write(0, data)
    model = bytearray(DISK)
    for _ in range(20):
        pieces = [(4 * source.randint(0, SIZE // 8), 4 * source.randint(1, 9000))
                  for _ in range(source.randint(1, 8))]
        rest = -sum(length for _, length in pieces) % BLOCK
        if rest:
            pieces.append((4 * source.randint(0, 1000), rest))
        wanted = b"".join(data[off:off + length] for off, length in pieces)
        slba = source.randint(0, BLOCKS - len(wanted) // BLOCK)
        drive.must(drive.nvm_copy(slba, [byte_source(*p) for p in pieces]))
        model[slba * BLOCK:slba * BLOCK + len(wanted)] = wanted
    for slba in range(0, BLOCKS, 1024):
        expect(drive.nvm_read(slba, 1024) ==
               model[slba * BLOCK:(slba + 1024) * BLOCK],
               what=f"blocks from {slba}")


@test
def nvm_copy_needs_its_format_enabled():
    """If this breaks, a format is taken that the host has not asked for (Host
    Behavior Support, CDFE)."""
    drive = get()
    for formats in (0, 0xc):
        drive.must(drive.enable_copy_formats(formats))
        drives.refused(drive, drive.nvm_copy(0, [byte_source(0, BLOCK)]),
                       nvme.INVALID_FIELD, "CDFE bit 4")
    drive.must(drive.enable_copy_formats(0x10))
    drive.slm_write(0, lbas(0, 1))
    drive.must(drive.nvm_copy(0, [byte_source(0, BLOCK)]))


@test
def memory_copy_does_not():
    """If this breaks, a host that cannot set CDFE cannot fill SLM."""
    drive = get()
    drive.must(drive.enable_copy_formats(0))
    drive.must(drive.copy(0, [lba_source(0, 8)], 8 * BLOCK))
    expect(drive.slm_read(0, 8 * BLOCK) == lbas(0, 8), what="the bytes")


@test
def all_128_sources_are_taken():
    """If this breaks, the last descriptors are left out."""
    drive = get()
    sources = [lba_source(n * 7, 3) for n in range(128)]
    drive.must(drive.copy(0, sources, 128 * 3 * BLOCK))
    expect(drive.slm_read(0, 128 * 3 * BLOCK) ==
           b"".join(lbas(n * 7, 3) for n in range(128)), what="the bytes")


@test
def the_largest_copy_is_taken():
    """If this breaks, a host cannot rely on max_copy of log D0h."""
    drive = get()
    expect(drive.info().max_copy, MAX_COPY, "max_copy")
    sources = [lba_source(n * 4096, 4096) for n in range(2)]
    drive.must(drive.copy(SIZE - MAX_COPY, sources, MAX_COPY))
    expect(drive.slm_read(SIZE - MAX_COPY, MAX_COPY) == lbas(0, 8192),
           what="the bytes")


def source_of(kind, **fields):
    """A good source of 512 bytes, with some fields changed."""
    source = {csd.COPY_LBA: lambda: lba_source(0, 1),
              csd.COPY_LBA_LONG: lambda: lba_source(0, 1, long=True),
              csd.COPY_BYTES: lambda: byte_source(0, BLOCK)}[kind]()
    for name, value in fields.items():
        if isinstance(getattr(source, name), int):
            setattr(source, name, value)
        else:
            getattr(source, name)[0] = value
    return source


BOTH = (csd.COPY_LBA, csd.COPY_LBA_LONG)
ALL = (*BOTH, csd.COPY_BYTES)


@test_each(
    no_namespace=(ALL, {"nsid": 77}, nvme.INVALID_NS, "no such namespace"),
    namespace_zero=(ALL, {"nsid": 0}, nvme.INVALID_NS, "no such namespace"),
    all_namespaces=(ALL, {"nsid": 0xffffffff}, nvme.INVALID_NS,
                    "no such namespace"),
    lbas_of_slm=(BOTH, {"nsid": SLM}, csd.SC_BAD_NS_FORMAT, "no LBAs"),
    lbas_of_programs=(BOTH, {"nsid": CP}, csd.SC_BAD_NS_FORMAT, "no LBAs"),
    bytes_of_lbas=((csd.COPY_BYTES,), {"nsid": NVM}, csd.SC_BAD_NS_FORMAT,
                   "not the SLM"),
    bytes_of_programs=((csd.COPY_BYTES,), {"nsid": CP}, csd.SC_BAD_NS_FORMAT,
                       "not the SLM"),
    lba_behind=(BOTH, {"slba": BLOCKS}, nvme.LBA_RANGE, "beyond the end"),
    lba_far=(BOTH, {"slba": (1 << 64) - 1}, nvme.LBA_RANGE, "beyond the end"),
    lba_wraps=(BOTH, {"slba": 1 << 55}, nvme.LBA_RANGE, "beyond the end"),
    byte_behind=((csd.COPY_BYTES,), {"off": SIZE}, nvme.INVALID_FIELD,
                 "no range of the SLM"),
    byte_wraps=((csd.COPY_BYTES,), {"off": (1 << 64) - BLOCK},
                nvme.INVALID_FIELD, "no range of the SLM"),
    byte_odd=((csd.COPY_BYTES,), {"off": 2}, nvme.INVALID_FIELD,
              "multiples of 4"),
    length_odd=((csd.COPY_BYTES,), {"len": 510}, nvme.INVALID_FIELD,
                "multiples of 4"),
    length_zero=((csd.COPY_BYTES,), {"len": 0}, nvme.INVALID_FIELD, "SLM"),
    reserved_option=(ALL, {"sopt": 1}, nvme.INVALID_FIELD, "reserved"),
    reserved_4=(ALL, {"rsvd4": 1}, nvme.INVALID_FIELD, "reserved"),
    reserved_19=(BOTH, {"rsvd19": 1}, nvme.INVALID_FIELD, "reserved"),
    reserved_20=((csd.COPY_BYTES,), {"rsvd20": 1}, nvme.INVALID_FIELD,
                 "reserved"),
    reserved_24=((csd.COPY_LBA_LONG, csd.COPY_BYTES), {"rsvd24": 1},
                 nvme.INVALID_FIELD, "reserved"),
)
def bad_sources_are_refused(kinds, fields, status, sentence):
    """If this breaks, a source that is none is read, or refused by a status
    that tells the host something else."""
    drive = get()
    for kind in kinds:
        off = 1 << 20
        bad = source_of(kind, **fields)
        length = bad.len if kind == csd.COPY_BYTES and "len" in fields \
            else BLOCK
        done = drive.copy(off, [bad], length, kind)
        drives.refused(drive, done, status, sentence)
        done = drive.copy(off, [source_of(kind), bad], BLOCK + length, kind)
        drives.refused(drive, done, status, "source 1: ")


@test_each(
    sum_short=({"length": BLOCK - 4}, nvme.INVALID_FIELD, "sources have 512"),
    sum_long=({"length": 2 * BLOCK}, nvme.INVALID_FIELD, "sources have 512"),
    sum_zero=({"length": 0}, nvme.INVALID_FIELD, "sources have 512"),
    too_long=({"length": MAX_COPY + 4}, csd.SC_SIZE_LIMIT, "at most"),
    far_too_long=({"length": 1 << 63}, csd.SC_SIZE_LIMIT, "at most"),
    low_words_equal=({"length": (1 << 32) + BLOCK}, csd.SC_SIZE_LIMIT,
                     "at most"),
    to_odd=({"off": 2}, nvme.INVALID_FIELD, "no range of the SLM"),
    to_end=({"off": SIZE}, nvme.INVALID_FIELD, "no range of the SLM"),
    across_end=({"off": SIZE - 4}, nvme.INVALID_FIELD, "no range of the SLM"),
    to_wraps=({"off": (1 << 64) - 4}, nvme.INVALID_FIELD,
              "no range of the SLM"),
    format_0=({"kind": 0}, nvme.INVALID_FIELD, "format 0"),
    format_1=({"kind": 1}, nvme.INVALID_FIELD, "format 1"),
    format_5=({"kind": 5}, nvme.INVALID_FIELD, "format 5"),
    format_15=({"kind": 15}, nvme.INVALID_FIELD, "format 15"),
    many=({"nr": 129}, csd.SC_SIZE_LIMIT, "at most 128 sources"),
    most=({"nr": 256}, csd.SC_SIZE_LIMIT, "at most 128 sources"),
)
def bad_copies_are_refused(fields, status, sentence):
    """If this breaks, a copy writes where or what the host did not mean."""
    drive = get()
    given = {"off": 0, "length": BLOCK, "kind": csd.COPY_LBA, **fields}
    off, length = given.pop("off"), given.pop("length")
    before = drive.slm_read(0, 4096)
    done = drive.copy(off, [lba_source(0, 1)], length, **given)
    drives.refused(drive, done, status, sentence)
    expect(drive.slm_read(0, 4096) == before, what="the bytes before")


@test
def reserved_words_of_a_copy_are_refused():
    """If this breaks, a field that gets a meaning later is ignored."""
    drive = get()
    for word, value in (("dw12", 1 << 12 | csd.COPY_LBA << 8),
                        ("dw12", 1 << 31 | csd.COPY_LBA << 8), ("dw13", 1),
                        ("dw14", 1), ("dw15", 1)):
        command = drive.copy_command(0, [lba_source(0, 1)], BLOCK)
        command.words[word] = value
        drives.refused(drive, drive.io.run(command), nvme.INVALID_FIELD,
                       "reserved")


@test
def sums_do_not_wrap():
    """If this breaks, sources that add up to more than 2^32 pass for few."""
    drive = get()
    sources = [byte_source(0, (1 << 32) - 4), byte_source(0, 8)]
    done = drive.copy(0, sources, 4, csd.COPY_BYTES)
    expect(done.status in (nvme.INVALID_FIELD, csd.SC_SIZE_LIMIT),
           what=f"{done}")
    sources = [lba_source(0, 65536)] * 128
    done = drive.copy(0, sources, 0)
    expect(done.status in (nvme.LBA_RANGE, nvme.INVALID_FIELD,
                           csd.SC_SIZE_LIMIT), what=f"{done}")


@test_each(same=(0, 0), head=(4, 0), tail=(0, 4), inside=(100, 0),
           last_word=(2044, 0))
def overlapping_copies_are_refused(to, start):
    """If this breaks, a copy over itself leaves bytes that depend on the order
    in which it was done."""
    drive = get()
    done = drive.copy(to, [byte_source(start, 2048)], 2048, csd.COPY_BYTES)
    drives.refused(drive, done, csd.SC_OVERLAP, "overlaps")
    done = drive.copy(to, [byte_source(1 << 20, 4096), byte_source(start, 2048)],
                      6144, csd.COPY_BYTES)
    drives.refused(drive, done, csd.SC_OVERLAP, "overlaps")


@test
def neighbours_do_not_overlap():
    """If this breaks, the check for overlaps refuses what is right."""
    drive = get()
    drive.slm_write(0, bytes(range(256)) * 16)
    for to, start in ((2048, 0), (0, 2048)):
        drive.must(drive.copy(to, [byte_source(start, 2048)], 2048,
                              csd.COPY_BYTES))


@test
def descriptors_nowhere_are_refused():
    """If this breaks, descriptors are read from where the host has no memory."""
    drive = get()
    for at in (drive.bars[0][0], 1 << 40, drive.machine.ram.size):
        done = drive.io.run(drive.copy_command(0, [lba_source(0, 1)], BLOCK,
                                               data=Raw(at)))
        drives.refused(drive, done, nvme.DATA_TRANSFER, "could not be fetched")


@test
def unreachable_namespaces_are_refused():
    """If this breaks, the reachability that logs 1Ah and 1Bh state is none."""
    drive = get(unreachable=str(NVM))
    drives.refused(drive, drive.copy(0, [lba_source(0, 1)], BLOCK),
                   csd.SC_UNREACHABLE, "reached")
    drive.must(drive.enable_copy_formats())
    drives.refused(drive, drive.nvm_copy(0, [byte_source(0, BLOCK)]),
                   csd.SC_UNREACHABLE, "reached")
    drive.must(drive.copy(0, [byte_source(4096, BLOCK)], BLOCK, csd.COPY_BYTES))
    expect(drive.nvm_read(0, 1), lbas(0, 1), "ordinary reads go on")


@test
def only_fast_copies_on_demand():
    """If this breaks, a host that asks for a fast copy or none gets a slow
    one, or a drive that has fast ones refuses."""
    for source, kind in ((lba_source(0, 1, sopt=csd.COPY_FCO), csd.COPY_LBA),
                         (byte_source(4096, BLOCK, sopt=csd.COPY_FCO),
                          csd.COPY_BYTES)):
        drive = get()
        drive.must(drive.copy(0, [source], BLOCK, kind))
        slow = get(fast_copy=False)
        drives.refused(slow, slow.copy(0, [source], BLOCK, kind),
                       csd.SC_NO_FAST_COPY, "fast copy")
        source.sopt = 0
        slow.must(slow.copy(0, [source], BLOCK, kind))


@test
def copies_to_bad_lbas_are_refused():
    """If this breaks, NVM Copy writes beyond the namespace, or a part of an
    LBA."""
    drive = get()
    drive.must(drive.enable_copy_formats())
    for slba, sources, status, sentence in (
            (BLOCKS, [(0, BLOCK)], nvme.LBA_RANGE, "beyond the end"),
            (BLOCKS - 1, [(0, 2 * BLOCK)], nvme.LBA_RANGE, "beyond the end"),
            ((1 << 64) - 1, [(0, BLOCK)], nvme.LBA_RANGE, "beyond the end"),
            (1 << 55, [(0, BLOCK)], nvme.LBA_RANGE, "beyond the end"),
            (0, [(0, 4)], nvme.INVALID_FIELD, "no whole number of LBAs"),
            (0, [(0, BLOCK), (0, 508)], nvme.INVALID_FIELD, "no whole number"),
            (0, [(SIZE, BLOCK)], nvme.INVALID_FIELD, "source 0: no range")):
        done = drive.nvm_copy(slba, [byte_source(*s) for s in sources])
        drives.refused(drive, done, status, sentence)
    expect(drive.nvm_read(0, 1), lbas(0, 1), "LBA 0")
    expect(drive.nvm_read(BLOCKS - 1, 1), lbas(BLOCKS - 1, 1), "the last LBA")


@test
def bytes_are_counted_by_path():
    """If this breaks, a report of bytes over the link against bytes scanned is
    made up."""
    drive = get()
    drive.must(drive.enable_copy_formats())
    before = drive.counters()
    drive.must(drive.copy(0, [lba_source(0, 64), lba_source(9, 1)], 65 * BLOCK))
    drive.must(drive.copy(1 << 20, [byte_source(0, 4096)], 4096, csd.COPY_BYTES))
    drive.must(drive.nvm_copy(5, [byte_source(5 * BLOCK, 2 * BLOCK)]))
    drive.slm_write(2 << 20, bytes(12288))
    drive.slm_read(2 << 20, 8192)
    after = drive.counters()
    grown = {name: getattr(after, name) - getattr(before, name)
             for name in ("media_to_slm", "slm_to_slm", "slm_to_media",
                          "host_to_slm", "slm_to_host", "link_to_drive",
                          "link_to_host")}
    expect(grown, {
        "media_to_slm": 65 * BLOCK, "slm_to_slm": 4096,
        "slm_to_media": 2 * BLOCK, "host_to_slm": 12288, "slm_to_host": 8192,
        "link_to_drive": 2 * 32 + 32 + 32 + 12288, "link_to_host": 8192,
    }, "bytes")


@test
def refused_copies_are_not_counted():
    """If this breaks, bytes that were never moved show up in the counters."""
    drive = get()
    before = drive.counters()
    drive.copy(0, [lba_source(BLOCKS, 1)], BLOCK)
    drive.copy(2, [byte_source(0, PAGE)], PAGE, csd.COPY_BYTES)
    after = drive.counters()
    for name in ("media_to_slm", "slm_to_slm"):
        expect(getattr(after, name), getattr(before, name), name)


if __name__ == "__main__":
    drives.run()
