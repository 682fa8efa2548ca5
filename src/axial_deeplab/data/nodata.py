"""Pixels of a GeoTIFF in which there is no picture: those that it names as nodata, and transparent ones."""

import contextlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.channels import Channels
from axial_deeplab.data.geotiff import read_map_grid
from axial_deeplab.data.images import StoredImage, read_stored


def without_data(stored: StoredImage) -> NDArray[np.bool_] | None:
    """Return where (H, W) all channels are nodata, or alpha is 0; None where the file names neither."""
    found = [] if stored.alpha is None else [stored.alpha == 0]
    if stored.nodata is not None:
        values = stored.values
        found.append((np.isnan(values) if np.isnan(stored.nodata) else values == stored.nodata).all(axis=2))
    return np.logical_or.reduce(found) if found else None


def read_without_data(
    path: Path, *, page: int | None = None, channels: Channels | None = None
) -> NDArray[np.bool_] | None:
    """Return where (H, W) a picture has no data; None of other files than GeoTIFF, and where none is named.

    Args:
        path: image file.
        page: see `read_image`.
        channels: see `read_image`.

    Raises:
        OSError: the file cannot be opened.
    """
    # Stacks whose channels lie behind are pictures, but no maps.
    with contextlib.suppress(ValueError):
        if path.is_file() and read_map_grid(path, page=page) is not None:
            return without_data(read_stored(path, page=page, channels=channels))
    return None
