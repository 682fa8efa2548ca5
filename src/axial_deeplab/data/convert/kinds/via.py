"""VGG Image Annotator: a project or an export as JSON or CSV, of version 1, 2 or 3.

Source:
    VIA 1.0.6, 2.0.12 and 3.0.12, their own code: rectangles, circles, ellipses turned by radians, polygons.
    They have no order from below to above, so that the smaller lies on top.
"""

import codecs
import csv
import io
import json
import math
import warnings
from pathlib import Path
from typing import Any, TypeVar

from axial_deeplab.data.convert.outlines import Ring, ellipse, rectangle
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.shapes import LabeledImage, LeftOut, Shape, shapes_to_convert
from axial_deeplab.data.convert.source_files import any_json, files_of, folder_of, text_of
from axial_deeplab.panoptic.json_entries import field, load_json

TITLE = "a VIA project"

# Attributes that are the class wherever there are several.
_USUAL = ("class", "label", "name", "type", "category", "object")
_SHAPES_3 = {2: "rect", 3: "circle", 4: "ellipse", 7: "polygon", 8: "rect", 9: "circle"}
_KEYS = {
    "rect": ("x", "y", "width", "height"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
}

# How its tables begin; version 1 comments the first line.
_CSV = (b"filename,file_size,", b"#filename,file_size,", b"# Exported using VGG Image Annotator")

T = TypeVar("T")

Regions = dict[str, list[tuple[str, str, Any, dict[str, Any]]]]


def recognize(source: Path) -> bool:
    """Tell whether a file or folder is of this kind."""
    return any_json(source, lambda document: _is_2(document) or _is_3(document)) or any(
        map(_is_csv, files_of(source, ".csv"))
    )


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read a project or an export, or a folder with one."""
    photos, left_out = Photos(options.images or folder_of(source)), LeftOut(source)
    images = []
    for path in files_of(source, ".json", ".csv"):
        document: Any = load_json(path) if path.suffix.lower() == ".json" else _document_of_csv(path)
        if _is_2(document):
            regions = _regions_2(document, path)
        elif _is_3(document):
            regions = _regions_3(document, path)
        else:
            continue
        attribute = _class_attribute(regions, options, path)
        for name, entries in regions.items():
            photo = photos.find(name, str(path))
            shapes = [
                Shape(_class_of(attributes, attribute, where, options), where, (outline,))
                for where, kind, values, attributes in entries
                if (outline := _outline(kind, values, where, left_out)) is not None
            ]
            images.append(LabeledImage(photo, photos.file_name(photo), shapes, path))
    left_out.warn()
    photos.warn_of_others(source)
    return shapes_to_convert(images, options, source)


def _is_2(document: Any) -> bool:
    if not isinstance(document, dict):
        return False
    entries = document.get("_via_img_metadata", document)
    first = next(iter(entries.values()), None) if isinstance(entries, dict) else None
    return "_via_img_metadata" in document or (
        isinstance(first, dict) and "filename" in first and "regions" in first
    )


def _is_3(document: Any) -> bool:
    return isinstance(document, dict) and {"metadata", "view", "file", "attribute"} <= set(document)


def _is_csv(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(99).removeprefix(codecs.BOM_UTF8).startswith(_CSV)


def _document_of_csv(path: Path) -> dict[str, Any] | None:
    """Return the table of a version as its JSON has the same; None of another table.

    Raises:
        ValueError: a cell is not what it should be.
    """
    if not _is_csv(path):
        return None
    lines = list(io.StringIO(text_of(path), newline=""))
    is_3 = lines[0].startswith("# ")
    found: dict[str, Any] = {"metadata": {}, "view": {}, "file": {}, "attribute": {}} if is_3 else {}
    counts: dict[str, str] = {}
    try:
        table = csv.reader(lines)
        for row in table:
            number = table.line_num
            where = f"{path}: line {number}"
            if row and row[0].startswith("# ATTRIBUTE"):
                attributes = _cell(lines[number - 1].partition("=")[2], dict, where)
                found["attribute"] = {
                    key: {"aname": each} if isinstance(each, str) else each
                    for key, each in attributes.items()
                }
            if not row or row[0].startswith("#") or number == 1:
                continue
            if len(row) != (6 if is_3 else 7):
                raise ValueError(
                    f"{where} must have {6 if is_3 else 7} cells, got {len(row)}; export it again"
                )
            if is_3:
                names = _cell(row[1], list, where)
                view = "|".join(map(str, names))
                found["file"] |= {str(name): {"fname": str(name)} for name in names}
                found["view"][view] = {"fid_list": [str(name) for name in names]}
                place, attributes = _cell(row[4], list, where), _cell(row[5], dict, where)
                found["metadata"][f"line {number}"] = {"vid": view, "xy": place, "av": attributes}
                continue
            key = row[0] + row[1]  # as its JSON has it: the size tells pictures of one name apart
            entry = found.setdefault(key, {"filename": row[0], "regions": []})
            shape, attributes = (_cell(cell, dict, where) for cell in row[5:7])
            if shape:
                entry["regions"].append({"shape_attributes": shape, "region_attributes": attributes})
            counts[key] = row[3]
    except csv.Error as error:
        raise ValueError(f"{path} must be a table in CSV, got: {error}; export it again") from None
    for key, count in counts.items():
        name, number = found[key]["filename"], len(found[key]["regions"])
        if count.isdecimal() and int(count) > number:
            warnings.warn(
                f"{path}: {name} has {number} of its {count} regions; export it again if the file is cut off",
                stacklevel=4,
            )
    return found


def _cell(text: str, kind: type[T], where: str) -> T:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise ValueError(
            f"{where} must have a {kind.__name__} in JSON there, got {text[:40]!r}; export it again"
        )
    return value


def _regions_2(document: dict[str, Any], path: Path) -> Regions:
    """Return where, shape, its values and its attributes of each region of each picture."""
    options = document.get("_via_attributes")
    options = options.get("region") if isinstance(options, dict) else None
    found: Regions = {}
    entries = document.get("_via_img_metadata", document)
    for key in entries if isinstance(entries, dict) else ():
        name = field(entries[key], "filename", str, f"{path}: {key!r}")
        regions = field(entries[key], "regions", (list, dict), f"{path}: {name}")
        pairs = regions.items() if isinstance(regions, dict) else enumerate(regions)
        if regions and found.get(name):
            raise ValueError(
                f"{path} must list each picture once, got {name!r} again as {key!r} with other regions; "
                "remove one of the two"
            )
        found.setdefault(name, [])
        for place, region in pairs:
            where = f"{path}: {name}: regions[{place}]"
            values = field(region, "shape_attributes", dict, where)
            attributes = field(region, "region_attributes", dict, where)
            named = {a: _option(value, options, a, "options") for a, value in attributes.items()}
            found[name].append((where, field(values, "name", str, where), values, named))
    return found


def _regions_3(document: dict[str, Any], path: Path) -> Regions:
    files = field(document, "file", dict, f"{path}:")
    views = field(document, "view", dict, f"{path}:")
    options = field(document, "attribute", dict, f"{path}:")
    names: dict[str, str] = {}
    for view_id, view in views.items():
        ids = field(view, "fid_list", list, f"{path}: view {view_id}")
        if len(ids) != 1 or str(ids[0]) not in files:
            raise ValueError(f"{path}: view {view_id} must show one file, got {ids!r}; correct the project")
        names[view_id] = field(files[str(ids[0])], "fname", str, f"{path}: file {ids[0]}")
    found: Regions = {name: [] for name in names.values()}
    for key, entry in field(document, "metadata", dict, f"{path}:").items():
        where = f"{path}: metadata {key!r}"
        view_id = str(field(entry, "vid", (str, int), where))
        if view_id not in names:
            raise ValueError(f"{where} vid must be a view, got {view_id!r}; correct the project")
        place = field(entry, "xy", list, where)
        if not place:
            continue  # what is said of the whole picture
        where = f"{path}: {names[view_id]}: metadata {key!r}"
        attributes = {
            str(options[number].get("aname", number)): _option(value, options, number, "options")
            for number, value in field(entry, "av", dict, where).items()
            if isinstance(options.get(number), dict)
        }
        kind = _SHAPES_3.get(place[0] if isinstance(place[0], int) else -1, "point")
        values: dict[str, Any] = {"xy": place[1:]}
        if kind in _KEYS:
            values |= dict(zip(_KEYS[kind], place[1:], strict=False))
        found[names[view_id]].append((where, kind, values, attributes))
    return found


def _option(value: Any, options: Any, attribute: str, key: str) -> Any:
    """Return what a choice is called; of check boxes, the one that is checked."""
    if isinstance(value, dict):
        checked = [name for name, is_checked in value.items() if is_checked]
        value = checked[0] if len(checked) == 1 else checked
    entry = options.get(attribute) if isinstance(options, dict) else None
    choices = entry.get(key) if isinstance(entry, dict) else None
    called = choices.get(str(value)) if isinstance(choices, dict) else None
    return called if isinstance(called, str) and called else value


def _class_attribute(regions: Regions, options: ReadOptions, path: Path) -> str | None:
    names = list(dict.fromkeys(a for entries in regions.values() for entry in entries for a in entry[3]))
    if options.attribute is not None:
        if options.attribute not in names:
            raise ValueError(
                f"--attribute must be one of the regions of {path} ({', '.join(names)}), "
                f"got {options.attribute!r}; correct it"
            )
        return options.attribute
    usual = [name for name in names if name.lower() in _USUAL]
    if len(names) > 1 and len(usual) != 1:
        raise ValueError(
            f"{path} must have one attribute that is the class of a region, got {', '.join(names)}; "
            "give --attribute NAME"
        )
    return next(iter(usual or names), None)


def _class_of(attributes: dict[str, Any], attribute: str | None, where: str, options: ReadOptions) -> str:
    value = attributes.get(attribute) if attribute is not None else None
    if isinstance(value, str) and value:
        return value
    if attribute is None or options.thing is not None:
        return options.thing_or_object
    raise ValueError(
        f"{where} {attribute} must be its class, got {value!r}; choose one, or give --thing NAME"
    )


def _outline(kind: str, values: dict[str, Any], where: str, left_out: LeftOut) -> Ring | None:
    if kind == "polygon":
        if "xy" in values:
            numbers = values["xy"]
            points = list(zip(numbers[::2], numbers[1::2], strict=False))
        else:
            x, y = (field(values, key, list, where) for key in ("all_points_x", "all_points_y"))
            if len(x) != len(y):
                raise ValueError(
                    f"{where} must have as many x as y, got {len(x)} and {len(y)}; correct the file"
                )
            points = list(zip(x, y, strict=True))
        return left_out.polygon(points, where)
    if kind not in _KEYS:
        left_out.add("points and lines, which have no area,", where)
        return None
    numbers = [field(values, key, (int, float), where) for key in _KEYS[kind]]
    if kind == "rect":
        x, y, width, height = numbers
        return rectangle(x, y, x + width, y + height, where=where)
    turned = values.get("theta", 0)
    turned = math.degrees(turned) if isinstance(turned, int | float) else math.nan
    return ellipse(numbers[0], numbers[1], numbers[2], numbers[-1], turned, where=where)
