"""Outlines of regions along the edges of their pixels, exact: filled, they give the region again.

The pixel in row r and column c is the square from (c, r) to (c + 1, r + 1), so that (0, 0) is the corner of
the picture and (c + 0.5, r + 0.5) the center of the pixel. A pixel belongs to an outline if its center does,
which leaves no doubt: all corners are whole numbers.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

# Corners (N, 2) as x, y, in order; the last is joined to the first.
Ring = NDArray[np.int64]
# The outline first, then its holes.
Polygon = list[Ring]

_NW, _NE, _SW, _SE = 1, 2, 4, 8


def trace_outlines(bands: Iterable[NDArray[np.bool_]], left: int = 0, top: int = 0) -> list[Polygon]:
    """Return the outlines of a region: a polygon for each part, whose pixels touch at their sides.

    Rings have no corner twice and never cross; they may touch at corners. Outlines run clockwise as the
    picture is seen, holes counterclockwise, so that the even-odd and the nonzero rule fill alike.

    Args:
        bands: which pixels are of the region, from top to bottom, any number of rows (h, W) at a time.
        left: column of the first pixel in the picture.
        top: row of the first pixel in the picture.
    """
    y, x, kind = _corners(bands)
    rings = list(_rings(y, x, kind))
    areas = [_signed_area(ring) for ring in rings]
    shift = np.array([left, top])
    outer = {place: [ring + shift] for place, ring in enumerate(rings) if areas[place] > 0}
    holes = [place for place, area in enumerate(areas) if area < 0]
    for hole, parent in zip(holes, _parents(rings, holes, list(outer)), strict=True):
        outer[parent].append(rings[hole] + shift)
    return list(outer.values())


def joined(polygons: Sequence[Polygon]) -> Ring:
    """Return one ring that fills like all polygons of a region, for formats without holes and parts.

    From the first corner it runs to each ring, around it, and the same way back: these bridges have no area.
    """
    first, *others = [ring for polygon in polygons for ring in polygon]
    if not others:
        return first
    start = first[:1]
    # Back at its start after each ring, so that every bridge is passed twice.
    loops = [piece for ring in others for piece in (ring, ring[:1], start)]
    return np.concatenate([first, start, *loops[:-1]])


def _corners(
    bands: Iterable[NDArray[np.bool_]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Return row, column and kind of all corners in reading order; where two pixels touch there, twice.

    The kind says which of the four pixels around the corner are in the region.
    """
    turns = np.zeros(16, np.uint8)
    turns[[1, 2, 4, 8, 7, 11, 13, 14]] = 1
    turns[[_NW + _SE, _NE + _SW]] = 2
    found = []
    first, above = 0, np.zeros((1, 2), np.uint8)
    for band in chain(bands, [np.zeros((1, 0), bool)]):  # below the last row there is nothing
        width = band.shape[1] or above.shape[1] - 2
        padded = np.zeros((len(band) + 1, width + 2), np.uint8)
        if first:
            padded[:1] = above
        if band.size:
            padded[1:, 1:-1] = band
        kinds = padded[:-1, :-1] * _NW + padded[:-1, 1:] * _NE + padded[1:, :-1] * _SW + padded[1:, 1:] * _SE
        count = turns[kinds]
        y, x = np.nonzero(count)
        times = count[y, x]
        found.append((np.repeat(y + first, times), np.repeat(x, times), np.repeat(kinds[y, x], times)))
        first, above = first + len(band), padded[-1:]
    ys, xs, of_corners = zip(*found, strict=True)
    return np.concatenate(ys), np.concatenate(xs), np.concatenate(of_corners)


def _rings(y: NDArray[np.int64], x: NDArray[np.int64], kind: NDArray[np.uint8]) -> Iterator[Ring]:
    """Join corners to rings that have the region on their right.

    In each row, corners are the ends of horizontal edges in turn: the first and the second, the third and the
    fourth. In each column so of vertical ones. Where pixels touch at a corner, each of its two copies turns
    around one of them.
    """
    # The first copy in a row has the edge to the left. Around north-east and south-west it goes on downward.
    is_second = np.zeros(len(y), bool)
    is_second[1:] = (y[1:] == y[:-1]) & (x[1:] == x[:-1])
    order = np.lexsort((is_second ^ (kind == _NE + _SW), y, x))
    below = np.empty(len(y), np.int64)
    below[order[::2]], below[order[1::2]] = order[1::2], order[::2]
    region_is_below = (kind[::2] & _SE > 0).tolist()
    across, xs, ys = below.tolist(), x.tolist(), y.tolist()
    visited = [False] * len(xs)
    for first in range(0, len(xs), 2):
        if visited[first]:
            continue
        ring: list[tuple[int, int]] = []
        places: dict[tuple[int, int], int] = {}
        # To the right if the region is below the edge, else to the left.
        start = place = first if region_is_below[first // 2] else first + 1
        while True:
            for corner in (place, place ^ 1):
                visited[corner] = True
                point = xs[corner], ys[corner]
                if point in places:  # a loop that only touches the rest here
                    at = places[point]
                    yield np.array(ring[at:], np.int64)
                    for gone in ring[at + 1 :]:
                        del places[gone]
                    del ring[at + 1 :]
                else:
                    places[point] = len(ring)
                    ring.append(point)
            place = across[place ^ 1]
            if place == start:
                break
        yield np.array(ring, np.int64)


def _signed_area(ring: Ring) -> int:
    """Return twice the area, positive if the ring runs clockwise as the picture is seen."""
    x, y = ring[:, 0], ring[:, 1]
    return int(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _parents(rings: Sequence[Ring], holes: Sequence[int], outer: Sequence[int]) -> list[int]:
    """Return the outline that each hole lies in."""
    if len(outer) <= 1:
        return [*outer] * len(holes)
    # Edges of single pixels that have the region on their right hand, as seen: row, column and ring of each.
    rows, columns, owners = [], [], []
    for place, ring in enumerate(rings):
        after = np.roll(ring, -1, axis=0)
        upward = after[:, 1] < ring[:, 1]
        lengths = (ring[:, 1] - after[:, 1])[upward]
        offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows.append(np.repeat(after[upward, 1], lengths) + offsets)
        columns.append(np.repeat(ring[upward, 0], lengths))
        owners.append(np.full(lengths.sum(), place))
    width = 1 + max(int(column.max()) for column in columns)
    keys = np.concatenate(rows) * width + np.concatenate(columns)
    order = np.argsort(keys)
    keys, owner = keys[order], np.concatenate(owners)[order]
    parent = {place: place for place in outer}
    # The pixel above the top left corner of a hole is in the region; where its row enters the region is the
    # outline, or a hole of the same part that begins higher.
    tops = {hole: min((int(y), int(x)) for x, y in rings[hole]) for hole in holes}
    for hole in sorted(holes, key=tops.__getitem__):
        y, x = tops[hole]
        parent[hole] = parent[int(owner[np.searchsorted(keys, (y - 1) * width + x, side="right") - 1])]
    return [parent[hole] for hole in holes]
