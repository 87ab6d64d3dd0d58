#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: --nvme {img:16M}
"""blkbpf attach, detach, list and tail, as a person or a script uses them."""

import json
import os
import signal
import subprocess

from ktap import cleanup, expect, expect_in, expect_match, run, test

DEVICE = "/dev/nvme0n1"
SAMPLES = os.environ["BLKBPF_SAMPLES"]
DENY = f"{SAMPLES}/deny.bpf.o"
ZERO = f"{SAMPLES}/count_zero.bpf.o"
ATTACHED = "/sys/fs/bpf/blkbpf/attach"
BLOCK = 4096


def blkbpf(*words, status=0):
    """Run the command; its status must be the given one."""
    done = subprocess.run(["blkbpf", *words], stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, text=True)
    expect(done.returncode, status, f"status of {words}: {done.stderr}")
    return done


def parsed(*words):
    """What the command prints with -j."""
    return json.loads(blkbpf("-j", *words).stdout)


def complaint(*words, status=1):
    """What the command says on stderr."""
    return blkbpf(*words, status=status).stderr


def detach_all():
    for attachment in parsed("list"):
        blkbpf("detach", str(attachment["id"]))


def attach(*words):
    """Attach for the running test; the id."""
    cleanup(detach_all)
    return parsed("attach", *words)["id"]


def read_direct(offset=0, length=BLOCK):
    """Read with O_DIRECT; the errno, or 0."""
    done = subprocess.run(
        ["dd", f"if={DEVICE}", "of=/dev/null", f"bs={length}", "count=1",
         f"skip={offset // length}", "iflag=direct"], check=False,
        capture_output=True)
    return done.returncode


def write_zeros(offset, length):
    subprocess.run(["dd", "if=/dev/zero", f"of={DEVICE}", f"bs={length}",
                    "count=1", f"seek={offset // length}", "oflag=direct",
                    "conv=notrunc"], check=True, capture_output=True)


def tail(*words):
    """A running tail that has begun to follow."""
    process = subprocess.Popen(["blkbpf", *words], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    cleanup(process.kill)
    said = process.stderr.readline()
    if "-j" in words:
        expect(list(json.loads(said)), ["following"], "first line")
    else:
        expect_match(r"\Afollowing attachment \d+\n\Z", said)
    return process


@test
def attachment_outlives_the_command():
    """Without its pin it would end with the process that reported it."""
    out = parsed("attach", ZERO, DEVICE)
    cleanup(detach_all)
    expect(out["device"], DEVICE, "device")
    expect(out["pin"], f"{ATTACHED}/{out['id']}", "pin")
    read_direct()
    [listed] = parsed("list")
    expect((listed["id"], listed["disk"], listed["name"], listed["state"]),
           (out["id"], "nvme0n1", "count_zero", "live"), "list")
    expect((listed["bios"], listed["runs"], listed["bytes"]),
           (1, 1, BLOCK), "counters")
    [program] = parsed("prog", "list")
    expect([a["id"] for a in program["attachments"]], [out["id"]],
           "attachments of the program")


@test
def detach_by_id_device_and_pin():
    """Each must end the attachment and leave no pin behind."""
    for by in ("id", "device", "pin"):
        out = parsed("attach", ZERO, DEVICE)
        word = str(out[by])
        expect(parsed("detach", word), {"detached": [out["id"]]},
               f"detach by {by}")
        expect(parsed("list"), [], f"attachments after detach by {by}")
        expect(os.listdir(ATTACHED), [], f"pins after detach by {by}")
    expect_in("none with this id", complaint("detach", str(out["id"])))
    expect_in("nothing is attached", complaint("detach", DEVICE))


@test
def removed_pin_ends_the_attachment():
    """rm is how everybody else's pins are ended too."""
    out = parsed("attach", ZERO, DEVICE)
    os.unlink(out["pin"])
    expect(parsed("list"), [], "attachments")


@test
def detach_does_what_it_can():
    """One wrong word must not keep the others attached."""
    first = attach(ZERO, DEVICE)
    second = attach(ZERO, DEVICE)
    done = blkbpf("detach", str(first), "99999", str(second), status=1)
    expect(done.stdout, f"detached {first}\ndetached {second}\n", "output")
    expect_in("attachment 99999", done.stderr)


@test
def pin_that_exists_is_refused_without_an_attachment():
    """The attachment must not stay without a pin, nor the pin be replaced."""
    pin = "/sys/fs/bpf/cli-test"
    attach("--pin", pin, ZERO, DEVICE)
    expect_in("there is a pin already",
              complaint("attach", "--pin", pin, ZERO, DEVICE))
    expect(len(parsed("list")), 1, "attachments")
    blkbpf("detach", pin)
    expect(not os.path.exists(pin), what="the pin is gone")


@test
def options_reach_the_kernel():
    """A flag that is dropped on the way fails silently."""
    attach("--may-fail", "--writes", "--others", "--no-reads", "--priority",
           "-7", "--arg", "0=0x10", "--arg", "3=-1", "--arg", "1=2K", DENY,
           DEVICE)
    [listed] = parsed("list", DEVICE)
    expect(listed["flags"], ["may-fail", "writes", "others", "no-reads"],
           "flags")
    expect(listed["priority"], -7, "priority")
    expect(listed["args"], [16, 2048, 0, 2**64 - 1], "args")


@test
def denied_read_fails_and_is_counted():
    """The reader sees the error while, and only while, it is attached."""
    attach("--may-fail", "--arg", f"0={BLOCK}", "--arg", f"1={BLOCK}", DENY,
           DEVICE)
    expect(read_direct(0), 0, "read beside the range")
    expect(read_direct(BLOCK), 1, "status of a read in the range")
    [listed] = parsed("list")
    expect(listed["failed"], 1, "failed")
    blkbpf("detach", DEVICE)
    expect(read_direct(BLOCK), 0, "read after detach")


@test
def tail_shows_matches_and_ends():
    """It must show each match once, and not outlive the attachment."""
    write_zeros(2 * BLOCK, BLOCK)
    ident = attach(ZERO, DEVICE)
    plain = tail("tail", str(ident))
    as_json = tail("-j", "tail", DEVICE)
    read_direct(0, 4 * BLOCK)
    blkbpf("detach", str(ident))
    lines = plain.communicate(timeout=20)[0].splitlines()
    expect(len(lines), 2, f"lines of {lines}")
    expect_match(rf"^\d+\.\d{{9}} match read {2 * BLOCK} {BLOCK}$", lines[0])
    expect_match(r"^\d+\.\d{9} end$", lines[1])
    events = [json.loads(line)
              for line in as_json.communicate(timeout=20)[0].splitlines()]
    expect([event.pop("time_ns") > 0 for event in events], [True, True],
           "times")
    expect(events, [{"type": "match", "op": "read", "pos": 2 * BLOCK,
                     "len": BLOCK}, {"type": "end"}], "events")
    expect((plain.returncode, as_json.returncode), (0, 0), "status")


@test
def tail_ends_after_n_lines_or_a_signal():
    """A script needs an end; a person has ^C."""
    write_zeros(0, 4 * BLOCK)
    ident = attach(ZERO, DEVICE)
    two = tail("tail", "-n", "2", str(ident))
    signalled = [(tail("tail", str(ident)), number)
                 for number in (signal.SIGINT, signal.SIGTERM)]
    read_direct(0, 4 * BLOCK)
    expect(len(two.communicate(timeout=20)[0].splitlines()), 2, "lines")
    expect(two.returncode, 0, "status")
    for process, number in signalled:
        process.send_signal(number)
        out = process.communicate(timeout=20)[0]
        expect(len(out.splitlines()), 4, f"lines before {number.name}")
        expect(process.returncode, 0, f"status after {number.name}")


@test
def several_attachments_need_an_id():
    """Which of them a tail should follow is not for the command to guess."""
    attach(ZERO, DEVICE)
    attach(DENY, DEVICE)
    expect_in("2 programs are attached", complaint("tail", DEVICE))


@test
def program_that_cannot_be_attached_says_why():
    """A program for scans may have a unit that live I/O cannot have."""
    expect_in("power of two", complaint(
        "attach", "--program", "smallest", "/selftests/bpf/settings.bpf.o",
        DEVICE))
    expect(parsed("list"), [], "attachments")
    expect(parsed("prog", "list"), [], "programs")


if __name__ == "__main__":
    run()
