#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: --smp 2 --timeout 300 --csd {img:1M},max-programs=1,max-active=1
"""A download to a drive and a scan on it, with each of their allocations failing
in turn: what was found stays found, and nothing is left on the drive.

Needs a kernel that injects faults; make check-debug looks for leaks, too.
"""

import blkbpf_abi as abi
import csds
import disks
import oracle
from attaching import module_users, settled
from disks import opened
from injecting import Nth
from ktap import cleanup, expect, run, test_each
from scans import expect_matches, loaded

DRIVE, DISK, _ = csds.drive_and_ssds()
# A few pieces; each allocation costs two scans.
SIZE = 128 << 10
DATA = disks.random_bytes(SIZE, values=6)
PAIRS = oracle.pairs(DATA, [(0, SIZE)], 3, 4, 4096, 63)


def scan(control, device, name="pair", program="pair_63", args=(3, 4), **kwargs):
    return control.scan(loaded(name, program).fd, device, [(0, SIZE)], args,
                        target=DRIVE, image=csds.image(name, program), **kwargs)


def each_allocation(prepare):
    """The scan with its n-th allocation failing, for all n; prepare() before."""
    device, control, nth = opened(DISK), abi.Control(), Nth()
    cleanup(control.close)
    loaded("pair", "pair_63")
    csds.image("pair", "pair_63")

    def after(found, error):
        matches = (error.found if error else found).matches
        if error:
            # Without memory for the call itself, a sentence has no place either.
            expect(error.sentence != "" or not matches, what="a sentence")
            matches = matches + scan(control, device,
                                     cursor=error.found.cursor).matches
        expect_matches(matches, PAIRS, "the scan and the rest of it")
        expect(csds.attribute(DRIVE, "slm_free"),
               csds.attribute(DRIVE, "slm_size"), "memory of the drive")
        prepare()

    prepare()
    users = module_users()
    nth.each(lambda: scan(control, device), after)
    expect(settled(module_users, users), users, "users of the module")


def another_program():
    """The drive has room for one: this takes the other's place."""
    with abi.Control() as control:
        found = scan(control, opened(DISK), "probe", "probe_4096_0", (0,))
    expect(found.path.loads, 1, "downloads")


@test_each(with_the_download=(another_program,), program_there=(lambda: None,))
def a_scan_without_memory_goes_on_from_its_cursor(prepare):
    """If this breaks, a shortage on the host leaves memory or half a program on
    the drive, or costs a match."""
    each_allocation(prepare)


if __name__ == "__main__":
    disks.write_all(DISK, DATA)
    run()
