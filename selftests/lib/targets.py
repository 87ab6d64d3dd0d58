# SPDX-License-Identifier: GPL-2.0
"""The same scan on several targets, by the command."""

import json
import subprocess

from ktap import expect, fail
from scans import expect_matches


class Answer:
    """What "blkbpf scan" said: of a refusal .refused is the sentence."""

    def __init__(self, target, words):
        done = subprocess.run(
            ["blkbpf", "-j", "scan", "--on", target, *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        said = json.loads(done.stdout) if done.stdout else {}
        self.exit = done.returncode
        self.refused = None if said else json.loads(done.stderr)["error"]
        self.matches = [(match["pos"], match["len"])
                        for match in said.get("matches", ())]
        self.status = said.get("status")
        self.error = said.get("error")
        self.cursor = said.get("cursor")
        self.globals = said.get("globals")
        self.stats = said.get("stats", {})

    def end(self):
        """All but the matches and what depends on an order of calls."""
        return {"exit": self.exit, "status": self.status, "error": self.error,
                "cursor": self.cursor, "refused": self.refused}


def answers(targets, words):
    return {target: Answer(target, words) for target in targets}


def expect_variables(got, wanted, what):
    """Says where two nested values part: they can be long."""
    if isinstance(wanted, dict) and isinstance(got, dict) and \
            got.keys() == wanted.keys():
        for name, value in wanted.items():
            expect_variables(got[name], value, f"{what}.{name}")
    elif isinstance(wanted, list) and isinstance(got, list) and \
            len(got) == len(wanted):
        for place, value in enumerate(wanted):
            expect_variables(got[place], value, f"{what}[{place}]")
    elif got != wanted:
        fail(f"{what} is {got!r:.200}, not {wanted!r:.200}")


def expect_alike(found, what, keep=lambda variables: variables):
    """All ended alike, with the same matches and variables; returns one.

    Of a scan that ended early, variables show how far others had run ahead.
    """
    first = next(iter(found))
    wanted = found[first]
    for target, answer in found.items():
        where = f"{what}: {target} beside {first}"
        expect(answer.end(), wanted.end(), where)
        expect_matches(answer.matches, wanted.matches, where)
        if wanted.status != "done":
            continue
        for name in ("units", "bytes_scanned", "matches"):
            expect(answer.stats[name], wanted.stats[name], f"{where}: {name}")
        if wanted.globals is not None:
            expect_variables(keep(answer.globals), keep(wanted.globals), where)
    return wanted
