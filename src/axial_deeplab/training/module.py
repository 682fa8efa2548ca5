"""The training and validation step, for Lightning's `Trainer`."""

from collections.abc import Mapping
from typing import Any, cast

import lightning
import torch
import torch.distributed
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from axial_deeplab.config import Config, config_to_dict
from axial_deeplab.data.categories import Categories
from axial_deeplab.evaluation.evaluate import PanopticEvaluator
from axial_deeplab.losses import PanopticLoss
from axial_deeplab.training.batches import ValidationBatch
from axial_deeplab.training.optimizers import radam_lookahead, warmup_poly


class PanopticTraining(lightning.LightningModule):
    """A segmentation network with its losses, its optimizer and its validation.

    Args:
        model: the network, `axial_deeplab.create_model(...)`.
        loss: the three losses.
        evaluator: predicts and scores the validation images.
        categories: of the data set, stored in checkpoints.
        config: the settings; this class reads `optim`, the rest goes to the checkpoint.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: PanopticLoss,
        evaluator: PanopticEvaluator,
        categories: Categories,
        config: Config,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.evaluator = evaluator
        self.categories = categories
        self.config = config

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Seed what is random in the network by seed, step and process, so that a resumed run repeats it."""
        torch.manual_seed(
            (self.config.trainer.seed * 1_000_003 + batch_idx) * self.trainer.world_size + self.global_rank
        )

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the total loss of a batch of `TrainingDataset`."""
        losses = self.loss(self.model(batch["image"]), batch)
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "total", sync_dist=True)
        return losses["total"]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the learning rate of the step."""
        self.log("train/lr", optimizer.param_groups[0]["lr"])

    def on_validation_epoch_start(self) -> None:
        """Forget the images of the last validation."""
        self.evaluator.reset()

    def validation_step(self, batch: ValidationBatch, batch_idx: int) -> None:
        """Predict the images of a batch and compare."""
        for sample in batch.samples:
            self.evaluator.update(self.model, sample)

    def on_validation_epoch_end(self) -> None:
        """Log PQ and mIoU of the images of all processes."""
        if self.trainer.world_size > 1:
            states: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(states, self.evaluator.state())
            self.evaluator.load_states(states)
        for name, value in self.evaluator.compute().summary().items():
            self.log(f"val/{name}", value, prog_bar=name == "PQ", rank_zero_only=False)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return RAdam inside Lookahead, and a learning rate that warms up and decays step by step."""
        optim = self.config.optim
        optimizer = radam_lookahead(
            self.model,
            lr=optim.lr,
            weight_decay=optim.weight_decay,
            lookahead_steps=optim.lookahead_steps,
            lookahead_alpha=optim.lookahead_alpha,
        )
        scheduler = warmup_poly(
            optimizer, warmup_steps=optim.warmup_steps, max_steps=optim.max_steps, power=optim.poly_power
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add all that is needed to rebuild and use the model, as plain types."""
        config = config_to_dict(self.config)
        checkpoint["axial_deeplab"] = {
            "model": dict(cast("Mapping[str, Any]", self.model.config)),
            "categories": self.categories.to_json(),
            "post_processing": config["post_processing"],
            "config": config,
        }
