#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: debug
# vm: --smp 2 --timeout 600 --qemu-arg=-cpu --qemu-arg=EPYC
# vm: --nvme {img:1M:1} --nvme {img:1M:2} --nvme {img:1M:3}
# vm: --csd {img:1M},slm-window=4M
"""Scans of ordinary SSDs beside a drive, read by these straight into its memory.

The drive counts what comes into its memory, and by which way; guest/csd_peer.py
has the same scans on a kernel without peer-to-peer DMA.
"""

import errno
import json
import mmap
import os
import re
import subprocess
import threading

import blkbpf_abi as abi
import csds
import disks
import oracle
import p2pmem
from attaching import Attached
from disks import opened
from ktap import cleanup, expect, expect_in, run, test
from ngdrive import Drive
from scans import expect_matches, loaded

SIZE = 1 << 20
UNIT, OVERLAP = 4096, 63
DATA = [disks.random_bytes(SIZE, values=6, seed=seed) for seed in range(4)]
PEERS = [f"/dev/nvme{number}n1" for number in range(3)]
DRIVE, NUMBER = "csd3", 3
DEVICE = f"/sys/class/nvme/nvme{NUMBER}/device"
WINDOW = 4 << 20
GREP = f"{os.environ['BLKBPF_SAMPLES']}/grep.bpf.o"
NEEDLE = b"\x01\x02\x03\x04\x05\x01"


def own():
    return csds.disk_of(DRIVE)


def places(number):
    return [match.start() for match in
            re.finditer(b"(?=" + re.escape(NEEDLE) + b")", DATA[number])]


def pairs(number):
    return oracle.pairs(DATA[number], [(0, SIZE)], 3, 4, UNIT, OVERLAP)


def command(*args):
    done = subprocess.run(["blkbpf", *args], capture_output=True, text=True,
                          check=False)
    expect(done.returncode, 0, f"status of {args}; {done.stderr}")
    return done


def grep(*devices, target=DRIVE):
    """What the command says of a search, as JSON."""
    return json.loads(command("-j", "scan", "--on", target, "--set",
                              f"needle=hex:{NEEDLE.hex()}", GREP,
                              *devices).stdout)


def scan(devices, **kwargs):
    with abi.Control() as control:
        return control.scan(loaded("pair", "pair_63").fd,
                            [opened(path) for path in devices], None, (3, 4),
                            target=DRIVE, image=csds.image("pair", "pair_63"),
                            **kwargs)


def bytes_read(path):
    """What left a disk, as the kernel counts it."""
    stat = disks.read_attribute(f"/sys/block/{os.path.basename(path)}/stat")
    return int(stat.split()[2]) * 512


class Ways:
    """What came into the drive's memory since, by the drive's own counters."""

    NAMES = ("host_to_slm", "media_to_slm", "slm_to_slm")

    def __init__(self):
        self.drive = Drive(NUMBER)
        self.before = self.drive.counters()

    def since(self):
        now = self.drive.counters()
        return {name: getattr(now, name) - getattr(self.before, name)
                for name in self.NAMES}


def expect_window_free():
    for name in ("size", "available"):
        expect(int(disks.read_attribute(f"{DEVICE}/p2pmem/{name}")), WINDOW,
               f"bytes of peer memory, {name}")


@test
def peers_data_never_touch_host_memory():
    """If this breaks, the data of a peer take a detour through the machine, or
    are not what is on it, or the report says another way than they took."""
    ways, before = Ways(), [bytes_read(path) for path in PEERS]
    found = grep(*PEERS)
    expect([(match["dev"], match["pos"]) for match in found["matches"]],
           [(dev, at) for dev in range(3) for at in places(dev)], "matches")
    stats = found["stats"]
    expect(stats["path"], f"{DRIVE}: peer to peer", "path")
    expect(stats["link_data"], 0, "scanned data over the link, as the host counts")
    expect(stats["bytes_scanned"], 3 * SIZE, "bytes scanned")
    expect(ways.since(), dict.fromkeys(Ways.NAMES, 0),
           "bytes that came another way, as the drive counts")
    for path, at in zip(PEERS, before):
        read = bytes_read(path) - at
        expect(SIZE <= read <= SIZE + SIZE // 16, what=f"{read} bytes left {path}")
    expect_window_free()


@test
def the_kernel_finds_the_same():
    """If this breaks, a drive answers otherwise than the kernel for a peer."""
    for number, path in enumerate(PEERS):
        kernel, drive = grep(path, target="kernel"), grep(path)
        expect([match["pos"] for match in kernel["matches"]], places(number),
               f"{path} in the kernel")
        expect(drive["matches"], kernel["matches"], f"{path} on the drive")


@test
def the_report_says_peer_to_peer():
    """If this breaks, a user does not see where his data went."""
    done = command("scan", "--on", DRIVE, "--stats", "--count", "--set",
                   "needle=text", GREP, *PEERS)
    expect_in(f"path           {DRIVE}: peer to peer\n", done.stderr)
    expect_in(" back, 0 of them scanned data\n", done.stderr)


@test
def peers_and_the_drives_own_data_in_one_scan():
    """If this breaks, matches of one device are said to be another's, or what
    is near goes over the bus."""
    ways = Ways()
    found = scan([PEERS[2], own(), PEERS[0]])
    parts = [pairs(2), pairs(3), pairs(0)]
    expect_matches(found.matches, sum(parts, []), "all")
    expect(found.devs, sum(([dev] * len(part) for dev, part in enumerate(parts)),
                           []), "devices")
    expect(found.path.path, abi.PATH_PEER | abi.PATH_NEAR, "path")
    expect(found.path.link_data, 0, "scanned data over the link")
    came = ways.since()
    expect(SIZE <= came["media_to_slm"] <= SIZE + SIZE // 16,
           what=f"{came} of the drive's own")
    expect(came["host_to_slm"], 0, "bytes from the host")


@test
def a_device_that_may_look_at_its_data_goes_through_the_host():
    """If this breaks, memory that is not for the CPU is given to a driver that
    reads it, or the way that is said is not the one that was taken."""
    mapped = disks.Mapped(f"0 {SIZE // 512} linear {PEERS[1]} 0")
    ways = Ways()
    found = grep(mapped.path)
    expect([match["pos"] for match in found["matches"]], places(1), "matches")
    expect(found["stats"]["path"], f"{DRIVE}: through host memory", "path")
    expect(ways.since()["host_to_slm"], found["stats"]["link_data"],
           "bytes that the drive and the host count")
    expect(found["stats"]["link_data"] >= SIZE, what="data over the link")
    found = grep(PEERS[0], mapped.path)
    expect([(match["dev"], match["pos"]) for match in found["matches"]],
           [(0, at) for at in places(0)] + [(1, at) for at in places(1)], "both")
    expect(found["stats"]["path"], f"{DRIVE}: partly through host memory", "path")


@test
def a_small_buffer_goes_on_over_peers():
    """If this breaks, what was read ahead of other devices is lost or repeated."""
    matches, cursor, calls = [], None, 0
    while True:
        found = scan(PEERS, room=3000, cursor=cursor)
        matches, cursor, calls = matches + found.matches, found.cursor, calls + 1
        expect(found.path.path, abi.PATH_PEER, "path")
        if found.status == abi.DONE:
            break
    expect(calls > 3, what=f"{calls} calls")
    expect_matches(matches, pairs(0) + pairs(1) + pairs(2), "in parts")


@test
def scans_at_the_same_time_share_the_window():
    """If this breaks, one scan writes into another's part of the window, or waits
    for ever for a part of its own."""
    answers = {}

    def one(number):
        answers[number] = scan([PEERS[number]])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
        expect(thread.is_alive(), False, "still scanning")
    for number in range(3):
        expect(number in answers, what=f"an answer of scan {number}")
        expect_matches(answers[number].matches, pairs(number),
                       f"scan {number}")
        expect(answers[number].path.path, abi.PATH_PEER, "path")
    expect_window_free()


@test
def the_drive_is_unbound_while_peers_write_to_it():
    """If this breaks, the driver waits for ever for memory that a scan has, or a
    peer writes to a device that is gone."""
    scanned, ends, stop = threading.Event(), [], threading.Event()
    device = os.path.basename(os.path.realpath(DEVICE))
    driver = "/sys/bus/pci/drivers/nvme"

    def scans():
        try:
            while not stop.is_set():
                scan(PEERS)
                scanned.set()
        except OSError as error:
            ends.append(error.errno)
        finally:
            scanned.set()

    thread = threading.Thread(target=scans)
    cleanup(thread.join, 60)
    cleanup(stop.set)
    thread.start()
    expect(scanned.wait(120), what="a whole scan before")
    disks.write_attribute(f"{driver}/unbind", device)
    thread.join(120)
    expect(thread.is_alive(), False, "still scanning")
    expect(ends in ([errno.ENODEV], [errno.ENOENT]), what=f"end of the scans: {ends}")
    expect(csds.drives(), [], "drives")
    disks.write_attribute(f"{driver}/bind", device)
    csds.wait_for_drives([DRIVE])
    expect_matches(scan(PEERS).matches, pairs(0) + pairs(1) + pairs(2), "afterwards")
    expect_window_free()


@test
def reads_into_a_drives_memory_are_missed_and_not_looked_at():
    """If this breaks, the CPU reads another device's memory to show it to a program:
    where such a buffer is not the first of a readv()."""
    attached = Attached(PEERS[0])
    memory = p2pmem.Memory(DEVICE, UNIT)
    cleanup(memory.close)
    ordinary, fd = mmap.mmap(-1, UNIT), opened(PEERS[0], os.O_RDONLY | os.O_DIRECT)
    for number, buffers in enumerate(((memory.map,), (memory.map, ordinary),
                                      (ordinary, memory.map)), 1):
        length = UNIT * len(buffers)
        expect(os.preadv(fd, buffers, 0), length, "bytes read")
        expect((attached.counters().missed, attached.counters().runs), (number, 0),
               f"missed and shown, of {len(buffers)} buffers")
    expect(attached.control.missed(attached.id, 1)[0], [(0, 2 * UNIT)],
           "extents that were missed")
    os.preadv(fd, [ordinary], 0)
    expect(attached.counters().runs, 1, "a read of ordinary memory")


if __name__ == "__main__":
    csds.wait_for_drives([DRIVE])
    for place, disk in enumerate([*PEERS, own()]):
        disks.write_all(disk, DATA[place])
    run()
