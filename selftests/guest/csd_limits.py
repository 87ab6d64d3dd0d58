#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 300 --nvme {img:16M:zero}
# vm: --csd {img:2M},mdts=3 --csd {img:2M},mdts=9
# vm: --csd {img:2M},engines=8,fault=execute@*:hang
"""Commands are as long as controller and queue allow, and no longer."""

import signal
import time

import blkbpf_abi as abi
import csds
import disks
import oracle
from disks import opened
from ktap import cleanup, expect, run, test
from scans import expect_matches, loaded

SIZE = 2 << 20
DATA = disks.random_bytes(SIZE, values=6)
SHORT, LONG, HANGS = "csd1", "csd2", "csd3"
SSD, SSD_SIZE = "/dev/nvme0n1", 16 << 20
TIMEOUT = "/sys/module/nvme_csd/parameters/timeout_ms"


def scan(drive, path):
    with abi.Control() as control:
        return control.scan(loaded("pair", "pair_63").fd, opened(path), None, (3, 4),
                            target=drive, image=csds.image("pair", "pair_63"))


@test
def results_are_fetched_in_parts_that_the_controller_takes():
    """If this breaks, a controller with a small MDTS cannot return many matches."""
    wanted = oracle.pairs(DATA, [(0, SIZE)], 3, 4, 4096, 63)
    expect(len(wanted) > 20 * SIZE // (64 << 10), what="many in a piece")
    for drive in (SHORT, LONG):
        expect_matches(scan(drive, csds.disk_of(drive)).matches, wanted, drive)


@test
def data_from_elsewhere_come_in_parts_that_the_queue_takes():
    """If this breaks, a controller with a large MDTS is sent more pages than its
    driver has places for in a command."""
    begin = SSD_SIZE - SIZE
    wanted = [(begin + pos, length) for pos, length in
              oracle.pairs(DATA, [(0, SIZE)], 3, 4, 4096, 63)]
    for drive in (SHORT, LONG):
        found = scan(drive, SSD)
        expect(found.path.path, abi.PATH_HOST, "way")
        expect_matches(found.matches, wanted, drive)


@test
def all_programs_that_hang_are_aborted():
    """If this breaks, Ctrl-C waits for the timeout of as many programs as a
    controller takes no Aborts for at a time."""
    disks.write_attribute(TIMEOUT, 100000)
    cleanup(disks.write_attribute, TIMEOUT, 10000)
    signal.signal(signal.SIGALRM, lambda *_: None)
    cleanup(signal.signal, signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 2)
    began = time.monotonic()
    found = scan(HANGS, csds.disk_of(HANGS))
    expect(found.status, abi.INTERRUPTED, "status")
    expect(found.path.commands > 16, what=f"{found.path.commands} commands")
    expect(time.monotonic() - began < 60, what="it does not wait for the timeout")


if __name__ == "__main__":
    csds.wait_for_drives([SHORT, LONG, HANGS])
    for name in csds.drives():
        disks.write_all(csds.disk_of(name), DATA)
    disks.write_all(SSD, DATA, SSD_SIZE - SIZE)
    run()
