"""What was found in a picture, as its files take it: a table of segments, and their map, read by windows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.panoptic.map import IntArray, Panoptic, Segment, relabel
from axial_deeplab.prediction.large.tiling import Window

# Pixels that are in memory at a time.
BAND_PIXELS = 2**22


class SegmentTable(NamedTuple):
    """The segments of a picture in the order of their labels 1, 2, ...: by class, then by id.

    Args:
        train_ids: class of each segment (S,).
        areas: pixels (S,).
        boxes: (S, 4) as left, top, width, height in pixels.
        scores: confidence, 0 to 1; NaN if nobody knows (S,).
    """

    train_ids: NDArray[np.int64]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int64]
    scores: NDArray[np.float64]

    def segments(self) -> Iterator[Segment]:
        """Yield the segments in the order of their labels."""
        # Row by row: as lists of numbers they would take several times the memory.
        for label, (train_id, area, box, score) in enumerate(zip(*self, strict=True), start=1):
            left, top, width, height = box.tolist()
            yield Segment(
                id=label,
                train_id=int(train_id),
                area=int(area),
                score=None if np.isnan(score) else float(score),
                bbox=(left, top, width, height),
            )


@dataclass(frozen=True, eq=False)
class Labels:
    """The segments of a picture and the label of each pixel, in memory or in a file.

    Args:
        size: (height, width) in pixels.
        table: the segments.
        read: returns the labels of a window (h, w), 0 for void.
    """

    size: tuple[int, int]
    table: SegmentTable
    read: Callable[[Window], IntArray]

    @classmethod
    def of(cls, panoptic: Panoptic) -> "Labels":
        """Return the labels of a map in memory, of the segments that it shows."""
        shown = sorted(panoptic.measured().segments, key=lambda segment: (segment.train_id, segment.id))
        labels = relabel(panoptic.map, {segment.id: label for label, segment in enumerate(shown, start=1)})
        table = SegmentTable(
            np.array([segment.train_id for segment in shown], np.int64),
            np.array([segment.area for segment in shown], np.int64),
            np.array([segment.bbox for segment in shown], np.int64).reshape(-1, 4),
            np.array([np.nan if segment.score is None else segment.score for segment in shown], np.float64),
        )
        return cls(panoptic.size, table, lambda window: labels[window.slices])

    def bands(self, multiple_of: int = 1) -> Iterator[IntArray]:
        """Yield the labels from top to bottom, so many rows at a time that the memory does not matter.

        Args:
            multiple_of: the number of rows is one of this; that of the last ones is not.
        """
        height, width = self.size
        rows = max(1, BAND_PIXELS // width // multiple_of) * multiple_of
        for top in range(0, height, rows):
            yield self.read(Window(top, 0, min(height, top + rows), width))
