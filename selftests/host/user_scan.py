#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Scans in user space, of plain files, without privilege and module."""

import ctypes
import json
import os
import random
import signal
import subprocess
import tempfile
import time

import bpfcc
import oracle
from ktap import (cleanup, expect, expect_in, expect_match, run, skip, test,
                  test_each)
from scans import expect_matches

TOP = os.path.realpath(os.path.join(os.path.dirname(
    os.path.realpath(__file__)), "..", ".."))
BLKBPF = os.environ.get("BLKBPF", os.path.join(TOP, "build/bin/blkbpf"))
PROGRAMS = os.path.join(TOP, "build/selftests/bpf")
SAMPLES = os.path.join(TOP, "build/samples")
NOBODY = 65534
SIZE = (3 << 20) + 1234
# Few values, so that short patterns are frequent and cross every border.
DATA = random.Random("user").randbytes(SIZE).translate(
    bytes(value % 6 for value in range(256)))


def blkbpf(*words, status=0, **kwargs):
    """Run the command on the user target; its status must be the given one."""
    done = subprocess.run([BLKBPF, *words], stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, timeout=120,
                          **kwargs)
    expect(done.returncode, status, f"status of {words}: {done.stderr}")
    return done


def scan(name, path, *options, status=0, **kwargs):
    """What a scan says with -j."""
    folder = SAMPLES if os.path.exists(f"{SAMPLES}/{name}.bpf.o") else PROGRAMS
    done = blkbpf("-j", "scan", "--on", "user", *options,
                  f"{folder}/{name}.bpf.o", path, status=status, **kwargs)
    return json.loads(done.stdout)


def found(answer):
    return [(match["pos"], match["len"]) for match in answer["matches"]]


def ranges_of(ranges):
    return [word for off, length in ranges
            for word in ("--range", f"{off}:{length}")]


def image(data=DATA):
    """A file that holds those bytes, until the test ends."""
    handle, path = tempfile.mkstemp(prefix="user_scan", dir="/var/tmp")
    cleanup(os.unlink, path)
    with open(handle, "wb") as file:
        file.write(data)
    return path


def check_pairs(path, data, ranges, unit, overlap, *options):
    answer = scan("pair", path, "--program", f"pair_{overlap}", "--unit",
                  str(unit), "--arg", "0=3", "--arg", "1=4",
                  *ranges_of(ranges), *options)
    wanted = oracle.pairs(data, ranges or [(0, len(data))], 3, 4, unit, overlap)
    expect_matches(found(answer), wanted, f"unit {unit}, overlap {overlap}")
    return answer


@test_each(u1=(1, 9000), u100=(100, 200000), u512=(512, 200000),
           u3000=(3000, 200000), u4096=(4096, 400000), u32768=(32768, 400000))
def finds_what_the_data_holds(unit, length):
    """If this breaks, matches are lost or invented at the borders of units."""
    path = image()
    for overlap in (0, 63, 4096):
        check_pairs(path, DATA, [(0, length)], unit, overlap)
        check_pairs(path, DATA, [(12345, length)], unit, overlap)


@test
def finds_what_the_data_holds_for_any_ranges():
    """If this breaks, an answer depends on how the ranges lie on the blocks."""
    path, source = image(), random.Random(1)
    for _ in range(30):
        ranges = oracle.random_ranges(source, SIZE, 60000)
        check_pairs(path, DATA, ranges, source.choice((7, 100, 512, 4096)),
                    source.choice((0, 1, 63, 4096)),
                    *source.choice(((), ("--buffered",))))


@test_each(t1=1, t2=2, t64=64)
def the_number_of_threads_changes_nothing(threads):
    """If this breaks, results come in the order in which threads finish."""
    path, data = image(DATA * 4), DATA * 4
    answer = check_pairs(path, data, [], 4096, 63, "--threads", str(threads))
    stats = answer["stats"]
    expect(stats["bytes_scanned"], len(data), "bytes_scanned")
    expect(stats["units"], -(-len(data) // 4096), "units")
    expect(stats["threads"] <= min(threads, len(os.sched_getaffinity(0))),
           what="threads used")
    expect(stats["instructions"] > len(data), what="instructions")


@test
def the_last_bytes_of_a_file_are_scanned():
    """If this breaks, O_DIRECT loses what lies behind the last whole block."""
    for size in (1, 511, 512, 513, 4095, 4097, 8193, (512 << 10) + 1):
        data = bytes(size - 1) + b"\x01"
        answer = scan("probe", image(data), "--program", "probe_512_0", "--arg",
                      "0=256")
        expect(sum(length for _, length in found(answer)), size, "bytes matched")


def forget(path):
    """Out of the page cache."""
    with open(path, "rb") as file:
        os.fsync(file)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    expect(not is_cached(path), what="the page cache lets go of the file")


def is_cached(path):
    """Whether any of a file is in the page cache, by mincore(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    length = os.path.getsize(path)
    pages = ctypes.create_string_buffer(-(-length // 4096))
    with open(path, "rb") as file:
        # PROT_READ, MAP_SHARED
        at = libc.mmap(None, ctypes.c_size_t(length), 1, 1, file.fileno(),
                       ctypes.c_long(0))
    size = ctypes.c_size_t(length)
    expect(libc.mincore(ctypes.c_void_p(at), size, pages), 0, "mincore")
    libc.munmap(ctypes.c_void_p(at), size)
    return any(byte & 1 for byte in pages.raw)


@test
def data_is_read_past_the_page_cache_unless_it_is_refused():
    """If this breaks, a scan evicts everybody's files, or fails on tmpfs."""
    path = image()
    for options, wanted in (((), "O_DIRECT"), (("--buffered",), "page cache")):
        forget(path)
        answer = scan("count_zero", path, "--count", *options)
        expect_in(wanted, answer["stats"]["path"], "path")
        expect(is_cached(path), wanted == "page cache",
               f"whether the file is in the page cache after {wanted}")
    if not os.path.ismount("/dev/shm"):
        skip("there is no tmpfs at /dev/shm")
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(DATA)
        file.flush()
        answer = check_pairs(file.name, DATA, [], 4096, 63)
    expect_match("page cache|O_DIRECT", answer["stats"]["path"], "path")


@test
def bytes_and_text_are_those_of_the_matches():
    """If this breaks, --print shows the bytes of another match."""
    path = image(b"\0" * 4000 + b"needle in a haystack, needle" * 300)
    done = blkbpf("scan", "--on", "user", "--print", "bytes", "--set",
                  "needle=needle", f"{SAMPLES}/grep.bpf.o", path)
    expect(done.stdout, b"needle" * 600, "bytes")


@test
def globals_are_read_back():
    """If this breaks, a counting program counts for nobody."""
    answer = scan("count_zero", image(bytes(1 << 20)), "--count",
                  "--dump-globals")
    expect(answer["globals"], {"blocks": 256}, "globals")


@test
def a_limit_is_exact_and_the_answer_begins_alike():
    """If this breaks, a limit cuts at a chunk, or in the wrong place."""
    path = image()
    whole = found(check_pairs(path, DATA, [], 4096, 63))
    for limit in (1, 2, 1000, len(whole), len(whole) + 1):
        answer = scan("pair", path, "--program", "pair_63", "--arg", "0=3",
                      "--arg", "1=4", "--limit", str(limit))
        expect_matches(found(answer), whole[:limit], f"limit {limit}")
        expect(answer["status"], "limit" if limit < len(whole) else "done",
               f"status at limit {limit}")


@test_each(one=1, seven=7, hundred=100)
def a_cursor_goes_on_where_the_limit_was(limit):
    """If this breaks, who looks at a long answer page by page misses matches, or
    sees some twice."""
    path, ranges = image(DATA[:8000]), [(5, 3000), (9, 0), (3, 1500)]
    whole = found(check_pairs(path, DATA, ranges, 1000, 63))
    got, words = [], ()
    while True:
        answer = check_page(path, ranges, limit, words)
        got += found(answer)
        if answer["status"] == "done":
            break
        expect(len(found(answer)), limit, "matches of a page")
        words = ("--cursor", answer["cursor"])
    expect("cursor" not in answer, what="no cursor at the end")
    expect_matches(got, whole, f"by {limit}")


def check_page(path, ranges, limit, words):
    return scan("pair", path, "--program", "pair_63", "--unit", "1000", "--arg",
                "0=3", "--arg", "1=4", "--limit", str(limit), *ranges_of(ranges),
                *words)


@test_each(two="0:1", four="0:1:2:3", sign="0:-1:0", large="4294967296:0:0",
           word="0:1:x", empty="")
def a_cursor_that_is_none_is_refused(text):
    """If this breaks, a scan goes on somewhere."""
    done = blkbpf("scan", "--on", "user", f"--cursor={text}",
                  f"{SAMPLES}/grep.bpf.o", "/dev/null", status=2)
    expect_in(f"--cursor {text}: give RANGE:POSITION:SKIP", done.stderr.decode(),
              "sentence")


@test
def stop_ends_after_its_unit():
    """If this breaks, matches of later units come along, by other threads."""
    path = image(bytes(8 << 20))
    for at in (0, 4096, 5 << 20):
        answer = scan("probe", path, "--program", "probe_4096_0", "--arg",
                      "0=256", "--arg", "1=2", "--arg", f"2={at}", "--arg",
                      f"3={at + 1}")
        expect(answer["status"], "stopped", "status")
        expect_matches(found(answer), [(pos, 4096) for pos in
                                       range(0, at, 4096)], f"stop at {at}")


@test_each(errno=("-5", "ended the scan with error -5"),
           nonsense=("7", "returned 7"))
def an_error_keeps_what_was_found(value, sentence):
    """If this breaks, one bad unit costs all that was found before it."""
    path, at = image(bytes(8 << 20)), 3 << 20
    answer = scan("probe", path, "--program", "probe_4096_0", "--arg", "0=256",
                  "--arg", f"1={value}", "--arg", f"2={at}", "--arg",
                  f"3={at + 1}", status=1)
    expect(answer["status"], "failed", "status")
    expect_in(sentence, answer["error"], "error")
    expect_in(f"the unit at {at}", answer["error"], "error")
    expect_matches(found(answer), [(pos, 4096) for pos in range(0, at, 4096)],
                   "matches before it")


@test
def a_bad_emit_ends_the_scan():
    """If this breaks, a match outside of the unit is believed."""
    path = image(bytes(1 << 20))
    for off, length in ((4096, 1), (0, 0), (4095, 2), (1 << 31, 1 << 31)):
        answer = scan("emit", path, "--program", "emit_0", "--arg", f"0={off}",
                      "--arg", f"1={length}", "--arg", "2=1", "--arg",
                      f"3={8192}", status=1)
        expect_in("emitted a match outside of what it sees, in the unit at 8192",
                  answer["error"], "error")


@test
def a_unit_that_failed_leaves_no_matches():
    """If this breaks, half of a unit's matches are taken for all of them."""
    # Emits at 3, 2, 1, 0 and then before the unit, in the third one.
    answer = scan("emit", image(bytes(1 << 20)), "--program", "emit_0", "--arg",
                  "0=3", "--arg", "1=1", "--arg", "2=10", "--arg", "3=8192",
                  status=1)
    expect_in("the unit at 8192", answer["error"], "error")
    expect_matches(found(answer), [], "matches")


@test
def what_was_emitted_out_of_order_is_sorted():
    """If this breaks, device order depends on the program."""
    answer = scan("emit", image(bytes(1 << 20)), "--program", "emit_64", "--arg",
                  "0=1000", "--arg", "1=5", "--arg", "2=900", "--arg", "3=4096")
    expect_matches(found(answer), [(4096 + 101 + n, 5) for n in range(900)],
                   "matches")


@test
def trace_tells_where_a_program_failed():
    """If this breaks, a person has a number and no line to look at."""
    path = image(bytes(1 << 20))
    done = blkbpf("scan", "--on", "user", "--trace", "--program", "emit_0",
                  "--arg", "0=4095", "--arg", "1=2", "--arg", "2=1", "--arg",
                  "3=8192", f"{PROGRAMS}/emit.bpf.o", path, status=1)
    text = done.stderr.decode()
    for wanted in (r"trace: unit at 8192: 4096 bytes, 4096 to see, flags 0x0",
                   r"blk_bpf_emit\(ctx, 4095, 2\) with ctx->len 4096",
                   r"emit.bpf.c:\d+: int err = blk_bpf_emit",
                   r"emit.bpf.c:\d+: if \(ctx->pos != ctx->args\[3\]\)",
                   r"trace: +r1 = ctx\+0", r"trace: +r3 = 2 \(0x2\)"):
        expect_match(wanted, text, "trace")


@test
def trace_tells_what_an_access_was_outside_of():
    """If this breaks, a person sees a large number where the pointer is that went
    too far."""
    path = image(bytes([1]) * 8192 + b"\xff" + bytes(4095))
    done = blkbpf("scan", "--on", "user", "--trace",
                  f"{PROGRAMS}/bad/read_where_told.bpf.o", path, status=1)
    expect(done.stdout, b"0 4096\n4096 4096\n", "matches before it")
    text = done.stderr.decode()
    for wanted in (r"trace: unit at 8192: 4096 bytes, 4096 to see, flags 0x0",
                   r"trace: the load is outside of what may be read, at",
                   r"if r\d > r\d goto \d+ +not taken .*where_told.bpf.c:\d+: if",
                   r"r1 = \*\(u8 \*\)\(r1 \+0\) .*where_told.bpf.c:\d+: return",
                   rf"trace: +r1 = data\+{17 * 255}, outside\n",
                   r"trace: +r3 = data\+4096\n", r"trace: +r10 = stack0-0\n"):
        expect_match(wanted, text, "trace")


COUNTER = """
#include <bpf/blk_bpf.h>

__u64 calls;

SEC("struct_ops/filter")
int BLK_BPF_FILTER(fourth, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	return calls++ == 3 ? -5 : BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(fourth_ops, .filter = (void *)fourth);
"""


@test
def trace_begins_with_the_variables_of_that_call():
    """If this breaks, a trace is of a call that did not fail."""
    path = image(bytes(1 << 20))
    done = blkbpf("scan", "--on", "user", "--trace", "--dump-globals",
                  bpfcc.compiled("fourth", COUNTER), path, status=1)
    expect_in("trace: the program returned -5, at", done.stderr.decode(), "trace")
    expect(done.stdout, b"calls = 4\n", "variables after the trace")


@test
def no_privilege_is_needed():
    """If this breaks, a person without root cannot try a program."""
    if os.geteuid():
        skip("this is what all tests of this file show without root")
    # Not even the way to this tree may be open to others.
    folder = tempfile.TemporaryDirectory(dir="/var/tmp")
    cleanup(folder.cleanup)
    os.chmod(folder.name, 0o755)
    for source in (BLKBPF, f"{SAMPLES}/grep.bpf.o"):
        with open(source, "rb") as file, \
                open(f"{folder.name}/{os.path.basename(source)}", "wb") as copy:
            copy.write(file.read())
            os.chmod(copy.name, 0o755)
    path = image(b"a needle")
    os.chmod(path, 0o644)
    done = subprocess.run([f"{folder.name}/blkbpf", "scan", "--on", "user",
                           "--set", "needle=needle",
                           f"{folder.name}/grep.bpf.o", path],
                          user=NOBODY, group=NOBODY, extra_groups=[],
                          capture_output=True, check=False, timeout=60)
    expect((done.returncode, done.stdout), (0, b"2 6\n"),
           f"scan by nobody: {done.stderr}")


@test
def a_program_without_end_can_be_interrupted():
    """If this breaks, Ctrl-C does nothing on a program that loops for ever."""
    path = image(bytes(1 << 20))
    for options in ((), ("--threads", "1")):
        process = subprocess.Popen(
            [BLKBPF, "-j", "scan", "--on", "user", *options, "--program",
             "bad", f"{PROGRAMS}/bad/loop_without_end.bpf.o", path],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        # It has begun when it has read all.
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with open(f"/proc/{process.pid}/stat", encoding="ascii") as file:
                ticks = int(file.read().rsplit(")", 1)[1].split()[11])
            if ticks > 20:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        expect(process.returncode, 3, "status")
        expect(json.loads(out)["status"], "interrupted", "status in JSON")


@test_each(
    csd=("csd0", "is not a block device"),
    auto=("auto", "is not a block device"),
    other=("moon", "there is none of this name"))
def other_targets_are_refused(name, sentence):
    """If this breaks, a scan runs elsewhere than it was told to."""
    done = blkbpf("scan", "--on", name, f"{SAMPLES}/grep.bpf.o", image(b"x"),
                  status=1)
    expect_in(sentence, done.stderr.decode(), "sentence")


@test
def requests_are_refused_as_in_the_kernel():
    """If this breaks, a request means another thing on another target."""
    path = image(bytes(8192))
    for options, sentence in (
            (("--unit", "32769"), "unit 32769 is too large: at most 32768 bytes"),
            (("--range", "0:4096", "--range", "8192:1"),
             "range 1 (offset 8192, length 1) reaches past the end of the "
             "device, which has 8192 bytes")):
        done = blkbpf("scan", "--on", "user", *options,
                      f"{SAMPLES}/count_zero.bpf.o", path, status=1)
        expect(done.stderr.decode(), f"blkbpf: scan: {sentence}\n", "sentence")
    for words, sentence in (
            (("needle", path), "for the target 'user' give an object file"),
            ((f"{SAMPLES}/grep.bpf.o", "/dev/null"),
             "neither a block device nor a regular file")):
        done = blkbpf("scan", "--on", "user", *words, status=1)
        expect_in(sentence, done.stderr.decode(), "sentence")
    for option in ("--trace", "--buffered"):
        done = blkbpf("scan", "--on", "kernel", option,
                      f"{SAMPLES}/grep.bpf.o", path, status=1)
        expect_in("blkbpf: ", done.stderr.decode(), "sentence")


if __name__ == "__main__":
    run()
