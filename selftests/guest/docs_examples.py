#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# vm: --timeout 300 --csd {img:16M:zero}
"""The documents' console examples print what the documents show."""

import glob
import os
import shutil
import subprocess
import tempfile

import examples
from ktap import cleanup, fail, run, sh, test

DOCUMENTS = "/selftests/docs"
END = "\x1e"


class Shell:
    """A bash that is given one command after the other, as by a person."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            ["bash"], cwd=folder, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace")

    def close(self):
        self.process.kill()
        self.process.communicate()

    def line(self, printed):
        line = self.process.stdout.readline()
        if not line:
            fail(f"the shell ended; it had printed:\n{printed}")
        return line

    def run(self, command):
        """What it prints, and its status; returns when all of that is there.

        A command in the background is waited for until it has printed what is
        shown for it, because the next one may rely on that.
        """
        self.process.stdin.write(f"{{ {command.text}\n}} </dev/null; "
                                 f"printf '{END}%d\\n' $?\n")
        self.process.stdin.flush()
        printed, status = "", None
        while status is None or (
                command.text.endswith("&")
                and not examples.matches(command.output, printed)):
            line = self.line(printed)
            text, end, number = line.partition(END)
            printed += text
            if end:
                status = int(number)
        return printed, status


def remove_leftovers():
    """So that one document's loop devices and pins are not the next one's."""
    sh(["losetup", "--detach-all"])
    for folder, _, names in os.walk("/sys/fs/bpf"):
        for name in names:
            if not name.endswith(".debug"):
                os.unlink(os.path.join(folder, name))


def run_document(path):
    folder = tempfile.mkdtemp()
    cleanup(shutil.rmtree, folder)
    cleanup(remove_leftovers)
    shutil.copytree(os.path.dirname(path), folder, dirs_exist_ok=True)
    shell = Shell(folder)
    cleanup(shell.close)
    for block in examples.blocks(path):
        if block.language != "console":
            continue
        for command in examples.commands(block):
            where = f"{block.document}:{command.line}: {command.text}"
            printed, status = shell.run(command)
            if not examples.matches(command.output, printed):
                shown = "\n".join(command.output)
                fail(f"{where}\nprinted:\n{printed}\nbut shown is:\n{shown}")
            if status and not command.output:
                fail(f"{where}: ended with status {status}")


def register(path):
    def document():
        """If this breaks, a reader who types an example sees something
        else."""
        run_document(path)

    document.__name__ = f"examples_of_{examples.name_of(path)}"
    test(document)


for found in sorted(glob.glob(f"{DOCUMENTS}/*/*.md")
                    + glob.glob(f"{DOCUMENTS}/*/*.rst")):
    if any(block.language == "console" for block in examples.blocks(found)):
        register(found)

if __name__ == "__main__":
    sh(["modprobe", "loop"])
    run()
