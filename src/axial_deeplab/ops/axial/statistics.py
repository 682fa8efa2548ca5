"""Mean and mean square of the three terms of the attention logits, without the logits."""

import torch
from torch import Tensor

from axial_deeplab.ops.axial import moments as numba_moments
from axial_deeplab.ops.axial.reference import split_queries, windows_of_keys
from axial_deeplab.ops.axial.table_moments import range_sums, rows_in_reach, window_sums
from axial_deeplab.ops.dispatch import recomputed
from axial_deeplab.ops.operands import full_precision, reach_of
from axial_deeplab.ops.window.moments import sums_of_terms

# Positions in a block of a local span: larger ones have more logits at their edges, smaller ones more
# moments.
BLOCK = 8
# Logits of a local span that exist at the same time: 64 MiB in float32.
CHUNK_LOGITS = 2**24


def logit_moments(
    q: Tensor,
    k: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    *,
    span: int | None = None,
    impl: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Mean and mean square of q_o·k_p, q_o·r^q_{p-o}, k_p·r^k_{p-o} over all images, lines and pairs (o, p).

    Over a whole axis `sum_op (q_o·k_p)² = <sum_o q_o q_oᵀ, sum_p k_p k_pᵀ>`, and over the window of any query
    `sum_p (q_o·r_{p-o})² = q_oᵀ (sum_p r_{p-o} r_{p-o}ᵀ) q_o`, whose inner sums are differences of prefix
    sums over the table: the cost is linear in L. A local span treats q·k in the same way, block by block, and
    forms only the logits at the edges of the blocks' windows, a chunk of lines at a time; the
    kernel sums them without storing any.

    Shapes:
        as in `axial_attention`: q, k (B, L, M, N, D); rel_q, rel_k (R, D) or None, whose moments are then
        zero.

    Args:
        span: an odd number of positions centered on o; None means the whole axis.
        impl: as in `axial_attention`. Only "numba" has a way of its own, which "auto" takes where it can run
            and which can be differentiated once; all else is plain PyTorch.

    Returns:
        mean and mean square, each (3, N), in float32 at least; zeros for an empty batch.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    images, length, lines, heads, _ = q.shape
    reach = reach_of(span, length)
    with full_precision(q.device):
        q, k = q.to(dtype), k.to(dtype)
        tables = [None if table is None else table.to(dtype) for table in (rel_q, rel_k)]
        count = max(count_logits(images, length, lines, span), 1)
        whole_axis = reach >= length - 1
        if impl in ("auto", "numba") and numba_moments.can_run(q):
            if whole_axis:
                first, second = numba_moments.sums_of_terms(q, k, tables[0], tables[1]) / count
            else:
                first, second = _local_sums_by_kernel(q, k, tables[0], tables[1], reach) / count
            return first, second
        sums = [_content_sums(q, k) if whole_axis else _local_content_sums(q, k, reach)]
        zero = q.new_zeros(heads)
        for x, table, from_key in zip((q, k), tables, (False, True), strict=True):
            if table is None:
                sums.append((zero, zero))
            else:
                # Seen from the key, the distances run the other way.
                sums.append(_positional_sums(x, table.flip(0) if from_key else table, reach))
        first, second = (torch.stack(moments) / count for moments in zip(*sums, strict=True))
    return first, second


def count_logits(num_images: int, length: int, num_lines: int, span: int | None) -> int:
    """Return how many pairs of a query and an existing position of its span the batch has, for one head."""
    reach = reach_of(span, length)
    return num_images * num_lines * (length * (2 * reach + 1) - reach * (reach + 1))


def _local_sums_by_kernel(
    q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, reach: int
) -> Tensor:
    """Return the sums of the three terms over a local span and of their squares, (2, 3, N)."""
    near_q, near_k = (
        None if table is None else rows_in_reach(table, reach).expand(q.shape[3], -1, -1)
        for table in (rel_q, rel_k)
    )
    # Lines are the rows of an image.
    return sums_of_terms(q.transpose(1, 2), k.transpose(1, 2), near_q, near_k, (0, reach))


def _content_sums(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums over a whole axis of q·k and of its square, (N,) each."""
    q, k = (x.permute(0, 2, 3, 4, 1).contiguous() for x in (q, k))  # (B, M, N, D, L)
    first = (q.sum(-1) * k.sum(-1)).sum((0, 1, 3))
    second = ((q @ q.mT) * (k @ k.mT)).sum((0, 1, 3, 4))
    return first, second


def _local_content_sums(q: Tensor, k: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Return the sums over a local span of q·k and of its square, (N,) each."""
    images, length, lines, heads, _ = q.shape
    _, _, edge = _key_blocks(reach)
    chunk = max(CHUNK_LOGITS // max(images * length * heads * 2 * edge, 1), 1)
    first, second = q.new_zeros(heads), q.new_zeros(heads)
    for start in range(0, lines, chunk):
        part = q[:, :, start : start + chunk], k[:, :, start : start + chunk]
        # Recomputed in the backward pass, so that the logits of one chunk are all that is ever stored.
        sums = recomputed(_chunk_sums, *part, reach)
        first, second = first + sums[0], second + sums[1]
    return first, second


def _key_blocks(reach: int) -> tuple[int, int, int]:
    """Return the size of a block, how many blocks on each side are in reach of all its queries, and the rest.

    The rest is the number of positions beyond those blocks, on each side, that some query of the block
    reaches.
    """
    size = min(BLOCK, reach + 1)
    seen_by_all = (reach - size + 1) // size
    return size, seen_by_all, reach - seen_by_all * size


def _chunk_sums(q: Tensor, k: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Add the second moments of the blocks that a whole block of queries reaches and the logits beyond."""
    size, seen_by_all, edge = _key_blocks(reach)
    q, k = (x.permute(0, 2, 3, 1, 4).contiguous() for x in (q, k))  # (B, M, N, L, D)
    queries, keys = split_queries(q, size), split_queries(k, size)  # (B, M, N, blocks, size, D)
    block = torch.arange(queries.shape[3], device=q.device)
    first_block = (block - seen_by_all).clamp_min(0)
    behind = (block + seen_by_all + 1).clamp_max(len(block))
    key_sums = range_sums(keys.sum(-2), first_block, behind, 3)
    key_products = range_sums(keys.mT @ keys, first_block, behind, 3)
    first = (queries.sum(-2) * key_sums).sum((0, 1, 3, 4))
    second = ((queries.mT @ queries) * key_products).sum((0, 1, 3, 4, 5))

    window = windows_of_keys(k, size, reach)  # (B, M, N, blocks, size + 2 reach, D)
    edges = torch.cat((window[..., :edge, :], window[..., size + 2 * reach - edge :, :]), -2)
    p = torch.arange(-reach, size + reach, device=q.device)
    p = torch.cat((p[:edge], p[size + 2 * reach - edge :]))
    outside = (p - torch.arange(size, device=q.device)[:, None]).abs() > reach
    logits = (queries @ edges.mT).masked_fill(outside, 0.0)
    return first + logits.sum((0, 1, 3, 4, 5)), second + logits.square().sum((0, 1, 3, 4, 5))


def _positional_sums(x: Tensor, table: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Return the sums over a span of x_i·r_{j-i} and of its square, (N,) each, for a table (R, D)."""
    by_position = x.permute(3, 1, 4, 0, 2).flatten(3)  # (N, L, D, B·M)
    row_sums, product_sums = window_sums(rows_in_reach(table, reach), x.shape[1])
    first = (by_position.sum(-1) * row_sums).sum((1, 2))
    second = ((by_position @ by_position.mT) * product_sums).sum((1, 2, 3))
    return first, second
