#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The drivers inside a kernel tree, through their Kconfig: as modules, and built in."""

import os
import shutil
import subprocess
import tempfile

from ktap import cleanup, expect, expect_in, run, test

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
DRIVERS = ("blk_bpf", "nvme_csd")


def call(*words, **kwargs):
    done = subprocess.run(words, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, **kwargs)
    expect(done.returncode, 0, f"status of {words}; {done.stderr[-4000:]}")
    return done.stdout


def setup(step):
    return call(f"{TOP}/tools/setup/get", step).strip()


def edit(path, change):
    """Of a tree of links: a file of its own."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    os.unlink(path)
    with open(path, "w", encoding="utf-8") as file:
        file.write(change(text))


class Tree:
    """The debug kernel's source with the drivers, and what was built of it."""

    def __init__(self):
        folder = tempfile.mkdtemp(prefix="blkbpf-tree.")
        cleanup(shutil.rmtree, folder)
        self.source, self.build = f"{folder}/source", f"{folder}/build"
        call("cp", "-rs", setup("kernel-source"), self.source)
        call("cp", "-a", f"{setup('kernel-debug')}/build", self.build)
        os.unlink(f"{self.build}/source")
        for name in DRIVERS:
            shutil.copytree(f"{TOP}/drivers/{name}", f"{self.source}/drivers/{name}")
            shutil.copy(f"{TOP}/include/uapi/linux/{name}.h",
                        f"{self.source}/include/uapi/linux/")
        edit(f"{self.source}/drivers/Kconfig", lambda text: text.replace(
            "\nendmenu", "".join(f'\nsource "drivers/{name}/Kconfig"'
                                 for name in DRIVERS) + "\nendmenu"))
        edit(f"{self.source}/drivers/Makefile", lambda text: text + "".join(
            f"obj-y += {name}/\n" for name in DRIVERS))

    def make(self, *words):
        return call("make", "-j2", "-C", self.source, f"O={self.build}", *words)

    def configure(self, **options):
        """Returns what became of them."""
        call(f"{self.source}/scripts/config", "--file", f"{self.build}/.config",
             *[word for name, value in options.items()
               for word in ("--set-val", name, value)])
        self.make("olddefconfig")
        with open(f"{self.build}/.config", encoding="utf-8") as file:
            lines = file.read().splitlines()
        return {name: value for name in options for value in "ym"
                if f"CONFIG_{name}={value}" in lines}

    def objects(self, name):
        return os.listdir(f"{self.build}/drivers/{name}")


@test
def the_drivers_build_inside_a_kernel_tree():
    """If this breaks, they build here, and not where they would be merged."""
    tree = Tree()
    wanted = {"BLK_BPF": "m", "NVME_CSD": "m"}
    expect(tree.configure(**wanted), wanted, "as modules")
    tree.make(*[f"drivers/{name}/" for name in DRIVERS])
    for name in DRIVERS:
        expect_in(f"{name}.o", tree.objects(name))
    wanted = {"BLK_BPF": "y", "NVME_CSD": "m"}
    expect(tree.configure(**wanted), wanted, "one built in")
    tree.make("drivers/blk_bpf/")
    expect("main.o" in call("ar", "t", f"{tree.build}/drivers/blk_bpf/built-in.a"),
           what="objects in built-in.a")


if __name__ == "__main__":
    run()
