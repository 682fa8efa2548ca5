"""Sharing the images of a data set out among processes, and bringing the sums together."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

State = TypeVar("State")


@dataclass(frozen=True)
class Processes:
    """The processes that work on one data set, this one among them.

    Args:
        rank: number of this process.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes for all."""
        return self.rank == 0

    def share(self, num_images: int) -> range:
        """Return the images of this process: every image is one process's, whatever their number."""
        return range(self.rank, num_images, self.count)

    def gather(self, state: State) -> list[State]:
        """Return the states of all processes, by rank, to each of them."""
        if self.count == 1:
            return [state]
        states: list[Any] = [None] * self.count
        dist.all_gather_object(states, state)
        return states

    def collect(self, items: list[State]) -> list[State]:
        """Return what all processes have of their images, one item an image, in the order of the images."""
        shares = self.gather(items)
        return [share[turn] for turn in range(len(shares[0])) for share in shares if turn < len(share)]

    def device(self, name: str) -> str:
        """Return the device of this process where the user asked for any: each takes a GPU of its own."""
        if self.count == 1 or name not in ("auto", "cuda") or not torch.cuda.is_available():
            return name
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"


def is_first_process() -> bool:
    """Return whether this is the process that prints, of those that torchrun started, or alone."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the processes that torchrun started, or the group that the caller has joined, or be alone.

    The states that are brought together are small, so gloo does it on any device.
    """
    if dist.is_available() and dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size())
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("gloo")
        try:
            yield Processes(dist.get_rank(), dist.get_world_size())
        finally:
            dist.destroy_process_group()
    else:
        yield Processes()
