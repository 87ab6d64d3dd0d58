#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: --smp 2 --timeout 200
# vm: --append slab_nomerge
"""When there is no memory for a bio's hook: what is missed is told.

Needs a kernel that injects faults.
"""

import ctypes
import mmap
import os
import random

import blkbpf_abi as abi
import disks
from attaching import Attached
from disks import opened, read_attribute, write_attribute
from injecting import fault
from ktap import cleanup, diag, expect, run, sh, test

HOOKS = "/sys/kernel/slab/blk_bpf_hook"

UNIT = 4096
NR = 400			# more than the reserve of hooks has
RESERVE = 64
# Each other CPU may have one of them, as the first that it takes.
SURE = RESERVE - (os.cpu_count() - 1)
KEPT = 2 * (1 + 32)		# by both CPUs, so that no memory is needed
EXTENTS_MAX = 128
DATA = disks.random_bytes(4 << 20, values=6)
# A unit is a match if its first byte is below this.
BELOW = 3


class Aio:
    """Reads that are all under way at once, by io_submit(2)."""

    class Iocb(ctypes.Structure):
        _fields_ = [("data", ctypes.c_uint64), ("key", ctypes.c_uint32),
                    ("rw_flags", ctypes.c_uint32), ("opcode", ctypes.c_uint16),
                    ("reqprio", ctypes.c_int16), ("fildes", ctypes.c_uint32),
                    ("buf", ctypes.c_uint64), ("nbytes", ctypes.c_uint64),
                    ("offset", ctypes.c_int64), ("reserved", ctypes.c_uint64),
                    ("flags", ctypes.c_uint32), ("resfd", ctypes.c_uint32)]

    class Event(ctypes.Structure):
        _fields_ = [("data", ctypes.c_uint64), ("obj", ctypes.c_uint64),
                    ("res", ctypes.c_int64), ("res2", ctypes.c_int64)]

    _libc = ctypes.CDLL(None, use_errno=True)
    _SETUP, _DESTROY, _GETEVENTS, _SUBMIT = 206, 207, 208, 209

    def __init__(self, path, room=NR):
        self.fd = opened(path, os.O_RDONLY | os.O_DIRECT)
        self.memory = mmap.mmap(-1, room * UNIT)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.context = ctypes.c_ulong(0)
        self.call(self._SETUP, ctypes.c_long(room),
                  ctypes.byref(self.context))
        cleanup(self.call, self._DESTROY, self.context)

    def call(self, number, *args):
        ret = self._libc.syscall(ctypes.c_long(number), *args)
        if ret < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return ret

    def submit(self, positions):
        """Begin to read a unit from each of the positions."""
        array = (self.Iocb * len(positions))()
        for n, pos in enumerate(positions):
            array[n] = self.Iocb(data=pos, fildes=self.fd, nbytes=UNIT,
                                 buf=self.address + n * UNIT, offset=pos)
        size = ctypes.sizeof(self.Iocb)
        pointers = (ctypes.c_void_p * len(positions))(
            *(ctypes.addressof(array) + n * size for n in range(len(positions))))
        done = 0
        while done < len(positions):
            rest = ctypes.byref(pointers, done * 8)
            done += self.call(self._SUBMIT, self.context,
                              ctypes.c_long(len(positions) - done), rest)

    def read(self, positions):
        """What is read from the positions, all at the same time."""
        self.submit(positions)
        events = (self.Event * len(positions))()
        got = self.call(self._GETEVENTS, self.context,
                        ctypes.c_long(len(positions)),
                        ctypes.c_long(len(positions)), events, None)
        expect((got, {event.res for event in events}), (len(positions), {UNIT}),
               "reads that came back, and their results")
        return [self.memory[n * UNIT:(n + 1) * UNIT]
                for n in range(len(positions))]


def no_more_hooks(probability=100):
    """The hooks' cache gives nothing, in the test or until more_hooks()."""
    cleanup(more_hooks)
    write_attribute(f"{HOOKS}/failslab", 1)
    fault("failslab", probability=probability, **{"cache-filter": "Y"})


def more_hooks():
    fault("failslab", **{"cache-filter": "Y"})
    write_attribute(f"{HOOKS}/failslab", 0)


def slow_disk(seconds):
    """A disk that has DATA, and completes by a timer."""
    disk = disks.NullBlk(size=4, irqmode=2, submit_queues=1,
                         completion_nsec=int(seconds * 1e9),
                         hw_queue_depth=2 * NR)
    disks.write_all(disk.path, DATA)
    disks.drop_caches()
    return disk


def is_match(pos):
    return DATA[pos] < BELOW


def in_extents(pos, extents):
    return any(off <= pos and pos + UNIT <= off + size for off, size in extents)


def read_short_of_hooks(positions):
    """Read them all at once with hooks for some; returns (aio, the attached
    program, its stream, positions that were presented, that were missed)."""
    disk = slow_disk(1.5)
    attached = Attached(disk.path, args=(BELOW,))
    stream, aio = attached.stream(), Aio(disk.path)
    no_more_hooks()
    data = aio.read(positions)
    more_hooks()
    expect([n for n, pos in enumerate(positions)
            if data[n] != DATA[pos:pos + UNIT]], [], "reads of wrong data")
    seen = {call.pos for call in attached.seen().log}
    missed = set(positions) - seen
    expect(seen <= set(positions), what="only what was read is presented")
    counters = attached.counters()
    expect((counters.bios, counters.missed), (len(seen), len(missed)),
           "counters of what was presented and missed")
    expect(SURE <= len(seen) <= RESERVE + KEPT,
           what=f"{len(seen)} presented, with {SURE} at least in reserve")
    return aio, attached, stream, seen, missed


@test
def every_match_is_found_or_its_extent_is_missed():
    """If this breaks, a filter is silent about what it did not see."""
    positions = [n * UNIT for n in range(NR)]
    random.Random(8).shuffle(positions)
    _, attached, stream, seen, missed = read_short_of_hooks(positions)
    matches = {pos for pos in seen if is_match(pos)}
    events = stream.take(len(matches) + len(missed))
    told = {kind: sorted((event.pos, event.len) for event in events
                         if event.type == kind)
            for kind in (abi.EVENT_MATCH, abi.EVENT_MISSED)}
    expect(told, {abi.EVENT_MATCH: sorted((pos, UNIT) for pos in matches),
                  abi.EVENT_MISSED: sorted((pos, UNIT) for pos in missed)},
           "events")
    expect(attached.counters().matches, len(matches), "matches")
    extents, total = attached.control.missed(attached.id, EXTENTS_MAX)
    expect(len(extents), total, "extents")
    expect({pos for pos in positions if in_extents(pos, extents)}, missed,
           "what the extents cover")
    expect(sum(size for _, size in extents), len(missed) * UNIT,
           "bytes in the extents")


@test
def nothing_is_missed_when_there_is_memory_again():
    """If this breaks, one shortage blinds a filter for ever."""
    positions = [n * UNIT for n in range(NR)]
    aio, attached, _, seen, missed = read_short_of_hooks(positions)
    aio.read(positions)
    counters = attached.counters()
    expect((counters.bios, counters.missed), (len(seen) + NR, len(missed)),
           "presented and missed after the shortage")
    # The reserve is full again: it carries the next shortage.
    no_more_hooks()
    aio.read(positions[:SURE])
    expect(attached.counters().missed, len(missed),
           "missed with as many reads as there are hooks in reserve")


@test
def more_extents_than_are_kept_still_cover_all():
    """If this breaks, what was missed is forgotten when there is much of it."""
    positions = [n * 2 * UNIT for n in range(NR)]
    random.Random(9).shuffle(positions)
    _, attached, _, _, missed = read_short_of_hooks(positions)
    expect(len(missed) > EXTENTS_MAX, what="more missed than extents")
    extents, total = attached.control.missed(attached.id, 2 * EXTENTS_MAX)
    expect((len(extents), total), (EXTENTS_MAX, EXTENTS_MAX), "extents")
    expect({pos for pos in missed if not in_extents(pos, extents)}, set(),
           "missed and not in an extent")
    ends = [0] + [off + size for off, size in extents]
    expect([off for (off, _), end in zip(extents, ends) if off < end], [],
           "extents out of order")


@test
def every_read_is_counted_while_memory_comes_and_goes():
    """If this breaks, a hook that could not be had loses its bio's count."""
    disk = slow_disk(0.5)
    write_attribute(f"/sys/block/{disk.disk}/queue/nomerges", 2)
    attached = Attached(disk.path)

    def reads():
        return int(read_attribute(f"/sys/block/{disk.disk}/stat").split()[0])

    before = reads()
    no_more_hooks(probability=80)
    sh(["fio", "--name=load", f"--filename={disk.path}", "--rw=randread",
        "--bs=4k", "--iodepth=256", "--ioengine=libaio", "--direct=1",
        "--io_size=16M", "--size=4M", "--norandommap", "--output-format=terse"])
    more_hooks()
    counters = attached.counters()
    diag(f"presented {counters.bios}, missed {counters.missed}")
    expect(counters.missed > 0, what="bios that were missed")
    expect(counters.bios + counters.missed, reads() - before,
           "bios that were presented or missed")


if __name__ == "__main__":
    run()
