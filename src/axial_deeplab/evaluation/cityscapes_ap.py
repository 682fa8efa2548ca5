"""Average precision of instances as Cityscapes defines it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.evaluation.exact_sums import mean_of_numbers
from axial_deeplab.evaluation.instance_ap import InstanceAP, InstanceAPResult, confidence
from axial_deeplab.panoptic.json_entries import ImageId
from axial_deeplab.panoptic.map import VOID, IntArray, Panoptic, count_overlaps, measure_segments

THRESHOLDS = np.arange(0.5, 1.0, 0.05)
MIN_AREA = 100

# What a prediction is at one threshold.
WRONG, RIGHT, IGNORED = 0, 1, 2


@dataclass(frozen=True)
class InstanceMask:
    """A predicted instance as a mask of its own; the masks of an image may overlap.

    Args:
        mask: its pixels (H, W), bool.
        train_id: its class.
        score: its confidence.
    """

    mask: NDArray[np.bool_]
    train_id: int
    score: float


class Judgments(NamedTuple):
    """P predictions judged at T thresholds, and the number of instances that there are to find.

    Args:
        train_ids: classes of the predictions (P,).
        scores: confidences of the predictions (P,).
        outcomes: WRONG, RIGHT or IGNORED (P, T).
        num_true: instances of each class (classes,).
    """

    train_ids: IntArray
    scores: NDArray[np.float64]
    outcomes: NDArray[np.int8]
    num_true: IntArray


class _Prediction(NamedTuple):
    """A predicted instance, and the ids of the true map below it with their pixels."""

    train_id: int
    score: float
    ids: IntArray
    areas: NDArray[np.float64]


class CityscapesAP(InstanceAP):
    """Average precision of the thing classes at overlaps (IoU) above 0.5, 0.55, ... 0.95.

    A true instance is found by the most confident prediction of its class that overlaps it enough; others
    that do are wrong. Groups (crowds) and instances of fewer than 100 pixels need not be found: a prediction
    that overlaps one enough is ignored. So is a prediction that overlaps nothing enough if a larger part of
    it than the threshold lies in void and in groups and small instances of its class.

    Args:
        categories: the label space.

    Source:
        cityscapesScripts, evalInstanceLevelSemanticLabeling, without distances; docs/deviations.md.
    """

    def update(self, truth: Panoptic, prediction: Panoptic, *, image_id: ImageId = 0) -> None:
        """Add an image whose prediction is a panoptic map.

        Args:
            truth: the true map; values other than 0 that have no segment are neither void nor instances.
            prediction: the predicted map; its thing segments have scores.
            image_id: not needed, since the order of the images does not matter.

        Raises:
            ValueError: the maps differ in size, or a predicted instance has no score.
        """
        pairs = count_overlaps(truth.map, prediction.map)
        predictions = []
        for segment in prediction.segments:
            own = pairs.pred_ids == segment.id
            if self.categories[segment.train_id].is_thing:
                score = confidence(segment)
                predictions.append(_Prediction(segment.train_id, score, pairs.gt_ids[own], pairs.areas[own]))
        self.state.append(self._judge(truth, predictions))

    def update_masks(self, truth: Panoptic, masks: Iterable[InstanceMask]) -> None:
        """Add an image whose predictions are masks.

        Args:
            truth: the true map; values other than 0 that have no segment are neither void nor instances.
            masks: masks of the map's size; those of stuff do not count.

        Raises:
            ValueError: a mask has another size.
        """
        predictions = []
        for each in masks:
            pairs = count_overlaps(truth.map, each.mask.astype(np.int32))
            inside = pairs.pred_ids == 1
            if self.categories[each.train_id].is_thing:
                predictions.append(
                    _Prediction(each.train_id, each.score, pairs.gt_ids[inside], pairs.areas[inside])
                )
        self.state.append(self._judge(truth, predictions))

    def compute(self) -> InstanceAPResult:
        """Return the average precision of all images so far, in percent."""
        thing_ids = self.categories.thing_ids
        none = Judgments(
            np.empty(0, np.int64),
            np.empty(0),
            np.empty((0, len(THRESHOLDS)), np.int8),
            np.zeros(len(self.categories), np.int64),
        )
        train_ids, scores, outcomes, num_true = zip(none, *self.state, strict=True)
        all_train_ids, all_scores, all_outcomes = map(np.concatenate, (train_ids, scores, outcomes))
        precisions = np.full((len(thing_ids), len(THRESHOLDS)), np.nan)
        for row, train_id in enumerate(thing_ids):
            own = all_train_ids == train_id
            for column, judged in enumerate(all_outcomes[own].T):
                counted = judged != IGNORED
                precisions[row, column] = average_precision(
                    all_scores[own][counted], judged[counted] == RIGHT, int(sum(num_true)[train_id])
                )
        per_class = (100 * precisions.mean(axis=1)).tolist()
        category_ids = [self.categories[train_id].id for train_id in thing_ids]
        return InstanceAPResult(
            protocol="cityscapes",
            ap=mean_of_numbers(per_class),
            ap50=mean_of_numbers((100 * precisions[:, 0]).tolist()),
            per_class=dict(zip(category_ids, per_class, strict=True)),
        )

    def _judge(self, truth: Panoptic, predictions: Sequence[_Prediction]) -> Judgments:
        ids, areas, _ = measure_segments(truth.map)
        area_of_id = dict(zip(ids.tolist(), areas.tolist(), strict=True))
        segments = [
            segment
            for segment in truth.segments
            if segment.id in area_of_id and self.categories[segment.train_id].is_thing
        ]
        predictions = [each for each in predictions if len(each.ids)]
        true_classes = np.array([segment.train_id for segment in segments], dtype=np.int64)
        true_areas = np.array([area_of_id[segment.id] for segment in segments], dtype=np.float64)
        is_group = np.array([segment.is_crowd for segment in segments], dtype=bool)
        is_small = true_areas < MIN_AREA
        train_ids = np.array([each.train_id for each in predictions], dtype=np.int64)
        scores = np.array([each.score for each in predictions], dtype=np.float64)
        areas = np.array([each.areas.sum() for each in predictions], dtype=np.float64)

        overlap = _areas_of_ids(predictions, [segment.id for segment in segments])  # (P, G)
        overlap *= train_ids[:, None] == true_classes
        iou = overlap / (areas[:, None] + true_areas - overlap)
        hits = iou[..., None] > THRESHOLDS  # (P, G, T)
        # A small group counts twice, as in the original.
        excused = _areas_of_ids(predictions, [VOID])[:, 0] + overlap @ (is_group.astype(float) + is_small)
        is_excused = excused[:, None] / areas[:, None] > THRESHOLDS
        outcomes = np.where(hits.any(axis=1) | is_excused, IGNORED, WRONG).astype(np.int8)  # (P, T)
        is_target = ~is_group & ~is_small
        hits = hits[:, is_target]
        if hits.size:
            best = np.where(hits, scores[:, None, None], -np.inf).argmax(axis=0)  # (targets, T)
            is_best = np.arange(len(predictions))[:, None, None] == best
            outcomes[hits.any(axis=1)] = WRONG
            outcomes[(hits & is_best).any(axis=1)] = RIGHT
        num_true = np.bincount(true_classes[is_target], minlength=len(self.categories))
        return Judgments(train_ids, scores, outcomes, num_true)


def average_precision(scores: NDArray[np.float64], is_right: NDArray[np.bool_], num_true: int) -> float:
    """Return the area below the curve of precision over recall, in [0, 1], nan if there is nothing to find.

    Every score is a point of the curve, and so is the precision 1 at the recall 0; a point counts for half of
    the way to either neighbor, that of the highest recall not beyond it.

    Args:
        scores: scores of all predictions that are right or wrong (P,).
        is_right: which they are (P,).
        num_true: instances that there are to find.
    """
    if num_true == 0:
        return float("nan")
    points = np.unique(scores)
    right = np.sort(scores[is_right])
    num_right = len(right) - np.searchsorted(right, points)
    num_found = len(scores) - np.searchsorted(np.sort(scores), points)
    precision = np.append(num_right / num_found, 1.0)
    recall = np.append(num_right / num_true, 0.0)  # falling
    edges = np.concatenate([recall[:1], recall, [0.0]])
    return float(precision @ (edges[:-2] - edges[2:])) / 2


def _areas_of_ids(predictions: Sequence[_Prediction], ids: Sequence[int]) -> NDArray[np.float64]:
    """Return the pixels (P, ids) that each prediction shares with each id of the true map."""
    return np.array(
        [[each.areas[each.ids == id_].sum() for id_ in ids] for each in predictions], dtype=np.float64
    ).reshape(len(predictions), len(ids))
