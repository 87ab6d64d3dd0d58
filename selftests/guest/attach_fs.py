#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 300 --nvme {img:128M:zero}
"""Programs on the disk of a mounted file system."""

import errno
import os
import subprocess
import threading

import blkbpf_abi as abi
import disks
from attaching import Attached
from ktap import cleanup, diag, expect, expect_in, run, sh, test, test_each
from programs import borrow

DISK, MOUNT = "/dev/nvme0n1", "/mnt"


def mount():
    """A new ext4 on the disk, mounted for the length of the test."""
    sh(["mkfs.ext4", "-q", "-F", DISK])
    sh(["mount", "-t", "ext4", DISK, MOUNT])
    cleanup(unmount)


def unmount():
    if os.path.ismount(MOUNT):
        sh(["umount", MOUNT])


def churn(stop, flags, counts):
    """Attach and detach every 50 ms until told to stop."""
    shared = borrow("probe", "probe_4096_0")
    with abi.Control() as control:
        device = os.open(DISK, os.O_RDONLY)
        while not stop.wait(0.05):
            link = shared.link()
            number = control.attach(link, device, flags)
            stop.wait(0.05)
            counts.append(control.get(number).bios)
            os.close(link)
        os.close(device)


@test_each(direct=("--direct=1", 0),
           buffered=("--fsync=64", abi.WRITES | abi.OTHERS),
           copied=("--direct=1", abi.MAY_FAIL))
def no_io_is_lost_or_changed_while_programs_come_and_go(how, flags):
    """If this breaks, a file system on a filtered disk is damaged."""
    mount()
    stop, counts, failures = threading.Event(), [], []

    def guarded():
        try:
            churn(stop, flags, counts)
        except BaseException as error:
            failures.append(error)

    borrowed = threading.Thread(target=guarded)
    borrowed.start()
    try:
        done = subprocess.run(
            ["fio", "--name=verify", f"--directory={MOUNT}", "--size=12M",
             "--numjobs=2", "--rw=randrw", "--bssplit=4k/70:16k/30",
             "--blockalign=16k",
             "--ioengine=io_uring", "--iodepth=16", "--verify=crc32c",
             "--verify_fatal=1", "--verify_backlog=64", "--thread",
             "--time_based", "--runtime=5", how],
            capture_output=True, text=True, check=False)
    finally:
        stop.set()
        borrowed.join()
    expect(failures, [], "failures of attaching")
    expect(done.returncode, 0, f"fio: {done.stdout[-2000:]} {done.stderr}")
    diag(f"{len(counts)} attachments, {sum(counts)} bios presented")
    expect(len(counts) > 10, what=f"attachments: {len(counts)}")
    expect(sum(1 for count in counts if count) > 5, what="attachments with I/O")
    unmount()
    checked = sh(["e2fsck", "-fn", DISK], check=False)
    expect(checked.returncode, 0, f"e2fsck: {checked.stdout}")


NEEDLE = b"a needle in the haystack of a file system"


@test
def a_file_that_is_read_is_searched_as_it_passes():
    """If this breaks, a filter under a mounted file system sees no files."""
    mount()
    source = disks.random_bytes(300000, values=256, seed=9)
    text = NEEDLE.join((source[:5000], source[5000:123456], source[123456:]))
    with open(f"{MOUNT}/file", "wb") as file:
        file.write(text)
    unmount()
    sh(["mount", "-t", "ext4", DISK, MOUNT])
    sample = f"{os.environ['BLKBPF_SAMPLES']}/grep.bpf.o"
    sh(["blkbpf", "attach", "--set", f"needle={NEEDLE.decode()}", sample, DISK])
    cleanup(sh, ["blkbpf", "detach", DISK])
    with open(f"{MOUNT}/file", "rb") as file:
        expect(file.read() == text, what="what is read")
    with abi.Control() as control:
        attachment, = control.list()[0]
    expect((attachment.matches, attachment.missed), (2, 0), "matches, missed")


@test
def deny_is_what_a_reader_gets_and_then_no_more():
    """If this breaks, a denied read succeeds, or a detached program goes on
    denying."""
    mount()
    text = disks.random_bytes(65536, seed=10)
    with open(f"{MOUNT}/file", "wb") as file:
        file.write(text)
    sh(["sync"])
    disks.drop_caches()
    attached = Attached(DISK, flags=abi.MAY_FAIL,
                        args=(0, -errno.EREMOTEIO, 0, 1 << 62))
    try:
        with open(f"{MOUNT}/file", "rb") as file:
            file.read()
        got = None
    except OSError as error:
        got = error.errno
    expect(got, errno.EIO, "errno of a reader through the page cache")
    expect(attached.counters().failed > 0, what="failed bios")
    attached.detach()
    disks.drop_caches()
    with open(f"{MOUNT}/file", "rb") as file:
        expect(file.read() == text, what="what is read after detaching")
    unmount()
    checked = sh(["e2fsck", "-fn", DISK], check=False)
    expect(checked.returncode, 0, f"e2fsck: {checked.stdout}")


@test
def unmounting_is_not_held_up_by_an_attachment():
    """If this breaks, an attachment keeps a file system busy."""
    mount()
    attached = Attached(DISK, flags=abi.WRITES | abi.OTHERS)
    with open(f"{MOUNT}/file", "wb") as file:
        file.write(bytes(10000))
    unmount()
    expect_in(abi.OP_WRITE, {call.op for call in attached.seen().log}, "ops")
    expect_in(abi.OP_FLUSH, {call.op for call in attached.seen().log}, "ops")


if __name__ == "__main__":
    run()
