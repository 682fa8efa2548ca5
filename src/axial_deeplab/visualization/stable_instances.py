"""Instances that keep their numbers, and so their colors, from one frame of a video to the next."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import LABEL_DIVISOR, Panoptic, PanopticMap, Segment, count_overlaps

# Intersection over union with itself in the frame before: low, for small things move by their own size.
LEAST_OVERLAP = 0.1


class StableInstances:
    """Renumbers the things of each frame after those of the frame before that they overlap most.

    Pairs of one class are matched greedily, those of the greatest intersection over union first; a thing
    without a partner gets the lowest number that neither frame has. Only the frame before is remembered: a
    thing that is gone for one frame comes back as a new one.

    Args:
        categories: say which classes are things.
        label_divisor: divisor of the ids in the panoptic maps.
    """

    def __init__(self, categories: Categories, *, label_divisor: int = LABEL_DIVISOR) -> None:
        self.categories = categories
        self.label_divisor = label_divisor
        self._map: PanopticMap | None = None
        self._areas: dict[int, int] = {}

    def __call__(self, panoptic: Panoptic) -> Panoptic:
        """Return the map and the segments of the next frame with their lasting numbers.

        Args:
            panoptic: segmentation of the frame, of the size of those before.

        Raises:
            ValueError: the frame has another size than the one before.
        """
        segments = panoptic.segments
        new_ids = {s.id: s.id for s in segments if not self.categories[s.train_id].is_thing}
        things = {s.id: s for s in segments if s.id not in new_ids}
        for old_id, kept_id in self._pairs(panoptic.map, things):
            if old_id not in new_ids and kept_id not in new_ids.values():
                new_ids[old_id] = kept_id
        taken = {*new_ids.values(), *self._areas}
        for thing in things.values():
            if thing.id not in new_ids:
                first = thing.id - thing.id % self.label_divisor + 1
                new_ids[thing.id] = next(
                    i for i in range(first, first + self.label_divisor) if i not in taken
                )
                taken.add(new_ids[thing.id])
        old_values = np.array([0, *sorted(new_ids)])
        new_values = np.array([0, *(new_ids[old] for old in sorted(new_ids))], dtype=panoptic.map.dtype)
        self._map = new_values[np.searchsorted(old_values, panoptic.map)]
        self._areas = {new_ids[s.id]: s.area for s in things.values()}
        return Panoptic(self._map, tuple(dataclasses.replace(s, id=new_ids[s.id]) for s in segments))

    def _pairs(self, panoptic: PanopticMap, things: dict[int, Segment]) -> Iterator[tuple[int, int]]:
        """Yield (id in this frame, id in the frame before) of things of one class, best overlap first."""
        if self._map is None:
            return
        candidates = []
        overlaps = count_overlaps(self._map, panoptic)
        for before, now, area in zip(*(column.tolist() for column in overlaps), strict=True):
            if before in self._areas and now in things and self._class(before) == self._class(now):
                iou = area / (self._areas[before] + things[now].area - area)
                if iou >= LEAST_OVERLAP:
                    candidates.append((-iou, now, before))
        for _, now, before in sorted(candidates):
            yield now, before

    def _class(self, value: int) -> int:
        return value // self.label_divisor
