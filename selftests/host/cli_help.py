#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The help, the man pages and the completion of blkbpf say the same."""

import glob
import os
import re
import shutil
import subprocess
import tempfile

from ktap import cleanup, expect, expect_in, expect_match, run, sh, skip, test

TOP = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..")
BLKBPF = os.environ.get("BLKBPF", os.path.join(TOP, "build/bin/blkbpf"))
SOURCE = os.path.join(TOP, "tools/blkbpf")


def commands():
    """The commands that 'blkbpf help' lists, as lists of words."""
    text = sh([BLKBPF, "help"]).stdout
    section = text.split("Commands:\n")[1].split("\n\n")[0]
    found = [re.split(r"  +", line.strip())[0].split()
             for line in section.splitlines()]
    expect(len(found) > 8, what="number of commands in the help")
    return found


def help_options(words, which="Options"):
    """The options in a command's --help, long and short."""
    text = sh([BLKBPF, *words, "--help"]).stdout
    section = re.search(rf"^{which}:\n((?:  .*\n)+)", text, re.M)
    if not section:
        return set()
    found = set(re.findall(r"^ {2,6}(?:(-\w), )?(--[\w-]+)",
                           section.group(1), re.M))
    expect(len(found) > 0, what=f"options in the help of {' '.join(words)}")
    return found


def flat(options):
    """{('-n', '--lines')} as {'-n', '--lines'}"""
    return {word for pair in options for word in pair if word}


def page_of(words):
    """The source of the man page that describes a command."""
    name = f"blkbpf-{words[0]}.rst"
    path = os.path.join(SOURCE, "Documentation", name)
    if not os.path.exists(path):
        path = os.path.join(SOURCE, "Documentation/blkbpf.rst")
    with open(path, encoding="ascii") as file:
        return file.read()


def page_options(page):
    """The options that a page defines: lines that begin with a dash."""
    return set(re.findall(r"(?:(?<=^)|(?<=, ))(--?[a-z][\w-]*)",
                          "\n".join(line for line in page.splitlines()
                                    if re.match(r"--?[a-z]", line)), re.M))


def complete(*words):
    """What bash offers for the last of the words."""
    script = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        'compopt() { :; }; _blkbpf; printf "%s\\n" "${COMPREPLY[@]}"')
    path = os.path.join(SOURCE, "bash-completion/blkbpf")
    out = sh(["bash", "-c", script, "bash", path, *words]).stdout
    return set(out.split())


@test
def each_command_has_help():
    """A command that is listed but not found would be a dead end."""
    for words in commands():
        text = sh([BLKBPF, *words, "--help"]).stdout
        expect_match(rf"\AUsage: blkbpf {' '.join(words)}\b", text)
        expect(sh([BLKBPF, "help", *words]).stdout, text,
               f"help {' '.join(words)}")
        expect(sh([BLKBPF, "--help", *words]).stdout, text,
               f"--help {' '.join(words)}")


@test
def object_alone_lists_its_commands():
    """'blkbpf prog --help' is what one types first."""
    text = sh([BLKBPF, "prog", "--help"]).stdout
    for command in ("prog load", "prog list", "prog show"):
        expect_in(command, text, "help of prog")


@test
def lines_fit_a_terminal():
    """Help that wraps at 80 columns cannot be read."""
    for words in commands() + [[]]:
        for line in sh([BLKBPF, *words, "--help"]).stdout.splitlines():
            expect(len(line) <= 80, what=f"80 columns: {line}")


@test
def man_page_has_each_option():
    """An option that is not in the manual does not exist for its reader."""
    for words in commands():
        options = flat(help_options(words))
        page = page_of(words)
        for option in options:
            expect(re.search(rf"(?m)^(-\w.*, )?{option}\b", page),
                   what=f"{option} in the man page of {' '.join(words)}")
    common = flat(help_options(["list"], "Options of every command"))
    expect(len(common), 8, "common options")
    expect(common <= page_options(page_of(["help"])),
           what="common options in blkbpf(8)")


@test
def man_page_has_no_other_options():
    """A manual that names options which are gone is worse than none."""
    known = {}
    for words in commands():
        known.setdefault(words[0], set()).update(flat(help_options(words)))
    for name, options in known.items():
        path = os.path.join(SOURCE, f"Documentation/blkbpf-{name}.rst")
        if os.path.exists(path):
            expect(page_options(page_of([name])), options,
                   f"options in blkbpf-{name}(8)")


@test
def each_object_has_a_man_page():
    """help and version are explained by blkbpf(8); all else has its own."""
    for words in commands():
        if words[0] in ("help", "version"):
            continue
        path = os.path.join(SOURCE, f"Documentation/blkbpf-{words[0]}.rst")
        expect(os.path.exists(path), what=f"{path} exists")
        expect_in(f"**blkbpf-{words[0]}**\\ (8)", page_of(["help"]),
                  "SEE ALSO of blkbpf(8)")
        expect_in(f"**blkbpf {' '.join(words)}**", page_of(["help"]),
                  "synopsis of blkbpf(8)")


@test
def man_pages_build():
    """A page with wrong markup would be installed as nonsense, or not at all."""
    rst2man = shutil.which("rst2man")
    if not rst2man:
        skip("rst2man (python3-docutils) is not installed")
    out = tempfile.mkdtemp()
    cleanup(shutil.rmtree, out)
    pages = glob.glob(os.path.join(SOURCE, "Documentation/*.rst"))
    expect(len(pages) > 5, what="number of pages")
    for page in pages:
        done = sh([rst2man, "--strict", page, os.path.join(out, "page")])
        expect(done.stderr, "", f"warnings for {page}")


@test
def completion_offers_each_option():
    """The completion's own tables must not fall behind the command's."""
    for words in commands():
        options = flat(help_options(words) |
                       help_options(words, "Options of every command"))
        offered = complete("blkbpf", *words, "-")
        expect(offered, options, f"completion of {' '.join(words)}")


@test
def completion_offers_each_command():
    """As above, for the words in front."""
    firsts = {words[0] for words in commands()}
    offered = {word for word in complete("blkbpf", "") if word[0] != "-"}
    expect(offered, firsts, "completion of the first word")
    progs = {words[1] for words in commands() if words[0] == "prog"}
    expect(complete("blkbpf", "prog", ""), progs, "completion of prog")
    expect(complete("blkbpf", "-j", "prog", ""), progs,
           "completion after an option")


@test
def completion_knows_options_with_arguments():
    """--unit 512 FILE DEVICE: the 512 must not count as the object file."""
    folder = tempfile.mkdtemp()
    cleanup(shutil.rmtree, folder)
    path = os.path.join(folder, "x.bpf.o")
    subprocess.run(["touch", path], check=True)
    expect_in(path, complete("blkbpf", "scan", "--unit", "512",
                             folder + "/"), "completion of an object file")
    expect("text" in complete("blkbpf", "scan", "--print", "t"),
           what="completion of --print")


if __name__ == "__main__":
    run()
