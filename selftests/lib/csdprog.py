# SPDX-License-Identifier: GPL-2.0
"""Programs for the drive: from object files, or put together by hand.

    image = from_object("records").set("key_max", 100).pack()
    image = Image([mov(0, 1), EXIT]).pack()

from_object() has the project's own tool read the object file; Image.parse()
and .pack() are a second implementation of struct nvme_csd_image.
"""

import functools
import os
import struct
import subprocess
import tempfile

import nvme_csd as csd

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.join(TOP, "build")
FOLDERS = ("samples", "selftests/bpf")
CTX_SIZE = 128
HEAD = struct.calcsize("<IHHIIIIIIIIII16s")


def _crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def seal(image):
    """The image with the checksum that it should have."""
    image = bytearray(image)
    image[12:16] = bytes(4)
    image[12:16] = crc32c(image).to_bytes(4, "little")
    return bytes(image)


# Instructions, as many as tests need.

def insn(code, dst=0, src=0, off=0, imm=0):
    return struct.pack("<BBhI", code, src << 4 | dst, off, imm & 0xffffffff)


EXIT = insn(0x95)


def mov(dst, imm):
    return insn(0xb7, dst, imm=imm)


def mov_reg(dst, src):
    return insn(0xbf, dst, src)


def add(dst, imm):
    return insn(0x07, dst, imm=imm)


def add_reg(dst, src):
    return insn(0x0f, dst, src)


def ld_imm64(dst, value):
    return (insn(0x18, dst, imm=value) + insn(0, imm=value >> 32))


def ld_global(dst, index, off=0):
    return insn(0x18, dst, 6, imm=index) + insn(0, imm=off)


def load64(dst, src, off=0):
    return insn(0x79, dst, src, off)


def store64(dst, off, src):
    return insn(0x7b, dst, src, off)


def atomic_add64(dst, off, src):
    return insn(0xdb, dst, src, off)


def jump(off):
    return insn(0x05, off=off)


def call(number):
    return insn(0x85, imm=number)


# A loop of 2^64 rounds, which fuel, time or somebody else ends. An exit has to be
# in reach, or the verifier refuses it.
SPIN = [mov(0, 0), add(0, 1), insn(0x15, 0, off=1, imm=-1), jump(-3), EXIT]


class Image:
    """What is in a struct nvme_csd_image.

    @insns is bytes, or a list of them; @globals_ a list of (bytes, read-only).
    """

    def __init__(self, insns, globals_=(), unit=4096, overlap=0, name=b"test"):
        self.insns = b"".join(insns) if isinstance(insns, list) else insns
        self.globals = [(bytes(data), bool(ro)) for data, ro in globals_]
        self.unit, self.overlap, self.name = unit, overlap, name
        self.symbols = {}

    def pack(self, **changes):
        """The bytes; @changes put other values into the header."""
        head = csd.Image(
            magic=csd.IMAGE_MAGIC, abi=csd.EBPF_ABI, hdr_size=HEAD,
            nr_insns=len(self.insns) // 8, insns_off=HEAD,
            nr_globals=len(self.globals), globals_off=HEAD + len(self.insns),
            unit=self.unit, overlap=self.overlap, ctx_size=CTX_SIZE,
            name=self.name)
        values = head.globals_off + 16 * len(self.globals)
        table = tail = b""
        for data, rdonly in self.globals:
            stored = data.rstrip(b"\0")
            table += bytes(csd.Global(
                size=len(data), flags=csd.GLOBAL_RDONLY if rdonly else 0,
                init_len=len(stored),
                init_off=values + len(tail) if stored else 0))
            tail += stored + bytes(-len(stored) % 8)
        head.size = values + len(tail)
        for name, value in changes.items():
            setattr(head, name, value)
        image = bytes(head) + self.insns + table + tail
        return image if "crc" in changes else seal(image)

    @classmethod
    def parse(cls, data):
        head = csd.Image.parse(data)
        entries = csd.Global.parse_all(data, head.nr_globals, head.globals_off)
        globals_ = []
        for entry in entries:
            value = data[entry.init_off:entry.init_off + entry.init_len]
            globals_.append((value + bytes(entry.size - len(value)),
                             entry.flags & csd.GLOBAL_RDONLY))
        return cls(data[head.insns_off:head.insns_off + 8 * head.nr_insns],
                   globals_, head.unit, head.overlap, head.name)

    def place(self, symbol):
        """(index of the global memory, offset, size) of a variable."""
        return self.symbols[symbol]

    def set(self, symbol, value):
        """Give a variable an initial value: a number, or bytes. Returns self."""
        index, off, size = self.symbols[symbol]
        if isinstance(value, int):
            value = value.to_bytes(size, "little")
        data, rdonly = self.globals[index]
        data = data[:off] + value + data[off + len(value):]
        self.globals[index] = (data, rdonly)
        return self


def _elf_symbols(path):
    """{name: (section's name, offset, size)} of the symbols of an object."""
    with open(path, "rb") as file:
        elf = file.read()
    table, = struct.unpack_from("<Q", elf, 40)
    size, number, names = struct.unpack_from("<HHH", elf, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, table + n * size)
                for n in range(number)]

    def string(section, off):
        start = sections[section][4] + off
        return elf[start:elf.index(b"\0", start)].decode()

    found = {}
    for section in sections:
        if section[1] != 2:	# SHT_SYMTAB
            continue
        for at in range(section[4], section[4] + section[5], 24):
            name, _, _, index, value, length = struct.unpack_from("<IBBHQQ",
                                                                  elf, at)
            if 0 < index < number:
                found[string(section[6], name)] = (
                    string(names, sections[index][0]), value, length)
    return found


def object_path(name):
    """Where the build has put it."""
    paths = [os.path.join(BUILD, folder, f"{name}.bpf.o") for folder in FOLDERS]
    for path in paths:
        if os.path.exists(path):
            return path
    raise FileNotFoundError(f"none of {', '.join(paths)} is there: "
                            "make samples test-programs")


@functools.lru_cache(maxsize=None)
def convert(name, program="-"):
    """(the tool's image, its words on the global memory)."""
    with tempfile.NamedTemporaryFile(prefix="blkbpf-image.") as file:
        done = subprocess.run(
            [f"{BUILD}/selftests/bin/csd_image", object_path(name), program,
             file.name], text=True, check=True, stdout=subprocess.PIPE)
        return file.read(), [line.split() for line in done.stdout.splitlines()]


def from_object(name, program="-"):
    """The Image of a program of the samples or of selftests/bpf."""
    data, lines = convert(name, program)
    image = Image.parse(data)
    index = {section: int(number) for number, section, *_ in lines}
    image.symbols = {
        symbol: (index[section], off, size)
        for symbol, (section, off, size) in
        _elf_symbols(object_path(name)).items() if section in index and size}
    return image
