"""What the C library keeps of freed memory, and giving it back."""

import ctypes
from functools import cache
from typing import Any


def return_freed_memory() -> None:
    """Give the freed part of the heap back to the system, where the C library can."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Any:
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # Windows has no handle of the whole program.
        return None
