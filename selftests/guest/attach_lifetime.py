#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 400 --nvme {img:16M} --nvme {img:8M}
# vm: --append slab_nomerge
"""What lives how long: attachments, links, devices, bios, the module."""

import errno
import os
import signal
import subprocess
import threading

import blkbpf_abi as abi
import disks
import kernel_log
import programs
import slabs
from attaching import (Attached, module_users, settled,
                       unload_other_users)
from disks import DirectFile, opened
from ktap import (cleanup, expect, expect_match, expect_raises, run, sh,
                  skip, test)
from programs import BPFFS, Program, borrow, detach_link, obj_pin, update_link

DISK, REMOVABLE = "/dev/nvme0n1", "/dev/nvme1n1"
DATA = disks.random_bytes(16 << 20, values=6)
# Caches that are compared: all but those of a file system that only works beside.
CACHES = "(?!ext4)"


def listed():
    with abi.Control() as control:
        return control.list()[1]


def attaching_child(work):
    """A child that attaches; returns its pid when that is done.

    It calls work(link fd) and then sleeps until it is killed.
    """
    program = borrow("probe", "probe_4096_0")
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        link = program.link()
        with abi.Control() as control:
            control.attach(link, os.open(DISK, os.O_RDONLY))
        work(link)
        os.write(told, b"1")
        while True:
            signal.pause()
    os.close(told)
    expect(os.read(ready, 1), b"1", "the child attached")
    os.close(ready)
    return program, child


def kill(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@test
def a_killed_loader_takes_its_attachment_along():
    """If this breaks, a crashed tool leaves a filter on a disk."""
    program, child = attaching_child(lambda link: None)
    file = DirectFile(DISK)
    file.read(0, 4096)
    expect((listed(), programs.Seen(program).calls), (1, 1), "while it lives")
    kill(child)
    file.read(0, 4096)
    expect((listed(), programs.Seen(program).calls), (0, 1), "after it")


@test
def a_pinned_link_outlives_its_loader():
    """If this breaks, "attached" on the screen means nothing."""
    pin = f"{BPFFS}/outlives"
    program, child = attaching_child(lambda link: obj_pin(pin, link))
    kill(child)
    file = DirectFile(DISK)
    file.read(0, 4096)
    expect((listed(), programs.Seen(program).calls), (1, 1), "after the loader")
    os.unlink(pin)
    file.read(0, 4096)
    # What was pinned is put when the inode's grace period is over.
    expect(settled(listed, 0), 0, "after the pin")


@test
def a_detached_link_has_no_attachment_and_cannot_have_another():
    """If this breaks, a forced detach leaves the program running."""
    attached = Attached(DISK)
    file = DirectFile(DISK)
    file.read(0, 4096)
    detach_link(attached.link)
    file.read(0, 4096)
    expect((listed(), attached.seen().calls), (0, 1), "after the detach")
    expect_raises(OSError, update_link, attached.link, borrow("probe",
                                                              "probe_4096_0"))


def slow_disk(seconds):
    """A disk that completes by a timer, so that bios are on their way."""
    return disks.NullBlk(size=4, irqmode=2, completion_nsec=int(seconds * 1e9))


def reading(path, pos=0, size=4096):
    """A thread that reads; .result is the data."""
    file = DirectFile(path)
    thread = threading.Thread(
        target=lambda: setattr(thread, "result", file.read(pos, size)))
    thread.result = None
    thread.start()
    return thread


def inflight(disk):
    return sum(int(word) for word in disks.read_attribute(
        f"/sys/block/{disk.disk}/inflight").split())


def fio(path):
    """fio that reads at random until end() or the test's end."""
    process = subprocess.Popen(
        ["fio", "--name=load", f"--filename={path}", "--rw=randread", "--bs=4k",
         "--iodepth=16", "--ioengine=io_uring", "--direct=1", "--time_based",
         "--runtime=120", "--thread"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cleanup(end, process)
    return process


def end(process):
    if process.poll() is None:
        process.terminate()
    process.wait()


def load_module():
    """As the machine's first process did."""
    text = disks.read_attribute("/run.vm/config")
    path = expect_match(r"[^\s'\"=]*/blk_bpf\.ko", text, "the module's path")[0]
    sh(["insmod", path])


@test
def detaching_does_not_wait_for_bios_and_loses_none():
    """If this breaks, closing a link hangs on a slow device, or a bio comes
    back to a program that is gone."""
    disk = slow_disk(1.0)
    attached = Attached(disk.path)
    expect(inflight(disk), 0, "bios on their way before")
    thread = reading(disk.path, 4096, 8192)
    expect(settled(lambda: inflight(disk) > 0, True), True, "a bio on its way")
    attached.detach()
    expect(thread.is_alive(), True, "the read goes on after the detach")
    thread.join()
    expect(thread.result, bytes(8192), "what is read")
    expect(attached.seen().calls, 0, "calls after the detach")


@test
def draining_does_not_wait_for_what_is_attached():
    """If this breaks, detaching one program hangs on another's slow device."""
    disk = slow_disk(3.0)
    attached = Attached(disk.path)
    thread = reading(disk.path)
    expect(settled(lambda: inflight(disk) > 0, True), True, "a bio on its way")
    attached.control.drain()
    expect(inflight(disk) > 0, True, "the bio is on its way after the drain")
    thread.join()


@test
def the_command_detaches_and_waits():
    """If this breaks, blkbpf detach returns while its bios are on their way."""
    disk = slow_disk(2.0)
    attached = Attached(disk.path)
    thread = reading(disk.path)
    expect(settled(lambda: inflight(disk) > 0, True), True, "a bio on its way")
    sh(["blkbpf", "detach", str(attached.id)])
    expect(inflight(disk), 0, "bios on their way when it returns")
    thread.join()


@test
def draining_waits_for_the_bios_of_what_was_detached():
    """If this breaks, who detaches by hand cannot know when the program is
    gone."""
    disk = slow_disk(1.5)
    attached = Attached(disk.path)
    attached.control.drain()
    thread = reading(disk.path)
    expect(settled(lambda: inflight(disk) > 0, True), True, "a bio on its way")
    attached.detach()
    expect(inflight(disk) > 0, what="the bio is on its way")
    attached.control.drain()
    expect(inflight(disk), 0, "bios on their way after draining")
    thread.join()
    expect(attached.seen().calls, 0, "calls after the detach")


@test
def draining_can_be_killed():
    """If this breaks, a process that waits for a slow device cannot end."""
    disk = slow_disk(4.0)
    attached = Attached(disk.path)
    thread = reading(disk.path)
    expect(settled(lambda: inflight(disk) > 0, True), True, "a bio on its way")
    attached.detach()
    child = os.fork()
    if not child:
        attached.control.drain()
        os._exit(0)
    waiting = settled(lambda: "drain" in disks.read_attribute(
        f"/proc/{child}/stack"), True, 2)
    kill(child)
    expect((waiting, thread.is_alive()), (True, True),
           "the child waited, and the bio is on its way after it was killed")
    thread.join()


@test
def the_module_stays_until_the_last_bio_is_back():
    """If this breaks, rmmod frees the code that a completion runs in."""
    programs.close_idle()
    disk = slow_disk(3.0)
    program = Program("probe", "probe_4096_0")
    attached = Attached(disk.path, loaded=program)
    thread = reading(disk.path)
    expect(settled(lambda: inflight(disk) > 0, True), True, "a bio on its way")
    attached.close()
    program.close()
    # What is left is the reference that the bio's disk holds.
    expect(settled(module_users, 1, 2), 1, "references to the module")
    refused = sh(["rmmod", "blk_bpf"], check=False)
    expect(thread.is_alive(), True, "the bio is still on its way")
    expect(refused.returncode != 0, what="rmmod is refused")
    thread.join()
    expect(thread.result, bytes(4096), "what is read")
    expect(settled(module_users, 0), 0, "references after the bio")
    sh(["rmmod", "blk_bpf"])
    load_module()


@test
def a_bio_from_before_the_attachment_is_not_presented():
    """If this breaks, a program sees a bio that was never hooked for it."""
    disk = slow_disk(1.0)
    other = Attached(disk.path)
    thread = reading(disk.path)
    expect(settled(lambda: inflight(disk) > 0, True), True, "a bio on its way")
    late = Attached(disk.path)
    thread.join()
    expect((other.seen().calls, late.seen().calls), (1, 0),
           "calls of the early and of the late one")


@test
def the_module_is_unloaded_and_loaded_under_io():
    """If this breaks, rmmod crashes a machine that does I/O."""
    programs.close_idle()
    process = fio(DISK)
    for _ in range(3):
        program = Program("probe", "probe_4096_0")
        attached = Attached(DISK, loaded=program)
        expect(settled(lambda: attached.counters().bios > 50, True), True,
               "bios are presented")
        expect(sh(["rmmod", "blk_bpf"], check=False).returncode != 0,
               what="rmmod is refused while attached")
        attached.detach()
        program.close()
        attached.close()
        expect(settled(lambda: sh(["rmmod", "blk_bpf"],
                                  check=False).returncode, 0), 0, "rmmod")
        expect(os.path.exists("/sys/module/blk_bpf"), False, "still loaded")
        load_module()
    end(process)


@test
def programs_come_and_go_under_io():
    """If this breaks, attaching and detaching from several threads corrupts
    the lists that completions walk."""
    process = fio(DISK)
    shared = borrow("probe", "probe_4096_0")
    failures = []

    def work(seed):
        try:
            with abi.Control() as control:
                device = os.open(DISK, os.O_RDONLY)
                for n in range(60):
                    link = shared.link()
                    control.attach(link, device, priority=(n * seed) % 5 - 2)
                    control.list()
                    os.close(link)
                os.close(device)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(failures, [], "failures")
    expect(listed(), 0, "attachments that are left")
    expect(process.poll(), None, "fio ended early")
    end(process)


@test
def a_thousand_attachments_leave_nothing_behind():
    """If this breaks, every attachment costs memory for ever."""
    program = borrow("probe", "probe_4096_0")
    device = opened(DISK)
    file = DirectFile(DISK)

    def cycle(times):
        with abi.Control() as control:
            for n in range(times):
                link = program.link()
                number = control.attach(link, device)
                file.read(n % 512 * 4096, 4096)
                if n % 4 == 0:
                    os.close(control.stream(number, 16))
                os.close(link)

    cycle(100)
    before, fds = slabs.in_use(CACHES), len(os.listdir("/proc/self/fd"))
    expect("blk_bpf_hook" in before, what="the hooks have a cache of their own")
    times = 1000
    cycle(times)

    # The kernel that finds bugs has objects of its own, and some for each of ours.
    most = times // (2 if kernel_log.is_debug_kernel() else 10)
    expect(slabs.still_grown(before, CACHES, most), {}, "slab caches that grew")

    def hooks_are_as_many_as_are_kept():
        """The reserve, and up to each CPU's spare and stock (interpose.c)."""
        hooks = slabs.in_use("blk_bpf_hook")["blk_bpf_hook"]
        return 64 <= hooks <= 64 + os.cpu_count() * (1 + 32) or hooks

    expect(settled(hooks_are_as_many_as_are_kept, True), True, "hooks in use")
    expect(len(os.listdir("/proc/self/fd")), fds, "open files")
    expect(listed(), 0, "attachments that are left")


def read_only_page(data):
    """The address of memory that holds the data and cannot be written."""
    with open("/tmp/page", "wb") as file:
        file.write(data.ljust(4096, b"\0"))
    cleanup(os.unlink, "/tmp/page")
    fd = os.open("/tmp/page", os.O_RDONLY)
    libc = abi.ctypes.CDLL(None)
    libc.mmap.restype = abi.ctypes.c_void_p
    address = libc.mmap(None, abi.ctypes.c_size_t(4096), 1, 1, fd,
                        abi.ctypes.c_long(0))
    os.close(fd)
    return address


@test
def a_refusal_leaves_no_file_open():
    """If this breaks, a loop of mistakes runs out of descriptors."""
    attached = Attached(DISK)
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(20):
        expect_raises(abi.Refused, attached.control.stream, 12345)
        expect_raises(abi.Refused, attached.control.stream, attached.id, 1 << 30)
        expect_raises(abi.Refused, attached.control.attach, attached.link, -1)
    # A fault when the answer is written, after the stream was made.
    arg = abi.Stream(id=attached.id)
    arg.hdr.size = abi.ctypes.sizeof(arg)
    page = read_only_page(bytes(arg))
    expect_raises(OSError, abi.raw_ioctl, attached.control.fd,
                  abi.COMMANDS[abi.Stream], page, errno=errno.EFAULT)
    expect(sorted(os.listdir("/proc/self/fd")), before, "open files")


def expect_gone(attached, stream, what):
    """The attachment has noticed that its device was removed."""
    expect(settled(lambda: attached.counters().state, abi.GONE), abi.GONE,
           f"state after {what}")
    event, = stream.take(1)
    expect(event.type, abi.EVENT_END, "event")
    expect(abi.read_events(stream.fd), [], "the stream's end")
    expect(attached.link is not None, what="the link is still there")
    with abi.Control() as control:
        device = opened(DISK)
        expect_raises(abi.Refused, control.attach, attached.link, device,
                      errno=errno.EBUSY)


@test
def a_null_blk_is_removed_while_attached():
    """If this breaks, the device's memory is used after it is freed, or a
    later device of its name inherits the program."""
    disk = disks.NullBlk(size=4)
    attached = Attached(disk.path)
    stream = attached.stream()
    DirectFile(disk.path).read(0, 4096)
    disk.remove()
    expect_gone(attached, stream, "the removal")
    again = disks.NullBlk(size=4)
    DirectFile(again.path).read(0, 4096)
    expect(attached.seen().calls, 1, "calls")


@test
def a_dm_device_is_removed_while_attached():
    """If this breaks, an attachment keeps a device busy."""
    mapped = disks.Mapped(f"0 8192 linear {DISK} 0")
    attached, below = Attached(mapped.path), Attached(DISK)
    stream = attached.stream()
    fd = os.open(mapped.path, os.O_RDONLY | os.O_DIRECT)
    memory = disks.mmap.mmap(-1, 4096)
    os.preadv(fd, [memory], 0)
    os.close(fd)
    sh(["dmsetup", "remove", "--noudevsync", mapped.name])
    expect_gone(attached, stream, "dmsetup remove")
    expect(below.counters().state, abi.LIVE, "the device below")
    expect((attached.seen().calls, below.seen().calls), (1, 1), "calls")


@test
def a_partition_is_removed_while_attached():
    """If this breaks, an attachment to a partition outlives it."""
    disk = disks.NullBlk(size=8)
    path = disks.partition(disk.path, 1, 1 << 20, 2 << 20)
    attached, whole = Attached(path), Attached(disk.path)
    stream = attached.stream()
    disks.remove_partition(disk.path, 1)
    expect_gone(attached, stream, "the partition's removal")
    DirectFile(disk.path).read(1 << 20, 4096)
    expect((attached.seen().calls, whole.seen().calls), (0, 1), "calls")


@test
def a_loop_device_is_removed_while_attached():
    """If this breaks, losetup -d fails or hangs."""
    path = disks.loop(DATA[:1 << 20])
    attached = Attached(path)
    stream = attached.stream()
    sh(["losetup", "-d", path])
    expect(attached.counters().state, abi.LIVE, "state of an empty loop device")
    control = os.open("/dev/loop-control", os.O_RDWR)
    disks.fcntl.ioctl(control, 0x4C81, int(path[len("/dev/loop"):]))
    os.close(control)
    expect_gone(attached, stream, "the loop device's removal")


@test
def a_device_is_removed_under_io_while_attached():
    """If this breaks, bios on their way to a removed device come back to a
    freed program."""
    for _ in range(3):
        disk = disks.NullBlk(size=8, irqmode=2, completion_nsec=2000000)
        attached = Attached(disk.path)
        process = fio(disk.path)
        expect(settled(lambda: attached.counters().bios > 20, True), True,
               "bios are presented")
        disk.remove()
        end(process)
        expect(settled(lambda: attached.counters().state, abi.GONE), abi.GONE,
               "state")
        attached.detach()


@test
def an_nvme_disk_is_unplugged_while_attached():
    """If this breaks, a hot-unplug crashes or hangs."""
    if not os.path.exists(REMOVABLE):
        skip("the second disk is gone already")
    attached = Attached(REMOVABLE)
    stream = attached.stream()
    file = DirectFile(REMOVABLE)
    file.read(0, 4096)
    disks.write_attribute("/sys/block/nvme1n1/device/device/remove", 1)
    expect_gone(attached, stream, "the removal")
    expect(file.read(0, 4096), b"", "what is read of a disk that is gone")
    expect(attached.seen().calls, 1, "calls")


if __name__ == "__main__":
    unload_other_users()
    disks.write_all(DISK, DATA)
    run()
