"""Undoing the filters of PNG lines, compiled by Numba. A pixel is one integer of three bytes here."""

from typing import Any

import numpy as np
from numba import int32, njit, uint32
from numpy.typing import NDArray


def _compiled(function: Any) -> Any:
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # Neither the folder of this file nor that of the user can be written.
        return njit(nogil=True)(function)


@njit(inline="always")
def _sum(a: Any, b: Any) -> Any:
    """Add byte by byte, modulo 256: seven bits with carry, the eighth without."""
    return ((a & uint32(0x7F7F7F)) + (b & uint32(0x7F7F7F))) ^ ((a ^ b) & uint32(0x808080))


@njit(inline="always")
def _average(a: Any, b: Any) -> Any:
    """Halve the sum of each byte, rounded down."""
    return (a & b) + (((a ^ b) & uint32(0xFEFEFE)) >> uint32(1))


@njit(inline="always")
def _nearest_byte(left: Any, up: Any, corner: Any, place: Any) -> Any:
    """Return that byte of the neighbors, in its place, which is nearest to left + up - corner."""
    left, up, corner = (
        int32((left >> place) & uint32(255)),
        int32((up >> place) & uint32(255)),
        int32((corner >> place) & uint32(255)),
    )
    beside, below = up - corner, left - corner
    to_left, to_up, to_corner = abs(beside), abs(below), abs(beside + below)
    up_or_corner = up if to_up <= to_corner else corner
    nearest = left if to_left <= to_up and to_left <= to_corner else up_or_corner
    return uint32(nearest) << place


@njit(inline="always")
def _nearest(left: Any, up: Any, corner: Any) -> Any:
    """Return the nearest neighbor of each byte (Paeth's predictor)."""
    return (
        _nearest_byte(left, up, corner, uint32(0))
        | _nearest_byte(left, up, corner, uint32(8))
        | _nearest_byte(left, up, corner, uint32(16))
    )


@_compiled
def join_lines(lines: NDArray[np.uint8], ids: NDArray[np.uint32]) -> bool:
    """Join filtered colors to ids `red + 256 * green + 65536 * blue` and undo the filters.

    Args:
        lines: a byte for the filter, then three for each pixel (H, 1 + 3 W).
        ids: filled (H, W).

    Returns:
        Whether all filters are those of the standard.

    Source:
        PNG specification, chapter 9.
    """
    height, width = ids.shape
    above = np.zeros(width, dtype=np.uint32)
    for y in range(height):
        kind = lines[y, 0]
        line = ids[y]
        for x in range(width):
            red, green, blue = lines[y, 3 * x + 1], lines[y, 3 * x + 2], lines[y, 3 * x + 3]
            line[x] = uint32(red) | uint32(green) << uint32(8) | uint32(blue) << uint32(16)
        left = uint32(0)
        corner = uint32(0)
        if kind == 1:
            for x in range(width):
                left = _sum(line[x], left)
                line[x] = left
        elif kind == 2:
            for x in range(width):
                line[x] = _sum(line[x], above[x])
        elif kind == 3:
            for x in range(width):
                left = _sum(line[x], _average(left, above[x]))
                line[x] = left
        elif kind == 4:
            for x in range(width):
                left = _sum(line[x], _nearest(left, above[x], corner))
                corner = above[x]
                line[x] = left
        elif kind != 0:
            return False
        above = line
    return True
