"""The result of panoptic quality: numbers in percent, as a table and as JSON."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from axial_deeplab.evaluation.exact_sums import join_iou, mean_of_numbers, text_of, without_nan
from axial_deeplab.panoptic.categories import Categories

_PARTS, _COUNTS = ("pq", "sq", "rq"), ("tp", "fp", "fn")


@dataclass(frozen=True, slots=True)
class ClassQuality:
    """Quality of one class; pq, sq and rq are nan where it occurs neither in ground truth nor in predictions.

    Args:
        category_id: the data set's id.
        name: the category's name.
        is_thing: thing or stuff.
        pq: panoptic quality = sq * rq, percent.
        sq: segmentation quality, the mean IoU of the matched segments, percent.
        rq: recognition quality, the F1 score of the segments, percent.
        tp: matched segments.
        fp: predicted segments without match.
        fn: true segments without match.
    """

    category_id: int
    name: str
    is_thing: bool
    pq: float
    sq: float
    rq: float
    tp: int
    fp: int
    fn: int


@dataclass(frozen=True, slots=True)
class GroupQuality:
    """Means over the classes of a group that occur (percent; nan without any), and sums of their counts.

    Args:
        pq: mean panoptic quality; not the product of the mean sq and the mean rq.
        sq: mean segmentation quality.
        rq: mean recognition quality.
        num_classes: how many classes the means are over.
        tp: matched segments.
        fp: predicted segments without match.
        fn: true segments without match.
    """

    pq: float
    sq: float
    rq: float
    num_classes: int
    tp: int
    fp: int
    fn: int

    @classmethod
    def of(cls, classes: list[ClassQuality]) -> "GroupQuality":
        """Average over the classes that occur."""
        present = [quality for quality in classes if not math.isnan(quality.pq)]
        pq, sq, rq = (mean_of_numbers(getattr(quality, part) for quality in present) for part in _PARTS)
        tp, fp, fn = (sum(getattr(quality, count) for quality in present) for count in _COUNTS)
        return cls(pq, sq, rq, len(present), tp, fp, fn)


@dataclass(frozen=True, slots=True)
class PanopticQualityResult:
    """Panoptic quality in percent: of all classes, of things, of stuff, and of each class by train id."""

    all: GroupQuality
    things: GroupQuality
    stuff: GroupQuality
    per_class: tuple[ClassQuality, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers in percent, None where there is none; the keys are panopticapi's."""
        return {
            "unit": "percent",
            "All": _group_to_json(self.all),
            "Things": _group_to_json(self.things),
            "Stuff": _group_to_json(self.stuff),
            "per_class": {
                str(quality.category_id): without_nan(asdict(quality)) for quality in self.per_class
            },
        }

    def to_text(self, *, classwise: bool = False) -> str:
        """Return a table, in percent with one decimal, '-' where there is no number.

        Args:
            classwise: add a line for each class.
        """
        groups = {"All": self.all, "Things": self.things, "Stuff": self.stuff}
        width = max([10, *(len(quality.name) + 1 for quality in self.per_class if classwise)])
        header = f"{'':{width}}|" + "".join(
            f"{title:>7}" for title in ("PQ", "SQ", "RQ", "N", "TP", "FP", "FN")
        )
        lines = [header, "-" * len(header)]
        for title, group in groups.items():
            lines.append(f"{title:{width}}|{_numbers(group)}{group.num_classes:7d}{_counts(group)}")
        if classwise:
            lines.append("-" * len(header))
            for quality in self.per_class:
                lines.append(f"{quality.name:{width}}|{_numbers(quality)}{'':7}{_counts(quality)}")
        return "\n".join(lines)


def summarize(categories: Categories, state: NDArray[np.int64]) -> PanopticQualityResult:
    """Turn the sums of IoU (in two parts), TP, FP and FN (5, classes) into qualities."""
    classes = []
    for category, (iou_high, iou_low, tp, fp, fn) in zip(categories, state.T.tolist(), strict=True):
        iou = join_iou(iou_high, iou_low)
        weight = tp + fp / 2 + fn / 2
        sq = iou / tp if tp else 0.0
        pq, sq, rq = (iou / weight, sq, tp / weight) if weight else (math.nan,) * 3
        classes.append(
            ClassQuality(
                category_id=category.id,
                name=category.name,
                is_thing=category.is_thing,
                pq=100 * pq,
                sq=100 * sq,
                rq=100 * rq,
                tp=tp,
                fp=fp,
                fn=fn,
            )
        )
    return PanopticQualityResult(
        all=GroupQuality.of(classes),
        things=GroupQuality.of([quality for quality in classes if quality.is_thing]),
        stuff=GroupQuality.of([quality for quality in classes if not quality.is_thing]),
        per_class=tuple(classes),
    )


def _numbers(quality: ClassQuality | GroupQuality) -> str:
    return "".join(f"{text_of(getattr(quality, part)):>7}" for part in _PARTS)


def _counts(quality: ClassQuality | GroupQuality) -> str:
    return "".join(f"{getattr(quality, count):7d}" for count in _COUNTS)


def _group_to_json(group: GroupQuality) -> dict[str, Any]:
    entry = without_nan(asdict(group))
    entry["n"] = entry.pop("num_classes")
    return entry
