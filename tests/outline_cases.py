"""Regions of every awkward shape, and filling outlines by the centers of pixels as a test of them."""

import numpy as np

NAMED = {
    "pixel": ["#"],
    "touching_at_a_corner": ["#.", ".#"],
    "touching_at_the_other_corner": [".#", "#."],
    "hole": ["###", "#.#", "###"],
    "two_holes_that_touch": ["####", "#.##", "##.#", "####"],
    "hole_that_touches_the_outside": ["##.", "#.#", "###"],
    "island_in_a_hole": ["#####", "#...#", "#.#.#", "#...#", "#####"],
    "hole_in_an_island": ["#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"],
    "ring_closed_by_a_corner": [".##.", "#..#", "#..#", ".##."],
    "checkers": ["#.#.#", ".#.#.", "#.#.#", ".#.#."],
    "stairs": ["#...", "##..", "###.", "####"],
    "frame_of_holes": ["#####", "#.#.#", "#####", "#.#.#", "#####"],
}


def region(rows):
    """Return the mask that is drawn."""
    return np.array([[letter == "#" for letter in row] for row in rows])


def random_regions(count, seed=0):
    """Yield masks of many sizes, from a few dots to a few holes."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        height, width = generator.integers(1, 13, size=2)
        yield generator.random((height, width)) < generator.uniform(0.1, 0.95)


def fill(rings, shape):
    """Fill rings by the even-odd rule: how often does a ray to the left of a pixel's center cross an edge?"""
    crossings = np.zeros(shape, int)
    rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    for ring in rings:
        ring = np.asarray(ring, float)
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            if y0 == y1:
                continue
            passed = (rows > min(y0, y1)) & (rows < max(y0, y1))
            at = x0 + (rows - y0) * (x1 - x0) / (y1 - y0)
            crossings += passed[:, None] & (columns[None] > at[:, None])
    return crossings % 2 == 1
