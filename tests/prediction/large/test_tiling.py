"""Tiles: they cover the image, lie on the grid of the network, and count one in all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from axial_deeplab.prediction.large.tiling import Tiling, Window, cut

LENGTHS = st.integers(1, 500)


@given(LENGTHS, LENGTHS, st.integers(64, 200), st.integers(0, 32), st.sampled_from([1, 4, 8, 16]))
def test_each_node_has_whole_weight(height, width, tile, overlap, stride):
    tiling = Tiling((height, width), tile, overlap)
    for axis, length in enumerate((height, width)):
        nodes = -(-(length - 1) // stride) + 1
        weights = np.zeros(nodes)
        for part in tiling.parts(axis, 0, nodes, stride):
            weights[part.of_stretch] += part.weights
        assert weights.min() > 0.99 if tiling.shared else weights.min() >= 1
        assert all(start % 16 == 0 for start in tiling.starts[axis])
    assert all(max(window.shape) <= tile and min(window.shape) >= 1 for window in tiling.windows)


def test_parts_of_a_stretch_are_those_of_the_whole_axis():
    tiling = Tiling((700, 700), 257, 64)
    whole, stretch = np.zeros(176), np.zeros(176)
    for part in tiling.parts(0, 0, 176, 4):
        whole[part.of_stretch] += part.weights * (part.tile + 1)
    for begin in range(0, 176, 44):
        for part in tiling.parts(0, begin, begin + 44, 4):
            stretch[begin : begin + 44][part.of_stretch] += part.weights * (part.tile + 1)
    np.testing.assert_array_equal(whole, stretch)


def test_the_outer_quarters_of_an_overlap_hardly_count():
    tiling = Tiling((1000, 1000), 257, 64)
    first, second = list(tiling.parts(0, 0, 257, 1))[:2]
    assert second.of_stretch == slice(192, 257)
    assert (first.weights[192 + 48 :] <= 1e-5).all()
    assert (second.weights[:17] <= 1e-5).all()
    np.testing.assert_allclose(first.weights[192:] + second.weights, 1, atol=1e-5)


def test_an_image_within_a_tile_is_one_tile():
    assert Tiling((200, 257), 257, 64).windows == [Window(0, 0, 200, 257)]


def test_the_last_tile_is_whole():
    assert Tiling((600, 100), 257, 64).starts == ((0, 192, 352), (0,))


def test_blocks_cover_an_image():
    covered = np.zeros((5, 7), int)
    for window in cut((5, 7), 3):
        covered[window.slices] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("tile", "overlap", "message"),
    [
        (63, 0, "tile must be at least 64 pixels, got 63; give --tile 512"),
        (-5, 0, "tile must be at least 64 pixels, got -5"),
        (256, 129, "overlap must be from 0 to 128 pixels, half a tile, got 129"),
        (256, -1, "overlap must be from 0 to 128 pixels, half a tile, got -1"),
    ],
)
def test_sizes_out_of_range_are_refused(tile, overlap, message):
    with pytest.raises(ValueError, match=message):
        Tiling((500, 500), tile, overlap)
