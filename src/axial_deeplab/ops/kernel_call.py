"""Calling the CPU kernels that Numba compiles: when they can run, their table of arguments, their threads."""

from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from axial_deeplab.ops.dispatch import is_exporting
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
    if q.dtype not in DTYPES:
        return f"it has no kernel for {q.dtype}"
    if is_exporting():
        return "an exported program must not need its compiled code"
    return None


def differentiate_by(backward: Any, forward: Any) -> None:
    """Register the backward pass of a fused attention.

    Args:
        backward: operation that gets the gradients of both outputs, the largest logits and `Operands.flat`,
            and returns the gradients of `Operands.tensors`.
        forward: operation that gets `Operands.flat` and returns two outputs and the largest logits.
    """

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        *tensors, ctx.span = inputs
        ctx.mark_non_differentiable(output[2])
        ctx.save_for_backward(*tensors, output[2])

    def differentiate(
        ctx: Any, grad_content: Tensor, grad_positional: Tensor, _: Tensor
    ) -> tuple[Tensor | None, ...]:
        *tensors, maxima = ctx.saved_tensors
        grads = backward(grad_content, grad_positional, maxima, *tensors, ctx.span)
        return *(None if x is None else grad for x, grad in zip(tensors, grads, strict=True)), None

    forward.register_autograd(differentiate, setup_context=setup_context)


class KernelCall:
    """The table of arguments of a kernel, and the tensors that must live until it returns.

    Args:
        like: has the type of all numbers.
    """

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.layout = kernel_layout()
        self.kept: list[Tensor] = []
        self.arguments = np.zeros(self.layout.COLUMNS, dtype=np.int64)

    def set_numbers(self, **numbers: int) -> None:
        for column, number in numbers.items():
            self.arguments[getattr(self.layout, column)] = number

    def set_addresses(self, **tensors: Tensor | None) -> None:
        """Set the addresses of dense tensors; that of an absent one stays 0."""
        for column, tensor in tensors.items():
            if tensor is not None:
                self.kept.append(tensor)
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
        """Run a kernel of `cpu_kernels.entries`."""
        function = compiled(entry, str(self.like.dtype).removeprefix("torch."))
        run_in_threads(function, self.arguments.ctypes.data, threads)


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
    """Return a kernel for float32 or float64, see `cpu_kernels.entries`."""
    from axial_deeplab.ops.numba import entries

    return entries.compiled(name, dtype)
