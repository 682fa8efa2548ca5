"""Tables: what their format allows is read, everything else is refused."""

import tracemalloc

import pytest

from axial_deeplab.weights.convert.binary import BrokenFileError
from axial_deeplab.weights.convert.sorted_table import read_table
from tensorflow_files import MAGIC, block, signed, table, varint

ENTRIES = [(b"a", b"1"), (b"ab", b""), (b"b", b"3")]


def test_blocks_and_their_order():
    assert read_table(table(signed(block(ENTRIES[:2])), signed(block(ENTRIES[2:])))) == dict(ENTRIES)
    assert read_table(table()) == {}


def test_keys_that_share_a_beginning():
    content = b"\0\3\1abc1" + b"\2\1\1d2" + b"\1\0\0" + bytes(4) + b"\1\0\0\0"
    with pytest.raises(BrokenFileError, match="the key b'a' out of order"):
        read_table(table(signed(content)))
    content = content.replace(b"\1\0\0" + bytes(4), b"\1\1\0z" + bytes(4))
    assert read_table(table(signed(content))) == {b"abc": b"1", b"abd": b"2", b"az": b""}


def test_compressed_blocks():
    content = block(ENTRIES)
    literal = varint(len(content)) + bytes([(len(content) - 1) << 2]) + content
    assert read_table(table(signed(literal, compression=1))) == dict(ENTRIES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no table at its end"),
        (b"hello" * 20, "no table at its end"),
        (MAGIC.rjust(48, b"\xff"), "a number of more than 64 bits"),
        (table(signed(block(ENTRIES)))[1:], "a wrong checksum of the block|a text that is cut off"),
        (table(signed(block(ENTRIES), compression=3)), "a block of the unknown compression 3"),
        (table(signed(block(ENTRIES, end=b"\xff\xff\xff\x7f"))), "that claims 2147483647 whole keys"),
        (table(signed(b"")), "a block of 0 bytes that claims 0 whole keys"),
        (table(signed(block(ENTRIES)), signed(block(ENTRIES))), "the key b'a' out of order"),
        (table(signed(b"\1\1\0a" + bytes(4) + b"\1\0\0\0")), r"a key of 1 \+ 1 bytes"),
        (
            table(signed(b"\0" + varint(2**60) + b"\0a" + bytes(8))),
            r"a key of 0 \+ 1152921504606846976 bytes",
        ),
        (table(signed(b"\0\1" + varint(2**60) + b"a" + bytes(8))), "a text that is cut off"),
    ],
)
def test_refuses(content, message):
    with pytest.raises(BrokenFileError, match=message):
        read_table(content)


def test_keys_that_grow_do_not_fill_the_memory():
    # Each key is the one before and one byte more: 4 bytes in the file, but longer and longer in memory.
    entries = b"".join(varint(number) + b"\1\0a" for number in range(100_000))
    content = table(signed(entries + bytes(4) + b"\1\0\0\0"))
    tracemalloc.start()
    with pytest.raises(BrokenFileError, match=r"a key of 4096 \+ 1 bytes"):
        read_table(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6
