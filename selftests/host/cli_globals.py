#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Setting and showing global variables by name and type."""

import ctypes
import json
import os
import shutil
import tempfile

import bpfcc
from ktap import cleanup, expect, expect_in, run, sh, test

TOP = os.path.realpath(os.path.join(os.path.dirname(
    os.path.realpath(__file__)), "..", ".."))
LIBRARY = os.path.join(TOP, "build/lib/libblkbpf.so.0")
BLKBPF = os.environ.get("BLKBPF", os.path.join(TOP, "build/bin/blkbpf"))

SOURCE = """
#include <bpf/blk_bpf.h>

enum color { RED, GREEN = 5, BLUE = -3 };
enum big { SMALL = 1, HUGE = 0x1234567890ULL };
struct pair { __u16 a, b; };
struct point { int x; unsigned char tag[4]; struct pair in[2]; };
struct packed { unsigned low : 3; int high : 5; enum color tint : 4; struct { __u8 hidden; }; };
typedef struct { union { __u32 word; __u8 byte; } either; } mixed_t;

const volatile char needle[8];
const volatile __u32 needle_len;
const volatile char plain[8] = "abc";
const volatile __u8 raw[4];
const volatile __s8 s8 = -1;
const volatile __u16 u16;
const volatile _Bool flag;
const volatile enum color color = GREEN;
const volatile enum big big = SMALL;
const volatile struct point point = {
	.x = -7, .tag = "ab", .in = { { 1, 2 }, { 3, 4 } },
};
struct packed packed = { .low = 6, .high = -3, .tint = BLUE, .hidden = 9 };
mixed_t mixed[2][1] = { { { { 258 } } } };
__u16 grid[2][3] = { { 1, 2, 3 }, { 4 } };
__s64 counter = -5;
__u64 seen;

SEC("struct_ops/filter")
int BLK_BPF_FILTER(one, struct blk_bpf_ctx *ctx,
		   const void *data, const void *data_end)
{
	seen += needle[ctx->len & 7] + needle_len + plain[1] + raw[1] + s8 +
		u16 + flag + color + big + point.x + counter + packed.low +
		mixed[0][0].either.word + grid[1][0];
	return BLK_BPF_SKIP;
}

BLK_BPF_PROGRAM(a_name_that_is_longer_than_fits, .filter = (void *)one);
BLK_BPF_PROGRAM(second, .filter = (void *)one, .name = "named");
"""


class Value(ctypes.Structure):
    """struct blkbpf_value"""
    _fields_ = [("path", ctypes.c_char_p), ("type", ctypes.c_int),
                ("u", ctypes.c_uint64), ("s", ctypes.c_int64),
                ("name", ctypes.c_char_p), ("bytes", ctypes.c_void_p),
                ("len", ctypes.c_size_t), ("member", ctypes.c_char_p),
                ("type_name", ctypes.c_char_p)]


VISIT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p,
                         ctypes.POINTER(Value))


def library():
    """libblkbpf, with the types of what is called here."""
    lib = ctypes.CDLL(LIBRARY, use_errno=True)
    for name, result, *arguments in (
            ("blkbpf_object__open", ctypes.c_void_p, ctypes.c_char_p),
            ("blkbpf_object__close", None, ctypes.c_void_p),
            ("blkbpf_object__set", ctypes.c_int, ctypes.c_void_p,
             ctypes.c_char_p, ctypes.c_char_p),
            ("blkbpf_object__find_prog", ctypes.c_void_p, ctypes.c_void_p,
             ctypes.c_char_p),
            ("blkbpf_object__globals", ctypes.c_int, ctypes.c_void_p, VISIT,
             ctypes.c_void_p),
            ("blkbpf_prog__name", ctypes.c_char_p, ctypes.c_void_p),
            ("blkbpf_last_error", ctypes.c_char_p)):
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = arguments
    return lib


class Object:
    """A BPF object that is opened and not loaded."""

    path = None

    def __init__(self):
        if not Object.path:
            Object.path = compile_source()
        self.lib = library()
        self.handle = self.lib.blkbpf_object__open(Object.path.encode())
        expect(bool(self.handle), what=self.error())
        cleanup(self.lib.blkbpf_object__close, self.handle)

    def error(self):
        """The library's last sentence."""
        return self.lib.blkbpf_last_error().decode()

    def set(self, **values):
        """Set variables, which must be possible."""
        for name, value in values.items():
            ret = self.lib.blkbpf_object__set(self.handle, name.encode(),
                                              value.encode())
            expect(ret, 0, f"{name}={value}: {self.error()}")

    def refuse(self, name, value, text):
        """A setting that must be refused, with this in its sentence."""
        before = self.values()
        ret = self.lib.blkbpf_object__set(self.handle, name.encode(),
                                          value.encode())
        expect(ret < 0, what=f"{name}={value} is refused")
        expect_in(text, self.error(), f"sentence for {name}={value}")
        expect(self.values(), before, f"variables after {name}={value}")

    def values(self):
        """All leaves of all global variables."""
        found = {}

        def visit(_, pointer):
            value = pointer[0]
            found[value.path.decode()] = (
                value.u, value.s, bool(value.u),
                value.name.decode() if value.name else value.s,
                ctypes.string_at(value.bytes, value.len)
                if value.bytes else b"")[value.type]
            return 0

        expect(self.lib.blkbpf_object__globals(self.handle, VISIT(visit),
                                               None), 0, "globals")
        return found


def compile_source():
    """The object file of SOURCE."""
    folder = tempfile.mkdtemp()
    path = bpfcc.compile_into(folder, "globals", SOURCE)
    os.unlink(path[:-1] + "c")
    return path


def cleanup_at_exit():
    """The object is shared by the tests of this file."""
    if Object.path:
        shutil.rmtree(os.path.dirname(Object.path))


@test
def initial_values_are_read():
    """--dump-globals shows what is there, nested as it is."""
    values = Object().values()
    for name, wanted in (("plain", b"abc\0\0\0\0\0"), ("s8", -1),
                         ("color", "GREEN"), ("big", "SMALL"),
                         ("flag", False), ("point.x", -7),
                         ("point.tag", b"ab\0\0"), ("point.in[0].b", 2),
                         ("point.in[1].a", 3), ("counter", -5), ("seen", 0),
                         ("packed.low", 6), ("packed.high", -3),
                         ("packed.tint", "BLUE"), ("packed.hidden", 9),
                         ("mixed[0][0].either.word", 258), ("grid[1][0]", 4)):
        expect(values[name], wanted, name)


def dumped(*words):
    """What --dump-globals shows of the object, after a scan of nothing."""
    Object()
    with tempfile.NamedTemporaryFile() as file:
        return sh([BLKBPF, *words, "scan", "--on", "user", "--count",
                   "--dump-globals", "--program", "named", Object.path,
                   file.name]).stdout


@test
def json_is_nested_as_the_types_are():
    """If this breaks, a script has to take names like a[3].b apart."""
    values = json.loads(dumped("-j"))["globals"]
    for name, wanted in (
            ("point", {"x": -7, "tag": "61620000",
                       "in": [{"a": 1, "b": 2}, {"a": 3, "b": 4}]}),
            ("packed", {"low": 6, "high": -3, "tint": "BLUE", "hidden": 9}),
            ("mixed", [[{"either": {"word": 258, "byte": 2}}],
                       [{"either": {"word": 0, "byte": 0}}]]),
            ("grid", [[1, 2, 3], [4, 0, 0]]), ("flag", False),
            ("color", "GREEN"), ("counter", -5)):
        expect(values[name], wanted, name)


@test
def json_names_the_types():
    """If this breaks, it takes the source to know what a number is."""
    answer = json.loads(dumped("-j"))
    types = answer["types"]
    for name, wanted in (
            ("point", "struct point"), ("needle", "char[8]"),
            ("struct point", {"x": "int", "tag": "unsigned char[4]",
                              "in": "struct pair[2]"}),
            ("struct pair", {"a": "__u16", "b": "__u16"}),
            ("struct packed", {"low": "unsigned int:3", "high": "int:5",
                               "tint": "enum color:4", "hidden": "__u8"}),
            ("mixed", "mixed_t[2][1]"), ("mixed_t", {"either": "union"}),
            ("grid", "__u16[2][3]"), ("big", "enum big"), ("flag", "_Bool")):
        expect(types[name], wanted, name)
    expect(sorted(name for name in types if " " not in name and
                  name != "mixed_t"), sorted(answer["globals"]), "variables")


@test
def plain_text_has_one_leaf_a_line():
    """If this breaks, grep does not find a member with its value."""
    lines = dumped().splitlines()
    for wanted in ("point.in[1].a = 3", "packed.high = -3", "grid[0][2] = 3",
                   'color = "GREEN"', 'point.tag = "61620000"'):
        expect_in(wanted, lines, "lines")


@test
def integers_of_each_width_and_sign():
    """A value stored with the wrong width overwrites its neighbour."""
    obj = Object()
    # what lies beside the others must not look as it does after an overrun
    obj.set(flag="true", raw="hex:ffffffff", needle="hex:ffffffffffffffff")
    before = obj.values()
    wanted = {"s8": -128, "u16": 0xffff, "counter": -2**63, "seen": 2**64 - 1}
    obj.set(**{name: str(value) for name, value in wanted.items()})
    expect(obj.values(), {**before, **wanted}, "variables")
    obj.set(u16="0x10", s8="+5", seen="010")
    expect(obj.values(), {**before, **wanted, "u16": 16, "s8": 5, "seen": 8},
           "variables")


@test
def integers_out_of_range_are_refused():
    """A number that wraps is not the one that was asked for."""
    obj = Object()
    for value in ("-129", "128", "256"):
        obj.refuse("s8", value, "a signed integer of 8 bits")
    for value in ("65536", "-1"):
        obj.refuse("u16", value, "an unsigned integer of 16 bits")
    for value in ("9223372036854775808", "-9223372036854775809"):
        obj.refuse("counter", value, "a signed integer of 64 bits")
    for value in ("18446744073709551616", "", "5x", "x", " 5", "--5", "1.5"):
        obj.refuse("seen", value, "not an integer")


@test
def words_for_bool_and_enum():
    """Names are what the source says; numbers need a look into it."""
    obj = Object()
    for value, wanted in (("true", True), ("off", False), ("1", True),
                          ("No", False), ("yes", True)):
        obj.set(flag=value)
        expect(obj.values()["flag"], wanted, f"flag={value}")
    obj.set(color="BLUE", big="HUGE")
    expect(obj.values()["color"], "BLUE", "color")
    expect(obj.values()["big"], "HUGE", "big")
    obj.set(color="5")
    expect(obj.values()["color"], "GREEN", "color=5")
    obj.refuse("flag", "2", "true or false")
    obj.refuse("color", "PINK", "RED, GREEN, BLUE")


@test
def arrays_take_text_and_hex():
    """A needle with a stale tail would match something else."""
    obj = Object()
    obj.set(needle="longer!", raw="hex:00fF01")
    obj.set(needle="abc")
    expect(obj.values()["needle"], b"abc\0\0\0\0\0", "needle")
    expect(obj.values()["raw"], b"\0\xff\x01\0", "raw")
    obj.set(needle="text:hex", raw="four")
    expect(obj.values()["needle"], b"hex\0\0\0\0\0", "needle")
    expect(obj.values()["raw"], b"four", "raw")
    for value in ("hex:0", "hex:0g", "hex:0x00"):
        obj.refuse("raw", value, "pairs of hexadecimal digits")
    obj.refuse("raw", "hex:0001020304", "room for 4")


@test
def length_variable_follows_its_array():
    """grep would search for 64 bytes instead of the text."""
    obj = Object()
    obj.set(needle="abc")
    expect(obj.values()["needle_len"], 3, "needle_len")
    obj.set(needle="12345678")
    expect(obj.values()["needle_len"], 8, "needle_len of a full array")
    obj.refuse("needle", "123456789", "room for 8")
    obj.set(needle="")
    expect(obj.values()["needle_len"], 0, "needle_len of nothing")
    obj.set(needle_len="2")
    obj.set(needle="abcd")
    expect(obj.values()["needle_len"], 2, "needle_len that was set by itself")


@test
def text_without_a_length_keeps_its_end():
    """Without NAME_len a program looks for the NUL."""
    obj = Object()
    obj.set(plain="1234567")
    obj.refuse("plain", "12345678", "room for 7")


@test
def other_types_are_refused():
    """A struct has no text that would be its value."""
    obj = Object()
    obj.refuse("point", "1", "only integers, bool, enums and arrays of bytes")
    obj.refuse("nothing", "1", "there is no global variable 'nothing'")


@test
def programs_are_found_by_either_name():
    """.name is cut to 15 characters, the variable's name is not."""
    obj = Object()
    find = obj.lib.blkbpf_object__find_prog
    for name, wanted in ((b"a_name_that_is_longer_than_fits",
                          b"a_name_that_is_"),
                         (b"a_name_that_is_", b"a_name_that_is_"),
                         (b"second", b"named"), (b"named", b"named")):
        prog = find(obj.handle, name)
        expect(bool(prog), what=obj.error())
        expect(obj.lib.blkbpf_prog__name(prog), wanted, "name")
    expect(not find(obj.handle, None), what="choice among several")
    expect_in("choose one of a_name_that_is_, named", obj.error())
    expect(not find(obj.handle, b"third"), what="a program that is not there")


if __name__ == "__main__":
    try:
        run()
    finally:
        cleanup_at_exit()
