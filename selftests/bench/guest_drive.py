#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""In the guest, under icount: scans on drives whose time is modelled.

near: a GiB on a drive, and an eighth of it in the kernel and by C in user space; the
GiB is that eighth again and again. What a program costs to be loaded is in no
figure. The images of the programs lie in /share. Prints JSON.

peers: one, two, and all of the SSDs beside a drive, which write into its memory.
engines: the same data on drives with more and more engines.
"""

import json
import os
import sys
import time

import blkbpf_abi as abi
import csds
import programs
from guest_hook import call
from guest_scan import URING, busy_ns, idle_ns, positions
from ngdrive import Drive

MIB = 1 << 20
SAMPLES = os.environ["BLKBPF_SAMPLES"]


class Timed(abi.Control):
    """Knows of its last call how long it took, and what of that was idle."""

    took = busy = 0

    def call(self, arg, *args, **kwargs):
        idle, began = idle_ns(), time.monotonic_ns()
        super().call(arg, *args, **kwargs)
        self.took = time.monotonic_ns() - began
        self.busy = self.took - (idle_ns() - idle)
        return arg


class Filter:
    """One of the filters: loaded, and as a drive takes it."""

    def __init__(self, name, settings, operands):
        self.name, self.operands = name, operands
        pin = f"/sys/fs/bpf/bench_{name}"
        words = [word for item in settings.items()
                 for word in ("--set", "=".join(item))]
        call("blkbpf", "prog", "load", f"{SAMPLES}/{name}.bpf.o", "--pin", pin,
             *words)
        self.fd = programs.obj_get(pin)
        with open(f"/share/{name}.img", "rb") as file:
            self.image = file.read()

    def on_drive(self, control, drive, devices, flags=0):
        return control.scan(self.fd, devices, target=drive, image=self.image,
                            flags=flags)

    def in_kernel(self, control, device, flags=0):
        return control.scan(self.fd, device, flags=flags)

    def by_user(self, *options):
        return [URING, *options, part_disk(), self.name, *self.operands]


def filters():
    with open("/share/filters.json", encoding="ascii") as file:
        return [Filter(*item) for item in json.load(file)]


def part_disk():
    """Of the drive with the eighth."""
    return csds.disk_of("csd1")


def must(condition, what):
    if not condition:
        sys.exit(f"guest_drive: {what}")


def check_answers(control, filter_, whole, part):
    """Different answers would make the figures worthless."""
    kernel = [pos for pos, _ in filter_.in_kernel(control, part).matches]
    user = positions(call(*filter_.by_user("-p")))
    must(kernel and kernel == user, f"{filter_.name}: the kernel finds "
         f"{len(kernel)} matches, {URING} {len(user)}, and they differ")
    size = os.lseek(part, 0, os.SEEK_END)
    wanted = [at + pos for at in range(0, os.lseek(whole, 0, os.SEEK_END), size)
              for pos in kernel]
    drive = [pos for pos, _ in
             filter_.on_drive(control, "csd0", [whole]).matches]
    must(drive == wanted, f"{filter_.name}: the drive finds {len(drive)} "
         f"matches, and {len(wanted)} are wanted")
    print(f"{filter_.name}: all find the same, {len(kernel)} and {len(drive)} "
          "matches", file=sys.stderr)
    return len(drive)


def link_bytes(path):
    return path.link_to_drive + path.link_to_host


def near_on_drive(control, filter_, whole, rounds):
    """Samples, and what of the last one is the same for all.

    Instructions are those of counting, as for the other ways; and once more
    with the matches, which cost the link and this machine something each.
    """
    row = {"filter": filter_.name, "way": "drive", "per_mib": [],
           "per_mib_fetched": [], "ns": []}
    for _ in range(rounds):
        found = filter_.on_drive(control, "csd0", [whole], abi.COUNT)
        must(found.path.path == abi.PATH_NEAR, f"path {found.path.path}")
        mib = found.stats.bytes_scanned / MIB
        row["per_mib"].append(control.busy / mib)
        found = filter_.on_drive(control, "csd0", [whole])
        row["per_mib_fetched"].append(control.busy / mib)
        row["ns"].append(control.took)
    return {**row, "bytes": found.stats.bytes_scanned,
            "link": link_bytes(found.path), "insns": found.path.insns,
            "commands": found.path.commands}


def near(rounds):
    csds.wait_for_drives(["csd0", "csd1"])
    whole, part = (os.open(csds.disk_of(drive), os.O_RDONLY)
                   for drive in ("csd0", "csd1"))
    mib = os.lseek(part, 0, os.SEEK_END) / MIB
    rows = []
    with Timed() as control:
        for filter_ in filters():
            matches = check_answers(control, filter_, whole, part)
            rows.append({**near_on_drive(control, filter_, whole, rounds),
                         "matches": matches})
            kernel = []
            for _ in range(rounds):
                filter_.in_kernel(control, part, abi.COUNT)
                kernel.append(control.busy / mib)
            rows.append({"filter": filter_.name, "way": "kernel",
                         "per_mib": kernel})
            rows.append({"filter": filter_.name, "way": "user",
                         "per_mib": [busy_ns(filter_.by_user()) / mib
                                     for _ in range(rounds)]})
    return rows


def has_window(drive):
    controller = csds.attribute(drive, "controller")
    return os.path.exists(f"/sys/class/nvme/{controller}/device/p2pmem")


def peers(rounds):
    """SSDs that take modelled time are drives too; one has a window on the bus.

    Links are counted twice: by the host, and in the drive's memory by the drive.
    """
    drives = csds.wait_for_number(5)
    drive, = filter(has_window, drives)
    ssds = [os.open(csds.disk_of(name), os.O_RDONLY)
            for name in drives if name != drive]
    number = int(csds.attribute(drive, "controller")[len("nvme"):])
    counters = Drive(number).counters
    filter_, rows = filters()[0], []
    with Timed() as control:
        wanted = [pos for pos, _ in
                  filter_.in_kernel(control, ssds[0]).matches]
        for many in (1, 2, 4):
            before = counters().host_to_slm
            row = {"ssds": many, "ns": []}
            for _ in range(rounds + 1):
                found = filter_.on_drive(control, drive, ssds[:many])
                row["ns"].append(control.took)
            # The first one also has to load the program.
            del row["ns"][0]
            must(found.path.path == abi.PATH_PEER, f"path {found.path.path}")
            must([pos for pos, _ in found.matches] == wanted * many,
                 f"{many} SSDs: {len(found.matches)} matches, and "
                 f"{len(wanted) * many} are wanted")
            rows.append({**row, "bytes": found.stats.bytes_scanned,
                         "insns": found.path.insns,
                         "link_data": found.path.link_data,
                         "host_to_slm": counters().host_to_slm - before})
    return rows


def engines(rounds):
    rows = []
    filter_ = filters()[1]
    with Timed() as control:
        for drive in csds.wait_for_number(4):
            disk = os.open(csds.disk_of(drive), os.O_RDONLY)
            row = {"engines": int(csds.attribute(drive, "engines")), "ns": []}
            for _ in range(rounds + 1):
                found = filter_.on_drive(control, drive, [disk], abi.COUNT)
                row["ns"].append(control.took)
            # The first one also has to load the program.
            del row["ns"][0]
            rows.append({**row, "bytes": found.stats.bytes_scanned,
                         "insns": found.path.insns})
    return sorted(rows, key=lambda row: row["engines"])


def main(argv):
    part = {"near": near, "peers": peers, "engines": engines}[argv[1]]
    json.dump(part(int(argv[2])), sys.stdout)


if __name__ == "__main__":
    main(sys.argv)
