"""The things of a segmentation one by one, numbered, as the writers of files take them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import IntArray
from axial_deeplab.prediction.labels import BAND_PIXELS, Labels
from axial_deeplab.prediction.large.tiling import Window
from axial_deeplab.prediction.save.outlines import Polygon, trace_outlines


class Band(NamedTuple):
    """Some rows of the box of a thing: where they are in the picture, and which pixels (h, w) are its own."""

    window: Window
    mask: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Instance:
    """A thing that was found.

    Args:
        number: 1, 2, ... in its picture, in the order of classes; the same in all files and pictures.
        train_id: its class, an index into the categories.
        category: its class.
        score: confidence, 0 to 1; None if nobody knows.
        area: pixels.
        window: its box.
        label: its label in the picture.
        read: returns the labels of a window of the picture.
    """

    number: int
    train_id: int
    category: Category
    score: float | None
    area: int
    window: Window
    label: int
    read: Callable[[Window], IntArray]

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """Left, top, width and height in pixels."""
        height, width = self.window.shape
        return self.window.left, self.window.top, width, height

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Which pixels (h, w) of its box are its own."""
        return self._mask(self.window)

    def bands(self) -> Iterator[Band]:
        """Yield its box from top to bottom: at once, but for a large one, lest the memory hold its mask."""
        top, left, bottom, right = self.window
        rows = max(1, BAND_PIXELS // (right - left))
        if rows >= bottom - top:
            yield Band(self.window, self.mask)
            return
        for start in range(top, bottom, rows):
            window = Window(start, left, min(bottom, start + rows), right)
            yield Band(window, self._mask(window))

    @cached_property
    def polygons(self) -> list[Polygon]:
        """Its outlines in the picture; see `trace_outlines`."""
        return trace_outlines((band.mask for band in self.bands()), self.window.left, self.window.top)

    def full_mask(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Return its pixels in the picture of (height, width)."""
        full = np.zeros(size, dtype=bool)
        full[self.window.slices] = self.mask
        return full

    def _mask(self, window: Window) -> NDArray[np.bool_]:
        return self.read(window) == self.label


def each_instance(labels: Labels, categories: Categories) -> Iterator[Instance]:
    """Yield the things of a picture in the order of their classes, then of their ids.

    Those of a class follow each other from top to bottom: a file of labels is thus read once for each class.
    """
    number = 0
    for segment in labels.table.segments():
        category = categories[segment.train_id]
        if not category.is_thing:
            continue
        assert segment.bbox is not None
        left, top, width, height = segment.bbox
        number += 1
        window = Window(top, left, top + height, left + width)
        yield Instance(
            number, segment.train_id, category, segment.score, segment.area, window, segment.id, labels.read
        )
