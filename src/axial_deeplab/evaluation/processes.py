"""Sharing the images of a data set out among processes, and bringing the sums together."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

State = TypeVar("State")

# Seconds until all processes must be connected. PyTorch waits for half an hour, and without end for one that
# gave up while others had begun to connect.
_PATIENCE = 50
# For another that is at work, as PyTorch has it.
_PATIENCE_AT_WORK = timedelta(minutes=30)


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


def connect(backend: str, **arguments: Any) -> None:
    """Connect the processes that a launcher started on one or more machines.

    Args:
        backend: gloo or nccl.
        arguments: others of `torch.distributed.init_process_group`.

    Raises:
        ConnectionError: not all are there and reach each other within a minute.
        ValueError: the launcher left out what a process must know.
    """
    failures: list[Exception] = []

    def try_it() -> None:
        try:
            dist.init_process_group(backend, timeout=timedelta(seconds=_PATIENCE), **arguments)
            dist.barrier()  # NCCL connects with the first operation
        except (RuntimeError, ValueError) as error:
            failures.append(error)

    # Gloo waits in C++, where nothing else ends it.
    thread = threading.Thread(target=try_it, daemon=True)
    thread.start()
    thread.join(1.1 * _PATIENCE)
    if failures and isinstance(failures[0], ValueError):
        raise failures[0]
    if failures or thread.is_alive():
        reason = str(failures[0]).splitlines()[0] if failures else f"no answer within {_PATIENCE} s"
        raise ConnectionError(
            f"all processes must reach each other, got: {reason}; see what the others said, start all at "
            "the same time, and name the network that joins the machines (ip addr) by "
            "GLOO_SOCKET_IFNAME=eth0 and NCCL_SOCKET_IFNAME=eth0"
        ) from None
    group = dist.group.WORLD
    assert group is not None
    group.set_timeout(_PATIENCE_AT_WORK)
    group.get_group_store().set_timeout(_PATIENCE_AT_WORK)


def is_lost_connection(error: RuntimeError) -> bool:
    """Return whether an error tells that another process is gone."""
    if isinstance(error, dist.DistError):
        return True
    # Gloo, which connects CPUs, raises plain errors.
    return any(word in str(error) for word in ("gloo", "Connection closed by peer", "Connection reset"))


@contextmanager
def naming_lost_connection(work: str, remedy: str) -> Iterator[None]:
    """Tell in one line that another process of the group is gone, which ends this one.

    Args:
        work: what the processes are for.
        remedy: what to do about it.

    Raises:
        ConnectionError: another process ended, or cannot be reached any more.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_lost_connection(error):
            raise
        raise ConnectionError(
            f"the {dist.get_world_size()} {work} processes must all run to the end, got a process that ended "
            f"or cannot be reached ({str(error).splitlines()[0]}); see what that process said, then {remedy}"
        ) from None


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the processes that torchrun started, or the group that the caller has joined, or be alone.

    The states that are brought together are small, so gloo does it on any device.

    Raises:
        ConnectionError: not all of them can be reached, or one is lost.
    """
    if dist.is_available() and dist.is_initialized():
        yield Processes(dist.get_rank(), dist.get_world_size())
    elif int(os.environ.get("WORLD_SIZE", "1")) > 1:
        connect("gloo")
        try:
            with naming_lost_connection("evaluating", "start all again"):
                yield Processes(dist.get_rank(), dist.get_world_size())
        finally:
            dist.destroy_process_group()
    else:
        yield Processes()
