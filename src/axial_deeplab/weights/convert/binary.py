"""The small parts that TensorFlow's files are made of: varints, protocol buffers, Snappy, CRC-32C.

All of it may be handed any bytes: it raises `BrokenFileError`, and allocates in proportion to what it was
handed.
"""

from functools import partial

import numpy as np
from numba import njit

from axial_deeplab.util.compile import compile_cached

# A copy of three bytes stands for at most 64, so no Snappy stream expands more than this.
_SNAPPY_MOST_EXPANSION = 22
# Castagnoli's polynomial, its bits reversed, and the number that TensorFlow adds to a rotated checksum.
_CASTAGNOLI = 0x82F63B78
_MASK_DELTA = 0xA282EAD8


class BrokenFileError(ValueError):
    """The bytes are not what they should be; the message is the reason alone, to stand behind a path."""


def read_varint(content: bytes, position: int) -> tuple[int, int]:
    """Read an unsigned number of 7 bits a byte, the lowest first.

    Returns:
        The number, below 2^64, and the position behind it.

    Raises:
        BrokenFileError: the content ends within the number, or the number has more than 64 bits.
    """
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            raise BrokenFileError("a number that is cut off")
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
    if byte >= 0x80 or value >= 1 << 64:
        raise BrokenFileError("a number of more than 64 bits")
    return value, position


def read_bytes(content: bytes, position: int, length: int) -> tuple[bytes, int]:
    """Return so many bytes and the position behind them.

    Raises:
        BrokenFileError: there are fewer.
    """
    end = position + length
    if end > len(content):
        raise BrokenFileError("a text that is cut off")
    return content[position:end], end


def parse_message(content: bytes) -> dict[int, list[int | bytes]]:
    """Split a protocol buffer into its fields.

    Returns:
        By the number of the field, its values in their order: unsigned numbers, or the bytes of texts and of
        nested messages.

    Raises:
        BrokenFileError: the content is not a protocol buffer.
    """
    fields: dict[int, list[int | bytes]] = {}
    position = 0
    while position < len(content):
        tag, position = read_varint(content, position)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == 0:
            value, position = read_varint(content, position)
        elif kind == 2:
            length, position = read_varint(content, position)
            value, position = read_bytes(content, position, length)
        elif kind in (1, 5):
            fixed, position = read_bytes(content, position, 8 if kind == 1 else 4)
            value = int.from_bytes(fixed, "little")
        else:
            raise BrokenFileError(f"a field of the unknown kind {kind}")
        fields.setdefault(number, []).append(value)
    return fields


def decompress_snappy(content: bytes) -> bytes:
    """Undo Snappy's compression of one block.

    Raises:
        BrokenFileError: the content is not such a block.
    """
    length, position = read_varint(content, 0)
    if length > _SNAPPY_MOST_EXPANSION * len(content):
        raise BrokenFileError(f"{len(content)} compressed bytes that claim to be {length}")
    output = bytearray()
    while position < len(content):
        tag = content[position]
        position += 1
        kind, count = tag & 3, (tag >> 2) + 1
        if kind == 0:
            if count > 60:
                number, position = read_bytes(content, position, count - 60)
                count = int.from_bytes(number, "little") + 1
            literal, position = read_bytes(content, position, count)
            output += literal
        else:
            number, position = read_bytes(content, position, (1, 2, 4)[kind - 1])
            distance = int.from_bytes(number, "little")
            if kind == 1:
                count, distance = 4 + (tag >> 2 & 7), distance | (tag >> 5) << 8
            if not 0 < distance <= len(output):
                raise BrokenFileError("a compressed copy from before the beginning")
            start = len(output) - distance
            # What is copied may overlap what it makes: a repeated pattern.
            pattern = output[start : start + count]
            output += (pattern * (count // len(pattern) + 1))[:count]
        if len(output) > length:
            break
    if len(output) != length:
        raise BrokenFileError(f"compressed bytes that make {len(output)} instead of {length}")
    return bytes(output)


def masked_crc32c(content: bytes | bytearray) -> int:
    """Return the checksum that TensorFlow stores: CRC-32C, rotated and shifted."""
    crc = int(_crc32c(np.frombuffer(content, np.uint8), _crc_table()))
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _crc_table() -> np.ndarray:
    """Return the remainders of all bytes, uint32 (256,)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_CASTAGNOLI), table >> 1)
    return table.astype(np.uint32)


@partial(compile_cached, njit)
def _crc32c(content, table):  # type: ignore[no-untyped-def]
    crc = np.uint32(0xFFFFFFFF)
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)
