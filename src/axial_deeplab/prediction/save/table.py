"""Measurements of things as a table: area, place, shape, brightness."""

import csv
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.prediction.labels import BAND_PIXELS
from axial_deeplab.prediction.large.sources import open_values
from axial_deeplab.prediction.large.tiling import Window, cut
from axial_deeplab.prediction.save.instances import Instance
from axial_deeplab.prediction.save.picture import Picture

Cell = str | int | float
Reader = Callable[[Window], NDArray[Any]]


@contextmanager
def open_table(path: Path, picture: Picture) -> Iterator[Callable[[Instance], None]]:
    """Write a line for each thing, in pixels and, where the file says their size, in micrometers."""
    size, labels = picture.grid.micrometers, picture.labels
    stored = open_values(picture.path, path.parent, labels.size, picture.page, picture.channels)
    with stored as read_all, path.open("w", encoding="utf-8", newline="") as file:
        shown = slice(1 if picture.channels is None and _is_grey(read_all, labels.size) else None)

        def read(window: Window) -> NDArray[Any]:
            return read_all(window)[..., shown]

        # The columns of a picture without things are those of the others.
        pixel = Window(0, 0, 1, 1)
        ones = np.ones((1, 1), np.int32)
        nothing = Instance(0, 0, picture.categories[0], None, 1, pixel, 1, lambda window: ones)
        lines = csv.DictWriter(file, list(_row(nothing, picture, size, read)), lineterminator="\n")
        lines.writeheader()

        def add(instance: Instance) -> None:
            row = _row(instance, picture, size, read)
            lines.writerow({name: _text(cell) for name, cell in row.items()})

        yield add


def _is_grey(read: Reader, size: tuple[int, int]) -> bool:
    """Whether all pixels have one value in all channels."""
    for window in cut(size, math.isqrt(BAND_PIXELS)):
        values = read(window)
        if (values != values[..., :1]).any():
            return False
    return True


def _row(
    instance: Instance, picture: Picture, size: tuple[float, float] | None, read: Reader
) -> dict[str, Cell]:
    left, top, width, height = instance.bbox
    # Of whole numbers, which are exact: x, y, their squares and their product, from the corner of the box.
    moments = [0] * 5
    sums: NDArray[np.float64] | float = 0.0
    for window, mask in instance.bands():
        y, x = np.nonzero(mask)
        y += window.top - top
        parts = (x, y, x * x, y * y, x * y)
        moments = [total + int(part.sum()) for total, part in zip(moments, parts, strict=True)]
        # In double precision: sums of 16-bit values are exact.
        sums = sums + read(window)[mask].sum(axis=0, dtype=np.float64)
    row: dict[str, Cell] = {
        "image": picture.name,
        "number": instance.number,
        "class": instance.category.name,
        "category_id": instance.category.id,
        "score": "" if instance.score is None else round(instance.score, 6),
        **_shape(instance, moments, (1.0, 1.0), "px"),
        "left_px": left,
        "top_px": top,
        "width_px": width,
        "height_px": height,
    }
    if size is not None:
        row |= _shape(instance, moments, size, "um")
    means = np.atleast_1d(sums) / instance.area
    numbers = range(1, len(means) + 1) if picture.channels is None else picture.channels.numbers
    return row | {f"mean_{number}": float(mean) for number, mean in zip(numbers, means, strict=True)}


def _shape(instance: Instance, moments: list[int], size: tuple[float, float], unit: str) -> dict[str, Cell]:
    """Return area, centroid, and the axes of the ellipse that has the same second moments.

    Source:
        scikit-image, measure.regionprops: the pixels are points, axes are 4 times the standard deviations.
    """
    area, (x, y, xx, yy, xy) = instance.area, moments
    left, top, _, _ = instance.bbox
    across, down = size
    variance_x = (area * xx - x * x) / area**2 * across**2
    variance_y = (area * yy - y * y) / area**2 * down**2
    covariance = (area * xy - x * y) / area**2 * across * down
    spread = math.hypot(variance_x - variance_y, 2 * covariance)
    larger = (variance_x + variance_y + spread) / 2
    smaller = max(0.0, (variance_x + variance_y - spread) / 2)
    square = unit if unit == "px" else f"{unit}2"
    shape: dict[str, Cell] = {
        f"area_{square}": area if unit == "px" else area * across * down,
        f"centroid_x_{unit}": (left + x / area + 0.5) * across,
        f"centroid_y_{unit}": (top + y / area + 0.5) * down,
        f"major_axis_{unit}": 4 * math.sqrt(larger),
        f"minor_axis_{unit}": 4 * math.sqrt(smaller),
    }
    if unit == "px":
        shape["eccentricity"] = math.sqrt(1 - smaller / larger) if larger > 0 else 0.0
    return shape


def _text(cell: Cell) -> str:
    return f"{cell:.9g}" if isinstance(cell, float) else str(cell)
