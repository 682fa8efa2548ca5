"""The things of a segmentation one by one, numbered, as the writers of files take them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, PanopticMap, measure_segments
from axial_deeplab.prediction.save.outlines import Polygon, trace_outlines


@dataclass(frozen=True, eq=False)
class Instance:
    """A thing that was found.

    Shapes:
        mask (h, w), its box.

    Args:
        number: 1, 2, ... in its picture, in the order of classes; the same in all files and pictures.
        train_id: its class, an index into the categories.
        category: its class.
        score: confidence, 0 to 1; None if nobody knows.
        left: column of its box.
        top: row of its box.
        mask: which pixels of the box are its own.
    """

    number: int
    train_id: int
    category: Category
    score: float | None
    left: int
    top: int
    mask: NDArray[np.bool_]

    @cached_property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def bbox(self) -> tuple[int, int, int, int]:
        """Left, top, width and height in pixels."""
        return self.left, self.top, self.mask.shape[1], self.mask.shape[0]

    @cached_property
    def polygons(self) -> list[Polygon]:
        """Its outlines in the picture; see `trace_outlines`."""
        return trace_outlines(self.mask, self.left, self.top)

    def full_mask(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Return its pixels in the picture of (height, width)."""
        full = np.zeros(size, dtype=bool)
        full[self.rows_and_columns] = self.mask
        return full

    @property
    def rows_and_columns(self) -> tuple[slice, slice]:
        """Where its box is in the picture."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def find_instances(panoptic: Panoptic, categories: Categories) -> list[Instance]:
    """Return the things of a segmentation in the order of their classes, then of their ids.

    Args:
        panoptic: the segmentation.
        categories: its label space.
    """
    values, _, boxes = (column.tolist() for column in measure_segments(panoptic.map))
    box_of = dict(zip(values, boxes, strict=True))
    things = sorted(
        (s for s in panoptic.segments if categories[s.train_id].is_thing and s.id in box_of),
        key=lambda segment: (segment.train_id, segment.id),
    )
    instances = []
    for number, segment in enumerate(things, start=1):
        left, top, width, height = box_of[segment.id]
        mask = panoptic.map[top : top + height, left : left + width] == segment.id
        category = categories[segment.train_id]
        instances.append(Instance(number, segment.train_id, category, segment.score, left, top, mask))
    return instances


def numbered_map(instances: Sequence[Instance], size: tuple[int, int]) -> PanopticMap:
    """Return a map of (height, width) with the number of the instance of each pixel, 0 for none."""
    numbers = np.zeros(size, dtype=np.int32)
    for instance in instances:
        numbers[instance.rows_and_columns][instance.mask] = instance.number
    return numbers
