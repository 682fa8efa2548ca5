"""Mean and mean square of the three terms of the attention logits, without the logits."""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from axial_deeplab.ops import numba_moments
from axial_deeplab.ops.numba_square_moments import sums_of_terms
from axial_deeplab.ops.operands import reach_of
from axial_deeplab.ops.precision import full_precision
from axial_deeplab.ops.reference import split_queries, windows_of_keys

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
    forms only the logits at the edges of the blocks' windows, a chunk of lines at a time; the fused
    implementation sums them without storing any.

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
        whole_axis = reach >= length - 1
        fused = impl in ("auto", "numba") and numba_moments.can_run(q)
        count = max(count_logits(images, length, lines, span), 1)
        if fused and not whole_axis:
            first, second = _fused_local_sums(q, k, rel_q, rel_k, reach)
            return first / count, second / count
        # Seen from the key, the distances run the other way.
        tables = [
            None if rel_q is None else rel_q.to(dtype),
            None if rel_k is None else rel_k.to(dtype).flip(0),
        ]
        has_tables = [table is not None for table in tables]
        positions: list[tuple[Tensor, Tensor] | None]
        if fused and any(has_tables):
            moments = numba_moments.position_moments(q, k)
            sums = [moments.content]
            positions = [moments.queries, moments.keys]
        else:
            sums = [_content_sums(q, k) if whole_axis else _local_content_sums(q, k, reach)]
            positions = [
                _position_sums(x) if needed else None for x, needed in zip((q, k), has_tables, strict=True)
            ]
        zero = q.new_zeros(heads)
        for of_position, table in zip(positions, tables, strict=True):
            if table is None or of_position is None:
                sums.append((zero, zero))
            else:
                sums.append(_positional_sums(of_position, table, reach))
        first, second = (torch.stack(moments) / count for moments in zip(*sums, strict=True))
    return first, second


def count_logits(num_images: int, length: int, num_lines: int, span: int | None) -> int:
    """Return how many pairs of a query and an existing position of its span the batch has, for one head."""
    reach = reach_of(span, length)
    return num_images * num_lines * (length * (2 * reach + 1) - reach * (reach + 1))


def _fused_local_sums(
    q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, reach: int
) -> tuple[Tensor, Tensor]:
    """Return the sums of the three terms over a local span, and those of their squares, (3, N) each."""
    near_q, near_k = (
        None if table is None else _rows_in_reach(table.to(q.dtype), reach).expand(q.shape[3], -1, -1)
        for table in (rel_q, rel_k)
    )
    # Lines are the rows of an image.
    first, second = sums_of_terms(q.transpose(1, 2), k.transpose(1, 2), near_q, near_k, (0, reach))
    return first, second


def _rows_in_reach(table: Tensor, reach: int) -> Tensor:
    """Return the rows of the distances -reach ... reach, clamped into the table."""
    farthest = table.shape[0] // 2
    distances = torch.arange(-reach, reach + 1, device=table.device)
    return table[distances.clamp(-farthest, farthest) + farthest]


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
        sums = checkpoint(_chunk_sums, *part, reach, use_reentrant=False, preserve_rng_state=False)
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
    key_sums = _range_sums(keys.sum(-2), first_block, behind, 3)
    key_products = _range_sums(keys.mT @ keys, first_block, behind, 3)
    first = (queries.sum(-2) * key_sums).sum((0, 1, 3, 4))
    second = ((queries.mT @ queries) * key_products).sum((0, 1, 3, 4, 5))

    window = windows_of_keys(k, size, reach)  # (B, M, N, blocks, size + 2 reach, D)
    edges = torch.cat((window[..., :edge, :], window[..., size + 2 * reach - edge :, :]), -2)
    p = torch.arange(-reach, size + reach, device=q.device)
    p = torch.cat((p[:edge], p[size + 2 * reach - edge :]))
    outside = (p - torch.arange(size, device=q.device)[:, None]).abs() > reach
    logits = (queries @ edges.mT).masked_fill(outside, 0.0)
    return first + logits.sum((0, 1, 3, 4, 5)), second + logits.square().sum((0, 1, 3, 4, 5))


def _position_sums(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums (N, L, D) of x at each position and those (N, L, D, D) of its outer products."""
    by_position = x.permute(3, 1, 4, 0, 2).flatten(3)  # (N, L, D, B·M)
    return by_position.sum(-1), by_position @ by_position.mT


def _positional_sums(of_position: tuple[Tensor, Tensor], table: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Return the sums over a span of x_i·r_{j-i} and of its square, (N,) each, for a table (R, D).

    Args:
        of_position: the sums of x and of its outer products at each position, see `_position_sums`.
    """
    position_sums, position_products = of_position
    length = position_sums.shape[1]
    rows = _rows_in_reach(table, reach)
    i = torch.arange(length, device=table.device)
    first = (reach - i).clamp_min(0)
    behind = (reach + length - i).clamp_max(2 * reach + 1)
    row_sums = _range_sums(rows, first, behind, 0)  # (L, D)
    product_sums = _range_sums(rows[:, :, None] * rows[:, None], first, behind, 0)  # (L, D, D)
    return (position_sums * row_sums).sum((1, 2)), (position_products * product_sums).sum((1, 2, 3))


def _range_sums(x: Tensor, first: Tensor, behind: Tensor, dim: int) -> Tensor:
    """Return for each pair the sum of x over first <= index < behind along a dimension, by prefix sums."""
    zero = torch.zeros_like(x.narrow(dim, 0, 1))
    prefix = torch.cat((zero, x.cumsum(dim)), dim)
    return prefix.index_select(dim, behind) - prefix.index_select(dim, first)
