"""Pictures of the heatmap and of the offsets."""

import numpy as np
import pytest

from axial_deeplab.visualization.network_maps import draw_center_heatmap, draw_offsets

GREY = np.full((20, 30, 3), 100, dtype=np.uint8)


def test_centers_glow_and_the_rest_is_the_dark_image() -> None:
    heatmap = np.zeros((20, 30))
    heatmap[5, 7], heatmap[0, 0], heatmap[0, 1] = 1.0, 7.0, np.nan
    picture = np.asarray(draw_center_heatmap(GREY, heatmap))
    assert picture[5, 7].tolist() == [255, 255, 255]
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[0, 1].tolist() == picture[19, 29].tolist() == [35, 35, 35]


def test_marked_centers_are_crosses_cut_at_the_border() -> None:
    picture = np.asarray(draw_center_heatmap(GREY, np.zeros((20, 30)), [(0, 29), (10, 4)]))
    cyan = (picture == (60, 220, 255)).all(axis=-1)
    assert cyan[0, 27:].all()
    assert cyan[:3, 29].all()
    assert cyan[8:13, 4].all()
    assert cyan.sum() == 5 + 9


def test_hue_is_the_direction_and_brightness_the_distance() -> None:
    offsets = np.zeros((2, 1, 4))
    offsets[1, 0] = [10, 5, -10, 10]  # right, right, left, right
    mask = np.array([[True, True, True, False]])
    near_red, half_red, cyan, black = np.asarray(draw_offsets(offsets, mask, longest=10))[0].astype(int)
    assert near_red[0] == 255
    assert near_red[0] > 3 * near_red[1]
    assert cyan[0] < 60 < 240 < min(cyan[1:])
    assert 120 < half_red[0] < 200
    assert black.tolist() == [0, 0, 0]


def test_no_thing_is_a_black_picture() -> None:
    assert not np.asarray(draw_offsets(np.ones((2, 3, 3)), np.zeros((3, 3), dtype=bool))).any()


def test_maps_of_another_image_are_refused() -> None:
    with pytest.raises(ValueError, match=r"center_heatmap must be \(20, 30\) like the image, got \(3, 3\)"):
        draw_center_heatmap(GREY, np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"offsets must be \(2, H, W\), got \(3, 3\)"):
        draw_offsets(np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"mask must be \(3, 3\) like the offsets"):
        draw_offsets(np.zeros((2, 3, 3)), np.zeros((2, 2), dtype=bool))


def test_crosses_can_be_seen_in_large_pictures():
    widths = []
    for side in (64, 4000):
        image = np.zeros((side, side, 3), dtype=np.uint8)
        picture = np.asarray(draw_center_heatmap(image, np.zeros((side, side)), [(side // 2, side // 2)]))
        row = picture[side // 2 + max(1, side // 100)]
        widths.append(int((row > 0).any(axis=1).sum()))
    assert widths == [1, 9]
