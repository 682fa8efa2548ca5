"""How the kernels cut an axis into tiles: a few candidates for each size of heads, and the choice."""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch

Result = TypeVar("Result")


@dataclass(frozen=True)
class Tiling:
    """Queries and keys of a tile, warps that share its work, stages of the pipeline that loads the next."""

    block: int
    warps: int
    stages: int


# The largest block whose tiles fit into the registers, by the channels of a query and a value together,
# each padded to a power of two; with none of these limits met it is 16.
LARGEST_BLOCKS = {
    ("forward", True): ((48, 64), (192, 32)),
    ("forward", False): ((48, 32),),
    ("backward", True): ((48, 64), (96, 32)),
    ("backward", False): ((32, 32),),
}
# Few warps exchange less, but more channels and float32, whose products run without tensor cores, need the
# registers of many.
FEW_CHANNELS = 48
FEW_WARPS = {16: (2, 4), 32: (2, 4), 64: (4, 8)}
MORE_WARPS = {16: (4, 8), 32: (8, 4), 64: (8, 4)}
MOST_WARPS = {16: (8, 4)}

_chosen: dict[Hashable, Tiling] = {}


def padded(channels: int) -> int:
    """Return the power of two that the tensor cores need for so many channels."""
    return max(16, 1 << (channels - 1).bit_length())


def candidates(
    direction: str, length: int, head_dim: int, value_dim: int, dtype: torch.dtype
) -> list[Tiling]:
    """Return the tilings of the "forward" or "backward" kernel, the one that is taken unmeasured first."""
    channels = padded(head_dim) + padded(value_dim)
    tensor_cores = dtype.itemsize == 2
    limits = LARGEST_BLOCKS[direction, tensor_cores]
    largest = next((block for most, block in limits if channels <= most), 16)
    needed = max(16, 1 << (length - 1).bit_length())
    blocks = [block for block in (64, 32, 16) if block <= min(largest, needed)]
    if channels <= FEW_CHANNELS:
        warps = FEW_WARPS if tensor_cores else MORE_WARPS
    else:
        warps = MORE_WARPS if tensor_cores else MOST_WARPS
    return [Tiling(block, number, stages=2) for block in blocks for number in warps[block]]


def run_tiled(key: Hashable, tilings: list[Tiling], run: Callable[[Tiling], Result]) -> Result:
    """Run with the tiling that was chosen for the key before, or choose one.

    With `torch.backends.cudnn.benchmark` it is the fastest of them, as PyTorch does for convolutions; sums
    may then round otherwise in another process. Without, and where deterministic algorithms are asked for,
    it is the first that the device has room for.
    """
    from triton.runtime.errors import OutOfResources

    if key in _chosen:
        return run(_chosen[key])
    if _may_measure():
        times = {tiling: milliseconds(partial(run, tiling)) for tiling in tilings}
        _chosen[key] = min(times, key=times.__getitem__)
        return run(_chosen[key])
    for tiling in tilings[:-1]:
        try:
            result = run(tiling)
        except OutOfResources:
            continue
        _chosen[key] = tiling
        return result
    return run(tilings[-1])


def forget_choices() -> None:
    """Let every shape choose its tiling again."""
    _chosen.clear()


def milliseconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest time of a function on the CUDA device, infinity if that has no room for it."""
    from triton.runtime.errors import OutOfResources

    try:
        function()
    except OutOfResources:
        return math.inf
    shortest = math.inf
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        end.synchronize()
        shortest = min(shortest, start.elapsed_time(end))
    return shortest


def _may_measure() -> bool:
    return (
        torch.backends.cudnn.benchmark
        and torch.cuda.is_available()
        and not torch.are_deterministic_algorithms_enabled()
        and not torch.cuda.is_current_stream_capturing()
    )
