"""The sums that the variances of the logits are made of, of windows and of local spans, compiled by Numba."""

from typing import Any

import torch
from torch import Tensor

from axial_deeplab.ops.library import registered
from axial_deeplab.ops.operands import gradients_like
from axial_deeplab.ops.window.call import WindowCall

_SCHEMA = "Tensor q, Tensor k, Tensor? rel_q, Tensor? rel_k, SymInt row_reach, SymInt reach"


def sums_of_terms(
    q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, reach: tuple[int, int]
) -> Tensor:
    """Return the sums of the three terms and of their squares over all existing pairs; no term is stored.

    It can be differentiated once. Lines of a local span are the rows of an image and reach 0 columns.

    Shapes:
        q, k: (B, H, W, N, D); rel_q, rel_k: (N, offsets in reach, D), row by row. Returns (2, 3, N).

    Args:
        q: float32 or float64, see `axial.moments.can_run`.
        rel_q: None has sums of zero, as `rel_k`.
        reach: how far windows reach along the columns and the rows of an image.
    """
    return _sums(q, k, rel_q, rel_k, *reach)


@registered("square_moments", _SCHEMA, "Tensor")
def _sums(q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, *reach: int) -> Tensor:
    call = _call(q, k, rel_q, rel_k, reach)
    if call.is_empty:
        return q.new_zeros(2, 3, call.heads)
    sums = q.new_empty(call.heads, call.groups, 6)
    call.set_addresses(MOMENTS=sums)
    call.launch("window_moments", call.heads * call.groups)
    return sums.sum(1).t().contiguous().view(2, 3, call.heads)


@_sums.register_fake
def _allocate_sums(q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, *reach: int) -> Tensor:
    return q.new_empty(2, 3, q.shape[3])


@registered("square_moments_backward", f"Tensor grad, {_SCHEMA}", "Tensor[]")
def _backward(
    grad: Tensor, q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, *reach: int
) -> list[Tensor]:
    """Return the gradients of queries, keys and tables; empty for an absent one."""
    grads = _allocate_gradients(grad, q, k, rel_q, rel_k, *reach)
    call = _call(q, k, rel_q, rel_k, reach)
    if call.is_empty:
        return grads
    call.set_rows(GRAD_Q=grads[0], GRAD_K=grads[1])
    first, second = grad
    call.set_addresses(MOMENTS=torch.cat((first, 2 * second)).t().contiguous())
    near_grads, _ = call.differentiate("window_moments_backward")
    for i, table in enumerate((rel_q, rel_k)):
        if table is not None:
            grads[2 + i] = near_grads[i].flatten(1, 2).clone()
    return grads


@_backward.register_fake
def _allocate_gradients(grad: Tensor, *operands: Any) -> list[Tensor]:
    return gradients_like(operands[:2], operands[2:4])


_sums.differentiate_by(_backward)
_sums.count_products(lambda *operands: _count_products(*operands))
_backward.count_products(lambda _grad, *operands: 2 * _count_products(*operands))


def _count_products(
    q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, row_reach: int, reach: int
) -> int:
    """Return the multiply-adds of all terms of all pairs."""
    offsets = (2 * row_reach + 1) * (2 * reach + 1)
    return q.numel() * offsets * (1 + (rel_q is not None) + (rel_k is not None))


def _call(q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, reach: Any) -> WindowCall:
    call = WindowCall(q, k, reach)
    call.set_tables(REL_Q=rel_q, REL_K=rel_k)
    return call
