#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""In the guest, under icount: what a scan adds to each unit.

An empty filter is scanned with over the same disk, cut into units of three
sizes. The reads are the same each time, and so are the breaths, that is, the
units that are run in one go, but for the smallest size; what differs is the
number of units and of breaths, and that gives the cost of each:

    time(unit) = reads + units * U + breaths * B

The cost of a 4 KiB unit is U and its share of a breath. U has the call in it and
the empty program's own instructions, 9 or so. Prints JSON, samples of that.
"""

import json
import sys

from guest_hook import HERE, call

DISK = "/dev/nullb0"
MIB = 512
PIN = "/sys/fs/bpf/bench_unit"
# As in drivers/blk_bpf/chunk.c.
BREATH_BYTES, BREATH_UNITS = 64 << 10, 16


def breath(unit):
    """Units in a breath."""
    return max(1, min(BREATH_BYTES // unit, BREATH_UNITS))


def scan(unit):
    """Instructions of the ioctl."""
    out = call("blkbpf", "-j", "scan", "--count", "--stats", "--threads", "1",
               "--unit", str(unit), "--range", f"0:{MIB}M", PIN, DISK)
    return json.loads(out)["stats"]["time_ns"]


def per_unit():
    size = MIB << 20
    whole = {unit: scan(unit) for unit in (512, 4096, 32768)}
    units = {unit: size // unit for unit in whole}
    breaths = {unit: units[unit] // breath(unit) for unit in whole}
    if breaths[4096] != breaths[32768]:
        sys.exit("guest_unit.py does not know how chunk.c cuts a scan any more")
    cost = (whole[4096] - whole[32768]) / (units[4096] - units[32768])
    between = ((whole[512] - whole[32768]
                - cost * (units[512] - units[32768]))
               / (breaths[512] - breaths[32768]))
    return cost + between / breath(4096)


def main(argv):
    call("modprobe", "null_blk", "nr_devices=1", "irqmode=0", "gb=1")
    call("blkbpf", "prog", "load", f"{HERE}/empty.bpf.o", "--pin", PIN)
    # The first scan of a size sets things up, which is not to be counted.
    per_unit()
    json.dump([per_unit() for _ in range(int(argv[1]))], sys.stdout)


if __name__ == "__main__":
    main(sys.argv)
