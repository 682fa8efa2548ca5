"""Attention over a window around each query: the public operation, its checks, its implementations."""

from torch import Tensor

from axial_deeplab.ops.dispatch import Implementation, choose, verdicts
from axial_deeplab.ops.operands import Operands, check_odd, shape_of
from axial_deeplab.ops.window import cpu, reference

# In the order in which "auto" asks them; the reference never refuses.
IMPLEMENTATIONS = (
    Implementation("numba", cpu.why_not, cpu.attend),
    Implementation("reference", reference.why_not, reference.attend),
)


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
    impl: str = "auto",
) -> tuple[Tensor, Tensor | None]:
    """Position-sensitive self-attention of each position to the window that it is the center of.

    For a query position o and the positions p of its window that exist in the image,
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
        kernel_size: the side m of the window, odd, in positions.
        rows_per_chunk: so many rows of queries are computed together by the reference, and again in the
            backward pass, so that its memory grows with rows_per_chunk · W · m² instead of H · W · m²; None
            takes all at once, and so does an exported program, which must not depend on H. The
            kernel stores no logits and needs no chunks.
        impl: "auto" or the name of one implementation, which then raises if it cannot run.

    Returns:
        content `sum_p a_op v_p` and positional `sum_p a_op r^v_{p-o}` (None without rel_v): (B, H, W, N, V)
        each.

    Raises:
        ValueError: an argument's shape, value or type is not as above, or the named implementation cannot
            run it.

    Source: Eq. 2 (with r^q alone) and Eq. 3 of the paper.
    """
    operands = Operands(q, k, v, rel_q, rel_k, rel_v, logit_scale, kernel_size, rows_per_chunk=rows_per_chunk)
    _check(operands)
    return choose(impl, IMPLEMENTATIONS, operands).attend(operands)


def explain_local_attention_2d(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None = None,
    *,
    kernel_size: int,
) -> str:
    """Say which implementation "auto" takes for these arguments of `local_attention_2d`, and why not others.

    Returns:
        one line for each implementation, in the order in which they are asked.
    """
    operands = Operands(q, k, v, rel_q, rel_k, rel_v, logit_scale, kernel_size)
    _check(operands)
    return verdicts(IMPLEMENTATIONS, operands)


def _check(operands: Operands) -> None:
    q, k, v = operands.images
    if q.dim() != 5 or k.shape != q.shape or v.shape[:-1] != q.shape[:-1]:
        shapes = ", ".join(str(shape_of(x)) for x in (q, k, v))
        raise ValueError(
            f"q, k and v must be (B, H, W, N, D), the same and (B, H, W, N, V), got {shapes}; "
            "unflatten their heads"
        )
    operands.check_types()
    side, rows_per_chunk = operands.span, operands.rows_per_chunk
    assert side is not None
    check_odd("kernel_size", side)
    for name, table, channels in zip(("rel_q", "rel_k", "rel_v"), operands.tables, (q, k, v), strict=True):
        wanted = (q.shape[3], side**2, channels.shape[4])
        if table is not None and table.shape != wanted:
            raise ValueError(
                f"{name} must be {wanted}, got shape {shape_of(table)}; "
                "give each head a row for each distance"
            )
    operands.check_scale()
    if rows_per_chunk is not None and rows_per_chunk < 1:
        raise ValueError(
            f"rows_per_chunk must be at least 1 row, got {rows_per_chunk}; None takes all rows at once"
        )
