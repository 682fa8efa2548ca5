"""Training a panoptic network: its losses, its validation by PQ and mIoU, its data."""

import warnings
from collections.abc import Mapping
from typing import Any, cast

import torch.distributed
from torch import Tensor, nn

from axial_deeplab.config.schema import Config, DataConfig, section_to_dict
from axial_deeplab.data.augmentation import Intensity
from axial_deeplab.data.channels import Channels
from axial_deeplab.data.datasets import open_dataset
from axial_deeplab.data.panoptic_dataset import PanopticDataset
from axial_deeplab.data.targets import PanopticTargets
from axial_deeplab.data.transforms import TrainingDataset, stacked
from axial_deeplab.evaluation.evaluate import PanopticEvaluator
from axial_deeplab.losses import PanopticLoss
from axial_deeplab.models.image_channels import match_channels
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.post_processing import PostProcessing
from axial_deeplab.prediction.batch import View
from axial_deeplab.training.batches import ValidationBatch
from axial_deeplab.training.module import TrainingModule
from axial_deeplab.training.task import Task, build_model, look_at_images, reading, see_channels


class PanopticTraining(TrainingModule):
    """A panoptic network with its losses and its validation.

    Args:
        channels: channels of the image files; None for RGB.

    The other arguments are those of `TrainingModule`, and what its steps call.
    """

    columns = (
        *("train/semantic", "train/center", "train/offset", "train/total", "train/lr"),
        *("val/PQ", "val/SQ", "val/RQ", "val/PQ_things", "val/PQ_stuff", "val/mIoU"),
    )
    score = "val/PQ"

    def __init__(
        self,
        model: nn.Module,
        loss: PanopticLoss,
        targets: PanopticTargets,
        evaluator: PanopticEvaluator,
        categories: Categories,
        config: Config,
        channels: Channels | None = None,
    ) -> None:
        super().__init__(model, categories, config)
        self.channels = channels
        self.loss = loss
        self.targets = targets
        self.evaluator = evaluator
        self.low_scores: dict[str, float] = {}

    def metadata(self) -> dict[str, Any]:
        """Return the post-processing, at which sizes images are seen, and which scores are low."""
        post_processing = section_to_dict(self.config.post_processing)
        view, channels = _view(self.config.data), self.channels
        if channels is not None:
            view |= {"channels": list(channels.numbers), "num_channels": channels.of}
        low_scores = {"low_scores": self.low_scores} if self.low_scores else {}
        return {"post_processing": post_processing, "view": view, **low_scores}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with what the last validation found."""
        self.low_scores = checkpoint["axial_deeplab"].get("low_scores", {})

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the total loss of a batch that `data.transforms.stacked` made."""
        images = match_channels(self.model, batch["image"].contiguous())
        targets = self.targets.of_batch(batch["rows"], batch["segments"])
        losses = self.loss(self.model(images), targets)
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "total", sync_dist=True)
        return losses["total"]

    def validation_step(self, batch: ValidationBatch, batch_idx: int) -> None:
        """Predict the images of a batch and compare."""
        for sample in batch.samples:
            self.evaluator.update(self.evaluated_model, sample)

    def on_validation_epoch_end(self) -> None:
        """Log PQ and mIoU of the images of all processes."""
        super().on_validation_epoch_end()
        if self.trainer.world_size > 1:
            states: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(states, self.evaluator.state())
            self.evaluator.load_states(states)
        self.low_scores = self.evaluator.low_scores()
        for name, value in self.evaluator.compute().summary().items():
            self.log(f"val/{name}", value, prog_bar=name == "PQ", rank_zero_only=False)


def panoptic_task(config: Config) -> Task:
    """Return all that training a panoptic network needs.

    Raises:
        ValueError: settings that are not valid, or a data set that is not.
        OSError: a file that cannot be read.
    """
    train_data, val_data = _data_sets(config)
    categories = train_data.categories
    of_images = see_channels(train_data, config.model.overrides.get("in_channels"))
    channels = train_data.channels
    if val_data is not None:
        val_data.channels = channels
    # Void is 255 in every data set but one with so many classes that 255 is one of them.
    ignore_label = 255 if len(categories) <= 255 else -1
    post_processing = PostProcessing(categories.thing_ids, **section_to_dict(config.post_processing))
    module = PanopticTraining(
        build_model(config, len(categories), **of_images),
        PanopticLoss(ignore_label=ignore_label, **section_to_dict(config.loss)),
        PanopticTargets(categories.thing_ids, ignore_label=ignore_label, **section_to_dict(config.target)),
        PanopticEvaluator(categories, post_processing, View(**_view(config.data), channels=channels)),
        categories,
        config,
        channels,
    )
    augmentation = section_to_dict(config.augmentation)
    augmentation["intensity"] = Intensity(**section_to_dict(config.augmentation.intensity))
    if channels is not None:
        mean = cast(Tensor, module.model.pixel_mean).flatten()
        augmentation["pad_color"] = tuple(mean.round().clamp(0, 255).int().tolist())
    augmented = TrainingDataset(
        train_data, seed=config.trainer.seed, **working_size(config.data), **augmentation
    )
    return Task(module, augmented, val_data, stacked=stacked)


def working_size(data: DataConfig) -> dict[str, Any]:
    """Return the settings of the size at which the network sees images, in training and afterwards."""
    return {"long_side": data.long_side, "max_size": data.max_size}


def _view(data: DataConfig) -> dict[str, Any]:
    """Return how predictions see images, which is stored with the weights."""
    scales = {} if data.scales == (1.0,) else {"scales": list(data.scales)}
    return {**working_size(data), **scales, **reading(data)}


def _data_sets(config: Config) -> tuple[PanopticDataset, PanopticDataset | None]:
    train_data = open_dataset(config.data, "train")
    annotations = getattr(train_data, "annotations", ())
    if annotations and not any(each.segments for each in annotations):
        raise ValueError(
            f"{config.data.train.place} must have segments to learn from, got none in {len(annotations)} "
            "images; look at the set with `axial-deeplab dataset check`"
        )
    if not train_data.categories.stuff_ids:
        warnings.warn(
            f"{config.data.train.place}: no category is stuff, so that void pixels teach nothing and the "
            "network sees things everywhere; add a background (dataset convert --background NAME) unless "
            "every pixel has an instance",
            stacklevel=2,
        )
    look_at_images(train_data)
    if config.data.val == type(config.data.val)():
        return train_data, None
    val_data = open_dataset(config.data, "val")
    look_at_images(val_data)
    val_data.categories.require_same_classes(train_data.categories, "data.val.json", "data.train.json")
    return train_data, val_data
