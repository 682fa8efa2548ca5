"""LabelMe: a JSON beside each picture, with the shapes that were drawn on it.

Source:
    labelme, `LabelFile` and `utils/shape.py`: later shapes lie on top; (label, group_id) is one object; the
    label __ignore__ is void, _background_ is the background.
"""

import base64
import binascii
import io
import math
import tempfile
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.convert.outlines import Ring, ellipse, rectangle, ring
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.shapes import LabeledImage, LeftOut, Shape, shapes_to_convert
from axial_deeplab.data.convert.source_files import any_json, files_of, folder_of
from axial_deeplab.data.images import DAMAGED, FORMATS, damage
from axial_deeplab.panoptic.json_entries import field, load_json
from axial_deeplab.panoptic.png import check_checksums

TITLE = "a LabelMe folder"


def recognize(source: Path) -> bool:
    """Tell whether a file or folder is of this kind."""
    return any_json(source, _is_labelme)


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read a file or a folder of files."""
    root = options.images or folder_of(source)
    photos, left_out = Photos(root), LeftOut(source)
    inside = None if options.scratch is None else Path(tempfile.mkdtemp(dir=options.scratch))
    images = []
    for path in files_of(source, ".json"):
        document = load_json(path)
        if not _is_labelme(document):
            left_out.add("JSON files of another kind", path.name)
            continue
        name = field(document, "imagePath", str, f"{path}:")
        folder = PurePosixPath(path.relative_to(folder_of(source)).parent.as_posix())
        own = document.get("imageData")
        if isinstance(own, str) and inside is not None and not photos.knows(name):
            photo = _unpacked(own, inside / folder / path.stem, path)
            file_name = photo.relative_to(inside).as_posix()
        else:
            photo = photos.find((folder / name).as_posix(), str(path))
            file_name = photos.file_name(photo)
        shapes = [
            shape
            for place, entry in enumerate(field(document, "shapes", list, f"{path}:"))
            if (shape := _shape(entry, f"{path}: shapes[{place}]", options, left_out)) is not None
        ]
        size = None
        if document.get("imageHeight") is not None and document.get("imageWidth") is not None:
            size = (
                field(document, "imageHeight", int, f"{path}:"),
                field(document, "imageWidth", int, f"{path}:"),
            )
        images.append(LabeledImage(photo, file_name, shapes, path, size))
    left_out.warn()
    photos.warn_of_others(source)
    return shapes_to_convert(images, options, source, in_order=True)


def _is_labelme(document: Any) -> bool:
    return isinstance(document, dict) and "shapes" in document and "imagePath" in document


def _unpacked(text: str, stem: Path, source: Path) -> Path:
    """Write the picture that a file holds itself, and return its path.

    Raises:
        ValueError: it is no picture.
    """
    try:
        content = base64.b64decode(text, validate=True)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.load()
            suffix = f".{image.format}".lower()
    except (binascii.Error, *DAMAGED) as error:
        raise ValueError(
            f"{source}: imageData must be a picture in base64, got: {damage(error)}; add "
            "the file of imagePath"
        ) from None
    path = stem.with_name(stem.name + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _shape(entry: Any, where: str, options: ReadOptions, left_out: LeftOut) -> Shape | None:
    label = field(entry, "label", str, where)
    where = f"{where} ({label!r})"
    if not label:
        raise ValueError(f"{where} label must be a text, got an empty one; name it")
    name = {"__ignore__": None, "_background_": options.background}.get(label, label)
    group = entry.get("group_id")
    if group == "":  # as scripts write what has none
        group = None
    if group is not None:
        group = field(entry, "group_id", (int, str), where)
    kind = entry.get("shape_type") or "polygon"
    points = ring(field(entry, "points", list, where), where)
    if kind in ("line", "linestrip", "point", "points"):
        left_out.add("points and lines, which have no area,", where)
        return None
    if kind == "mask":
        _require(len(points) == 2, where, kind, "two points", points)
        (left, top), (right, bottom) = points.astype(int).tolist()
        pixels = partial(_mask, field(entry, "mask", str, where), (bottom - top + 1, right - left + 1), where)
        return Shape(name, where, mask=pixels, corner=(top, left), part_of=group)
    outline = _outline(kind, points, where, left_out)
    return None if outline is None else Shape(name, where, (outline,), part_of=group)


def _outline(kind: Any, points: Ring, where: str, left_out: LeftOut) -> Ring | None:
    # X-AnyLabeling's rectangles have all their corners, and may be turned ("rotation").
    if kind in ("polygon", "oriented_rectangle", "rotation") or (kind, len(points)) == ("rectangle", 4):
        return left_out.polygon(points, where)
    _require(kind in ("rectangle", "circle"), where, "shape_type", "polygon, rectangle, circle or mask", kind)
    _require(len(points) == 2, where, kind, "two points", points)
    (x0, y0), (x1, y1) = points.tolist()
    if kind == "rectangle":
        return rectangle(x0, y0, x1, y1, where=where)
    radius = math.hypot(x1 - x0, y1 - y0)
    return ellipse(x0, y0, radius, radius, where=where)


def _require(fits: bool, where: str, what: str, rule: str, got: Any) -> None:
    if not fits:
        told = f"{len(got)}" if isinstance(got, np.ndarray) else repr(got)
        raise ValueError(f"{where} {what} must have {rule}, got {told}; correct or remove it")


def _mask(text: str, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Decode a PNG in base64."""
    try:
        content = base64.b64decode(text, validate=True)
        check_checksums(content)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            pixels = np.asarray(image.convert("L")) > 0
    except (binascii.Error, *DAMAGED) as error:
        raise ValueError(f"{where} mask must be a PNG in base64, got: {error}; draw it again") from None
    _require(
        pixels.shape == size,
        where,
        "mask",
        f"the size of its box, {size[0]} x {size[1]} pixels",
        pixels.shape,
    )
    return pixels
