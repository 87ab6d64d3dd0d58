#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 300
# vm: --csd {img:1M:1},lie=foreign-nsids --csd {img:1M:2},lie=foreign-nsids
# vm: --qemu-arg=-device --qemu-arg=nvme-subsys,id=both
# vm: --qemu-arg=-device
# vm: --qemu-arg=nvme-csd,id=left,serial=both,subsys=both,addr=0x18,lie=foreign-nsids
# vm: --qemu-arg=-device
# vm: --qemu-arg=nvme-csd,id=right,serial=both,subsys=both,addr=0x19,lie=foreign-nsids
# vm: --qemu-arg=-drive --qemu-arg=id=shared,if=none,format=raw,file={img:1M:3}
# vm: --qemu-arg=-device --qemu-arg=nvme-ns,drive=shared,bus=left,nsid=1,shared=on
"""Drives that claim each other's namespaces, which have the same identifiers, and
drives that have one together."""

import json
import os
import subprocess
import threading

import blkbpf_abi as abi
import csds
import disks
import oracle
from disks import opened
from ktap import expect, run, test
from scans import expect_matches, loaded

SIZE = 1 << 20
DRIVES = ["csd0", "csd1", "csd2", "csd3"]
SAMPLES = os.environ["BLKBPF_SAMPLES"]
DATA = {}


def pairs(path):
    return oracle.pairs(DATA[path], [(0, SIZE)], 3, 4, 4096, 63)


def scan(drive, *paths):
    with abi.Control() as control:
        return control.scan(loaded("pair", "pair_63").fd,
                            [opened(path) for path in paths], None, (3, 4),
                            target=drive, image=csds.image("pair", "pair_63"))


def check(drive, path, way):
    found = scan(drive, path)
    expect_matches(found.matches, pairs(path), f"{path} on {drive}")
    expect(found.path.path, way, f"the way of {path} to {drive}")


@test
def what_is_claimed_of_another_is_no_way_to_it():
    """If this breaks, a drive that claims a neighbour's namespace is scanned in its
    place: a wrong answer."""
    for drive in DRIVES:
        for owner in DRIVES:
            own = csds.disk_of(owner) == csds.disk_of(drive)
            check(drive, csds.disk_of(owner), abi.PATH_NEAR if own else abi.PATH_HOST)


@test
def both_in_one_scan():
    """If this breaks, two namespaces of the same identifier are mixed up."""
    paths = [csds.disk_of("csd1"), csds.disk_of("csd0")]
    for drive in ("csd0", "csd1"):
        found = scan(drive, *paths)
        expect_matches(found.matches, pairs(paths[0]) + pairs(paths[1]), drive)
        expect(found.path.path, abi.PATH_NEAR | abi.PATH_HOST, "ways")


@test
def auto_asks_whose_the_data_are():
    """If this breaks, --on auto believes what a drive claims."""
    for drive in ("csd0", "csd1"):
        done = subprocess.run(
            ["blkbpf", "-j", "scan", "--on", "auto", "--set", "needle=hex:010203",
             f"{SAMPLES}/grep.bpf.o", csds.disk_of(drive)],
            capture_output=True, text=True, check=True)
        expect(json.loads(done.stdout)["stats"]["path"], f"{drive}: near", "path")


@test
def a_shared_namespace_is_near_to_both():
    """If this breaks, the drives of one subsystem are not told apart, or one of
    them cannot use what is its own too."""
    path = csds.disk_of("csd2")
    expect(csds.disk_of("csd3"), path, "the namespace that they share")
    failures = []

    def work(drive):
        try:
            for _ in range(5):
                check(drive, path, abi.PATH_NEAR)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(drive,))
               for drive in ("csd2", "csd3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(failures, [], "scans on both at once")


@test
def one_of_the_two_goes():
    """If this breaks, the end of one drive takes the other's scans along, or holds
    a namespace that they share."""
    path = csds.disk_of("csd2")
    device = os.path.realpath("/sys/class/csd/csd2/device/device")
    disks.write_attribute(f"{device}/remove", 1)
    expect(csds.drives(), ["csd0", "csd1", "csd3"], "drives")
    check("csd3", path, abi.PATH_NEAR)


if __name__ == "__main__":
    csds.wait_for_drives(DRIVES)
    for name in DRIVES:
        node = csds.disk_of(name)
        if node not in DATA:
            DATA[node] = disks.random_bytes(SIZE, values=6, seed=len(DATA))
            disks.write_all(node, DATA[node])
    run()
