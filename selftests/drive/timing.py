#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The timing model: what takes how long, to the nanosecond, as on paper."""

import csdprog as prog
import drives
import nvme_csd as csd
import nvmequeue as nvme
from csdrive import NVM, Drive, byte_source, lba_source
from ktap import cleanup, diag, expect, test, test_each
from nvmequeue import Buffer, Command, Prp, low_high

SIZE = 8 << 20
LATENCY, WRITE_LATENCY, OVERHEAD = 100000, 20000, 1000
CHANNELS, CHANNEL_BW, STRIPE = 4, 400 * 10 ** 6, 16384
LINK_BW, SPEED = 4 * 10 ** 9, 10 ** 9
MODEL = {
    "timing": True, "read_latency_ns": LATENCY,
    "write_latency_ns": WRITE_LATENCY, "overhead_ns": OVERHEAD,
    "channels": CHANNELS, "channel_bw": CHANNEL_BW, "stripe": STRIPE,
    "link_bw": LINK_BW, "engine_ips": SPEED,
}
# A thousand instructions for each call, or nearly.
COUNT = prog.Image([prog.mov(0, 499), prog.add(0, -1),
                    prog.insn(0x55, 0, off=-2), prog.EXIT]).pack()


def ceil(value, by):
    return -(-value // by)


def link_ns(size):
    return ceil(size * 10 ** 9, LINK_BW)


def channel_ns(size):
    return ceil(size * 10 ** 9, CHANNEL_BW)


def get(**more):
    return drives.get(slm_size=SIZE, **{**MODEL, **more})


def timed(drive, commands, queue=None):
    """When each of the commands completes, in nanoseconds after the doorbell."""
    queue = queue or drive.io
    machine = drive.machine
    usual, drive.step = drive.step, 0
    started = now = machine.clock_step(1)
    cids = queue.submit_all(commands)
    times = {}
    while len(times) < len(cids):
        for _ in range(3):	# completions are posted by the main loop
            drive.read(nvme.REG_CSTS)
        queue.drain()
        for cid in cids:
            if cid in queue.waiting and cid not in times:
                times[cid] = now - started
        if len(times) < len(cids):
            now = machine.clock_step()
            expect(now - started < 10 ** 10, what="done within ten seconds")
    drive.step = usual
    for cid in cids:
        drive.must(queue.wait(cid))
    return [times[cid] for cid in cids]


def read_command(drive, slba, blocks):
    buffer = Buffer(drive.machine.ram, blocks * 512)
    return Command(nvme.NVM_READ, NVM, Prp(buffer), dw12=blocks - 1,
                   **low_high(slba, 10))


@test
def reads_take_latency_channel_and_link():
    """If this breaks, the model's figures for ordinary reads are not those that
    the documents derive."""
    drive = get()
    expect(timed(drive, [read_command(drive, 0, 8)]),
           [OVERHEAD + LATENCY + channel_ns(4096) + link_ns(4096)], "4 KiB")
    expect(timed(drive, [read_command(drive, 0, 128)]),
           [OVERHEAD + LATENCY + channel_ns(STRIPE) + link_ns(65536)],
           "64 KiB over four channels")
    expect(timed(drive, [read_command(drive, 16, 32)]),
           [OVERHEAD + LATENCY + channel_ns(8192) + link_ns(16384)],
           "16 KiB across a stripe's end: two channels")


@test
def reads_of_one_channel_wait_for_each_other():
    """If this breaks, bandwidth is not limited: latencies overlap, bytes of a
    channel do not."""
    drive = get()
    same = [read_command(drive, n * CHANNELS * STRIPE // 512, 8)
            for n in range(8)]
    expect(timed(drive, same), [
        OVERHEAD + LATENCY + (n + 1) * channel_ns(4096) + link_ns(4096)
        for n in range(8)], "on one channel")
    other = [read_command(drive, n * STRIPE // 512, 8) for n in range(CHANNELS)]
    expect(timed(drive, other), [
        OVERHEAD + LATENCY + channel_ns(4096) + (n + 1) * link_ns(4096)
        for n in range(CHANNELS)], "on all channels: one link")


@test
def copies_take_no_link():
    """If this breaks, data that stay on the drive are said to cross the link."""
    drive = get()
    size = 1 << 20
    expect(timed(drive, [drive.copy_command(0, [lba_source(0, size // 512)],
                                            size)]),
           [OVERHEAD + LATENCY + size // STRIPE // CHANNELS *
            channel_ns(STRIPE)], "1 MiB of LBAs into SLM")
    expect(timed(drive, [drive.copy_command(
        0, [byte_source(1 << 20, 4096)], 4096, csd.COPY_BYTES)]), [OVERHEAD],
           "SLM to SLM")


@test
def memory_commands_take_the_link():
    """If this breaks, bytes between host and SLM cross a link of no width."""
    drive = get()
    for opcode in (csd.SLM_READ, csd.SLM_WRITE):
        buffer = Buffer(drive.machine.ram, 65536)
        command = drive.slm_command(opcode, 0, 65536, Prp(buffer))
        expect(timed(drive, [command] * 3),
               [OVERHEAD + n * link_ns(65536) for n in (1, 2, 3)],
               f"opcode {opcode}")
    expect(timed(drive, [drive.slm_command(csd.SLM_FILL, 0, 65536)]),
           [OVERHEAD], "Fill")


def retired(drive, pind=1):
    """Instructions of one call."""
    drive.must(drive.execute(pind, [(0, 4), (4096, 4096)]))
    return csd.Result.parse(drive.slm_read(4096, 128)).retired


def loaded(engines=2, **more):
    drive = get(engines=engines, **more)
    drive.put(1, COUNT)
    return drive


@test_each(fast=10 ** 9, slow=3 * 10 ** 6)
def executes_take_their_instructions(speed):
    """If this breaks, the time of an Execute does not follow from what it
    executed."""
    drive = loaded(engine_ips=speed)
    number = retired(drive)
    expect(900 <= number <= 1100, what=f"{number} instructions")
    expect(timed(drive, [drive.execute_command(1, [(0, 4)])]),
           [OVERHEAD + ceil(number * 10 ** 9, speed)], "one Execute")


@test_each(one=1, two=2, four=4)
def engines_share_the_work(engines):
    """If this breaks, more engines are not faster, or faster than they can
    be."""
    drive = loaded(engines)
    one = OVERHEAD + ceil(retired(drive) * 10 ** 9, SPEED)
    times = timed(drive, [drive.execute_command(1, [(0, 4)])] * 8)
    expect(sorted(times), sorted((n // engines + 1) * one for n in range(8)),
           "eight Executes")
    before = drive.counters().engine_busy_ns
    timed(drive, [drive.execute_command(1, [(0, 4)])] * 8)
    expect(drive.counters().engine_busy_ns - before, 8 * one, "busy")


@test
def the_deadline_is_modelled_time():
    """If this breaks, a slow engine has as many instructions until its deadline
    as a fast one, or the deadline is the emulator's."""
    drive = get(deadline_ms=10, engine_ips=10 ** 6)
    drive.put(1, prog.Image(prog.SPIN).pack())
    started = drive.machine.clock_step(1)
    done = drive.execute(1, [(0, 4)])
    took = drive.machine.clock_step(1) - started
    expect(hex(done.status), hex(csd.SC_DEADLINE), "status")
    expect(9 * 10 ** 6 < took < 14 * 10 ** 6, what=f"{took} ns")


@test
def two_runs_are_the_same():
    """If this breaks, a figure of the model cannot be repeated."""
    runs = []
    for number in range(2):
        drive = drives.get(100 + number, slm_size=SIZE, **MODEL)
        drive.put(1, COUNT)
        commands = []
        for n in range(40):
            commands += [read_command(drive, n * 100, 8 + n),
                         drive.copy_command(0, [lba_source(n * 64, 64)], 32768),
                         drive.execute_command(1, [(0, 4)])]
        runs.append(timed(drive, commands))
    diag(f"last of 120 commands after {max(runs[0])} ns")
    expect(runs[0] == runs[1], what="times")


@test
def what_is_late_can_be_aborted_and_reset():
    """If this breaks, a command that waits for its modelled time cannot be
    ended, or is completed after it was."""
    drive = loaded(read_latency_ns=10 ** 9)
    drive.step = 0
    cids = drive.io.submit_all([read_command(drive, 0, 8),
                                drive.copy_command(0, [lba_source(0, 8)], 4096)])
    drive.machine.clock_step(10 ** 6)
    drive.step = 1000
    for cid in cids:
        drive.abort(drive.io, cid)
    drive.step = drives.STEP
    drive.restart()
    drive.machine.clock_step(3 * 10 ** 9)
    drive.put(1, COUNT)
    drive.must(drive.execute(1, [(0, 4)]))


def write_command(drive, slba, blocks, nsid=NVM):
    buffer = Buffer(drive.machine.ram, blocks * 512)
    buffer.fill(drives.DISK[slba * 512:(slba + blocks) * 512])
    return Command(nvme.NVM_WRITE, nsid, Prp(buffer), dw12=blocks - 1,
                   **low_high(slba, 10))


ATOMIC = {"atomic.awun": 63, "atomic.awupf": 63}


@test
def atomic_writes_pass_reads_of_no_namespace():
    """If this breaks, a Read of a namespace that there is not, which is held back
    until its time, ends QEMU when a Write is compared with it."""
    drive = get(**ATOMIC)
    for nsid in (99, 0xffffffff):
        read = read_command(drive, 0, 8)
        read.nsid = nsid
        bad, good = drive.io.submit_all([read, write_command(drive, 0, 8)])
        expect(drive.io.wait(bad).status != 0, what="the Read is refused")
        drive.must(drive.io.wait(good))


@test
def atomic_writes_wait_for_what_they_overlap():
    """If this breaks, a Write that has to wait for another command keeps QEMU
    from letting time go on, and that command never ends."""
    drive = get(**ATOMIC)
    one = OVERHEAD + LATENCY + channel_ns(4096) + link_ns(4096)
    times = timed(drive, [read_command(drive, 0, 8), write_command(drive, 0, 8)])
    expect(times, [one, one + OVERHEAD + WRITE_LATENCY + channel_ns(4096) +
                   link_ns(4096)], "a Write behind a Read of the same blocks")


@test
def pulling_does_not_wait_for_modelled_time():
    """If this breaks, a drive that is pulled out leaves events behind, which
    then find nothing."""
    drive = loaded(write_latency_ns=30000)
    drive.step = 0
    drive.io.submit_all([read_command(drive, 0, 8), drive.copy_command(
        0, [lba_source(0, 8)], 4096), drive.execute_command(1, [(0, 4)])])
    drive.machine.clock_step(2000)
    drives.forget(drive)
    drive.pull()
    drive.machine.clock_step(10 ** 9)


@test
def a_disk_that_does_not_answer_is_not_waited_for_for_ever():
    """If this breaks, one request that does not end stops the whole machine, and
    its monitor with it."""
    host = drives.machine()
    port = drives.free_port(host)
    # Virtual time, by which it serves, stands still as long as it is waited for.
    drive = Drive.plug(host, port, host.slow_disk(16 << 20, drives.DISK),
                       slm_size=SIZE, start=False, **MODEL)
    cleanup(drive.pull)
    drive.step = drives.STEP
    drive.start()
    cids = drive.io.submit_all([read_command(drive, n * 256, 256)
                                for n in range(6)])
    for _ in range(100):
        host.clock_step(10 ** 7)
    drive.must(*[drive.io.wait(cid) for cid in cids])
    data = drive.nvm_read(0, 8)
    expect(data == drives.DISK[:4096], what="what is read after it")


@test
def nothing_is_timed_by_default():
    """If this breaks, a drive without a model waits for virtual time."""
    drive = drives.get(slm_size=SIZE)
    expect(drive.info().features & csd.INFO_TIMING, 0, "features")
    # Virtual time stands still.
    drive.must(drive.io.run(read_command(drive, 0, 8), step=0))


if __name__ == "__main__":
    drives.run()
