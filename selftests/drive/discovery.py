#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What a host finds out about the drive: Identify, logs, events, gates."""

import struct

import csdprog as prog
import drives
import nvme_csd as csd
import nvmequeue as nvme
from csdrive import CP, NVM, SLM, Drive
from ktap import cleanup, expect, test, test_each
from nvmequeue import Command, Raw

SIZE = 4 << 20
GOOD = prog.Image([prog.mov(0, 0), prog.EXIT]).pack()

# Effects log: the command is supported
CSUPP = 1


def get(**more):
    return drives.get(slm_size=SIZE, **more)


def words(data, kind="I"):
    return list(struct.unpack(f"<{len(data) // struct.calcsize(kind)}{kind}",
                              data))


def id_ctrl(drive):
    status, data = drive.identify(1)
    expect(status, 0, "status")
    return data


@test
def controller_offers_all_command_sets():
    """If this breaks, Linux enables the NVM command set alone and never sees
    SLM and programs."""
    drive = get()
    expect(drive.cap >> 37 & 0x41, 0x41, "CAP.CSS: NVM, and all I/O sets")
    status, data = drive.identify(0x1c, index=0xffff)
    expect(status, 0, "status")
    expect(words(data, "Q")[0] & 0x1b, 0x19, "command sets of combination 0")
    done, _ = drive.fetch(nvme.GET_FEATURES, dw10=0x19)
    expect((done.status, done.dw0), (0, 0), "combination that is in use")


@test
def namespaces_are_listed():
    """If this breaks, a host scans and finds another set of namespaces."""
    drive = get()
    _, data = drive.identify(2)
    expect(words(data)[:4], [NVM, SLM, CP, 0], "active namespaces")
    for csi, nsid in ((0, NVM), (csd.CSI_SLM, SLM), (csd.CSI_CP, CP)):
        status, data = drive.identify(7, csi=csi)
        expect((status, words(data)[:2]), (0, [nsid, 0]),
               f"active namespaces of command set {csi}")
        status, data = drive.identify(0x1a, csi=csi)
        expect((status, words(data)[:2]), (0, [nsid, 0]),
               f"allocated namespaces of command set {csi}")
    _, data = drive.identify(7, nsid=SLM, csi=csd.CSI_SLM)
    expect(words(data)[0], 0, "beyond the last")
    expect(words(id_ctrl(drive)[516:520])[0] >= 3, what="number of namespaces")


def descriptors(data):
    """CNS 03h: {type: bytes}"""
    at, found = 0, {}
    while data[at]:
        found[data[at]] = data[at + 4:at + 4 + data[at + 1]]
        at += 4 + data[at + 1]
    return found


@test
def namespaces_say_their_command_set():
    """If this breaks, Linux takes a namespace for one with LBAs, and its probe
    reads programs as partition tables."""
    drive = get()
    seen = set()
    for nsid, csi in ((NVM, 0), (SLM, csd.CSI_SLM), (CP, csd.CSI_CP)):
        status, data = drive.identify(3, nsid)
        expect(status, 0, f"status for namespace {nsid}")
        found = descriptors(data)
        expect(found.get(4), bytes([csi]), f"CSI of namespace {nsid}")
        names = tuple(found.get(kind) for kind in (1, 2, 3))
        expect(names == (None,) * 3 or names not in seen,
               what=f"{names} is of this namespace alone")
        seen.add(names)


@test
def namespaces_are_ready():
    """If this breaks, Linux drops the namespaces: CNS 08h has to say ready."""
    drive = get()
    for nsid in (NVM, SLM, CP):
        status, data = drive.identify(8, nsid)
        expect(status, 0, f"status for namespace {nsid}")
        expect(data[14] & 1, 1, f"NSTAT of namespace {nsid}")
        group, = words(data[20:24])
        expect(group, 1, f"reachability group of namespace {nsid}")


@test
def namespaces_without_lbas_have_no_size():
    """If this breaks, a host that asks for an NVM structure sees a disk."""
    drive = get()
    for nsid in (SLM, CP):
        expect(drive.identify(0, nsid) == (0, bytes(4096)),
               what=f"zeros in CNS 00h of namespace {nsid}")


@test
def identify_says_what_the_properties_are():
    """If this breaks, limits that a host reads are not those it is held to."""
    drive = get(max_active=3, max_range_sets=7, max_ranges=5,
                max_program_total=3 << 20)
    status, data = drive.identify(5, CP, csd.CSI_CP)
    found = csd.IdNsCp.parse(data)
    expect((status, found.max_active, found.max_range_sets, found.max_ranges,
            found.max_prog_mib, found.range_granularity,
            found.load_granularity), (0, 3, 7, 5, 3, 2, 2), "CNS 05h")
    expect(data[17:] == bytes(4079), what="zeros behind")
    status, data = drive.log(csd.LOG_IDENTIFY, 128)
    log = csd.LogIdentify.parse(data)
    expect((status, log.slm_nsid, log.cp_nsid, log.slm_csi, log.cp_csi),
           (0, SLM, CP, csd.CSI_SLM, csd.CSI_CP), "log D3h")
    expect(bytes(log.cp) == bytes(found)[:64], what="CNS 05h in log D3h")
    expect(log.ocfs, words(id_ctrl(drive)[534:536], "H")[0], "OCFS in log D3h")
    for cns, nsid, csi in ((5, SLM, csd.CSI_SLM), (6, 0, csd.CSI_SLM),
                           (6, 0, csd.CSI_CP)):
        expect(drive.identify(cns, nsid, csi) == (0, bytes(4096)),
               what=f"zeros in CNS {cns:02x}h for command set {csi}")


@test_each(slm_as_cp=(5, SLM, csd.CSI_CP), cp_as_slm=(5, CP, csd.CSI_SLM),
           nvm_as_cp=(5, NVM, csd.CSI_CP), cp_as_nvm=(5, CP, 0),
           unknown_set=(5, CP, 5), vendor_set=(6, 0, 0x30), last=(6, 0, 0xff),
           unknown_list=(7, 0, 5))
def identify_of_the_wrong_command_set_is_refused(cns, nsid, csi):
    """If this breaks, a host takes one structure for another."""
    drive = get()
    status, _ = drive.identify(cns, nsid, csi)
    expect(hex(status), hex(nvme.INVALID_FIELD), "status")


@test
def controller_says_what_it_can():
    """If this breaks, a host does not ask for reachability, events or copy
    formats, as Identify Controller has no bit for them."""
    data = id_ctrl(get())
    expect(words(data[534:536], "H")[0] & 0x1f, 0x1f, "OCFS: formats 0h to 4h")
    expect(data[134] & 1, 1, "reachability reporting")
    expect(words(data[92:96])[0] >> 17 & 1, 1, "OAES: reachability changes")


@test
def effects_name_the_commands():
    """If this breaks, Linux refuses passthrough of a command, or drops the
    namespace: log 05h has to be there for every command set."""
    drive = get()
    for csi, opcodes in (
            (csd.CSI_SLM, {0, csd.SLM_COPY, csd.SLM_READ, csd.SLM_FILL,
                           csd.SLM_WRITE}),
            (csd.CSI_CP, {0, csd.CP_EXECUTE, csd.CP_EXECUTE_DLEN,
                          csd.CP_GLOBALS_READ, csd.CP_GLOBALS_WRITE})):
        status, data = drive.log(5, 4096, csi=csi)
        expect(status, 0, f"status for command set {csi}")
        admin, io = words(data[:1024]), words(data[1024:2048])
        expect({n for n, word in enumerate(io) if word}, opcodes,
               f"I/O commands of command set {csi}")
        expect({io[n] for n in opcodes}, {CSUPP}, "their effects")
        for opcode in (csd.ADMIN_LOAD, csd.ADMIN_ACTIVATE, csd.ADMIN_RANGE_SET,
                       csd.ADMIN_LOAD_ALIAS, csd.ADMIN_ACTIVATE_ALIAS,
                       csd.ADMIN_RANGE_SET_ALIAS):
            expect(admin[opcode] & CSUPP, 1, f"admin command {opcode:#x}")
    _, data = drive.log(5, 4096)
    io = words(data[1024:2048])
    expect(io[nvme.NVM_READ] & CSUPP and io[nvme.NVM_COPY] & CSUPP, 1,
           "Read and Copy of the NVM command set")


@test
def log_83h_names_ebpf():
    """If this breaks, a host does not know which programs the drive takes."""
    status, data = get().log(csd.LOG_PTYPES, 64)
    entry = csd.LogPtype.parse(data, 32)
    expect((status, csd.LogPtypesHdr.parse(data).nr, entry.ptype,
            entry.version), (0, 1, csd.PTYPE_EBPF, csd.EBPF_ABI), "log 83h")


def groups(drive, lsp=0):
    status, data = drive.log(csd.LOG_REACH_GROUPS, 1024, lsp=lsp)
    expect(status, 0, "status of log 1Ah")
    at, found = 16, {}
    for _ in range(csd.LogReachHdr.parse(data).nr):
        group = csd.ReachGroup.parse(data, at)
        expect(group.change_count >= 1, what="change count of a group")
        at += 32
        nsids = []
        if not lsp:
            nsids = words(data[at:at + 4 * group.nr_nsids])
            at += 4 * group.nr_nsids
        found[group.id] = (group.nr_nsids, nsids)
    return found


def associations(drive, lsp=0):
    status, data = drive.log(csd.LOG_REACH_ASSOC, 1024, lsp=lsp)
    expect(status, 0, "status of log 1Bh")
    at, found = 16, []
    for _ in range(csd.LogReachHdr.parse(data).nr):
        assoc = csd.ReachAssoc.parse(data, at)
        at += 32
        ids = []
        if not lsp:
            ids = words(data[at:at + 4 * assoc.nr_groups])
            at += 4 * assoc.nr_groups
        found.append((assoc.rac, assoc.nr_groups, ids))
    return found


@test
def reachability_is_reported():
    """If this breaks, a host cannot know that the SLM can be filled from the
    LBAs: members of a group reach each other by an association with itself."""
    drive = get()
    expect(groups(drive), {1: (3, [NVM, SLM, CP])}, "log 1Ah")
    expect(associations(drive), [(csd.RAC_FAST_COPY, 1, [1])], "log 1Bh")
    expect(groups(drive, lsp=1), {1: (3, [])}, "groups only")
    expect(associations(drive, lsp=1), [(csd.RAC_FAST_COPY, 1, [])],
           "associations only")
    slow = get(fast_copy=False, unreachable=str(NVM))
    expect(groups(slow), {1: (2, [SLM, CP]), 2: (1, [NVM])}, "log 1Ah")
    expect(associations(slow), [(csd.RAC_NO_FAST_COPY, 1, [1])], "log 1Bh")
    _, data = slow.identify(8, NVM)
    expect(words(data[20:24])[0], 2, "reachability group in CNS 08h")


@test
def host_addressable_memory_is_reported():
    """If this breaks, a host does not find the window, or one that is not
    there."""
    status, data = get().log(csd.LOG_HOST_ADDRESSABLE, 64)
    expect((status, csd.LogHostHdr.parse(data).nr), (0, 0), "without a window")
    drive = get(slm_window=2 << 20)
    status, data = drive.log(csd.LOG_HOST_ADDRESSABLE, 64)
    entry = csd.LogHostEntry.parse(data, 16)
    expect((status, csd.LogHostHdr.parse(data).nr, entry.nsid, entry.type,
            entry.off), (0, 1, SLM, 1, 0), "log 85h")
    info = drive.info()
    expect((info.window_off, info.window_size), (2 << 20, 2 << 20), "log D0h")


@test
def log_d0h_says_what_the_properties_are():
    """If this breaks, the driver plans with numbers that the drive refuses."""
    info = get(max_programs=9, max_active=4, max_program_size=128 << 10,
               max_program_total=1 << 20, max_globals=96 << 10, max_ranges=6,
               max_range_sets=11, max_queued=33, engines=3, deadline_ms=77,
               fuel=123456, jit=False, max_copy=1 << 20).info()
    found = {name: getattr(info, name) for name, *_ in info._fields_
             if name not in ("generation", "rsvd", "copy_granularity")}
    expect(found, {
        "layout": csd.LAYOUT, "ebpf_abi": csd.EBPF_ABI, "size": 256,
        "slm_nsid": SLM, "cp_nsid": CP, "slm_size": SIZE, "window_off": SIZE,
        "window_size": 0, "max_prog_bytes": 128 << 10,
        "max_total_bytes": 1 << 20, "max_globals": 96 << 10, "max_programs": 9,
        "max_active": 4, "max_ranges": 6, "max_range_sets": 11,
        "max_insns": 65536, "engines": 3, "max_queued": 33,
        "deadline_ns": 77000000, "fuel": 123456, "max_copy": 1 << 20,
        "features": 0}, "log D0h")
    expect(get().info().features, csd.INFO_JIT, "features by default")


@test
def log_pages_can_be_read_in_pieces():
    """If this breaks, a host that reads a page by offsets gets another one."""
    drive = get()
    drive.must(drive.load(1, GOOD), drive.range_set([(0, 4), (8, 4)]))
    for page, size in ((csd.LOG_PROGRAMS, 64 * 18), (csd.LOG_RANGE_SETS, 128),
                       (csd.LOG_INFO, 256), (csd.LOG_MESSAGE, 4096),
                       (csd.LOG_REACH_GROUPS, 60), (csd.LOG_COUNTERS, 512)):
        counted = page == csd.LOG_COUNTERS	# reading changes it
        _, whole = drive.log(page, size)
        pieces = b""
        for at in range(0, size, 20):
            length = min(20, size - at)
            status, data = drive.log(page, length, offset=at)
            expect((status, len(data[:length])), (0, length),
                   f"status of log {page:#x} at {at}")
            pieces += data[:length]
        expect(len(pieces), size, "bytes")
        expect(counted or pieces == whole, what=f"log {page:#x} in pieces")


@test
def log_pages_end():
    """If this breaks, a page reads on into memory of QEMU, or what a host had
    in its buffer passes for the drive's words."""
    drive = get()
    for page, size in ((csd.LOG_INFO, 256), (csd.LOG_PTYPES, 64),
                       (csd.LOG_IDENTIFY, 128), (csd.LOG_COUNTERS, 512)):
        for offset in (size, size + 4, 1 << 32, (1 << 64) - 4):
            status, _ = drive.log(page, 64, offset=offset)
            expect(status != 0, what=f"log {page:#x} at {offset} is refused")
        buffer = nvme.Buffer(drive.machine.ram, 4096).fill(b"\xee" * 4096)
        done = drive.admin.run(Command(
            nvme.GET_LOG, 0xffffffff, nvme.Prp(buffer),
            dw10=1023 << 16 | page))
        expect(done.status, 0, f"status of log {page:#x}, read too far")
        expect(set(buffer.bytes()[size:]) <= {0}, what="zeros behind the page")


@test
def logs_nowhere_are_refused():
    """If this breaks, a log page is written to where no memory is."""
    drive = get()
    for at in (drive.bars[0][0], 1 << 40):
        for page in (csd.LOG_INFO, csd.LOG_PROGRAMS, csd.LOG_REACH_GROUPS):
            done = drive.admin.run(Command(nvme.GET_LOG, 0xffffffff, Raw(at),
                                           dw10=15 << 16 | page))
            expect(hex(done.status), hex(nvme.DATA_TRANSFER), f"log {page:#x}")


@test_each(d4=0xd4, e0=0xe0, ff=0xff, x86=0x86, x1c=0x1c)
def unknown_logs_are_refused(page):
    """If this breaks, a page that does not exist reads as something."""
    status, _ = get().log(page, 64)
    expect(status in (nvme.INVALID_FIELD, nvme.INVALID_LOG_PAGE),
           what=f"status {status:#x}")


@test
def without_all_command_sets_it_is_hidden():
    """If this breaks, firmware that enables NVM alone reads SLM as a disk: 02h
    is Read in one set and Memory Read in the other."""
    drive = get()
    drive.slm_write(0, bytes(4096))
    drive.disable()
    drive.enable(nvme.CSS_NVM)
    drive.io = drive.create_queue(1, 16)
    for nsid in (SLM, CP):
        for opcode in range(256):
            done = drive.io.run(Command(
                opcode, nsid, drive.pointer(b"\xff" * 4096), dw12=4096))
            expect(done.status != 0 or not opcode,
                   what=f"opcode {opcode:#x} of namespace {nsid}: {done}")
    expect(drive.nvm_read(0, 8) == drives.DISK[:4096], what="LBAs")
    for cns, nsid, csi in ((5, SLM, 3), (5, CP, 4), (6, 0, 3), (7, 0, 4)):
        expect(drive.identify(cns, nsid, csi)[0] != 0,
               what=f"CNS {cns:02x}h for command set {csi} is refused")
    for done in (drive.load(1, GOOD), drive.activate(1),
                 drive.range_set([(0, 4)])):
        expect(done.status in (nvme.INVALID_NS, nvme.INVALID_OPCODE),
               what=f"admin command: {done}")
    drive.restart()
    expect(drive.slm_read(0, 4096) == bytes(4096), what="the SLM")


@test
def changes_of_reachability_are_events():
    """If this breaks, a host does not learn that a namespace that it scans was
    detached."""
    drive = get()
    done = drive.set_feature(0x0b, 1 << 18 | 1 << 17)
    expect(done.status, 0, "events can be enabled")
    controllers = struct.pack("<HH", 1, words(id_ctrl(drive)[78:80], "H")[0])
    attach = lambda select: drive.must(drive.run_admin(Command(  # noqa: E731
        0x15, NVM, drive.pointer(controllers + bytes(4092)), dw10=select)))
    cleanup(attach, 0)
    attach(1)
    seen = []
    while len(seen) < 3 and (2, 6, csd.LOG_REACH_GROUPS) not in seen:
        done = drive.must(drive.admin.run(Command(nvme.ASYNC_EVENT), 5))
        seen.append((done.dw0 & 7, done.dw0 >> 8 & 0xff, done.dw0 >> 16 & 0xff))
        drive.log(seen[-1][2], 4096)	# which lets the next one come
    expect((2, 6, csd.LOG_REACH_GROUPS) in seen,
           what=f"type, notice and log of an event: {seen}")
    expect(groups(drive), {1: (2, [SLM, CP])}, "groups without it")


@test
def ordinary_controllers_have_none_of_it():
    """If this breaks, a plain nvme device changes its behaviour: its logs,
    command sets and opcodes."""
    host = drives.machine()
    port = drives.free_port(host)
    host.plug("nvme", port, serial="plain", drive=host.disk(1 << 20))
    cleanup(host.pull, port)
    drive = Drive(host, port).enable()
    for page in (0x1a, 0x1b, 0x82, 0x83, 0x84, 0x85, 0xd0, 0xd1, 0xd2, 0xd3):
        expect(drive.log(page, 64)[0] != 0, what=f"log {page:#x} is refused")
    expect(drive.identify(0x1c, index=0xffff)[1][0] & 0x18, 0, "CNS 1Ch")
    for cns in (5, 6, 7):
        for csi in (3, 4):
            expect(hex(drive.identify(cns, 1, csi)[0]),
                   hex(nvme.INVALID_FIELD), f"CNS {cns:02x}h")
    for opcode in (0x85, 0x88, 0x89, 0xc1, 0xc4, 0xc9):
        expect(hex(drive.admin.run(Command(opcode, 1)).status),
               hex(nvme.INVALID_OPCODE), f"opcode {opcode:#x}")
    _, data = drive.identify(1)
    expect((data[134], words(data[92:96])[0] >> 17 & 1), (0, 0), "Identify")


if __name__ == "__main__":
    drives.run()
