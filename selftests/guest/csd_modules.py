#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 900 --csd {img:2M},fault=execute@*:delay=5
"""blk_bpf, nvme_csd and nvme are loaded and unloaded in every order, idle and while
scans and fio run: each time it is done, or refused because of what uses it."""

import itertools
import os
import random
import re
import subprocess
import threading

import csds
import disks
from attaching import module_users, settled
from ktap import diag, expect, fail, run, sh, test

SAMPLES = os.environ["BLKBPF_SAMPLES"]
SIZE = 2 << 20
DATA = disks.random_bytes(SIZE, values=6)
NEEDLE = b"\x01\x02\x03\x04\x05\x01"
PLACES = [match.start() for match in
          re.finditer(b"(?=" + re.escape(NEEDLE) + b")", DATA)]
ANSWER = "".join(f"{place} {len(NEEDLE)}\n" for place in PLACES)
OPERATIONS = 16
MODULES = ("blk_bpf", "nvme_csd", "nvme")
# rmmod looks first, and the kernel when somebody has come in between.
IN_USE = re.compile("in use|temporarily unavailable")


def loaded():
    with open("/proc/modules", encoding="ascii") as file:
        names = {line.split()[0] for line in file}
    return {name for name in MODULES if name in names}


def load(name):
    command = ["modprobe", name] if name == "nvme" else \
        ["insmod", f"/usr/lib/vm/{name}.ko"]
    return sh(command, check=False)


def unload(name):
    return sh(["rmmod", name], check=False)


def scan(target, path):
    return subprocess.run(
        ["blkbpf", "scan", "--on", target, "--set", f"needle=hex:{NEEDLE.hex()}",
         f"{SAMPLES}/grep.bpf.o", path], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False, timeout=300)


def is_disk(name):
    if not re.fullmatch(r"nvme\d+n\d+", name):
        return False
    try:
        return disks.read_attribute(f"/sys/block/{name}/hidden") == "0"
    except OSError:
        # It has gone since its name was read.
        return False


def disk():
    """The drive's own; None while there is none."""
    names = [name for name in os.listdir("/sys/block") if is_disk(name)]
    return f"/dev/{names[0]}" if names else None


def let_go():
    """A program is freed a grace period after the command that had it ended."""
    if "nvme_csd" not in loaded():
        expect(settled(module_users, 0), 0, "users of blk_bpf")


def check_all():
    """All is loaded, and works."""
    for name in MODULES:
        if name not in loaded():
            done = load(name)
            expect(done.returncode, 0, f"loading {name}: {done.stderr}")
    drive = csds.wait_for_number(1)[0]
    path = csds.disk_of(drive)
    disks.wait_for_node(path)
    for target in (drive, "kernel"):
        done = scan(target, path)
        expect(done.returncode, 0, f"a scan on {target}: {done.stderr}")
        expect(done.stdout, ANSWER, f"on {target}")


@test
def idle_in_every_order():
    """If this breaks, a module can be unloaded under another, or an order of
    loading finds no drive."""
    orders = list(itertools.permutations(MODULES))
    for out, back in zip(orders, reversed(orders)):
        for name in out:
            if name == "blk_bpf":
                let_go()
            done = unload(name)
            if name == "blk_bpf" and "nvme_csd" in loaded():
                expect(done.returncode != 0, what=f"{out}: blk_bpf is needed")
                expect("in use" in done.stderr, what=done.stderr)
            else:
                expect(done.returncode, 0, f"{out}, {name}: {done.stderr}")
        if "blk_bpf" in loaded():
            let_go()
            expect(unload("blk_bpf").returncode, 0, "blk_bpf at last")
        expect(loaded(), set(), "what is loaded")
        for name in back:
            done = load(name)
            if name == "nvme_csd" and "blk_bpf" not in loaded():
                expect(done.returncode != 0, what="nvme_csd without blk_bpf")
                expect("nvme_csd" in loaded(), False, "nvme_csd is loaded")
            else:
                expect(done.returncode, 0, f"{back}, {name}: {done.stderr}")
        check_all()


class Load:
    """Scans on the drive and in the kernel, and fio, until told to stop; whatever
    ends well has to be right."""

    def __init__(self):
        self.stop = threading.Event()
        self.failures, self.right = [], {"drive": 0, "kernel": 0, "fio": 0}
        self.threads = [threading.Thread(target=self.guard, args=(work,))
                        for work in (self.on_drive, self.in_kernel, self.fio)]
        for thread in self.threads:
            thread.start()

    def guard(self, work):
        while not self.stop.is_set():
            try:
                work()
            except BaseException as error:
                self.failures.append(error)
                return
            self.stop.wait(0.05)

    def take(self, what, done):
        if done.returncode:
            return
        if done.stdout != ANSWER:
            fail(f"a wrong answer of {what}")
        self.right[what] += 1

    def on_drive(self):
        names, path = csds.drives(), disk()
        if names and path:
            self.take("drive", scan(names[0], path))

    def in_kernel(self):
        path = disk()
        if path:
            self.take("kernel", scan("kernel", path))

    def fio(self):
        path = disk()
        if path:
            done = sh(["fio", "--name=load", f"--filename={path}", "--rw=randread",
                       "--bs=4k", "--direct=1", "--thread", "--iodepth=4",
                       "--ioengine=libaio", "--size=1M"], check=False)
            self.right["fio"] += not done.returncode

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(300)
            expect(thread.is_alive(), False, "still at work")
        expect(self.failures, [], "failures under load")
        return self.right


@test
def under_load():
    """If this breaks, a module goes while a scan runs in it, or a scan takes what
    a module had for something else."""
    check_all()
    source, ends = random.Random(1), {"done": 0, "refused": 0}
    work = Load()
    try:
        for _ in range(OPERATIONS):
            name = source.choice(MODULES)
            there = name in loaded()
            done = unload(name) if there else load(name)
            expect(done.returncode >= 0, what=f"{name}: a signal")
            if done.returncode and there:
                expect(IN_USE.search(done.stderr), what=f"unloading {name}: "
                       f"{done.stderr}")
            diag(f"{'unload' if there else 'load'} {name}: {done.returncode} "
                 f"{done.stderr.strip()}")
            ends["refused" if done.returncode else "done"] += 1
            work.stop.wait(source.random())
    finally:
        right = work.end()
    diag(f"{ends}, {right}")
    expect(ends["done"] > 3, what=f"ends of {OPERATIONS}: {ends}")
    check_all()


@test
def load_goes_on_when_all_is_back():
    """If this breaks, something was lost while modules came and went."""
    check_all()
    work = Load()
    while min(work.right.values()) < 2 and not work.failures:
        work.stop.wait(0.1)
    work.end()


if __name__ == "__main__":
    csds.wait_for_drives(["csd0"])
    disks.write_all(disk(), DATA)
    run()
