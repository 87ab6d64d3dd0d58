#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 300 --nvme {img:2M}
"""Scans that cannot end well: of bad programs, of bad devices, and by tasks that
are frozen."""

import ctypes
import errno
import mmap
import os
import threading
import time

import blkbpf_abi as abi
import disks
import oracle
from disks import opened, read_attribute, write_attribute
from ktap import (cleanup, expect, expect_in, expect_raises, run, sh, skip, test,
                  test_each)
from programs import borrow
from scans import expect_matches, loaded

DISK = "/dev/nvme0n1"
SIZE = 2 << 20
DATA = disks.random_bytes(SIZE, values=6)


def scan(control, program, path, ranges=None, args=(), **kwargs):
    return control.scan(program.fd, opened(path), ranges, args, **kwargs)


@test_each(three=(3, errno.EPROTO), large=(4096, errno.EPROTO),
           largest=((1 << 31) - 1, errno.EPROTO),
           below_errnos=(-4096, errno.EPROTO), lowest=(-1 << 31, errno.EPROTO),
           eio=(-errno.EIO, errno.EIO), last_errno=(-4095, 4095),
           eperm=(-errno.EPERM, errno.EPERM))
def what_a_program_returns_ends_the_scan_and_keeps_matches(ret, number):
    """If this breaks, a value from BPF is trusted, or what was found before it
    is lost."""
    bad = 300 * 4096
    for threads in (1, 2):
        with abi.Control() as control:
            error = expect_raises(
                abi.Refused, scan, control, loaded("probe", "probe_4096_0"), DISK,
                None, (3, ret, bad, bad + 1), threads=threads, errno=number)
        expect_in(f"{ret}", error.sentence, "sentence")
        expect_in(f"the unit at {bad}", error.sentence, "sentence")
        expect_matches(error.found.matches,
                       oracle.heads(DATA, [(0, bad)], 3, 4096), "before it")
        cursor = error.arg.cursor
        expect((cursor.range, cursor.pos, cursor.skip, cursor.cookie),
               (0, bad, 0, 0), "cursor")


@test
def too_many_ranges_are_refused_before_memory_is_taken_for_them():
    """If this breaks, one call of who may read a disk takes all memory: the
    array that it points at costs nothing, as it is one page, many times."""
    most = abi.RANGES_MAX
    array = mmap.mmap(-1, (most + 1) * ctypes.sizeof(abi.Range),
                      flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    program, disk = loaded("probe", "probe_4096_0"), opened(DISK)
    devs = (ctypes.c_int32 * 2)(disk, disk)
    with abi.Control() as control:
        arg = abi.Scan(prog_fd=program.fd, dev_fd=disk, nr_ranges=most,
                       ranges=ctypes.addressof(ctypes.c_char.from_buffer(array)))
        control.call(arg, abi.COUNT)
        expect((arg.status, arg.cursor.range), (abi.DONE, most), "empty ranges")
        for nr_devs, nr in ((0, most + 1), (2, most // 2 + 1), (0, (1 << 32) - 1),
                            (2, (1 << 31) + 1)):
            arg.cursor = abi.Cursor()
            arg.nr_ranges, arg.nr_devs = nr, nr_devs
            arg.devs = ctypes.addressof(devs) if nr_devs else 0
            arg.dev_fd = -1 if nr_devs else disk
            error = expect_raises(abi.Refused, control.call, arg, abi.COUNT,
                                  errno=errno.EINVAL)
            expect_in(f"{nr} ranges of {nr_devs or 1} devices are too many: at "
                      f"most {most} ", error.sentence)


@test_each(at_len=(4096, 1), behind_len=(5000, 1), empty=(0, 0),
           over_end=(4095, 2), wraps=(1, (1 << 32) - 1),
           overlap_begins=("emit_64", 4096, 1), over_overlap=("emit_64", 4000, 161))
def an_emit_outside_ends_the_scan(*where):
    """If this breaks, a program reports bytes that it could not see, and
    SCAN_DATA copies them."""
    name = where[0] if isinstance(where[0], str) else "emit_0"
    off, length = where[-2:]
    program = borrow("emit", name)
    for flags in (0, abi.COUNT):
        with abi.Control() as control:
            error = expect_raises(abi.Refused, scan, control, program, DISK,
                                  None, (off, length, 1, 8192), flags=flags,
                                  errno=errno.EINVAL)
        expect_in("emitted a match outside", error.sentence, "sentence")
        expect_in("the unit at 8192", error.sentence, "sentence")
        expect(error.arg.cursor.pos, 8192, "cursor")
    told = program.globals()
    expect(int.from_bytes(told[8:16], "little", signed=True), -errno.EINVAL,
           "what blk_bpf_emit() returned")


@test
def an_emit_to_the_last_byte_that_is_seen_is_right():
    """If this breaks, a match in the overlap is refused."""
    for name, off, length in (("emit_0", 4095, 1), ("emit_0", 0, 4096),
                              ("emit_64", 4095, 65), ("emit_64", 0, 4160)):
        program = borrow("emit", name)
        with abi.Control() as control:
            found = scan(control, program, DISK, None,
                         (off, length, 1, 4096))
        expect(found.matches, [(4096 + off, length)], name)


@test
def emits_of_one_call_have_a_limit_that_is_an_error():
    """If this breaks, a program fills the kernel's memory or loses matches
    silently."""
    program = borrow("emit", "emit_0")
    with abi.Control() as control:
        found = scan(control, program, DISK, None, (0, 1, abi.EMIT_MAX, 4096))
        expect_matches(found.matches, [(4096, 1)] * abi.EMIT_MAX, "the most")
        error = expect_raises(abi.Refused, scan, control, program, DISK, None,
                              (0, 1, abi.EMIT_MAX + 1, 4096), errno=errno.ENOSPC)
    expect_in("more than 65536 matches in the unit at 4096", error.sentence,
              "sentence")
    expect(error.found.matches, [], "of a unit that could not be done")


@test
def a_chunk_ends_with_the_unit_that_has_enough_matches():
    """If this breaks, a program makes a chunk keep many times the memory that it
    should."""
    for many, units in ((abi.EMIT_MAX, 1), (abi.EMIT_MAX - 1, 2), (256, 128)):
        with abi.Control() as control:
            found = scan(control, loaded("flood"), DISK, None, (many, 0), room=0,
                         threads=1)
        expect((found.status, found.stats.units), (abi.FULL, units),
               f"units that were run, of {many} matches each")


def check_bad_blocks(path, bad, ranges, unit, overlap):
    """The device fails where bad = (first byte, end) is read."""
    program = loaded("pair", f"pair_{overlap}")
    wanted, cursor = [], None
    for number, (start, length) in enumerate(ranges):
        for off, size in oracle.units(length, unit):
            first = (start + off) // 512 * 512
            end = -(-min(start + off + size + overlap, start + length) // 512) * 512
            if first < bad[1] and end > bad[0]:
                cursor = (number, off, 0)
                break
        if cursor:
            done = oracle.pairs(DATA, [(start, length)], 3, 4, unit, overlap)
            wanted += [m for m in done if m[0] < start + cursor[1]]
            break
        wanted += oracle.pairs(DATA, [(start, length)], 3, 4, unit, overlap)
    expect(cursor is not None, what="the bad blocks are in the ranges")
    for threads in (1, 2) if unit == 4096 else (2,):
        with abi.Control() as control:
            error = expect_raises(abi.Refused, scan, control, program, path,
                                  ranges, (3, 4), unit=unit, threads=threads,
                                  errno=errno.EIO)
        got = error.arg.cursor
        expect((got.range, got.pos, got.skip), cursor, "cursor")
        expect_in(f"could not read the unit at {ranges[cursor[0]][0] + cursor[1]}",
                  error.sentence, "sentence")
        expect_matches(error.found.matches, wanted, "before the bad blocks")


@test
def a_bad_block_costs_its_unit_and_no_match_before_it():
    """If this breaks, one bad sector hides what lies before it."""
    bad = 1_250_304
    sector = bad // 512
    path = disks.Mapped(f"0 {sector} linear {DISK} 0\n"
                        f"{sector} 2 error\n{sector + 2} {SIZE // 512 - sector - 2}"
                        f" linear {DISK} {sector + 2}").path
    for unit, overlap, start in ((4096, 0, 0), (4096, 63, 0), (100, 1, 3),
                                 (32768, 4096, 3)):
        check_bad_blocks(path, (bad, bad + 1024),
                         [(1000, 5000), (1 << 20, 90000), (start, SIZE - start)],
                         unit, overlap)


@test
def a_scan_goes_on_behind_a_bad_block():
    """If this breaks, nothing behind a bad sector can be found."""
    bad = 1 << 20
    path = disks.Mapped(f"0 {bad // 512} linear {DISK} 0\n"
                        f"{bad // 512} 1 error\n{bad // 512 + 1} "
                        f"{(SIZE - bad) // 512 - 1} linear {DISK} "
                        f"{bad // 512 + 1}").path
    with abi.Control() as control:
        error = expect_raises(abi.Refused, scan, control,
                              loaded("pair", "pair_0"), path, None, (3, 4),
                              errno=errno.EIO)
        cursor = error.arg.cursor
        cursor.pos += 4096
        found = scan(control, loaded("pair", "pair_0"), path, None, (3, 4),
                     cursor=cursor)
    expect(found.status, abi.DONE, "status")
    expect_matches(found.matches, oracle.pairs(
        DATA, [(bad + 4096, SIZE - bad - 4096)], 3, 4, 4096, 0), "behind it")


@test
def errors_of_a_blk_mq_device_are_the_devices():
    """If this breaks, a device's own error is replaced by another."""
    disk = disks.NullBlk(size=2)
    disks.write_all(disk.path, DATA)
    disk.set("badblocks", "+3000-3000")
    check_bad_blocks(disk.path, (3000 * 512, 3001 * 512), [(0, SIZE)], 4096, 1)


@test
def bytes_of_matches_before_a_bad_block_are_what_the_program_saw():
    """If this breaks, a block that is read again for the next unit replaces the
    bytes of a match that have not been handed out."""
    disk = disks.NullBlk(size=2, blocksize=4096)
    bad = 480 << 10
    disk.set("badblocks", f"+{bad // 512}-{bad // 512}")
    file, stop = disks.DirectFile(disk.path, os.O_RDWR), threading.Event()

    def write():
        while not stop.is_set():
            for byte in b"\0\1":
                file.write(0, bytes([byte]) * bad)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            with abi.Control() as control:
                error = expect_raises(
                    abi.Refused, scan, control, loaded("probe", "probe_512_0"),
                    disk.path, None, (1,), flags=abi.DATA, data_len=1 << 20,
                    errno=errno.EIO)
            found = error.found
            expect(error.arg.cursor.pos, bad, "cursor")
            expect(found.data[::512].count(1), 0,
                   "units that begin with 1, of those that begin with 0")
    finally:
        stop.set()
        writer.join()


@test
def an_error_behind_the_ranges_is_not_met():
    """If this breaks, a scan reads what it was not asked to."""
    path = disks.Mapped(f"0 100 linear {DISK} 0\n100 100 error").path
    ranges = [(0, 51200)]
    with abi.Control() as control:
        found = scan(control, loaded("pair", "pair_4096"), path, ranges, (3, 4))
    expect_matches(found.matches, oracle.pairs(DATA, ranges, 3, 4, 4096, 4096),
                   "before it")


@test
def after_an_error_the_file_is_as_new():
    """If this breaks, one failed scan spoils the next."""
    bad = 10 * 4096
    wanted = oracle.heads(DATA, [(0, SIZE)], 3, 4096)
    with abi.Control() as control:
        for _ in range(3):
            expect_raises(abi.Refused, scan, control,
                          loaded("probe", "probe_4096_0"), DISK, None,
                          (3, 99, bad, bad + 1), errno=errno.EPROTO)
            found = scan(control, loaded("probe", "probe_4096_0"), DISK, None,
                         (3,))
            expect_matches(found.matches, wanted, "after an error")


class Freezer:
    """The processes in it stop, as all do when the machine is suspended."""

    FOLDER = "/tmp/freezer"

    def __init__(self):
        os.makedirs(self.FOLDER, exist_ok=True)
        if sh(["mount", "-t", "cgroup", "-o", "freezer", "none", self.FOLDER],
              check=False).returncode:
            skip("this kernel has no freezer of version 1")
        cleanup(sh, ["umount", self.FOLDER])
        self.group = f"{self.FOLDER}/test"
        os.mkdir(self.group)
        cleanup(os.rmdir, self.group)

    def add(self, process):
        write_attribute(f"{self.group}/cgroup.procs", process)

    def freeze(self):
        write_attribute(f"{self.group}/freezer.state", "FROZEN")
        wait_for(lambda: read_attribute(f"{self.group}/freezer.state") == "FROZEN")

    def thaw(self):
        write_attribute(f"{self.group}/freezer.state", "THAWED")


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        expect(time.monotonic() < end, what="it came in time")
        time.sleep(0.01)


def sleeps(process):
    """Where a signal would wake it."""
    return read_attribute(f"/proc/{process}/stat").rpartition(")")[2].split()[0] == "S"


@test
def freezing_interrupts_a_scan():
    """If this breaks, a task is frozen while it holds its file's lock, and others
    that wait for it keep the machine from being suspended."""
    freezer = Freezer()
    disk = disks.NullBlk(size=2, irqmode=2, completion_nsec=2_000_000_000)
    control = abi.Control()
    cleanup(control.close)
    program, device = loaded("probe", "probe_4096_0"), opened(disk.path)
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        status = 255
        try:
            status = control.scan(program.fd, device, None, (0,), threads=1).status
        finally:
            os.write(tell, bytes([status]))
            os._exit(0)
    os.close(tell)
    with open(told, "rb") as answer:
        try:
            freezer.add(child)
            reading = f"/sys/block/{disk.disk}/inflight"
            wait_for(lambda: read_attribute(reading).split()[0] != "0" and
                     sleeps(child))
            freezer.freeze()
            freezer.thaw()
            expect(answer.read(1), bytes([abi.INTERRUPTED]), "status")
        finally:
            freezer.thaw()
            os.waitpid(child, 0)


if __name__ == "__main__":
    disks.write_all(DISK, DATA)
    run()
