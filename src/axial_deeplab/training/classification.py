"""Training a classification network: its loss, its validation by accuracy, its data."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.config.schema import Config
from axial_deeplab.data.classification_transforms import (
    CentralCrop,
    ClassificationTrainingSet,
    ClassificationValidationSet,
    RandomResizedCrop,
)
from axial_deeplab.data.datasets import open_image_folder
from axial_deeplab.evaluation.classification import ClassificationEvaluator, classify
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.training.batches import ValidationBatch
from axial_deeplab.training.module import TrainingModule
from axial_deeplab.training.task import Task, build_model, look_at_images, reading


class ClassificationTraining(TrainingModule):
    """A classification network with its loss and its validation."""

    columns = ("train/loss", "train/lr", "val/top1", "val/top5")
    score = "val/top1"

    def __init__(self, model: nn.Module, categories: Categories, config: Config) -> None:
        super().__init__(model, categories, config)
        self.evaluator = ClassificationEvaluator()

    def metadata(self) -> dict[str, Any]:
        """Return how the images of the validation are cut."""
        crop_size = list(self.config.augmentation.crop_size)
        sizes = {"crop_size": crop_size, "shorter_side": self.config.classification.val_size}
        return {"classification": sizes | reading(self.config.data)}

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the cross entropy of a batch of `ClassificationTrainingSet`."""
        logits = classify(self.model, batch["image"])
        smoothing = self.config.classification.label_smoothing
        loss = F.cross_entropy(logits.float(), batch["label"], label_smoothing=smoothing)
        self.log("train/loss", loss.detach(), prog_bar=True, sync_dist=True)
        return loss

    def validation_step(self, batch: ValidationBatch, batch_idx: int) -> None:
        """Classify the images of a batch."""
        if batch.samples:
            images = torch.stack([image for image, _ in batch.samples]).to(self.device)
            labels = torch.tensor([label for _, label in batch.samples], device=self.device)
            self.evaluator.update(classify(self.evaluated_model, images), labels)

    def on_validation_epoch_end(self) -> None:
        """Log the accuracy on the images of all processes."""
        super().on_validation_epoch_end()
        if self.trainer.world_size > 1:
            counts = self.all_gather(self.evaluator.counts.to(self.device))
            self.evaluator.load_counts([count.cpu() for count in counts])
        result = self.evaluator.compute()
        self.log("val/top1", result.top1, prog_bar=True, rank_zero_only=False)
        self.log("val/top5", result.top5, rank_zero_only=False)


def classification_task(config: Config) -> Task:
    """Return all that training a classification network needs.

    Raises:
        ValueError: settings that are not valid, or a data set that is not.
        OSError: a file that cannot be read.
    """
    train_data = open_image_folder(config.data, "train")
    look_at_images(train_data)
    augmentation, settings = config.augmentation, config.classification
    crop = RandomResizedCrop(
        augmentation.crop_size,
        settings.area_range,
        settings.aspect_range,
        augmentation.flip,
        augmentation.color_jitter,
    )
    val_data = None
    if config.data.val != type(config.data.val)():
        val_images = open_image_folder(config.data, "val", classes=train_data.classes)
        look_at_images(val_images)
        val_crop = CentralCrop(augmentation.crop_size, settings.val_size)
        val_data = ClassificationValidationSet(val_images, val_crop)
    module = ClassificationTraining(
        build_model(config, len(train_data.classes)), train_data.categories, config
    )
    augmented = ClassificationTrainingSet(train_data, crop, seed=config.trainer.seed)
    return Task(module, augmented, val_data, val_batch_size=settings.val_batch_size)
