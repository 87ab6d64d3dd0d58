#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 400 --csd {img:32M:zero}
"""What a scan sees of a disk that is mounted or written to: the same in the kernel,
in user space and on the drive. Documentation/coherence.rst says what."""

import fcntl
import json
import mmap
import os
import struct
import subprocess
import threading

import csds
import disks
from disks import DirectFile, opened
from ktap import cleanup, expect, run, sh, test, test_each

DRIVE, MOUNT = "csd0", "/mnt"
csds.wait_for_drives([DRIVE])
DISK = csds.disk_of(DRIVE)
SAMPLES = os.environ["BLKBPF_SAMPLES"]
FIELDS = "/selftests/bpf/fields.bpf.o"
TARGETS = ("kernel", "user", DRIVE)
FIEMAP = 0xc020660b
FIFREEZE, FITHAW = 0xc0045877, 0xc0045878
BLOCK, BLOCKS = 4096, 64
_numbers = iter(range(1, 1000))


def blkbpf(*words):
    done = subprocess.run(["blkbpf", "-j", "scan", *words],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=False)
    expect(done.returncode, 0, f"blkbpf scan {words}: {done.stderr}")
    return json.loads(done.stdout)


def places(target, needle, path=DISK, *words):
    """Where a scan on the target finds it."""
    found = blkbpf("--on", target, "--set", f"needle=hex:{needle.hex()}", *words,
                   f"{SAMPLES}/grep.bpf.o", path)
    return [match["pos"] for match in found["matches"]]


def needle():
    """One that was nowhere before."""
    return b"needle number %08d" % next(_numbers)


def expect_everywhere(text, wanted, what):
    for target in TARGETS:
        expect(places(target, text), wanted, f"{what}, on {target}")


def mounted():
    """A new ext4 on the disk, which nobody but us writes back."""
    sh(["mkfs.ext4", "-q", "-F", DISK])
    sh(["mount", "-t", "ext4", DISK, MOUNT])
    cleanup(sh, ["umount", MOUNT])
    setting = "/proc/sys/vm/dirty_writeback_centisecs"
    cleanup(disks.write_attribute, setting, disks.read_attribute(setting))
    disks.write_attribute(setting, 0)


def on_disk(path):
    """Where a file that is in one piece begins on the disk."""
    fd = opened(path)
    raw = bytearray(struct.pack("QQIIIxxxx", 0, 1 << 30, 1, 0, 2) + bytes(2 * 56))
    fcntl.ioctl(fd, FIEMAP, raw)
    expect(struct.unpack_from("I", raw, 20)[0], 1, "pieces of the file")
    return struct.unpack_from("Q", raw, 32 + 8)[0]


def write_file(name, data, sync):
    fd = os.open(f"{MOUNT}/{name}", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(fd, data, 0)
        if sync:
            sync(fd)
    finally:
        os.close(fd)


@test
def dirty_pages_of_the_device_are_written_back_first():
    """If this breaks, what was written to the device and not synced is seen on one
    target, and not on another."""
    fd = opened(DISK, os.O_RDWR)
    for target in TARGETS:
        text = needle()
        os.pwrite(fd, text, 1234567)
        expect(places(target, text), [1234567], f"on {target}")


@test
def a_mapping_of_the_device_is_written_back_too():
    """If this breaks, what is stored by way of a mapping is not seen."""
    fd = opened(DISK, os.O_RDWR)
    view = mmap.mmap(fd, 1 << 20)
    cleanup(view.close)
    for target in TARGETS:
        text = needle()
        view[70000:70000 + len(text)] = text
        expect(places(target, text), [70000], f"on {target}")


@test
def clean_pages_stay_and_are_not_asked():
    """If this breaks, a scan evicts what others read, or reads it in place of the
    disk."""
    mounted()
    old, new = needle(), needle()
    write_file("f", old, os.fsync)
    where = on_disk(f"{MOUNT}/f")
    fd = opened(DISK)
    expect(os.pread(fd, len(old), where), old, "what gets into the device's cache")
    write_file("f", new, os.fsync)
    expect_everywhere(new, [where], "past that cache")
    expect(os.pread(fd, len(old), where), old, "what is in it still")
    expect(places("user", old, DISK, "--buffered"), [where], "by way of it")


@test
def a_file_is_seen_once_it_is_synced():
    """If this breaks, a file that was synced is not found, or a scan syncs what
    nobody has asked for."""
    mounted()
    for sync in (os.fsync, os.fdatasync, lambda fd: os.sync()):
        text = needle()
        write_file("f", text, None)
        expect_everywhere(text, [], "before it is synced")
        write_file("f", text, sync)
        expect_everywhere(text, [on_disk(f"{MOUNT}/f")], "when it is synced")


@test
def a_frozen_file_system_is_all_there():
    """If this breaks, freezing does not bring a file system onto the disk for a
    scan, which is how to scan one that is mounted."""
    mounted()
    text = needle()
    write_file("f", text, None)
    fd = opened(MOUNT)
    fcntl.ioctl(fd, FIFREEZE, 0)
    try:
        found = {target: places(target, text) for target in TARGETS}
    finally:
        fcntl.ioctl(fd, FITHAW, 0)
    where = on_disk(f"{MOUNT}/f")
    expect(found, dict.fromkeys(TARGETS, [where]), "places")


@test
def a_file_itself_is_seen_as_it_is():
    """If this breaks, a scan of a file in user space misses what is dirty in it."""
    mounted()
    text = needle()
    write_file("f", bytes(5000) + text, None)
    for words in ((), ("--buffered",)):
        expect(places("user", text, f"{MOUNT}/f", *words), [5000], f"with {words}")


def generations(target, where, low, high):
    """Blocks of the file that begin with such a number."""
    found = blkbpf("--on", target, "--arg", f"0={BLOCK}", "--arg", f"1={low}",
                   "--arg", f"2={high}", "--range", f"{where}:{BLOCK * BLOCKS}",
                   FIELDS, DISK)
    return len(found["matches"])


class Writer:
    """Writes generation after generation of all blocks of a file, each block whole,
    until told to stop; .done is the last one that is complete."""

    def __init__(self, write):
        self.write, self.done, self.error = write, 0, None
        self.stop = threading.Event()
        self.round()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def round(self):
        number = self.done + 1
        for block in range(BLOCKS):
            self.write(block * BLOCK, struct.pack("<I", number) * (BLOCK // 4))
        self.done = number

    def work(self):
        try:
            while not self.stop.is_set():
                self.round()
        except OSError as error:
            self.error = error

    def end(self):
        self.stop.set()
        self.thread.join()
        expect(self.error, None, "the writer's error")


def direct_writer(path):
    file = DirectFile(path, os.O_RDWR)
    return file.write


def syncing_writer(path):
    fd = opened(path, os.O_RDWR)

    def write(pos, data):
        os.pwrite(fd, data, pos)
        os.fdatasync(fd)

    return write


@test_each(direct=direct_writer, synced=syncing_writer)
def what_was_complete_before_the_scan_is_seen(writer):
    """If this breaks, a scan beside a writer sees data that are older than when it
    began, or that nobody has written."""
    mounted()
    path = f"{MOUNT}/f"
    write_file("f", bytes(BLOCK * BLOCKS), os.fsync)
    where = on_disk(path)
    work = Writer(writer(path))
    try:
        for _ in range(3):
            for target in TARGETS:
                before = work.done
                expect(generations(target, where, 0, before - 1), 0,
                       f"old blocks on {target}")
                found = generations(target, where, before, (1 << 32) - 1)
                expect(found, BLOCKS, f"new blocks on {target}")
    finally:
        work.end()
    for target in TARGETS:
        expect(generations(target, where, work.done, work.done), BLOCKS,
               f"blocks at last on {target}")


if __name__ == "__main__":
    run()
