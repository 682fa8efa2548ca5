"""Panoptic quality (PQ): how well segments match, and how many have a match."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from axial_deeplab.data.convert.id_maps import read_id_map
from axial_deeplab.data.convert.instance_maps import (
    InstanceReading,
    look_for_background,
    look_for_cut_numbers,
    look_for_nodata,
)
from axial_deeplab.data.image_warnings import told_together
from axial_deeplab.evaluation.exact_sums import split_iou
from axial_deeplab.evaluation.foreign import find_labels, from_labels
from axial_deeplab.evaluation.quality_table import PanopticQualityResult, summarize
from axial_deeplab.evaluation.workers import check_num_workers, map_in_order
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.coco_json import (
    AnnotationEntry,
    PanopticJson,
    check_size,
    entries_with_pixels,
)
from axial_deeplab.panoptic.json_entries import id_among
from axial_deeplab.panoptic.map import (
    VOID,
    IntArray,
    Overlaps,
    Panoptic,
    Segment,
    SegmentMatches,
    count_overlaps,
)
from axial_deeplab.panoptic.png import read_panoptic_png
from axial_deeplab.util.file_names import NamedFiles
from axial_deeplab.util.text import shortened

# Whose rule tells which segments match.
Rule = Literal["panopticapi", "stardist", "torchmetrics"]


class PanopticQuality:
    """Panoptic quality, image by image: running sums for each class.

    A predicted and a true segment of one class match if their intersection over union is above 0.5; void
    pixels are taken out of the union. Predictions that lie to more than half in void and crowd of their class
    are not counted. Areas are always counted in the maps.

    Shards are merged with `+=`; across processes sum the int64 array `state` (5, classes). The sums are
    exact: the result depends neither on the order of the images nor on how they are shared out.

    Args:
        categories: the label space.
        all_crowds: take every crowd of a class as one region. False takes only the last one of each class in
            an image, as panopticapi does; this matters only where an image has several crowds of a class.
        rule: whose rule of matching. stardist: an IoU of 0.5 is a match, too; of two halves of a segment the
            first. torchmetrics: void of the prediction is taken out, as that of the ground truth is, so that
            a segment of which 60 pixels of 100 are found and 40 are void has IoU 1.

    Raises:
        ValueError: the rule is none of these.

    Source:
        Kirillov et al. 2019, Panoptic Segmentation, section 4; the rules for void and crowd follow
        panopticapi, see docs/deviations.md, "Metrics".
    """

    def __init__(
        self, categories: Categories, *, all_crowds: bool = False, rule: Rule = "panopticapi"
    ) -> None:
        if rule not in get_args(Rule):
            raise ValueError(f"rule must be one of {', '.join(get_args(Rule))}, got {rule!r}; choose one")
        self.categories = categories
        self.all_crowds = all_crowds
        self.rule = rule
        self.state = np.zeros((5, len(categories)), dtype=np.int64)

    def update(self, truth: Panoptic, prediction: Panoptic) -> None:
        """Add one image; segments without pixels are skipped.

        Args:
            truth: the ground truth (H, W).
            prediction: the prediction (H, W), with ids of its own.

        Raises:
            ValueError: the maps differ in size, or a map and its segments do not fit together.
        """
        self.state += self.count(
            count_overlaps(truth.map, prediction.map), truth.segments, prediction.segments
        )

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
        self, overlaps: Overlaps, gt_segments: Sequence[Segment], pred_segments: Sequence[Segment]
    ) -> NDArray[np.int64]:
        """Return the state of one image alone.

        Returns:
            (5, classes): the high and the low part of the sum of IoU over the matched segments (see
            `exact_sums`), then true positives, false positives and false negatives.

        Raises:
            ValueError: a map and its segments do not fit together.
        """
        num_classes = len(self.categories)
        gt, pred, matches = self._match(overlaps, gt_segments, pred_segments)
        matched_classes = gt.classes[matches.of_gt]
        state = np.zeros((5, num_classes), dtype=np.int64)
        for row, part in enumerate(split_iou(matches.iou)):
            np.add.at(state[row], matched_classes, part)
        false_classes, missed_classes = pred.classes[matches.is_false], gt.classes[matches.is_missed]
        for row, classes in enumerate((matched_classes, false_classes, missed_classes), 2):
            state[row] = np.bincount(classes, minlength=num_classes)
        return state

    def match(self, truth: Panoptic, prediction: Panoptic) -> SegmentMatches:
        """Tell which segments of one image match, which are false and which were missed; nothing is added.

        The arguments are those of `update`.
        """
        overlaps = count_overlaps(truth.map, prediction.map)
        gt, pred, matches = self._match(overlaps, truth.segments, prediction.segments)
        pairs = zip(gt.ids[matches.of_gt], pred.ids[matches.of_pred], matches.iou, strict=True)
        return SegmentMatches(
            [(int(gt_id), int(pred_id), float(iou)) for gt_id, pred_id, iou in pairs],
            pred.ids[matches.is_false].tolist(),
            gt.ids[matches.is_missed].tolist(),
        )

    def _match(
        self, overlaps: Overlaps, gt_segments: Sequence[Segment], pred_segments: Sequence[Segment]
    ) -> tuple["_SegmentTable", "_SegmentTable", "_Matches"]:
        num_classes = len(self.categories)
        gt = _SegmentTable.of("gt", gt_segments, overlaps.gt_ids, overlaps.areas, num_classes)
        pred = _SegmentTable.of("pred", pred_segments, overlaps.pred_ids, overlaps.areas, num_classes)
        gt_rows, pred_rows = gt.rows(overlaps.gt_ids), pred.rows(overlaps.pred_ids)

        def predicted_area(is_counted: NDArray[np.bool_]) -> NDArray[Any]:
            return np.bincount(pred_rows[is_counted], overlaps.areas[is_counted], minlength=len(pred.ids))

        in_void = gt_rows == 0
        same_class = (gt.classes[gt_rows] == pred.classes[pred_rows]) & ~in_void
        comparable = same_class & ~gt.is_crowd[gt_rows]
        of_gt, of_pred, overlap = gt_rows[comparable], pred_rows[comparable], overlaps.areas[comparable]
        unseen = np.zeros_like(gt.areas)
        if self.rule == "torchmetrics":
            is_void = pred_rows == 0
            np.add.at(unseen, gt_rows[is_void], overlaps.areas[is_void])
        union = (gt.areas - unseen)[of_gt] + (pred.areas - predicted_area(in_void))[of_pred] - overlap
        iou = overlap / union
        is_match = iou > 0.5
        if self.rule == "stardist":
            is_match = _firsts(_firsts(iou >= 0.5, of_gt), of_pred)

        is_missed = (gt.areas > 0) & (gt.classes >= 0) & ~gt.is_crowd & (2 * unseen <= gt.areas)
        is_missed[of_gt[is_match]] = False
        ignored_area = predicted_area(in_void | (same_class & self._counting_crowds(gt)[gt_rows]))
        is_false = (pred.areas > 0) & (pred.classes >= 0) & (2 * ignored_area <= pred.areas)
        is_false[of_pred[is_match]] = False
        return gt, pred, _Matches(of_gt[is_match], of_pred[is_match], iou[is_match], is_false, is_missed)

    def _counting_crowds(self, gt: "_SegmentTable") -> NDArray[np.bool_]:
        if self.all_crowds:
            return gt.is_crowd
        counting = np.zeros_like(gt.is_crowd)
        last_of_class = {gt.classes[row]: row for row in np.flatnonzero(gt.is_crowd)}
        counting[list(last_of_class.values())] = True
        return counting


def _firsts(is_match: NDArray[np.bool_], rows: IntArray) -> NDArray[np.bool_]:
    """Keep the first match of each row."""
    kept = np.zeros_like(is_match)
    places = np.flatnonzero(is_match)
    kept[places[np.unique(rows[places], return_index=True)[1]]] = True
    return kept


class _Matches(NamedTuple):
    """Segments that match, are false and were missed, by the rows of the two tables."""

    of_gt: IntArray
    of_pred: IntArray
    iou: NDArray[np.float64]
    is_false: NDArray[np.bool_]
    is_missed: NDArray[np.bool_]


class _SegmentTable(NamedTuple):
    """The segments of one map as columns, in their order; row 0 is void, of class -1."""

    ids: IntArray
    classes: IntArray
    is_crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        side: str,
        segments: Sequence[Segment],
        ids: IntArray,
        areas: NDArray[np.float64],
        num_classes: int,
    ) -> "_SegmentTable":
        """Make the table of gt_segments or pred_segments; `ids` and `areas` are what the map has."""
        table = cls(
            np.array([VOID, *(segment.id for segment in segments)], dtype=np.int64),
            np.array([-1, *(segment.train_id for segment in segments)], dtype=np.int64),
            np.array([False, *(segment.is_crowd for segment in segments)]),
            np.zeros(len(segments) + 1),
        )
        if len(np.unique(table.ids)) != len(table.ids):
            raise ValueError(
                f"{side}_segments must have unique ids other than 0, got {sorted(table.ids[1:].tolist())}; "
                "number the segments again"
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
        np.add.at(table.areas, table.rows(ids), areas)
        return table

    def rows(self, ids: IntArray) -> IntArray:
        """Return the row of each id."""
        order = np.argsort(self.ids)
        return order[np.searchsorted(self.ids, ids, sorter=order)]


def evaluate_files(
    gt_json: str | os.PathLike[str],
    gt_folder: str | os.PathLike[str] | None,
    pred_json: str | os.PathLike[str],
    pred_folder: str | os.PathLike[str] | None,
    *,
    num_workers: int | None = None,
    all_crowds: bool = False,
    rule: Rule = "panopticapi",
    progress: bool = False,
) -> PanopticQualityResult:
    """Compute the panoptic quality of predictions on disk, both sides in the COCO panoptic format.

    Args:
        gt_json: ground truth, with categories.
        gt_folder: its PNG files; None is the JSON's path without ".json".
        pred_json: predictions. Images without ground truth are left out.
        pred_folder: its PNG files; None as above.
        num_workers: threads; None is one a processor, at most 4. The result does not depend on it.
        all_crowds: see `PanopticQuality`.
        rule: see `PanopticQuality`.
        progress: show a progress bar.

    Returns:
        The quality in percent. Areas are counted in the PNG files; where the JSON of the ground truth says
        something else, a warning tells.

    Raises:
        ValueError: a file is broken, a JSON and its PNG files do not fit together, or the JSON files give a
            class or a picture different ids; the message says where.
        OSError: a file is missing.
    """
    num_workers = check_num_workers(num_workers)
    ground_truth = PanopticJson.read(gt_json)
    predictions = PanopticJson.read(pred_json, categories=ground_truth.categories)
    gt_root, pred_root = _existing_folder(gt_folder, gt_json), _existing_folder(pred_folder, pred_json)
    gt_files, pred_files = NamedFiles(gt_root), NamedFiles(pred_root)
    pairs = _paired_annotations(ground_truth, predictions)
    metric = PanopticQuality(ground_truth.categories, all_crowds=all_crowds, rule=rule)

    def evaluate(pair: tuple[AnnotationEntry, AnnotationEntry]) -> tuple[NDArray[np.int64], list[str]]:
        gt_entry, pred_entry = pair
        gt_path, pred_path = gt_files.path(gt_entry.file_name), pred_files.path(pred_entry.file_name)
        gt_where, pred_where = (f"{path} (image {gt_entry.image_id!r})" for path in (gt_path, pred_path))
        gt_ids, pred_ids = read_panoptic_png(gt_path), read_panoptic_png(pred_path)
        check_size(gt_ids.shape, ground_truth.image_size(gt_entry.image_id), gt_where)
        check_size(pred_ids.shape, gt_ids.shape, pred_where)
        # The ids of the files serve as well as our own map values, and nothing has to be renamed.
        overlaps = count_overlaps(gt_ids, pred_ids)
        areas, categories = overlaps.areas, metric.categories
        truth = _segments(gt_entry, overlaps.gt_ids, areas, categories, allow_empty=True, where=gt_where)
        found = _segments(
            pred_entry, overlaps.pred_ids, areas, categories, allow_empty=False, where=pred_where
        )
        claimed = {entry.id: entry.area for entry in gt_entry.segments}
        stale = [
            f"image {gt_entry.image_id!r} segment {each.id}: {claimed[each.id]} instead of {each.area}"
            for each in truth
            if claimed[each.id] != each.area
        ]
        return metric.count(overlaps, truth, found), stale

    stale: list[str] = []
    for state, messages in tqdm(
        map_in_order(evaluate, pairs, num_workers), total=len(pairs), disable=not progress
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


def evaluate_labels(
    gt_json: str | os.PathLike[str],
    gt_folder: str | os.PathLike[str] | None,
    labels: str | os.PathLike[str],
    *,
    thing: str | None = None,
    background: str | None = None,
    num_workers: int | None = None,
    rule: Rule = "panopticapi",
    progress: bool = False,
) -> PanopticQualityResult:
    """Compute the panoptic quality of label maps, as cellpose and StarDist write them.

    `thing` and `background` are those of `foreign.from_labels`, further arguments those of `evaluate_files`.

    Args:
        labels: folder of the maps, one for each image, named as `foreign.find_labels` has it.

    Raises:
        ValueError: a file is broken, or a name is no class of the ground truth.
        OSError: a file is missing.
    """
    num_workers = check_num_workers(num_workers)
    ground_truth = PanopticJson.read(gt_json)
    gt_root, labels_root = _existing_folder(gt_folder, gt_json), Path(labels)
    if not labels_root.is_dir():
        raise FileNotFoundError(f"folder of label maps must exist, got {labels_root}; correct the path")
    files = NamedFiles(gt_root)
    metric = PanopticQuality(ground_truth.categories, rule=rule)
    annotations = list(ground_truth.annotations.values())
    # Refuses the names before any file is read.
    from_labels(np.zeros((1, 1), np.int32), metric.categories, thing=thing, background=background)

    images = [ground_truth.images.get(entry.image_id, entry) for entry in annotations]
    label_files = NamedFiles(labels_root)
    with told_together():
        maps = [find_labels(label_files, image.file_name) for image in images]
    name_of_map: dict[Path, str] = {}
    for path, image in zip(maps, images, strict=True):
        other = name_of_map.setdefault(path, image.file_name)
        if other != image.file_name:
            raise ValueError(
                f"label maps must be of one picture each, got {path} for {other} and {image.file_name}; call "
                f"that of the second {image.file_name}{path.suffix}"
            )
    if background is None:
        _warn_of_stuff(ground_truth)
    InstanceReading().warn_of_pieces(maps, "number the pieces (scipy.ndimage.label) and save the maps again")

    def evaluate(pair: tuple[AnnotationEntry, Path]) -> NDArray[np.int64]:
        entry, map_path = pair
        path = files.path(entry.file_name)
        where = f"{path} (image {entry.image_id!r})"
        gt_ids = read_panoptic_png(path)
        numbers = read_id_map(map_path)
        look_for_nodata(numbers, map_path, "write 0 there, and save the map again")
        look_for_cut_numbers(numbers, map_path)
        look_for_background(numbers, map_path)
        found = from_labels(numbers, metric.categories, thing=thing, background=background)
        check_size(found.size, gt_ids.shape, str(map_path))
        overlaps = count_overlaps(gt_ids, found.map)
        ids, areas = overlaps.gt_ids, overlaps.areas
        truth = _segments(entry, ids, areas, metric.categories, allow_empty=True, where=where)
        return metric.count(overlaps, truth, found.segments)

    with told_together():
        for state in tqdm(
            map_in_order(evaluate, list(zip(annotations, maps, strict=True)), num_workers),
            total=len(annotations),
            disable=not progress,
        ):
            metric.state += state
    return metric.compute()


def _warn_of_stuff(ground_truth: PanopticJson) -> None:
    """Warn that label maps without a background miss the stuff of the ground truth."""
    categories = ground_truth.categories
    used = {each.category_id for entry in ground_truth.annotations.values() for each in entry.segments}
    stuff = [each.name for each in categories if not each.is_thing and each.id in used]
    if stuff:
        warnings.warn(
            f"{ground_truth.path} has segments of stuff ({shortened(stuff, 8)}), which label maps without a "
            "background miss, each with a PQ of 0; give --background NAME, the stuff where no instance is",
            stacklevel=3,
        )


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
    ids = {image.file_name: image.id for image in ground_truth.images.values()}
    pairs = []
    for image_id, annotation in ground_truth.annotations.items():
        predicted_id = id_among(image_id, predictions.annotations)
        if predicted_id is None:
            raise ValueError(
                f"{predictions.path}: annotations must have every image of the ground truth, "
                f"got none for image {image_id!r}; predict it, with empty segments_info if nothing is found"
            )
        image = predictions.images.get(predicted_id)
        other_id = image_id if image is None else ids.get(image.file_name, image_id)
        if image is not None and other_id != image_id:
            raise ValueError(
                f"{predictions.path}: images must have the ids of the ground truth, got {predicted_id!r} for "
                f"{image.file_name}, which is {other_id!r} there; number them alike"
            )
        pairs.append((annotation, predictions.annotations[predicted_id]))
    return pairs


def _segments(
    annotation: AnnotationEntry,
    ids: IntArray,
    areas: NDArray[np.float64],
    categories: Categories,
    *,
    allow_empty: bool,
    where: str,
) -> list[Segment]:
    """Return the segments of an annotation; `ids` and `areas` are what its PNG has."""
    values, rows = np.unique(ids, return_inverse=True)
    sums = dict(zip(values.tolist(), np.bincount(rows, areas, minlength=len(values)), strict=True))
    entries = entries_with_pixels(annotation, sums.keys() - {VOID}, allow_empty=allow_empty, where=where)
    return [
        Segment(
            id=entry.id,
            train_id=categories.train_id(entry.category_id),
            area=int(sums[entry.id]),
            is_crowd=entry.is_crowd,
        )
        for entry in entries
    ]
