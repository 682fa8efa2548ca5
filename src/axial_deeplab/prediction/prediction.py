"""What `Predictor` returns: the panoptic segmentation of one image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from axial_deeplab.data.nodata import read_without_data
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.panoptic.map import VOID, Panoptic, PanopticMap, Segment
from axial_deeplab.panoptic.png import to_coco_annotation
from axial_deeplab.prediction.batch import ImageArray, PanopticPrediction, View
from axial_deeplab.prediction.doubts import Certainty
from axial_deeplab.prediction.labels import Labels
from axial_deeplab.visualization.overlay import draw_overlay


@dataclass(frozen=True, eq=False)
class Prediction:
    """What `Predictor` returns: the panoptic segmentation of one image, at its size.

    Args:
        segmentation: id of the segment of each pixel (H, W), int32, as in the PNG: 0 is void.
        segments_info: for each segment a dictionary, always with the keys `id`, `category_id` (the data
            set's), `name`, `isthing`, `score` (0..1), `area` (pixels) and `bbox` (left, top, width, height in
            pixels).
        semantic: category id of the most probable class of each pixel (H, W), int32 (int64 where an id needs
            it), without void.
        result: the same in our types; its parts are `panoptic`, a map (H, W), int32, and `segments`, one for
            each value of the map but void.
        categories: the label space.
        image: the image (H, W, 3), uint8, or the channels that the network sees (H, W, C).
        network_ms: time of the network, milliseconds.
        post_processing_ms: time from its outputs to the segments, milliseconds.
        num_left_out: centers of objects beyond `top_k`, whose pixels other segments have taken.
        agreement: how well the pixels of each object agree on its center, from 1 down; nan without objects.
    """

    segmentation: NDArray[np.int32]
    segments_info: list[dict[str, Any]]
    semantic: NDArray[np.integer[Any]]
    result: Panoptic
    categories: Categories
    image: ImageArray
    network_ms: float
    post_processing_ms: float
    num_left_out: int = 0
    agreement: float = math.nan

    @classmethod
    def of(cls, seen: PanopticPrediction, image: ImageArray, categories: Categories) -> "Prediction":
        """Return what was seen in an image (H, W, C), in the numbers and names of its label space."""
        annotation, ids = to_coco_annotation(seen.result, categories, 1, "")
        wide = max(categories.ids) > np.iinfo(np.int32).max  # hashes of names
        category_ids: NDArray[np.integer[Any]] = np.asarray(
            categories.ids, dtype=np.int64 if wide else np.int32
        )
        return cls(
            segmentation=ids,
            segments_info=[_segment_info(entry, categories) for entry in annotation["segments_info"]],
            semantic=category_ids[seen.semantic],
            result=seen.result,
            categories=categories,
            image=image,
            network_ms=seen.network_ms,
            post_processing_ms=seen.post_processing_ms,
            num_left_out=seen.num_left_out,
            agreement=seen.agreement,
        )

    @property
    def panoptic(self) -> PanopticMap:
        """The panoptic map (H, W), int32."""
        return self.result.map

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.result.size

    @property
    def segments(self) -> Sequence[Segment]:
        """One for each value of `panoptic` but void."""
        return self.result.segments

    @property
    def mean_scores(self) -> tuple[float, float]:
        """The mean score of the segments, each counted with its area, and that of things; nan without any."""
        return self.certainty[:2]

    @property
    def certainty(self) -> Certainty:
        """How sure the network is: `mean_scores` and `agreement`."""
        return Certainty.of(self.segments, self.categories.thing_ids, self.agreement)

    def draw(self, **options: Any) -> Image.Image:
        """Return the image with its segments drawn over it.

        Args:
            options: arguments of `axial_deeplab.visualization.draw_overlay`.
        """
        return draw_overlay(self.image, self.result, self.categories, **options)

    def to_transformers(self) -> dict[str, Any]:
        """Return what `post_process_panoptic_segmentation` of transformers returns for an image.

        Returns:
            `segmentation`, an int32 tensor (H, W) of segment ids 1, 2, ..., 0 being void; `segments_info`,
            for each segment a dictionary with `id`, `label_id` (train id), `was_fused` (stuff, whose regions
            are one segment) and `score`.
        """
        ordered = sorted(self.segments, key=lambda segment: segment.id)
        values = np.array([0, *(segment.id for segment in ordered)])
        ids = np.searchsorted(values, self.panoptic).astype(np.int32)
        infos = [
            {
                "id": number,
                "label_id": segment.train_id,
                "was_fused": not self.categories[segment.train_id].is_thing,
                "score": segment.score,
            }
            for number, segment in enumerate(ordered, start=1)
        ]
        return {"segmentation": torch.from_numpy(ids), "segments_info": infos}

    def to_coco_instances(self, image_id: int | str = 1) -> list[dict[str, Any]]:
        """Return the things as COCO's results have them: masks as compressed run lengths, and scores.

        pycocotools' `loadRes` takes the list as it is, and adds the boxes.

        Args:
            image_id: number of the image in its data set.

        Raises:
            ValueError: pycocotools is missing (extra `coco`).
        """
        from axial_deeplab.prediction.save.convert import to_coco_instances

        return to_coco_instances(Labels.of(self.result), self.categories, image_id)

    def to_supervision(self) -> Any:
        """Return the things as `supervision.Detections`: boxes, masks, scores; classes are train ids.

        Raises:
            ValueError: the package supervision is missing.
        """
        from axial_deeplab.prediction.save.convert import to_supervision

        return to_supervision(Labels.of(self.result), self.categories)

    def to_fiftyone(self) -> Any:
        """Return the things as `fiftyone.Detections`: names, relative boxes, masks in them, scores.

        Raises:
            ValueError: the package fiftyone is missing.
        """
        from axial_deeplab.prediction.save.convert import to_fiftyone

        return to_fiftyone(Labels.of(self.result), self.categories)


def void_without_data(prediction: Prediction, path: Path, view: View) -> Prediction:
    """Return a prediction with void where its file, a GeoTIFF, has no data; segments of that alone are gone.

    Args:
        prediction: what was found in the pixels of the file.
        path: the file.
        view: how it was read.

    Raises:
        OSError: the file cannot be opened.
    """
    empty = read_without_data(path, page=view.page, channels=view.channels)
    if empty is None or not empty.any():
        return prediction
    result = Panoptic(np.where(empty, VOID, prediction.panoptic), prediction.segments).measured()
    annotation, ids = to_coco_annotation(result, prediction.categories, 1, "")
    infos = [_segment_info(entry, prediction.categories) for entry in annotation["segments_info"]]
    return replace(prediction, segmentation=ids, segments_info=infos, result=result)


def _segment_info(entry: Mapping[str, Any], categories: Categories) -> dict[str, Any]:
    category = categories[categories.train_id(entry["category_id"])]
    return {
        "id": entry["id"],
        "category_id": category.id,
        "name": category.name,
        "isthing": category.is_thing,
        "score": entry["score"],
        "area": entry["area"],
        "bbox": entry["bbox"],
    }
