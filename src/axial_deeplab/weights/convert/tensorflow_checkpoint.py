"""TensorFlow checkpoints (`NAME.index` and `NAME.data-00000-of-00001`), read without TensorFlow.

The index is a sorted table: its entry "" says how many files of data there are, the others say of each
variable where it lies there, its type, its shape and its checksum.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from axial_deeplab.weights.convert.binary import BrokenFileError, masked_crc32c, parse_message
from axial_deeplab.weights.convert.sorted_table import read_table

# What TensorFlow appends to the path of a variable in the tree of Python objects that was saved.
VALUE_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
# An index has about 100 bytes a variable.
LARGEST_INDEX = 64 * 2**20

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
