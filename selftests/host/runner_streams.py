#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What goes into a guest and what comes out of it."""

import os
import select
import signal
import subprocess
import time

from ktap import expect, expect_in, run, test
from vmrun import argv, vm


@test
def arguments_arrive_exactly():
    """A test whose quoting was changed would test something else."""
    words = ["", " a  b ", "it's", '"q"', "$HOME", "*", "back\\slash",
             "new\nline", "-x", "--", "\udcff\udcfe", "ü"]
    done = vm("--", "printf", "<%s>", *words)
    expect(done.stdout, b"".join(b"<" + os.fsencode(word) + b">"
                                 for word in words), "arguments")


@test
def output_and_errors_stay_apart():
    """TAP on standard output must not be torn by messages."""
    done = vm("--", "sh", "-c", "echo out; echo err >&2; echo on > "
              "/dev/stderr; echo off > /dev/stdout")
    expect(done.stdout, b"out\noff\n", "standard output")
    expect(done.stderr, b"err\non\n", "standard error")


@test
def output_is_binary_safe():
    """Images and traces come out of guests too: 4 MiB, every byte value."""
    data = bytes(range(256)) * 16384
    done = vm("--", "python3", "-c", "import sys; "
              "sys.stdout.buffer.write(bytes(range(256)) * 16384)")
    expect(done.returncode, 0, f"status, after {done.stderr!r}")
    expect(len(done.stdout), len(data), "bytes")
    expect(done.stdout == data, what="the same bytes")


@test
def output_waits_for_who_reads_it():
    """The guest must not go before its last lines have come: a test's verdicts."""
    data = b"begin\n" + bytes(range(256)) * 8192
    with subprocess.Popen(
            argv("--", "python3", "-c", "import sys; sys.stdout.buffer.write("
                 "b'begin\\n' + bytes(range(256)) * 8192)"),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as runner:
        first = runner.stdout.read(6)
        # Time enough for the command to end, with its output still on the way.
        time.sleep(8)
        rest = runner.stdout.read()
    expect(runner.returncode, 0, "status")
    expect(len(first + rest), len(data), "bytes")
    expect(first + rest == data, what="the same bytes")


@test
def output_streams_live():
    """A person must see a line when it is printed, not at the end."""
    runner = subprocess.Popen(
        argv("--", "sh", "-c", "echo first; sleep 1000"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        expect(runner.stdout.readline(), b"first\n", "first line")
        expect(runner.poll(), None, "the runner, while the command sleeps")
    finally:
        runner.kill()
        runner.wait()


def ended_guest(end):
    """Start a guest, have end() end its runner; the status and what is left."""
    name = f"ended-{os.getpid()}"
    runner = subprocess.Popen(
        argv("--qemu-arg=-name", f"--qemu-arg={name}",
             "--", "sh", "-c", "echo up; sleep 1000"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # As at a terminal: a shell has its background jobs ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    expect(runner.stdout.readline(), b"up\n", "first line")
    listed = subprocess.run(["pgrep", "-f", f"^[^ ]*qemu.* -name {name}"],
                            capture_output=True, text=True, check=True)
    guests = [os.pidfd_open(int(pid)) for pid in listed.stdout.split()]
    end(runner)
    status = runner.wait(30)
    ended, _, _ = select.select(guests, [], [], 30)
    expect(len(ended), 1, "QEMUs that ended with their runner")
    return status


@test
def interrupt_kills_the_guest():
    """A Ctrl-C must not leave an emulated machine behind."""
    expect(ended_guest(lambda runner: runner.send_signal(signal.SIGINT)), 130,
           "status")


@test
def killed_runner_takes_the_guest_along():
    """A runner that is killed outright must not leave a machine either."""
    expect(ended_guest(lambda runner: runner.kill()), -signal.SIGKILL,
           "status")


@test
def two_runners_do_not_disturb_each_other():
    """Guests run in parallel: each must get its own output and status."""
    runners = [subprocess.Popen(
        argv("--", "sh", "-c", f"echo guest {number}; exit {number}"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        for number in (11, 12)]
    for number, runner in zip((11, 12), runners):
        output, _ = runner.communicate()
        expect((runner.returncode, output),
               (number, b"guest %d\n" % number), "end")


@test
def environment_is_set():
    """Scripts find the samples and the test library by variables."""
    done = vm("--env", "GREETING=it's me", "--", "sh", "-c",
              'echo "$GREETING $BLKBPF_SAMPLES $PYTHONPATH"')
    expect(done.stdout, b"it's me /usr/share/blkbpf/samples /selftests/lib\n",
           "variables")


@test
def tools_are_in_the_guest():
    """A tool that lacks a library starts with an error: each must start."""
    done = vm("--", "sh", "-ec", "bpftool version; fio --version; "
              "nvme version; dmsetup --version | head -n 1; losetup --version;"
              "mkfs.ext4 -V 2>&1; sfdisk --version; strace -V | head -n 1; "
              "cmp --version | head -n 1; sha256sum --version | head -n 1; "
              "python3 -c 'import ctypes, json, struct, subprocess, mmap, "
              "select, fcntl, hashlib, random, threading, tempfile, shutil, "
              "contextlib, signal, multiprocessing, asyncio'; "
              "modprobe -a null_blk loop dm-mod ext4 raid1 scsi_debug ublk_drv"
              " nvme-loop brd overlay virtio_blk dm-flakey dm-delay; "
              "echo complete")
    expect(done.returncode, 0, f"status, after {done.stderr!r}")
    expect_in(b"complete", done.stdout, "output")


@test
def boots_in_ten_seconds():
    """Every test pays for the boot.

    By guest instructions and waits for timers, a nanosecond each, since seconds are
    also of what else the machine does: TCG gets through 350 million a second and more.
    """
    done = vm("--icount", "--", "cat", "/proc/uptime")
    passed = float(done.stdout.split()[0])
    expect(passed <= 2.0, what=f"{passed} s of the guest's clock")


run()
