"""The sums that the variances of whole-axis logits are made of, on the CPU, compiled by Numba.

The kernel sums queries, keys and their outer products, at each position and over each line; what the relative
tables add to that does not grow with the batch and is plain PyTorch. See docs/kernels.md.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from axial_deeplab.ops.axial.table_moments import add_rows_in_reach, rows_in_reach
from axial_deeplab.ops.library import registered
from axial_deeplab.ops.numba.call import KernelCall, kernel_layout, threads_for, why_not_tensor
from axial_deeplab.ops.operands import full_precision, gradients_like

_SCHEMA = "Tensor q, Tensor k, Tensor? rel_q, Tensor? rel_k"


def can_run(q: Tensor) -> bool:
    """Return whether queries and keys of this type and device have a kernel, where it may be used."""
    return q.dtype in (torch.float32, torch.float64) and why_not_tensor(q) is None


def sums_of_terms(q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None) -> Tensor:
    """Return the sums of the three terms and of their squares over all pairs of a whole axis.

    It can be differentiated once.

    Shapes:
        q, k: (B, L, M, N, D); rel_q, rel_k: (R, D) as in `axial_attention`. Returns (2, 3, N).

    Args:
        q: float32 or float64, see `can_run`.
        rel_q: None has sums of zero, as `rel_k`.
    """
    sums: Tensor = _sums(q, k, rel_q, rel_k)[0]
    return sums


@registered("axis_moments", _SCHEMA, "(Tensor, Tensor)")
def _sums(q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the sums (2, 3, N) and what the kernel summed (N, `layout.moments_size`)."""
    sums, packed = _allocate_sums(q, k, rel_q, rel_k)
    if q.numel() == 0:
        return sums.zero_(), packed.zero_()
    _run("moments", q, k, packed)
    of_position, content = _unpack(packed, q)
    head_dim = q.shape[4]
    weighted = of_position * _sums_in_windows(_rows_and_products(rel_q, rel_k, q))
    sums[:, 0] = content.mT
    sums[0, 1:] = weighted[..., :head_dim].sum((2, 3)).mT
    sums[1, 1:] = weighted[..., head_dim:].sum((2, 3)).mT
    return sums, packed


@_sums.register_fake
def _allocate_sums(q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None) -> tuple[Tensor, Tensor]:
    heads = q.shape[3]
    size = kernel_layout().moments_size(q.shape[1], q.shape[4])
    return q.new_empty(2, 3, heads), q.new_empty(heads, size)


@registered("axis_moments_backward", f"Tensor grad, Tensor packed, {_SCHEMA}", "Tensor[]")
def _backward(
    grad: Tensor, packed: Tensor, q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None
) -> list[Tensor]:
    """Return the gradients of queries, keys and tables; empty for an absent one."""
    grads = _allocate_gradients(grad, packed, q, k, rel_q, rel_k)
    if q.numel() == 0:
        return [each.zero_() for each in grads]
    grad_packed = torch.empty_like(packed)
    grad_of_position, grad_content = _unpack(grad_packed, q)
    grad_content.copy_(grad[:, 0].mT)
    of_position, _ = _unpack(packed, q)
    length, head_dim = q.shape[1], q.shape[4]
    features = _rows_and_products(rel_q, rel_k, q)
    # An outer product x xᵀ has the gradient (G + Gᵀ) x, and G is symmetric.
    first, second = grad[0, 1:].mT[:, :, None], 2 * grad[1, 1:].mT[:, :, None]
    factors = torch.cat((first.expand(-1, -1, head_dim), second.expand(-1, -1, head_dim**2)), 2)[:, :, None]
    torch.mul(factors, _sums_in_windows(features), out=grad_of_position)
    _run("moments_backward", q, k, grad_packed, grads[0], grads[1])
    # Whoever calls backward() under autocast wants no less.
    with full_precision(q.device):
        of_distance = _sums_over_queries((factors * of_position).sum(0))
        rows = features[..., :head_dim, None]
        products = of_distance[..., head_dim:].unflatten(2, (head_dim, head_dim))
        grad_rows = of_distance[..., :head_dim] + (products @ rows)[..., 0]
    for grad_table, table, own in zip(
        grads[2:], (rel_q, rel_k), (grad_rows[0], grad_rows[1].flip(0)), strict=True
    ):
        if table is not None:
            add_rows_in_reach(grad_table, own, length - 1)
    return grads


@_backward.register_fake
def _allocate_gradients(
    grad: Tensor, packed: Tensor, q: Tensor, k: Tensor, *tables: Tensor | None
) -> list[Tensor]:
    return gradients_like((q, k), tables)


def _rows_and_products(rel_q: Tensor | None, rel_k: Tensor | None, q: Tensor) -> Tensor:
    """Return the rows of both tables and their outer products, (2, 2 L - 1, D + D D).

    Those of r^k are by the distance from the key; those of an absent table are zero.
    """
    length, head_dim = q.shape[1], q.shape[4]
    rows = q.new_zeros(2, 2 * length - 1, head_dim)
    if rel_q is not None:
        rows[0] = rows_in_reach(rel_q, length - 1)
    if rel_k is not None:
        rows[1] = rows_in_reach(rel_k, length - 1).flip(0)
    return torch.cat((rows, (rows[..., None] * rows[..., None, :]).flatten(2)), 2)


def _sums_in_windows(x: Tensor) -> Tensor:
    """Return for each query the sum (2, L, C) of x (2, 2 L - 1, C) over the distances of its window."""
    length = (x.shape[1] + 1) // 2
    until = x.cumsum(1)
    return (until[:, length - 1 :] - F.pad(until[:, : length - 1], (0, 0, 1, 0))).flip(1)


def _sums_over_queries(x: Tensor) -> Tensor:
    """Return for each distance the sum (2, 2 L - 1, C) of x (2, L, C) over the queries that reach so far."""
    until = x.cumsum(1)
    reach_forward = until.flip(1)
    return torch.cat((until[:, -1:] - reach_forward[:, 1:], reach_forward), 1)


def _unpack(packed: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Return the parts of what the kernel sums, or of its gradient, as views.

    Returns:
        of queries and keys at each position, the sums of vectors and of outer products (N, 2, L, D + D D),
        and the sums of q·k and of its square over all pairs (N, 2).
    """
    length, head_dim = q.shape[1], q.shape[4]
    width = head_dim + head_dim**2
    of_position = packed[:, : 2 * length * width].unflatten(1, (2, length, width))
    return of_position, packed[:, 2 * length * width :][:, :2]


_sums.differentiate_by(_backward)
_sums.count_products(lambda *operands: _count_products(*operands))
_backward.count_products(lambda _grad, _packed, *operands: 2 * _count_products(*operands))


def _count_products(q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None) -> int:
    """Return the multiply-adds of the outer products: of queries and of keys, once more for their tables."""
    return q.numel() * q.shape[4] * (2 + (rel_q is not None) + (rel_k is not None))


def _run(entry: str, q: Tensor, k: Tensor, moments: Tensor, *grads: Tensor) -> None:
    batch, length, lines, heads, head_dim = q.shape
    call = KernelCall(q)
    layout = call.layout
    threads = threads_for(4 * batch * length * lines * heads * head_dim**2, heads)
    # Heads that share cache lines are taken together.
    together = min(-(-heads // threads), max(1, layout.CACHE_LINE // head_dim))
    call.set_numbers(
        BATCH=batch, LENGTH=length, LINES=lines, HEADS=heads, HEAD_DIM=head_dim, CHUNKS=-(-heads // together)
    )
    call.set_scratch(layout.moments_scratch_size(length, head_dim, together), threads)
    call.set_addresses(MOMENTS=moments)
    call.set_images(Q=q, K=k, **dict(zip(("GRAD_Q", "GRAD_K"), grads, strict=False)))
    call.run(entry, threads)
