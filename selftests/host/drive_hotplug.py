#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A drive is plugged into a running guest, and pulled while it is busy."""

from hotplug import expect_line, start
from ktap import expect, run, test

# In the guest: say when a drive has come and is busy, and when it has gone.
GUEST = r"""
import glob, os, subprocess, sys, threading, time
import csdprog
from ngdrive import Drive, Refused, disk, generic_devices

def wait(condition, what):
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            sys.exit(what + " took too long")
        time.sleep(0.05)

FOREVER = csdprog.Image([
    csdprog.mov(0, 0), csdprog.ld_imm64(1, 1 << 62), csdprog.add(1, -1),
    csdprog.insn(0x55, 1, off=-2), csdprog.EXIT]).pack()

subprocess.run(["modprobe", "nvme"], check=True)
for number in range(2):
    print("ready", flush=True)
    wait(lambda: os.path.exists("/dev/nvme0") and len(generic_devices(0)) == 3,
         "the drive's coming")
    fio = subprocess.Popen(
        ["fio", "--name=busy", "--filename=" + disk(0), "--rw=randread",
         "--ioengine=libaio", "--direct=1", "--iodepth=8", "--time_based",
         "--runtime=120"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    drive = Drive(0, keep=True)
    drive.prepare(1, FOREVER)
    ended = []

    def execute():
        try:
            # An orderly removal waits for what is outstanding: the host's
            # Abort is what ends this.
            drive.execute(1, [(0, 4096)], timeout_ms=3000)
        except (OSError, Refused) as error:
            ended.append(error)

    worker = threading.Thread(target=execute)
    worker.start()
    wait(lambda: drive.counters().executes == 1, "the Execute's begin")
    print("busy", flush=True)
    wait(lambda: not os.path.exists("/sys/class/nvme/nvme0"), "the drive's going")
    worker.join(30)
    if worker.is_alive() or not ended:
        sys.exit("the Execute did not come back with an error")
    fio.wait(60)
    drive.close()
    print("gone", flush=True)
"""


@test
def drives_come_and_go_while_they_are_busy():
    """Reads are under way, and a program that has no end: the drive's threads
    must stop, and nothing may be used after it was freed."""
    process, qmp = start(GUEST)
    for number in range(2):
        expect_line(process, "ready")
        disk = f"disk{number}"
        qmp("blockdev-add", driver="null-co", size=16 << 20,
            **{"node-name": disk, "read-zeroes": True})
        qmp("device_add", driver="nvme-csd", id="csd", bus="slot0", drive=disk,
            serial=disk, **{"deadline-ms": 0, "slm-size": 4 << 20})
        expect_line(process, "busy")
        qmp("device_del", id="csd")
        qmp.wait("DEVICE_DELETED", device="csd")
        expect_line(process, "gone")
    expect(process.wait(60), 0, "the guest's status")


if __name__ == "__main__":
    run()
