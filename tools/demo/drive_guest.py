#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The guest's half of tools/demo/drive: drives by passthrough, nothing else.

What the host is to check is a line that begins with a record separator.
"""

import concurrent.futures
import ctypes
import json
import os
import struct
import subprocess
import sys

import nvme_csd as csd
import p2pmem
from drive_figures import took, timed, uring_command
from ngdrive import Drive, disk

MIB = 1 << 20
LBA = 512
OVERLAP = 4096          # of a unit: enough for the program's
CHUNK = 4 * MIB
ROOM = 64 << 10         # for a result
SLOTS = 4


def say(text):
    print(text, flush=True)


def answer(value):
    print("\x1e" + json.dumps(value), flush=True)


def load(drive):
    with open("/share/grep.img", "rb") as file:
        drive.prepare(1, file.read())
    say(f"{drive.said(1)}")


def scan_chunk(drive, slot, pos, size):
    """Copy a chunk into a slot and scan it there; positions and bytes."""
    base = slot * (CHUNK + MIB)
    tail = min(OVERLAP, drive.disk_size - pos - size)
    pieces = [(at // LBA, min(32 * MIB, pos + size + tail - at) // LBA)
              for at in range(pos, pos + size + tail, 32 * MIB)]
    drive.copy_lbas(base, pieces)
    result, found = drive.scan(
        1, [(base, size + tail), (base + CHUNK + OVERLAP, ROOM)], length=size,
        pos=pos, tail_len=tail)
    if result.status != csd.DONE:
        sys.exit(f"demo: a scan ended with {result}")
    return [at for at, _ in found], result.bytes


def near():
    drive = Drive(0, keep=True)
    path = disk(0)
    with open(path, "rb") as file:
        drive.disk_size = file.seek(0, os.SEEK_END)
    load(drive)
    for nsid in (drive.slm, drive.cp):
        drive.fd(nsid)
    before = drive.counters()
    say(f"scanning {path}, {drive.disk_size >> 20} MiB, in pieces of "
        f"{CHUNK >> 20} MiB, {SLOTS} at a time ...")
    found, scanned = [], 0
    with concurrent.futures.ThreadPoolExecutor(SLOTS) as pool:
        free = list(range(SLOTS))

        def one(pos):
            slot = free.pop()
            try:
                return scan_chunk(drive, slot, pos,
                                  min(CHUNK, drive.disk_size - pos))
            finally:
                free.append(slot)

        jobs = [pool.submit(one, pos)
                for pos in range(0, drive.disk_size, CHUNK)]
        for job in jobs:
            places, size = job.result()
            found += places
            scanned += size
    after = drive.counters()
    link = (after.link_to_drive - before.link_to_drive + after.link_to_host -
            before.link_to_host)
    say(f"media to SLM: {after.media_to_slm - before.media_to_slm} bytes; "
        f"{after.executes - before.executes} Executes, "
        f"{after.units - before.units} units, "
        f"{after.retired - before.retired} BPF instructions")
    answer({"found": found, "scanned": scanned, "link": link})


def execute_scan(drive, number):
    exec_ = csd.Exec(size=ctypes.sizeof(csd.Exec), mode=csd.SCAN, data_range=0,
                     result_range=1, data_len=MIB, pos=number * MIB)
    data = drive.descs([(number * MIB, MIB), (8 * MIB + number * ROOM, ROOM)])
    data += bytes(exec_)
    return uring_command(csd.CP_EXECUTE_DLEN, drive.cp, 0, data, dw2=1, dw3=2,
                         dw14=len(data))


def engines():
    answers = []
    for place, number in enumerate((1, 2, 4)):
        drive = Drive(place, keep=True)
        load(drive)
        drive.copy_lbas(0, [(0, 8 * MIB // LBA)])
        times = timed(drive, drive.cp, 8,
                      [execute_scan(drive, n) for n in range(8)])
        counts = [drive.result(8 * MIB + n * ROOM)[0].retired for n in range(8)]
        answers.append((number, took(times), counts))
    answer(answers)


def sectors_read(path):
    with open(f"/sys/block/{os.path.basename(path)}/stat", encoding="ascii") as file:
        return int(file.read().split()[2])


def peer():
    drive, source = Drive(1, keep=True), disk(0)
    device = p2pmem.device_of(1)
    load(drive)
    before, sectors = drive.counters(), sectors_read(source)
    memory = p2pmem.Memory(device, CHUNK + OVERLAP)
    addresses = memory.addresses()
    first, last = p2pmem.bar(device, 2)
    place = drive.info().window_off + addresses[0] - first
    with open(source, "rb") as file:
        size = file.seek(0, os.SEEK_END)
    say(f"{source} reads into {device.rsplit('/', 1)[1]}, BAR 2, at {first:#x} + "
        f"{addresses[0] - first:#x}; {size >> 20} MiB in pieces of "
        f"{CHUNK >> 20} MiB")
    found = []
    for pos in range(0, size, CHUNK):
        tail = min(OVERLAP, size - pos - CHUNK)
        memory.fill_from(source, pos, CHUNK + tail)
        _, places = drive.scan(1, [(place, CHUNK + tail), (0, ROOM)],
                               length=CHUNK, pos=pos, tail_len=tail)
        found += [at for at, _ in places]
    after = drive.counters()
    memory.close()
    answer({
        "found": found,
        "in_bar": all(first <= at <= last for at in addresses),
        "host_to_slm": after.host_to_slm - before.host_to_slm,
        "read": (sectors_read(source) - sectors) * LBA})


if __name__ == "__main__":
    {"near": near, "engines": engines, "peer": peer}[sys.argv[1]]()
