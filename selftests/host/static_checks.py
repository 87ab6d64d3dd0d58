#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What can be found wrong without running it, or only by running it watched.

A finding fails its test unless it is explained here.
"""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tempfile

from ktap import cleanup, expect, expect_in, fail, run, skip, test

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))

# (file, code): why it is no fault. A pattern may stand for files.
SHELLCHECK_EXPLAINED = {
    ("selftests/vm/guest/load", "SC1091"): "the guest has them, not this tree",
    ("selftests/vm/guest/load", "SC2164"): "/root is in every guest's archive",
    ("tools/setup/steps/*.sh", "SC2164"): "sourced where errexit is on",
    ("tools/setup/*.sh", "SC2034"): "for who sources it",
    ("tools/setup/steps/*.sh", "SC2034"): "for who sources it",
    ("tools/setup/steps/guest.sh", "SC2054"): "-Wl, has commas of its own",
    ("tools/setup/steps/qemu.sh", "SC2010"): "names of this tree, all plain",
}
CHECKPATCH_EXPLAINED = {
}

# Test files that run the command on this machine.
COMMAND_TESTS = ("cli_errors.py", "cli_help.py", "prog_check.py")
# The engine's tests, and fewer random programs than without a sanitizer.
ENGINE_TESTS = (["refused"], ["instructions"], ["behaviour"], ["image", "{}.bpf.o"],
                ["replay", f"{TOP}/selftests/engine/corpus"],
                ["differential", "500"])
SANITIZE = "-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all"


def call(*words, **kwargs):
    return subprocess.run(words, capture_output=True, text=True, check=False,
                          errors="replace", **kwargs)


def setup(step):
    done = call(f"{TOP}/tools/setup/get", step)
    expect(done.returncode, 0, f"tools/setup/get {step}: {done.stderr}")
    return done.stdout.strip()


def need(program):
    if not shutil.which(program):
        skip(f"{program} is not installed; make check installs it")


def workdir():
    folder = tempfile.mkdtemp(prefix="blkbpf-static.")
    cleanup(shutil.rmtree, folder)
    # Some tests run the command as nobody.
    os.chmod(folder, 0o755)
    return folder


def tracked(*patterns):
    """The tree's files; those of no clone are all that are there."""
    done = call("git", "-C", TOP, "ls-files", "--cached", "--others",
                "--exclude-standard", "--", *patterns)
    expect(done.returncode, 0, f"git ls-files: {done.stderr}")
    return [name for name in done.stdout.splitlines()
            if os.path.isfile(f"{TOP}/{name}")
            and not os.path.islink(f"{TOP}/{name}")]


def unexplained(findings, explained):
    """findings: (file, code, text); explanations that none needs are stale."""
    used, left = set(), []
    for name, code, text in findings:
        keys = [key for key in explained
                if fnmatch.fnmatch(name, key[0]) and key[1] == code]
        used.update(keys)
        if not keys:
            left.append(f"{name}: {code}: {text}")
    left += [f"{key}: explained, and no longer found"
             for key in explained if key not in used]
    return left


# sparse


def sparse(folder):
    """What sparse says of the module in that folder, as the kernel runs it."""
    kernel = setup("kernel")
    headers, = (f"{kernel}/usr/src/{name}"
                for name in os.listdir(f"{kernel}/usr/src")
                if name.endswith("-amd64"))
    done = call("make", "-j2", "-C", headers, f"M={folder}", "C=2",
                "CHECK=sparse", "modules", "MODULE_PAHOLE_FLAGS=",
                f"NVME_HOST={kernel}/source/drivers/nvme/host")
    expect(done.returncode, 0, f"build: {done.stderr}")
    return [line for line in done.stderr.splitlines()
            if line.startswith(folder) and "warning:" in line
            or "error:" in line]


def copy_of_module():
    folder = workdir()
    for name in ("Kbuild", "Kconfig"):
        shutil.copy(f"{TOP}/{name}", folder)
    for name in ("drivers", "include"):
        shutil.copytree(f"{TOP}/{name}", f"{folder}/{name}")
    return folder


@test
def sparse_finds_nothing_in_the_module():
    """If this breaks, a user pointer is followed, or a lock is not balanced,
    and no compiler says so."""
    need("sparse")
    folder = copy_of_module()
    # Beside the module, something to be found: else nothing was looked at.
    with open(f"{folder}/drivers/blk_bpf/main.c", "a", encoding="ascii") as file:
        file.write("\nint __user *blk_bpf_bait;\n")
    found = sparse(folder)
    expect([line for line in found if "blk_bpf_bait" not in line], [],
           "findings")
    expect(len(found), 1, "findings of the bait")


# checkpatch


def checkpatch(*paths):
    """(file, type, text) of what the kernel's checkpatch.pl finds."""
    done = call("perl", f"{setup('kernel-source')}/scripts/checkpatch.pl",
                "--no-tree", "--terse", "--show-types", "--no-summary", "-f",
                *paths)
    found = [re.match(r"([^:]+):\d+: (?:WARNING|ERROR):(\w+): (.*)", line)
             for line in done.stdout.splitlines()]
    expect(all(found) and bool(found) == bool(done.returncode),
           what=f"lines of checkpatch: {done.stdout} {done.stderr}")
    return [(os.path.relpath(match[1], TOP), match[2], match[3])
            for match in found]


@test
def checkpatch_finds_nothing():
    """If this breaks, a maintainer's first answer is about style."""
    paths = tracked("drivers", "include/uapi")
    expect(len(paths) > 20, what="files to look at")
    expect(unexplained(checkpatch(*(f"{TOP}/{name}" for name in paths)),
                       CHECKPATCH_EXPLAINED), [], "findings")
    folder = workdir()
    with open(f"{folder}/bad.c", "w", encoding="ascii") as file:
        file.write("// SPDX-License-Identifier: GPL-2.0\n"
                   "int f(void)\n{\n    return(0) ;\n}\n")
    expect_in("LEADING_SPACE", [code for _, code, _ in
                                checkpatch(f"{folder}/bad.c")], "of a bad file")


# shellcheck


def shell_scripts():
    """Names of the scripts, and of those that scripts take in."""
    found = []
    for name in tracked():
        with open(f"{TOP}/{name}", "rb") as file:
            head = file.read(4096)
        if re.match(rb"#!.*\b(ba|da|)sh\n", head) or re.search(
                rb"^# shellcheck shell=", head, re.M):
            found.append(name)
    return found


def shellcheck(*paths):
    done = call("shellcheck", "-x", "-P", "SCRIPTDIR", "-f", "gcc", *paths,
                cwd=TOP)
    expect(done.returncode in (0, 1), what=f"shellcheck: {done.stderr}")
    found = [re.match(r"([^:]+):\d+:\d+: \w+: (.*) \[(SC\d+)\]", line)
             for line in done.stdout.splitlines()]
    expect(all(found), what=f"lines of shellcheck: {done.stdout}")
    return [(match[1], match[3], match[2]) for match in found]


@test
def shellcheck_finds_nothing():
    """If this breaks, a path with a space, or a command that fails, is not
    seen."""
    need("shellcheck")
    scripts = shell_scripts()
    expect_in("tools/setup/get", scripts, "scripts")
    expect(unexplained(shellcheck(*scripts), SHELLCHECK_EXPLAINED), [],
           "findings")
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as bad:
        bad.write("#!/bin/sh\nrm $1\n")
        bad.flush()
        expect_in("SC2086", [code for _, code, _ in shellcheck(bad.name)],
                  "of a bad script")


# The user side


@test
def the_user_side_is_compiled_with_all_warnings_as_errors():
    """If this breaks, a warning scrolls by and nobody mends it."""
    libbpf = setup("libbpf")
    for folder in ("tools/lib/bpfvm", "tools/lib/blkbpf", "tools/blkbpf",
                   "selftests/src", "selftests/bench", "selftests/bpf",
                   "samples/bpf"):
        done = call("make", "-n", "-B", "V=1", "-C", f"{TOP}/{folder}",
                    f"O={workdir()}", f"LIBBPF={libbpf}")
        expect(done.returncode, 0, f"make -n in {folder}: {done.stderr}")
        # A C compiler that reads a C file, and writes no other.
        lines = [line for line in done.stdout.replace("\\\n", " ").splitlines()
                 if re.match(r"\s*(cc|gcc|\S*clang\S*) ", line)
                 and re.search(r"\S\.c( |$)", line)]
        expect(lines != [], what=f"compilations in {folder}")
        for line in lines:
            for flag in ("-Wall", "-Werror"):
                expect_in(flag, line.split(), f"a compilation in {folder}")
            if "-target bpf" not in line:
                expect_in("-Wextra", line.split(), f"a compilation in {folder}")


@test
def the_command_is_clean_under_asan_and_ubsan():
    """If this breaks, the command reads memory that is not its own, or counts
    on what C leaves open."""
    folder = workdir()
    done = call("make", "-j2", "-C", f"{TOP}/tools/blkbpf", f"O={folder}",
                f"LIBBPF={setup('libbpf')}", "STATIC=",
                f"DEBUG_CFLAGS={SANITIZE}")
    expect(done.returncode, 0, f"build: {done.stderr}")
    reports = f"{folder}/report"
    environment = dict(os.environ, BLKBPF=f"{folder}/bin/blkbpf", KTAP_FILTER="",
                       ASAN_OPTIONS=f"log_path={reports}:detect_leaks=0",
                       UBSAN_OPTIONS=f"log_path={reports}")
    for name in COMMAND_TESTS:
        done = call(sys.executable, f"{TOP}/selftests/host/{name}",
                    env=environment)
        expect(done.returncode, 0, f"{name}:\n{done.stdout}")
    said = [name for name in os.listdir(folder) if name.startswith("report")]
    if said:
        with open(f"{folder}/{said[0]}", encoding="utf-8") as file:
            fail(file.read())


@test
def the_engine_is_clean_under_asan_and_ubsan():
    """If this breaks, a program from a host makes the drive read what is not
    its own."""
    folder = workdir()
    done = call("make", "-j2", "-C", f"{TOP}/tools/lib/bpfvm", f"O={folder}",
                *(f"{folder}/tests/{name}" for name, *_ in ENGINE_TESTS),
                f"{folder}/tests/image.bpf.o",
                env=dict(os.environ, CFLAGS=SANITIZE))
    expect(done.returncode, 0, f"build: {done.stderr}")
    for name, *words in ENGINE_TESTS:
        words = [word.format(f"{folder}/tests/{name}") for word in words]
        done = call(f"{folder}/tests/{name}", *words)
        expect(done.returncode, 0, f"{name}: {done.stdout[-2000:]} {done.stderr}")


if __name__ == "__main__":
    run()
