#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
# kernels: stock debug
# vm: --no-modules --timeout 300
# vm: --csd {img:64M},slm-size=8M,engines=3,max-copy=1M,fuel=123456789
"""What an unmodified kernel and nvme-cli make of the drive."""

import ctypes
import json
import os
import re
import struct

import nvme_csd as csd
from ktap import expect, expect_in, expect_match, run, sh, test, test_each
from ngdrive import Drive, disk, generic_devices, read_text

NVM, SLM, CP = 1, 2, 3


def cli(words):
    return sh(f"nvme {words}").stdout


def cli_json(words):
    return json.loads(cli(f"{words} -o json"))


def raw(words):
    """What nvme-cli writes with --raw-binary."""
    path = "/tmp/raw"
    sh(f"nvme {words} --raw-binary > {path}")
    with open(path, "rb") as file:
        return file.read()


def get_log(page, length, *more):
    return raw(f"get-log /dev/nvme0 --log-id={page:#x} --log-len={length} "
               + " ".join(more))


def kernel_said(most):
    """Lines of the kernel's log about NVMe, of that severity or worse."""
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    lines = []
    try:
        while True:
            try:
                head, _, text = os.read(fd, 8192).decode().partition(";")
            except BlockingIOError:
                return lines
            if "nvme" in text and int(head.split(",")[0]) & 7 <= most:
                lines.append(text.split("\n")[0])
    finally:
        os.close(fd)


@test
def generic_devices_are_there():
    """Without them there is no way to the SLM and to programs on this kernel:
    it drops a namespace whose command set it does not know unless Identify and
    the effects log answer for it."""
    nodes = generic_devices(0)
    expect(sorted(nodes), [NVM, SLM, CP], "namespaces with a generic device")
    for path in nodes.values():
        expect(os.path.exists(path), what=path)
    disks = [name for name in os.listdir("/sys/block") if name.startswith("nvme")
             and read_text(f"/sys/block/{name}/hidden") == "0"]
    expect(disks, [os.path.basename(disk(0))], "disks that are not hidden")


@test
def kernel_has_nothing_to_complain_about():
    """An error or a warning in the log tells whoever reads it that the drive is
    broken."""
    expect(kernel_said(4), [], "lines of severity warning or worse")
    told = [line for line in kernel_said(6) if "not supported" in line]
    expect(len(told), 2, f"lines that no disk is made of them: {told}")


@test
def namespaces_are_listed_by_command_set():
    """A host that enumerates one command set must find its namespaces, and no
    other's."""
    for csi, wanted in ((0, [NVM]), (csd.CSI_SLM, [SLM]), (csd.CSI_CP, [CP])):
        found = cli_json(f"list-ns /dev/nvme0 --csi={csi}")["nsid_list"]
        expect([entry["nsid"] for entry in found], wanted, f"CSI {csi}")
    found = cli_json("list-ns /dev/nvme0")["nsid_list"]
    expect([entry["nsid"] for entry in found], [NVM, SLM, CP], "active ones")


@test_each(nvm=(NVM, 0), slm=(SLM, csd.CSI_SLM), cp=(CP, csd.CSI_CP))
def descriptors_say_the_command_set(nsid, csi):
    """It is the only place where a host learns what a namespace is."""
    text = cli(f"ns-descs /dev/nvme0 --namespace-id={nsid}")
    found = expect_match(r"csi\s*:\s*(\S+)", text, "descriptors")
    expect(int(found[1], 16), csi, "command set")


@test
def namespaces_are_ready():
    """Linux waits for NSTAT before it makes a device, and gives up."""
    for nsid in (NVM, SLM, CP):
        data = raw(f"cmdset-ind-id-ns /dev/nvme0 --namespace-id={nsid}")
        expect(data[14] & 1, 1, f"NSTAT of namespace {nsid}")


@test
def command_sets_are_listed():
    """Combination 0 is in force unless a host chooses, and Linux does not."""
    data = raw("admin-passthru /dev/nvme0 --opcode=0x06 --data-len=4096 --read "
               "--cdw10=0xffff001c")
    vector, = struct.unpack_from("<Q", data)
    for bit, name in ((0, "NVM"), (3, "SLM"), (4, "programs")):
        expect(vector >> bit & 1, 1, f"combination 0, {name}")


@test
def controller_says_what_it_can():
    """OCFS, OAES and reachability are what a host looks at before it uses the
    formats, the events and the logs."""
    data = raw("id-ctrl /dev/nvme0")
    ocfs, = struct.unpack_from("<H", data, 534)
    expect(ocfs & 0x1c, 0x1c, "copy formats 2h, 3h and 4h")
    oaes, = struct.unpack_from("<I", data, 92)
    expect(oaes >> 17 & 3, 3, "events of reachability")
    expect(data[134] & 1, 1, "reachability is reported")
    expect_in(b"QEMU NVMe CSD", data[24:64], "model")


@test_each(
    slm=(csd.CSI_SLM, {0x00, csd.SLM_COPY, csd.SLM_READ, csd.SLM_FILL,
                       csd.SLM_WRITE}),
    cp=(csd.CSI_CP, {0x00, csd.CP_EXECUTE, csd.CP_EXECUTE_DLEN,
                     csd.CP_GLOBALS_READ, csd.CP_GLOBALS_WRITE}))
def effects_name_every_command(csi, wanted):
    """Passthrough without privilege, and the namespace itself, hang on this
    log."""
    data = raw(f"effects-log /dev/nvme0 --csi={csi}")
    admin = struct.unpack_from("<256I", data)
    io = struct.unpack_from("<256I", data, 1024)
    expect({n for n in range(256) if io[n] & 1}, wanted, "I/O commands")
    expect({n for n in wanted if io[n] != 1}, set(), "commands with effects")
    for opcode in (csd.ADMIN_LOAD, csd.ADMIN_ACTIVATE, csd.ADMIN_RANGE_SET,
                   csd.ADMIN_LOAD_ALIAS, csd.ADMIN_ACTIVATE_ALIAS,
                   csd.ADMIN_RANGE_SET_ALIAS):
        expect(admin[opcode] & 1, 1, f"admin command {opcode:02x}h")


@test
def cp_namespace_is_identified():
    """The limits of the command set's own structure."""
    data = raw("admin-passthru /dev/nvme0 --opcode=0x06 --namespace-id=3 "
               "--data-len=4096 --read --cdw10=0x05 --cdw11=0x04000000")
    found = csd.IdNsCp.parse(data)
    expect((found.max_active, found.max_range_sets, found.range_granularity,
            found.max_ranges, found.max_prog_mib, found.load_granularity),
           (8, 64, 2, 16, 16, 2), "CNS 05h of CSI 4")
    for cns, cdw11, nsid in ((0x05, 0x03000000, SLM), (0x06, 0x03000000, 0),
                             (0x06, 0x04000000, 0)):
        data = raw(f"admin-passthru /dev/nvme0 --opcode=0x06 --data-len=4096 "
                   f"--namespace-id={nsid} --read --cdw10={cns:#x} "
                   f"--cdw11={cdw11:#x}")
        expect(data, bytes(4096), f"CNS {cns:02x}h, CDW11 {cdw11:#x}")


@test
def program_logs_are_read():
    """82h to 84h of a drive without programs: what there could be."""
    programs = get_log(csd.LOG_PROGRAMS, 64 + 17 * 64)
    expect(csd.LogProgramsHdr.parse(programs).nr, 17, "places of programs")
    for entry in csd.LogProgram.parse_all(programs, 17, 64):
        expect(entry.flags, csd.PEOCC_EMPTY, "place")
    types = get_log(csd.LOG_PTYPES, 64)
    expect(csd.LogPtypesHdr.parse(types).nr, 1, "types")
    only = csd.LogPtype.parse(types, 32)
    expect((only.ptype, only.version), (csd.PTYPE_EBPF, csd.EBPF_ABI), "type")
    expect(get_log(csd.LOG_RANGE_SETS, 64), bytes(64), "range sets")
    expect(get_log(csd.LOG_HOST_ADDRESSABLE, 64), bytes(64),
           "memory that the host can address")


@test
def reachability_logs_are_read():
    """One group of all namespaces, one association of it with itself."""
    data = get_log(csd.LOG_REACH_GROUPS, 64)
    expect(csd.LogReachHdr.parse(data).nr, 1, "groups")
    group = csd.ReachGroup.parse(data, 16)
    expect((group.id, group.nr_nsids), (1, 3), "group")
    expect(struct.unpack_from("<3I", data, 48), (NVM, SLM, CP), "its members")
    data = get_log(csd.LOG_REACH_ASSOC, 64)
    assoc = csd.ReachAssoc.parse(data, 16)
    expect((assoc.id, assoc.nr_groups, assoc.rac), (1, 1, csd.RAC_FAST_COPY),
           "association")
    heads = get_log(csd.LOG_REACH_GROUPS, 64, "--lsp=1")
    expect(heads[48:], bytes(16), "members when only groups are asked for")


@test
def vendor_logs_are_read():
    """D0h has what a driver needs to know and no standard page says."""
    info = csd.LogInfo.parse(get_log(csd.LOG_INFO, 256))
    expect((info.layout, info.ebpf_abi, info.size), (1, 1, 256), "versions")
    expect((info.slm_nsid, info.cp_nsid), (SLM, CP), "namespaces")
    expect((info.slm_size, info.window_size, info.engines, info.max_copy,
            info.fuel, info.deadline_ns),
           (8 << 20, 0, 3, 1 << 20, 123456789, 100 * 1000 * 1000), "properties")
    expect(info.generation > 0, what="generation")
    message = csd.LogMessage.parse(get_log(csd.LOG_MESSAGE, 4096))
    expect(message.len, len(message.text), "length of the message")
    expect(csd.LogCounters.parse(get_log(csd.LOG_COUNTERS, 512)).executes, 0,
           "Executes so far")
    page = csd.LogIdentify.parse(get_log(csd.LOG_IDENTIFY, 128))
    expect((page.slm_nsid, page.cp_nsid, page.slm_csi, page.cp_csi),
           (SLM, CP, csd.CSI_SLM, csd.CSI_CP), "namespaces in log D3h")
    expect(page.ocfs & 0x1c, 0x1c, "copy formats in log D3h")
    expect(bytes(page.cp)[:17], raw(
        "admin-passthru /dev/nvme0 --opcode=0x06 --namespace-id=3 --data-len=4096 "
        "--read --cdw10=0x05 --cdw11=0x04000000")[:17], "Identify in log D3h")


@test
def ordinary_logs_are_read():
    """SMART and the error log walk over all namespaces, and two have no disk
    behind them."""
    expect_match(r"temperature", cli("smart-log /dev/nvme0"), "smart-log")
    expect_match(r"Error Log Entries", cli("error-log /dev/nvme0"), "error-log")
    cli("fw-log /dev/nvme0")
    text = cli("list")
    expect(len(re.findall(r"^/dev/", text, re.M)), 1, f"lines of nvme list: {text}")
    expect(ctypes.sizeof(csd.LogInfo), 256, "struct nvme_csd_log_info")


@test
def refused_commands_leave_a_sentence():
    """A status alone does not say what was wrong."""
    drive = Drive(0)
    done = sh(f"nvme io-passthru {drive.nodes[SLM]} --namespace-id=2 "
              "--opcode=0x02 --cdw10=2 --cdw12=4 --data-len=4 --read",
              check=False)
    expect_in("INVALID_FIELD", done.stderr.upper().replace(" ", "_"),
              "what nvme-cli says of a Memory Read at an odd place")
    expect_in("multiples of 4", drive.said(), "log D1h")


@test
def memory_and_programs_cannot_be_formatted():
    """A host must not be able to format what is not on a medium."""
    for nsid in (SLM, CP):
        done = sh(f"nvme format /dev/nvme0 --namespace-id={nsid} --force "
                  "--lbaf=0", check=False)
        expect(done.returncode != 0, what=f"nvme format of namespace {nsid}")
    for nsid, node in generic_devices(0).items():
        sh(f"nvme flush {node} --namespace-id={nsid}")


if __name__ == "__main__":
    run()
