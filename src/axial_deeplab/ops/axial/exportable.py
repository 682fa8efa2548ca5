"""Axial attention as a graph without branches on lengths, for programs that must run at any size.

The reference chooses between blocks by the length of the axis, and its tables are views that other runtimes
do not have. Here all queries share one block, a span is a mask, and tables are gathered: L² logits for a line
of L positions.
"""

import torch
from torch import Tensor

from axial_deeplab.ops.dispatch import is_exporting
from axial_deeplab.ops.operands import Operands


def why_not(operands: Operands) -> str | None:
    """Return why this is not the implementation to take, or None while a program is exported."""
    return None if is_exporting() else "it is for exported programs"


def attend(operands: Operands) -> tuple[Tensor, Tensor | None]:
    """Position-sensitive attention along one axis, Eq. 3 and 4; results as in the reference."""
    dtype = operands.v.dtype
    operands = operands.widened()
    q, k, v = operands.images
    batch, length, lines, heads, _ = q.shape
    s_qk, s_q, s_k = operands.scales()[..., None]  # (N, 1) each
    positions = torch.arange(length, device=q.device)
    distances = positions - positions[:, None]  # p - o at row o, column p

    logits = _lines(q * s_qk) @ _lines(k).mT  # (X, o, p)
    if operands.rel_q is not None:
        rows = _rows(operands.rel_q, distances)
        logits = logits + (_lines(q * s_q).transpose(0, 1) @ rows.mT).transpose(0, 1)
    if operands.rel_k is not None:
        rows = _rows(operands.rel_k, distances).permute(1, 2, 0)  # (p, D, o)
        logits = logits + (_lines(k * s_k).transpose(0, 1) @ rows).permute(1, 2, 0)
    if operands.span is not None:
        logits = logits.masked_fill(distances.abs() > operands.span // 2, float("-inf"))
    if operands.logit_bias is not None:
        by_head = logits.unflatten(0, (batch, heads, lines)) + operands.logit_bias[:, None, None, None]
        logits = by_head.flatten(0, 2)
    attention = logits.softmax(-1) if operands.activation == "softmax" else logits.sigmoid()

    def merge(x: Tensor) -> Tensor:
        # Split off the fixed number of heads before that of lines, so that no guard is needed.
        return x.unflatten(0, (batch, heads, lines)).permute(0, 3, 2, 1, 4).to(dtype)  # (B, L, M, N, V)

    content = merge(attention @ _lines(v))
    if operands.rel_v is None:
        return content, None
    positional = attention.transpose(0, 1) @ _rows(operands.rel_v, distances)  # (o, X, V)
    return content, merge(positional.transpose(0, 1))


def _lines(x: Tensor) -> Tensor:
    """Return (B, L, M, N, D) as X = B·N·M lines (X, L, D)."""
    return x.permute(0, 3, 2, 1, 4).flatten(0, 2)


def _rows(table: Tensor, distances: Tensor) -> Tensor:
    """Return the row of each distance, clamped into the table: (R, D), (L, L) -> (L, L, D)."""
    farthest = table.shape[0] // 2
    return table[distances.clamp(-farthest, farthest) + farthest]
