"""panopticapi's two-channel PNG: the class in red, the number of the segment in green.

Source:
    panopticapi, `converters/2channels2panoptic_coco_format.py`: class 0 is void, unless `--void` names
    another; equal class and number are one segment, 0 is a number like others. The classes are in a JSON of
    their own.
"""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.convert.pairs import (
    MappedImage,
    Maps,
    channels_of_first,
    maps_to_images,
    misfit_of_first,
    read_channels,
)
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.source_files import part_of
from axial_deeplab.data.image_files import list_files

TITLE = "a folder of two-channel PNG files"


def recognize(source: Path) -> bool:
    """Tell whether a folder may be of this kind: no blue in the first files, which may have no instance."""
    if not source.is_dir():
        return False
    values = channels_of_first(list_files(source, (".png",), recursive=True), 3)
    return values is not None and not values[:, 2].any()


def misfit(source: Path) -> str | None:
    """Return what is wrong with the first maps of a folder that is not of this kind."""
    return misfit_of_first(list_files(source, (".png",), recursive=True), _channels)


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read a folder of maps.

    Raises:
        ValueError: the categories are not given, a map is damaged, or an option has no effect.
        OSError: a picture is missing.
    """
    if options.categories is None or options.images is None:
        raise ValueError(
            "--categories and --images must be given for two-channel PNG files, which name no classes and "
            "lie apart from the pictures, got one of them or none; add them"
        )
    options.refuse(TITLE, "thing", "attribute")  # with categories, others are refused already
    categories, void = options.with_background(options.categories), options.void_label
    background = options.background_of(categories)
    nothing = void if background is None or categories.has_id(void) else categories[background].id
    photos = Photos(options.images)
    images = []
    for path in list_files(source, (".png",), recursive=True):
        photo = photos.find_stem(path.relative_to(source).with_suffix("").as_posix(), str(path))
        part, page = part_of(path.relative_to(source)), options.reading.page
        read_maps = partial(_read, path, nothing, void)
        images.append(MappedImage(photo, photos.file_name(photo), path, read_maps, part, page))
    return maps_to_images(images, categories, void, source)


def _channels(path: Path) -> NDArray[np.int32]:
    values = read_channels(path, 3)
    if most := values[..., 2].max(initial=0):
        raise ValueError(
            f"{path} must have no blue, got {most}; give the two-channel PNG files, not pictures"
        )
    return values


def _read(path: Path, nothing: int, void: int) -> Maps:
    semantic, instances, _ = np.moveaxis(_channels(path), 2, 0)
    return np.where(semantic == void, np.int64(nothing), semantic), instances + 1
