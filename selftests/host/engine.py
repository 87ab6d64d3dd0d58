#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The engine's own tests, which need no guest."""

import os

import examples
from ktap import diag, expect, run, sh, test, test_each

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
OUTPUT = os.path.join(ROOT, "build", "engine")
TESTS = {
    "refused": ["refused"],
    "instructions": ["instructions"],
    "sequences": ["sequences"],
    "behaviour": ["behaviour"],
    "image": ["image", f"{OUTPUT}/tests/image.bpf.o"],
    "replay": ["replay", f"{ROOT}/selftests/engine/corpus"],
    "differential": ["differential", "20000"],
}


def make(*targets):
    sh(["make", "-s", "-C", f"{ROOT}/tools/lib/bpfvm", f"O={OUTPUT}", *targets])


@test
def the_engine_builds():
    """If this breaks, there is nothing to test."""
    make("all", f"{OUTPUT}/tests/image.bpf.o",
         *(f"{OUTPUT}/tests/{name}" for name in TESTS))


@test_each(**{name: (words,) for name, words in TESTS.items()})
def its_tests_pass(words):
    """If this breaks, the engine's verifier, interpreter or JIT is wrong."""
    done = sh([f"{OUTPUT}/tests/{words[0]}", *words[1:]], check=False,
              timeout=600)
    if done.returncode:
        diag(done.stdout)
    expect(done.returncode, 0, "exit status")


@test
def the_example_prints_what_the_document_says():
    """If this breaks, Documentation/engine.rst shows what does not work."""
    blocks = {block.name: block.text for block in examples.blocks(
        os.path.join(ROOT, "Documentation", "engine.rst"))}
    source = f"{OUTPUT}/example.c"
    with open(source, "w", encoding="utf-8") as file:
        file.write(blocks["example.c"])
    sh(["cc", "-Wall", "-Werror", f"-I{ROOT}/tools/lib/bpfvm", source, "-o",
        f"{OUTPUT}/example", f"{OUTPUT}/lib/libbpfvm.a", "-lpthread"])
    expect(sh([f"{OUTPUT}/example"]).stdout, blocks["example.out"], "output")


if __name__ == "__main__":
    run()
