"""GeoJSON for QuPath, and for maps: in the coordinates of a GeoTIFF or in degrees."""

import json
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from axial_deeplab.data.geotiff import TIE_POINTS
from axial_deeplab.data.reprojection import WGS84, Points, reprojection
from axial_deeplab.prediction.save.instances import Instance
from axial_deeplab.prediction.save.outlines import Ring
from axial_deeplab.prediction.save.picture import Picture
from axial_deeplab.util.json_files import text_of_items


@contextmanager
def open_geojson(path: Path, picture: Picture) -> Iterator[Callable[[Instance], None]]:
    """Write a feature for each thing: its outline, and QuPath's object type, classification and measurements.

    Source:
        RFC 7946, but for the coordinates: those of the picture, along the edges of its pixels, or those of
        the map, which `crs` names as GeoJSON 2008 did; QuPath's manual, "Importing and exporting".
    """
    transform, epsg = picture.grid.transform, picture.grid.epsg
    named: dict[str, Any] = {}
    if epsg is not None and transform is not None:
        named["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{epsg}"}}
    elif transform is not None:
        warnings.warn(
            f"{picture.path} must name its coordinates by an EPSG number, got none; the GeoJSON is in the "
            "coordinates of the map, but does not name them: set them where it is read",
            stacklevel=2,
        )
    elif any(code == TIE_POINTS for code, *_ in picture.grid.geo_tags):
        warnings.warn(
            f"{picture.path} must have a transform to its map, got control points alone; the GeoJSON is in "
            "pixels: warp the picture first (gdalwarp) to have coordinates of the map",
            stacklevel=2,
        )
    with _opened(path, picture, named, lambda points: _on_map(points, transform)) as add:
        yield add


def why_no_degrees(picture: Picture) -> str | None:
    """Return why a picture cannot have its outlines in degrees, None if it can."""
    if picture.grid.transform is not None and picture.grid.epsg is not None:
        return None
    return (
        "geojson-degrees must be of a GeoTIFF that names its coordinates by an EPSG number, got none; save "
        "geojson instead"
    )


@contextmanager
def open_geojson_degrees(path: Path, picture: Picture) -> Iterator[Callable[[Instance], None]]:
    """Write what `open_geojson` does, with longitudes and latitudes of WGS 84.

    Args:
        path: the file.
        picture: what was found, which `why_no_degrees` has nothing against.

    Source:
        RFC 7946. Digits go to 1e-9 degrees, a tenth of a millimeter.
    """
    transform, epsg = picture.grid.transform, picture.grid.epsg
    assert epsg is not None
    to_degrees = reprojection(epsg, WGS84, picture.path)
    with _opened(path, picture, {}, lambda points: to_degrees(_on_map(points, transform)).round(9)) as add:
        yield add


@contextmanager
def _opened(
    path: Path, picture: Picture, named: dict[str, Any], to_map: Callable[[Ring], Points | Ring]
) -> Iterator[Callable[[Instance], None]]:
    document = {"type": "FeatureCollection", **named, "features": []}
    before, after = json.dumps(document)[:-2], "]}"
    with text_of_items(path, before, ", ", after) as add:
        yield lambda instance: add(json.dumps(_feature(instance, picture.name, to_map)))


def _feature(instance: Instance, name: str, to_map: Callable[[Ring], Points | Ring]) -> dict[str, Any]:
    polygons = [[_closed(ring, to_map) for ring in polygon] for polygon in instance.polygons]
    (kind, coordinates) = ("Polygon", polygons[0]) if len(polygons) == 1 else ("MultiPolygon", polygons)
    measurements = {} if instance.score is None else {"score": round(instance.score, 6)}
    return {
        "type": "Feature",
        # QuPath wants a UUID: one that is the same whenever the file is written again.
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}#{instance.number}")),
        "geometry": {"type": kind, "coordinates": coordinates},
        "properties": {
            "objectType": "detection",
            "name": str(instance.number),
            "classification": {"name": instance.category.name, "color": list(instance.category.color or ())},
            "measurements": measurements,
        },
    }


def _closed(ring: Ring, to_map: Callable[[Ring], Points | Ring]) -> list[list[float]]:
    """Return the corners with the first again at the end, outlines counterclockwise in their coordinates."""
    points = to_map(np.concatenate([ring, ring[:1]]))
    # The rings run clockwise in a picture, whose y axis points down: counterclockwise by the numbers alone.
    turned = _signed_area(points) * _signed_area(ring) < 0
    return (points[::-1] if turned else points).tolist()


def _signed_area(ring: Any) -> float:
    x, y = (ring - ring[0]).T.astype(np.float64)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


def _on_map(points: Ring, transform: Points | None) -> Any:
    return points if transform is None else points @ transform[:, :2].T + transform[:, 2]
