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

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
# Below this many multiply-adds a second thread costs more than it saves (about 20 microseconds of one core).
WORK_FOR_A_THREAD = 500_000
# Each chunk of units sums the gradients of the tables on its own, so the result depends on the shapes
# alone, not on the number of threads. More chunks occupy more threads and take more memory.
FEWEST_CHUNKS, MOST_CHUNKS, UNITS_IN_A_CHUNK = 16, 64, 8

_numba_is_missing = find_spec("numba") is None


def why_not(
    q: Tensor, k: Tensor, v: Tensor, *others: Tensor | None, activation: str = "softmax", **options: object
) -> str | None:
    """Return why the arguments of `axial_attention` cannot run here, or None."""
    if q.device.type != "cpu":
        return f"it runs on the CPU, q is on {q.device}"
    if _numba_is_missing:
        return "numba is not installed"
    if q.dtype not in DTYPES:
        return f"it has no kernel for {q.dtype}"
    if activation != "softmax":
        return "it has the softmax only"
    if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        return "an exported program must not need its compiled code"
    return None


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None = None,
    *,
    span: int | None = None,
    activation: str = "softmax",
    logit_bias: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Position-sensitive attention along one axis, Eq. 3 and 4; logits are never stored.

    The arguments are those of `axial_attention`, already checked. Half precision is computed in float32;
    the results have the precision of `v`. It can be differentiated once.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    tensors = [None if x is None else x.to(dtype) for x in (q, k, v, rel_q, rel_k, rel_v, logit_scale)]
    content, positional, _ = _forward(*tensors, span)
    return content.to(v.dtype), None if rel_v is None else positional.to(v.dtype)


def attend_sum(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None,
    positional_scale: Tensor,
    *,
    span: int | None = None,
    activation: str = "softmax",
    logit_bias: Tensor | None = None,
) -> Tensor:
    """What `attend` returns, added up in cache; the arguments are those of `axial_attention_sum`."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    tensors = (q, k, v, rel_q, rel_k, rel_v, logit_scale, positional_scale)
    return _forward_sum(*(None if x is None else x.to(dtype) for x in tensors), span).to(v.dtype)


@torch.library.custom_op("axial_deeplab::axial_attention_sum", mutates_args=(), device_types="cpu")
def _forward_sum(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None,
    positional_scale: Tensor,
    span: int | None,
) -> Tensor:
    """Return content + positional_scale * positional, (B, L, M, N, V)."""
    output = empty_like_image(v)
    call = _Call(q, k, v, rel_q, rel_k, rel_v, logit_scale, span, _allocate_maxima(q))
    call.set_tensors(CONTENT=output)
    padding = kernel_layout().whole_vectors(v.shape[-1]) - v.shape[-1]
    call.set_address("POSITIONAL_SCALE", F.pad(positional_scale, (0, padding)))
    call.run("forward")
    return output


@_forward_sum.register_fake
def _allocate_sum(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None,
    positional_scale: Tensor,
    span: int | None,
) -> Tensor:
    return empty_like_image(v)


@torch.library.custom_op("axial_deeplab::axial_attention", mutates_args=(), device_types="cpu")
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None,
    span: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return both outputs (B, L, M, N, V) and the largest logit of each query, base 2."""
    content, positional, maxima = _allocate_outputs(q, k, v, rel_q, rel_k, rel_v, logit_scale, span)
    call = _Call(q, k, v, rel_q, rel_k, rel_v, logit_scale, span, maxima)
    call.set_tensors(CONTENT=content, POSITIONAL=positional)
    call.run("forward")
    return content, positional, maxima


@_forward.register_fake
def _allocate_outputs(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None,
    span: int | None,
) -> tuple[Tensor, Tensor, Tensor]:
    return empty_like_image(v), empty_like_image(v), _allocate_maxima(q)


@torch.library.custom_op("axial_deeplab::axial_attention_backward", mutates_args=(), device_types="cpu")
def _backward(
    grad_content: Tensor,
    grad_positional: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None,
    span: int | None,
    maxima: Tensor,
) -> list[Tensor]:
    """Return the gradients of the first seven arguments of the forward operation; empty for an absent one."""
    grads = _allocate_gradients(
        grad_content, grad_positional, q, k, v, rel_q, rel_k, rel_v, logit_scale, span, maxima
    )
    call = _Call(q, k, v, rel_q, rel_k, rel_v, logit_scale, span, maxima)
    call.set_tensors(CONTENT=grad_content, POSITIONAL=grad_positional)
    call.set_tensors(GRAD_Q=grads[0], GRAD_K=grads[1], GRAD_V=grads[2])
    for column, grad in zip(("GRAD_REL_Q", "GRAD_REL_K", "GRAD_REL_V", "GRAD_SCALE"), grads[3:], strict=True):
        if grad.dim() == 2:
            call.set_address(column, grad)
    call.run("backward")
    return grads


@_backward.register_fake
def _allocate_gradients(
    grad_content: Tensor,
    grad_positional: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None,
    span: int | None,
    maxima: Tensor,
) -> list[Tensor]:
    others = (rel_q, rel_k, rel_v, logit_scale)
    grads = [empty_like_image(x) for x in (q, k, v)]
    return grads + [q.new_zeros(() if x is None else x.shape) for x in others]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    *tensors, ctx.span = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(*tensors, output[2])


def _differentiate(
    ctx: Any, grad_content: Tensor, grad_positional: Tensor, _: Tensor
) -> tuple[Tensor | None, ...]:
    *tensors, maxima = ctx.saved_tensors
    grads = _backward(grad_content, grad_positional, *tensors, ctx.span, maxima)
    return *(None if x is None else grad for x, grad in zip(tensors, grads, strict=True)), None


_forward.register_autograd(_differentiate, setup_context=_setup_context)


def _allocate_maxima(q: Tensor) -> Tensor:
    batch, length, lines, heads = q.shape[:4]
    return q.new_empty(batch * lines * heads, (length + 3) // 4 * 4)


def empty_like_image(x: Tensor) -> Tensor:
    """Return a dense tensor of the shape of x (B, L, M, N, C) whose two axes are nested as those of x."""
    batch, length, lines, heads, channels = x.shape
    if x.stride(1) < x.stride(2):
        return x.new_empty(batch, lines, length, heads, channels).transpose(1, 2)
    return x.new_empty(batch, length, lines, heads, channels)


class _Call:
    """One call of a kernel: its table of arguments, and the tensors that must live until it returns."""

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        rel_q: Tensor | None,
        rel_k: Tensor | None,
        rel_v: Tensor | None,
        logit_scale: Tensor | None,
        span: int | None,
        maxima: Tensor,
    ) -> None:
        self.batch, self.length, self.lines, self.heads, self.head_dim = q.shape
        self.value_dim = v.shape[-1]
        self.reach = max(self.length - 1 if span is None else min(self.length - 1, span // 2), 0)
        max_distance = next((x.shape[0] // 2 for x in (rel_q, rel_k, rel_v) if x is not None), 0)
        self.like = q
        self.layout = kernel_layout()
        self.kept: list[Tensor] = []
        self.arguments = np.zeros(self.layout.COLUMNS, dtype=np.int64)
        self.arguments[self.layout.BATCH : self.layout.MAX_DISTANCE + 1] = (
            *(self.batch, self.length, self.lines, self.heads, self.head_dim),
            *(self.value_dim, self.reach, max_distance),
        )
        self.set_address(
            "SCALE", q.new_ones(3, self.heads) if logit_scale is None else logit_scale.contiguous()
        )
        self.set_address("MAXIMA", maxima)
        for column, table in (("REL_Q", rel_q), ("REL_K", rel_k), ("REL_V", rel_v)):
            if table is not None:
                self.set_address(column, table.contiguous())
        self.set_tensors(Q=q, K=k, V=v)

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
