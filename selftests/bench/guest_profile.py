#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""In the guest: one hook's random reads, without an end, to be looked at from
outside. Prints the kernel's functions, one a line, and then "reading".
"""

import re
import subprocess
import sys

from guest_hook import CASES, HERE, call

TEXT = re.compile(r"([0-9a-f]+) [tTwW] (\S+)(?:\s+\[(\S+)\])?$")


def print_functions():
    with open("/proc/kallsyms", encoding="ascii") as file:
        for line in file:
            if match := TEXT.match(line):
                print(match[1], match[2], match[3] or "kernel")


def main(case, batch):
    call("modprobe", "null_blk", "nr_devices=2")
    call("sysctl", "-q", "net.core.bpf_jit_kallsyms=1", "kernel.kptr_restrict=0")
    with CASES[case]() as disk:
        print_functions()
        print("reading", flush=True)
        subprocess.run([f"{HERE}/uring_read", disk, batch, "32000000000"],
                       check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
