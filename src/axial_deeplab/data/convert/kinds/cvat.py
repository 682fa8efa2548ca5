"""CVAT for images 1.1: one XML file with the shapes of all pictures.

Source:
    CVAT, docs "XML annotation format": a greater z_order lies on top, of equal ones the later; shapes of one
    label and group are one object; angles are degrees, clockwise; runs of a mask begin with those outside.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.convert.outlines import Ring, ellipse, rectangle
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.shapes import LabeledImage, LeftOut, Shape, shapes_to_convert
from axial_deeplab.data.convert.source_files import PARTS, files_of, folder_of
from axial_deeplab.data.convert.xml import read_xml
from axial_deeplab.util.text import LONGEST_SIDE, clipped

TITLE = "a CVAT for images export"

_LINES = ("skeleton", "points", "polyline", "cuboid", "tag")


def recognize(source: Path) -> bool:
    """Tell whether a file or folder is of this kind."""
    return bool(_files(source))


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read annotations.xml, or a folder with it."""
    photos, left_out = Photos(options.images or folder_of(source)), LeftOut(source)
    images, names = [], []
    for path in _files(source):
        root = read_xml(path)
        if root.find("track") is not None:
            raise ValueError(
                f"{path} must be of images, got the tracks of a video; export CVAT for images 1.1"
            )
        labels = root.findall("meta//labels/label")
        known = {label.findtext("name") for label in labels}
        names += [name for label in labels if (name := label.findtext("name")) and _has_area(label)]
        for entry in root.iterfind("image"):
            name = entry.get("name") or ""
            # Pictures of two subsets, each a folder, may have one name; frames of a video have no suffix.
            placed = f"{entry.get('subset')}/{name}" if entry.get("subset") else name
            photo = (photos.find if photos.knows(name) else photos.find_stem)(placed, str(path))
            height, width = (int(_number(entry, key, f"{path}: {name}")) for key in ("height", "width"))
            shapes = []
            for place, child in enumerate(entry):
                where = f"{path}: {name}: {child.tag} {place + 1}"
                if shape := _shape(child, where, (height, width), known, left_out):
                    shapes.append((_number(child, "z_order", where, "0"), shape))
            shapes.sort(key=lambda pair: pair[0])
            ordered = [shape for _, shape in shapes]
            part = PARTS.get((entry.get("subset") or "").lower(), "")
            file_name = photos.file_name(photo)
            images.append(LabeledImage(photo, file_name, ordered, path, (height, width), part))
    left_out.warn()
    photos.warn_of_others(source)
    return shapes_to_convert(images, options, source, names=names, in_order=True)


def _files(source: Path) -> list[Path]:
    """Return the files that begin as CVAT writes them, before anything is parsed."""
    found = []
    for path in files_of(source, ".xml"):
        with path.open("rb") as file:
            start = file.read(4000).replace(b"\0", b"")  # of 16 bits a character, as some programs save it
        if b"<annotations>" in start and (b"<version>" in start or b"<image " in start):
            found.append(path)
    return found


def _has_area(label: Element) -> bool:
    """Tell whether a shape of a label may have an area: those of skeletons and their points never have."""
    return label.find("parent") is None and label.findtext("type") not in _LINES


def _shape(
    entry: Element, where: str, size: tuple[int, int], known: Collection[str | None], left_out: LeftOut
) -> Shape | None:
    if entry.tag == "tag":
        return None
    label = entry.get("label")
    if not label:
        raise ValueError(f"{where} label must be a class, got {label!r}; correct the file")
    if known and label not in known:
        raise ValueError(
            f"{where} label must be one of the labels of the file, got {clipped(label)}; correct it, or "
            "add it to <labels>"
        )
    where = f"{where} ({label!r})"
    part_of = int(_number(entry, "group_id", where, "0")) or None
    if entry.tag == "mask":
        left, top, width, height = (
            int(_number(entry, key, where)) for key in ("left", "top", "width", "height")
        )
        pixels = _unpacked(entry.get("rle") or "", (height, width), where)
        if min(left, top) < 0 or left + width > size[1] or top + height > size[0]:
            raise ValueError(
                f"{where} must lie in the picture of {size[0]} x {size[1]} pixels, got a mask of {height} x "
                f"{width} at top {top} and left {left}; export it again"
            )
        return Shape(label, where, mask=lambda: pixels, corner=(top, left), part_of=part_of)
    outline = _outline(entry, where, left_out)
    return None if outline is None else Shape(label, where, (outline,), part_of=part_of)


def _outline(entry: Element, where: str, left_out: LeftOut) -> Ring | None:
    turned = _number(entry, "rotation", where, "0")
    if entry.tag == "polygon":
        try:
            pairs: Any = [
                [float(x) for x in pair.split(",")] for pair in (entry.get("points") or "").split(";") if pair
            ]
        except ValueError:
            pairs = entry.get("points")
        return left_out.polygon(pairs, where)
    if entry.tag == "box":
        left, top, right, bottom = (_number(entry, key, where) for key in ("xtl", "ytl", "xbr", "ybr"))
        if right < left or bottom < top:
            raise ValueError(
                f"{where} xbr and ybr must not be less than xtl and ytl, got {left:g}, {top:g} to {right:g}, "
                f"{bottom:g}; correct the file"
            )
        return rectangle(left, top, right, bottom, turned, where=where)
    if entry.tag == "ellipse":
        x, y, radius_x, radius_y = (_number(entry, key, where) for key in ("cx", "cy", "rx", "ry"))
        return ellipse(x, y, radius_x, radius_y, turned, where=where)
    left_out.add("points, lines and cuboids, which have no area,", where)
    return None


def _number(entry: Element, key: str, where: str, missing: str = "") -> float:
    text = entry.get(key, missing)
    try:
        value = float(text)
        if not abs(value) < 1e9:
            raise ValueError
    except ValueError:
        raise ValueError(f"{where} {key} must be a number, got {clipped(text)}; correct the file") from None
    return value


def _unpacked(text: str, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    try:
        runs = [int(word) for word in text.split(",")]
    except ValueError:
        runs = [-1]
    if not 1 <= min(size) <= max(size) <= LONGEST_SIDE or min(runs) < 0 or sum(runs) != size[0] * size[1]:
        raise ValueError(
            f"{where} rle must be the lengths of runs over {size[0]} x {size[1]} pixels, got "
            f"{clipped(text)}; correct the file"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size)
