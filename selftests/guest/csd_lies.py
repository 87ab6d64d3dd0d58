#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 500
# vm: --csd {img:1M},lie=layout:short-info:no-generation:no-memory:endless-memory:window-outside:no-programs:none-active:tiny-programs:one-range:no-queue:tiny-copies:wrong-nsid:no-types:wrong-type
# vm: --csd {img:1M},lie=large-memory:small-memory:all-window:many-programs:large-programs:large-globals:many-engines:no-engines:long-queue:large-copies:short-deadline:no-fuel:many-types,max-copy=128K
# vm: --csd {img:1M},lie=no-groups:many-groups:long-group:group-zero:foreign-nsids:no-associations:many-associations:long-association
# vm: --csd {img:1M},lie=result-status:result-many:result-far:result-inside:result-early:result-skip:result-full:result-error:result-emit:result-sense:result-fault:result-late:match-far:match-long:match-empty:match-elsewhere
# vm: --csd {img:1M},fault=slm-copy@*:fail=0x189
# vm: --csd {img:1M},lie=message,max-programs=2000,fault=load@1:corrupt;load@*:fail=0x19a
# vm: --csd {img:1M},lie=foreign-nsids,unreachable=1
"""Drives that lie: they are refused with a sentence, or a scan on them gives the
right answer or ends with one; never with a wrong answer, a hang, or an oops."""

import errno
import os
import struct
import time

import blkbpf_abi as abi
import csds
import disks
import kernel_log
import oracle
from ktap import cleanup, diag, expect, expect_in, expect_raises, fail, run, sh, test
from scans import expect_matches, loaded

SIZE = 1 << 20
DATA = disks.random_bytes(SIZE, values=6)
PAIRS = oracle.pairs(DATA, [(0, SIZE)], 3, 4, 4096, 63)
NAMES = [f"csd{number}" for number in range(7)]
SENSELESS, UNTRUE, REACH, RESULT, BUSY, FOREIGN, UNREACHABLE = NAMES
MODULE = "/usr/lib/vm/nvme_csd.ko"
TIMEOUT = "/sys/module/nvme_csd/parameters/timeout_ms"

# What the kernel's log says of each lie of the first drive.
REFUSALS = {
    "layout": "the drive speaks layout 99 and program ABI 1, this driver 1 and 1",
    "short-info": "the drive speaks layout 1 and program ABI 1, this driver",
    "no-generation": "the drive claims a generation of 0: it is not used",
    "no-memory": "the drive claims a memory of an impossible size",
    "endless-memory": "the drive claims a memory of an impossible size",
    "window-outside": "the drive claims a window that is not in its memory",
    "no-programs": "the drive claims room for no program",
    "none-active": "the drive claims room for no program",
    "tiny-programs": "the drive claims programs that are smaller than their header",
    "one-range": "the drive claims fewer than two memory ranges for a program",
    "no-queue": "the drive claims fewer than two commands at a time",
    "tiny-copies": "the drive claims copies of less than 64 KiB",
    "wrong-nsid": "the drive claims namespaces that it does not have",
    "no-types": "the drive runs no programs of type 0xc0, ABI 1",
    "wrong-type": "the drive runs no programs of type 0xc0, ABI 1",
}
# How a scan ends for each lie of the fourth.
CONTRADICTIONS = {
    "result-status": "its result has a status that does not exist",
    "result-many": "more matches than it announced",
    "result-far": "its cursor is outside of the data",
    "result-inside": "its cursor is inside a unit",
    "result-early": "it is done, and is not",
    "result-skip": "its cursor skips matches that there are not",
    "result-full": "it has no room, and found nothing",
    "result-error": "an error that is no error",
    "result-emit": "an error that is no error",
    "result-sense": "a value that a program may return",
    "result-fault": "for no reason that this driver knows",
    "result-late": "it took longer than the drive allows",
    "match-far": "a match is not in what the program has seen",
    "match-long": "a match is not in what the program has seen",
    "match-empty": "a match is not in what the program has seen",
    "match-elsewhere": "a match is not in what the program has seen",
}
# The largest figures that are believed.
BOUNDS = {"max_globals": 64 << 20, "max_programs": 65535, "engines": 1024,
          "max_queued": 65536, "slm_free": 64 << 30}


def scan(drive, path, name="pair", program="pair_63", image=None):
    fd = os.open(path, os.O_RDONLY)
    try:
        with abi.Control() as control:
            return control.scan(loaded(name, program).fd, fd, None, (3, 4),
                                target=drive,
                                image=image or csds.image(name, program))
    finally:
        os.close(fd)


def outcome(drive, path):
    """"" for the right answer; else the sentence, and what was found is right as
    far as the cursor says."""
    try:
        found = scan(drive, path)
    except abi.Refused as error:
        expect_matches(error.found.matches,
                       [pair for pair in PAIRS if pair[0] < error.arg.cursor.pos],
                       f"before: {error.sentence}")
        expect(error.sentence != "", what=f"a sentence for errno {error.errno}")
        return error.sentence
    expect(found.status, abi.DONE, "status")
    expect_matches(found.matches, PAIRS, drive)
    return ""


def reset(drive):
    """The drive's next lie."""
    disks.write_attribute(
        f"/sys/class/nvme/{drive.replace('csd', 'nvme')}/reset_controller", 1)


def reload():
    sh(["rmmod", "nvme_csd"])
    sh(["insmod", MODULE])


def wait_for_line(watch, part):
    """The first new line of the kernel's with that in it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for line in watch.new_lines():
            if part in line:
                return line
        time.sleep(0.05)
    return fail(f"the kernel does not say {part!r}")


def large_variables():
    """An image whose first global variable has three gigabytes."""
    image = bytearray(csds.image("probe", "probe_4096_0"))
    struct.pack_into("<I", image, int.from_bytes(image[28:32], "little"), 3 << 30)
    return bytes(image)


@test
def senseless_figures_are_refused_with_a_sentence():
    """If this breaks, a drive that makes no sense is used, or nobody is told why
    it is not."""
    watch = kernel_log.Watch()
    said = set()
    # Whichever comes first: they come in turn.
    for _ in REFUSALS:
        reset(SENSELESS)
        watch.new_lines()
        reload()
        line = wait_for_line(watch, "nvme nvme0: the drive ")
        wanted = [name for name, part in REFUSALS.items() if part in line]
        expect(wanted != [], what=f"a sentence that is expected: {line}")
        said.update(wanted)
        expect(SENSELESS in csds.drives(), False, f"{line}: and still there")
    expect(sorted(said), sorted(REFUSALS), "lies that were refused")
    csds.wait_for_drives(NAMES[1:])


@test
def untrue_figures_are_bounded():
    """If this breaks, a drive has the kernel take what memory it likes, or a scan
    on it never ends."""
    path = csds.disk_of(UNTRUE)
    ends = []
    for _ in range(13):
        reset(UNTRUE)
        reload()
        csds.wait_for_drives(NAMES[1:])
        for name, bound in BOUNDS.items():
            expect(int(csds.attribute(UNTRUE, name)) <= bound,
                   what=f"{name} is {csds.attribute(UNTRUE, name)}")
        ends.append(outcome(UNTRUE, path))
        error = expect_raises(abi.Refused, scan, UNTRUE, path, "probe",
                              "probe_4096_0", large_variables(),
                              errno=errno.ENOEXEC)
        expect_in("the program has 3221", error.sentence)
    diag("\n".join(ends))
    expect(ends.count("") >= 8, what=f"right answers among {ends}")
    full = "csd1 has not enough memory for a unit of 4096 bytes"
    expect(sum(full in end for end in ends), 1, f"no memory left, among {ends}")
    wrong = [end for end in ends if end and full not in end and
             not end.startswith("csd1 could not ")]
    expect(wrong, [], "other ends")


@test
def reachability_is_looked_at():
    """If this breaks, a list without end is read to its end, or a drive without
    any cannot be told from others."""
    path = csds.disk_of(REACH)
    ends = []
    for _ in range(8):
        reset(REACH)
        ends.append(outcome(REACH, path))
    expect(ends.count(""), 3, f"right answers among {ends}")
    for end in filter(None, ends):
        expect_in("its memory cannot reach this namespace; use the target kernel",
                  end)


@test
def what_is_said_to_be_reachable_and_is_not():
    """If this breaks, a copy that the drive refuses is not understood."""
    path = csds.disk_of(UNREACHABLE)
    error = expect_raises(abi.Refused, scan, UNREACHABLE, path,
                          errno=errno.EOPNOTSUPP)
    expect_in("its memory cannot reach the namespace (status 0x188)",
              error.sentence)


@test
def results_that_contradict_themselves_are_not_believed():
    """If this breaks, matches are lost, invented or repeated by a drive, or the
    kernel reads beyond what it has."""
    path = csds.disk_of(RESULT)
    said = set()
    for _ in CONTRADICTIONS:
        reset(RESULT)
        end = outcome(RESULT, path)
        expect(end != "", what="an end with a sentence")
        wanted = [name for name, part in CONTRADICTIONS.items() if part in end]
        expect(wanted != [], what=f"a sentence that is expected: {end}")
        said.update(wanted)
        expect(csds.attribute(RESULT, "slm_free"), csds.attribute(RESULT, "slm_size"),
               "memory after the scan")
    expect(sorted(said), sorted(CONTRADICTIONS), "lies that were seen")


@test
def a_drive_that_is_always_busy_is_given_up():
    """If this breaks, a drive that takes no command keeps a scan for ever."""
    disks.write_attribute(TIMEOUT, 300)
    cleanup(disks.write_attribute, TIMEOUT, 10000)
    path = csds.disk_of(BUSY)
    error = expect_raises(abi.Refused, scan, BUSY, path, errno=errno.EBUSY)
    expect_in("csd4 has been too busy for the units at 0 for ", error.sentence)
    expect_in("go on with the cursor", error.sentence)


@test
def a_sentence_of_the_drives_is_printable():
    """If this breaks, a drive writes to the terminal of whoever scans on it."""
    path = csds.disk_of(FOREIGN)
    error = expect_raises(abi.Refused, scan, FOREIGN, path, errno=errno.ENOEXEC)
    expect_in("csd5 refuses the program: ", error.sentence)
    expect(error.sentence.isprintable(), what=repr(error.sentence))


@test
def indices_that_are_never_free_are_given_up():
    """If this breaks, a drive has a scan load a program without end."""
    path = csds.disk_of(FOREIGN)
    # The first program of the drive's is damaged on its way.
    expect_raises(abi.Refused, scan, FOREIGN, path)
    error = expect_raises(abi.Refused, scan, FOREIGN, path, errno=errno.EBUSY)
    expect_in("csd5 says of 256 indices in a row that they hold programs",
              error.sentence)


@test
def drives_that_lie_can_be_let_go():
    """If this breaks, a drive holds whoever believed it."""
    sh(["rmmod", "nvme_csd"])
    sh(["rmmod", "nvme"])
    expect(os.listdir("/sys/class/nvme"), [], "controllers that are left")


if __name__ == "__main__":
    csds.wait_for_drives(NAMES[1:])
    for disk in {csds.disk_of(name) for name in NAMES[1:]}:
        disks.write_all(disk, DATA)
    run()
