"""Pictures with maps of classes and instances, whatever a tool calls them, as images to convert."""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.convert.panoptic_from import panoptic_from_maps
from axial_deeplab.data.convert.read_options import ToConvert
from axial_deeplab.data.convert.unwritten import UnwrittenImage
from axial_deeplab.data.images import naming_damage, picture_size
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import IntArray, Panoptic
from axial_deeplab.panoptic.png import open_map

Maps = tuple[IntArray | None, IntArray]


class MappedImage(NamedTuple):
    """A picture with its maps.

    Args:
        path: image file.
        file_name: path of the image in the data set that is written.
        source: the file that messages name.
        read: gives category ids (H, W), None for one class, and numbers of instances (H, W), 0 for none.
        part: see `UnwrittenImage`.
        page: see `UnwrittenImage`.
    """

    path: Path
    file_name: str
    source: Path
    read: Callable[[], Maps]
    part: str = ""
    page: int | None = None


def maps_to_images(
    images: Sequence[MappedImage], categories: Categories, void: int | None, source: Path
) -> ToConvert:
    """Return pictures with maps as images to convert.

    Args:
        images: what a reader found.
        categories: the label space.
        void: id in the maps of categories that means void; None for no such id.
        source: what messages call the files.

    Raises:
        ValueError: there is no image.
    """
    if not images:
        raise ValueError(f"{source} must have an annotated image, got none; annotate some")
    draw = partial(_draw, categories=categories, void=void)
    unwritten = []
    for i in images:
        beside = i.source if i.source.parent == i.path.parent else None
        unwritten.append(
            UnwrittenImage(i.path, i.file_name, partial(draw, i), page=i.page, part=i.part, annotation=beside)
        )
    return unwritten, categories


def _draw(image: MappedImage, *, categories: Categories, void: int | None) -> Panoptic:
    semantic, instances = image.read()
    size = instances.shape[0], instances.shape[1]
    picture_size(image.path, size=size, page=image.page)  # Refuses other sizes.
    return panoptic_from_maps(semantic, instances, categories, void_label=void, source=image.source)


def read_channels(path: Path, number: int) -> NDArray[np.int32]:
    """Read the values (H, W, number) of a PNG whose channels are numbers, not colors.

    Raises:
        ValueError: the file is damaged, or has other channels.
        OSError: it cannot be opened.
    """
    with open_map(path) as file, naming_damage(path, "a complete PNG of numbers", "export it again"):
        image = Image.open(file, formats=["PNG"])
        values = np.asarray(image)
    if values.dtype != np.uint8 or values.shape[2:] != (number,):
        raise ValueError(
            f"{path} must be a PNG of {number} channels of 8 bits, got mode {image.mode}; give the "
            "maps, not pictures"
        )
    return values.astype(np.int32)


def channels_of_first(paths: Sequence[Path], number: int) -> NDArray[np.int32] | None:
    """Return the values (N, number) of the first maps, to tell their kind; None if none is such a map."""
    found = []
    for path in paths[:3]:
        with contextlib.suppress(ValueError, OSError):  # what is damaged is told where it is read
            found.append(read_channels(path, number).reshape(-1, number))
    return np.concatenate(found) if found else None


def misfit_of_first(paths: Sequence[Path], read: Callable[[Path], object]) -> str | None:
    """Return what is wrong with the first maps, by which their kind is told; None if nothing is."""
    for path in paths[:3]:
        try:
            read(path)
        except ValueError as error:
            return str(error)
    return None
