"""The C functions that Python calls: kernels for one type of numbers, compiled on first use and cached on
disk."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import cfunc, types

from axial_deeplab.ops.numba.backward import backward
from axial_deeplab.ops.numba.forward import forward
from axial_deeplab.ops.numba.inference import infer
from axial_deeplab.ops.numba.moments import moments, moments_backward
from axial_deeplab.ops.numba.tables import collect_table_grads, expand_tables
from axial_deeplab.ops.numba.window import attend_to_windows
from axial_deeplab.ops.numba.window_backward import differentiate_windows
from axial_deeplab.ops.numba.window_moments import window_moments, window_moments_backward
from axial_deeplab.util.compile import compile_cached


def entry_points(like: np.floating[Any], version: int) -> dict[str, Callable[[int], None]]:
    """The kernels for numbers of the type of `like`.

    Numba finds compiled code again by the closure of a function. So each of them mentions the version of
    the sources: code of other sources is then never taken from the cache.
    """

    def expand_tables_entry(address: int) -> None:
        if version:
            expand_tables(address, like)

    def forward_entry(address: int) -> None:
        if version:
            forward(address, like)

    def infer_entry(address: int) -> None:
        if version:
            infer(address, like)

    def backward_entry(address: int) -> None:
        if version:
            backward(address, like)

    def collect_table_grads_entry(address: int) -> None:
        if version:
            collect_table_grads(address, like)

    def moments_entry(address: int) -> None:
        if version:
            moments(address, like)

    def moments_backward_entry(address: int) -> None:
        if version:
            moments_backward(address, like)

    def window_moments_entry(address: int) -> None:
        if version:
            window_moments(address, like)

    def window_moments_backward_entry(address: int) -> None:
        if version:
            window_moments_backward(address, like)

    def window_entry(address: int) -> None:
        if version:
            attend_to_windows(address, like)

    def window_backward_entry(address: int) -> None:
        if version:
            differentiate_windows(address, like)

    return {
        "expand_tables": expand_tables_entry,
        "forward": forward_entry,
        "infer": infer_entry,
        "backward": backward_entry,
        "collect_table_grads": collect_table_grads_entry,
        "moments": moments_entry,
        "moments_backward": moments_backward_entry,
        "window": window_entry,
        "window_backward": window_backward_entry,
        "window_moments": window_moments_entry,
        "window_moments_backward": window_moments_backward_entry,
    }


@dataclass(frozen=True)
class CompiledFunction:
    """A C function that takes the address of the table of arguments.

    Attributes:
        address: address of its code.
        ctypes: calls it from Python.
        kept: what the code lives in.
    """

    address: int
    ctypes: Callable[[int], None]
    kept: object


@cache
def compiled(name: str, dtype: str) -> CompiledFunction:
    """The C function `name` for float32 or float64."""
    function = entry_points(np.dtype(dtype).type(0), _version())[name]
    code = compile_cached(cfunc, function, types.void(types.int64))
    return CompiledFunction(int(code.address or 0), code.ctypes, code)


@cache
def _version() -> int:
    """A number that changes with the sources of the kernels, never 0."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return zlib.crc32(b"".join(source.read_bytes() for source in sources)) | 1
