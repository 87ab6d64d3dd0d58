#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --smp 2 --timeout 300 --nvme {img:16M} --nvme {img:16M}
"""The block layer's corners, where a borrowed completion could go wrong."""

import errno
import fcntl
import os
import random
import re
import struct
import threading

import blkbpf_abi as abi
import disks
from attaching import Attached, settled
from disks import CONFIGFS, DirectFile, opened, read_attribute, write_attribute
from ktap import cleanup, diag, expect, expect_match, run, sh, test
from programs import borrow

LEFT, RIGHT = "/dev/nvme0n1", "/dev/nvme1n1"
DATA = disks.random_bytes(16 << 20, values=6)
_BLKRESETZONE = 0x40101283


def zoned_disk():
    return disks.NullBlk(size=64, zoned=1, zone_size=4, zone_nr_conv=0)


@test
def a_zone_is_reset_with_a_program_attached():
    """If this breaks, a zone command is taken for one with data."""
    disk = zoned_disk()
    attached = Attached(disk.path, flags=abi.OTHERS)
    fd = opened(disk.path, os.O_RDWR)
    DirectFile(disk.path, os.O_RDWR).write(0, DATA[:8192])
    fcntl.ioctl(fd, _BLKRESETZONE, struct.pack("QQ", 0, 8192))
    calls = [(c.op, c.visible, bool(c.flags & abi.F_NODATA))
             for c in attached.seen().log if c.op == abi.OP_ZONE]
    expect(calls, [(abi.OP_ZONE, 0, True)], "zone commands seen")


def nvme_loop(disk):
    """The disk again, as a namespace of an NVMe controller: it takes zone
    appends, which no other caller here makes."""
    sh(["modprobe", "nvme-loop"])
    root = f"{CONFIGFS}/nvmet"
    subsystem, port = f"{root}/subsystems/zoned", f"{root}/ports/1"
    os.mkdir(subsystem)
    write_attribute(f"{subsystem}/attr_allow_any_host", 1)
    namespace = f"{subsystem}/namespaces/1"
    os.mkdir(namespace)
    write_attribute(f"{namespace}/device_path", disk.path)
    write_attribute(f"{namespace}/enable", 1)
    os.mkdir(port)
    write_attribute(f"{port}/addr_trtype", "loop")
    os.symlink(subsystem, f"{port}/subsystems/zoned")
    before = set(os.listdir("/sys/class/nvme"))

    def remove():
        sh(["nvme", "disconnect", "-n", "zoned"])
        os.unlink(f"{port}/subsystems/zoned")
        os.rmdir(port)
        write_attribute(f"{namespace}/enable", 0)
        os.rmdir(namespace)
        os.rmdir(subsystem)

    host = "00000000-0000-4000-8000-000000000001"
    sh(["nvme", "connect", "-t", "loop", "-n", "zoned", "-I", host, "-q",
        f"nqn.2014-08.org.nvmexpress:uuid:{host}"])
    cleanup(remove)
    controller, = set(os.listdir("/sys/class/nvme")) - before
    number = re.search(r"\d+", controller)[0]
    path = f"/dev/ng{number}n1"
    disks.wait_for_node(path)
    return path


@test
def zone_append_returns_where_it_wrote():
    """If this breaks, restoring a saved bi_iter hides where data went, and a
    zoned file system reads it from elsewhere."""
    disk = zoned_disk()
    path = nvme_loop(disk)
    attached = Attached(disk.path, flags=abi.WRITES)
    with open("/tmp/append", "wb") as file:
        file.write(DATA[:4096])
    cleanup(os.unlink, "/tmp/append")
    blocks = []
    for _ in range(3):
        done = sh(["nvme", "zns", "zone-append", path, "-n", "1", "-s", "8192",
                   "-z", "4096", "-d", "/tmp/append"])
        text = done.stdout + done.stderr
        diag(text)
        blocks.append(int(expect_match(r"to LBA ([0-9a-f]+)", text,
                                       "nvme zone-append")[1], 16))
    expect(blocks, [8192, 8200, 8208], "where it wrote")
    expect([c.op for c in attached.seen().log], [abi.OP_WRITE] * 3, "ops")
    expect(DirectFile(disk.path).read(8192 * 512, 12288) == DATA[:4096] * 3,
           what="what was written")


# Sectors of a discard that is not divided further (UINT_MAX bytes), in whole
# 4 KiB: a longer one becomes a chain of such.
LINK = ((1 << 32) - 1) // 512 // 8 * 8


@test
def a_long_chain_of_bios_uses_no_stack():
    """If this breaks, a long chain of bios overflows the stack when its first
    one completes."""
    links = 30_000
    below = disks.loop(links * LINK * 512)
    sh(["modprobe", "dm-delay"])
    # The first link waits until the device is suspended; all others complete
    # before, and then each of them only waits for the one in front.
    mapped = disks.Mapped(f"0 {LINK} delay {below} 0 100000000\n"
                          f"{LINK} {(links - 1) * LINK} linear {below} {LINK}")
    above, under = [Attached(path, flags=abi.OTHERS)
                    for path in (mapped.path, below)]
    fd = opened(mapped.path, os.O_RDWR)
    thread = threading.Thread(target=disks.discard,
                              args=(fd, 0, links * LINK * 512))
    thread.start()
    expect(settled(lambda: under.counters().runs, links - 1, 120), links - 1,
           "links that are done below")
    expect((above.counters().runs, thread.is_alive()), (0, True),
           "links that are done above, while the first one waits")
    sh(["dmsetup", "suspend", mapped.name])
    thread.join()
    sh(["dmsetup", "resume", "--noudevsync", mapped.name])
    expect((above.counters().runs, under.counters().runs), (links, links),
           "links")
    expect(above.seen().log[0].pos, 0, "the first that is complete")


@test
def discards_and_flushes_have_no_data():
    """If this breaks, a bio without pages is read as one with."""
    disk = disks.NullBlk(size=64, discard=1, cache_size=1)
    attached = Attached(disk.path, flags=abi.OTHERS | abi.WRITES | abi.MAY_FAIL,
                        args=(0, -errno.EILSEQ, 1 << 40, 1 << 41))
    fd = opened(disk.path, os.O_RDWR)
    for n in range(8):
        disks.discard(fd, n << 20, 1 << 20)
        os.pwrite(fd, DATA[:4096], n << 20)
        os.fsync(fd)
    ops = [(c.op, c.visible) for c in attached.seen().log]
    expect(sorted(set(ops)), [(abi.OP_WRITE, 0), (abi.OP_FLUSH, 0),
                              (abi.OP_DISCARD, 0)], "ops and visible bytes")
    expect(ops.count((abi.OP_DISCARD, 0)), 8, "discards")
    expect(ops.count((abi.OP_FLUSH, 0)) >= 8, what="flushes")


def raid1():
    """A mirror of both disks, made through sysfs: there is no mdadm here."""
    sh(["modprobe", "raid1"])
    if not os.path.exists("/sys/block/md7"):
        write_attribute("/sys/module/md_mod/parameters/new_array", "md7")
    home = "/sys/block/md7/md"

    def setting(key, value):
        write_attribute(f"{home}/{key}", value)

    setting("metadata_version", "none")
    setting("level", "raid1")
    setting("raid_disks", 2)
    setting("component_size", 8192)
    for slot, path in enumerate((LEFT, RIGHT)):
        name = os.path.basename(path)
        setting("new_dev", read_attribute(f"/sys/block/{name}/dev"))
        setting(f"dev-{name}/slot", slot)
    setting("resync_start", "none")
    setting("array_state", "active")
    cleanup(setting, "array_state", "clear")
    disks.wait_for_node("/dev/md7")
    return home


def sync_all(home, action):
    """One pass of that kind over the array; the mismatches that it found."""
    write_attribute(f"{home}/sync_action", action)
    state = settled(lambda: read_attribute(f"{home}/sync_action"), "idle", 60)
    expect(state, "idle", f"sync_action after {action}")
    return int(read_attribute(f"{home}/mismatch_cnt"))


@test
def a_mirror_checks_and_repairs_with_its_members_attached():
    """If this breaks, md finds its own fields changed in a bio that it uses
    again."""
    for path in (LEFT, RIGHT):
        disks.write_all(path, DATA)
    members = [Attached(path) for path in (LEFT, RIGHT)]
    home = raid1()
    array = Attached("/dev/md7")
    expect(sync_all(home, "check"), 0, "mismatches of equal members")
    for member in members:
        expect(member.counters().bytes >= 8 << 20, what="bytes md read")
    disks.write_all(RIGHT, bytes(4096), 1 << 20)
    expect(sync_all(home, "check") > 0, what="mismatches of unequal members")
    sync_all(home, "repair")
    expect(sync_all(home, "check"), 0, "mismatches after the repair")
    file = DirectFile("/dev/md7")
    for pos in range(0, 8 << 20, 1 << 20):
        expect(file.read(pos, 1 << 20) == DATA[pos:pos + (1 << 20)],
               what=f"what is read at {pos}")
    expect(array.counters().bytes, 8 << 20, "bytes of the array's own reads")


@test
def a_mirror_reads_around_a_member_that_a_program_fails():
    """If this breaks, an error that a program gives means something else to
    the layer above."""
    for path in (LEFT, RIGHT):
        disks.write_all(path, DATA)
    raid1()
    failing = [Attached(path, flags=abi.MAY_FAIL,
                        args=(0, -errno.ENODATA, 1 << 20, (1 << 20) + 4096))
               for path in (LEFT,)]
    file = DirectFile("/dev/md7")
    for _ in range(8):
        expect(file.read(1 << 20, 4096) == DATA[1 << 20:(1 << 20) + 4096],
               what="what is read")
    diag(f"failed: {[one.counters().failed for one in failing]}")
    expect(sum(one.counters().failed for one in failing) > 0,
           what="reads that were failed")


@test
def a_writer_may_change_the_buffer_while_a_program_looks():
    """If this breaks, data that changes under a program's eyes is more than
    the user's own fault."""
    shared = borrow("pair", "pair_63")
    plain = Attached(LEFT, loaded=shared, args=(3, 4))
    copied = Attached(LEFT, loaded=shared, args=(3, 4), flags=abi.MAY_FAIL)
    file = DirectFile(LEFT)
    stop = threading.Event()
    source = random.Random(4)

    def scribble():
        while not stop.is_set():
            at = source.randrange(60000)
            file.memory[at:at + 1000] = bytes([source.randrange(256)]) * 1000

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for n in range(100):
            file.read(n * 65536, 65536)
    finally:
        stop.set()
        thread.join()
    for one in (plain, copied):
        counters = one.counters()
        expect((counters.runs, counters.state, counters.missed),
               (1600, abi.LIVE, 0), "runs, state, missed")


@test
def tracing_the_same_tracepoint_does_not_disturb():
    """If this breaks, blktrace and blk_bpf cannot be used together."""
    enable = "/sys/kernel/tracing/events/block/block_bio_queue/enable"
    attached = Attached(LEFT)
    file = DirectFile(LEFT)
    for n in range(20):
        write_attribute(enable, n % 2)
        file.read(n * 4096, 4096)
    write_attribute(enable, 0)
    expect(attached.seen().calls, 20, "calls")
    other = Attached(LEFT)
    write_attribute(enable, 1)
    attached.detach()
    file.read(0, 4096)
    write_attribute(enable, 0)
    expect((attached.seen().calls, other.seen().calls), (20, 1), "calls")


@test
def an_io_uring_batch_completes_whole():
    """If this breaks, bios that are completed in one batch lose a neighbour."""
    attached = Attached(LEFT)
    done = sh(["fio", "--name=batch", f"--filename={LEFT}", "--rw=randread",
               "--bs=4k", "--size=8M", "--iodepth=64", "--ioengine=io_uring",
               "--fixedbufs=1", "--iodepth_batch_submit=32",
               "--iodepth_batch_complete_min=16", "--direct=1",
               "--output-format=terse"])
    reads = 2048
    # Beside fio's own reads there may be those of a look at the disk.
    expect(attached.counters().bios >= reads,
           what=f"bios presented; fio said {done.stdout[:200]}")
    expect(attached.counters().missed, 0, "missed")


if __name__ == "__main__":
    for device in (LEFT, RIGHT):
        disks.write_all(device, DATA)
    run()
