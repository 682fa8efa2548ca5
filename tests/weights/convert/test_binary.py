"""The parts of TensorFlow's files: known values, and no bytes make them fail in another way than they say."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axial_deeplab.weights.convert.binary import (
    BrokenFileError,
    decompress_snappy,
    masked_crc32c,
    parse_message,
    read_varint,
)

TEXT = b"axial attention, axial attention, height then width; " * 8 + bytes(range(256)) * 2
# TEXT as Google's Snappy compresses it (by way of cramjam): literals, near and far copies, overlapping ones.
COMPRESSED = (
    bytes.fromhex(
        "a80740617869616c20617474656e74696f6e2c2042110044686569676874207468656e2077696474683b462400"
    )
    + bytes.fromhex("fe3500" * 5 + "863500f40501")
    + bytes(range(256))
    + bytes.fromhex("000102030405" + "fe0001" * 3 + "e60001")
)


@pytest.mark.parametrize(
    ("content", "crc"),
    # RFC 3720, appendix B.4, and the customary check value.
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ],
)
def test_crc32c(content, crc):
    assert masked_crc32c(content) == ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def test_varints():
    assert read_varint(b"\x07", 0) == (7, 1)
    assert read_varint(b"x\xac\x02", 1) == (300, 3)
    assert read_varint(b"\xff" * 9 + b"\x01", 0) == (2**64 - 1, 10)
    with pytest.raises(BrokenFileError, match="a number that is cut off"):
        read_varint(b"\xac", 0)
    for too_long in (b"\xff" * 9 + b"\x02", b"\x80" * 11):
        with pytest.raises(BrokenFileError, match="a number of more than 64 bits"):
            read_varint(too_long, 0)


def test_messages():
    content = b"\x08\x96\x01" + b"\x12\x02hi" + b"\x1d\x01\0\0\0" + b"\x21" + b"\x02" + bytes(7) + b"\x12\x00"
    assert parse_message(content) == {1: [150], 2: [b"hi", b""], 3: [1], 4: [2]}
    for cut_off in (b"\x12\x03hi", b"\x1d\0", b"\x12" + b"\xff" * 9 + b"\x01"):
        with pytest.raises(BrokenFileError, match="a text that is cut off"):
            parse_message(cut_off)
    with pytest.raises(BrokenFileError, match="a field of the unknown kind 3"):
        parse_message(b"\x0b")


def test_snappy():
    assert decompress_snappy(COMPRESSED) == TEXT
    assert decompress_snappy(b"\0") == b""
    long_literal = bytes([61 << 2]) + (69_999).to_bytes(3, "little")[:2]
    with pytest.raises(BrokenFileError, match="a text that is cut off"):
        decompress_snappy(b"\x05" + long_literal + b"abc")
    # Two letters, then ten more by a copy from two bytes before, with a distance of four bytes.
    assert decompress_snappy(b"\x0c\x04ab" + bytes([9 << 2 | 3, 2, 0, 0, 0])) == b"ab" * 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xff\xff\xff\x7f", "5 compressed bytes that claim to be 34359738367"),
        (b"\x05\x00a\x01\x00", "a compressed copy from before the beginning"),
        (b"\x05\x00a\x01\x09", "a compressed copy from before the beginning"),
        (b"\x05\x00a", "compressed bytes that make 1 instead of 5"),
        (b"\x01\x04ab", "compressed bytes that make 2 instead of 1"),
    ],
)
def test_snappy_refuses(content, message):
    with pytest.raises(BrokenFileError, match=message):
        decompress_snappy(content)


@given(st.binary(max_size=60))
def test_any_bytes(content):
    for parse in (parse_message, decompress_snappy):
        with suppress(BrokenFileError):
            parse(content)


@given(st.integers(0, len(COMPRESSED) - 1), st.integers(1, 255))
def test_damaged_snappy(position, change):
    content = bytearray(COMPRESSED)
    content[position] ^= change
    with suppress(BrokenFileError):
        assert len(decompress_snappy(bytes(content))) <= 22 * len(content)
