"""Top-1 and top-5 accuracy of a classification network."""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from axial_deeplab.config.schema import DataConfig
from axial_deeplab.data.classification_transforms import CentralCrop, ClassificationValidationSet
from axial_deeplab.data.datasets import open_image_folder
from axial_deeplab.data.image_warnings import ImageWarning, ignore_in_worker
from axial_deeplab.data.images import warn_of_images
from axial_deeplab.evaluation.processes import join_processes
from axial_deeplab.models.backbones.base import Backbone
from axial_deeplab.models.image_channels import match_channels
from axial_deeplab.models.panoptic import IMAGENET_MEAN, IMAGENET_STD
from axial_deeplab.prediction.predictor import choose_device
from axial_deeplab.weights.loaded import load_weights


def classify(model: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of images.

    Shapes: images (B, 3, H, W), values 0 to 255; logits (B, num_classes).

    Args:
        model: a classification network, which takes normalized images, averaged if it takes one channel.
        images: tensor of any number type.
    """
    mean, std = (
        images.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return cast("Tensor", model(match_channels(model, (images.float() - mean) / std)))


@dataclass(frozen=True)
class ClassificationResult:
    """What `ClassificationEvaluator` measured.

    Args:
        top1: images whose class has the highest logit, percent.
        top5: images whose class is among the five highest, percent.
        num_images: how many images that is.
        network: arguments of the network that was measured, and its name.
    """

    top1: float
    top5: float
    num_images: int
    network: Mapping[str, Any] = field(default_factory=dict)

    def to_text(self) -> str:
        """Return one line."""
        return f"top-1 {self.top1:.2f}, top-5 {self.top5:.2f}, percent of {self.num_images} images"

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        numbers = {"top1": self.top1, "top5": self.top5, "num_images": self.num_images}
        return numbers | ({"network": dict(self.network)} if self.network else {})


class ClassificationEvaluator:
    """Counts images that are classified correctly."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.counts = torch.zeros(3, dtype=torch.int64)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch.

        Shapes: logits (B, num_classes), labels (B,).

        Of equal logits those of the first classes count as higher. Logits that are not all finite are wrong.
        """
        own = logits.gather(1, labels[:, None])
        earlier = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
        rank = ((logits > own) | ((logits == own) & earlier)).sum(1)
        valid = logits.isfinite().all(1)
        hits = [(valid & (rank < k)).sum() for k in (1, 5)]
        self.counts += torch.stack([*hits, torch.tensor(len(labels), device=logits.device)]).cpu()

    def load_counts(self, counts: Sequence[Tensor]) -> None:
        """Replace the counts by those of several processes together."""
        self.counts = torch.stack(list(counts)).sum(0)

    def compute(self) -> ClassificationResult:
        """Return the accuracy on all images so far."""
        top1, top5, num_images = self.counts.tolist()
        return ClassificationResult(
            100 * top1 / max(num_images, 1), 100 * top5 / max(num_images, 1), num_images
        )


@torch.inference_mode()
def evaluate_classifier(
    weights: str | os.PathLike[str],
    data: DataConfig,
    *,
    device: str = "auto",
    limit: int | None = None,
    batch_size: int = 32,
    num_workers: int | None = 0,
    progress: bool = False,
) -> ClassificationResult:
    """Classify the central crops of images in class folders and count.

    Several processes that torchrun started share the images; each returns the result of all.

    Args:
        weights: file of weights, or checkpoint, of a classification network.
        data: its part `val` is what is classified.
        device: "auto" (a GPU if there is one), "cpu", "cuda", ...
        limit: only the first so many images, None for all.
        batch_size: images at a time.
        num_workers: processes that read images, 0 for none; None as many as CPUs, at most 4.
        progress: show a progress bar.

    Raises:
        ValueError: the weights are not those of a classification network, or the data is not valid.
        OSError: a file is missing.
    """
    num_workers = min(4, os.cpu_count() or 1) if num_workers is None else num_workers
    loaded = load_weights(weights)
    if not isinstance(loaded.model, Backbone):
        raise ValueError(
            f"weights must be of a classification network for data of the format {data.format}, got "
            f"{weights}, a panoptic one; give a panoptic data set"
        )
    settings = loaded.metadata.get("classification") or {}
    data = replace(
        data,
        val_limit=limit or data.val_limit,
        value_range=settings.get("value_range", data.value_range),
        page=settings.get("page", data.page),
    )
    dataset = open_image_folder(data, "val", classes=loaded.categories.names)
    crops = ClassificationValidationSet(dataset, central_crop(loaded.metadata))
    evaluator = ClassificationEvaluator()
    with join_processes() as processes:
        target = choose_device(processes.device(device))
        model = loaded.model.to(target)
        own = Subset(crops, processes.share(len(crops)))
        if processes.is_first:
            warn_of_images(dataset.image_files, **dataset.reading)
        loader = DataLoader(own, batch_size, num_workers=num_workers, worker_init_fn=ignore_in_worker)
        batches = tqdm(loader, disable=not (progress and processes.is_first), desc="evaluate")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImageWarning)  # which those above have told
            for batch, labels in batches:
                evaluator.update(classify(model, batch.to(target)), labels.to(target))
        evaluator.load_counts(processes.gather(evaluator.counts))
    return replace(evaluator.compute(), network=loaded.metadata["model"])


def central_crop(metadata: Mapping[str, Any]) -> CentralCrop:
    """Return the crop that a file of weights asks for: 224 of 256 pixels if it says nothing."""
    settings = metadata.get("classification") or {}
    height, width = settings.get("crop_size", (224, 224))
    return CentralCrop((height, width), settings.get("shorter_side", 256))
