"""Average precision (AP) of instances: what the measures of Cityscapes and COCO have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from axial_deeplab.evaluation.exact_sums import text_of, without_nan
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.json_entries import ImageId
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
        return f"AP {text_of(self.ap)}, AP50 {text_of(self.ap50)} (instances, {self.protocol} protocol)"

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers in percent, None where there is none."""
        numbers = {"ap": self.ap, "ap50": self.ap50, **self.further}
        return {
            "unit": "percent",
            "protocol": self.protocol,
            **without_nan(numbers),
            "per_class": without_nan({str(category): ap for category, ap in self.per_class.items()}),
        }


class InstanceAP(ABC):
    """A measure that adds up over images and processes.

    Args:
        categories: the label space.

    Attributes:
        state: what is kept of each image so far; those of another process are added to this list.
    """

    def __init__(self, categories: Categories) -> None:
        self.categories = categories
        self.state: list[Any] = []

    @abstractmethod
    def update(self, truth: Panoptic, prediction: Panoptic, *, image_id: ImageId) -> None:
        """Add one image."""

    @abstractmethod
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
