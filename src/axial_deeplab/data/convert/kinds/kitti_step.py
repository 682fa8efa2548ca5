"""deeplab2's PNG of KITTI-STEP: the class in red, the number of the instance in green and blue.

Source:
    deeplab2, `data/build_step_data.py` and `data/dataset.py`: the classes are Cityscapes' train ids, of which
    person and car alone are things; 255 is void; a thing with number 0 is a crowd.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from axial_deeplab.data.convert.pairs import MappedImage, Maps, maps_to_images, part_of, read_channels
from axial_deeplab.data.convert.shapes import Photos, ReadOptions, ToConvert
from axial_deeplab.data.image_files import list_files
from axial_deeplab.data.labels.cityscapes import CATEGORIES as CITYSCAPES
from axial_deeplab.panoptic.categories import Categories

TITLE = "the panoptic maps of KITTI-STEP"

CATEGORIES = Categories(
    replace(category, id=train_id, is_thing=category.name in ("person", "car"))
    for train_id, category in enumerate(CITYSCAPES)
)
_FOLDER, _VOID = "panoptic_maps", 255


def recognize(source: Path) -> bool:
    """Tell whether a folder is of this kind."""
    return _root(source).is_dir() and bool(list_files(_root(source), (".png",), recursive=True))


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read panoptic_maps, or the folder that has it.

    Raises:
        ValueError: a map is damaged or has other classes; the message names it.
        OSError: a picture is missing.
    """
    root = _root(source)
    photos = Photos(options.images or root.parent, exclude=(_FOLDER,))
    images = []
    for path in list_files(root, (".png",), recursive=True):
        photo = photos.find_stem(path.relative_to(root).with_suffix("").as_posix(), str(path))
        part, page = part_of(path, root), options.reading.page
        images.append(MappedImage(photo, photos.file_name(photo), path, partial(_read, path), part, page))
    return maps_to_images(images, options.categories or CATEGORIES, _VOID, source)


def _root(source: Path) -> Path:
    return source if source.name == _FOLDER else source / _FOLDER


def _read(path: Path) -> Maps:
    values = read_channels(path, 3)
    return values[..., 0], values[..., 1] << 8 | values[..., 2]
