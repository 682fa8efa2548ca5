"""Drawing outlines: which pixels lie inside polygons, circles and ellipses.

The one rule for the files of all tools but COCO: a pixel belongs to an outline where its center lies inside.
Pixel (row i, column j) covers x from j to j + 1 and y from i to i + 1, so that (0, 0) is the corner of the
image. A center on a left or upper edge is inside, on a right or lower one outside: (2,2), (6,2), (6,6), (2,6)
are the 4 x 4 pixels of the rows and columns 2 to 5, and outlines that share an edge share no pixel.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.util.text import clipped

Ring = NDArray[np.float64]

# Pixels from the image, more than any outline can mean.
FARTHEST = 1e5
# Pixels by which the polygon of an ellipse may lie inside it.
_TOLERANCE = 0.005


def ring(points: Any, where: str) -> Ring:
    """Return points as a closed line (N, 2) of x and y in pixels.

    Args:
        points: pairs of numbers, as a file has them.
        where: what the message calls the outline.

    Raises:
        ValueError: they are no pairs of numbers, or far from any image.
    """
    try:
        if any(type(number) is bool for point in points for number in point):
            raise TypeError  # NumPy takes true as 1
        line = (
            np.array(points, np.float64).reshape(-1, 2) if len(points) == 0 else np.array(points, np.float64)
        )
    except (TypeError, ValueError, OverflowError):
        line = np.full((1, 2), np.nan)
    if line.ndim != 2 or line.shape[1] != 2 or not (np.abs(line) < FARTHEST).all():
        raise ValueError(
            f"{where} points must be pairs of numbers, none beyond {FARTHEST:g}, "
            f"got {clipped(points)}; correct the file"
        )
    return line


def polygon(points: Any, where: str) -> Ring | None:
    """Return the points of a polygon as a closed line, whether or not it repeats the first one at its end.

    Returns:
        The line; None of fewer than three points, which enclose nothing.

    Raises:
        ValueError: as for `ring`.
    """
    line = ring(points, where)
    number = len(line) - bool(len(line) > 1 and (line[0] == line[-1]).all())
    return None if number < 3 else line


def rectangle(left: float, top: float, right: float, bottom: float, turned: float = 0, *, where: str) -> Ring:
    """Return the corners of a rectangle, turned clockwise about its center by an angle in degrees.

    Raises:
        ValueError: as for `ring`.
    """
    corners = ring([[left, top], [right, top], [right, bottom], [left, bottom]], where)
    return turn(corners, turned, corners.mean(axis=0), where=where)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, turned: float = 0, *, where: str) -> Ring:
    """Return a polygon that is an ellipse to a hundredth of a pixel, turned clockwise by an angle in degrees.

    Raises:
        ValueError: as for `ring`.
    """
    center, radii = ring([[x, y], [radius_x, radius_y]], where)
    number = int(np.ceil(np.pi / np.sqrt(2 * _TOLERANCE / max(1.0, *np.abs(radii)))))
    angles = np.linspace(0, 2 * np.pi, 4 * number, endpoint=False)
    points = center + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return turn(points, turned, center, where=where)


def turn(points: Ring, angle: float, center: Any, *, where: str) -> Ring:
    """Return points (N, 2), turned clockwise, as one sees them, about a center by an angle in degrees.

    Raises:
        ValueError: the angle is no number.
    """
    if not angle:
        return points
    (radians, _), *_ = np.deg2rad(ring([[angle, 0]], f"{where} (its angle)"))
    cosine, sine = np.cos(radians), np.sin(radians)
    return (points - center) @ np.array([[cosine, sine], [-sine, cosine]]) + center


def fill(rings: Sequence[Ring], size: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.bool_]]:
    """Draw closed lines together: inside is what an odd number of them encloses, as a hole is not.

    Lines that a tool draws to a hole or to a second part and back enclose nothing.

    Args:
        rings: points (N, 2) of each line, x and y in pixels.
        size: (height, width) of the image in pixels; what lies outside is cut off.

    Returns:
        (top, left) of the smallest window, and its pixels (h, w).
    """
    height, width = size
    edges = [np.concatenate([line, np.roll(line, -1, axis=0)], axis=1) for line in rings if len(line) > 2]
    if not edges:
        return (0, 0), np.zeros((0, 0), bool)
    x0, y0, x1, y1 = np.concatenate(edges).T
    # Upward or downward an edge is the same to the last bit, so that there and back cancel.
    upper = (y0 < y1) | ((y0 == y1) & (x0 <= x1))
    x0, x1 = np.where(upper, x0, x1), np.where(upper, x1, x0)
    y0, y1 = np.where(upper, y0, y1), np.where(upper, y1, y0)
    first = np.clip(np.ceil(y0 - 0.5), 0, height).astype(np.int64)
    counts = np.clip(np.ceil(y1 - 0.5), 0, height).astype(np.int64) - first
    if not counts.sum():
        return (0, 0), np.zeros((0, 0), bool)
    edge = np.repeat(np.arange(len(counts)), counts)
    rows = first[edge] + np.arange(len(edge)) - np.repeat(counts.cumsum() - counts, counts)
    slope = (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    crossing = x0[edge] + (rows + 0.5 - y0[edge]) * slope
    columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    top, left = int(rows.min()), int(columns.min())
    window = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), np.uint8)
    np.bitwise_xor.at(window, (rows - top, columns - left), 1)
    inside = np.bitwise_xor.accumulate(window, axis=1)[:, :-1].astype(bool)
    return (top, left), inside
