"""Calling the CPU kernels that Numba compiles: when they can run, their table of arguments, their threads."""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from axial_deeplab.ops.dispatch import is_avoided, is_exporting, is_transformed
from axial_deeplab.ops.numba.threads import run_in_threads

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
# Below this many multiply-adds a second thread costs more than it saves (about 20 microseconds of one core).
WORK_FOR_A_THREAD = 500_000

_numba_is_missing = find_spec("numba") is None


def why_not_tensor(q: Tensor) -> str | None:
    """Return why there is no kernel for queries of this type and device, or None."""
    if q.device.type != "cpu":
        return f"it runs on the CPU, q is on {q.device}"
    if _numba_is_missing:
        return "numba is not installed"
    if is_avoided():
        return "loading it would take longer than what there is to compute"
    if q.dtype not in DTYPES:
        return f"it has no kernel for {q.dtype}"
    if is_exporting():
        return "an exported program must not need its compiled code"
    if is_transformed():
        return "forward mode and the transforms of torch.func do not see into its compiled code"
    return None


class KernelCall:
    """The table of arguments of a kernel, and the tensors that must live until it returns.

    Args:
        like: tensor with the type of all numbers.
        layout: module with the columns of the table, `numba.layout` or that of a kernel with its own.
    """

    def __init__(self, like: Tensor, layout: ModuleType | None = None) -> None:
        self.like = like
        self.layout = layout or kernel_layout()
        self.kept: dict[str, Tensor] = {}
        self.arguments = np.zeros(self.layout.COLUMNS, dtype=np.int64)

    def set_numbers(self, **numbers: int) -> None:
        for column, number in numbers.items():
            self.arguments[getattr(self.layout, column)] = number

    def set_addresses(self, **tensors: Tensor | None) -> None:
        """Set the addresses of dense tensors; that of an absent one stays 0."""
        for column, tensor in tensors.items():
            if tensor is not None:
                self.kept[column] = tensor
                self.set_numbers(**{column: tensor.data_ptr()})

    def set_images(self, **tensors: Tensor) -> None:
        """Set the addresses and strides of tensors (B, L, M, N, C)."""
        for column, tensor in tensors.items():
            dense = tensor if tensor.stride(-1) == 1 else tensor.contiguous()
            self.set_addresses(**{column: dense})
            first = getattr(self.layout, column) + 1
            self.arguments[first : first + 4] = dense.stride()[:4]

    def set_scratch(self, size: int, threads: int) -> None:
        """Give each thread memory for so many numbers, and for where the lanes of its vectors start."""
        self.set_numbers(SCRATCH_SIZE=size)
        self.set_addresses(
            SCRATCH=self.like.new_empty(threads * size),
            LANE_STARTS=self.like.new_empty(threads * self.layout.LANE_STARTS_SIZE, dtype=torch.int64),
        )

    def run(self, entry: str, threads: int = 1) -> None:
        """Run a kernel of `numba.entries`."""
        launch(entry, str(self.like.dtype).removeprefix("torch."), self.arguments, threads, self.kept)


def launch(
    entry: str, dtype: str, arguments: NDArray[np.int64], threads: int, memory: Mapping[str, Tensor]
) -> None:
    """Run a kernel.

    Args:
        entry: name in `numba.entries`.
        dtype: "float32" or "float64".
        arguments: table of arguments, which the kernel changes.
        threads: how many take part.
        memory: all that the table has addresses of, by their columns. They must live until the kernel
            returns, and are all that it may use: the debug mode checks that, see `numba.plain`.
    """
    run_in_threads(compiled(entry, dtype), arguments.ctypes.data, threads)


def threads_for(work: int, chunks: int) -> int:
    """Return how many threads pay for so many multiply-adds in so many chunks."""
    return max(1, min(torch.get_num_threads(), chunks, work // WORK_FOR_A_THREAD))


@cache
def kernel_layout() -> ModuleType:
    """Return the module of the layout, on first use: it imports Numba, which takes a second."""
    from axial_deeplab.ops.numba import layout

    return layout


@cache
def compiled(name: str, dtype: str) -> Any:
    """Return a kernel for float32 or float64, see `numba.entries`."""
    from axial_deeplab.ops.numba import entries

    return entries.compiled(name, dtype)
