"""Outlines are exact, simple and nested as they should be."""

import numpy as np
import pytest

from axial_deeplab.prediction.save.outlines import joined, trace_outlines
from outline_cases import NAMED, fill, random_regions, region


def rings_of(polygons):
    return [ring for polygon in polygons for ring in polygon]


def check(mask):
    polygons = trace_outlines([mask])
    rings = rings_of(polygons)
    assert np.array_equal(fill(rings, mask.shape), mask)
    if rings:
        assert np.array_equal(fill([joined(polygons)], mask.shape), mask)
    filled = np.zeros(mask.shape, int)
    for outline, *holes in polygons:
        part = fill([outline], mask.shape)
        for hole in holes:
            inside = fill([hole], mask.shape)
            assert (part & inside).sum() == inside.sum()  # it lies in its own outline, outside of other holes
            part &= ~inside
        filled += part
    assert np.array_equal(filled, mask)  # no pixel twice
    for ring in rings:
        assert len(np.unique(ring, axis=0)) == len(ring)
    return polygons


@pytest.mark.parametrize("name", NAMED)
def test_named_regions(name):
    check(region(NAMED[name]))


def test_random_regions():
    for mask in random_regions(400):
        check(mask)


def test_every_region_of_three_by_four_pixels():
    for bits in range(1 << 12):
        mask = np.array([bits >> place & 1 for place in range(12)], bool).reshape(3, 4)
        assert np.array_equal(fill(rings_of(trace_outlines([mask])), mask.shape), mask)


def test_parts_holes_and_corners():
    (polygon,) = trace_outlines([region(NAMED["hole"])])
    assert [ring.tolist() for ring in polygon] == [
        [[0, 0], [3, 0], [3, 3], [0, 3]],
        [[2, 1], [1, 1], [1, 2], [2, 2]],
    ]
    assert [len(each) for each in trace_outlines([region(NAMED["touching_at_a_corner"])])] == [1, 1]
    assert [len(each) for each in trace_outlines([region(NAMED["two_holes_that_touch"])])] == [3]
    assert [len(each) for each in trace_outlines([region(NAMED["hole_that_touches_the_outside"])])] == [2]
    assert [len(each) for each in trace_outlines([region(NAMED["island_in_a_hole"])])] == [2, 1]
    assert [len(each) for each in trace_outlines([region(NAMED["hole_in_an_island"])])] == [2, 2]


def test_place_in_the_picture():
    ((outline,),) = trace_outlines([np.ones((2, 3), bool)], left=10, top=20)
    assert outline.tolist() == [[10, 20], [13, 20], [13, 22], [10, 22]]


def test_nothing():
    assert trace_outlines([np.zeros((2, 3), bool)]) == []
    assert trace_outlines([np.zeros((0, 0), bool)]) == []
