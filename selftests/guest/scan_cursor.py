#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 300 --nvme {img:8M}
"""A scan that returns before its end, and goes on."""

import errno
import os
import signal
import threading

import blkbpf_abi as abi
import disks
import oracle
from disks import opened
from ktap import (cleanup, expect, expect_in, expect_raises, run, test,
                  test_each)
from programs import Program, Seen, borrow, map_by_id
from scans import expect_matches, loaded

DISK = "/dev/nvme0n1"
SIZE = 8 << 20
DATA = disks.random_bytes(SIZE, values=6)
RANGES = [(300, 200000), (7, 0), (1 << 20, 5), (100, 50000)]


@test_each(one=1, two=2, seven=7, thousand=1000)
def a_small_buffer_gets_every_match_once(room):
    """If this breaks, matches are lost or repeated where a buffer ends."""
    wanted = oracle.pairs(DATA, RANGES, 3, 4, 4096, 63)
    with abi.Control() as control:
        matches, _, calls = control.scan_all(
            loaded("pair", "pair_63").fd, opened(DISK), RANGES, (3, 4),
            room=room)
    expect_matches(matches, wanted, f"by {room}")
    expect(calls >= len(wanted) // room, what="calls")


@test_each(alone=1, together=2)
def no_unit_runs_twice_on_the_same_file(threads):
    """If this breaks, counters in a program's globals are wrong whenever a
    result did not fit."""
    program = borrow("probe", "probe_4096_0")
    ranges = [(11, SIZE - 4096)]
    with abi.Control() as control:
        matches, _, calls = control.scan_all(
            program.fd, opened(DISK), ranges, (2,), room=5, threads=threads)
    expect_matches(matches, oracle.heads(DATA, ranges, 2, 4096), "matches")
    seen = Seen(program)
    expect((seen.calls, seen.bytes), (-(-(SIZE - 4096) // 4096), SIZE - 4096),
           "calls of the program, and bytes")
    expect(sorted(seen.positions()), [(11 + off, size) for off, size in
                                      oracle.units(SIZE - 4096, 4096)], "units")
    expect(calls > 20, what="calls of the ioctl")


@test
def another_file_goes_on_with_the_same_matches():
    """If this breaks, a scan cannot be resumed by another process."""
    wanted = oracle.pairs(DATA, RANGES, 3, 4, 512, 1)
    matches, cursor, done = [], None, False
    while not done:
        with abi.Control() as control:
            found = control.scan(loaded("pair", "pair_1").fd, opened(DISK),
                                 RANGES, (3, 4), unit=512, room=97,
                                 cursor=cursor)
        matches += found.matches
        cursor, done = found.cursor, found.status == abi.DONE
    expect_matches(matches, wanted, "over many files")


@test
def no_room_at_all_returns_where_the_first_match_is():
    """If this breaks, a caller who asks whether there is anything spins, or is
    told that there is nothing."""
    wanted = oracle.pairs(DATA, [(0, 1 << 20)], 3, 4, 4096, 0)
    program, device = loaded("pair", "pair_0"), opened(DISK)
    with abi.Control() as control:
        found = control.scan(program.fd, device, [(0, 1 << 20)], (3, 4), room=0)
        expect((found.status, found.matches), (abi.FULL, []), "first")
        expect((found.cursor.range, found.cursor.pos, found.cursor.skip),
               (0, wanted[0][0] // 4096 * 4096, 0), "cursor")
        again = control.scan(program.fd, device, [(0, 1 << 20)], (3, 4), room=0,
                             cursor=found.cursor)
        expect((again.status, again.cursor.pos), (abi.FULL, found.cursor.pos),
               "second")
        matches, _, _ = control.scan_all(program.fd, device, [(0, 1 << 20)],
                                         (3, 4), cursor=again.cursor)
        expect_matches(matches, wanted, "after that")
        none = control.scan(program.fd, device, [(0, 1 << 20)], (77, 78), room=0)
        expect(none.status, abi.DONE, "where nothing is")


@test
def a_full_buffer_at_the_very_end_is_done():
    """If this breaks, a caller asks once more for nothing."""
    wanted = oracle.pairs(DATA, [(0, 5000)], 3, 4, 4096, 63)
    with abi.Control() as control:
        found = control.scan(loaded("pair", "pair_63").fd, opened(DISK),
                             [(0, 5000)], (3, 4), room=len(wanted))
    expect((found.status, found.matches), (abi.DONE, wanted), "answer")
    expect((found.cursor.range, found.cursor.pos, found.cursor.skip,
            found.cursor.cookie), (1, 0, 0, 0), "cursor")


@test_each(alone=1, together=2)
def a_signal_returns_what_there_is_and_the_scan_goes_on(threads):
    """If this breaks, ^C waits for the end of a long scan, or loses matches."""
    program = borrow("probe", "probe_4096_0")
    device, ranges = opened(DISK), [(0, SIZE)]
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    cleanup(signal.signal, signal.SIGALRM, before)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    cleanup(signal.setitimer, signal.ITIMER_REAL, 0)
    matches, cursor, statuses = [], None, []
    with abi.Control() as control:
        while abi.DONE not in statuses:
            found = control.scan(program.fd, device, ranges, (1,), unit=32,
                                 threads=threads, cursor=cursor)
            matches += found.matches
            cursor = found.cursor
            statuses.append(found.status)
    signal.setitimer(signal.ITIMER_REAL, 0)
    expect(statuses.count(abi.INTERRUPTED) > 2, what="interruptions")
    expect_matches(matches, oracle.heads(DATA, ranges, 1, 32), "matches")
    expect(Seen(program).calls, SIZE // 32, "calls of the program")


@test
def a_killed_scan_leaves_nothing_behind():
    """If this breaks, a killed process keeps the program."""
    program = Program("pair", "pair_0")
    number = program.map_id()
    for delay in (0.0, 0.05, 0.2):
        child = os.fork()
        if not child:
            device = os.open(DISK, os.O_RDONLY)
            control = abi.Control()
            while True:
                control.scan(program.fd, device, None, (3, 4), unit=1)
        threading.Event().wait(delay)
        os.kill(child, signal.SIGKILL)
        expect(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]),
               -signal.SIGKILL, "the child")
    program.close()
    expect_raises(FileNotFoundError, map_by_id, number)


@test
def bad_cursors_are_refused():
    """If this breaks, a stale cursor gives an answer with a hole in it."""
    program, device = loaded("pair", "pair_0"), opened(DISK)
    ranges = [(0, 10000), (50, 100)]
    cases = [(dict(range=3), "not inside the 2 ranges"),
             (dict(range=2, pos=1), "not inside the 2 ranges"),
             (dict(range=2, skip=1), "not inside the 2 ranges"),
             (dict(range=0, pos=10001), "not inside the 2 ranges"),
             (dict(range=1, pos=4096), "not inside the 2 ranges"),
             (dict(range=0, pos=1), "no multiple of the unit, 4096"),
             (dict(range=0, pos=4095), "no multiple of the unit, 4096")]
    with abi.Control() as control:
        for fields, words in cases:
            error = expect_raises(abi.Refused, control.scan, program.fd, device,
                                  ranges, cursor=abi.Cursor(**fields),
                                  errno=errno.EINVAL)
            expect_in(words, error.sentence, f"{fields}")
        error = expect_raises(abi.Refused, control.scan, program.fd, device,
                              ranges, cursor=abi.Cursor(skip=1),
                              flags=abi.COUNT, errno=errno.EINVAL)
        expect_in("skip must be 0", error.sentence, "with COUNT")


@test
def a_cursor_of_ones_own_begins_there():
    """If this breaks, a scan cannot be divided by its caller."""
    program, device = loaded("pair", "pair_63"), opened(DISK)
    ranges = [(100, 20000), (70000, 9000)]
    whole = oracle.pairs(DATA, ranges, 3, 4, 4096, 63)
    with abi.Control() as control:
        for at, pos in ((0, 4096), (0, 8192), (0, 20000), (1, 0), (1, 8192),
                        (1, 9000), (2, 0)):
            found = control.scan(program.fd, device, ranges, (3, 4),
                                 cursor=abi.Cursor(range=at, pos=pos))
            first = [m for m in oracle.pairs(DATA, ranges[:1], 3, 4, 4096, 63)
                     if at == 0 and m[0] >= 100 + pos]
            second = [m for m in oracle.pairs(DATA, ranges[1:], 3, 4, 4096, 63)
                      if at == 0 or at == 1 and m[0] >= 70000 + pos]
            expect_matches(found.matches, first + second, f"from {at}, {pos}")
        found = control.scan(program.fd, device, ranges, (3, 4),
                             cursor=abi.Cursor(skip=3))
        expect_matches(found.matches, whole[3:], "three skipped")


@test
def a_kept_scan_is_not_mistaken_for_another():
    """If this breaks, matches of one question answer the next."""
    program, device = loaded("pair", "pair_63"), opened(DISK)
    other_device = opened(disks.loop(DATA[:SIZE // 2][::-1] * 2))
    ranges = [(0, 300000)]
    with abi.Control() as control:
        def begin():
            found = control.scan(program.fd, device, ranges, (3, 4), room=10)
            expect(found.status, abi.FULL, "status")
            return found.cursor

        def rest(args, unit, overlap, data=DATA, pieces=None):
            whole = oracle.pairs(data, pieces or ranges, *args, unit, overlap)
            return [m for m in whole if m[0] >= cursor.pos][cursor.skip:]

        cursor = begin()
        found = control.scan(program.fd, device, ranges, (5, 1), cursor=cursor)
        expect_matches(found.matches, rest((5, 1), 4096, 63), "other arguments")
        cursor = begin()
        found = control.scan(loaded("pair", "pair_0").fd, device, ranges, (3, 4),
                             cursor=cursor)
        expect_matches(found.matches, rest((3, 4), 4096, 0), "another program")
        cursor = begin()
        found = control.scan(program.fd, other_device, ranges, (3, 4),
                             cursor=cursor)
        expect_matches(found.matches, rest(
            (3, 4), 4096, 63, DATA[:SIZE // 2][::-1]), "another device")
        cursor = begin()
        found = control.scan(program.fd, device, [(0, 250000)], (3, 4),
                             cursor=cursor)
        expect_matches(found.matches, rest((3, 4), 4096, 63,
                                           pieces=[(0, 250000)]), "other ranges")
        cursor = begin()
        expect(cursor.pos, 0, "where the first ten matches end")
        found = control.scan(program.fd, device, ranges, (3, 4), unit=512,
                             cursor=cursor)
        expect_matches(found.matches[-50:], rest((3, 4), 512, 63)[-50:],
                       "another unit")


@test
def a_program_may_stop_a_scan_and_the_caller_go_on():
    """If this breaks, a search for the first of something reads it all."""
    program, device = loaded("probe", "probe_4096_0"), opened(DISK)
    stop_at = 37 * 4096
    args = (3, abi.STOP, stop_at, stop_at + 1)
    with abi.Control() as control:
        found = control.scan(program.fd, device, None, args)
        expect(found.status, abi.STOPPED, "status")
        expect_matches(found.matches, oracle.heads(DATA, [(0, stop_at)], 3, 4096),
                       "up to there")
        expect((found.cursor.range, found.cursor.pos, found.cursor.skip),
               (0, stop_at + 4096, 0), "cursor")
        found = control.scan(program.fd, device, None, args, cursor=found.cursor)
        expect(found.status, abi.DONE, "status")
        rest = oracle.heads(DATA, [(stop_at + 4096, SIZE - stop_at - 4096)], 3,
                            4096)
        expect_matches(found.matches, rest, "after it")


@test
def one_file_serves_many_threads_one_after_the_other():
    """If this breaks, two threads of a program corrupt each other's scan."""
    program, device = loaded("pair", "pair_63"), opened(DISK)
    failures = []
    with abi.Control() as control:
        def work(first):
            try:
                for start in range(0, 400000, 100000):
                    ranges = [(start, 100000)]
                    got, _, _ = control.scan_all(program.fd, device, ranges,
                                                 (first, 4), room=101)
                    expect_matches(got, oracle.pairs(DATA, ranges, first, 4,
                                                     4096, 63), f"{first}")
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    expect(failures, [], "failures of the threads")


if __name__ == "__main__":
    disks.write_all(DISK, DATA)
    run()
