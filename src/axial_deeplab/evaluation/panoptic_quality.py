"""Panoptic quality (PQ): how well segments match, and how many have a match."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from axial_deeplab.data.categories import Categories
from axial_deeplab.evaluation.quality_table import PanopticQualityResult, summarize
from axial_deeplab.panoptic_format import (
    VOID,
    AnnotationEntry,
    IntArray,
    PanopticJson,
    Segment,
    from_coco_annotation,
    measure_segments,
    path_in_folder,
    read_panoptic_png,
)

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_DEFAULT_WORKERS = 4


class PanopticQuality:
    """Panoptic quality, image by image: a running sum of four numbers for each class.

    A predicted and a true segment of one class match if their intersection over union is above 0.5; void
    pixels are taken out of the union. Predictions that lie to more than half in void and crowd of their class
    are not counted. Areas are always counted in the maps.

    Shards are merged with `+=`; across processes sum the float64 array `state` (4, classes).

    Args:
        categories: the label space.
        all_crowds: take every crowd of a class as one region. False takes only the last one of each class in
            an image, as panopticapi does; this matters only where an image has several crowds of a class.

    Source:
        Kirillov et al. 2019, Panoptic Segmentation, section 4; the rules for void and crowd follow
        panopticapi, see docs/deviations.md, "Metrics".
    """

    def __init__(self, categories: Categories, *, all_crowds: bool = False) -> None:
        self.categories = categories
        self.all_crowds = all_crowds
        self.state = np.zeros((4, len(categories)), dtype=np.float64)

    def update(
        self,
        gt_map: IntArray,
        gt_segments: Sequence[Segment],
        pred_map: IntArray,
        pred_segments: Sequence[Segment],
    ) -> None:
        """Add one image.

        *Shapes*: the maps (H, W), 0 is void; the other values are the ids of the segments. Segments without
        pixels are skipped.

        Raises:
            ValueError: the maps differ in size, or a map and its segments do not fit together.
        """
        self.state += self.count(gt_map, gt_segments, pred_map, pred_segments)

    def __iadd__(self, other: "PanopticQuality") -> Self:
        if other.categories != self.categories:
            raise ValueError(
                f"other must have the same categories, got {other.categories} for {self.categories}; "
                "merge only shards of one data set"
            )
        self.state += other.state
        return self

    def compute(self) -> PanopticQualityResult:
        """Return the quality of all images so far, in percent."""
        return summarize(self.categories, self.state)

    def count(
        self,
        gt_map: IntArray,
        gt_segments: Sequence[Segment],
        pred_map: IntArray,
        pred_segments: Sequence[Segment],
    ) -> NDArray[np.float64]:
        """Return the state of one image alone (arguments as in `update`).

        Returns:
            (4, classes): the sum of IoU over the matched segments, then true positives, false positives and
            false negatives.
        """
        gt_map, pred_map = np.asarray(gt_map), np.asarray(pred_map)
        if gt_map.shape != pred_map.shape or gt_map.ndim != 2:
            raise ValueError(
                f"pred_map must have the size (H, W) of gt_map, got {pred_map.shape} for {gt_map.shape}; "
                "predict at the original size of the image"
            )
        gt_ids, pred_ids, overlaps = _overlaps(gt_map, pred_map)
        num_classes = len(self.categories)
        gt = _SegmentTable.of("gt", gt_ids, gt_segments, num_classes)
        pred = _SegmentTable.of("pred", pred_ids, pred_segments, num_classes)
        gt_rows, pred_rows = gt.rows(gt_ids), pred.rows(pred_ids)
        gt_areas = np.bincount(gt_rows, weights=overlaps, minlength=len(gt.ids))
        pred_areas = np.bincount(pred_rows, weights=overlaps, minlength=len(pred.ids))
        in_void = gt_rows == 0
        void_areas = np.bincount(pred_rows[in_void], weights=overlaps[in_void], minlength=len(pred.ids))

        # Row 0 of both tables is void, of class -1; it is excluded here and below.
        comparable = (gt.classes[gt_rows] == pred.classes[pred_rows]) & ~in_void & ~gt.is_crowd[gt_rows]
        of_gt, of_pred, overlap = gt_rows[comparable], pred_rows[comparable], overlaps[comparable]
        iou = overlap / (gt_areas[of_gt] + pred_areas[of_pred] - overlap - void_areas[of_pred])
        matched = iou > 0.5
        gt_is_free, pred_is_free = gt_areas > 0, pred_areas > 0
        gt_is_free[of_gt[matched]] = False
        pred_is_free[of_pred[matched]] = False
        gt_is_free &= ~gt.is_crowd & (gt.ids != VOID)

        is_ignored = in_void | (
            self._counting_crowds(gt)[gt_rows] & (gt.classes[gt_rows] == pred.classes[pred_rows])
        )
        ignored_areas = np.bincount(
            pred_rows[is_ignored], weights=overlaps[is_ignored], minlength=len(pred.ids)
        )
        pred_is_free &= (2 * ignored_areas <= pred_areas) & (pred.ids != VOID)

        matched_classes = gt.classes[of_gt[matched]]
        return np.stack(
            [
                np.bincount(matched_classes, weights=iou[matched], minlength=num_classes),
                np.bincount(matched_classes, minlength=num_classes),
                np.bincount(pred.classes[pred_is_free], minlength=num_classes),
                np.bincount(gt.classes[gt_is_free], minlength=num_classes),
            ]
        )

    def _counting_crowds(self, gt: "_SegmentTable") -> NDArray[np.bool_]:
        if self.all_crowds:
            return gt.is_crowd
        counting = np.zeros_like(gt.is_crowd)
        last_of_class = {gt.classes[row]: row for row in np.flatnonzero(gt.is_crowd)}
        counting[list(last_of_class.values())] = True
        return counting


class _SegmentTable(NamedTuple):
    """The segments of one map as columns, in their order; row 0 is void."""

    ids: IntArray
    classes: IntArray
    is_crowd: NDArray[np.bool_]

    @classmethod
    def of(cls, side: str, ids: IntArray, segments: Sequence[Segment], num_classes: int) -> "_SegmentTable":
        """Make the table of gt_segments or pred_segments, and check that it has all `ids` of the map."""
        table = cls(
            np.array([VOID, *(segment.id for segment in segments)], dtype=np.int64),
            np.array([-1, *(segment.train_id for segment in segments)], dtype=np.int64),
            np.array([False, *(segment.is_crowd for segment in segments)]),
        )
        if len(np.unique(table.ids)) != len(table.ids):
            raise ValueError(
                f"{side}_segments must have unique ids other than 0, got {sorted(table.ids[1:].tolist())}; "
                "number the segments anew"
            )
        wrong = table.classes[1:][(table.classes[1:] < 0) | (table.classes[1:] >= num_classes)]
        if wrong.size:
            raise ValueError(
                f"{side}_segments must have train ids from 0 to {num_classes - 1}, got {wrong[0]}; "
                "map the data set's ids with Categories.train_id"
            )
        unknown = np.setdiff1d(ids, table.ids)
        if unknown.size:
            raise ValueError(
                f"{side}_segments must have one entry for each value of {side}_map, got none for "
                f"{unknown[0]}; add it"
            )
        return table

    def rows(self, ids: IntArray) -> IntArray:
        """Return the row of each id."""
        order = np.argsort(self.ids)
        return order[np.searchsorted(self.ids, ids, sorter=order)]


def _overlaps(gt_map: IntArray, pred_map: IntArray) -> tuple[IntArray, IntArray, NDArray[np.float64]]:
    """Return the pairs (gt id, pred id) that share pixels, and how many.

    Counts runs of one pair along the rows instead of pixels: about a hundred times fewer to sort.
    """
    pairs = (gt_map.astype(np.int64) << 32 | pred_map.astype(np.int64)).ravel()
    is_start = np.ones(pairs.size, dtype=bool)
    is_start[1:] = pairs[1:] != pairs[:-1]
    starts = np.flatnonzero(is_start)
    values, pair_of_run = np.unique(pairs[starts], return_inverse=True)
    overlaps = np.bincount(pair_of_run, weights=np.diff(starts, append=pairs.size), minlength=len(values))
    return values >> 32, values & 0xFFFFFFFF, overlaps.astype(np.float64)


def evaluate_files(
    gt_json: str | os.PathLike[str],
    gt_folder: str | os.PathLike[str] | None,
    pred_json: str | os.PathLike[str],
    pred_folder: str | os.PathLike[str] | None,
    *,
    num_workers: int | None = None,
    all_crowds: bool = False,
    progress: bool = False,
) -> PanopticQualityResult:
    """Compute the panoptic quality of predictions on disk, both sides in the COCO panoptic format.

    Args:
        gt_json: ground truth, with categories.
        gt_folder: its PNG files; None is the JSON's path without ".json".
        pred_json: predictions; only its annotations are read. Images without ground truth are left out.
        pred_folder: its PNG files; None as above.
        num_workers: threads; None is one a processor, at most 4. The result does not depend on it.
        all_crowds: see `PanopticQuality`.
        progress: show a progress bar.

    Returns:
        The quality in percent. Areas are counted in the PNG files; where the JSON of the ground truth says
        something else, a warning tells.

    Raises:
        ValueError: a file is broken, or a JSON and its PNG files do not fit together; the message says where.
        OSError: a file is missing.
    """
    if num_workers is None:
        num_workers = min(MAX_DEFAULT_WORKERS, os.cpu_count() or 1)
    if num_workers < 1:
        raise ValueError(
            f"num_workers must be at least 1, got {num_workers}; leave it out for one a processor"
        )
    ground_truth = PanopticJson.read(gt_json)
    predictions = PanopticJson.read(pred_json, categories=ground_truth.categories)
    gt_root, pred_root = _existing_folder(gt_folder, gt_json), _existing_folder(pred_folder, pred_json)
    pairs = _paired_annotations(ground_truth, predictions)
    metric = PanopticQuality(ground_truth.categories, all_crowds=all_crowds)

    def evaluate(pair: tuple[AnnotationEntry, AnnotationEntry]) -> tuple[NDArray[np.float64], list[str]]:
        gt_entry, pred_entry = pair
        size = ground_truth.image_size(gt_entry.image_id)
        gt_path = path_in_folder(gt_root, gt_entry.file_name)
        pred_path = path_in_folder(pred_root, pred_entry.file_name)
        gt_ids, pred_ids = read_panoptic_png(gt_path), read_panoptic_png(pred_path)
        gt = from_coco_annotation(gt_ids, gt_entry, metric.categories, size=size, source=gt_path)
        pred = from_coco_annotation(
            pred_ids, pred_entry, metric.categories, size=gt_ids.shape, allow_empty=False, source=pred_path
        )
        return metric.count(*gt, *pred), _stale_areas(gt_entry, gt_ids)

    stale: list[str] = []
    for state, messages in tqdm(
        _map_in_order(evaluate, pairs, num_workers), total=len(pairs), disable=not progress
    ):
        metric.state += state
        stale += messages
    if stale:
        warnings.warn(
            f"{gt_json}: area of {len(stale)} segments is not what the PNG has ({stale[0]}"
            f"{', ...' if len(stale) > 1 else ''}); counted in the PNG instead",
            stacklevel=2,
        )
    return metric.compute()


def _existing_folder(folder: str | os.PathLike[str] | None, json_path: str | os.PathLike[str]) -> Path:
    path = Path(json_path).with_suffix("") if folder is None else Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"folder of PNG files must exist, got {path}; name it beside {json_path}")
    return path


def _paired_annotations(
    ground_truth: PanopticJson, predictions: PanopticJson
) -> list[tuple[AnnotationEntry, AnnotationEntry]]:
    if not ground_truth.annotations:
        raise ValueError(
            f"{ground_truth.path}: annotations must not be empty, got none; there is nothing to evaluate"
        )
    pairs = []
    for image_id, annotation in ground_truth.annotations.items():
        if image_id not in predictions.annotations:
            raise ValueError(
                f"{predictions.path}: annotations must have every image of the ground truth, "
                f"got none for image {image_id!r}; predict it, with empty segments_info if nothing is found"
            )
        pairs.append((annotation, predictions.annotations[image_id]))
    return pairs


def _stale_areas(entry: AnnotationEntry, ids: IntArray) -> list[str]:
    """Tell which areas of a JSON are missing or not what its PNG has."""
    values, areas, _ = measure_segments(ids)
    counted = dict(zip(values.tolist(), areas.tolist(), strict=True))
    return [
        f"image {entry.image_id!r} segment {segment.id}: {segment.area} instead of {counted[segment.id]}"
        for segment in entry.segments
        if segment.id in counted and segment.area != counted[segment.id]
    ]


def _map_in_order(
    function: Callable[[Item], Result], items: Sequence[Item], num_workers: int
) -> Iterator[Result]:
    """Map in threads (decoding and counting release the interpreter lock); results keep the order."""
    if num_workers == 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(num_workers)
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)
