#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Execute: what programs find on the drive, against a model in Python."""

import random
import struct

import csdprog as prog
import drivemodel as model
import drives
import nvme_csd as csd
from csdrive import MATCH_SIZE, NVM, RESULT_SIZE, lba_source
from ktap import diag, expect, test, test_each

SIZE = 4 << 20
RESULT = 3 << 20
ROOM = RESULT_SIZE + 40000 * MATCH_SIZE

EIO, EINVAL, ENOSPC = 5, 22, 28


def get(**more):
    return drives.get(slm_size=SIZE, **more)


def errno(number):
    """As the wire has it."""
    return -number & 0xffffffff


def data_of(seed, length):
    """Random bytes of few values, so that there is something to find."""
    source = random.Random(seed)
    return bytes(source.choices(b"\0\0\0abc\xff", k=length))


def records_data(length):
    source = random.Random("records")
    return b"".join(struct.pack("<QI52s", source.randrange(1000),
                                source.randrange(100), source.randbytes(52))
                    for _ in range(-(-length // 64)))[:length]


def set_grep(image):
    return image.set("needle", b"bca").set("needle_len", 3)


def set_records(image):
    return (image.set("key_min", 100).set("key_max", 500).set("value_min", 3)
            .set("value_max", 60))


# name: (object, program, changes, arguments, its model, data)
PROGRAMS = {
    "grep": ("grep", "-", set_grep, (), model.grep(b"bca"), data_of),
    "records": ("records", "-", set_records, (),
                model.records((100, 500), (3, 60)),
                lambda _, length: records_data(length)),
    "zeros": ("count_zero", "-", None, (), model.zeros,
              lambda seed, length: b"".join(
                  random.Random(f"{seed} {n}").choice([bytes(4096), b"\1" * 4096])
                  for n in range(-(-length // 4096)))[:length]),
    "pair_0": ("pair", "pair_0", None, (97, 98), model.pair(97, 98), data_of),
    "pair_1": ("pair", "pair_1", None, (97, 98), model.pair(97, 98), data_of),
    "pair_4096": ("pair", "pair_4096", None, (0, 0), model.pair(0, 0), data_of),
    "fields": ("fields", "-", None, (100, 0, 1 << 30),
               model.fields(100, 0, 1 << 30), data_of),
    "probe": ("probe", "probe_512_0", None, (97,), model.probe(97), data_of),
    "probe_3000": ("probe", "probe_3000_0", None, (97,), model.probe(97),
                   data_of),
}


def put(drive, name, pind=1):
    """Load that program; (its image, arguments, model, data)."""
    obj, program, change, args, what, data = PROGRAMS[name]
    image = prog.from_object(obj, program)
    if change:
        change(image)
    drive.put(pind, image.pack())
    return image, args, what, data


@test_each(**{name: name for name in PROGRAMS})
def scans_find_what_is_there(name):
    """If this breaks, the drive's answer is not that of the same program in the
    kernel: another match, another order, one too many or one too few."""
    drive = get()
    image, args, what, data = put(drive, name)
    for length in (200000, 4096, 4095, 64, 1):
        stuff = data(length, length)[:length]
        drive.slm_write(0, stuff + bytes(-length % 4))
        found = model.scan(what, stuff, unit=image.unit, overlap=image.overlap,
                           pos=1 << 40)
        run = drive.scan(1, [(0, length + -length % 4), (RESULT, ROOM)],
                         data_len=length, args=args, pos=1 << 40, dev=7)
        drive.must(run.done)
        expect(run.matches == found.matches,
               what=f"{len(run.matches)} matches of {len(found.matches)}")
        result = run.result
        expect((result.status, result.nr, result.units, result.bytes,
                result.matches, result.error, result.fault, result.fault_pc),
               (csd.DONE, len(found.matches), len(found.calls), length,
                len(found.matches), 0, 0, 0), "result")
        expect((result.cursor.off, result.cursor.skip, result.cursor.cookie),
               (length, 0, 0), "cursor")
        expect(run.devs <= {7}, what="which device the matches say")
        expect(run.done.result, len(found.matches) | csd.DONE << 32,
               "DW0-1 of the completion")
        expect(result.retired >= len(found.calls), what="instructions")


@test
def scans_of_units_of_any_size():
    """If this breaks, a unit that the host chose is not the one that is used."""
    drive = get()
    _, args, what, _ = put(drive, "pair_1")
    data = data_of("units", 70000)
    drive.slm_write(0, data)
    for unit in (1, 2, 3, 511, 512, 4096, 5000, 32767, 32768):
        length = min(len(data), unit * 300)
        found = model.scan(what, data[:length], unit=unit, overlap=1)
        run = drive.scan(1, [(0, len(data)), (RESULT, ROOM)], data_len=length,
                         unit=unit, args=args)
        drive.must(run.done)
        expect(run.matches == found.matches, what=f"matches with unit {unit}")
        expect(run.result.units, len(found.calls), f"calls with unit {unit}")


@test
def programs_are_told_about_their_unit():
    """If this breaks, a program sees another ctx on the drive than in the
    kernel: position, lengths, flags, arguments, zeroed state."""
    drive = get()
    data = data_of("ctx", 30000)
    drive.slm_write(0, data)
    for program, unit, overlap in (("probe_4096_512", 4096, 512),
                                   ("probe_3000_0", 3000, 0),
                                   ("probe_512_0", 512, 0)):
        image = prog.from_object("probe", program)
        for off, length, tail in ((0, 30000, 0), (4, 9000, 100), (400, 512, 600),
                                  (8, 8192, 512), (0, 4097, 5000)):
            drive.put(1, image.pack())
            stuff = data[off:off + length + tail]
            drive.must(drive.scan(1, [(0, 30000), (RESULT, ROOM)],
                                  data_off=off, data_len=length, tail_len=tail,
                                  pos=12345, args=(0, 0, 0, 0xabc)).done)
            wanted = model.scan(model.probe(0), stuff, length, unit, overlap,
                                12345).calls
            index, _, size = image.place("seen")
            done, raw = drive.globals_read(1, index, 0,
                                           min(size, 48 + 32 * 100))
            drive.must(done)
            calls, total, ctx_size, hints, state, args = struct.unpack_from(
                "<6Q", raw)
            expect((calls, total, ctx_size, hints, state, args),
                   (len(wanted), length, prog.CTX_SIZE, 0, 0, 0xabc),
                   f"{program} at {off}: calls, bytes, ctx, hints, state, args")
            log = [struct.unpack_from("<QIIIIII", raw, 48 + 32 * n)
                   for n in range(calls)]
            expect(log, [(c.pos, c.len, len(c.data), c.unit, c.flags, 0,
                          sum(c.data[:8])) for c in wanted],
                   f"{program} at {off}: pos, len, visible, unit, flags, op, sum")


@test
def overlap_ends_with_the_tail():
    """If this breaks, a match across the border of two Executes is lost, or
    found by both."""
    drive = get()
    _, args, what, _ = put(drive, "pair_1")
    data = data_of("tail", 40000)
    drive.slm_write(0, data)
    whole = model.scan(what, data, overlap=1).matches
    for cut in (4096, 12288, 20480):
        found = []
        for off, length, tail in ((0, cut, 1), (cut, 40000 - cut, 0)):
            run = drive.scan(1, [(0, 40000), (RESULT, ROOM)], data_off=off,
                             data_len=length, tail_len=tail, pos=off, args=args)
            drive.must(run.done)
            found += run.matches
        expect(found == whole, what=f"matches, cut at {cut}")


@test_each(cookie=False, no_cookie=True)
def scans_go_on_where_they_ended(forget):
    """If this breaks, a result range that fills up loses matches, or repeats
    them: with the drive's own memory of them, and without."""
    drive = get()
    image, args, what, _ = put(drive, "pair_4096")
    data = data_of("cursor", 30000)
    drive.slm_write(0, data)
    wanted = model.scan(what, data, overlap=4096)
    expect(len(wanted.matches) > 4000, what="enough matches")
    for room in (1, 7, 100, 1000, len(wanted.matches) - 1,
                 len(wanted.matches)):
        if room == 1:
            length = 600
            expected = model.scan(what, data[:600], overlap=4096)
        else:
            length, expected = len(data), wanted
        found, runs = drive.scan_all(
            1, [(0, 30000), (RESULT, RESULT_SIZE + room * MATCH_SIZE)],
            forget, data_len=length, args=args)
        expect(found == expected.matches, what=f"matches with room for {room}")
        expect(max(run.result.nr for run in runs) <= room, what="matches a run")
        expect(len(runs), max(1, -(-len(expected.matches) // room)), "runs")
        calls = sum(run.result.units for run in runs)
        if not forget:
            expect(calls, len(expected.calls), "calls: no unit twice")
        else:
            expect(calls >= len(expected.calls), what="calls")
        expect(sum(run.result.bytes for run in runs) >= length, what="bytes")


@test
def room_for_part_of_a_match_is_none():
    """If this breaks, the drive writes beyond a result range whose size is no
    multiple of a match."""
    drive = get()
    _, args, _, _ = put(drive, "pair_0")
    drive.slm_write(0, b"abab" * 100)
    drive.slm_write(RESULT, b"\xee" * 4096)
    for extra in (0, 4, 12):
        run = drive.scan(1, [(0, 400), (RESULT, RESULT_SIZE + 32 + extra)],
                         args=args)
        expect((run.result.status, run.result.nr), (csd.FULL, 2), "result")
        expect(drive.slm_read(RESULT + RESULT_SIZE + 32, 64), b"\xee" * 64,
               "bytes behind the matches")
    run = drive.scan(1, [(0, 400), (RESULT, RESULT_SIZE)], args=args)
    expect((run.result.status, run.result.nr, run.result.cursor.off,
            run.result.cursor.skip), (csd.FULL, 0, 0, 0), "without room")


@test
def cookies_are_good_once_and_for_their_place():
    """If this breaks, kept matches are returned twice, or for another unit."""
    drive = get()
    _, args, what, _ = put(drive, "pair_0")
    data = data_of("cookies", 20000)
    drive.slm_write(0, data)
    ranges = [(0, 20000), (RESULT, RESULT_SIZE + 10 * MATCH_SIZE)]
    wanted = model.scan(what, data).matches
    first = drive.scan(1, ranges, args=args)
    cursor = first.result.cursor
    expect(cursor.cookie != 0, what="cookie")
    for change in ({}, {}, {"cookie": cursor.cookie + 1000}, {"cookie": 1 << 63}):
        again = csd.Cursor.parse(bytes(cursor))
        for name, value in change.items():
            setattr(again, name, value)
        run = drive.scan(1, ranges, args=args, cursor=again)
        drive.must(run.done)
        expect(run.matches == wanted[10:20], what=f"matches 10 to 19, {change}")
    for _ in range(300):	# more than are kept
        drive.must(drive.scan(1, ranges, args=args).done)
    run = drive.scan(1, ranges, args=args, cursor=first.result.cursor)
    expect(run.matches == wanted[10:20], what="matches of a lost cookie")


@test
def cookies_are_good_for_data_that_begin_elsewhere():
    """If this breaks, a host that has brought the rest of its data anew runs the
    unit at their beginning twice, and global variables count it twice."""
    drive = get()
    _, args, what, _ = put(drive, "pair_0")
    data = data_of("refill", 20000)
    wanted = model.scan(what, data)
    pos, cursor, found, calls = 0, csd.Cursor(), [], 0
    while pos < len(data):
        drive.slm_write(0, data[pos:])
        run = drive.scan(1, [(0, 20000), (RESULT, RESULT_SIZE + 100 * MATCH_SIZE)],
                         data_len=len(data) - pos, pos=pos, args=args,
                         cursor=cursor)
        drive.must(run.done)
        found += run.matches
        calls += run.result.units
        pos += run.result.cursor.off
        cursor = run.result.cursor
        cursor.off = 0
    expect(found == wanted.matches, what="matches")
    expect(calls, len(wanted.calls), "calls: no unit twice")


@test
def cookies_are_not_good_for_a_unit_of_another_length():
    """If this breaks, what is behind the kept unit is left out, or the cursor is
    beyond the data."""
    drive = get()
    _, args, what, _ = put(drive, "pair_0")
    data = data_of("shorter", 20000)
    drive.slm_write(0, data)
    ranges = [(0, 20000), (RESULT, RESULT_SIZE + 10 * MATCH_SIZE)]
    wide = [(0, 20000), (RESULT, ROOM)]
    for change in ({"data_len": 3000}, {"unit": 2048}):
        first = drive.scan(1, ranges, args=args)
        expect(first.result.status, csd.FULL, "the first one")
        length, unit = change.get("data_len", 20000), change.get("unit", 4096)
        wanted = model.scan(what, data[:length], unit=unit).matches
        run = drive.scan(1, wide, args=args, cursor=first.result.cursor,
                         **change)
        drive.must(run.done)
        expect(run.matches == wanted[10:], what=f"matches with {change}")
        expect(run.result.cursor.off, length, f"cursor with {change}")


@test
def cookies_are_not_given_twice():
    """If this breaks, a host that comes with the cookie of a program that was
    there before is given the matches of another scan."""
    drive = get()
    data = data_of("given", 20000)
    drive.slm_write(0, data)
    ranges = [(0, 20000), (RESULT, RESULT_SIZE + 10 * MATCH_SIZE)]
    cookies = set()
    for _ in range(2):
        for pind in (1, 2):
            _, args, _, _ = put(drive, "pair_0", pind)
            run = drive.scan(pind, ranges, args=args)
            expect(run.result.status, csd.FULL, "result")
            cookies.add(run.result.cursor.cookie)
    drive.restart()
    _, args, _, _ = put(drive, "pair_0")
    cookies.add(drive.scan(1, ranges, args=args).result.cursor.cookie)
    expect(len(cookies), 5, "cookies of five programs")


@test
def kept_matches_have_a_limit():
    """If this breaks, a host that never comes back for its matches fills the
    memory of QEMU, beside every limit that the drive has."""
    drive = get(max_programs=16, max_active=16)
    pid = drive.machine.process.pid

    def resident():
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return int(next(line for line in file
                            if line.startswith("VmRSS")).split()[1]) >> 10

    image = prog.from_object("emit", "emit_0").pack()
    for pind in range(1, 17):
        drive.put(pind, image)
    ranges = [(0, 4096), (RESULT, RESULT_SIZE)]
    drive.scan(1, ranges, args=(0, 1, 65536, 0))
    before = resident()
    for _ in range(6):
        for pind in range(1, 17):	# a mebibyte of matches each time
            run = drive.scan(pind, ranges, args=(0, 1, 65536, 0))
            expect(run.result.status, csd.FULL, "result")
    after = resident()
    expect(after - before < 64, what=f"{before} MiB before, {after} after")


@test
def counting_returns_no_matches():
    """If this breaks, a host that only counts needs room, or counts wrongly."""
    drive = get()
    _, args, what, _ = put(drive, "pair_4096")
    data = data_of("count", 100000)
    drive.slm_write(0, data)
    wanted = model.scan(what, data, overlap=4096)
    ranges = [(0, 100000), (RESULT, RESULT_SIZE)]
    run = drive.scan(1, ranges, args=args, flags=csd.EXEC_COUNT)
    drive.must(run.done)
    expect((run.result.status, run.result.nr, run.result.matches,
            run.result.units), (csd.DONE, 0, len(wanted.matches),
                                len(wanted.calls)), "result")
    expect(run.done.result, len(wanted.matches), "DW0-1: the count, done")


@test
def programs_can_end_a_scan():
    """If this breaks, a program that has found what it wants reads on."""
    drive = get()
    image = prog.from_object("probe", "probe_512_0")
    drive.put(1, image.pack())
    data = bytes(range(256)) * 64
    drive.slm_write(0, data)
    args = (1, 2, 5 * 512, 6 * 512)
    run = drive.scan(1, [(0, len(data)), (RESULT, ROOM)], args=args)
    wanted = model.scan(model.probe(1, 2, 5 * 512, 6 * 512), data, unit=512)
    drive.must(run.done)
    expect(run.matches, wanted.matches, "matches before")
    expect((run.result.status, run.result.units, run.result.bytes,
            run.result.cursor.off), (csd.STOPPED, 6, 6 * 512, 6 * 512),
           "result")
    expect(run.done.result, len(wanted.matches) | csd.STOPPED << 32, "DW0-1")


@test_each(eio=(-EIO, csd.PROGRAM_ERROR), einval=(-EINVAL, csd.PROGRAM_ERROR),
           largest=(-4095, csd.PROGRAM_ERROR), beyond=(-4096, csd.NONSENSE),
           three=(3, csd.NONSENSE), large=(0x7fffffff, csd.NONSENSE))
def what_a_program_returns_is_never_trusted(ret, status):
    """If this breaks, an error of a program passes for an answer, or a value
    that means nothing does."""
    drive = get()
    drive.put(1, prog.from_object("probe", "probe_512_0").pack())
    drive.slm_write(0, bytes(8192))
    run = drive.scan(1, [(0, 8192), (RESULT, ROOM)],
                     args=(1, ret, 3 * 512, 4 * 512))
    expect(hex(run.status), hex(csd.SC_PROG_FAULT), "status")
    expect((run.result.status, run.result.error, run.result.cursor.off,
            run.result.nr), (status, errno(-ret), 3 * 512, 3),
           "result: the matches of the units before are there")
    expect(run.matches, [(n * 512, 512) for n in range(3)], "matches")
    drives.refused(drive, run.done, csd.SC_PROG_FAULT, "return")


def emitting(drive, off, length, number=1, program="emit_0", size=8192):
    drive.put(1, prog.from_object("emit", program).pack())
    drive.slm_write(0, bytes(size))
    return drive.scan(1, [(0, size), (RESULT, 1 << 20)],
                      args=(off, length, number, 4096))


@test
def emitted_matches_are_sorted():
    """If this breaks, matches come in the order of a program's loop, and two
    targets' answers differ."""
    drive = get()
    run = emitting(drive, 1000, 7, 50)
    drive.must(run.done)
    expect(run.matches, [(4096 + 1000 - n, 7) for n in range(49, -1, -1)],
           "matches")
    run = emitting(drive, 4095, 65, 1, "emit_64", 16384)
    drive.must(run.done)
    expect(run.matches, [(8191, 65)], "a match into the overlap")


@test_each(
    at_end=(4096, 1), far=(0xffffffff, 1), empty=(0, 0), long=(0, 4097),
    across=(4095, 2), longest=(1, 0xffffffff), wraps=(4095, 0xfffff001))
def matches_outside_are_errors(off, length):
    """If this breaks, a program makes up matches of bytes that it never saw."""
    drive = get()
    run = emitting(drive, off, length)
    expect(hex(run.status), hex(csd.SC_PROG_FAULT), "status")
    expect((run.result.status, run.result.error, run.result.cursor.off),
           (csd.EMIT_ERROR, errno(EINVAL), 4096), "result")


@test
def matches_a_call_have_a_limit():
    """If this breaks, one call fills the drive's memory with matches; or the
    largest number that is allowed is refused."""
    drive = get()
    drive.put(1, prog.from_object("emit", "emit_0").pack())
    for number, status in ((65536, csd.DONE), (65537, csd.EMIT_ERROR)):
        run = drive.scan(1, [(0, 4096), (1 << 20, 2 << 20)],
                         args=(0, 1, number, 0))
        expect((run.result.status, run.result.nr),
               (status, 65536 if status == csd.DONE else 0), "result")
    expect(run.result.error, errno(ENOSPC), "error")


@test
def one_call_for_all_the_bytes():
    """If this breaks, an Execute without a scan, as the standard has it, does
    not call the program once for the bytes of the first range, with the two
    parameters, or its value is not in the completion."""
    drive = get()
    add = prog.Image([
        prog.load64(2, 1, 0), prog.load64(3, 1, 8), prog.load64(4, 1, 16),
        prog.insn(0x1f, 4, 3),	# data_end - data
        prog.load64(0, 2, 32), prog.insn(0x67, 0, imm=32),	# args[0] << 32
        prog.load64(5, 2, 40), prog.insn(0x67, 5, imm=24),	# args[1] << 24
        prog.add_reg(0, 5), prog.add_reg(0, 4), prog.EXIT])
    drive.put(1, add.pack())
    for length in (4, 100, 100000, 1 << 20):
        for vendor in (False, True):
            done = drive.must(drive.execute(1, [(0, length)], params=(0x1234, 7),
                                            vendor=vendor))
            expect(done.result, 0x1234 << 32 | 7 << 24 | length,
                   f"DW0-1 with {length} bytes")
    rsid = drive.must(drive.range_set([(0, 4096), (RESULT, ROOM)])).dw0
    done = drive.must(drive.execute(1, rsid=rsid, params=(1, 2)))
    expect(done.result, 1 << 32 | 2 << 24 | 4096, "DW0-1 with a range set")
    run = drive.result_at(RESULT, done)
    expect((run.result.status, run.result.r0, run.result.units,
            run.result.bytes, run.result.nr),
           (csd.DONE, done.result, 1, 4096, 0), "result in the second range")


@test
def one_call_with_an_exec_struct():
    """If this breaks, a single call over a part of a range, with matches and
    all four arguments, does something else than a scan of one unit."""
    drive = get()
    _, args, what, _ = put(drive, "pair_0")
    data = data_of("call", 20000)
    drive.slm_write(0, data)
    found = model.scan(what, data[400:400 + 15000], unit=15000, pos=99)
    run = drive.scan(1, [(0, 20000), (RESULT, ROOM)], mode=csd.CALL,
                     data_off=400, data_len=15000, pos=99, args=args)
    drive.must(run.done)
    expect(run.matches == found.matches, what="matches")
    expect((run.result.units, run.result.bytes), (1, 15000), "calls, bytes")


@test
def ranges_in_any_order():
    """If this breaks, the indices of an exec struct name other ranges."""
    drive = get()
    _, args, what, _ = put(drive, "pair_0")
    data = data_of("order", 8000)
    drive.slm_write(1 << 20, data)
    ranges = [(RESULT, ROOM), (0, 64), (1 << 20, 8000)]
    run_what = drive.exec(8000, args=args, data_range=2, result_range=0)
    wanted = model.scan(what, data).matches
    rsid = drive.must(drive.range_set(ranges)).dw0
    for given in ({"ranges": ranges}, {"rsid": rsid}):
        drive.slm_fill(RESULT, RESULT_SIZE)
        done = drive.must(drive.execute(1, what=run_what, **given))
        expect(drive.result_at(RESULT, done).matches == wanted, what="matches")


@test
def executes_without_a_result_range():
    """If this breaks, a program that only changes its globals needs room."""
    drive = get()
    image, _, _, _ = put(drive, "zeros")
    drive.slm_fill(0, 40960)
    done = drive.execute(1, [(0, 40960)], what=drive.exec(
        40960, result=False, flags=csd.EXEC_COUNT))
    drive.must(done)
    expect(drive.variable(1, image, "blocks"), 10, "blocks")


@test
def globals_live_from_activation_to_activation():
    """If this breaks, a count starts anew with each Execute, or never."""
    drive = get()
    image, _, _, _ = put(drive, "zeros")
    drive.slm_fill(0, 40960)
    for total in (10, 20, 30):
        drive.must(drive.scan(1, [(0, 40960), (RESULT, ROOM)]).done)
        expect(drive.variable(1, image, "blocks"), total, "blocks")
    index, off, _ = image.place("blocks")
    drive.must(drive.globals_write(1, index, off, (1000).to_bytes(8, "little")))
    drive.must(drive.scan(1, [(0, 4096), (RESULT, ROOM)]).done)
    expect(drive.variable(1, image, "blocks"), 1001, "blocks")
    drive.must(drive.deactivate(1), drive.activate(1))
    expect(drive.variable(1, image, "blocks"), 0, "blocks after activation")


@test
def state_words_can_be_written():
    """If this breaks, what the kernel's verifier allows faults on the drive."""
    drive = get()
    image = prog.from_object("state")
    drive.put(1, image.pack())
    drive.slm_write(0, bytes(range(256)) * 16)
    drive.must(drive.scan(1, [(0, 4096), (RESULT, ROOM)]).done)
    index, off, size = image.place("words")
    _, raw = drive.globals_read(1, index, off, size)
    expect(struct.unpack("<5Q", raw), (
        0x2200000000000011, 0x3333, 0x44444444, 10, sum(range(16))), "words")


@test
def interpreter_and_compiler_agree():
    """If this breaks, jit=off gives other matches, or another count of
    instructions, on which modelled time is built."""
    results = []
    for jit in (True, False):
        drive = get(jit=jit)
        found = []
        for name in PROGRAMS:
            _, args, _, data = put(drive, name)
            drive.slm_write(0, data("jit", 65536))
            run = drive.scan(1, [(0, 65536), (RESULT, ROOM)], args=args)
            drive.must(run.done)
            found.append((name, run.result.retired, run.matches))
        results.append(found)
    expect(results[0] == results[1], what="matches and instructions")
    diag([(name, retired) for name, retired, _ in results[0]])


@test
def data_copied_by_the_drive_are_scanned():
    """If this breaks, the way of a scan near the data, LBAs to SLM to program,
    finds other things than are on the disk."""
    drive = get()
    image, args, what, _ = put(drive, "pair_1")
    data = drives.DISK[512 * 100:512 * 1124]
    drive.must(drive.copy(0, [lba_source(100, 1024, NVM)], len(data)))
    run = drive.scan(1, [(0, len(data)), (RESULT, ROOM)], args=args,
                     pos=100 * 512)
    drive.must(run.done)
    wanted = model.scan(what, data, overlap=image.overlap, pos=51200).matches
    expect(run.matches == wanted, what=f"{len(wanted)} matches")


@test
def executes_are_counted():
    """If this breaks, log D2h says other numbers than the results do."""
    drive = get()
    before = drive.counters()
    _, args, _, _ = put(drive, "pair_0")
    drive.slm_write(0, data_of("counters", 50000))
    runs = [drive.scan(1, [(0, 50000), (RESULT, ROOM)], args=args)
            for _ in range(3)]
    after = drive.counters()
    grown = {name: getattr(after, name) - getattr(before, name)
             for name in ("loads", "executes", "units", "retired", "matches")}
    expect(grown, {
        "loads": 1, "executes": 3,
        **{name: sum(getattr(run.result, name) for run in runs)
           for name in ("units", "retired", "matches")}}, "counters")
    expect(list(after.faults), list(before.faults), "faults")


if __name__ == "__main__":
    drives.run()
