"""What the C library keeps of freed memory, giving it back, and the pages that maps lie in."""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
# Bytes; more than the maps of a strip (`models.strips.STRIP_BYTES`), whose memory the next strip takes again.
_LARGE = 10 * 2**20
_LARGEST = 32 * 2**20  # what the library accepts at most
# Bytes that stay free at the end of the heap for the next maps: who sets one threshold ends that the library
# fits the other to what the program does, and it would give back what is more than 128 kB.
_KEPT = 64 * 2**20
_LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def return_freed_memory() -> None:
    """Give the freed part of the heap back to the system, where the C library can."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


def give_large_maps_back(*, of_one_size: bool = False) -> None:
    """Let large maps have memory of their own, which goes back to the system as soon as they are freed.

    By default the GNU C library does so only until the first of them is freed, and keeps the gaps between the
    rest. It is a setting of the whole process: for programs, not for libraries.

    Args:
        of_one_size: whether images, such as tiles, are of one size: then gaps are filled again, and only maps
            go back that are larger than the library may keep. That takes a fifth less time.
    """
    set_option = _function("mallopt")
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, _LARGEST if of_one_size else _LARGE)
        set_option(_M_TRIM_THRESHOLD, _KEPT)


def take_large_pages() -> None:
    """Let PyTorch ask Linux for pages of 2 MB for large maps, unless the environment says otherwise.

    Attention along the height of a map reads from another page of 4 KB at each position. To be called before
    PyTorch makes its first tensor; it is a setting of this process and of those that it starts.
    """
    # Without them in the kernel PyTorch would warn.
    if _LARGE_PAGES.exists():
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


@cache
def _function(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # Windows has no handle of the whole program.
        return None
