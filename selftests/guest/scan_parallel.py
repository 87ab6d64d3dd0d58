#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 4 --timeout 300 --nvme {img:16M}
"""Scans on several CPUs, several scans, and scans beside live I/O."""

import os
import threading

import blkbpf_abi as abi
import disks
import oracle
from attaching import Attached
from disks import opened, read_attribute, write_attribute
from ktap import cleanup, expect, run, test
from programs import Seen, borrow
from scans import expect_matches, loaded

DISK = "/dev/nvme0n1"
SIZE = 16 << 20
DATA = disks.random_bytes(SIZE, values=6)


def together(*functions):
    """Run them at the same time; the first failure is the test's."""
    failures = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(function,))
               for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@test
def the_number_of_cpus_does_not_change_the_answer():
    """If this breaks, matches are lost, repeated or mixed between workers."""
    ranges = [(5, 9 << 20), (9 << 20, 5 << 20), (1, 300)]
    wanted = oracle.heads(DATA, ranges, 3, 512)
    dense = [(3, 1 << 20), (4 << 20, 1 << 18)]
    pairs = oracle.pairs(DATA, dense, 3, 4, 4096, 63)
    used, device = set(), opened(DISK)
    with abi.Control() as control:
        for threads in (1, 2, 3, 4, 0, 1000):
            matches, cursor, done = [], None, False
            while not done:
                found = control.scan(loaded("probe", "probe_512_0").fd,
                                     device, ranges, (3,), room=7001,
                                     threads=threads, cursor=cursor)
                matches += found.matches
                cursor, done = found.cursor, found.status == abi.DONE
            expect_matches(matches, wanted, f"with {threads} threads")
            used.add((threads, found.stats.threads))
            found = control.scan(loaded("pair", "pair_63").fd, device, dense,
                                 (3, 4), threads=threads)
            expect_matches(found.matches, pairs, f"with {threads} threads")
    expect(used, {(1, 1), (2, 2), (3, 3), (4, 4), (0, 4), (1000, 4)},
           "threads asked for and used")


@test
def several_cpus_really_run_the_program():
    """If this breaks, a big scan is as slow as one CPU."""
    program = borrow("probe", "probe_4096_0")
    usage = []
    for threads in (1, 4):
        with abi.Control() as control:
            before = os.times()
            found = control.scan(program.fd, opened(DISK), None, (0,), unit=16,
                                 threads=threads)
            after = os.times()
        usage.append((after.system - before.system) * 1e9 / found.stats.prog_ns)
    expect(usage[0] > 0.7, what=f"the caller's share alone: {usage}")
    expect(usage[1] < 0.7, what=f"the caller's share of four: {usage}")


@test
def atomics_count_exactly_on_all_cpus():
    """If this breaks, a unit is run twice or by nobody."""
    program = borrow("probe", "probe_4096_0")
    with abi.Control() as control:
        control.scan(program.fd, opened(DISK), None, (0,), threads=4, unit=100)
    seen = Seen(program)
    expect((seen.calls, seen.bytes), (-(-SIZE // 100), SIZE), "calls and bytes")


@test
def a_stop_on_one_cpu_hides_what_others_ran_ahead():
    """If this breaks, matches behind a STOP are reported, or those before it
    are not."""
    stop_at = 1234 * 4096
    args = (3, abi.STOP, stop_at, stop_at + 1)
    wanted = oracle.heads(DATA, [(0, stop_at)], 3, 4096)
    with abi.Control() as control:
        for threads in (1, 2, 4):
            found = control.scan(loaded("probe", "probe_4096_0").fd,
                                 opened(DISK), None, args, threads=threads)
            expect(found.status, abi.STOPPED, "status")
            expect_matches(found.matches, wanted, f"{threads} threads")
            expect(found.cursor.pos, stop_at + 4096, "cursor")
            expect(found.stats.units, 1235, "units, of those that count")


@test
def scans_at_once_do_not_disturb_each_other():
    """If this breaks, concurrent scans share a buffer or a cursor."""
    def one(first, unit, threads):
        ranges = [(first * 1111, 2 << 20)]
        with abi.Control() as control:
            found = control.scan(loaded("pair", "pair_63").fd, opened(DISK),
                                 ranges, (first, 4), unit=unit, threads=threads)
        expect_matches(found.matches, oracle.pairs(DATA, ranges, first, 4, unit,
                                                   63), f"scan {first}")

    loaded("pair", "pair_63")
    for threads in (1, 4):
        together(*[lambda n=n: one(n, unit, threads) for n, unit in
                   enumerate((4096, 100, 512, 32768))])


@test
def a_scan_is_not_seen_by_what_is_attached():
    """If this breaks, an attached filter counts and delays the scans of
    others."""
    attached = borrow("probe", "probe_4096_0")
    device = opened(DISK)
    with abi.Control() as control:
        link = attached.link()
        cleanup(os.close, link)
        number = control.attach(link, device)
        for threads in (1, 4):
            found = control.scan(loaded("probe", "probe_4096_0").fd, device,
                                 None, (3,), threads=threads)
            expect_matches(found.matches, oracle.heads(DATA, [(0, SIZE)], 3,
                                                       4096), "the scan")
        expect((Seen(attached).calls, control.get(number).bios), (0, 0),
               "calls and bios of the attached program")
        disks.DirectFile(DISK).read(8192, 4096)
        expect(Seen(attached).positions(), [(8192, 4096)], "a read beside it")


@test
def what_a_scan_has_written_back_is_seen_by_what_is_attached():
    """If this breaks, who writes to the page cache and then scans hides the write
    from those who watch the disk."""
    attached = Attached(DISK, flags=abi.WRITES | abi.NO_READS)
    fd = opened(DISK, os.O_RDWR)
    for threads, pos in ((1, 8192), (4, 1 << 20)):
        os.pwrite(fd, DATA[pos:pos + 4096], pos)
        with abi.Control() as control:
            control.scan(loaded("probe", "probe_4096_0").fd, opened(DISK), None,
                         (0,), threads=threads)
    expect(attached.seen().positions(), [(8192, 4096), (1 << 20, 4096)], "writes")


@test
def a_scan_of_an_upper_layer_is_seen_below():
    """If this breaks, who watches a disk does not see it read by way of another
    device."""
    length = 4 << 20
    upper = disks.Mapped(f"0 {length // 512} linear {DISK} 2048").path
    above, below = Attached(upper), Attached(DISK)
    with abi.Control() as control:
        found = control.scan(loaded("probe", "probe_4096_0").fd, opened(upper),
                             None, (3,))
    expect_matches(found.matches, oracle.heads(
        DATA[1 << 20:(1 << 20) + length], [(0, length)], 3, 4096), "the scan")
    expect(above.counters().bios, 0, "bios seen above")
    expect((below.counters().bytes, below.counters().missed), (length, 0),
           "bytes seen and missed below")


@test
def a_scan_runs_beside_attached_programs_under_load():
    """If this breaks, the scan's reads and live ones are confused when they
    are under way together."""
    attached = borrow("probe", "probe_4096_0")
    device = opened(DISK)
    reads = 150
    file = disks.DirectFile(DISK)

    def live():
        for n in range(reads):
            file.read(n * 4096, 4096)

    def scan():
        with abi.Control() as control:
            for _ in range(3):
                found = control.scan(loaded("probe", "probe_4096_0").fd, device,
                                     None, (3,), unit=512)
                expect_matches(found.matches, oracle.heads(
                    DATA, [(0, SIZE)], 3, 512), "the scan")

    loaded("probe", "probe_4096_0")
    with abi.Control() as control:
        link = attached.link()
        cleanup(os.close, link)
        number = control.attach(link, device)
        together(live, scan)
        expect(control.get(number).bios, reads, "bios that were presented")
    expect(sorted(Seen(attached).positions()),
           [(n * 4096, 4096) for n in range(reads)], "live reads")


def kernel_memory(group):
    """Bytes of the kernel's that are charged to it."""
    stat = dict(line.split() for line in
                read_attribute(f"{group}/memory.stat").splitlines())
    return int(stat["kernel"])


@test
def what_other_cpus_find_is_charged_to_who_scans():
    """If this breaks, who may scan takes memory that the limit of their cgroup does
    not count."""
    root, group = "/sys/fs/cgroup", "/sys/fs/cgroup/scan"
    write_attribute(f"{root}/cgroup.subtree_control", "+memory")
    os.mkdir(group)
    cleanup(os.rmdir, group)
    cleanup(write_attribute, f"{root}/cgroup.procs", os.getpid())
    program, device = loaded("flood"), opened(DISK)
    write_attribute(f"{group}/cgroup.procs", os.getpid())
    chunk, ahead, many = 512 << 10, 15, 60000
    with abi.Control() as control:
        # Nothing in the first chunk, which takes so long that all others are done.
        found = control.scan(program.fd, device, None, (many, chunk, 100000), room=1,
                             threads=4)
        expect((found.status, found.matches), (abi.FULL, [(chunk, 1)]), "the scan")
        kept = kernel_memory(group)
    kept -= kernel_memory(group)
    # Two units of a chunk are enough for it to end.
    expect(kept > ahead * 2 * many * 16, what=f"charged: {kept} bytes")


if __name__ == "__main__":
    disks.write_all(DISK, DATA)
    run()
