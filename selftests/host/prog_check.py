#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""blkbpf prog check: where a program runs, and what is in the way."""

import glob
import json
import os
import subprocess

import bpfcc
from ktap import expect, expect_in, expect_match, run, test, test_each

BLKBPF = os.environ.get("BLKBPF", os.path.join(bpfcc.TOP, "build/bin/blkbpf"))
SAMPLES = os.path.join(bpfcc.TOP, "build/samples")
HERE = not os.path.exists("/dev/blk_bpf")

FILTER = """
SEC("struct_ops/filter")
int BLK_BPF_FILTER(one, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	%s
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(one_ops, .filter = (void *)one, .name = "one");
"""

MAP = """
struct {
	__uint(type, 2);	/* BPF_MAP_TYPE_ARRAY */
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");
extern int bpf_not_there(int x) __ksym;
"""


def check(path, *options):
    """(status, {(program, target): verdict}, {…: obstacles})"""
    done = subprocess.run([BLKBPF, "-j", "prog", "check", *options, path],
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False, timeout=60)
    expect(done.stderr, "", "standard error")
    rows = {(row["program"], row["target"]): row
            for row in json.loads(done.stdout)}
    return (done.returncode, {key: row["verdict"] for key, row in rows.items()},
            {key: row["obstacles"] for key, row in rows.items()})


def checked(source, *options):
    return check(bpfcc.compiled("one", "#include <bpf/blk_bpf.h>\n" + source),
                 *options)


@test
def samples_run_everywhere():
    """If this breaks, what people copy from does not run everywhere."""
    for path in glob.glob(f"{SAMPLES}/*.bpf.o"):
        status, verdicts, _ = check(path)
        name = os.path.basename(path).removesuffix(".bpf.o")
        expect(status, 0, f"status of {name}")
        expect(verdicts[name, "user"], "runs", f"{name} on user")
        expect(verdicts[name, "kernel"], "unchecked" if HERE else "runs",
               f"{name} on kernel")


@test
def what_was_not_checked_is_said():
    """If this breaks, a program is called good that nobody looked at."""
    if HERE:
        _, _, obstacles = checked(FILTER % "")
        expect_in("the kernel module is not loaded",
                  obstacles["one", "kernel"][0]["reason"], "reason")


@test
def every_obstacle_is_told_with_its_line():
    """If this breaks, one is mended and the next appears, one by one."""
    source = MAP + FILTER % """
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&counts, &zero);

	if (count)
		*count += bpf_not_there(1);"""
    status, verdicts, obstacles = checked(source, "--on", "user")
    expect((status, verdicts), (1, {("one", "user"): "refused"}), "verdict")
    told = obstacles["one", "user"]
    expect([entry["reason"].split(":")[0] for entry in told],
           ["it uses the map counts", "it calls bpf_not_there(), which is not "
            "there outside a kernel"], "reasons")
    for entry, text in zip(told, ("bpf_map_lookup_elem(&counts", "bpf_not_there(1)")):
        expect_in(text, entry["source"], "source line")
        with open(entry["file"], encoding="ascii") as file:
            expect_in(entry["source"], file.read().splitlines()[entry["line"] - 1],
                      "line in the file")


@test
def helpers_are_named():
    """If this breaks, a person has to look a number up in a header."""
    _, _, obstacles = checked(FILTER % "ctx->state[0] = bpf_ktime_get_ns();",
                              "--on", "user")
    entry, = obstacles["one", "user"]
    expect(entry["reason"],
           "it calls bpf_ktime_get_ns(), which is not there outside a kernel",
           "reason")
    expect(entry["text"], "call 5", "instruction")


@test
def types_of_a_kernel_keep_a_program_there():
    """If this breaks, a program reads offsets of a kernel that is not there."""
    source = """
struct bio_like { int a; } __attribute__((preserve_access_index));
""" + FILTER % "ctx->state[0] = ((struct bio_like *)ctx)->a;"
    _, verdicts, obstacles = checked(source, "--on", "user")
    expect(verdicts, {("one", "user"): "refused"}, "verdict")
    expect_in("CO-RE relocations", obstacles["one", "user"][0]["reason"], "reason")
    expect_in("bio_like", obstacles["one", "user"][0]["source"], "source")


@test_each(
    unit=(".unit = 32769", r"^\.unit = 32769 is too large: at most 32768 bytes"),
    overlap=(".overlap = 4097", r"^\.overlap = 4097 is too large"),
    name=('.name = "a b"', r"^\.name: letter 2 \(0x20\) is not allowed"))
def members_are_checked_for_every_target(member, pattern):
    """If this breaks, a program that nothing takes is called good."""
    source = FILTER.replace('.name = "one"', member) % ""
    status, verdicts, obstacles = checked(source)
    expect(status, 1, "status")
    for key, verdict in verdicts.items():
        expect(verdict, "refused", f"{key}")
        expect_match(pattern, obstacles[key][0]["reason"], f"{key}")


@test
def the_kernel_is_refused_what_it_refuses_without_being_asked():
    """If this breaks, a person without root learns it from an administrator."""
    source = """
__noinline int shared(int x)
{
	return x * 3;
}
""" + FILTER % "ctx->state[0] = shared(ctx->len);"
    status, verdicts, obstacles = checked(source)
    expect((status, verdicts), (1, {("one", "kernel"): "refused",
                                    ("one", "user"): "runs"}), "verdicts")
    expect_in("function shared() is global", obstacles["one", "kernel"][0]["reason"],
              "reason")


@test
def a_drive_takes_what_kernel_and_engine_take():
    """If this breaks, a program is called good for a drive that will refuse it."""
    if HERE:
        status, verdicts, obstacles = checked(FILTER % "", "--on", "csd9")
        expect((status, verdicts), (0, {("one", "csd9"): "unchecked"}), "verdict")
        told = [entry["reason"] for entry in obstacles["one", "csd9"]]
        expect_in("the kernel module is not loaded", told[0], "reason")
        expect_in("there is none of this name", told[1], "reason")
    sources = ("""
__noinline int shared(int x)
{
	return x * 3;
}
""" + FILTER % "ctx->state[0] = shared(ctx->len);",
               FILTER % "ctx->state[0] = bpf_ktime_get_ns();",
               FILTER.replace('.name = "one"', ".unit = 32769") % "")
    for source, reason in zip(sources, (
            "function shared() is global", "it calls bpf_ktime_get_ns()",
            ".unit = 32769 is too large")):
        status, verdicts, obstacles = checked(source, "--on", "csd0")
        (key, verdict), = verdicts.items()
        expect((status, verdict), (1, "refused"), reason)
        told = [entry["reason"] for entry in obstacles[key]]
        expect(sum(reason in text for text in told), 1, f"{reason} in {told}")


@test
def variables_can_be_set_before():
    """If this breaks, a check is of another program than the scan."""
    path = f"{SAMPLES}/grep.bpf.o"
    expect(check(path, "--set", "needle=x", "--on", "user")[0], 0, "status")
    done = subprocess.run([BLKBPF, "prog", "check", "--set", "nothing=x", path],
                          capture_output=True, text=True, check=False)
    expect_in("there is no global variable 'nothing'", done.stderr, "sentence")


if __name__ == "__main__":
    run()
