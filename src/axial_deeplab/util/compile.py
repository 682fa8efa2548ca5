"""Compiling with Numba, once for all processes where the result can be kept.

Numba is imported when something is compiled: that alone takes as long as many small images.
"""

import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from axial_deeplab.util.text import one_line


def compile_for_threads(function: Callable[..., Any], signature: Any) -> Any:
    """Compile a function of arrays that lets other threads run meanwhile; see `compile_cached`."""
    from numba import njit

    return compile_cached(partial(njit, nogil=True), function, signature)


def compile_cached(compiler: Callable[..., Any], function: Callable[..., Any], signature: Any) -> Any:
    """Compile a function; keep the result on disk, or do without, with a warning, where that fails.

    The folder may be unwritable, its disk full, a file in it cut short.

    Args:
        compiler: `numba.njit` or `numba.cfunc`.
        function: what to compile.
        signature: types of the function.

    Returns:
        What the compiler made of it.
    """
    try:
        return compiler(signature, cache=True)(function)
    except Exception as error:  # of the system, of unpickling, of Numba
        compiled = compiler(signature)(function)  # an error of the function itself comes again
        _warn_once(_folder(function), one_line(error))
        return compiled


def _folder(function: Callable[..., Any]) -> str:
    """Return where Numba keeps what it compiled, or would if it could."""
    from numba import njit

    try:
        return str(njit(cache=True)(function).stats.cache_path)
    except RuntimeError:  # no folder can be written
        return str(Path(function.__code__.co_filename).parent / "__pycache__")


@cache
def _warn_once(folder: str, reason: str) -> None:
    warnings.warn(
        f"compiled kernels must be kept in {folder}, got: {reason}; each process compiles them again: "
        "remove the files there, make room, or set NUMBA_CACHE_DIR to another folder",
        stacklevel=2,
    )
