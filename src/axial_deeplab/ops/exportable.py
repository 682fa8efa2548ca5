"""Axial attention as a graph without branches on lengths, for programs that must run at any size.

The reference chooses between blocks by the length of the axis, and its tables are views that other runtimes
do not have. Here all queries share one block, a span is a mask, and tables are gathered: L² logits for a line
of L positions.
"""

import torch
from torch import Tensor


def why_not(*args: object, **kwargs: object) -> str | None:
    """Return why this is not the implementation to take, or None while a program is exported."""
    if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        return None
    return "it is for exported programs"


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
    """Position-sensitive attention along one axis, Eq. 3 and 4; arguments and results as in the reference."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    batch, length, lines, heads, _ = q.shape
    scale = q.new_ones(3, heads, dtype=dtype) if logit_scale is None else logit_scale.to(dtype)
    s_qk, s_q, s_k = scale[..., None]  # (N, 1) each
    positions = torch.arange(length, device=q.device)
    distances = positions - positions[:, None]  # p - o at row o, column p

    logits = _lines(q.to(dtype) * s_qk) @ _lines(k.to(dtype)).mT  # (X, o, p)
    if rel_q is not None:
        rows = _rows(rel_q.to(dtype), distances)
        logits = logits + (_lines(q.to(dtype) * s_q).transpose(0, 1) @ rows.mT).transpose(0, 1)
    if rel_k is not None:
        rows = _rows(rel_k.to(dtype), distances).permute(1, 2, 0)  # (p, D, o)
        logits = logits + (_lines(k.to(dtype) * s_k).transpose(0, 1) @ rows).permute(1, 2, 0)
    if span is not None:
        logits = logits.masked_fill(distances.abs() > span // 2, float("-inf"))
    if logit_bias is not None:
        by_head = logits.unflatten(0, (batch, heads, lines)) + logit_bias.to(dtype)[:, None, None, None]
        logits = by_head.flatten(0, 2)
    attention = logits.softmax(-1) if activation == "softmax" else logits.sigmoid()

    def merge(x: Tensor) -> Tensor:
        # Split off the fixed number of heads before that of lines, so that no guard is needed.
        return x.unflatten(0, (batch, heads, lines)).permute(0, 3, 2, 1, 4).to(v.dtype)  # (B, L, M, N, V)

    content = merge(attention @ _lines(v.to(dtype)))
    if rel_v is None:
        return content, None
    positional = attention.transpose(0, 1) @ _rows(rel_v.to(dtype), distances)  # (o, X, V)
    return content, merge(positional.transpose(0, 1))


def _lines(x: Tensor) -> Tensor:
    """Return (B, L, M, N, D) as X = B·N·M lines (X, L, D)."""
    return x.permute(0, 3, 2, 1, 4).flatten(0, 2)


def _rows(table: Tensor, distances: Tensor) -> Tensor:
    """Return the row of each distance, clamped into the table: (R, D), (L, L) -> (L, L, D)."""
    farthest = table.shape[0] // 2
    return table[distances.clamp(-farthest, farthest) + farthest]
