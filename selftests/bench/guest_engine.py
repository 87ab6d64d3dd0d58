#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""In the guest, under icount: the engine's kernels beside the same C by gcc.

make bench-engine measures the same in time, on the machine itself; here it is
instructions, which are the same on any. Prints JSON, for each kernel samples of
gcc's instructions for 1 MiB, and how many times that the JIT and the interpreter
take.
"""

import json
import re
import sys

from guest_hook import HERE, call

ROW = re.compile(r"(\S+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +\d+/\d+ +\d+ us$")
# In each run the medians of so many rounds.
ROUNDS = 3


def one_run():
    """{kernel: (gcc's microseconds, JIT's, the interpreter's to gcc's)}"""
    out = call(f"{HERE}/engine", f"{HERE}/kernels.bpf.o", f"{HERE}/load.bpf.o",
               str(ROUNDS))
    rows = [ROW.match(line) for line in out.splitlines()]
    return {row[1]: (float(row[2]), float(row[3]), float(row[5]))
            for row in rows if row}


def main(argv):
    samples = []
    for number in range(int(argv[1])):
        print(f"round {number + 1} of {argv[1]}: the engine", file=sys.stderr)
        samples.append(one_run())
    # Microseconds of virtual time: a thousand instructions.
    json.dump([{
        "kernel": name,
        "gcc": [run[name][0] * 1000 for run in samples],
        "jit": [run[name][1] * 1000 for run in samples],
        "interpreter_to_gcc": samples[0][name][2],
    } for name in samples[0]], sys.stdout)


if __name__ == "__main__":
    main(sys.argv)
