"""Where the pixels of a GeoTIFF lie on a map."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.tiff import MAGIC, read_tiff
from axial_deeplab.util.files import opened

_ORIENTATION = 274
_SCALE, TIE_POINTS, _TRANSFORM, _GEO_KEYS = 33550, 33922, 34264, 34735
_TAGS = (_SCALE, TIE_POINTS, _TRANSFORM, _GEO_KEYS, 34736, 34737)  # and the numbers and texts of the keys
_RASTER_TYPE, _GEOGRAPHIC, _PROJECTED = 1025, 2048, 3072
_PIXEL_IS_POINT, _USER_DEFINED = 2, 32767


class MapGrid(NamedTuple):
    """Where pixels lie on a map.

    Args:
        transform: (2, 3), from x, y, 1 along the edges of pixels to coordinates of the map.
        epsg: number of the map's system of coordinates; None if it is unknown.
    """

    transform: NDArray[np.float64]
    epsg: int | None = None

    def in_pixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points (N, 2) of the map as x and y in pixels."""
        matrix = self.transform
        return np.asarray(np.linalg.solve(matrix[:, :2], (points - matrix[:, 2]).T).T, np.float64)


def map_grid(page: Any) -> MapGrid | None:
    """Return where the pixels of a page of tifffile lie; None if it does not say so, or is to be turned.

    Source:
        OGC GeoTIFF 1.1, sections 7.1 (keys) and B.6 (transform, tie points, scale).
    """
    orientation = page.tags.get(_ORIENTATION)
    if orientation is not None and int(orientation.value) != 1:
        return None
    scale, ties, matrix = (page.tags.get(code) for code in (_SCALE, TIE_POINTS, _TRANSFORM))
    if matrix is not None:
        transform = np.array(matrix.value, dtype=np.float64).reshape(4, 4)[:2][:, [0, 1, 3]]
    elif scale is not None and ties is not None:
        (i, j, _, x, y, _), (dx, dy) = ties.value[:6], scale.value[:2]
        transform = np.array([[dx, 0, x - i * dx], [0, -dy, y + j * dy]], dtype=np.float64)
    else:
        return None
    tag = page.tags.get(_GEO_KEYS)
    numbers = np.array(() if tag is None else tag.value, dtype=np.int64).reshape(-1, 4)
    keys = {int(key): int(value) for key, where, _, value in numbers[1:] if where == 0}
    if keys.get(_RASTER_TYPE) == _PIXEL_IS_POINT:  # whole numbers are the centers of pixels
        transform[:, 2] -= transform[:, :2].sum(axis=1) / 2
    epsg = keys.get(_PROJECTED, keys.get(_GEOGRAPHIC))
    return MapGrid(transform, None if epsg == _USER_DEFINED else epsg)


def geo_tags(page: Any) -> list[tuple[int, int, int, Any, bool]]:
    """Return what a page of tifffile says of its place on a map, as tifffile writes extra tags."""
    tags = [page.tags[code] for code in _TAGS if code in page.tags]
    return [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in tags]


def read_map_grid(path: Path, *, page: int | None = None) -> MapGrid | None:
    """Return where the pixels of a picture lie; None of other files than GeoTIFF.

    Args:
        path: image file.
        page: page of the file, from 1 on; None takes the first.

    Raises:
        ValueError: the tags of the file make no sense.
        OSError: it cannot be opened.
    """
    import tifffile

    with opened(path) as file:
        if file.read(4) not in MAGIC:
            return None
        try:
            place = read_tiff(file, number=page, pixels=False).place
            file.seek(0)
            with tifffile.TiffFile(file) as tiff:
                grid = map_grid(tiff.pages[place])
                if grid is not None:
                    np.linalg.inv(grid.transform[:, :2])
                return grid
        except Exception as error:  # tifffile trusts the tags of a file, which may say anything
            raise ValueError(
                f"{path} must say where its pixels lie on the map, got: {error}; write its tags again"
            ) from None
