#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Commands that are ended before they are done: deadlines, Abort, Delete SQ,
resets, unplugging; and what goes on beside long ones."""

import time

import csdprog as prog
import drives
import nvme_csd as csd
import nvmequeue as nvme
from csdrive import Drive, byte_source, lba_source
from ktap import cleanup, expect, test, test_each
from nvmequeue import Command

SIZE = 8 << 20
RESULT = 4 << 20
RANGES = [(0, 4096), (RESULT, 4096)]
MS = 1000 * 1000
SPIN = prog.Image(prog.SPIN).pack()
GOOD = prog.Image([prog.mov(0, 0), prog.EXIT]).pack()
# A stopped program is gone in milliseconds; a loaded machine may take longer.
SOON = 5


def get(**more):
    drive = drives.get(slm_size=SIZE, engines=2, deadline_ms=100, **more)
    drive.put(1, SPIN)
    drive.put(2, GOOD)
    return drive


def spin(drive, **fields):
    """Start an Execute that does not end, and see that it has been taken."""
    cid = drive.io.submit(drive.execute_command(
        1, RANGES, what=drive.exec(4096), **fields))
    drive.settle()
    drive.io.drain()
    expect(cid not in drive.io.waiting, what="the Execute is under way")
    return cid


def well(drive):
    """It takes commands, runs programs, and has forgotten the one that was
    interrupted."""
    drive.must(drive.scan(2, RANGES).done)
    drive.must(drive.deactivate(1), drive.activate(1))
    expect(drive.read(nvme.REG_CSTS), 1, "CSTS")


def reloaded(drive):
    """The same, after a reset."""
    drive.put(1, SPIN)
    drive.put(2, GOOD)
    well(drive)


def within(seconds, function, *args, **kwargs):
    started = time.monotonic()
    result = function(*args, **kwargs)
    took = time.monotonic() - started
    expect(took < seconds, what=f"{function.__name__} took {took:.1f} s")
    return result


@test
def deadlines_end_an_execute():
    """If this breaks, a program that does not return holds an engine for ever,
    or is ended too early."""
    drive = get()
    drive.slm_write(RESULT, b"\xee" * 128)
    cid = spin(drive)
    drive.machine.clock_step(98 * MS)
    time.sleep(0.02)
    drive.io.drain()
    expect(cid not in drive.io.waiting, what="it is still running after 98 ms")
    drive.machine.clock_step(5 * MS)
    done = drive.io.wait(cid, SOON)
    drives.refused(drive, done, csd.SC_DEADLINE, "time", 1)
    run = drive.result_at(RESULT, done)
    expect((run.result.status, run.result.fault, run.result.nr,
            run.result.cursor.off), (csd.FAULT, csd.FAULT_DEADLINE, 0, 0),
           "result")
    expect(run.result.retired > 1000, what="instructions")
    well(drive)


@test
def without_a_deadline_it_goes_on():
    """If this breaks, deadline-ms=0 does not mean that there is none."""
    drive = drives.get(slm_size=SIZE, deadline_ms=0)
    drive.put(1, SPIN)
    cid = spin(drive)
    drive.machine.clock_step(3600 * 1000 * MS)
    time.sleep(0.02)
    drive.io.drain()
    expect(cid not in drive.io.waiting, what="it is still running")
    drive.abort(drive.io, cid)
    expect(hex(drive.io.wait(cid, SOON).status), hex(nvme.ABORTED), "status")


@test
def waiting_does_not_use_up_the_deadline():
    """If this breaks, Executes behind long ones end before they began."""
    drive = get()
    first = [spin(drive), spin(drive)]
    last = spin(drive)
    drive.machine.clock_step(101 * MS)
    for cid in first:
        expect(hex(drive.io.wait(cid, SOON).status), hex(csd.SC_DEADLINE),
               "status")
    drive.settle()
    drive.machine.clock_step(50 * MS)
    time.sleep(0.02)
    drive.io.drain()
    expect(last not in drive.io.waiting, what="the third is still running")
    drive.machine.clock_step(60 * MS)
    expect(hex(drive.io.wait(last, SOON).status), hex(csd.SC_DEADLINE),
           "status")


@test
def abort_ends_a_running_execute():
    """If this breaks, a host that gives up on an Execute has to reset the
    drive, and loses all others."""
    drive = get()
    drive.slm_write(RESULT, b"\xee" * 128)
    for _ in range(10):
        cid = spin(drive)
        drive.abort(drive.io, cid)
        done = within(SOON, drive.io.wait, cid)
        expect(hex(done.status), hex(nvme.ABORTED), "status")
    expect(drive.slm_read(RESULT, 128), b"\xee" * 128, "the result range")
    expect(drive.counters().faults[csd.FAULT_ABORTED] >= 10, what="counted")
    well(drive)


@test
def abort_ends_a_waiting_execute():
    """If this breaks, an Execute that waits for an engine cannot be taken back,
    or another one goes with it."""
    drive = get()
    first = [spin(drive), spin(drive)]
    waiting = [spin(drive) for _ in range(6)]
    for cid in (waiting[3], waiting[0], waiting[5]):
        drive.abort(drive.io, cid)
        expect(hex(drive.io.wait(cid, SOON).status), hex(nvme.ABORTED),
               "status")
    left = [waiting[1], waiting[2], waiting[4]]
    drive.io.drain()
    expect(not set(left + first) & set(drive.io.waiting), what="others go on")
    for cid in first + left:
        drive.abort(drive.io, cid)
        expect(hex(drive.io.wait(cid, SOON).status), hex(nvme.ABORTED),
               "status")
    well(drive)


@test
def abort_of_what_is_not_there_does_nothing():
    """If this breaks, Abort of a command that is done ends another."""
    drive = get()
    done = drive.execute(2, RANGES)
    cid = spin(drive)
    for other in (done.cid, cid ^ 0x8000):
        drive.abort(drive.io, other)
    drive.io.drain()
    expect(cid not in drive.io.waiting, what="the other one goes on")
    drive.abort(drive.io, cid)
    drive.io.wait(cid, SOON)


@test
def deleting_a_queue_ends_its_executes():
    """If this breaks, Delete SQ waits for a program that does not end, or frees
    requests that an engine still uses; those of other queues go on."""
    drive = get()
    other = drive.create_queue(2, 16)
    kept = other.submit(drive.execute_command(1, RANGES,
                                              what=drive.exec(4096)))
    drive.settle(2)
    cids = [spin(drive) for _ in range(4)]
    within(SOON, drive.must, drive.admin.run(Command(nvme.DELETE_SQ, dw10=1)))
    for cid in cids:
        done = drive.io.wait(cid, SOON)
        expect(done.status in (nvme.ABORTED, nvme.ABORTED_SQ), what=f"{done}")
    drive.must(drive.admin.run(Command(nvme.DELETE_CQ, dw10=1)))
    other.drain()
    expect(kept not in other.waiting, what="that of the other queue goes on")
    drive.io = drive.create_queue(1, 32)
    drive.abort(other, kept)
    other.wait(kept, SOON)
    well(drive)


def busy(drive):
    """Executes on all engines and behind them, a download that is being
    verified, and a copy."""
    for _ in range(5):
        spin(drive)
    image = prog.from_object("grep").pack()
    drive.admin.submit(drive.load_command(5, image, len(image)))
    drive.io.submit(drive.copy_command(0, [lba_source(0, 8192)], 4 << 20))


@test
def controller_resets_end_everything():
    """If this breaks, a reset waits for a program that does not end, or what
    was running writes into the memory of the next host."""
    drive = get()
    for _ in range(5):
        busy(drive)
        within(SOON, drive.restart)
        reloaded(drive)


def spin_command(drive):
    return drive.execute_command(1, RANGES, what=drive.exec(4096))


def load_command(drive):
    """Of a program that takes a while to be verified."""
    image = prog.Image([prog.mov(0, 0)] * 60000 + [prog.EXIT]).pack()
    return drive.load_command(5, image, len(image))


@test_each(execute=("io", spin_command), load=("admin", load_command))
def resets_fetch_nothing_more(queue, command):
    """If this breaks, a command whose doorbell was rung just before a reset
    begins while the reset waits for another queue, and its memory is freed under
    it."""
    drive = get()
    other = drive.create_queue(2, 16)
    for _ in range(5):
        other.submit(spin_command(drive))
        drive.settle(2)
        queue_ = getattr(drive, queue)
        queue_.place(command(drive))
        drive.at_once((drive.doorbell_at(queue_.qid, 0), queue_.tail),
                      (nvme.REG_CC, drive.read(nvme.REG_CC) & ~1))
        drive.wait_ready(0)
        drive.start()
        other = drive.create_queue(2, 16)
        reloaded(drive)


@test
def function_resets_end_everything():
    """If this breaks, a PCI reset, which a host does when all else fails, hangs
    or crashes."""
    drive = get()
    for _ in range(5):
        busy(drive)
        within(SOON, drive.function_reset)
        drive.start()
        reloaded(drive)


@test
def shutdowns_end_everything():
    """If this breaks, a host cannot power down while a program runs."""
    drive = get()
    busy(drive)
    drive.write(nvme.REG_CC, drive.read(nvme.REG_CC) | 1 << 14)
    end = time.monotonic() + SOON
    while drive.read(nvme.REG_CSTS) >> 2 & 3 != 2:
        expect(time.monotonic() < end, what="shutdown completes")
    drive.restart()
    reloaded(drive)


@test_each(at_once=0, later=0.02)
def pulling_ends_everything(wait):
    """If this breaks, a drive that is pulled out in the middle of an Execute
    crashes, or never goes away."""
    host = drives.machine()
    port = drives.free_port(host)
    for _ in range(5):
        drive = Drive.plug(host, port, drives.DISK, slm_size=SIZE)
        drive.put(1, SPIN)
        drive.put(2, GOOD)
        busy(drive)
        time.sleep(wait)
        within(SOON, drive.pull)
    drive = Drive.plug(host, port, drives.DISK, slm_size=SIZE)
    cleanup(drive.pull)
    drive.put(1, SPIN)
    drive.put(2, GOOD)
    well(drive)


# Copies. The disk serves one chunk, then as virtual time goes by.

def slow(host):
    port = drives.free_port(host)
    drive = Drive.plug(host, port, host.slow_disk(16 << 20, drives.DISK),
                       slm_size=SIZE)
    return drive


def copying(drive):
    """A copy of 4 MiB, of which a part is done."""
    cid = drive.io.submit(drive.copy_command(0, [lba_source(0, 8192)], 4 << 20))
    drive.settle()
    drive.io.drain()
    expect(cid not in drive.io.waiting, what="the copy is under way")
    return cid


@test
def long_copies_block_nothing():
    """If this breaks, the drive does nothing else while a copy of many MiB
    waits for the medium."""
    host = drives.machine()
    drive = slow(host)
    cleanup(drive.pull)
    cid = copying(drive)
    drive.put(2, GOOD)
    drive.slm_write(7 << 20, b"beside!!")
    drive.must(drive.scan(2, [(7 << 20, 4096), (RESULT, 4096)]).done)
    expect(drive.slm_read(7 << 20, 8), b"beside!!", "SLM")
    drive.must(drive.copy(6 << 20, [byte_source(7 << 20, 4096)], 4096,
                          csd.COPY_BYTES))
    drive.io.drain()
    expect(cid not in drive.io.waiting, what="the copy is still under way")
    drive.must(drive.io.wait(cid, 20, step=100 * MS))
    expect(drive.slm_read(0, 4 << 20) == drives.DISK[:4 << 20], what="bytes")


@test
def abort_ends_a_copy():
    """If this breaks, a copy from a medium that does not answer cannot be
    taken back."""
    host = drives.machine()
    drive = slow(host)
    cleanup(drive.pull)
    cid = copying(drive)
    drive.abort(drive.io, cid)
    done = drive.io.wait(cid, SOON, step=100 * MS)
    expect(hex(done.status), hex(nvme.ABORTED), "status")
    drive.must(drive.copy(6 << 20, [byte_source(7 << 20, 4096)], 4096,
                          csd.COPY_BYTES))


@test_each(controller="restart", function="function_reset")
def resets_end_copies(how):
    """If this breaks, a reset waits for the medium, or a copy goes on into SLM
    after it."""
    host = drives.machine()
    drive = slow(host)
    cleanup(drive.pull)
    copying(drive)
    within(SOON, getattr(drive, how))
    if how == "function_reset":
        drive.start()
    drive.must(drive.slm_fill(0, SIZE))
    for _ in range(10):
        host.clock_step(1000 * MS)
    expect(drive.slm_read(0, SIZE) == bytes(SIZE), what="nothing more arrives")


@test
def pulling_ends_copies():
    """If this breaks, the SLM is freed under a copy into it."""
    host = drives.machine()
    for _ in range(3):
        drive = slow(host)
        copying(drive)
        within(SOON, drive.pull)
        host.clock_step(5000 * MS)


@test
def deleting_a_queue_ends_its_copies():
    """If this breaks, Delete SQ waits for the medium for ever."""
    host = drives.machine()
    drive = slow(host)
    cleanup(drive.pull)
    cid = copying(drive)
    within(SOON, drive.must, drive.admin.run(Command(nvme.DELETE_SQ, dw10=1)))
    done = drive.io.wait(cid, SOON, step=100 * MS)
    expect(done.status in (nvme.ABORTED, nvme.ABORTED_SQ), what=f"{done}")


# Many at once

@test
def engines_work_at_the_same_time():
    """If this breaks, one long program stops all others, or I/O to the LBAs."""
    drive = get()
    cid = spin(drive)
    for slba in range(20):
        drive.must(drive.scan(2, RANGES).done)
        expect(drive.nvm_read(slba, 1) == drives.DISK[slba * 512:slba * 512 +
                                                      512], what="LBAs")
    second = spin(drive)
    behind = [drive.io.submit(drive.execute_command(2, RANGES))
              for _ in range(5)]
    drive.settle()
    drive.io.drain()
    expect(not set(behind) & set(drive.io.waiting), what="all engines are busy")
    expect(drive.nvm_read(0, 1) == drives.DISK[:512], what="LBAs")
    drive.abort(drive.io, cid)
    for one in behind:
        drive.must(drive.io.wait(one, SOON))
    drive.abort(drive.io, second)
    drive.io.wait_all([cid, second], SOON)


@test_each(one=1, two=2, eight=8)
def many_executes_are_all_done(engines):
    """If this breaks, Executes are lost, done twice, or share what is theirs
    alone: each has its own arguments, result and matches."""
    drive = drives.get(slm_size=SIZE, engines=engines, max_ranges=4)
    drive.put(1, prog.from_object("probe", "probe_512_0").pack())
    drive.slm_write(0, bytes(range(256)) * 256)
    commands = []
    for n in range(100):
        at = RESULT + n * 8192
        commands.append(drive.execute_command(
            1, [(n * 512, 4096), (at, 8192)],
            what=drive.exec(4096, args=(1 + n % 2,), pos=n << 32)))
    cids = drive.io.submit_all(commands)
    for n, done in enumerate(drive.io.wait_all(cids)):
        run = drive.result_at(RESULT + n * 8192, drive.must(done))
        expect(run.matches, [((n << 32) + unit * 512, 512)
                             for unit in range(8)], f"matches of number {n}")
    expect(drive.counters().executes >= 100, what="counted")


@test
def atomics_on_shared_globals_lose_nothing():
    """If this breaks, two engines that run one program lose counts."""
    drive = drives.get(slm_size=SIZE, engines=4)
    image = prog.Image([
        prog.ld_global(2, 0), prog.mov(3, 5000), prog.mov(4, 1),
        prog.atomic_add64(2, 0, 4), prog.add(3, -1), prog.insn(0x55, 3, off=-3),
        prog.mov(0, 0), prog.EXIT], [(bytes(8), False)])
    drive.put(1, image.pack())
    cids = drive.io.submit_all([drive.execute_command(1, [(0, 4)])] * 60)
    for done in drive.io.wait_all(cids):
        drive.must(done)
    _, value = drive.globals_read(1, 0, 0, 8)
    expect(int.from_bytes(value, "little"), 60 * 5000, "count")


@test
def outstanding_commands_have_a_limit():
    """If this breaks, a host fills the drive's memory with commands, or cannot
    learn how many it takes."""
    drive = drives.get(slm_size=SIZE, engines=1, max_queued=5)
    drive.put(1, SPIN)
    cids = [spin(drive) for _ in range(5)]
    drives.refused(drive, drive.execute(1, RANGES), csd.SC_RESOURCES,
                   "outstanding")
    drives.refused(drive, drive.copy(0, [lba_source(0, 1)], 512),
                   csd.SC_RESOURCES, "outstanding")
    expect(drive.slm_read(0, 4) is not None, what="Memory Read goes on")
    for cid in cids:
        drive.abort(drive.io, cid)
        drive.io.wait(cid, SOON)
    drive.must(drive.copy(0, [lba_source(0, 1)], 512))


@test
def a_full_queue_is_worked_off():
    """If this breaks, the last place of a queue is never looked at, or a full
    completion queue loses completions."""
    drive = drives.get(slm_size=SIZE, depth=64, engines=2)
    drive.put(2, GOOD)
    for _ in range(5):
        cids = drive.io.submit_all([drive.execute_command(2, RANGES)] * 63)
        for done in drive.io.wait_all(cids):
            drive.must(done)


@test
def programs_in_use_stay():
    """If this breaks, instructions are freed while they are executed."""
    drive = get()
    cid = spin(drive)
    drives.refused(drive, drive.deactivate(1), csd.SC_PROG_IN_USE, "running", 1)
    drives.refused(drive, drive.unload(1), csd.SC_PROG_IN_USE, "running", 1)
    drives.refused(drive, drive.load(1, GOOD), csd.SC_NOT_DOWNLOADABLE)
    drive.must(drive.activate(1))	# it is already
    drive.abort(drive.io, cid)
    drive.io.wait(cid, SOON)
    drive.must(drive.deactivate(1), drive.unload(1))


@test
def two_drives_do_not_share():
    """If this breaks, two drives in one machine have one memory, one list of
    programs, or end with each other."""
    first = drives.get(1, slm_size=SIZE, engines=1)
    second = drives.get(2, slm_size=SIZE, engines=1)
    for number, drive in enumerate((first, second)):
        drive.slm_write(0, bytes([number]) * 4096)
        drive.put(1, SPIN if drive is first else GOOD)
    cid = spin(first)
    second.must(second.execute(1, RANGES))
    expect(second.slm_read(0, 4096), b"\1" * 4096, "memory of the second")
    drives.refused(second, second.unload(2), csd.SC_NO_PROGRAM)
    second.restart()
    first.io.drain()
    expect(cid not in first.io.waiting, what="the first goes on")
    expect(first.slm_read(0, 4096), bytes(4096), "memory of the first")
    drives.forget(second)
    second.pull()
    first.abort(first.io, cid)
    first.io.wait(cid, SOON)
    drives.refused(first, first.unload(9), csd.SC_NO_PROGRAM)
    expect(first.nvm_read(3, 1) == drives.DISK[1536:2048], what="LBAs")


if __name__ == "__main__":
    drives.run()
