"""Sorted tables as in LevelDB, the format of the index of a TensorFlow checkpoint.

A table is a row of blocks and, at its end, a footer that points to the block of the index, whose values point
to the blocks of the entries. A block holds keys in rising order, each as what it adds to the key before, and
the values.
"""

from collections.abc import Iterator

from axial_deeplab.weights.convert.binary import (
    BrokenFileError,
    decompress_snappy,
    masked_crc32c,
    read_bytes,
    read_varint,
)

_FOOTER_SIZE = 48
_MAGIC = bytes.fromhex("57fb808b247547db")
_TRAILER_SIZE = 5  # kind of compression, checksum
# A key that only repeats the one before it costs few bytes, so the length must have a limit of its own.
_LONGEST_KEY = 4096


def read_table(content: bytes) -> dict[bytes, bytes]:
    """Return the entries of a table, in rising order of their keys.

    Args:
        content: the whole file.

    Raises:
        BrokenFileError: it is not such a table, it was truncated, or a checksum is wrong.
    """
    if len(content) < _FOOTER_SIZE or not content.endswith(_MAGIC):
        raise BrokenFileError("no table at its end")
    footer = content[-_FOOTER_SIZE:]
    _, position = _read_handle(footer, 0)  # of the block of filters, which TensorFlow leaves empty
    index_handle, _ = _read_handle(footer, position)
    entries: dict[bytes, bytes] = {}
    last = None
    for _, handle_bytes in _read_block(content, index_handle):
        handle, _ = _read_handle(handle_bytes, 0)
        for key, value in _read_block(content, handle):
            # Rising keys also keep a block from being read more than once.
            if last is not None and key <= last:
                raise BrokenFileError(f"the key {key[:40]!r} out of order")
            entries[key] = value
            last = key
    return entries


def _read_handle(content: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Return offset and size of a block, and the position behind them."""
    offset, position = read_varint(content, position)
    size, position = read_varint(content, position)
    return (offset, size), position


def _read_block(table: bytes, handle: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    offset, size = handle
    stored, end = read_bytes(table, offset, size + 1)
    checksum, _ = read_bytes(table, end, _TRAILER_SIZE - 1)
    if masked_crc32c(stored) != int.from_bytes(checksum, "little"):
        raise BrokenFileError(f"a wrong checksum of the block at byte {offset}")
    block, compression = stored[:-1], stored[-1]
    if compression == 1:
        block = decompress_snappy(block)
    elif compression != 0:
        raise BrokenFileError(f"a block of the unknown compression {compression}")
    # The block ends with the places where keys are whole, which only a search needs, and their number.
    num_restarts = int.from_bytes(block[-4:], "little")
    entries_end = len(block) - 4 * (num_restarts + 1)
    if entries_end < 0:
        raise BrokenFileError(f"a block of {len(block)} bytes that claims {num_restarts} whole keys")
    yield from _read_entries(block[:entries_end])


def _read_entries(entries: bytes) -> Iterator[tuple[bytes, bytes]]:
    key, position = b"", 0
    while position < len(entries):
        shared, position = read_varint(entries, position)
        added, position = read_varint(entries, position)
        value_size, position = read_varint(entries, position)
        if shared > len(key) or shared + added > _LONGEST_KEY:
            raise BrokenFileError(f"a key of {shared} + {added} bytes")
        suffix, position = read_bytes(entries, position, added)
        value, position = read_bytes(entries, position, value_size)
        key = key[:shared] + suffix
        yield key, value
