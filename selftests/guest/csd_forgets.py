#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 300 --csd {img:2M} --csd {img:2M},fault=globals@5:fail=0x6
# vm: --csd {img:2M},fault=execute@*:delay=180
"""Drives that lost what they were given: programs by a reset, what programs kept,
and the namespaces themselves."""

import errno
import os
import re
import threading

import blkbpf_abi as abi
import csdprog
import csds
import disks
import nvme_csd
import oracle
from attaching import settled
from disks import opened
from ktap import expect, expect_in, expect_raises, run, sh, test
from ngdrive import Drive
from scans import expect_matches, loaded

SIZE = 2 << 20
DATA = disks.random_bytes(SIZE, values=6)
RESET, SILENT, SLOW = "csd0", "csd1", "csd2"
PAIRS = oracle.pairs(DATA, [(0, SIZE)], 3, 4, 4096, 63)
# Matches every unit.
ALL = csdprog.Image([csdprog.mov(0, abi.MATCH), csdprog.EXIT], overlap=63).pack()


def scan(drive, ranges=None):
    with abi.Control() as control:
        return control.scan(loaded("pair", "pair_63").fd, opened(csds.disk_of(drive)),
                            ranges, (3, 4), target=drive,
                            image=csds.image("pair", "pair_63"))


def number(drive):
    return int(re.search(r"\d+$", csds.attribute(drive, "controller"))[0])


@test
def what_others_loaded_after_a_reset_is_not_run():
    """If this breaks, a scan runs a program that was never given to it: a wrong
    answer."""
    expect_matches(scan(RESET).matches, PAIRS, "before")
    sh(["nvme", "reset", f"/dev/nvme{number(RESET)}"])
    other = Drive(number(RESET))
    other.prepare(nvme_csd.PIND_FIRST, ALL)
    found = scan(RESET)
    expect_matches(found.matches, PAIRS, "with another's program at our index")
    expect(found.path.loads, 1, "programs loaded")
    expect(scan(RESET).path.loads, 0, "programs loaded the next time")
    _, other_found = other.scan(nvme_csd.PIND_FIRST, [(0, 8192), (1 << 20, 4096)])
    expect(len(other_found), 2, "units that the other's program matches")


@test
def variables_that_do_not_come_back_are_an_error():
    """If this breaks, a caller takes the values from before a scan for those after
    it."""
    image = csds.image("probe", "probe_4096_0")
    values = csds.initial(image)
    before = bytes(values)

    def probe():
        with abi.Control() as control:
            return control.scan(loaded("probe", "probe_4096_0").fd,
                                opened(csds.disk_of(SILENT)), [(0, 65536)], (3,),
                                target=SILENT, image=image, values=values)

    # They go by three commands, and come by three; the second of these fails.
    error = expect_raises(abi.Refused, probe, errno=errno.EREMOTEIO)
    expect_in("csd1 did not give the program's global variables back, which are as "
              "before this call", error.sentence)
    expect(bytes(values), before, "variables")
    expect(error.found.matches, [(pos, 4096) for pos in range(0, 65536, 4096)
                                 if DATA[pos] < 3], "matches")
    probe()
    expect(int.from_bytes(values[:8], "little"), 16, "calls of the next scan")


def detach(drive, nsid):
    """As by whoever manages the drive; the function puts it back."""
    path = f"/dev/nvme{number(drive)}"
    text = sh(["nvme", "id-ctrl", path]).stdout
    cntlid = int(re.search(r"^cntlid\s*:\s*(\S+)", text, re.M)[1], 0)
    words = [path, f"--namespace-id={nsid}", f"--controllers={cntlid}"]
    sh(["nvme", "detach-ns", *words])
    return lambda: sh(["nvme", "attach-ns", *words])


def scans_until_an_error(errors):
    """Of one unit each, so that nothing is sent while its program runs."""
    ranges = [(0, 4096)]
    wanted = oracle.pairs(DATA, ranges, 3, 4, 4096, 63)
    try:
        while True:
            expect_matches(scan(SLOW, ranges).matches, wanted, "while it is there")
    except abi.Refused as error:
        errors.append(error)


@test
def a_drive_whose_memory_is_taken_away_ends_its_scans():
    """If this breaks, a scan waits for ever for a queue that is gone, and no disk of
    the machine can come or go any more."""
    drive = Drive(number(SLOW), keep=True)
    nsid = drive.slm
    drive.close()
    # It depends on the moment whether the drive refuses what comes after it, or
    # the kernel.
    for _ in range(5):
        errors = []
        thread = threading.Thread(target=scans_until_an_error, args=(errors,))
        thread.start()
        csds.wait_for_attribute(SLOW, "scans", "1")
        back = detach(SLOW, nsid)
        thread.join(30)
        expect(len(errors), 1, "the scan ended with an error")
        expect(errors[0].errno in (errno.ENODEV, errno.ENOENT, errno.EREMOTEIO,
                                   errno.EOPNOTSUPP), what=errors[0].sentence)
        csds.wait_for_drives([RESET, SILENT])
        back()
        csds.wait_for_drives([RESET, SILENT, SLOW])
    expect_matches(scan(SLOW).matches, PAIRS, "when it is back")


@test
def a_disk_that_is_taken_away_is_read_no_more():
    """If this breaks, a scan that goes on reads whatever has the namespace's number
    by then."""
    path = csds.disk_of(SLOW)
    fd = opened(path)

    def part(control, **kwargs):
        return control.scan(loaded("pair", "pair_63").fd, fd, None, (3, 4),
                            target=SLOW, image=csds.image("pair", "pair_63"),
                            **kwargs)

    with abi.Control() as control:
        first = part(control, room=5)
        expect(first.status, abi.FULL, "status")
        back = detach(SLOW, 1)
        expect(settled(lambda: os.path.exists(path), False), False, "the disk is there")
        error = expect_raises(abi.Refused, part, control, cursor=first.cursor,
                              errno=errno.ENODEV)
    expect_in("is open on a device that was removed", error.sentence)
    expect(csds.drives(), [RESET, SILENT, SLOW], "drives")
    back()


if __name__ == "__main__":
    csds.wait_for_drives([RESET, SILENT, SLOW])
    for name in csds.drives():
        disks.write_all(csds.disk_of(name), DATA)
    run()
