#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Documentation/drive.rst says what the drive is."""

import functools
import os
import re
import subprocess

from ktap import expect, expect_in, fail, run, test
from qtest import qemu_path

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
OPTION = re.compile(r"^  ([\w-]+)=<\w+>(?:.*\(default: (.*)\))?", re.M)


@functools.cache
def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as file:
        return file.read()


def document():
    return read("Documentation", "drive.rst")


@functools.cache
def options(device):
    """Its properties and their defaults, as QEMU lists them."""
    done = subprocess.run([qemu_path(), "-device", f"{device},help"],
                          stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, check=True)
    return dict(OPTION.findall(done.stdout))


def own_options():
    return {name: value for name, value in options("nvme-csd").items()
            if name not in options("nvme")}


def number(text):
    """64M and the like."""
    return int(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else int(text)


@test
def every_property_is_described():
    """A property that nobody knows of is of no use."""
    own = own_options()
    expect(len(own) > 20, what=f"properties of the drive's own: {sorted(own)}")
    missing = [name for name in own if f"``{name}``" not in document()]
    expect(missing, [], "properties that drive.rst lacks")


@test
def defaults_are_the_drives():
    """Who leaves a property out relies on the table, and who types one that is
    gone is refused by QEMU."""
    own = own_options()
    section = document().split("\nProperties\n")[1].split("The rest belongs")[0]
    rows = re.findall(r"^``([a-z-]+)`` +(\S+)", section, re.M)
    expect(len(rows) > 15, what="rows")
    for name, shown in rows:
        if name not in own:
            fail(f"drive.rst: there is no property {name}")
        if shown == "none":
            expect(own[name] in ("", None), what=f"{name}: no default")
        elif shown in ("on", "off"):
            expect(own[name], shown, name)
        else:
            expect(int(own[name]), number(shown), name)


@test
def every_status_is_described():
    """A host's author looks a status up here."""
    header = read("include", "uapi", "linux", "nvme_csd.h")
    codes = {int(code, 16) & 0xff for code in
             re.findall(r"NVME_CSD_SC_\w+\s+(0x1[0-9a-f]{2})\b", header)}
    expect(len(codes) > 20, what="status codes in the header")
    table = document().split("\nStatus codes\n")[1].split("SLM on the bus")[0]
    shown = {int(code, 16) for code in re.findall(
        r"\b([0-9A-F]{2})h(?=[ ,])", "\n".join(
            line[:10] for line in table.splitlines()))}
    expect({hex(code) for code in codes - shown}, set(), "codes that it lacks")


@test
def presets_are_the_drives():
    """Their sources are given for these figures and no others."""
    source = read("tools", "qemu", "csd_timing.c")
    presets = re.findall(r'\{ "(\w+)", (\d+), (\d+), (\d+), (\d+), (\d+) \}',
                         source)
    expect(len(presets) >= 3, what="presets in the source")
    for name, latency, write, channels, channel_bw, link_bw in presets:
        row = re.search(rf"^``{name}`` .*$", document(), re.M)
        expect(row is not None, what=f"a row for {name}")
        words = row[0].replace(",", "")
        for text in (f"{latency} ns", f"{write} ns",
                     f"{channels} · {int(channel_bw) / 1e6:g} MB/s",
                     f"{int(link_bw) / 1e6:g} MB/s"):
            expect_in(text, words, f"the row of {name}")
        alone = int(latency) + 4096e9 / int(channel_bw) + 4096e9 / int(link_bw)
        expect_in(f"{alone / 1000:.1f} us", words, f"the row of {name}")


@test
def every_lie_is_described():
    """Who tests a host looks here for what a drive may say to it."""
    names = set(re.findall(r'^    (?:LIE_\w+\(|\{ )"([a-z-]+)"',
                           read("tools", "qemu", "csd_lie.c"), re.M))
    expect(len(names) > 30, what=f"lies in the source: {sorted(names)}")
    section = document().split("\nLies on demand\n")[1].split("\nLooking inside")[0]
    shown = set(re.findall(r"``([a-z]+(?:-[a-z]+)*)``", section))
    expect(shown, names, "lies that drive.rst has")


@test
def trace_events_begin_as_described():
    """The pattern in the document has to choose all of them."""
    names = re.findall(r"^(\w+)\(", read("tools", "qemu", "trace-events"), re.M)
    expect(len(names) > 10, what="events")
    expect([name for name in names if not name.startswith("nvme_csd")], [],
           "events that 'nvme_csd*' does not choose")
    expect("-trace 'nvme_csd*'" in document(), what="the pattern in drive.rst")


if __name__ == "__main__":
    run()
