#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""How the completion hook was compiled: what no run of it can show for sure."""

import glob
import os
import re

from ktap import expect, fail, run, sh, skip, test

ROOT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..")


def modules():
    found = glob.glob(os.path.join(ROOT, "build/modules/*/blk_bpf.ko"))
    if not found:
        skip("blk_bpf.ko is not built: make modules")
    return found


def instructions(module, function):
    """(mnemonic, operands, relocation) of a function."""
    text = sh(["objdump", "-dr", "--no-show-raw-insn",
               f"--disassemble={function}", module]).stdout
    body = re.search(rf"<{function}>:\n(.*)", text, re.DOTALL)
    if not body:
        fail(f"{module} has no function {function}")
    listed = []
    for line in body[1].splitlines():
        if code := re.match(r"\s*[0-9a-f]+:\t(\S+)\s*(.*)", line):
            if code[1].startswith("R_X86"):
                continue
            listed.append([code[1], code[2], ""])
        if relocation := re.search(r"R_X86_64_\S+\s+(\S+)", line):
            listed[-1][2] = relocation[1]
    return listed


def is_indirect(instruction):
    """A call or jump whose target is in a register, by retpoline or not."""
    return ("__x86_indirect_thunk" in instruction[2] or
            instruction[1].startswith("*"))


@test
def the_submitters_completion_is_a_sibling_call():
    """If this breaks, each link of a chain of bios takes stack, and a long
    chain overflows it."""
    for module in modules():
        code = instructions(module, "hook_end_io")
        jumps = [one for one in code if one[0] == "jmp" and is_indirect(one)]
        expect(len(jumps) > 0, what=f"indirect jumps in hook_end_io of {module}")


if __name__ == "__main__":
    run()
