# SPDX-License-Identifier: GPL-2.0
"""Random expressions of blkbpf scan --where, and what they are true for.

Evaluated here with Python's integers, which have no width: what is computed is
brought to 64 bits at each step, and comparisons are those of numbers. Nothing of
this knows how blkbpf does it.
"""

import random

OPERATORS = ("==", "!=", "<", "<=", ">", ">=")


def wrap(value, signed):
    value &= (1 << 64) - 1
    return value - (1 << 64) if signed and value >> 63 else value


class Number:
    """A number in an expression: its text, whether it is signed, its value."""

    def __init__(self, text, signed, value, level=0, known=None):
        self.text, self.signed, self.value = text, signed, value
        self.level, self.known = level, known

    def within(self, level):
        """The text, in parentheses if it binds less than that level."""
        return f"({self.text})" if self.level > level else self.text


class Truth:
    """What is true or false of a record; levels as of C, 1 binds closest."""

    def __init__(self, text, value, level):
        self.text, self.value, self.level = text, value, level

    def within(self, level):
        return f"({self.text})" if self.level > level else self.text


def constant(value):
    text = str(value) if value >= 0 else f"-{-value}"
    return Number(text, value < 1 << 63, lambda record: value,
                  0 if value >= 0 else 1, value)


class Maker:
    """Makes expressions over records of a size."""

    def __init__(self, source, size):
        self.source, self.size = source, size

    def chance(self, one_in):
        return self.source.randrange(one_in) == 0

    def field(self):
        bits = self.source.choice((8, 8, 16, 32, 64))
        while bits // 8 > self.size:
            bits //= 2
        signed = self.chance(3)
        order = self.source.choice(("le", "be"))
        # Few places, so that fields are read again and overlap.
        off = self.source.choice((0, 1, self.source.randrange(self.size)))
        off = min(off, self.size - bits // 8)
        text = f"{'s' if signed else 'u'}{bits}{order if bits > 8 else ''}@{off}"
        return Number(text, signed or bits < 64, lambda record: int.from_bytes(
            record[off:off + bits // 8], "little" if order == "le" else "big",
            signed=signed))

    def literal(self):
        source = self.source
        value = source.choice((0, 1, 2, 255, 256, 65535, 1 << 31, (1 << 31) - 1,
                               (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63,
                               (1 << 64) - 1, source.randrange(256),
                               source.randrange(1 << 16),
                               source.getrandbits(32), source.getrandbits(64)))
        return constant(-value if value <= 1 << 63 and self.chance(5) else value)

    def binary(self, depth):
        symbol, level = self.source.choice((
            ("*", 2), ("+", 3), ("-", 3), ("&", 5), ("&", 5), ("^", 6), ("|", 7)))
        left, right = self.number(depth - 1), self.number(depth - 1)
        signed = left.signed and right.signed
        operation = {"*": int.__mul__, "+": int.__add__, "-": int.__sub__,
                     "&": int.__and__, "^": int.__xor__, "|": int.__or__}[symbol]
        return Number(f"{left.within(level)} {symbol} {right.within(level - 1)}",
                      signed, lambda record: wrap(operation(
                          left.value(record), right.value(record)), signed), level)

    def shift(self, depth):
        left, by = self.number(depth - 1), self.source.randrange(64)
        symbol = self.source.choice(("<<", ">>"))
        operation = int.__lshift__ if symbol == "<<" else int.__rshift__
        return Number(f"{left.within(4)} {symbol} {by}", left.signed,
                      lambda record: wrap(operation(left.value(record), by),
                                          left.signed), 4)

    def division(self, depth):
        left = self.number(depth - 1)
        by = self.source.choice((1, 2, 3, 7, 10, 1000, 1 << 20, 1 << 33))
        symbol = self.source.choice("/%")

        def value(record):
            number = left.value(record)
            # Towards zero, as C does it.
            quotient = abs(number) // by * (-1 if number < 0 else 1)
            return wrap(quotient if symbol == "/" else number - quotient * by,
                        left.signed)

        return Number(f"{left.within(2)} {symbol} {by}", left.signed, value, 2)

    def unary(self, depth):
        inner, symbol = self.number(depth - 1), self.source.choice("-~")
        if inner.known is not None:
            return inner
        # Of a u64 field, minus is a number modulo 2^64 too.
        return Number(f"{symbol}{inner.within(1)}", inner.signed,
                      lambda record: wrap(-inner.value(record) if symbol == "-"
                                          else ~inner.value(record),
                                          inner.signed), 1)

    def number(self, depth):
        if depth <= 0 or self.chance(3):
            return self.literal() if self.chance(4) else self.field()
        return self.source.choice((self.binary, self.binary, self.binary,
                                   self.shift, self.division,
                                   self.unary))(depth)

    def near(self, number, record):
        """A literal close to what the number is of one of the records."""
        value = number.value(record) + self.source.choice((-1, 0, 0, 1))
        return constant(max(-(1 << 63), min(value, (1 << 64) - 1)))

    def comparison(self, depth, record):
        left = self.number(depth)
        right = self.near(left, record) if not self.chance(4) else \
            self.number(depth)
        if self.chance(6):
            left, right = right, left
        symbol = self.source.choice(OPERATORS)
        operation = {"==": int.__eq__, "!=": int.__ne__, "<": int.__lt__,
                     "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__}[symbol]
        return Truth(f"{left.within(8)} {symbol} {right.within(8)}",
                     lambda record: operation(left.value(record),
                                              right.value(record)), 9)

    def ranges(self, depth, record):
        left, parts, tests = self.number(depth), [], []
        negate = self.chance(4)
        for _ in range(self.source.choice((1, 1, 2, 3))):
            low = self.near(left, record) if self.chance(2) else self.literal()
            if self.chance(3):
                parts.append(low.within(8))
                tests.append((low, low))
                continue
            high = self.literal()
            parts.append(f"{low.within(8)}..{high.within(8)}")
            tests.append((low, high))
        text = f"{{{', '.join(parts)}}}"
        if len(parts) == 1 and ".." in parts[0] and self.chance(2):
            text = parts[0]
        return Truth(f"{left.within(8)} {'not in' if negate else 'in'} {text}",
                     lambda record: negate != any(
                         low.value(record) <= left.value(record) <=
                         high.value(record) for low, high in tests), 9)

    def bytes_test(self, record):
        off = self.source.randrange(self.size)
        room = self.size - off
        length = self.source.randrange(1, min(room, 20) + 1)
        wanted = bytearray(record[off:off + length])
        if self.chance(3):
            wanted[self.source.randrange(length)] ^= 1 << self.source.randrange(8)
        wanted = bytes(wanted)
        size, symbol = "", self.source.choice(("==", "!="))
        compared = wanted
        if self.chance(3):
            extra = self.source.randrange(min(room - length, 3) + 1)
            size = f":{length + extra}"
            # A shorter text is followed by a zero.
            compared = wanted + bytes(min(extra, 1))
        text = f"hex:{wanted.hex()}" if self.chance(2) else '"' + "".join(
            chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\'
            else f"\\x{byte:02x}" for byte in wanted) + '"'
        return Truth(f"bytes@{off}{size} {symbol} {text}",
                     lambda record: (record[off:off + len(compared)] == compared)
                     == (symbol == "=="), 9)

    def truth(self, depth, record):
        if depth <= 0 or self.chance(4):
            kind = self.source.randrange(8)
            if kind == 0:
                return self.bytes_test(record)
            if kind == 1:
                number = self.number(2)
                return Truth(number.text, lambda record: number.value(record) != 0,
                             number.level)
            if kind < 4:
                return self.ranges(self.source.randrange(3), record)
            return self.comparison(self.source.randrange(4), record)
        if self.chance(5):
            inner = self.truth(depth - 1, record)
            return Truth(f"!{inner.within(10)}",
                         lambda record: not inner.value(record), 10)
        left, right = (self.truth(depth - 1, record) for _ in range(2))
        if self.chance(2):
            return Truth(f"{left.within(11)} && {right.within(10)}",
                         lambda record: left.value(record) and
                         right.value(record), 11)
        return Truth(f"{left.within(12)} || {right.within(11)}",
                     lambda record: left.value(record) or right.value(record), 12)


def records(data, size):
    """(position, record) of the whole ones."""
    return [(at, data[at:at + size])
            for at in range(0, len(data) - size + 1, size)]


def make(seed, data):
    """(text, size of a record, positions of the records it is true for)."""
    source = random.Random(f"expression {seed}")
    size = source.choice((1, 2, 3, 7, 8, 12, 16, 24, 64, 100, 512, 4100))
    maker = Maker(source, size)
    all_records = records(data, size)
    truth = maker.truth(source.randrange(5), source.choice(all_records)[1])
    return truth.text, size, [at for at, record in all_records
                              if truth.value(record)]
