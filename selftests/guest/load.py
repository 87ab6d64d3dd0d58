#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --timeout 300
"""What is loaded, what is refused, and in which words."""

import errno
import glob
import os
import re
import struct
import subprocess
import threading

import blkbpf_abi as abi
import disks
import programs
from ktap import (cleanup, diag, expect, expect_in, expect_match, expect_raises,
                  fail, run, sh, test)
from programs import OBJECTS, Program, load_result


def refused_pattern(name):
    """From the bad program's own comment: " * Refused: PATTERN"."""
    with open(f"{OBJECTS}/bad/{name}.bpf.c", encoding="utf-8") as file:
        text = file.read()
    return expect_match(r"Refused: (.*?)(?:\s*\*/|\n)", text, name)[1]


def bad_program(name):
    def refuse():
        pattern = refused_pattern(name)
        pin = f"{programs.BPFFS}/bad"
        done = load_result(f"bad/{name}", pin=pin)
        if done.returncode == 0:
            os.unlink(pin)
            fail("it was loaded")
        diag(done.stderr)
        expect(done.returncode, 1, "exit status")
        expect_match(pattern, done.stderr, "what the command said")
        expect(not os.path.exists(pin), what="nothing is pinned")

    refuse.__name__ = f"refused_{name}"
    refuse.__doc__ = ("If this breaks, a program that must not run on a bio's "
                      "data is loaded, or refused without its own sentence.")
    test(refuse)


for path in sorted(glob.glob(f"{OBJECTS}/bad/*.bpf.c")):
    bad_program(os.path.basename(path)[:-len(".bpf.c")])


@test
def every_bad_program_has_its_sentence():
    """If this breaks, a bad program lies about that no test looks at."""
    names = {os.path.basename(path)[:-len(".bpf.c")]
             for path in glob.glob(f"{OBJECTS}/bad/*.bpf.c")}
    objects = {os.path.basename(path)[:-len(".bpf.o")]
               for path in glob.glob(f"{OBJECTS}/bad/*.bpf.o")}
    expect(objects, names, "objects in bad/")
    expect(len(names) > 20, what="bad programs found")


@test
def loads_what_every_member_allows():
    """If this breaks, a limit is refused that the documents promise."""
    for name, unit, overlap in (("by_default", 4096, 0),
                                ("largest", 32768, 4096), ("smallest", 1, 0)):
        program = Program("settings", name)
        cleanup(program.close)
        listed = sh(["blkbpf", "-j", "prog", "list"]).stdout
        expect_match(rf'"unit": ?{unit}, ?"overlap": ?{overlap}\b', listed,
                     "prog list")


@test
def state_words_take_narrow_and_atomic_writes():
    """If this breaks, the only writable part of ctx is not writable as said."""
    program = Program("state")
    cleanup(program.close)
    device = disks.opened(disks.loop(bytes(range(16)) + bytes(4080)))
    with abi.Control() as control:
        control.scan(program.fd, device)
    words = struct.unpack_from("<5Q", program.globals())
    expect(words, (0x2200000000000011, 0x3333, 0x44444444, 10, sum(range(16))),
           "state words, and what the static function read")


UNPRIVILEGED = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                "--inh-caps=-all", "--bounding-set=-all"]


@test
def load_without_privilege_says_what_it_needs():
    """If this breaks, a user reads that the kernel lacks the type, and it does
    not."""
    done = subprocess.run([*UNPRIVILEGED, "blkbpf", "prog", "load",
                           f"{OBJECTS}/probe.bpf.o"],
                          capture_output=True, text=True, check=False)
    diag(done.stderr)
    expect(done.returncode, 1, "exit status")
    expect_in("CAP_SYS_ADMIN", done.stderr, "what the command said")


@test
def attaching_ioctls_need_privilege():
    """If this breaks, any user sees or changes what runs on live I/O."""
    child = ("import blkbpf_abi as abi\n"
             "control = abi.Control()\n"
             "def denied(call, *args):\n"
             "    try:\n"
             "        call(*args)\n"
             "    except abi.Refused as refused:\n"
             "        print(refused.errno, refused.sentence)\n"
             "denied(control.attach, 0, 0)\n"
             "denied(control.list)\n"
             "denied(control.missed, 1)\n"
             "denied(control.stream, 1)\n"
             "denied(control.drain)\n"
             "print('features', control.features().abi)\n")
    done = sh([*UNPRIVILEGED, "/usr/bin/python3", "-c", child])
    lines = done.stdout.splitlines()
    expect(len(lines), 6, "lines")
    for line in lines[:5]:
        expect_match(rf"^{errno.EPERM} .*CAP_SYS_ADMIN", line, "refusal")
    expect(lines[5], "features 1", "what needs none")




@test
def last_message_is_the_threads_own_and_read_once():
    """If this breaks, a loader shows another's sentence, or none."""
    with abi.Control() as control:
        control.last_msg()
        expect(control.last_msg(), None, "before anything went wrong")
        small = Program("settings", "by_default")
        large = Program("settings", "largest")
        cleanup(small.close)
        cleanup(large.close)
        device = disks.opened(disks.loop(1 << 20))
        link = small.link()
        cleanup(os.close, link)
        control.attach(link, device)
        expect_raises(OSError, programs.update_link, link, large)
        heard = []
        other = threading.Thread(target=lambda: heard.append(control.last_msg()))
        other.start()
        other.join()
        expect(heard, [None], "what another thread is told")
        expect_match(r"unit 4096 and overlap 0, the new one 32768 and 4096",
                     control.last_msg() or "", "the sentence")
        expect(control.last_msg(), None, "the second time")


@test
def features_say_what_the_header_says():
    """If this breaks, a library chooses wrongly what to ask for."""
    with abi.Control() as control:
        got = control.features()
    expect(got.abi, 1, "abi")
    expect(got.ctx_size, 128, "ctx_size")
    expect(got.features, 0x7F, "features")
    expect((got.scan_flags, got.attach_flags), (3, 15), "flags")
    expect((got.unit_max, got.overlap_max), (32768, 4096), "maxima")
    expect(got.threads_max, os.cpu_count(), "threads")
    expect(got.pad, 0, "pad")


@test
def headers_are_checked_for_every_ioctl():
    """If this breaks, a field that is ignored today cannot get a meaning."""
    with abi.Control() as control:
        for kind in abi.COMMANDS:
            arg = kind()
            arg.hdr.pad = 7
            error = expect_raises(abi.Refused, control.call, arg,
                                  errno=errno.EINVAL)
            expect_in("hdr.pad is 0x7", error.sentence, kind.__name__)
            error = expect_raises(abi.Refused, control.call, kind(),
                                  1 << 31, errno=errno.EINVAL)
            expect_in("unknown flags 0x80000000", error.sentence, kind.__name__)
            # Shorter than what its first version had.
            expect_raises(abi.Refused, control.call, kind(),
                          size=abi.ctypes.sizeof(abi.Hdr) - 8,
                          errno=errno.EINVAL)
            expect_raises(abi.Refused, control.call, kind(), size=1 << 20,
                          errno=errno.EINVAL)


class Longer(abi.Struct):
    _fields_ = [("known", abi.Features), ("news", abi.c_uint64)]


@test
def a_longer_struct_is_taken_if_its_news_are_zero():
    """If this breaks, a newer library cannot talk to this kernel, or asks for
    what is silently ignored."""
    with abi.Control() as control:
        for news, number in ((0, 0), (1, errno.E2BIG)):
            arg = Longer(news=news)
            arg.known.hdr.size = abi.ctypes.sizeof(arg)
            try:
                abi.raw_ioctl(control.fd, abi.COMMANDS[abi.Features],
                              abi.ctypes.addressof(arg))
                got = 0
            except OSError as error:
                got = error.errno
            expect(got, number, f"errno with news = {news}")
        expect(arg.news, 1, "what the kernel does not know stays")


@test
def a_short_message_buffer_gets_a_shortened_sentence():
    """If this breaks, a sentence is written past a caller's buffer."""
    with abi.Control() as control:
        for room, wanted in ((0, ""), (1, ""), (12, "unknown fla")):
            error = expect_raises(abi.Refused, control.call, abi.Features(),
                                  1, msg_len=room, errno=errno.EINVAL)
            expect(error.sentence, wanted, f"in {room} bytes")


@test
def unknown_ioctls_are_no_ioctls():
    """If this breaks, an older kernel cannot be told from a refusal."""
    with abi.Control() as control:
        for command in (0xC018BF3F, 0xC020BE00, 0x8020BF00, 0x40000000):
            expect_raises(OSError, abi.raw_ioctl, control.fd, command, 0,
                          errno=errno.ENOTTY)
        expect_raises(OSError, abi.raw_ioctl, control.fd,
                      abi.COMMANDS[abi.Features], 0, errno=errno.EFAULT)


@test
def module_stays_while_a_program_is_loaded():
    """If this breaks, rmmod frees what a loaded program calls."""
    program = Program("pair", "pair_0")
    done = sh(["rmmod", "blk_bpf"], check=False)
    expect(done.returncode != 0, what="rmmod is refused")
    expect(re.search("in use|busy", done.stderr, re.I) is not None,
           what=f"rmmod says why: {done.stderr!r}")
    program.close()


if __name__ == "__main__":
    run()
