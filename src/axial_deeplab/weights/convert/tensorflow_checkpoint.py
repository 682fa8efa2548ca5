"""TensorFlow checkpoints (`NAME.index` and `NAME.data-00000-of-00001`), read without TensorFlow.

The index is a sorted table as in LevelDB: its entry "" says how many files of data there are, the others of
each variable where it lies there, its type, its shape and its checksum, as protocol buffers. A table is a row
of blocks and, at its end, a footer that points to the block of the index, whose values point to the
blocks of the entries. A block holds keys in rising order, each as what it adds to the key before, and values.

All of it may be handed any bytes: it raises `BrokenFileError`, and allocates in proportion to what it was
handed.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# What TensorFlow appends to the path of a variable in the tree of Python objects that was saved.
VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
# An index has about 100 bytes a variable.
LARGEST_INDEX = 64 * 2**20
_FOOTER_SIZE = 48
_MAGIC = bytes.fromhex("57fb808b247547db")
_TRAILER_SIZE = 5  # kind of compression, checksum
# A key that only repeats the one before it costs few bytes, so the length must have a limit of its own.
_LONGEST_KEY = 4096
# Castagnoli's polynomial, its bits reversed, and the number that TensorFlow adds to a rotated checksum.
_CASTAGNOLI = 0x82F63B78
_MASK_DELTA = 0xA282EAD8
# Fewer bytes are faster one by one than in lanes.
_FEWEST_BYTES_IN_LANES = 4096

# TensorFlow's numbers of its types (types.proto).
DTYPES = {
    1: torch.float32,
    2: torch.float64,
    3: torch.int32,
    4: torch.uint8,
    5: torch.int16,
    6: torch.int8,
    9: torch.int64,
    10: torch.bool,
    14: torch.bfloat16,
    17: torch.uint16,
    19: torch.float16,
    22: torch.uint32,
    23: torch.uint64,
}


class BrokenFileError(ValueError):
    """The bytes are not what they should be; the message is the reason alone, to stand behind a path."""


@dataclass(frozen=True)
class Variable:
    """Where a variable lies in a checkpoint.

    Args:
        dtype: number type of the tensor; None for types that are not numbers.
        shape: shape of the tensor.
        shard: number of the file of data.
        offset: first byte in this file.
        size: bytes in this file.
        checksum: checksum of these bytes, as TensorFlow masks it.
        is_sliced: whether it is stored in several parts.
    """

    dtype: torch.dtype | None
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    is_sliced: bool


class TensorFlowCheckpoint:
    """A checkpoint of TensorFlow 2; tensors are read one at a time.

    Args:
        path: `ckpt-60000`, one of its files (`ckpt-60000.index`, ...), or a folder with one checkpoint.

    Attributes:
        prefix: the path without the endings of the files.
        variables: all variables by their names, which are those of TensorFlow without the suffix
            `/.ATTRIBUTES/VARIABLE_VALUE`.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: a file is truncated, corrupted or of another kind, or the folder has several checkpoints.

    Source:
        tensorflow/core/protobuf/tensor_bundle.proto; LevelDB, doc/table_format.md.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.prefix = checkpoint_prefix(path)
        self.index_path = Path(f"{self.prefix}.index")
        if not self.index_path.is_file():
            raise FileNotFoundError(
                f"checkpoint must have an index, got none at {self.index_path}; correct the path"
            )
        try:
            self.num_shards, self.variables = self._read_index()
        except BrokenFileError as reason:
            raise _broken(self.index_path, reason) from None

    def read(self, name: str) -> Tensor:
        """Return the tensor of a variable, bit for bit.

        Raises:
            KeyError: there is no such variable.
            FileNotFoundError: its file of data is missing.
            ValueError: the file is truncated or corrupted, or the variable is not of numbers.
        """
        variable = self.variables[name]
        if variable.dtype is None or variable.is_sliced:
            kind = "in several slices" if variable.is_sliced else "of another type"
            raise ValueError(
                f"{self.index_path}: {name} must be a whole tensor of numbers, got one {kind}; "
                "save it again with TensorFlow 2"
            )
        path = Path(f"{self.prefix}.data-{variable.shard:05d}-of-{self.num_shards:05d}")
        if not path.is_file():
            raise FileNotFoundError(
                f"checkpoint must have all its files, got no {path}; copy it beside {self.index_path.name}"
            )
        if variable.offset + variable.size > path.stat().st_size:
            raise _broken(path, f"{path.stat().st_size} bytes, {name} lies behind them")
        with path.open("rb") as file:
            file.seek(variable.offset)
            content = bytearray(file.read(variable.size))
        if masked_crc32c(content) != variable.checksum:
            raise _broken(path, f"a wrong checksum of {name}")
        if not content:
            return torch.empty(variable.shape, dtype=variable.dtype)
        return torch.frombuffer(content, dtype=variable.dtype).reshape(variable.shape)

    def _read_index(self) -> tuple[int, dict[str, Variable]]:
        size = self.index_path.stat().st_size
        if size > LARGEST_INDEX:
            raise BrokenFileError(f"{size} bytes, more than any index has")
        entries = read_table(self.index_path.read_bytes())
        header = entries.pop(b"", None)
        if header is None:
            raise BrokenFileError("no header")
        fields = parse_message(header)
        if _number(fields, 2) != 0:
            raise BrokenFileError("numbers whose highest byte comes first")
        num_shards = _number(fields, 1)
        variables: dict[str, Variable] = {}
        for key, value in entries.items():
            if key.startswith(b"\0"):
                continue  # a slice of a variable, which has an entry of its own
            try:
                name = key.decode().removesuffix(VALUE_SUFFIX)
            except UnicodeDecodeError:
                raise BrokenFileError(f"the name {key[:40]!r}") from None
            if name in variables:
                raise BrokenFileError(f"two variables {name}")
            variables[name] = _parse_entry(name, value, num_shards)
        return num_shards, variables


def is_checkpoint(path: str | os.PathLike[str]) -> bool:
    """Return whether a path means a TensorFlow checkpoint: a prefix, one of its files, or its folder."""
    path = Path(path)
    if path.is_dir():
        return any(path.glob("*.index"))
    return path.suffix == ".index" or ".data-" in path.name or Path(f"{path}.index").is_file()


def checkpoint_prefix(path: str | os.PathLike[str]) -> Path:
    """Return the path of a checkpoint without the endings of its files.

    Raises:
        ValueError: a folder has several checkpoints, or none.
    """
    path = Path(path)
    if path.is_dir():
        prefixes = sorted(index.with_suffix("") for index in path.glob("*.index"))
        if len(prefixes) != 1:
            names = ", ".join(prefix.name for prefix in prefixes) or "none"
            raise ValueError(f"checkpoint must be one of the folder {path}, got {names}; name one")
        return prefixes[0]
    if path.suffix == ".index":
        return path.with_suffix("")
    return path.with_name(path.name.partition(".data-")[0])


def _parse_entry(name: str, content: bytes, num_shards: int) -> Variable:
    fields = parse_message(content)
    type_number = _number(fields, 1)
    dtype = DTYPES.get(type_number)
    shape = _parse_shape(_message(fields, 2))
    shard, offset, size = (_number(fields, number) for number in (3, 4, 5))
    is_sliced = 7 in fields
    if shard >= num_shards:
        raise BrokenFileError(f"{name} in file {shard + 1} of {num_shards}")
    if dtype is not None and not is_sliced and size != math.prod(shape) * dtype.itemsize:
        raise BrokenFileError(f"{size} bytes for {name} of shape {shape}")
    return Variable(dtype, shape, shard, offset, size, _number(fields, 6), is_sliced)


def _parse_shape(content: bytes) -> tuple[int, ...]:
    dimensions = parse_message(content).get(2, [])
    sizes = tuple(_number(parse_message(_as_bytes(dimension)), 1) for dimension in dimensions)
    # PyTorch multiplies the sizes with 63 bits, even those of an empty tensor.
    if len(sizes) > 16 or math.prod(max(size, 1) for size in sizes) >= 1 << 40:
        raise BrokenFileError(f"a tensor of {len(sizes)} dimensions and sizes such as {max(sizes)}")
    return sizes


def _number(fields: Mapping[int, list[int | bytes]], field: int) -> int:
    """Return the value of a field of a message, which is 0 where it is not written."""
    value = fields.get(field, [0])[-1]
    if not isinstance(value, int):
        raise BrokenFileError("a text in the place of a number")
    return value


def _message(fields: Mapping[int, list[int | bytes]], field: int) -> bytes:
    return _as_bytes(fields.get(field, [b""])[-1])


def _as_bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise BrokenFileError("a number in the place of a message")
    return value


def _broken(path: Path, reason: object) -> ValueError:
    return ValueError(
        f"{path} must be a file of a complete TensorFlow checkpoint, got {reason}; download or copy it again"
    )


def read_table(content: bytes) -> dict[bytes, bytes]:
    """Return the entries of a table, in rising order of their keys.

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
    if compression:  # TensorFlow writes none: tensor_bundle.cc, TableBuilderOptions
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


def masked_crc32c(content: bytes | bytearray) -> int:
    """Return the checksum that TensorFlow stores: CRC-32C, rotated and shifted."""
    data = np.frombuffer(content, np.uint8)
    crc = 0xFFFFFFFF
    in_lanes = 0
    if len(data) >= _FEWEST_BYTES_IN_LANES:
        # Lanes of equal length run side by side, and are as many as pay for the steps that join them.
        num_lanes = 2 ** min(13, len(data).bit_length() - 9)
        in_lanes = len(data) // num_lanes * num_lanes
        crc = _crc_of_lanes(data[:in_lanes].reshape(num_lanes, -1), crc)
    table = _crc_table().tolist()
    for byte in content[in_lanes:]:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _crc_of_lanes(lanes: NDArray[np.uint8], start: int) -> int:
    """Return the remainder of lanes (a power of two, length) behind each other, and of what is before."""
    table = _crc_table()
    crcs = np.zeros(len(lanes), np.uint32)
    crcs[0] = start
    for column in np.ascontiguousarray(lanes.T):
        crcs = table[crcs.astype(np.uint8) ^ column] ^ (crcs >> 8)
    # The remainder is linear in its bits: what zero bytes make of each bit tells what they make of any.
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    behind, by_zeros, zeros = bits, table[bits & 0xFF] ^ (bits >> 8), lanes.shape[1]
    while zeros:
        if zeros & 1:
            behind = _applied(by_zeros, behind)
        by_zeros, zeros = _applied(by_zeros, by_zeros), zeros >> 1
    while len(crcs) > 1:
        crcs = _applied(behind, crcs[0::2]) ^ crcs[1::2]
        behind = _applied(behind, behind)
    return int(crcs[0])


def _applied(images: NDArray[np.uint32], crcs: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return what a linear map makes of remainders, from its images (32,) of the single bits."""
    result = np.zeros_like(crcs)
    for bit, image in enumerate(images):
        result ^= (crcs >> bit & 1) * image
    return result


@cache
def _crc_table() -> NDArray[np.uint32]:
    """Return the remainders of all bytes (256,)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_CASTAGNOLI), table >> 1)
    return table.astype(np.uint32)
