"""A picture, what was found in it, and what its file says of the size and the place of pixels."""

import html
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.channels import Channels
from axial_deeplab.data.geotiff import geo_tags, map_grid
from axial_deeplab.data.tiff import MAGIC, read_tiff
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.prediction.labels import Labels
from axial_deeplab.prediction.save.instances import Instance, each_instance
from axial_deeplab.util.files import opened

_MICROMETERS = {
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer"), 1.0),
    "\\u00b5m": 1.0,  # as ImageJ spells it
    **dict(zip(("nm", "mm", "cm", "m", "inch"), (1e-3, 1e3, 1e4, 1e6, 25_400.0), strict=True)),
}
# Dots an inch that programs write who think of printing, not of what the picture shows.
_OF_PRINTS = (72, 96, 100, 120, 150, 180, 200, 240, 250, 300, 350, 400, 600)
# Of the tag ResolutionUnit.
_UNITS = {2: "inch", 3: "cm"}


class PixelGrid(NamedTuple):
    """What a file says of the pixels of its picture.

    Args:
        micrometers: width and height of a pixel, if known.
        transform: (2, 3), from x, y, 1 along the edges of pixels to coordinates of a map, if it has some.
        epsg: number of the map's system of coordinates; None if it is unknown.
        geo_tags: the tags that say so, as `geotiff.geo_tags` gives them; those of control points say it
            without a transform.
    """

    micrometers: tuple[float, float] | None = None
    transform: NDArray[np.float64] | None = None
    epsg: int | None = None
    geo_tags: Sequence[tuple[int, int, int, Any, bool]] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """What the writers of files take.

    Args:
        path: file of the picture.
        name: its name, or path below its folder.
        labels: the segmentation.
        categories: its label space.
        page: page of the file that was seen, from 1 on; None for the first.
        channels: channels of the file that were seen; None for RGB.
    """

    path: Path
    name: str
    labels: Labels
    categories: Categories
    page: int | None = None
    channels: Channels | None = None

    def instances(self) -> Iterator[Instance]:
        """Yield the things."""
        return each_instance(self.labels, self.categories)

    @cached_property
    def grid(self) -> PixelGrid:
        """What the file says of its pixels."""
        return read_grid(self.path, page=self.page)


def read_grid(path: Path, *, page: int | None = None) -> PixelGrid:
    """Read what a TIFF says of the size and the place of its pixels: OME, ImageJ, resolution, GeoTIFF.

    Args:
        path: image file; others than TIFF say nothing that is meant.
        page: page of the file, from 1 on; None takes the first.
    """
    import tifffile

    if path.is_dir():  # OME-Zarr
        return PixelGrid()
    with opened(path) as file:
        if file.read(4) not in MAGIC:
            return PixelGrid()
        try:
            place = read_tiff(file, number=page, pixels=False).place
            file.seek(0)
            with tifffile.TiffFile(file) as tiff:
                stored: Any = tiff.pages[place]
                micrometers = _micrometers(tiff, stored)
                orientation = stored.tags.get(274)
                if micrometers and orientation is not None and int(orientation.value) > 4:  # sideways
                    micrometers = micrometers[::-1]
                place_on_map = map_grid(stored)
                if place_on_map is not None:
                    return PixelGrid(micrometers, *place_on_map, geo_tags(stored))
                is_upright = orientation is None or int(orientation.value) == 1
                return PixelGrid(micrometers, geo_tags=geo_tags(stored) if is_upright else ())
        except Exception as error:  # tifffile trusts the tags of a file, which may say anything
            warnings.warn(f"{path}: size and place of pixels cannot be read, got: {error}", stacklevel=2)
            return PixelGrid()


def _micrometers(tiff: Any, page: Any) -> tuple[float, float] | None:
    """Return the width and height of a pixel: of OME, else ImageJ, else the resolution of TIFF."""
    if tiff.is_ome:
        return _of_ome(tiff.ome_metadata or "")
    unit = _UNITS.get(int(page.tags.get(296).value)) if page.tags.get(296) else None
    if tiff.is_imagej:
        unit = (tiff.imagej_metadata or {}).get("unit", unit)
    factor = _MICROMETERS.get(str(unit).strip().lower())
    resolutions = [page.tags.get(282), page.tags.get(283)]
    if factor is None or None in resolutions:
        return None
    x, y = (tag.value[0] / tag.value[1] for tag in resolutions)
    an_inch = x * _MICROMETERS["inch"] / factor
    of_print = unit in ("inch", "cm") and any(
        math.isclose(an_inch, dots, rel_tol=1e-3) for dots in _OF_PRINTS
    )
    if min(x, y) <= 0 or of_print:
        return None
    return factor / x, factor / y


def _of_ome(document: str) -> tuple[float, float] | None:
    found = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", document)
    fields = dict(re.findall(r'(\w+)="([^"]*)"', html.unescape(found[0]))) if found else {}
    sizes = []
    for axis in "XY":
        factor = _MICROMETERS.get(fields.get(f"PhysicalSize{axis}Unit", "\u00b5m").lower())
        size = float(fields.get(f"PhysicalSize{axis}", 0))
        if factor is None or size <= 0:
            return None
        sizes.append(factor * size)
    return sizes[0], sizes[1]
