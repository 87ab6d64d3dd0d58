#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""blkbpf scan --where and --match, on the user target."""

import concurrent.futures
import json
import os
import random
import re
import shutil
import struct
import subprocess
import tempfile

import bpfcc
import exprs
from ktap import (cleanup, diag, expect, expect_in, expect_match, fail, run, sh,
                  skip, test, test_each)

BLKBPF = os.environ.get("BLKBPF", os.path.join(bpfcc.TOP, "build/bin/blkbpf"))
# A reported run asks for more.
COUNT = int(os.environ.get("EXPRESSIONS", "500"))
FIRST = int(os.environ.get("FIRST_EXPRESSION", "0"))
# Extremes and small numbers, so that comparisons are close.
WORDS = (0, 1, 2, 3, 255, 256, 65535, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63,
         (1 << 64) - 1)


def make_data(size):
    source = random.Random("where")
    words = [source.choice(WORDS) if source.randrange(2) else
             source.getrandbits(64) for _ in range(size // 8)]
    return struct.pack(f"<{len(words)}Q", *words)


DATA = make_data(3 << 12)


def image(data=DATA):
    """A file that holds those bytes, until the test ends."""
    handle, path = tempfile.mkstemp(prefix="where")
    cleanup(os.unlink, path)
    with open(handle, "wb") as file:
        file.write(data)
    return path


def blkbpf(*words, status=0):
    done = subprocess.run([BLKBPF, *words], stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, timeout=120)
    expect(done.returncode, status, f"status of {words}: {done.stderr}")
    return done


def places(*words):
    """Positions that a scan on the user target finds."""
    done = blkbpf("scan", "--on", "user", *words)
    return [int(line.split()[0]) for line in done.stdout.splitlines()]


def check(seed, path):
    """One expression; a sentence if it is not what Python says."""
    text, size, wanted = exprs.make(seed, DATA)
    done = subprocess.run([BLKBPF, "scan", "--on", "user", "--threads", "1",
                           "--record", str(size), "--where", text, path],
                          stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False, timeout=60)
    if done.returncode:
        return f"{seed}: {text}: {done.stderr}"
    found = [int(line.split()[0]) for line in done.stdout.splitlines()]
    if found == wanted:
        return None
    wrong = sorted(set(found) ^ set(wanted))[0]
    return (f"{seed}: records of {size}: {text}: at {wrong}, which is "
            f"{DATA[wrong:wrong + size].hex()}, {wrong in wanted} is right")


@test
def random_expressions_are_true_where_python_says():
    """If this breaks, a filter finds what it should not, or misses what it
    should find."""
    path = image()
    # The work is in other processes.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        wrong = [line for line in pool.map(
            lambda seed: check(seed, path), range(FIRST, FIRST + COUNT)) if line]
    for line in wrong[:10]:
        diag(line)
    expect(len(wrong), 0, f"wrong ones of {COUNT}")
    some = [len(exprs.make(seed, DATA)[2]) for seed in range(100)]
    expect(sum(count > 0 for count in some) > 30, what="some are true somewhere")


@test
def the_words_of_the_manual_mean_what_it_says():
    """If this breaks, the first thing that a person tries fails."""
    data = b"".join(struct.pack("<QIQH10s32x", n, n * 10, -n % 2 ** 64, n % 12,
                                b"ab" if n % 3 else b"abc") for n in range(64))
    path = image(data)
    for text, holds in (
            ("u32le@8 < 100 && u16le@20 in 5..9", lambda n: n < 10 and
             5 <= n % 12 <= 9),
            ('bytes@22 == "ab"', lambda n: True),
            ('bytes@22:10 == "ab"', lambda n: n % 3),
            ("bytes@22 != hex:616263", lambda n: n % 3),
            ("u64le@12 > -1 && s64le@12 < 0", lambda n: n > 0),
            ("u64le@0 & 1 == 1", lambda n: n & 1),
            ("!(u64le@0 & 1)", lambda n: not n & 1),
            ("u64le@0 in {1, 3, 60..61}", lambda n: n in (1, 3, 60, 61)),
            ("u64le@0 not in 1..62", lambda n: n in (0, 63)),
            ("u8@22 == 'a' && u64le@0 % 7 == 2", lambda n: n % 7 == 2),
            ("u64be@0 == u64le@0 << 56", lambda n: True)):
        expect(places("--record", "64", "--where", text, path),
               [64 * n for n in range(64) if holds(n)], text)


@test_each(
    type=("u17le@0 == 1", 1, "there is no type u17le"),
    no_order=("1 == 1 && u16@0 == 1", 11, "there is no type u16"),
    offset=("u32le@13 == 1", 1, "this reaches to byte 17, and a record has 16"),
    no_offset=("u32le@ == 1", 8, "the offset of the field is missing here"),
    name=("price < 3", 1, "the name price means nothing without a layout"),
    number=("u8@0 == 99999999999999999999", 9, "does not fit in 64 bits"),
    octal=("u8@0 == 12ab", 9, "this is no number"),
    text=('u8@0 == "a', 9, "this text has no end"),
    escape=('bytes@0 == "\\q"', 13, "there is no such escape"),
    order=('bytes@0 < "ab"', 9, "bytes can be compared by == and != only"),
    hexa=("bytes@0 == hex:123", 16, "pairs of hexadecimal digits"),
    long=('bytes@0:2 == "abc"', 14, "this has 3 bytes, and the field 2"),
    truth=("(u8@0 == 1) + 2 == 3", 7, "this is true or false"),
    chain=("1 < u8@0 < 3", 10, "one comparison at a time"),
    assign=("u8@0 = 1", 6, "to compare, write =="),
    end=("u8@0 == 1 &&", 13, "a field, a number or a ( is missing here"),
    paren=("(u8@0 == 1", 11, "a ) is missing here"),
    rest=("u8@0 == 1 u8@1", 11, "an operator is missing in front of this"),
    shift=("u8@0 << u8@1", 9, "to shift, give a number from 0 to 63"),
    divide=("u8@0 / 0 == 1", 8, "to divide, give a number above 0"),
    range=("u8@0 in 5", 6, "after in there is a range"),
    empty=("", 1, "there is nothing in it"),
    strange=("u8@0 == 1 # 2", 11, "this character has no meaning here"))
def mistakes_are_shown_where_they_are(text, column, sentence):
    """If this breaks, a person searches a long line for a typing error."""
    done = blkbpf("scan", "--on", "user", "--record", "16", "--where", text,
                  "/dev/null/x", "--dump", "c", status=2)
    done = blkbpf("scan", "--record", "16", "--where", text, "--dump", "c",
                  status=1)
    said = done.stderr.decode()
    expect_in(f"where: column {column}: ", said, "sentence")
    expect_in(sentence, said, "sentence")
    lines = said.splitlines()
    if len(lines) == 3:
        expect(lines[2].index("^") - 1, column, "the column that it points at")


@test
def bytes_are_found_wherever_they_are():
    """If this breaks, what lies across two units or strides is missed."""
    source = random.Random("match")
    for length in (1, 2, 3, 5, 8, 9, 17, 63, 64):
        data = bytearray(bytes(source.choice(b"ab") for _ in range(40000)))
        wanted = bytes(source.choice(b"ab") for _ in range(length))
        for at in (0, 4096 - length, 4096 - length // 2, 8191, 12287 - length,
                   40000 - length):
            data[at:at + length] = wanted
        pattern = re.compile(b"(?=" + re.escape(wanted) + b")", re.DOTALL)
        path = image(bytes(data))
        expect(places("--match", f"hex:{wanted.hex()}", path),
               [place.start() for place in pattern.finditer(data)],
               f"{length} bytes")
        expect(places("--match", f"hex:{wanted.hex()}", "--range", "100:5000",
                      path), [100 + place.start() for place in
                              pattern.finditer(data[100:5100])],
               f"{length} bytes in a range")
    expect(places("--match", "text:hex:61", image(b"x hex:61")), [2], "text:")


@test
def what_is_no_search_is_refused():
    """If this breaks, a search for nothing finds everything."""
    for text, sentence in (("", "there is nothing to search for"),
                           ("hex:", "there is nothing to search for"),
                           ("hex:1", "pairs of hexadecimal digits"),
                           ("x" * 65, "65 bytes are too many")):
        done = blkbpf("scan", "--match", text, "--dump", "bpf", status=1)
        expect_in(sentence, done.stderr.decode(), "sentence")


HEADER = """
#include <stdint.h>
#include <linux/types.h>
struct point { int32_t x, y; };
enum kind { SMALL, LARGE };
struct item {
	uint64_t key;
	__be32 price;
	int16_t delta;
	uint8_t flags : 3, level : 5;
	char name[9];
	struct point at[2];
	enum kind kind;
	signed int low : 7;
	union { uint16_t a; uint8_t b[2]; };
};
typedef struct item item_t;
"""


def items():
    """(bytes, dict) of struct item, laid out by Python."""
    source = random.Random("items")
    made = []
    for _ in range(500):
        item = {"key": source.getrandbits(64), "price": source.randrange(1000),
                "delta": source.randrange(-500, 500),
                "flags": source.randrange(8), "level": source.randrange(32),
                "name": source.choice((b"ab", b"abc", b"abcdefghi", b"")),
                "y1": source.randrange(-9, 9), "kind": source.randrange(2),
                "low": source.randrange(-64, 64), "a": source.randrange(9000)}
        raw = struct.pack("<Q", item["key"]) + struct.pack(">I", item["price"]) + \
            struct.pack("<hB9s", item["delta"], item["flags"] | item["level"] << 3,
                        item["name"]) + \
            struct.pack("<iiiiIBxH", 1, 2, 3, item["y1"], item["kind"],
                        item["low"] & 0x7f,
                        item["a"])
        made.append((raw, item))
    return made


@test_each(header="struct item", typedef="item_t")
def names_of_a_header_are_fields(kind):
    """If this breaks, a name means another place than the compiler says."""
    folder = tempfile.mkdtemp()
    cleanup(shutil.rmtree, folder)
    header = os.path.join(folder, "item.h")
    with open(header, "w", encoding="ascii") as file:
        file.write(HEADER)
    made = items()
    size = len(made[0][0])
    path = image(b"".join(raw for raw, _ in made))
    for text, holds in (
            ("price < 100 && delta > 0", lambda i: i["price"] < 100 and
             i["delta"] > 0),
            ("flags == 5 || level in 30..31", lambda i: i["flags"] == 5 or
             i["level"] >= 30),
            ('name == "ab"', lambda i: i["name"] == b"ab"),
            ('name == "abcdefghi"', lambda i: i["name"] == b"abcdefghi"),
            ("at[1].y < -5", lambda i: i["y1"] < -5),
            ("kind == 1 && low < -60", lambda i: i["kind"] and i["low"] < -60),
            ("b[1] == 7", lambda i: i["a"] >> 8 == 7),
            ("key > 0x8000000000000000", lambda i: i["key"] >> 63)):
        expect(places("--layout", f"{header}:{kind}", "--where", text, path),
               [n * size for n, (_, item) in enumerate(made) if holds(item)], text)
    for text, sentence in (
            ("prize < 3", "there is no member prize: there is key, price"),
            ("at[2].x == 1", "the array has 2 elements"),
            ("at == 1", "neither a number nor an array of bytes"),
            ("key.x == 1", "there is no member x here, which is no struct"),
            ("key[0] == 1", "this is no array")):
        done = blkbpf("scan", "--layout", f"{header}:{kind}", "--where", text,
                      "--dump", "bpf", status=1)
        expect_in(sentence, done.stderr.decode(), text)
    done = blkbpf("scan", "--layout", f"{header}:struct nothing", "--where",
                  "key == 1", "--dump", "bpf", status=1)
    expect_in("struct nothing", done.stderr.decode(), "sentence")


@test
def names_of_an_object_are_fields():
    """If this breaks, who has no compiler has no names."""
    path = bpfcc.compiled("record", """
        struct record { unsigned long long key; unsigned value; char rest[52]; };
        struct record layout;""")
    data = b"".join(struct.pack("<QI52x", n, n * n) for n in range(100))
    expect(places("--layout", f"{path}:struct record", "--where",
                  "key > 90 && value < 9000", image(data)),
           [64 * n for n in range(91, 95)], "records")


@test
def dumped_c_compiles_to_the_same_answers():
    """If this breaks, what --dump c shows is not what runs."""
    path = image()
    cases = [exprs.make(seed, DATA) for seed in range(20)]
    # What random ones seldom have: signs that meet, and quotients of negatives.
    for symbol in exprs.OPERATORS:
        cases += [(f"s64le@0 {symbol} u64le@8 || u64le@16 {symbol} s64le@24", 32,
                   None), (f"s32le@4 / 7 {symbol} s16le@0 % 5", 8, None)]
    for text, size, _ in cases:
        if size > 4096:
            continue
        words = ("--record", str(size), "--where", text)
        source = blkbpf("scan", *words, "--dump", "c").stdout.decode()
        expect(places(bpfcc.compiled("where", source), path),
               places(*words, path), text)
    for wanted in (b"a", b"\xff\xff", b"\x00\x01\x02\x03?\"\\x", DATA[100:164]):
        source = blkbpf("scan", "--match", f"hex:{wanted.hex()}", "--dump",
                        "c").stdout.decode()
        expect(places(bpfcc.compiled("match", source), path),
               places("--match", f"hex:{wanted.hex()}", path), f"{wanted!r}")


@test
def a_real_binary_file_is_read_as_awk_reads_it():
    """If this breaks, the records are those that the tests made up, and no
    others."""
    # Symbols of a C library: fixed records that others can list too.
    library = "/usr/lib/x86_64-linux-gnu/libc.so.6"
    if not os.path.exists(library) or not shutil.which("readelf"):
        skip("there is no libc.so.6, or no readelf")
    sections = sh(["readelf", "-SW", library]).stdout
    place = expect_match(r"\.dynsym +DYNSYM +\w+ (\w+) (\w+) (\w+)", sections)
    off, length, size = (int(word, 16) for word in place.groups())
    expect(size, 24, "bytes of a symbol")
    found = places("--record", "24", "--range", f"{off}:{length}", "--where",
                   "u8@4 & 15 == 2 && u8@4 >> 4 == 1 && u64le@16 > 500 && "
                   "u16le@6 != 0", library)
    listed = sh("readelf --dyn-syms -W '%s' | awk '$4 == \"FUNC\" && "
                "$5 == \"GLOBAL\" && $3 + 0 > 500 && $7 != \"UND\" "
                "{ print $1 + 0 }'" % library).stdout
    wanted = [off + 24 * int(number) for number in listed.split()]
    expect(len(wanted) > 100, what="such functions in the library")
    expect(found, wanted, "functions of over 500 bytes")


def dynamic_symbols(library):
    """(offset, dicts by the names of elf.h) of the table, read by Python alone."""
    with open(library, "rb") as file:
        data = file.read()
    begin, = struct.unpack_from("<Q", data, 0x28)
    size, number = struct.unpack_from("<HH", data, 0x3a)
    for at in range(begin, begin + size * number, size):
        kind, = struct.unpack_from("<I", data, at + 4)
        off, length = struct.unpack_from("<QQ", data, at + 24)
        if kind == 11:
            break
    names = ("st_name", "st_info", "st_other", "st_shndx", "st_value", "st_size")
    return off, [dict(zip(names, values)) for values in
                 struct.iter_unpack("<IBBHQQ", data[off:off + length])]


@test
def the_systems_own_header_names_a_real_files_fields():
    """If this breaks, --layout is good for headers that were made for it."""
    library, header = "/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/include/elf.h"
    if not os.path.exists(library) or not os.path.exists(header):
        skip("there is no libc.so.6, or no elf.h")
    off, symbols = dynamic_symbols(library)
    for text, holds in (
            ("st_size > 500 && st_info & 15 == 2 && st_shndx != 0",
             lambda s: s["st_size"] > 500 and s["st_info"] & 15 == 2 and
             s["st_shndx"] != 0),
            ("st_value % 16 == 0 && st_value in 0x20000..0x90000",
             lambda s: s["st_value"] % 16 == 0 and
             0x20000 <= s["st_value"] <= 0x90000),
            ("st_value + st_size > 0x100000 || !(st_info >> 4 == 1)",
             lambda s: s["st_value"] + s["st_size"] > 0x100000 or
             s["st_info"] >> 4 != 1),
            ("st_other not in {0, 2} || st_name * 3 < st_size",
             lambda s: s["st_other"] not in (0, 2) or
             s["st_name"] * 3 < s["st_size"])):
        wanted = [off + 24 * number for number, symbol in enumerate(symbols)
                  if holds(symbol)]
        expect(0 < len(wanted) < len(symbols), what=f"{text}: some, not all")
        expect(places("--layout", f"{header}:Elf64_Sym", "--range",
                      f"{off}:{24 * len(symbols)}", "--where", text, library),
               wanted, text)


@test
def json_and_texts_are_as_with_any_program():
    """If this breaks, a script that reads a scan cannot read this one."""
    path = image(b"a needle, a needle")
    answer = json.loads(blkbpf("-j", "scan", "--on", "user", "--print", "text",
                               "--match", "needle", path).stdout)
    expect(answer["matches"], [{"pos": 2, "len": 6, "lba": 0,
                                "hex": b"needle".hex()},
                               {"pos": 12, "len": 6, "lba": 0,
                                "hex": b"needle".hex()}], "matches")
    error = json.loads(blkbpf("-j", "scan", "--where", "u8@0 =", "--record", "1",
                              "--dump", "c", status=1).stderr)
    expect_in("column 6", error["error"], "error")


@test_each(
    both=(("--where", "1", "--match", "x"), "do not go together"),
    record=(("--record", "8", "--match", "x"), "--record goes with --where"),
    missing=(("--where", "u8@0"), "--where needs --record"),
    set=(("--match", "x", "--set", "a=b"), "--set goes with an object file"),
    unit=(("--match", "x", "--unit", "512"), "has a unit of its own"),
    dump=(("--match", "x", "--dump", "elf"), "give bpf or c"),
    nothing=(("--dump", "c"), "goes with --where or --match"))
def contradictions_are_refused(words, sentence):
    """If this breaks, an option is ignored and the answer is another one."""
    operands = ("/dev/null", "/dev/null")[:1 + ("--dump" in words)]
    done = blkbpf("scan", *words, *operands, status=2)
    expect_in(sentence, done.stderr.decode(), "sentence")


if __name__ == "__main__":
    run()
