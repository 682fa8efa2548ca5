"""Label maps as TIFF, which Fiji, napari and cellpose read: one of instances, one of classes."""

import csv
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.prediction.save.picture import Picture

# Bytes of the strips of a file, before they are compressed.
_STRIP_BYTES = 2**18
# Where files of 32-bit offsets end, with room for what is beside the pixels.
_CLASSIC_BYTES = 2**32 - 2**25


def write_instances(path: Path, picture: Picture) -> None:
    """Write the number of the instance of each pixel, 0 for none."""
    things = np.isin(picture.labels.table.train_ids, picture.categories.thing_ids)
    _write_tiff(path, np.where(things, np.cumsum(things), 0), picture)


def write_classes(path: Path, picture: Picture) -> None:
    """Write the class of each pixel as its place among the categories, from 1 on; 0 for void."""
    _write_tiff(path, picture.labels.table.train_ids + 1, picture)


def write_class_list(path: Path, categories: Categories) -> None:
    """Write what the numbers of classes mean."""
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["value", "name", "category_id", "isthing"])
        for place, category in enumerate(categories, start=1):
            lines.writerow([place, category.name, category.id, int(category.is_thing)])


def _write_tiff(path: Path, values: NDArray[np.int64], picture: Picture) -> None:
    """Write the value of the label of each pixel, 0 for void, in strips, which ImageJ reads, unlike tiles."""
    import tifffile

    # In 16 bits, which all programs read, unless they need 32.
    dtype = np.uint16 if values.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    of_labels = np.concatenate(([0], values)).astype(dtype)
    labels, grid, size = picture.labels, picture.grid, picture.grid.micrometers
    height, width = labels.size
    rows = max(1, _STRIP_BYTES // (width * of_labels.itemsize))

    def strips() -> Iterator[bytes]:
        for band in labels.bands(multiple_of=rows):
            shown: NDArray[Any] = of_labels[band]
            for top in range(0, len(shown), rows):
                yield zlib.compress(shown[top : top + rows].data)

    with tifffile.TiffWriter(path, bigtiff=height * width * of_labels.itemsize > _CLASSIC_BYTES) as tiff:
        tiff.write(
            strips(),
            shape=labels.size,
            dtype=dtype,
            rowsperstrip=rows,
            photometric="minisblack",
            compression="zlib",
            metadata=None,
            resolution=None if size is None else (1e4 / size[0], 1e4 / size[1]),
            extratags=grid.geo_tags,
            resolutionunit=None if size is None else "CENTIMETER",
        )
