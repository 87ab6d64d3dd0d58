#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""How the VM runner's exit status comes about."""

from ktap import expect, expect_in, run, test
from vmrun import vm


@test
def exit_status_is_the_commands():
    """A runner that lost the status would turn failures into successes."""
    expect(vm("--", "sh", "-c", "exit 37").returncode, 37, "status")


@test
def signal_is_128_and_its_number():
    """A killed command must not look like one that ended by itself."""
    expect(vm("--", "sh", "-c", "kill -SEGV $$").returncode, 139, "status")


@test
def missing_command_is_127_and_named():
    """A typing error must say what was not found."""
    done = vm("--", "no-such-command")
    expect(done.returncode, 127, "status")
    expect_in(b"no-such-command", done.stderr, "standard error")


@test
def panic_is_250_with_the_console():
    """A guest that dies must never count as a success, whatever it printed."""
    done = vm("--", "sh", "-c", "echo all is well; sleep 0.1; "
              "echo c > /proc/sysrq-trigger")
    expect(done.returncode, 250, "status")
    expect(done.stdout, b"all is well\n", "output before the panic")
    expect_in(b"sysrq triggered crash", done.stderr, "console")


@test
def power_off_before_the_end_is_250():
    """A guest that goes away without a status has not run its command."""
    done = vm("--", "sh", "-c", "poweroff -f; sleep 100")
    expect(done.returncode, 250, "status")
    expect_in(b"powered off before the command ended", done.stderr, "reason")


@test
def timeout_is_251():
    """A hang must end, and be told from a panic."""
    done = vm("--timeout", "2", "--", "sleep", "1000")
    expect(done.returncode, 251, "status")
    expect_in(b"did not end in 2 s", done.stderr, "reason")


@test
def background_process_does_not_hold_the_end():
    """Something left running with the output open must not hang the runner."""
    done = vm("--", "sh", "-c", "sleep 1000 & echo started; exit 4")
    expect((done.returncode, done.stdout), (4, b"started\n"), "end")


@test
def qemu_that_does_not_start_is_252():
    """A machine that cannot be built must say why, in QEMU's words."""
    # Before and after it has connected to the runner.
    for option, value in ((b"-device", b"no-such-device"),
                          (b"-debugcon", b"no-such-backend")):
        done = vm(b"--qemu-arg=" + option, b"--qemu-arg=" + value, "--", "true")
        expect(done.returncode, 252, "status")
        expect_in(value, done.stderr, "reason")
        expect(b"Traceback" in done.stderr, False, "an error of the runner's")


@test
def panic_in_boot_is_250_and_says_so():
    """A module that crashes on load must not read like a failed command."""
    done = vm("--append", "rdinit=/no/such/init root=/dev/none", "--", "true")
    expect(done.returncode, 250, "status")
    expect_in(b"before the command was reached", done.stderr, "reason")
    expect_in(b"Kernel panic", done.stderr, "console")


@test
def refused_options_are_252_and_explained():
    """Each refusal has its own sentence."""
    for words, sentence in (
            (["--nvme", "/no/such/file", "--", "true"], b"no such file"),
            (["--share", "/no/such/folder", "--", "true"], b"no such folder"),
            (["--kernel", "/no/such/kernel", "--", "true"], b"no such file"),
            (["--csd", "/no/such/file", "--", "true"], b"no such file"),
            (["--smp", "2"], b"no command"),
            (["--icount", "--smp", "4", "--", "true"], b"one CPU")):
        done = vm(*words)
        expect(done.returncode, 252, f"status of {words}")
        expect_in(sentence, done.stderr, f"message of {words}")


run()
