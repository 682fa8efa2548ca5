"""The batches of a training run, for Lightning's `Trainer`."""

import signal
from collections.abc import Sequence, Sized
from typing import Any

import lightning
from torch.utils.data import DataLoader, Dataset

from axial_deeplab.config.schema import Config
from axial_deeplab.data.image_warnings import ignore_in_worker
from axial_deeplab.training.sample_stream import SampleStream, ValidationShare
from axial_deeplab.training.task import Task


class ValidationBatch:
    """Samples as they are: Lightning would look into a list or a dataclass for tensors to move."""

    def __init__(self, samples: Sequence[Any]) -> None:
        self.samples = samples


class TrainingBatches(lightning.LightningDataModule):
    """Training batches that go on where the optimizer stands, and validation batches.

    Args:
        task: the images of training and validation.
        config: the settings of trainer and optimizer.
        batch_size: images that one process sees at a time.
    """

    def __init__(self, task: Task, config: Config, batch_size: int) -> None:
        super().__init__()
        self.task = task
        self.settings = config.trainer
        self.max_steps = config.optim.max_steps
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the rest of the training as one pass."""
        assert self.trainer is not None
        assert isinstance(self.task.train, Sized)
        stream = SampleStream(
            len(self.task.train),
            self.batch_size,
            self.max_steps * self.settings.accumulate,
            seed=self.settings.seed,
            start=self.trainer.global_step * self.settings.accumulate,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return self._loader(self.task.train, batch_sampler=stream, collate_fn=self.task.stacked)

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Return the validation images of this process."""
        assert self.trainer is not None
        val = self.task.val
        if val is None:
            return []
        assert isinstance(val, Sized)
        share = ValidationShare(
            len(val),
            self.task.val_batch_size,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return self._loader(val, batch_sampler=share, collate_fn=ValidationBatch)

    def _loader(self, dataset: Dataset[Any], **options: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            num_workers=self.settings.num_workers,
            worker_init_fn=_start_worker,
            persistent_workers=self.settings.num_workers > 0,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            **options,
        )


def _start_worker(worker: int) -> None:
    ignore_in_worker(worker)
    # Ctrl-C reaches the whole group; the training decides when it ends, and needs its images until then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
