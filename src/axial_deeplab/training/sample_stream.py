"""Which images a process sees: a pure function of the seed, of the number of the step and of its rank."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache

import numpy as np
from torch.utils.data import Sampler


@dataclass(eq=False)
class SampleStream(Sampler[list[tuple[int, int]]]):
    """Batches of an endless stream of images that is shuffled again in each epoch, from any batch on.

    Nothing depends on what was drawn before, so a resumed run sees the same images in the same order. A
    batch may hold the end of one epoch and the start of the next: no image is left out, and every batch is
    full.

    Args:
        num_samples: images of the data set.
        batch_size: images of a batch on one process.
        num_batches: batches of the whole training on one process.
        seed: seed of the order.
        start: batches already done.
        rank: number of this process.
        world_size: processes; together they see each batch of `batch_size x world_size` images once.

    Raises:
        ValueError: the data set is empty.
    """

    num_samples: int
    batch_size: int
    num_batches: int
    _: KW_ONLY
    seed: int
    start: int = 0
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.num_samples < 1:
            raise ValueError("num_samples must be at least 1, got 0; give a data set with images")

    def __len__(self) -> int:
        # The whole training, also after a resume: Lightning counts the batches that were done before.
        return self.num_batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in range(self.start, self.num_batches):
            first = (batch * self.world_size + self.rank) * self.batch_size
            yield [self.sample(number) for number in range(first, first + self.batch_size)]

    def sample(self, number: int) -> tuple[int, int]:
        """Return (epoch, index in the data set) of the image with this number in the stream."""
        epoch, position = divmod(number, self.num_samples)
        return epoch, int(_order(self.seed, epoch, self.num_samples)[position])


@dataclass(eq=False)
class ValidationShare(Sampler[list[int]]):
    """The validation images of one process: over all processes each image occurs exactly once.

    Every process has the same number of batches, since they wait for each other at the end; where the images
    do not suffice, its last batch is smaller or empty. Arguments are those of `SampleStream`.
    """

    num_samples: int
    batch_size: int = 1
    _: KW_ONLY
    rank: int = 0
    world_size: int = 1

    def __len__(self) -> int:
        return -(-self.num_samples // (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[list[int]]:
        for batch in range(len(self)):
            first = (batch * self.world_size + self.rank) * self.batch_size
            yield list(range(first, min(first + self.batch_size, self.num_samples)))


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_samples)
