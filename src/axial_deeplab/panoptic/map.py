"""Panoptic maps in memory: ids, void, segments, and how to measure, rename and compare them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

VOID = 0
LABEL_DIVISOR = 10_000
# Instances that LABEL_DIVISOR has no room for have ids from here on: 13 bits of the class, 17 of the rest.
_FURTHER = 1 << 30
_FURTHER_BITS = 17

IntArray = NDArray[np.integer[Any]]
PanopticMap = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment of a panoptic map.

    Args:
        id: its value in the map, never 0.
        train_id: its category, an index into `Categories`.
        area: pixels.
        is_crowd: a region of several instances that are not told apart.
        score: confidence 0..1 of a prediction.
        bbox: left, top, width, height in pixels.
    """

    id: int
    train_id: int
    area: int
    is_crowd: bool = False
    score: float | None = None
    bbox: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Panoptic:
    """A panoptic segmentation of an image, true or predicted; `map, segments = panoptic` unpacks it.

    Shapes:
        map (H, W) int32.

    Args:
        map: id of the segment of each pixel, 0 for void. Ids are `panoptic_id`s wherever we make them.
        segments: one for each value of the map but void.
    """

    map: PanopticMap
    segments: Sequence[Segment]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.map, self.segments))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.map.shape[0], self.map.shape[1]

    def measured(self) -> "Panoptic":
        """Return the map with those segments that it shows, their areas and boxes counted again."""
        columns = zip(*(column.tolist() for column in measure_segments(self.map)), strict=True)
        shown = {value: {"area": area, "bbox": tuple(box)} for value, area, box in columns}
        return Panoptic(self.map, tuple(replace(s, **shown[s.id]) for s in self.segments if s.id in shown))


def panoptic_id(train_id: int, instance_id: int = 0, label_divisor: int = LABEL_DIVISOR) -> int:
    """Return the value of a segment in a panoptic map.

    It is `(train_id + 1) * label_divisor + instance_id`. With `LABEL_DIVISOR`, instances from there on have
    2^30 + train_id * 2^17 + what exceeds it; up to 141,071 of a class.

    Raises:
        ValueError: the instance does not fit under the divisor, or the value does not fit into int32.
    """
    has_more = label_divisor == LABEL_DIVISOR
    highest = label_divisor - 1 + (has_more << _FURTHER_BITS)
    if not 0 <= instance_id <= highest:
        raise ValueError(
            f"instance_id must be from 0 to {highest}, got {instance_id}; "
            "cut the image into smaller ones, or choose another label_divisor in Python"
        )
    most = int(np.iinfo(np.int32).max)
    if instance_id < label_divisor:
        value = (train_id + 1) * label_divisor + instance_id
        most = _FURTHER - 1 if has_more else most
    else:
        value = _FURTHER + (train_id << _FURTHER_BITS) + instance_id - label_divisor
    if value > most:
        raise ValueError(
            f"label_divisor must keep (train_id + 1) * label_divisor within int32, got {label_divisor} "
            f"for train_id {train_id}; choose a smaller one"
        )
    return value


def semantic_map(
    panoptic: IntArray, *, label_divisor: int = LABEL_DIVISOR, ignore_label: int = 255
) -> PanopticMap:
    """Return the train id of every pixel of a panoptic map, `ignore_label` where it is void."""
    values = np.asarray(panoptic, dtype=np.int32)
    train_ids = values // label_divisor - 1
    train_ids[train_ids < 0] = ignore_label
    if label_divisor == LABEL_DIVISOR and values.max(initial=0) >= _FURTHER:
        is_further = values >= _FURTHER
        train_ids[is_further] = (values[is_further] - _FURTHER) >> _FURTHER_BITS
    return train_ids


def measure_segments(panoptic: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Count the pixels of every value of a map and find its bounding box.

    *Shapes*: H, W the map, S the number of different values, void included.

    Args:
        panoptic: any integer map (H, W), a panoptic map or the ids of a PNG.

    Returns:
        values (S,) in ascending order, areas (S,) in pixels, boxes (S, 4) as left, top, width, height.
    """
    runs = find_runs(panoptic)
    values, segment_of_run = np.unique(runs.values, return_inverse=True)
    width = panoptic.shape[1]
    rows, lefts = runs.starts // width, runs.starts % width
    areas = np.zeros(len(values), dtype=np.int64)
    np.add.at(areas, segment_of_run, runs.lengths)
    low = np.full((len(values), 2), np.iinfo(np.int64).max)
    high = np.full((len(values), 2), -1)
    np.minimum.at(low[:, 0], segment_of_run, lefts)
    np.minimum.at(low[:, 1], segment_of_run, rows)
    np.maximum.at(high[:, 0], segment_of_run, lefts + runs.lengths)
    np.maximum.at(high[:, 1], segment_of_run, rows + 1)
    return values, areas, np.concatenate((low, high - low), axis=1)


class Runs(NamedTuple):
    """Stretches of one value along the rows: start in pixels from the first of the map, length in pixels."""

    values: IntArray
    starts: IntArray
    lengths: IntArray


def find_runs(panoptic: IntArray) -> Runs:
    """Cut a map into horizontal runs of one value: about a hundred times fewer than pixels."""
    flat = np.ascontiguousarray(panoptic).ravel()
    is_start = np.empty(flat.size, dtype=bool)
    is_start[1:] = flat[1:] != flat[:-1]
    is_start[:: panoptic.shape[1] or 1] = True
    starts = np.flatnonzero(is_start)
    return Runs(flat[starts], starts, np.diff(starts, append=flat.size))


def relabel(panoptic: IntArray, mapping: Mapping[int, int]) -> PanopticMap:
    """Replace every value of a map; values that `mapping` lacks become 0."""
    runs = find_runs(panoptic)
    values, segment_of_run = np.unique(runs.values, return_inverse=True)
    replacements = np.array([mapping.get(value, 0) for value in values.tolist()], dtype=np.int32)
    return np.repeat(replacements[segment_of_run], runs.lengths).reshape(panoptic.shape)


def resized_map(values: PanopticMap, size: tuple[int, int]) -> PanopticMap:
    """Return a map (h, w) at another (height, width), each pixel from the nearest pixel center."""
    rows, columns = ((np.arange(new) + 0.5) * old / new for new, old in zip(size, values.shape, strict=True))
    return values[np.ix_(rows.astype(np.intp), columns.astype(np.intp))]


class Overlaps(NamedTuple):
    """The pairs of one value of a true map and one of a predicted map that share pixels; areas in pixels."""

    gt_ids: IntArray
    pred_ids: IntArray
    areas: NDArray[np.float64]


def count_overlaps(gt_map: IntArray, pred_map: IntArray) -> Overlaps:
    """Count the pixels that each value of one map shares with each value of the other.

    It sorts the runs of one pair along the rows instead of the pixels: about a hundred times fewer.

    *Shapes*: both maps (H, W).

    Raises:
        ValueError: the maps differ in size.
    """
    gt_map, pred_map = np.asarray(gt_map), np.asarray(pred_map)
    if gt_map.shape != pred_map.shape or gt_map.ndim != 2:
        raise ValueError(
            f"pred_map must have the size (H, W) of gt_map, got {pred_map.shape} for {gt_map.shape}; "
            "predict at the original size of the image"
        )
    gt_ids, pred_ids = gt_map.ravel(), pred_map.ravel()
    is_start = np.ones(gt_ids.size, dtype=bool)
    is_start[1:] = (gt_ids[1:] != gt_ids[:-1]) | (pred_ids[1:] != pred_ids[:-1])
    starts = np.flatnonzero(is_start)
    pairs = gt_ids[starts].astype(np.int64) << 32 | pred_ids[starts].astype(np.int64)
    values, pair_of_run = np.unique(pairs, return_inverse=True)
    lengths = np.diff(starts, append=gt_ids.size)
    areas = np.bincount(pair_of_run, lengths, minlength=len(values)).astype(np.float64)
    return Overlaps(values >> 32, values & 0xFFFFFFFF, areas)


class SegmentMatches(NamedTuple):
    """How the segments of one image compare, by their ids.

    Attributes:
        matched: true id, predicted id and intersection over union of each pair.
        false: predicted ids without a match that count against the prediction.
        missed: true ids without a match.
    """

    matched: list[tuple[int, int, float]]
    false: list[int]
    missed: list[int]
