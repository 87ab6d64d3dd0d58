# SPDX-License-Identifier: GPL-2.0
"""Attached programs, for the length of a test."""

import fcntl
import os
import select
import time

import blkbpf_abi as abi
import disks
from ktap import cleanup, sh
from programs import Seen, borrow


class Attached:
    """A program of its own on a device, until the test ends or .detach()."""

    def __init__(self, path, name="probe", program="probe_4096_0", flags=0,
                 priority=0, args=(0,), loaded=None, budget_ns=0):
        self.program = loaded or borrow(name, program)
        self.link = None
        self.control = abi.Control()
        cleanup(self.close)
        self.link = self.program.link()
        device = os.open(path, os.O_RDONLY)
        try:
            self.id = self.control.attach(self.link, device, flags, priority,
                                          args, budget_ns)
        finally:
            os.close(device)

    def detach(self):
        """Close the link; nothing else holds it."""
        if self.link is not None:
            os.close(self.link)
            self.link = None

    def close(self):
        """Detach, and let go of the control device."""
        self.detach()
        if self.control is not None:
            self.control.close()
            self.control = None

    def counters(self):
        return self.control.get(self.id)

    def seen(self):
        return Seen(self.program)

    def stream(self, entries=0):
        stream = EventStream(self.control.stream(self.id, entries))
        cleanup(stream.close)
        return stream


class EventStream:
    """The events of an attachment, without waiting for ever."""

    def __init__(self, fd):
        self.fd = fd
        fcntl.fcntl(fd, fcntl.F_SETFL,
                    fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
        self.poll = select.poll()
        self.poll.register(fd, select.POLLIN)

    def close(self):
        os.close(self.fd)

    def take(self, nr, seconds=10):
        """The next nr events, or those that came in time."""
        events, end = [], time.monotonic() + seconds
        while len(events) < nr and time.monotonic() < end:
            if self.poll.poll(max(0, (end - time.monotonic()) * 1000)):
                got = abi.read_events(self.fd, nr - len(events))
                if not got:
                    break
                events += got
        return events


def settled(read, wanted, seconds=60):
    """What read() says, once it says what is wanted, or after that time.

    For what the kernel frees in grace periods, which end without an event.
    """
    end = time.monotonic() + seconds
    while (got := read()) != wanted and time.monotonic() < end:
        time.sleep(0.05)
    return got


def unload_other_users():
    """Of the module, so that it can be unloaded and its references be counted."""
    if os.path.exists("/sys/module/nvme_csd"):
        sh(["rmmod", "nvme_csd"])


def module_users():
    return int(disks.read_attribute("/sys/module/blk_bpf/refcnt"))
