# SPDX-License-Identifier: GPL-2.0
"""Random hosts for the drive: whatever one sends, QEMU lives on.

A Session plugs drives with random properties into one machine and, in rounds,
sends them commands that are right, nearly right, or noise, with everything
between them that a host can do: aborts, queues that are deleted, resets, time
that passes, faults on demand, drives that are pulled out. What a session does
depends on its seed alone, not on what the drive answers.

A round ends with a check that the drive still works. QEMU that dies or hangs,
or a sanitizer's word, is a finding.
"""

import random
import struct

import csdprog as prog
import nvme_csd as csd
import nvmequeue as nvme
import qtest
from csdrive import CP, NVM, SLM, Drive, byte_source, lba_source
from nvmequeue import Buffer, Command, Prp, Raw, Sgl, low_high

SLM_SIZE = 4 << 20
DISK_SIZE = 4 << 20
DEPTH = 256
MS = 1000 * 1000

# Executes that find matches, that only count, and that never end.
OBJECTS = (("grep", "-"), ("records", "-"), ("count_zero", "-"),
           ("pair", "pair_4096"), ("probe", "probe_3000_0"), ("emit", "emit_64"),
           ("state", "-"), ("order", "-"), ("settings", "largest"))
EVENTS = ("load", "activate", "range-set", "execute", "slm-read", "slm-write",
          "slm-fill", "slm-copy", "nvm-copy", "globals")
LOGS = (1, 2, 3, 4, 5, 0x1a, 0x1b, 0x82, 0x83, 0x84, 0x85, 0xbf, 0xc0, 0xd0,
        0xd1, 0xd2, 0xd3)
FEATURES = (0x01, 0x02, 0x04, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0e, 0x10,
            0x16, 0x19, 0x1d, 0x1e)
# SQE words that commands of the two sets look at.
SQE_BYTES = (0, 1, 4, 8, 12, 16, 24, 32, 40, 41, 42, 43, 44, 48, 52, 56, 60)


class Session:
    """One machine and its random host."""

    def __init__(self, seed, log=None, machine=None):
        self.seed = seed
        self.random = random.Random(f"drive {seed}")
        self.log = log or (lambda text: None)
        self.machine = machine or qtest.Machine(ports=2, memory=64 << 20)
        self.base = self.machine.ram.mark()
        self.drives = {}
        self.disks = [self.machine.disk(DISK_SIZE),
                      self.machine.late_disk(DISK_SIZE, 2 * MS)]
        self.images = self.make_images()
        self.commands = 0

    def make_images(self):
        source = self.random
        images = [prog.from_object(*name).pack() for name in OBJECTS]
        images += [prog.Image(prog.SPIN).pack(),
                   prog.Image([prog.mov(0, 0), prog.EXIT],
                              [(bytes(64), False), (b"constant", True)]).pack()]
        for _ in range(12):
            images.append(self.damaged(source.choice(images[:len(OBJECTS)])))
        return images

    def damaged(self, image):
        """An image with a few changes, and as a rule a good checksum."""
        image = bytearray(image)
        for _ in range(self.random.randint(1, 4)):
            at = self.random.choice([self.random.randrange(len(image)),
                                     self.random.randrange(64)])
            image[at] = self.random.choice([0, 1, 0xff, image[at] ^ 1 << 7,
                                            self.random.randrange(256)])
        return prog.seal(image) if self.random.random() < 0.9 else bytes(image)

    # Values

    def pick(self, *values):
        return self.random.choice(values)

    def chance(self, probability):
        return self.random.random() < probability

    def number(self, bits=32):
        """Around where things go wrong."""
        edge = self.pick(0, 1 << bits, 1 << bits - 1, 1 << 31, 1 << 32,
                         1 << self.random.randrange(bits), SLM_SIZE, DISK_SIZE)
        return (edge + self.pick(-4096, -512, -8, -4, -1, 0, 1, 4, 512, 4096)) \
            & (1 << bits) - 1

    def offset(self):
        if self.chance(0.1):
            return self.number(64)
        return 4 * self.random.randrange(SLM_SIZE // 4)

    def length(self, most=64 << 10):
        if self.chance(0.1):
            return self.number()
        return 4 * self.random.randrange(1, most // 4)

    def pind(self):
        return self.random.randrange(0, 6) if self.chance(0.95) \
            else self.random.randrange(1 << 16)

    def nsid(self, usual):
        return usual if self.chance(0.97) else \
            self.pick(0, NVM, SLM, CP, 4, 0xfffffffe, 0xffffffff)

    def bad_address(self, drive):
        bar, size = drive.bars.get(2, drive.bars[0])
        return self.pick(
            bar, bar + size - 4, bar + size, drive.bars[0][0],
            drive.bars[0][0] + 0x1000, 0xb8000000, self.machine.ram.size,
            self.machine.ram.size - 4, 1 << 40, (1 << 64) - 4096, 0,
            self.number(64), bar + 4096 * self.random.randrange(
                max(1, size // 4096)))

    def pointer(self, drive, data, size=None):
        """To the data, as a rule; by PRP, by SGL, or to somewhere else."""
        ram = self.machine.ram
        size = size if size is not None else len(data)
        size = min(max(size, 1), 256 << 10)
        if self.chance(0.07):
            return self.bad_pointer(drive)
        buffer = Buffer(ram, size, self.pick(0, 0, 0, 4, 64, 4092))
        if data:
            buffer.fill(data[:size])
        if self.chance(0.2):
            return Sgl(buffer, per_segment=self.random.randint(1, 9))
        return Prp(buffer)

    def bad_pointer(self, drive):
        ram = self.machine.ram
        lists = ram.pages(1)
        entries = [self.pick(self.bad_address(drive), ram.pages(1))
                   for _ in range(8)]
        ram.write(lists, struct.pack("<8Q", *entries))
        kind = self.random.randrange(4)
        if kind == 0:
            return Raw(self.bad_address(drive), self.bad_address(drive))
        if kind == 1:
            return Raw(ram.pages(1), lists + self.pick(0, 4, 4088))
        descriptors = b"".join(nvme.sgl_descriptor(
            self.pick(self.bad_address(drive), ram.pages(1)),
            self.pick(16, 64, self.length()), self.pick(0, 0, 0, 1, 2, 3, 4, 15))
            for _ in range(self.random.randint(1, 8)))
        ram.write(lists, descriptors)
        raw = nvme.sgl_descriptor(lists, len(descriptors), self.pick(2, 3, 3, 0))
        if kind == 2:
            raw = descriptors[:16]
        return Raw(*struct.unpack("<2Q", raw), psdt=self.pick(1, 1, 2, 3))

    # Commands

    def slm_command(self, drive):
        opcode = self.pick(csd.SLM_READ, csd.SLM_WRITE, csd.SLM_FILL)
        length = self.length(512 << 10 if self.chance(0.1) else 16384)
        return Command(opcode, self.nsid(SLM), self.pointer(drive, b"", length),
                       dw12=length, **low_high(self.offset(), 10))

    def copy_command(self, drive):
        kind = self.pick(csd.COPY_LBA, csd.COPY_LBA_LONG, csd.COPY_BYTES)
        sources, total = [], 0
        for _ in range(self.pick(1, 1, 1, 2, 5, 128)):
            if kind == csd.COPY_BYTES:
                source = byte_source(self.offset(), self.length(8192),
                                     self.nsid(SLM))
                total += source.len
            else:
                slba = self.random.randrange(DISK_SIZE // 512 - 64) \
                    if self.chance(0.95) else self.number(64)
                blocks = self.random.randint(1, 64) if self.chance(0.9) \
                    else self.pick(65536, 4096, 8192)
                source = lba_source(slba, blocks, self.nsid(NVM),
                                    kind == csd.COPY_LBA_LONG)
                total += blocks * 512
            if self.chance(0.03):
                source.sopt = self.pick(1 << 15, 1, 0xffff)
            sources.append(source)
        if self.chance(0.05):
            total = self.number(64)
        raw = b"".join(map(bytes, sources))
        fields = dict(dw12=(self.pick(0, 2, 3, 4, 5) if self.chance(0.03) else
                            kind) << 8 | (len(sources) - 1 if self.chance(0.97)
                                          else 255))
        if self.chance(0.25):
            return Command(nvme.NVM_COPY, self.nsid(NVM),
                           self.pointer(drive, raw), **fields, **low_high(
                               self.random.randrange(DISK_SIZE // 512), 10))
        return Command(csd.SLM_COPY, self.nsid(SLM), self.pointer(drive, raw),
                       **fields, **low_high(total, 2),
                       **low_high(self.offset(), 10))

    def ranges(self):
        """Descriptors that, as a rule, do not overlap."""
        number = self.pick(1, 2, 2, 2, 3, 5)
        room = SLM_SIZE // number
        found = b""
        for place in range(number):
            off = place * room + 4 * self.random.randrange(room // 8)
            length = 4 * self.random.randrange(1, room // 8)
            one = csd.Range(nsid=self.nsid(SLM), off=off, len=length)
            if self.chance(0.03):
                one.off = self.number(64)
            if self.chance(0.03):
                one.len = self.number()
            if self.chance(0.01):
                one.rsvd[self.random.randrange(16)] = 1
            found += bytes(one)
        return found, number

    def exec(self):
        what = csd.Exec(
            size=112, mode=self.pick(csd.SCAN, csd.SCAN, csd.CALL),
            flags=self.pick(0, 0, csd.EXEC_COUNT), data_range=0,
            result_range=self.pick(1, 1, 1, csd.NO_RANGE, 0),
            unit=self.pick(0, 0, 512, 1, 4096, 32768, 3000),
            data_off=self.pick(0, 0, 4, 4096),
            data_len=self.pick(1, 512, 4096, 8192, 65536),
            tail_len=self.pick(0, 0, 64, 4096), pos=self.pick(0, 1 << 40))
        for word in range(4):
            what.args[word] = self.pick(0, 1, 97, 98, 4096, self.number(64))
        if self.chance(0.2):
            what.cursor = csd.Cursor(
                off=self.pick(0, 512, 4096), skip=self.pick(0, 1, 100),
                cookie=self.random.randrange(40))
        raw = bytearray(bytes(what))
        if self.chance(0.1):
            at = 4 * self.random.randrange(len(raw) // 4)
            raw[at:at + 4] = struct.pack("<I", self.number())
        return bytes(raw)

    def execute_command(self, drive):
        raw, number = b"", 0
        rsid = self.random.randrange(1, 5) if self.chance(0.3) else 0
        if not rsid or self.chance(0.02):
            raw, number = self.ranges()
        if self.chance(0.85):
            raw += self.exec()
        dlen = len(raw) if self.chance(0.98) else self.number()
        vendor = self.chance(0.3)
        return Command(
            csd.CP_EXECUTE_DLEN if vendor else csd.CP_EXECUTE, self.nsid(CP),
            self.pointer(drive, raw), dw2=self.pind() | rsid << 16, dw3=number
            if self.chance(0.98) else self.number(),
            **{"dw14" if vendor else "dw4": dlen},
            **low_high(self.number(64), 10), **low_high(self.number(64), 12))

    def globals_command(self, drive):
        length = self.pick(4, 8, 64, self.length())
        return Command(self.pick(csd.CP_GLOBALS_READ, csd.CP_GLOBALS_WRITE),
                       self.nsid(CP), self.pointer(drive, b"", length),
                       dw2=self.pind(), dw10=self.pick(0, 0, 1, 2, 63, 64),
                       dw11=self.pick(0, 8, 60, self.number()), dw12=length)

    def nvm_command(self, drive):
        opcode = self.pick(nvme.NVM_FLUSH, nvme.NVM_READ, nvme.NVM_WRITE, 0x04,
                           0x05, 0x08, 0x09, 0x0c, 0x19, 0x7d)
        return Command(opcode, self.nsid(NVM), self.pointer(drive, b"", 32768),
                       dw12=self.random.randrange(64),
                       **low_high(self.random.randrange(DISK_SIZE // 512), 10))

    def any_command(self, drive):
        words = {f"dw{n}": self.number() for n in (2, 3, 4, 10, 11, 12, 13, 14,
                                                   15) if self.chance(0.3)}
        return Command(self.random.randrange(256),
                       self.pick(NVM, SLM, CP, CP, 0xffffffff),
                       self.pointer(drive, b"", 8192), **words)

    def load_command(self, drive):
        image = self.random.choice(self.images)
        off = 0
        if self.chance(0.25):
            off = 4 * self.random.randrange(len(image) // 4)
        chunk = image[off:] if self.chance(0.7) else image[off:off + 256]
        unload = csd.LOAD_SEL_UNLOAD if self.chance(0.15) else 0
        return Command(
            self.pick(csd.ADMIN_LOAD, csd.ADMIN_LOAD, csd.ADMIN_LOAD_ALIAS),
            self.nsid(CP), self.pointer(drive, chunk),
            dw10=self.pind() | (0xc0 if self.chance(0.98) else 0) << 16 | unload,
            dw11=0 if unload else len(image) if self.chance(0.97)
            else self.number(),
            dw14=0 if unload else len(chunk) if self.chance(0.97)
            else self.number(), dw15=0 if unload else off)

    def program_admin(self, drive):
        kind = self.random.randrange(3)
        if kind == 0:
            return Command(csd.ADMIN_ACTIVATE, self.nsid(CP), dw10=self.pind() |
                           self.pick(1, 1, 1, 0, 2) << 16)
        if kind == 1:
            raw, number = self.ranges()
            return Command(csd.ADMIN_RANGE_SET, self.nsid(CP),
                           self.pointer(drive, raw), dw11=number)
        return Command(csd.ADMIN_RANGE_SET, self.nsid(CP), dw10=1 |
                       self.random.randrange(6) << 16)

    def enquiry(self, drive):
        size = self.pick(4, 64, 512, 4096, 4096, 16384)
        kind = self.random.randrange(4)
        if kind == 0:
            return Command(nvme.IDENTIFY, self.pick(0, NVM, SLM, CP, 77),
                           self.pointer(drive, b"", 4096),
                           dw10=self.random.randrange(0x20),
                           dw11=self.pick(0, 2, 3, 4, 5) << 24)
        if kind == 1:
            return Command(nvme.GET_LOG, self.pick(0, 0xffffffff, NVM, SLM, CP),
                           self.pointer(drive, b"", size),
                           dw10=(size // 4 - 1) << 16 | self.pick(0, 1, 8) << 8 |
                           self.random.choice(LOGS),
                           dw11=self.pick(0, 1, 5, 6, 0xffff) << 16,
                           dw14=self.pick(0, 3, 4) << 24,
                           **low_high(self.pick(0, 0, 0, 64, 4092,
                                                self.number(64)), 12))
        return Command(self.pick(nvme.GET_FEATURES, nvme.SET_FEATURES),
                       self.pick(0, 0xffffffff, NVM, SLM, CP),
                       self.pointer(drive, b"\x1c" * 512),
                       dw10=self.random.choice(FEATURES) | self.pick(
                           0, 0, 1 << 8, 1 << 31), dw11=self.number())

    def mutate(self, command):
        """The command, with some words of its entry changed."""
        raw = bytearray(command.pack(0))
        for _ in range(self.random.randint(1, 3)):
            at = self.random.choice(SQE_BYTES)
            if at < 2 or self.chance(0.3):
                raw[at] ^= 1 << self.random.randrange(8)
            elif at != 2:
                at &= ~3
                raw[at:at + 4] = struct.pack("<I", self.number())

        class Mutated:
            def pack(self, cid):
                return bytes(raw[:2]) + struct.pack("<H", cid) + bytes(raw[4:])

        return Mutated()

    MAKERS = ((slm_command, 10), (copy_command, 10), (execute_command, 25),
              (globals_command, 5), (nvm_command, 4), (any_command, 3))
    ADMIN_MAKERS = ((load_command, 10), (program_admin, 12), (enquiry, 6),
                    (any_command, 1))

    def make(self, drive, makers):
        maker, = self.random.choices([m for m, _ in makers],
                                     [weight for _, weight in makers])
        command = maker(self, drive)
        if self.chance(0.06):
            return self.mutate(command), maker.__name__ + ", mutated"
        return command, maker.__name__

    # What a host does

    def send(self, drive, queue, makers, number):
        if queue.qid not in drive.queues or queue.sent + number > DEPTH - 8:
            return
        for _ in range(number):
            command, name = self.make(drive, makers)
            queue.place(command)
            queue.sent += 1
            self.commands += 1
            self.log(f"port {drive.port} queue {queue.qid}: {name} "
                     f"{command.pack(0).hex()}")
        queue.ring()

    def io(self, drive):
        self.send(drive, drive.extra if self.chance(0.3) else drive.io,
                  self.MAKERS, self.pick(1, 1, 2, 8))

    def admin(self, drive):
        self.send(drive, drive.admin, self.ADMIN_MAKERS, self.pick(1, 1, 2, 3))

    def good_program(self, drive):
        """Something to execute, so that not all is refused."""
        pind = self.random.randrange(1, 5)
        image = self.random.choice(self.images[:len(OBJECTS) + 2])
        for command in (Command(csd.ADMIN_ACTIVATE, CP, dw10=pind),
                        drive.load_command(pind, unload=True),
                        drive.load_command(pind, image, len(image)),
                        Command(csd.ADMIN_ACTIVATE, CP, dw10=pind | 1 << 16)):
            if drive.admin.sent > DEPTH - 8:
                return
            cid = drive.admin.submit(command)
            drive.admin.sent += 1
            self.log(f"port {drive.port}: program {pind}: "
                     f"{command.pack(0).hex()}")
            self.wait(drive, drive.admin, cid)

    def wait(self, drive, queue, cid):
        """For a command that may be late on demand.

        It may also never end: for a fault on demand, or since the drive no longer
        finds its queues. Noise in CMBMSC is enough for that, as it places the
        controller's memory where the queues are. Nothing is waited for after
        one that did not end, until the drive is reset.
        """
        if drive.lost:
            return
        try:
            queue.wait(cid, 20, step=1000 * MS)
        except nvme.Timeout:
            self.machine.check()
            self.log(f"command {cid} hangs")
            drive.lost = True

    def abort(self, drive):
        if drive.admin.sent > DEPTH - 8:
            return
        cid = self.random.randrange(1, max(2, drive.io.sent + 2))
        self.log(f"port {drive.port}: abort {cid}")
        drive.admin.submit(Command(nvme.ABORT, dw10=cid << 16 | self.pick(
            1, 1, 2, 0, 3)))
        drive.admin.sent += 1

    def look(self, drive):
        for queue in drive.queues.values():
            queue.drain()

    def time(self, drive):
        step = self.pick(1, 1000, MS, 20 * MS, 101 * MS, 5000 * MS)
        self.log(f"time {step}")
        self.machine.clock_step(step)

    def fault(self, drive):
        spec = ";".join(
            f"{self.random.choice(EVENTS)}{self.pick('', '@2', '@7')}:" +
            self.pick("hang", "delay=10", "delay=1000", "fail=0x006",
                      "fail=0x1c0") for _ in range(self.random.randint(1, 3)))
        self.log(f"port {drive.port}: fault {spec}")
        drive.set_fault(spec if self.chance(0.7) else "")

    def window(self, drive):
        """The host reads and writes the SLM that is in a BAR."""
        if 2 not in drive.bars:
            return
        bar, size = drive.bars[2]
        at = bar + self.random.randrange(size - 64)
        self.log(f"port {drive.port}: window at {at:#x}")
        self.machine.write(at, self.random.randbytes(self.pick(1, 4, 8, 64)))
        self.machine.read(at, 16)

    def registers(self, drive):
        """Noise in registers, but for those that only a reset mends."""
        bar, size = drive.bars[0]
        at = self.pick(0, 4, 8, 0xc, 0x10, 0x1c, 0x38, 0x3c, 0x50, 0x54,
                       0x1000 + 4 * self.random.randrange(16),
                       self.random.randrange(size - 8))
        self.log(f"port {drive.port}: register {at:#x}")
        if self.chance(0.5):
            self.machine.readl(bar + (at & ~3))
        elif not 0x14 <= at < 0x38 and not at < 0x1000 < at + 8:
            # Doorbells of queues that are in use would skip entries.
            if not 0x1000 <= at & ~3 < 0x1018:
                self.machine.writel(bar + (at & ~3), self.number())

    def delete_queue(self, drive):
        """Of the second queue, and make it again."""
        if 2 not in drive.queues or drive.admin.sent > DEPTH - 16:
            return
        self.log(f"port {drive.port}: delete queue 2")
        for opcode in (nvme.DELETE_SQ, nvme.DELETE_CQ):
            cid = drive.admin.submit(Command(opcode, dw10=2))
            drive.admin.sent += 1
            self.wait(drive, drive.admin, cid)
        drive.extra = self.new_queue(drive, 2)

    def new_queue(self, drive, qid):
        queue = nvme.Queue(drive, qid, DEPTH)
        size = (DEPTH - 1) << 16 | qid
        queue.sent = 0
        for opcode, at, flags in ((nvme.CREATE_CQ, queue.cq, 1),
                                  (nvme.CREATE_SQ, queue.sq, qid << 16 | 1)):
            cid = drive.admin.submit(Command(opcode, data=Raw(at), dw10=size,
                                             dw11=flags))
            drive.admin.sent += 1
            self.wait(drive, drive.admin, cid)
        drive.queues[qid] = queue
        return queue

    ACTIONS = ((io, 100), (admin, 25), (good_program, 12), (abort, 15),
               (look, 15), (time, 10), (fault, 3), (window, 3), (registers, 4),
               (delete_queue, 3))

    # Rounds

    def plug(self, port):
        properties = {
            "slm_size": SLM_SIZE, "engines": self.pick(1, 2, 4),
            "max_programs": 5, "max_active": self.pick(2, 5),
            "max_ranges": self.pick(3, 16), "max_range_sets": 4,
            "max_queued": self.pick(3, 256), "deadline_ms": self.pick(0, 20, 100),
            "fuel": self.pick(0, 0, 100000), "jit": self.pick(True, False),
            "max_copy": self.pick(65536, SLM_SIZE),
            "fast_copy": self.pick(True, False),
            "slm_window": self.pick(0, 2 << 20),
            "unreachable": self.pick("", "", "1", "1:2"),
        }
        if self.chance(0.25):
            # Modelled time waits for a program, which therefore has to end.
            properties.update(timing=True, deadline_ms=self.pick(1, 20),
                              timing_preset=self.pick("pm9a3", "p5800x"))
        self.log(f"port {port}: plug {properties}")
        drive = Drive.plug(self.machine, port, self.disks[port], start=False,
                           **properties)
        drive.step = MS if "timing" in properties else 0
        self.drives[port] = drive

    @staticmethod
    def disable(drive):
        """Also forget where noise has put the controller's memory, which a
        controller remembers when it is disabled."""
        drive.disable()
        drive.writeq(nvme.REG_CMBMSC, 0)

    def start(self, drive):
        self.log(f"port {drive.port}: start")
        self.disable(drive)
        drive.enable(nvme.CSS_ALL if self.chance(0.97) else nvme.CSS_NVM, DEPTH)
        drive.admin.sent = 0
        drive.lost = False
        drive.io = self.new_queue(drive, 1)
        drive.extra = self.new_queue(drive, 2)
        if drive.lost:
            raise RuntimeError("no queue can be created after a reset")
        for _ in range(2):
            self.good_program(drive)

    def reset(self, drive):
        kind = self.random.randrange(10)
        self.log(f"port {drive.port}: end of a round, {kind}")
        if kind < 4:
            drive.disable()
        elif kind < 6:
            drive.function_reset()
        elif kind < 7:
            drive.write(nvme.REG_CC, drive.read(nvme.REG_CC) | self.pick(
                1, 2) << 14)
            drive.disable()
        else:
            drive.pull()
            del self.drives[drive.port]

    def check(self, drive):
        """It works: after a reset it loads, executes, and remembers."""
        self.log(f"port {drive.port}: check")
        drive.set_fault("")
        self.disable(drive)
        drive.depth = 64
        drive.enable(depth=64)
        drive.io = drive.create_queue(1, 64)

        def must(queue, command):
            done = queue.run(command)
            if done.status:
                raise RuntimeError(f"status {done.status:#x} of {command.opcode:#x}"
                                   f" after a round: {drive.said()}")
            return done

        image = prog.Image([prog.mov(0, 42), prog.EXIT]).pack()
        must(drive.admin, drive.load_command(1, image, len(image)))
        must(drive.admin, Command(csd.ADMIN_ACTIVATE, CP, dw10=1 | 1 << 16))
        data = self.random.randbytes(64)
        must(drive.io, drive.slm_command(csd.SLM_WRITE, 4096, 64,
                                         drive.pointer(data)))
        done = must(drive.io, drive.execute_command(1, [(4096, 64)]))
        if done.result != 42:
            raise RuntimeError(f"the program returned {done.result}")
        buffer = Buffer(self.machine.ram, 64)
        must(drive.io, drive.slm_command(csd.SLM_READ, 4096, 64, Prp(buffer)))
        if buffer.bytes() != data:
            raise RuntimeError("the SLM forgot what was written")

    def round(self, actions=60):
        """Plug what is missing, be a host for a while, and look."""
        for port in (0, 1):
            if port not in self.drives:
                self.plug(port)
        self.machine.ram.release(self.base)
        for drive in self.drives.values():
            self.start(drive)
        names = [action for action, _ in self.ACTIONS]
        weights = [weight for _, weight in self.ACTIONS]
        for _ in range(actions):
            drive = self.drives[self.random.randrange(2)]
            action, = self.random.choices(names, weights)
            action(self, drive)
        for drive in list(self.drives.values()):
            self.reset(drive)
        for drive in self.drives.values():
            self.check(drive)
        self.machine.check()
