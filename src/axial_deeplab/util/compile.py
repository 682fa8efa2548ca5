"""Compiling with Numba, once for all processes where the result can be kept."""

from collections.abc import Callable
from typing import Any


def compile_cached(compiler: Callable[..., Any], function: Callable[..., Any], *signature: Any) -> Any:
    """Compile a function; keep the result on disk, or do without where no folder can be written.

    Args:
        compiler: `numba.njit` or `numba.cfunc`.
        function: what to compile.
        signature: types of the function, if the compiler wants them.

    Returns:
        What the compiler made of it.
    """
    try:
        return compiler(*signature, cache=True)(function)
    except RuntimeError:  # Neither the folder of the function's file nor that of the user can be written.
        return compiler(*signature)(function)
