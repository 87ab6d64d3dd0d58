#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 900 --nvme {img:1M} --csd {img:1M}
"""Random calls of the control device, beside devices that come and go.

FUZZ_CALLS and FUZZ_SEED in the environment ask for another run than the suite's:
selftests/vm/run has --env for them.
"""

import collections
import contextlib
import os
import subprocess
import tempfile
import threading

import blkbpf_abi as abi
import csds
import disks
import kernel_log
from attaching import module_users, settled, unload_other_users
from ktap import cleanup, diag, expect, run, sh, test
from programs import BPFFS, Program, obj_pin

FUZZER = "/selftests/bin/ioctl_fuzz"
# The kernel that finds bugs finds most with few calls, and is slow.
CALLS = int(os.environ.get("FUZZ_CALLS") or
            (5000 if kernel_log.is_debug_kernel() else 20000))
SEED = int(os.environ.get("FUZZ_SEED") or 1)
IOCTLS = ("features", "last_msg", "attach", "list", "missed", "stream", "scan",
          "drain")
# Of each ioctl, kinds of refusal that random fields must have found.
REFUSALS = {"attach": 5, "scan": 7, "stream": 3, "list": 3, "missed": 3}

DRIVE, DRIVE_DISK, (SSD,) = csds.drive_and_ssds()


class Coming(threading.Thread):
    """A disk that comes and goes all the time; cycles says how often."""

    def __init__(self):
        super().__init__()
        self.cycles = 0
        self.stop = threading.Event()
        disk = disks.NullBlk(size=1)
        self.path, self.disk = disk.path, disk

    def run(self):
        while not self.stop.is_set():
            disks.write_attribute(f"{self.disk.folder}/power", 0)
            disks.write_attribute(f"{self.disk.folder}/power", 1)
            with contextlib.suppress(OSError):
                os.chmod(self.path, 0o644)
            self.cycles += 1
            self.stop.wait(0.3)

    def end(self):
        self.stop.set()
        self.join()


def pinned(name, program):
    """The pin of a loaded program, for the length of the test."""
    loaded, path = Program(name, program), f"{BPFFS}/fuzz_{name}"
    cleanup(loaded.close)
    obj_pin(path, loaded.fd)
    cleanup(os.unlink, path)
    return path


def image_file(name, program):
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(csds.image(name, program))
    cleanup(os.unlink, file.name)
    return file.name


def fuzz(programs, paths):
    """({ioctl: {errno: count}}, what it said of violations)"""
    words = [word for pin in programs for word in ("--program", pin)]
    done = subprocess.run(
        [FUZZER, "--seed", str(SEED), "--calls", str(CALLS), *words,
         "--target", DRIVE, "--image", image_file("probe", "probe_4096_0"),
         *paths], stdout=subprocess.PIPE, text=True, check=False)
    counts, said = collections.defaultdict(dict), []
    for line in done.stdout.splitlines():
        if line.startswith("violation: "):
            said.append(line)
        else:
            name, number, count = line.split()
            counts[name][number] = int(count)
    expect(done.returncode, 1 if said else 0, f"status; {done.stdout}")
    return counts, said


def listed():
    with abi.Control() as control:
        return control.list()[1]


@test
def no_call_breaks_what_the_header_promises():
    """If this breaks, somebody finds the call that crashes the machine, leaks an
    address, or refuses without saying why."""
    programs = [pinned("probe", "probe_4096_0"), pinned("emit", "emit_64"),
                pinned("pair", "pair_63")]
    coming = Coming()
    os.chmod(SSD, 0o644)
    coming.start()
    cleanup(coming.end)
    counts, said = fuzz(programs, [SSD, SSD, DRIVE_DISK, coming.path])
    coming.end()
    for name, outcomes in counts.items():
        diag(f"{name}: " + ", ".join(f"{number} {count}" for number, count in
                                     sorted(outcomes.items(),
                                            key=lambda item: -item[1])))
    diag(f"the disk came and went {coming.cycles} times")
    expect(said, [], "violations")
    expect(sum(sum(outcomes.values()) for outcomes in counts.values()), CALLS,
           "calls")
    expect(coming.cycles > 3, what="devices that came and went")
    for name in IOCTLS:
        expect(counts[name].get("0", 0) > 0, what=f"{name} that went well")
    for name, least in REFUSALS.items():
        expect(len(counts[name]) - 1 >= least,
               what=f"at least {least} kinds of refusal of {name}")
    expect(settled(listed, 0), 0, "attachments that are left")


@test
def the_module_works_as_before():
    """If this breaks, some call left a state behind that harms the next one."""
    data = disks.random_bytes(1 << 20, values=6)
    disks.write_all(SSD, data)
    program = Program("probe", "probe_4096_0")
    cleanup(program.close)
    wanted = [(pos, 4096) for pos in range(0, len(data), 4096) if data[pos] < 3]
    with abi.Control() as control:
        found = control.scan(program.fd, disks.opened(SSD), None, (3,))
    expect(found.matches == wanted, what="the matches of a scan")
    csds.wait_for_drives([DRIVE])
    expect(csds.attribute(DRIVE, "slm_free"), csds.attribute(DRIVE, "slm_size"),
           "memory of the drive")


@test
def the_modules_can_be_unloaded():
    """If this breaks, some call keeps a reference for ever."""
    unload_other_users()
    expect(settled(module_users, 0), 0, "users of the module")
    sh(["rmmod", "blk_bpf"])


if __name__ == "__main__":
    run()
