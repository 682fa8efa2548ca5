"""The nearest center of each point, found in a grid of cells: the time hardly depends on the centers."""

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.util.compile import compile_for_threads

# A squared distance rounded to float32, or to float64, is at least this part of the exact one.
_AFTER_ROUNDING = 1 - 1e-6
# Squares of larger numbers are no float32: all centers are equally far.
_TOO_FAR = 1e18


class CenterGrid:
    """Centers, sorted into square cells with about one of them each, so that few must be looked at.

    Squared distances are compared, rounded to the type of the centers as a comparison with all of them would
    round: the result is the same for every point. The cells around a point are searched in growing squares
    until nothing outside can be nearer.

    Shapes:
        centers (K, 2) as (y, x).

    Args:
        centers: coordinates of the centers, at least one, float32 or float64.
    """

    def __init__(self, centers: NDArray[np.floating]) -> None:
        low = centers.min(axis=0).astype(np.float64)
        high = centers.max(axis=0).astype(np.float64)
        extent = np.maximum(high - low, 1)
        side = max(math.sqrt(extent[0] * extent[1] / len(centers)), extent.max() / 4096)
        rows, columns = (int(each) for each in extent // side + 1)
        cells = ((centers - low) // side).astype(np.int64) @ np.array([columns, 1])
        order = np.argsort(cells, kind="stable")
        starts = np.searchsorted(cells[order], np.arange(rows * columns + 1))
        self._dtype = centers.dtype
        in_cells = np.ascontiguousarray(centers[order])
        self._cells = (in_cells, order, starts, rows, columns, side, low[0], low[1])

    def nearest(self, y: NDArray[np.floating], x: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the index of the nearest center of each point (N,), of equally near ones the first.

        Args:
            y: first coordinates of the points (N,), of the type of the centers; any number, infinite and NaN
                ones belong to the first center.
            x: second coordinates.
        """
        nearest = np.zeros(len(y), np.int64)
        _compiled_search(self._dtype.name)(*self._cells, y, x, nearest)
        return nearest


@cache
def _compiled_search(dtype: str) -> Any:
    signature = (
        f"void({dtype}[:, ::1], int64[::1], int64[::1], int64, int64, float64, float64, float64, "
        f"{dtype}[::1], {dtype}[::1], int64[::1])"
    )
    return compile_for_threads(search, signature)


def search(
    centers: NDArray[np.floating],
    numbers: NDArray[np.int64],
    starts: NDArray[np.int64],
    rows: int,
    columns: int,
    side: float,
    top: float,
    left: float,
    y: NDArray[np.floating],
    x: NDArray[np.floating],
    nearest: NDArray[np.int64],
) -> None:
    """Find the nearest center of each point.

    Args:
        centers: coordinates (K, 2), ordered by cell.
        numbers: index of each of them in the caller's order (K,).
        starts: where each cell begins in them (rows x columns + 1,).
        rows: cells in a column of the grid.
        columns: cells in a row of it.
        side: length of a cell, pixels.
        top: where the grid begins.
        left: the same, to the left.
        y: coordinates of the points (N,).
        x: the same, second.
        nearest: indices in the caller's order (N,), filled in place.
    """
    best_place = 0
    bottom, right = top + rows * side, left + columns * side
    for point in range(len(y)):
        point_y, point_x = y[point], x[point]
        if not (abs(point_y) < _TOO_FAR and abs(point_x) < _TOO_FAR):
            continue
        # The center of the point before is likely to be this one's: the search ends soon.
        along_y, along_x = point_y - centers[best_place, 0], point_x - centers[best_place, 1]
        best = along_y * along_y + along_x * along_x
        beside_y = max(top - point_y, point_y - bottom, 0.0)  # how far the point lies beside the grid
        beside_x = max(left - point_x, point_x - right, 0.0)
        row = min(max(int((point_y - top) // side), 0), rows - 1)
        column = min(max(int((point_x - left) // side), 0), columns - 1)
        reach = 0
        while True:
            first_row, last_row = max(row - reach, 0), min(row + reach, rows - 1)
            first_column, last_column = column - reach, column + reach
            for y_cell in range(first_row, last_row + 1):
                # Of the rows between the first and the last the two ends are new.
                step = 1 if abs(y_cell - row) == reach else 2 * reach
                for x_cell in range(first_column, last_column + 1, step):
                    if not 0 <= x_cell < columns:
                        continue
                    cell = y_cell * columns + x_cell
                    for place in range(starts[cell], starts[cell + 1]):
                        along_y, along_x = point_y - centers[place, 0], point_x - centers[place, 1]
                        distance = along_y * along_y + along_x * along_x
                        if distance < best or (distance == best and numbers[place] < numbers[best_place]):
                            best, best_place = distance, place
            # No center in the cells that were not searched is nearer than this.
            outside = np.inf
            if first_row > 0:
                outside = min(outside, (point_y - (top + first_row * side)) ** 2 + beside_x**2)
            if last_row < rows - 1:
                outside = min(outside, (top + (last_row + 1) * side - point_y) ** 2 + beside_x**2)
            if first_column > 0:
                outside = min(outside, (point_x - (left + first_column * side)) ** 2 + beside_y**2)
            if last_column < columns - 1:
                outside = min(outside, (left + (last_column + 1) * side - point_x) ** 2 + beside_y**2)
            if outside * _AFTER_ROUNDING > best:
                break
            reach += 1
        nearest[point] = numbers[best_place]
