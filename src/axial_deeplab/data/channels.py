"""Channels of images beyond red, green and blue: which of a file the network sees, and how they vary."""

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.tiff import UnsupportedImageError


@dataclass(frozen=True)
class Channels:
    """Channels of image files, as they are stored.

    Args:
        numbers: their numbers, from 1 on, in the order in which the network sees them; none for all.
        of: channels that every file must have; None takes any file that has these.

    Raises:
        ValueError: a number is not positive.
    """

    numbers: tuple[int, ...]
    of: int | None = None

    def __post_init__(self) -> None:
        if not all(isinstance(number, Integral) and number >= 1 for number in self.numbers):
            raise ValueError(
                f"channels must be numbers from 1 on, got {list(self.numbers)}; 1 is the first of a file"
            )

    def chosen(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the channels (H, W, C) among those of a file (H, W, all).

        Raises:
            UnsupportedImageError: the file has another number of channels, or lacks one.
        """
        height, width, number = values.shape
        if self.of not in (None, number):
            rule = f"have {self.of} channels as the pictures of the training"
        elif max(self.numbers, default=0) > number:
            rule = f"have channel {max(self.numbers)}"
        else:
            return values[..., [each - 1 for each in self.numbers]] if self.numbers else values
        raise UnsupportedImageError(
            f"must {rule}, got {number} channels ({height} x {width} pixels, height x width); "
            "give such a picture, or choose others with --channels"
        )


ALL = Channels(())


def mean_and_deviation(images: Iterable[NDArray[np.uint8]]) -> tuple[list[float], list[float]]:
    """Return the mean and the standard deviation of each channel, of all pixels of images (H, W, C) together.

    A channel of one value alone has the deviation 1, by which it can be divided.
    """
    number, sums, squares = 0, np.zeros(1, np.int64), np.zeros(1, np.int64)
    for image in images:
        values = image.astype(np.int64)
        number += image.shape[0] * image.shape[1]
        sums, squares = sums + values.sum(axis=(0, 1)), squares + (values**2).sum(axis=(0, 1))
    mean = sums / number
    deviation = np.sqrt(squares / number - mean**2)
    return mean.round(3).tolist(), np.where(sums**2 == number * squares, 1, deviation).round(3).tolist()
