# SPDX-License-Identifier: GPL-2.0
"""The drives of a test file: one QEMU for all tests whose state allows it.

    drive = drives.get(slm_size="8M")     # ready, with nothing loaded
    ...
    if __name__ == "__main__":
        drives.run()

A drive with the same properties is the same one, after a reset; it is pulled
when a slot is needed. A test after which QEMU is dead fails, and the next one
gets a new machine. The last test of every file is that QEMU ended in order,
with nothing to say.
"""

import atexit
import random
import re

import ktap
import qtest
from csdrive import Drive

# What the tests' drives have on their LBAs.
DISK_SIZE = 16 << 20
DISK = random.Random("drives").randbytes(DISK_SIZE)

# Virtual nanoseconds between two looks at a drive that models time.
STEP = 1000 * 1000

_state = {"machine": None, "drives": {}}


def machine():
    """The machine that tests share."""
    found = _state["machine"]
    if found is None or found.process.poll() is not None:
        _state["drives"].clear()
        found = _state["machine"] = qtest.Machine(ports=4)
        atexit.register(found.kill)
    return found


def free_port(host):
    """An empty slot, if need be of the drive that is there for longest."""
    free = set(range(host.ports)) - set(host.slots)
    if free:
        return min(free)
    port = next(iter(host.slots))
    for key, drive in list(_state["drives"].items()):
        if drive.port == port:
            del _state["drives"][key]
    host.pull(port)
    return port


def forget(drive):
    """The test has pulled it."""
    for key, known in list(_state["drives"].items()):
        if known is drive:
            del _state["drives"][key]


def _put_back(drive, mark):
    host = drive.machine
    try:
        host.check()
        if drive in _state["drives"].values():
            drive.set_fault("")
            drive.disable()
    except BaseException:
        host.kill()
        raise
    host.ram.release(mark)


def get(number=0, depth=128, **properties):
    """A drive with those properties; @number tells equal ones apart."""
    key = (number, *sorted(properties.items()))
    host = machine()
    mark = host.ram.mark()
    drive = _state["drives"].get(key)
    if drive is None:
        drive = Drive.plug(host, free_port(host), DISK, start=False,
                           **properties)
        # One that models time does nothing while the clock stands still.
        drive.step = STEP if properties.get("timing") else 0
        _state["drives"][key] = drive
    elif drive.queues:
        drive.disable()	# it was used in the same test
    drive.depth = depth
    ktap.cleanup(_put_back, drive, mark)
    return drive.start()


def refused(drive, done, status, sentence=None, pind=0):
    """It has that status, and the drive says why, of this command."""
    ktap.expect(f"{done.status:#x}", f"{status:#x}",
                f"status (the drive says: {drive.said(pind)!r})")
    message = drive.message(pind)
    ktap.expect((message.sqid, message.cid, message.status & 0x7ff),
                (done.sqid, done.cid, done.status),
                "queue, identifier and status in log D1h")
    text = message.text.decode()
    ktap.expect(message.len, len(text), "length of the sentence")
    ktap.expect(re.search(sentence or "..........", text) is not None,
                what=f"/{sentence}/ in {text!r}")


def run():
    """ktap.run(), and at the end the machine's."""

    @ktap.test
    def qemu_ends_in_order():
        """If this breaks, QEMU did not end, or a sanitizer found something."""
        found = _state["machine"]
        if found is not None:
            found.close()

    ktap.run()
