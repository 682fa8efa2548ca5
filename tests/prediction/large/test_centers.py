"""The nearest center, from a grid and from all distances."""

import numpy as np
import pytest

from axial_deeplab.prediction.large.centers import CenterGrid


@pytest.mark.parametrize("num", [1, 2, 7, 300])
@pytest.mark.parametrize("size", [(50, 80), (1, 400), (333, 3)])
def test_the_grid_finds_the_first_of_the_nearest(num, size):
    rng = np.random.default_rng(num)
    centers = rng.integers(0, size, (num, 2))
    centers = centers[np.lexsort((centers[:, 1], centers[:, 0]))]
    # Whole and half pixels make many distances equal; some points lie far outside.
    y = np.concatenate([rng.integers(-2, 2 * size[0], 500) / 2, rng.normal(0, 1000, 50)])
    x = np.concatenate([rng.integers(-2, 2 * size[1], 500) / 2, rng.normal(0, 1000, 50)])
    distances = (y[:, None] - centers[:, 0]) ** 2 + (x[:, None] - centers[:, 1]) ** 2
    np.testing.assert_array_equal(CenterGrid(centers, size).nearest(y, x), distances.argmin(axis=1))


def test_centers_in_one_corner_are_found_from_the_other():
    centers = np.array([[0, 0], [0, 1], [1, 0]] * 30)
    assert CenterGrid(centers, (2000, 2000)).nearest(np.array([1999.0]), np.array([1990.0])).tolist() == [2]
