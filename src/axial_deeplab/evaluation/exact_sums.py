"""Exact sums of overlaps, and means and texts of numbers that may be missing.

Parts of a data set add up to the same bits as the whole, in any order: the overlap (IoU) of two matched
segments lies in (0.5, 1], where every float64 is a multiple of 2**-53. In this unit it is an integer of at
most 2**53, and integers add up exactly. Each is kept as two integers of 27 and 26 bits, so that int64 holds
the sums of 2**36 matches.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_BITS = 53
_LOW_BITS = 26

Key = TypeVar("Key")


def split_iou(iou: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the high and the low part (2, N) of overlaps (N,) in (0.5, 1]."""
    units = np.ldexp(iou, _BITS).astype(np.int64)
    return np.stack([units >> _LOW_BITS, units & (2**_LOW_BITS - 1)])


def join_iou(high: int, low: int) -> float:
    """Return the sum of overlaps from the sums of their parts, rounded once."""
    # Python divides integers of any size correctly rounded.
    return ((high << _LOW_BITS) + low) / 2**_BITS


def mean_of_numbers(values: Iterable[float]) -> float:
    """Return the mean of the values that are not nan, nan without any."""
    numbers = [value for value in values if not math.isnan(value)]
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def text_of(value: float) -> str:
    """Return a number with one decimal, "-" for nan."""
    return "-" if math.isnan(value) else f"{value:.1f}"


def without_nan(entry: Mapping[Key, Any]) -> dict[Key, Any]:
    """Return the entry with None in place of nan, for which JSON has no word."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value for key, value in entry.items()
    }
