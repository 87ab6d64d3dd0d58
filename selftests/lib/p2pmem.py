# SPDX-License-Identifier: GPL-2.0
"""Memory of a PCI device that the kernel hands out for peer-to-peer DMA."""

import ctypes
import mmap
import os

PAGE = 4096


def device_of(number):
    """The PCI device of controller N, in sysfs."""
    return os.path.realpath(f"/sys/class/nvme/nvme{number}/device")


def bar(device, number):
    """First and last address of one of its BARs."""
    with open(f"{device}/resource", encoding="ascii") as file:
        first, last, _ = file.readlines()[number].split()
    return int(first, 16), int(last, 16)


def available(device):
    with open(f"{device}/p2pmem/available", encoding="ascii") as file:
        return int(file.read())


class Memory:
    """So many bytes of it, mapped. It is given back by close()."""

    def __init__(self, device, size):
        fd = os.open(f"{device}/p2pmem/allocate", os.O_RDWR | os.O_CLOEXEC)
        try:
            self.map = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        self.size = size

    def close(self):
        self.map.close()

    def addresses(self):
        """Where its pages are: the physical addresses, as pagemap has them."""
        anchor = ctypes.c_char.from_buffer(self.map)
        first = ctypes.addressof(anchor)
        del anchor
        found = []
        with open("/proc/self/pagemap", "rb") as file:
            for at in range(0, self.size, PAGE):
                # Looked at, so that it is there.
                self.map[at]
                file.seek((first + at) // PAGE * 8)
                entry = int.from_bytes(file.read(8), "little")
                found.append((entry & (1 << 55) - 1) * PAGE)
        return found

    def fill_from(self, path, pos, size=None):
        """Read into it, past the page cache: the device's own DMA."""
        size = size or self.size
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        try:
            view = memoryview(self.map)
            at = 0
            while at < size:
                piece = view[at:min(at + (128 << 10), size)]
                done = os.preadv(fd, [piece], pos + at)
                piece.release()
                if done <= 0:
                    raise OSError(f"{path}: nothing to read at {pos + at}")
                at += done
            view.release()
        finally:
            os.close(fd)
