# SPDX-License-Identifier: GPL-2.0
"""An NVMe host in Python, on a qtest.Machine: registers, queues, data pointers.

    ctrl = Controller(machine, port=0)
    ctrl.enable()
    queue = ctrl.create_queue(1)
    done = queue.run(Command(0x02, nsid=1, dw10=0, data=Prp(buffer)))

Statuses are (SCT << 8 | SC), as in linux/nvme_csd.h; the "more" and "do not
retry" bits are apart, in Completion.flags.
"""

import collections
import struct
import time

from qtest import PAGE, shuffled

# Generic command status
SUCCESS, INVALID_OPCODE, INVALID_FIELD = 0x0, 0x1, 0x2
CID_CONFLICT, DATA_TRANSFER, ABORTED, ABORTED_SQ = 0x3, 0x4, 0x7, 0x8
INTERNAL, INVALID_NS, SEQUENCE = 0x6, 0xb, 0xc
SGL_SEGMENT, SGL_COUNT, SGL_LENGTH, SGL_TYPE = 0xd, 0xe, 0xf, 0x11
CMB_USE, PRP_OFFSET, LBA_RANGE = 0x12, 0x13, 0x80
# Command specific
INVALID_QID, INVALID_LOG_PAGE = 0x101, 0x109

IDENTIFY, ABORT, SET_FEATURES, GET_FEATURES = 0x06, 0x08, 0x09, 0x0a
GET_LOG, ASYNC_EVENT = 0x02, 0x0c
DELETE_SQ, CREATE_SQ, DELETE_CQ, CREATE_CQ = 0x00, 0x01, 0x04, 0x05
NVM_FLUSH, NVM_WRITE, NVM_READ, NVM_COPY = 0x00, 0x01, 0x02, 0x19

REG_CAP, REG_CC, REG_CSTS, REG_AQA, REG_ASQ, REG_ACQ = (0x0, 0x14, 0x1c, 0x24,
                                                        0x28, 0x30)
REG_NSSR, REG_CMBMSC = 0x20, 0x50
CSS_NVM, CSS_ALL, CSS_ADMIN = 0, 6, 7


class Timeout(Exception):
    """A command did not complete in its time."""


class Completion(collections.namedtuple(
        "Completion", "cid status result sqid flags")):
    """@result is DW0-1 of the entry."""

    @property
    def dw0(self):
        return self.result & 0xffffffff


class Buffer:
    """Guest memory whose pages lie apart, in no order."""

    def __init__(self, ram, size, offset=0):
        assert 0 <= offset < PAGE
        self.ram, self.size, self.offset = ram, size, offset
        number = max(1, -(-(offset + size) // PAGE))
        first = ram.pages(number)
        self.pages = shuffled(range(first, first + number * PAGE, PAGE), number)

    def pieces(self, at=0, size=None):
        """(address, length) of the bytes, page by page."""
        at += self.offset
        end = at + (self.size - at + self.offset if size is None else size)
        while at < end:
            room = min(PAGE - at % PAGE, end - at)
            yield self.pages[at // PAGE] + at % PAGE, room
            at += room

    def fill(self, data):
        """Write to it from its first byte on. Returns itself."""
        data = memoryview(bytes(data))
        for address, length in self.pieces(0, len(data)):
            self.ram.write(address, data[:length])
            data = data[length:]
        return self

    def bytes(self, size=None):
        return b"".join(self.ram.read(*piece)
                        for piece in self.pieces(0, size))


class Raw:
    """A data pointer of any 16 bytes, right or wrong."""

    def __init__(self, first, second=0, psdt=0):
        self.words = (first, second)
        self.psdt = psdt


class Prp(Raw):
    """PRP entries for a Buffer; lists are chained as they fill their pages."""

    def __init__(self, buffer, size=None):
        entries = [address for address, _ in buffer.pieces(0, size)]
        first = entries.pop(0) if entries else 0
        super().__init__(first, self.second(buffer.ram, entries))

    @staticmethod
    def second(ram, entries):
        if not entries:
            return 0
        if len(entries) == 1:
            return entries[0]
        first = at = ram.pages(1)
        while len(entries) > 512:
            after = ram.pages(1)
            ram.write(at, struct.pack("<512Q", *entries[:511], after))
            entries, at = entries[511:], after
        ram.write(at, struct.pack(f"<{len(entries)}Q", *entries))
        return first


def sgl_descriptor(address, length, kind=0, subtype=0):
    """16 bytes: kind 0 data block, 1 bit bucket, 2 segment, 3 last segment."""
    return struct.pack("<QI3xB", address, length, kind << 4 | subtype)


class Sgl(Raw):
    """An SGL for a Buffer, in segments of so many descriptors or more."""

    def __init__(self, buffer, size=None, per_segment=7, cut=None):
        """@cut: also cut data blocks to at most so many bytes."""
        blocks = []
        for address, length in buffer.pieces(0, size):
            while cut and length > cut:
                blocks.append((address, cut))
                address, length = address + cut, length - cut
            blocks.append((address, length))
        descriptor = self.build(buffer.ram, blocks, per_segment)
        super().__init__(*struct.unpack("<2Q", descriptor), psdt=1)

    @staticmethod
    def build(ram, blocks, per_segment):
        if len(blocks) == 1:
            return sgl_descriptor(*blocks[0])
        # Each is longer than the one before it: of two equal ones QEMU's
        # hw/nvme takes the second's last descriptor for the first's.
        pieces = []
        while blocks:
            length = per_segment + len(pieces)
            pieces.append(blocks[:length])
            blocks = blocks[length:]
        follows = b""
        for place in range(len(pieces) - 1, -1, -1):
            data = b"".join(sgl_descriptor(*b) for b in pieces[place]) + follows
            at = ram.pages(-(-len(data) // PAGE))
            ram.write(at, data)
            last = place == len(pieces) - 1
            follows = sgl_descriptor(at, len(data), 3 if last else 2)
        return follows


class Command:
    """A submission queue entry. @data is a data pointer, or None."""

    def __init__(self, opcode, nsid=0, data=None, **words):
        self.opcode, self.nsid, self.data = opcode, nsid, data or Raw(0)
        self.words = words
        unknown = set(words) - {f"dw{n}" for n in (2, 3, 4, 5, *range(10, 16))}
        assert not unknown, unknown

    def pack(self, cid):
        word = lambda n: self.words.get(f"dw{n}", 0) & 0xffffffff  # noqa: E731
        return struct.pack(
            "<BBHIIIIIQQ6I", self.opcode, self.data.psdt << 6, cid, self.nsid,
            word(2), word(3), word(4), word(5), *self.data.words,
            *(word(n) for n in range(10, 16)))


def low_high(value, at):
    """The two words of a 64-bit field that begins at word @at."""
    return {f"dw{at}": value & 0xffffffff, f"dw{at + 1}": value >> 32}


class Queue:
    """A submission queue and its completion queue."""

    def __init__(self, ctrl, qid, depth, sq_at=None):
        self.ctrl, self.qid, self.depth = ctrl, qid, depth
        self.ram = ctrl.machine.ram
        self.sq = sq_at or self.ram.pages(-(-depth * 64 // PAGE))
        self.cq = self.ram.pages(-(-depth * 16 // PAGE))
        self.ram.write(self.cq, bytes(depth * 16))
        self.tail = self.head = 0
        self.phase = 1
        self.next_cid = 0
        self.waiting = {}
        self.outstanding = set()

    def cid(self):
        while True:
            self.next_cid = (self.next_cid + 1) & 0xffff
            if self.next_cid not in self.outstanding:
                return self.next_cid

    def place(self, command, cid=None):
        """Put a command into the queue, without the doorbell; its identifier."""
        cid = self.cid() if cid is None else cid
        self.ram.write(self.sq + self.tail * 64, command.pack(cid))
        self.tail = (self.tail + 1) % self.depth
        self.outstanding.add(cid)
        return cid

    def ring(self):
        self.ctrl.doorbell(self.qid, 0, self.tail)

    def submit(self, command, cid=None):
        cid = self.place(command, cid)
        self.ring()
        return cid

    def submit_all(self, commands):
        """Many commands by one doorbell."""
        cids = [self.place(command) for command in commands]
        self.ring()
        return cids

    def poll(self):
        """The next completion, or None."""
        entry = self.ram.read(self.cq + self.head * 16, 16)
        result, _, sqid, cid, status = struct.unpack("<QHHHH", entry)
        if status & 1 != self.phase:
            return None
        self.head = (self.head + 1) % self.depth
        self.phase ^= not self.head
        self.outstanding.discard(cid)
        self.ctrl.doorbell(self.qid, 1, self.head)
        return Completion(cid, status >> 1 & 0x7ff, result, sqid, status >> 12)

    def drain(self):
        """Take what has completed by now."""
        while done := self.poll():
            self.waiting[done.cid] = done

    def wait(self, cid, timeout=30, step=None):
        """The completion of that command; others are kept for their wait().

        @step: nanoseconds of virtual time to let pass between two looks; by
        default as many as the controller says.
        """
        step = self.ctrl.step if step is None else step
        end = time.monotonic() + timeout
        looks = 0
        while cid not in self.waiting:
            self.drain()
            if cid in self.waiting:
                break
            if step:
                self.ctrl.machine.clock_step(step)
            looks += 1
            if looks > 50:
                time.sleep(0.0002)
            if looks % 256 == 0:
                self.ctrl.machine.check()
            if time.monotonic() > end:
                raise Timeout(f"command {cid} of queue {self.qid} did not "
                              f"complete in {timeout} s")
        return self.waiting.pop(cid)

    def wait_all(self, cids, timeout=30):
        end = time.monotonic() + timeout
        return [self.wait(cid, end - time.monotonic()) for cid in cids]

    def run(self, command, timeout=30, step=None):
        return self.wait(self.submit(command), timeout, step)


class Controller:
    """The registers of one drive, and its admin queue.

    @step: virtual time (ns) that passes at every look at a queue; a drive that
    models time does nothing without.
    """

    step = 0

    def __init__(self, machine, port=0, bus=None):
        self.machine = machine
        self.port = port
        self.bus = port + 1 if bus is None else bus
        self.bars = {}
        self.queues = {}
        self.admin = None
        self.map_bars()
        self.cap = machine.readq(self.bars[0][0] + REG_CAP)
        self.stride = 4 << (self.cap >> 32 & 0xf)

    def map_bars(self):
        """Give each BAR an address behind the port, and switch DMA on."""
        machine, bus = self.machine, self.bus
        end = machine.window(self.port)
        bar = 0
        while bar < 6:
            at = 0x10 + bar * 4
            machine.config_write(bus, 0, at, 0xffffffff)
            mask = machine.config_read(bus, 0, at)
            size = -(mask & ~0xf) & 0xffffffff
            wide = mask & 0x6 == 0x4
            if mask & ~0xf:
                first = -(-end // size) * size
                machine.config_write(bus, 0, at, first)
                if wide:
                    machine.config_write(bus, 0, at + 4, 0)
                self.bars[bar] = (first, size)
                end = first + size
            bar += 2 if wide else 1
        machine.config_write(bus, 0, 0x04, 0x6)

    def read(self, register):
        return self.machine.readl(self.bars[0][0] + register)

    def write(self, register, value):
        self.machine.writel(self.bars[0][0] + register, value)

    def writeq(self, register, value):
        self.write(register, value & 0xffffffff)
        self.write(register + 4, value >> 32)

    def at_once(self, *writes):
        """Writes of (register, value) between which the drive does nothing."""
        self.machine.commands(f"writel {self.bars[0][0] + register:#x} {value:#x}"
                              for register, value in writes)

    def doorbell_at(self, qid, is_cq):
        return 0x1000 + (2 * qid + is_cq) * self.stride

    def doorbell(self, qid, is_cq, value):
        self.write(self.doorbell_at(qid, is_cq), value)

    def wait_ready(self, wanted, timeout=30):
        end = time.monotonic() + timeout
        while self.read(REG_CSTS) & 1 != wanted:
            if self.read(REG_CSTS) & 2:
                raise Timeout("the controller says that it failed fatally")
            if time.monotonic() > end:
                raise Timeout(f"CSTS.RDY did not become {wanted}")

    def disable(self):
        self.write(REG_CC, self.read(REG_CC) & ~1)
        self.wait_ready(0)
        self.queues = {}

    def enable(self, css=CSS_ALL, depth=64):
        """Make an admin queue and start; returns the controller."""
        self.admin = Queue(self, 0, depth)
        self.write(REG_AQA, (depth - 1) << 16 | depth - 1)
        self.writeq(REG_ASQ, self.admin.sq)
        self.writeq(REG_ACQ, self.admin.cq)
        self.write(REG_CC, 4 << 20 | 6 << 16 | css << 4 | 1)
        self.wait_ready(1)
        self.queues = {0: self.admin}
        return self

    def reset(self, css=CSS_ALL):
        self.disable()
        return self.enable(css)

    def function_reset(self):
        """A PCI reset of the function (FLR), which forgets the BARs, too."""
        at = self.machine.capability(self.bus, 0, 0x10) + 8
        word = self.machine.config_read(self.bus, 0, at)
        self.machine.config_write(self.bus, 0, at, word & 0xffff | 0x8000)
        self.queues = {}
        self.map_bars()

    def create_queue(self, qid, depth=64):
        queue = Queue(self, qid, depth)
        size = (depth - 1) << 16 | qid
        self.must_admin(Command(CREATE_CQ, data=Raw(queue.cq), dw10=size, dw11=1))
        self.must_admin(Command(CREATE_SQ, data=Raw(queue.sq), dw10=size,
                          dw11=qid << 16 | 1))
        self.queues[qid] = queue
        return queue

    def must_admin(self, command):
        """An admin command that has to succeed."""
        done = self.admin.run(command)
        if done.status:
            raise RuntimeError(f"admin command {command.opcode:#x} of the "
                               f"test's own set-up: status {done.status:#x}")
        return done

    def abort(self, queue, cid, timeout=30):
        """NVMe Abort. What becomes of the command, its own completion says:
        hw/nvme answers that it did not abort it at once, whatever it does."""
        done = self.admin.run(Command(ABORT, dw10=cid << 16 | queue.qid),
                              timeout)
        if done.status:
            raise RuntimeError(f"Abort: status {done.status:#x}")

    def settle(self, queue=1):
        """Return when the drive has fetched all that was submitted there.

        What comes next in the queue is an opcode that no set has, and it ends
        at once.
        """
        done = self.queues[queue].run(Command(0x7e, 1))
        if done.status != INVALID_OPCODE:
            raise RuntimeError(f"opcode 7eh: status {done.status:#x}")

    # Data to and from admin commands

    def fetch(self, opcode, size=PAGE, nsid=0, **words):
        """(completion, bytes) of an admin command that returns data."""
        mark = self.machine.ram.mark()
        buffer = Buffer(self.machine.ram, size)
        done = self.admin.run(Command(opcode, nsid, Prp(buffer), **words))
        data = buffer.bytes()
        self.machine.ram.release(mark)
        return done, data

    def identify(self, cns, nsid=0, csi=0, index=0):
        """(status, 4096 bytes)"""
        done, data = self.fetch(IDENTIFY, nsid=nsid, dw10=cns,
                                dw11=csi << 24 | index)
        return done.status, data

    def log(self, page, size, nsid=0xffffffff, csi=0, specific=0, offset=0,
            lsp=0):
        """(status, bytes)"""
        words = size // 4 - 1
        done, data = self.fetch(
            GET_LOG, size, nsid,
            dw10=(words & 0xffff) << 16 | lsp << 8 | page,
            dw11=specific << 16 | words >> 16, dw14=csi << 24,
            **low_high(offset, 12))
        return done.status, data

    def set_feature(self, number, value=0, data=None, nsid=0):
        mark = self.machine.ram.mark()
        pointer = Prp(Buffer(self.machine.ram, len(data)).fill(data)) \
            if data else None
        done = self.admin.run(Command(SET_FEATURES, nsid, pointer, dw10=number,
                                      dw11=value))
        self.machine.ram.release(mark)
        return done
