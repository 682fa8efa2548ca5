"""Average precision (AP) of instances: what the measures of Cityscapes and COCO have in common."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.coco_json import ImageId
from axial_deeplab.panoptic.map import Panoptic, Segment

PROTOCOLS = ("cityscapes", "coco")


@dataclass(frozen=True)
class InstanceAPResult:
    """Average precision of the thing classes in percent; nan for a class without true instances.

    Args:
        protocol: whose definition it is, "cityscapes" or "coco".
        ap: mean over the classes and over ten thresholds of the overlap, 0.5 to 0.95.
        ap50: the same at the threshold 0.5 alone.
        per_class: AP by the data set's category id.
        further: other numbers of the protocol by name.
    """

    protocol: str
    ap: float
    ap50: float
    per_class: Mapping[int, float]
    further: Mapping[str, float] = field(default_factory=dict)

    def to_text(self) -> str:
        """Return one line, in percent, '-' where there is no number."""
        return f"AP {_text(self.ap)}, AP50 {_text(self.ap50)} (instances, {self.protocol} protocol)"

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers in percent, None where there is none."""
        numbers = {"ap": self.ap, "ap50": self.ap50, **self.further}
        return {
            "unit": "percent",
            "protocol": self.protocol,
            **{name: _none_for_nan(value) for name, value in numbers.items()},
            "per_class": {str(category): _none_for_nan(ap) for category, ap in self.per_class.items()},
        }


class InstanceAP(Protocol):
    """A measure that adds up over images and processes."""

    def update(self, truth: Panoptic, prediction: Panoptic, *, image_id: ImageId) -> None:
        """Add one image."""

    @property
    def state(self) -> Any:
        """What is kept of the images so far, for `add_state`."""

    def add_state(self, state: Any) -> None:
        """Add the images that another process has seen."""

    def compute(self) -> InstanceAPResult:
        """Return the average precision of all images so far, whatever their order."""


def create_instance_ap(protocol: str, categories: Categories) -> InstanceAP:
    """Return the measure of a protocol.

    Args:
        protocol: "cityscapes" or "coco".
        categories: the label space.

    Raises:
        ValueError: the protocol is unknown, no category is a thing, or pycocotools is missing.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"ap must be one of {', '.join(PROTOCOLS)}, got {protocol!r}; choose one")
    if not categories.thing_ids:
        raise ValueError(
            f"ap must be left out where no category is a thing, got {protocol!r}; measure PQ and mIoU alone"
        )
    if protocol == "coco":
        from axial_deeplab.evaluation.coco_ap import CocoAP

        return CocoAP(categories)
    from axial_deeplab.evaluation.cityscapes_ap import CityscapesAP

    return CityscapesAP(categories)


def confidence(segment: Segment) -> float:
    """Return the score of a predicted segment.

    Raises:
        ValueError: it has none.
    """
    if segment.score is None:
        raise ValueError(
            f"segments of a prediction must have scores for AP, got none for {segment.id}; "
            "take those of PostProcessing"
        )
    return segment.score


def mean_of_numbers(values: Iterable[float]) -> float:
    """Return the mean of the values that are not nan, nan without any."""
    numbers = [value for value in values if not math.isnan(value)]
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def _text(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"


def _none_for_nan(value: float) -> float | None:
    return None if math.isnan(value) else value
