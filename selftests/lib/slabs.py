# SPDX-License-Identifier: GPL-2.0
"""How many objects of the kernel's slab caches are in use."""

import os
import re
import time

FOLDER = "/sys/kernel/slab"


def shrink(name):
    """Take from the CPUs the slabs that they hold, and from KASAN what it keeps.

    What is free in them counts as used until then, which is dozens of objects.
    """
    path = os.path.join(FOLDER, name, "shrink")
    if os.path.exists(path):
        with open(path, "w", encoding="ascii") as file:
            file.write("1")


def in_use(pattern=""):
    """{cache: objects in use} of caches whose names begin with the expression."""
    wanted = re.compile(pattern)
    for name in os.listdir(FOLDER):
        if wanted.match(name):
            shrink(name)
    with open("/proc/slabinfo", encoding="ascii") as file:
        lines = [line.split() for line in file]
    return {words[0]: int(words[1]) for words in lines
            if words[1].isdigit() and wanted.match(words[0])}


def still_grown(before, pattern, more_than, seconds=30):
    """{cache: by how many} of those that have grown by more, and stay so.

    A CPU that has taken a slab again since the caches shrank has all of it in use,
    hundreds of small objects, and what waits for a grace period is in use, too: the
    least of the counts in that time is nearest to the truth.
    """
    end = time.monotonic() + seconds
    least = {}
    while True:
        for name, count in in_use(pattern).items():
            least[name] = min(count, least.get(name, count))
        grown = {name: count - before.get(name, 0)
                 for name, count in least.items()
                 if count - before.get(name, 0) > more_than}
        if not grown or time.monotonic() > end:
            return grown
        time.sleep(0.2)
