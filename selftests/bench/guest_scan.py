#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""In the guest, under icount: scans by the kernel and by C in user space.

All run the same filters over the same disks, and must find the same. A disk
of null_blk costs instructions for copying its data; an NVMe disk writes it to
memory itself and lets the CPU idle, which does not count. In user space there is
C over io_uring and O_DIRECT, which is what the kernel does, too; and on null_blk,
where two runs are alike, through an empty page cache by read() and by mmap(), and
grep -c, which counts the lines that hold the text. Prints JSON, a list of
instructions per MiB for each disk, filter and way.
"""

import json
import os
import re
import sys
import time

from guest_hook import HERE, call

IMAGE = "/dev/nvme0n1"
COPY = "/dev/nullb0"
SAMPLES = os.environ["BLKBPF_SAMPLES"]
URING = f"{HERE}/uring_filter"

NEEDLE = "EXPORT_SYMBOL_GPL"
# A key begins with a tab in one of 256 texts' records, and so on.
RECORDS = {"key_min": 0x0900000000000000, "key_max": 0x09ffffffffffffff,
           "value_min": 0, "value_max": 0x6fffffff}

# "read" has a filter that looks at nothing: what the reading alone costs.
KERNEL = {
    "read": (f"{HERE}/empty.bpf.o", {}),
    "grep": (f"{SAMPLES}/grep.bpf.o", {"needle": NEEDLE}),
    "records": (f"{SAMPLES}/records.bpf.o", RECORDS),
}
USER = {
    "read": ["none"],
    "grep": ["grep", NEEDLE],
    "records": ["records", *(str(value) for value in RECORDS.values())],
}


def make_copy(mib):
    """A null_blk that holds in memory what the image holds."""
    folder = "/sys/kernel/config/nullb/nullb0"
    call("modprobe", "null_blk", "nr_devices=0")
    if not os.path.ismount("/sys/kernel/config"):
        call("mount", "-t", "configfs", "none", "/sys/kernel/config")
    os.mkdir(folder)
    for name, value in (("blocksize", 4096), ("size", mib),
                        ("memory_backed", 1), ("max_sectors", 1024),
                        ("power", 1)):
        with open(f"{folder}/{name}", "w", encoding="ascii") as file:
            file.write(str(value))
    call("dd", f"if={IMAGE}", f"of={COPY}", "bs=1M", "iflag=direct",
         "oflag=direct")


def idle_ns():
    """What this CPU has idled since boot."""
    with open("/proc/timer_list", encoding="ascii") as file:
        return int(re.search(r"\.idle_sleeptime\s*: (\d+)", file.read())[1])


def busy_ns(command):
    """The virtual nanoseconds, that is instructions, that a command takes."""
    idle, began = idle_ns(), time.monotonic_ns()
    call(*command)
    return time.monotonic_ns() - began - (idle_ns() - idle)


def by_kernel(name, disk, *options):
    return ["blkbpf", "scan", *options, f"/sys/fs/bpf/bench/{name}", disk]


def by_user(name, disk, *options):
    return [URING, *options, disk, *USER[name]]


def ways_of(name, disk):
    """{way: its command}"""
    ways = {"user": by_user(name, disk),
            "kernel": by_kernel(name, disk, "--count")}
    if disk == COPY:
        ways["read"] = by_user(name, disk, "-r")
        # A mapping that nobody looks at is not read.
        if name != "read":
            ways["mmap"] = by_user(name, disk, "-m")
        if name == "grep":
            ways["grep -c"] = ["grep", "-a", "-c", "-F", NEEDLE, disk]
    return ways


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")


def sample(command, mib):
    """Instructions per MiB, with nothing of the disk in memory."""
    drop_caches()
    return busy_ns(command) / mib


def positions(text):
    return [int(line.split()[0]) for line in text.splitlines()]


def check_answers(disk):
    """Different answers would make the figures worthless."""
    for name in ("grep", "records"):
        ours = positions(call(*by_kernel(name, disk)))
        theirs = positions(call(*by_user(name, disk, "-p")))
        if not ours or ours != theirs:
            sys.exit(f"{name} on {disk}: the kernel finds {len(ours)} matches, "
                     f"{URING} {len(theirs)}, and they differ")
        print(f"{name} on {disk}: both find the same {len(ours)} matches",
              file=sys.stderr)
        for option in ("-r", "-m"):
            if positions(call(*by_user(name, disk, option, "-p"))) != ours:
                sys.exit(f"{name} on {disk}: {URING} {option} finds others")


def load():
    os.makedirs("/sys/fs/bpf/bench", exist_ok=True)
    for name, (path, variables) in KERNEL.items():
        settings = [word for item in variables.items()
                    for word in ("--set", "=".join(map(str, item)))]
        call("blkbpf", "prog", "load", path, "--pin",
             f"/sys/fs/bpf/bench/{name}", *settings)


def main(argv):
    rounds = int(argv[1])
    with open("/sys/class/block/nvme0n1/size", encoding="ascii") as file:
        mib = int(file.read()) >> 11
    load()
    make_copy(mib)
    samples = []
    for disk in (COPY, IMAGE):
        check_answers(disk)
        for name in KERNEL:
            for way, command in ways_of(name, disk).items():
                print(f"{rounds} rounds of {name} by the {way} on {disk}",
                      file=sys.stderr)
                samples.append({
                    "disk": disk, "way": way, "filter": name,
                    "per_mib": [sample(command, mib)
                                for _ in range(rounds)]})
    json.dump(samples, sys.stdout)


if __name__ == "__main__":
    main(sys.argv)
