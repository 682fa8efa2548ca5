"""Checkpoints that survive a kill at any moment: last.ckpt and, by a score, best.ckpt."""

import math
import os
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

from axial_deeplab.training.interruption import EndedAfterStep
from axial_deeplab.util.files import atomic_path, remove_leftovers

LAST = "last.ckpt"
BEST = "best.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint beside its final name and rename it: a reader never sees half of one."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write `checkpoint` to `path`."""
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())


class Checkpoints(lightning.Callback):
    """Write last.ckpt every few steps and after each validation, best.ckpt when the score is higher than
    ever.

    A checkpoint is written after the validation of its step where there is one, so a resumed run neither
    repeats nor leaves out a validation.

    Args:
        folder: where the checkpoints go.
        interval: optimizer steps between two writings of last.ckpt.
        val_interval: optimizer steps between two validations, None for no validation.
        max_steps: optimizer steps of the whole training; the last one is always written.
        score: name of the logged number that chooses the best checkpoint, higher is better.
    """

    def __init__(
        self, folder: str | Path, *, interval: int, val_interval: int | None, max_steps: int, score: str
    ) -> None:
        self.folder = Path(folder)
        self.interval = interval
        self.val_interval = val_interval
        self.max_steps = max_steps
        self.score = score
        self.best_score = float("-inf")
        self._written_step = -1
        self._warned = False

    def setup(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Remove what a killed run left half-written."""
        if trainer.is_global_zero:
            remove_leftovers(self.folder)

    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Take the step that a resumed run starts from as written."""
        self._written_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any
    ) -> None:
        """Write last.ckpt where it is due and no validation follows at once.

        Raises:
            ValueError: the training has diverged; the last checkpoint stays.
        """
        step = trainer.global_step
        is_due = step % self.interval == 0 or step == self.max_steps
        if is_due or self._validation_follows(step):
            _refuse_diverged(module, step)
        if is_due:
            self._write_step(trainer)

    def on_exception(self, trainer: lightning.Trainer, _: Any, exception: BaseException) -> None:
        """Write last.ckpt on SIGTERM and Ctrl-C, where they end the training between two batches."""
        # Several processes learn of them at different steps, and can only write a checkpoint together.
        if isinstance(exception, SIGTERMException | EndedAfterStep) and trainer.world_size == 1:
            self._write_step(trainer)

    def on_validation_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Write best.ckpt if this score is the best so far, and last.ckpt."""
        score = float(trainer.callback_metrics[self.score])
        if math.isnan(score) and not self._warned and trainer.is_global_zero:
            self._warned = True
            warnings.warn(
                f"{self.score} of the validation set is not defined, so {BEST} is not written: no segment "
                "counts (all are void or crowds); look at the set with `axial-deeplab dataset check`",
                stacklevel=1,
            )
        if score > self.best_score:
            self.best_score = score
            self._write(trainer, BEST)
        self._write(trainer, LAST)

    def _write_step(self, trainer: lightning.Trainer) -> None:
        # Between the batches that one optimizer step accumulates, the step stands still.
        if not self._validation_follows(trainer.global_step) and trainer.global_step != self._written_step:
            self._write(trainer, LAST)

    def _validation_follows(self, step: int) -> bool:
        return self.val_interval is not None and step % self.val_interval == 0

    def _write(self, trainer: lightning.Trainer, name: str) -> None:
        trainer.save_checkpoint(self.folder / name)
        self._written_step = trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best score of a checkpoint."""
        self.best_score = state_dict["best_score"]


def _refuse_diverged(module: lightning.LightningModule, step: int) -> None:
    """Refuse weights that are no numbers any more, before they are scored or take the place of others.

    Raises:
        ValueError: there are some.
    """
    for name, tensor in module.state_dict().items():
        own = tensor.to_local() if hasattr(tensor, "to_local") else tensor  # of a sharded network
        if own.is_floating_point() and not bool(own.isfinite().all()):
            raise ValueError(
                f"weights must stay finite, got NaN or infinity in {name} at step {step}: the training has "
                "diverged; give a lower optim.lr or more optim.warmup_steps"
            )
