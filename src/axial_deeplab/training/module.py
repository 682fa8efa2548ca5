"""What training networks of any task has in common, for Lightning's `Trainer`."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.distributed.fsdp import FSDPModule

from axial_deeplab.config.schema import Config, config_to_dict
from axial_deeplab.panoptic.categories import Categories
from axial_deeplab.training.optimizers import (
    radam_lookahead,
    sgd_nesterov,
    update_average,
    warmup_cosine,
    warmup_poly,
)
from axial_deeplab.training.strategies import ShardedStrategy, gather, scatter, shard
from axial_deeplab.weights.factory import path_of
from axial_deeplab.weights.matching import LoadReport, load_matching


class TrainingModule(lightning.LightningModule, ABC):
    """A network with its optimizer and, if wanted, the moving average of its weights.

    Args:
        model: the network, `axial_deeplab.create_model(...)`.
        categories: categories of the data set, stored with the weights.
        config: the settings; this class reads `optim`, the rest goes to the checkpoint.

    Attributes:
        columns: names of what is logged, in order.
        score: name of the number by which the best checkpoint is chosen, higher is better.
        average: the network with averaged weights, or None.
        evaluator: scores the validation images.
    """

    columns: ClassVar[tuple[str, ...]]
    score: ClassVar[str]
    evaluator: Any

    def __init__(self, model: nn.Module, categories: Categories, config: Config) -> None:
        super().__init__()
        self.model = model
        self.categories = categories
        self.config = config
        # A part of this module, so that checkpoints hold it and several processes agree on it.
        self.average: nn.Module | None = None
        if config.optim.ema_decay is not None:
            self.average = copy.deepcopy(model).requires_grad_(False)

    @property
    def evaluated_model(self) -> nn.Module:
        """The network that is validated, and whose weights the training leaves."""
        return self.model if self.average is None else self.average

    def load_initial_weights(self, source: str) -> LoadReport:
        """Start from the weights of a file, as far as they fit.

        Args:
            source: file of weights, or name of `axial-deeplab weights list`.

        Returns:
            What became of each tensor.
        """
        report = load_matching(self.model, path_of(source))
        if self.average is not None:
            self.average.load_state_dict(self.model.state_dict())
        return report

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """Return what predictions need to know beside the network and the categories, as plain types."""

    def configure_model(self) -> None:
        """Shard the network where the strategy asks for it."""
        if isinstance(self.trainer.strategy, ShardedStrategy) and not isinstance(self.model, FSDPModule):
            mesh = self.trainer.strategy.device_mesh["data_parallel"]
            for model in (self.model, self.average):
                if model is not None:
                    shard(model, mesh)

    def on_validation_epoch_start(self) -> None:
        """Make a sharded network whole, and forget the images of the last validation."""
        gather(self.evaluated_model)
        self.evaluator.reset()

    def on_validation_epoch_end(self) -> None:
        """Shard it again."""
        scatter(self.evaluated_model)

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Seed what is random in the network by seed, step and process, so that a resumed run repeats it."""
        torch.manual_seed(
            (self.config.trainer.seed * 1_000_003 + batch_idx) * self.trainer.world_size + self.global_rank
        )

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the learning rate of the step."""
        self.log("train/lr", optimizer.param_groups[0]["lr"])

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Step the optimizer, then the average."""
        super().optimizer_step(*arguments, **options)
        if self.average is not None:
            decay = self.config.optim.ema_decay
            assert decay is not None
            update_average(self.average, self.model, decay=decay, num_steps=self.trainer.global_step)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimizer, and a learning rate that warms up and decays step by step."""
        optim = self.config.optim
        optimizer: torch.optim.Optimizer
        if optim.optimizer == "sgd":
            optimizer = sgd_nesterov(
                self.model, lr=optim.lr, momentum=optim.momentum, weight_decay=optim.weight_decay
            )
        else:
            optimizer = radam_lookahead(
                self.model,
                lr=optim.lr,
                weight_decay=optim.weight_decay,
                lookahead_steps=optim.lookahead_steps,
                lookahead_alpha=optim.lookahead_alpha,
            )
        steps = {"warmup_steps": optim.warmup_steps, "max_steps": optim.max_steps}
        if optim.schedule == "cosine":
            scheduler = warmup_cosine(optimizer, **steps)
        else:
            scheduler = warmup_poly(optimizer, **steps, power=optim.poly_power)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add all that is needed to rebuild and use the model, as plain types."""
        checkpoint["axial_deeplab"] = {
            "model": dict(cast("Mapping[str, Any]", self.model.config)),
            "categories": self.categories.to_json(),
            **self.metadata(),
            "config": config_to_dict(self.config),
        }
