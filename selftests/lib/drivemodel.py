# SPDX-License-Identifier: GPL-2.0
"""What an Execute must find: the contract of programs, in Python.

scan() lays units over data as a drive has to, and calls a model of a program,
a function of a Call that returns (matches, return value); the models below are
of the samples and of selftests/bpf.
"""

import collections
import re
import struct

SKIP, MATCH, STOP = 0, 1, 2
F_SHORT, F_EDGE = 1, 2

# @data is all that the call sees; @len of them it is responsible for.
Call = collections.namedtuple("Call", "data len pos unit flags")
Found = collections.namedtuple("Found", "matches calls stopped")


def calls(data, length, unit, overlap, pos=0):
    """The Calls for the first @length bytes; what is behind them is the tail."""
    for off in range(0, length, unit):
        size = min(unit, length - off)
        behind = len(data) - off - size
        seen = size + min(overlap, behind)
        yield Call(data[off:off + seen], size, pos + off, unit,
                   (F_SHORT if size != unit else 0) |
                   (F_EDGE if behind < overlap else 0))


def scan(program, data, length=None, unit=4096, overlap=0, pos=0):
    """(matches as (pos, len), the Calls, whether the program ended it)"""
    length = len(data) if length is None else length
    found, made = [], []
    for call in calls(data, length, unit, overlap, pos):
        made.append(call)
        matches, ret = program(call)
        if ret == MATCH:
            matches = [*matches, (0, call.len)]
        found += sorted((call.pos + off, size) for off, size in matches)
        if ret == STOP:
            return Found(found, made, True)
    return Found(found, made, False)


def pair(first, second):
    """Of pair.bpf.c."""
    pattern = re.compile(re.escape(bytes([first])) + b"(?=" +
                         re.escape(bytes([second])) + b")", re.DOTALL)
    return lambda call: ([(m.start(), 2) for m in pattern.finditer(call.data)
                          if m.start() < call.len], SKIP)


def fields(size, low, high):
    """Of fields.bpf.c."""
    return lambda call: ([
        (at, size) for at in range(0, call.len - size + 1, size)
        if low <= int.from_bytes(call.data[at:at + 4], "little") <= high], SKIP)


def records(keys, values):
    """Of records.bpf.c: 64 bytes that begin with a key and a value."""
    def program(call):
        found = []
        for at in range(0, len(call.data) - 63, 64):
            key, value = struct.unpack_from("<QI", call.data, at)
            if keys[0] <= key <= keys[1] and values[0] <= value <= values[1]:
                found.append((at, 64))
        return found, SKIP
    return program


def grep(needle):
    """Of grep.bpf.c; places may overlap."""
    pattern = re.compile(b"(?=" + re.escape(needle) + b")", re.DOTALL)
    return lambda call: ([(m.start(), len(needle))
                          for m in pattern.finditer(call.data)
                          if m.start() < call.len], SKIP)


def zeros(call):
    """Of count_zero.bpf.c."""
    whole = call.data[:4096]
    return [], MATCH if len(whole) == 4096 and not any(whole) else SKIP


def probe(below, ret=0, first=0, last=0):
    """Of probe.bpf.c: units whose first byte is below that, or a value for
    those in a range."""
    def program(call):
        if ret and first <= call.pos < last:
            return [], ret
        return [], MATCH if call.data[0] < below else SKIP
    return program
