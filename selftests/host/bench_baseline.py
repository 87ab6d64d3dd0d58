#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The hot path costs what it did: its instructions beside the tree's baseline."""

import copy
import json
import os
import subprocess
import sys
import tempfile

from ktap import cleanup, diag, expect, expect_in, fail, run, test

BENCH = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "bench")
BASELINE = os.path.join(BENCH, "baseline.json")


def baseline():
    with open(BASELINE, encoding="ascii") as file:
        return json.load(file)


def compare(base, new):
    """The comparison of two runs, given as files or as what is in them."""
    paths = []
    for run_ in (base, new):
        if not isinstance(run_, str):
            file = tempfile.NamedTemporaryFile("w", suffix=".json",
                                               encoding="ascii")
            cleanup(file.close)
            json.dump(run_, file)
            file.flush()
            run_ = file.name
        paths.append(run_)
    return subprocess.run([f"{BENCH}/compare", *paths], capture_output=True,
                          text=True, check=False)


def steady():
    """The baseline as if its runs had not varied."""
    result = baseline()
    for row in result["hook"]:
        row["per_read"] = [row["mean"]] * 2
    return result


def grown(case, percent):
    """That with one figure changed."""
    changed = copy.deepcopy(steady())
    if case == "unit":
        changed["unit"]["mean"] *= 1 + percent / 100
        return changed
    for row in changed["hook"]:
        if row["case"] == case and row["batch"] == 1:
            row["added"] *= 1 + percent / 100
    return changed


@test
def a_hot_path_that_has_grown_fails():
    """If this breaks, the gate lets everything through."""
    for case, name in (("other", "hook idle"), ("empty", "hook empty"),
                       ("unit", "scan per unit")):
        expect(compare(steady(), grown(case, 9)).returncode, 0, f"{case} + 9 %")
        done = compare(steady(), grown(case, 11))
        expect(done.returncode, 1, f"{case} + 11 %")
        expect_in(f"{name} has grown by 11.0 %", done.stderr, "sentence")
        expect(compare(steady(), grown(case, -50)).returncode, 0,
               f"{case} - 50 %")


@test
def what_runs_vary_by_is_no_growth():
    """If this breaks, the gate is red whenever the clock of the guest ticks."""
    varied = steady()
    for row in varied["hook"]:
        if row["batch"] == 1 and row["case"] in ("none", "other"):
            row["per_read"] = [row["mean"] - 5, row["mean"] + 5]
    base = next(row["added"] for row in varied["hook"]
                if row["case"] == "other" and row["batch"] == 1)
    for more, status in ((9, 0), (11 + base / 10, 1)):
        run_ = copy.deepcopy(varied)
        for row in run_["hook"]:
            if row["case"] == "other" and row["batch"] == 1:
                row["added"] = base + more
        expect(compare(steady(), run_).returncode, status, f"+ {more}")


@test
def a_figure_that_is_missing_fails():
    """If this breaks, a bench that measures nothing passes the gate."""
    without = baseline()
    del without["unit"]
    done = compare(BASELINE, without)
    expect(done.returncode, 1, "status")
    expect_in("scan per unit is missing", done.stderr, "sentence")
    expect(compare({}, BASELINE).returncode, 1, "status of an empty base")


@test
def the_hot_path_costs_what_the_baseline_says():
    """If this breaks, each bio of everybody costs more than it did. Where that
    is as it has to be: make bench, and copy build/bench.json over
    selftests/bench/baseline.json, in the change that makes it so."""
    with tempfile.TemporaryDirectory(prefix="blkbpf-bench.") as folder:
        result = f"{folder}/bench.json"
        done = subprocess.run([sys.executable, f"{BENCH}/run", "--fast",
                               "--output", result], capture_output=True,
                              text=True, check=False)
        diag(done.stdout)
        if not os.path.exists(result):
            fail(f"no figures: {done.stderr}")
        compared = compare(BASELINE, result)
    diag(compared.stdout)
    expect(compared.returncode, 0, compared.stderr)
    expect(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    run()
