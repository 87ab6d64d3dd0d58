#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Faults on demand: commands that fail, are late, hang, or arrive damaged."""

import time

import csdprog as prog
import drives
import nvme_csd as csd
import nvmequeue as nvme
import qtest
from csdrive import byte_source, lba_source
from ktap import expect, expect_match, expect_raises, test, test_each

SIZE = 2 << 20
MS = 1000 * 1000
GOOD = prog.Image([prog.mov(0, 0), prog.EXIT], [(bytes(8), False)]).pack()
RANGES = [(0, 4096), (1 << 20, 4096)]


def get():
    drive = drives.get(slm_size=SIZE, engines=1)
    drive.put(1, GOOD)
    drive.must(drive.enable_copy_formats())
    return drive


# Every event, and a command that it belongs to.
EVENTS = {
    "load": lambda drive: drive.load(3, GOOD),
    "activate": lambda drive: drive.activate(1),
    "range-set": lambda drive: drive.range_set([(0, 4)]),
    "execute": lambda drive: drive.execute(1, RANGES),
    "slm-read": lambda drive: drive.io.run(drive.slm_command(
        csd.SLM_READ, 0, 4096, drive.pointer(bytes(4096)))),
    "slm-write": lambda drive: drive.io.run(drive.slm_command(
        csd.SLM_WRITE, 0, 4096, drive.pointer(bytes(4096)))),
    "slm-fill": lambda drive: drive.slm_fill(0, 4096),
    "slm-copy": lambda drive: drive.copy(0, [lba_source(0, 1)], 512),
    "nvm-copy": lambda drive: drive.nvm_copy(0, [byte_source(0, 512)]),
    "globals": lambda drive: drive.globals_read(1, 0, 0, 4)[0],
}


@test_each(**{name: name for name in EVENTS})
def the_next_command_fails(event):
    """If this breaks, a host cannot be tested against a failing command, or
    another command than the one that was named fails."""
    drive = get()
    for status in (csd.SC_RESOURCES, nvme.INTERNAL, 0x281, 0x7ff):
        drive.set_fault(f"{event}:fail={status:#x}")
        for other in EVENTS:
            if other not in (event, "load", "activate"):
                drive.must(EVENTS[other](drive))
        done = EVENTS[event](drive)
        expect(hex(done.status), hex(status), "status")
        drives.refused(drive, done, status, "demand")
        done = EVENTS[event](drive)
        drive.must(done)
        if event == "load":
            drive.must(drive.unload(3))


@test
def the_third_fails_and_no_other():
    """If this breaks, a fault comes too early or too late, or twice."""
    drive = get()
    drive.set_fault("slm-fill@3:fail=0x006;slm-fill@5:fail=0x189")
    found = [drive.slm_fill(0, 4).status for _ in range(8)]
    expect(found, [0, 0, 6, 0, 0x189, 0, 0, 0], "statuses")
    drive.set_fault("slm-fill@*:fail=0x006")
    expect([drive.slm_fill(0, 4).status for _ in range(5)], [6] * 5, "every one")
    drive.set_fault("")
    expect(drive.slm_fill(0, 4).status, 0, "none")


@test
def refused_commands_of_the_program_change_nothing():
    """If this breaks, a command that fails on demand has its effect all the
    same, and a host that repeats it sees another error."""
    drive = get()
    drive.slm_write(0, b"kept")
    for event in ("slm-fill", "slm-write", "slm-copy"):
        drive.set_fault(f"{event}:fail=0x006")
        expect(EVENTS[event](drive).status, 6, event)
        expect(drive.slm_read(0, 4), b"kept", f"memory after {event}")
    drive.set_fault("range-set:fail=0x006")
    EVENTS["range-set"](drive)
    expect(drive.must(EVENTS["range-set"](drive)).dw0, 1, "first RSID")


@test_each(**{name: name for name in EVENTS if name != "load"})
def delays_take_their_time(event):
    """If this breaks, a host cannot be tested against a slow drive: the command
    is done late, and then right."""
    drive = get()
    queue = drive.admin if event in ("activate", "range-set") else drive.io
    drive.set_fault(f"{event}:delay=250")
    seen = []
    run = queue.run

    def submit_only(command, timeout=30, step=None):
        seen.append(queue.submit(command))
        return nvme.Completion(seen[0], 0, 0, 0, 0)

    queue.run = submit_only
    EVENTS[event](drive)
    queue.run = run
    drive.machine.clock_step(249 * MS)
    drive.settle()
    queue.drain()
    expect(seen[0] not in queue.waiting, what="it is not done after 249 ms")
    drive.machine.clock_step(2 * MS)
    drive.must(queue.wait(seen[0], 5))


@test_each(**{name: name for name in EVENTS if name not in
              ("load", "activate", "range-set")})
def hung_commands_can_be_aborted(event):
    """If this breaks, a host cannot be tested against a drive that hangs, or
    the drive hangs for good."""
    drive = get()
    drive.set_fault(f"{event}:hang")
    seen = []
    run = drive.io.run

    def submit_only(command, timeout=30, step=None):
        seen.append(drive.io.submit(command))
        return nvme.Completion(seen[0], 0, 0, 0, 0)

    drive.io.run = submit_only
    EVENTS[event](drive)
    drive.io.run = run
    drive.settle()
    drive.machine.clock_step(60 * 1000 * MS)
    time.sleep(0.02)
    drive.io.drain()
    expect(seen[0] not in drive.io.waiting, what="it hangs for a minute")
    drive.abort(drive.io, seen[0])
    expect(hex(drive.io.wait(seen[0], 5).status), hex(nvme.ABORTED), "status")
    drive.must(EVENTS[event](drive))


@test
def hung_executes_hold_their_engine():
    """If this breaks, a hung engine is not one: others of its Executes run."""
    drive = get()
    drive.set_fault("execute:hang")
    hung = drive.io.submit(drive.execute_command(1, RANGES))
    behind = drive.io.submit(drive.execute_command(1, RANGES))
    drive.settle()
    drive.machine.clock_step(1000 * MS)
    drive.io.drain()
    expect(behind not in drive.io.waiting, what="the next one waits")
    drive.abort(drive.io, hung)
    drive.must(drive.io.wait(behind, 5))
    expect(hex(drive.io.wait(hung, 5).status), hex(nvme.ABORTED), "status")


@test_each(controller="restart", pull="pull")
def resets_end_what_hangs_and_what_is_late(how):
    """If this breaks, a drive with a hung command cannot be reset or pulled."""
    drive = get()
    drive.set_fault("execute@1:hang;slm-copy:delay=1000;slm-fill:hang;"
                    "range-set:hang;globals:delay=5;slm-read:hang")
    for command in (drive.execute_command(1, RANGES),
                    drive.execute_command(1, RANGES),
                    drive.copy_command(0, [lba_source(0, 1)], 512),
                    drive.slm_command(csd.SLM_FILL, 0, 4),
                    drive.slm_command(csd.SLM_READ, 0, 4,
                                      drive.pointer(bytes(4))),
                    drive.globals_command(csd.CP_GLOBALS_READ, 1, 0, 0, 4,
                                          drive.pointer(bytes(4)))):
        drive.io.submit(command)
    drive.admin.submit(drive.range_set_command([(0, 4)]))
    drive.settle()
    if how == "pull":
        drives.forget(drive)
        drive.pull()
        drive.machine.clock_step(2000 * MS)
        return
    drive.restart()
    drive.machine.clock_step(2000 * MS)
    drive.put(1, GOOD)
    drive.must(drive.execute(1, RANGES))


@test
def downloads_are_damaged_on_demand():
    """If this breaks, a damaged download is not noticed."""
    drive = get()
    image = prog.from_object("records").pack()
    for nth in (1, 2, 5):
        drive.set_fault(f"load@{nth}:corrupt")
        drives.refused(drive, drive.load(3, image, chunk=64),
                       csd.SC_BAD_PROG_DATA, "image", 3)
        drive.must(drive.load(3, image, chunk=64))
        drive.must(drive.unload(3))


@test
def late_loads_are_verified_late():
    """If this breaks, a delayed download is lost."""
    drive = get()
    drive.set_fault("load:delay=100")
    cid = drive.admin.submit(drive.load_command(3, GOOD, len(GOOD)))
    drive.settle()
    drive.admin.drain()
    expect(cid not in drive.admin.waiting, what="it is late")
    drive.must(drive.admin.wait(cid, 5, step=50 * MS))
    drive.must(drive.activate(3))


@test_each(
    no_command=("read:hang", "'read' is no command"),
    no_action=("load", "COMMAND"), empty_action=("load:", "no action"),
    unknown=("load:explode", "no action"), which_zero=("load@0:hang", "@0"),
    which_word=("load@x:hang", "@x"), no_status=("load:fail", "no action"),
    status_zero=("load:fail=0", "0x001"), status_large=("load:fail=0x800",
                                                       "0x7ff"),
    status_word=("load:fail=bad", "no action"), no_time=("load:delay", "delay"),
    long_time=("load:delay=3600001", "an hour"),
    value_of_hang=("execute:hang=1", "no action"),
    corrupt_execute=("execute:corrupt", "corrupt for load"),
    second=("load:hang;execute:x", "no action"),
)
def bad_specifications_are_refused(spec, sentence):
    """If this breaks, a typing error in a test makes it pass; or the faults that
    were there are lost with a bad one."""
    drive = get()
    drive.set_fault("slm-fill@2:fail=6")
    error = expect_raises(qtest.QmpError, drive.set_fault, spec)
    expect_match(sentence, error.sentence, "sentence")
    host = drives.machine()
    error = expect_raises(
        qtest.QmpError, host.plug, "nvme-csd", drives.free_port(host),
        serial="bad", drive=host.disk(1 << 20), fault=spec)
    expect_match(sentence, error.sentence, "sentence of device_add")
    expect([drive.slm_fill(0, 4).status for _ in range(3)], [0, 6, 0],
           "statuses: the fault that was there")


@test
def faults_can_be_there_from_the_start():
    """If this breaks, the first commands of a host cannot be made to fail."""
    drive = drives.get(slm_size=SIZE, fault="load@2:fail=0x18a")
    expect([drive.load(1, GOOD).status, drive.load(2, GOOD).status],
           [0, 0x18a], "statuses")


if __name__ == "__main__":
    drives.run()
