# SPDX-License-Identifier: GPL-2.0
"""A computational drive as a guest's user space reaches it: by passthrough.

    drive = Drive(0)                    # /dev/nvme0 and its generic devices
    drive.slm_write(0, data)
    drive.load(1, image)
    drive.activate(1)
    result, matches = drive.scan(1, [(0, len(data)), (1 << 20, 65536)])

A command that the drive refuses raises Refused, with its status and what the
drive said about it.
"""

import ctypes
import fcntl
import glob
import os
import struct

import nvme_csd as csd
from ktap import cleanup

_CMD = struct.Struct("<BBHIIIQQII6IIIQ")
_ADMIN64 = 0xc0000000 | _CMD.size << 16 | ord("N") << 8 | 0x47
_GET_NSID = ord("N") << 8 | 0x40
_IO64 = 0xc0000000 | _CMD.size << 16 | ord("N") << 8 | 0x48

RESULT_SIZE = ctypes.sizeof(csd.Result)
MATCH_SIZE = 16
# Of one command; the drive's MDTS is 512 KiB if nobody says otherwise.
MOST = 256 << 10


class Refused(Exception):
    """A command's status: of what type and code, without the other bits."""

    def __init__(self, what, status, said=""):
        super().__init__(f"{what}: status {status:#x}"
                         + (f": {said}" if said else ""))
        self.status = status
        self.said = said


def dwords(value, low):
    """A 64-bit value as two dwords, the first with that number."""
    return {f"dw{low}": value & 0xffffffff, f"dw{low + 1}": value >> 32}


def command(fd, request, opcode, nsid=0, data=None, length=0, timeout_ms=0,
            **dws):
    """One command; its 64-bit result and the buffer of its data.

    @data is sent; @length bytes are received.
    """
    size = len(data) if data is not None else length
    buffer = ctypes.create_string_buffer(data or b"", max(size, 1))
    words = [dws.pop(f"dw{n}", 0) for n in (2, 3, 10, 11, 12, 13, 14, 15)]
    if dws:
        raise TypeError(f"no dwords of passthrough: {sorted(dws)}")
    wire = bytearray(_CMD.pack(
        opcode, 0, 0, nsid, words[0], words[1], 0,
        ctypes.addressof(buffer) if size else 0, 0, size, *words[2:],
        timeout_ms, 0, 0))
    status = fcntl.ioctl(fd, request, wire)
    if status:
        raise Refused(f"opcode {opcode:02x}h", status & 0x7ff)
    return _CMD.unpack(wire)[-1], buffer.raw[:size]


def read_text(path):
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def generic_devices(number):
    """{NSID: /dev/ng…} of controller N. Their names say nothing: the kernel
    numbers namespaces in the order in which it comes to know them."""
    found = {}
    for path in glob.glob(f"/sys/class/nvme/nvme{number}/ng*"):
        node = f"/dev/{os.path.basename(path)}"
        fd = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found[fcntl.ioctl(fd, _GET_NSID)] = node
        finally:
            os.close(fd)
    return found


def disk(number, nsid=1):
    """The disk of a namespace: /dev/nvme…"""
    for path in glob.glob(f"/sys/class/nvme/nvme{number}/nvme{number}n*"):
        if read_text(f"{path}/nsid") == str(nsid):
            return f"/dev/{os.path.basename(path)}"
    raise FileNotFoundError(f"nvme{number}: namespace {nsid} is no disk")


class Drive:
    """Controller /dev/nvmeN, until the test ends."""

    def __init__(self, number=0, keep=False):
        self.number = number
        self.path = f"/dev/nvme{number}"
        self.fds = {}
        self.admin_fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        if not keep:
            cleanup(self.close)
        info = self.info()
        self.slm, self.cp = info.slm_nsid, info.cp_nsid
        self.nodes = generic_devices(number)

    def close(self):
        for fd in (self.admin_fd, *self.fds.values()):
            os.close(fd)
        self.fds.clear()

    def fd(self, nsid):
        if nsid not in self.fds:
            self.fds[nsid] = os.open(self.nodes[nsid], os.O_RDWR | os.O_CLOEXEC)
        return self.fds[nsid]

    # Commands

    def admin(self, opcode, nsid=0, data=None, length=0, **dws):
        return self._explained(self.admin_fd, _ADMIN64, opcode, nsid, data,
                               length, **dws)

    def io(self, nsid, opcode, data=None, length=0, **dws):
        return self._explained(self.fd(nsid), _IO64, opcode, nsid, data, length,
                               **dws)

    def _explained(self, fd, request, opcode, nsid, data, length, **dws):
        try:
            return command(fd, request, opcode, nsid, data, length, **dws)
        except Refused as refused:
            raise Refused(str(refused), refused.status, self.said()) from None

    # Logs

    def log(self, page, length, specific=0, offset=0):
        dw = length // 4 - 1
        return command(self.admin_fd, _ADMIN64, 0x02, 0xffffffff, None, length,
                       dw10=page | (dw & 0xffff) << 16,
                       dw11=dw >> 16 | specific << 16, **dwords(offset, 12))[1]

    def vendor_log(self, page, kind, **more):
        return kind.parse(self.log(page, ctypes.sizeof(kind), **more))

    def info(self):
        return self.vendor_log(csd.LOG_INFO, csd.LogInfo)

    def counters(self):
        return self.vendor_log(csd.LOG_COUNTERS, csd.LogCounters)

    def said(self, pind=0):
        """The sentence of the last refusal, of a program if one is named."""
        message = self.vendor_log(csd.LOG_MESSAGE, csd.LogMessage, specific=pind)
        return message.text.decode()

    # SLM

    def slm_write(self, off, data):
        for at in range(0, len(data), MOST):
            piece = data[at:at + MOST]
            self.io(self.slm, csd.SLM_WRITE, piece, dw12=len(piece),
                    **dwords(off + at, 10))

    def slm_read(self, off, length):
        data = b""
        while len(data) < length:
            size = min(MOST, length - len(data))
            data += self.io(self.slm, csd.SLM_READ, None, size, dw12=size,
                            **dwords(off + len(data), 10))[1]
        return data

    def slm_fill(self, off, length):
        self.io(self.slm, csd.SLM_FILL, dw12=length, **dwords(off, 10))

    def copy_lbas(self, off, pieces, nsid=1, lba_size=512):
        """Memory Copy of (first LBA, number of LBAs) pieces to @off."""
        data = b"".join(bytes(csd.CopyLba(nsid=nsid, slba=slba, nlb=number - 1))
                        for slba, number in pieces)
        total = sum(number for _, number in pieces) * lba_size
        self.io(self.slm, csd.SLM_COPY, data, **dwords(total, 2),
                **dwords(off, 10), dw12=len(pieces) - 1 | csd.COPY_LBA << 8)

    # Programs

    def load(self, pind, image, chunk=64 << 10):
        for at in range(0, len(image), chunk):
            piece = image[at:at + chunk]
            self.admin(csd.ADMIN_LOAD, self.cp, piece, dw11=len(image),
                       dw10=pind | csd.PTYPE_EBPF << 16, dw14=len(piece),
                       dw15=at)

    def unload(self, pind):
        self.admin(csd.ADMIN_LOAD, self.cp, dw10=pind | csd.LOAD_SEL_UNLOAD)

    def activate(self, pind, select=csd.ACTIVATE):
        self.admin(csd.ADMIN_ACTIVATE, self.cp, dw10=pind | select << 16)

    def range_set(self, ranges):
        """Create a set of (offset, length); its RSID."""
        return self.admin(csd.ADMIN_RANGE_SET, self.cp, self.descs(ranges),
                          dw11=len(ranges))[0]

    def delete_range_set(self, rsid):
        self.admin(csd.ADMIN_RANGE_SET, self.cp,
                   dw10=csd.RANGE_SET_DELETE | rsid << 16)

    def descs(self, ranges):
        return b"".join(bytes(csd.Range(nsid=self.slm, off=off, len=length))
                        for off, length in ranges)

    def execute(self, pind, ranges=(), rsid=0, exec_=None, timeout_ms=0):
        """Execute with what is given; CQE DW0-1."""
        data = self.descs(ranges) + (bytes(exec_) if exec_ else b"")
        return self.io(self.cp, csd.CP_EXECUTE_DLEN, data or None,
                       dw2=pind | rsid << 16, dw3=len(ranges), dw14=len(data),
                       timeout_ms=timeout_ms)[0]

    def scan(self, pind, ranges, length=None, **fields):
        """A scan of the first range; the Result and (pos, len) of the matches."""
        exec_ = csd.Exec(size=ctypes.sizeof(csd.Exec), mode=csd.SCAN,
                         data_range=0, result_range=1,
                         data_len=length or ranges[0][1], **fields)
        self.execute(pind, ranges, exec_=exec_)
        return self.result(ranges[1][0])

    def result(self, off):
        """The Result at that place of the SLM, and the matches behind it."""
        result = csd.Result.parse(self.slm_read(off, RESULT_SIZE))
        if not result.nr:
            return result, []
        raw = self.slm_read(off + RESULT_SIZE, result.nr * MATCH_SIZE)
        return result, [struct.unpack_from("<QI", raw, at)
                        for at in range(0, len(raw), MATCH_SIZE)]

    def prepare(self, pind, image):
        """Load and activate."""
        self.load(pind, image)
        self.activate(pind)
