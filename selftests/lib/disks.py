# SPDX-License-Identifier: GPL-2.0
"""Block devices for tests, each gone when the test that made it ends."""

import ctypes
import fcntl
import itertools
import mmap
import os
import random
import struct
import time

from ktap import cleanup, sh

_numbers = itertools.count()
CONFIGFS = "/sys/kernel/config"


def random_bytes(size, values=256, seed=0):
    """Repeatable bytes of so many values; few make short patterns frequent."""
    data = random.Random(f"disk {seed}").randbytes(size)
    if values == 256:
        return data
    return data.translate(bytes(value % values for value in range(256)))


def opened(path, flags=os.O_RDONLY):
    """An fd of the path until the test ends."""
    fd = os.open(path, flags | os.O_CLOEXEC)
    cleanup(os.close, fd)
    return fd


def write_all(path, data, pos=0):
    """Through the page cache and onto the device."""
    fd = os.open(path, os.O_WRONLY)
    try:
        view = memoryview(data)
        while view:
            done = os.pwrite(fd, view, pos)
            view, pos = view[done:], pos + done
        os.fsync(fd)
    finally:
        os.close(fd)


def size_of(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    finally:
        os.close(fd)


def loop(data, *options, sector=512):
    """A loop device that holds those bytes, or a hole of that many."""
    if not os.path.exists("/dev/loop-control"):
        sh(["modprobe", "loop"])
    path = f"/tmp/loop{next(_numbers)}.img"
    with open(path, "wb") as file:
        if isinstance(data, int):
            file.truncate(data)
        else:
            file.write(data)
    cleanup(os.unlink, path)
    device = sh(["losetup", "--show", "-f", f"--sector-size={sector}", *options,
                 path]).stdout.strip()
    cleanup(_loop_detach, device)
    return device


def _loop_detach(device):
    # A test may have detached it itself.
    if device in sh(["losetup", "-a"]).stdout:
        sh(["losetup", "-d", device])


def write_attribute(path, value):
    with open(path, "w", encoding="ascii") as file:
        file.write(str(value))


def read_attribute(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


class NullBlk:
    """A null_blk disk made through configfs; .path is the device."""

    def __init__(self, **settings):
        if not os.path.isdir(f"{CONFIGFS}/nullb"):
            sh(["modprobe", "null_blk", "nr_devices=0"])
            if not os.path.ismount(CONFIGFS):
                sh(["mount", "-t", "configfs", "none", CONFIGFS])
        self.name = f"test{next(_numbers)}"
        self.folder = f"{CONFIGFS}/nullb/{self.name}"
        settings = {"size": 8, "memory_backed": 1, **settings}
        before = set(os.listdir("/sys/block"))
        os.mkdir(self.folder)
        for key, value in settings.items():
            write_attribute(f"{self.folder}/{key}", value)
        write_attribute(f"{self.folder}/power", 1)
        self.disk, = set(os.listdir("/sys/block")) - before
        self.path = f"/dev/{self.disk}"
        wait_for_node(self.path)
        cleanup(self.remove)

    def set(self, key, value):
        write_attribute(f"{self.folder}/{key}", value)

    def remove(self):
        if os.path.isdir(self.folder):
            write_attribute(f"{self.folder}/power", 0)
            os.rmdir(self.folder)


_BLKDISCARD = 0x1277


def discard(fd, pos, size):
    fcntl.ioctl(fd, _BLKDISCARD, struct.pack("QQ", pos, size))


def wait_for_node(path, seconds=60):
    """devtmpfs makes nodes in a thread of its own, and says nothing."""
    end = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise TimeoutError(f"{path} did not appear")
        time.sleep(0.01)


class Mapped:
    """A device-mapper device; .path is the device."""

    def __init__(self, table):
        if not os.path.exists("/dev/mapper/control"):
            sh(["modprobe", "dm-mod"])
        self.name = f"test{next(_numbers)}"
        sh(["dmsetup", "create", self.name, "--noudevsync", "--table", table])
        cleanup(self.remove)
        self.path = sh(["dmsetup", "info", "-c", "--noheadings", "-o", "blkdevname",
                        self.name]).stdout.strip()
        self.path = f"/dev/{self.path}"
        wait_for_node(self.path)

    def load(self, table):
        """Change the table of the live device."""
        sh(["dmsetup", "suspend", self.name])
        sh(["dmsetup", "load", self.name, "--table", table])
        sh(["dmsetup", "resume", "--noudevsync", self.name])

    def remove(self):
        if self.name in sh(["dmsetup", "ls"]).stdout:
            sh(["dmsetup", "remove", "--noudevsync", self.name])


_BLKPG = 0x1269


class _BlkpgPartition(ctypes.Structure):
    _fields_ = [("start", ctypes.c_longlong), ("length", ctypes.c_longlong),
                ("pno", ctypes.c_int), ("names", ctypes.c_char * 128)]


class _BlkpgArg(ctypes.Structure):
    _fields_ = [("op", ctypes.c_int), ("flags", ctypes.c_int),
                ("datalen", ctypes.c_int), ("data", ctypes.c_void_p)]


def _blkpg(device, op, number, start=0, length=0):
    part = _BlkpgPartition(start, length, number)
    arg = _BlkpgArg(op, 0, ctypes.sizeof(part), ctypes.addressof(part))
    fd = os.open(device, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, _BLKPG, bytes(arg))
    finally:
        os.close(fd)


def partition(device, number, start, length):
    """A partition without a table on the disk; the path of it."""
    _blkpg(device, 1, number, start, length)
    path = f"{device}{'p' if device[-1].isdigit() else ''}{number}"
    wait_for_node(path)
    cleanup(remove_partition, device, number)
    return path


def resize_partition(device, number, start, length):
    """Also while it is open."""
    _blkpg(device, 3, number, start, length)


def remove_partition(device, number):
    name = f"{device}{'p' if device[-1].isdigit() else ''}{number}"
    if os.path.exists(f"/sys/class/block/{os.path.basename(name)}"):
        _blkpg(device, 2, number)


class DirectFile:
    """A device opened with O_DIRECT, read into buffers at chosen offsets."""

    def __init__(self, path, flags=os.O_RDONLY, room=4 << 20):
        self.fd = os.open(path, flags | os.O_DIRECT | os.O_CLOEXEC)
        cleanup(os.close, self.fd)
        self.memory = mmap.mmap(-1, room)

    def read(self, pos, size, at=0, flags=0):
        """size bytes from pos, into the buffer at that offset in a page."""
        return self.readv(pos, [(at, size)], flags)

    def readv(self, pos, pieces, flags=0):
        """Into pieces of the buffer, given as (offset, length)."""
        view = memoryview(self.memory)
        parts = [view[at:at + size] for at, size in pieces]
        done = os.preadv(self.fd, parts, pos, flags)
        data = b"".join(bytes(part) for part in parts)
        for part in parts:
            part.release()
        view.release()
        return data[:done]

    def write(self, pos, data, at=0):
        self.memory[at:at + len(data)] = data
        view = memoryview(self.memory)
        part = view[at:at + len(data)]
        done = os.pwritev(self.fd, [part], pos)
        part.release()
        view.release()
        return done


def drop_caches():
    write_attribute("/proc/sys/vm/drop_caches", 3)
