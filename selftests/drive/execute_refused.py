#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Executes that the drive has to refuse, and runs that end with a fault."""

import ctypes

import csdprog as prog
import drives
import nvme_csd as csd
import nvmequeue as nvme
from csdrive import RESULT_SIZE
from ktap import expect, expect_in, test, test_each
from nvmequeue import Raw

SIZE = 2 << 20
RESULT = 1 << 20
GOOD = prog.Image([prog.mov(0, 0), prog.EXIT]).pack()
DATA_LEN = 8192
RANGES = [(0, DATA_LEN), (RESULT, 65536)]
EXEC_SIZE = ctypes.sizeof(csd.Exec)


def get(**more):
    drive = drives.get(slm_size=SIZE, max_programs=4, max_active=4, max_ranges=4,
                       **more)
    drive.put(1, GOOD)
    return drive


@test_each(
    index_zero=(0, csd.SC_BAD_PIND, "index 0"),
    index_beyond=(5, csd.SC_BAD_PIND, "index 5"),
    index_last=(0xffff, csd.SC_BAD_PIND, "index 65535"),
    empty=(3, csd.SC_NO_PROGRAM, "index 3"),
    inactive=(2, csd.SC_NOT_ACTIVE, "activate"),
)
def programs_that_are_not_there_are_refused(pind, status, sentence):
    """If this breaks, an Execute runs something, or tells the host to load a
    program again that is there."""
    drive = get()
    drive.must(drive.load(2, GOOD))
    drives.refused(drive, drive.execute(pind, RANGES, what=drive.exec(4)),
                   status, sentence)
    # The program is looked at first, whatever else is wrong.
    drives.refused(drive, drive.execute(pind, RANGES, rsid=9, dlen=1), status,
                   sentence)


@test
def use_after_unload_is_refused():
    """If this breaks, instructions that were freed are executed."""
    drive = get()
    drive.must(drive.execute(1, RANGES))
    drive.must(drive.deactivate(1))
    drives.refused(drive, drive.execute(1, RANGES), csd.SC_NOT_ACTIVE)
    drive.must(drive.unload(1))
    drives.refused(drive, drive.execute(1, RANGES), csd.SC_NO_PROGRAM)
    done, _ = drive.globals_read(1, 0, 0, 4)
    drives.refused(drive, done, csd.SC_NO_PROGRAM)


@test_each(
    no_memory=({"ranges": []}, csd.SC_BAD_RANGE_SET, "RSID|NUMR"),
    both=({"rsid": 1}, nvme.INVALID_FIELD, "both"),
    many=({"numr": 5, "dlen": 160}, csd.SC_MAX_RANGES, "more than 4"),
    most=({"numr": 0xffffffff}, csd.SC_MAX_RANGES, "more than 4"),
    product_wraps=({"numr": 0x8000001, "dlen": 32}, csd.SC_MAX_RANGES,
                   "more than 4"),
    short=({"dlen": 63}, nvme.INVALID_FIELD, "DLEN is 63"),
    none=({"dlen": 0}, nvme.INVALID_FIELD, "DLEN is 0"),
    exec_short=({"dlen": 64 + EXEC_SIZE - 4}, nvme.INVALID_FIELD, "108 bytes"),
    exec_long=({"dlen": 64 + EXEC_SIZE + 4}, nvme.INVALID_FIELD, "116 bytes"),
    large=({"dlen": 1 << 20}, nvme.INVALID_FIELD, "bytes follow"),
    largest=({"dlen": 0xffffffff}, nvme.INVALID_FIELD, "bytes follow"),
    nowhere=({"data": Raw(1 << 40)}, nvme.DATA_TRANSFER, "fetched"),
)
def bad_data_of_an_execute_are_refused(fields, status, sentence):
    """If this breaks, ranges are read from beyond what the host sent."""
    drive = get()
    given = {"ranges": RANGES, "what": drive.exec(4), **fields}
    if not given["ranges"]:
        given["what"] = None
    for vendor in (False, True):
        drives.refused(drive, drive.execute(1, vendor=vendor, **given), status,
                       sentence)


@test_each(dw5=("dw5", False), dw14=("dw14", False), dw15=("dw15", False),
           vendor_dw4=("dw4", True), vendor_dw5=("dw5", True),
           vendor_dw15=("dw15", True))
def reserved_words_of_an_execute_are_refused(word, vendor):
    """If this breaks, a field that gets a meaning later is ignored."""
    drive = get()
    command = drive.execute_command(1, RANGES, vendor=vendor)
    command.words[word] = 1
    drives.refused(drive, drive.io.run(command), nvme.INVALID_FIELD, "reserved")


@test
def ranges_count_for_the_largest_transfer():
    """If this breaks, one command transfers more than the drive says it may."""
    drive = drives.get(slm_size=SIZE, max_ranges=255, mdts=1)
    drive.put(1, GOOD)
    ranges = RANGES + [(RESULT + 65536 + n * 4, 4) for n in range(253)]
    what = drive.exec(DATA_LEN)
    drive.must(drive.execute(1, ranges[:252], what=what))
    for vendor in (False, True):
        drives.refused(drive, drive.execute(1, ranges, what=what,
                                            vendor=vendor),
                       nvme.INVALID_FIELD, "MDTS")


TOP = (1 << 64) - 1


@test_each(
    size_small=({"size": EXEC_SIZE - 1}, "size"),
    size_large=({"size": EXEC_SIZE + 4}, "size"), size_zero=({"size": 0}, "size"),
    mode=({"mode": 2}, "mode"), mode_last=({"mode": 255}, "mode"),
    flag=({"flags": 2}, "flag"), flag_last=({"flags": 1 << 31}, "flag"),
    reserved=({"rsvd": (ctypes.c_uint8 * 3)(0, 0, 1)}, "reserved"),
    data_index=({"data_range": 2}, "data_range"),
    data_index_last=({"data_range": csd.NO_RANGE}, "data_range"),
    result_index=({"result_range": 2}, "result_range"),
    result_index_last=({"result_range": csd.NO_RANGE - 1}, "result_range"),
    result_is_data=({"result_range": 0}, "result_range"),
    no_result=({"result_range": csd.NO_RANGE}, "result_range"),
    unit=({"unit": 32769}, "unit"), unit_last=({"unit": 0xffffffff}, "unit"),
    no_data=({"data_len": 0}, "data_len"),
    long=({"data_len": DATA_LEN + 1}, "data_len"),
    longest=({"data_len": TOP}, "data_len"),
    call_wraps=({"mode": csd.CALL, "data_len": 1 << 32}, "data_len"),
    call_wraps_thrice=({"mode": csd.CALL, "data_len": 3 << 32}, "data_len"),
    call_longest=({"mode": csd.CALL, "data_len": TOP}, "data_len"),
    off=({"data_off": DATA_LEN}, "data_off"),
    off_last=({"data_off": TOP}, "data_off"),
    across=({"data_off": 4}, "data_off"),
    wraps=({"data_off": TOP - 3, "data_len": 8}, "data_off"),
    tail=({"tail_len": 1}, "tail_len"),
    tail_last=({"data_len": 4, "tail_len": 0xffffffff}, "tail_len"),
    position=({"pos": TOP - 10}, "pos"),
    cursor_reserved=({"cursor": csd.Cursor(rsvd=1)}, "reserved"),
    cursor_beyond=({"cursor": csd.Cursor(off=DATA_LEN + 4096)}, "cursor"),
    cursor_last=({"cursor": csd.Cursor(off=TOP)}, "cursor"),
    cursor_inside=({"cursor": csd.Cursor(off=100)}, "cursor"),
    cursor_of_call=({"mode": csd.CALL, "cursor": csd.Cursor(off=4096)},
                    "cursor"),
)
def bad_exec_structs_are_refused(fields, sentence):
    """If this breaks, a program sees bytes beyond its range, or results are
    written beyond theirs. Each mistake has its own sentence."""
    drive = get()
    if fields.get("result_range") == csd.NO_RANGE:
        drive.must(drive.execute(1, RANGES, what=drive.exec(
            DATA_LEN, result=False, flags=csd.EXEC_COUNT)))
    what = drive.exec(fields.get("data_len", DATA_LEN), **{
        name: value for name, value in fields.items() if name != "data_len"})
    drive.slm_write(RESULT, b"\xee" * 128)
    drives.refused(drive, drive.execute(1, RANGES, what=what),
                   nvme.INVALID_FIELD, sentence, 1)
    expect(drive.slm_read(RESULT, 128), b"\xee" * 128, "the result range")


@test
def a_result_range_without_room_is_refused():
    """If this breaks, a result is written beyond its range."""
    drive = get()
    for length in (4, RESULT_SIZE - 4):
        ranges = [(0, DATA_LEN), (RESULT, length)]
        drives.refused(drive, drive.execute(1, ranges,
                                            what=drive.exec(DATA_LEN)),
                       nvme.INVALID_FIELD, "result_range")
        drives.refused(drive, drive.execute(1, ranges), nvme.INVALID_FIELD,
                       "result_range")
    drive.must(drive.scan(1, [(0, DATA_LEN), (RESULT, RESULT_SIZE)]).done)


@test
def the_last_position_is_taken():
    """If this breaks, the end of the largest device cannot be scanned."""
    drive = get()
    drive.must(drive.scan(1, RANGES, pos=TOP - DATA_LEN).done)


@test
def executes_in_other_namespaces_are_none():
    """If this breaks, Write of the NVM set, which has the same opcode, runs a
    program, or Execute writes LBAs."""
    drive = get()
    done = drive.execute(1, RANGES, nsid=99)
    expect(hex(done.status), hex(nvme.INVALID_FIELD), "namespace 99")
    done = drive.execute(1, RANGES, nsid=0xffffffff)
    expect(done.status != 0, what=f"all namespaces: {done}")


def faulting(drive, insns, globals_=(), args=(), **more):
    drive.put(1, prog.Image(insns, list(globals_)).pack())
    return drive.scan(1, RANGES, data_len=DATA_LEN, args=args, **more)


def no_bounds():
    """Reads the byte at args[0] of the data, which nothing has checked."""
    return [prog.load64(2, 1, 0), prog.load64(3, 1, 8), prog.load64(4, 2, 32),
            prog.add_reg(3, 4), prog.insn(0x71, 0, 3), prog.mov(0, 0),
            prog.EXIT]


@test
def accesses_outside_are_faults():
    """If this breaks, a program reads the SLM behind its range, or QEMU's
    memory."""
    for jit in (True, False):
        drive = get(jit=jit)
        drive.put(1, prog.Image(no_bounds()).pack())
        drive.must(drive.scan(1, RANGES, args=(4095,)).done)
        before = list(drive.counters().faults)
        for off in (4096, -1, 1 << 31, 1 << 40, 1 << 63, -(1 << 31)):
            run = drive.scan(1, RANGES, args=(off,))
            drives.refused(drive, run.done, csd.SC_PROG_FAULT, "access|outside",
                           1)
            expect((run.result.status, run.result.fault, run.result.fault_pc,
                    run.result.cursor.off, run.result.units),
                   (csd.FAULT, csd.FAULT_ACCESS, 4, 0, 1), f"offset {off}")
        after = list(drive.counters().faults)
        expect(after[csd.FAULT_ACCESS] - before[csd.FAULT_ACCESS], 6,
               "faults counted")
        drive.must(drive.scan(1, RANGES, args=(0,)).done)


@test
def unaligned_atomics_are_faults():
    """If this breaks, an atomic operation across a line is done, or stops the
    machine."""
    drive = get()
    run = faulting(drive, [
        prog.load64(2, 1, 0), prog.load64(4, 2, 32), prog.ld_global(3, 0),
        # args[0] & 7, from the start of the global
        prog.insn(0x57, 4, imm=7), prog.add_reg(3, 4), prog.mov(5, 1),
        prog.atomic_add64(3, 0, 5), prog.mov(0, 0), prog.EXIT],
        [(bytes(16), False)], args=(3,))
    expect(hex(run.status), hex(csd.SC_PROG_FAULT), "status")
    expect((run.result.status, run.result.fault),
           (csd.FAULT, csd.FAULT_ALIGN), "result")
    expect_in("unaligned", drive.said(1), "sentence")


@test
def fuel_ends_an_execute():
    """If this breaks, a program that never returns uses an engine for ever, or
    one Execute's instructions are counted for the next."""
    drive = get(fuel=200000, deadline_ms=0)
    for _ in range(3):
        run = faulting(drive, prog.SPIN)
        drives.refused(drive, run.done, csd.SC_PROG_FAULT, "instructions", 1)
        expect((run.result.status, run.result.fault, run.result.units),
               (csd.FAULT, csd.FAULT_FUEL, 1), "result")
        expect(200000 <= run.result.retired <= 200100,
               what=f"{run.result.retired} instructions")


@test
def fuel_is_for_all_units_together():
    """If this breaks, a scan of many units may run as long as it likes."""
    drive = get(fuel=10000, deadline_ms=0)
    count = [prog.mov(0, 1000), prog.add(0, -1), prog.insn(0x55, 0, off=-2),
             prog.mov(0, 0), prog.EXIT]
    drive.put(1, prog.Image(count).pack())
    run = drive.scan(1, RANGES, unit=512)
    expect((run.result.status, run.result.fault, run.result.units,
            run.result.cursor.off), (csd.FAULT, csd.FAULT_FUEL, 5, 4 * 512),
           "result: four units of about 2,000 instructions fit")
    run = drive.scan(1, RANGES, unit=512, data_len=2048)
    drive.must(run.done)


@test
def a_fault_keeps_what_was_found_before():
    """If this breaks, the matches of good units are lost with a bad one, or the
    cursor does not name it."""
    drive = get()
    probe = prog.Image([
        prog.load64(2, 1, 0), prog.load64(3, 1, 8), prog.load64(4, 2, 8),
        # At position args[0] go where no data are.
        prog.load64(5, 2, 32), prog.mov(0, 1), prog.insn(0x5d, 4, 5, 2),
        prog.insn(0x0f, 3, 5), prog.insn(0x71, 0, 3, 32767),
        prog.mov(0, 1), prog.EXIT])
    drive.put(1, probe.pack())
    run = drive.scan(1, RANGES, unit=1024, args=(3072,))
    expect(hex(run.status), hex(csd.SC_PROG_FAULT), "status")
    expect((run.result.fault, run.result.cursor.off, run.result.nr),
           (csd.FAULT_ACCESS, 3072, 3), "result")
    expect(run.matches, [(0, 1024), (1024, 1024), (2048, 1024)], "matches")
    run = drive.scan(1, RANGES, unit=1024, args=(9999,),
                     cursor=run.result.cursor)
    drive.must(run.done)
    expect(run.matches, [(n * 1024, 1024) for n in range(3, 8)], "the rest")


if __name__ == "__main__":
    drives.run()
