#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: debug
# vm: --no-modules --timeout 300 --qemu-arg=-cpu --qemu-arg=EPYC
# vm: --nvme {img:16M:peer} --csd {img:16M},slm-size=16M,slm-window=4M
"""An unmodified SSD reads right into the drive's memory, and programs run on it.

The kernel needs PCI_P2PDMA, and a host bridge that it knows to route between
devices: it asks the CPU's model.
"""

import os
import struct

import csdprog
import nvme_csd as csd
import p2pmem
from ktap import cleanup, expect, expect_raises, run, test
from ngdrive import Drive, disk, read_text

SIZE = 256 << 10
# Matches every unit whose first byte is below 128, and says so.
BELOW = csdprog.Image([
    csdprog.load64(2, 1, 8),                    # data
    csdprog.insn(0x71, 3, 2),                   # r3 = its first byte
    csdprog.mov(0, 0),
    csdprog.insn(0xa5, 3, off=1, imm=128),      # if r3 < 128 goto +1
    csdprog.EXIT,
    csdprog.mov(0, 1),
    csdprog.EXIT]).pack()


def peer_and_drive():
    return disk(0), Drive(1), p2pmem.device_of(1)


def filled(drive, device, peer, pos=1 << 20, size=SIZE):
    """Memory of the drive with what is on the peer there; its place in the SLM."""
    memory = p2pmem.Memory(device, size)
    cleanup(memory.close)
    addresses = memory.addresses()
    memory.fill_from(peer, pos)
    first, _ = p2pmem.bar(device, 2)
    place = drive.info().window_off + addresses[0] - first
    return memory, addresses, place


def content(path, pos, size):
    with open(path, "rb") as file:
        file.seek(pos)
        return file.read(size)


@test
def logs_say_where_the_window_is():
    """A host finds the SLM's place from a bus address with these two."""
    _, drive, device = peer_and_drive()
    info = drive.info()
    expect((info.slm_size, info.window_off, info.window_size),
           (16 << 20, 12 << 20, 4 << 20), "log D0h")
    data = drive.log(csd.LOG_HOST_ADDRESSABLE, 32)
    expect(struct.unpack_from("<H", data)[0], 1, "entries of log 85h")
    entry = csd.LogHostEntry.parse(data, 16)
    expect((entry.nsid, entry.type, entry.off), (drive.slm, 1, 0), "log 85h")
    first, last = p2pmem.bar(device, 2)
    expect(last - first + 1, 4 << 20, "bytes of BAR 2")
    expect(p2pmem.available(device), 4 << 20, "bytes that the kernel hands out")


@test
def peer_reads_into_the_window():
    """The pages that the peer was given are the BAR's, and the bytes are in the
    SLM without the host having written any."""
    peer, drive, device = peer_and_drive()
    before = drive.counters()
    _, addresses, place = filled(drive, device, peer)
    first, last = p2pmem.bar(device, 2)
    expect(all(first <= address <= last for address in addresses),
           what="all pages are in the BAR")
    wanted = content(peer, 1 << 20, SIZE)
    expect(drive.slm_read(place, SIZE) == wanted, what="what the SLM has")
    after = drive.counters()
    expect((after.host_to_slm, after.media_to_slm), (before.host_to_slm,
           before.media_to_slm), "bytes that came into the SLM another way")


@test
def programs_run_on_what_a_peer_has_read():
    """The matches are those that the peer's data have."""
    peer, drive, device = peer_and_drive()
    _, _, place = filled(drive, device, peer)
    drive.prepare(1, BELOW)
    result, found = drive.scan(1, [(place, SIZE), (0, 65536)], pos=1 << 20)
    wanted = content(peer, 1 << 20, SIZE)
    expect(found, [(1 << 20 | at, 4096) for at in range(0, SIZE, 4096)
                   if wanted[at] < 128], "matches")
    expect(result.bytes, SIZE, "bytes scanned")
    drive.activate(1, csd.DEACTIVATE)
    drive.unload(1)


@test
def memory_is_given_back():
    """What is not returned keeps the driver from letting go of the drive."""
    peer, drive, device = peer_and_drive()
    memory, _, _ = filled(drive, device, peer)
    expect(p2pmem.available(device), (4 << 20) - SIZE, "bytes left")
    memory.close()
    expect(p2pmem.available(device), 4 << 20, "bytes after it was given back")


@test
def window_has_an_end():
    """No more than the window is handed out: the rest of the SLM is for
    copies."""
    _, _, device = peer_and_drive()
    expect_raises(OSError, p2pmem.Memory, device, 8 << 20)


@test
def kernel_took_the_window_without_a_word():
    """It would warn of a size or alignment that it cannot take."""
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    said = []
    try:
        while True:
            said.append(os.read(fd, 8192).decode())
    except BlockingIOError:
        pass
    finally:
        os.close(fd)
    expect([line for line in said if "CMB" in line], [], "lines of the kernel's")
    expect(read_text("/sys/class/nvme/nvme1/state"), "live", "state")


if __name__ == "__main__":
    run()
