"""Label Studio: the JSON and JSON-MIN exports, with polygons, brushes, bitmasks, rectangles and ellipses.

Source:
    label-studio 1.23.2, what its window draws and its server exports, and label-studio-sdk,
    `converter/brush.py` and `converter/converter.py`: coordinates are percents of the picture, angles degrees
    about the upper left corner; later regions lie on top; uploaded pictures have eight hexadecimal digits in
    front of their names. A tag such as PolygonLabels draws and names a region; of Polygon and Labels, two
    tags, each writes an entry of the same region.
"""

import base64
import binascii
import io
import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.convert.outlines import Ring, ellipse, rectangle, turn
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.shapes import LabeledImage, LeftOut, Shape, shapes_to_convert
from axial_deeplab.data.convert.source_files import any_json, files_of, folder_of
from axial_deeplab.data.images import DAMAGED
from axial_deeplab.panoptic.json_entries import field, load_json
from axial_deeplab.panoptic.png import check_checksums
from axial_deeplab.util.text import clipped, shortened

TITLE = "a Label Studio JSON export"

_SIZE = ("original_width", "original_height")
_TURN_BACK = "its outlines, too: turn it back there, draw them again and export"
_KINDS = ("polygon", "brush", "bitmask", "rectangle", "ellipse")


def recognize(source: Path) -> bool:
    """Tell whether a file or folder is of this kind."""
    return any_json(source, _is_export)


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read an export, or a folder with one."""
    photos, left_out = Photos(options.images or folder_of(source)), LeftOut(source)
    images = []
    for path in files_of(source, ".json"):
        tasks = load_json(path, types=(list, dict))
        if not _is_export(tasks):
            continue
        is_min = "data" not in tasks[0]
        for place, task in enumerate(_tasks_of_min(tasks, path) if is_min else tasks):
            where = (
                f"{path}: task {task.get('id', place)}" if isinstance(task, dict) else f"{path}: [{place}]"
            )
            done = [
                entry
                for entry in field(task, "annotations", list, where)
                if isinstance(entry, dict) and not entry.get("was_cancelled")
            ]
            if not done:
                left_out.add("tasks without annotation", where)
                continue
            if len(done) > 1:
                left_out.add("tasks have several annotations, all but the first or the ground truth", where)
            chosen = next((entry for entry in done if entry.get("ground_truth")), done[0])
            regions = field(chosen, "result", list, where)
            if any(_is_turned(region) for region in regions):
                left_out.add(f"tasks whose picture was turned in the window ({_TURN_BACK})", where)
                continue
            shapes: dict[Path, list[_Region]] = {photo: [] for photo in _photos(task, regions, photos, where)}
            for number, names in _names(regions).items():
                called = regions[number]["place"] if is_min else f"result[{number}]"
                shape = _shape(regions[number], names, f"{where}: {called}", options, left_out)
                if shape:
                    shapes[_photo_of(regions[number], list(shapes), f"{where}: {called}")].append(shape)
            for photo, drawn in shapes.items():
                sizes = {each.size for each in drawn}
                if len(sizes) > 1:
                    raise ValueError(
                        f"{where} must be of one size, got {shortened(sorted(sizes))}; export it again"
                    )
                size = next(iter(sizes), None)
                images.append(
                    LabeledImage(photo, photos.file_name(photo), [e.shape for e in drawn], path, size)
                )
    left_out.warn()
    return shapes_to_convert(images, options, source, in_order=True)


class _Region(NamedTuple):
    """A shape, and the (height, width) in pixels of the picture that it was drawn on."""

    shape: Shape
    size: tuple[int, int]


def _is_export(document: Any) -> bool:
    first = document[0] if isinstance(document, list) and document else None
    return isinstance(first, dict) and (
        {"data", "annotations"} <= set(first) or {"annotator", "annotation_id"} <= set(first)
    )


def _tasks_of_min(records: list[Any], path: Path) -> list[dict[str, Any]]:
    """Return the records of JSON-MIN, one an annotation, as the tasks that the JSON export has.

    There the annotations of a task begin with the oldest, here with the latest.

    Raises:
        ValueError: a tag that draws has what is no region.
    """
    tasks: dict[Any, dict[str, Any]] = {}
    unordered = []
    records = [record if isinstance(record, dict) else {} for record in records]
    tags = _tags_of_min(records)
    for place, record in enumerate(records):
        number = record.get("id")
        where = f"{path}: task {place if number is None else number}"
        of_tags = {tag: _regions_of_min(record, tag, tag in tags, where) for tag in record}
        if (
            sum(any("labels" not in each for each in regions.values()) for regions in of_tags.values()) > 1
        ):  # Labels draws nothing
            unordered.append(f"[{place}]")
        results = [
            {"id": _place_of(each), "type": _kind_of(each), "value": each, "place": called}
            | {key: each.get(key) for key in _SIZE}
            for regions in of_tags.values()
            for called, each in regions.items()
        ]
        task = tasks.setdefault(
            number if isinstance(number, int) else f"[{place}]",
            {"id": number, "data": record, "annotations": []},
        )
        annotation = record.get("annotation_id")
        if annotation is not None or results:  # null of a task that nobody annotated
            task["annotations"].append({"id": annotation, "result": results})
    for task in tasks.values():
        task["annotations"].sort(key=lambda entry: entry["id"] if isinstance(entry["id"], int) else 0)
    if unordered:
        warnings.warn(
            f"{path}: {len(unordered)} annotations have regions of several tags ({shortened(unordered)}), "
            "whose order JSON-MIN does not keep: those of the later tag lie on top; export JSON if this is "
            "wrong",
            stacklevel=3,
        )
    return list(tasks.values())


def _tags_of_min(records: list[dict[str, Any]]) -> set[str]:
    """Return the names of the tags that draw: the columns of the task's own data may have anything."""
    return {
        tag
        for record in records
        for tag, values in record.items()
        if (isinstance(values, list) and any(map(_is_region, values)))
        or (tag in _KINDS and not isinstance(values, str))
    }


def _is_region(value: Any) -> bool:
    """Tell whether a value was drawn, also if it lacks the size; a box of the task's own data was not."""
    if not isinstance(value, dict):
        return False
    drawn_as, is_named = _drawn_as(value), any(key.endswith("labels") for key in value)
    if set(_SIZE) & set(value):
        return is_named or drawn_as != "other"
    return drawn_as != "other" and (is_named or drawn_as != "rectangle")


def _regions_of_min(record: dict[str, Any], tag: str, draws: bool, where: str) -> dict[str, dict[str, Any]]:
    """Return the regions of a tag by what messages call them, such as polygon[0]."""
    if draws:
        values = field(record, tag, list, where)
        for place, each in enumerate(values):
            if not isinstance(each, dict):
                raise ValueError(
                    f"{where}: {tag}[{place}] must be an object, got {clipped(each)}; export it again"
                )
    else:
        values = record[tag] if isinstance(record[tag], list) else []
    return {
        f"{tag}[{place}]": each
        for place, each in enumerate(values)
        if draws or (isinstance(each, dict) and set(_SIZE) <= set(each))
    }


def _place_of(value: dict[str, Any]) -> str:
    """Return what the entries of a region have in common, which JSON-MIN does not number."""
    place = {key: each for key, each in value.items() if not key.endswith("labels")}
    return json.dumps(place, sort_keys=True)


def _kind_of(value: dict[str, Any]) -> str:
    """Return the kind of a region that does not say it, "labels" for what may only name it."""
    named = next((key for key in value if key.endswith("labels")), "")
    return named or _drawn_as(value)


def _drawn_as(value: dict[str, Any]) -> str:
    if {"choices", "text", "rating", "number", "taxonomy", "datetime"} & set(value):
        return "other"  # what is said of a region, which has its place, too
    signs = {
        ("points",): "polygon",
        ("rle",): "brush",
        ("imageDataURL",): "bitmask",
        ("radiusX",): "ellipse",
        ("width", "height"): "rectangle",  # a point has a width, too
    }
    return next((kind for keys, kind in signs.items() if set(keys) <= set(value)), "other")


def _names(regions: list[Any]) -> dict[int, Any]:
    """Return the classes of regions by their places, but of entries that only name what another one draws."""
    ids: dict[int, str] = {}
    drawn: set[str] = set()
    named: dict[str, Any] = {}
    for place, region in enumerate(regions):
        if not isinstance(region, dict) or not isinstance(region.get("id"), str):
            continue
        number = ids[place] = region["id"]
        value = region.get("value")
        if str(region.get("type")).removesuffix("labels") in _KINDS:
            drawn.add(number)
        elif region.get("type") == "labels" and isinstance(value, dict):
            named.setdefault(number, value.get("labels"))
    return {
        place: named.get(ids.get(place, ""))
        for place, region in enumerate(regions)
        if ids.get(place) not in drawn or region.get("type") != "labels"
    }


def _is_turned(region: Any) -> bool:
    """Tell whether a region was drawn on a picture that the window showed turned."""
    return isinstance(region, dict) and region.get("image_rotation") not in (None, 0)


def _photos(task: Any, regions: list[Any], photos: Photos, where: str) -> list[Path]:
    """Return the picture of a task, or those of one that lists several, as its regions say."""
    data = field(task, "data", dict, where)
    single = [value for value in data.values() if isinstance(value, str) and "." in value]
    lists = [value for value in data.values() if isinstance(value, list) and value]
    several = any(isinstance(region, dict) and "item_index" in region for region in regions)
    for names in [*([] if several else [[name] for name in single]), *lists, *([name] for name in single)]:
        names = [_file_name(name) for name in names if isinstance(name, str)]
        if any(map(photos.knows, names)):
            found = [photos.find(name, where) for name in names]
            if len(set(found)) < len(found):
                raise ValueError(f"{where} must list each picture once, got {shortened(names)}; remove one")
            return found
    raise FileNotFoundError(
        f"{where}: its picture {shortened([clipped(each) for each in single or lists])} must be in "
        f"{photos.folder}, got none; add it, or give --images DIR"
    )


def _file_name(address: str) -> str:
    """Return the name of a file in the address of an upload or of local storage."""
    parts = urlparse(address)
    local = parse_qs(parts.query).get("d")
    return unquote(local[0] if local else parts.path)


def _photo_of(region: dict[str, Any], found: list[Path], where: str) -> Path:
    """Return the picture of a region among those of its task."""
    place = region.get("item_index")
    if place is None and len(found) == 1:
        return found[0]
    if type(place) is not int or not 0 <= place < len(found):
        raise ValueError(
            f"{where} item_index must be the place of one of {len(found)} pictures, got {clipped(place)}; "
            "export JSON, which has it"
        )
    return found[place]


def _shape(region: Any, named: Any, where: str, options: ReadOptions, left_out: LeftOut) -> _Region | None:
    kind = field(region, "type", str, where)
    value = region.get("value")
    if kind == "relation":
        left_out.add("relations between regions", where)
        return None
    if kind == "labels" and isinstance(value, dict):
        kind = _drawn_as(value)
    kind = kind.removesuffix("labels")
    if kind not in _KINDS or not isinstance(value, dict):
        left_out.add("regions that are no polygon, brush, bitmask, rectangle or ellipse", where)
        return None
    given = (value.get(f"{kind}labels"), value.get("labels"), named)
    names: Any = next((names for names in given if names not in (None, [])), [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(
            f"{where} {kind}labels must be a list of classes, got {clipped(names)}; correct the file"
        )
    if len(names) > 1:
        left_out.add("regions have several classes, all but the first", f"{where} {shortened(names)}")
    name = names[0] if names else options.thing_or_object
    where = f"{where} ({name!r})"
    height, width = (field(region, key, int, where) for key in ("original_height", "original_width"))
    if kind in ("brush", "bitmask"):
        unpack: Callable[[], NDArray[np.bool_]]
        if kind == "brush":
            unpack = partial(_unpacked, field(value, "rle", list, where), (height, width), where)
        else:
            unpack = partial(_painted, field(value, "imageDataURL", str, where), (height, width), where)
        return _Region(Shape(name, where, mask=unpack), (height, width))
    scale = np.array([width, height]) / 100
    outline = _outline(kind, value, scale, where, left_out)
    return None if outline is None else _Region(Shape(name, where, (outline,)), (height, width))


def _outline(
    kind: str, value: dict[str, Any], scale: NDArray[np.float64], where: str, left_out: LeftOut
) -> Ring | None:
    if kind == "polygon":
        line = left_out.polygon(field(value, "points", list, where), where)
        return None if line is None else line * scale
    keys = ("x", "y", "width", "height") if kind == "rectangle" else ("x", "y", "radiusX", "radiusY")
    x, y, a, b = (float(field(value, key, (int, float), where)) for key in keys)
    x, a, y, b = x * scale[0], a * scale[0], y * scale[1], b * scale[1]
    angle = 0.0 if value.get("rotation") is None else float(field(value, "rotation", (int, float), where))
    if kind == "rectangle":
        return turn(rectangle(x, y, x + a, y + b, where=where), angle, np.array([x, y]), where=where)
    return ellipse(x, y, a, b, angle, where=where)


def _unpacked(packed: list[Any], size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Unpack the runs of a brush: RGBA values, of which the last says what is painted."""
    try:
        if not all(type(byte) is int and 0 <= byte < 256 for byte in packed):
            raise ValueError("what is no whole number from 0 to 255")
        bits = "".join(f"{byte:08b}" for byte in packed)
        place = 0

        def number(length: int) -> int:
            nonlocal place
            place += length
            if place > len(bits):
                raise ValueError(f"{len(packed)} numbers, which end before the last of them")
            return int(bits[place - length : place], 2)

        total = number(32)
        if total != size[0] * size[1] * 4:
            raise ValueError(f"{total} values")
        length = number(5) + 1
        lengths = [number(4) + 1 for _ in range(4)]
        values = np.zeros(total, np.uint8)
        at = 0
        while at < total:
            is_run = number(1)
            end = at + 1 + number(lengths[number(2)])
            if end > total:
                raise ValueError("a run beyond the last of them")
            if is_run:
                values[at:end] = number(length)
            else:
                values[at:end] = [number(length) for _ in range(end - at)]
            at = end
        # Label Studio's own program adds a byte of zeros where none is begun.
        if len(bits) - place > 8 or "1" in bits[place:]:
            raise ValueError(f"{len(packed)} numbers, which go on behind the last of them")
    except ValueError as error:
        raise ValueError(
            f"{where} rle must be the packed RGBA values of {size[0]} x {size[1]} pixels, got: {error}; "
            "export it again"
        ) from None
    return values.reshape(*size, 4)[..., 3] > 0


def _painted(address: str, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Return the pixels of a bitmask, a PNG as the address of a page: what is not transparent is painted."""
    try:
        content = base64.b64decode(address.removeprefix("data:image/png;base64,"), validate=True)
        check_checksums(content)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.size != (size[1], size[0]):
                raise ValueError(f"one of {image.height} x {image.width}")
            pixels = np.asarray(image.convert("RGBA"))[..., 3] > 0
    except (binascii.Error, ValueError, *DAMAGED) as error:
        raise ValueError(
            f"{where} imageDataURL must be a PNG of {size[0]} x {size[1]} pixels in base64, got: {error}; "
            "export it again"
        ) from None
    return pixels
