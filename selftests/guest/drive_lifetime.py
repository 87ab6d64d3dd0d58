#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --no-modules --timeout 400 --csd {img:16M},slm-size=4M
# vm: --csd {img:16M},slm-size=8M,engines=4,deadline-ms=0
# vm: --csd {img:16M},slm-size=2M,slm-window=2M
"""Drives are forgotten and found again: resets, the driver's removal, several."""

import os
import subprocess
import threading
import time

import csdprog
import kernel_log
import nvme_csd as csd
from disks import random_bytes
from ktap import cleanup, expect, expect_in, expect_raises, run, sh, skip, test
from ngdrive import Drive, Refused, disk, generic_devices, read_text

RANGES = [(0, 65536), (1 << 20, 65536)]
# Counts its calls, and matches every unit.
ALL = csdprog.Image([csdprog.mov(0, 1), csdprog.EXIT]).pack()
# Ends some day, says the verifier; nobody will see it.
SPIN = csdprog.Image([
    csdprog.mov(0, 0), csdprog.ld_imm64(1, 1 << 62),
    csdprog.add(1, -1), csdprog.insn(0x55, 1, off=-2), csdprog.EXIT]).pack()
PCI = "/sys/bus/pci"


def tell(path, word):
    with open(path, "w", encoding="ascii") as file:
        file.write(word)


def place_on_the_bus(number):
    return os.path.basename(os.path.realpath(f"/sys/class/nvme/nvme{number}/device"))


def refused_with(status, function, *args, **kwargs):
    error = expect_raises(Refused, function, *args, **kwargs)
    expect(error.status, status, f"status ({error})")


def wait_for_drives(number):
    """Their controllers are live, and all namespaces have been found."""
    end = time.monotonic() + 60
    for n in range(number):
        while not (os.path.exists(f"/dev/nvme{n}") and
                   read_text(f"/sys/class/nvme/nvme{n}/state") == "live" and
                   len(generic_devices(n)) == 3):
            if time.monotonic() > end:
                raise TimeoutError(f"drive {n} has not all its namespaces")
            time.sleep(0.05)


@test
def drives_do_not_share_anything():
    """Three in one machine, each with its own SLM, engines and programs."""
    drives = [Drive(n) for n in range(3)]
    expect([d.info().slm_size >> 20 for d in drives], [4, 8, 2], "SLM sizes")
    expect([d.info().engines for d in drives], [2, 4, 2], "engines")
    data = [random_bytes(4096, seed=n) for n in range(3)]
    for drive, piece in zip(drives, data):
        drive.slm_write(0, piece)
    drives[1].prepare(1, ALL)
    for number, (drive, piece) in enumerate(zip(drives, data)):
        expect(drive.slm_read(0, 4096) == piece, what=f"SLM of drive {number}")
    refused_with(csd.SC_NO_PROGRAM, drives[0].execute, 1, [(0, 4096)])
    _, found = drives[1].scan(1, [(0, 8192), (1 << 20, 4096)])
    expect(found, [(0, 4096), (4096, 4096)], "matches on the second drive")
    drives[1].activate(1, csd.DEACTIVATE)
    drives[1].unload(1)


@test
def window_costs_one_warning_where_it_is_of_no_use():
    """Debian's kernel cannot use memory on the bus, and says so; the drive
    works as without. One that can says nothing."""
    expect(Drive(2).info().window_size, 2 << 20, "bytes of the window")
    said = sh("dmesg | grep -i cmb", check=False).stdout.splitlines()
    expect(len(said), 0 if kernel_log.is_debug_kernel() else 1,
           f"lines about it: {said}")
    for line in said:
        expect_in("failed to register the CMB", line, "what the kernel says")


@test
def reset_forgets_programs_and_range_sets():
    """A host whose driver was reset must not run another's programs; the
    generation tells it that they are gone, the SLM stays."""
    drive = Drive(0)
    drive.prepare(1, ALL)
    rsid = drive.range_set([(0, 4096)])
    drive.slm_write(0, b"kept" * 1024)
    before = drive.info().generation
    sh("nvme reset /dev/nvme0")
    expect(drive.info().generation > before, what="the generation went up")
    refused_with(csd.SC_NO_PROGRAM, drive.execute, 1, [(0, 4096)])
    refused_with(csd.SC_BAD_RSID, drive.delete_range_set, rsid)
    expect(drive.slm_read(0, 4096), b"kept" * 1024, "SLM after the reset")
    drive.prepare(1, ALL)
    expect(drive.scan(1, RANGES)[0].nr, 16, "units of a scan after the reset")


@test
def reset_ends_a_program_that_runs():
    """nvme reset must not wait for a program, and its Execute ends with an
    error instead of never."""
    drive = Drive(1)
    drive.prepare(2, SPIN)
    ended = []

    def spin():
        try:
            drive.execute(2, [(0, 4096)], timeout_ms=60000)
            ended.append(None)
        except (Refused, OSError) as error:
            ended.append(error)

    worker = threading.Thread(target=spin)
    executes = drive.counters().executes
    worker.start()
    end = time.monotonic() + 20
    while drive.counters().executes == executes and time.monotonic() < end:
        time.sleep(0.01)
    sh("nvme reset /dev/nvme1", timeout=60)
    worker.join(60)
    expect(not worker.is_alive(), what="the Execute came back")
    expect(ended[0] is not None, what=f"it failed: {ended[0]}")


@test
def function_reset_leaves_nothing_in_the_memory():
    """Whoever gets the function next, another guest perhaps, must not read
    what was in the SLM."""
    drive = Drive(2, keep=True)
    drive.slm_write(0, b"secret--" * 512)
    drive.close()
    name = place_on_the_bus(2)
    tell(f"{PCI}/drivers/nvme/unbind", name)
    tell(f"{PCI}/devices/{name}/reset", "1")
    tell(f"{PCI}/drivers/nvme/bind", name)
    wait_for_drives(3)
    expect(Drive(2).slm_read(0, 4096), bytes(4096), "SLM after the reset")


@test
def driver_can_be_removed_and_comes_back():
    """rmmod shuts the drives down and must find them all again, three
    times."""
    for _ in range(3):
        sh(["rmmod", "nvme"], timeout=120)
        expect(os.path.exists("/dev/nvme0"), False, "a device without a driver")
        sh(["modprobe", "nvme"])
        wait_for_drives(3)
    sizes = sorted(Drive(n).info().slm_size >> 20 for n in range(3))
    expect(sizes, [2, 4, 8], "drives")


def busy_disk():
    """fio that reads the first drive's disk until it is told to end."""
    # After a modprobe the numbers are in any order.
    fio = subprocess.Popen(
        ["fio", "--name=load", f"--filename={disk(0)}", "--rw=randread",
         "--ioengine=libaio", "--direct=1", "--iodepth=16", "--bs=4k",
         "--time_based", "--runtime=60", "--thread"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end():
        fio.kill()
        fio.wait()

    cleanup(end)
    return end


def expect_all_drives_again():
    wait_for_drives(3)
    expect(sorted(Drive(n).info().slm_size >> 20 for n in range(3)), [2, 4, 8],
           "drives")


@test
def driver_can_be_removed_under_io():
    """The disk is read while its driver goes."""
    end_fio = busy_disk()
    time.sleep(1)
    name = place_on_the_bus(0)
    tell(f"{PCI}/drivers/nvme/unbind", name)
    # The controller's number is free again when nobody has it open any more.
    end_fio()
    tell(f"{PCI}/drivers/nvme/bind", name)
    expect_all_drives_again()


@test
def driver_can_be_removed_under_copies():
    """Copies into the SLM, and reads of the disk, are under way when it goes."""
    if kernel_log.is_debug_kernel():
        skip("6.12 itself uses freed memory when a /dev/ng* is closed after its "
             "driver has gone (cdev_put(); no module of this project is loaded); "
             "tested on the stock kernel")
    end_fio = busy_disk()
    drive = Drive(0, keep=True)
    errors = []

    def copies():
        try:
            while True:
                drive.copy_lbas(0, [(0, 2048)])
        except (OSError, Refused) as error:
            errors.append(error)

    worker = threading.Thread(target=copies)
    worker.start()
    time.sleep(1)
    name = place_on_the_bus(0)
    tell(f"{PCI}/drivers/nvme/unbind", name)
    worker.join(60)
    expect(not worker.is_alive() and len(errors) == 1,
           what=f"copies ended with an error: {errors}")
    end_fio()
    drive.close()
    tell(f"{PCI}/drivers/nvme/bind", name)
    expect_all_drives_again()


if __name__ == "__main__":
    run()
