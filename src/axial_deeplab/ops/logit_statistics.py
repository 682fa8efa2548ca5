"""Mean and mean square of the three terms of the attention logits, without the logits."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from axial_deeplab.ops.precision import full_precision
from axial_deeplab.ops.reference import inside_span, query_blocks, split_queries, windows_of_keys

# Logits of a local span that exist at the same time: 64 MiB in float32.
CHUNK_LOGITS = 2**24


def logit_moments(
    q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, *, span: int | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and mean square of q_o·k_p, q_o·r^q_{p-o}, k_p·r^k_{p-o} over all images, lines and pairs (o, p).

    Over a whole axis `sum_op (q_o·k_p)² = <sum_o q_o q_oᵀ, sum_p k_p k_pᵀ>`, and over the window of any query
    `sum_p (q_o·r_{p-o})² = q_oᵀ (sum_p r_{p-o} r_{p-o}ᵀ) q_o`, whose inner sums are differences of prefix
    sums over the table: the cost is linear in L. Only q·k of a local span forms its logits, a chunk of
    lines at a time.

    Shapes:
        as in `axial_attention`: q, k (B, L, M, N, D); rel_q, rel_k (R, D) or None, whose moments are then
        zero.

    Args:
        span: an odd number of positions centered on o; None means the whole axis.

    Returns:
        mean and mean square, each (3, N), in float32 at least; zeros for an empty batch.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    images, length, lines, heads, _ = q.shape
    reach = _reach(length, span)
    with full_precision(q.device):
        q, k = q.to(dtype), k.to(dtype)
        zero = q.new_zeros(heads)
        sums = [_content_sums(q, k) if reach == length - 1 else _local_content_sums(q, k, 2 * reach + 1)]
        sums.append((zero, zero) if rel_q is None else _positional_sums(q, rel_q.to(dtype), reach))
        # Seen from the key, the distances run the other way.
        sums.append((zero, zero) if rel_k is None else _positional_sums(k, rel_k.to(dtype).flip(0), reach))
        count = max(count_logits(images, length, lines, span), 1)
        first, second = (torch.stack(moments) / count for moments in zip(*sums, strict=True))
    return first, second


def count_logits(num_images: int, length: int, num_lines: int, span: int | None) -> int:
    """Return how many pairs of a query and an existing position of its span the batch has, for one head."""
    reach = _reach(length, span)
    return num_images * num_lines * (length * (2 * reach + 1) - reach * (reach + 1))


def _reach(length: int, span: int | None) -> int:
    return length - 1 if span is None else min(span // 2, length - 1)


def _content_sums(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sums over a whole axis of q·k and of its square, (N,) each."""
    q, k = (x.permute(0, 2, 3, 4, 1).contiguous() for x in (q, k))  # (B, M, N, D, L)
    first = (q.sum(-1) * k.sum(-1)).sum((0, 1, 3))
    second = ((q @ q.mT) * (k @ k.mT)).sum((0, 1, 3, 4))
    return first, second


def _local_content_sums(q: Tensor, k: Tensor, span: int) -> tuple[Tensor, Tensor]:
    """Return the sums over a local span of q·k and of its square, (N,) each."""
    images, length, lines, heads, _ = q.shape
    block, reach = query_blocks(length, span)
    logits_of_a_line = max(images * length * heads * (block + 2 * reach), 1)
    chunk = max(CHUNK_LOGITS // logits_of_a_line, 1)
    first, second = q.new_zeros(heads), q.new_zeros(heads)
    for start in range(0, lines, chunk):
        part = q[:, :, start : start + chunk], k[:, :, start : start + chunk]
        # Recomputed in the backward pass, so that the logits of one chunk are all that is ever stored.
        sums = checkpoint(_chunk_sums, *part, span, use_reentrant=False, preserve_rng_state=False)
        first, second = first + sums[0], second + sums[1]
    return first, second


def _chunk_sums(q: Tensor, k: Tensor, span: int) -> tuple[Tensor, Tensor]:
    length = q.shape[1]
    block, reach = query_blocks(length, span)
    queries, keys = (x.permute(0, 2, 3, 1, 4).contiguous() for x in (q, k))  # (B, M, N, L, D)
    logits = split_queries(queries, block) @ windows_of_keys(keys, block, reach).mT
    logits = logits.masked_fill(~inside_span(length, span, block, reach, q.device), 0.0)
    return logits.sum((0, 1, 3, 4, 5)), logits.square().sum((0, 1, 3, 4, 5))


def _positional_sums(x: Tensor, table: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Return the sums over a span of x_i·r_{j-i} and of its square, (N,) each, for a table (R, D)."""
    length = x.shape[1]
    farthest = table.shape[0] // 2
    distances = torch.arange(-reach, reach + 1, device=x.device)
    rows = table[distances.clamp(-farthest, farthest) + farthest]
    i = torch.arange(length, device=x.device)
    first = (reach - i).clamp_min(0)
    behind = (reach + length - i).clamp_max(2 * reach + 1)
    row_sums = _range_sums(rows, first, behind)  # (L, D)
    product_sums = _range_sums(rows[:, :, None] * rows[:, None], first, behind)  # (L, D, D)
    by_position = x.permute(1, 3, 4, 0, 2).flatten(3)  # (L, N, D, B·M)
    means = (by_position.sum(-1) * row_sums[:, None]).sum((0, 2))
    squares = ((by_position @ by_position.mT) * product_sums[:, None]).sum((0, 2, 3))
    return means, squares


def _range_sums(x: Tensor, first: Tensor, behind: Tensor) -> Tensor:
    """Return the sum of the rows first <= i < behind of x for each pair, by prefix sums."""
    padding = (0, 0) * (x.dim() - 1) + (1, 0)
    prefix = F.pad(x.cumsum(0), padding)
    return prefix[behind] - prefix[first]
