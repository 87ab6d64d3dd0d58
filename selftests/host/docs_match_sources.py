#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The documents say what the sources say."""

import glob
import io
import os
import re
import subprocess
import sys
import tempfile

import docutils.core
import docutils.parsers.rst

import examples
from ktap import cleanup, expect, fail, run, test

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
DOCUMENTS = examples.documents(TOP)
DRIVERS = os.path.join(TOP, "drivers", "*")
BUILD = os.path.join(TOP, "selftests", "docs", "build")

# The files of the library whose sentences are about scans.
SCANS = [os.path.join(TOP, "tools", "lib", "blkbpf", name) for name in (
    "expr.c", "expr_gen.c", "expr_layout.c", "expr_lex.c", "expr_parse.c",
    "expr_value.c", "ops.c", "target.c", "user.c", "user_io.c", "user_job.c")]

STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
CALL = re.compile(r"\b(blk_bpf_refuse|csd_piece_fail|bpf_log|pr_err|eject|"
                  r"dev_warn)\(")
LIBRARY_CALL = re.compile(r"\b(blkbpf_err|expr_fail|OPS_ERR)\(")
CONVERSION = re.compile(r"%(?:pg|[-+ #0]*\d*(?:\.\*)?(?:hh?|ll?|z)?[a-zA-Z])")
# What a sentence of the library begins with, to say what it is about.
ABOUT = re.compile(r"^(scan: |where: |match: |…: program '…': |…: (?=\w))+")


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as file:
        return file.read()


def arguments(text, start):
    """The text between a call's parentheses; strings may hold some, too."""
    depth, place = 1, start
    while depth:
        string = STRING.match(text, place)
        if string:
            place = string.end()
            continue
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        place += 1
    return text[start:place - 1]


def sentences():
    """Every sentence of the module, as the documents write it."""
    found = {}
    for path in sorted(glob.glob(f"{DRIVERS}/*.c")):
        text = read(path)
        for call in CALL.finditer(text):
            given = "".join(STRING.findall(arguments(text, call.end())))
            given = given.replace(r"\n", "").replace(r"\"", '"')
            # "%s" alone passes on what was said elsewhere.
            if given and given != "%s":
                line = text.count("\n", 0, call.start()) + 1
                found.setdefault(CONVERSION.sub("…", given),
                                 f"{os.path.basename(path)}:{line}")
    return found


def library_sentences():
    """Those of the library about scans, without what they are about. Memory
    that is missing is known to everybody, and what others say is theirs."""
    found = {}
    for path in SCANS:
        text = read(path)
        for call in LIBRARY_CALL.finditer(text):
            given = "".join(STRING.findall(arguments(text, call.end())))
            for escape, meant in ((r'\"', '"'), (r"\\", "\\")):
                given = given.replace(escape, meant)
            given = ABOUT.sub("", CONVERSION.sub("…", given))
            if re.search(r"[a-z]{2}", given.replace("column", "")) and \
                    "out of memory" not in given:
                line = text.count("\n", 0, call.start()) + 1
                found.setdefault(given, f"{os.path.basename(path)}:{line}")
    return found


@test
def every_sentence_is_explained():
    """A user who gets a sentence that is not in errors.rst has to read the
    source."""
    explained = re.findall(r"^``(.+)``$", read("Documentation", "errors.rst"),
                           re.M)
    known = sentences()
    expect(len(known) > 40, what="sentences found in the sources")
    library = library_sentences()
    expect(len(library) > 60, what="sentences found in the library")
    known = {**library, **known}
    missing = [f"{known[text]}: {text}" for text in known
               if text not in explained]
    stale = [text for text in explained if text not in known]
    expect(missing, [], "sentences that errors.rst lacks")
    expect(stale, [], "sentences that no source has")
    expect(len(explained), len(set(explained)), "each sentence once")


@test
def sizes_are_those_of_the_header():
    """A struct that grew would be documented with its old size."""
    table = re.findall(r"^``(blk_bpf_\w+)`` +(\d+)$",
                       read("Documentation", "uapi.rst"), re.M)
    header = read("include", "uapi", "linux", "blk_bpf.h")
    expect(sorted(name for name, _ in table),
           sorted(re.findall(r"^struct (\w+) \{", header, re.M)),
           "structs in the table")
    offsets = re.findall(r"^(\d+) +\d(?: × \d)? +``(\w+)``",
                         read("Documentation", "uapi.rst"), re.M)
    expect(len(offsets) >= 9, what="offsets in the table")
    checks = [f'_Static_assert(sizeof(struct {name}) == {size}, "{name}");'
              for name, size in table]
    checks += [f"_Static_assert(__builtin_offsetof(struct blk_bpf_ctx, {name})"
               f' == {offset}, "{name}");' for offset, name in offsets]
    with tempfile.NamedTemporaryFile("w", suffix=".c") as source:
        source.write("#include <linux/blk_bpf.h>\n" + "\n".join(checks) + "\n")
        source.flush()
        done = subprocess.run(["gcc", "-fsyntax-only",
                               f"-I{TOP}/include/uapi", source.name],
                              capture_output=True, text=True, check=False)
    expect(done.returncode, 0, f"sizes: {done.stderr}")


class Sphinx(docutils.parsers.rst.Directive):
    """Takes what Sphinx's directives take, which docutils does not know."""

    has_content = True
    optional_arguments = 1
    option_spec = {"caption": str, "maxdepth": int}

    def run(self):
        return []


@test
def documents_are_well_formed():
    """A document with a broken table is shown with a hole where it was."""
    for name in ("toctree", "code-block"):
        docutils.parsers.rst.directives.register_directive(name, Sphinx)
    for path in DOCUMENTS:
        if not path.endswith(".rst"):
            continue
        complaints = io.StringIO()
        docutils.core.publish_doctree(
            read(path), source_path=os.path.basename(path),
            settings_overrides={"report_level": 1, "halt_level": 5,
                                "warning_stream": complaints})
        expect(complaints.getvalue(), "", os.path.basename(path))


@test
def files_that_documents_name_exist():
    """A document that names what is gone sends its reader astray."""
    named = re.compile(r"(?:`|\]\(|^ *)((?:[a-z_]+/)+[\w.*-]+|\w+\.(?:rst|[ch])"
                       r"|[A-Z]\w+/\w+\.rst)(?:`|\)|>|$)", re.M)
    folders = ("", "Documentation", "drivers/*", "include/uapi",
               "tools/lib/bpfvm", "tools/qemu")
    for path in DOCUMENTS:
        for name in named.findall(read(path)):
            if name.startswith(("build/", "sys/", "dev/")):
                continue
            if not any(glob.glob(os.path.join(TOP, folder, name))
                       for folder in folders):
                fail(f"{os.path.basename(path)}: there is no {name}")


@test
def functions_that_documents_name_exist():
    """The way to the hot path is of use while its signs are right."""
    sources = "".join(read(path) for folder in ("drivers/*", "include/*",
                                                "include/uapi/*",
                                                "tools/lib/bpfvm",
                                                "tools/lib/blkbpf")
                      for path in glob.glob(f"{TOP}/{folder}/*.[ch]"))
    for path in DOCUMENTS:
        for name in re.findall(r"`(\w+)\(\)`", read(path)):
            if not re.search(rf"\b{name}\(", sources) and \
                    name not in KERNEL_AND_LIBBPF:
                fail(f"{os.path.basename(path)}: nothing is named {name}()")


# What documents mention of others, and the sources do not call themselves.
KERNEL_AND_LIBBPF = {"bpf_map__attach_struct_ops", "bpf_for", "bpf_loop",
                     "reg", "unreg", "update", "cleanup"}


@test
def commands_for_this_machine_exist():
    """README.md is what a newcomer types first."""
    makefile = read("Makefile")
    targets = re.findall(r"^([a-z-]+):", makefile, re.M)
    for path in DOCUMENTS:
        for block in examples.blocks(path):
            if block.language != "sh":
                continue
            for command in examples.commands(block):
                where = f"{block.document}:{command.line}"
                for target in re.findall(r"\bmake (?:install )?([a-z-]+)",
                                         command.text):
                    expect(target in targets, what=f"{where}: make {target}")
                for script in re.findall(r"^selftests/\S+", command.text):
                    expect(os.access(os.path.join(TOP, script), os.X_OK),
                           what=f"{where}: {script}")


@test
def every_command_has_an_example():
    """A command without one is a command that nobody finds."""
    usage = read("tools", "blkbpf", "Documentation", "blkbpf.rst")
    names = re.findall(r"^\| \*\*blkbpf ([a-z ]+)\*\*", usage, re.M)
    expect(len(names) >= 10, what="commands in the synopsis")
    shown = "\n".join(command.text for path in DOCUMENTS
                      for block in examples.blocks(path)
                      if block.language == "console"
                      for command in examples.commands(block))
    missing = [name for name in names if name not in ("help", "version")
               and not re.search(rf"\bblkbpf {name}\b", shown)]
    expect(missing, [], "commands without an example")


@test
def objects_are_those_of_the_documents():
    """Guests would run the examples of an older README.md."""
    built = os.path.join(TOP, "build", "selftests", "docs")
    for path in DOCUMENTS:
        copy = os.path.join(built, examples.name_of(path),
                            os.path.basename(path))
        expect(os.path.exists(copy) and read(copy) == read(path),
               what=f"{os.path.relpath(copy, TOP)} is {path}; "
                    "make test-programs")


def build(folder):
    """Compile a tree's examples; what the compiling said."""
    done = subprocess.run([sys.executable, BUILD, folder], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          check=False)
    return done


@test
def programs_compile_from_an_empty_folder():
    """The command in README.md is all that a program outside of this tree
    has."""
    folder = tempfile.TemporaryDirectory()
    cleanup(folder.cleanup)
    done = build(os.path.join(folder.name, "docs"))
    expect(done.returncode, 0, f"status; it said {done.stderr}")
    wanted = sum(block.language == "c" for path in DOCUMENTS
                 for block in examples.blocks(path))
    made = glob.glob(f"{folder.name}/docs/*/*.bpf.o")
    expect(len(made), wanted, "objects")
    expect(wanted >= 5, what="programs in the documents")


@test
def shown_output_is_compared():
    """If "…" matched too much, no example could ever fail."""
    expect(examples.matches(["a …", "…", "end"], "a  b\nx\ny\nend\n"),
           what="as shown")
    for shown, printed in ((["a"], "b\n"), (["a"], "a\nb\n"), (["a", "b"], "a\n"),
                           (["a …"], "b c\n"), ([], "x\n"), (["a.c"], "abc\n"),
                           (["…", "end"], "x\n")):
        expect(not examples.matches(shown, printed),
               what=f"{shown} is not {printed!r}")


if __name__ == "__main__":
    run()
