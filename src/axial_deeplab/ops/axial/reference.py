"""The specification of position-sensitive axial attention in plain PyTorch: any device, any precision."""

import torch
import torch.nn.functional as F
from torch import Tensor

from axial_deeplab.ops.operands import Operands, full_precision

# Below this many queries in a block the matrix products of a local span are too small to pay.
SMALLEST_BLOCK = 16


def why_not(operands: Operands) -> str | None:
    """Return None: the reference runs whatever the public operation accepts."""
    return None


def attend(operands: Operands) -> tuple[Tensor, Tensor | None]:
    """Position-sensitive attention along one axis, Eq. 3 and 4.

    Products and the softmax are computed in float32 at least; the results have the precision of `v`. The
    queries of a local span are taken in blocks that share one window of keys, so that memory grows with
    L·span, never with L².

    Source: section 3 of the paper.
    """
    dtype, length, span = operands.v.dtype, operands.q.shape[1], operands.span
    operands = operands.widened()
    with full_precision(operands.q.device):
        block, reach = query_blocks(length, span)
        queries, keys, values = (
            x.permute(0, 2, 3, 1, 4).contiguous() for x in operands.images
        )  # (B, M, N, L, D)
        s_qk, s_q, s_k = operands.scales()[:, :, None, None, None]  # (N, 1, 1, 1) each
        queries = split_queries(queries, block)  # (B, M, N, blocks, block, D)
        keys = windows_of_keys(keys, block, reach)  # (B, M, N, blocks, window, D)
        window = keys.shape[-2]

        logits = (queries * s_qk) @ keys.mT
        if operands.rel_q is not None:
            table = relative_table(operands.rel_q, block, window, reach)
            logits = logits + torch.einsum("bmngod,odp->bmngop", queries * s_q, table)
        if operands.rel_k is not None:
            table = relative_table(operands.rel_k, block, window, reach)
            logits = logits + torch.einsum("bmngpd,odp->bmngop", keys * s_k, table)
        if span is not None and span < 2 * length - 1:
            outside = ~inside_span(length, span, block, reach, logits.device)
            logits = logits.masked_fill(outside, float("-inf"))
        if operands.logit_bias is not None:
            logits = logits + operands.logit_bias[:, None, None, None]
        attention = logits.softmax(-1) if operands.activation == "softmax" else logits.sigmoid()

        content = attention @ windows_of_keys(values, block, reach)
        positional = None
        if operands.rel_v is not None:
            table = relative_table(operands.rel_v, block, window, reach)
            positional = torch.einsum("bmngop,odp->bmngod", attention, table)

        def merge(x: Tensor) -> Tensor:
            return x.flatten(3, 4)[:, :, :, :length].permute(0, 3, 1, 2, 4).to(dtype)  # (B, L, M, N, V)

        return merge(content), None if positional is None else merge(positional)


def count_products(operands: Operands) -> int:
    """Return the multiply-adds of `attend`; a backward pass for all arguments has twice as many."""
    batch, length, lines, heads, _ = operands.q.shape
    block, reach = query_blocks(length, operands.span)
    blocks = -(-length // block)
    return batch * lines * heads * blocks * block * (block + 2 * reach) * operands.products_of_a_pair


def query_blocks(length: int, span: int | None) -> tuple[int, int]:
    """Return how many queries share a window of keys, and how far the window reaches beyond them."""
    if span is None or length == 0:
        return max(length, 1), 0
    reach = span // 2
    block = max(SMALLEST_BLOCK, reach)
    # A short axis is cheaper as one block with a mask than as overlapping windows.
    return (length, 0) if length <= 2 * (block + 2 * reach) else (block, reach)


def split_queries(x: Tensor, block: int) -> Tensor:
    """Cut (..., L, D) into (..., blocks, block, D), zeros behind the last position."""
    if x.shape[-2] == block:
        return x.unsqueeze(-3)
    blocks = -(-x.shape[-2] // block)
    return F.pad(x, (0, 0, 0, -x.shape[-2] % block)).unflatten(-2, (blocks, block))


def windows_of_keys(x: Tensor, block: int, reach: int) -> Tensor:
    """Return each block's window (..., blocks, block + 2 reach, D) of keys (..., L, D), zeros outside."""
    if reach == 0:
        return split_queries(x, block)
    missing = -x.shape[-2] % block
    return F.pad(x, (0, 0, reach, reach + missing)).unfold(-2, block + 2 * reach, block).mT


def relative_table(table: Tensor, block: int, window: int, reach: int) -> Tensor:
    """Return the row of p-o for every query o and key p of a block: (R, D) -> (block, D, window)."""
    farthest = table.shape[0] // 2
    distances = torch.arange(1 - block, window, device=table.device) - reach
    rows = table[distances.clamp(-farthest, farthest) + farthest]  # (block + window - 1, D)
    # Query o starts at distance -o - reach. Unlike unfold, as_strided exports with a dynamic length.
    width = rows.shape[1]
    return rows.as_strided((block, width, window), (width, 1, width)).flip(0)


def inside_span(length: int, span: int, block: int, reach: int, device: torch.device) -> Tensor:
    """Return the mask (blocks, block, window) of the keys that a query sees: near and in the image."""
    blocks = -(-length // block)
    start = torch.arange(blocks, device=device)[:, None, None] * block
    o = start + torch.arange(block, device=device)[:, None]
    p = start - reach + torch.arange(block + 2 * reach, device=device)
    # The zero queries behind the last position see the zero keys there: a softmax over nothing would be NaN.
    exists = (p >= 0) & ((p < length) | (o >= length))
    return ((p - o).abs() <= span // 2) & exists
