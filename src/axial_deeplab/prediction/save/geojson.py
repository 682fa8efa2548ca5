"""GeoJSON for QuPath, and for maps in the coordinates of a GeoTIFF."""

import json
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.data.geotiff import TIE_POINTS
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
    document: dict[str, Any] = {"type": "FeatureCollection"}
    if epsg is not None and transform is not None:
        document["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{epsg}"}}
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
    document["features"] = []
    before, after = json.dumps(document)[:-2], "]}"
    with text_of_items(path, before, ", ", after) as add:
        yield lambda instance: add(json.dumps(_feature(instance, picture.name, transform)))


def _feature(instance: Instance, name: str, transform: NDArray[np.float64] | None) -> dict[str, Any]:
    polygons = [[_closed(ring, transform) for ring in polygon] for polygon in instance.polygons]
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


def _closed(ring: Ring, transform: NDArray[np.float64] | None) -> list[list[float]]:
    """Return the corners with the first again at the end, outlines counterclockwise in their coordinates."""
    points = np.concatenate([ring, ring[:1]])
    # The rings run clockwise in a picture, whose y axis points down: counterclockwise by the numbers alone.
    if transform is None:
        return points.tolist()
    points = points @ transform[:, :2].T + transform[:, 2]
    return (points if np.linalg.det(transform[:, :2]) > 0 else points[::-1]).tolist()
