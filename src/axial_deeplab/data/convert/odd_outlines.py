"""What is plausible in outlines but wrong: boxes in place of outlines, and those of another picture."""

import os
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from axial_deeplab.data.convert.outlines import Ring
from axial_deeplab.data.image_warnings import ImageWarning

# Part of the size of a box by which rounding moves its corners.
_SAME_MIDDLE = 0.02


def require_pixels(outlines: Iterable[Sequence[Ring]], source: str | os.PathLike[str]) -> None:
    """Refuse outlines that are parts of width and height, where their file has pixels: they enclose nothing.

    Args:
        outlines: the lines of each shape, in pixels.
        source: what messages call the files.

    Raises:
        ValueError: there are outlines, and all lie in the first pixel.
    """
    found = [line for rings in outlines for line in rings]
    if found and all(((line >= 0) & (line <= 1)).all() for line in found):
        x, y = found[0][-1]
        raise ValueError(
            f"{source} must have outlines in pixels, got all from 0 to 1, such as ({x:g}, {y:g}), as parts "
            "of width and height are; multiply them by the size of their picture"
        )


def is_outside(rings: Sequence[Ring], size: tuple[int, int]) -> bool:
    """Tell whether the middle of lines lies outside of a picture of this (height, width)."""
    points = np.concatenate(rings)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    return not ((middle >= 0) & (middle <= size[::-1])).all()


def warn_of_outside(places: Sequence[str], size: tuple[int, int], source: str | os.PathLike[str]) -> None:
    """Warn of outlines that lie outside of their picture.

    Args:
        places: file and shape of each.
        size: (height, width) of the picture in pixels.
        source: what messages call it.
    """
    if places:
        text = (
            f"has {len(places)} outlines whose middle lies outside of the picture of {size[0]} x {size[1]} "
            f"pixels (height x width), such as {places[0]}; if they were drawn on one of another size, or "
            "on one that is turned, give that"
        )
        warnings.warn(ImageWarning(source, text, "outside"), stacklevel=3)


def warn_of_boxes(outlines: Iterable[Sequence[Ring]], source: str | os.PathLike[str]) -> None:
    """Warn if all outlines of a data set are boxes, upright or turned, as those of detection are.

    Args:
        outlines: the lines of each shape, in pixels or in parts of width and height.
        source: what messages call the files.
    """
    found = list(outlines)
    if len(found) > 2 and all(map(_is_box, found)):
        warnings.warn(
            f"{source}: all {len(found)} outlines are boxes, and all that lies in one becomes its object; if "
            "they only tell where objects are, draw outlines, for boxes say nothing of pixels",
            stacklevel=3,
        )


def _is_box(rings: Sequence[Ring]) -> bool:
    """Tell whether lines are one of four corners whose diagonals have the same middle."""
    if len(rings) != 1:
        return False
    (line,) = rings
    corners = line[:-1] if len(line) == 5 and (line[0] == line[-1]).all() else line
    if len(corners) != 4:
        return False
    apart = corners[0] + corners[2] - corners[1] - corners[3]
    return bool((np.abs(apart) <= _SAME_MIDDLE * np.ptp(corners, axis=0)).all())
