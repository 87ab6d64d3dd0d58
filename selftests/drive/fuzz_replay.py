#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A short walk of the fuzzer over fixed seeds, so that it and the drive stay
fit: selftests/drive/fuzz goes on for as long as one likes."""

import drivefuzz
from ktap import cleanup, diag, expect, run, test, test_each

ROUNDS = 8


@test_each(**{f"seed_{seed}": seed for seed in (1, 2, 3, 4)})
def random_hosts_do_not_harm_the_drive(seed):
    """If this breaks, some sequence of commands, resets and unplugging makes
    QEMU crash, hang, or break its own rules."""
    steps = []
    session = drivefuzz.Session(seed, steps.append)
    cleanup(session.machine.kill)
    try:
        for _ in range(ROUNDS):
            del steps[:-40]
            session.round()
        session.machine.close()
    except BaseException:
        diag("\n".join(steps[-40:]))
        raise
    diag(f"{session.commands} commands")


@test
def a_seed_says_what_is_done():
    """If this breaks, a finding of the fuzzer cannot be repeated."""
    seen = []
    for _ in range(2):
        steps = []
        session = drivefuzz.Session(9, steps.append)
        cleanup(session.machine.kill)
        session.round()
        seen.append(steps)
    expect(len(seen[0]) > 50, what="steps")
    expect(seen[0] == seen[1], what="the same steps")


if __name__ == "__main__":
    run()
