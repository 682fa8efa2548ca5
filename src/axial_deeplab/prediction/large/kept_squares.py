"""Parts of a large map that are kept, since neighboring windows share them."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.prediction.large.tiling import Window, square

KEPT_BYTES = 2**27


class KeptSquares:
    """A map that is read by windows from squares, of which the last ones are kept.

    Args:
        size: (height, width) in pixels.
        side: side of the squares in pixels.
        read: returns the values (h, w, ...) of a square, which ends with the map.
    """

    def __init__(self, size: tuple[int, int], side: int, read: Callable[[Window], NDArray[Any]]) -> None:
        self.size, self.side = size, side
        self._read = read
        self._kept: OrderedDict[Window, NDArray[Any]] = OrderedDict()
        self._num_bytes = 0

    def read(self, window: Window) -> NDArray[Any]:
        """Return the values of a window (h, w, ...)."""
        side = self.side
        first = window.top // side, window.left // side
        last = (window.bottom - 1) // side, (window.right - 1) // side
        if first == last:
            square, there = self._square(*first)
            return square[window.within(there)]
        values: NDArray[Any] | None = None
        for row in range(first[0], last[0] + 1):
            for column in range(first[1], last[1] + 1):
                square, there = self._square(row, column)
                if values is None:
                    values = np.empty((*window.shape, *square.shape[2:]), square.dtype)
                shared = window.shared(there)
                values[shared.within(window)] = square[shared.within(there)]
        assert values is not None
        return values

    def _square(self, row: int, column: int) -> tuple[NDArray[Any], Window]:
        """Return a square and where it is."""
        window = square(row * self.side, column * self.side, self.side, self.size)
        if window in self._kept:
            self._kept.move_to_end(window)
            return self._kept[window], window
        values = self._kept[window] = self._read(window)
        self._num_bytes += values.nbytes
        while self._num_bytes > KEPT_BYTES and len(self._kept) > 1:
            self._num_bytes -= self._kept.popitem(last=False)[1].nbytes
        return values, window
