"""Sums of overlaps are exact and do not depend on order."""

import math
from fractions import Fraction

import numpy as np

from axial_deeplab.evaluation.exact_sums import join_iou, split_iou


def test_sums_are_exact_and_rounded_once():
    # Fractions of areas, as overlaps are; the plain sums forwards and backwards differ.
    areas = np.random.default_rng(0).integers(1_000, 2_000, size=(2, 100_000))
    iou = areas.min(axis=0) / areas.max(axis=0)
    assert iou.min() > 0.5
    assert sum(iou.tolist()) != sum(iou[::-1].tolist())
    high, low = split_iou(iou).sum(axis=1).tolist()
    assert join_iou(high, low) == math.fsum(iou.tolist())
    parts = [split_iou(part).sum(axis=1) for part in np.array_split(np.roll(iou, 12_345), 7)]
    assert np.array_equal(np.sum(parts, axis=0), [high, low])


def test_the_ends_of_the_range_keep_their_last_bit():
    for value in (1.0, np.nextafter(1.0, 0), np.nextafter(0.5, 1), 2 / 3):
        high, low = split_iou(np.array([value])).ravel().tolist()
        assert join_iou(high, low) == value
        assert Fraction(value) == Fraction((high << 26) + low, 2**53)
