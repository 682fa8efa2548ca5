"""Error maps: every pixel says what panoptic quality makes of its segments."""

import numpy as np
import pytest

from axial_deeplab.evaluation.panoptic_quality import PanopticQuality
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.panoptic.map import Panoptic, Segment
from axial_deeplab.visualization.error_map import BOTH, FALSE, MATCHED, MISSED, OFF, draw_error_map, error_map

CATEGORIES = Categories([Category(1, "cat", True), Category(2, "dog", True)])
CAT, DOG = 0, 1


def row(values, classes):
    panoptic = np.array([values], dtype=np.int32)
    segments = [Segment(id=i, train_id=c, area=int((panoptic == i).sum())) for i, c in classes.items()]
    return Panoptic(panoptic, segments)


def test_every_kind_of_pixel():
    # True: cat 1, dog 2 (missed), void, cat 3 (missed). Predicted: cat 7 for 1, cat 8 false, cat 9 false.
    truth = row([1, 1, 1, 1, 2, 2, 0, 0, 3], {1: CAT, 2: DOG, 3: CAT})
    prediction = row([7, 7, 7, 0, 8, 0, 7, 9, 0], {7: CAT, 8: CAT, 9: CAT})
    matches = PanopticQuality(CATEGORIES).match(truth, prediction)
    assert matches.matched == [(1, 7, 0.75)]
    errors = error_map(truth.map, prediction.map, matches)
    # The void pixel of 7 is no error; 9 lies wholly in void and does not count.
    assert errors.tolist() == [[MATCHED, MATCHED, MATCHED, OFF, BOTH, MISSED, 0, 0, MISSED]]


def test_a_false_segment_over_another_that_matched():
    truth = row([1, 1, 1, 1, 1], {1: CAT})
    prediction = row([7, 7, 7, 8, 8], {7: CAT, 8: DOG})
    matches = PanopticQuality(CATEGORIES).match(truth, prediction)
    assert error_map(truth.map, prediction.map, matches).tolist() == [
        [MATCHED, MATCHED, MATCHED, FALSE, FALSE]
    ]


def test_the_picture_is_tinted_where_segments_count_and_grey_elsewhere():
    truth = row([1] * 20 + [0] * 20, {1: CAT})
    truth = Panoptic(np.repeat(truth.map, 20, axis=0), truth.segments)
    matches = PanopticQuality(CATEGORIES).match(truth, truth)
    image = np.full((20, 40, 3), (90, 120, 150), dtype=np.uint8)
    picture = draw_error_map(image, truth.map, truth.map, matches)
    tinted, grey = np.asarray(picture)[10, 5], np.asarray(picture)[10, 30]
    assert tinted[1] > tinted[0] + 50
    assert grey.tolist() == [120, 120, 120]
    assert draw_error_map(image, truth.map, truth.map, matches, legend=True).height > 20


def test_maps_of_another_image_are_refused():
    truth = row([1, 1], {1: CAT})
    matches = PanopticQuality(CATEGORIES).match(truth, truth)
    with pytest.raises(ValueError, match=r"maps must be \(3, 3\) like the image, got \(1, 2\) and \(1, 2\)"):
        draw_error_map(np.zeros((3, 3, 3), dtype=np.uint8), truth.map, truth.map, matches)
