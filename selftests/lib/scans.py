# SPDX-License-Identifier: GPL-2.0
"""What tests of scans have in common."""

from ktap import fail
from programs import Program

_loaded = {}


def loaded(name, program=None):
    """Loaded once for the whole file: for programs that keep nothing."""
    key = name, program
    if key not in _loaded:
        _loaded[key] = Program(name, program)
    return _loaded[key]


def expect_matches(got, wanted, what):
    """Says where two long answers part."""
    if got == wanted:
        return
    for place, (left, right) in enumerate(zip(got, wanted)):
        if left != right:
            fail(f"{what}: match {place} is {left}, not {right}")
    fail(f"{what}: {len(got)} matches, not {len(wanted)}")
