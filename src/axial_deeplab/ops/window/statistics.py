"""Mean and mean square of the three terms of the logits of attention over windows."""

import torch
from torch import Tensor

from axial_deeplab.ops.axial.moments import can_run
from axial_deeplab.ops.dispatch import recomputed
from axial_deeplab.ops.operands import full_precision
from axial_deeplab.ops.window.moments import sums_of_terms
from axial_deeplab.ops.window.reference import (
    content_term,
    crop_table,
    inside_image,
    key_term,
    pad_to_reach,
    query_term,
    window_reach,
)


def local_logit_moments(
    q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, *, kernel_size: int, impl: str = "auto"
) -> tuple[Tensor, Tensor]:
    """Mean and mean square of q_o·k_p, q_o·r^q_{p-o}, k_p·r^k_{p-o} over all images and pairs (o, p).

    The logits are computed again in the backward pass, so none are kept; the kernel stores none at all.

    Shapes:
        as in `local_attention_2d`.

    Args:
        rel_q: r^q or None, whose moments are then zero.
        rel_k: r^k, likewise.
        kernel_size: the side of the window, odd, in positions.
        impl: "reference" is plain PyTorch; "auto" and "numba" take the kernel where it can run.

    Returns:
        mean and mean square, each (3, N), in float32 at least.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    images, height, width, _, _ = q.shape
    reach = window_reach(height, kernel_size), window_reach(width, kernel_size)
    count = max(count_local_logits(images, height, width, kernel_size), 1)
    with full_precision(q.device):
        near_q, near_k = (
            None if table is None else crop_table(table.to(dtype), kernel_size, reach)
            for table in (rel_q, rel_k)
        )
        q, k = q.to(dtype), k.to(dtype)
        if impl in ("auto", "numba") and can_run(q):
            sums = sums_of_terms(q, k, near_q, near_k, reach)
        else:
            sums = recomputed(_sums_of_terms, q, pad_to_reach(k, reach), near_q, near_k, reach)
    return sums[0] / count, sums[1] / count


def count_local_logits(num_images: int, height: int, width: int, kernel_size: int) -> int:
    """Return how many pairs of a query and an existing position of its window the batch has, for one head."""

    def pairs(length: int) -> int:
        reach = window_reach(length, kernel_size)
        return length * (2 * reach + 1) - reach * (reach + 1)

    return num_images * pairs(height) * pairs(width)


def _sums_of_terms(
    q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, reach: tuple[int, int]
) -> Tensor:
    """Return the sums of the three terms and of their squares over all existing pairs, (2, 3, N)."""
    outside = ~inside_image(q, reach, 0, q.shape[1])
    zero = q.new_zeros(q.shape[3])
    terms = [
        content_term(q, k, reach),
        None if rel_q is None else query_term(q, rel_q),
        None if rel_k is None else key_term(k, rel_k, q.shape[1:3], reach),
    ]
    sums = [(zero, zero)] * 3
    for index, term in enumerate(terms):
        if term is not None:
            existing = term.masked_fill(outside, 0.0)
            sums[index] = existing.sum((0, 1, 2, 4)), existing.square().sum((0, 1, 2, 4))
    return torch.stack([torch.stack(moment) for moment in zip(*sums, strict=True)])
