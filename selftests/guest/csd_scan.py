#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 400 --csd {img:8M}
# vm: --csd {img:8M:1},logical_block_size=4096,physical_block_size=4096,engines=1
"""Scans near a drive's data: the answers are those of the kernel target, and of
Python."""

import ctypes
import errno
import fcntl
import os
import random
import subprocess
import threading

import blkbpf_abi as abi
import csds
import disks
import oracle
from disks import opened
from ktap import cleanup, expect, expect_in, expect_raises, run, test, test_each
from programs import Program, Seen, borrow
from scans import expect_matches, loaded

SIZE = 8 << 20
# Few values, so that short patterns are frequent and cross every border.
DATA = disks.random_bytes(SIZE, values=6)
DISK, DISK4K = (csds.disk_of(name) for name in ("csd0", "csd1"))
DRIVES = {DISK: "csd0", DISK4K: "csd1"}


def scan(control, name, program, path=DISK, ranges=None, args=(), fd=None,
         **kwargs):
    """On the drive that the disk is of."""
    return control.scan(fd or loaded(name, program).fd, opened(path), ranges, args,
                        target=DRIVES[path], image=csds.image(name, program),
                        **kwargs)


def check_pairs(ranges, unit, overlap, path=DISK, **kwargs):
    with abi.Control() as control:
        found = scan(control, "pair", f"pair_{overlap}", path, ranges, (3, 4),
                     unit=unit, **kwargs)
    wanted = oracle.pairs(DATA, ranges or [(0, len(DATA))], 3, 4, unit or 4096,
                          overlap)
    expect(found.status, abi.DONE, "status")
    expect_matches(found.matches, wanted, f"unit {unit}, overlap {overlap}")
    expect(found.path.path, abi.PATH_NEAR, "path")
    return found


@test_each(u1=(1, 9000), u100=(100, 200000), u512=(512, 200000),
           u3000=(3000, 200000), u4096=(4096, 400000), u8191=(8191, 200000),
           u32768=(32768, 400000))
def finds_what_the_data_holds(unit, length):
    """If this breaks, the drive loses or invents matches at the borders of units
    or of the parts that a range is cut into."""
    for overlap in (0, 1, 63, 4096):
        check_pairs([(0, length)], unit, overlap)
        check_pairs([(12345, length)], unit, overlap, DISK4K)


@test
def finds_what_the_data_holds_for_any_ranges():
    """If this breaks, an answer depends on how the ranges lie on the blocks."""
    source = random.Random(1)
    for _ in range(30):
        ranges = oracle.random_ranges(source, SIZE, 600000)
        check_pairs(ranges, source.choice((7, 100, 512, 1000, 4096, 32768)),
                    source.choice((0, 1, 63, 4096)),
                    source.choice((DISK, DISK4K)))


@test
def the_whole_device_by_its_own_unit():
    """If this breaks, the end of a device or the program's own unit is lost."""
    for path in DRIVES:
        found = check_pairs(None, 0, 63, path)
        expect(found.stats.bytes_scanned, SIZE, "bytes scanned")
        expect(found.stats.units, SIZE // 4096, "units")


@test
def data_stay_on_the_drive():
    """If this breaks, a drive is no use: the data cross the link."""
    with abi.Control() as control:
        scan(control, "pair", "pair_63", args=(3, 4))
        found = scan(control, "pair", "pair_63", args=(250, 250))
    expect(found.matches, [], "a pair that is not there")
    expect(found.path.loads, 0, "programs loaded the second time")
    expect(found.path.link_data, 0, "data over the link")
    crossed = found.path.link_to_drive + found.path.link_to_host
    expect(crossed < SIZE * 3 // 1000, what=f"{crossed} bytes over the link")


@test
def every_call_is_told_what_it_is_for():
    """If this breaks, a program sees another ctx on a drive than in the kernel."""
    ranges = [(5, 30000), (100000, 4096), (200000, 1)]
    args = (2, 0, 0x123456789abc, (1 << 64) - 1)
    for name in ("probe_4096_0", "probe_512_0", "probe_3000_0"):
        program = borrow("probe", name)
        image = csds.image("probe", name)
        with abi.Control() as control:
            control.scan(program.fd, opened(DISK), ranges, args, threads=1)
            values = csds.initial(image)
            found = control.scan(program.fd, opened(DISK), ranges, args,
                                 target="csd0", image=image, values=values)
        kernel = program.globals()
        expect(found.stats.units > 0, what="units")
        # Pieces may run in any order on several engines: sort the log.
        head = ctypes.sizeof(ctypes.c_uint64) * 6
        size = ctypes.sizeof(Seen.Call)

        def calls(raw):
            return sorted(raw[at:at + size] for at in
                          range(head, head + size * found.stats.units, size))

        expect(bytes(values[:head]), kernel[:head], f"{name}: counters")
        expect(calls(bytes(values)), calls(kernel), f"{name}: calls")


@test_each(one=1, two=2, seven=7, thousand=1000)
def a_small_buffer_gets_every_match_once(room):
    """If this breaks, matches are lost or repeated where a buffer ends."""
    ranges = [(300, 200000), (7, 0), (1 << 20, 5), (100, 50000)]
    if room < 7:
        ranges = [(300, 9000), (7, 0), (1 << 20, 5)]
    wanted = oracle.pairs(DATA, ranges, 3, 4, 4096, 63)
    with abi.Control() as control:
        matches, _, calls = control.scan_all(
            loaded("pair", "pair_63").fd, opened(DISK), ranges, (3, 4), room=room,
            target="csd0", image=csds.image("pair", "pair_63"))
    expect_matches(matches, wanted, f"by {room}")
    expect(calls >= len(wanted) // room, what="calls")


@test
def no_unit_runs_twice_on_the_same_file():
    """If this breaks, counters in a program's globals are wrong whenever a
    result did not fit."""
    image = csds.image("probe", "probe_4096_0")
    values = csds.initial(image)
    ranges = [(11, SIZE - 4096)]
    with abi.Control() as control:
        matches, _, calls = control.scan_all(
            loaded("probe", "probe_4096_0").fd, opened(DISK), ranges, (2,),
            room=5, target="csd0", image=image, values=values)
    expect_matches(matches, oracle.heads(DATA, ranges, 2, 4096), "matches")
    expect((int.from_bytes(values[:8], "little"),
            int.from_bytes(values[8:16], "little")),
           (-(-(SIZE - 4096) // 4096), SIZE - 4096), "calls, and bytes")
    expect(calls > 20, what="calls of the ioctl")


@test
def another_file_or_target_goes_on_with_the_same_matches():
    """If this breaks, a scan that a drive cannot finish is finished wrongly."""
    wanted = oracle.pairs(DATA, [(300, 300000)], 3, 4, 512, 1)
    image = csds.image("pair", "pair_1")
    for targets in (("csd0",), ("csd0", "kernel")):
        matches, cursor, turn = [], None, 0
        while True:
            target = targets[turn % len(targets)]
            with abi.Control() as control:
                found = control.scan(
                    loaded("pair", "pair_1").fd, opened(DISK), [(300, 300000)],
                    (3, 4), unit=512, room=700, cursor=cursor, target=target,
                    image=image if target == "csd0" else b"")
            matches += found.matches
            if found.status == abi.DONE:
                break
            cursor, turn = found.cursor, turn + 1
        expect_matches(matches, wanted, f"on {targets}")


@test
def many_matches_of_one_unit_come_in_parts():
    """If this breaks, what one call of a program emits beyond the drive's room
    for results is lost."""
    args = (30000, 1, 30000, 0)
    with abi.Control() as control:
        program = loaded("emit", "emit_64").fd
        wanted = control.scan(program, opened(DISK), [(0, 65536)], args,
                              unit=32768)
        found = scan(control, "emit", "emit_64", DISK, [(0, 65536)], args,
                     unit=32768)
    expect(len(wanted.matches), 30000, "matches")
    expect_matches(found.matches, wanted.matches, "on the drive")
    expect(found.stats.units, wanted.stats.units, "units")


@test
def count_counts_and_returns_none():
    """If this breaks, a count on the drive is another than the matches."""
    for path in DRIVES:
        with abi.Control() as control:
            found = scan(control, "pair", "pair_63", path, [(1, 1 << 20)], (3, 4),
                         flags=abi.COUNT, room=0)
        expect((found.stats.matches, found.matches),
               (len(oracle.pairs(DATA, [(1, 1 << 20)], 3, 4, 4096, 63)), []),
               "count")


@test
def data_returns_the_bytes_of_every_match():
    """If this breaks, the bytes that belong to a match are others."""
    for path in DRIVES:
        with abi.Control() as control:
            matches, data, _ = control.scan_all(
                loaded("fields").fd, opened(path), [(7, 500000)],
                (100, 0x01000000, 0x03ffffff), unit=3000, flags=abi.DATA,
                data_len=1 << 16, target=DRIVES[path], image=csds.image("fields"))
        wanted = oracle.fields(DATA, [(7, 500000)], 100, 0x01000000, 0x03ffffff,
                               3000)
        expect_matches(matches, wanted, "matches")
        expect(data, b"".join(DATA[pos:pos + size] for pos, size in wanted),
               "bytes")


def check_ends(ends):
    """Errno, sentence, matches, cursor: of the kernel and of the drive."""
    (number, sentence, matches, cursor), drive = ends
    expect(drive[1], sentence, "sentence")
    expect(drive[0], number, "errno")
    expect_matches(drive[2], matches, "matches before it")
    expect(drive[3], cursor, "cursor")


@test_each(three=3, large=4096, below_errnos=-4096, eio=-errno.EIO,
           last_errno=-4095, eperm=-errno.EPERM)
def what_a_program_returns_ends_the_scan_as_in_the_kernel(ret):
    """If this breaks, what went wrong looks different on a drive, or what was
    found before it is lost."""
    bad = 300 * 4096
    ends = []
    for target in ("kernel", "csd0"):
        with abi.Control() as control:
            error = expect_raises(
                abi.Refused, control.scan, loaded("probe", "probe_4096_0").fd,
                opened(DISK), None, (3, ret, bad, bad + 1), target=target,
                image=csds.image("probe", "probe_4096_0")
                if target == "csd0" else b"")
        cursor = error.arg.cursor
        ends.append((error.errno, error.sentence, error.found.matches,
                     (cursor.range, cursor.pos, cursor.skip, cursor.cookie)))
    check_ends(ends)


@test_each(behind_len=("emit_0", 5000, 1, 1), over_end=("emit_0", 4095, 2, 1),
           over_overlap=("emit_64", 4000, 161, 1),
           too_many=("emit_0", 100, 1, 65537))
def a_bad_emit_ends_the_scan_as_in_the_kernel(name, *args):
    """If this breaks, a program reports bytes that it could not see."""
    ends = []
    for target in ("kernel", "csd0"):
        with abi.Control() as control:
            error = expect_raises(
                abi.Refused, control.scan, loaded("emit", name).fd, opened(DISK),
                [(0, 1 << 20)], (*args, 8 * 4096), target=target,
                image=csds.image("emit", name) if target == "csd0" else b"")
        ends.append((error.errno, error.sentence, error.found.matches,
                     error.arg.cursor.pos))
    check_ends(ends)


@test
def a_stop_hides_what_was_run_ahead():
    """If this breaks, matches behind a stop are returned, or some before it are
    not."""
    stop = 200 * 4096
    with abi.Control() as control:
        found = scan(control, "probe", "probe_4096_0", DISK, None,
                     (3, abi.STOP, stop, stop + 1))
    expect(found.status, abi.STOPPED, "status")
    expect_matches(found.matches, oracle.heads(DATA, [(0, stop)], 3, 4096),
                   "before it")
    expect(found.cursor.pos, stop + 4096, "cursor")


@test
def dirty_pages_of_the_device_are_seen():
    """If this breaks, a scan on a drive sees older data than one in the kernel."""
    fd = opened(DISK, os.O_RDWR)
    cleanup(disks.write_all, DISK, DATA[:8192])
    os.pwrite(fd, b"\xfa\xfb", 4095)
    with abi.Control() as control:
        found = scan(control, "pair", "pair_63", DISK, [(0, 8192)], (0xfa, 0xfb))
    expect(found.matches, [(4095, 2)], "what was written and not synced")


class Partition(ctypes.Structure):
    """struct blkpg_partition"""
    _fields_ = [("start", ctypes.c_longlong), ("length", ctypes.c_longlong),
                ("number", ctypes.c_int), ("names", ctypes.c_uint8 * 128)]


class Request(ctypes.Structure):
    """struct blkpg_ioctl_arg"""
    _fields_ = [("op", ctypes.c_int), ("flags", ctypes.c_int),
                ("size", ctypes.c_int), ("data", ctypes.c_void_p)]


def partition(path, number, start=0, length=0):
    """Add a partition; or delete it."""
    part = Partition(start, length, number)
    request = Request(1 if length else 2, 0, ctypes.sizeof(part),
                      ctypes.addressof(part))
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0x1269, request)
    finally:
        os.close(fd)


@test
def a_partition_is_scanned_from_its_own_start():
    """If this breaks, a scan of a partition reads its neighbour."""
    start, length = 24 * 4096, 100 * 4096
    for path, drive in DRIVES.items():
        partition(path, 1, start, length)
        cleanup(partition, path, 1)
        disks.wait_for_node(f"{path}p1")
        fd = os.open(f"{path}p1", os.O_RDONLY)
        cleanup(os.close, fd)
        with abi.Control() as control:
            found = control.scan(loaded("pair", "pair_63").fd, fd, None, (3, 4),
                                 target=drive, image=csds.image("pair", "pair_63"))
        expect_matches(found.matches,
                       oracle.pairs(DATA[start:start + length], [(0, length)],
                                    3, 4, 4096, 63), path)


@test
def scans_at_once_do_not_disturb_each_other():
    """If this breaks, a scan gets another's matches, variables or memory, or is
    never served."""
    failures, names = [], ("probe_4096_0", "probe_512_0", "probe_3000_0")
    programs = [(loaded("probe", name).fd, csds.image("probe", name), unit)
                for name, unit in zip(names, (4096, 512, 3000))]

    def work(number):
        fd, image, unit = programs[number % len(programs)]
        ranges = [(number * 1000, 2 << 20)]
        values = csds.initial(image)
        device = os.open(DISK, os.O_RDONLY)
        try:
            with abi.Control() as control:
                found = control.scan(fd, device, ranges, (2,), target="csd0",
                                     image=image, values=values)
            if found.matches != oracle.heads(DATA, ranges, 2, unit):
                failures.append(f"{number}: matches")
            if int.from_bytes(values[8:16], "little") != 2 << 20:
                failures.append(f"{number}: the program's own count")
        except OSError as error:
            failures.append(f"{number}: {error}")
        finally:
            os.close(device)

    load = subprocess.Popen(
        ["fio", "--name=load", f"--filename={DISK}", "--rw=randread", "--bs=4k",
         "--direct=1", "--ioengine=libaio", "--iodepth=8", "--runtime=60",
         "--time_based", "--output=/dev/null"])
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(load.poll(), None, "the other load ended early")
    load.terminate()
    load.wait()
    expect(failures, [], "failures")
    expect(csds.attribute("csd0", "slm_free"), csds.attribute("csd0", "slm_size"),
           "memory after all")
    expect(csds.attribute("csd0", "scans"), "0", "scans after all")


@test
def programs_are_kept_and_give_way():
    """If this breaks, each scan loads its program again, or the seventeenth
    program is refused."""
    image = csds.image("settings", "by_default")
    with abi.Control() as control:
        for number in range(20):
            # Images that differ in their name alone are different programs.
            other = bytearray(image)
            other[48:64] = f"copy{number}".encode().ljust(16, b"\0")
            other[12:16] = bytes(4)
            other[12:16] = csds.crc32c(other).to_bytes(4, "little")
            for again in (False, True):
                found = control.scan(loaded("settings", "by_default").fd,
                                     opened(DISK), [(0, 4096)], target="csd0",
                                     image=bytes(other))
                expect(found.path.loads, 0 if again else 1,
                       f"loads of program {number}")
    held = csds.attribute("csd0", "programs").split("\n")
    expect(len(held) <= 16, what=f"{len(held)} programs")
    expect_in(" copy19 ", held[-1] + "".join(held))


@test
def a_program_of_another_overlap_is_refused():
    """If this breaks, the drive runs another program than the verifier accepted."""
    with abi.Control() as control:
        error = expect_raises(
            abi.Refused, control.scan, loaded("pair", "pair_63").fd, opened(DISK),
            target="csd0", image=csds.image("pair", "pair_1"), errno=errno.EINVAL)
    expect_in("overlap of 1, the loaded one of 63", error.sentence)


@test
def a_refusal_of_the_drive_is_its_sentence():
    """If this breaks, a user is told that the drive refuses, but not why."""
    image = bytearray(csds.image("pair", "pair_63"))
    # An instruction that does not exist, under a right checksum.
    place = int.from_bytes(image[20:24], "little")
    image[place] = 0xfe
    image[12:16] = bytes(4)
    image[12:16] = csds.crc32c(image).to_bytes(4, "little")
    with abi.Control() as control:
        error = expect_raises(
            abi.Refused, control.scan, loaded("pair", "pair_63").fd, opened(DISK),
            target="csd0", image=bytes(image), errno=errno.ENOEXEC)
    expect_in("csd0 refuses the program: ", error.sentence)
    expect(len(error.sentence) > len("csd0 refuses the program: ") + 10,
           what=error.sentence)


@test
def a_drive_takes_privilege():
    """If this breaks, anybody gives commands to a drive."""
    with abi.Control() as control:
        fd, program = opened(DISK), loaded("pair", "pair_63").fd
        image = csds.image("pair", "pair_63")
        os.seteuid(65534)
        try:
            error = expect_raises(abi.Refused, control.scan, program, fd,
                                  target="csd0", image=image, errno=errno.EPERM)
        finally:
            os.seteuid(0)
    expect_in("needs CAP_SYS_ADMIN", error.sentence)


@test
def other_devices_go_through_host_memory():
    """If this breaks, a device that is not the drive's cannot be scanned on it,
    or is said to be near."""
    other = disks.loop(DATA[:1 << 20])
    with abi.Control() as control:
        found = control.scan(
            loaded("pair", "pair_63").fd, [opened(other), opened(DISK4K), opened(DISK)],
            [(3, 700000)], (3, 4), target="csd0",
            image=csds.image("pair", "pair_63"))
    one = oracle.pairs(DATA, [(3, 700000)], 3, 4, 4096, 63)
    expect_matches(found.matches, one * 3, "matches")
    expect(found.devs, [0] * len(one) + [1] * len(one) + [2] * len(one), "devices")
    expect(found.path.path, abi.PATH_HOST | abi.PATH_NEAR, "path")
    expect(found.path.link_data >= 1400000, what="data over the link")


if __name__ == "__main__":
    for disk in DRIVES:
        disks.write_all(disk, DATA)
    run()
