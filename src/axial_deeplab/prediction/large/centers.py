"""Which center of many is nearest to a point, in a time that does not grow with their number."""

from functools import cache, partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from axial_deeplab.util.compile import compile_cached


class CenterGrid:
    """Centers, sorted into square cells: about one a cell, so that few must be looked at.

    Args:
        centers: (K, 2) as (y, x), pixels, int64, in raster order; K >= 1.
        size: (height, width) of the image in pixels.
    """

    def __init__(self, centers: NDArray[np.int64], size: tuple[int, int]) -> None:
        self.centers = np.ascontiguousarray(centers, np.int64)
        self.cell = max(1, int(np.sqrt(size[0] * size[1] / len(centers))))
        self.rows, self.columns = (-(-length // self.cell) for length in size)
        cells = centers[:, 0] // self.cell * self.columns + centers[:, 1] // self.cell
        self.order = np.argsort(cells, kind="stable")
        counts = np.bincount(cells, minlength=self.rows * self.columns)
        self.starts = np.concatenate(([0], np.cumsum(counts)))

    def nearest(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the index of the center that is nearest to each point; of equally near ones the first.

        Args:
            y: rows of the points (N,), pixels; they may lie outside the image.
            x: columns of the points (N,).
        """
        found = np.empty(len(y), np.int64)
        _compiled_search()(
            y, x, self.centers, self.order, self.starts, self.cell, self.rows, self.columns, found
        )
        return found


@cache
def _compiled_search() -> Any:
    points, numbers = "float64[::1]", "int64[::1]"
    signature = (
        f"void({points}, {points}, int64[:, ::1], {numbers}, {numbers}, int64, int64, int64, {numbers})"
    )
    return compile_cached(partial(njit, nogil=True), search, signature)


def search(
    points_y: NDArray[np.float64],
    points_x: NDArray[np.float64],
    centers: NDArray[np.int64],
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    cell: int,
    rows: int,
    columns: int,
    found: NDArray[np.int64],
) -> None:
    """Fill in the index of the nearest center of each point.

    Rings of cells around that of the point are searched until no cell of the next can have a nearer one: all
    of ring r are at least (r - 1) cells away, from a point outside the image, too.

    Args:
        points_y: rows of the points (N,).
        points_x: columns of the points (N,).
        centers: (K, 2) as (y, x).
        order: indices of the centers (K,), cell by cell.
        starts: where each cell begins in `order`, and the end of the last.
        cell: side of a cell in pixels.
        rows: rows of cells.
        columns: columns of cells.
        found: (N,), filled in place.
    """
    for number in range(len(points_y)):
        y, x = points_y[number], points_x[number]
        home_y = int(min(max(y // cell, 0.0), rows - 1.0))
        home_x = int(min(max(x // cell, 0.0), columns - 1.0))
        best, nearest = np.inf, -1
        for ring in range(max(rows, columns)):
            reach = max(0, ring - 1) * cell
            if nearest >= 0 and reach * reach > best:
                break
            for cell_y in range(max(0, home_y - ring), min(rows - 1, home_y + ring) + 1):
                # Of rows between the first and the last of the ring, only both ends.
                step = 1 if abs(cell_y - home_y) == ring else max(1, 2 * ring)
                for cell_x in range(home_x - ring, home_x + ring + 1, step):
                    if not 0 <= cell_x < columns:
                        continue
                    place = cell_y * columns + cell_x
                    for index in order[starts[place] : starts[place + 1]]:
                        away_y, away_x = y - centers[index, 0], x - centers[index, 1]
                        distance = away_y * away_y + away_x * away_x
                        if distance < best or (distance == best and index < nearest):
                            best, nearest = distance, index
        found[number] = nearest
