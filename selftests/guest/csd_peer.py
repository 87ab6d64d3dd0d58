#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 400 --qemu-arg=-cpu --qemu-arg=EPYC
# vm: --nvme {img:1M:1} --nvme {img:1M:2} --csd {img:1M},slm-window=4M
"""Scans of other SSDs on a drive: by peer-to-peer DMA where the kernel has it, and
through host memory where it has not, as the stock kernel."""

import os
import threading
import time

import blkbpf_abi as abi
import csds
import disks
import oracle
from disks import opened
from ktap import expect, run, sh, test
from scans import expect_matches, loaded

SIZE = 1 << 20
DATA = [disks.random_bytes(SIZE, values=6, seed=seed) for seed in range(3)]
DISKS = ["/dev/nvme0n1", "/dev/nvme1n1"]
DRIVE = "csd2"
# The window is there if the kernel took it for peers.
P2P = os.path.isdir("/sys/class/nvme/nvme2/device/p2pmem")
WAY = abi.PATH_PEER if P2P else abi.PATH_HOST


def scan(devices, ranges=None, **kwargs):
    with abi.Control() as control:
        return control.scan(loaded("pair", "pair_63").fd,
                            [opened(path) for path in devices], ranges, (3, 4),
                            target=DRIVE, image=csds.image("pair", "pair_63"),
                            **kwargs)


def pairs(number, ranges=None):
    return oracle.pairs(DATA[number], ranges or [(0, SIZE)], 3, 4, 4096, 63)


@test
def a_peer_is_scanned_by_its_way():
    """If this breaks, data of a peer are others in the drive's memory, or take
    another way than is said."""
    for number, path in enumerate(DISKS):
        found = scan([path])
        expect_matches(found.matches, pairs(number), path)
        expect(found.path.path, WAY, "path")
        # What a unit sees behind it, in blocks, is sent again where a copy ends.
        again = found.path.link_data - SIZE
        if P2P:
            expect(found.path.link_data, 0, "data over the link")
        else:
            expect(again % 512 == 0 and 0 <= again <= SIZE // 64,
                   what=f"data over the link: {SIZE} and {again} bytes")


@test
def several_peers_and_the_drive_itself():
    """If this breaks, matches of one device are said to be another's, or their
    order depends on which was quicker."""
    own = csds.disk_of(DRIVE)
    ranges = [(5, 300000), (400001, 70000), (3, 0)]
    found = scan([DISKS[1], own, DISKS[0]], ranges)
    parts = [pairs(1, ranges), pairs(2, ranges), pairs(0, ranges)]
    expect_matches(found.matches, sum(parts, []), "all")
    expect(found.devs, sum(([dev] * len(part) for dev, part in enumerate(parts)),
                           []), "devices")
    expect(found.path.path, WAY | abi.PATH_NEAR, "path")


@test
def a_small_buffer_goes_on_over_peers():
    """If this breaks, what was read ahead of other devices is lost or repeated."""
    matches, cursor = [], None
    fds = [opened(path) for path in DISKS]
    with abi.Control() as control:
        while True:
            found = control.scan(loaded("pair", "pair_63").fd, fds, None, (3, 4),
                                 target=DRIVE, room=3000, cursor=cursor,
                                 image=csds.image("pair", "pair_63"))
            matches += found.matches
            if found.status == abi.DONE:
                break
            cursor = found.cursor
    expect_matches(matches, pairs(0) + pairs(1), "in parts")


def bytes_read(path):
    """What left a disk, as the kernel counts it."""
    stat = disks.read_attribute(f"/sys/block/{os.path.basename(path)}/stat")
    return int(stat.split()[2]) * 512


@test
def a_device_that_does_not_answer_keeps_no_other_waiting():
    """If this breaks, devices are read one after the other, and a scan of many
    takes as long as of each."""
    late = disks.Mapped(f"0 {SIZE // 512} linear {DISKS[0]} 0")
    before, ends = bytes_read(DISKS[1]), []
    opened(late.path)
    sh(["dmsetup", "suspend", "--noflush", "--nolockfs", late.name])
    thread = threading.Thread(target=lambda: ends.append(
        scan([late.path, DISKS[1]], flags=abi.COUNT)))
    thread.start()
    try:
        end = time.monotonic() + 60
        while bytes_read(DISKS[1]) - before < SIZE and time.monotonic() < end:
            time.sleep(0.01)
        read = bytes_read(DISKS[1]) - before
    finally:
        sh(["dmsetup", "resume", "--noudevsync", late.name])
        thread.join()
    expect(read >= SIZE, what=f"{read} of {SIZE} bytes were read meanwhile")
    expect(ends[0].stats.matches, len(pairs(0) + pairs(1)), "matches of both")


@test
def the_window_is_free_after_all():
    """If this breaks, the driver of the drive can never be unbound."""
    if P2P:
        folder = "/sys/class/nvme/nvme2/device/p2pmem"
        expect(disks.read_attribute(f"{folder}/available"),
               disks.read_attribute(f"{folder}/size"), "peer memory")
    expect(csds.attribute(DRIVE, "slm_window"), str(4 << 20), "window")
    device = os.path.realpath("/sys/class/nvme/nvme2/device")
    disks.write_attribute("/sys/bus/pci/drivers/nvme/unbind",
                          os.path.basename(device))
    expect(csds.drives(), [], "drives")
    disks.write_attribute("/sys/bus/pci/drivers/nvme/bind",
                          os.path.basename(device))
    csds.wait_for_drives([DRIVE])


if __name__ == "__main__":
    csds.wait_for_drives([DRIVE])
    for place, disk in enumerate(
            DISKS + [csds.disk_of(DRIVE)]):
        disks.write_all(disk, DATA[place])
    run()
