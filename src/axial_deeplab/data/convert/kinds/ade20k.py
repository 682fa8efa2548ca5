"""ADE20K, the full data set of 2021: classes and instances in a_seg.png, names in a.json.

Source:
    CSAILVision/ADE20K, `utils/utils_ade20k.py`: the class is red / 10 * 256 + green, the instance is blue;
    the JSON, in Latin-1, names the class of each index. Parts of objects are left out.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from axial_deeplab.data.convert.pairs import MappedImage, Maps, maps_to_images, read_channels
from axial_deeplab.data.convert.panoptic_from import NO_CATEGORY
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.image_files import list_files
from axial_deeplab.panoptic.json_entries import field
from axial_deeplab.util.files import bytes_of

TITLE = "ADE20K"

_ENDING = "_seg.png"


def recognize(source: Path) -> bool:
    """Tell whether a folder is of this kind."""
    return source.is_dir() and any(_json(path).is_file() for path in _maps(source)[:8])


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read a folder of pictures with their maps and JSON files, and its subfolders."""
    maps = _maps(source)
    names: dict[int, str] = {}
    for path in maps:
        names |= _names(_json(path))
    categories = options.label_space(sorted(set(names.values())), source)
    background = options.background_of(categories)
    id_of_name = {category.name: category.id for category in categories}
    ids = {index: id_of_name[name] for index, name in names.items()}
    ids[0] = NO_CATEGORY if background is None else categories[background].id
    photos = Photos(options.images or source, endings=("_seg",))
    images = []
    for path in maps:
        name = path.relative_to(source).as_posix().removesuffix(_ENDING)
        photo = photos.find_stem(name, str(path))
        read_maps, page = partial(_read, path, ids), options.reading.page
        images.append(MappedImage(photo, photos.file_name(photo), path, read_maps, page=page))
    return maps_to_images(images, categories, NO_CATEGORY, source)


def _maps(source: Path) -> list[Path]:
    return [path for path in list_files(source, (".png",), recursive=True) if path.name.endswith(_ENDING)]


def _json(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(_ENDING) + ".json")


def _names(path: Path) -> dict[int, str]:
    try:
        document: Any = json.loads(bytes_of(path).decode("latin-1"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} must be a JSON file, got {error}; unpack it again") from None
    objects = field(field(document, "annotation", dict, f"{path}:"), "object", list, f"{path}: annotation")
    found = {}
    for place, entry in enumerate(objects):
        where = f"{path}: object[{place}]"
        parts = field(entry, "parts", dict, where)
        if not parts.get("part_level"):
            found[int(field(entry, "name_ndx", int, where))] = str(field(entry, "name", str, where))
    return found


def _read(path: Path, ids: dict[int, int]) -> Maps:
    values = read_channels(path, 3)
    indices = values[..., 0] // 10 * 256 + values[..., 1]
    present, inverse = np.unique(indices, return_inverse=True)
    for index in present.tolist():
        if index not in ids:
            raise ValueError(
                f"{path} must have only classes that its JSON names, got {index}; unpack it again"
            )
    semantic = np.array([ids[index] for index in present.tolist()], np.int64)[inverse.reshape(indices.shape)]
    return semantic, values[..., 2] + 1
