"""Outlines of a GeoJSON in the coordinates of a map, for a picture that lies on one."""

import contextlib
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.geotiff import MapGrid, read_map_grid
from axial_deeplab.data.images import read_header
from axial_deeplab.data.reprojection import WGS84, reprojection
from axial_deeplab.util.packages import require_package

FromMap = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From points (N, 2) of a file to x and y in pixels."""


def places_of_map(
    features: list[Any], document: Any, photo: Path, path: Path, *, page: int | None
) -> FromMap | None:
    """Return where points of the outlines lie in a picture, None if they are pixels already.

    QuPath counts pixels in a GeoTIFF, too, and programs name coordinates that are none of Earth: the outlines
    tell by where they lie.

    Args:
        features: objects of the GeoJSON, whose outlines need not be valid.
        document: the whole of it, which may name its system of coordinates.
        photo: the picture.
        path: the GeoJSON.
        page: page of the picture, from 1 on; None takes the first.

    Raises:
        ValueError: they lie in the picture neither by its pixels nor by its map; pyproj is missing.

    Source:
        RFC 7946, section 4: degrees, longitude first, unless `crs` names others, as GeoJSON 2008 did.
    """
    grid = read_map_grid(photo, page=page)
    outlines = [line for feature in features if (line := _corners(feature))]
    if grid is None or not outlines:
        return None
    points = np.array([point for line in outlines for point in line])
    size = read_header(photo, page=page).size[::-1]

    def share_inside(places: NDArray[np.float64]) -> float:
        return float(((places >= 0) & (places <= size)).all(axis=1).mean())

    # Degrees may lie among the pixels, where nothing is as large as one.
    as_small_as_degrees = all(np.ptp(line, axis=0).max() < 1 for line in outlines)
    of_pixels = 0.0 if as_small_as_degrees else share_inside(points)
    from_map: FromMap = grid.in_pixels
    epsg = _named_epsg(document)
    if epsg is None and not share_inside(grid.in_pixels(points)) and (np.abs(points) <= (180, 90)).all():
        epsg = WGS84
    if epsg is not None and grid.epsg is not None and epsg != grid.epsg:
        if of_pixels and find_spec("pyproj") is None:
            return None
        from_map = _reprojected(grid, grid.epsg, epsg, path)
    of_map = share_inside(from_map(points))
    if not of_map + of_pixels:
        own = f"EPSG {grid.epsg}" if grid.epsg else "a system without number"
        raise ValueError(
            f"{path} must have outlines in {photo}, by its pixels or its map ({own}), got none, such as "
            f"({points[0, 0]:g}, {points[0, 1]:g}){f' of EPSG {epsg}' if epsg else ''}; give the picture of "
            "that place, or take the file away if nothing is there"
        )
    return from_map if of_map >= of_pixels else None


def _named_epsg(document: Any) -> int | None:
    crs = document
    for key in ("crs", "properties", "name"):
        crs = crs.get(key) if isinstance(crs, dict) else None
    if str(crs).endswith("CRS84"):
        return WGS84
    named = re.search(r"EPSG:+(\d+)$", str(crs))
    return int(named[1]) if named else None


def _reprojected(grid: MapGrid, own: int, epsg: int, path: Path) -> FromMap:
    require_package("pyproj", "maps", f"{path}: outlines in EPSG {epsg} on a map in EPSG {own} need")
    to_map = reprojection(epsg, own, path)
    return lambda points: grid.in_pixels(to_map(points))


def _corners(feature: Any) -> list[list[float]]:
    """Return the points of the outlines of an object; what is none is told where it is read."""
    geometry: Any = feature.get("geometry") if isinstance(feature, dict) else None
    with contextlib.suppress(TypeError, ValueError, LookupError):
        kind, parts = geometry["type"], geometry["coordinates"]
        lines = [line for part in ([parts] if kind == "Polygon" else parts) for line in part]
        if kind in ("Polygon", "MultiPolygon"):
            return [[float(x), float(y)] for line in lines for x, y, *_ in line]
    return []
