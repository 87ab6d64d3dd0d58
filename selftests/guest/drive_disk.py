#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --no-modules --timeout 300 --csd {img:64M},slm-size=4M
# vm: --csd {img:32M},slm-size=4M,logical_block_size=4096,physical_block_size=4096
"""The drive's NVM namespace is an ordinary disk."""

import os

import nvme_csd as csd
from disks import random_bytes, write_all
from ktap import cleanup, expect, run, sh, test, test_each
from ngdrive import Drive, disk

DRIVES = {"b512": 0, "b4096": 1}


@test_each(**DRIVES)
def data_is_what_was_written(number):
    """fio writes blocks that know their place, at a queue depth, and reads
    them back."""
    sh(["fio", "--name=verify", f"--filename={disk(number)}", "--rw=randwrite",
        "--bsrange=4k-64k", "--size=16M", "--ioengine=libaio", "--direct=1",
        "--iodepth=32", "--verify=crc32c", "--do_verify=1",
        "--verify_fatal=1"])


@test_each(**DRIVES)
def file_systems_live_on_it(number):
    """A file system flushes, discards and zeroes, and survives a mount."""
    folder, path = "/tmp/fs", disk(number)
    os.makedirs(folder, exist_ok=True)
    sh(["mkfs.ext4", "-q", path])
    sh(["mount", "-o", "discard", path, folder])
    data = random_bytes(3 << 20)
    with open(f"{folder}/file", "wb") as file:
        file.write(data)
    with open(f"{folder}/gone", "wb") as file:
        file.write(data)
    os.sync()
    os.unlink(f"{folder}/gone")
    sh(["umount", folder])
    sh(["mount", path, folder])
    cleanup(sh, ["e2fsck", "-fn", path])
    cleanup(sh, ["umount", folder])
    with open(f"{folder}/file", "rb") as file:
        expect(file.read() == data, what="the file after another mount")


@test_each(b512=(0, 512), b4096=(1, 4096))
def slm_gets_what_is_on_the_disk(number, lba_size):
    """A Memory Copy sees what the page cache has written back, at the disk's
    block size."""
    drive = Drive(number)
    data = random_bytes(256 << 10, seed=number)
    write_all(disk(number), data, 1 << 20)
    drive.copy_lbas(4096, [((1 << 20) // lba_size, len(data) // lba_size)],
                    lba_size=lba_size)
    expect(drive.slm_read(4096, len(data)) == data, what="SLM after the copy")


@test
def passthrough_needs_no_privilege_where_it_may():
    """The standard's I/O commands are for whoever may open the device; those
    of a vendor are not, by the kernel's rule."""
    drive = Drive(0)
    node = drive.nodes[drive.slm]
    os.chmod(node, 0o666)
    words = f"nvme io-passthru {node} --namespace-id=2 --data-len=512 --cdw12=512"
    done = sh(f"setpriv --reuid=65534 --clear-groups {words} --read --opcode=2")
    expect("data" in done.stdout or "0000:" in done.stdout, what=done.stdout)
    os.chmod(drive.nodes[drive.cp], 0o666)
    done = sh("setpriv --reuid=65534 --clear-groups nvme io-passthru "
              f"{drive.nodes[drive.cp]} --namespace-id=3 --data-len=4 --read "
              f"--opcode={csd.CP_GLOBALS_READ:#x} --cdw2=1 --cdw12=4",
              check=False)
    expect(done.returncode != 0, what="a vendor's command without privilege")


if __name__ == "__main__":
    run()
