# SPDX-License-Identifier: GPL-2.0
"""How many objects of the kernel's slab caches are in use."""

import os
import re

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


def grown(before, after, more_than):
    """{cache: by how many} of those that have grown by more."""
    return {name: count - before.get(name, 0) for name, count in after.items()
            if count - before.get(name, 0) > more_than}
