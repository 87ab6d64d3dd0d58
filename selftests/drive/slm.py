#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Subsystem Local Memory: Memory Read, Write and Fill."""

import random

import drives
import nvme_csd as csd
import nvmequeue as nvme
from csdrive import CP, NVM, SLM
from ktap import expect, test, test_each
from nvmequeue import Buffer, Command, Prp, Raw, Sgl
from qtest import PAGE

SIZE = 8 << 20
MDTS = 512 << 10


def get():
    return drives.get(slm_size=SIZE)


def pointers(ram, buffer, source):
    """One of the ways to name a buffer's bytes."""
    # hw/nvme takes 1024 pieces at most.
    least = 4 * (buffer.size // 2000)
    return source.choice([
        lambda: Prp(buffer), lambda: Sgl(buffer),
        lambda: Sgl(buffer, per_segment=source.randint(1, 5)),
        lambda: Sgl(buffer, cut=max(least, source.choice([4, 100, 1000])))])()


@test
def it_is_memory():
    """If this breaks, SLM does not hold what was written: any order of reads,
    writes and fills, PRP lists and SGLs of all shapes, gives what a bytearray
    gives."""
    drive = get()
    source = random.Random(4)
    model = bytearray(drive.slm_read(0, SIZE))
    for _ in range(250):
        length = 4 * min(int(source.expovariate(1 / 6000)) + 1, MDTS // 4)
        off = 4 * source.randint(0, (SIZE - length) // 4)
        kind = source.choice([csd.SLM_READ, csd.SLM_WRITE, csd.SLM_FILL])
        mark = drive.machine.ram.mark()
        buffer = Buffer(drive.machine.ram, length,
                        4 * source.randint(0, PAGE // 4 - 1))
        data = source.randbytes(length)
        if kind == csd.SLM_FILL:
            drive.must(drive.slm_fill(off, length))
            model[off:off + length] = bytes(length)
        else:
            buffer.fill(data)
            drive.must(drive.io.run(drive.slm_command(
                kind, off, length,
                pointers(drive.machine.ram, buffer, source))))
            if kind == csd.SLM_WRITE:
                model[off:off + length] = data
            else:
                expect(buffer.bytes() == model[off:off + length],
                       what=f"{length} bytes at {off}")
        drive.machine.ram.release(mark)
    expect(drive.slm_read(0, SIZE) == model, what="the whole memory")


@test
def ends_can_be_reached():
    """If this breaks, the last bytes, or four bytes alone, are refused."""
    drive = get()
    drive.slm_write(SIZE - 4, b"last")
    drive.slm_write(0, b"1st!")
    expect(drive.slm_read(SIZE - 4, 4), b"last")
    expect(drive.slm_read(0, 4), b"1st!")
    drive.must(drive.slm_fill(0, SIZE))
    expect(drive.slm_read(SIZE - 8, 8), bytes(8), "after a fill of all")


@test_each(
    off=(1, 4), length=(0, 3), both=(2, 6), nothing=(0, 0),
    beyond=(SIZE, 4), across=(SIZE - 4, 8), far=(1 << 32, 4),
    sign=(1 << 63, 4), wraps=((1 << 64) - 4, 8), last=((1 << 64) - 4, 4),
    long=(0, (1 << 32) - 4), wraps32=(SIZE - 4, (1 << 32) - 4),
    all_ones=((1 << 64) - 1, (1 << 32) - 1))
def ranges_outside_are_refused(off, length):
    """If this breaks, a host reads or writes QEMU's memory beyond the SLM."""
    drive = get()
    buffer = Buffer(drive.machine.ram, 2 * PAGE)
    for opcode in (csd.SLM_READ, csd.SLM_WRITE, csd.SLM_FILL):
        done = drive.io.run(drive.slm_command(opcode, off, length, Prp(buffer)))
        drives.refused(drive, done, nvme.INVALID_FIELD,
                       "no range of the SLM.*multiples of 4")


@test
def more_than_mdts_is_refused():
    """If this breaks, a command moves more than Identify allows it to."""
    drive = get()
    _, data = drive.identify(1)
    most = PAGE << data[77]
    expect(most, MDTS, "MDTS")
    buffer = Buffer(drive.machine.ram, most + 4)
    for opcode in (csd.SLM_READ, csd.SLM_WRITE):
        drive.must(drive.io.run(drive.slm_command(opcode, 0, most,
                                                  Prp(buffer))))
        done = drive.io.run(drive.slm_command(opcode, 0, most + 4,
                                              Prp(buffer)))
        drives.refused(drive, done, nvme.INVALID_FIELD, "MDTS")


@test_each(dw2=("dw2", 1), dw3=("dw3", 1 << 31), dw13=("dw13", 1),
           dw14=("dw14", 1 << 16), dw15=("dw15", 1))
def reserved_words_are_refused(word, value):
    """If this breaks, a field that gets a meaning later is ignored by this
    drive, and the host does not learn of it."""
    drive = get()
    buffer = Buffer(drive.machine.ram, PAGE)
    for opcode in (csd.SLM_READ, csd.SLM_WRITE, csd.SLM_FILL):
        command = drive.slm_command(opcode, 0, 4, Prp(buffer))
        command.words[word] = value
        drives.refused(drive, drive.io.run(command), nvme.INVALID_FIELD,
                       "reserved")


def elsewhere(drive):
    """Data pointers that lead to no memory of the host."""
    bar, size = drive.bars[0]
    memory = drive.machine.ram.size
    return {
        "registers": bar, "doorbells": bar + 0x1000, "behind": bar + size,
        "hole": 0xb8000000, "end": memory, "high": 1 << 40,
        "top": (1 << 64) - PAGE,
    }


@test
def bad_prps_are_refused():
    """If this breaks, a drive reads or writes its own registers, or QEMU reads
    wherever a host points."""
    drive = get()
    pattern = bytes(range(256)) * 32
    drive.slm_write(0, pattern)
    ram = drive.machine.ram
    for name, at in elsewhere(drive).items():
        inside = Buffer(ram, PAGE)
        pieces = ram.pages(1)
        ram.write(pieces, at.to_bytes(8, "little") * 512)
        for pointer in (Raw(at), Raw(inside.pages[0], at),
                        Raw(inside.pages[0], pieces)):
            length = 4 if pointer.words[0] == at else \
                2 * PAGE if pointer.words[1] == at else 3 * PAGE
            for opcode in (csd.SLM_READ, csd.SLM_WRITE):
                done = drive.io.run(drive.slm_command(opcode, 4 * PAGE, length,
                                                      pointer))
                expect(done.status in (nvme.DATA_TRANSFER, nvme.INVALID_FIELD,
                                       nvme.CMB_USE, nvme.PRP_OFFSET,
                                       nvme.INTERNAL),
                       what=f"{name}, opcode {opcode}: {done}")
    expect(drive.slm_read(0, len(pattern)) == pattern, what="the bytes before")
    expect(drive.read(nvme.REG_CSTS), 1, "CSTS")


@test
def unaligned_prps_are_refused():
    """If this breaks, a PRP list is followed to where none can be."""
    drive = get()
    buffer = Buffer(drive.machine.ram, 4 * PAGE)
    first, second = buffer.pages[:2]
    done = drive.io.run(drive.slm_command(csd.SLM_READ, 0, 2 * PAGE,
                                          Raw(first, second + 4)))
    drives.refused(drive, done, nvme.PRP_OFFSET)
    lists = drive.machine.ram.pages(1)
    drive.machine.ram.write(lists, (second + 8).to_bytes(8, "little") * 2)
    done = drive.io.run(drive.slm_command(csd.SLM_WRITE, 0, 3 * PAGE,
                                          Raw(first, lists)))
    drives.refused(drive, done, nvme.PRP_OFFSET)


def sgl(ram, *descriptors, kind=3):
    """A pointer to a last segment with those descriptors."""
    raw = b"".join(descriptors)
    at = ram.pages(1)
    ram.write(at, raw)
    word = nvme.sgl_descriptor(at, len(raw), kind)
    return Raw(int.from_bytes(word[:8], "little"),
               int.from_bytes(word[8:], "little"), psdt=1)


@test
def bad_sgls_are_refused():
    """If this breaks, a scatter list that is too short, too long, of an unknown
    kind, or that points nowhere, does something."""
    drive = get()
    ram = drive.machine.ram
    at = ram.pages(1)
    block = nvme.sgl_descriptor
    cases = {
        "short": ([block(at, 100)], nvme.SGL_LENGTH),
        "long": ([block(at, 128), block(at, 4)], nvme.SGL_LENGTH),
        "bit bucket": ([block(at, 128, 1)], nvme.SGL_SEGMENT),
        "unknown": ([block(at, 64, 9), block(at, 64)], nvme.SGL_TYPE),
        "segment inside": ([block(at, 64), block(at, 64, 2), block(at, 64)],
                           nvme.SGL_COUNT),
        "wraps": ([block((1 << 64) - 64, 128)], nvme.SGL_LENGTH),
        "after the last": ([block(at, 64), block(at, 64, 3)],
                           nvme.SGL_SEGMENT),
        "registers": ([block(drive.bars[0][0], 128)], nvme.DATA_TRANSFER),
    }
    for name, (descriptors, status) in cases.items():
        for opcode in (csd.SLM_READ, csd.SLM_WRITE):
            done = drive.io.run(drive.slm_command(opcode, 0, 128,
                                                  sgl(ram, *descriptors)))
            expect(hex(done.status), hex(status), f"{name}, opcode {opcode}")
    for length in (0, 8, 17):
        word = block(at, length, 3)
        done = drive.io.run(drive.slm_command(
            csd.SLM_READ, 0, 128, Raw(int.from_bytes(word[:8], "little"),
                                      int.from_bytes(word[8:], "little"), 1)))
        expect(hex(done.status), hex(nvme.SGL_SEGMENT), f"segment of {length}")


@test
def flush_succeeds_in_both_namespaces():
    """If this breaks, a host's Flush, mandatory in every command set, fails."""
    drive = get()
    for nsid in (NVM, SLM, CP, 0xffffffff):
        expect(drive.io.run(Command(nvme.NVM_FLUSH, nsid)).status, 0,
               f"Flush of namespace {nsid:#x}")


@test
def unknown_opcodes_are_refused():
    """If this breaks, an opcode of another command set does something here:
    Write and Read of the NVM set, for instance."""
    drive = get()
    known = {SLM: {0, csd.SLM_COPY, csd.SLM_READ, csd.SLM_FILL, csd.SLM_WRITE},
             CP: {0, csd.CP_EXECUTE, csd.CP_EXECUTE_DLEN, csd.CP_GLOBALS_READ,
                  csd.CP_GLOBALS_WRITE}}
    for nsid, opcodes in known.items():
        for opcode in set(range(256)) - opcodes:
            done = drive.io.run(Command(opcode, nsid))
            expect(done.status in (nvme.INVALID_OPCODE, nvme.INVALID_FIELD),
                   what=f"opcode {opcode:#x} of namespace {nsid}: {done}")
        drives.refused(drive, drive.io.run(Command(0x7e, nsid)),
                       nvme.INVALID_OPCODE, "opcode 7eh is no command")


@test
def other_namespaces_have_none():
    """If this breaks, a namespace that is not there, or the NVM one, takes
    Memory Reads."""
    drive = get()
    buffer = Buffer(drive.machine.ram, PAGE)
    # Not attached, and beyond the most that there can be.
    for nsid, status in ((4, nvme.INVALID_FIELD), (255, nvme.INVALID_FIELD),
                         (257, nvme.INVALID_NS), (0xfffffffe, nvme.INVALID_NS)):
        done = drive.io.run(drive.slm_command(csd.SLM_READ, 0, 4, Prp(buffer),
                                              nsid=nsid))
        expect(hex(done.status), hex(status), f"namespace {nsid}")
    for nsid in (0, 0xffffffff):
        done = drive.io.run(drive.slm_command(csd.SLM_READ, 0, 4, Prp(buffer),
                                              nsid=nsid))
        expect(done.status != 0, what=f"namespace {nsid:#x}: {done}")
    done = drive.io.run(drive.slm_command(csd.SLM_FILL, 0, 4, nsid=NVM))
    expect(hex(done.status), hex(nvme.INVALID_OPCODE), "Fill of LBAs")


@test
def controller_resets_keep_it_and_pci_resets_clear_it():
    """If this breaks, a host finds another host's data, or loses its own."""
    drive = get()
    drive.slm_write(4096, b"remember this!!!")
    drive.restart()
    expect(drive.slm_read(4096, 16), b"remember this!!!", "after CC.EN")
    drive.function_reset()
    drive.start()
    expect(drive.slm_read(0, SIZE) == bytes(SIZE), what="zeros after an FLR")


if __name__ == "__main__":
    drives.run()
