# SPDX-License-Identifier: GPL-2.0
"""One life of the machine: start, carry the output, learn how it ended."""

import collections
import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import time

from guest import NotStarted
from machine import PORTS

STATUS, DIED, TIMEOUT = "status", "died", "timeout"
# Before the command was reached, without and with QEMU having crashed.
NOT_STARTED, ABORTED = "not started", "aborted"
CONSOLE_LINES = 30
# For the boot, which does not count against the command's time: how long it
# takes is up to the load of this machine and not to the caller.
BOOT_TIMEOUT = 400

End = collections.namedtuple("End", "kind status message")


class Session:
    """The runner's ends of the machine's sockets, and what came over them."""

    def __init__(self, options, token, workdir):
        self.options = options
        self.token = token
        self.workdir = workdir
        self.ready = False
        self.deadline = time.monotonic() + BOOT_TIMEOUT
        self.status = None
        self.control = None
        self.taken = {"out": 0, "err": 0}
        self.written = None
        self.shutdown_reason = None
        self.selector = selectors.DefaultSelector()
        self.lines = {"control": b"", "qmp": b""}
        self.listeners = {name: self.listen(name)
                          for name in (*PORTS, "qmp")}

    def listen(self, name):
        """A listener before QEMU starts, which then connects to it."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(self.workdir, name))
        listener.listen(1)
        return listener

    def accept(self, qemu):
        """Wait for QEMU's connections; it makes them before the guest runs."""
        for name, listener in self.listeners.items():
            with selectors.DefaultSelector() as waiting:
                waiting.register(listener, selectors.EVENT_READ)
                waiting.register(qemu.exit_fd, selectors.EVENT_READ)
                ready = [key.fileobj for key, _ in waiting.select()]
            if listener not in ready:
                return False
            connection, _ = listener.accept()
            listener.close()
            self.selector.register(connection, selectors.EVENT_READ, name)
            if name == "qmp":
                # It may have ended by now, for a reason that end() tells.
                with contextlib.suppress(BrokenPipeError):
                    connection.sendall(b'{"execute": "qmp_capabilities"}\n')
            elif name == "control":
                self.control = connection
        return True

    def pump(self):
        """Carry everything until QEMU has closed all; False when too late."""
        while self.selector.get_map():
            left = self.deadline - time.monotonic()
            if left <= 0:
                return False
            for key, _ in self.selector.select(left):
                self.take(key)
        return True

    def take(self, key):
        try:
            data = key.fileobj.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self.selector.unregister(key.fileobj)
            key.fileobj.close()
        elif key.data in self.taken:
            write_all(1 if key.data == "out" else 2, data)
            self.taken[key.data] += len(data)
            self.let_go()
        else:
            *lines, rest = (self.lines[key.data] + data).split(b"\n")
            self.lines[key.data] = rest
            for line in lines:
                getattr(self, "on_" + key.data)(line)

    def on_control(self, line):
        """What relay says. The token tells it from anything the guest runs."""
        words = line.decode("ascii", "replace").split()
        if words[1:2] != [self.token]:
            return
        if words[0] == "ready":
            self.ready = True
            self.deadline = time.monotonic() + self.options.timeout
        elif words[0] == "status":
            self.status = int(words[2])
            self.written = {"out": int(words[3]), "err": int(words[4])}
            self.let_go()

    def let_go(self):
        """The machine may go when all has come that the command has written."""
        if self.taken == self.written:
            # The machine may have gone by itself, and its socket with it.
            with contextlib.suppress(OSError):
                self.control.sendall(b"\n")
            self.written = None

    def on_qmp(self, line):
        message = json.loads(line)
        if message.get("event") == "SHUTDOWN":
            self.shutdown_reason = message["data"]["reason"]

    def end(self, in_time, qemu):
        """Judge what happened."""
        if not in_time:
            what = (f"the command did not end in {self.options.timeout:g} s"
                    if self.ready else
                    f"the guest did not boot in {BOOT_TIMEOUT} s")
            if self.written:
                what = (f"the command ended, but of its output, {self.written}"
                        f" bytes, only {self.taken} came in "
                        f"{self.options.timeout:g} s")
            return self.failed(TIMEOUT, what, qemu)
        if self.shutdown_reason is None:
            kind = DIED if self.ready else NOT_STARTED
            if kind == NOT_STARTED and qemu.was_killed():
                kind = ABORTED
            return self.failed(kind,
                               f"QEMU ended by itself ({qemu.how()})", qemu)
        if self.shutdown_reason == "guest-shutdown" and self.status is not None:
            return End(STATUS, self.status, "")
        what = ("the guest powered off"
                if self.shutdown_reason == "guest-shutdown"
                else "the guest panicked or was reset")
        if not self.ready:
            what += " before the command was reached"
        elif self.status is None:
            what += " before the command ended"
        else:
            what += " after the command ended"
        return self.failed(DIED, what, qemu)

    def failed(self, kind, what, qemu):
        lines = [f"vm: {what}"]
        if os.path.getsize(qemu.messages):
            lines.append("vm: QEMU said:")
            lines += tail(qemu.messages)
        console = tail(os.path.join(self.workdir, "console"))
        lines += ["vm: the console's last lines:"] if console else \
                 ["vm: the console is empty"]
        return End(kind, None, "\n".join(lines + console))


class Qemu:
    """The process; it ends with the runner, however that ends."""

    def __init__(self, line, workdir):
        self.messages = os.path.join(workdir, "qemu.log")
        with open(self.messages, "wb") as log:
            try:
                # A group of its own: a Ctrl-C is the runner's to handle. And
                # if the runner is killed outright, the kernel ends QEMU.
                self.process = subprocess.Popen(
                    ["setpriv", "--pdeathsig", "KILL", *line], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True)
            except OSError as error:
                raise NotStarted(f"cannot run setpriv: {error.strerror}; it is "
                                 "part of util-linux") from error
        self.exit_fd = os.pidfd_open(self.process.pid)

    def stop(self):
        self.process.kill()
        self.process.wait()
        os.close(self.exit_fd)

    def was_killed(self):
        """Whether a signal ended QEMU, as that of a failed assertion does."""
        return self.process.wait() < 0

    def how(self):
        status = self.process.wait()
        if status < 0:
            return f"by signal {signal.Signals(-status).name}"
        return f"with status {status}"


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


def tail(path):
    """The last lines of a console or log, made safe for a terminal.

    Of a panic they begin before its first line: much may follow it.
    """
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    lines = ["".join(c for c in line if c.isprintable() or c == "\t")
             for line in text.splitlines()]
    lines = [line for line in lines if line.strip()]
    start = max(0, len(lines) - CONSOLE_LINES)
    for number, line in enumerate(lines):
        if "Kernel panic" in line:
            start = min(start, max(0, number - CONSOLE_LINES // 2))
            break
    return lines[start:start + 2 * CONSOLE_LINES]


def run(line, options, prepared, workdir):
    """Boot, run the command, and return the End."""
    session = Session(options, prepared.token, workdir)
    qemu = Qemu(line, workdir)
    try:
        in_time = session.pump() if session.accept(qemu) else True
        if in_time:
            qemu.process.wait()
        return session.end(in_time, qemu)
    finally:
        qemu.stop()
        console = os.path.join(workdir, "console")
        if options.console and os.path.exists(console):
            shutil.copyfile(console, options.console)
