"""Semantic quality: the mean intersection over union (mIoU) of the classes."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.evaluation.exact_sums import mean_of_numbers, without_nan
from axial_deeplab.panoptic.map import IntArray


@dataclass(frozen=True, slots=True)
class SemanticIoUResult:
    """Intersection over union in percent.

    Args:
        mean_iou: mean over the classes that occur; nan without any.
        per_class: IoU by train id; nan where a class occurs neither in ground truth nor in predictions.
    """

    mean_iou: float
    per_class: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers in percent, None where there is none."""
        per_class = dict(enumerate(self.per_class))
        return {
            "unit": "percent",
            **without_nan({"mean_iou": self.mean_iou}),
            "per_class": list(without_nan(per_class).values()),
        }


class SemanticIoU:
    """Intersection over union of every class, from one running confusion matrix.

    Void pixels of the ground truth do not count. A void prediction on a labeled pixel is wrong: it misses the
    pixel for the true class. Shards are merged with `+=`; across processes sum the array `confusion`
    (classes, classes + 1), int64: rows are true classes, columns predicted ones, the last column is void.

    Args:
        num_classes: labels are 0 ... num_classes - 1.
        ignore_label: void in both maps; not a class.

    Raises:
        ValueError: ignore_label is a class.
    """

    def __init__(self, num_classes: int, *, ignore_label: int = 255) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}; count the categories")
        if 0 <= ignore_label < num_classes:
            raise ValueError(
                f"ignore_label must be no class, got {ignore_label} of {num_classes} classes; use -1"
            )
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        self.confusion = np.zeros((num_classes, num_classes + 1), dtype=np.int64)

    def update(self, gt_labels: IntArray, pred_labels: IntArray) -> None:
        """Add one image or a batch.

        *Shapes*: both maps of train ids have the same shape; `semantic_map` makes them from panoptic maps.

        Raises:
            ValueError: the shapes differ, or a label is neither a class nor ignore_label.
        """
        gt, pred = np.asarray(gt_labels), np.asarray(pred_labels)
        if gt.shape != pred.shape:
            raise ValueError(
                f"pred_labels must have the shape of gt_labels, got {pred.shape} for {gt.shape}; "
                "predict at the original size of the image"
            )
        gt, pred = self._void_last("gt_labels", gt), self._void_last("pred_labels", pred)
        columns = self.num_classes + 1
        pairs = np.bincount((gt * columns + pred).ravel(), minlength=columns * columns)
        self.confusion += pairs.reshape(columns, columns)[: self.num_classes]

    def __iadd__(self, other: "SemanticIoU") -> Self:
        if other.num_classes != self.num_classes:
            raise ValueError(
                f"other must have {self.num_classes} classes, got {other.num_classes}; "
                "merge only shards of one data set"
            )
        self.confusion += other.confusion
        return self

    def compute(self) -> SemanticIoUResult:
        """Return the intersection over union of all images so far, in percent."""
        intersections = np.diagonal(self.confusion)
        predicted = self.confusion[:, : self.num_classes].sum(axis=0)
        unions = self.confusion.sum(axis=1) + predicted - intersections
        per_class = [
            100 * intersection / union if union else math.nan
            for intersection, union in zip(intersections.tolist(), unions.tolist(), strict=True)
        ]
        return SemanticIoUResult(mean_of_numbers(per_class), tuple(per_class))

    def _void_last(self, name: str, labels: IntArray) -> NDArray[np.int64]:
        """Return the labels with void as class number num_classes."""
        if labels.dtype.kind not in "iub":
            raise ValueError(f"{name} must be whole numbers, got {labels.dtype}; take the argmax of logits")
        is_void = labels == self.ignore_label
        wrong = labels[~is_void & ((labels < 0) | (labels >= self.num_classes))]
        if wrong.size:
            raise ValueError(
                f"{name} must be from 0 to {self.num_classes - 1} or ignore_label {self.ignore_label}, "
                f"got {wrong[0]}; map the data set's ids to train ids"
            )
        return np.where(is_void, self.num_classes, labels).astype(np.int64)
