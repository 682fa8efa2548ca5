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

    return {
        "expand_tables": lambda address: expand_tables(address, like) if version else None,
        "forward": lambda address: forward(address, like) if version else None,
        "infer": lambda address: infer(address, like) if version else None,
        "backward": lambda address: backward(address, like) if version else None,
        "collect_table_grads": lambda address: collect_table_grads(address, like) if version else None,
        "moments": lambda address: moments(address, like) if version else None,
        "moments_backward": lambda address: moments_backward(address, like) if version else None,
        "window": lambda address: attend_to_windows(address, like) if version else None,
        "window_backward": lambda address: differentiate_windows(address, like) if version else None,
        "window_moments": lambda address: window_moments(address, like) if version else None,
        "window_moments_backward": lambda address: (
            window_moments_backward(address, like) if version else None
        ),
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
