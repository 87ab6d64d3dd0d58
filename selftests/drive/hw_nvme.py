#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""QEMU's own tests of hw/nvme, from its source, on the QEMU that has the drive.

The set-up builds them beside QEMU: bin/qos-test.
"""

import os
import re
import tempfile

import qtest
from ktap import cleanup, expect, sh, skip, test
from ktap import run as run_tests

FIRMWARE = ("/usr/share/seabios", "/usr/share/qemu")


def qos_test():
    path = os.path.join(os.path.dirname(qtest.qemu_path()), "qos-test")
    if not os.path.exists(path) and os.environ.get("BLKBPF_QEMU"):
        skip(f"{path} is not there, and BLKBPF_QEMU is not the set-up's QEMU")
    expect(os.access(path, os.X_OK), what=f"{path} is there")
    return path


def environment():
    """The test finds the firmware by a QEMU that names it."""
    folder = tempfile.TemporaryDirectory(prefix="blkbpf-qos.")
    cleanup(folder.cleanup)
    wrapper = os.path.join(folder.name, "qemu-system-x86_64")
    options = " ".join(f"-L {path}" for path in FIRMWARE)
    with open(wrapper, "w", encoding="utf-8") as file:
        # Without a network card, whose ROM is not the firmware's.
        file.write(f'#!/bin/sh\nexec {qtest.qemu_path()} {options} '
                   '-nic none "$@"\n')
    os.chmod(wrapper, 0o755)
    return {**os.environ, "QTEST_QEMU_BINARY": wrapper}


@test
def hw_nvmes_own_tests_pass():
    """If this breaks, the patch of hw/nvme changes what ordinary controllers
    do: registers, CMB and PMR."""
    path = qos_test()
    names = [name for name in sh([path, "-l"], env=environment()).stdout.split()
             if re.search(r"/nvme/", name)]
    expect({name.rsplit("/", 1)[1] for name in names} >=
           {"oob-cmb-access", "pmr-test-access", "reg-read"},
           what=f"the tests that QEMU has: {names}")
    done = sh([path, *(word for name in names for word in ("-p", name))],
              env=environment(), check=False)
    expect(done.returncode, 0, f"exit status; {done.stdout}{done.stderr}")
    passed = re.findall(r"^ok \d+ (\S+)", done.stdout, flags=re.MULTILINE)
    expect(len(passed), len(names), f"tests that passed; {done.stdout}")


if __name__ == "__main__":
    run_tests()
