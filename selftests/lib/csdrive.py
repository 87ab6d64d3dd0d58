# SPDX-License-Identifier: GPL-2.0
"""A computational drive in a machine without a guest, and all its commands.

    machine = qtest.Machine()
    drive = Drive.plug(machine, slm_size="8M")
    drive.slm_write(0, data)
    drive.must(drive.load(1, image), drive.activate(1))
    run = drive.scan(1, [(0, len(data)), (1 << 20, 65536)])

Methods that are named for a command run it and return its Completion, or its
status where nothing else can come of it; those named *_command only make it.
"""

import ctypes

import nvme_csd as csd
import nvmequeue
from ktap import Failure
from nvmequeue import Buffer, Command, Prp, low_high
from qtest import PAGE

NVM, SLM, CP = 1, 2, 3
# The wire's CDW2 of an Execute.
RESULT_SIZE = ctypes.sizeof(csd.Result)
MATCH_SIZE = 16


class Match(csd.Struct):
    """struct blk_bpf_match"""
    _fields_ = [("pos", ctypes.c_uint64), ("len", ctypes.c_uint32),
                ("dev", ctypes.c_uint32)]


class Run:
    """What an Execute left: its completion, the result, the matches."""

    def __init__(self, done, result=None, matches=()):
        self.done, self.result = done, result
        self.status = done.status
        self.matches = [(m.pos, m.len) for m in matches]
        self.devs = {m.dev for m in matches}

    def __repr__(self):
        return f"Run({self.done}, {self.result}, {len(self.matches)} matches)"


class Drive(nvmequeue.Controller):
    """One drive with its two queues: admin, and 1 for I/O."""

    @classmethod
    def plug(cls, machine, port=0, disk=None, depth=128, start=True,
             **properties):
        """Plug a drive in and start it. @disk: of Machine.disk(); or bytes."""
        if disk is None or isinstance(disk, bytes):
            disk = machine.disk(16 << 20, disk)
        name = machine.plug("nvme-csd", port, drive=disk, serial=f"csd{port}",
                            **properties)
        drive = cls(machine, port)
        drive.name = name
        drive.depth = depth
        return drive.start() if start else drive

    def start(self):
        self.enable()
        self.io = self.create_queue(1, self.depth)
        return self

    def restart(self):
        """A controller reset; all is ready again after it."""
        self.disable()
        return self.start()

    def pull(self):
        self.machine.pull(self.port)

    # Helpers

    def pointer(self, data):
        """A PRP pointer to those bytes; None for None."""
        if data is None or isinstance(data, nvmequeue.Raw):
            return data
        return Prp(Buffer(self.machine.ram, len(data)).fill(data))

    def run_admin(self, command, timeout=30):
        mark = self.machine.ram.mark()
        done = self.admin.run(command, timeout)
        self.machine.ram.release(mark)
        return done

    def message(self, pind=0):
        """The sentence of the last refusal: the struct of log D1h."""
        status, data = self.log(csd.LOG_MESSAGE, 4096, specific=pind)
        if status:
            raise Failure(f"log D1h: status {status:#x}")
        return csd.LogMessage.parse(data)

    def said(self, pind=0):
        return self.message(pind).text.decode()

    def must(self, *completions):
        """They have to have succeeded; the last one."""
        for done in completions:
            if done.status:
                raise Failure(f"status {done.status:#x}, and the drive says: "
                              f"{self.said()}")
        return completions[-1]

    def vendor_log(self, page, kind):
        status, data = self.log(page, ctypes.sizeof(kind))
        if status:
            raise Failure(f"log {page:#x}: status {status:#x}")
        return kind.parse(data)

    def info(self):
        return self.vendor_log(csd.LOG_INFO, csd.LogInfo)

    def counters(self):
        return self.vendor_log(csd.LOG_COUNTERS, csd.LogCounters)

    def set_fault(self, spec):
        """Faults on demand, from now on; "" for none."""
        self.machine.qmp("qom-set", path=f"/machine/peripheral/{self.name}",
                         property="fault", value=spec)

    # SLM

    def slm_command(self, opcode, off, length, data=None, nsid=SLM):
        return Command(opcode, nsid, data, dw12=length, **low_high(off, 10))

    def slm_write(self, off, data, most=256 << 10):
        """Memory Write, in commands of at most so many bytes."""
        for at in range(0, len(data), most):
            mark = self.machine.ram.mark()
            piece = data[at:at + most]
            self.must(self.io.run(self.slm_command(
                csd.SLM_WRITE, off + at, len(piece), self.pointer(piece))))
            self.machine.ram.release(mark)

    def slm_read(self, off, length, most=256 << 10):
        """Memory Read; the bytes."""
        found = b""
        for at in range(0, length, most):
            mark = self.machine.ram.mark()
            buffer = Buffer(self.machine.ram, min(most, length - at))
            self.must(self.io.run(self.slm_command(
                csd.SLM_READ, off + at, buffer.size, Prp(buffer))))
            found += buffer.bytes()
            self.machine.ram.release(mark)
        return found

    def slm_fill(self, off, length):
        return self.io.run(self.slm_command(csd.SLM_FILL, off, length))

    def copy_command(self, off, sources, length, kind=csd.COPY_LBA, nsid=SLM,
                     nr=None, data=None):
        """Memory Copy. @sources: structs of format @kind."""
        raw = b"".join(bytes(source) for source in sources)
        nr = len(sources) if nr is None else nr
        return Command(csd.SLM_COPY, nsid, data or self.pointer(raw),
                       dw12=kind << 8 | (nr - 1) & 0xff,
                       **low_high(length, 2), **low_high(off, 10))

    def copy(self, *args, **kwargs):
        mark = self.machine.ram.mark()
        done = self.io.run(self.copy_command(*args, **kwargs))
        self.machine.ram.release(mark)
        return done

    def nvm_write(self, slba, data, block=512, nsid=NVM):
        mark = self.machine.ram.mark()
        self.must(self.io.run(Command(
            nvmequeue.NVM_WRITE, nsid, self.pointer(data),
            dw12=len(data) // block - 1, **low_high(slba, 10))))
        self.machine.ram.release(mark)

    def nvm_read(self, slba, blocks, block=512, nsid=NVM):
        mark = self.machine.ram.mark()
        buffer = Buffer(self.machine.ram, blocks * block)
        self.must(self.io.run(Command(
            nvmequeue.NVM_READ, nsid, Prp(buffer), dw12=blocks - 1,
            **low_high(slba, 10))))
        data = buffer.bytes()
        self.machine.ram.release(mark)
        return data

    def enable_copy_formats(self, formats=0x1c):
        """Host Behavior Support: the copy formats that NVM Copy may have."""
        data = bytearray(512)
        data[4:6] = formats.to_bytes(2, "little")
        return self.set_feature(0x16, data=bytes(data))

    def nvm_copy(self, slba, sources, kind=csd.COPY_BYTES, nsid=NVM):
        """NVM Copy: with format 4h from SLM to LBAs."""
        mark = self.machine.ram.mark()
        raw = b"".join(bytes(source) for source in sources)
        done = self.io.run(Command(
            nvmequeue.NVM_COPY, nsid, self.pointer(raw),
            dw12=kind << 8 | len(sources) - 1, **low_high(slba, 10)))
        self.machine.ram.release(mark)
        return done

    # Programs

    def load_command(self, pind, chunk=None, size=0, off=0, ptype=csd.PTYPE_EBPF,
                     nsid=CP, pit=0, pid=0, unload=False, numb=None,
                     opcode=csd.ADMIN_LOAD, rsvd=0):
        numb = len(chunk or b"") if numb is None else numb
        return Command(
            opcode, nsid, self.pointer(chunk), dw11=size, dw14=numb, dw15=off,
            dw10=pind | ptype << 16 | pit << 25 | rsvd |
            (csd.LOAD_SEL_UNLOAD if unload else 0), **low_high(pid, 12))

    def load(self, pind, image, chunk=64 << 10, **fields):
        """Load Program in chunks; the completion of the last one sent."""
        done = None
        for off in range(0, len(image), chunk):
            done = self.run_admin(self.load_command(
                pind, image[off:off + chunk], len(image), off, **fields))
            if done.status:
                break
        return done

    def unload(self, pind, **fields):
        return self.run_admin(self.load_command(pind, unload=True, **fields))

    def activate(self, pind, select=csd.ACTIVATE, nsid=CP, rsvd=0,
                 opcode=csd.ADMIN_ACTIVATE):
        return self.admin.run(Command(opcode, nsid,
                                      dw10=pind | select << 16 | rsvd))

    def deactivate(self, pind):
        return self.activate(pind, csd.DEACTIVATE)

    def put(self, pind, image):
        """Replace what is at an index by an active program."""
        self.deactivate(pind)
        self.unload(pind)
        self.must(self.load(pind, image))
        self.must(self.activate(pind))
        return pind

    @staticmethod
    def ranges(ranges):
        """Descriptors of (off, len), of (off, len, nsid), or csd.Range."""
        return b"".join(bytes(r if isinstance(r, csd.Range) else csd.Range(
            nsid=r[2] if len(r) > 2 else SLM, off=r[0], len=r[1]))
            for r in ranges)

    def range_set_command(self, ranges=(), select=csd.RANGE_SET_CREATE, rsid=0,
                          nr=None, nsid=CP, rsvd=0,
                          opcode=csd.ADMIN_RANGE_SET, data=None):
        raw = self.ranges(ranges)
        return Command(opcode, nsid,
                       data or (self.pointer(raw) if raw else None),
                       dw10=select | rsid << 16 | rsvd,
                       dw11=len(ranges) if nr is None else nr)

    def range_set(self, ranges, **fields):
        """Create; the completion, whose dw0 is the RSID."""
        return self.run_admin(self.range_set_command(ranges, **fields))

    def delete_range_set(self, rsid):
        return self.run_admin(self.range_set_command(
            select=csd.RANGE_SET_DELETE, rsid=rsid))

    def execute_command(self, pind, ranges=(), rsid=0, what=None, params=(0, 0),
                        nsid=CP, numr=None, dlen=None, data=None,
                        vendor=False):
        """Execute. @what: a csd.Exec, bytes, or None for none.

        @vendor: by the opcode that has DLEN in CDW14.
        """
        raw = self.ranges(ranges) + (bytes(what) if what is not None else b"")
        dlen = len(raw) if dlen is None else dlen
        words = {"dw14" if vendor else "dw4": dlen}
        return Command(
            csd.CP_EXECUTE_DLEN if vendor else csd.CP_EXECUTE, nsid,
            data or (self.pointer(raw) if raw else None),
            dw2=pind | rsid << 16,
            dw3=len(ranges) if numr is None else numr,
            **low_high(params[0], 10), **low_high(params[1], 12), **words)

    def execute(self, *args, timeout=30, **kwargs):
        mark = self.machine.ram.mark()
        done = self.io.run(self.execute_command(*args, **kwargs), timeout)
        self.machine.ram.release(mark)
        return done

    @staticmethod
    def exec(data_len, mode=csd.SCAN, result=True, args=(), **fields):
        """A csd.Exec for ranges [data, result]."""
        fields.setdefault("size", ctypes.sizeof(csd.Exec))
        fields.setdefault("result_range", 1 if result else csd.NO_RANGE)
        words = [word & (1 << 64) - 1 for word in args]
        return csd.Exec(mode=mode, data_len=data_len,
                        args=(ctypes.c_uint64 * 4)(*words), **fields)

    def result_at(self, off, done):
        """What an Execute wrote to its result range."""
        result = csd.Result.parse(self.slm_read(off, RESULT_SIZE))
        raw = self.slm_read(off + RESULT_SIZE, result.nr * MATCH_SIZE) \
            if result.nr else b""
        return Run(done, result, Match.parse_all(raw, result.nr))

    def scan(self, pind, ranges, what=None, **fields):
        """One Execute over [data range, result range]; a Run."""
        if what is None:
            length = fields.pop("data_len", ranges[0][1])
            what = self.exec(length, **fields)
        done = self.execute(pind, ranges, what=what)
        if done.status not in (0, csd.SC_PROG_FAULT, csd.SC_DEADLINE):
            return Run(done)
        return self.result_at(ranges[1][0], done)

    def scan_all(self, pind, ranges, forget=False, most=10000, **fields):
        """Go on until the scan is done: (matches, Runs).

        @forget: without the cookies, as a host that does not know them.
        """
        found, runs, cursor = [], [], csd.Cursor()
        while True:
            run = self.scan(pind, ranges, cursor=cursor, **fields)
            runs.append(run)
            if run.status:
                raise Failure(f"{run}: {self.said()}")
            found += run.matches
            if run.result.status != csd.FULL or len(runs) == most:
                return found, runs
            cursor = run.result.cursor
            if forget:
                cursor.cookie = 0

    # Globals

    def globals_command(self, opcode, pind, index, off, length, data=None,
                        nsid=CP, **words):
        return Command(opcode, nsid, data, dw2=pind, dw10=index, dw11=off,
                       dw12=length, **words)

    def globals_read(self, pind, index, off, length):
        """(completion, bytes)"""
        mark = self.machine.ram.mark()
        buffer = Buffer(self.machine.ram, max(length, 1))
        done = self.io.run(self.globals_command(
            csd.CP_GLOBALS_READ, pind, index, off, length, Prp(buffer)))
        data = buffer.bytes(length)
        self.machine.ram.release(mark)
        return done, data

    def globals_write(self, pind, index, off, data):
        mark = self.machine.ram.mark()
        done = self.io.run(self.globals_command(
            csd.CP_GLOBALS_WRITE, pind, index, off, len(data),
            self.pointer(data)))
        self.machine.ram.release(mark)
        return done

    def variable(self, pind, image, symbol):
        """A program's variable as a number."""
        index, off, size = image.place(symbol)
        done, data = self.globals_read(pind, index, off, size)
        self.must(done)
        return int.from_bytes(data, "little")


def lba_source(slba, blocks, nsid=NVM, long=False, **fields):
    """A source descriptor of format 2h or 3h; @blocks is a plain count."""
    kind = csd.CopyLbaLong if long else csd.CopyLba
    return kind(nsid=nsid, slba=slba, nlb=blocks - 1, **fields)


def byte_source(off, length, nsid=SLM, **fields):
    """A source descriptor of format 4h."""
    return csd.CopyBytes(nsid=nsid, off=off, len=length, **fields)


__all__ = ["CP", "Drive", "MATCH_SIZE", "NVM", "PAGE", "RESULT_SIZE", "Run",
           "SLM", "byte_source", "lba_source"]
