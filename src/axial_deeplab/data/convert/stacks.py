"""Pictures of several pages, such as depths and times of a microscope: to which page a shape belongs."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from axial_deeplab.data.convert.read_options import ReadOptions
from axial_deeplab.data.images import naming_damage
from axial_deeplab.data.tiff import has_pages


def page_of_stack(photo: Path, options: ReadOptions) -> int | None:
    """Return the page that is shown of a picture that has several; None if it has one.

    Raises:
        ValueError: the picture is damaged.
        OSError: it cannot be opened.
    """
    with naming_damage(photo):
        return (options.reading.page or 1) if has_pages(photo) else None


def page_of_place(photo: Path, page: int | None, places: Mapping[str, int]) -> int:
    """Return the page of a stack, from 1 on, that a place in it is; that which is shown if it may be.

    Args:
        photo: the picture.
        page: what `page_of_stack` gives of it.
        places: number of the channel C, of the depth Z and of the time T, from 1 on; 0 stands for any.
    """
    if page is None or not any(places.values()):
        return 0
    import tifffile

    with naming_damage(photo), tifffile.TiffFile(photo) as tiff:
        series = tiff.series[0]
        sizes = {axis: n for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YXS"}
    if not set(sizes) & set(places):  # of pages that nobody names, depths and times are taken for each
        return 1 + sum(place - 1 for place in places.values() if place)
    if page > math.prod(sizes.values()):
        return 0
    shown = np.unravel_index(page - 1, tuple(sizes.values()))
    wanted = [places.get(axis) or 1 + int(place) for axis, place in zip(sizes, shown, strict=True)]
    if any(place > size for place, size in zip(wanted, sizes.values(), strict=True)):
        return page + 1
    return 1 + int(np.ravel_multi_index([place - 1 for place in wanted], tuple(sizes.values())))
