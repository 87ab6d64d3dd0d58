#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 400 --csd {img:512K},fault=execute@*:delay=10
"""A drive behind NVMe over Fabrics: the passthrough of Linux's NVMe target, which
lets through what has a vendor's number, by the loop transport of the same machine."""

import errno
import os
import threading

import blkbpf_abi as abi
import csds
import disks
import oracle
from disks import CONFIGFS, write_attribute
from ktap import expect, expect_in, run, sh, test
from scans import expect_matches, loaded

SIZE = 512 << 10
DATA = disks.random_bytes(SIZE, values=6)
PAIRS = oracle.pairs(DATA, [(0, SIZE)], 3, 4, 4096, 63)
NAME = "csd-over-fabrics"
HOST = "00000000-0000-4000-8000-000000000001"
ROOT = f"{CONFIGFS}/nvmet"


def export():
    """The drive's controller as a subsystem of the target."""
    subsystem, port = f"{ROOT}/subsystems/{NAME}", f"{ROOT}/ports/1"
    sh(["modprobe", "nvme-loop"])
    if not os.path.ismount(CONFIGFS):
        sh(["mount", "-t", "configfs", "none", CONFIGFS])
    os.mkdir(subsystem)
    write_attribute(f"{subsystem}/attr_allow_any_host", 1)
    write_attribute(f"{subsystem}/passthru/device_path", "/dev/nvme0")
    write_attribute(f"{subsystem}/passthru/enable", 1)
    os.mkdir(port)
    write_attribute(f"{port}/addr_trtype", "loop")
    os.symlink(subsystem, f"{port}/subsystems/{NAME}")


def connect():
    sh(["nvme", "connect", "-t", "loop", "-n", NAME, "-I", HOST, "-q",
        f"nqn.2014-08.org.nvmexpress:uuid:{HOST}"])
    csds.wait_for_drives(["csd0", "csd1"])
    path = csds.disk_of("csd1")
    disks.wait_for_node(path)
    return path


def disconnect():
    sh(["nvme", "disconnect", "-n", NAME])


def connected():
    """The disk's path. What an earlier test has connected is good enough."""
    if "csd1" not in csds.drives():
        return connect()
    return csds.disk_of("csd1")


def scan(path, name="pair", program="pair_63", args=(3, 4), **kwargs):
    fd = os.open(path, os.O_RDONLY)
    try:
        with abi.Control() as control:
            return control.scan(loaded(name, program).fd, fd, None, args,
                                target="csd1", image=csds.image(name, program),
                                **kwargs)
    finally:
        os.close(fd)


def check_whole(path):
    found = scan(path)
    expect(found.status, abi.DONE, "status")
    expect_matches(found.matches, PAIRS, "over fabrics")
    return found


@test
def it_is_found_and_scanned_near():
    """If this breaks, a drive is one on PCI Express alone."""
    path = connected()
    expect(csds.attribute("csd1", "transport"), "loop", "transport")
    for name in ("slm_size", "engines", "max_programs", "max_copy"):
        expect(csds.attribute("csd1", name), csds.attribute("csd0", name), name)
    found = check_whole(path)
    expect(found.path.path, abi.PATH_NEAR, "path")
    expect(found.path.link_data, 0, "data over the link")
    expect(check_whole(path).path.loads, 0, "programs loaded the second time")


@test
def variables_and_large_images_go_over_it():
    """If this breaks, what is sent in several commands, or with a number of a
    vendor's, does not get through the target."""
    path = connected()
    image = csds.image("probe", "probe_4096_0")
    values = csds.initial(image)
    found = scan(path, "probe", "probe_4096_0", (2,), values=values)
    expect_matches(found.matches, oracle.heads(DATA, [(0, SIZE)], 2, 4096), "heads")
    expect(int.from_bytes(values[:8], "little"), SIZE // 4096, "calls")


def background(path):
    """A scan in a thread; the returned function waits for its result or error."""
    result = []

    def call():
        try:
            result.append(scan(path))
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    csds.wait_for_attribute("csd1", "scans", "1")

    def wait():
        thread.join(120)
        expect(thread.is_alive(), False, "the scan is still there")
        return result[0]

    return wait


def check_end(end, errnos, sentence):
    """It was quicker, or ended with one of these and a right beginning."""
    if not isinstance(end, OSError):
        expect_matches(end.matches, PAIRS, "the scan was quicker")
        return
    expect(end.errno in errnos, True, f"errno of: {end}")
    expect_in(sentence, end.sentence)
    rest = end.arg.cursor.pos
    expect_matches(end.found.matches, [pair for pair in PAIRS if pair[0] < rest],
                   "before it")


@test
def the_connection_ends_during_a_scan():
    """If this breaks, a disconnect waits for a scan for ever, or leaves a drive."""
    path = connected()
    wait = background(path)
    disconnect()
    check_end(wait(), (errno.ENODEV,), "csd1 was removed when the scan was at")
    expect(csds.drives(), ["csd0"], "drives")
    check_whole(connect())


@test
def the_drive_behind_it_is_reset_during_a_scan():
    """If this breaks, a reset that the host does not see costs more than the scan
    that ran, or its answer is wrong."""
    path = connected()
    wait = background(path)
    write_attribute("/sys/class/nvme/nvme0/reset_controller", 1)
    check_end(wait(), (errno.ENOTRECOVERABLE, errno.EREMOTEIO), "csd1 ")
    found = check_whole(path)
    expect(found.path.loads <= 1, what=f"{found.path.loads} programs loaded")


@test
def the_connection_is_reset_between_scans():
    """If this breaks, a connection that was made anew has no drive, or one that
    does not know what it holds.

    Not during a scan: nvme-loop of Linux 6.12 then completes the commands that are
    out, and the target completes them once more, whoever sent them.
    """
    path = connected()
    check_whole(path)
    write_attribute("/sys/class/nvme/nvme1/reset_controller", 1)
    check_whole(path)


@test
def an_exported_drive_keeps_its_modules():
    """If this breaks, what the target uses can be unloaded under it."""
    path = connected()
    for module in ("nvme", "nvme_loop"):
        done = sh(["rmmod", module], check=False)
        expect(done.returncode != 0, what=f"rmmod {module}")
        expect_in("in use", done.stderr)
    sh(["rmmod", "nvme_csd"])
    sh(["insmod", "/usr/lib/vm/nvme_csd.ko"])
    csds.wait_for_drives(["csd0", "csd1"])
    check_whole(path)


if __name__ == "__main__":
    csds.wait_for_drives(["csd0"])
    disks.write_all(csds.disk_of("csd0"), DATA)
    export()
    run()
