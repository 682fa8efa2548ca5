"""Which segments of two panoptic maps share pixels, and which match."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.panoptic.map import IntArray


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
