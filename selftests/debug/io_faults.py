#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: --smp 2 --timeout 300 --nvme {img:4M} --csd {img:2M}
"""Requests that fail, and controllers that are reset, under scans and attached
programs: all is found in the end, and nothing twice.

Needs a kernel that injects faults. Requests that nobody answers are not here: after
any timeout of nvme's, 6.12's lockdep takes the queues that its handler leaves frozen
for leaked locks.
"""

import contextlib
import errno
import os
import threading

import blkbpf_abi as abi
import csds
import disks
import oracle
from attaching import Attached
from disks import DirectFile, opened, write_attribute
from injecting import fault
from ktap import diag, expect, expect_in, run, test, test_each
from scans import expect_matches, loaded

SIZE, DRIVE_SIZE = 4 << 20, 2 << 20
DATA = disks.random_bytes(SIZE, values=6)
DRIVE, DRIVE_DISK, (DISK,) = csds.drive_and_ssds()
UNIT = 4096
# What a request that failed makes of a scan on the kernel, and on a drive.
KNOWN = {errno.EIO, errno.ETIMEDOUT, errno.ENOTRECOVERABLE, errno.EREMOTEIO,
         errno.EAGAIN, errno.ENODEV}


def scan_through(path, size, most=400, **kwargs):
    """Go on from the cursor after each error; (matches, number of errors)."""
    matches, cursor, errors = [], None, 0
    device = opened(path)
    with abi.Control() as control:
        while errors < most:
            try:
                found = control.scan(loaded("pair", "pair_63").fd, device,
                                     [(0, size)], (3, 4), room=1 << 17,
                                     cursor=cursor, **kwargs)
            except abi.Refused as refused:
                expect_in(refused.errno, KNOWN, f"errno of {refused}")
                expect(refused.sentence != "", what="a sentence")
                errors, found = errors + 1, refused.found
            else:
                if found.status == abi.DONE:
                    return matches + found.matches, errors
            matches += found.matches
            cursor = found.cursor
    raise AssertionError(f"not done after {errors} errors")


def wanted(size):
    return oracle.pairs(DATA[:size], [(0, size)], 3, 4, UNIT, 63)


@contextlib.contextmanager
def failing_requests(path, probability):
    knob = f"/sys/block/{os.path.basename(path)}/make-it-fail"
    write_attribute(knob, 1)
    fault("fail_make_request", probability=probability)
    try:
        yield
    finally:
        fault("fail_make_request")
        write_attribute(knob, 0)


@test_each(one_thread=1, two_threads=2)
def requests_that_fail_cost_no_match(threads):
    """If this breaks, a scan goes on behind what it could not read, or finds
    twice what it had before the error."""
    errors = 0
    for _ in range(3):
        with failing_requests(DISK, 25):
            matches, nr = scan_through(DISK, SIZE, threads=threads)
        expect_matches(matches, wanted(SIZE), "with failing requests")
        errors += nr
    diag(f"{errors} errors")
    expect(errors > 0, what="requests that failed")


@test
def a_bio_that_fails_is_presented_to_nobody():
    """If this breaks, a program looks at memory that no disk has filled."""
    attached, file = Attached(DISK), DirectFile(DISK)
    good = failed = 0
    with failing_requests(DISK, 30):
        for pos in range(0, SIZE // 4, UNIT):
            try:
                data = file.read(pos, UNIT)
            except OSError as error:
                expect(error.errno, errno.EIO, "errno of the read")
                failed += 1
            else:
                expect(data == DATA[pos:pos + UNIT], what="what is read")
                good += 1
    diag(f"{failed} of {good + failed} reads failed")
    expect(failed > 0, what="reads that failed")
    expect(attached.counters().runs, good, "calls of the program")


def reset(path, done, count):
    """Reset the disk's controller again and again until done is set."""
    controller = os.path.realpath(f"/sys/block/{os.path.basename(path)}/device")
    while not done.is_set():
        write_attribute(f"{controller}/reset_controller", 1)
        count.append(1)
        done.wait(1)


def under_resets(path, work):
    done, count = threading.Event(), []
    thread = threading.Thread(target=reset, args=(path, done, count))
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    return len(count)


@test
def resets_cost_no_match_and_no_read():
    """If this breaks, a bio that the driver requeued is shown half, twice or
    never, or a scan loses it."""
    attached, file = Attached(DISK), DirectFile(DISK)
    before = attached.counters().bios

    def work():
        for _ in range(3):
            matches, _ = scan_through(DISK, SIZE)
            expect_matches(matches, wanted(SIZE), "under resets")
            for pos in range(0, 16 * UNIT, UNIT):
                expect(file.read(pos, UNIT) == DATA[pos:pos + UNIT],
                       what="what is read")

    resets = under_resets(DISK, work)
    diag(f"{resets} resets")
    expect(resets > 1, what="resets")
    expect(attached.counters().bios - before, 3 * 16, "bios that are presented")


@test
def resets_of_a_drive_cost_no_match():
    """If this breaks, a drive that was reset in the middle leaves a hole in the
    answer."""
    def work():
        for _ in range(3):
            matches, _ = scan_through(DRIVE_DISK, DRIVE_SIZE, target=DRIVE,
                                      image=csds.image("pair", "pair_63"))
            expect_matches(matches, wanted(DRIVE_SIZE), "under resets")

    resets = under_resets(DRIVE_DISK, work)
    diag(f"{resets} resets")
    expect(resets > 1, what="resets")
    expect(csds.attribute(DRIVE, "slm_free"), csds.attribute(DRIVE, "slm_size"),
           "memory after the scans")


if __name__ == "__main__":
    disks.write_all(DISK, DATA)
    disks.write_all(DRIVE_DISK, DATA[:DRIVE_SIZE])
    run()
