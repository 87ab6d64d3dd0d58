#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Drives that share an NVMe subsystem with other controllers: what is a drive's
stays its own."""

import struct

import csdprog as prog
import nvme_csd as csd
import nvmequeue as nvme
import qtest
from csdrive import Drive, byte_source
from ktap import cleanup, expect, run, test, test_each
from nvmequeue import Command

NS_ATTACHMENT, ATTACH, DETACH = 0x15, 0, 1
NS_PRIVATE = 0x119
GOOD = prog.Image([prog.mov(0, 0), prog.EXIT]).pack()


def machine():
    found = qtest.Machine("-device", "nvme-subsys,id=shared", ports=2)
    cleanup(found.close)
    return found


def plug(host, port, driver="nvme-csd", **properties):
    """A controller of the subsystem, and what it says its identifier is."""
    host.plug(driver, port, subsys="shared", serial="shared", **properties)
    drive = Drive(host, port)
    drive.depth = 32
    drive.start()
    _, data = drive.identify(1)
    drive.cntlid, = struct.unpack_from("<H", data, 78)
    return drive


def csd_pair():
    host = machine()
    return plug(host, 0), plug(host, 1)


def own(drive):
    info = drive.info()
    return info.slm_nsid, info.cp_nsid


def attachment(drive, select, nsid, cntlid):
    """By @drive: attach a namespace to a controller, or detach it."""
    return drive.run_admin(Command(
        NS_ATTACHMENT, nsid, drive.pointer(struct.pack("<2H4092x", 1, cntlid)),
        dw10=select))


def foreign_is_refused(first, other):
    """The namespaces of the first cannot become another's, whoever asks."""
    for nsid in own(first):
        first.must(attachment(first, DETACH, nsid, first.cntlid))
        for asked in (first, other):
            done = attachment(asked, ATTACH, nsid, other.cntlid)
            expect(hex(done.status), hex(NS_PRIVATE), f"attaching {nsid}")


@test
def memory_is_not_attached_to_another_drive():
    """If this breaks, a drive takes another's memory for LBAs, of no bytes each,
    and QEMU ends; or runs programs on it."""
    first, other = csd_pair()
    foreign_is_refused(first, other)
    slm = own(first)[0]
    # As it is done to one that is attached.
    done = other.copy(0, [byte_source(0, 4096, own(other)[0])], 4096,
                      csd.COPY_BYTES, nsid=slm)
    expect(done.status != 0, what="a copy to the other's memory is refused")


@test_each(plain="nvme", drive="nvme-csd")
def nothing_is_left_of_a_drive_that_is_pulled(driver):
    """If this breaks, another controller has a namespace in a drive's memory,
    which is freed when that is pulled."""
    host = machine()
    first, other = plug(host, 0), plug(host, 1, driver)
    slm, cp = own(first)
    foreign_is_refused(first, other)
    first.pull()
    for nsid in (slm, cp):
        for command in (Command(nvme.NVM_WRITE, nsid),
                        Command(nvme.NVM_READ, nsid)):
            done = other.io.run(command)
            expect(hex(done.status), hex(nvme.INVALID_FIELD), f"I/O to {nsid}")
        status, data = other.identify(0x05, nsid, csi=3)
        expect(status != 0 or not any(data), what=f"Identify of {nsid}")
    other.restart()


@test
def a_drive_gets_its_own_back():
    """If this breaks, what was detached from a drive is lost until it is pulled."""
    first, other = csd_pair()
    for nsid in own(first):
        first.must(attachment(other, DETACH, nsid, first.cntlid))
        other.must(attachment(other, ATTACH, nsid, first.cntlid))
    slm, cp = own(first)
    done = first.run_admin(first.load_command(1, GOOD, len(GOOD), nsid=cp))
    first.must(done)
    first.must(first.activate(1, nsid=cp))
    first.must(first.execute(1, [(0, 4096, slm)], nsid=cp))


if __name__ == "__main__":
    run()
