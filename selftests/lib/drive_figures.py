#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""In a guest under --icount: what the timing model makes of a few commands.

Prints a line for each figure, its name and nanoseconds. host/drive_timing.py
starts the guest with the drives that this expects, and knows what the figures
should be; see Documentation/drive.rst.
"""

import ctypes
import struct
import subprocess
import sys

import csdprog
import nvme_csd as csd
from ngdrive import Drive

_CMD = struct.Struct("<BBHIIIQQII6III")
LBA = 512
KIB, MIB = 1 << 10, 1 << 20
LOOPS = 250000


def uring_command(opcode, nsid, size, data=b"", dw2=0, dw3=0, **dws):
    """As ngtime wants it: @size bytes are received, @data are sent."""
    words = [dws.get(f"dw{n}", 0) for n in range(10, 16)]
    return _CMD.pack(opcode, 0, 0, nsid, dw2, dw3, 0, 0, 0,
                     len(data) or size, *words, 0, 0) + data


def timed(drive, nsid, depth, commands):
    """Run them; when each began and ended."""
    done = subprocess.run(
        ["/selftests/bin/ngtime", drive.nodes[nsid], str(depth)],
        input=b"".join(commands), stdout=subprocess.PIPE, check=True)
    times = []
    for line in done.stdout.splitlines():
        begun, ended, status, _ = map(int, line.split())
        if status:
            sys.exit(f"drive_figures: status {status:#x}: {drive.said()}")
        times.append((begun, ended))
    return times


def took(times):
    """From the first one's begin to the last one's end."""
    return max(end for _, end in times) - times[0][0]


def period(times):
    """Time from one end to the next, when things are under way: of the second
    half, as the guest does its first ones with cold caches."""
    ends = sorted(end for _, end in times)
    half = len(ends) // 2
    return (ends[-1] - ends[half - 1]) / (len(ends) - half)


def read(slba, size):
    return uring_command(0x02, 1, size, dw10=slba, dw12=size // LBA - 1)


def memory_read(drive, size):
    return uring_command(csd.SLM_READ, drive.slm, size, dw12=size)


def memory_copy(drive, slba, size):
    pieces = [(slba + at // LBA, min(size - at, 32 * MIB) // LBA)
              for at in range(0, size, 32 * MIB)]
    data = b"".join(bytes(csd.CopyLba(nsid=1, slba=at, nlb=number - 1))
                    for at, number in pieces)
    return uring_command(csd.SLM_COPY, drive.slm, 0, data, dw2=size,
                         dw12=len(pieces) - 1 | csd.COPY_LBA << 8)


def counting_loop():
    """Executes 2 + 2 * LOOPS + 1 instructions."""
    return csdprog.Image([
        csdprog.mov(0, 0), csdprog.mov(1, LOOPS),
        csdprog.insn(0x07, 1, imm=-1),          # r1 += -1
        csdprog.insn(0x55, 1, off=-2),          # if r1 != 0 goto -2
        csdprog.EXIT]).pack()


def execute(drive, number):
    exec_ = csd.Exec(size=ctypes.sizeof(csd.Exec), mode=csd.CALL,
                     data_range=0, result_range=1, data_len=4096)
    data = drive.descs([(number * 8192, 4096), (number * 8192 + 4096, 4096)])
    data += bytes(exec_)
    return uring_command(csd.CP_EXECUTE_DLEN, drive.cp, 0, data, dw2=1, dw3=2,
                         dw14=len(data))


def show(name, ns):
    print(name, round(ns), flush=True)


def reads(drive):
    """Latency alone."""
    show("read_4k_qd1", period(timed(drive, 1, 1, [read(8 * n, 4 * KIB)
                                                  for n in range(32)])))
    show("read_4k_qd32", 32 * period(timed(
        drive, 1, 32, [read(8 * n, 4 * KIB) for n in range(256)])))


def channel(name, drive):
    show(name, period(timed(
        drive, 1, 4, [read(128 * n, 64 * KIB) for n in range(64)])))


def copies(drives):
    for number, drive in drives:
        times = timed(drive, drive.slm, 1, [memory_copy(drive, 0, MIB)] * 8)
        show(f"copy_1m_{number}_channels", period(times))


def link(drive):
    for name, depth in (("memory_read_256k", 1), ("memory_read_256k_qd4", 4)):
        show(name, period(timed(drive, drive.slm, depth,
                                [memory_read(drive, 256 * KIB)] * 16)))


def engines(drives):
    for number, drive in drives:
        drive.prepare(1, counting_loop())
        times = timed(drive, drive.cp, 8, [execute(drive, n) for n in range(8)])
        result, _ = drive.result(4096)
        show(f"instructions_{number}_engines", result.retired)
        show(f"execute_8_on_{number}_engines", took(times))
        show(f"busy_{number}_engines", drive.counters().engine_busy_ns)


def main():
    drives = [Drive(n, keep=True) for n in range(9)]
    reads(drives[0])
    channel("read_64k_one_channel", drives[1])
    channel("read_64k_over_the_link", drives[2])
    link(drives[2])
    copies(zip((1, 4, 8), drives[3:6]))
    engines(zip((1, 2, 4), drives[6:9]))


if __name__ == "__main__":
    main()
