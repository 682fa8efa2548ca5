"""What the moments of whole-axis logits are made of, on the CPU, compiled by Numba.

These are sums of queries, of keys and of their outer products; see docs/kernels.md.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from axial_deeplab.ops.kernel_call import KernelCall, kernel_layout, registered, threads_for, why_not_tensor
from axial_deeplab.ops.operands import empty_like_image


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


@registered("position_moments", "Tensor q, Tensor k", "Tensor")
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


@registered("position_moments_backward", "Tensor grad, Tensor q, Tensor k", "(Tensor, Tensor)")
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
    batch, length, lines, heads, head_dim = q.shape
    call = KernelCall(q)
    threads = threads_for(4 * batch * length * lines * heads * head_dim**2, heads)
    call.set_numbers(BATCH=batch, LENGTH=length, LINES=lines, HEADS=heads, HEAD_DIM=head_dim, CHUNKS=threads)
    call.set_scratch(call.layout.moments_scratch_size(length, head_dim), threads)
    call.set_addresses(MOMENTS=moments)
    call.set_images(Q=q, K=k, **dict(zip(("GRAD_Q", "GRAD_K"), grads, strict=False)))
    call.run(entry, threads)
