#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What blkbpf says when something is wrong, as far as no module is needed."""

import json
import os
import stat
import subprocess
import sys
import tempfile

from ktap import cleanup, expect, expect_in, expect_match, run, skip, test

TOP = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..")
BLKBPF = os.environ.get("BLKBPF", os.path.join(TOP, "build/bin/blkbpf"))
GREP = os.path.join(TOP, "build/samples/grep.bpf.o")
NOBODY = 65534

OK, FAILED, USAGE = 0, 1, 2


def blkbpf(*words, **kwargs):
    """Run the command to its end, with its output as text."""
    return subprocess.run([BLKBPF, *words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False,
                          timeout=60, **kwargs)


def refused(status, *words, **kwargs):
    """The sentence of a refusal; with -j the same must come as JSON."""
    plain = blkbpf(*words, **kwargs)
    expect(plain.returncode, status, f"status of {words}")
    expect(plain.stdout, "", f"output of {words}")
    expect_match(r"\Ablkbpf: [^\n]{10,}\n", plain.stderr)
    as_json = blkbpf("-j", *words, **kwargs)
    expect(as_json.returncode, status, f"status of -j {words}")
    error = json.loads(as_json.stderr)
    sentence = plain.stderr.splitlines()[0].removeprefix("blkbpf: ")
    expect(error["error"], sentence, "sentence in JSON")
    expect_match(r"\AE[A-Z0-9]+\Z", error["errno"])
    return sentence, error["errno"]


def refused_with(errno, text, *words, **kwargs):
    """A refusal that failed with that errno and says text."""
    sentence, name = refused(FAILED, *words, **kwargs)
    expect(name, errno, f"errno of {words}")
    expect_in(text, sentence, f"sentence of {words}")


def misunderstood(text, *words):
    """A usage error that says text, and where to read more."""
    sentence, _ = refused(USAGE, *words)
    expect_in(text, sentence, f"sentence of {words}")
    expect_match(r"\nTry 'blkbpf .*help'\.\n\Z", blkbpf(*words).stderr)


def need_grep():
    expect(os.path.exists(GREP), what=f"{GREP} (run 'make samples')")
    return GREP


def any_block_device():
    """A node of a block device that need not have a medium."""
    for entry in os.scandir("/dev"):
        if stat.S_ISBLK(entry.stat(follow_symlinks=False).st_mode):
            return entry.path
    return skip("there is no block device in /dev")


@test
def usage_errors_exit_2_with_a_sentence():
    """A script must be able to tell its own mistake from a failure."""
    misunderstood("which command?")
    misunderstood("no command 'frobnicate'", "frobnicate")
    misunderstood("no command 'prog frobnicate'", "prog", "frobnicate")
    misunderstood("which command?", "prog")
    misunderstood("no option '--nope'", "--nope", "scan")
    misunderstood("no option '--nope'", "scan", "--nope", "a", "b")
    misunderstood("no option '-x'", "list", "-x")
    misunderstood("'--unit' needs an argument", "scan", "--unit")
    misunderstood("it takes PROG|FILE.bpf.o DEVICE", "scan", "a")
    misunderstood("it takes PROG|FILE.bpf.o DEVICE", "attach", "a", "b", "c")
    misunderstood("it takes no arguments", "feature", "x")
    misunderstood("it takes ID|DEVICE|PIN...", "detach")
    misunderstood("no command 'nope'", "help", "nope")


@test
def malformed_values_name_the_option():
    """A number that is cut off or wraps would scan something else."""
    for option, value in (
            ("--range", "x:1"), ("--range", "1:2:3"), ("--range", "-1:5"),
            ("--range", "1:99999999999999999999"), ("--range", "1:20000000T"),
            ("--unit", "0"), ("--unit", "5X"), ("--unit", "-4096"),
            ("--unit", "8G"), ("--threads", "two"), ("--limit", "0"),
            ("--limit", "-1"), ("--print", "everything"), ("--arg", "4=1"),
            ("--arg", "1"), ("--arg", "0="), ("--arg", "0=x"),
            ("--set", "novalue"), ("--set", "=5")):
        misunderstood(f"{option} {value}", "scan", option, value, "a", "b")
    misunderstood("--priority 3000000000", "attach", "--priority",
                  "3000000000", "a", "b")
    misunderstood("--lines 0", "tail", "-n", "0", "1")
    misunderstood("--buffer 99999999999", "tail", "--buffer", "99999999999",
                  "1")


@test
def contradictions_are_refused():
    """An option that would be ignored must not look as if it worked."""
    misunderstood("--count and --limit", "scan", "--count", "--limit", "1",
                  "a", "b")
    misunderstood("leave out --print", "scan", "--count", "--print", "pos",
                  "a", "b")


@test
def devices_that_are_none_are_named():
    """Each has its own mend, so each needs its own sentence."""
    grep = need_grep()
    for command in ("scan", "attach"):
        refused_with("ENOENT", "/dev/no-such: there is no such device",
                     command, grep, "/dev/no-such")
        refused_with("ENOTBLK", "losetup", command, grep, grep)
        refused_with("ENOTBLK", "/dev/null: is not a block device", command,
                     grep, "/dev/null")
    refused_with("ENOTBLK", "is not a block device", "list", "/dev/null")
    refused_with("ENOENT", "/dev/no-such", "detach", "/dev/no-such")


@test
def device_without_permission_says_so():
    """EACCES alone leaves it open which of the files was meant."""
    if os.geteuid():
        skip("only root can become somebody without permission")
    device = any_block_device()
    if os.stat(device).st_mode & stat.S_IROTH:
        skip(f"{device} can be read by all")
    refused_with("EACCES", f"{device}: no permission to read it", "scan",
                 need_grep(), device, user=NOBODY, group=NOBODY,
                 extra_groups=[])


@test
def loading_without_privilege_says_so():
    """libbpf would say that the type is not found, which misleads."""
    kwargs = {}
    if os.geteuid() == 0:
        kwargs = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    if subprocess.run(["test", "-r", need_grep()], check=False,
                      **kwargs).returncode:
        skip("the samples cannot be read by an unprivileged user")
    refused_with("EPERM", "needs CAP_SYS_ADMIN", "prog", "load", GREP,
                 **kwargs)


@test
def missing_module_says_modprobe():
    """The commonest mistake of all."""
    if os.path.exists("/dev/blk_bpf"):
        skip("the module is loaded here")
    refused_with("ENODEV", "modprobe blk_bpf", "feature")
    refused_with("ENODEV", "modprobe blk_bpf", "list")
    refused_with("ENODEV", "modprobe blk_bpf", "tail", "1")
    refused_with("ENODEV", "modprobe blk_bpf", "detach", "1")
    if os.geteuid() == 0:
        refused_with("ENODEV", "modprobe blk_bpf", "prog", "load",
                     need_grep())
    done = blkbpf("-j", "version")
    expect(done.returncode, OK, "status of version")
    expect("kernel_abi" not in json.loads(done.stdout),
           what="version without an ABI")


@test
def files_that_are_no_programs_are_named():
    """A wrong file must not look like a failure of the kernel."""
    refused_with("ENOENT", "/no/such.bpf.o: No such file", "prog", "load",
                 "/no/such.bpf.o")
    refused_with("EINVAL", "compile it with clang", "prog", "load",
                 os.path.realpath(__file__))
    refused_with("EINVAL", "compile it with clang", "prog", "load",
                 os.path.realpath(sys.executable))
    with tempfile.NamedTemporaryFile(suffix=".bpf.o") as empty:
        sentence, _ = refused(FAILED, "prog", "load", empty.name)
        expect_in(empty.name, sentence, "sentence for an empty file")


@test
def unknown_variable_lists_those_there_are():
    """One types needel once, and wants to see needle."""
    sentence, name = refused(FAILED, "prog", "load", "--set", "needel=x",
                             need_grep())
    expect(name, "ENOENT", "errno")
    expect_in("no global variable 'needel'", sentence)
    expect_in("char needle[64]", sentence)
    expect_in("__u32 needle_len", sentence)


@test
def full_disk_is_a_failure():
    """Output that was lost must not end with status 0."""
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([BLKBPF, "help"], stdout=full, text=True,
                              stderr=subprocess.PIPE, check=False)
    expect(done.returncode, FAILED, "status")
    expect_in("standard output: No space left", done.stderr)


@test
def pretty_json_is_json():
    """-p prints the same as -j."""
    plain = json.loads(blkbpf("-j", "version").stdout)
    pretty = blkbpf("version", "-p").stdout
    expect(json.loads(pretty), plain, "version")
    expect(len(pretty.splitlines()) > 2, what="lines of pretty JSON")
    error = blkbpf("-p", "list", "--nope").stderr
    expect_in("--nope", json.loads(error)["error"])


if __name__ == "__main__":
    run()
