# SPDX-License-Identifier: GPL-2.0
"""Loaded programs, their links and globals, by bpf(2) itself.

The blkbpf command loads an object and pins it; from there on tests have file
descriptors of their own, so that nothing but them holds a program.
"""

import ctypes
import itertools
import os
import subprocess

import ktap

OBJECTS = "/selftests/bpf"
BPFFS = "/sys/fs/bpf"

_BPF = 321
_MAP_LOOKUP, _MAP_UPDATE, _OBJ_PIN, _OBJ_GET = 1, 2, 6, 7
_PROG_BY_ID, _MAP_BY_ID, _INFO_BY_FD = 13, 14, 15
_LINK_CREATE, _LINK_UPDATE, _LINK_DETACH = 28, 29, 34
_STRUCT_OPS = 44
_TYPE_ARRAY = 2

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


def bpf(command, *fields):
    """bpf(2); fields are (size in bytes, value), in order. May raise OSError."""
    attr = b"".join(value.to_bytes(size, "little", signed=value < 0)
                    for size, value in fields)
    attr += bytes(128 - len(attr))
    ret = _libc.syscall(_BPF, command, attr, len(attr))
    if ret < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return ret


def obj_get(path):
    name = ctypes.create_string_buffer(path.encode())
    return bpf(_OBJ_GET, (8, ctypes.addressof(name)))


def obj_pin(path, fd):
    name = ctypes.create_string_buffer(path.encode())
    bpf(_OBJ_PIN, (8, ctypes.addressof(name)), (4, fd))


def obj_info(fd, size):
    info = ctypes.create_string_buffer(size)
    bpf(_INFO_BY_FD, (4, fd), (4, size), (8, ctypes.addressof(info)))
    return info


def word(info, offset):
    return int.from_bytes(info.raw[offset:offset + 4], "little")


def map_by_id(number):
    """An fd of that map; raises FileNotFoundError if nothing holds it."""
    return bpf(_MAP_BY_ID, (4, number))


def load_result(name, *options, program=None, pin=None):
    """Run "blkbpf prog load" on a test's object; the CompletedProcess."""
    command = ["blkbpf", "prog", "load", f"{OBJECTS}/{name}.bpf.o", *options]
    if program:
        command += ["--program", program]
    if pin:
        command += ["--pin", pin]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Program:
    """A loaded program: .fd is its struct_ops map."""

    def __init__(self, name, program=None, **settings):
        pin = f"{BPFFS}/test_{os.getpid()}_{next(_numbers)}"
        options = [f"--set={key}={value}" for key, value in settings.items()]
        done = load_result(name, *options, program=program, pin=pin)
        if done.returncode:
            ktap.fail(f"loading {name} failed: {done.stderr}")
        self.fd = obj_get(pin)
        os.unlink(pin)
        self._globals = None

    def close(self):
        os.close(self.fd)
        if self._globals is not None:
            os.close(self._globals[0])
            self._globals = None

    def map_id(self):
        # bpf_map_info: type, id
        return word(obj_info(self.fd, 88), 4)

    def link(self):
        """The fd of a new link."""
        return bpf(_LINK_CREATE, (4, self.fd), (4, 0), (4, _STRUCT_OPS), (4, 0))

    def _find_globals(self):
        """(fd, size) of the array that holds the zeroed globals."""
        if self._globals:
            return self._globals
        value_size = word(obj_info(self.fd, 88), 12)
        value = ctypes.create_string_buffer(value_size)
        key = ctypes.create_string_buffer(4)
        bpf(_MAP_LOOKUP, (4, self.fd), (4, 0), (8, ctypes.addressof(key)),
            (8, ctypes.addressof(value)))
        # The value begins with a refcount and a state, the ops are aligned to
        # a cache line, and its first member is read back as a program's id.
        prog = bpf(_PROG_BY_ID, (4, word(value, 64)))
        try:
            self._globals = self._bss_of(prog)
        finally:
            os.close(prog)
        return self._globals

    @staticmethod
    def _bss_of(prog):
        ids = (ctypes.c_uint32 * 16)()
        # bpf_prog_info: nr_map_ids at 52, map_ids at 56
        info = ctypes.create_string_buffer(64)
        info[52:56] = len(ids).to_bytes(4, "little")
        info[56:64] = ctypes.addressof(ids).to_bytes(8, "little")
        bpf(_INFO_BY_FD, (4, prog), (4, 64), (8, ctypes.addressof(info)))
        for number in ids[:word(info, 52)]:
            fd = map_by_id(number)
            about = obj_info(fd, 88)
            # bpf_map_info: type, id, key_size, value_size, max, flags, name
            if about.raw[24:40].rstrip(b"\0").endswith(b".bss"):
                return fd, word(about, 12)
            os.close(fd)
        return None

    def globals(self):
        """The bytes of the zeroed globals (.bss); empty if there are none."""
        fd, size = self._find_globals() or (None, 0)
        if fd is None:
            return b""
        key = ctypes.create_string_buffer(4)
        value = ctypes.create_string_buffer(size)
        bpf(_MAP_LOOKUP, (4, fd), (4, 0), (8, ctypes.addressof(key)),
            (8, ctypes.addressof(value)))
        return value.raw

    def reset_globals(self):
        fd, size = self._find_globals() or (None, 0)
        if fd is None:
            return
        key = ctypes.create_string_buffer(4)
        value = ctypes.create_string_buffer(size)
        bpf(_MAP_UPDATE, (4, fd), (4, 0), (8, ctypes.addressof(key)),
            (8, ctypes.addressof(value)), (8, 0))


_idle = {}


def borrow(name, program=None):
    """A program for the length of a test, its zeroed globals all zero.

    Loading takes longer than most tests, so it is kept for the next one.
    """
    idle = _idle.setdefault((name, program), [])
    found = idle.pop() if idle else Program(name, program)
    found.reset_globals()
    ktap.cleanup(idle.append, found)
    return found


def close_idle():
    """Unload what borrow() kept."""
    for idle in _idle.values():
        while idle:
            idle.pop().close()


def update_link(link_fd, program):
    bpf(_LINK_UPDATE, (4, link_fd), (4, program.fd), (4, 0), (4, 0))


def detach_link(link_fd):
    bpf(_LINK_DETACH, (4, link_fd))


class Seen:
    """What a probe (probe.bpf.c) wrote down."""

    class Call(ctypes.Structure):
        _fields_ = [("pos", ctypes.c_uint64), ("len", ctypes.c_uint32),
                    ("visible", ctypes.c_uint32), ("unit", ctypes.c_uint32),
                    ("flags", ctypes.c_uint32), ("op", ctypes.c_uint32),
                    ("first", ctypes.c_uint32)]

    def __init__(self, program):
        raw = program.globals()
        words = [int.from_bytes(raw[at:at + 8], "little")
                 for at in range(0, 48, 8)]
        (self.calls, self.bytes, self.size, self.hints, self.state,
         self.args) = words
        self.log = [self.Call.from_buffer_copy(raw, 48 + 32 * at)
                    for at in range(min(self.calls, 4096))]

    def positions(self):
        return [(call.pos, call.len) for call in self.log]
