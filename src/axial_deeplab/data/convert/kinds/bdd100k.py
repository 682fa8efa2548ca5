"""BDD100K's bit masks: the class in red, flags in green, the number in blue and alpha.

Source:
    bdd100k, doc/source/format.rst and `label/label.py`: class 0 is the background; of the flags 1 means
    ignored, here void, and 2 a crowd.
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
from axial_deeplab.data.convert.panoptic_from import NO_CATEGORY
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.source_files import part_of
from axial_deeplab.data.image_files import list_files
from axial_deeplab.data.labels.bdd100k import INSTANCES, PANOPTIC

TITLE = "a folder of BDD100K's bit masks"

_IGNORED, _CROWD = 1, 2


def recognize(source: Path) -> bool:
    """Tell whether a folder is of this kind."""
    if not source.is_dir():
        return False
    maps = _maps(source)
    values = channels_of_first(maps, 4)
    return values is not None and bool(
        (values[:, 0] <= max(PANOPTIC.ids)).all() and (values[:, 1] < 16).all()
    )


def misfit(source: Path) -> str | None:
    """Return what is wrong with the first maps of a folder that is not of this kind."""
    return misfit_of_first(_maps(source), _channels)


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read a folder of bit masks."""
    options.refuse(TITLE, "thing", "stuff", "things", "attribute")
    maps = _maps(source)
    photos = Photos(options.images or source, exclude=("bitmasks",))
    is_panoptic = "pan_seg" in (*source.resolve().parts, *maps[0].relative_to(source).parts)
    categories = options.with_background(options.categories or (PANOPTIC if is_panoptic else INSTANCES))
    background_id = options.background_of(categories)
    nothing = NO_CATEGORY if background_id is None else categories[background_id].id
    images = []
    for path in maps:
        photo = photos.find_stem(path.relative_to(source).with_suffix("").as_posix(), str(path))
        read_maps = partial(_read, path, nothing)
        part, page = part_of(path.relative_to(source)), options.reading.page
        images.append(MappedImage(photo, photos.file_name(photo), path, read_maps, part, page))
    return maps_to_images(images, categories, NO_CATEGORY, source)


def _maps(source: Path) -> list[Path]:
    files = list_files(source, (".png",), recursive=True)
    return [path for path in files if "bitmasks" in path.parts] or files


def _channels(path: Path) -> NDArray[np.int32]:
    values = read_channels(path, 4)
    for name, channel, limit in (("classes", 0, max(PANOPTIC.ids)), ("flags", 1, 15)):
        if (most := values[..., channel].max(initial=0)) > limit:
            raise ValueError(
                f"{path} must have {name} up to {limit} in {('red', 'green')[channel]}, got {most}; give the "
                "bit masks, not pictures"
            )
    return values


def _read(path: Path, nothing: int) -> Maps:
    category, flags, high, low = np.moveaxis(_channels(path), 2, 0)
    semantic = np.where(category == 0, np.int64(nothing), category)
    semantic = np.where(flags & _IGNORED, NO_CATEGORY, semantic)
    # Instances keep their number, from 1 on so that none is a crowd by chance.
    return semantic, np.where(flags & _CROWD, 0, (high << 8 | low) + 1).astype(np.int32)
