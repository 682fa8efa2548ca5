"""Attention over windows on the CPU, forward and backward, compiled by Numba; see docs/kernels.md."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from axial_deeplab.ops.library import registered
from axial_deeplab.ops.numba.call import kernel_layout, why_not_tensor
from axial_deeplab.ops.operands import SCHEMA, Operands, empty_like_image
from axial_deeplab.ops.window.call import FEWEST_CHUNKS, WindowCall
from axial_deeplab.ops.window.reference import count_products, crop_table, window_reach


def why_not(operands: Operands) -> str | None:
    """Return why the operands cannot run here, or None."""
    return why_not_tensor(operands.q)


def attend(operands: Operands) -> tuple[Tensor, Tensor | None]:
    """Position-sensitive attention over windows, Eq. 2 and 3; logits are never stored.

    Half precision is computed in float32; the results have the precision of `v`. It can be differentiated
    once.
    """
    dtype = operands.v.dtype
    content, positional, _ = _forward(*operands.widened().flat)
    return content.to(dtype), None if operands.rel_v is None else positional.to(dtype)


@registered("local_attention_2d", SCHEMA, "(Tensor, Tensor, Tensor)")
def _forward(*flat: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return both outputs (B, H, W, N, V) and the largest logit of each query, base 2."""
    content, positional, maxima = _allocate_outputs(*flat)
    call, _ = _call(Operands(*flat), maxima)
    call.set_rows(CONTENT=content)
    if positional.numel() > 0:
        call.set_rows(POSITIONAL=positional)
    if not call.is_empty:
        heads = call.batch * call.heads
        call.launch("window", min(heads * call.height, max(heads, FEWEST_CHUNKS)))
    return content, positional, maxima


@_forward.register_fake
def _allocate_outputs(*flat: Any) -> tuple[Tensor, Tensor, Tensor]:
    operands = Operands(*flat)
    batch, height, width, heads, _ = operands.q.shape
    content = empty_like_image(operands.v)
    positional = content.new_empty(0) if operands.rel_v is None else empty_like_image(operands.v)
    lanes = kernel_layout().LANES
    padded_width = -(-width // lanes) * lanes
    return content, positional, content.new_empty(batch * heads * height, padded_width)


@registered(
    "local_attention_2d_backward",
    f"Tensor grad_content, Tensor grad_positional, Tensor maxima, {SCHEMA}",
    "Tensor[]",
)
def _backward(grad_content: Tensor, grad_positional: Tensor, maxima: Tensor, *flat: Any) -> list[Tensor]:
    """Return the gradients of `Operands.tensors`; empty for an absent one."""
    operands = Operands(*flat)
    grads = operands.new_gradients()
    call, factors = _call(operands, maxima)
    call.set_rows(CONTENT=grad_content, GRAD_Q=grads[0], GRAD_K=grads[1], GRAD_V=grads[2])
    if operands.rel_v is not None:
        call.set_rows(POSITIONAL=grad_positional)
    if call.is_empty:
        return grads
    near_grads, content_scale_grad = call.differentiate("window_backward")
    scale_grads = torch.zeros_like(operands.scales())
    scale_grads[0] = content_scale_grad
    for i, (table, near) in enumerate(zip(operands.tables, near_grads, strict=True)):
        if table is not None:
            grad = _uncropped(near, _side(operands))  # of the table times its scale
            grads[3 + i] = grad * factors[i]
            if i < 2:
                scale_grads[1 + i] = (grad * table).sum((1, 2))
    if operands.logit_scale is not None:
        grads[6] = scale_grads
    return grads


@_backward.register_fake
def _allocate_gradients(*arguments: Any) -> list[Tensor]:
    _, _, _, *flat = arguments
    return Operands(*flat).new_gradients()


_forward.differentiate_by(_backward, num_outputs=2)
_forward.count_products(lambda *flat: count_products(Operands(*flat)))
_backward.count_products(lambda _content, _positional, _maxima, *flat: 2 * count_products(Operands(*flat)))


def _call(operands: Operands, maxima: Tensor) -> tuple[WindowCall, list[Tensor | float]]:
    """Return a call of a kernel, and the factors that its tables have got."""
    _, height, width, _, _ = operands.q.shape
    reach = window_reach(height, _side(operands)), window_reach(width, _side(operands))
    call = WindowCall(operands.q, operands.k, reach, operands.v.shape[-1])
    content_scale, *scales = operands.scales().contiguous()
    factors = [*(scale[:, None, None] for scale in scales), 1.0]
    near = (
        None if table is None else crop_table(table * factor, _side(operands), reach)
        for table, factor in zip(operands.tables, factors, strict=True)
    )
    call.set_tables(**dict(zip(("REL_Q", "REL_K", "REL_V"), near, strict=True)))
    call.set_addresses(SCALE=content_scale, MAXIMA=maxima)
    call.set_rows(V=operands.v)
    return call, factors


def _uncropped(grads: Tensor, side: int) -> Tensor:
    """Return the gradient of a table (N, m·m, C) from that of the offsets in reach, zero beyond."""
    missing = [(side - n) // 2 for n in grads.shape[1:3]]
    return F.pad(grads, (0, 0, missing[1], missing[1], missing[0], missing[0])).flatten(1, 2)


def _side(operands: Operands) -> int:
    assert operands.span is not None
    return operands.span
