"""Fused axial attention on the CPU, forward and backward, compiled by Numba; see docs/kernels.md."""

from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from axial_deeplab.ops.cpu_kernels.threads import run_in_threads
from axial_deeplab.ops.implementations import is_exporting
from axial_deeplab.ops.operands import SCHEMA, Operands, empty_like_image, reach_of

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
# Below this many multiply-adds a second thread costs more than it saves (about 20 microseconds of one core).
WORK_FOR_A_THREAD = 500_000
# Each chunk of units sums the gradients of the tables on its own, so the result depends on the shapes
# alone, not on the number of threads. More chunks occupy more threads and take more memory.
FEWEST_CHUNKS, MOST_CHUNKS, UNITS_IN_A_CHUNK = 16, 64, 8

_numba_is_missing = find_spec("numba") is None


def why_not(operands: Operands) -> str | None:
    """Return why the operands cannot run here, or None."""
    if operands.activation != "softmax":
        return "it has the softmax only"
    return why_not_tensor(operands.q)


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


def attend(operands: Operands) -> tuple[Tensor, Tensor | None]:
    """Position-sensitive attention along one axis, Eq. 3 and 4; logits are never stored.

    Half precision is computed in float32; the results have the precision of `v`. It can be differentiated
    once.
    """
    dtype = operands.v.dtype
    content, positional, _ = _forward(*operands.widened().flat)
    return content.to(dtype), None if operands.rel_v is None else positional.to(dtype)


def attend_sum(operands: Operands, positional_scale: Tensor) -> Tensor:
    """What `attend` returns, added up in cache."""
    wide = operands.widened()
    return _forward_sum(positional_scale.to(wide.q.dtype), *wide.flat).to(operands.v.dtype)


def _on_cpu(name: str, arguments: str, results: str) -> Any:
    """Register an operation, see `SCHEMA`; a decorator."""
    return torch.library.custom_op(
        f"axial_deeplab::{name}", mutates_args=(), device_types="cpu", schema=f"({arguments}) -> {results}"
    )


@_on_cpu("axial_attention_sum", f"Tensor positional_scale, {SCHEMA}", "Tensor")
def _forward_sum(positional_scale: Tensor, *flat: Any) -> Tensor:
    """Return content + positional_scale * positional, (B, L, M, N, V)."""
    operands = Operands(*flat)
    output = _allocate_sum(positional_scale, *flat)
    call = _Call(operands, _allocate_maxima(operands.q))
    call.set_tensors(CONTENT=output)
    padding = kernel_layout().whole_vectors(output.shape[-1]) - output.shape[-1]
    call.set_address("POSITIONAL_SCALE", F.pad(positional_scale, (0, padding)))
    call.run("forward")
    return output


@_forward_sum.register_fake
def _allocate_sum(positional_scale: Tensor, *flat: Any) -> Tensor:
    return empty_like_image(Operands(*flat).v)


@_on_cpu("axial_attention", SCHEMA, "(Tensor, Tensor, Tensor)")
def _forward(*flat: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return both outputs (B, L, M, N, V) and the largest logit of each query, base 2."""
    content, positional, maxima = _allocate_outputs(*flat)
    call = _Call(Operands(*flat), maxima)
    call.set_tensors(CONTENT=content, POSITIONAL=positional)
    call.run("forward")
    return content, positional, maxima


@_forward.register_fake
def _allocate_outputs(*flat: Any) -> tuple[Tensor, Tensor, Tensor]:
    operands = Operands(*flat)
    return empty_like_image(operands.v), empty_like_image(operands.v), _allocate_maxima(operands.q)


@_on_cpu(
    "axial_attention_backward",
    f"Tensor grad_content, Tensor grad_positional, Tensor maxima, {SCHEMA}",
    "Tensor[]",
)
def _backward(grad_content: Tensor, grad_positional: Tensor, maxima: Tensor, *flat: Any) -> list[Tensor]:
    """Return the gradients of `Operands.tensors`; empty for an absent one."""
    grads = _allocate_gradients(grad_content, grad_positional, maxima, *flat)
    call = _Call(Operands(*flat), maxima)
    call.set_tensors(CONTENT=grad_content, POSITIONAL=grad_positional)
    call.set_tensors(GRAD_Q=grads[0], GRAD_K=grads[1], GRAD_V=grads[2])
    for column, grad in zip(("GRAD_REL_Q", "GRAD_REL_K", "GRAD_REL_V", "GRAD_SCALE"), grads[3:], strict=True):
        if grad.dim() == 2:
            call.set_address(column, grad)
    call.run("backward")
    return grads


@_backward.register_fake
def _allocate_gradients(
    grad_content: Tensor, grad_positional: Tensor, maxima: Tensor, *flat: Any
) -> list[Tensor]:
    operands = Operands(*flat)
    grads = [empty_like_image(x) for x in operands.images]
    others = (*operands.tables, operands.logit_scale)
    return grads + [grads[0].new_zeros(() if x is None else x.shape) for x in others]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.span = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(*tensors, output[2])


def _differentiate(
    ctx: Any, grad_content: Tensor, grad_positional: Tensor, _: Tensor
) -> tuple[Tensor | None, ...]:
    *tensors, maxima = ctx.saved_tensors
    grads = _backward(grad_content, grad_positional, maxima, *tensors, ctx.span)
    return *(None if x is None else grad for x, grad in zip(tensors, grads, strict=True)), None


_forward.register_autograd(_differentiate, setup_context=_setup_context)


def _allocate_maxima(q: Tensor) -> Tensor:
    batch, length, lines, heads = q.shape[:4]
    return q.new_empty(batch * lines * heads, (length + 3) // 4 * 4)


class _Call:
    """One call of a kernel: its table of arguments, and the tensors that must live until it returns."""

    def __init__(self, operands: Operands, maxima: Tensor) -> None:
        q = operands.q
        self.batch, self.length, self.lines, self.heads, self.head_dim = q.shape
        self.value_dim = operands.v.shape[-1]
        self.reach = reach_of(operands.span, self.length)
        max_distance = next((x.shape[0] // 2 for x in operands.tables if x is not None), 0)
        self.like = q
        self.layout = kernel_layout()
        self.kept: list[Tensor] = []
        self.arguments = np.zeros(self.layout.COLUMNS, dtype=np.int64)
        self.arguments[self.layout.BATCH : self.layout.MAX_DISTANCE + 1] = (
            *(self.batch, self.length, self.lines, self.heads, self.head_dim),
            *(self.value_dim, self.reach, max_distance),
        )
        self.set_address("SCALE", operands.scales().contiguous())
        self.set_address("MAXIMA", maxima)
        for column, table in zip(("REL_Q", "REL_K", "REL_V"), operands.tables, strict=True):
            if table is not None:
                self.set_address(column, table.contiguous())
        self.set_tensors(Q=q, K=operands.k, V=operands.v)

    def set_address(self, column: str, tensor: Tensor) -> None:
        self.kept.append(tensor)
        self.arguments[getattr(self.layout, column)] = tensor.data_ptr()

    def set_tensors(self, **tensors: Tensor) -> None:
        """Set the addresses and strides of tensors (B, L, M, N, C)."""
        for column, tensor in tensors.items():
            dense = tensor if tensor.stride(-1) == 1 else tensor.contiguous()
            self.set_address(column, dense)
            first = getattr(self.layout, column) + 1
            self.arguments[first : first + 4] = dense.stride()[:4]

    def run(self, direction: str) -> None:
        """Run the kernel "forward" or "backward"."""
        units = self.batch * self.lines * self.heads
        if units == 0 or self.length == 0:
            return
        layout = self.layout
        chunks = min(units, max(FEWEST_CHUNKS, min(units // UNITS_IN_A_CHUNK, MOST_CHUNKS)))
        sizes = (self.head_dim, self.value_dim)
        backward = direction == "backward"
        scratch_rule = layout.backward_scratch_size if backward else layout.forward_scratch_size
        scratch_size = scratch_rule(self.length, *sizes)
        grads_size = layout.table_grads_size(self.reach, *sizes, self.heads) if backward else 0
        threads = self.threads(units, chunks)
        self.set_address("TABLES", self.like.new_empty(layout.tables_size(self.reach, *sizes)))
        self.set_address("SCRATCH", self.like.new_empty(threads * scratch_size))
        self.set_address("TABLE_GRADS", self.like.new_empty(chunks * grads_size))
        self.arguments[layout.SCRATCH_SIZE] = scratch_size
        self.arguments[layout.TABLE_GRADS_SIZE] = grads_size
        self.arguments[layout.CHUNKS] = chunks

        dtype = str(self.like.dtype).removeprefix("torch.")
        address = self.arguments.ctypes.data
        compiled("expand_tables", dtype).ctypes(address)
        run_in_threads(compiled(direction, dtype), address, threads)
        if backward:
            compiled("collect_table_grads", dtype).ctypes(address)

    def threads(self, units: int, chunks: int) -> int:
        """Return how many threads pay."""
        work = (
            units
            * self.length
            * min(self.length, 2 * self.reach + 1)
            * (3 * self.head_dim + 2 * self.value_dim)
        )
        return max(1, min(torch.get_num_threads(), chunks, work // WORK_FOR_A_THREAD))


@cache
def kernel_layout() -> ModuleType:
    """Return the module of the layout, on first use: it imports Numba, which takes a second."""
    from axial_deeplab.ops.cpu_kernels import layout

    return layout


@cache
def compiled(name: str, dtype: str) -> Any:
    """Return a kernel for float32 or float64, see `cpu_kernels.entries`."""
    from axial_deeplab.ops.cpu_kernels import entries

    return entries.compiled(name, dtype)
