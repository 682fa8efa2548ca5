"""deeplab2's PNG of KITTI-STEP: the class in red, the number of the instance in green and blue.

Source:
    deeplab2, `data/build_step_data.py`, `data/dataset.py` and `data/utils/create_step_panoptic_maps.py`: the
    classes are Cityscapes' train ids, of which person and car alone are things; 255 is void; a thing with
    number 0 is a crowd. MOTChallenge-STEP has the same files with seven classes, of which persons alone are
    numbered, which tells it.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from axial_deeplab.data.convert.pairs import (
    MappedImage,
    Maps,
    channels_of_first,
    maps_to_images,
    read_channels,
)
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.source_files import part_of
from axial_deeplab.data.image_files import list_files
from axial_deeplab.data.labels.cityscapes import CATEGORIES as CITYSCAPES
from axial_deeplab.panoptic.categories import Categories

TITLE = "a folder of KITTI-STEP's or MOTChallenge-STEP's panoptic maps"

CATEGORIES = Categories(
    replace(category, id=train_id, is_thing=category.name in ("person", "car"))
    for train_id, category in enumerate(CITYSCAPES)
)
_OF_MOTCHALLENGE = ("sidewalk", "building", "vegetation", "sky", "person", "rider", "bicycle")
MOTCHALLENGE = Categories(
    replace(CATEGORIES[CATEGORIES.names.index(name)], id=number, is_thing=name == "person")
    for number, name in enumerate(_OF_MOTCHALLENGE)
)
_FOLDER, _VOID = "panoptic_maps", 255


def recognize(source: Path) -> bool:
    """Tell whether a folder is of this kind."""
    return _root(source).is_dir() and bool(list_files(_root(source), (".png",), recursive=True))


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read panoptic_maps, or the folder that has it."""
    # What is void (255) was not labeled, so that it is no background.
    options.refuse(TITLE, "background", "thing", "stuff", "things", "attribute")
    root = _root(source)
    maps = list_files(root, (".png",), recursive=True)
    categories = options.categories or _categories_of(maps)
    # Of these label spaces the ids are the train ids.
    numbered = None if options.categories else frozenset(categories.thing_ids)
    photos = Photos(options.images or root.parent, exclude=(_FOLDER,))
    images = []
    for path in maps:
        photo = photos.find_stem(path.relative_to(root).with_suffix("").as_posix(), str(path))
        part, page = part_of(path.relative_to(root)), options.reading.page
        read_maps = partial(_read, path, numbered)
        images.append(MappedImage(photo, photos.file_name(photo), path, read_maps, part, page))
    return maps_to_images(images, categories, _VOID, source)


def _root(source: Path) -> Path:
    return source if source.name == _FOLDER else source / _FOLDER


def _categories_of(maps: list[Path]) -> Categories:
    values = channels_of_first(maps[:: max(1, len(maps) // 3)], 3)
    numbered = () if values is None else np.unique(values[values[:, 1:].any(axis=1), 0])
    return MOTCHALLENGE if tuple(numbered) == MOTCHALLENGE.thing_ids else CATEGORIES


def _read(path: Path, numbered: frozenset[int] | None) -> Maps:
    """Return both maps of a file; instances of other classes than those that are numbered are refused."""
    values = read_channels(path, 3)
    semantic, instances = values[..., 0], values[..., 1] << 8 | values[..., 2]
    if numbered is not None:
        others = sorted(set(np.unique(semantic[instances > 0]).tolist()) - numbered - {_VOID})
        if others:
            raise ValueError(
                f"{path} must have numbers of instances in the classes {sorted(numbered)} alone, got some in "
                f"{others}, as files of other classes have; give those with --categories FILE"
            )
    return semantic, instances
