#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A drive is plugged in and pulled a hundred times, in the middle of a scan now and
then: the module finds it each time, and keeps nothing of it."""

import vmrun
from hotplug import expect_line, start
from ktap import expect, run, test

ROUNDS = 100
# One round of so many has a scan that does not come to its end.
BUSY = 5
SIZE = 1 << 20

GUEST = f"""
ROUNDS, BUSY, SIZE = {ROUNDS}, {BUSY}, {SIZE}
""" + r"""
import errno, os, subprocess, sys, threading, time
import blkbpf_abi as abi
import csds, disks, kernel_log, slabs
from scans import loaded

subprocess.run(["modprobe", "nvme"], check=True)
watch = kernel_log.Watch()
program = loaded("pair", "pair_63").fd
image = csds.image("pair", "pair_63")

def wait(condition, what):
    end = time.monotonic() + 120
    while not condition():
        if time.monotonic() > end:
            sys.exit(what + " took too long")
        time.sleep(0.01)

def scan(drive, ends):
    # The disk is all zeros, and a pair of them is at every place but the last.
    path = csds.disk_of(drive)
    disks.wait_for_node(path)
    fd = os.open(path, os.O_RDONLY)
    try:
        with abi.Control() as control:
            found = control.scan(program, fd, None, (0, 0), target=drive,
                                 image=image, flags=abi.COUNT, room=0)
        ends.append(found.stats.matches)
    except OSError as error:
        ends.append(error)
    finally:
        os.close(fd)

def round(busy):
    print("ready", flush=True)
    # Its number is that of the controller, and that may not be free again at once.
    wait(lambda: csds.drives() and csds.attribute(csds.drives()[0], "namespaces"),
         "the drive's coming")
    drive, = csds.drives()
    ends = []
    thread = threading.Thread(target=scan, args=(drive, ends))
    thread.start()
    if busy:
        wait(lambda: ends or csds.attribute(drive, "scans") == "1", "a scan")
    else:
        thread.join(120)
    print("go", flush=True)
    wait(lambda: not csds.drives() and not os.listdir("/sys/class/nvme"),
         "the drive's going")
    thread.join(120)
    if thread.is_alive():
        sys.exit("the scan did not return")
    if isinstance(ends[0], OSError) and busy and ends[0].errno == errno.ENODEV:
        return 1
    if ends[0] != SIZE - 1:
        sys.exit(f"the scan's end: {ends[0]!r}")
    return 0

# Objects of the size of what the module has for a drive, and all memory of caches.
CACHES = "kmalloc-(512|[124]k)$"

def memory():
    found = slabs.in_use(CACHES)
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("SUnreclaim"):
                found["SUnreclaim"] = int(line.split()[1])
    with open("/proc/vmallocinfo", encoding="ascii") as file:
        found["pools"] = sum("gen_pool" in line for line in file)
    return found

interrupted = 0
for number in range(ROUNDS):
    if number == ROUNDS // 5:
        before = memory()
    interrupted += round(number % BUSY == BUSY - 1)
after = memory()
print("memory", before, after, interrupted, file=sys.stderr, flush=True)
with open("/sys/module/nvme_csd/refcnt", encoding="ascii") as file:
    users = file.read().strip()
trouble = kernel_log.first_trouble(watch.new_lines())
if trouble:
    sys.exit("\n".join(trouble))
if users != "0":
    sys.exit(f"the module has {users} users")
# A third of what one object a round would be.
most = (ROUNDS - ROUNDS // 5) // 3
grown = slabs.still_grown(before, CACHES, most)
if grown or after["SUnreclaim"] - before["SUnreclaim"] > 4096 or \
        after["pools"] - before["pools"] > most:
    sys.exit(f"it grew, also by {grown}: from {before} to {after}")
if not interrupted:
    sys.exit("no scan was interrupted")
print("done", flush=True)
"""


@test
def a_hundred_drives_come_and_go():
    """If this breaks, something of a drive stays when it is pulled, or a scan keeps
    it from going."""
    process, qmp = start(GUEST, "--smp", "2", argv=vmrun.argv_with_modules)
    qmp("blockdev-add", driver="null-co", size=SIZE,
        **{"node-name": "disk", "read-zeroes": True})
    for number in range(ROUNDS):
        expect_line(process, "ready")
        busy = number % BUSY == BUSY - 1
        qmp("device_add", driver="nvme-csd", id=f"csd{number}", bus="slot0",
            drive="disk", serial=f"csd{number}",
            **{"slm-size": 2 << 20,
               "fault": "execute@*:delay=100" if busy else ""})
        expect_line(process, "go")
        qmp("device_del", id=f"csd{number}")
        qmp.wait("DEVICE_DELETED", device=f"csd{number}")
    expect_line(process, "done")
    expect(process.wait(60), 0, "the guest's status")


if __name__ == "__main__":
    run()
