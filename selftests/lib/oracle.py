# SPDX-License-Identifier: GPL-2.0
"""What programs must find, computed from the data without any of blkbpf."""

import re


def units(length, unit):
    """(offset, length) of the units of a range."""
    return [(off, min(unit, length - off)) for off in range(0, length, unit)]


def random_ranges(source, size, longest):
    """One to five ranges of a device of that size, short ones and long ones."""
    ranges = []
    for _ in range(source.randrange(1, 6)):
        start = source.randrange(size)
        ranges.append((start, source.randrange(
            min(size - start, source.choice((9, 600, 5000, longest))) + 1)))
    return ranges


def pairs(data, ranges, first, second, unit, overlap):
    """Of pair.bpf.c: every place of two bytes that its unit's call can see."""
    pattern = re.compile(re.escape(bytes([first])) + b"(?=" +
                         re.escape(bytes([second])) + b")", re.DOTALL)
    found = []
    for start, length in ranges:
        for place in pattern.finditer(data[start:start + length]):
            off = place.start()
            if off + 2 <= (off // unit + 1) * unit + overlap:
                found.append((start + off, 2))
    return found


def fields(data, ranges, size, low, high, unit):
    """Of fields.bpf.c: whole records whose first number is in [low, high]."""
    found = []
    for start, length in ranges:
        for off, room in units(length, unit):
            for at in range(start + off, start + off + room - size + 1, size):
                if low <= int.from_bytes(data[at:at + 4], "little") <= high:
                    found.append((at, size))
    return found


def heads(data, ranges, below, unit):
    """Of probe.bpf.c: whole units whose first byte is below that."""
    found = []
    for start, length in ranges:
        firsts = data[start:start + length:unit]
        found += [(start + n * unit, min(unit, length - n * unit))
                  for n, first in enumerate(firsts) if first < below]
    return found
