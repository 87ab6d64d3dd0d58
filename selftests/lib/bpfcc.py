# SPDX-License-Identifier: GPL-2.0
"""Programs that a test has as text, compiled on this machine."""

import os
import shutil
import tempfile

from ktap import cleanup, sh

TOP = os.path.realpath(os.path.join(os.path.dirname(
    os.path.realpath(__file__)), "..", ".."))
CLANGS = ("clang-22", "clang-21", "clang-20", "clang-19")

_libbpf = []


def clang():
    """The newest that there is, of those that the contract is tested with."""
    return next(filter(shutil.which, CLANGS))


def include_options():
    """Where a program's headers are."""
    if not _libbpf:
        getter = os.path.join(TOP, "tools/setup/get")
        _libbpf.append(sh([getter, "libbpf"]).stdout.strip())
    return [f"-I{TOP}/include", f"-I{TOP}/include/uapi",
            f"-I{_libbpf[0]}/include"]


def compile_into(folder, name, source, *options):
    """NAME.bpf.c and NAME.bpf.o in the folder; the path of the object."""
    path = os.path.join(folder, f"{name}.bpf.c")
    with open(path, "w", encoding="ascii") as file:
        file.write(source)
    sh([clang(), "-O2", "-g", "-mcpu=v3", "-target", "bpf",
        "-D__TARGET_ARCH_x86", *include_options(), *options, "-c", path, "-o",
        path[:-1] + "o"])
    return path[:-1] + "o"


def compiled(name, source):
    """The object, until the test ends."""
    folder = tempfile.mkdtemp(prefix="bpfcc")
    cleanup(shutil.rmtree, folder)
    return compile_into(folder, name, source)
