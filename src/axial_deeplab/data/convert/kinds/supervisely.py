"""Supervisely: a project of data sets, with a JSON for each picture.

Source:
    Supervisely, "JSON annotation format": later objects lie on top; polygons have holes; a bitmap is a PNG,
    compressed, in base64, at its origin. Its labeling tool has edges of pixels; its package, which downloads
    projects, makes whole numbers of them, which are pixels (supervisely 6.74.51,
    `_to_pixel_coordinate_system_json`): the corners of a polygon become the pixels that they lie in, the last
    row and column of a rectangle belong to it.
"""

import base64
import binascii
import io
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.convert.outlines import Ring, rectangle, ring
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.shapes import (
    LabeledImage,
    LeftOut,
    Shape,
    shapes_to_convert,
    warn_of_repeated,
)
from axial_deeplab.data.convert.source_files import files_of, folder_of
from axial_deeplab.data.images import DAMAGED
from axial_deeplab.panoptic.json_entries import field, list_of, load_json

TITLE = "a Supervisely project"

# Bytes of a bitmap, unpacked: a PNG larger than that is none of a picture.
_LARGEST = 2**28


def recognize(source: Path) -> bool:
    """Tell whether a folder is of this kind."""
    return source.is_dir() and (source / "meta.json").is_file() and any(source.glob("*/ann"))


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read the folder of a project."""
    photos, left_out = Photos(options.images or folder_of(source), exclude=("ann",)), LeftOut(source)
    meta = source / "meta.json"
    classes = list_of(load_json(meta), "classes", meta)
    names = [field(entry, "title", str, f"{meta}: classes[{place}]") for place, entry in enumerate(classes)]
    warn_of_repeated(names, meta)
    images = []
    for path in files_of(source, ".json"):
        if path.parent.name != "ann":
            continue
        document = load_json(path)
        photo = photos.find(f"{path.parent.parent.name}/img/{path.stem}", str(path))
        size = field(document, "size", dict, f"{path}:")
        height, width = (field(size, key, int, f"{path}: size") for key in ("height", "width"))
        shapes = [
            shape
            for place, entry in enumerate(list_of(document, "objects", path))
            if (shape := _shape(entry, f"{path}: objects[{place}]", left_out)) is not None
        ]
        images.append(LabeledImage(photo, photos.file_name(photo), shapes, path, (height, width)))
    left_out.warn()
    return shapes_to_convert(images, options, source, names=names, in_order=True)


def _shape(entry: Any, where: str, left_out: LeftOut) -> Shape | None:
    name = field(entry, "classTitle", str, where)
    where = f"{where} ({name!r})"
    kind = field(entry, "geometryType", str, where)
    # A key that objects share says that they are one, on several pictures or on one.
    part_of = entry.get("objectKey") or entry.get("instance") or None
    if not isinstance(part_of, str | None):
        raise ValueError(f"{where} instance must be a text, got {part_of!r}; correct the file")
    if kind in ("bitmap", "alpha_mask"):
        bitmap = field(entry, "bitmap", dict, where)
        corner = field(bitmap, "origin", list, where)
        if len(corner) != 2 or not all(isinstance(value, int) for value in corner):
            raise ValueError(f"{where} origin must be x and y, got {corner!r}; correct the file")
        pixels = partial(_bitmap, field(bitmap, "data", str, where), where)
        return Shape(name, where, mask=pixels, corner=(corner[1], corner[0]), part_of=part_of)
    if kind not in ("polygon", "rectangle", "multipolygon"):
        left_out.add("objects that are no polygon, rectangle or bitmap", where)
        return None
    is_one = kind != "multipolygon"
    parts = [field(entry, "points", dict, where)] if is_one else field(entry, "parts", list, where)
    lines = [line for part in parts for line in _lines(part, kind, where, left_out)]
    if not lines:
        return None
    if kind != "rectangle":
        return Shape(name, where, tuple(lines), part_of=part_of)
    (left, top), (right, bottom) = np.sort(lines[0][:2], axis=0)
    if _are_pixels(lines):  # the last pixels belong to it
        right, bottom = right + 1, bottom + 1
    return Shape(name, where, (rectangle(left, top, right, bottom, where=where),), part_of=part_of)


def _lines(part: Any, kind: str, where: str, left_out: LeftOut) -> list[Ring]:
    """Return the outline and the holes of a polygon; whole numbers are pixels, whose centers are meant."""
    points = field(part, "exterior", list, where)
    exterior = ring(points, where) if kind == "rectangle" else left_out.polygon(points, where)
    if exterior is None:
        return []
    if kind == "rectangle":
        if len(exterior) < 2:
            raise ValueError(f"{where} exterior must have two points, got {len(exterior)}; remove it")
        return [exterior]
    lines = [exterior, *(ring(hole, where) for hole in field(part, "interior", list, where))]
    return [line + 0.5 for line in lines] if _are_pixels(lines) else lines


def _are_pixels(lines: Sequence[Ring]) -> bool:
    return all((line == np.rint(line)).all() for line in lines)


def _bitmap(text: str, where: str) -> NDArray[np.bool_]:
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), _LARGEST)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            has_alpha = image.has_transparency_data
            pixels = np.asarray(image.convert("RGBA"))
    except (binascii.Error, *DAMAGED) as error:
        raise ValueError(
            f"{where} bitmap must be a compressed PNG in base64, got: {error}; export it again"
        ) from None
    painted: NDArray[np.bool_] = pixels[..., 3] > 0 if has_alpha else pixels[..., 0] > 0
    return painted
