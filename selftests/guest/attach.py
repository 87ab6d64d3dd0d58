#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 400 --nvme {img:16M}
"""Programs on live I/O: what they are shown, on every kind of device."""

import errno
import os
import random
import threading

import blkbpf_abi as abi
import disks
import oracle
from attaching import Attached, settled
from disks import DirectFile, opened
from ktap import (cleanup, expect, expect_in, expect_raises, run, sh, test,
                  test_each)
from programs import Seen, borrow, detach_link, update_link

DISK = "/dev/nvme0n1"
SIZE = 16 << 20
DATA = disks.random_bytes(SIZE, values=6)


def on_nvme():
    return DISK, DATA


def on_null_blk():
    disk = disks.NullBlk(size=4)
    disks.write_all(disk.path, DATA[:4 << 20])
    return disk.path, DATA[:4 << 20]


def on_null_blk_bio():
    """Bio-based: no requests, completes in the submitter's context."""
    disk = disks.NullBlk(size=4, queue_mode=0, irqmode=0)
    disks.write_all(disk.path, DATA[:4 << 20])
    return disk.path, DATA[:4 << 20]


def on_loop():
    return disks.loop(DATA[:4 << 20]), DATA[:4 << 20]


def on_dm_linear():
    return (disks.Mapped(f"0 4096 linear {DISK} 2048\n"
                         f"4096 4096 linear {DISK} 0").path,
            DATA[1 << 20:3 << 20] + DATA[:2 << 20])


def on_partition():
    start = (1 << 20) + 512
    return (disks.partition(DISK, 1, start, 2 << 20),
            DATA[start:start + (2 << 20)])


DEVICES = dict(nvme=on_nvme, null_blk=on_null_blk, null_blk_bio=on_null_blk_bio,
               loop=on_loop, dm_linear=on_dm_linear, partition=on_partition)


def check_log(seen, data):
    """Every call saw the bytes that are at its position."""
    for call in seen.log:
        part = data[call.pos:call.pos + min(8, call.len)]
        expect(call.first, sum(part), f"bytes seen at {call.pos}")


@test_each(**DEVICES)
def reads_are_presented_with_their_data(make):
    """If this breaks, a program on this kind of device sees other bytes, other
    positions, or nothing."""
    path, data = make()
    attached = Attached(path, args=(2,))
    file = DirectFile(path)
    reads = [(0, 4096), (8192, 16384), (len(data) - 4096, 4096), (1 << 20, 131072)]
    for pos, size in reads:
        expect(file.read(pos, size) == data[pos:pos + size], what="what is read")
    wanted = [(pos + off, part) for pos, size in reads
              for off, part in oracle.units(size, 4096)]
    seen = attached.seen()
    expect(sorted(seen.positions()), sorted(wanted), "units presented")
    check_log(seen, data)
    for call in seen.log:
        expect((call.flags, call.op, call.unit, call.visible),
               (abi.F_LIVE, abi.OP_READ, 4096, 4096), "flags, op, unit, visible")
    total = sum(size for _, size in reads)
    counters = attached.counters()
    expect((counters.runs, counters.bytes, counters.partial, counters.missed,
            counters.failed, counters.refused), (len(wanted), total, 0, 0, 0, 0),
           "counters")
    expect(counters.matches, len(oracle.heads(
        b"".join(data[pos:pos + size] for pos, size in reads),
        [(0, total)], 2, 4096)), "matches")
    expect(counters.time_ns > 0, what="time")
    expect(counters.disk.decode(), os.path.basename(path), "disk")
    attached.detach()
    file.read(0, 4096)
    expect(attached.seen().calls, len(wanted), "calls after detaching")
    expect(attached.counters(), None, "in the list after detaching")


@test_each(**DEVICES)
def buffered_reads_are_presented_too(make):
    """If this breaks, only direct I/O is filtered."""
    path, data = make()
    drop(path)
    attached = Attached(path)
    with open(path, "rb") as file:
        expect(file.read(65536) == data[:65536], what="what is read")
    seen = attached.seen()
    expect({pos for pos, _ in oracle.units(65536, 4096)} -
           {pos for pos, _ in seen.positions()}, set(), "units not presented")
    check_log(seen, data)


def drop(path):
    sh(["blockdev", "--flushbufs", path])


@test
def a_partition_and_its_disk_see_the_same_bio_each_its_way():
    """If this breaks, positions on a partition are those of the disk, or a
    neighbour's I/O is seen."""
    start, length = 3 << 20, 1 << 20
    part = disks.partition(DISK, 1, start, length)
    on_part, on_disk = Attached(part), Attached(DISK)
    DirectFile(part).read(8192, 8192)
    disk = DirectFile(DISK)
    disk.read(start - 8192, 8192)
    disk.read(start + length, 4096)
    disk.read(start - 4096, 8192)
    disk.read(start + length - 4096, 8192)
    expect(on_part.seen().positions(), [(8192, 4096), (12288, 4096), (0, 4096),
                                        (length - 4096, 4096)],
           "what the partition sees")
    check_log(on_part.seen(), DATA[start:start + length])
    expect(on_disk.seen().calls, 9, "what the disk sees")
    check_log(on_disk.seen(), DATA)


@test
def the_last_unit_of_a_partition_ends_with_it():
    """If this breaks, a program on a partition sees its neighbour's data, when
    the disk is read across the end by just one unit."""
    start, length = 3 << 20, (1 << 20) - 2048
    attached = Attached(disks.partition(DISK, 1, start, length))
    DirectFile(DISK).read(start + (1 << 20) - 4096, 4096)
    seen = attached.seen()
    expect([(c.pos, c.len, bool(c.flags & abi.F_SHORT)) for c in seen.log],
           [((1 << 20) - 4096, 2048, True)], "what the partition sees")
    check_log(seen, DATA[start:start + length])


@test_each(at_a_unit=0, inside_a_unit=2048)
def a_partition_that_grows_is_seen_to_its_new_end(more):
    """If this breaks, what was read behind the old end is neither shown nor
    missed."""
    start, length, size = 3 << 20, 1 << 20, (2 << 20) + more
    path = disks.partition(DISK, 1, start, length)
    attached = Attached(path)
    disks.resize_partition(DISK, 1, start, size)
    file = DirectFile(path)
    file.read(length, 4096)
    file.read(length - 4096, 8192)
    DirectFile(DISK).read(start + (2 << 20), 4096)
    seen = attached.seen()
    wanted = [(length, 4096), (length - 4096, 4096), (length, 4096)]
    if more:
        wanted.append((2 << 20, more))
    expect(seen.positions(), wanted, "units")
    check_log(seen, DATA[start:start + size])


@test
def a_partition_that_shrinks_is_seen_no_further():
    """If this breaks, a program on a partition is shown the data of another
    that was made where it ended."""
    start, length = 3 << 20, 1 << 20
    attached = Attached(disks.partition(DISK, 1, start, 2 * length))
    disks.resize_partition(DISK, 1, start, length)
    neighbour = DirectFile(disks.partition(DISK, 2, start + length, length))
    for size in (4096, 16384):
        neighbour.read(0, size)
    DirectFile(DISK).read(start + length - 4096, 8192)
    expect(attached.seen().positions(), [(length - 4096, 4096)], "units")
    disks.resize_partition(DISK, 1, start, 2048)
    DirectFile(DISK).read(start, 4096)
    expect(attached.seen().positions()[1:], [(0, 2048)], "less than a unit")


@test
def a_unit_that_a_bio_cuts_is_partial():
    """If this breaks, cut units are shown as whole ones, or not at all."""
    attached = Attached(DISK)
    file = DirectFile(DISK)
    file.read(4096 + 512, 512)
    file.read(8192 - 512, 1024)
    file.read(12288 + 1024, 4096 + 2048)
    seen = attached.seen()
    expect([(c.pos, c.len, bool(c.flags & abi.F_SHORT)) for c in seen.log],
           [(4608, 512, True), (7680, 512, True), (8192, 512, True),
            (13312, 3072, True), (16384, 3072, True)], "pieces")
    check_log(seen, DATA)
    expect(attached.counters().partial, 5, "partial")


@test_each(u512="probe_512_0", u32768="probe_32768_0")
def units_of_other_sizes_lie_on_the_device_not_on_the_bio(name):
    """If this breaks, the same bytes are cut differently by different bios."""
    unit = int(name.split("_")[1])
    attached = Attached(DISK, program=name)
    start, size = 3 * 32768 - 1024, 65536 + 2048
    DirectFile(DISK).read(start, size)
    wanted = [(max(pos, start), min(pos + unit, start + size) - max(pos, start))
              for pos in range(start // unit * unit, start + size, unit)]
    expect(attached.seen().positions(), wanted, "units")
    check_log(attached.seen(), DATA)


@test
def overlap_reaches_to_the_end_of_the_bio():
    """If this breaks, a live program sees less than its overlap, or more than
    the bio has."""
    attached = Attached(DISK, program="probe_4096_512")
    DirectFile(DISK).read(4096, 3 * 4096)
    expect([(c.pos, c.visible, c.flags & ~abi.F_LIVE)
            for c in attached.seen().log],
           [(4096, 4608, 0), (8192, 4608, 0), (12288, 4096, abi.F_EDGE)], "calls")


@test_each(at_4=4, at_512=512, at_2048=2048, at_4092=4092)
def buffers_that_straddle_pages_are_shown_in_one_piece(at):
    """If this breaks, a unit that lies in two pages is shown with other bytes
    in its second part."""
    attached = Attached(DISK, name="pair", program="pair_63", args=(3, 4))
    probe = Attached(DISK)
    pos, size = 40960, 32768
    data = DirectFile(DISK).read(pos, size, at=at)
    expect(data == DATA[pos:pos + size], what="what is read")
    wanted = oracle.pairs(DATA[pos:pos + size], [(0, size)], 3, 4, 4096, 63)
    expect(attached.counters().matches, len(wanted), "matches")
    check_log(probe.seen(), DATA)


@test
def vectored_reads_are_shown_in_one_piece():
    """If this breaks, units that lie in many small buffers are shown wrongly."""
    stream_of = Attached(DISK, name="pair", program="pair_63", args=(3, 4))
    events = stream_of.stream()
    probe = Attached(DISK)
    source = random.Random(3)
    pieces, at = [], 0
    for _ in range(40):
        length = source.choice((512, 1024, 4096, 1536))
        pieces.append((at, length))
        at += length + source.choice((0, 512, 4))
    pos, size = 81920, sum(length for _, length in pieces)
    data = DirectFile(DISK).readv(pos, pieces)
    expect(data == DATA[pos:pos + size], what="what is read")
    wanted = [(pos + m, n) for m, n in oracle.pairs(
        DATA[pos:pos + size], [(0, size)], 3, 4, 4096, 63)]
    got = events.take(len(wanted))
    expect([(event.pos, event.len) for event in got], wanted, "matches")
    expect(stream_of.counters().matches, len(wanted), "counted")
    check_log(probe.seen(), DATA)


@test
def a_bio_that_is_split_is_shown_once_and_whole():
    """If this breaks, splitting for a small device hides or repeats data."""
    disk = disks.NullBlk(size=4)
    disks.write_all(disk.path, DATA[:4 << 20])
    disks.write_attribute(f"/sys/block/{disk.disk}/queue/max_sectors_kb", 8)
    attached = Attached(disk.path)
    size = 1 << 20
    expect(DirectFile(disk.path).read(4096, size) == DATA[4096:4096 + size],
           what="what is read")
    expect(attached.seen().positions(),
           [(4096 + off, part) for off, part in oracle.units(size, 4096)],
           "units")
    check_log(attached.seen(), DATA)
    requests = int(disks.read_attribute(f"/sys/block/{disk.disk}/stat").split()[0])
    expect(requests >= size // 8192, what=f"the device split it: {requests}")
    expect(attached.counters().bios < 10, what="bios, not requests, are counted")


@test
def layers_see_their_own_bios():
    """If this breaks, a stacked device's clone is taken for the bio itself."""
    upper = disks.Mapped(f"0 8192 linear {DISK} 1024").path
    above, below = Attached(upper), Attached(DISK)
    expect(DirectFile(upper).read(4096, 8192) ==
           DATA[524288 + 4096:524288 + 12288], what="what is read")
    expect(above.seen().positions(), [(4096, 4096), (8192, 4096)], "above")
    expect(below.seen().positions(), [(528384, 4096), (532480, 4096)], "below")
    check_log(below.seen(), DATA)


@test
def polled_reads_are_presented():
    """If this breaks, a hooked bio is not found by the task that polls for it,
    and the read hangs."""
    disk = disks.NullBlk(size=4, poll_queues=1, submit_queues=1)
    disks.write_all(disk.path, DATA[:4 << 20])
    expect(disks.read_attribute(f"/sys/block/{disk.disk}/queue/io_poll"), "1",
           "the device polls")
    attached = Attached(disk.path)
    file = DirectFile(disk.path)
    for n in range(20):
        expect(file.read(n * 8192, 8192, flags=os.RWF_HIPRI) ==
               DATA[n * 8192:(n + 1) * 8192], what="what is read")
    expect(attached.seen().positions(), [(n * 4096, 4096) for n in range(40)],
           "units")
    check_log(attached.seen(), DATA)


@test
def programs_run_by_priority_and_then_by_age():
    """If this breaks, who sees a bio first is luck."""
    shared = borrow("order", "order_ops")
    priorities = [(5, 1), (-3, 2), (5, 3), (0, 4), (-3, 5), ((1 << 31) - 1, 6),
                  (-1 << 31, 7), (0, 8)]
    for priority, who in priorities:
        Attached(DISK, loaded=shared, args=(who,), priority=priority)
    DirectFile(DISK).read(0, 4096)
    raw = shared.globals()
    words = [int.from_bytes(raw[at:at + 8], "little") for at in range(0, 72, 8)]
    expect(words[0], 8, "calls")
    expect(words[1:], [who for _, who in sorted(priorities,
                                                key=lambda entry: entry[0])],
           "order")


FAILURES = dict(medium=(-errno.ENODATA, errno.ENODATA),
                protection=(-errno.EILSEQ, errno.EILSEQ),
                target=(-errno.EREMOTEIO, errno.EREMOTEIO))


@test_each(**FAILURES)
def a_program_with_the_right_fails_a_read(ret, number):
    """If this breaks, deny does not deny, or the submitter sees another
    error."""
    attached = Attached(DISK, flags=abi.MAY_FAIL, args=(0, ret, 8192, 12288))
    later = Attached(DISK, priority=1)
    events = attached.stream()
    file = DirectFile(DISK)
    expect(file.read(0, 8192) == DATA[:8192], what="what is read elsewhere")
    expect_raises(OSError, file.read, 4096, 16384, errno=number)
    expect(attached.counters().failed, 1, "failed")
    expect(later.seen().positions(), [(0, 4096), (4096, 4096)],
           "what a later program sees")
    event, = events.take(1)
    expect((event.type, event.pos, event.len, event.op, event.value),
           (abi.EVENT_FAILED, 4096, 16384, abi.OP_READ, ret), "event")
    attached.detach()
    expect(file.read(4096, 16384) == DATA[4096:20480], what="after detaching")


@test_each(without_right=(0, -errno.ENODATA), other_errno=(1, -errno.EIO),
           eperm=(1, -errno.EPERM), lowest=(1, -4095))
def an_errno_without_the_right_is_counted_and_the_read_succeeds(flags, ret):
    """If this breaks, a program that may only look breaks I/O."""
    attached = Attached(DISK, flags=flags, args=(0, ret, 0, 8192))
    expect(DirectFile(DISK).read(0, 16384) == DATA[:16384], what="what is read")
    counters = attached.counters()
    expect((counters.refused, counters.failed, counters.runs, counters.state),
           (2, 0, 4, abi.LIVE), "refused, failed, runs, state")


@test_each(three=3, negative=-4096, large=1 << 30)
def nonsense_ejects_the_program_and_io_goes_on(ret):
    """If this breaks, a broken program stays on live I/O, or breaks it."""
    attached = Attached(DISK, flags=abi.MAY_FAIL, args=(0, ret, 4096, 8192))
    other = Attached(DISK, priority=1)
    events = attached.stream()
    file = DirectFile(DISK)
    for _ in range(3):
        expect(file.read(0, 16384) == DATA[:16384], what="what is read")
    counters = attached.counters()
    expect((counters.state, attached.seen().calls), (abi.EJECTED, 2),
           "state, calls")
    expect_in(f"returned {ret}", counters.reason.decode(), "reason")
    expect(other.seen().calls, 12, "calls of another program")
    event, = events.take(1)
    expect((event.type, event.value), (abi.EVENT_EJECTED, ret), "event")
    fresh = borrow("probe", "probe_4096_0")
    update_link(attached.link, fresh)
    file.read(0, 4096)
    expect(attached.counters().state, abi.LIVE, "state with a new program")
    expect(attached.counters().reason, b"", "reason with a new program")
    expect(Seen(fresh).calls, 1, "calls of the new program")


@test
def stop_leaves_the_rest_of_the_bio_alone():
    """If this breaks, a program that has seen enough is called on."""
    attached = Attached(DISK, args=(0, abi.STOP, 4096, 8192))
    file = DirectFile(DISK)
    expect(file.read(0, 16384) == DATA[:16384], what="what is read")
    expect(attached.seen().positions(), [(0, 4096), (4096, 4096)], "units")
    file.read(8192, 4096)
    expect(attached.seen().calls, 3, "the next bio")


@test
def a_bad_emit_on_live_io_is_counted():
    """If this breaks, a live program reports bytes that it did not see."""
    attached = Attached(DISK, name="emit", program="emit_0",
                        args=(4095, 2, 1, 4096))
    expect(DirectFile(DISK).read(0, 16384) == DATA[:16384], what="what is read")
    counters = attached.counters()
    expect((counters.matches, counters.refused, counters.runs), (0, 1, 4),
           "matches, refused, runs")


@test
def writes_and_others_are_observed_if_asked_for():
    """If this breaks, a program is called for what it did not ask, or with
    data of a write."""
    disk = disks.NullBlk(size=4, discard=1, cache_size=1)
    reader = Attached(disk.path)
    writer = Attached(disk.path, flags=abi.WRITES | abi.NO_READS)
    everything = Attached(disk.path, flags=abi.WRITES | abi.OTHERS)
    fd = opened(disk.path, os.O_RDWR)
    file = DirectFile(disk.path, os.O_RDWR)
    file.write(8192, bytes(8192))
    file.read(0, 4096)
    os.fsync(fd)
    disks.discard(fd, 65536, 131072)
    expect(reader.seen().positions(), [(0, 4096)], "a reader")
    expect(writer.seen().positions(), [(8192, 8192)], "a writer")
    seen = everything.seen()
    expect([(c.op, c.pos, c.len) for c in seen.log],
           [(abi.OP_WRITE, 8192, 8192), (abi.OP_READ, 0, 4096),
            (abi.OP_FLUSH, 0, 0), (abi.OP_DISCARD, 65536, 131072)],
           "everything")
    for call in seen.log:
        nodata = call.op != abi.OP_READ
        expect((call.visible, bool(call.flags & abi.F_NODATA)),
               (0 if nodata else 4096, nodata), f"data of op {call.op}")


@test
def a_flush_is_shown_to_the_device_it_was_of_and_to_its_disk():
    """If this breaks, a program on a partition does not see its flushes, or
    sees those of others."""
    disk = disks.NullBlk(size=8, cache_size=1)
    parts = [disks.partition(disk.path, number, number << 20, 1 << 20)
             for number in (1, 2)]
    parts.append(disks.partition(disk.path, 3, 0, 1 << 20))
    paths = [disk.path, *parts]
    attached = [Attached(path, flags=abi.OTHERS | abi.NO_READS) for path in paths]
    for path in paths:
        os.fsync(opened(path, os.O_RDWR))
    for one, nr in zip(attached, (4, 1, 1, 1)):
        expect([(c.op, c.pos, c.len) for c in one.seen().log],
               [(abi.OP_FLUSH, 0, 0)] * nr, f"flushes of {one.counters().disk}")


@test
def a_write_can_be_failed_with_the_right():
    """If this breaks, a write that a program refuses is reported as done."""
    disk = disks.NullBlk(size=4)
    attached = Attached(disk.path, flags=abi.WRITES | abi.MAY_FAIL,
                        args=(0, -errno.EILSEQ, 4096, 8192))
    file = DirectFile(disk.path, os.O_RDWR)
    expect(file.write(0, bytes(4096)), 4096, "elsewhere")
    expect_raises(OSError, file.write, 4096, bytes(4096), errno=errno.EILSEQ)
    expect(attached.counters().failed, 1, "failed")


@test
def a_bio_that_failed_has_nothing_to_show():
    """If this breaks, programs read pages that were never filled."""
    disk = disks.NullBlk(size=4)
    disk.set("badblocks", "+16-16")
    attached = Attached(disk.path)
    expect_raises(OSError, DirectFile(disk.path).read, 8192, 4096,
                  errno=errno.EIO)
    expect((attached.seen().calls, attached.counters().failed), (0, 0),
           "calls, failed")


@test
def arguments_reach_the_program():
    """If this breaks, one program cannot serve two devices."""
    attached = Attached(DISK, args=(1 << 63, 0, 0x55, (1 << 63) + 7))
    DirectFile(DISK).read(0, 4096)
    expect(attached.seen().args, 0x52, "xor of the arguments")
    expect(list(attached.counters().args), [1 << 63, 0, 0x55, (1 << 63) + 7],
           "in the list")


@test
def a_stream_tells_of_matches_as_they_come():
    """If this breaks, tail shows other matches, or sleeps on them."""
    attached = Attached(DISK, name="pair", program="pair_1", args=(3, 4))
    streams = [attached.stream(), attached.stream(16)]
    expect_raises(BlockingIOError, abi.read_events, streams[0].fd)
    expect(streams[0].poll.poll(0), [], "poll before")
    DirectFile(DISK).read(4096, 4096)
    wanted = oracle.pairs(DATA, [(4096, 4096)], 3, 4, 4096, 1)
    expect(len(wanted) > 20, what="matches")
    got = streams[0].take(len(wanted))
    expect([(e.type, e.pos, e.len, e.op) for e in got],
           [(abi.EVENT_MATCH, pos, size, abi.OP_READ) for pos, size in wanted],
           "events")
    times = [event.time_ns for event in got]
    expect(times == sorted(times) and times[0] > 0, what="times rise")
    slow = streams[1].take(17)
    expect([(e.type, e.pos) for e in slow[:16]],
           [(abi.EVENT_MATCH, pos) for pos, _ in wanted[:16]], "a small stream")
    expect((slow[16].type, slow[16].value), (abi.EVENT_LOST, len(wanted) - 16),
           "what it lost")


@test
def a_stream_wakes_its_reader_and_ends_with_the_attachment():
    """If this breaks, tail hangs when the program is detached."""
    attached = Attached(DISK, args=(256,))
    fd = attached.control.stream(attached.id)
    got = []
    thread = threading.Thread(target=lambda: got.extend(read_to_end(fd)))
    thread.start()
    DirectFile(DISK).read(0, 4096)
    expect(settled(lambda: len(got), 1), 1, "events")
    attached.detach()
    thread.join(10)
    expect(thread.is_alive(), False, "the reader waits on")
    os.close(fd)
    expect([event.type for event in got], [abi.EVENT_MATCH, abi.EVENT_END],
           "events")


def read_to_end(fd):
    """Yields the events of a blocking stream until it ends."""
    while events := abi.read_events(fd, 1):
        yield from events


@test
def a_stream_is_refused_by_its_own_sentence():
    """If this breaks, a wrong id or a wish too large is another mistake."""
    attached = Attached(DISK)
    error = expect_raises(abi.Refused, attached.control.stream, 99999,
                          errno=errno.ENOENT)
    expect_in("99999", error.sentence, "sentence")
    error = expect_raises(abi.Refused, attached.control.stream, attached.id,
                          (1 << 20) + 1, errno=errno.EINVAL)
    expect_in("1048577 events are too many", error.sentence, "sentence")
    error = expect_raises(abi.Refused, attached.control.missed, 99999,
                          errno=errno.ENOENT)
    expect_in("99999", error.sentence, "sentence")
    expect(attached.control.missed(attached.id), ([], 0), "nothing missed")


@test
def the_list_pages_by_id():
    """If this breaks, attachments are listed twice or not at all."""
    attached = [Attached(DISK, priority=n) for n in range(3)]
    ids = [one.id for one in attached]
    expect(ids, sorted(ids), "ids rise")
    with abi.Control() as control:
        everything, total = control.list()
        expect(([a.id for a in everything], total), (ids, 3), "all")
        first, total = control.list(0, 2)
        expect(([a.id for a in first], total), (ids[:2], 3), "a page")
        rest, total = control.list(ids[1] + 1)
        expect(([a.id for a in rest], total), (ids[2:], 1), "the next")
        none, total = control.list(0, 0)
        expect((none, total), ([], 3), "no room")
        expect([a.priority for a in everything], [0, 1, 2], "priorities")
        for one, listed in zip(attached, everything):
            expect(listed.map_id, one.program.map_id(), "map id")
            expect((listed.unit, listed.overlap, listed.name),
                   (4096, 0, b"probe_4096_0"), "unit, overlap, name")
        bad = abi.List(nr=1, entry_size=8)
        expect_raises(abi.Refused, control.call, bad, errno=errno.EINVAL)


@test
def what_cannot_be_attached_is_refused_by_its_own_sentence():
    """If this breaks, a mistake in attaching is reported as another."""
    program = borrow("probe", "probe_4096_0")
    odd = borrow("probe", "probe_3000_0")
    link, odd_link = program.link(), odd.link()
    cleanup(os.close, link)
    cleanup(os.close, odd_link)
    disk, regular = opened(DISK), opened("/selftests/guest/attach.py")
    cases = [((odd_link, disk), {}, errno.EINVAL, "unit is 3000 bytes"),
             ((link, regular), {}, errno.ENOTBLK, "is not a block device"),
             ((link, -1), {}, errno.EBADF, "dev_fd -1"),
             ((program.fd, disk), {}, errno.EINVAL, "is not a bpf_link"),
             ((-1, disk), {}, errno.EBADF, "link_fd -1"),
             ((link, disk), dict(flags=abi.NO_READS), errno.EINVAL,
              "leave nothing to call the program for"),
             ((link, disk), dict(flags=16), errno.EINVAL, "unknown flags 0x10")]
    with abi.Control() as control:
        for fds, more, number, words in cases:
            error = expect_raises(abi.Refused, control.attach, *fds, **more,
                                  errno=number)
            expect_in(words, error.sentence, "sentence")
        control.attach(link, disk)
        error = expect_raises(abi.Refused, control.attach, link, disk,
                              errno=errno.EBUSY)
        expect_in("attached to nvme0n1 already", error.sentence, "sentence")
        detach_link(link)
        error = expect_raises(abi.Refused, control.attach, link, disk,
                              errno=errno.EINVAL)
        expect_in("was detached", error.sentence, "sentence")


@test
def a_link_is_updated_between_two_bios():
    """If this breaks, a program cannot be replaced without losing I/O."""
    attached = Attached(DISK)
    second = borrow("probe", "probe_4096_0")
    file = DirectFile(DISK)
    file.read(0, 4096)
    update_link(attached.link, second)
    file.read(4096, 4096)
    expect(attached.seen().positions(), [(0, 4096)], "the first program")
    expect(Seen(second).positions(), [(4096, 4096)], "the second program")
    expect((attached.counters().runs, attached.counters().map_id),
           (2, second.map_id()), "runs, map")


if __name__ == "__main__":
    disks.write_all(DISK, DATA)
    run()
