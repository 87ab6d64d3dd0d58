#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: --smp 2 --timeout 1200 --csd {img:1M} --csd {img:1M},fuel=3000000,engines=1
"""Ranges, units, cursors, and scans that end early: alike on the three targets."""

import random

import csds
import disks
import oracle
from ktap import (cleanup, diag, expect, expect_in, expect_match, run, test,
                  test_each)
from programs import OBJECTS
from scans import expect_matches
from targets import Answer, answers, expect_alike

SIZE = 1 << 20
# Few values, so that short patterns are frequent and cross every border.
DATA = disks.random_bytes(SIZE, values=6)
DISK, POOR = (csds.disk_of(name) for name in ("csd0", "csd1"))
TARGETS = ("kernel", "user", "csd0")


def words(name, program, args=(), ranges=(), *more):
    """The operands and options of a scan."""
    said = ["--program", program, *more]
    for number, value in enumerate(args):
        said += ["--arg", f"{number}={value}"]
    for off, length in ranges:
        said += ["--range", f"{off}:{length}"]
    return (*said, f"{OBJECTS}/{name}.bpf.o", DISK)


@test_each(u1=(1, 1, 3000), u7=(7, 0, 3000), u100=(100, 63, 30000),
           u512=(512, 1, 200000), u1000=(1000, 4096, 200000),
           u4096=(4096, 63, 400000), u8191=(8191, 63, 400000),
           u32768=(32768, 4096, 400000))
def units_are_cut_alike(unit, overlap, most):
    """If this breaks, where a unit begins depends on where the program runs."""
    source = random.Random(f"units {unit}")
    ranges = oracle.random_ranges(source, SIZE, most)
    answer = expect_alike(answers(TARGETS, words(
        "pair", f"pair_{overlap}", (3, 4), ranges, "--unit", str(unit))),
        f"{ranges}")
    expect_matches(answer.matches,
                   oracle.pairs(DATA, ranges, 3, 4, unit, overlap), "matches")


def what_calls_saw(variables):
    """Of probe.bpf.c, in an order of its own: that of calls is nobody's promise."""
    seen = dict(variables["seen"])
    seen["log"] = sorted(seen["log"], key=lambda call: list(call.values()))
    return seen


@test_each(overlap=("probe_4096_512", 60000), u3000=("probe_3000_0", 60000))
def every_call_is_told_the_same(program, length):
    """If this breaks, a program sees another ctx, or other bytes, elsewhere."""
    ranges = [(5, length), (100001, 4096), (200000, 1), (300000, 0)]
    answer = expect_alike(answers(TARGETS, words(
        "probe", program, (2, 0, 0x123456789abc, (1 << 64) - 1), ranges,
        "--dump-globals")), program, what_calls_saw)
    expect(answer.globals["seen"]["bytes"], length + 4097, "bytes")


@test_each(one=(1, 2), seven=(7, 3), many=(300, 2))
def pages_are_alike_and_go_on_anywhere(limit, pages):
    """If this breaks, an answer that is read page by page has gaps, or a cursor
    means another place on another target."""
    ranges = [(5, 3000), (70000, 0), (9, 100000)]
    whole = oracle.pairs(DATA, ranges, 3, 4, 1000, 63)
    got, more = [], []
    for _ in range(pages):
        answer = expect_alike(answers(TARGETS, words(
            "pair", "pair_63", (3, 4), ranges, "--unit", "1000", "--limit",
            str(limit), *more)), f"{limit} from {more}")
        expect(answer.status, "limit", "status")
        got += answer.matches
        more = ["--cursor", answer.cursor]
    expect_matches(got, whole[:limit * pages], "pages")
    # The rest of it, from that place.
    rest = expect_alike(answers(TARGETS, words(
        "pair", "pair_63", (3, 4), ranges, "--unit", "1000", *more)), "the rest")
    expect_matches(got + rest.matches, whole, "all pages and the rest")


BAD = 150 * 4096


@test_each(stop=2, eio=-5, last_errno=-4095, three=3, below_errnos=-4096)
def what_a_program_returns_ends_all_alike(value):
    """If this breaks, what was found before it, the place or the sentence depend
    on where the program runs."""
    answer = expect_alike(answers(TARGETS, words(
        "probe", "probe_4096_0", (3, value, BAD, BAD + 1))), f"{value}")
    expect_matches(answer.matches, oracle.heads(DATA, [(0, BAD)], 3, 4096),
                   "before it")
    expect(answer.status, "stopped" if value == 2 else "failed", "status")
    expect(answer.cursor, f"0:{BAD + 4096 * (value == 2)}:0", "cursor")


@test_each(behind_len=("emit_0", 5000, 1, 1), over_end=("emit_0", 4095, 2, 1),
           empty=("emit_0", 1, 0, 1), third=("emit_0", 1, 1, 3),
           over_overlap=("emit_64", 4000, 161, 1),
           too_many=("emit_0", 100, 1, 65537))
def a_bad_emit_ends_all_alike(program, *args):
    """If this breaks, a match outside of what was seen is believed somewhere."""
    answer = expect_alike(answers(TARGETS, words(
        "emit", program, (*args, 8 * 4096))), program)
    expect((answer.status, answer.cursor, answer.matches),
           ("failed", f"0:{8 * 4096}:0", []), "end")


@test
def after_an_error_all_go_on_behind_it():
    """If this breaks, one bad unit costs all that lies behind it."""
    args = (3, -5, BAD, BAD + 1)
    answer = expect_alike(answers(TARGETS, words(
        "probe", "probe_4096_0", args, [], "--cursor", f"0:{BAD + 4096}:0")), "rest")
    behind = BAD + 4096
    expect_matches(answer.matches,
                   oracle.heads(DATA, [(behind, SIZE - behind)], 3, 4096), "matches")


@test
def what_only_a_drive_ends_another_target_finishes():
    """If this breaks, a drive's limit loses what was found before it, or names
    another place than it came to."""
    # Each round is some instructions, and one unit has far too many.
    operands = ("--arg", "0=5000000", "--arg", f"1={BAD}", "--arg",
                f"2={BAD + 1}", f"{OBJECTS}/slow.bpf.o", POOR)
    failed = Answer("csd1", operands)
    diag(failed.error)
    expect((failed.exit, failed.status), (1, "failed"), "end")
    expect_match(r"csd1 .*\bthe unit at " + str(BAD), failed.error, "sentence")
    expect(failed.cursor, f"0:{BAD}:0", "cursor")
    expect(failed.stats["bytes_scanned"] >= BAD, what="bytes scanned")
    rest = Answer("kernel", ("--cursor", failed.cursor, *operands))
    expect((rest.exit, rest.status), (0, "done"), "the rest, in the kernel")
    expect(rest.stats["bytes_scanned"], SIZE - BAD, "bytes of the rest")


@test
def what_the_engine_catches_keeps_what_was_found():
    """If this breaks, a program that the kernel would not have taken ends a scan
    in user space another way than any other error."""
    cleanup(disks.write_all, DISK, DATA)
    disks.write_all(DISK, b"\xff", BAD)
    operands = (f"{OBJECTS}/bad/read_where_told.bpf.o", DISK)
    refused = answers(("kernel", "csd0"), operands)
    for target, answer in refused.items():
        expect(bool(answer.refused), what=f"refused on {target}")
        expect_in("invalid access to packet", answer.refused, target)
    answer = Answer("user", operands)
    diag(answer.error)
    expect((answer.exit, answer.status, answer.cursor),
           (1, "failed", f"0:{BAD}:0"), "end")
    expect_match(rf"the unit at {BAD}\b", answer.error, "sentence")
    expect_in("read_where_told.bpf.c:", answer.error, "line of source")
    expect_matches(answer.matches, [(at, 4096) for at in range(0, BAD, 4096)],
                   "before it")


if __name__ == "__main__":
    disks.write_all(DISK, DATA)
    disks.write_all(POOR, DATA)
    run()
