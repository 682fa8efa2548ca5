"""Low scores are told where they are low for the weights, and pixels that do not agree on centers."""

import math

import numpy as np
import pytest
import torch

from axial_deeplab.panoptic.map import Segment
from axial_deeplab.prediction.doubts import Certainty, agreement, doubt_of_scores

LOW = Certainty(0.24, 0.17, 0.23)


def two_objects(of_way: float) -> tuple[np.ndarray, torch.Tensor]:
    """Return a map of two squares, and offsets that go a part of the way to their middles."""
    panoptic = np.zeros((20, 40), np.int32)
    panoptic[2:17, 1:16], panoptic[2:17, 22:37] = 20_001, 20_002
    y, x = np.mgrid[:20, :40]
    to_middle = np.stack([9.0 - y, np.where(x < 20, 8.0, 29.0) - x])
    return panoptic, torch.from_numpy(of_way * to_middle)


@pytest.mark.parametrize(("of_way", "expected"), [(1, 1), (0, 0), (0.5, 0.5), (2, 0), (3, -1)])
def test_agreement_is_how_much_nearer_to_each_other_pixels_come(of_way: float, expected: float) -> None:
    panoptic, offsets = two_objects(of_way)
    assert agreement(panoptic, offsets, {20_001, 20_002}) == pytest.approx(expected)


def test_agreement_leaves_out_stuff_and_void() -> None:
    panoptic, offsets = two_objects(1)
    offsets[:, panoptic == 20_002] = 0
    assert agreement(panoptic, offsets, {20_001}) == pytest.approx(1)
    assert agreement(panoptic, offsets, {20_001, 20_002}) == pytest.approx(0.5, abs=0.05)
    assert math.isnan(agreement(panoptic, offsets, ()))
    assert math.isnan(agreement(panoptic, offsets, {30_001}))


def test_an_object_of_one_pixel_has_nothing_to_agree_on() -> None:
    panoptic = np.zeros((4, 4), np.int32)
    panoptic[2, 2] = 20_001
    assert math.isnan(agreement(panoptic, torch.zeros(2, 4, 4), {20_001}))


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([(0.3, 0.22, 0.3)], ""),
        ([(0.3, 0.22, math.nan)], ""),
        ([(0.3, math.nan, math.nan)], ""),
        ([(0.2, 0.22, 0.3), (0.3, 0.22, 0.3)], ""),
        ([(0.2, 0.22, 0.3)], "low, 0.20 on average over the pixels, 0.22 over the things, 0.30 for how"),
        (
            [(0.3, 0.22, 0.1)],
            "0.10 for how pixels agree on centers: the weights may",
        ),
        ([(0.1, math.nan, math.nan)], "scores are low, 0.10 on average over the pixels: the weights may be"),
    ],
)
def test_low_is_what_is_low_for_the_weights(found: list[tuple[float, ...]], told: str) -> None:
    doubt = doubt_of_scores(found, LOW)
    assert told in doubt
    assert bool(told) == bool(doubt)


def test_a_network_is_as_sure_as_its_segments() -> None:
    segments = [
        Segment(id=1, train_id=0, area=30, score=0.5),
        Segment(id=2, train_id=1, area=10, score=0.9),
        Segment(id=3, train_id=1, area=0, score=0.3),
    ]
    assert Certainty.of(segments, (1,), 0.25) == pytest.approx((0.6, 0.6, 0.25))
    assert Certainty.of(segments[:1], (1,))[0] == 0.5
    assert all(map(math.isnan, [*Certainty.of(segments[:1], (1,))[1:], *Certainty.of([], (1,))]))


def test_usually_lowest_are_nine_tenths_of_what_most_exceed() -> None:
    found = [Certainty(number / 10, math.nan, (11 - number) / 10) for number in range(11)]
    assert Certainty.usual_lowest(found).to_json() == pytest.approx({"pixels": 0.09, "agreement": 0.09})


def test_weights_that_say_nothing_get_the_usual_values() -> None:
    assert Certainty.lowest_of({})[:2] == (0.8, 0.45)
    assert Certainty.lowest_of({"low_scores": {"things": 0.2}})[:2] == (0.8, 0.2)
    assert doubt_of_scores([(0.9, 0.5, -1.0)]) == ""
    assert doubt_of_scores([(0.9, 0.4)]).startswith(
        "scores are low, 0.90 on average over the pixels, 0.40 ov"
    )
