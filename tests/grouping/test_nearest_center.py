"""The search in a grid against a comparison with all centers, in the same arithmetic."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from axial_deeplab.grouping.nearest_center import CenterGrid
from axial_deeplab.post_processing import compare_all


def find_nearest(centers, y, x):
    return CenterGrid(centers).nearest(y, x)


def compare_with_all(centers, y, x):
    """Return the first of the nearest centers by float32 arithmetic."""
    with np.errstate(over="ignore"):
        return np.array(
            [
                ((np.float32(b) - centers[:, 0]) ** 2 + (np.float32(a) - centers[:, 1]) ** 2).argmin()
                for b, a in zip(y, x, strict=True)
            ]
        )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num_centers=st.integers(1, 300),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    spread=st.sampled_from([0.0, 1.0, 30.0, 1e4, 1e9]),
    is_half=st.booleans(),
)
def test_equals_comparing_all(seed, num_centers, height, width, spread, is_half):
    random = np.random.default_rng(seed)
    centers = random.integers(0, (height, width), (num_centers, 2)).astype(np.float32)  # some coincide
    y, x = (random.uniform(0, (height, width), (200, 2)) + spread * random.standard_normal((200, 2))).T
    if is_half:  # many exact ties
        y, x = np.round(2 * y) / 2, np.round(2 * x) / 2
    y, x = y.astype(np.float32), x.astype(np.float32)
    assert find_nearest(centers, y, x).tolist() == compare_with_all(centers, y, x).tolist()


def test_centers_on_a_line_and_far_apart():
    centers = np.array([[0, 0], [0, 10**6], [0, 3]], np.float32)
    y, x = np.zeros(5, np.float32), np.array([1, 1.5, 2, 6e5, 1e7], np.float32)
    assert find_nearest(centers, y, x).tolist() == [0, 0, 2, 1, 1]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e30])
def test_points_without_a_distance_belong_to_the_first(value):
    centers = np.array([[5, 5], [0, 0]], np.float32)
    places = np.array([0, value, 0], np.float32)
    assert find_nearest(centers, places, np.zeros(3, np.float32)).tolist() == [1, 0, 1]


def test_what_gpus_do_is_the_same():
    generator = torch.Generator().manual_seed(0)
    centers = torch.randint(0, 99, (300, 2), generator=generator)
    y, x = 99 * torch.rand(2, 5000, generator=generator)
    expected = find_nearest(centers.float().numpy(), y.numpy(), x.numpy())
    assert compare_all(centers, y, x).tolist() == expected.tolist()


@pytest.mark.parametrize("num", [1, 2, 7, 300])
@pytest.mark.parametrize("size", [(50, 80), (1, 400), (333, 3)])
def test_the_first_of_the_nearest_in_double_precision(num, size):
    rng = np.random.default_rng(num)
    centers = rng.integers(0, size, (num, 2)).astype(np.float64)
    centers = centers[np.lexsort((centers[:, 1], centers[:, 0]))]
    # Whole and half pixels make many distances equal; some points lie far outside.
    y = np.concatenate([rng.integers(-2, 2 * size[0], 500) / 2, rng.normal(0, 1000, 50)])
    x = np.concatenate([rng.integers(-2, 2 * size[1], 500) / 2, rng.normal(0, 1000, 50)])
    distances = (y[:, None] - centers[:, 0]) ** 2 + (x[:, None] - centers[:, 1]) ** 2
    np.testing.assert_array_equal(CenterGrid(centers).nearest(y, x), distances.argmin(axis=1))


def test_centers_in_one_corner_are_found_from_the_other():
    centers = np.array([[0, 0], [0, 1], [1, 0]] * 30, np.float64)
    assert CenterGrid(centers).nearest(np.array([1999.0]), np.array([1990.0])).tolist() == [2]
