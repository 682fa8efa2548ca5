"""Measurements of things as a table: area, place, shape, brightness."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.prediction.save.instances import Instance
from axial_deeplab.prediction.save.picture import Picture

Cell = str | int | float


def write_table(path: Path, picture: Picture) -> None:
    """Write a line for each thing, in pixels and, where the file says their size, in micrometers.

    Args:
        path: the CSV file.
        picture: what was found.
    """
    size = picture.grid.micrometers
    channels = range(picture.values.shape[2])
    # The columns of a picture without things are those of the others.
    nothing = Instance(0, 0, picture.categories[0], None, 0, 0, np.ones((1, 1), bool))
    columns = list(_row(nothing, picture, size, np.zeros((1, 1, len(channels)))))
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.DictWriter(file, columns, lineterminator="\n")
        lines.writeheader()
        for instance in picture.instances:
            row = _row(instance, picture, size, picture.values[instance.rows_and_columns])
            lines.writerow({name: _text(cell) for name, cell in row.items()})


def _row(
    instance: Instance, picture: Picture, size: tuple[float, float] | None, values: NDArray[np.generic]
) -> dict[str, Cell]:
    left, top, width, height = instance.bbox
    row: dict[str, Cell] = {
        "image": picture.name,
        "number": instance.number,
        "class": instance.category.name,
        "category_id": instance.category.id,
        "score": "" if instance.score is None else round(instance.score, 6),
        **_shape(instance, (1.0, 1.0), "px"),
        "left_px": left,
        "top_px": top,
        "width_px": width,
        "height_px": height,
    }
    if size is not None:
        row |= _shape(instance, size, "um")
    # In double precision: sums of 16-bit values are exact.
    means = values[instance.mask].mean(axis=0, dtype=np.float64)
    numbers = range(1, len(means) + 1) if picture.channels is None else picture.channels.numbers
    return row | {f"mean_{number}": float(mean) for number, mean in zip(numbers, means, strict=True)}


def _shape(instance: Instance, size: tuple[float, float], unit: str) -> dict[str, Cell]:
    """Return area, centroid, and the axes of the ellipse that has the same second moments.

    Source:
        scikit-image, measure.regionprops: the pixels are points, axes are 4 times the standard deviations.
    """
    rows, columns = np.nonzero(instance.mask)
    x, y = (columns + instance.left + 0.5) * size[0], (rows + instance.top + 0.5) * size[1]
    xx, yy = float(x.var()), float(y.var())
    xy = float(np.mean((x - x.mean()) * (y - y.mean())))
    spread = np.hypot(xx - yy, 2 * xy)
    larger, smaller = (xx + yy + spread) / 2, max(0.0, (xx + yy - spread) / 2)
    area = instance.area if unit == "px" else instance.area * size[0] * size[1]
    square = unit if unit == "px" else f"{unit}2"
    shape: dict[str, Cell] = {
        f"area_{square}": area,
        f"centroid_x_{unit}": float(x.mean()),
        f"centroid_y_{unit}": float(y.mean()),
        f"major_axis_{unit}": 4 * float(np.sqrt(larger)),
        f"minor_axis_{unit}": 4 * float(np.sqrt(smaller)),
    }
    if unit == "px":
        shape["eccentricity"] = float(np.sqrt(1 - smaller / larger)) if larger > 0 else 0.0
    return shape


def _text(cell: Cell) -> str:
    return f"{cell:.9g}" if isinstance(cell, float) else str(cell)
