"""Average precision of instances as COCO defines it, through pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from axial_deeplab.evaluation.instance_ap import InstanceAP, InstanceAPResult, confidence
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.json_entries import ImageId
from axial_deeplab.panoptic.map import IntArray, Panoptic, Segment
from axial_deeplab.util.packages import require_package

# Places in the list of twelve numbers that pycocotools makes, by our names.
_FURTHER = {"ap75": 2, "ap_small": 3, "ap_medium": 4, "ap_large": 5}


class MaskedImage(NamedTuple):
    """The instances of one image as pycocotools takes them, but for the numbers of image and instance."""

    image_id: ImageId
    size: tuple[int, int]
    truth: list[dict[str, Any]]
    predictions: list[dict[str, Any]]


class CocoAP(InstanceAP):
    """Average precision of the thing classes' masks, by pycocotools.

    Truth and predictions are the instances that two panoptic maps show; the score of an instance is its
    segment's. Since the segments of a map never overlap, the figure is another than that of an instance
    segmentation against the overlapping instances of COCO's own files.

    Args:
        categories: the label space.

    Raises:
        ValueError: pycocotools is missing.

    Source:
        pycocotools, COCOeval for "segm": ten thresholds, at most 100 instances of an image.
    """

    def __init__(self, categories: Categories) -> None:
        require_package("pycocotools", "coco", 'ap "coco" needs')
        super().__init__(categories)

    def update(self, truth: Panoptic, prediction: Panoptic, *, image_id: ImageId) -> None:
        """Add an image.

        Args:
            truth: the true map.
            prediction: the predicted map; its thing segments have scores.
            image_id: another for each image; the order of the ids is that of predictions of equal score.

        Raises:
            ValueError: the maps differ in size, or a predicted instance has no score.
        """
        if truth.map.shape != prediction.map.shape:
            raise ValueError(
                f"prediction must have the size {truth.map.shape} of the true map, "
                f"got {prediction.map.shape}; predict at the original size of the image"
            )
        self.state.append(
            MaskedImage(
                image_id,
                (truth.map.shape[0], truth.map.shape[1]),
                [self._entry(truth.map, s) | {"iscrowd": int(s.is_crowd)} for s in self._things(truth)],
                [self._entry(prediction.map, s) | {"score": confidence(s)} for s in self._things(prediction)],
            )
        )

    def compute(self) -> InstanceAPResult:
        """Return the average precision of all images so far, in percent."""
        from pycocotools.cocoeval import COCOeval

        images = sorted(self.state, key=lambda image: (isinstance(image.image_id, str), image.image_id))
        with contextlib.redirect_stdout(io.StringIO()):
            truth = self._coco(images, [image.truth for image in images])
            predictions = self._coco(images, [image.predictions for image in images])
            evaluation = COCOeval(truth, predictions, "segm")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        # (thresholds, recalls, classes) of all sizes; -1 is pycocotools' "no number".
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        per_class = np.where(precision[0, 0] < 0, np.nan, 100 * precision.mean(axis=(0, 1))).tolist()
        numbers = [100 * value if value >= 0 else float("nan") for value in evaluation.stats]
        category_ids = [self.categories[train_id].id for train_id in self.categories.thing_ids]
        return InstanceAPResult(
            protocol="coco",
            ap=numbers[0],
            ap50=numbers[1],
            per_class=dict(zip(category_ids, per_class, strict=True)),
            further={name: numbers[place] for name, place in _FURTHER.items()},
        )

    def _things(self, side: Panoptic) -> list[Segment]:
        return [segment for segment in side.segments if self.categories[segment.train_id].is_thing]

    def _entry(self, panoptic: IntArray, segment: Segment) -> dict[str, Any]:
        from pycocotools import mask

        pixels = np.asfortranarray(panoptic == segment.id, dtype=np.uint8)
        encoded = mask.encode(pixels)
        return {
            "category_id": self.categories[segment.train_id].id,
            "segmentation": encoded,
            "area": int(mask.area(encoded)),
        }

    def _coco(self, images: Sequence[MaskedImage], entries: Sequence[list[dict[str, Any]]]) -> Any:
        """Return the index of one side, whose entries are listed by image."""
        from pycocotools.coco import COCO

        annotations = [
            {"iscrowd": 0, **entry, "image_id": number}
            for number, entries_of_image in enumerate(entries)
            for entry in entries_of_image
        ]
        index = COCO()
        index.dataset = {
            "images": [
                {"id": number, "height": image.size[0], "width": image.size[1]}
                for number, image in enumerate(images)
            ],
            "categories": [{"id": self.categories[train_id].id} for train_id in self.categories.thing_ids],
            # From 1: to pycocotools, a match with the annotation 0 is none.
            "annotations": [entry | {"id": number} for number, entry in enumerate(annotations, start=1)],
        }
        index.createIndex()
        return index
