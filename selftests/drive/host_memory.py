#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Data pointers to addresses behind which there is no memory.

QEMU reaches such addresses through a buffer of one page for a device, piece by
piece, and pieces need not end where blocks do.
"""

import struct

import drives
import nvmequeue as nvme
from csdrive import NVM
from ktap import expect, test, test_each
from nvmequeue import PAGE, Buffer, Command, Raw, low_high

NOTHING = 1 << 40
PAGES = 6
BLOCKS = PAGES * PAGE // 512


def mixed(ram, holes):
    """A pointer to so many pages, of which some are not there, from the fifth
    byte of the first on, and the addresses of all."""
    first = ram.pages(PAGES + 1)
    pages = [NOTHING + n * PAGE if n in holes else first + n * PAGE
             for n in range(PAGES + 1)]
    entries = ram.pages(1)
    ram.write(entries, struct.pack(f"<{PAGES}Q", *pages[1:]))
    return Raw(pages[0] + 4, entries), pages


def io(drive, opcode, pointer):
    return drive.io.run(Command(opcode, NVM, pointer, dw12=BLOCKS - 1,
                                **low_high(0, 10)))


@test_each(one=(2,), two=(1, 2), three=(2, 3, 4))
def a_read_fills_the_memory_that_there_is(*holes):
    """If this breaks, a read with an address out of memory never ends, or what
    comes after that address is not what is on the disk."""
    drive = drives.get()
    pointer, pages = mixed(drive.machine.ram, holes)
    drive.must(io(drive, nvme.NVM_READ, pointer))
    at = 0
    for number, page in enumerate(pages):
        start, length = (4, PAGE - 4) if not number else (0, PAGE)
        if number == PAGES:
            length = 4
        if number not in holes:
            expect(drive.machine.ram.read(page + start, length) ==
                   drives.DISK[at:at + length], what=f"data of page {number}")
        at += length


@test
def a_write_from_nowhere_ends_and_the_drive_can_be_pulled():
    """If this breaks, a guest keeps a mapping for ever: its requests hang, and QEMU
    aborts when the drive is pulled."""
    drive = drives.get(slm_size=1 << 20)
    for holes in ((1, 2), (0, 1, 2, 3, 4, 5, 6), (3, 5)):
        pointer, _ = mixed(drive.machine.ram, holes)
        io(drive, nvme.NVM_WRITE, pointer)
    buffer = Buffer(drive.machine.ram, 4096).fill(b"w" * 4096)
    drive.must(drive.io.run(Command(nvme.NVM_WRITE, NVM, nvme.Prp(buffer), dw12=7,
                                    **low_high(0, 10))))
    drives.forget(drive)
    drive.pull()
    drive.machine.check()


if __name__ == "__main__":
    drives.run()
