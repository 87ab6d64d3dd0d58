#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""In the guest, under icount: random reads of null_blk with one hook at a time.

One at a time, and in batches, as an application submits them that has much to
read: then a hook is needed for each of them at the same time.

One virtual nanosecond is one instruction there, so that the time of a read is the
instructions that it costs. Prints JSON, samples for each case and batch.
"""

import contextlib
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
DISK, OTHER = "/dev/nullb0", "/dev/nullb1"
BATCHES = (1, 32)


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
def tracing(program):
    """A tracing program of this folder, which sees every disk."""
    pin = f"/sys/fs/bpf/bench_{program}"
    call("bpftool", "prog", "load", f"{HERE}/{program}.bpf.o", pin, "autoattach")
    yield DISK
    os.unlink(pin)


@contextlib.contextmanager
def mapped(target, *behind):
    """A device of dm's that stacks that target on the whole disk."""
    sectors = call("blockdev", "--getsz", DISK).strip()
    call("dmsetup", "create", "bench", "--table",
         " ".join(["0", sectors, target, DISK, "0", *behind]))
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
    "fentry": lambda: tracing("fentry"),
    "tp_btf": lambda: tracing("tp_btf"),
    "dm-linear": lambda: mapped("linear"),
    # Up for an hour, down for no second: what its faults cost while none is due.
    "dm-flakey": lambda: mapped("flakey", "3600", "0"),
}


def per_read(disk, batch, reads):
    return float(call(f"{HERE}/uring_read", disk, str(batch), str(reads)))


def main(argv):
    rounds, reads = int(argv[1]), int(argv[2])
    names = argv[3:] or list(CASES)
    call("modprobe", "null_blk", "nr_devices=2")
    if "dm-flakey" in names:
        call("modprobe", "dm-flakey")
    # What is set up at the first use is not to be counted.
    for name in names:
        with CASES[name]() as disk:
            for batch in BATCHES:
                per_read(disk, batch, reads)
    samples = {(name, batch): [] for name in names for batch in BATCHES}
    for number in range(rounds):
        for name in names:
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            with CASES[name]() as disk:
                for batch in BATCHES:
                    samples[name, batch].append(per_read(disk, batch, reads))
    json.dump([{"case": name, "batch": batch, "per_read": values}
               for (name, batch), values in samples.items()], sys.stdout)


if __name__ == "__main__":
    main(sys.argv)
