#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""libblkbpf as somebody else's library: installed, found, linked, used."""

import os
import re
import shutil
import subprocess
import tempfile

import bpfcc
import examples
from ktap import cleanup, expect, expect_in, expect_match, run, sh, test, test_each

LIBRARY = os.path.join(bpfcc.TOP, "tools/lib/blkbpf")
BUILD = os.path.join(bpfcc.TOP, "build")
_installed = []


def prefix():
    """Where the library is installed, for all tests of this file."""
    if not _installed:
        folder = tempfile.mkdtemp(prefix="library")
        libbpf = sh([os.path.join(bpfcc.TOP, "tools/setup/get"), "libbpf"]).stdout
        sh(["make", "-C", LIBRARY, f"O={BUILD}", f"LIBBPF={libbpf.strip()}",
            f"PREFIX={folder}", "install"], timeout=300)
        _installed.append(folder)
    return _installed[0]


def pkg_config(*words):
    environment = {**os.environ, "PKG_CONFIG_PATH": f"{prefix()}/lib/pkgconfig"}
    return sh(["pkg-config", *words, "libblkbpf"], env=environment).stdout.split()


def example():
    """The C program of Documentation/user.rst."""
    path = os.path.join(bpfcc.TOP, "Documentation/user.rst")
    block, = (block for block in examples.blocks(path) if block.name == "find.c")
    return block.text


def build(source, *libraries):
    """Compile and link; the path of the program, until the test ends."""
    folder = tempfile.mkdtemp(prefix="library")
    cleanup(shutil.rmtree, folder)
    with open(f"{folder}/find.c", "w", encoding="ascii") as file:
        file.write(source)
    sh(["gcc", "-Wall", "-Werror", f"{folder}/find.c",
        *pkg_config("--cflags"), *libraries, "-o", f"{folder}/find"])
    return f"{folder}/find"


def found(program, *words):
    """Run it; (status, output, errors)."""
    done = subprocess.run([program, *words], capture_output=True, text=True,
                          check=False, timeout=60,
                          env={**os.environ, "LD_LIBRARY_PATH": f"{prefix()}/lib"})
    return done.returncode, done.stdout, done.stderr


@test_each(shared=False, static=True)
def the_documents_example_is_built_and_searches(static):
    """If this breaks, who follows the document has a program that does not link,
    or finds nothing."""
    expect(len(example().splitlines()) <= 40, what="lines of the example")
    libraries = pkg_config("--libs")
    if static:
        private = pkg_config("--static", "--libs")
        libraries = [f"{prefix()}/lib/libblkbpf.a",
                     *(word for word in private if word != "-lblkbpf")]
    program = build(example(), *libraries)
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(5000) + b"needle" + bytes(9000) + b"needle")
        file.flush()
        expect(found(program, "needle", file.name),
               (0, f"{file.name}: 5000\n{file.name}: 14006\n", ""), "what it found")
    status, out, err = found(program, "needle", "/nonexistent")
    expect((status, out), (1, ""), "status without a file")
    expect_in("find: /nonexistent: there is no such device", err, "sentence")
    needed = sh(["readelf", "-d", program]).stdout
    expect("libblkbpf.so.0" in needed, not static, "the shared library is needed")


@test
def the_shared_library_exports_what_the_header_declares():
    """If this breaks, a function of the header cannot be linked, or one that is
    nobody's business can."""
    with open(f"{LIBRARY}/libblkbpf.h", encoding="ascii") as file:
        header = file.read()
    declared = set(re.findall(r"\b(blkbpf_\w+)\(", re.sub(r"/\*.*?\*/", "", header,
                                                         flags=re.DOTALL)))
    declared -= {"blkbpf_log_fn"}
    listed = sh(["nm", "-D", "--defined-only", f"{prefix()}/lib/libblkbpf.so"]).stdout
    exported = {line.split()[2].split("@")[0] for line in listed.splitlines()
                if line.split()[1] == "T"}
    expect(exported, declared, "exported functions")


@test
def the_static_library_has_no_names_of_others():
    """If this breaks, a program with a function verify() or log_begin() of its own
    does not link."""
    listed = sh(["nm", "-A", "--defined-only", "--extern-only",
                 f"{prefix()}/lib/libblkbpf.a"]).stdout
    names = {line.split()[-1] for line in listed.splitlines()
             if ":libblkbpf.o:" in line}
    expect(len(names) > 30, what="names of the library")
    expect([name for name in names if not name.startswith("blkbpf_")], [],
           "names that are not the library's")


@test
def every_function_is_described():
    """If this breaks, a user of the library has to read its source."""
    with open(f"{LIBRARY}/libblkbpf.h", encoding="ascii") as file:
        header = file.read()
    for name in re.findall(r"LIBBLKBPF_API [^;]*?\b(blkbpf_\w+)\(", header):
        # The one that frees is described with the one that makes.
        if not name.endswith("_free"):
            expect(re.search(rf"^ \* {name} - ", header, re.M),
                   what=f"kernel-doc of {name}()")


USER = """
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <libblkbpf.h>

int main(int argc, char **argv)
{
	struct { struct blkbpf_scan_opts o; long more; } newer = {
		.o.sz = sizeof(newer),
	};
	struct { size_t sz; const char *target; } older = { sizeof(older), "user" };
	struct blkbpf_scan_opts unset = { .count = true };
	struct blkbpf_scan_result result = { .sz = 24 };
	struct blkbpf_object *obj = blkbpf_object__match("x");
	struct blkbpf_prog *prog = blkbpf_object__find_prog(obj, NULL);
	int fd = blkbpf_target_open("user", argv[argc - 1], NULL);

	result.matches = 77;
	printf("%d ", blkbpf_scan(prog, fd, NULL, NULL));
	printf("%d\\n", blkbpf_object__load_on(obj, "user"));
	printf("%d ", blkbpf_scan(prog, fd, (void *)&older, &result));
	/* What the caller's struct does not have is not written. */
	printf("%llu ", (unsigned long long)result.matches);
	printf("%d ", blkbpf_scan(prog, fd, &newer.o, NULL));
	newer.more = 1;
	printf("%d ", blkbpf_scan(prog, fd, &newer.o, NULL) == -EOPNOTSUPP);
	printf("%d ", blkbpf_scan(prog, fd, &unset, NULL) == -EINVAL);
	result.sz = 0;
	printf("%d ", blkbpf_scan(prog, fd, NULL, &result) == -EINVAL);
	printf("%d\\n", blkbpf_scan(prog, fd, &(struct blkbpf_scan_opts) {
		.sz = sizeof(unset), .target = "kernel" }, NULL) == -EINVAL);
	puts(blkbpf_last_error());
	blkbpf_prog__pin(prog, "/sys/fs/bpf/x");
	puts(blkbpf_last_error());
	blkbpf_object__close(obj);
	return 0;
}
"""


@test
def structs_of_older_and_newer_callers_are_understood():
    """If this breaks, a program has to be compiled again for each version."""
    program = build(USER, *pkg_config("--libs"))
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"xx")
        file.flush()
        status, out, err = found(program, file.name)
    expect((status, err), (0, ""), "status")
    lines = out.splitlines()
    expect(lines[0], "-22 0", "a scan before the load")
    expect(lines[1], "0 77 0 1 1 1 1", "scans")
    expect_match("is loaded on the target 'user', not on 'kernel'", lines[2],
                 "sentence")
    expect_match("only what is in the kernel can be pinned", lines[3], "sentence")


if __name__ == "__main__":
    try:
        run()
    finally:
        for path in _installed:
            shutil.rmtree(path)
