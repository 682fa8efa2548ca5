"""The specification of attention over windows in plain PyTorch: any device, any precision."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from axial_deeplab.ops.dispatch import recomputed
from axial_deeplab.ops.operands import Operands, full_precision, reach_of


def why_not(operands: Operands) -> str | None:
    """Return None: the reference runs whatever the public operation accepts."""
    return None


def attend(operands: Operands) -> tuple[Tensor, Tensor | None]:
    """Position-sensitive attention over windows, Eq. 2 and 3.

    Products and the softmax are computed in float32 at least; the results have the precision of `v`. Memory
    grows with the pixels times the offsets of a window, or with `rows_per_chunk` rows of them.
    """
    dtype, rows_per_chunk, side = operands.v.dtype, operands.rows_per_chunk, operands.span
    assert side is not None
    operands = operands.widened()
    q, k, v = operands.images
    _, height, width, _, _ = q.shape
    reach = window_reach(height, side), window_reach(width, side)
    with full_precision(q.device):
        scale = operands.scales()
        keys, values = (pad_to_reach(x, reach) for x in (k, v))
        table_q, table_k, table_v = (
            None if table is None else crop_table(table, side, reach) for table in operands.tables
        )

        def attend_from(queries: Tensor, top: int) -> tuple[Tensor, Tensor | None]:
            window = slice(top, top + queries.shape[1] + 2 * reach[0])
            near = keys[:, window], values[:, window]
            return _attend(queries, *near, table_q, table_k, table_v, scale, reach, top, height)

        if rows_per_chunk is None or torch.compiler.is_exporting():
            content, positional = attend_from(q, 0)
            return content.to(dtype), None if positional is None else positional.to(dtype)
        chunks: list[tuple[Tensor, Tensor | None]] = []
        for top in range(0, height, rows_per_chunk):
            queries = q[:, top : top + rows_per_chunk]
            if rows_per_chunk < height and torch.is_grad_enabled():
                chunk = recomputed(attend_from, queries, top)
            else:
                chunk = attend_from(queries, top)
            chunks.append(chunk)
        content = torch.cat([chunk[0] for chunk in chunks], dim=1).to(dtype)
        positionals = [chunk[1] for chunk in chunks if chunk[1] is not None]
        return content, torch.cat(positionals, dim=1).to(dtype) if positionals else None


def count_products(operands: Operands) -> int:
    """Return the multiply-adds of `attend`; a backward pass for all arguments has twice as many.

    PyTorch's counter sees only those of the tables in it: all others are made offset by offset, without
    matrix products.
    """
    _, height, width, _, _ = operands.q.shape
    assert operands.span is not None
    offsets = math.prod(2 * window_reach(n, operands.span) + 1 for n in (height, width))
    return operands.q.shape[:4].numel() * offsets * operands.products_of_a_pair


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    scale: Tensor,
    reach: tuple[int, int],
    top: int,
    height: int,
) -> tuple[Tensor, Tensor | None]:
    """Attend with the queries of the rows from `top` on, to keys and values that are padded by the reach."""
    s_qk, s_q, s_k = scale[:, :, None]  # (N, 1) each
    logits = content_term(q * s_qk, k, reach)
    if rel_q is not None:
        logits = logits + query_term(q * s_q, rel_q)
    if rel_k is not None:
        logits = logits + key_term(k * s_k, rel_k, q.shape[1:3], reach)
    outside = ~inside_image(q, reach, top, height)
    attention = logits.masked_fill(outside, float("-inf")).softmax(-1)
    content = torch.zeros_like(v[:, : q.shape[1], : q.shape[2]])
    for weight, values in zip(attention.unbind(-1), _shifted(v, q.shape[1:3], reach), strict=True):
        content = content + weight[..., None] * values
    positional = None if rel_v is None else torch.einsum("bhwni,niv->bhwnv", attention, rel_v)
    return content, positional


def content_term(q: Tensor, k: Tensor, reach: tuple[int, int]) -> Tensor:
    """Return q_o·k_p: (B, h, W, N, offsets)."""
    return torch.stack([(q * keys).sum(-1) for keys in _shifted(k, q.shape[1:3], reach)], dim=-1)


def query_term(q: Tensor, table: Tensor) -> Tensor:
    """Return q_o·r^q_{p-o}: (B, h, W, N, offsets)."""
    return torch.einsum("bhwnd,nid->bhwni", q, table)


def key_term(k: Tensor, table: Tensor, size: torch.Size, reach: tuple[int, int]) -> Tensor:
    """Return k_p·r^k_{p-o}: (B, h, W, N, offsets)."""
    products = torch.einsum("bhwnd,nid->bhwni", k, table).unbind(-1)
    windows = _offsets(size, reach)
    return torch.stack([x[:, y, x_] for x, (y, x_) in zip(products, windows, strict=True)], dim=-1)


def _shifted(padded: Tensor, size: torch.Size, reach: tuple[int, int]) -> Iterator[Tensor]:
    """Give, for each offset, the view (B, h, W, ...) of what lies at this offset from the queries."""
    for y, x in _offsets(size, reach):
        yield padded[:, y, x]


def _offsets(size: torch.Size, reach: tuple[int, int]) -> Iterator[tuple[slice, slice]]:
    """Give the rows and columns of the padded map at each offset, in the order of the tables."""
    for y in range(2 * reach[0] + 1):
        for x in range(2 * reach[1] + 1):
            yield slice(y, y + size[0]), slice(x, x + size[1])


def inside_image(q: Tensor, reach: tuple[int, int], top: int, height: int) -> Tensor:
    """Return the mask (h, W, 1, offsets) of the positions that exist."""

    def exists(first: int, count: int, length: int, reach: int) -> Tensor:
        o = torch.arange(first, first + count, device=q.device)[:, None]
        p = o + torch.arange(-reach, reach + 1, device=q.device)
        return (p >= 0) & (p < length)

    rows = exists(top, q.shape[1], height, reach[0])[:, None, :, None]
    columns = exists(0, q.shape[2], q.shape[2], reach[1])[None, :, None, :]
    return (rows & columns).flatten(2)[:, :, None]


def window_reach(length: int, kernel_size: int) -> int:
    """Return how far a window reaches along an axis; farther than the image there is nothing."""
    if torch.compiler.is_exporting():  # the program must run on longer axes, too
        return kernel_size // 2
    return reach_of(kernel_size, length)


def pad_to_reach(x: Tensor, reach: tuple[int, int]) -> Tensor:
    return F.pad(x, (0, 0, 0, 0, reach[1], reach[1], reach[0], reach[0]))


def crop_table(table: Tensor, kernel_size: int, reach: tuple[int, int]) -> Tensor:
    """Return the rows of the offsets within reach: (N, m·m, D) -> (N, offsets, D)."""
    center = kernel_size // 2
    rows, columns = (slice(center - r, center + r + 1) for r in reach)
    return table.unflatten(1, (kernel_size, kernel_size))[:, rows, columns].flatten(1, 2)
