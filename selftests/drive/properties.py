#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The drive's properties: what is taken, and what each refusal says."""

import csdprog as prog
import drives
import nvme_csd as csd
import qtest
from csdrive import Drive, lba_source
from ktap import cleanup, expect, expect_match, expect_raises, test, test_each

GOOD = prog.Image([prog.mov(0, 0), prog.EXIT]).pack()
K, M, G = 1 << 10, 1 << 20, 1 << 30


def refusal(**properties):
    """The sentence with which device_add refuses them."""
    host = drives.machine()
    properties.setdefault("drive", host.disk(M))
    error = expect_raises(qtest.QmpError, host.plug, "nvme-csd",
                          drives.free_port(host), serial="bad", **properties)
    return error.sentence


@test_each(
    slm_small=({"slm_size": M - 4 * K}, "slm-size=1044480 is not from 1048576"),
    slm_zero=({"slm_size": 0}, "slm-size=0"),
    slm_large=({"slm_size": 64 * G + 4 * K}, "slm-size=68719480832"),
    slm_odd=({"slm_size": M + 512}, "slm-size=1049088 is not a multiple"),
    window_odd=({"slm_size": 16 * M, "slm_window": 12 * M},
                "slm-window=12582912 is not a power of two"),
    window_small=({"slm_window": M}, "slm-window=1048576"),
    window_large=({"slm_size": 4 * M, "slm_window": 8 * M},
                  "slm-window=8388608"),
    programs_none=({"max_programs": 0}, "max-programs=0 is not from 1 to 65535"),
    programs_many=({"max_programs": 65536}, "max-programs=65536"),
    active_none=({"max_active": 0}, "max-active=0 is not from 1 to 16"),
    active_many=({"max_active": 17}, "max-active=17 is not from 1 to 16"),
    program_small=({"max_program_size": K}, "max-program-size=1024"),
    program_large=({"max_program_size": 65 * M}, "max-program-size=68157440"),
    total_small=({"max_program_total": M - 1}, "max-program-total=1048575"),
    globals_large=({"max_globals": G + 1}, "max-globals=1073741825"),
    ranges_none=({"max_ranges": 0}, "max-ranges=0 is not from 1 to 255"),
    ranges_many=({"max_ranges": 256}, "max-ranges=256"),
    sets_none=({"max_range_sets": 0}, "max-range-sets=0"),
    sets_many=({"max_range_sets": 65536}, "max-range-sets=65536"),
    queued_none=({"max_queued": 0}, "max-queued=0"),
    queued_many=({"max_queued": 65537}, "max-queued=65537"),
    engines_none=({"engines": 0}, "engines=0 is not from 1 to"),
    engines_many=({"engines": 1000}, "engines=1000"),
    deadline_long=({"deadline_ms": 3600001}, "deadline-ms=3600001"),
    copy_small=({"max_copy": 4092}, "max-copy=4092"),
    copy_large=({"max_copy": G + 1}, "max-copy=1073741825"),
    unreachable_word=({"unreachable": "1:x"}, "'x' is no namespace"),
    unreachable_zero=({"unreachable": "0"}, "'0' is no namespace"),
    unreachable_large=({"unreachable": "1:100000"}, "'100000' is no namespace"),
    lie_word=({"lie": "no-memory:none-such"}, "there is no lie 'none-such'.*list"),
    lie_nothing=({"lie": "no-memory:"}, "there is no lie ''"),
    preset=({"timing": True, "timing_preset": "z80"},
            "timing-preset=z80.*p5800x"),
    channels=({"timing": True, "channels": 1025}, "channels=1025"),
    stripe=({"timing": True, "stripe": 1000}, "stripe=1000"),
    speed=({"timing": True, "engine_ips": 0}, "engine-ips=0"),
    latency=({"timing": True, "read_latency_ns": 2 * 10 ** 9}, "second"),
    overhead=({"timing": True, "overhead_ns": 2 * 10 ** 9}, "second"),
    own_cmb=({"cmb_size_mb": 2}, "cmb_size_mb.*slm-window"),
    virtual_functions=({"sriov_max_vfs": 2}, "sriov_max_vfs"),
    no_disk=({"drive": "none-such"}, "none-such"),
)
def bad_values_are_refused(properties, sentence):
    """If this breaks, a typing error makes a drive that nobody wanted, or a
    sentence does not say which property is wrong and what it may be."""
    expect_match(sentence, refusal(**properties), "sentence")


@test
def a_refused_drive_leaves_nothing():
    """If this breaks, the slot or the disk of a drive that was refused cannot
    be used again."""
    host = drives.machine()
    disk = host.disk(M)
    for _ in range(20):
        refusal(drive=disk, slm_size=0)
        refusal(drive=disk, fault="x")
        refusal(drive=disk, timing_preset="x", timing=True)
    drive = Drive.plug(host, drives.free_port(host), disk)
    cleanup(drive.pull)
    expect(drive.info().slm_nsid, 2, "SLM")


@test
def limits_are_taken():
    """If this breaks, the least or most of a property that its sentence allows
    makes a drive that does not work."""
    least = drives.get(slm_size=M, max_programs=1, max_active=1,
                       max_program_size=4 * K, max_program_total=4 * K,
                       max_globals=0, max_ranges=1, max_range_sets=1,
                       max_queued=1, engines=1, max_copy=4 * K, fuel=1)
    least.must(least.load(1, GOOD), least.activate(1),
               least.range_set([(0, M)]), least.execute(1, rsid=1),
               least.copy(M - 4096, [lba_source(0, 8)], 4096))
    most = drives.get(slm_size=64 * M, max_programs=65535, max_active=65535,
                      max_program_size=64 * M, max_program_total=4 * G,
                      max_globals=G, max_ranges=255, max_range_sets=65535,
                      max_queued=65536, engines=32, deadline_ms=3600000,
                      fuel=(1 << 64) - 1, max_copy=G)
    most.must(most.load(65535, GOOD), most.activate(65535))
    done = most.must(most.range_set([(n * 4096, 4) for n in range(255)]))
    most.must(most.execute(65535, rsid=done.dw0, what=most.exec(
        4, result=False, flags=csd.EXEC_COUNT)))
    status, data = most.log(csd.LOG_PROGRAMS, 128, offset=64 * 65535)
    expect((status, data[64]), (0, csd.PEOCC_DOWNLOADED | csd.PEOCC_ACTIVE),
           "the last program in log 82h")


@test
def defaults_are_those_of_the_documents():
    """If this breaks, a drive without options is another one than described."""
    info = drives.get().info()
    expect((info.slm_size, info.window_size, info.max_programs, info.max_active,
            info.max_prog_bytes, info.max_total_bytes, info.max_globals,
            info.max_ranges, info.max_range_sets, info.max_queued, info.engines,
            info.deadline_ns, info.fuel, info.max_copy, info.features),
           (64 * M, 0, 16, 8, M, 16 * M, M, 16, 64, 256, 2, 100 * 10 ** 6, 0,
            16 * M, csd.INFO_JIT), "log D0h")


@test
def several_drives_in_one_machine():
    """If this breaks, a server has one drive at most."""
    found = [drives.get(number, slm_size=2 * M) for number in range(3)]
    for number, drive in enumerate(found):
        drive.put(1, GOOD)
        drive.slm_write(0, bytes([number]) * 64)
    for number, drive in enumerate(found):
        expect(drive.slm_read(0, 64), bytes([number]) * 64, "memory")
        drive.must(drive.execute(1, [(0, 64)]))


@test
def plugging_and_pulling_leaves_nothing():
    """If this breaks, drives that come and go use QEMU's memory or threads up."""
    host = drives.machine()
    port = drives.free_port(host)
    disk = host.disk(M)

    def threads():
        with open(f"/proc/{host.process.pid}/status", encoding="ascii") as file:
            return int(next(line for line in file
                            if line.startswith("Threads")).split()[1])

    before = None
    for turn in range(12):
        drive = Drive.plug(host, port, disk, slm_size=4 * M, engines=5)
        drive.put(1, GOOD)
        drive.slm_write(0, bytes(4 * M))
        drive.must(drive.execute(1, [(0, 64)]))
        drive.pull()
        if turn == 1:
            before = threads()
    expect(threads() <= before + 2, what=f"{threads()} threads, {before} before")


if __name__ == "__main__":
    drives.run()
