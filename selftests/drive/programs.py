#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Programs on the drive: download, verification, activation, globals."""

import random
import struct

import csdprog as prog
import drives
import nvme_csd as csd
import nvmequeue as nvme
from csdrive import NVM, SLM
from ktap import expect, test, test_each
from nvmequeue import Raw

SIZE = 2 << 20
GOOD = prog.Image([prog.mov(0, 0), prog.EXIT]).pack()


def get(**more):
    return drives.get(slm_size=SIZE, max_programs=5, max_active=3,
                      max_program_size=64 << 10, max_program_total=96 << 10,
                      max_globals=64 << 10, **more)


def padded(size):
    """A good image of that size."""
    image = prog.Image([prog.mov(0, 0), prog.EXIT])
    room = size - len(image.pack())
    data = image.pack(size=size, crc=0) + bytes(room)
    return prog.seal(data)


def entries(drive):
    """Log 82h: what is at every index."""
    status, data = drive.log(csd.LOG_PROGRAMS, 64 + 64 * 6)
    expect(status, 0, "status of log 82h")
    number = csd.LogProgramsHdr.parse(data).nr
    expect(number, 6, "entries in log 82h: indices 0 to 5")
    return csd.LogProgram.parse_all(data, number, 64)


@test_each(whole=1 << 16, pages=4096, small=60, words=4)
def chunks_of_all_sizes_make_a_program(chunk):
    """If this breaks, a host must guess how large a chunk may be."""
    drive = get()
    image = prog.from_object("records").pack()
    drive.must(drive.load(1, image, chunk))
    drive.must(drive.activate(1))
    expect(drive.counters().load_refused, 0, "refused")


@test
def chunks_come_in_order():
    """If this breaks, a chunk that is lost, sent twice or of another program
    makes a program that nobody sent."""
    drive = get()
    image = prog.from_object("grep").pack()
    load = lambda off, size=len(image), length=512: drive.run_admin(  # noqa: E731
        drive.load_command(1, image[off:off + length], size, off))
    drives.refused(drive, load(512), nvme.INVALID_FIELD, "not expected", 1)
    drive.must(load(0), load(512))
    for off in (512, 1536, 4, (1 << 32) - 512):
        drives.refused(drive, load(off), nvme.INVALID_FIELD, "not expected", 1)
    drives.refused(drive, load(1024, len(image) + 4), nvme.INVALID_FIELD,
                   "not expected", 1)
    drive.must(load(1024))
    drive.must(load(0))	# begins anew
    drives.refused(drive, load(1536), nvme.INVALID_FIELD, "not expected", 1)
    drive.must(drive.load(1, image))


@test
def downloads_do_not_mix():
    """If this breaks, two hosts' downloads to two indices end up in one."""
    drive = get()
    first, second = (prog.from_object(name).pack()
                     for name in ("records", "fields"))
    for off in range(0, max(len(first), len(second)), 64):
        for pind, image in ((1, first), (2, second)):
            if off < len(image):
                drive.must(drive.run_admin(drive.load_command(
                    pind, image[off:off + 64], len(image), off)))
    drive.must(drive.activate(1), drive.activate(2))


@test_each(
    size_zero=({"size": 0}, nvme.INVALID_FIELD, "PSIZE is 0"),
    size_odd=({"size": 98}, nvme.INVALID_FIELD, "PSIZE is 98"),
    size_large=({"size": (64 << 10) + 4}, csd.SC_PROG_TOO_BIG, "65536"),
    size_largest=({"size": 0xfffffffc}, csd.SC_PROG_TOO_BIG, "65536"),
    numb_zero=({"numb": 0}, nvme.INVALID_FIELD, "NUMB is 0"),
    numb_odd=({"numb": 30}, nvme.INVALID_FIELD, "NUMB is 30"),
    numb_beyond=({"size": 64, "numb": 68}, nvme.INVALID_FIELD, "NUMB is 68"),
    numb_largest=({"numb": 0xfffffffc}, nvme.INVALID_FIELD, "NUMB is 4294967292"),
    type_zero=({"ptype": 0}, csd.SC_BAD_PTYPE, "type 00h.*C0h|type 00h.*c0h"),
    type_other=({"ptype": 0xc1}, csd.SC_BAD_PTYPE, "type c1h"),
    index_zero=({"pind": 0}, csd.SC_BAD_PIND, "index 0 is not from 1 to 5"),
    index_beyond=({"pind": 6}, csd.SC_BAD_PIND, "index 6 is not"),
    index_last=({"pind": 0xffff}, csd.SC_BAD_PIND, "index 65535 is not"),
    pit=({"pit": 2}, nvme.INVALID_FIELD, "PIT is 2"),
    pit_last=({"pit": 7}, nvme.INVALID_FIELD, "PIT is 7"),
    reserved=({"rsvd": 1 << 28}, nvme.INVALID_FIELD, "reserved"),
    reserved_last=({"rsvd": 1 << 31}, nvme.INVALID_FIELD, "reserved"),
    pointer=({"chunk": Raw(1 << 40), "numb": 64}, nvme.DATA_TRANSFER,
             "could not be fetched"),
)
def bad_loads_are_refused(fields, status, sentence):
    """If this breaks, a download that cannot be right is taken, or refused by a
    status that tells the host something else."""
    drive = get()
    given = {"pind": 1, "chunk": GOOD[:64], "size": len(GOOD), **fields}
    if isinstance(given["chunk"], Raw):
        pointer = given.pop("chunk")
        command = drive.load_command(**given)
        command.data = pointer
    else:
        command = drive.load_command(**given)
    drives.refused(drive, drive.run_admin(command), status, sentence)
    drive.must(drive.load(1, GOOD))


@test
def an_index_holds_one_program():
    """If this breaks, a program is replaced under the Executes of another."""
    drive = get()
    drive.must(drive.load(1, GOOD))
    drives.refused(drive, drive.load(1, GOOD), csd.SC_NOT_DOWNLOADABLE,
                   "index 1 has a program", 1)
    drive.must(drive.activate(1))
    drives.refused(drive, drive.load(1, GOOD), csd.SC_NOT_DOWNLOADABLE)
    drives.refused(drive, drive.unload(1), csd.SC_PROG_IN_USE, "deactivate", 1)
    drive.must(drive.deactivate(1), drive.unload(1), drive.load(1, GOOD))


@test
def all_programs_together_have_a_limit():
    """If this breaks, downloads fill the memory of the drive; or bytes of
    programs that are gone count for ever."""
    drive = get()
    for _ in range(3):
        drive.must(drive.load(1, padded(64 << 10)),
                   drive.load(2, padded(31 << 10)))
        drives.refused(drive, drive.load(3, padded((1 << 10) + 4)),
                       csd.SC_MAX_PROG_BYTES, "in use; unload one", 3)
        drive.must(drive.load(3, padded(1 << 10)))
        drive.must(drive.unload(1), drive.unload(2), drive.unload(3))


@test
def begun_downloads_count_until_they_begin_anew():
    """If this breaks, downloads that are never ended use the drive up, or one
    that begins anew counts twice."""
    drive = get()
    for _ in range(40):
        drive.must(drive.run_admin(drive.load_command(1, bytes(4096), 60 << 10)))
    drives.refused(drive, drive.load(2, padded(40 << 10)), csd.SC_MAX_PROG_BYTES)
    drive.must(drive.unload(1))
    drive.must(drive.load(2, padded(40 << 10)))


def forged(**changes):
    return prog.Image([prog.mov(0, 0), prog.EXIT],
                      [(b"12345678", False)]).pack(**changes)


def with_global(**changes):
    """The entry of the only global, changed."""
    image = bytearray(forged())
    at = csd.Image.parse(image).globals_off
    entry = csd.Global.parse(image, at)
    for name, value in changes.items():
        setattr(entry, name, value)
    image[at:at + 16] = bytes(entry)
    return prog.seal(image)


@test_each(
    magic=(forged(magic=1), "image of a program"),
    abi=(forged(abi=2), "version"),
    header_size=(forged(hdr_size=68), "sizes"),
    size=(forged(size=len(forged()) - 4), "sizes"),
    size_largest=(forged(size=0xffffffff), "sizes"),
    checksum=(forged(crc=0x12345678), "checksum"),
    reserved=(forged(rsvd=1), "reserved"),
    name_no_end=(forged(name=b"0123456789abcdef"), "name"),
    name_control=(forged(name=b"a\nb"), "name"),
    no_instructions=(forged(nr_insns=0), "instructions"),
    instructions_beyond=(forged(nr_insns=1000), "instructions"),
    instructions_wrap=(forged(nr_insns=0x20000001), "instructions"),
    instructions_at_odd=(forged(insns_off=68), "instructions"),
    instructions_at_far=(forged(insns_off=0xfffffff8), "instructions"),
    globals_beyond=(forged(nr_globals=2), "globals"),
    globals_many=(forged(nr_globals=0x10000001), "globals"),
    globals_at_odd=(forged(globals_off=84), "globals"),
    globals_at_far=(forged(globals_off=0xfffffff8), "globals"),
    unit_zero=(forged(unit=0), "unit"),
    unit_large=(forged(unit=32769), "unit"),
    overlap=(forged(overlap=4097), "overlap"),
    ctx_size=(forged(ctx_size=136), "ctx"),
    global_empty=(with_global(size=0, init_len=0), "global is empty"),
    global_large=(with_global(size=(64 << 10) + 1), "more memory"),
    global_largest=(with_global(size=0xffffffff), "more memory"),
    global_flag=(with_global(flags=2), "flag"),
    value_longer=(with_global(size=7), "initial value"),
    value_beyond=(with_global(init_off=len(forged()) - 4), "initial value"),
    value_far=(with_global(init_off=0xfffffffc), "initial value"),
    short=(bytes(4), "shorter than its header"),
    header_alone=(forged()[:60], "shorter than its header"),
    random=(random.Random(1).randbytes(400), "image of a program"),
)
def bad_images_are_refused(image, sentence):
    """If this breaks, the drive reads beyond an image, or runs what nobody
    wrote. Each mistake has its own sentence."""
    drive = get()
    before = drive.counters().load_refused
    drives.refused(drive, drive.load(1, image), csd.SC_BAD_PROG_DATA, sentence,
                   1)
    expect(drive.counters().load_refused, before + 1, "refusals counted")
    drive.must(drive.load(1, GOOD))


@test_each(
    no_end=([prog.mov(0, 0)], "exit|end|fall"),
    uninitialised=([prog.EXIT], "r0"),
    write_to_data=([prog.load64(1, 1, 8), prog.mov(2, 0),
                    prog.store64(1, 0, 2), prog.mov(0, 0), prog.EXIT],
                   "data|read-only|write|store"),
    unknown_helper=([prog.call(9999), prog.EXIT], "9999"),
    unknown_opcode=([prog.insn(0xff), prog.mov(0, 0), prog.EXIT], "ff"),
    jump_outside=([prog.jump(100), prog.mov(0, 0), prog.EXIT], "jump"),
    no_such_global=([prog.ld_global(1, 3), prog.mov(0, 0), prog.EXIT],
                    "global|3"),
)
def the_verifier_refuses_with_its_sentence(insns, sentence):
    """If this breaks, a program that can never be right runs on the drive, or
    nobody learns why it does not."""
    drive = get()
    image = prog.Image(insns, [(bytes(8), False)]).pack()
    drives.refused(drive, drive.load(2, image), csd.SC_BAD_PROG_DATA, sentence,
                   2)
    expect(drive.said(2), drive.said(0), "the sentence, under both selectors")
    expect(entries(drive)[2].flags, csd.PEOCC_EMPTY, "what is at the index")


@test
def sentences_are_kept_by_program():
    """If this breaks, the reason of one refusal is lost with the next one."""
    drive = get(max_queued=99)	# of which nobody else has asked anything
    drive.load(1, forged(magic=1))
    first = drive.message(1)
    drive.load(2, forged(abi=9))
    drives.refused(drive, drive.activate(4), csd.SC_NO_PROGRAM, "index 4", 4)
    expect(bytes(drive.message(1)) == bytes(first), what="the first sentence")
    expect(drive.message(2).seq, first.seq + 1, "sequence of the second")
    expect(drive.message(0).seq, first.seq + 2, "sequence of the last")
    expect(drive.message(3).seq, 0, "where nothing was said")
    status, _ = drive.log(csd.LOG_MESSAGE, 4096, specific=6)
    expect(status != 0, what="no sentences of an index beyond the last")


@test
def log_82h_lists_programs():
    """If this breaks, a host that comes later cannot see what is loaded."""
    drive = get()
    expect([e.flags for e in entries(drive)], [0] * 6, "flags at first")
    drive.must(drive.load(1, GOOD), drive.activate(1),
               drive.load(3, GOOD, pit=csd.PIT_PUID, pid=0x1122334455667788))
    found = entries(drive)
    expect([(e.flags, e.ptype, e.pid) for e in found], [
        (0, 0, 0), (csd.PEOCC_DOWNLOADED | csd.PEOCC_ACTIVE, 0xc0, 0), (0, 0, 0),
        (csd.PEOCC_DOWNLOADED | 1 << 3, 0xc0, 0x1122334455667788),
        (0, 0, 0), (0, 0, 0)], "entries")
    drive.must(drive.deactivate(1), drive.unload(1))
    expect([e.flags & 7 for e in entries(drive)], [0, 0, 0, 1, 0, 0], "later")


@test
def begun_downloads_are_not_listed():
    """If this breaks, half a program looks like one."""
    drive = get()
    drive.must(drive.run_admin(drive.load_command(1, GOOD[:8], len(GOOD))))
    expect([e.flags for e in entries(drive)], [0] * 6, "flags")
    drives.refused(drive, drive.activate(1), csd.SC_NO_PROGRAM, "index 1", 1)


@test
def unloading_what_is_not_there_is_refused():
    """If this breaks, a host does not learn that its program was lost."""
    drive = get()
    drives.refused(drive, drive.unload(1), csd.SC_NO_PROGRAM, "index 1", 1)
    for pind in (0, 6, 0xffff):
        drives.refused(drive, drive.unload(pind), csd.SC_BAD_PIND)
    drive.must(drive.load(1, GOOD))
    for field in ("size", "numb", "off"):
        drives.refused(drive, drive.unload(1, **{field: 4}),
                       nvme.INVALID_FIELD)
    drive.must(drive.unload(1))
    drives.refused(drive, drive.unload(1), csd.SC_NO_PROGRAM)


@test
def activation_twice_succeeds():
    """If this breaks, a host that repeats a command after a timeout fails."""
    drive = get()
    drive.must(drive.load(1, GOOD))
    for _ in range(2):
        drive.must(drive.activate(1))
    for _ in range(2):
        drive.must(drive.deactivate(1))
    drive.must(drive.unload(1))


@test
def as_many_as_max_active_are_active():
    """If this breaks, more programs are active than the drive says it can."""
    drive = get()
    for pind in range(1, 6):
        drive.must(drive.load(pind, GOOD))
    drive.must(*(drive.activate(pind) for pind in (1, 2, 3)))
    drives.refused(drive, drive.activate(4), csd.SC_MAX_ACTIVE, "deactivate", 4)
    drive.must(drive.activate(2))	# it is already
    drive.must(drive.deactivate(2), drive.activate(4))
    drives.refused(drive, drive.activate(2), csd.SC_MAX_ACTIVE)


@test
def global_memory_has_a_limit():
    """If this breaks, global memory of programs fills the drive's."""
    drive = get()
    half = prog.Image([prog.mov(0, 0), prog.EXIT],
                      [(bytes((32 << 10) + 8), False)]).pack()
    for pind in (1, 2):
        drive.must(drive.load(pind, half))
    drive.must(drive.activate(1))
    drives.refused(drive, drive.activate(2), csd.SC_PROG_RESOURCES,
                   "global memory", 2)
    drive.must(drive.deactivate(1), drive.activate(2))


@test_each(
    select=({"select": 2}, nvme.INVALID_FIELD, "SEL is 2"),
    select_last=({"select": 15}, nvme.INVALID_FIELD, "SEL is 15"),
    reserved=({"rsvd": 1 << 20}, nvme.INVALID_FIELD, "reserved"),
    reserved_last=({"rsvd": 1 << 31}, nvme.INVALID_FIELD, "reserved"),
    index_zero=({"pind": 0}, csd.SC_BAD_PIND, "index 0"),
    index_beyond=({"pind": 6}, csd.SC_BAD_PIND, "index 6"),
    empty=({"pind": 2}, csd.SC_NO_PROGRAM, "index 2"),
    deactivate_empty=({"pind": 2, "select": 0}, csd.SC_NO_PROGRAM, "index 2"),
)
def bad_activations_are_refused(fields, status, sentence):
    """If this breaks, an activation that means nothing succeeds."""
    drive = get()
    drive.must(drive.load(1, GOOD))
    drives.refused(drive, drive.activate(**{"pind": 1, **fields}), status,
                   sentence)


@test
def admin_commands_belong_to_the_programs_namespace():
    """If this breaks, a command for another namespace reaches programs."""
    drive = get()
    for nsid, statuses in ((NVM, (nvme.INVALID_OPCODE,)),
                           (SLM, (nvme.INVALID_OPCODE,)),
                           (0, (nvme.INVALID_NS,)), (77, (nvme.INVALID_NS,)),
                           (0xffffffff, (nvme.INVALID_NS,))):
        for done in (drive.run_admin(drive.load_command(1, GOOD, len(GOOD),
                                                        nsid=nsid)),
                     drive.activate(1, nsid=nsid),
                     drive.range_set([(0, 4096)], nsid=nsid)):
            expect(done.status in statuses, what=f"namespace {nsid:#x}: {done}")
    expect([e.flags for e in entries(drive)], [0] * 6, "programs")


@test
def vendor_aliases_do_the_same():
    """If this breaks, a path that lets only vendor opcodes through (the Linux
    NVMe target's) cannot load programs."""
    drive = get()
    drive.must(drive.load(1, GOOD, opcode=csd.ADMIN_LOAD_ALIAS))
    drive.must(drive.activate(1, opcode=csd.ADMIN_ACTIVATE_ALIAS))
    done = drive.must(drive.range_set([(0, 4096)],
                                      opcode=csd.ADMIN_RANGE_SET_ALIAS))
    drive.must(drive.execute(1, rsid=done.dw0))
    drive.must(drive.activate(1, csd.DEACTIVATE,
                              opcode=csd.ADMIN_ACTIVATE_ALIAS))
    drive.must(drive.unload(1, opcode=csd.ADMIN_LOAD_ALIAS))


@test
def globals_are_read_and_written():
    """If this breaks, a host sees other values than its program does."""
    drive = get()
    source = random.Random(3)
    values = [source.randbytes(4096), source.randbytes(100), bytes(20000)]
    drive.must(drive.load(1, prog.Image(
        [prog.mov(0, 0), prog.EXIT],
        [(values[0], False), (values[1], True), (values[2], False)]).pack()))
    drive.must(drive.activate(1))
    model = [bytearray(value) for value in values]
    for _ in range(100):
        index = source.choice([0, 0, 1, 2])
        off = source.randrange(len(model[index]))
        length = source.randint(1, len(model[index]) - off)
        if index != 1 and source.random() < 0.5:
            data = source.randbytes(length)
            drive.must(drive.globals_write(1, index, off, data))
            model[index][off:off + length] = data
        done, data = drive.globals_read(1, index, off, length)
        drive.must(done)
        expect(data == model[index][off:off + length],
               what=f"{length} bytes at {off} of global {index}")
    drive.must(drive.deactivate(1), drive.activate(1))
    for index, value in enumerate(values):
        done, data = drive.globals_read(1, index, 0, len(value))
        drive.must(done)
        expect(data == value, what=f"global {index} after activation")


@test_each(
    index=((1, 2, 0, 4), nvme.INVALID_FIELD, "2 globals"),
    index_far=((1, 0xffffffff, 0, 4), nvme.INVALID_FIELD, "globals"),
    behind=((1, 0, 64, 1), nvme.INVALID_FIELD, "64 bytes"),
    across=((1, 0, 60, 8), nvme.INVALID_FIELD, "64 bytes"),
    wraps=((1, 0, 0xfffffffc, 8), nvme.INVALID_FIELD, "64 bytes"),
    nothing=((1, 0, 0, 0), nvme.INVALID_FIELD, "0 bytes"),
    program_zero=((0, 0, 0, 4), csd.SC_BAD_PIND, "index 0"),
    program_beyond=((6, 0, 0, 4), csd.SC_BAD_PIND, "index 6"),
    program_wraps=((0x10001, 0, 0, 4), csd.SC_BAD_PIND, "index 65537"),
    empty=((3, 0, 0, 4), csd.SC_NO_PROGRAM, "index 3"),
    inactive=((2, 0, 0, 4), csd.SC_NOT_ACTIVE, "index 2"),
)
def bad_accesses_to_globals_are_refused(place, status, sentence):
    """If this breaks, a host reads or writes memory of the drive that is not
    the program's."""
    drive = get()
    image = prog.Image([prog.mov(0, 0), prog.EXIT],
                       [(bytes(64), False), (bytes(8), True)]).pack()
    drive.must(drive.load(1, image), drive.load(2, image), drive.activate(1))
    pind, index, off, length = place
    for opcode in (csd.CP_GLOBALS_READ, csd.CP_GLOBALS_WRITE):
        command = drive.globals_command(opcode, pind, index, off, length,
                                        drive.pointer(bytes(4096)))
        drives.refused(drive, drive.io.run(command), status, sentence)


@test
def constants_cannot_be_written():
    """If this breaks, a host changes what a program was verified with."""
    drive = get()
    drive.must(drive.load(1, prog.Image([prog.mov(0, 0), prog.EXIT],
                                        [(b"constant", True)]).pack()))
    drive.must(drive.activate(1))
    drives.refused(drive, drive.globals_write(1, 0, 0, b"x"),
                   nvme.INVALID_FIELD, "read-only", 1)
    for word in ("dw3", "dw13", "dw14", "dw15"):
        done = drive.io.run(drive.globals_command(
            csd.CP_GLOBALS_READ, 1, 0, 0, 4, drive.pointer(bytes(4)),
            **{word: 1}))
        drives.refused(drive, done, nvme.INVALID_FIELD, "reserved")
    expect(drive.globals_read(1, 0, 0, 8)[1], b"constant", "the constant")


@test
def resets_forget_programs_and_say_so():
    """If this breaks, a host executes what another one loaded, or does not
    learn that its own program is gone."""
    drive = get()
    drive.must(drive.load(1, GOOD), drive.activate(1))
    rsid = drive.must(drive.range_set([(0, 4096)])).dw0
    generation = drive.info().generation
    expect(generation != 0, what="generation")
    drive.restart()
    expect(drive.info().generation, generation + 1, "generation")
    expect([e.flags for e in entries(drive)], [0] * 6, "programs")
    drives.refused(drive, drive.execute(1, rsid=rsid), csd.SC_NO_PROGRAM)
    drive.must(drive.load(1, GOOD), drive.activate(1))
    drives.refused(drive, drive.execute(1, rsid=rsid), csd.SC_BAD_RSID)


@test
def every_image_that_the_tool_makes_is_taken():
    """If this breaks, objects of the samples and tests cannot be loaded."""
    drive = drives.get(slm_size=SIZE)
    for name, program in (("count_zero", "-"), ("deny", "-"), ("grep", "-"),
                          ("records", "-"), ("emit", "emit_64"),
                          ("fields", "-"), ("order", "-"), ("pair", "pair_4096"),
                          ("probe", "probe_3000_0"), ("settings", "largest"),
                          ("settings", "smallest"), ("state", "-")):
        tool, _ = prog.convert(name, program)
        image = prog.from_object(name, program)
        expect(image.pack() == tool, what=f"{name}: both writers agree")
        drive.put(1, tool)
        expect(drive.message(1).status, 0, f"{name} in log D1h")


@test
def checksum_is_crc32c():
    """If this breaks, tool, drive and tests agree on a checksum of their own."""
    # RFC 3720, B.4
    expect(prog.crc32c(bytes(32)), 0x8a9136aa, "32 zeros")
    expect(prog.crc32c(bytes(range(32))), 0x46dd794e, "0 to 31")
    expect(struct.unpack("<I", prog.seal(bytes(64))[12:16])[0],
           prog.crc32c(bytes(64)), "in an image")


if __name__ == "__main__":
    drives.run()
