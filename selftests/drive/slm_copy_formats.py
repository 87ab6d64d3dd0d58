#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Copies and namespaces of other formats: larger LBAs, metadata, zones."""

import os
import random
import tempfile

import ktap
import nvme_csd as csd
import nvmequeue as nvme
import qtest
from csdrive import NVM, Drive, byte_source, lba_source
from drives import refused
from ktap import expect, test

SIZE = 2 << 20
DISK = random.Random("formats").randbytes(4 << 20)
BLOCKS_4K, METADATA, ZONED = 4, 5, 6
ZONE = 64 << 10
_state = {}


def get():
    """A drive with more namespaces, which can be there at its start alone."""
    if not _state:
        folder = tempfile.TemporaryDirectory(prefix="blkbpf-formats.")
        arguments = []
        for name in ("nvm", "large", "meta", "zoned"):
            path = os.path.join(folder.name, name)
            with open(path, "wb") as file:
                file.write(DISK)
            arguments += ["-drive", f"id={name},if=none,format=raw,file={path}" +
                          (",throttling.bps-total=1048576" if name == "zoned"
                           else "")]
        arguments += [
            "-device", f"nvme-csd,id=csd,bus=rp0,serial=1,drive=nvm,"
            f"slm-size={SIZE}",
            "-device", f"nvme-ns,bus=csd,drive=large,nsid={BLOCKS_4K},"
            "logical_block_size=4096,physical_block_size=4096",
            "-device", f"nvme-ns,bus=csd,drive=meta,nsid={METADATA},ms=8",
            "-device", f"nvme-ns,bus=csd,drive=zoned,nsid={ZONED},zoned=on,"
            f"zoned.zone_size={ZONE},zoned.zone_capacity={ZONE}"]
        machine = qtest.Machine(*arguments)
        drive = Drive(machine)
        drive.name, drive.depth = "csd", 64
        drive.step = 10 * 1000 * 1000	# for the zones, whose disk is slow
        machine.slots[0] = "csd"
        _state.update(folder=folder, drive=drive)
    drive = _state["drive"]
    drive.start()
    ktap.cleanup(lambda: drive.disable())
    drive.must(drive.enable_copy_formats())
    return drive


def write_zone(drive, zone, blocks):
    """Fill the first blocks of an empty zone; the bytes."""
    slba = zone * ZONE // 512
    done = drive.io.run(nvme.Command(0x79, ZONED, dw13=4,	# zone reset
                                     **nvme.low_high(slba, 10)))
    drive.must(done)
    data = random.Random(zone).randbytes(blocks * 512)
    drive.nvm_write(slba, data, nsid=ZONED)
    return data


@test
def all_namespaces_are_there():
    """If this breaks, the SLM and the programs take identifiers that the
    user gave to namespaces, or the drive takes none beside its own."""
    drive = get()
    _, data = drive.identify(2)
    found = [int.from_bytes(data[at:at + 4], "little")
             for at in range(0, 64, 4)]
    expect(found[:7], [1, 2, 3, BLOCKS_4K, METADATA, ZONED, 0], "identifiers")


@test
def large_lbas_arrive():
    """If this breaks, a number of LBAs is taken for one of 512-byte sectors."""
    drive = get()
    drive.must(drive.copy(0, [lba_source(3, 2, BLOCKS_4K),
                              lba_source(1, 1, NVM)], 8704))
    expect(drive.slm_read(0, 8704) == DISK[12288:20480] + DISK[512:1024],
           what="the bytes")
    drive.must(drive.nvm_copy(7, [byte_source(0, 4096)], nsid=BLOCKS_4K))
    expect(drive.nvm_read(7, 1, 4096, BLOCKS_4K) == DISK[12288:16384],
           what="the LBA")
    refused(drive, drive.nvm_copy(7, [byte_source(0, 512)], nsid=BLOCKS_4K),
            nvme.INVALID_FIELD, "LBAs of 4096")


@test
def metadata_is_refused():
    """If this breaks, metadata land in SLM between the data, or are invented
    for LBAs."""
    drive = get()
    refused(drive, drive.copy(0, [lba_source(0, 1, METADATA)], 512),
            csd.SC_BAD_NS_FORMAT, "metadata")
    refused(drive, drive.nvm_copy(0, [byte_source(0, 512)], nsid=METADATA),
            csd.SC_BAD_NS_FORMAT, "metadata")


@test
def zones_can_be_read():
    """If this breaks, written data of a zoned namespace cannot be scanned."""
    drive = get()
    data = write_zone(drive, 1, 16)
    drive.must(drive.copy(0, [lba_source(ZONE // 512, 16, ZONED)], 8192))
    expect(drive.slm_read(0, 8192) == data, what="the bytes")


@test
def reads_across_zones_are_refused():
    """If this breaks, a read does what the zoned command set forbids, unless
    the namespace allows reads across zone boundaries."""
    drive = get()
    write_zone(drive, 0, 128)
    last = ZONE // 512 - 1
    done = drive.copy(0, [lba_source(last, 2, ZONED)], 1024)
    # 1B8h: zone boundary error
    refused(drive, done, 0x1b8, "zone")


@test
def copies_go_to_the_write_pointer_alone():
    """If this breaks, NVM Copy from SLM writes into the middle of a zone, or
    leaves the write pointer where it was."""
    drive = get()
    drive.slm_write(0, DISK[:4096])
    write_zone(drive, 2, 2)
    slba = 2 * ZONE // 512
    # 1BCh: zone invalid write
    refused(drive, drive.nvm_copy(slba, [byte_source(0, 512)], nsid=ZONED),
            0x1bc, "write pointer")
    for at in (slba + 2, slba + 4):
        drive.must(drive.nvm_copy(at, [byte_source(0, 1024)], nsid=ZONED))
    expect(drive.nvm_read(slba + 2, 4, nsid=ZONED) == DISK[:1024] * 2,
           what="the bytes")
    done = drive.nvm_copy(slba + 128, [byte_source(0, 512)], nsid=ZONED)
    drive.must(done)	# the next zone is empty: its start is its write pointer
    report = drive.io.run(nvme.Command(0x79, ZONED, dw13=2,	# zone finish
                                       **nvme.low_high(slba, 10)))
    drive.must(report)
    refused(drive, drive.nvm_copy(slba + 6, [byte_source(0, 512)], nsid=ZONED),
            0x1b9, "zone")	# 1B9h: zone is full


def write_pointer(drive, slba):
    """Of the zone that begins there, by Zone Management Receive."""
    buffer = nvme.Buffer(drive.machine.ram, 4096)
    drive.must(drive.io.run(nvme.Command(
        0x7a, ZONED, nvme.Prp(buffer), dw12=1023, dw13=1 << 16,
        **nvme.low_high(slba, 10))))
    return int.from_bytes(buffer.bytes()[64 + 24:64 + 32], "little")


@test
def a_copy_that_is_aborted_leaves_a_zone_that_can_be_written():
    """If this breaks, the write pointer that a zone reports is not the one that
    writes are held to, and nothing can be written there any more."""
    drive = get()
    slba = 4 * ZONE // 512
    write_zone(drive, 4, 2)
    usual, drive.step = drive.step, 0
    ktap.cleanup(setattr, drive, "step", usual)
    # More than the slow disk does while the clock stands still.
    drive.io.submit_all([nvme.Command(
        nvme.NVM_READ, ZONED, nvme.Prp(nvme.Buffer(drive.machine.ram, ZONE)),
        dw12=ZONE // 512 - 1)] * 4)
    sources = [byte_source(0, 8192)]
    raw = b"".join(map(bytes, sources))
    cid = drive.io.submit(nvme.Command(
        nvme.NVM_COPY, ZONED, drive.pointer(raw), dw12=4 << 8,
        **nvme.low_high(slba + 2, 10)))
    drive.settle()
    drive.io.drain()
    expect(cid not in drive.io.waiting, what="the copy is under way")
    drive.abort(drive.io, cid)
    drive.step = usual
    done = drive.io.wait(cid)
    expect(done.status in (0, nvme.ABORTED), what=f"{done}")
    at = write_pointer(drive, slba)
    expect(slba + 2 <= at <= slba + 18, what=f"write pointer {at - slba}")
    drive.must(drive.nvm_copy(at, [byte_source(0, 512)], nsid=ZONED))
    expect(write_pointer(drive, slba), at + 1, "write pointer afterwards")


@test
def ordinary_copies_still_work():
    """If this breaks, hw/nvme's own Copy, from LBAs to LBAs, does not work on
    this drive."""
    drive = get()
    drive.must(drive.nvm_copy(100, [lba_source(16, 8, BLOCKS_4K)],
                              csd.COPY_LBA, BLOCKS_4K))
    expect(drive.nvm_read(100, 8, 4096, BLOCKS_4K) == DISK[65536:98304],
           what="the bytes")


@test
def pull_it_with_all_its_namespaces():
    """If this breaks, a drive with further namespaces cannot be unplugged."""
    drive = get()
    drive.must(drive.copy(0, [lba_source(0, 8, BLOCKS_4K)], 32768))
    drive.disable()
    drive.pull()
    drive.disable = lambda: None
    drive.machine.close()


if __name__ == "__main__":
    ktap.run()
