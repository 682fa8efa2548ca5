"""The watershed on maps drawn by hand, and against scikit-image where it is installed."""

import numpy as np
import pytest
import torch

from axial_deeplab.grouping.watershed import group_by_watershed
from axial_deeplab.post_processing import PostProcessing

SKY, CELL = 0, 1


def group(heatmap, centers, mask=None):
    heatmap = torch.tensor(heatmap)
    mask = (
        torch.ones(heatmap.shape, dtype=torch.bool) if mask is None else torch.tensor(mask, dtype=torch.bool)
    )
    return group_by_watershed(torch.tensor(centers).view(-1, 2), heatmap, mask).tolist()


def test_two_hills_meet_in_the_valley():
    heatmap = [[0.5, 0.9, 0.6, 0.3, 0.4, 0.8]]
    # Higher pixels come first, so the hill on the right takes 0.4, and that on the left, higher at 0.6, 0.3.
    assert group(heatmap, [[0, 1], [0, 5]]) == [[1, 1, 1, 1, 2, 2]]


def test_a_valley_may_lie_far_from_the_middle():
    heatmap = [[0.9, 0.1, 0.7, 0.7, 0.7, 0.7, 0.8]]
    assert group(heatmap, [[0, 0], [0, 6]])[0][2:] == [2] * 5


def test_water_goes_around_walls_and_not_across_corners():
    heatmap = np.full((4, 4), 0.5, np.float32)
    heatmap[0, 0] = 0.9
    mask = [[1, 1, 0, 1], [0, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 0]]
    # (1, 3) and (0, 3) touch the others at a corner alone.
    assert group(heatmap, [[0, 0]], mask) == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_centers_outside_the_mask_get_nothing():
    heatmap = [[0.9, 0.5], [0.5, 0.8]]
    assert group(heatmap, [[0, 0], [1, 1]], [[0, 1], [1, 1]]) == [[0, 2], [2, 2]]
    assert group(heatmap, [[0, 0]], [[0, 1], [1, 1]]) == [[0, 0], [0, 0]]
    assert group(heatmap, []) == [[0, 0], [0, 0]]


def test_is_that_of_scikit_image_on_random_maps():
    segmentation = pytest.importorskip("skimage.segmentation")
    generator = np.random.default_rng(0)
    for _ in range(30):
        height, width = generator.integers(1, 40, 2)
        heatmap = generator.random((height, width), dtype=np.float32)
        mask = generator.random((height, width)) < 0.8
        centers = np.argwhere(generator.random((height, width)) < 0.05)
        markers = np.zeros((height, width), int)
        markers[tuple(centers.T)] = np.arange(1, len(centers) + 1)
        expected = segmentation.watershed(-heatmap, markers, mask=mask)
        ours = group_by_watershed(*(torch.from_numpy(each) for each in (centers, heatmap, mask)))
        np.testing.assert_array_equal(ours.numpy(), expected)


def outputs_of(probabilities, heatmap):
    probability = torch.tensor(probabilities)
    logits = torch.stack([1 - probability, probability]).log()
    offsets = torch.zeros(1, 2, *probability.shape)
    return {
        "semantic_logits": logits[None],
        "center_heatmap": torch.tensor(heatmap)[None, None],
        "offsets": offsets,
    }


CELLS = [[0.9, 0.9, 0.55, 0.9, 0.9, 0.2]]
HILLS = [[0.8, 0.7, 0.4, 0.6, 0.7, 0.0]]


def segment(**settings):
    process = PostProcessing([CELL], nms_kernel=3, stuff_area=0, label_divisor=100, **settings)
    return process(outputs_of(CELLS, HILLS))[0].panoptic.tolist()


def test_grouping_is_a_setting_of_the_post_processing():
    assert segment(grouping="watershed") == [[201, 201, 201, 202, 202, 100]]


def test_thing_threshold_moves_the_border():
    assert segment(grouping="watershed", thing_threshold=0.6) == [[201, 201, 100, 202, 202, 100]]
    assert segment(grouping="watershed", thing_threshold=0.1)[0][-1] == 202
    assert segment(thing_threshold=0.5) == segment()


def test_small_instances_become_void():
    assert segment(grouping="watershed", thing_area=3) == [[201, 201, 201, 0, 0, 100]]
    assert segment(grouping="watershed", thing_area=2) == [[201, 201, 201, 202, 202, 100]]


@pytest.mark.parametrize("grouping", ["offsets", "watershed"])
def test_no_center_may_mean_one_instance(grouping):
    process = PostProcessing([CELL], stuff_area=0, label_divisor=100, grouping=grouping)
    outputs = outputs_of(CELLS, [[0.0] * 6])
    assert process(outputs)[0].panoptic.tolist() == [[0, 0, 0, 0, 0, 100]]
    process = PostProcessing(
        [CELL], stuff_area=0, label_divisor=100, grouping=grouping, without_centers="one_instance"
    )
    assert process(outputs)[0].panoptic.tolist() == [[201, 201, 201, 201, 201, 100]]


def test_thing_threshold_between_several_classes():
    # Two things of 0.3 and 0.25 are a thing of 0.55, although the stuff of 0.45 is the most probable class.
    logits = torch.tensor([0.45, 0.3, 0.25]).log().view(1, 3, 1, 1)
    outputs = {
        "semantic_logits": logits,
        "center_heatmap": torch.ones(1, 1, 1, 1),
        "offsets": torch.zeros(1, 2, 1, 1),
    }
    for threshold, value in ((None, 100), (0.5, 201), (0.6, 100)):
        process = PostProcessing([1, 2], stuff_area=0, label_divisor=100, thing_threshold=threshold)
        assert process(outputs)[0].panoptic.item() == value


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grouping": "votes"}, 'grouping must be "offsets" or "watershed"'),
        ({"thing_area": -1}, "thing_area must be 0 pixels"),
        ({"thing_threshold": 1.0}, "thing_threshold must be at least 0 and below 1"),
    ],
)
def test_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        PostProcessing([CELL], **settings)
