#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: --nvme {img:64M}
"""blkbpf scan and blkbpf prog, as a person or a script uses them."""

import json
import os
import pty
import signal
import subprocess
import time

from ktap import cleanup, expect, expect_in, expect_match, run, test

DEVICE = "/dev/nvme0n1"
SIZE = 64 << 20
SAMPLES = os.environ["BLKBPF_SAMPLES"]
GREP = f"{SAMPLES}/grep.bpf.o"
ZERO = f"{SAMPLES}/count_zero.bpf.o"
SETTINGS = "/selftests/bpf/settings.bpf.o"
PINS = "/sys/fs/bpf/blkbpf"
NOBODY = 65534

NEEDLE = b"\tne\\edle\n\xe9\0"
PLACES = (0, 4090, 123457, (8 << 20) - 3, SIZE - len(NEEDLE))
GREP_ARGS = ("--set", f"needle=hex:{NEEDLE.hex()}", GREP, DEVICE)


def blkbpf(*words, status=0, **kwargs):
    """Run the command; its status must be the given one."""
    done = subprocess.run(["blkbpf", *words], stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, **kwargs)
    expect(done.returncode, status, f"status of {words}: {done.stderr}")
    return done


def text(*words, **kwargs):
    """What the command prints."""
    return blkbpf(*words, **kwargs).stdout.decode()


def parsed(*words, **kwargs):
    """What the command prints with -j."""
    return json.loads(blkbpf("-j", *words, **kwargs).stdout)


def complaint(*words, status=1, **kwargs):
    """What the command says on stderr."""
    return blkbpf(*words, status=status, **kwargs).stderr.decode()


def unprivileged():
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def put_needles():
    with open(DEVICE, "r+b", buffering=0) as device:
        for place in PLACES:
            device.seek(place)
            device.write(NEEDLE)
        os.fsync(device)


def pin(path, *words):
    """Pin programs of an object for the running test."""
    text("prog", "load", "--pin", path, *words)
    cleanup(unpin, path)


def unpin(path):
    if os.path.isdir(path):
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)
    else:
        os.unlink(path)


@test
def each_form_of_printing():
    """Positions, blocks, text and bytes must all be of the same matches."""
    size = len(NEEDLE)
    expect(text("scan", *GREP_ARGS),
           "".join(f"{place} {size}\n" for place in PLACES), "pos")
    expect(text("scan", "--print", "lba", *GREP_ARGS),
           "".join(f"{place // 512} {place % 512} {size}\n"
                   for place in PLACES), "lba")
    expect(text("scan", "--print", "text", *GREP_ARGS),
           "".join(f"{place}:\\tne\\\\edle\\n\\xe9\\x00\n"
                   for place in PLACES), "text")
    expect(blkbpf("scan", "--print", "bytes", *GREP_ARGS).stdout,
           NEEDLE * len(PLACES), "bytes")
    expect(text("scan", "--print", "none", *GREP_ARGS), "", "none")
    expect(text("scan", "--count", *GREP_ARGS), f"{len(PLACES)}\n", "count")


@test
def json_has_matches_and_statistics():
    """A script reads this, so the names and types must stay."""
    out = parsed("scan", "--print", "text", *GREP_ARGS)
    expect(out["matches"], [{"pos": place, "len": len(NEEDLE),
                             "lba": place // 512, "hex": NEEDLE.hex()}
                            for place in PLACES], "matches")
    expect((out["count"], out["status"]), (len(PLACES), "done"), "result")
    stats = out["stats"]
    expect(stats["bytes_scanned"], SIZE, "bytes_scanned")
    expect(stats["units"], SIZE // 4096, "units")
    expect(stats["bytes_returned"], len(PLACES) * (16 + len(NEEDLE)),
           "bytes_returned")
    expect(stats["bytes_read"] >= SIZE, what="bytes_read")
    out = parsed("scan", "--count", *GREP_ARGS)
    expect("matches" not in out, what="count without matches")
    expect(out["count"], len(PLACES), "count")


@test
def ranges_and_limit():
    """A range must find what begins in it, and the limit be exact."""
    expect(text("scan", "--range", "4K:1M", "--range", "0:4096", *GREP_ARGS),
           f"123457 {len(NEEDLE)}\n0 {len(NEEDLE)}\n", "two ranges")
    expect(text("scan", "--range", "60M:", *GREP_ARGS),
           f"{PLACES[-1]} {len(NEEDLE)}\n", "to the end")
    out = parsed("scan", "--limit", "2", *GREP_ARGS)
    expect([match["pos"] for match in out["matches"]], list(PLACES[:2]),
           "limited")
    expect(out["status"], "limit", "status")
    expect_in("past the end", complaint("scan", "--range", "65M:1M",
                                        *GREP_ARGS))


@test
def globals_are_read_back():
    """--dump-globals shows what the program counted in this scan."""
    out = parsed("scan", "--dump-globals", "--print", "none", ZERO, DEVICE)
    expect(out["globals"]["blocks"], SIZE // 4096, "blocks")
    expect_in(f"blocks = {SIZE // 4096}\n",
              text("scan", "--dump-globals", "--print", "none", ZERO, DEVICE))


@test
def interrupted_scan_says_how_far_it_came():
    """^C after an hour must not lose what was found, nor look like the end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        scan = subprocess.Popen(
            ["blkbpf", "-j", "scan", "--unit", "1", "--threads", "1",
             "--program", "smallest", "--count", SETTINGS, DEVICE],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(2)
        scan.send_signal(number)
        out, err = scan.communicate(timeout=20)
        expect(scan.returncode, 3, "status")
        expect(json.loads(out)["status"], "interrupted", "status in JSON")
        done = json.loads(out)["stats"]["bytes_scanned"]
        expect(0 < done < SIZE, what="some of the device was scanned")
        expect_match(rf"interrupted: {done} of {SIZE} bytes",
                     json.loads(err)["error"])


@test
def progress_is_for_terminals_only():
    """A progress line in a pipe or a log is rubbish."""
    words = ["scan", "--unit", "1", "--threads", "1", "--range", "0:24M",
             "--program", "smallest", "--count", SETTINGS, DEVICE]
    done = blkbpf(*words)
    expect((done.stdout, done.stderr), (b"0\n", b""), "output in a pipe")
    pid, terminal = pty.fork()
    if not pid:
        os.execvp("blkbpf", ["blkbpf", *words])
    out = b""
    while True:
        try:
            out += os.read(terminal, 4096)
        except OSError:
            break
    expect(os.waitpid(pid, 0)[1], 0, "status")
    expect_match(rb"^\r +\d+\.\d %  \d+ of 24 MiB ", out)
    expect_match(rb"\r\x1b\[K0\r\n\Z", out)


@test
def lost_output_is_a_failure():
    """A full disk must end the scan with status 1."""
    for form in ("pos", "bytes"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(["blkbpf", "scan", "--print", form,
                                   *GREP_ARGS], stdout=full, check=False,
                                  stderr=subprocess.PIPE)
        expect(done.returncode, 1, "status")
        expect_in(b"standard output: No space left", done.stderr)


@test
def load_without_pin_keeps_nothing():
    """What is not kept must not be announced as if it were."""
    expect_in("not kept", text("prog", "load", ZERO))
    expect(parsed("prog", "list"), [], "loaded programs")


@test
def pinned_program_by_path_name_and_id():
    """All three name the same program, for every command."""
    pin(f"{PINS}/zeros", ZERO)
    [listed] = parsed("prog", "list")
    expect((listed["name"], listed["unit"], listed["pins"]),
           ("count_zero", 4096, [f"{PINS}/zeros"]), "prog list")
    expect(listed["ready"], True, "ready")
    for word in (f"{PINS}/zeros", "zeros", "count_zero", str(listed["id"])):
        expect(parsed("prog", "show", word), listed, f"prog show {word}")
        expect(text("scan", "--count", word, DEVICE), "0\n", f"scan {word}")
    expect_in("object file", complaint("scan", "--set", "a=1", "zeros",
                                       DEVICE, status=2))
    expect_in("there is a pin already",
              complaint("prog", "load", "--pin", f"{PINS}/zeros", ZERO))


@test
def several_programs_are_pinned_together():
    """Half of an object's programs is not what was asked for."""
    folder = f"{PINS}/several"
    expect_in("several programs", complaint(
        "prog", "load", "--pin", folder, SETTINGS, status=2))
    pin(f"{folder}/", SETTINGS)
    expect(sorted(os.listdir(folder)),
           ["Az09__-longest1", "by_default", "smallest"], "pins")
    os.unlink(f"{folder}/by_default")
    expect_in("there is a pin already",
              complaint("prog", "load", "--pin", f"{folder}/", SETTINGS))
    expect("by_default" not in os.listdir(folder), what="all or none")


@test
def pin_outside_of_bpffs_is_refused():
    """It would vanish with the process."""
    expect_in("not in a bpffs", complaint("prog", "load", "--pin", "/tmp/x",
                                          ZERO))


@test
def unprivileged_user_scans_with_a_readable_pin():
    """That is what pins are for; all else needs root and says so."""
    pin(f"{PINS}/zeros", ZERO)
    mode = os.stat(DEVICE).st_mode & 0o777
    cleanup(os.chmod, DEVICE, mode)
    os.chmod(DEVICE, 0o644)
    words = ["scan", "--count", f"{PINS}/zeros", DEVICE]
    expect_in("no permission to use it", complaint(*words, **unprivileged()))
    os.chmod(f"{PINS}/zeros", 0o644)
    expect(text(*words, **unprivileged()), "0\n", "count")
    expect(text("scan", "--count", "zeros", DEVICE, **unprivileged()), "0\n",
           "count by name")
    for words in (["prog", "list"], ["prog", "show", "zeros"], ["list"],
                  ["attach", "zeros", DEVICE], ["prog", "load", ZERO]):
        expect_in("CAP_SYS_ADMIN", complaint(*words, **unprivileged()))


@test
def refused_program_is_one_sentence():
    """200 lines of a verifier's log hide the one that matters."""
    bad = "/selftests/bpf/bad"
    said = complaint("prog", "load", f"{bad}/read_unchecked.bpf.o")
    expect(said.count("\n"), 1, f"lines of {said!r}")
    expect_match(r"\(read_unchecked\.bpf\.c:\d+: .*\)$", said)
    said = complaint("prog", "load", f"{bad}/unit_too_large.bpf.o")
    expect_match(r"unit_too_large\.bpf\.o: program '\w+': .*too large", said)
    expect_in("BEGIN PROG LOAD LOG", complaint(
        "-d", "prog", "load", f"{bad}/read_unchecked.bpf.o"))


@test
def features_are_shown():
    """A script asks here before it relies on something."""
    out = parsed("feature")
    expect(out["abi"], parsed("version")["kernel_abi"], "abi")
    for feature in ("scan", "attach"):
        expect_in(feature, out["features"])
    expect_in("unit_max       32768\n", text("feature"))


if __name__ == "__main__":
    put_needles()
    run()
