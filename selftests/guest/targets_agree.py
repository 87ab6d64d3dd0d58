#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: --smp 2 --timeout 1200 --csd {img:1M},engines=1 --csd {img:1M},engines=4
"""One program in three places: in the process, in the kernel and on a drive.

Random filters, 64 in an object, and the samples; AGREE_OBJECTS names a folder of
more random ones, AGREE_LEAST how many filters must be compared (selftests/agree).
"""

import glob
import os
import random

import csds
import disks
from ktap import diag, expect, expect_in, fail, run, test, test_each
from targets import answers, expect_alike

SIZE = 1 << 20
FILTERS = 64
FOLDER = os.environ.get("AGREE_OBJECTS")
LEAST = int(os.environ.get("AGREE_LEAST", "1"))
OBJECTS = sorted(glob.glob(f"{FOLDER or '/selftests/bpf'}/random_*.bpf.o"))
BAD = sorted(glob.glob("/selftests/bpf/bad/*.bpf.o"))
SAMPLES = os.environ["BLKBPF_SAMPLES"]
DISKS = {name: csds.disk_of(name) for name in ("csd0", "csd1")}
# Odd ones too: short units, units that begin anywhere, and ends without overlap.
SCANS = (("--arg", "1=0", "--range", f"0:{SIZE - 1000}"),
         ("--arg", "1=0xfedcba9876543210", "--range", "7:300001", "--range",
          "900000:148576", "--range", "5:0", "--range", "3:70000"))
# What was compared, by all tests of this file.
counts = dict.fromkeys(("filters", "refused", "scans", "matches", "calls"), 0)


def make_data():
    """Numbers of all sizes: edges, small ones, and any; a block of zeros; a text."""
    source = random.Random("targets")
    words = [source.choice((0, 1, 0xff, 0x7fffffff, 0x80000000, (1 << 63) - 1,
                            1 << 63, (1 << 64) - 1, source.randrange(256),
                            source.randrange(1 << 16),
                            source.randrange(1 << 64)))
             for _ in range(SIZE // 8)]
    data = bytearray(b"".join(word.to_bytes(8, "little") for word in words))
    for at in range(0, SIZE, SIZE // 8):
        data[at:at + 4096] = bytes(4096)
        data[at + 8190:at + 8196] = b"needle"
    return bytes(data)


def is_alone(path):
    """Its filters work in global memory: only one call at a time is right."""
    return int(os.path.basename(path).split(".")[0].split("_")[1]) % 2 == 1


def without_scratch(variables):
    """What each call begins anew: which was the last is nobody's promise."""
    return {name: value for name, value in variables.items()
            if name != "scratch"}


def same_refusal(path, found):
    """A program that not all take: the drive must ask for both verifiers."""
    said = {target: answer.refused or answer.error
            for target, answer in found.items()}
    for target, sentence in said.items():
        diag(f"{os.path.basename(path)} on {target}: {sentence or 'runs'}")
    drive, = (said[target] for target in said if target.startswith("csd"))
    expect(bool(drive), what="the drive refuses it too")
    if said["kernel"]:
        expect(drive, said["kernel"], "sentence of the drive, beside the kernel's")


def compare(path, *words):
    """Of the three targets; False if one of them does not take the program."""
    drive = "csd0" if is_alone(path) else "csd1"
    threads = ("--threads", "1") if is_alone(path) else ()
    found = answers(("kernel", "user", drive),
                    ("--dump-globals", *threads, *words, path, DISKS[drive]))
    if any(answer.refused for answer in found.values()):
        same_refusal(path, found)
        return False
    answer = expect_alike(found, " ".join((path, *words)), without_scratch)
    expect(answer.status, "done", "status")
    calls = [tally["calls"] for tally in answer.globals["tallies"]]
    expect(len(calls), FILTERS, "filters")
    expect(sum(calls), answer.stats["units"], "calls")
    counts["scans"] += len(found)
    counts["matches"] += len(answer.matches) * len(found)
    counts["calls"] += sum(calls) * len(found)
    return True


@test_each(**{os.path.basename(path).split(".")[0]: path for path in OBJECTS})
def random_filters_agree(path):
    """If this breaks, an answer depends on where a program runs."""
    # One scan each in a long run, since most of the time goes into verifying.
    scans = SCANS if not FOLDER else SCANS[OBJECTS.index(path) // 2 % 2:][:1]
    for words in scans:
        if compare(path, *words):
            continue
        counts["refused"] += FILTERS
        # Those that make check runs are known to be taken by all.
        expect(bool(FOLDER), what=f"{path} is taken by all targets")
        return
    counts["filters"] += FILTERS


@test
def there_are_hundreds_of_filters():
    """If this breaks, nothing was compared."""
    diag(", ".join(f"{count} {name}" for name, count in counts.items()))
    # Who brings objects says how many filters are wanted.
    filters, matches = (LEAST, 1) if FOLDER else (200, 10000)
    if counts["filters"] < filters or counts["matches"] < matches:
        fail(f"only {counts}")


@test_each(grep=("grep", "--set", "needle=needle"), grep_short=(
               "grep", "--set", "needle=hex:00ff", "--range", "1:30001"),
           records=("records", "--set", "value_max=0xff"),
           records_short=("records", "--set", "key_min=1", "--range", "64:9999",
                          "--unit", "640"),
           count_zero=("count_zero",), deny=("deny", "--arg", "0=1M"))
def samples_agree(name, *words):
    """If this breaks, what people copy from has several meanings."""
    for drive in DISKS:
        answer = expect_alike(
            answers(("kernel", "user", drive),
                    ("--dump-globals", *words, f"{SAMPLES}/{name}.bpf.o",
                     DISKS[drive])), name)
        expect(answer.status, "done", "status")
        if name != "deny":
            expect(len(answer.matches) > 5, what=f"{len(answer.matches)} matches")


@test
def what_the_kernel_refuses_no_drive_runs():
    """If this breaks, a drive is the way around the kernel's verifier."""
    expect(len(BAD) > 20, what="bad programs")
    for path in BAD:
        # Not in user space, where one of them would never end.
        found = answers(("kernel", "csd0"), ("--range", "0:4096", path,
                                             DISKS["csd0"]))
        kernel, drive = (found[target].refused for target in ("kernel", "csd0"))
        expect(bool(kernel), what=f"the kernel refuses {path}")
        # It may not get so far: what is not portable is not asked about.
        if drive != kernel:
            expect_in("cannot run outside a kernel", drive, path)


if __name__ == "__main__":
    for disk in DISKS.values():
        disks.write_all(disk, make_data())
    run()
