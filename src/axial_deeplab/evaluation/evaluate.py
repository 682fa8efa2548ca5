"""Panoptic quality and mIoU of a network on a data set in COCO panoptic format."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from axial_deeplab.data.categories import Categories
from axial_deeplab.data.coco import CocoPanopticDataset, Sample
from axial_deeplab.evaluation.panoptic_quality import PanopticQuality, PanopticQualityResult
from axial_deeplab.evaluation.semantic_iou import SemanticIoU, SemanticIoUResult
from axial_deeplab.inference import predict_panoptic
from axial_deeplab.panoptic_format import Segment, semantic_map
from axial_deeplab.post_processing import PostProcessing


@dataclass(frozen=True)
class EvaluationResult:
    """What `PanopticEvaluator` measured.

    Args:
        panoptic: panoptic quality of all, things, stuff and each class, percent.
        semantic: intersection over union of the classes, percent.
        num_images: how many images that is.
    """

    panoptic: PanopticQualityResult
    semantic: SemanticIoUResult
    num_images: int

    def summary(self) -> dict[str, float]:
        """Return the numbers that a training logs, percent."""
        quality = self.panoptic
        return {
            "PQ": quality.all.pq,
            "SQ": quality.all.sq,
            "RQ": quality.all.rq,
            "PQ_things": quality.things.pq,
            "PQ_stuff": quality.stuff.pq,
            "mIoU": self.semantic.mean_iou,
        }

    def to_text(self, *, classwise: bool = False) -> str:
        """Return the table of panoptic quality and a line with mIoU.

        Args:
            classwise: add a line for each class.
        """
        table = self.panoptic.to_text(classwise=classwise)
        return f"{table}\n{self.num_images} images, in percent; mIoU {self.semantic.mean_iou:.1f}"

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers, percent; the panoptic keys are panopticapi's."""
        return self.panoptic.to_json() | {"semantic": self.semantic.to_json(), "num_images": self.num_images}


class PanopticEvaluator:
    """Predict images one by one and sum up panoptic quality and mIoU.

    Args:
        categories: of the data set.
        post_processing: from the outputs of the network to segments.
    """

    def __init__(self, categories: Categories, post_processing: PostProcessing) -> None:
        self.categories = categories
        self.post_processing = post_processing
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.panoptic_quality = PanopticQuality(self.categories)
        self.semantic_iou = SemanticIoU(len(self.categories), ignore_label=-1)
        self.num_images = 0

    def update(self, model: nn.Module, sample: Sample) -> tuple[NDArray[np.int32], tuple[Segment, ...]]:
        """Predict an image and add its score.

        Args:
            model: the network, in evaluation mode, on its device.
            sample: an image with ground truth.

        Returns:
            The predicted panoptic map (H, W) and its segments.
        """
        assert sample.panoptic is not None
        panoptic, segments = predict_panoptic(model, sample.image, self.post_processing)
        self.panoptic_quality.update(sample.panoptic, sample.segments, panoptic, segments)
        self.semantic_iou.update(
            semantic_map(sample.panoptic, ignore_label=-1), semantic_map(panoptic, ignore_label=-1)
        )
        self.num_images += 1
        return panoptic, segments

    def state(self) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
        """Return the sums so far, to be merged with those of other processes."""
        return self.panoptic_quality.state, self.semantic_iou.confusion, self.num_images

    def load_states(self, states: Iterable[tuple[NDArray[np.float64], NDArray[np.int64], int]]) -> None:
        """Replace the sums by those of several processes together."""
        self.reset()
        for quality, confusion, num_images in states:
            self.panoptic_quality.state += quality
            self.semantic_iou.confusion += confusion
            self.num_images += num_images

    def compute(self) -> EvaluationResult:
        """Return the quality of all images so far."""
        return EvaluationResult(self.panoptic_quality.compute(), self.semantic_iou.compute(), self.num_images)
