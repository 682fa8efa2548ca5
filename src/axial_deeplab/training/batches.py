"""The batches of a training run, for Lightning's `Trainer`."""

from collections.abc import Callable, Sequence, Sized
from typing import Any

import lightning
from torch.utils.data import DataLoader, Dataset

from axial_deeplab.data.image_warnings import ignore_in_worker
from axial_deeplab.training.sample_stream import SampleStream, ValidationShare


class ValidationBatch:
    """Samples as they are: Lightning would look into a list or a dataclass for tensors to move."""

    def __init__(self, samples: Sequence[Any]) -> None:
        self.samples = samples


class TrainingBatches(lightning.LightningDataModule):
    """Training batches that go on where the optimizer stands, and validation batches.

    Args:
        train: augmented images; its keys are (epoch, index).
        val: what the validation takes, or None.
        batch_size: images that one process sees at a time.
        val_batch_size: images that it sees at a time in the validation.
        accumulate: batches of an optimizer step.
        max_steps: optimizer steps of the whole training.
        num_workers: processes that read images, for each device.
        seed: seed of the order of the images.
        stacked: function that makes a training batch of items; None stacks what they hold.
    """

    def __init__(
        self,
        train: Dataset[Any],
        val: Dataset[Any] | None,
        *,
        batch_size: int,
        val_batch_size: int,
        accumulate: int,
        max_steps: int,
        num_workers: int,
        seed: int,
        stacked: Callable[[Sequence[Any]], Any] | None = None,
    ) -> None:
        super().__init__()
        assert isinstance(train, Sized)
        self.train = train
        self.val = val
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size
        self.accumulate = accumulate
        self.max_steps = max_steps
        self.num_workers = num_workers
        self.seed = seed
        self.stacked = stacked

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the rest of the training as one pass."""
        assert self.trainer is not None
        stream = SampleStream(
            len(self.train),
            self.batch_size,
            self.max_steps * self.accumulate,
            seed=self.seed,
            start=self.trainer.global_step * self.accumulate,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return self._loader(self.train, batch_sampler=stream, collate_fn=self.stacked)

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Return the validation images of this process."""
        assert self.trainer is not None
        if self.val is None:
            return []
        assert isinstance(self.val, Sized)
        share = ValidationShare(
            len(self.val),
            self.val_batch_size,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )
        return self._loader(self.val, batch_sampler=share, collate_fn=ValidationBatch)

    def _loader(self, dataset: Dataset[Any], **options: Any) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            num_workers=self.num_workers,
            worker_init_fn=ignore_in_worker,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            **options,
        )
