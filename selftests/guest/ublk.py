#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 300
"""A block device whose I/O is done by a process, and that process attached."""

import errno
import os
import select
import signal
import socket
import subprocess
import threading

import blkbpf_abi as abi
import disks
import programs
from attaching import (Attached, module_users, settled,
                       unload_other_users)
from disks import DirectFile
from ktap import cleanup, expect, expect_raises, fail, run, sh, test
from programs import Program

SERVER = "/selftests/bin/ublk_server"
DISK = "/dev/ublkb0"
# From here on the server never answers.
SILENT = 4 << 20


class Server:
    """A ublk server, and the socket by which it is given files to hold."""

    def __init__(self):
        if not os.path.exists("/dev/ublk-control"):
            sh(["modprobe", "ublk_drv"])
            disks.wait_for_node("/dev/ublk-control")
        self.socket, theirs = socket.socketpair()
        cleanup(self.socket.close)
        self.process = subprocess.Popen([SERVER, "0"], stdin=theirs,
                                        stdout=subprocess.PIPE, text=True)
        theirs.close()
        cleanup(self.remove)
        self.says("started")
        disks.wait_for_node(DISK)

    def says(self, word, seconds=30):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        expect(line.strip(), word, "what the server says")

    def give(self, fd):
        """The server holds the file too."""
        socket.send_fds(self.socket, [b"1"], [fd])
        self.says("received")

    def close_given(self):
        """The server itself closes the file, while it has I/O to do."""
        self.socket.send(b"1")
        self.says("closed")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            fail(f"the killed server does not end: "
                 f"{disks.read_attribute(f'/proc/{self.process.pid}/stack')}")

    def remove(self):
        self.kill()
        self.process.stdout.close()
        sh([SERVER, "--delete", "0"])


class Reader:
    """A read under way; .error is the errno that it ended with."""

    def __init__(self, pos):
        self.file = DirectFile(DISK)
        self.error = None
        self.thread = threading.Thread(target=self.read, args=(pos,),
                                       daemon=True)
        self.thread.start()

    def read(self, pos):
        try:
            self.file.read(pos, 4096)
            self.error = 0
        except OSError as error:
            self.error = error.errno

    def ended(self, seconds=60):
        self.thread.join(seconds)
        return self.error


def inflight():
    return sum(int(word) for word in
               disks.read_attribute("/sys/block/ublkb0/inflight").split())


class Silent:
    """A server that holds the only link to its own device, and does not answer
    four reads of it."""

    def __init__(self):
        self.program = Program("probe", "probe_4096_0")
        self.server = Server()
        self.attached = Attached(DISK, loaded=self.program)
        DirectFile(DISK).read(0, 4096)
        expect(self.attached.seen().calls, 1, "calls for an answered read")
        self.readers = [Reader(SILENT + n * 4096) for n in range(4)]
        expect(settled(inflight, 4), 4, "reads that are not answered")
        self.server.give(self.attached.link)
        self.attached.detach()
        expect(self.attached.counters().state, abi.LIVE,
               "state while only the server has the link")

    def end(self, users):
        """The server is killed, and all that was begun comes to its end."""
        self.server.kill()
        expect([reader.ended() for reader in self.readers], [errno.EIO] * 4,
               "errnos of the reads")
        expect(settled(lambda: os.path.exists(DISK), False, 60), False,
               "the device is there")
        # The file is put, at the latest, in a grace period.
        expect(settled(self.attached.counters, None), None, "the attachment")
        expect(self.attached.seen().calls, 1, "calls")
        self.attached.control.drain()
        self.attached.close()
        self.program.close()
        expect(settled(module_users, users), users, "users of the module")


@test
def a_server_closes_the_link_to_its_own_device():
    """If this breaks, closing the link waits for bios that only who closes it
    could complete."""
    users = module_users()
    silent = Silent()
    silent.server.close_given()
    expect(silent.attached.counters(), None, "the attachment")
    expect(inflight(), 4, "reads that are not answered, after the detach")
    silent.end(users)


@test
def a_server_dies_that_holds_the_link_to_its_own_device():
    """If this breaks, the death of a server hangs, and its readers with it."""
    users = module_users()
    Silent().end(users)


@test
def a_server_dies_and_the_link_stays():
    """If this breaks, an attachment outlives its device, or keeps the dead
    server's device busy."""
    server = Server()
    attached = Attached(DISK)
    stream = attached.stream()
    reader = Reader(SILENT)
    expect(settled(inflight, 1), 1, "reads that are not answered")
    server.kill()
    expect(reader.ended(), errno.EIO, "errno of the read")
    expect(settled(lambda: attached.counters().state, abi.GONE, 60), abi.GONE,
           "state")
    expect([event.type for event in stream.take(1)], [abi.EVENT_END], "event")
    attached.control.drain()


@test
def the_module_goes_after_all_that():
    """If this breaks, a bio that was failed with its device holds the module
    for ever."""
    programs.close_idle()
    expect(settled(lambda: sh(["rmmod", "blk_bpf"], check=False).returncode, 0),
           0, "rmmod")
    expect_raises(FileNotFoundError, abi.Control)
    sh(["insmod", "/usr/lib/vm/blk_bpf.ko"])
    abi.Control().close()


if __name__ == "__main__":
    unload_other_users()
    run()
