#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The drive's timing model: figures that repeat, and that a paper can check.

Two guests, under --icount, run the same commands on nine drives at the same
time; Documentation/drive.rst shows the arithmetic.
"""

import concurrent.futures
import functools
import os
import tempfile

import vmrun
from ktap import diag, expect, fail, run, test

SECOND = 10 ** 9
MIB = 1 << 20
SLACK = 0.02

# Long and slow: what the guest itself does for a command, 5 to 70 us with the
# pages of its buffer, is in each figure.
LATENCY, OVERHEAD = 10_000_000, 5_000
CHANNEL_BW, COPY_BW, COPY_LATENCY = 400_000_000, 100_000_000, 50_000
LINK_BW = 25_000_000
IPS = 100_000_000
INSTRUCTIONS = 2 + 2 * 250_000 + 1

# In the order in which drive_figures.py wants them.
DRIVES = (
    f"read-latency-ns={LATENCY},overhead-ns={OVERHEAD}",
    f"channels=1,channel-bw={CHANNEL_BW}",
    f"channels=1,channel-bw={CHANNEL_BW},link-bw={LINK_BW}",
    *(f"channels={n},channel-bw={COPY_BW},read-latency-ns={COPY_LATENCY}"
      for n in (1, 4, 8)),
    *(f"engines={n},engine-ips={IPS},overhead-ns={OVERHEAD}"
      for n in (1, 2, 4)),
)


def ns(amount, rate):
    """How long so many bytes, or instructions, take at that many a second."""
    return -(-amount * SECOND // rate)


PAPER = {
    "read_4k_qd1": LATENCY + OVERHEAD,
    # 32 at a time: each takes as long as one.
    "read_4k_qd32": LATENCY + OVERHEAD,
    # They follow each other on the channel.
    "read_64k_one_channel": ns(65536, CHANNEL_BW),
    # And then on the link, which is slower.
    "read_64k_over_the_link": ns(65536, LINK_BW),
    **{f"copy_1m_{n}_channels": COPY_LATENCY + ns(MIB // n, COPY_BW)
       for n in (1, 4, 8)},
    "memory_read_256k": ns(256 << 10, LINK_BW),
    "memory_read_256k_qd4": ns(256 << 10, LINK_BW),
    **{f"execute_8_on_{n}_engines": 8 // n * (OVERHEAD + ns(INSTRUCTIONS, IPS))
       for n in (1, 2, 4)},
}
# Where nothing of the host is in it, the figure is exact.
EXACT = {
    **{f"instructions_{n}_engines": INSTRUCTIONS for n in (1, 2, 4)},
    **{f"busy_{n}_engines": 8 * (OVERHEAD + ns(INSTRUCTIONS, IPS))
       for n in (1, 2, 4)},
}


def figures(image):
    words = ["--icount"]
    for drive in DRIVES:
        words += ["--csd", f"{image},snapshot=on,slm-size=2M,timing=on,{drive}"]
    done = vmrun.vm(*words, "--", "python3", "/selftests/lib/drive_figures.py")
    if done.returncode:
        fail(f"the guest ended with status {done.returncode}:\n"
             f"{done.stderr.decode()}")
    return {name: int(value) for name, value in
            (line.split() for line in done.stdout.decode().splitlines())}


@functools.cache
def two_runs():
    with tempfile.TemporaryDirectory() as folder:
        image = os.path.join(folder, "disk")
        with open(image, "wb") as file:
            file.truncate(16 * MIB)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(figures, [image, image]))


@test
def runs_repeat_to_the_nanosecond():
    """A figure that depends on what else this machine does is none."""
    first, second = two_runs()
    for name in first:
        expect(second.get(name), first[name], name)
    expect(len(first), len(PAPER) + len(EXACT), f"figures: {sorted(first)}")


@test
def figures_are_those_on_paper():
    """Who sizes a drive with the model computes with its properties."""
    first, _ = two_runs()
    far = []
    for name, paper in PAPER.items():
        off = first[name] / paper - 1
        diag(f"{name}: {first[name]} ns, on paper {paper} ({off:+.2%})")
        if abs(off) > SLACK:
            far.append(f"{name}: {first[name]} ns, not {paper} ({off:+.2%})")
    expect(far, [], "figures that are off")


@test
def instructions_are_counted_exactly():
    """The time on an engine follows from the count, whatever ran it."""
    first, _ = two_runs()
    for name, wanted in EXACT.items():
        expect(first[name], wanted, name)


if __name__ == "__main__":
    run()
