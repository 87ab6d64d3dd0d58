#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: --smp 2 --timeout 300 --csd {img:2M} --csd {img:2M},fault=execute@2:fail=0x6
# vm: --csd {img:2M},fuel=10 --csd {img:2M},fault=execute@2:hang
# vm: --csd {img:2M},fault=load@1:corrupt --csd {img:2M},unreachable=1
# vm: --csd {img:2M},lie=result-far
"""blkbpf drive, and scans on drives by the command."""

import json
import os
import re
import subprocess

import csds
import disks
from ktap import cleanup, expect, expect_in, run, test, test_each

SAMPLES = os.environ["BLKBPF_SAMPLES"]
GREP = f"{SAMPLES}/grep.bpf.o"
COUNT = f"{SAMPLES}/count_zero.bpf.o"
TIMEOUT = "/sys/module/nvme_csd/parameters/timeout_ms"
DRIVES = [f"csd{number}" for number in range(7)]
SIZE = 2 << 20
DATA = disks.random_bytes(SIZE, values=6)
NEEDLE = b"\x01\x02\x03\x04\x05\x01"
WORD = "hex:" + NEEDLE.hex()


def blkbpf(*args, status=0):
    done = subprocess.run(["blkbpf", *args], capture_output=True, text=True,
                          check=False)
    expect(done.returncode, status, f"status; {done.stderr}")
    return done


def places():
    return [match.start() for match in
            re.finditer(b"(?=" + re.escape(NEEDLE) + b")", DATA)]


@test
def lists_and_shows_the_drives():
    """If this breaks, a user does not find what he has."""
    lines = blkbpf("drive", "list").stdout.splitlines()
    expect([line.split()[0] for line in lines], ["DRIVE", *DRIVES], "lines")
    found = json.loads(blkbpf("-j", "drive", "list").stdout)
    expect([drive["name"] for drive in found], DRIVES, "names")
    drive = json.loads(blkbpf("-j", "drive", "show", "csd0").stdout)
    expect(drive["namespaces"], [os.path.basename(csds.disk_of("csd0"))], "namespaces")
    expect(drive["slm_size"], int(csds.attribute("csd0", "slm_size")), "memory")
    done = blkbpf("drive", "show", "csd7", status=1)
    expect_in("drive csd7: there is none of this name", done.stderr)


@test
def finds_on_a_drive_what_the_kernel_finds():
    """If this breaks, --on csd0 is another search."""
    args = ("--set", f"needle={WORD}")
    kernel = blkbpf("scan", *args, GREP, csds.disk_of("csd0"))
    drive = blkbpf("scan", "--on", "csd0", "--stats", *args, GREP, csds.disk_of("csd0"))
    expect(kernel.stdout, "".join(f"{at} 6\n" for at in places()), "in the kernel")
    expect(drive.stdout, kernel.stdout, "on the drive")
    expect_in("path           csd0: near\n", drive.stderr)
    expect_in("over the link  ", drive.stderr)
    expect_in(" grep ", " " + csds.attribute("csd0", "programs") + " ")


@test
def prog_show_says_on_which_drives_a_program_is():
    """If this breaks, it is not seen that a drive still holds a program, or in
    how many places one is."""
    blkbpf("scan", "--on", "csd0", "--count", COUNT, csds.disk_of("csd0"))
    line, = [line.split() for line in
             csds.attribute("csd0", "programs").splitlines()
             if line.split()[1] == "count_zero"]
    held = {"drive": "csd0", "index": int(line[0]), "bytes": int(line[2]),
            "scans": 0, "state": "loaded"}
    text = f"\ton csd0: index {line[0]}, {line[2]} bytes, 0 scans, loaded\n"

    # The scan's own copy in the kernel is gone with it.
    shown = json.loads(blkbpf("-j", "prog", "show", "count_zero").stdout)
    expect(shown, {"name": "count_zero", "drives": [held]}, "on the drive alone")
    expect(blkbpf("prog", "show", "count_zero").stdout,
           f"count_zero: not in the kernel\n{text}", "as text")

    pin = "/sys/fs/bpf/blkbpf/shown"
    blkbpf("prog", "load", "--pin", pin, COUNT)
    cleanup(os.unlink, pin)
    for word in ("count_zero", "shown", pin):
        shown = json.loads(blkbpf("-j", "prog", "show", word).stdout)
        expect((shown["name"], shown["pins"], shown["drives"]),
               ("count_zero", [pin], [held]), f"prog show {word}")
    listed = blkbpf("prog", "list").stdout
    expect_in(": count_zero  unit 4096 ", listed)
    expect_in(f"\tpinned {pin}\n{text}", listed)

    blkbpf("prog", "load", "--pin", pin + "2", f"{SAMPLES}/records.bpf.o")
    cleanup(os.unlink, pin + "2")
    shown = json.loads(blkbpf("-j", "prog", "show", pin + "2").stdout)
    expect(shown["drives"], [], "of a program that no drive has")
    done = blkbpf("prog", "show", "count_zeros", status=1)
    expect_in("no loaded program of this name", done.stderr)


@test
def variables_come_back_from_a_drive():
    """If this breaks, what a program counted on a drive is lost."""
    for target in ("kernel", "csd0", "auto"):
        found = json.loads(blkbpf("-j", "scan", "--on", target, "--dump-globals",
                                  "--print", "none", COUNT, csds.disk_of("csd0")).stdout)
        if target == "kernel":
            wanted = found["globals"]
        expect(found["globals"], wanted, target)


@test
def several_devices_are_told_apart():
    """If this breaks, it is not seen which device a match is on."""
    other = disks.loop(DATA)
    done = blkbpf("scan", "--on", "csd0", "--set", f"needle={WORD}", GREP,
                  csds.disk_of("csd0"), other)
    expect(done.stdout, "".join(f"{dev} {at} 6\n" for dev in (0, 1)
                                for at in places()), "matches")


@test
def auto_takes_the_drive_or_the_kernel():
    """If this breaks, --on auto runs where the data are not, or nowhere."""
    other = disks.loop(DATA)
    for path, wanted in ((csds.disk_of("csd0"), "csd0: near"),
                         (other, "kernel: no drive has the data")):
        found = json.loads(blkbpf("-j", "scan", "--on", "auto", "--set",
                                  f"needle={WORD}", GREP, path).stdout)
        expect(found["stats"]["path"], wanted, path)
        expect([match["pos"] for match in found["matches"]], places(), path)


@test_each(fails=("csd1", "csd1 could not run the program"),
           is_too_slow=("csd2", "it executed more instructions than the drive allows"),
           hangs=("csd3", "csd3 did not run the program for the units at "),
           takes_no_program=("csd4", "csd4 refuses the program: "),
           reaches_nothing=("csd5", "its memory cannot reach this namespace"),
           lies=("csd6", "csd6 contradicts itself at the unit at 0"))
def auto_finishes_in_the_kernel_what_a_drive_cannot(drive, sentence):
    """If this breaks, a failure of the drive is one of the scan, or is hidden."""
    disks.write_attribute(TIMEOUT, 1500)
    cleanup(disks.write_attribute, TIMEOUT, 10000)
    found = json.loads(blkbpf("-j", "scan", "--on", "auto", "--set",
                              f"needle={WORD}", "--dump-globals", GREP,
                              csds.disk_of(drive)).stdout)
    expect([match["pos"] for match in found["matches"]], places(), "matches")
    expect(found["status"], "done", "status")
    expect_in(f"{drive}, then kernel: scan: ", found["stats"]["path"])
    expect_in(sentence, found["stats"]["path"])


@test
def a_program_is_checked_for_every_drive():
    """If this breaks, a person learns from a failed scan that a drive does not
    take a program, or not from which line."""
    rows = json.loads(blkbpf("-j", "prog", "check", GREP).stdout)
    expect({row["target"]: row["verdict"] for row in rows},
           dict.fromkeys(("kernel", "user", *csds.drives()), "runs"), "verdicts")
    rows = json.loads(blkbpf("-j", "prog", "check",
                             "/selftests/bpf/bad/read_past_end.bpf.o",
                             status=1).stdout)
    rows = {row["target"]: row for row in rows}
    with open("/selftests/bpf/bad/read_past_end.bpf.c", encoding="ascii") as file:
        source = [line.strip() for line in file]
    for target in ("kernel", "csd0"):
        expect(rows[target]["verdict"], "refused", target)
        told = rows[target]["obstacles"][0]
        expect_in("invalid access to packet", told["reason"], target)
        expect("read_past_end.bpf.c" not in told["reason"],
               what="the place is told once")
        expect(os.path.basename(told["file"]), "read_past_end.bpf.c", target)
        expect(told["source"], source[told["line"] - 1], target)


@test
def a_missing_drive_is_said_to_be_missing():
    """If this breaks, a typing error is a riddle."""
    done = blkbpf("scan", "--on", "csd9", COUNT, csds.disk_of("csd0"), status=1)
    expect_in("there is no target 'csd9'", done.stderr)
    done = blkbpf("scan", "--on", "cds0", COUNT, csds.disk_of("csd0"), status=1)
    expect_in("there is none of this name", done.stderr)


if __name__ == "__main__":
    csds.wait_for_drives(DRIVES)
    for name in csds.drives():
        disks.write_all(csds.disk_of(name), DATA)
    run()
