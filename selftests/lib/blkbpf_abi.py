# SPDX-License-Identifier: GPL-2.0
"""The ioctls of /dev/blk_bpf, for tests that say exactly what they ask.

Each call has a method of Control that fills the struct of linux/blk_bpf.h from
keywords, calls, and returns the struct. A refusal raises Refused, which has the
errno, the sentence, and the struct as the kernel left it.
"""

import ctypes
import errno
import os
from ctypes import c_char, c_int32, c_int64, c_uint16, c_uint32, c_uint64

DEVICE = "/dev/blk_bpf"

SKIP, MATCH, STOP = 0, 1, 2
OP_READ, OP_WRITE, OP_FLUSH, OP_DISCARD, OP_WRITE_ZEROES, OP_ZONE = range(6)
F_SHORT, F_EDGE, F_LIVE, F_NODATA = 1, 2, 4, 8
MAY_FAIL, WRITES, OTHERS, NO_READS = 1, 2, 4, 8
LIVE, EJECTED, GONE = range(3)
EXIT_NONE, EXIT_RETURN, EXIT_BUDGET = range(3)
BUDGET_DEFAULT, BUDGET_MAX, BUDGET_NONE = 10 ** 6, 10 ** 10, (1 << 64) - 1
BUDGET_SLACK_NS = 10 ** 9
(EVENT_MATCH, EVENT_FAILED, EVENT_MISSED, EVENT_LOST, EVENT_EJECTED,
 EVENT_END) = range(6)
COUNT, DATA = 1, 2
PATH_KERNEL, PATH_NEAR, PATH_PEER, PATH_HOST = 1, 2, 4, 8
DONE, FULL, STOPPED, INTERRUPTED = range(4)
UNIT_MAX, OVERLAP_MAX, EMIT_MAX = 32768, 4096, 65536
RANGES_MAX = 1 << 20

_libc = ctypes.CDLL(None, use_errno=True)


class Struct(ctypes.Structure):
    def __repr__(self):
        fields = ", ".join(f"{name}={getattr(self, name)!r}"
                           for name, *_ in self._fields_)
        return f"{type(self).__name__}({fields})"


class Hdr(Struct):
    _fields_ = [("size", c_uint32), ("flags", c_uint32), ("msg", c_uint64),
                ("msg_len", c_uint32), ("pad", c_uint32)]


class Features(Struct):
    _fields_ = [("hdr", Hdr), ("abi", c_uint32), ("ctx_size", c_uint32),
                ("features", c_uint64), ("scan_flags", c_uint32),
                ("attach_flags", c_uint32), ("unit_max", c_uint32),
                ("overlap_max", c_uint32), ("threads_max", c_uint32),
                ("pad", c_uint32)]


class LastMsg(Struct):
    _fields_ = [("hdr", Hdr)]


class Attach(Struct):
    _fields_ = [("hdr", Hdr), ("link_fd", c_int32), ("dev_fd", c_int32),
                ("priority", c_int32), ("id", c_uint32), ("args", c_uint64 * 4),
                ("budget_ns", c_uint64)]


class Attachment(Struct):
    _fields_ = [("id", c_uint32), ("flags", c_uint32), ("state", c_uint32),
                ("priority", c_int32), ("dev_major", c_uint32),
                ("dev_minor", c_uint32), ("link_id", c_uint32),
                ("map_id", c_uint32), ("unit", c_uint32), ("overlap", c_uint32),
                ("args", c_uint64 * 4), ("runs", c_uint64), ("bios", c_uint64),
                ("bytes", c_uint64), ("matches", c_uint64),
                ("partial", c_uint64), ("failed", c_uint64),
                ("refused", c_uint64), ("missed", c_uint64),
                ("time_ns", c_uint64), ("name", c_char * 16),
                ("disk", c_char * 32), ("reason", c_char * 128),
                ("budget_ns", c_uint64), ("exit", c_uint32),
                ("exit_op", c_uint32), ("exit_value", c_int64),
                ("exit_pos", c_uint64), ("exit_len", c_uint64),
                ("exit_time_ns", c_uint64)]


class List(Struct):
    _fields_ = [("hdr", Hdr), ("start", c_uint32), ("entry_size", c_uint32),
                ("entries", c_uint64), ("nr", c_uint32), ("total", c_uint32)]


class Range(Struct):
    _fields_ = [("off", c_uint64), ("len", c_uint64)]


class Missed(Struct):
    _fields_ = [("hdr", Hdr), ("id", c_uint32), ("nr", c_uint32),
                ("extents", c_uint64), ("total", c_uint32), ("pad", c_uint32)]


class Event(Struct):
    _fields_ = [("time_ns", c_uint64), ("pos", c_uint64), ("len", c_uint32),
                ("type", c_uint16), ("op", c_uint16), ("value", c_int64)]


class Stream(Struct):
    _fields_ = [("hdr", Hdr), ("id", c_uint32), ("entries", c_uint32),
                ("fd", c_int32), ("pad", c_uint32)]


class Cursor(Struct):
    _fields_ = [("pos", c_uint64), ("range", c_uint32), ("skip", c_uint32),
                ("cookie", c_uint64)]


class Stats(Struct):
    _fields_ = [("bytes_read", c_uint64), ("bytes_scanned", c_uint64),
                ("units", c_uint64), ("matches", c_uint64),
                ("prog_ns", c_uint64), ("time_ns", c_uint64),
                ("reads", c_uint64), ("threads", c_uint32), ("pad", c_uint32)]


class Match(Struct):
    _fields_ = [("pos", c_uint64), ("len", c_uint32), ("dev", c_uint32)]


class Path(Struct):
    _fields_ = [("path", c_uint32), ("loads", c_uint32),
                ("link_to_drive", c_uint64), ("link_to_host", c_uint64),
                ("link_data", c_uint64), ("commands", c_uint64),
                ("insns", c_uint64), ("drive_ns", c_uint64),
                ("cpu_ns", c_uint64)]


class Scan(Struct):
    _fields_ = [("hdr", Hdr), ("prog_fd", c_int32), ("dev_fd", c_int32),
                ("unit", c_uint32), ("threads", c_uint32),
                ("ranges", c_uint64), ("nr_ranges", c_uint32),
                ("max_matches", c_uint32), ("args", c_uint64 * 4),
                ("matches", c_uint64), ("data", c_uint64),
                ("data_len", c_uint64), ("cursor", Cursor),
                ("nr_matches", c_uint32), ("status", c_uint32),
                ("data_used", c_uint64), ("stats", Stats),
                ("target", c_char * 16), ("devs", c_uint64),
                ("nr_devs", c_uint32), ("image_len", c_uint32),
                ("image", c_uint64), ("globals", c_uint64),
                ("globals_len", c_uint32), ("pad", c_uint32), ("path", Path)]


class Drain(Struct):
    _fields_ = [("hdr", Hdr)]


COMMANDS = {kind: 0xC000BF00 | number | ctypes.sizeof(kind) << 16
            for number, kind in enumerate((Features, LastMsg, Attach, List,
                                           Missed, Stream, Scan, Drain))}


class Refused(OSError):
    """An ioctl that failed: errno, .sentence, and .arg as the kernel left it."""

    def __init__(self, number, sentence, arg):
        super().__init__(number, f"{os.strerror(number)}: {sentence}")
        self.sentence = sentence
        self.arg = arg


def raw_ioctl(fd, command, address):
    """One ioctl(2); raises OSError. Lets other threads run, is not retried."""
    if _libc.ioctl(fd, ctypes.c_ulong(command),
                   ctypes.c_void_p(address)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _args(words):
    return (c_uint64 * 4)(*[word & (1 << 64) - 1 for word in words])


class Found:
    """A scan's answer: matches as (pos, len), the bytes, and the struct."""

    def __init__(self, arg, matches, data):
        self.arg = arg
        self.status = arg.status
        self.stats = arg.stats
        self.cursor = arg.cursor
        self.path = arg.path
        self.matches = [(m.pos, m.len) for m in matches[:arg.nr_matches]]
        self.devs = [m.dev for m in matches[:arg.nr_matches]]
        self.data = data.raw[:arg.data_used] if data is not None else b""


class Control:
    """An open file of the control device."""

    def __init__(self):
        self.fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)

    def close(self):
        os.close(self.fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, arg, flags=0, size=None, msg_len=512):
        """Fill in the header and call. Returns @arg."""
        text = ctypes.create_string_buffer(max(msg_len, 1))
        arg.hdr = Hdr(ctypes.sizeof(arg) if size is None else size, flags,
                      ctypes.addressof(text), msg_len, arg.hdr.pad)
        try:
            raw_ioctl(self.fd, COMMANDS[type(arg)], ctypes.addressof(arg))
        except OSError as error:
            raise Refused(error.errno, text.value.decode(), arg) from None
        return arg

    def features(self):
        return self.call(Features())

    def last_msg(self):
        """The calling thread's sentence, or None."""
        text = ctypes.create_string_buffer(512)
        arg = LastMsg(Hdr(ctypes.sizeof(LastMsg), 0, ctypes.addressof(text),
                          512, 0))
        try:
            raw_ioctl(self.fd, COMMANDS[LastMsg], ctypes.addressof(arg))
        except OSError as error:
            if error.errno == errno.ENOMSG:
                return None
            raise
        return text.value.decode()

    def attach(self, link_fd, dev_fd, flags=0, priority=0, args=(),
               budget_ns=0):
        """The id of the new attachment."""
        return self.call(Attach(link_fd=link_fd, dev_fd=dev_fd,
                                priority=priority, args=_args(args),
                                budget_ns=budget_ns), flags).id

    def list(self, start=0, room=64):
        """(attachments, total)"""
        entries = (Attachment * room)()
        arg = self.call(List(start=start, nr=room,
                             entry_size=ctypes.sizeof(Attachment),
                             entries=ctypes.addressof(entries)))
        return list(entries)[:arg.nr], arg.total

    def get(self, number):
        """The attachment of that id, or None."""
        found, _ = self.list(number, 1)
        return found[0] if found and found[0].id == number else None

    def missed(self, number, room=64):
        """(extents as (off, len), total)"""
        extents = (Range * room)()
        arg = self.call(Missed(id=number, nr=room,
                               extents=ctypes.addressof(extents)))
        return [(e.off, e.len) for e in extents[:arg.nr]], arg.total

    def stream(self, number, entries=0):
        """The fd of a new stream."""
        return self.call(Stream(id=number, entries=entries)).fd

    def drain(self):
        """Wait until what was detached is gone."""
        self.call(Drain())

    def scan(self, prog_fd, dev_fd, ranges=None, args=(), *, unit=0, threads=0,
             room=1 << 18, flags=0, data_len=0, cursor=None, target="",
             image=b"", values=None):
        """One call; its refusal has .found, what was found before it.

        dev_fd may be a list of them. values is a bytearray of the image's global
        variables, and has what they became.
        """
        matches = (Match * max(room, 1))()
        data = ctypes.create_string_buffer(data_len) if data_len else None
        nr = len(ranges) if ranges is not None else 0
        array = (Range * max(nr, 1))(*(ranges or ()))
        several = not isinstance(dev_fd, int)
        fds = (c_int32 * max(len(dev_fd), 1))(*dev_fd) if several else None
        variables = (c_char * len(values)).from_buffer(values) if values else None
        arg = Scan(prog_fd=prog_fd, dev_fd=-1 if several else dev_fd, unit=unit,
                   threads=threads, target=target.encode(),
                   devs=ctypes.addressof(fds) if several else 0,
                   nr_devs=len(dev_fd) if several else 0,
                   image=ctypes.cast(image, ctypes.c_void_p).value or 0
                   if image else 0, image_len=len(image),
                   globals=ctypes.addressof(variables) if values else 0,
                   globals_len=len(values) if values else 0,
                   ranges=ctypes.addressof(array), nr_ranges=nr,
                   max_matches=room, args=_args(args),
                   matches=ctypes.addressof(matches), data_len=data_len,
                   data=ctypes.addressof(data) if data_len else 0)
        if cursor is not None:
            arg.cursor = cursor
        try:
            self.call(arg, flags)
        except Refused as refused:
            refused.found = Found(arg, matches, data)
            raise
        return Found(arg, matches, data)

    def scan_all(self, *args, **kwargs):
        """Go on until the scan is done; (matches, bytes, calls)."""
        matches, data, calls, cursor = [], b"", 0, kwargs.pop("cursor", None)
        while True:
            found = self.scan(*args, cursor=cursor, **kwargs)
            matches += found.matches
            data += found.data
            calls += 1
            if found.status in (DONE, STOPPED):
                return matches, data, calls
            cursor = found.cursor


def read_events(fd, most=1024):
    """One read() of a stream."""
    raw = os.read(fd, most * ctypes.sizeof(Event))
    return [Event.from_buffer_copy(raw, at)
            for at in range(0, len(raw), ctypes.sizeof(Event))]
