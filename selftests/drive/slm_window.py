#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The part of the SLM that is in a BAR: the host's, a peer's and the drive's own
way to it."""

import random

import csdprog as prog
import drivemodel as model
import drives
import nvme_csd as csd
import nvmequeue as nvme
from csdrive import NVM, RESULT_SIZE
from ktap import cleanup, expect, test, test_each
from nvmequeue import Buffer, Command, Controller, Prp, Raw
from qtest import PAGE

SIZE, WINDOW = 8 << 20, 2 << 20
FIRST = SIZE - WINDOW	# of the SLM
REG_CMBLOC, REG_CMBSZ, REG_CMBMSC = 0x38, 0x3c, 0x50


def get():
    return drives.get(slm_size=SIZE, slm_window=WINDOW)


def bar(drive):
    return drive.bars[2][0]


def enable_cmb(drive, address=None):
    """As Linux does: registers on, then memory space on at an address."""
    address = bar(drive) if address is None else address
    drive.write(REG_CMBMSC, 1)
    drive.write(REG_CMBMSC + 4, address >> 32)
    drive.write(REG_CMBMSC, address & 0xfffff000 | 3)


@test
def a_drive_without_a_window_has_no_cmb():
    """If this breaks, a kernel without peer-to-peer DMA warns about a memory
    that nobody asked for."""
    drive = drives.get(slm_size=SIZE)
    expect(drive.cap >> 57 & 1, 0, "CAP.CMBS")
    expect(2 in drive.bars, False, "BAR 2")


@test
def registers_say_data_alone():
    """If this breaks, nvme-pci puts a submission queue into the SLM, or does
    not take the memory at all."""
    drive = get()
    expect(drive.cap >> 57 & 1, 1, "CAP.CMBS")
    expect(drive.bars[2][1], WINDOW, "size of BAR 2")
    drive.write(REG_CMBMSC, 1)
    loc, size = drive.read(REG_CMBLOC), drive.read(REG_CMBSZ)
    expect((loc & 7, loc >> 12), (2, 0), "CMBLOC: BAR and offset")
    expect((size & 1, size >> 1 & 1, size >> 2 & 1, size >> 3 & 1,
            size >> 4 & 1), (0, 0, 0, 1, 1), "CMBSZ: SQS, CQS, LISTS, RDS, WDS")
    unit = 4096 << 4 * (size >> 8 & 0xf)
    expect((size >> 12) * unit, WINDOW, "CMBSZ: bytes")


@test
def bar_and_slm_are_the_same_bytes():
    """If this breaks, what a peer writes into the window is not what programs
    see."""
    drive = get()
    source = random.Random(5)
    for _ in range(30):
        length = 4 * source.randint(1, 500)
        off = 4 * source.randrange((WINDOW - length) // 4)
        data = source.randbytes(length)
        drive.machine.write(bar(drive) + off, data)
        expect(drive.slm_read(FIRST + off, length) == data, what="Memory Read")
        data = source.randbytes(length)
        drive.slm_write(FIRST + off, data)
        expect(drive.machine.read(bar(drive) + off, length) == data,
               what="read of the BAR")
    drive.slm_write(FIRST - 4, b"last")
    drive.must(drive.slm_fill(FIRST, WINDOW))
    expect(drive.slm_read(FIRST - 4, 4), b"last", "in front of the window")


@test
def peers_read_their_lbas_into_it():
    """If this breaks, an unmodified SSD cannot deliver data to the drive, and
    all of them cross the host's memory."""
    drive = get()
    host = drive.machine
    port = drives.free_port(host)
    host.plug("nvme", port, serial="peer",
              drive=host.disk(0, drives.DISK[::-1]))
    cleanup(host.pull, port)
    peer = Controller(host, port).enable()
    queue = peer.create_queue(1)
    wanted = drives.DISK[::-1]
    drive.must(drive.slm_fill(FIRST, WINDOW))
    for slba in range(0, 512, 64):	# 32 KiB each
        at = bar(drive) + slba * 512
        lists = host.ram.pages(1)
        host.ram.write(lists, b"".join(
            (at + n * PAGE).to_bytes(8, "little") for n in range(1, 8)))
        done = queue.run(Command(nvme.NVM_READ, NVM, Raw(at, lists), dw10=slba,
                                 dw12=63))
        expect(done.status, 0, "status of the peer's Read")
    expect(drive.slm_read(FIRST, 512 * 512) == wanted[:512 * 512],
           what="the SLM")
    drive.put(1, prog.from_object("pair", "pair_1").pack())
    run = drive.scan(1, [(FIRST, 512 * 512), (0, RESULT_SIZE + 16 * 9000)],
                     args=(1, 2))
    drive.must(run.done)
    expect(run.matches == model.scan(model.pair(1, 2), wanted[:512 * 512],
                                     overlap=1).matches, what="matches")


@test_each(on=True, off=False)
def the_drive_reads_its_own_lbas_into_it(enabled):
    """If this breaks, a host that hands out the window's memory for any
    controller cannot use this one."""
    drive = get()
    if enabled:
        enable_cmb(drive)
    drive.must(drive.slm_fill(FIRST, WINDOW))
    done = drive.io.run(Command(nvme.NVM_READ, NVM, Raw(bar(drive),
                                                        bar(drive) + PAGE),
                                dw10=100, dw12=15))
    drive.must(done)
    expect(drive.slm_read(FIRST, 2 * PAGE) == drives.DISK[51200:51200 + 8192],
           what="the SLM")


@test_each(on=True, off=False)
def memory_commands_may_point_into_it(enabled):
    """If this breaks, a Memory Read into the window, of bytes that are in the
    window too, garbles them, or QEMU copies over itself."""
    drive = get()
    if enabled:
        enable_cmb(drive)
    data = random.Random(6).randbytes(4 * PAGE)
    at = bar(drive)
    for shift in (0, PAGE, 2 * PAGE):
        drive.slm_write(FIRST, data)
        # Bytes of the window to another, overlapping, part of it
        done = drive.io.run(drive.slm_command(
            csd.SLM_READ, FIRST, 2 * PAGE, Raw(at + shift, at + shift + PAGE)))
        drive.must(done)
        expect(drive.slm_read(FIRST + shift, 2 * PAGE) == data[:2 * PAGE],
               what=f"Memory Read, {shift} bytes further")
        drive.slm_write(FIRST, data)
        done = drive.io.run(drive.slm_command(
            csd.SLM_WRITE, FIRST + shift, 2 * PAGE, Raw(at, at + PAGE)))
        drive.must(done)
        expect(drive.slm_read(FIRST + shift, 2 * PAGE) == data[:2 * PAGE],
               what=f"Memory Write, {shift} bytes further")


@test
def descriptors_may_be_in_it():
    """If this breaks, commands whose data are in the window fail."""
    drive = get()
    enable_cmb(drive)
    drive.put(1, prog.Image([prog.mov(0, 7), prog.EXIT]).pack())
    drive.machine.write(bar(drive), drive.ranges([(0, 64)]))
    done = drive.execute(1, [(0, 64)], data=Raw(bar(drive)))
    expect((done.status, done.result), (0, 7), "Execute")


@test
def queues_and_lists_in_it_do_no_harm():
    """If this breaks, a host that puts a queue or a PRP list where the drive
    says that none should be gets at QEMU's memory."""
    drive = get()
    enable_cmb(drive)
    at = bar(drive)
    queue = nvme.Queue(drive, 5, 16)
    size = 15 << 16 | 5
    drive.admin.run(Command(nvme.CREATE_CQ, data=Raw(at + WINDOW - PAGE),
                            dw10=size, dw11=1))
    drive.admin.run(Command(nvme.CREATE_SQ, data=Raw(at + WINDOW - PAGE),
                            dw10=size, dw11=5 << 16 | 1))
    drive.machine.write(at + WINDOW - PAGE, Command(nvme.NVM_FLUSH, NVM).pack(
        7))
    drive.doorbell(queue.qid, 0, 1)
    drive.machine.write(at + PAGE, queue.cq.to_bytes(8, "little") * 4)
    buffer = Buffer(drive.machine.ram, 3 * PAGE)
    done = drive.io.run(drive.slm_command(csd.SLM_READ, 0, 3 * PAGE,
                                          Raw(buffer.pages[0], at + PAGE)))
    expect(done.status in (0, nvme.CMB_USE, nvme.DATA_TRANSFER),
           what=f"a PRP list in it: {done}")
    drive.restart()
    expect(len(drive.slm_read(0, PAGE)), PAGE, "bytes after a reset")


@test
def the_end_of_the_window_is_the_end():
    """If this breaks, a transfer that begins in the window writes behind it."""
    drive = get()
    for enabled in (False, True):
        if enabled:
            enable_cmb(drive)
        last = bar(drive) + WINDOW - PAGE
        done = drive.io.run(drive.slm_command(csd.SLM_READ, 0, PAGE, Raw(last)))
        drive.must(done)
        done = drive.io.run(drive.slm_command(
            csd.SLM_READ, 0, 2 * PAGE, Raw(last, last + PAGE)))
        expect(done.status != 0, what=f"behind the window: {done}")


@test
def resets_keep_the_window_apart():
    """If this breaks, the address that a host gave the window outlives a PCI
    reset."""
    drive = get()
    enable_cmb(drive)
    drive.slm_write(FIRST, b"gone")
    drive.function_reset()
    drive.start()
    expect(drive.machine.read(bar(drive), 4), bytes(4), "zeros after an FLR")
    buffer = Buffer(drive.machine.ram, PAGE)
    drive.must(drive.io.run(drive.slm_command(csd.SLM_READ, FIRST, 4,
                                              Prp(buffer))))


if __name__ == "__main__":
    drives.run()
