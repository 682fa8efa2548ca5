"""Label Studio: the JSON and JSON-MIN exports, with polygons, brushes, rectangles and ellipses.

Source:
    label-studio-sdk, `converter/brush.py` and `converter/converter.py`: coordinates are percents of the
    picture, angles degrees about the upper left corner; later regions lie on top; uploaded pictures have
    eight hexadecimal digits in front of their names.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.convert.outlines import Ring, ellipse, rectangle, ring, turn
from axial_deeplab.data.convert.shapes import (
    LabeledImage,
    LeftOut,
    Photos,
    ReadOptions,
    Shape,
    ToConvert,
    any_json,
    files_of,
    folder_of,
    shapes_to_convert,
)
from axial_deeplab.panoptic.coco_json import field, load_json
from axial_deeplab.util.text import shortened

TITLE = "a Label Studio JSON export"

_SIZE = ("original_width", "original_height")
_KINDS = ("polygon", "brush", "rectangle", "ellipse")


def recognize(source: Path) -> bool:
    """Tell whether a file or folder is of this kind."""
    return any_json(source, _is_export)


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read an export, or a folder with one.

    Raises:
        ValueError: the file is damaged, the message names it and the region.
        OSError: a picture is missing.
    """
    photos, left_out = Photos(options.images or folder_of(source)), LeftOut(source)
    images = []
    for path in files_of(source, ".json"):
        tasks = load_json(path, types=(list, dict))
        if not _is_export(tasks):
            continue
        for place, task in enumerate(_tasks_of_min(tasks) if "data" not in tasks[0] else tasks):
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
            photo = _photo(task, photos, where)
            shapes = [
                shape
                for number, region in enumerate(regions)
                if (shape := _shape(region, f"{where}: result[{number}]", options, left_out)) is not None
            ]
            sizes = {each.size for each in shapes}
            if len(sizes) > 1:
                raise ValueError(
                    f"{where} must be of one size, got {shortened(sorted(sizes))}; export it again"
                )
            size = next(iter(sizes), None)
            images.append(LabeledImage(photo, photos.file_name(photo), [e.shape for e in shapes], path, size))
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


def _tasks_of_min(records: list[Any]) -> list[dict[str, Any]]:
    """Return the records of JSON-MIN, one an annotation, as the tasks that the JSON export has."""
    tasks: dict[Any, dict[str, Any]] = {}
    for place, record in enumerate(records):
        record = record if isinstance(record, dict) else {}
        results = [
            {"type": _kind_of(each), "value": each} | {key: each.get(key) for key in _SIZE if key in each}
            for values in record.values()
            for each in (values if isinstance(values, list) else ())
            if isinstance(each, dict) and set(_SIZE) <= set(each)
        ]
        number = record.get("id")
        task = tasks.setdefault(
            number if isinstance(number, int) else f"[{place}]",
            {"id": number, "data": record, "annotations": []},
        )
        task["annotations"].append({"result": results})
    return list(tasks.values())


def _kind_of(value: dict[str, Any]) -> str:
    """Return the kind of a region that does not say it."""
    signs = {"points": "polygon", "rle": "brush", "radiusX": "ellipse", "width": "rectangle"}
    return next((kind for sign, kind in signs.items() if sign in value), "other")


def _photo(task: Any, photos: Photos, where: str) -> Path:
    data = field(task, "data", dict, where)
    names = [value for value in data.values() if isinstance(value, str) and "." in value]
    for name in names:
        address = urlparse(name)
        local = parse_qs(address.query).get("d")
        name = unquote(local[0] if local else address.path)
        if photos.knows(name):
            return photos.find(name, where)
    raise FileNotFoundError(
        f"{where}: its picture {', '.join(map(repr, names))} must be in {photos.folder}, got none; "
        "add it, or give "
        "--images DIR"
    )


def _shape(region: Any, where: str, options: ReadOptions, left_out: LeftOut) -> _Region | None:
    kind = field(region, "type", str, where).removesuffix("labels")
    if kind not in _KINDS or not isinstance(region.get("value"), dict):
        left_out.add("regions that are no polygon, brush, rectangle or ellipse", where)
        return None
    value = region["value"]
    names = value.get(f"{kind}labels") or value.get("labels") or []
    if names and not (isinstance(names, list) and isinstance(names[0], str)):
        raise ValueError(f"{where} {kind}labels must be a list of classes, got {names!r}; correct the file")
    if len(names) > 1:
        left_out.add("regions have several classes, all but the first", f"{where} {shortened(names)}")
    name = names[0] if names else options.thing_or_object
    where = f"{where} ({name!r})"
    height, width = (field(region, key, int, where) for key in ("original_height", "original_width"))
    if kind == "brush":
        packed = field(value, "rle", list, where)
        shape = Shape(name, where, mask=partial(_unpacked, packed, (height, width), where))
        return _Region(shape, (height, width))
    scale = np.array([width, height]) / 100
    return _Region(Shape(name, where, (_outline(kind, value, scale, where),)), (height, width))


def _outline(kind: str, value: dict[str, Any], scale: NDArray[np.float64], where: str) -> Ring:
    if kind == "polygon":
        points = ring(field(value, "points", list, where), where)
        if len(points) < 3:
            raise ValueError(f"{where} must have three or more points, got {len(points)}; remove it")
        return points * scale
    keys = ("x", "y", "width", "height") if kind == "rectangle" else ("x", "y", "radiusX", "radiusY")
    x, y, a, b = (float(field(value, key, (int, float), where)) for key in keys)
    x, a, y, b = x * scale[0], a * scale[0], y * scale[1], b * scale[1]
    angle = float(value.get("rotation") or 0)
    if kind == "rectangle":
        return turn(rectangle(x, y, x + a, y + b, where=where), angle, np.array([x, y]), where=where)
    return ellipse(x, y, a, b, angle, where=where)


def _unpacked(packed: list[Any], size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Unpack the runs of a brush: RGBA values, of which the last says what is painted."""
    try:
        bits = "".join(f"{byte:08b}" for byte in bytes(packed))
        place = 0

        def number(length: int) -> int:
            nonlocal place
            place += length
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
            if is_run:
                values[at:end] = number(length)
            else:
                values[at:end] = [number(length) for _ in range(end - at)]
            at = end
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{where} rle must be the packed RGBA values of {size[0]} x {size[1]} pixels, got: {error}; "
            "export it again"
        ) from None
    return values.reshape(*size, 4)[..., 3] > 0
