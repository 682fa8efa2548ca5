"""Reading PNG files whose grey level or palette index is an id: labels, instances, masks."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.image_warnings import ImageWarning
from axial_deeplab.data.images import FORMATS, naming_damage, orientation_of, turned
from axial_deeplab.data.tiff import MAGIC, UnsupportedImageError, read_numbers, read_tiff
from axial_deeplab.data.wide_images import read_ppm
from axial_deeplab.panoptic.png import open_map
from axial_deeplab.util.text import shortened

# A JPEG does not keep the values of its pixels, which are ids here.
MAP_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm", ".pbm", ".pnm")
# What stands behind the name of a picture in that of its label map: of cellpose, and of others.
LABEL_ENDINGS = ("_cp_masks", "_masks")
_MODES = ("1", "L", "P", "I", "I;16", "I;16B")


def read_id_map(
    path: str | os.PathLike[str], *, page: int | None = None, remedy: str = "save the right one alone"
) -> NDArray[np.int32]:
    """Read the ids (H, W) of a PNG, TIFF ... of one channel: grey levels of any bits, or palette indices.

    As photographs, they are turned if an EXIF tag says so.

    Args:
        path: image file.
        page: page of a TIFF file, from 1 on; None takes the first, with a warning if there are several.
        remedy: what to do about these.

    Raises:
        ValueError: the file is broken, has several channels or values that are no ids, or lacks the page.
        OSError: the file cannot be opened.
    """
    num_pages, stored = 1, None
    with open_map(path) as file, naming_damage(path, "a complete image of ids", "write the file again"):
        place = 0
        if file.read(4) in MAGIC:
            found = read_tiff(file, number=page, pixels=False)
            place, num_pages = found.place, found.num_pages
            stored = read_numbers(file, place)
        elif page not in (None, 1):
            raise UnsupportedImageError(f"must have page {page}, got one picture; leave out --page")
        file.seek(0)
        if stored is not None:
            mode = "F" if stored.dtype.kind == "f" else "I"
            pixels = stored.astype(np.float64) if mode == "F" else stored
        else:
            with Image.open(file, formats=FORMATS) as image:
                image.seek(place)
                mode = image.mode
                raw = read_ppm(file) if image.format == "PPM" and mode in _MODES else None
                pixels = turned(np.asarray(image), orientation_of(image)) if raw is None else raw[0][..., 0]
                if mode == "P":
                    _look_for_levels(image, pixels, path)
    if pixels.dtype.itemsize == 8 and mode == "I" and (np.abs(pixels) >= 2**31).any():
        raise ValueError(
            f"{path} must have ids below {2**31}, got {pixels.min()} to {pixels.max()}; correct those pixels"
        )
    if mode == "F":  # as ImageJ keeps more than 16 bits
        odd = pixels[(pixels != np.rint(pixels)) | (np.abs(pixels) >= 2**24)]
        if odd.size:
            raise ValueError(
                f"{path} must have whole numbers below {2**24} as ids, got {odd[0]} ({odd.size} pixels); "
                "correct those pixels, or give the map of ids if this is another"
            )
    elif mode not in _MODES:
        raise ValueError(
            f"{path} must have one channel of 8 or 16 bits whose values are ids, got mode {mode}; "
            "save the ids as greyscale, not as colors"
        )
    if num_pages > 1 and page is None:
        text = f"has {num_pages} pages, of which the first is read; {remedy}"
        warnings.warn(ImageWarning(path, text, "pages of a map"), stacklevel=2)
    return pixels.astype(np.int32)


def _look_for_levels(image: Image.Image, indices: NDArray[Any], path: str | os.PathLike[str]) -> None:
    """Warn of a palette of greys whose levels may be the ids, as where a program packed greyscale.

    Of two colors, the first of which is black, either means the same regions.
    """
    used = np.unique(indices)
    palette = np.array(image.getpalette() or (), np.uint8).reshape(-1, 3)
    if used[-1] >= len(palette):
        return
    colors = palette[used]
    levels = colors[:, 0]
    if (colors != levels[:, None]).any() or (levels == used).all():
        return
    if len(used) > 2 or (used[0] == 0 and levels[0] > 0):
        odd = int(np.argmax(levels != used))
        text = (
            f"has a palette of greys whose levels are not the numbers of its colors, such as {levels[odd]} "
            f"for {used[odd]}; the numbers are read: if the levels are the ids, save it as greyscale"
        )
        warnings.warn(ImageWarning(path, text, "grey palettes"), stacklevel=3)


def only_map(paths: Sequence[Path], picture: str) -> Path:
    """Return the label map of a picture: the first, where all others have the same values, with a warning.

    Args:
        paths: label maps that are there, one at least.
        picture: name of the picture.

    Raises:
        ValueError: there are several that differ.
    """
    if len(paths) == 1:
        return paths[0]
    names = shortened([path.name for path in paths], 4)
    try:
        first, *others = map(read_id_map, paths)
        are_equal = all(np.array_equal(first, other) for other in others)
    except ValueError:  # one is no label map
        are_equal = False
    if not are_equal:
        raise ValueError(
            f"{picture} must have one label map, got {names} in {paths[0].parent}; take away "
            "all but the right one"
        )
    text = f"is one of several equal label maps, {names}: it is read, the others are not"
    warnings.warn(ImageWarning(paths[0], text, "equal maps"), stacklevel=3)
    return paths[0]
