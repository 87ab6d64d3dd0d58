# SPDX-License-Identifier: GPL-2.0
"""What a guest's kernel says when something is wrong with it."""

import os
import re

# Wherever in a line.
TROUBLE = re.compile(
    r"BUG:|BUG at|WARNING:|Oops|general protection fault|Kernel panic|"
    r"KASAN|KCSAN|UBSAN:|kmemleak|INFO: task .* blocked|rcu.*stall|"
    r"soft lockup|hard LOCKUP|workqueue lockup|"
    r"possible (recursive|circular) locking|"
    r"inconsistent lock state|suspicious RCU usage|sleeping function called|"
    r"refcount_t:|list_(add|del) corruption|Bad page state|ODEBUG:|"
    r"Call Trace:|still has .*objects|Objects remaining")
# What those say that are at work, and not in trouble.
HARMLESS = re.compile(r"kmemleak: (Kernel memory leak detector|Automatic memory "
                      r"scanning|Cannot allocate a kmemleak_object)|"
                      r"kasan: KernelAddressSanitizer initialized|"
                      r"[Kk]ernel command line:|FAULT_INJECTION|CONFIG_KASAN")

KMEMLEAK = "/sys/kernel/debug/kmemleak"
# Modules as they stand in the backtrace of who allocated.
OURS = ("[blk_bpf]", "[nvme_csd]")
IN_GUEST = os.path.exists("/run.vm/config")


def is_debug_kernel():
    return os.path.exists(KMEMLEAK)


def is_trouble(line):
    return bool(TROUBLE.search(line)) and not HARMLESS.search(line)


def first_trouble(lines, most=40):
    """The lines from the first that is trouble on, or none."""
    for number, line in enumerate(lines):
        if is_trouble(line):
            return lines[number:number + most]
    return []


class Watch:
    """The kernel's messages from now on, in a guest; elsewhere none."""

    def __init__(self):
        self.fd = None
        if IN_GUEST:
            self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
            os.lseek(self.fd, 0, os.SEEK_END)

    def new_lines(self):
        """What was said since the last call."""
        lines = []
        while self.fd is not None:
            try:
                record = os.read(self.fd, 8192).decode("utf-8", "replace")
            except BlockingIOError:
                break
            except BrokenPipeError:
                # More came than the kernel keeps; what it keeps is next.
                continue
            # "level,number,time,flags;text", and lines about the text
            lines.append(record.partition(";")[2].split("\n", 1)[0])
        return lines


def leaks():
    """Backtraces of memory that the module has lost, as text.

    Empty also where the kernel does not look for leaks.
    """
    if not IN_GUEST or not os.path.exists(KMEMLEAK):
        return ""
    try:
        # Twice: what was freed in a grace period, or lies in a register, is
        # gone then.
        for _ in range(2):
            with open(KMEMLEAK, "w", encoding="ascii") as file:
                file.write("scan")
    except OSError:
        # It is there, and was not turned on.
        return ""
    with open(KMEMLEAK, encoding="ascii", errors="replace") as file:
        found = file.read().split("unreferenced object")
    return "\n".join(leak for leak in found
                     if any(module in leak for module in OURS))
