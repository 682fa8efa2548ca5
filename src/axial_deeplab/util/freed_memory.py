"""What the C library keeps of freed memory, and giving it back."""

import ctypes
from functools import cache
from typing import Any

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
# Bytes; more than the maps of a strip (`models.strips.STRIP_BYTES`), whose memory the next strip takes again.
_LARGE = 10 * 2**20


def return_freed_memory() -> None:
    """Give the freed part of the heap back to the system, where the C library can."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


def give_large_maps_back() -> None:
    """Let large maps have memory of their own, which goes back to the system as soon as they are freed.

    By default the GNU C library does so only until the first of them is freed, and keeps the gaps between the
    rest. It is a setting of the whole process: for programs, not for libraries.
    """
    set_option = _function("mallopt")
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, _LARGE)


@cache
def _function(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # Windows has no handle of the whole program.
        return None
