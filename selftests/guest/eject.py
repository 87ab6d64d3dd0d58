#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 120 --nvme {img:2M}
"""Programs that are too slow for live I/O, and what is said of an ejected one.

The slow program goes round a loop; how often is measured first, so that a call
takes what the test wants on this machine.
"""

import ctypes
import errno
import json
import os
import select
import socket
import threading

import blkbpf_abi as abi
import disks
from attaching import Attached, settled
from disks import DirectFile, opened
from ktap import (cleanup, diag, expect, expect_in, expect_match, expect_raises,
                  run, sh, test, test_each)
from programs import borrow, update_link

DISK = "/dev/nvme0n1"
DATA = disks.random_bytes(2 << 20)
UNIT = 4096
EVERYWHERE = (0, 1 << 63)
# Far below what a slow call takes here, far above what a quick one does.
BUDGET = 5_000_000
SLOW_NS = 120_000_000

_rounds = {}


def slow(path=DISK, where=EVERYWHERE, ns=SLOW_NS, **kwargs):
    """The slow program on a disk: a call takes about that long."""
    if "second" not in _rounds:
        probe, nr = Attached(path, name="slow", program=None,
                             args=(1 << 20, *EVERYWHERE),
                             budget_ns=abi.BUDGET_NONE), 4
        for _ in range(nr):
            DirectFile(path).read(0, UNIT)
        _rounds["second"] = (nr << 20) * 10 ** 9 // probe.counters().time_ns
        diag(f"{_rounds['second']} rounds a second")
        probe.detach()
    # bpf_loop() goes round at most 8 Mi times
    rounds = min(_rounds["second"] * ns // 10 ** 9, 1 << 23)
    return Attached(path, name="slow", program=None, args=(rounds, *where),
                    **kwargs)


def calls(attached):
    return attached.counters().runs


def calls_of(program):
    """How often one was called: its first global variable."""
    return int.from_bytes(program.globals()[:8], "little")


def reads(file, nr, pos=0, size=UNIT):
    """That many reads; what comes must be right whatever the program does."""
    for _ in range(nr):
        expect(file.read(pos, size) == DATA[pos:pos + size], what="what is read")


def read_until_ejected(attached, file, most=200, **kwargs):
    for _ in range(most):
        reads(file, 1, **kwargs)
        if attached.counters().state == abi.EJECTED:
            return
    raise AssertionError(f"not ejected after {most} reads: "
                         f"{attached.counters()}")


class Uevents:
    """What the kernel tells udev, from now on."""

    def __init__(self):
        # AF_NETLINK, NETLINK_KOBJECT_UEVENT
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15)
        self.socket.bind((0, 1))
        cleanup(self.socket.close)

    def next_of_ours(self, seconds=10):
        """The variables of the next event of the control device, or None."""
        while select.select([self.socket], [], [], seconds)[0]:
            _, *lines = self.socket.recv(1 << 16).decode().split("\0")
            found = dict(line.split("=", 1) for line in lines if "=" in line)
            if found.get("DEVNAME") == "blk_bpf":
                return found
        return None


@test
def a_program_over_its_budget_is_ejected_and_io_goes_on():
    """If this breaks, a slow program holds a disk up for ever."""
    file = DirectFile(DISK)
    attached = slow(budget_ns=BUDGET)
    other = Attached(DISK, priority=1)
    events, uevents = attached.stream(), Uevents()
    read_until_ejected(attached, file, pos=8192)
    counters = attached.counters()
    expect(counters.time_ns > abi.BUDGET_SLACK_NS,
           what=f"time used up, {counters.time_ns}")
    expect((counters.exit, counters.exit_op, counters.exit_pos,
            counters.exit_len, counters.budget_ns),
           (abi.EXIT_BUDGET, abi.OP_READ, 8192, UNIT, BUDGET), "exit record")
    expect(counters.exit_value > BUDGET, what="time of the last bio")
    expect(counters.exit_time_ns > 0, what="when")
    expect_match(rf"longer than its budget of {BUDGET} ns a call, .* last bio "
                 rf"took {counters.exit_value} ns", counters.reason.decode(),
                 "reason")
    event, = events.take(1)
    expect((event.type, event.value, event.pos, event.len),
           (abi.EVENT_EJECTED, -errno.ETIME, 8192, UNIT), "event")
    found = uevents.next_of_ours()
    expect({key: found.get(key) for key in (
        "ACTION", "BLK_BPF_EVENT", "BLK_BPF_ID", "BLK_BPF_PROGRAM",
        "BLK_BPF_DISK", "BLK_BPF_POS", "BLK_BPF_REASON")},
           {"ACTION": "change", "BLK_BPF_EVENT": "ejected",
            "BLK_BPF_ID": str(attached.id), "BLK_BPF_PROGRAM": "slow",
            "BLK_BPF_DISK": "nvme0n1", "BLK_BPF_POS": "8192",
            "BLK_BPF_REASON": counters.reason.decode()}, "uevent")
    seen = other.counters().bios
    expect(seen, counters.bios, "bios of the other program")
    reads(file, 10)
    expect(calls(attached), counters.runs, "calls after the ejection")
    expect(other.counters().bios, seen + 10, "bios of the other program")


@test
def a_slow_call_is_made_up_for_by_quick_ones():
    """If this breaks, an interrupt or a hypervisor has a good program
    ejected."""
    file = DirectFile(DISK)
    attached = slow(where=(0, UNIT), budget_ns=BUDGET)
    # More in all than would be forgiven: how many calls that are is the machine's.
    while (counters := attached.counters()).time_ns <= abi.BUDGET_SLACK_NS:
        reads(file, 1)
        reads(file, 50, pos=8192)
        expect(counters.state, abi.LIVE, f"state; {counters.reason}")
    expect(counters.state, abi.LIVE, f"state; {counters.reason}")


@test
def without_a_limit_a_program_takes_as_long_as_it_likes():
    """If this breaks, there is no way to run a slow program."""
    file = DirectFile(DISK)
    attached = slow(budget_ns=abi.BUDGET_NONE)
    while attached.counters().time_ns < 2 * abi.BUDGET_SLACK_NS:
        reads(file, 1)
    expect(attached.counters().state, abi.LIVE, "state")


@test
def a_bio_of_many_units_does_not_multiply_the_time():
    """If this breaks, a slow program is called for every unit of a large read
    before anybody looks at the clock."""
    file = DirectFile(DISK)
    attached = slow(budget_ns=BUDGET)
    reads(file, 1, size=1 << 20)
    counters = attached.counters()
    expect((counters.state, counters.exit), (abi.EJECTED, abi.EXIT_BUDGET),
           "state, exit")
    took = counters.time_ns / counters.runs
    diag(f"{counters.runs} of 256 calls, {took / 1e6:.0f} ms each")
    expect(counters.runs * took < abi.BUDGET_SLACK_NS + 3 * took + BUDGET * 256,
           what="no more calls than it takes to find out")
    expect(counters.runs < 256, what="calls")
    expect(counters.exit_pos, (counters.runs - 1) * UNIT, "the last unit")


@test
def a_new_program_does_not_owe_what_the_old_one_did():
    """If this breaks, a mended program is ejected for the broken one's time."""
    file = DirectFile(DISK)
    attached = slow(budget_ns=BUDGET)
    read_until_ejected(attached, file)
    update_link(attached.link, borrow("slow"))
    counters = attached.counters()
    expect((counters.state, counters.exit, counters.reason, counters.exit_pos),
           (abi.LIVE, abi.EXIT_NONE, b"", 0), "state and exit record")
    before = counters.runs
    reads(file, 1)
    expect((calls(attached), attached.counters().state),
           (before + 1, abi.LIVE), "calls, and state, of the new program")
    read_until_ejected(attached, file)


def reading_on_cpu_0(path, size):
    """A thread that reads the beginning there."""
    file = DirectFile(path)

    def work():
        os.sched_setaffinity(0, {0})
        file.read(0, size)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@test
def what_an_update_overtakes_is_not_charged_to_the_new_program():
    """If this breaks, a mended program is ejected for the last calls of the
    broken one, which ended after the update."""
    null = disks.NullBlk(size=4, irqmode=0)
    new = borrow("slow")
    os.sched_setaffinity(0, {1})
    cleanup(os.sched_setaffinity, 0, {0, 1})
    attached = slow(null.path, budget_ns=BUDGET)
    # All of these take far longer than the slack, one does not.
    thread = reading_on_cpu_0(null.path, 64 * UNIT)
    expect(settled(lambda: calls_of(attached.program) > 0, True), True,
           "the old program is called")
    update_link(attached.link, new)
    expect(thread.is_alive(), what="its bio is not through yet")
    thread.join()
    expect(attached.counters().time_ns > abi.BUDGET_SLACK_NS,
           what="the old program has used up its time")
    reading_on_cpu_0(null.path, UNIT).join()
    expect((calls_of(new), attached.counters().state), (1, abi.LIVE),
           "calls and state of the new program")


@test
def each_cpu_and_context_has_an_account_of_its_own():
    """If this breaks, quick calls of one CPU pay for slow ones of another."""
    null = disks.NullBlk(size=4, irqmode=0, submit_queues=2)
    disks.write_all(null.path, DATA)
    disks.drop_caches()
    file = DirectFile(null.path)
    os.sched_setaffinity(0, {0})
    cleanup(os.sched_setaffinity, 0, {0, 1})
    attached = slow(null.path, where=(0, UNIT), budget_ns=BUDGET)
    for _ in range(200):
        reads(file, 1)
        if attached.counters().state == abi.EJECTED:
            break
        os.sched_setaffinity(0, {1})
        reads(file, 50, pos=8192)
        os.sched_setaffinity(0, {0})
    counters = attached.counters()
    expect((counters.state, counters.exit_pos), (abi.EJECTED, 0), "state, where")


@test
def what_was_returned_is_in_the_exit_record():
    """If this breaks, one has to take a sentence apart to learn why."""
    attached = Attached(DISK, args=(0, 77, 4096, 8192))
    uevents = Uevents()
    reads(DirectFile(DISK), 1, size=16384)
    counters = attached.counters()
    expect((counters.exit, counters.exit_value, counters.exit_pos,
            counters.exit_len, counters.budget_ns),
           (abi.EXIT_RETURN, 77, 4096, UNIT, abi.BUDGET_DEFAULT),
           "exit record and default budget")
    expect_in("returned 77", uevents.next_of_ours()["BLK_BPF_REASON"], "uevent")


@test
def the_command_says_why_and_where():
    """If this breaks, a person sees that a program is gone, and no more."""
    attached = Attached(DISK, args=(0, 77, 4096, 8192))
    reads(DirectFile(DISK), 1, size=16384)
    where = f"ejected at read 4096 {UNIT}: the filter returned 77"
    expect_in(where, sh(["blkbpf", "list", DISK]).stdout, "list")
    entry, = json.loads(sh(["blkbpf", "-j", "list", DISK]).stdout)
    expect((entry["state"], entry["exit"]["kind"], entry["exit"]["value"],
            entry["exit"]["op"], entry["exit"]["pos"], entry["exit"]["len"]),
           ("ejected", "return", 77, "read", 4096, UNIT), "list -j")
    program = str(attached.program.map_id())
    expect_in(where, sh(["blkbpf", "prog", "show", program]).stdout,
              "prog show")
    shown = json.loads(sh(["blkbpf", "-j", "prog", "show", program]).stdout)
    shown, = shown if isinstance(shown, list) else [shown]
    expect([held["exit"]["kind"] for held in shown["attachments"]], ["return"],
           "prog show -j")


@test_each(microseconds=("50us", 50_000), seconds=("2s", 2 * 10 ** 9),
           none=("none", abi.BUDGET_NONE), not_given=(None, abi.BUDGET_DEFAULT))
def the_command_sets_a_budget(text, wanted):
    """If this breaks, --budget means something else than it says."""
    options = ["--budget", text] if text else []
    made = json.loads(sh(["blkbpf", "-j", "attach", *options,
                          f"{os.environ['BLKBPF_SAMPLES']}/count_zero.bpf.o",
                          DISK]).stdout)
    cleanup(sh, ["blkbpf", "detach", str(made["id"])])
    entry, = json.loads(sh(["blkbpf", "-j", "list", str(made["id"])]).stdout)
    expect(entry["budget_ns"], wanted, "budget")


@test_each(no_unit=("5",), zero=("0ns",), word=("fast",), negative=("-1us",),
           overflow=("99999999999999999999s",), too_long=("6000000000000s",))
def a_budget_that_is_no_time_is_refused(text):
    """If this breaks, a typing error becomes some other budget."""
    done = sh(["blkbpf", "attach", f"--budget={text}", "x.bpf.o", DISK],
              check=False)
    expect(done.returncode, 2, "status")
    expect_in(f"--budget {text}: is not a time", done.stderr, "sentence")


@test
def a_budget_beyond_the_most_is_refused():
    """If this breaks, a budget in a wrong unit is taken for a right one."""
    program = borrow("probe", "probe_4096_0")
    link, device = program.link(), opened(DISK)
    cleanup(os.close, link)
    with abi.Control() as control:
        refused = expect_raises(abi.Refused, control.attach, link, device,
                                budget_ns=abi.BUDGET_MAX + 1,
                                errno=errno.EINVAL)
        expect_in("BLK_BPF_BUDGET_NONE", refused.sentence, "sentence")
        control.attach(link, device, budget_ns=abi.BUDGET_MAX)


@test
def a_caller_of_the_first_header_is_understood():
    """If this breaks, a struct cannot grow: old programs get -EINVAL."""
    program = borrow("probe", "probe_4096_0")
    link, device = program.link(), opened(DISK)
    cleanup(os.close, link)
    control = abi.Control()
    cleanup(control.close)
    old = abi.Attach.budget_ns.offset
    arg = abi.Attach(link_fd=link, dev_fd=device, budget_ns=7)
    control.call(arg, size=old)
    expect(arg.budget_ns, 7, "a field behind the end of the caller's struct")
    attachment = control.get(arg.id)
    expect(attachment.budget_ns, abi.BUDGET_DEFAULT, "budget")
    refused = expect_raises(abi.Refused, control.call,
                            abi.Attach(link_fd=link, dev_fd=device), size=old - 8,
                            errno=errno.EINVAL)
    expect(refused.arg.id, 0, "id of a struct that is too short")

    for size in (abi.Attachment.budget_ns.offset, ctypes.sizeof(abi.Attachment),
                 ctypes.sizeof(abi.Attachment) + 64):
        memory = (ctypes.c_uint8 * (size + 8)).from_buffer(
            bytearray(b"\xff" * (size + 8)))
        control.call(abi.List(nr=1, entry_size=size,
                              entries=ctypes.addressof(memory)))
        known = min(size, ctypes.sizeof(abi.Attachment))
        expect(bytes(memory)[:known] == bytes(attachment)[:known],
               what=f"an entry of {size} bytes")
        expect(bytes(memory)[known:], bytes(size - known) + b"\xff" * 8,
               "what lies behind it")


if __name__ == "__main__":
    disks.write_all(DISK, DATA)
    run()
