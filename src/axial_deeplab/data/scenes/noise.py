"""Multi-octave noise: clouds, ridges and the grain of every surface."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILE_SIZE = 768


def fractal(
    rng: np.random.Generator,
    height: int,
    width: int,
    cell: float,
    octaves: int,
    *,
    stretch: float = 1.0,
    gain: float = 0.5,
) -> NDArray[np.float32]:
    """Draw smooth noise of mean 0 and a spread of about 1.

    Args:
        rng: the source of chance.
        height: rows.
        width: columns.
        cell: pixels of the coarsest wave along y.
        octaves: waves, each half as long as the one before.
        stretch: how many times longer a wave is along x than along y.
        gain: strength of a wave, relative to the one before.
    """
    total = np.zeros((height, width), np.float32)
    weight, power = 1.0, 0.0
    for _ in range(octaves):
        rows, columns = int(height / cell) + 2, int(width / (cell * stretch)) + 2
        grid = rng.standard_normal((rows, columns), np.float32)
        # The window is a fraction of the grid, so that a cell is exactly `cell` pixels at any size.
        window = (0.0, 0.0, width / (cell * stretch) + 0.5, height / cell + 0.5)
        wave = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC, box=window)
        total += weight * np.asarray(wave)
        power += weight**2
        weight *= gain
        cell = max(cell / 2, 1.0)
    return total / np.float32(power**0.5 * 0.7)


@cache
def _tile(cell: float, octaves: int) -> NDArray[np.float32]:
    """Return a fixed field of noise that all scenes cut their grain from."""
    return fractal(np.random.default_rng(20200717), TILE_SIZE, TILE_SIZE, cell, octaves, gain=0.8)


def _mirrored(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fold indices into the tile, forth and back, so that it has no seam."""
    folded = index % (2 * TILE_SIZE)
    return np.minimum(folded, 2 * TILE_SIZE - 1 - folded)


def grain(
    rng: np.random.Generator, height: int, width: int, cell: float, octaves: int
) -> NDArray[np.float32]:
    """Cut a random window from the fixed noise: cheaper than fresh noise, as good for a fine texture."""
    top, left = (int(start) for start in rng.integers(0, TILE_SIZE, 2))
    rows = _mirrored(np.arange(top, top + height))
    columns = _mirrored(np.arange(left, left + width))
    window = _tile(cell, octaves)[rows[:, None], columns[None, :]]
    return window[:, ::-1] if rng.random() < 0.5 else window


def ground_grain(
    rng: np.random.Generator, depth: NDArray[np.float32], lateral: NDArray[np.float32], per_meter: float
) -> NDArray[np.float32]:
    """Return noise that lies on the ground and shrinks with distance.

    Args:
        rng: the source of chance.
        depth: meters from the camera to the ground of each pixel, (H, W).
        lateral: meters to the side of each pixel, (H, W).
        per_meter: samples of noise on a meter.
    """
    start = rng.integers(0, TILE_SIZE, 2)
    rows = _mirrored((depth * per_meter).astype(np.int64) + start[0])
    columns = _mirrored((lateral * per_meter).astype(np.int64) + start[1])
    return _tile(8.0, 4)[rows, columns]
