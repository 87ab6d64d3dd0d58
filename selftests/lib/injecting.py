# SPDX-License-Identifier: GPL-2.0
"""Faults that a kernel with CONFIG_FAULT_INJECTION injects on demand."""

import errno
import os

from disks import opened, write_attribute
from ktap import diag, expect


def fault(kind, **settings):
    """Settings of a kind of fault; injects none until a probability is given,
    and that is set last: until then, others would be hit."""
    settings = {"probability": 0, "verbose": 0, "interval": 1, "times": -1,
                "space": 0, **settings}
    # Of those that fail allocations alone.
    if os.path.exists(f"/sys/kernel/debug/{kind}/ignore-gfp-wait"):
        settings.setdefault("ignore-gfp-wait", "N")
    probability = settings.pop("probability")
    for key, value in [*settings.items(), ("probability", probability)]:
        write_attribute(f"/sys/kernel/debug/{kind}/{key}", value)


class Nth:
    """Fails the n-th allocation of the calling thread, for n = 1, 2, …"""

    def __init__(self):
        fault("failslab", **{"cache-filter": "N"})
        fault("fail_page_alloc")
        self.fd = opened(f"/proc/self/task/{os.getpid()}/fail-nth", os.O_RDWR)

    def left(self):
        return int(os.pread(self.fd, 16, 0))

    def once(self, nth, call):
        """(whether an allocation failed, the call's result, its error)"""
        result = error = None
        os.pwrite(self.fd, b"%d" % nth, 0)
        try:
            result = call()
        except OSError as caught:
            error = caught
        failed = not self.left()
        os.pwrite(self.fd, b"0", 0)
        return failed, result, error

    def each(self, call, after):
        """after(result, error) for each allocation of the call that fails, and
        at last for a call in which none did."""
        nth, failed, errors = 0, True, 0
        while failed:
            nth += 1
            failed, result, error = self.once(nth, call)
            expect(failed or error is None,
                   what=f"success without a fault; got {error!r}")
            if error:
                errors += 1
                expect(error.errno, errno.ENOMEM, f"errno of {error!r}")
            after(result, error)
        diag(f"{nth - 1} allocations failed, and for that {errors} calls")
        expect(errors > 0, what="calls that were refused")
