# SPDX-License-Identifier: GPL-2.0
"""Reads (K)TAP: the lines of one test file become results.

TAP 13 and 14 and KTAP 1; a subtest's own lines are indented, and count in
place of the line that sums them up.
"""

import collections
import re

LINE = re.compile(r"(?P<indent> *)(?P<bad>not )?ok\b(?: (?P<number>\d+))?"
                  r"(?: -)?(?: (?P<name>.*?))?"
                  r"(?: *(?<!\\)# *(?P<directive>SKIP|TODO)\S*(?: (?P<why>.*))?)?$",
                  re.IGNORECASE)
PLAN = re.compile(r"(?P<indent> *)1\.\.(?P<count>\d+)"
                  r"(?: *# *SKIP\S* *(?P<why>.*))?\s*$", re.IGNORECASE)
TIME = re.compile(r"# (?P<name>\S+): (?P<seconds>\d+\.\d+) s$")
BAIL = re.compile(r" *Bail out!(?P<why>.*)", re.IGNORECASE)

Result = collections.namedtuple("Result", "name verdict reason seconds details")


def failure(name, reason, details=()):
    return Result(name, "failed", reason, None, list(details))


class Level:
    """One plan and the lines that count against it."""

    def __init__(self):
        self.planned = None
        self.seen = 0

    def complaint(self):
        if self.planned is None:
            return "printed no plan"
        if self.seen != self.planned:
            return f"planned {self.planned} tests and reported {self.seen}"
        return None


class Parser:
    """Fed all lines of a file; .results are the verdicts."""

    def __init__(self):
        self.results = []
        self.top = Level()
        self.sub = None
        self.subtests = []
        self.details = []
        self.seconds = {}
        self.skipped_whole = False

    def feed(self, text):
        for line in text.splitlines():
            self.line(line)

    def line(self, line):
        if match := PLAN.match(line):
            self.plan(match)
        elif match := LINE.match(line):
            self.verdict(match)
        elif match := BAIL.match(line):
            self.results.append(failure("(file)", "bailed out:" + match["why"]))
        elif match := TIME.match(line):
            self.seconds[match["name"]] = float(match["seconds"])
        elif line.lstrip().startswith("#"):
            self.details.append(line.strip())

    def plan(self, match):
        level = self.top
        if match["indent"]:
            level = self.sub = self.sub or Level()
        if level.planned is not None:
            self.results.append(failure("(file)", "printed a second plan"))
        level.planned = int(match["count"])
        if level is self.top and match["why"] is not None:
            self.skipped_whole = True
            self.results.append(Result("(file)", "skipped", match["why"],
                                       None, []))

    def verdict(self, match):
        nested = bool(match["indent"])
        level = self.top
        if nested:
            level = self.sub = self.sub or Level()
        level.seen += 1
        name = (match["name"] or "").strip() or f"test {level.seen}"
        if match["number"] and int(match["number"]) != level.seen:
            self.results.append(failure(
                name, f"has number {match['number']}, but it is the "
                f"{level.seen}. test"))
        result = self.judge(match, name)
        self.details = []
        if nested:
            self.subtests.append(result)
        else:
            self.close(result)

    def judge(self, match, name):
        directive = (match["directive"] or "").upper()
        verdict, reason = "failed" if match["bad"] else "passed", ""
        if directive == "SKIP" and not match["bad"]:
            verdict, reason = "skipped", match["why"] or ""
        elif directive == "TODO":
            # A known failure is no failure; one that passes is good news.
            verdict = "skipped" if match["bad"] else "passed"
            reason = "TODO " + (match["why"] or "")
        return Result(name, verdict, reason.strip(), self.seconds.get(name),
                      [] if verdict == "passed" else self.details)

    def close(self, result):
        """A line at the top ends the subtests before it."""
        if self.sub is None:
            self.results.append(result)
            return
        for sub in self.subtests:
            self.results.append(sub._replace(name=f"{result.name}/{sub.name}"))
        if complaint := self.sub.complaint():
            self.results.append(failure(result.name, complaint))
        elif result.verdict == "failed" and not any(
                sub.verdict == "failed" for sub in self.subtests):
            self.results.append(result)
        self.sub, self.subtests = None, []

    def finish(self):
        """After the last line: what is missing fails."""
        complaint = self.top.complaint()
        if complaint:
            self.results.append(failure("(file)", complaint, self.details))
        if self.subtests:
            self.results += self.subtests
            self.results.append(failure("(file)", "ended inside subtests"))
        return self.results
