#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""nvme_csd.py says what linux/nvme_csd.h says, and both what the standard does."""

import ctypes
import os
import re
import tempfile

import nvme_csd
from ktap import cleanup, expect, fail, run, sh, test

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
HEADER = os.path.join(TOP, "include", "uapi", "linux", "nvme_csd.h")

# Sizes that the base specification and public implementations give.
STANDARD_SIZES = {
    "nvme_csd_range": 32, "nvme_csd_copy_lba": 32, "nvme_csd_copy_lba_long": 40,
    "nvme_csd_copy_bytes": 32, "nvme_csd_log_reach_hdr": 16,
    "nvme_csd_reach_group": 32, "nvme_csd_reach_assoc": 32,
    "nvme_csd_log_programs_hdr": 64, "nvme_csd_log_program": 64,
    "nvme_csd_log_ptypes_hdr": 32, "nvme_csd_log_ptype": 32,
    "nvme_csd_log_range_set": 32, "nvme_csd_log_host_hdr": 16,
    "nvme_csd_log_host_entry": 16, "nvme_csd_id_ns_cp": 4096,
}


def header():
    with open(HEADER, encoding="utf-8") as file:
        return re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)


def python_name(struct):
    """nvme_csd_copy_lba_long is CopyLbaLong."""
    return "".join(word.capitalize()
                   for word in struct.removeprefix("nvme_csd_").split("_"))


def compiled(lines):
    """What a C program of those statements prints: {name: number}."""
    folder = tempfile.TemporaryDirectory(prefix="blkbpf-wire.")
    cleanup(folder.cleanup)
    source = os.path.join(folder.name, "print.c")
    with open(source, "w", encoding="utf-8") as file:
        print("#include <stddef.h>\n#include <stdio.h>\n"
              "#include <linux/nvme_csd.h>\n"
              "#define P(what, value) "
              'printf("%s %llu\\n", what, (unsigned long long)(value))\n'
              "int main(void)\n{", *lines, "\treturn 0;\n}", sep="\n",
              file=file)
    sh(["gcc", "-std=gnu11", "-Wall", "-Werror",
        f"-I{os.path.dirname(os.path.dirname(HEADER))}", source, "-o",
        f"{folder.name}/print"])
    return {name: int(value) for name, value in (
        line.split() for line in sh([f"{folder.name}/print"]).stdout.splitlines())}


@test
def constants_are_those_of_the_header():
    """If this breaks, tests use another number than the drive, or the header
    got a number that no test knows."""
    names = re.findall(r"^#define NVME_CSD_(\w+)[ \t]+\S", header(),
                       flags=re.MULTILINE)
    expect(len(names) > 100, what=f"constants found ({len(names)})")
    found = compiled(f'\tP("{name}", NVME_CSD_{name});' for name in names)
    wrong = {name: (value, getattr(nvme_csd, name, None))
             for name, value in found.items()
             if getattr(nvme_csd, name, None) != value}
    expect(wrong, {}, "differing constants: (header, nvme_csd.py)")
    ours = {name for name in vars(nvme_csd)
            if re.fullmatch(r"[A-Z][A-Z0-9_]+", name)}
    expect(sorted(ours - set(found)), [], "constants of nvme_csd.py alone")


@test
def structs_are_laid_out_as_in_the_header():
    """If this breaks, tests write fields where the drive does not look."""
    structs = re.findall(r"^struct (\w+) \{(.*?)^\}[^;]*;", header(),
                         flags=re.MULTILINE | re.DOTALL)
    expect(len(structs) > 20, what=f"structs found ({len(structs)})")
    lines, here = [], {}
    for struct, body in structs:
        kind = getattr(nvme_csd, python_name(struct), None)
        if kind is None:
            fail(f"nvme_csd.py has no {python_name(struct)}")
        lines.append(f'\tP("{struct}", sizeof(struct {struct}));')
        here[struct] = ctypes.sizeof(kind)
        fields = re.findall(r"(\w+)(?:\[\w+\])?;", body)
        expect([name for name, *_ in kind._fields_], fields,
               f"fields of {struct}")
        for field in fields:
            place = f"{struct}.{field}"
            lines.append(f'\tP("{place}@", offsetof(struct {struct}, {field}));')
            lines.append(f'\tP("{place}", '
                         f'sizeof(((struct {struct} *)0)->{field}));')
            here[f"{place}@"] = getattr(kind, field).offset
            here[place] = getattr(kind, field).size
    expect(here, compiled(lines), "sizes and offsets")


@test
def sizes_are_those_of_the_standard():
    """If this breaks, a host that knows the standard alone misreads the drive."""
    found = {struct: ctypes.sizeof(getattr(nvme_csd, python_name(struct)))
             for struct in STANDARD_SIZES}
    expect(found, STANDARD_SIZES, "sizes")


@test
def entries_after_lists_of_four_byte_numbers_need_no_more_alignment():
    """If this breaks, who reads logs 1Ah and 1Bh traps where unaligned accesses
    do."""
    structs = ("nvme_csd_reach_group", "nvme_csd_reach_assoc")
    expect(compiled(f'\tP("{name}", _Alignof(struct {name}));' for name in structs),
           dict.fromkeys(structs, 4), "alignment")


if __name__ == "__main__":
    run()
