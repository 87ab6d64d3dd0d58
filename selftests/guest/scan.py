#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 400 --nvme {img:8M}
# vm: --nvme {img:8M},logical_block_size=4096,physical_block_size=4096
"""A scan's answers, against what Python finds in the same bytes."""

import errno
import os
import random
import subprocess

import blkbpf_abi as abi
import disks
import oracle
from disks import opened
from ktap import (cleanup, expect, expect_in, expect_raises, run, sh, test,
                  test_each)
from programs import BPFFS, Seen, borrow, obj_get, obj_pin
from scans import expect_matches, loaded

DISK, DISK4K = "/dev/nvme0n1", "/dev/nvme1n1"
SIZE = 8 << 20
# Few values, so that short patterns are frequent and cross every border.
DATA = disks.random_bytes(SIZE, values=6)
# Odd in every way but for the blocks of 512 bytes.
ODD = DATA[:(1 << 20) + 3 * 512]


def scan(control, program, path, ranges=None, args=(), **kwargs):
    return control.scan(program.fd, opened(path), ranges, args, **kwargs)


def check_pairs(path, data, ranges, unit, overlap, **kwargs):
    """Scan for a pair and compare."""
    with abi.Control() as control:
        found = scan(control, loaded("pair", f"pair_{overlap}"), path, ranges,
                     (3, 4), unit=unit, **kwargs)
    wanted = oracle.pairs(data, ranges or [(0, len(data))], 3, 4, unit or 4096,
                          overlap)
    expect(found.status, abi.DONE, "status")
    expect_matches(found.matches, wanted, f"unit {unit}, overlap {overlap}")
    return found


@test_each(u1=(1, 9000), u100=(100, 200000), u512=(512, 200000),
           u3000=(3000, 200000), u4096=(4096, 400000), u8191=(8191, 200000),
           u32768=(32768, 400000))
def finds_what_the_data_holds(unit, length):
    """If this breaks, a scan loses or invents matches at the borders of units."""
    for overlap in (0, 1, 63, 4096):
        check_pairs(DISK, DATA, [(0, length)], unit, overlap)
        check_pairs(DISK, DATA, [(12345, length)], unit, overlap)


@test
def finds_what_the_data_holds_for_any_ranges():
    """If this breaks, an answer depends on how the ranges lie on the blocks."""
    source = random.Random(1)
    for _ in range(40):
        ranges = oracle.random_ranges(source, SIZE, 60000)
        check_pairs(source.choice((DISK, DISK4K)), DATA, ranges,
                    source.choice((7, 100, 512, 1000, 4096, 32768)),
                    source.choice((0, 1, 63, 4096)))


@test_each(b512=DISK, b4096=DISK4K)
def finds_what_the_data_holds_at_all_offsets_in_a_block(path):
    """If this breaks, ranges that begin or end inside a block are cut wrongly."""
    for start in (4094, 4095, 4096, 4097, 511, 512, 513, 0, 1):
        for length in (1, 2, 3, 511, 512, 513, 4095, 4096, 4097, 8193):
            check_pairs(path, DATA, [(start, length)], 4096, 63)


@test
def ten_thousand_ranges_come_back_in_their_order():
    """If this breaks, ranges are lost, sorted or joined."""
    source = random.Random(2)
    ranges = [(source.randrange(SIZE - 2000), source.randrange(200))
              for _ in range(10000)]
    check_pairs(DISK, DATA, ranges, 100, 1)


@test
def overlapping_ranges_are_scanned_each():
    """If this breaks, a match in two ranges is reported once."""
    found = check_pairs(DISK, DATA, [(0, 5000), (0, 5000), (100, 4000)], 512, 63)
    expect(found.stats.bytes_scanned, 14000, "bytes scanned")


@test_each(by_4=4, by_64=64, by_100=100, by_513=513, by_unit=4096)
def finds_records_of_any_size(size):
    """If this breaks, records that do not divide a block are read askew."""
    unit = size * max(1, 4096 // size)
    ranges = [(0, 100000), (4097, 50000)]
    with abi.Control() as control:
        found = scan(control, loaded("fields"), DISK, ranges,
                     (size, 0x01000000, 0x03ffffff), unit=unit)
    wanted = oracle.fields(DATA, ranges, size, 0x01000000, 0x03ffffff, unit)
    expect(len(wanted) > 3, what="the data has such records")
    expect_matches(found.matches, wanted, f"records of {size} bytes")


@test_each(one_cpu=1, all_cpus=0)
def several_devices_are_scanned_in_their_order(threads):
    """If this breaks, matches of one device are said to be another's, or come in
    an order that depends on which device was quicker."""
    ranges = [(4097, 300000), (0, 9000)]
    other = disks.random_bytes(1 << 20, values=6, seed=1)
    paths = [DISK, disks.loop(other), DISK4K]
    with abi.Control() as control:
        found = control.scan(loaded("pair", "pair_63").fd,
                             [opened(path) for path in paths], ranges, (3, 4),
                             threads=threads)
    parts = [oracle.pairs(data, ranges, 3, 4, 4096, 63)
             for data in (DATA, other, DATA)]
    expect_matches(found.matches, sum(parts, []), "all")
    expect(found.devs, sum(([i] * len(part) for i, part in enumerate(parts)), []),
           "devices")
    expect(found.stats.bytes_scanned, 3 * 309000, "bytes scanned")


@test
def a_cursor_goes_on_in_another_device():
    """If this breaks, a scan of several devices that was interrupted loses the
    rest of them."""
    size = 1 << 16
    paths = [disks.loop(DATA[i * size:(i + 1) * size]) for i in range(3)]
    wanted = sum((oracle.pairs(DATA[i * size:(i + 1) * size], [(0, size)], 3, 4,
                               4096, 63) for i in range(3)), [])
    for same_file in (True, False):
        fds, matches, cursor = [opened(path) for path in paths], [], None
        control = abi.Control()
        while True:
            found = control.scan(loaded("pair", "pair_63").fd, fds, None, (3, 4),
                                 room=100, cursor=cursor)
            matches += found.matches
            if found.status == abi.DONE:
                break
            cursor = found.cursor
            if not same_file:
                control.close()
                control = abi.Control()
        control.close()
        expect_matches(matches, wanted, f"on the same file: {same_file}")


@test
def devices_are_named_in_one_place():
    """If this breaks, a device is scanned that the caller did not mean."""
    program, disk = loaded("pair", "pair_63"), opened(DISK)
    with abi.Control() as control:
        arg = abi.Scan(prog_fd=program.fd, dev_fd=disk, nr_devs=1)
        error = expect_raises(abi.Refused, control.call, arg, errno=errno.EINVAL)
        expect_in("there are devices in devs", error.sentence)
        error = expect_raises(abi.Refused, control.scan, program.fd, [disk] * 65,
                              errno=errno.EINVAL)
        expect_in("65 devices are too many: at most 64", error.sentence)


@test
def an_unknown_target_is_refused():
    """If this breaks, a scan runs elsewhere than it was asked to."""
    with abi.Control() as control:
        program, disk = loaded("pair", "pair_63").fd, opened(DISK)
        for name, number, sentence in (
                ("csd77", errno.ENOENT, "there is no target 'csd77'"),
                ("a name of 16 chr", errno.EINVAL, "has no end")):
            error = expect_raises(abi.Refused, control.scan, program, disk,
                                  target=name, errno=number)
            expect_in(sentence, error.sentence)
        error = expect_raises(abi.Refused, control.scan, program, disk,
                              target="kernel", image=b"image",
                              errno=errno.EINVAL)
        expect_in("image and globals must be 0", error.sentence)
        found = control.scan(program, disk, [(0, 4096)], (3, 4), target="kernel")
    expect(found.path.path, abi.PATH_KERNEL, "path")


@test_each(p512=("probe_512_0", 512), p3000=("probe_3000_0", 3000),
           p32768=("probe_32768_0", 32768))
def the_programs_own_unit_is_the_default(name, unit):
    """If this breaks, unit = 0 means something else than it says."""
    with abi.Control() as control:
        found = scan(control, loaded("probe", name), DISK, [(0, 1 << 20)], (2,))
    expect_matches(found.matches,
                   oracle.heads(DATA, [(0, 1 << 20)], 2, unit), name)


@test_each(u4096=4096, u100=100, u32768=32768)
def a_device_end_inside_a_unit_is_scanned_too(unit):
    """If this breaks, the last bytes of a device are never seen, or bytes
    behind them are."""
    path = disks.loop(ODD)
    for overlap in (0, 63, 4096):
        check_pairs(path, ODD, None, unit, overlap)


@test
def every_call_is_told_what_it_is_for():
    """If this breaks, ctx lies to programs about where they are."""
    program = borrow("probe", "probe_4096_512")
    start, length = 1000, 3 * 4096 + 700
    with abi.Control() as control:
        scan(control, program, DISK, [(start, length)],
             (1 << 63, 0, 0x1234, 1 << 63), threads=1)
    seen = Seen(program)
    expect((seen.calls, seen.bytes), (4, length), "calls and their bytes")
    expect(seen.size, 128, "ctx->size")
    expect((seen.hints, seen.state), (0, 0), "hints, and state at entry")
    expect(seen.args, 0x1234, "args")
    wanted = [(1000, 4096, 4608, 0), (5096, 4096, 4608, 0),
              (9192, 4096, 4096 + 512, 0), (13288, 700, 700,
                                            abi.F_SHORT | abi.F_EDGE)]
    expect([(c.pos, c.len, c.visible, c.flags) for c in seen.log], wanted,
           "position, length, bytes seen, flags")
    for call in seen.log:
        expect((call.unit, call.op), (4096, abi.OP_READ), "unit and op")
        expect(call.first, sum(DATA[call.pos:call.pos + 8]), "the data")


@test
def a_whole_last_unit_without_overlap_is_an_edge_but_not_short():
    """If this breaks, programs believe to have seen what follows."""
    program = borrow("probe", "probe_4096_512")
    with abi.Control() as control:
        scan(control, program, DISK, [(0, 8192), (8192, 4096 + 100)], threads=1)
    expect([(c.pos, c.visible, c.flags) for c in Seen(program).log],
           [(0, 4608, 0), (4096, 4096, abi.F_EDGE), (8192, 4196, abi.F_EDGE),
            (12288, 100, abi.F_SHORT | abi.F_EDGE)], "calls")


@test
def an_empty_range_is_no_call():
    """If this breaks, nothing is read as something."""
    program = borrow("probe", "probe_4096_0")
    with abi.Control() as control:
        for ranges in ([(0, 0)], [(777, 0)], [(SIZE, 0)], [(5, 0), (6, 0)]):
            found = scan(control, program, DISK, ranges, (256,))
            expect((found.status, found.matches, found.stats.units,
                    found.stats.bytes_read), (abi.DONE, [], 0, 0), f"{ranges}")
        found = scan(control, program, DISK, [(1, 0), (4096, 10), (2, 0)], (256,))
    expect(found.matches, [(4096, 10)], "between empty ranges")
    expect(Seen(program).calls, 1, "calls")


@test
def a_range_past_the_end_is_refused_by_its_number():
    """If this breaks, a range is cut silently or wraps around."""
    program = loaded("pair", "pair_0")
    with abi.Control() as control:
        for bad in ((SIZE, 1), (0, SIZE + 1), (SIZE + 1, 0), (1, (1 << 64) - 1),
                    ((1 << 64) - 1, 2), (SIZE - 1, 2)):
            error = expect_raises(abi.Refused, scan, control, program, DISK,
                                  [(0, 4096), bad], errno=errno.EINVAL)
            expect_in(f"range 1 (offset {bad[0]}, length {bad[1]})",
                      error.sentence, "sentence")
            expect_in(f"{SIZE} bytes", error.sentence, "sentence")


@test
def a_scan_takes_a_read_only_device():
    """If this breaks, evidence cannot be looked at."""
    check_pairs(disks.loop(ODD, "-r"), ODD, None, 4096, 63)


def as_nobody(function):
    """Run it in a child without any privilege; its failure is the test's."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            function()
            status = 0
        except BaseException as error:  # the parent must not go on twice
            print(f"# in the child: {error!r}", flush=True)
        finally:
            os._exit(status)
    expect(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, "the child")


@test
def an_unprivileged_user_scans_what_he_can_read():
    """If this breaks, a scan takes more rights than reading, or fewer."""
    pin = f"{BPFFS}/shared"
    obj_pin(pin, loaded("pair", "pair_63").fd)
    cleanup(os.unlink, pin)
    os.chown(pin, 65534, 65534)
    os.chmod(DISK, 0o644)
    cleanup(os.chmod, DISK, 0o600)
    os.chmod(DISK4K, 0o600)

    def child():
        expect_raises(PermissionError, os.open, DISK4K, os.O_RDONLY)
        device = os.open(DISK, os.O_RDONLY)
        with abi.Control() as control:
            found = control.scan(obj_get(pin), device, [(0, 50000)], (3, 4))
        expect_matches(found.matches,
                       oracle.pairs(DATA, [(0, 50000)], 3, 4, 4096, 63),
                       "unprivileged")

    as_nobody(child)


@test
def a_device_not_opened_for_reading_is_refused():
    """If this breaks, a scan tells what read() would not."""
    with abi.Control() as control:
        error = expect_raises(abi.Refused, control.scan,
                              loaded("pair", "pair_0").fd,
                              opened(DISK, os.O_WRONLY), errno=errno.EACCES)
    expect_in("not opened for reading", error.sentence, "sentence")


@test
def wrong_files_are_refused_by_name():
    """If this breaks, a mistake in a descriptor is reported as another."""
    program = loaded("pair", "pair_0").fd
    disk = opened(DISK)
    regular = opened("/selftests/guest/scan.py")
    null = opened("/dev/null")
    sh(["bpftool", "map", "create", f"{BPFFS}/array", "type", "array", "key",
        "4", "value", "4", "entries", "1", "name", "array"])
    cleanup(os.unlink, f"{BPFFS}/array")
    array = obj_get(f"{BPFFS}/array")
    cleanup(os.close, array)
    cases = [((program, -1), errno.EBADF, "dev_fd -1 is not an open file"),
             ((program, regular), errno.ENOTBLK, "is not a block device"),
             ((program, null), errno.ENOTBLK, "is not a block device"),
             ((-1, disk), errno.EBADF, "prog_fd -1"),
             ((disk, disk), errno.EINVAL, "is not a BPF map"),
             ((array, disk), errno.EINVAL, "not a struct_ops map")]
    with abi.Control() as control:
        for fds, number, words in cases:
            error = expect_raises(abi.Refused, control.scan, *fds, errno=number)
            expect_in(words, error.sentence, f"sentence for {fds}")
        error = expect_raises(abi.Refused, control.scan, program, disk,
                              unit=32769, errno=errno.EINVAL)
        expect_in("unit 32769 is too large", error.sentence, "sentence")


@test
def count_counts_and_returns_none():
    """If this breaks, --count and the matches differ."""
    ranges = [(0, 300000), (100001, 77777)]
    wanted = oracle.pairs(DATA, ranges, 3, 4, 4096, 63)
    program = loaded("pair", "pair_63")
    with abi.Control() as control:
        for room in (0, 10):
            found = scan(control, program, DISK, ranges, (3, 4),
                         flags=abi.COUNT, room=room)
            expect((found.status, found.matches), (abi.DONE, []), "no matches")
            expect(found.stats.matches, len(wanted), "count")
        error = expect_raises(abi.Refused, scan, control, program, DISK,
                              flags=abi.COUNT | abi.DATA, errno=errno.EINVAL)
        expect_in("use one of them", error.sentence, "sentence")


@test
def statistics_add_up():
    """If this breaks, the figures of a scan cannot be believed."""
    ranges = [(100, 1 << 20), (3 << 20, 12345)]
    with abi.Control() as control:
        found = scan(control, loaded("pair", "pair_63"), DISK, ranges, (3, 4))
    stats = found.stats
    length = sum(size for _, size in ranges)
    expect(stats.bytes_scanned, length, "bytes scanned")
    expect(stats.units, sum(-(-size // 4096) for _, size in ranges), "units")
    expect(stats.matches, len(found.matches), "matches")
    expect(length <= stats.bytes_read < length * 1.3,
           what=f"bytes read {stats.bytes_read} for {length}")
    expect(0 < stats.reads <= stats.bytes_read // 512, what="reads")
    expect(0 < stats.prog_ns, what="time in the program")
    expect(0 < stats.time_ns, what="time in the call")
    expect(1 <= stats.threads <= os.cpu_count(), what="threads")
    expect(stats.pad, 0, "pad")


@test
def data_returns_the_bytes_of_every_match():
    """If this breaks, the bytes belong to other matches, or to none."""
    ranges = [(1, 60000), (500000, 3000)]
    program = loaded("fields")
    args = (100, 0x01000000, 0x03ffffff)
    wanted = oracle.fields(DATA, ranges, 100, *args[1:], 3000)
    text = b"".join(DATA[pos:pos + size] for pos, size in wanted)
    with abi.Control() as control:
        found = scan(control, program, DISK, ranges, args, unit=3000,
                     flags=abi.DATA, data_len=1 << 20)
        expect_matches(found.matches, wanted, "matches")
        expect(found.data == text, what="bytes in one call")
        matches, data, calls = control.scan_all(
            program.fd, opened(DISK), ranges, args, unit=3000, flags=abi.DATA,
            data_len=250)
        expect_matches(matches, wanted, "matches by twos")
        expect(data == text, what="bytes by twos")
        expect(calls > len(wanted) // 2, what="calls")


@test
def data_of_a_match_across_units_is_whole():
    """If this breaks, the end of a match in the overlap is garbage."""
    data = disks.random_bytes(64 << 10, seed=5)
    path = disks.loop(data)
    program = borrow("emit", "emit_64")
    with abi.Control() as control:
        for unit in (4096, 100):
            pos = 8 * unit
            found = scan(control, program, path, args=(unit - 1, 65, 1, pos),
                         unit=unit, flags=abi.DATA, data_len=100)
            expect(found.matches, [(pos + unit - 1, 65)], "matches")
            expect(found.data, data[pos + unit - 1:pos + unit + 64], "bytes")


@test
def a_match_longer_than_the_buffer_is_an_overflow():
    """If this breaks, a caller loops for ever on a buffer that cannot do."""
    program = loaded("fields")
    args = (100, 0, 0xffffffff)
    with abi.Control() as control:
        error = expect_raises(abi.Refused, scan, control, program, DISK,
                              [(0, 4096)], args, flags=abi.DATA, data_len=99,
                              errno=errno.EOVERFLOW)
        expect_in("the match at 0 has 100 bytes, data_len is 99",
                  error.sentence, "sentence")
        found = scan(control, program, DISK, [(0, 4096)], args,
                     flags=abi.DATA, data_len=1 << 16, cursor=error.arg.cursor)
        expect(len(found.matches), 40, "matches with more room")


@test
def dirty_pages_of_the_device_are_seen():
    """If this breaks, a scan misses what read() shows."""
    path = disks.loop(1 << 20)
    device = opened(path, os.O_RDWR)
    os.pwrite(device, b"\3\4", 70000)
    with abi.Control() as control:
        found = control.scan(loaded("pair", "pair_63").fd, device, None, (3, 4))
    expect(found.matches, [(70000, 2)], "matches")


@test
def matches_come_in_device_order_however_they_were_emitted():
    """If this breaks, the order of an answer depends on the program's loops."""
    path = disks.loop(1 << 16)
    program = borrow("emit", "emit_0")
    for nr in (2, 300, 4000):
        with abi.Control() as control:
            found = scan(control, program, path, args=(4050, 3, nr, 8192))
        expect_matches(found.matches,
                       [(8192 + 4050 - nr + 1 + n, 3) for n in range(nr)],
                       f"{nr} matches")


@test
def a_fault_in_the_callers_memory_is_a_fault():
    """If this breaks, a wrong pointer crashes the kernel or loses matches."""
    program = loaded("pair", "pair_63")
    with abi.Control() as control:
        for field in ("ranges", "matches", "data"):
            arg = abi.Scan(prog_fd=program.fd, dev_fd=opened(DISK), nr_ranges=1,
                           max_matches=100)
            ranges = (abi.Range * 1)(abi.Range(0, 100000))
            room = (abi.Match * 100)()
            data = abi.ctypes.create_string_buffer(1000)
            arg.args[0], arg.args[1] = 3, 4
            arg.ranges = abi.ctypes.addressof(ranges)
            arg.matches = abi.ctypes.addressof(room)
            arg.data, arg.data_len = abi.ctypes.addressof(data), 1000
            setattr(arg, field, 8)
            expect_raises(abi.Refused, control.call, arg, abi.DATA,
                          errno=errno.EFAULT)


@test
def the_command_finds_the_same():
    """If this breaks, the command prints another answer than the kernel gave."""
    wanted = oracle.pairs(DATA, [(5000, 100000)], 3, 4, 100, 63)
    done = sh(["blkbpf", "scan", "--program", "pair_63", "--arg", "0=3", "--arg",
               "1=4", "--unit", "100", "--range", "5000:100000",
               "/selftests/bpf/pair.bpf.o", DISK])
    got = [tuple(int(word) for word in line.split()[:2])
           for line in done.stdout.splitlines()]
    expect_matches(got, wanted, "printed")


def prepare():
    for path in (DISK, DISK4K):
        disks.write_all(path, DATA)
        with open(path, "rb") as file:
            if file.read() != DATA:
                raise SystemExit(f"{path} does not hold what was written")
    subprocess.run(["sync"], check=True)


if __name__ == "__main__":
    prepare()
    run()
