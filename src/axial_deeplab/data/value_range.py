"""Pictures of more than 8 bits a channel: which of their values are black and white to the network."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A picture that uses less of the range than this is likely to have another one. A 14-bit camera uses a
# quarter of 16 bits.
_SMALL_PART = 0.25
# Part of the values that may be darker than black or brighter than white: hot pixels, highlights.
_MOST_OUTSIDE = 0.05


@dataclass(frozen=True)
class ValueRange:
    """A rule that turns the values of pictures into 8 bits. Pictures of 8 bits stay what they are.

    Args:
        rule: `full`, from the lowest to the highest value of the type (of 16 bits: 0 to 65535); `bits N`,
            from 0 to 2 ** N - 1, for 12-bit cameras `bits 12`; `percentiles LOW HIGH`, from one to the other
            percentile of each picture; or two numbers `LOW HIGH`, as in `100 3000`.

    Raises:
        ValueError: the rule is none of these.
    """

    rule: str = "full"
    kind: str = field(init=False, repr=False, compare=False)
    numbers: tuple[float, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        kind, *words = str(self.rule).strip("[]() ").replace(",", " ").split() or [""]
        if kind not in ("full", "bits", "percentiles"):
            kind, words = "numbers", [kind, *words]
        try:
            numbers = tuple(float(word) for word in words)
        except ValueError:
            numbers = ()
        rising = len(numbers) == 2 and numbers[0] < numbers[1] and all(map(math.isfinite, numbers))
        valid = {
            "full": not words,
            "bits": len(numbers) == 1 and 8 <= numbers[0] <= 32 and numbers[0] == int(numbers[0]),
            "percentiles": rising and numbers[0] >= 0 and numbers[-1] <= 100,
            "numbers": rising,
        }
        if not valid[kind]:
            raise ValueError(
                "value_range must be full, bits N (8 to 32), percentiles LOW HIGH or two numbers LOW HIGH in "
                f'rising order, got {self.rule!r}; write "bits 12" for pictures of a 12-bit camera'
            )
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "numbers", numbers)

    def to_8_bits(
        self, values: NDArray[Any], *, bits: int | None = None, nodata: float | None = None
    ) -> NDArray[np.uint8]:
        """Return values of any type as 0 (black) to 255 (white).

        Args:
            values: whole or floating point numbers, of any shape.
            bits: bits of a value in the file, if they are fewer than the type has.
            nodata: value of pixels where a raster has none; `percentiles` does not count them.

        Raises:
            ValueError: the rule is `full`, and the type of the values has no range that pictures use.
        """
        if values.dtype == np.uint8:
            return values
        if values.dtype == np.int8:
            return (values.view(np.uint8) + np.uint8(128)).astype(np.uint8)
        low, high = self._limits(values, bits, nodata)
        if self.kind in ("full", "bits") and values.dtype.kind in "iu":
            shift = int(high - low).bit_length() - 8
            return (np.clip(values, low, high).astype(np.int64) - int(low) >> shift).astype(np.uint8)
        clipped = np.clip(
            np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low), low, high
        )
        return np.rint((clipped - low) * (255 / (high - low))).astype(np.uint8)

    def complaint(
        self, values: NDArray[Any], *, bits: int | None = None, nodata: float | None = None
    ) -> str | None:
        """Return why these values are hardly of this range, and what to do; None if they may well be.

        Args:
            values: as for `to_8_bits`.
            bits: as for `to_8_bits`.
            nodata: as for `to_8_bits`.
        """
        finite = measured(values, nodata)
        if values.dtype.itemsize == 1 or not finite.size:
            return None
        smallest, largest = finite.min().item(), finite.max().item()
        others = finite[(finite > smallest) & (finite < largest)]
        spread = others.max().item() - others.min().item() if others.size else 0
        # As rasters fill what lies outside of the picture, with -9999 or 65535, or a hot pixel.
        is_filled = 0 < spread < _SMALL_PART * (largest - smallest)
        if smallest == largest or (self.kind == "percentiles" and not is_filled):
            return None
        low, high = self._limits(values, bits, nodata)
        apart = ""
        if is_filled:
            ends = f"{smallest:g} and {largest:g}"
            apart = f", but for the {1 - others.size / finite.size:.1%} that are {ends}"
            smallest, largest, finite = others.min().item(), others.max().item(), others
        used = (min(largest, high) - max(smallest, low)) / (high - low)
        outside = np.count_nonzero((finite < low) | (finite > high)) / finite.size
        if used >= _SMALL_PART and outside <= _MOST_OUTSIDE:
            return None
        what = (
            f"uses {max(0.0, used):.1%} of the range of values {low:g} to {high:g}"
            if used < _SMALL_PART
            else f"has {outside:.0%} of its values outside the range {low:g} to {high:g}"
        )
        enough = f"bits {max(8, int(largest).bit_length())}"
        suited = values.dtype.kind in "iu" and 0 <= smallest <= largest / 2 and enough != self.rule
        suited = suited and self.kind != "percentiles"
        of_picture = f"{smallest:g} {largest:g}" if is_filled else "percentiles 1 99"
        advice = enough if suited else of_picture
        return (
            f"{what} (its own are {smallest:g} to {largest:g}{apart}), so that the network sees little of "
            f'it; set data.value_range, or give --value-range to predict, such as "{advice}"'
        )

    def _limits(self, values: NDArray[Any], bits: int | None, nodata: float | None) -> tuple[float, float]:
        """Return the values that become 0 and 255."""
        if self.kind == "numbers":
            return self.numbers[0], self.numbers[1]
        if self.kind == "bits":
            return 0, 2 ** int(self.numbers[0]) - 1
        if self.kind == "percentiles":
            finite = measured(values, nodata)
            low, high = (float(p) for p in np.percentile(finite, self.numbers)) if finite.size else (0.0, 1.0)
            return low, high if high > low else low + 1
        wide = values.dtype.itemsize > 2
        if values.dtype.kind == "f":
            raise ValueError(
                "pixels must be whole numbers, got floating point numbers, whose range nobody knows; set "
                "data.value_range or give --value-range, such as percentiles 1 99, or 0 1"
            )
        if wide and values.size and not 0 <= values.min() <= values.max() <= 0xFFFF:
            raise ValueError(
                f"pixels must be of 8 or 16 bits, got values up to {values.max()}; set data.value_range or "
                "give --value-range, such as percentiles 1 99"
            )
        bits = bits if bits and bits < 8 * values.dtype.itemsize else 16
        lowest = -(2 ** (bits - 1)) if values.dtype.kind == "i" and not wide else 0
        return lowest, lowest + 2**bits - 1


def measured(values: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    """Return the values that are finite, and not what a raster has where there are none."""
    if nodata is not None:
        values = values[values != nodata]
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


FULL = ValueRange()
