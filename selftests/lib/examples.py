# SPDX-License-Identifier: GPL-2.0
"""The examples in README.md and Documentation/*.rst.

A document's code blocks say by their language what becomes of them:

    c        a whole program, named NAME.bpf.c; compiled on this machine
    console  commands after "# " or "$ " and what they print, in a guest
    sh       commands for this machine
    text     a picture or a form; nothing is done with it

In what a command prints, a line "…" stands for any lines and "…" in a line for
any text; a run of blanks stands for any other.
"""

import collections
import os
import re

LANGUAGES = ("c", "console", "sh", "text")

Block = collections.namedtuple("Block", "document line language name text")
Command = collections.namedtuple("Command", "line text output")

FENCE = re.compile(r"^```(\S*)\s*(\S*)$")
DIRECTIVE = re.compile(r"^( *)\.\. code-block::\s*(\S*)\s*$")
CAPTION = re.compile(r"^ *:caption:\s*(\S+)\s*$")


class BadExample(Exception):
    """A document breaks the rules above; the message says where."""


def documents(top):
    """README.md and Documentation/*.rst, by path."""
    folder = os.path.join(top, "Documentation")
    return [os.path.join(top, "README.md")] + [
        os.path.join(folder, name) for name in sorted(os.listdir(folder))
        if name.endswith(".rst")]


def name_of(path):
    """The name by which tests know a document."""
    return os.path.splitext(os.path.basename(path))[0]


def markdown_blocks(document, lines):
    start = None
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if not fence:
            continue
        if start is None:
            start, language, name = number, fence[1], fence[2]
            continue
        yield Block(document, start + 1, language, name,
                    "\n".join(lines[start:number - 1]) + "\n")
        start = None


def indent_of(line):
    return len(line) - len(line.lstrip(" "))


def rst_blocks(document, lines):
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        directive = DIRECTIVE.match(line)
        if not directive:
            if line.rstrip().endswith("::") and not line.startswith(".."):
                raise BadExample(f"{document}:{number}: a literal block without "
                                 "a language: say .. code-block:: LANGUAGE")
            continue
        name = ""
        caption = CAPTION.match(lines[number])
        if caption:
            name = caption[1]
            number += 1
        while not lines[number].strip():
            number += 1
        start, margin = number, indent_of(lines[number])
        while number < len(lines) and (not lines[number].strip() or
                                       indent_of(lines[number]) >= margin):
            number += 1
        body = [text[margin:] for text in lines[start:number]]
        yield Block(document, start + 1, directive[2], name,
                    "\n".join(body).rstrip("\n") + "\n")


def check(block):
    where = f"{block.document}:{block.line}"
    if block.language not in LANGUAGES:
        raise BadExample(f"{where}: language '{block.language}': it is one of "
                         + ", ".join(LANGUAGES))
    if block.language == "c" and not block.name.endswith(".bpf.c"):
        raise BadExample(f"{where}: a program without its file's name, "
                         "NAME.bpf.c")
    return block


def blocks(path):
    """The code blocks of a document, in order."""
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    find = markdown_blocks if path.endswith(".md") else rst_blocks
    return [check(block) for block in find(os.path.basename(path), lines)]


def commands(block):
    """What a console or sh block runs, with what it shows for it."""
    found = []
    for number, line in enumerate(block.text.rstrip("\n").split("\n"),
                                  block.line):
        if found and found[-1].text.endswith("\\") and not found[-1].output:
            found[-1] = found[-1]._replace(text=f"{found[-1].text}\n{line}")
        elif block.language == "sh":
            if line.strip():
                found.append(Command(number, line, []))
        elif line.startswith(("# ", "$ ")):
            found.append(Command(number, line[2:], []))
        elif found:
            found[-1].output.append(line)
        else:
            raise BadExample(f"{block.document}:{number}: output before the "
                             "first command")
    return found


def squeeze(text):
    return " ".join(text.split())


def pattern(output):
    """A regular expression for the shown lines, blanks squeezed."""
    parts = []
    for line in output:
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*".join(re.escape(part) for part in
                                   squeeze(line).split("…")) + r"\n")
    return "".join(parts) + r"\Z"


def matches(output, printed):
    """Whether a command printed what its document shows."""
    text = "".join(squeeze(line) + "\n" for line in printed.split("\n")
                   if line.strip())
    return re.match(pattern([line for line in output if line.strip()]),
                    text) is not None
