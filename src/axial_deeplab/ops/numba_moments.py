"""What the moments of whole-axis logits are made of, on the CPU, compiled by Numba.

These are sums of queries, of keys and of their outer products; see docs/kernels.md.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from axial_deeplab.ops.cpu_kernels.threads import run_in_threads
from axial_deeplab.ops.numba_cpu import compiled, kernel_layout, why_not_tensor
from axial_deeplab.ops.operands import empty_like_image

# Below this many multiply-adds a second thread costs more than it saves.
WORK_FOR_A_THREAD = 500_000


class PositionMoments(NamedTuple):
    """Sums over images and lines (and, for the content, positions), by heads.

    Args:
        content: the sums of q·k and of its square over all pairs, (N,) each.
        queries: the sums (N, L, D) of the queries at each position and those (N, L, D, D) of their outer
            products.
        keys: the same of the keys.
    """

    content: tuple[Tensor, Tensor]
    queries: tuple[Tensor, Tensor]
    keys: tuple[Tensor, Tensor]


def can_run(q: Tensor) -> bool:
    """Return whether queries and keys of this type and device have a kernel, in a program that may use it."""
    return q.dtype in (torch.float32, torch.float64) and why_not_tensor(q) is None


def position_moments(q: Tensor, k: Tensor) -> PositionMoments:
    """Return the sums for queries and keys (B, L, M, N, D), float32 or float64, differentiable once."""
    length, head_dim = q.shape[1], q.shape[4]
    packed = _moments(q, k)
    pitch = kernel_layout().whole_vectors(head_dim)
    sums, products = length * pitch, length * head_dim * pitch
    parts = packed.split((sums, products, sums, products, packed.shape[1] - 2 * (sums + products)), dim=1)
    q_sums, k_sums = (parts[i].unflatten(1, (length, pitch))[..., :head_dim] for i in (0, 2))
    q_products, k_products = (
        parts[i].unflatten(1, (length, head_dim, pitch))[..., :head_dim] for i in (1, 3)
    )
    first, second = parts[4][:, :2].unbind(1)
    return PositionMoments((first, second), (q_sums, q_products), (k_sums, k_products))


@torch.library.custom_op("axial_deeplab::position_moments", mutates_args=(), device_types="cpu")
def _moments(q: Tensor, k: Tensor) -> Tensor:
    """Return the moments of all heads (N, `layout.moments_size`)."""
    moments = _allocate_moments(q, k)
    if q.numel() == 0:
        return moments.zero_()
    _run("moments", q, k, moments)
    return moments


@_moments.register_fake
def _allocate_moments(q: Tensor, k: Tensor) -> Tensor:
    return q.new_empty(q.shape[3], kernel_layout().moments_size(q.shape[1], q.shape[4]))


@torch.library.custom_op("axial_deeplab::position_moments_backward", mutates_args=(), device_types="cpu")
def _moments_backward(grad: Tensor, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    grad_q, grad_k = _allocate_gradients(grad, q, k)
    if q.numel() > 0:
        _run("moments_backward", q, k, _symmetrized(grad, q.shape[1], q.shape[4]), grad_q, grad_k)
    return grad_q, grad_k


@_moments_backward.register_fake
def _allocate_gradients(grad: Tensor, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    return empty_like_image(q), empty_like_image(k)


def _symmetrized(grad: Tensor, length: int, head_dim: int) -> Tensor:
    """Add the transpose to the gradient of each outer product: x xᵀ has the gradient (G + Gᵀ) x."""
    pitch = kernel_layout().whole_vectors(head_dim)
    sums, size = length * pitch, length * (head_dim + 1) * pitch
    symmetrized = grad.clone(memory_format=torch.contiguous_format)
    for start in (0, size):
        source, target = (
            x[:, start + sums : start + size].unflatten(1, (length, head_dim, pitch))[..., :head_dim]
            for x in (grad, symmetrized)
        )
        target += source.mT
    return symmetrized


def _setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    q, k = ctx.saved_tensors
    return _moments_backward(grad, q, k)


_moments.register_autograd(_differentiate, setup_context=_setup_context)


def _run(entry: str, q: Tensor, k: Tensor, moments: Tensor, *grads: Tensor) -> None:
    layout = kernel_layout()
    batch, length, lines, heads, head_dim = q.shape
    work = 4 * batch * length * lines * heads * head_dim**2
    threads = max(1, min(torch.get_num_threads(), heads, work // WORK_FOR_A_THREAD))
    scratch_size = layout.moments_scratch_size(length, head_dim)
    scratch = q.new_empty(threads * scratch_size)
    arguments = np.zeros(layout.COLUMNS, dtype=np.int64)
    arguments[layout.BATCH : layout.HEAD_DIM + 1] = (batch, length, lines, heads, head_dim)
    arguments[layout.SCRATCH], arguments[layout.SCRATCH_SIZE] = scratch.data_ptr(), scratch_size
    arguments[layout.MOMENTS], arguments[layout.CHUNKS] = moments.data_ptr(), threads
    kept = []
    for column, tensor in zip(
        (layout.Q, layout.K, layout.GRAD_Q, layout.GRAD_K), (q, k, *grads), strict=False
    ):
        dense = tensor if tensor.stride(-1) == 1 else tensor.contiguous()
        kept.append(dense)
        arguments[column : column + 5] = (dense.data_ptr(), *dense.stride()[:4])
    run_in_threads(compiled(entry, str(q.dtype).removeprefix("torch.")), arguments.ctypes.data, threads)
