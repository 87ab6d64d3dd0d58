#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 400 --nvme {img:1M} --csd {img:1M}
# vm: --csd {img:1M:1} --csd {img:1M:2} --csd {img:1M:3},slm-size=2M
"""Drives are found whenever they and the modules come, and gone when they go."""

import os
import socket
import threading

import blkbpf_abi as abi
import csds
import disks
from ktap import cleanup, expect, expect_in, run, sh, test
from scans import loaded

DRIVES = ["csd1", "csd2", "csd3", "csd4"]
MODULE = "/usr/lib/vm/nvme_csd.ko"
UEVENTS = 15	# NETLINK_KOBJECT_UEVENT


def device(drive):
    """The PCI function's folder."""
    return os.path.realpath(f"/sys/class/csd/{drive}/device/device")


@test
def four_drives_and_no_ordinary_disk():
    """If this breaks, a drive is not found, or a disk is taken for one."""
    csds.wait_for_drives(DRIVES)
    for drive in DRIVES:
        expect(csds.attribute(drive, "controller"), drive.replace("csd", "nvme"),
               "controller")
        expect(csds.attribute(drive, "transport"), "pcie", "transport")
    expect(csds.attribute("csd4", "slm_size"), str(2 << 20), "its memory")


@test
def the_module_may_come_and_go():
    """If this breaks, the module finds only drives that come after it, or cannot
    be unloaded, or leaves its programs on the drives."""
    loaded("pair", "pair_63")
    with abi.Control() as control:
        for _ in range(3):
            fd = os.open(csds.disk_of("csd1"), os.O_RDONLY)
            found = control.scan(loaded("pair", "pair_63").fd, fd, None, (3, 4),
                                 target="csd1", image=csds.image("pair", "pair_63"))
            os.close(fd)
            expect(found.path.loads, 1, "loads: the drive was left empty")
            sh(["rmmod", "nvme_csd"])
            expect(csds.drives(), [], "drives without the module")
            sh(["insmod", MODULE])
            csds.wait_for_drives(DRIVES)


@test
def the_module_stays_while_a_scan_is_kept():
    """If this breaks, unloading the module pulls the ground from under a scan."""
    fd = os.open(csds.disk_of("csd1"), os.O_RDONLY)
    with abi.Control() as control:
        found = control.scan(loaded("probe", "probe_4096_0").fd, fd, None, (256,),
                             target="csd1", room=1,
                             image=csds.image("probe", "probe_4096_0"))
        expect(found.status, abi.FULL, "status")
        done = sh(["rmmod", "nvme_csd"], check=False)
        expect(done.returncode != 0, what="rmmod")
        expect_in("in use", done.stderr)
    os.close(fd)
    sh(["rmmod", "nvme_csd"])
    sh(["insmod", MODULE])
    csds.wait_for_drives(DRIVES)


@test
def the_drivers_module_may_come_and_go():
    """If this breaks, nvme cannot be unloaded while there are drives, or they are
    not found again."""
    sh(["modprobe", "-r", "nvme"])
    expect(csds.drives(), [], "drives without a driver")
    sh(["modprobe", "nvme"])
    names = csds.wait_for_number(len(DRIVES))
    sizes = [csds.attribute(name, "slm_size") for name in names]
    expect(sizes.count(str(2 << 20)), 1, f"drives with 2 MiB of memory, {sizes}")


@test
def a_drive_comes_and_goes():
    """If this breaks, something of a drive stays behind when it is removed."""
    names = csds.drives()
    for _ in range(5):
        disks.write_attribute(f"{device(names[-1])}/remove", 1)
        expect(csds.drives(), names[:-1], "after the removal")
        disks.write_attribute("/sys/bus/pci/rescan", 1)
        csds.wait_for_drives(names)


class Uevents:
    """What the kernel tells udev of drives, from now on."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW,
                                    UEVENTS)
        cleanup(self.socket.close)
        self.socket.bind((0, 1))
        self.socket.settimeout(120)

    def next(self):
        """Action, name and controller of the next one of a drive."""
        while True:
            _, *lines = self.socket.recv(8192).decode().split("\0")
            event = dict(line.split("=", 1) for line in lines if line)
            if event.get("SUBSYSTEM") == "csd":
                return (event["ACTION"], os.path.basename(event["DEVPATH"]),
                        event["CSD_CONTROLLER"])


@test
def uevents_tell_when_a_drive_can_be_used():
    """If this breaks, a rule of udev's is not run for a drive, or runs before
    the drive is a target."""
    name = csds.drives()[0]
    controller = csds.attribute(name, "controller")
    program = loaded("pair", "pair_63")
    events = Uevents()
    sh(["rmmod", "nvme_csd"])
    gone = [events.next() for _ in DRIVES]
    expect(sorted(gone), [("remove", f"csd{n[4:]}", n) for n in sorted(
        event[2] for event in gone)], "when the module goes")
    expect_in(("remove", name, controller), gone, "and of these")
    sh(["insmod", MODULE])
    with abi.Control() as control:
        for _ in DRIVES:
            action, drive, _ = event = events.next()
            expect(action, "add", "when the module comes")
            fd = os.open(csds.disk_of(drive), os.O_RDONLY)
            found = control.scan(program.fd, fd, None, (3, 4), target=drive,
                                 image=csds.image("pair", "pair_63"))
            os.close(fd)
            expect(found.status, abi.DONE, f"a scan at once after {event}")
    disks.write_attribute(f"{device(name)}/remove", 1)
    expect(events.next(), ("remove", name, controller), "of one that is removed")
    disks.write_attribute("/sys/bus/pci/rescan", 1)
    expect(events.next()[0], "add", "of one that is found")
    csds.wait_for_number(len(DRIVES))


@test
def drives_go_while_the_module_does():
    """If this breaks, two ends at once wait for each other."""
    threads = [threading.Thread(target=disks.write_attribute,
                                args=(f"{device(drive)}/remove", 1))
               for drive in csds.drives()[1:3]]
    threads.append(threading.Thread(target=sh, args=(["rmmod", "nvme_csd"],)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        expect(thread.is_alive(), False, "still waiting")
    disks.write_attribute("/sys/bus/pci/rescan", 1)
    sh(["insmod", MODULE])
    csds.wait_for_number(len(DRIVES))


if __name__ == "__main__":
    run()
