"""Reading maps of instances and masks, also those of two levels, with soft edges or of several pages."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.convert.id_maps import read_id_map
from axial_deeplab.data.convert.panoptic_from import OUTSIDE
from axial_deeplab.data.image_warnings import ImageWarning
from axial_deeplab.panoptic.map import LABEL_DIVISOR
from axial_deeplab.util.text import shortened

# Maps that are looked at beforehand: what is wrong with one is usually wrong with all.
_LOOKED_AT = 20
# The greatest numbers of 8, 16 and 32 bits.
_EXTREMES = (255, 65535, 2**31 - 1)
# What to do about a map of several pages where --page is an option.
OTHER_PAGE = "give another with --page"
# Class times this plus number, as we have it; as Cityscapes, detectron2 and deeplab2; as Mapillary Vistas.
_DIVISORS = (LABEL_DIVISOR, 1000, 256)


@dataclass(frozen=True)
class InstanceReading:
    """How files of instances are read.

    Args:
        page: page of TIFF files, from 1 on; None takes the first, with a warning if there are several.
        threshold: values up to this one are no instance; None takes 0.
        connected_components: whether each connected piece is an instance of its own, for maps and masks that
            tell only where instances are. Pixels touch at sides and corners.
        nodata: number of what lies outside of the picture, as rasters have it; None for no such number.

    Raises:
        ValueError: page or threshold is out of range.
    """

    page: int | None = None
    threshold: int | None = None
    connected_components: bool = False
    nodata: int | None = None

    def __post_init__(self) -> None:
        for name, value, least in (("page", self.page, 1), ("threshold", self.threshold, 0)):
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}; correct --{name}")

    def read(self, path: str | os.PathLike[str]) -> NDArray[np.int32]:
        """Read the numbers of instances (H, W), 0 for none and -1 outside of the picture.

        Raises:
            ValueError: the file is no map of numbers, or lacks the page.
            OSError: the file cannot be opened.
        """
        numbers = read_id_map(path, page=self.page, remedy=OTHER_PAGE)
        outside = numbers == self.nodata
        numbers[outside] = 0
        if self.threshold is None:
            look_for_nodata(numbers, path)
            if not self.connected_components:
                look_for_cut_numbers(numbers, path)
        if self.threshold is not None:
            # Above the threshold soft edges have many levels, all of the same object.
            above = numbers > self.threshold
            numbers = above.astype(np.int32) if self.connected_components else np.where(above, numbers, 0)
        numbers = number_pieces(numbers) if self.connected_components else numbers
        numbers[outside] = OUTSIDE
        return numbers

    def read_masks(self, path: str | os.PathLike[str]) -> list[NDArray[np.bool_]]:
        """Read a mask (H, W) of one instance, or of as many as it has pieces; grey levels get a warning.

        Raises:
            ValueError: the file is no mask, or lacks the page.
            OSError: the file cannot be opened.
        """
        levels = read_id_map(path, page=self.page, remedy=OTHER_PAGE)
        levels[levels == self.nodata] = 0
        if self.threshold is None and (count := len(np.unique(levels))) > 2:
            text = (
                f"has {count} grey levels, of which all above 0 are taken for the instance; if they are soft "
                f"edges, give --threshold {int(levels.max()) // 2}"
            )
            warnings.warn(ImageWarning(path, text, "grey levels"), stacklevel=2)
        mask = levels > (self.threshold or 0)
        height, width = mask.shape
        if mask[:: max(1, height - 1), :: max(1, width - 1)].all() and not mask.all():
            text = (
                f"covers all corners of the picture and leaves out {1 - mask.mean():.1%} inside, as masks do "
                "whose object is black; if so, invert it (255 - values)"
            )
            warnings.warn(ImageWarning(path, text, "inverted masks"), stacklevel=2)
        if not self.connected_components or not mask.any():
            return [mask]
        pieces = number_pieces(mask.astype(np.int32))
        return [pieces == number for number in range(1, int(pieces.max()) + 1)]

    def warn_of_pieces(
        self,
        paths: Sequence[Path],
        remedy: str = "give --connected-components, and for soft edges --threshold",
    ) -> None:
        """Warn if most numbers of the first maps lie in several pieces, hold classes, too, or are averages.

        Numbers lie in pieces where 255 means any instance; they hold classes as in Cityscapes' instanceIds;
        the coarser levels of pyramids have averages at borders.

        Args:
            paths: files of the maps.
            remedy: what to do if each piece is an instance.
        """
        if self.connected_components:
            return
        whole = torn = averages = num_pieces = 0
        found = solid = np.array([], np.int32)
        for path in paths[:_LOOKED_AT]:
            # What is wrong with a file is told where it is converted.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    numbers = self.read(path)
                except (ValueError, OSError):
                    continue
            found = np.union1d(found, numbers)
            pieces = number_pieces(numbers)
            is_between = _between(numbers)
            solid = np.union1d(solid, numbers[~is_between])
            num_pieces += int(pieces.max(initial=0))
            averages += len(np.setdiff1d(pieces[is_between], pieces[~is_between]))
            places = np.unique(pieces, return_index=True)[1]
            counts = np.unique(numbers.ravel()[places], return_counts=True)
            several = counts[1][counts[0] > 0] > 1
            torn += int(several.sum())
            whole += int((~several).sum())
        if (divisor := _divisor(found)) is not None:
            warnings.warn(
                f"{paths[0].parent}: the numbers of instances look like class * {divisor} + number, got "
                f"{shortened([str(value) for value in found[found >= divisor]], 4)}; if so, they are "
                f"several classes: split them (numpy.divmod by {divisor}) into maps of classes and numbers",
                stacklevel=3,
            )
        # Of the cells of dense maps 2% are so thin; a mask with soft edges has one number that is no average.
        elif averages > max(20, num_pieces / 8) and len(solid) > 2:
            warnings.warn(
                f"{paths[0].parent}: {averages} of {num_pieces} pieces of instances lie on slopes between a "
                f"smaller and a greater number (first {min(len(paths), _LOOKED_AT)} files), as averages do: "
                "resize labels by the nearest pixel, and take the finest level of a pyramid",
                stacklevel=3,
            )
        elif torn > whole:
            warnings.warn(
                f"{paths[0].parent}: {torn} of {torn + whole} numbers of instances lie in several separate "
                f"pieces (first {min(len(paths), _LOOKED_AT)} files); if each piece is an instance, {remedy}",
                stacklevel=3,
            )


def _divisor(values: NDArray[np.int32]) -> int | None:
    """Return what divides numbers (N,) into class and instance; None if they are numbers alone.

    There must be several classes, one with several instances, which count from 0 or 1 in each.
    """
    for divisor in _DIVISORS:
        classes, numbers = np.divmod(values[values >= divisor], divisor)
        counts = np.unique(classes, return_counts=True)[1]
        groups = np.split(numbers, counts.cumsum()[:-1])
        if len(groups) < 2 or counts.max() < 2:
            continue
        # Holes, as of instances that a crop cut off, leave half of the numbers at least.
        if all(group.min() <= 1 and group.max() <= 2 * len(group) < divisor for group in groups):
            return divisor
    return None


def _between(numbers: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return where numbers (H, W) lie between a smaller and a greater neighbor, as on a slope."""
    slope, top_or_ground = np.zeros((2, *numbers.shape), bool)
    lines = (numbers, slope, top_or_ground)
    for values, *places in (lines, [each.T for each in lines]):
        steps = np.sign(np.diff(values, axis=0))
        for place, product in zip(places, (1, -1), strict=True):
            place[1:-1] |= steps[:-1] * steps[1:] == product
    return slope & ~top_or_ground


def look_for_nodata(
    numbers: NDArray[np.int32], path: str | os.PathLike[str], remedy: str = "give --nodata {}"
) -> None:
    """Refuse negative numbers, and warn of the greatest of a type in corners beside smaller ones: nodata.

    Args:
        numbers: numbers of instances (H, W).
        path: file that messages name.
        remedy: what to do; braces stand for the number.

    Raises:
        ValueError: a number is negative.
    """
    lowest, highest = int(numbers.min(initial=0)), int(numbers.max(initial=0))
    if lowest < 0:
        several = len(np.unique(numbers[numbers < 0])) > 1
        raise ValueError(
            f"{path} must have numbers of instances from 0 on, got {lowest}; "
            + (
                "they did not fit into 16 bits, or were interpolated: write the labels again as int32"
                if several
                else f"if that is what lies outside of the picture, {remedy.format(lowest)}"
            )
        )
    if highest not in _EXTREMES:
        return
    corners = int((numbers[:: max(1, len(numbers) - 1), :: max(1, numbers.shape[1] - 1)] == highest).sum())
    if corners > 1 and ((numbers > 0) & (numbers < highest)).any():
        text = (
            f"has the instance {highest} in {corners} corners, the greatest number of its type, as rasters "
            f"fill what lies outside of the picture; if so, {remedy.format(highest)}"
        )
        warnings.warn(ImageWarning(path, text, "nodata"), stacklevel=3)


def look_for_background(numbers: NDArray[np.int32], path: str | os.PathLike[str]) -> None:
    """Warn if one instance has all corners of a map, but not all of it, as a background that has a number."""
    first = int(numbers.flat[0]) if numbers.size else 0
    at_corners = numbers[:: max(1, len(numbers) - 1), :: max(1, numbers.shape[1] - 1)]
    is_nodata = first in _EXTREMES and bool(((numbers > 0) & (numbers < first)).any())  # told elsewhere
    if first > 0 and not is_nodata and (at_corners == first).all() and (numbers != first).any():
        text = (
            f"has the instance {first} in all corners and {np.mean(numbers == first):.0%} of the picture, as "
            "watersheds number the background; if it is no object, write 0 in its place"
        )
        warnings.warn(ImageWarning(path, text, "numbered backgrounds"), stacklevel=3)


def look_for_cut_numbers(numbers: NDArray[np.int32], path: str | os.PathLike[str]) -> None:
    """Warn if all instances from the greatest number of a type on have that number: it did not hold them.

    They are three pieces of it or more, beside half of the numbers below it at least.
    """
    highest = int(numbers.max(initial=0))
    if highest not in _EXTREMES:
        return
    others = len(np.unique(numbers[(numbers > 0) & (numbers < highest)]))
    if others < highest // 2:
        return
    pieces = int(number_pieces((numbers == highest).astype(np.int32)).max())
    if pieces > 2:
        text = (
            f"has {pieces} pieces with the number {highest}, the greatest of its type, beside {others} other "
            "instances, as labels have that did not fit; if so, write them again with more bits"
        )
        warnings.warn(ImageWarning(path, text, "cut numbers"), stacklevel=3)


def number_pieces(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return numbers 1, 2, ... of the connected pieces of equal values (H, W), 0 where the value is 0.

    Pixels touch at sides and corners.
    """
    height, width = values.shape
    changes = np.ones((height, width), bool)
    changes[:, 1:] = values[:, 1:] != values[:, :-1]
    run_of_pixel = changes.ravel().cumsum().reshape(height, width) - 1
    parent = np.arange(run_of_pixel[-1, -1] + 1 if values.size else 0)
    if values.size:
        pairs = np.concatenate(
            [
                _touching(values[:-1], values[1:], run_of_pixel[:-1], run_of_pixel[1:]),
                _touching(values[:-1, 1:], values[1:, :-1], run_of_pixel[:-1, 1:], run_of_pixel[1:, :-1]),
                _touching(values[:-1, :-1], values[1:, 1:], run_of_pixel[:-1, :-1], run_of_pixel[1:, 1:]),
            ]
        )
        for upper, lower in np.unique(pairs, axis=0).tolist():
            first, second = _root(parent, upper), _root(parent, lower)
            parent[max(first, second)] = min(first, second)
    roots = np.array([_root(parent, run) for run in range(len(parent))], dtype=np.int64)
    starts = values.ravel()[changes.ravel()]
    kept = np.unique(roots[starts != 0])
    numbers = np.where(starts != 0, np.searchsorted(kept, roots) + 1, 0).astype(np.int32)
    return numbers[run_of_pixel]


def _touching(
    above: NDArray[np.int32], below: NDArray[np.int32], runs: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.int64]:
    same = (above == below) & (above != 0)
    return np.stack([runs[same], others[same]], axis=1)


def _root(parent: NDArray[np.int64], run: int) -> int:
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = int(parent[run])
    return run
