#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: --smp 2 --timeout 200 --nvme {img:2M}
# vm: --append kmemleak=on
"""Each call, with each of its allocations failing in turn: it is undone.

Needs a kernel that injects faults and looks for leaks.
"""

import os

import blkbpf_abi as abi
import disks
import kernel_log
from attaching import Attached, module_users, settled
from disks import DirectFile, opened
from injecting import Nth
from ktap import cleanup, expect, run, test
from programs import Seen, borrow

DISK = "/dev/nvme0n1"

UNIT = 4096
DATA = disks.random_bytes(2 << 20, values=6)
# A unit is a match if its first byte is below this.
BELOW = 3


def files():
    return sorted(os.listdir("/proc/self/fd"))


def listed():
    with abi.Control() as control:
        return control.list()[1]


@test
def a_link_without_memory_leaves_nothing():
    """If this breaks, a failed link holds its program, or is listed half."""
    program, nth = borrow("probe", "probe_4096_0"), Nth()
    users, before = module_users(), files()

    def after(link, error):
        expect((link is None), error is not None, "a link or an error")
        if link is not None:
            os.close(link)
        expect(files(), before, "open files")

    nth.each(program.link, after)
    expect(settled(module_users, users), users, "users of the module")


@test
def an_attach_without_memory_can_be_repeated():
    """If this breaks, a failed attach leaves a hook behind, or a link that can
    be attached no more."""
    program, nth = borrow("probe", "probe_4096_0"), Nth()
    disk = disks.NullBlk(size=4)
    device, file = opened(disk.path), DirectFile(disk.path)
    control = abi.Control()
    cleanup(control.close)
    users, before = module_users(), files()
    links, calls = [program.link()], 0

    def after(number, error):
        nonlocal calls
        expect(listed(), 0 if error else 1, "attachments")
        file.read(0, UNIT)
        calls += 0 if error else 1
        expect(Seen(program).calls, calls, "calls")
        if number:
            os.close(links.pop())
            links.append(program.link())

    nth.each(lambda: control.attach(links[0], device), after)
    os.close(links.pop())
    expect(files(), before, "open files")
    expect(settled(module_users, users), users, "users of the module")


@test
def a_stream_without_memory_leaves_nothing():
    """If this breaks, a failed stream keeps its attachment for ever."""
    attached, nth = Attached(DISK), Nth()
    before = files()

    def after(stream, error):
        expect(stream is None, error is not None, "a stream or an error")
        if stream is not None:
            os.close(stream)
        expect(files(), before, "open files")

    # More than a page, and more than kmalloc() likes to give.
    for entries in (16, 4096, 1 << 17):
        nth.each(lambda: attached.control.stream(attached.id, entries), after)


@test
def a_scan_without_memory_goes_on_from_its_cursor():
    """If this breaks, a scan that ran out of memory has lost what it found, or
    finds it twice."""
    program, nth = borrow("probe", "probe_4096_0"), Nth()
    device = opened(DISK)
    control = abi.Control()
    cleanup(control.close)
    users = module_users()
    wanted = [(pos, UNIT) for pos in range(0, len(DATA), UNIT)
              if DATA[pos] < BELOW]

    def scan(call, **kwargs):
        return call(program.fd, device, args=(BELOW,), room=1024, **kwargs)

    for threads in (1, 2):
        def after(found, error):
            if error:
                found = error.found
            matches = found.matches
            if error:
                matches += scan(control.scan_all, cursor=found.cursor)[0]
            expect(matches == wanted, what="the same matches as without a fault")

        nth.each(lambda: scan(control.scan, threads=threads), after)
    expect(settled(module_users, users), users, "users of the module")


@test
def the_module_leaked_nothing():
    """If this breaks, one of the tests above left memory behind."""
    expect(kernel_log.leaks(), "", "leaks")


if __name__ == "__main__":
    disks.write_all(DISK, DATA)
    run()
