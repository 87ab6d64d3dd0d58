#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: --smp 2 --timeout 400 --mem 1G --nvme {img:64M} --nvme {img:128M:zero}
# vm: --csd {img:4M} --append slab_nomerge
"""fio verifies what it writes, on a disk and in a file system, while programs
come, go, are ejected and scan: nothing is lost, and nothing is left.

ENDURANCE_SECONDS in the environment asks for another length than the suite's:
selftests/vm/run has --env for it.
"""

import collections
import contextlib
import json
import os
import random
import subprocess
import time

import blkbpf_abi as abi
import csds
import disks
import slabs
from attaching import module_users, settled, unload_other_users
from ktap import cleanup, diag, expect, run, sh, test
from programs import Program, detach_link, update_link

SECONDS = int(os.environ.get("ENDURANCE_SECONDS") or 25)
DRIVE, DRIVE_DISK, SSDS = csds.drive_and_ssds()
# The larger one holds the file system.
RAW, FS = sorted(SSDS, key=disks.size_of)
DRIVE_SIZE = 4 << 20
DATA = disks.random_bytes(DRIVE_SIZE, values=6)
HEADS = [(pos, 4096) for pos in range(0, DRIVE_SIZE, 4096) if DATA[pos] < 3]
MOUNT = "/tmp/endurance"
CACHES = "kmalloc|blk_bpf|bio|filp|eventpoll"
# Each has to be made before the test may end, the rest may come or not.
STEPS = {"load", "attach", "detach", "replace", "scan", "scan_on_drive", "follow",
         "unload"}
ATTACHMENTS = 1000
# Objects of the kernel's that a step may leave behind in caches of others
# (dentries, per-CPU sheaves), on the average; a leak is one for each step.
GROWTH_PER_STEP = 0.25


def mount():
    sh(["mkfs.ext4", "-q", "-F", FS])
    os.makedirs(MOUNT, exist_ok=True)
    sh(["mount", "-t", "ext4", FS, MOUNT])
    cleanup(sh, ["umount", MOUNT])


def fio(name, seconds, *options):
    """Writes, reads back and compares, over and over; JSON to a file."""
    return subprocess.Popen(
        ["fio", f"--name={name}", "--thread", "--rw=randrw", "--bsrange=4k-64k",
         "--ioengine=libaio", "--direct=1", "--iodepth=8", "--verify=crc32c",
         "--verify_fatal=1", "--verify_backlog=64", "--time_based",
         f"--runtime={seconds}", "--output-format=json",
         f"--output=/tmp/{name}.json", *options], stdin=subprocess.DEVNULL)


def fio_result(process, name):
    expect(process.wait(), 0, f"status of fio on {name}")
    with open(f"/tmp/{name}.json", encoding="utf-8") as file:
        text = file.read()
    job, = json.loads(text[text.index("{"):])["jobs"]
    expect(job["error"], 0, f"error of fio on {name}")
    return job["read"]["total_ios"], job["write"]["total_ios"]


class Chaos:
    """Steps with programs, chosen at random; done says how often each."""

    def __init__(self, seed):
        self.random = random.Random(f"endurance {seed}")
        self.programs, self.links, self.streams = [], [], []
        self.done = collections.Counter()
        self.control = abi.Control()
        self.device = os.open(DRIVE_DISK, os.O_RDONLY)

    def step(self):
        step = self.random.choice((self.load, self.attach, self.attach,
                                   self.detach, self.replace, self.scan,
                                   self.scan_on_drive, self.follow, self.read,
                                   self.unload))
        if step() is not False:
            self.done[step.__name__] += 1

    def load(self):
        if len(self.programs) > 4:
            return False
        self.programs.append(Program("probe", "probe_4096_0"))
        return True

    def unload(self):
        if len(self.programs) < 2:
            return False
        self.programs.pop(self.random.randrange(len(self.programs))).close()
        return True

    def attach(self):
        """One in three returns nonsense before long, and is ejected."""
        if not self.programs or len(self.links) > 6:
            return False
        link = self.random.choice(self.programs).link()
        device = os.open(self.random.choice((RAW, FS)), os.O_RDONLY)
        wrong = self.random.randrange(3) == 0
        args = (3, 77, 16 << 20, 17 << 20) if wrong else (3,)
        try:
            number = self.control.attach(
                link, device, priority=self.random.randrange(3), args=args,
                flags=self.random.choice((0, abi.WRITES, abi.MAY_FAIL)),
                budget_ns=abi.BUDGET_NONE)
        finally:
            os.close(device)
        self.links.append((link, number))
        return True

    def detach(self):
        if not self.links:
            return False
        link, number = self.links.pop(self.random.randrange(len(self.links)))
        entry = self.control.get(number)
        self.done["ejected"] += entry.state == abi.EJECTED
        if self.random.randrange(2):
            detach_link(link)
        os.close(link)
        return True

    def replace(self):
        if not self.links or not self.programs:
            return False
        update_link(self.random.choice(self.links)[0],
                    self.random.choice(self.programs))
        return True

    def follow(self):
        if self.streams and self.random.randrange(2):
            os.close(self.streams.pop())
        elif self.links and len(self.streams) < 4:
            number = self.random.choice(self.links)[1]
            self.streams.append(self.control.stream(number, 64))
        else:
            return False
        return True

    def read(self):
        """What the programs write down is emptied, or streams only overflow."""
        for stream in self.streams:
            os.set_blocking(stream, False)
            with contextlib.suppress(BlockingIOError):
                abi.read_events(stream)
        return bool(self.streams)

    def scan(self):
        """Of a disk that is written to: the answer is not known, its end is."""
        if not self.programs:
            return False
        device = os.open(self.random.choice((RAW, FS)), os.O_RDONLY)
        try:
            found = self.control.scan(self.random.choice(self.programs).fd,
                                      device, args=(3,))
        finally:
            os.close(device)
        expect(found.status, abi.DONE, "status of a scan")
        return True

    def scan_on_drive(self):
        """And of one that is not written to: the answer is known."""
        if not self.programs:
            return False
        on_drive = self.random.randrange(2)
        found = self.control.scan(
            self.random.choice(self.programs).fd, self.device, args=(3,),
            **({"target": DRIVE, "image": csds.image("probe", "probe_4096_0")}
               if on_drive else {}))
        expect(found.matches == HEADS, what="matches of a disk at rest")
        return True

    def close(self):
        for fd in (*self.streams, *(link for link, _ in self.links),
                   self.device):
            os.close(fd)
        for program in self.programs:
            program.close()
        self.control.close()


def objects():
    """{cache: objects in use} of what modules allocate from."""
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")
    return slabs.in_use(CACHES)


def chaos_while(going, seed):
    """Counts of its steps: until going() is not, and each was made."""
    chaos = Chaos(seed)
    try:
        while going() or not STEPS <= chaos.done.keys():
            chaos.step()
    finally:
        chaos.close()
    return chaos.done


@test
def nothing_is_lost_and_nothing_is_left():
    """If this breaks, a machine that runs for a month loses data, or memory."""
    mount()
    # What grows to its size at the first use is not to be counted.
    end = time.monotonic() + SECONDS / 5
    chaos_while(lambda: time.monotonic() < end, "warm")
    with abi.Control() as control:
        control.drain()
    before = objects()
    loads = [fio("raw", SECONDS, f"--filename={RAW}"),
             fio("ext4", SECONDS, f"--directory={MOUNT}", "--size=48M")]
    for process in loads:
        cleanup(process.wait)
        cleanup(process.kill)
    done = chaos_while(lambda: any(load.poll() is None for load in loads), "run")
    for process, name in zip(loads, ("raw", "ext4")):
        reads, writes = fio_result(process, name)
        diag(f"{name}: {reads} reads and {writes} writes")
        expect(reads > 0 and writes > 0, what=f"reads and writes of {name}")
    diag(", ".join(f"{step} {nr}" for step, nr in done.most_common()))
    with abi.Control() as control:
        control.drain()
        expect(control.list()[1], 0, "attachments that are left")
    steps = sum(done.values())
    grown = slabs.still_grown(before, CACHES, 0, seconds=5)
    diag(", ".join(f"{name} {nr:+}" for name, nr in
                   sorted(grown.items(), key=lambda item: -item[1])[:6]))
    expect(max(grown.values(), default=0) <= max(GROWTH_PER_STEP * steps, 100),
           what=f"growth of a cache in {steps} steps: {grown}")


def attach_and_forget(control, program, device):
    """All that an attachment can have, for a moment."""
    link = program.link()
    number = control.attach(link, device)
    os.close(control.stream(number, 16))
    os.close(link)


@test
def a_thousand_attachments_leave_nothing():
    """If this breaks, each attachment costs memory until the next boot. So many
    that one object for each stands out of what caches keep for their CPUs."""
    program = Program("probe", "probe_4096_0")
    cleanup(program.close)
    device = disks.opened(FS)
    with abi.Control() as control:
        for _ in range(ATTACHMENTS // 10):
            attach_and_forget(control, program, device)
        control.drain()
        before = objects()
        for _ in range(ATTACHMENTS):
            attach_and_forget(control, program, device)
        control.drain()

        # One object for every tenth is more than those that others made.
        expect(slabs.still_grown(before, CACHES, ATTACHMENTS // 10), {},
               "caches that have grown")


@test
def the_modules_go_and_their_caches_are_empty():
    """If this breaks, a hook or an attachment was never freed."""
    # The kernel warns of a cache that goes with objects in it, and that is read.
    unload_other_users()
    expect(settled(module_users, 0), 0, "users of the module")
    sh(["rmmod", "blk_bpf"])
    expect([name for name in objects() if name.startswith("blk_bpf")], [],
           "caches that are left")


if __name__ == "__main__":
    disks.write_all(DRIVE_DISK, DATA)
    run()
