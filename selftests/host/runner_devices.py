#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Disks, folders and clocks that the VM runner gives a guest."""

import os
import tempfile

from ktap import cleanup, expect, expect_in, run, test
from vmrun import vm


def workspace():
    folder = tempfile.TemporaryDirectory()
    cleanup(folder.cleanup)
    return folder.name


def image(folder, name, size):
    path = os.path.join(folder, name)
    with open(path, "wb") as file:
        file.write(name.encode().ljust(16))
        file.truncate(size)
    return path


@test
def nvme_disks_come_in_order():
    """A test that writes to the wrong disk destroys another's data."""
    folder = workspace()
    words = []
    for number in range(4):
        words += ["--nvme", image(folder, f"disk {number}", (number + 1) << 20)]
    for _ in range(3):
        done = vm(*words, "--", "sh", "-ec",
                  "for n in 0 1 2 3; do head -c 16 /dev/nvme${n}n1; "
                  "blockdev --getsize64 /dev/nvme${n}n1; done")
        expect(done.stdout.decode(), "".join(
            f"disk {number}".ljust(16) + f"{(number + 1) << 20}\n"
            for number in range(4)), "disks")


@test
def nvme_keys_reach_drive_and_device():
    """Block size and read-only tests rest on these keys."""
    path = image(workspace(), "a,b", 8 << 20)
    done = vm("--nvme", path.replace(",", ",,")
              + ",logical_block_size=4096,physical_block_size=4096,"
              "serial=mine,snapshot=on", "--", "sh", "-ec",
              "blockdev --getss /dev/nvme0n1; cat /sys/class/nvme/nvme0/serial;"
              "echo changed | dd of=/dev/nvme0n1 conv=sync bs=4096 "
              "oflag=direct 2>/dev/null")
    expect(done.stdout.split(), [b"4096", b"mine"], "block size and serial")
    with open(path, "rb") as file:
        expect(file.read(3), b"a,b", "the image after a write to a snapshot")


@test
def nvme_writes_reach_the_image():
    """What a guest wrote and synced must be in the file afterwards."""
    path = image(workspace(), "image", 1 << 20)
    done = vm("--nvme", path, "--", "sh", "-c",
              "printf written > /dev/nvme0n1")
    expect(done.returncode, 0, "status")
    with open(path, "rb") as file:
        expect(file.read(7), b"written", "image")


@test
def share_is_readable_and_read_only():
    """A guest must see the folder, and must not be able to change it."""
    folder = workspace()
    with open(os.path.join(folder, "a file"), "w", encoding="utf-8") as file:
        file.write("from the host")
    done = vm("--share", folder, "--", "sh", "-c", "cat '/share/a file'; "
              "mount -o remount,rw /share; touch /share/b && echo wrote; "
              "echo x > '/share/a file' && echo wrote; exit 0")
    expect(done.stdout, b"from the host", "what the guest read and wrote")
    expect(os.listdir(folder), ["a file"], "the folder afterwards")
    with open(os.path.join(folder, "a file"), encoding="utf-8") as file:
        expect(file.read(), "from the host", "the file afterwards")


@test
def smp_and_memory_are_as_asked():
    """A race test on one CPU would prove nothing."""
    done = vm("--smp", "3", "--mem", "512M", "--", "sh", "-c",
              "nproc; awk '/MemTotal/ { print $2 }' /proc/meminfo; "
              "cat /proc/cmdline")
    cpus, memory = done.stdout.split()[:2]
    expect(cpus, b"3", "CPUs")
    expect(400 << 10 < int(memory) < 512 << 10, what=f"memory of {memory} KiB")


@test
def append_reaches_the_kernel():
    """Tests switch kernel features on by its command line."""
    done = vm("--append", "blkbpf.test=some", "--", "cat", "/proc/cmdline")
    expect_in(b"blkbpf.test=some", done.stdout, "command line")


COUNT = """
import ctypes, mmap, subprocess
code = mmap.mmap(-1, 4096, prot=7)
# rdtsc; shl rdx, 32; or rax, rdx; ret
code.write(bytes.fromhex("0f31 48c1e220 4809d0 c3"))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
tsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(address)
first = tsc()
subprocess.run("modprobe null_blk && fio --name=a --filename=/dev/nullb0 "
               "--rw=randread --bs=4k --iodepth=8 --ioengine=io_uring "
               "--number_ios=2000 --direct=1 --output=/tmp/fio",
               shell=True, check=True)
print(first, tsc())
"""


@test
def icount_counts_the_same_twice():
    """Measurements in guest instructions are worth nothing if they vary."""
    runs = [vm("--icount", "--", "python3", "-c", COUNT) for _ in range(2)]
    for done in runs:
        expect(done.returncode, 0, f"status, after {done.stderr!r}")
        expect(len(done.stdout.split()), 2, "numbers")
    expect(runs[0].stdout, runs[1].stdout, "time stamps of two runs")


run()
