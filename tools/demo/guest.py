#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The demo's part in the guest: shows each command, and what it printed.

What the host is to check goes to standard output too, as one line that begins
with a record separator: position and length of what the scan found.
"""

import json
import os
import re
import subprocess
import sys

import csds

DISK = "/dev/nvme0n1"
# Three ordinary SSDs; and the drive, which holds the same file system once more.
PEERS = ("/dev/nvme0n1", "/dev/nvme1n1", "/dev/nvme2n1")
RANGE = (64 << 20, 16 << 20)
MOUNT = "/mnt"
SAMPLES = os.environ["BLKBPF_SAMPLES"]
TEXT = os.environ["DEMO_TEXT"]
FOLDER = f"{MOUNT}/kernel"
FILE = f"{FOLDER}/fork.c"
NEIGHBOUR = f"{FOLDER}/exit.c"
BLOCK = 4096
SEARCH = (f"--set 'needle={TEXT}' --print lba --stats {SAMPLES}/grep.bpf.o")

BOLD, PLAIN = ("\033[1m", "\033[0m") if os.environ.get("DEMO_COLOUR") else ("", "")


class Differs(Exception):
    """Something is not as it must be; the message says what."""


def say(text=""):
    print(text, flush=True)


def heading(text):
    say(f"\n{BOLD}{text}{PLAIN}")


def indent(text):
    for line in text.splitlines():
        say(f"    {line}")


def show(command, lines=None, status=0):
    """Run a shell command in sight of the reader; returns its output."""
    say(f"  {BOLD}$ {command}{PLAIN}")
    done = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors="replace", check=False)
    out = done.stdout.splitlines()
    indent("\n".join(out[:lines]))
    if lines is not None and len(out) > lines:
        say(f"    ... and {len(out) - lines} more")
    indent(done.stderr)
    if (done.returncode == 0) != (status == 0):
        raise Differs(f"'{command}' ended with status {done.returncode}")
    return done.stdout, done.stderr


def expect(condition, text):
    if not condition:
        raise Differs(text)
    say(f"  {BOLD}ok{PLAIN}: {text}")


def drop_caches():
    show("echo 3 > /proc/sys/vm/drop_caches")


def attachments():
    out = subprocess.run(["blkbpf", "-j", "list"], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    return {entry["name"]: entry for entry in json.loads(out)}


def scan():
    heading(f"1. Scan the raw disk for '{TEXT}', in the kernel")
    out, _ = show(f"blkbpf scan {SEARCH} {DISK}", lines=10)
    with open(f"/sys/block/{DISK[5:]}/queue/logical_block_size",
              encoding="ascii") as file:
        block = int(file.read())
    found = []
    for line in out.splitlines():
        lba, offset, length = map(int, line.split())
        found.append((lba * block + offset, length))
    say("    (logical block, offset in it, length; then what the scan cost)")
    say("\x1e" + json.dumps(found))
    return {position for position, _ in found}, out


def stayed(statistics):
    """Say what crossed the link to the drive, from what --stats prints."""
    scanned, = map(int, re.findall(r"^bytes scanned\s+(\d+)", statistics, re.M))
    (there, back, data), = re.findall(r"^over the link\s+(\d+) bytes to the drive, "
                                      r"(\d+) back, (\d+) of", statistics, re.M)
    link = int(there) + int(back)
    expect(int(data) == 0 and link < scanned // 20,
           f"{(scanned - link) / scanned:.2%} of {scanned >> 20} MiB stayed on the "
           f"drive: {link >> 10} KiB of commands and matches crossed the link")


def scan_on_drive(answer):
    heading("2. The same program on a drive that runs programs, which has the "
            "same data")
    drive, = csds.wait_for_number(1)
    show("blkbpf drive list")
    disk = csds.disk_of(drive)
    out, statistics = show(f"blkbpf scan --on {drive} {SEARCH} {disk}", lines=3)
    expect(out == answer, f"the drive finds the same {len(out.splitlines())}")
    stayed(statistics)
    return drive


def scan_peers(drive, positions):
    heading("3. And over three ordinary SSDs beside it, a part of each")
    begin, length = RANGE
    out, statistics = show(
        f"blkbpf scan --on {drive} --set 'needle={TEXT}' --range {begin}:{length} "
        f"--stats {SAMPLES}/grep.bpf.o {' '.join(PEERS)}", lines=3)
    found = [tuple(map(int, line.split()[:2])) for line in out.splitlines()]
    inside = sorted(at for at in positions
                    if begin <= at and at + len(TEXT) <= begin + length)
    expect(found == [(dev, at) for dev in range(len(PEERS)) for at in inside],
           f"{len(inside)} on each of the {len(PEERS)}, as in the kernel")
    way = re.search(rf"^path\s+{drive}: (.*)", statistics, re.M)[1]
    expect(way == "through host memory", f"their data went {way}: Debian's kernel "
           "has no peer-to-peer DMA\n      ('make demo-drive' shows it)")


def mount():
    heading("4. Mount its file system, and attach a filter to the live disk")
    show(f"mount -t ext4 {DISK} {MOUNT}")
    before, _ = show(f"sha256sum {FILE} {NEIGHBOUR}")
    show(f"blkbpf attach --set 'needle={TEXT}' {SAMPLES}/grep.bpf.o {DISK}")
    return before


def start_tail(path):
    """Follow the matches in the background, from now on for certain."""
    command = f"blkbpf tail {DISK}"
    say(f"  {BOLD}$ {command} > {path} &{PLAIN}")
    with open(path, "wb") as output:
        tail = subprocess.Popen(command.split(), stdout=output,
                                stderr=subprocess.PIPE, text=True)
    following = tail.stderr.readline()
    indent(following)
    if not following.startswith("following "):
        raise Differs(f"'{command}' did not begin to follow")
    return tail


def watch(scanned):
    heading("5. Read files, and see what passes")
    path = "/tmp/matches"
    tail = start_tail(path)
    drop_caches()
    out, _ = show(f"grep -rohF '{TEXT}' {FOLDER} | wc -l")
    in_files = int(out)
    show("blkbpf list")
    counters = attachments()["grep"]
    show("blkbpf detach " + str(counters["id"]))
    if tail.wait():
        raise Differs(f"'blkbpf tail' ended with status {tail.returncode}")
    show(f"head -n 5 {path}")
    say("    (time, what happened, position on the disk, length)")
    with open(path, encoding="ascii") as file:
        live = [int(position) for position in
                re.findall(r"^\S+ match \S+ (\d+) ", file.read(), re.M)]
    expect(counters["bios"] and len(live) == counters["matches"] > 0,
           f"{counters['matches']} matches in {counters['bytes'] >> 10} KiB "
           "that were read, counted and streamed alike")
    # A text that reaches from one read into the next is seen by neither.
    expect(in_files - counters["bios"] < len(live) <= in_files,
           f"the files hold {in_files} in all")
    expect(set(live) <= scanned, "the scan had found every one of them")
    expect(not counters["missed"], "no read was missed")


def deny(before):
    heading("6. Let a program fail the reads of one block of a file")
    out, _ = show(f"debugfs -R 'bmap /{os.path.relpath(FILE, MOUNT)} 0' {DISK} "
                  "2>/dev/null")
    position = int(out) * BLOCK
    show(f"blkbpf attach --may-fail --arg 0={position} --arg 1={BLOCK} "
         f"{SAMPLES}/deny.bpf.o {DISK}")
    drop_caches()
    _, error = show(f"sha256sum {FILE}", status=1)
    expect("Input/output error" in error, "the reader gets the error")
    _, error = show(f"dd if={DISK} of=/dev/null iflag=direct bs={BLOCK} "
                    f"skip={position // BLOCK} count=1 status=none", status=1)
    out, _ = show(f"sha256sum {NEIGHBOUR}")
    expect(out in before, "the file beside it is read as before")
    show("blkbpf list")
    expect(attachments()["deny"]["failed"] > 0, "the failed reads are counted")


def detach(before):
    heading("7. Detach, and all is as before")
    show(f"blkbpf detach {DISK}")
    drop_caches()
    after, _ = show(f"sha256sum {FILE} {NEIGHBOUR}")
    expect(after == before, "both files are what they were")
    expect(not attachments(), "nothing is attached")
    show(f"umount {MOUNT}")
    show(f"e2fsck -fn {DISK}")


def main():
    os.makedirs(MOUNT, exist_ok=True)
    scanned, answer = scan()
    drive = scan_on_drive(answer)
    scan_peers(drive, scanned)
    before = mount()
    watch(scanned)
    deny(before)
    detach(before)


if __name__ == "__main__":
    try:
        main()
    except Differs as error:
        sys.exit(f"demo: this is not as it must be: {error}")
