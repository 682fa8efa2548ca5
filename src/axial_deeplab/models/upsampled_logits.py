"""Logits of the classes at a low resolution, read as if they had been resized: the large maps never exist."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from axial_deeplab.models.resize import crop, resize_bilinear
from axial_deeplab.util.compile import compile_for_threads

# Coefficients of 2^x for x in [-1/2, 1/2], off by 2e-7 of the value: x ln 2 to the k-th, over k!, balanced.
_EXP2 = (1.0, 0.6931472, 0.24022650, 0.05550411, 0.009618129, 0.0013333558)
_LOG2_E = 1.4426950408889634


@dataclass(frozen=True, eq=False)
class UpsampledLogits:
    """Logits that count as resized bilinearly to a padded size and cut to the size of the image.

    They stand for the tensor (..., C, H, W) that `tensor()` returns, but for its rounding, and need the
    memory of `maps` alone.

    Shapes:
        maps (B, C, h, w), or (C, h, w) for one image.

    Args:
        maps: logits at the low resolution, float32.
        padded_size: height and width in pixels to which they count as resized.
        size: H and W in pixels, the first rows and columns of those.

    Raises:
        ValueError: the maps are not on the CPU, or not float32.
    """

    maps: Tensor
    padded_size: tuple[int, int]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if self.maps.device.type != "cpu" or self.maps.dtype != torch.float32:
            raise ValueError(
                f"maps must be float32 on the CPU, got {self.maps.dtype} on {self.maps.device}; resize them"
            )

    @property
    def shape(self) -> torch.Size:
        """The shape of the tensor that this stands for."""
        return torch.Size((*self.maps.shape[:-2], *self.size))

    @property
    def ndim(self) -> int:
        """The dimensions of that tensor."""
        return self.maps.ndim

    def __len__(self) -> int:
        return len(self.maps)

    def __getitem__(self, index: Any) -> "UpsampledLogits":
        """Return images of a batch, or one."""
        return replace(self, maps=self.maps[index])

    def tensor(self) -> Tensor:
        """Return the logits as a tensor."""
        maps = self.maps if self.ndim == 4 else self.maps[None]
        logits = crop(resize_bilinear(maps, self.padded_size), self.size)
        return logits if self.ndim == 4 else logits[0]

    def classify(self, classes: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Return the most probable class of each pixel and the logarithm of the sum of the exponentials.

        Shapes:
            both (H, W): int64 and float32. For one image.

        Args:
            classes: train ids to choose from; the result is a place in them. None for all.
        """
        maps = self.maps if classes is None else self.maps[list(classes)]
        index = np.empty(self.size, np.int64)
        log_partition = np.empty(self.size, np.float32)
        _compiled(classify)(maps.numpy(), *self._weights(), index, log_partition)
        return torch.from_numpy(index), torch.from_numpy(log_partition)

    def at(self, classes: Tensor) -> Tensor:
        """Return the logit of one class at each pixel of one image.

        Shapes:
            classes and the result (H, W): int64 and float32.
        """
        chosen = np.empty(self.size, np.float32)
        _compiled(choose)(self.maps.numpy(), *self._weights(), np.ascontiguousarray(classes.numpy()), chosen)
        return torch.from_numpy(chosen)

    def _weights(self) -> tuple[NDArray[Any], ...]:
        by_axis = zip(self.maps.shape[-2:], self.padded_size, self.size, strict=True)
        return tuple(array for lengths in by_axis for array in _interpolation(*lengths))


def _interpolation(length: int, padded: int, cropped: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the two places of each pixel in an axis of the low resolution, and the weights of both.

    They are those of PyTorch's bilinear interpolation with aligned corners.

    Shapes:
        places, weights (2, cropped).

    Args:
        length: pixels of the axis at the low resolution.
        padded: pixels to which it is resized.
        cropped: how many of them are wanted.
    """
    ratio = np.float32(length - 1) / np.float32(padded - 1) if padded > 1 else np.float32(0)
    place = ratio * np.arange(cropped, dtype=np.float32)
    before = np.minimum(place.astype(np.int64), length - 1)
    weight = (place - before.astype(np.float32)).clip(0, 1)
    return np.stack([before, np.minimum(before + 1, length - 1)]), np.stack([np.float32(1) - weight, weight])


@cache
def _compiled(function: Callable[..., None]) -> Any:
    places, weights = "int64[:, ::1]", "float32[:, ::1]"
    interpolation = f"{places}, {weights}, {places}, {weights}"
    signature = f"void(float32[:, :, :], {interpolation}, int64[:, ::1], float32[:, ::1])"
    return compile_for_threads(function, signature)


def choose(
    maps: NDArray[np.float32],
    rows: NDArray[np.int64],
    row_weights: NDArray[np.float32],
    columns: NDArray[np.int64],
    column_weights: NDArray[np.float32],
    classes: NDArray[np.int64],
    chosen: NDArray[np.float32],
) -> None:
    """Interpolate the map of one class at each pixel.

    Args:
        maps: logits (C, h, w).
        rows: rows of the maps before and after each of H pixels (2, H).
        row_weights: their weights (2, H).
        columns: columns of the maps before and after each of W pixels (2, W).
        column_weights: their weights (2, W).
        classes: class of each pixel (H, W).
        chosen: logits (H, W), filled in place.
    """
    for y in range(classes.shape[0]):
        for x in range(classes.shape[1]):
            k, left, right = classes[y, x], columns[0, x], columns[1, x]
            a, b = column_weights[0, x], column_weights[1, x]
            upper = maps[k, rows[0, y], left] * a + maps[k, rows[0, y], right] * b
            lower = maps[k, rows[1, y], left] * a + maps[k, rows[1, y], right] * b
            chosen[y, x] = upper * row_weights[0, y] + lower * row_weights[1, y]


def classify(
    maps: NDArray[np.float32],
    rows: NDArray[np.int64],
    row_weights: NDArray[np.float32],
    columns: NDArray[np.int64],
    column_weights: NDArray[np.float32],
    index: NDArray[np.int64],
    log_partition: NDArray[np.float32],
) -> None:
    """Find the highest of the interpolated maps at each pixel, and the logarithm of the sum of exponentials.

    Two rows of the maps are kept at the full width; each row of pixels lies between two of them.

    Args:
        index: class of each pixel (H, W), the first of equal ones; filled in place.
        log_partition: the logarithm (H, W), filled in place.

    The other arguments are those of `choose`.
    """
    num_classes = maps.shape[0]
    height, width = index.shape
    wide = np.empty((2, num_classes, width), np.float32)
    held = np.full(2, -1)  # which row of the maps each of them is
    best, sums = np.empty(width, np.float32), np.empty(width, np.float32)
    winner = np.empty(width, np.int32)
    fraction, bits = np.empty(width, np.float32), np.empty(width, np.int32)
    power = bits.view(np.float32)
    one, half = np.float32(1), np.float32(0.5)
    log2_e, least = np.float32(_LOG2_E), np.float32(-126)  # 2^-126 is the smallest normal number
    c1, c2, c3 = np.float32(_EXP2[1]), np.float32(_EXP2[2]), np.float32(_EXP2[3])
    c4, c5 = np.float32(_EXP2[4]), np.float32(_EXP2[5])
    for y in range(height):
        for row in rows[:, y]:
            if held[row % 2] != row:
                held[row % 2] = row
                for k in range(num_classes):
                    for x in range(width):
                        left = maps[k, row, columns[0, x]] * column_weights[0, x]
                        wide[row % 2, k, x] = left + maps[k, row, columns[1, x]] * column_weights[1, x]
        upper, lower = wide[rows[0, y] % 2], wide[rows[1, y] % 2]
        a, b = row_weights[0, y], row_weights[1, y]
        for x in range(width):
            best[x] = upper[0, x] * a + lower[0, x] * b
            winner[x] = 0
            sums[x] = 0
        for k in range(1, num_classes):
            for x in range(width):
                logit = upper[k, x] * a + lower[k, x] * b
                if logit > best[x]:
                    best[x] = logit
                    winner[x] = k
        for k in range(num_classes):
            for x in range(width):
                exponent = max((upper[k, x] * a + lower[k, x] * b - best[x]) * log2_e, least)
                whole = np.floor(exponent + half)
                fraction[x] = exponent - whole
                bits[x] = (np.int32(whole) + np.int32(127)) << np.int32(23)
            for x in range(width):
                f = fraction[x]
                sums[x] += power[x] * (one + f * (c1 + f * (c2 + f * (c3 + f * (c4 + f * c5)))))
        for x in range(width):
            index[y, x] = winner[x]
            log_partition[y, x] = best[x] + np.log(sums[x])
