"""QuPath: a GeoJSON with the objects of each picture, under its name.

Source:
    QuPath, "Export objects as GeoJSON", and RFC 7946: coordinates are edges of pixels; the lines after the
    first of a polygon are holes; a MultiPolygon is one object of several parts. They have no order, so that
    the smaller lies on top. QuPath's code (`QuPathTypeAdapters`, `ROITypeAdapters`): a polygon that is marked
    as ellipse stands for that in its box; objects may have others in `childObjects`; of a cell the outline is
    taken, not the nucleus. Files of maps have the coordinates of the map, a height behind them, and the class
    among other properties.
"""

import contextlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from axial_deeplab.data.convert.map_coordinates import FromMap, places_of_map
from axial_deeplab.data.convert.outlines import Ring, ellipse
from axial_deeplab.data.convert.photos import Photos
from axial_deeplab.data.convert.read_options import ReadOptions, ToConvert
from axial_deeplab.data.convert.shapes import LabeledImage, LeftOut, Shape, shapes_to_convert
from axial_deeplab.data.convert.source_files import files_of, folder_of
from axial_deeplab.data.convert.stacks import page_of_place, page_of_stack
from axial_deeplab.panoptic.json_entries import field, load_json
from axial_deeplab.util.text import clipped, shortened

TITLE = "a GeoJSON of QuPath"


def recognize(source: Path) -> bool:
    """Tell whether a file or folder is of this kind."""
    return bool(_packed(source)) or any(
        _is_geojson(path) for path in files_of(source, ".geojson", ".json")[:8]
    )


def read(source: Path, options: ReadOptions) -> ToConvert:
    """Read a file or a folder of files, each under the name of its picture."""
    if packed := _packed(source):
        raise ValueError(f"{packed[0]} must be unpacked, got a .gz; unpack it (gunzip), or export it without")
    photos, left_out = Photos(options.images or folder_of(source)), LeftOut(source)
    files = files_of(source, ".geojson", ".json")
    photos.expect(path.relative_to(folder_of(source)).with_suffix("").as_posix() for path in files)
    images, regions, mixed = [], [], []
    unnamed: set[str] = set()
    for path in files:
        document = load_json(path, types=(dict, list))
        if not _is_geojson(path):
            left_out.add("JSON files of another kind", path.name)
            continue
        name = path.relative_to(folder_of(source)).with_suffix("").as_posix()
        photo = photos.find_stem(name, str(path))
        features = document
        if isinstance(document, dict):
            is_one = document.get("type") == "Feature"
            features = [document] if is_one else field(document, "features", list, f"{path}:")
        features = _with_children(features)
        from_map = places_of_map(features, document, photo, path, page=options.reading.page)
        unnamed |= _texts(features)
        if any(_property(each, "objectType") in ("detection", "cell") for each in features):
            regions += [
                f"{path}: features[{place}]" for place, each in enumerate(features) if _is_region(each)
            ]
        page = page_of_stack(photo, options)
        planes = [_plane(feature) for feature in features]
        is_of_stack = any(place > 1 for plane in planes for place in plane.values())
        if page is None and len({(*plane.values(),) for plane in planes if plane}) > 1:
            mixed.append(path)
        numbers = [page_of_place(photo, page, plane) if is_of_stack else 0 for plane in planes]
        shapes = [
            shape
            for place, feature in enumerate(features)
            if not left_out.is_of_other_page(numbers[place], page, where := f"{path}: features[{place}]")
            for shape in _shapes(feature, where, options, left_out, from_map)
        ]
        images.append(LabeledImage(photo, photos.file_name(photo), shapes, path))
    left_out.warn()
    if unnamed and options.attribute is None and options.thing is None:
        warnings.warn(
            f"{source}: no object has a class, and each becomes {options.thing_or_object!r}; if one of the "
            f"properties is the class ({shortened(sorted(unnamed))}), give --attribute NAME",
            stacklevel=2,
        )
    if regions:
        warnings.warn(
            f"{source}: {len(regions)} annotations without class lie beside detections, as regions do that "
            f"were searched ({shortened(regions, 1)}), and become objects; export the detections alone",
            stacklevel=2,
        )
    if mixed:
        warnings.warn(
            f"{source}: {len(mixed)} files have objects of several depths or times of a stack on a picture "
            f"of one page ({shortened(mixed, 1)}), and all become objects; give the stack as picture, or "
            "export those of one",
            stacklevel=2,
        )
    photos.warn_of_others(source)
    return shapes_to_convert(images, options, source)


def _packed(source: Path) -> list[Path]:
    return [path for path in files_of(source, ".gz") if path.name.lower().endswith(".geojson.gz")]


def _is_geojson(path: Path) -> bool:
    if path.suffix.lower() == ".geojson":
        return True
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    first = document[0] if isinstance(document, list) and document else document
    return isinstance(first, dict) and first.get("type") in ("Feature", "FeatureCollection")


def _with_children(features: list[Any]) -> list[Any]:
    """Return objects and those in them, each before its own."""
    found, rest = [], features[::-1]
    while rest:
        found.append(rest.pop())
        inside = _property(found[-1], "childObjects") or _property(found[-1], "children")
        rest += inside[::-1] if isinstance(inside, list) else []
    return found


def _property(feature: Any, name: str) -> Any:
    """Return a property; programs that keep them in a table, such as GeoPandas, write objects as texts."""
    properties = feature.get("properties") if isinstance(feature, dict) else None
    value = properties.get(name) if isinstance(properties, dict) else None
    if isinstance(value, str) and value[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _is_region(feature: Any) -> bool:
    if _property(feature, "objectType") != "annotation" or _property(feature, "classification"):
        return False
    geometry = feature.get("geometry")
    return isinstance(geometry, dict) and str(geometry.get("type")).endswith("Polygon")


def _plane(feature: Any) -> dict[str, int]:
    """Return the depth and the time of an object, from 1 on, by default the first; none of the root."""
    if _property(feature, "objectType") == "root":
        return {}
    plane: Any = feature
    for key in ("geometry", "plane"):
        plane = plane.get(key) if isinstance(plane, dict) else None
    places = {key.upper(): plane.get(key) if isinstance(plane, dict) else 0 for key in "zt"}
    return {axis: 1 + place if isinstance(place, int) and place > 0 else 1 for axis, place in places.items()}


def _texts(features: list[Any]) -> set[str]:
    """Return the properties that are texts, where no object is of QuPath or has a class."""
    if any(_property(each, "objectType") or _property(each, "classification") for each in features):
        return set()
    properties = [each.get("properties") for each in features if isinstance(each, dict)]
    return {
        name for each in properties if isinstance(each, dict) for name in each if isinstance(each[name], str)
    }


def _in_pixels(line: Any, from_map: FromMap | None) -> Any:
    """Return the points of a line in pixels, without heights; what is no line as it is."""
    with contextlib.suppress(TypeError):
        line = [point[:2] if len(point) == 3 else point for point in line]
    if from_map is not None:
        with contextlib.suppress(TypeError, ValueError):
            return from_map(np.array(line, np.float64)).tolist()
    return line


def _shapes(
    feature: Any, where: str, options: ReadOptions, left_out: LeftOut, from_map: FromMap | None
) -> list[Shape]:
    if isinstance(feature, dict) and feature.get("geometry", {}) is None:
        left_out.add("objects without geometry", where)
        return []
    geometry = field(feature, "geometry", dict, where)
    for key in ("childObjects", "children"):
        if not isinstance(inside := _property(feature, key), list | None):
            raise ValueError(f"{where} {key} must be a list, got {clipped(inside)}; correct the file")
    role = _property(feature, "objectType")
    if role == "root":  # which stands for the picture
        return []
    if role == "tmaCore":
        left_out.add("cores of tissue microarrays, which hold objects and are none,", where)
        return []
    name = _class_of(feature, where, options.attribute) or options.thing_or_object
    where = f"{where} ({name!r})"
    kind = field(geometry, "type", str, where)
    if kind not in ("Polygon", "MultiPolygon"):
        is_collection = kind == "GeometryCollection"
        what = (
            "collections of geometries (make each a feature)"
            if is_collection
            else "points and lines, which have no area,"
        )
        left_out.add(what, where)
        return []
    parts = field(geometry, "coordinates", list, where)
    parts = [parts] if kind == "Polygon" else parts
    if not all(isinstance(part, list) for part in parts):
        raise ValueError(
            f"{where} coordinates must be lists of lines, got {clipped(parts)}; correct the file"
        )
    rings = [lines for part in parts if (lines := _lines(part, where, left_out, from_map))]
    if not rings:
        return []
    if geometry.get("isEllipse") is True:
        corners = rings[0][0]
        center, radii = (corners.max(axis=0) + corners.min(axis=0)) / 2, np.ptp(corners, axis=0) / 2
        return [Shape(name, where, (ellipse(*center, *radii, where=where),))]
    part_of = where if len(rings) > 1 else None
    return [Shape(name, where, lines, part_of=part_of) for lines in rings]


def _lines(part: list[Any], where: str, left_out: LeftOut, from_map: FromMap | None) -> tuple[Ring, ...]:
    """Return the outline and the holes of a part; without an outline none, as its holes are no objects."""
    outline, *holes = [left_out.polygon(_in_pixels(line, from_map), where) for line in part or [[]]]
    return () if outline is None else (outline, *(hole for hole in holes if hole is not None))


def _class_of(feature: Any, where: str, attribute: str | None) -> str | None:
    """Return the class of an object, None if it has none.

    Raises:
        ValueError: the class is of no kind that QuPath writes, or the attribute is no text or number.
    """
    properties = feature.get("properties")
    if not isinstance(properties, dict | None):
        raise ValueError(f"{where} properties must be an object, got {clipped(properties)}; correct the file")
    if attribute is not None:
        value = (properties or {}).get(attribute)
        if not isinstance(value, str | int) or value == "" or isinstance(value, bool):
            raise ValueError(
                f"{where} {attribute} must be its class, got {clipped(value)}; give another --attribute, or "
                "add it"
            )
        return str(value)
    kind = _property(feature, "classification")
    if kind is None:
        return None
    if not isinstance(kind, dict):
        raise ValueError(
            f"{where} classification must be an object with a name, got {clipped(kind)}; correct the file"
        )
    names = [kind.get("name")] if kind.get("name") is not None else kind.get("names")
    if names is None:
        return None
    if not isinstance(names, list) or not names or not all(isinstance(each, str) and each for each in names):
        raise ValueError(
            f"{where} classification must have a text as name, got {clipped(kind)}; correct the file"
        )
    return ": ".join(names)
