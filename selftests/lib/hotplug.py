# SPDX-License-Identifier: GPL-2.0
"""Guests with an empty slot, and QEMU's monitor to plug drives into it."""

import json
import os
import socket
import subprocess
import tempfile
import time

import vmrun
from ktap import cleanup, fail


class Qmp:
    """QEMU's monitor."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + 60
        while True:
            try:
                self.socket.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.file = self.socket.makefile("rw")
        self.events = []
        self.file.readline()
        self("qmp_capabilities")

    def __call__(self, name, **arguments):
        self.file.write(json.dumps({"execute": name, "arguments": arguments}))
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                fail(f"{name}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def wait(self, event, **data):
        self.socket.settimeout(120)
        while True:
            for known in self.events:
                if known["event"] == event and \
                        data.items() <= known["data"].items():
                    self.events.remove(known)
                    return
            self.events.append(json.loads(self.file.readline()))
            self.events = [e for e in self.events if "event" in e]

    def close(self):
        self.file.close()
        self.socket.close()


def start(script, *words, argv=vmrun.argv):
    """A guest with an empty slot that runs a script of Python's; its process, and
    its monitor. @words: more for the runner."""
    folder = tempfile.TemporaryDirectory()
    cleanup(folder.cleanup)
    monitor = os.path.join(folder.name, "monitor")
    words = list(words)
    for argument in ("-device", "pcie-root-port,id=slot0,chassis=9,addr=0x1c",
                     "-qmp", f"unix:{monitor},server=on,wait=off"):
        words.append(f"--qemu-arg={argument}")
    process = subprocess.Popen(
        argv(*words, "--", "python3", "-c", script),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    cleanup(process.communicate)
    cleanup(process.terminate)
    qmp = Qmp(monitor)
    cleanup(qmp.close)
    return process, qmp


def expect_line(process, wanted):
    line = process.stdout.readline()
    if line.strip() != wanted:
        fail(f"the guest said {line!r}, not {wanted!r}:\n"
             f"{process.communicate()[1] if not line else ''}")
