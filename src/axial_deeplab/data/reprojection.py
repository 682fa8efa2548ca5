"""From the coordinates of one map to those of another, by pyproj."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.util.text import one_line

WGS84 = 4326
"""EPSG number of longitude and latitude, as GPS and GeoJSON have them."""

Points = NDArray[np.float64]


def reprojection(source: int, target: int, path: Path) -> Callable[[Points], Points]:
    """Return what takes points (N, 2) from one system of coordinates to another; x or longitude is first.

    Args:
        source: EPSG number.
        target: EPSG number.
        path: file whose points they are, for the error.

    Raises:
        ValueError: a system is unknown, or one of them is none of places on Earth.
    """
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    try:
        transformer = Transformer.from_crs(source, target, always_xy=True)
    except ProjError as error:
        raise ValueError(
            f"{path} must have coordinates that can be brought to EPSG {target}, got EPSG {source}: "
            f"{one_line(error)}; reproject it"
        ) from None
    return lambda points: np.stack(transformer.transform(*points.T), axis=-1)
