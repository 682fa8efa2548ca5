"""Position-sensitive attention over a square around each query."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from axial_deeplab.ops.precision import full_precision


def local_attention_2d(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None = None,
    *,
    kernel_size: int,
    rows_per_chunk: int | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Position-sensitive self-attention of each position to the square that it is the center of.

    For a query position o and the positions p of its square that exist in the image,
    `a_op = softmax_p(s1 q_o·k_p + s2 q_o·r^q_{p-o} + s3 k_p·r^k_{p-o})`.

    Shapes:
        B images, H x W positions, N heads, D channels of a head's queries and keys, V of its values, m =
        kernel_size. q, k: (B, H, W, N, D); v: (B, H, W, N, V); rel_q, rel_k: (N, m·m, D); rel_v: (N, m·m,
        V), row (y + m // 2) m + x + m // 2 is that of the distance p-o = (y, x). logit_scale: (3, N).

    Args:
        rel_q: r^q of each head; None leaves out the term.
        rel_k: r^k, likewise.
        rel_v: r^v, likewise; None leaves out the positional output.
        logit_scale: s1, s2, s3 of each head, differentiable; None means ones.
        kernel_size: the side m of the square, odd, in positions.
        rows_per_chunk: so many rows of queries are computed together, and again in the backward pass, so that
            memory grows with rows_per_chunk · W · m² instead of H · W · m²; None takes all at once, and so
            does an exported program, which must not depend on H.

    Returns:
        content `sum_p a_op v_p` and positional `sum_p a_op r^v_{p-o}` (None without rel_v): (B, H, W, N, V)
        each.

    Raises:
        ValueError: an argument's shape or value is not as above.

    Source: Eq. 2 (with r^q alone) and Eq. 3 of the paper.
    """
    _check(q, k, v, rel_q, rel_k, rel_v, logit_scale, kernel_size, rows_per_chunk)
    dtype = torch.promote_types(q.dtype, torch.float32)
    _, height, width, heads, _ = q.shape
    reach = _reach(height, kernel_size), _reach(width, kernel_size)
    with full_precision(q.device):
        scale = q.new_ones(3, heads, dtype=dtype) if logit_scale is None else logit_scale.to(dtype)
        keys, values = (_pad(x.to(dtype), reach) for x in (k, v))
        table_q, table_k, table_v = (
            None if table is None else _crop_table(table.to(dtype), kernel_size, reach)
            for table in (rel_q, rel_k, rel_v)
        )

        def attend(queries: Tensor, top: int) -> tuple[Tensor, Tensor | None]:
            window = slice(top, top + queries.shape[1] + 2 * reach[0])
            near = keys[:, window], values[:, window]
            return _attend(queries, *near, table_q, table_k, table_v, scale, reach, top, height)

        if rows_per_chunk is None or torch.compiler.is_exporting():
            content, positional = attend(q.to(dtype), 0)
            return content.to(v.dtype), None if positional is None else positional.to(v.dtype)
        chunks: list[tuple[Tensor, Tensor | None]] = []
        for top in range(0, height, rows_per_chunk):
            queries = q[:, top : top + rows_per_chunk].to(dtype)
            if rows_per_chunk < height and torch.is_grad_enabled():
                chunk = checkpoint(attend, queries, top, use_reentrant=False, preserve_rng_state=False)
            else:
                chunk = attend(queries, top)
            chunks.append(chunk)
        content = torch.cat([chunk[0] for chunk in chunks], dim=1).to(v.dtype)
        positionals = [chunk[1] for chunk in chunks if chunk[1] is not None]
        return content, torch.cat(positionals, dim=1).to(v.dtype) if positionals else None


def local_logit_moments(
    q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, *, kernel_size: int
) -> tuple[Tensor, Tensor]:
    """Mean and mean square of q_o·k_p, q_o·r^q_{p-o}, k_p·r^k_{p-o} over all images and pairs (o, p).

    The logits are computed again in the backward pass, so none are kept.

    Shapes:
        as in `local_attention_2d`.

    Args:
        rel_q: r^q or None, whose moments are then zero.
        rel_k: r^k, likewise.
        kernel_size: the side of the square, odd, in positions.

    Returns:
        mean and mean square, each (3, N), in float32 at least.
    """
    dtype = torch.promote_types(q.dtype, torch.float32)
    images, height, width, _, _ = q.shape
    reach = _reach(height, kernel_size), _reach(width, kernel_size)
    count = max(count_local_logits(images, height, width, kernel_size), 1)
    with full_precision(q.device):
        tables = [
            None if table is None else _crop_table(table.to(dtype), kernel_size, reach)
            for table in (rel_q, rel_k)
        ]
        sums = checkpoint(
            _sums_of_terms,
            q.to(dtype),
            _pad(k.to(dtype), reach),
            *tables,
            reach,
            use_reentrant=False,
            preserve_rng_state=False,
        )
    return sums[0] / count, sums[1] / count


def count_local_logits(num_images: int, height: int, width: int, kernel_size: int) -> int:
    """Return how many pairs of a query and an existing position of its square the batch has, for one head."""

    def pairs(length: int) -> int:
        reach = _reach(length, kernel_size)
        return length * (2 * reach + 1) - reach * (reach + 1)

    return num_images * pairs(height) * pairs(width)


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
    logits = _content_term(q * s_qk, k, reach)
    if rel_q is not None:
        logits = logits + _query_term(q * s_q, rel_q)
    if rel_k is not None:
        logits = logits + _key_term(k * s_k, rel_k, q.shape[1:3], reach)
    outside = ~_inside_image(q, reach, top, height)
    attention = logits.masked_fill(outside, float("-inf")).softmax(-1)
    content = torch.zeros_like(v[:, : q.shape[1], : q.shape[2]])
    for weight, values in zip(attention.unbind(-1), _shifted(v, q.shape[1:3], reach), strict=True):
        content = content + weight[..., None] * values
    positional = None if rel_v is None else torch.einsum("bhwni,niv->bhwnv", attention, rel_v)
    return content, positional


def _sums_of_terms(
    q: Tensor, k: Tensor, rel_q: Tensor | None, rel_k: Tensor | None, reach: tuple[int, int]
) -> Tensor:
    """Return the sums of the three terms and of their squares over all existing pairs, (2, 3, N)."""
    outside = ~_inside_image(q, reach, 0, q.shape[1])
    zero = q.new_zeros(q.shape[3])
    terms = [
        _content_term(q, k, reach),
        None if rel_q is None else _query_term(q, rel_q),
        None if rel_k is None else _key_term(k, rel_k, q.shape[1:3], reach),
    ]
    sums = [(zero, zero)] * 3
    for index, term in enumerate(terms):
        if term is not None:
            existing = term.masked_fill(outside, 0.0)
            sums[index] = existing.sum((0, 1, 2, 4)), existing.square().sum((0, 1, 2, 4))
    return torch.stack([torch.stack(moment) for moment in zip(*sums, strict=True)])


def _content_term(q: Tensor, k: Tensor, reach: tuple[int, int]) -> Tensor:
    """Return q_o·k_p: (B, h, W, N, offsets)."""
    return torch.stack([(q * keys).sum(-1) for keys in _shifted(k, q.shape[1:3], reach)], dim=-1)


def _query_term(q: Tensor, table: Tensor) -> Tensor:
    """Return q_o·r^q_{p-o}: (B, h, W, N, offsets)."""
    return torch.einsum("bhwnd,nid->bhwni", q, table)


def _key_term(k: Tensor, table: Tensor, size: torch.Size, reach: tuple[int, int]) -> Tensor:
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


def _inside_image(q: Tensor, reach: tuple[int, int], top: int, height: int) -> Tensor:
    """Return the mask (h, W, 1, offsets) of the positions that exist."""

    def exists(first: int, count: int, length: int, reach: int) -> Tensor:
        o = torch.arange(first, first + count, device=q.device)[:, None]
        p = o + torch.arange(-reach, reach + 1, device=q.device)
        return (p >= 0) & (p < length)

    rows = exists(top, q.shape[1], height, reach[0])[:, None, :, None]
    columns = exists(0, q.shape[2], q.shape[2], reach[1])[None, :, None, :]
    return (rows & columns).flatten(2)[:, :, None]


def _reach(length: int, kernel_size: int) -> int:
    """Return how far a square reaches along an axis; farther than the image there is nothing."""
    if torch.compiler.is_exporting():  # the program must run on longer axes, too
        return kernel_size // 2
    return min(kernel_size // 2, length - 1)


def _pad(x: Tensor, reach: tuple[int, int]) -> Tensor:
    return F.pad(x, (0, 0, 0, 0, reach[1], reach[1], reach[0], reach[0]))


def _crop_table(table: Tensor, kernel_size: int, reach: tuple[int, int]) -> Tensor:
    """Return the rows of the offsets within reach: (N, m·m, D) -> (N, offsets, D)."""
    center = kernel_size // 2
    rows, columns = (slice(center - r, center + r + 1) for r in reach)
    return table.unflatten(1, (kernel_size, kernel_size))[:, rows, columns].flatten(1, 2)


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None,
    kernel_size: int,
    rows_per_chunk: int | None,
) -> None:
    if q.dim() != 5 or k.shape != q.shape or v.shape[:-1] != q.shape[:-1]:
        shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v))
        raise ValueError(
            f"q, k and v must be (B, H, W, N, D), the same and (B, H, W, N, V), got {shapes}; "
            "unflatten their heads"
        )
    if kernel_size < 1 or kernel_size % 2 == 0:
        better = max(kernel_size, 0) // 2 * 2 + 1
        raise ValueError(
            f"kernel_size must be a positive odd number of positions, got {kernel_size}; try {better}"
        )
    for name, table, channels in (("rel_q", rel_q, q), ("rel_k", rel_k, q), ("rel_v", rel_v, v)):
        wanted = (q.shape[3], kernel_size**2, channels.shape[4])
        if table is not None and table.shape != wanted:
            raise ValueError(
                f"{name} must be {wanted}, got {tuple(table.shape)}; give each head a row for each distance"
            )
    if logit_scale is not None and logit_scale.shape != (3, q.shape[3]):
        raise ValueError(
            f"logit_scale must be (3, {q.shape[3]}), got {tuple(logit_scale.shape)}; one row for each term"
        )
    if rows_per_chunk is not None and rows_per_chunk < 1:
        raise ValueError(
            f"rows_per_chunk must be at least 1 row, got {rows_per_chunk}; None takes all rows at once"
        )
