#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --no-modules --timeout 300 --csd {img:16M},slm-size=4M
# vm: --qemu-arg=-drive --qemu-arg=id=zones,if=none,format=raw,file={img:32M:zero}
# vm: --qemu-arg=-device
# vm: --qemu-arg=nvme-ns,drive=zones,bus=nvme0,zoned=on,zoned.zone_size=4M
# vm: --qemu-arg=-drive --qemu-arg=id=plain,if=none,format=raw,file={img:16M}
# vm: --qemu-arg=-device --qemu-arg=nvme-subsys,id=nss0
# vm: --qemu-arg=-device --qemu-arg=pcie-root-port,id=rp0,chassis=1,addr=0x18
# vm: --qemu-arg=-device
# vm: --qemu-arg=nvme,id=pf,bus=rp0,serial=pf,subsys=nss0,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2
# vm: --qemu-arg=-device --qemu-arg=nvme-ns,drive=plain,bus=pf,nsid=1
"""What else hw/nvme does, beside a drive: zones on it, virtual functions."""

import glob
import os
import struct
import time

from disks import random_bytes, write_all
from ktap import expect, expect_raises, fail, run, sh, test
from ngdrive import Drive, Refused, generic_devices, read_text

ZONE = 4 << 20


def zoned_disk():
    for path in glob.glob("/sys/block/nvme*n*/queue/zoned"):
        if read_text(path) == "host-managed":
            return path.split("/")[3]
    return fail("there is no zoned disk")


def controller(serial):
    for path in glob.glob("/sys/class/nvme/nvme*/serial"):
        if read_text(path) == serial:
            return path.split("/")[4]
    return fail(f"there is no controller with serial number {serial}")


def drive():
    return Drive(int(controller("vm0")[4:]))


def zoned_nsid():
    name = zoned_disk()
    return int(read_text(f"/sys/block/{name}/nsid"))


def pwrite_direct(path, data, pos):
    """fio, as the only program of the guest that writes with O_DIRECT."""
    with open("/tmp/data", "wb") as file:
        file.write(data)
    sh(["dd", "if=/tmp/data", f"of={path}", "bs=64k", "oflag=direct,seek_bytes",
        f"seek={pos}", "conv=notrunc", "status=none"])


@test
def zones_are_on_the_same_controller():
    """A drive with zoned flash is one controller with both command sets."""
    name = zoned_disk()
    expect(int(read_text(f"/sys/block/{name}/queue/chunk_sectors")), ZONE // 512,
           "sectors of a zone")
    nodes = generic_devices(drive().number)
    expect(len(nodes), 4, "namespaces of the controller")


@test
def zones_are_written_in_order():
    """The zoned command set has to work as without the drive."""
    path = f"/dev/{zoned_disk()}"
    data = random_bytes(128 << 10)
    sh(["nvme", "zns", "reset-zone", path, "--start-lba=0"])
    pwrite_direct(path, data, 0)
    with open(path, "rb") as file:
        expect(file.read(len(data)) == data, what="what was written")
    done = sh(["dd", "if=/dev/zero", f"of={path}", "bs=64k", "count=1",
               "oflag=direct,seek_bytes", f"seek={1 << 20}", "conv=notrunc"],
              check=False)
    expect(done.returncode != 0, what="a write that is not at the pointer fails")
    text = sh(["nvme", "zns", "report-zones", path, "--descs=1"]).stdout
    expect("WP: 0x100" in text, what=f"the write pointer: {text}")


@test
def slm_is_filled_from_zones():
    """Memory Copy obeys the zones' rules and reads what is there."""
    computational = drive()
    path = f"/dev/{zoned_disk()}"
    data = random_bytes(64 << 10, seed=7)
    sh(["nvme", "zns", "reset-zone", path, f"--start-lba={ZONE // 512}"])
    pwrite_direct(path, data, ZONE)
    computational.copy_lbas(0, [(ZONE // 512, 128)], nsid=zoned_nsid())
    expect(computational.slm_read(0, len(data)) == data, what="SLM")
    end = (32 << 20) // 512
    expect_raises(Refused, computational.copy_lbas, 0, [(end, 8)],
                  nsid=zoned_nsid())


@test
def virtual_functions_of_an_ordinary_controller_work():
    """SR-IOV of hw/nvme goes through the same functions as the drive."""
    name = controller("pf")
    device = os.path.realpath(f"/sys/class/nvme/{name}/device")
    with open("/sys/bus/pci/drivers_autoprobe", "w", encoding="ascii") as file:
        file.write("0")
    with open(f"{device}/sriov_numvfs", "w", encoding="ascii") as file:
        file.write("2")
    for number in (1, 2):
        for resource, amount in (("0", "2"), ("1", "1")):
            sh(["nvme", "virt-mgmt", f"/dev/{name}", f"--cntlid={number}",
                f"--rt={resource}", "--act=8", f"--nr={amount}"])
        sh(["nvme", "virt-mgmt", f"/dev/{name}", f"--cntlid={number}", "--act=9"])
    function = os.path.basename(os.path.realpath(f"{device}/virtfn0"))
    with open("/sys/bus/pci/drivers/nvme/bind", "w", encoding="ascii") as file:
        file.write(function)
    end = time.monotonic() + 20
    while not glob.glob(f"{device}/virtfn0/nvme/nvme*"):
        if time.monotonic() > end:
            fail("the virtual function has no controller")
        time.sleep(0.05)
    virtual, = glob.glob(f"{device}/virtfn0/nvme/nvme*")
    data = sh(f"nvme id-ctrl /dev/{os.path.basename(virtual)} --raw-binary | "
              "od -An -tu2 -j78 -N2").stdout
    expect(struct.calcsize("<H") == 2 and int(data) > 0,
           what=f"the virtual function's controller identifier: {data}")


@test
def ordinary_controllers_have_no_computational_command_set():
    """The hooks must do nothing for another type of controller."""
    name = controller("pf")
    for log in ("0xd0", "0x82", "0x1a"):
        done = sh(["nvme", "get-log", f"/dev/{name}", f"--log-id={log}",
                   "--log-len=64"], check=False)
        expect(done.returncode != 0, what=f"log {log}")
    done = sh(["nvme", "admin-passthru", f"/dev/{name}", "--opcode=0x88",
               "--namespace-id=1"], check=False)
    expect(done.returncode != 0, what="Program Activation Management")
    data = sh(f"nvme admin-passthru /dev/{name} --opcode=0x06 --data-len=4096 "
              "--read --cdw10=0xffff001c --raw-binary | od -An -tu1 -N1").stdout
    expect(int(data) & 0x18, 0, "command sets of combination 0")


@test
def disk_of_an_ordinary_controller_is_there():
    """And it still reads and writes."""
    for path in glob.glob("/sys/block/nvme*n*"):
        name = os.path.basename(path)
        if read_text(f"{path}/hidden") == "0" and \
                read_text(f"{path}/size") == str((16 << 20) // 512):
            data = random_bytes(65536, seed=3)
            write_all(f"/dev/{name}", data)
            with open(f"/dev/{name}", "rb") as file:
                expect(file.read(len(data)) == data, what=name)


if __name__ == "__main__":
    run()
