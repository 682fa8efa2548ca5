"""Label maps as TIFF, which Fiji, napari and cellpose read: one of instances, one of classes."""

import csv
from pathlib import Path

import numpy as np

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import IntArray, semantic_map
from axial_deeplab.prediction.save.instances import numbered_map
from axial_deeplab.prediction.save.picture import Picture


def write_instances(path: Path, picture: Picture) -> None:
    """Write the number of the instance of each pixel, 0 for none."""
    _write_tiff(path, numbered_map(picture.instances, picture.result.size), picture)


def write_classes(path: Path, picture: Picture) -> None:
    """Write the class of each pixel as its place among the categories, from 1 on; 0 for void."""
    _write_tiff(path, semantic_map(picture.result.map, ignore_label=-1) + 1, picture)


def write_class_list(path: Path, categories: Categories) -> None:
    """Write what the numbers of classes mean."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["value", "name", "category_id", "isthing"])
        for place, category in enumerate(categories, start=1):
            lines.writerow([place, category.name, category.id, int(category.is_thing)])


def _write_tiff(path: Path, values: IntArray, picture: Picture) -> None:
    import tifffile

    size = picture.grid.micrometers
    tifffile.imwrite(
        path,
        _narrowest(values),
        compression="zlib",
        metadata=None,
        resolution=None if size is None else (1e4 / size[0], 1e4 / size[1]),
        resolutionunit=None if size is None else "CENTIMETER",
    )


def _narrowest(values: IntArray) -> IntArray:
    """Return the values in 16 bits, which all programs read, unless they need 32."""
    return values.astype(np.uint16 if values.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32)
