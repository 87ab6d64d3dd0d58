# SPDX-License-Identifier: GPL-2.0
"""Computational drives in a guest, and programs in the form they take."""

import functools
import os
import subprocess
import tempfile
import time

import ktap
from programs import OBJECTS

CLASS = "/sys/class/csd"
TOOL = "/selftests/bin/csd_image"


@functools.lru_cache(maxsize=None)
def image(name, program=None):
    """The image of a test's program, with the values of its object file."""
    with tempfile.NamedTemporaryFile() as file:
        done = subprocess.run([TOOL, f"{OBJECTS}/{name}.bpf.o", program or "-",
                               file.name], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            ktap.fail(f"no image of {name}: {done.stderr}")
        return file.read()


def initial(data):
    """The writable global variables of an image, as they begin."""
    def word(at):
        return int.from_bytes(data[at:at + 4], "little")

    values = bytearray()
    for number in range(word(24)):
        at = word(28) + 16 * number
        size, flags, length, off = (word(at + 4 * i) for i in range(4))
        if not flags & 1:
            values += data[off:off + length] + bytes(size - length)
    return values


def drives():
    """The names of the drives that there are.

    The kernel makes a device's name first, and then its attributes one by one; this
    is the last of them.
    """
    names = os.listdir(CLASS) if os.path.isdir(CLASS) else []
    return sorted(name for name in names
                  if os.path.exists(f"{CLASS}/{name}/programs"))


def attribute(drive, name):
    with open(f"{CLASS}/{drive}/{name}", encoding="ascii") as file:
        return file.read().rstrip("\n")


def wait_for_attribute(drive, name, wanted, seconds=60):
    end = time.monotonic() + seconds
    while attribute(drive, name) != wanted and time.monotonic() < end:
        time.sleep(0.01)
    ktap.expect(attribute(drive, name), wanted, name)


def wait_for_drives(wanted, seconds=60):
    """Drives come and go in threads of the kernel's, which tell udev alone."""
    end = time.monotonic() + seconds
    while drives() != wanted and time.monotonic() < end:
        time.sleep(0.05)
    ktap.expect(drives(), wanted, "drives")


def wait_for_number(wanted, seconds=60):
    """The names of so many drives, once they are there.

    The kernel probes controllers side by side, and numbers them as they come.
    """
    end = time.monotonic() + seconds
    while len(drives()) != wanted and time.monotonic() < end:
        time.sleep(0.05)
    ktap.expect(len(drives()), wanted, f"the number of drives, of {drives()}")
    return drives()


def disk_of(drive, seconds=60):
    """The drive's own disk, which may be found after its other namespaces."""
    end = time.monotonic() + seconds
    while not (name := attribute(drive, "namespaces")) and time.monotonic() < end:
        time.sleep(0.01)
    return f"/dev/{name}"


def drive_and_ssds():
    """In a machine with one drive: (its name, its disk, the other NVMe disks).

    Controllers are numbered as they are found, not as the machine lists them.
    """
    drive, = wait_for_number(1)
    own = attribute(drive, "controller") + "n"
    ssds = sorted(f"/dev/{name}" for name in os.listdir("/sys/block")
                  if name.startswith("nvme") and not name.startswith(own))
    return drive, disk_of(drive), ssds


def crc32c(data):
    """As in the header of an image."""
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff
