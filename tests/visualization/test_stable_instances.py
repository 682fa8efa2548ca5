"""Numbers of instances over frames, on maps of one row drawn by hand."""

import numpy as np
import pytest

from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.visualization.stable_instances import StableInstances

CATEGORIES = Categories([Category(1, "road", False), Category(2, "car", True), Category(3, "person", True)])
ROAD, CAR, PERSON = 10_000, 20_000, 30_000


def frame(*runs):
    """Return the map and the segments of a row of (value, length)."""
    row = np.concatenate([np.full(length, value, dtype=np.int32) for value, length in runs])
    areas = {}
    for value, length in runs:
        areas[value] = areas.get(value, 0) + length
    segments = [Segment(id=v, train_id=v // 10_000 - 1, area=area) for v, area in areas.items() if v]
    return Panoptic(row[None], segments)


def numbers(stable, *runs):
    """Return the runs of a frame with the lasting numbers."""
    panoptic, segments = stable(frame(*runs))
    values, areas = np.unique(panoptic[panoptic > 0], return_counts=True)
    assert {s.id: s.area for s in segments} == dict(zip(values.tolist(), areas.tolist(), strict=True))
    changes = np.flatnonzero(np.diff(panoptic[0])) + 1
    return [int(panoptic[0, start]) for start in (0, *changes)]


@pytest.fixture
def stable():
    return StableInstances(CATEGORIES)


def test_first_frame_is_numbered_from_one(stable):
    assert numbers(stable, (CAR + 7, 4), (0, 3), (ROAD, 5), (CAR + 2, 4)) == [CAR + 1, 0, ROAD, CAR + 2]


def test_things_keep_their_numbers_when_the_network_counts_in_another_order(stable):
    numbers(stable, (CAR + 1, 10), (ROAD, 5), (CAR + 2, 10), (PERSON + 1, 5))
    moved = numbers(stable, (ROAD, 2), (CAR + 2, 10), (ROAD, 5), (CAR + 1, 8), (PERSON + 1, 5))
    assert moved == [ROAD, CAR + 1, ROAD, CAR + 2, PERSON + 1]


def test_a_new_thing_gets_a_number_that_neither_frame_has(stable):
    numbers(stable, (CAR + 1, 10), (ROAD, 10), (CAR + 2, 10))
    # The first car has gone, another one comes where none was: it must not look like the first.
    assert numbers(stable, (ROAD, 10), (CAR + 1, 10), (CAR + 2, 10)) == [ROAD, CAR + 3, CAR + 2]
    assert numbers(stable, (CAR + 1, 8), (ROAD, 2), (CAR + 2, 10), (CAR + 3, 10)) == [
        *(CAR + 1, ROAD, CAR + 3, CAR + 2)
    ]


def test_the_better_overlap_wins(stable):
    numbers(stable, (CAR + 1, 20), (ROAD, 10))
    # The car has split: the larger part is the same car.
    assert numbers(stable, (CAR + 1, 5), (ROAD, 2), (CAR + 2, 13), (ROAD, 10)) == [
        *(CAR + 2, ROAD, CAR + 1, ROAD)
    ]


def test_another_class_or_too_little_overlap_is_another_thing(stable):
    numbers(stable, (CAR + 1, 20), (ROAD, 80))
    assert numbers(stable, (PERSON + 1, 20), (ROAD, 80)) == [PERSON + 1, ROAD]
    numbers(stable, (CAR + 1, 20), (ROAD, 80))
    assert numbers(stable, (ROAD, 18), (CAR + 1, 20), (ROAD, 62)) == [ROAD, CAR + 2, ROAD]


def test_frames_of_another_size_are_refused(stable):
    numbers(stable, (CAR + 1, 20))
    with pytest.raises(ValueError, match=r"must have the size \(H, W\)"):
        numbers(stable, (CAR + 1, 21))
