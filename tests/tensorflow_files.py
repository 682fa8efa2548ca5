"""Writes TensorFlow checkpoints with any content, valid checksums included, to test their reader."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from axial_deeplab.weights.convert.tensorflow_checkpoint import masked_crc32c

MAGIC = bytes.fromhex("57fb808b247547db")
ONE_SHARD = b"\x08\x01"


def varint(number: int) -> bytes:
    content = bytearray()
    while number >= 0x80:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*content, number])


def message(*fields: tuple[int, int | bytes]) -> bytes:
    """Return a protocol buffer of numbers and texts."""
    return b"".join(
        varint(number << 3) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
        for number, value in fields
    )


def tensor_entry(
    content: bytes, shape: tuple[int, ...], *, dtype: int = 1, shard: int = 0, offset: int = 0
) -> bytes:
    """Return the entry of a tensor in an index."""
    shape_message = message(*((2, message((1, size))) for size in shape))
    fields = message((1, dtype), (2, shape_message), (3, shard), (4, offset), (5, len(content)))
    return fields + b"\x35" + masked_crc32c(content).to_bytes(4, "little")


def block(entries: list[tuple[bytes, bytes]], *, end: bytes = bytes(4) + b"\1\0\0\0") -> bytes:
    """Return the content of a block whose keys are all whole."""
    return (
        b"".join(b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in entries) + end
    )


def signed(content: bytes, compression: int = 0) -> bytes:
    """Return a block with its trailer."""
    stored = content + bytes([compression])
    return stored + masked_crc32c(stored).to_bytes(4, "little")


def table(*blocks: bytes) -> bytes:
    """Return a table of blocks with their trailers."""
    places, position = [], 0
    for number, stored in enumerate(blocks):
        places.append((bytes([number + 1]), varint(position) + varint(len(stored) - 5)))
        position += len(stored)
    index = signed(block(places))
    footer = (b"\0\0" + varint(position) + varint(len(index) - 5)).ljust(40, b"\0") + MAGIC
    return b"".join(blocks) + index + footer


def write_index(path: Path, entries: Mapping[bytes, bytes], header: bytes = ONE_SHARD) -> None:
    path.write_bytes(table(signed(block(sorted({b"": header, **entries}.items())))))


def write_checkpoint(prefix: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write float32 arrays as a TensorFlow checkpoint of one file of data."""
    entries, data = {}, b""
    for name, array in arrays.items():
        content = array.astype(np.float32).tobytes()
        key = f"{name}/.ATTRIBUTES/VARIABLE_VALUE".encode()
        entries[key] = tensor_entry(content, array.shape, offset=len(data))
        data += content
    write_index(prefix.with_name(f"{prefix.name}.index"), entries)
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)


def variables_of(model: nn.Module, sources: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return random variables of deeplab2 for a network: shapes of ours, backwards through the layouts."""
    rng = np.random.default_rng(0)
    tensors = model.state_dict()
    arrays = {}
    for ours, source in sources.items():
        shape = tuple(tensors[ours].shape)
        if source.name.endswith("/depthwise_kernel"):
            shape = (*shape[2:], shape[0], 1)
        elif source.name.endswith("qkv_kernel"):
            shape = shape[1::-1]
        elif len(shape) == 4:
            shape = (*shape[2:], shape[1], shape[0])
        elif "_batch_norm_similarity" in source.name:
            shape = (shape[0], 1, shape[1], 1, 1)
        elif "_batch_norm_retrieved_output" in source.name:
            parts = sum(other.name == source.name for other in sources.values())
            shape = (parts, 1, 8, 1, shape[0] // 8)
        positive = source.name.endswith("variance")
        arrays[source.name] = rng.uniform(0.5 if positive else -0.1, 1.0 if positive else 0.1, shape)
    return arrays
