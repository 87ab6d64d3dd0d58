# SPDX-License-Identifier: GPL-2.0
"""Starts guests from tests that run on this machine."""

import os
import subprocess

RUN = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "vm",
                   "run")


def argv(*words):
    """The runner's command line, without the project's modules."""
    return [RUN, "--no-modules", "--timeout", "240", *words]


def argv_with_modules(*words):
    """The same with them; they have to have been built."""
    return [RUN, "--timeout", "850", *words]


def vm(*words, **kwargs):
    """Run a guest to its end; output as bytes."""
    return subprocess.run(argv(*words), stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, **kwargs)
