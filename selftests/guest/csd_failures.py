#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 400 --csd {img:2M},fault=execute@3:hang
# vm: --csd {img:2M},fault=slm-copy@2:fail=0x281
# vm: --csd {img:2M},fault=load@1:corrupt;execute@2:fail=0x6
# vm: --csd {img:2M},slm-size=1M
# vm: --csd {img:2M},fuel=200000
# vm: --csd {img:2M},fault=execute@*:delay=150
# vm: --csd {img:2M},fault=slm-copy@*:fail=0x281
"""Drives that fail, are reset or go away: a scan ends with a sentence and with
what it found, and the next one is as if nothing had been."""

import atexit
import errno
import os
import signal
import threading
import time

import blkbpf_abi as abi
import csdprog
import csds
import disks
import kernel_log
import oracle
from disks import opened
from ktap import cleanup, expect, expect_in, expect_raises, run, skip, test
from scans import expect_matches, loaded

SIZE = 2 << 20
DATA = disks.random_bytes(SIZE, values=6)
HANGS, MEDIA, CORRUPT, SMALL, FUEL, SLOW, UNREADABLE = (
    f"csd{number}" for number in range(7))
PAIRS = oracle.pairs(DATA, [(0, SIZE)], 3, 4, 4096, 63)
TIMEOUT = "/sys/module/nvme_csd/parameters/timeout_ms"


def scan(drive, control=None, **kwargs):
    fd = os.open(csds.disk_of(drive), os.O_RDONLY)
    try:
        with abi.Control() if control is None else control as control:
            return control.scan(loaded("pair", "pair_63").fd, fd, None, (3, 4),
                                target=drive, image=csds.image("pair", "pair_63"),
                                **kwargs)
    finally:
        os.close(fd)


def check_whole(drive):
    """The drive finds everything, and holds no memory afterwards."""
    found = scan(drive)
    expect(found.status, abi.DONE, "status")
    expect_matches(found.matches, PAIRS, drive)
    expect(csds.attribute(drive, "slm_free"), csds.attribute(drive, "slm_size"),
           "memory after the scan")
    return found


def check_rest(error):
    """What was found before the error, and the rest on the kernel target."""
    rest = error.arg.cursor
    expect_matches(error.found.matches,
                   [match for match in PAIRS if match[0] < rest.pos], "before it")
    with abi.Control() as control:
        found = control.scan(loaded("pair", "pair_63").fd,
                             opened(csds.disk_of(MEDIA)), None,
                             (3, 4), cursor=rest)
    expect_matches(error.found.matches + found.matches, PAIRS, "with the rest")


@test
def a_program_that_hangs_is_aborted():
    """If this breaks, a hung engine hangs the process, or costs what was found
    before."""
    disks.write_attribute(TIMEOUT, 1500)
    cleanup(disks.write_attribute, TIMEOUT, 10000)
    error = expect_raises(abi.Refused, scan, HANGS, errno=errno.ETIMEDOUT)
    expect_in("csd0 did not run the program", error.sentence)
    expect_in("within 1500 ms", error.sentence)
    check_rest(error)
    check_whole(HANGS)


@test
def a_block_that_is_read_the_second_time_costs_nothing():
    """If this breaks, a scan gives up where a read succeeds in smaller parts."""
    check_whole(MEDIA)


@test
def an_unreadable_device_is_said_to_be_so():
    """If this breaks, a read error of the drive is another than the kernel's."""
    error = expect_raises(abi.Refused, scan, UNREADABLE, errno=errno.ENODATA)
    expect_in("the device could not read the unit at 0 (error -61)",
              error.sentence)
    expect(error.found.matches, [], "matches")


@test
def a_program_that_was_damaged_on_its_way_is_refused():
    """If this breaks, a drive runs something else than was sent, or the next
    download is refused too."""
    error = expect_raises(abi.Refused, scan, CORRUPT, errno=errno.ENOEXEC)
    expect_in("csd2 refuses the program: ", error.sentence)
    # The second Execute of the drive fails.
    error = expect_raises(abi.Refused, scan, CORRUPT, errno=errno.EREMOTEIO)
    expect_in("csd2 could not run the program", error.sentence)
    expect_in("internal error (status 0x6)", error.sentence)
    check_rest(error)
    check_whole(CORRUPT)


@test
def little_memory_makes_small_pieces():
    """If this breaks, a drive with little memory, or one that others use, is of
    no use."""
    found = check_whole(SMALL)
    expect(found.stats.reads > 8, what=f"{found.stats.reads} copies")


@test
def a_limit_of_one_execute_is_none_of_the_scan():
    """If this breaks, a program has to be quick enough for a whole piece."""
    check_whole(FUEL)


@test
def a_unit_that_exceeds_the_limit_is_an_error():
    """If this breaks, a program without end keeps a scan for ever."""
    error = expect_raises(abi.Refused, scan, FUEL, unit=32768,
                          errno=errno.ETIMEDOUT)
    expect_in("csd4 ended the program in the unit at 0", error.sentence)
    expect_in("use a smaller unit, or the target kernel", error.sentence)


@test
def a_program_that_reaches_outside_is_ended():
    """If this breaks, a fault in the middle of a scan costs what was found before
    it, or reads what is no data."""
    # Matches every unit, and reads the byte at a 64th of its position.
    image = csdprog.Image(
        [csdprog.load64(2, 1, 0), csdprog.load64(3, 1, 8), csdprog.load64(4, 2, 8),
         csdprog.insn(0x77, 4, imm=6), csdprog.add_reg(3, 4),
         csdprog.insn(0x71, 0, 3), csdprog.mov(0, abi.MATCH), csdprog.EXIT],
        overlap=63).pack()
    fd = opened(csds.disk_of(MEDIA))
    with abi.Control() as control:
        error = expect_raises(abi.Refused, control.scan,
                              loaded("pair", "pair_63").fd, fd, target=MEDIA,
                              image=image, errno=errno.EFAULT)
    # A unit sees 63 bytes behind it.
    bad = (4096 + 63) * 64 // 4096 * 4096
    bad += 4096 if bad < (4096 + 63) * 64 else 0
    expect_in(f"csd1 ended the program in the unit at {bad}, at instruction 5: it "
              "reached outside of what its pointers point to", error.sentence)
    expect_matches(error.found.matches, [(pos, 4096) for pos in range(0, bad, 4096)],
                   "before it")
    expect(error.arg.cursor.pos, bad, "cursor")
    check_whole(MEDIA)


def background(function, *args):
    """Run in a thread; the returned function waits for its result or error."""
    result = []

    def call():
        try:
            result.append(function(*args))
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=call)
    thread.start()

    def wait():
        thread.join(60)
        expect(thread.is_alive(), False, "the scan is still there")
        return result[0]

    return wait


def wait_for_scan(drive, scans="1"):
    csds.wait_for_attribute(drive, "scans", scans)


def controller(drive):
    return f"/sys/class/nvme/{csds.attribute(drive, 'controller')}"


@test
def a_reset_ends_the_scan_and_the_next_one_loads_again():
    """If this breaks, a reset hangs a scan, or the drive runs nothing after it."""
    scan(SLOW)
    wait = background(scan, SLOW)
    wait_for_scan(SLOW)
    disks.write_attribute(f"{controller(SLOW)}/reset_controller", 1)
    error = wait()
    if isinstance(error, abi.Refused):
        expect(error.errno, errno.ENOTRECOVERABLE, "errno")
        expect_in("csd5 was reset when the scan was at", error.sentence)
        check_rest(error)
    else:
        expect_matches(error.matches, PAIRS, "the scan was quicker")
    found = check_whole(SLOW)
    expect(found.path.loads, 1, "programs loaded after the reset")


@test
def a_reset_between_scans_is_not_noticed():
    """If this breaks, a scan fails because of a reset that was before it."""
    check_whole(SLOW)
    disks.write_attribute(f"{controller(SLOW)}/reset_controller", 1)
    found = check_whole(SLOW)
    expect(found.path.loads, 1, "programs loaded")
    # The same for variables, which are written before the first Execute.
    image = csds.image("probe", "probe_4096_0")
    values = csds.initial(image)
    for _ in range(2):
        with abi.Control() as control:
            control.scan(loaded("probe", "probe_4096_0").fd, opened(csds.disk_of(SLOW)),
                         [(0, 65536)], (3,), target=SLOW, image=image,
                         values=values)
        disks.write_attribute(f"{controller(SLOW)}/reset_controller", 1)
    expect(int.from_bytes(values[:8], "little"), 32, "calls")


@test
def a_drive_that_is_cut_off_ends_the_scan():
    """If this breaks, a scan hangs on a drive that has gone without a word: its
    registers read as ones, and its interrupts do not come."""
    if kernel_log.is_debug_kernel():
        skip("6.12's lockdep takes it for a leaked lock that nvme's own timeout "
             "handler leaves queues frozen")
    check_whole(SLOW)
    disks.write_attribute(TIMEOUT, 1500)
    cleanup(disks.write_attribute, TIMEOUT, 10000)
    wait = background(scan, SLOW)
    wait_for_scan(SLOW)
    with open(f"{controller(SLOW)}/device/config", "r+b", buffering=0) as config:
        config.seek(4)
        config.write(bytes(2))
    error = wait()
    expect(isinstance(error, abi.Refused), True, f"refused: {error}")
    expect(error.errno in (errno.ENOTRECOVERABLE, errno.ETIMEDOUT, errno.ENODEV),
           True, error.sentence)
    expect_in("csd5 ", error.sentence)
    check_rest(error)
    # The kernel resets it, and finds it well again.
    check_whole(SLOW)


@test
def a_signal_returns_what_there_is():
    """If this breaks, Ctrl-C waits for the end of a scan, or loses the way on."""
    signal.signal(signal.SIGALRM, lambda *_: None)
    cleanup(signal.signal, signal.SIGALRM, signal.SIG_DFL)
    matches, cursor, interrupted = [], None, 0
    fd = opened(csds.disk_of(SLOW))
    with abi.Control() as control:
        while True:
            signal.setitimer(signal.ITIMER_REAL, 0.4)
            found = control.scan(loaded("pair", "pair_63").fd, fd, None, (3, 4),
                                 target=SLOW, image=csds.image("pair", "pair_63"),
                                 cursor=cursor)
            signal.setitimer(signal.ITIMER_REAL, 0)
            matches += found.matches
            if found.status == abi.DONE:
                break
            expect(found.status, abi.INTERRUPTED, "status")
            cursor = found.cursor
            interrupted += 1
            expect(interrupted < 200, what="it goes on")
    expect(interrupted > 0, what="interrupted at all")
    expect_matches(matches, PAIRS, "in parts")


def remove(drive):
    """The drive's PCI function, as by hotplug; the function puts it back."""
    device = os.path.realpath(f"{controller(drive)}/device")
    disks.write_attribute(f"{device}/remove", 1)

    def back():
        disks.write_attribute("/sys/bus/pci/rescan", 1)
        end = time.monotonic() + 30
        while len(csds.drives()) < 7 and time.monotonic() < end:
            time.sleep(0.05)

    return back


@test
def a_drive_that_goes_away_ends_its_scans():
    """If this breaks, removal waits for a scan for ever, or the scan for the
    drive."""
    fd = opened(csds.disk_of(SLOW))
    with abi.Control() as kept:
        # One scan that is in the middle and kept by its file, and one that runs.
        first = kept.scan(loaded("pair", "pair_63").fd, fd, None, (3, 4),
                          target=SLOW, image=csds.image("pair", "pair_63"), room=5)
        expect(first.status, abi.FULL, "status")
        wait = background(scan, SLOW)
        wait_for_scan(SLOW)
        back = remove(SLOW)
        cleanup(back)
        error = wait()
        expect(isinstance(error, abi.Refused), True, f"refused: {error}")
        expect(error.errno, errno.ENODEV, error.sentence)
        expect_in("csd5 was removed when the scan was at", error.sentence)
        check_rest(error)
        expect("csd5" in csds.drives(), False, "still there")
        error = expect_raises(abi.Refused, kept.scan,
                              loaded("pair", "pair_63").fd, fd, None, (3, 4),
                              target=SLOW, image=csds.image("pair", "pair_63"),
                              cursor=first.cursor)
        expect(error.errno in (errno.ENODEV, errno.ENOENT), True, error.sentence)
    os.close(os.open("/dev/null", os.O_RDONLY))
    back()
    check_whole([name for name in csds.drives()
                 if csds.attribute(name, "fuel") == "0"][-1])


def remove_two():
    """When the machine goes down, all queues are frozen, with two locks each, and
    lockdep has room for 48 at a time."""
    for name in csds.drives()[:2]:
        controller = csds.attribute(name, "controller")
        disks.write_attribute(f"/sys/class/nvme/{controller}/device/remove", 1)


if __name__ == "__main__":
    if kernel_log.is_debug_kernel():
        atexit.register(remove_two)
    csds.wait_for_drives([f"csd{number}" for number in range(7)])
    for name in csds.drives():
        disks.write_all(csds.disk_of(name), DATA)
    run()
