#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""In the guest, under icount: random reads of null_blk with one hook at a time.

One virtual nanosecond is one instruction there, so that a second divided by the
reads of a second is the instructions that a read costs. Prints JSON, a list of
samples for each case.
"""

import contextlib
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
DISK, OTHER = "/dev/nullb0", "/dev/nullb1"
FIO = ["--rw=randread", "--bs=4k", "--iodepth=32", "--ioengine=io_uring",
       "--direct=1", "--time_based", "--ramp_time=500ms", "--randrepeat=1",
       "--norandommap", "--thread", "--gtod_reduce=1", "--output-format=json"]


def call(*words):
    """Run a command; its output is shown if it fails, and ends the run."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}")
    return done.stdout


@contextlib.contextmanager
def nothing():
    yield DISK


@contextlib.contextmanager
def attached(program, *disks):
    """That program of this folder on all these disks."""
    for disk in disks:
        call("blkbpf", "attach", f"{HERE}/{program}.bpf.o", disk)
    yield DISK
    for disk in set(disks):
        call("blkbpf", "detach", disk)


@contextlib.contextmanager
def fentry():
    pin = "/sys/fs/bpf/bench_fentry"
    call("bpftool", "prog", "load", f"{HERE}/fentry.bpf.o", pin, "autoattach")
    yield DISK
    os.unlink(pin)


@contextlib.contextmanager
def dm_linear():
    sectors = call("blockdev", "--getsz", DISK).strip()
    call("dmsetup", "create", "bench", "--table",
         f"0 {sectors} linear {DISK} 0")
    # There is no udev here to make a name in /dev/mapper.
    name = call("dmsetup", "info", "-c", "--noheadings", "-o", "blkdevname",
                "bench")
    yield "/dev/" + name.strip()
    call("dmsetup", "remove", "bench")


CASES = {
    "none": nothing,
    "other": lambda: attached("empty", OTHER),
    "empty": lambda: attached("empty", DISK),
    "match": lambda: attached("match", DISK),
    "two": lambda: attached("empty", DISK, DISK),
    "fentry": fentry,
    "dm-linear": dm_linear,
}


def iops(disk, seconds):
    out = call("fio", "--name=bench", f"--filename={disk}",
               f"--runtime={seconds}", *FIO)
    return json.loads(out)["jobs"][0]["read"]["iops"]


def main(argv):
    rounds, seconds = int(argv[1]), argv[2]
    names = argv[3:] or list(CASES)
    call("modprobe", "null_blk", "nr_devices=2")
    samples = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            with CASES[name]() as disk:
                samples[name].append(1e9 / iops(disk, seconds))
    json.dump(samples, sys.stdout)


if __name__ == "__main__":
    main(sys.argv)
