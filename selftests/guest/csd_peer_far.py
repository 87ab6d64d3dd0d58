#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: debug
# vm: --smp 2 --timeout 300
# vm: --nvme {img:1M:1} --csd {img:1M},slm-window=4M
"""A kernel with peer-to-peer DMA on a machine whose bridge is not known to do it:
the runner's CPU is none of those that the kernel trusts."""

import os

import blkbpf_abi as abi
import csds
import disks
import oracle
from disks import opened
from ktap import expect, run, test
from ngdrive import Drive
from scans import expect_matches, loaded

SIZE = 1 << 20
DATA = disks.random_bytes(SIZE, values=6)
PEER, DRIVE = "/dev/nvme0n1", "csd1"


@test
def a_peer_behind_an_unknown_bridge_goes_through_the_host():
    """If this breaks, data are lost on a bus that does not route between devices,
    or it is not said that they went through the machine."""
    expect(os.path.isdir("/sys/class/nvme/nvme1/device/p2pmem"),
           what="peer memory that the kernel hands out")
    before = Drive(1).counters()
    with abi.Control() as control:
        found = control.scan(loaded("pair", "pair_63").fd, [opened(PEER)], None,
                             (3, 4), target=DRIVE,
                             image=csds.image("pair", "pair_63"))
    expect_matches(found.matches, oracle.pairs(DATA, [(0, SIZE)], 3, 4, 4096, 63),
                   "matches")
    expect(found.path.path, abi.PATH_HOST, "path")
    expect(found.path.link_data >= SIZE, what="data over the link")
    expect(Drive(1).counters().host_to_slm - before.host_to_slm,
           found.path.link_data, "bytes that the drive and the host count")


if __name__ == "__main__":
    csds.wait_for_drives([DRIVE])
    disks.write_all(PEER, DATA)
    run()
