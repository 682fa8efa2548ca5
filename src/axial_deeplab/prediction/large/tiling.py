"""Which part of a large image each tile shows, and how much it counts where tiles overlap."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Fewer pixels show a network nothing but borders.
MIN_TILE = 64
# What a pixel at the border of a tile counts: nothing, unless no other tile shows it.
_LEAST = 1e-6


class Window(NamedTuple):
    """A rectangle of pixels, from (top, left) to before (bottom, right)."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array (H, W)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def grown(self, margin: int, size: tuple[int, int]) -> "Window":
        """Return the window with a margin of so many pixels, as far as an image of (height, width) goes."""
        return Window(
            max(0, self.top - margin),
            max(0, self.left - margin),
            min(size[0], self.bottom + margin),
            min(size[1], self.right + margin),
        )

    def shared(self, other: "Window") -> "Window":
        """Return what both windows have."""
        return Window(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def within(self, outer: "Window") -> tuple[slice, slice]:
        """Return rows and columns of this window in the array that shows an outer one."""
        top, left = self.top - outer.top, self.left - outer.left
        return slice(top, top + self.shape[0]), slice(left, left + self.shape[1])


def square(top: int, left: int, side: int, size: tuple[int, int]) -> Window:
    """Return a square of so many pixels a side, as far as an image of (height, width) goes."""
    return Window(top, left, min(size[0], top + side), min(size[1], left + side))


def cut(size: tuple[int, int], side: int) -> list[Window]:
    """Return the squares that an image of (height, width) is cut into, row by row, the last ones smaller."""
    return [
        square(top, left, side, size) for top in range(0, size[0], side) for left in range(0, size[1], side)
    ]


class AxisPart(NamedTuple):
    """What a tile has of a stretch of nodes along an axis.

    Args:
        tile: index of the tile along the axis.
        of_tile: nodes of the tile.
        of_stretch: the same nodes, in the stretch.
        weights: how much each counts.
    """

    tile: int
    of_tile: slice
    of_stretch: slice
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Tiling:
    """Square tiles that cover an image and overlap.

    Tiles begin at multiples of `unit` and have k * unit + 1 pixels, so that the grids of the network's maps
    coincide with those of the whole image. The last tile of a row is moved back to be whole.

    In an overlap the outer quarter of each tile does not count, and over the half between them the weight
    goes over from one to the other. Where a network sees no further than a quarter of the overlap, the
    blended maps are thus those of the whole image.

    Args:
        size: (height, width) of the image in pixels.
        tile: side in pixels; rounded down to k * unit + 1.
        overlap: pixels that neighbors share at least; rounded up to a multiple of `unit`.
        unit: largest stride of the network.

    Raises:
        ValueError: tile or overlap is out of its range.
    """

    size: tuple[int, int]
    tile: int
    overlap: int
    unit: int = 16

    def __post_init__(self) -> None:
        smallest = max(MIN_TILE, 2 * self.unit + 1)
        if self.tile < smallest:
            raise ValueError(f"tile must be at least {smallest} pixels, got {self.tile}; give --tile 512")
        if not 0 <= self.overlap <= self.tile // 2:
            raise ValueError(
                f"overlap must be from 0 to {self.tile // 2} pixels, half a tile, got {self.overlap}; "
                "give a smaller --overlap or a larger --tile"
            )

    @property
    def side(self) -> int:
        """Side of a tile in pixels."""
        return (self.tile - 1) // self.unit * self.unit + 1

    @property
    def shared(self) -> int:
        """Pixels that neighbors share at least."""
        return min(-(-self.overlap // self.unit), (self.side - 1) // self.unit // 2) * self.unit

    @cached_property
    def starts(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """First rows and first columns of the tiles."""
        step = self.side - 1 - self.shared
        last = [max(0, -(-(length - self.side) // self.unit)) * self.unit for length in self.size]
        return (*range(0, last[0], step), last[0]), (*range(0, last[1], step), last[1])

    @property
    def windows(self) -> list[Window]:
        """What each tile shows of the image, row by row."""
        rows, columns = self.starts
        return [square(top, left, self.side, self.size) for top in rows for left in columns]

    def parts(self, axis: int, begin: int, end: int, stride: int) -> Iterator[AxisPart]:
        """Yield what tiles have of the nodes `begin` to before `end` along an axis, in their order.

        Args:
            axis: 0 for rows, 1 for columns.
            begin: first node; node n lies at pixel n * stride.
            end: the one after the last.
            stride: pixels between nodes, a divisor of `unit`.
        """
        nodes = (self.side - 1) // stride + 1
        for tile, start in enumerate(self.starts[axis]):
            first = start // stride
            low, high = max(begin, first), min(end, first + nodes)
            if low < high:
                weights = self._weights(axis, start, stride)[low - first : high - first]
                yield AxisPart(
                    tile, slice(low - first, high - first), slice(low - begin, high - begin), weights
                )

    def _weights(self, axis: int, start: int, stride: int) -> NDArray[np.float32]:
        """Return the weights of the nodes of a tile, 1 up to where the image itself ends."""
        pixels = np.arange(0, self.side, stride)
        weights = np.ones(len(pixels))
        if self.shared:
            margin, ramp = self.shared / 4, self.shared / 2
            for is_inside, distance in (
                (start > 0, pixels),
                (start + self.side < self.size[axis], pixels[::-1]),
            ):
                if is_inside:
                    weights = np.minimum(weights, np.clip((distance - margin) / ramp, _LEAST, 1))
        return weights.astype(np.float32)
