"""Pascal VOC, and CVAT's "Segmentation mask 1.1": PNG files of classes and of objects in colors.

Source:
    VOC 2012 development kit: palette index or color 0 is the background, 255 or (224, 224, 192) is void.
    CVAT's labelmap.txt gives other colors: `name:r,g,b:parts:actions`.
"""

import warnings
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.convert.pairs import MappedImage, Maps, maps_to_images
from axial_deeplab.data.convert.panoptic_from import NO_CATEGORY
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.shapes import warn_of_repeated
from axial_deeplab.data.convert.source_files import text_of
from axial_deeplab.data.image_files import list_files
from axial_deeplab.data.images import FORMATS, naming_damage, picture_size
from axial_deeplab.panoptic.coco_json import check_size
from axial_deeplab.panoptic.png import open_map
from axial_deeplab.util.text import clipped, shortened

TITLE = "a Pascal VOC folder"

_CLASSES, _OBJECTS = "SegmentationClass", "SegmentationObject"
_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
)
_VOID, _VOID_COLOR = 255, 0xE0E0C0
_PARTS = ("train", "val", "test", "default")


def recognize(source: Path) -> bool:
    """Tell whether a folder is of this kind."""
    return source.is_dir() and _root(source) is not None


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read a folder with SegmentationClass, or one that has such a folder."""
    root = _root(source)
    assert root is not None
    classes = _classes(root)
    photos = Photos(options.images or root, exclude=(_CLASSES, _OBJECTS))
    categories = options.label_space(classes.names[1:], source)
    background = options.background_of(categories)
    id_of_name = {category.name: category.id for category in categories}
    ids = [NO_CATEGORY if background is None else categories[background].id]
    ids += [id_of_name[name] for name in classes.names[1:]]
    lists = {part: root / "ImageSets" / "Segmentation" / f"{part}.txt" for part in _PARTS}
    part_of = {
        stem: part for part, path in lists.items() if path.is_file() for stem in text_of(path).split() if stem
    }
    page = options.reading.page
    images, apart = [], []
    maps = list_files(root / _CLASSES, (".png",), recursive=True)
    stems = {path.relative_to(root / _CLASSES).with_suffix("").as_posix(): path for path in maps}
    # Tools write no map of a picture without objects.
    stems |= {stem: root / _CLASSES / f"{stem}.png" for stem in part_of if stem not in stems}
    for name, path in stems.items():
        photo = photos.find_stem(name, str(path))
        objects = root / _OBJECTS / path.relative_to(root / _CLASSES)
        read_maps = (
            partial(_read, path, objects, classes, np.array(ids))
            if path in maps
            else partial(_nothing, photo, ids[0], page)
        )
        apart += [path] if path in maps and not objects.is_file() else []
        part = part_of.get(name, "")
        images.append(MappedImage(photo, photos.file_name(photo), path, read_maps, part, page))
    if apart and categories.thing_ids:
        warnings.warn(
            f"{source}: {len(apart)} of {len(maps)} maps of {_CLASSES} have none of {_OBJECTS} "
            f"({shortened(apart, 1)}): what they have of things are crowds, which count nowhere; add those, "
            "or take the pictures away",
            stacklevel=2,
        )
    return maps_to_images(images, categories, NO_CATEGORY, source)


def _root(source: Path) -> Path | None:
    places = [source, *sorted(source.glob("*")), *sorted(source.glob("*/*"))]
    return next((place for place in places if (place / _CLASSES).is_dir()), None)


class _Classes(NamedTuple):
    """The names of the classes, the background first, and their colors where a file gives them."""

    names: tuple[str, ...]
    colors: tuple[int, ...] | None
    path: Path


def _classes(root: Path) -> _Classes:
    path = root / "labelmap.txt"
    if not path.is_file():
        return _Classes(_NAMES, None, path)
    names, colors = ["background"], [0]
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, color, *_ = (*line.split(":"), "")
        if not color:  # as datumaro writes those of VOC
            color = ",".join(
                str(_color(len(names) if name != "background" else 0) >> shift & 255) for shift in (16, 8, 0)
            )
        try:
            red, green, blue = (int(value) for value in color.split(","))
            if ":" not in line or not 0 <= min(red, green, blue) <= max(red, green, blue) < 256:
                raise ValueError
        except ValueError:
            raise ValueError(
                f"{path}: line {number} must be name:red,green,blue, got {clipped(line)}; correct the file"
            ) from None
        code = red << 16 | green << 8 | blue
        if name == "background":
            colors[0] = code
        else:
            names.append(name)
            colors.append(code)
    warn_of_repeated(names, path)
    return _Classes(tuple(names), tuple(colors), path)


def _read(path: Path, objects: Path, classes: _Classes, ids: NDArray[np.int64]) -> Maps:
    indices, colors = _pixels(path)
    if classes.colors is not None or indices is None:
        palette = classes.colors or tuple(_color(index) for index in range(len(classes.names)))
        order = np.argsort(palette)
        places = np.searchsorted(np.array(palette)[order], colors).clip(max=len(palette) - 1)
        known = np.array(palette)[order][places] == colors
        odd = ~known & (colors != _VOID_COLOR)
        indices = np.where(known, order[places], _VOID)
        told = [f"({c >> 16}, {c >> 8 & 255}, {c & 255})" for c in colors[odd][:1].tolist()]
    else:
        odd = (indices >= len(classes.names)) & (indices != _VOID)
        told = indices[odd][:1].tolist()
    if told:
        raise ValueError(f"{path} must have only colors of classes, got {told[0]}; add it to {classes.path}")
    is_void = indices == _VOID
    instances = np.zeros(indices.shape, np.int32)
    if objects.is_file():
        numbers, object_colors = _pixels(objects)
        check_size(object_colors.shape, indices.shape, str(objects))
        values = object_colors if numbers is None else numbers
        is_void |= values == (_VOID_COLOR if numbers is None else _VOID)
        instances = values.astype(np.int32)
    semantic = np.where(is_void, NO_CATEGORY, ids[np.where(is_void, 0, indices)])
    return semantic, np.where(is_void, 0, instances).astype(np.int32)


def _nothing(photo: Path, background: int, page: int | None) -> Maps:
    shape = picture_size(photo, page=page)
    return np.full(shape, background, np.int64), np.zeros(shape, np.int32)


def _pixels(path: Path) -> tuple[NDArray[np.int64] | None, NDArray[np.int64]]:
    """Return the palette indices (H, W) if there are any, and the colors (H, W), each one number."""
    with open_map(path) as file, naming_damage(path, "a complete PNG of colors", "export it again"):
        image = Image.open(file, formats=FORMATS)
        indices = np.asarray(image).astype(np.int64) if image.mode in ("P", "L") else None
        rgb = np.asarray(image.convert("RGB")).astype(np.int64)
    return indices, rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]


def _color(index: int) -> int:
    """Return the color that VOC gives an index."""
    red = green = blue = 0
    for place in range(8):
        red |= (index >> 0 & 1) << 7 - place
        green |= (index >> 1 & 1) << 7 - place
        blue |= (index >> 2 & 1) << 7 - place
        index >>= 3
    return red << 16 | green << 8 | blue
