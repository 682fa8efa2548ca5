"""Position-sensitive axial attention: the public operation, its checks, the choice of its implementation."""

import torch
from torch import Tensor

from axial_deeplab.ops.axial import cpu as numba_cpu
from axial_deeplab.ops.axial import exportable, reference
from axial_deeplab.ops.axial import gpu as triton_gpu
from axial_deeplab.ops.dispatch import Implementation, choose, verdicts
from axial_deeplab.ops.operands import Operands, check_like, check_odd, shape_of

ACTIVATIONS = ("softmax", "sigmoid")

# In the order in which "auto" asks them; the reference never refuses.
IMPLEMENTATIONS = (
    Implementation("numba", numba_cpu.why_not, numba_cpu.attend, numba_cpu.attend_sum),
    Implementation("triton", triton_gpu.why_not, triton_gpu.attend, triton_gpu.attend_sum),
    Implementation("exportable", exportable.why_not, exportable.attend),
    Implementation("reference", reference.why_not, reference.attend),
)


def axial_attention(
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
    impl: str = "auto",
) -> tuple[Tensor, Tensor | None]:
    """Position-sensitive self-attention along one axis of a feature map.

    For a query position o and the positions p of its span,
    `a_op = softmax_p(s1 q_o·k_p + s2 q_o·r^q_{p-o} + s3 k_p·r^k_{p-o} + b)`.

    Shapes:
        B images, L positions on the attended axis, M parallel lines, N heads, D channels of a head's
        queries and keys, V of its values, R = 2 max_span - 1 relative positions. q, k: (B, L, M, N, D); v:
        (B, L, M, N, V), all with any strides: (B, H, W, N·D) unflattened is the height axis, its
        transpose(1, 2) the width axis, no copy. rel_q, rel_k: (R, D); rel_v: (R, V). logit_scale: (3, N).
        logit_bias: (N,).

    Args:
        rel_q: r^q, row p-o + max_span - 1 (clamped into the table) is that of the distance p-o; None: no
            such term.
        rel_k: r^k, likewise.
        rel_v: r^v, likewise; None leaves out the positional output.
        logit_scale: s1, s2, s3 of each head, differentiable; None means ones.
        span: the paper's m, an odd number of positions centered on o, of which those outside the image do not
            exist; None means the whole axis.
        activation: "softmax" over the span, or "sigmoid" of each logit.
        logit_bias: b of each head, which only the sigmoid can feel.
        impl: "auto" or the name of one implementation, which then raises if it cannot run.

    Returns:
        content `sum_p a_op v_p` and positional `sum_p a_op r^v_{p-o}` (None without rel_v): (B, L, M, N, V)
        each.

    Raises:
        ValueError: an argument's shape, value or type is not as above, or the named implementation cannot
            run it.

    Source: Eq. 3 and 4 of the paper; the scales are what batch norm of the three terms leaves under a
    softmax.
    """
    operands = Operands(q, k, v, rel_q, rel_k, rel_v, logit_scale, span, activation, logit_bias)
    _check(operands)
    return choose(impl, IMPLEMENTATIONS, operands).attend(operands)


def axial_attention_sum(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None,
    positional_scale: Tensor,
    *,
    span: int | None = None,
    activation: str = "softmax",
    logit_bias: Tensor | None = None,
    impl: str = "auto",
) -> Tensor:
    """The two outputs of `axial_attention` added up: all that a layer whose norms are constants needs.

    Shapes:
        as in `axial_attention`; positional_scale: (N, V).

    Args:
        positional_scale: multiplies the positional output before it is added to the content.

    The other arguments are those of `axial_attention`.

    Returns:
        `sum_p a_op (v_p + positional_scale r^v_{p-o})`: (B, L, M, N, V).

    Raises:
        ValueError: as in `axial_attention`.
    """
    operands = Operands(q, k, v, rel_q, rel_k, rel_v, logit_scale, span, activation, logit_bias)
    _check(operands)
    check_like(positional_scale, q)
    if positional_scale.shape != v.shape[3:]:
        raise ValueError(
            f"positional_scale must be {shape_of(v)[3:]}, got shape {shape_of(positional_scale)}; "
            "one number for each channel of each head"
        )
    implementation = choose(impl, IMPLEMENTATIONS, operands)
    with_gradients = operands.needs_gradients or (torch.is_grad_enabled() and positional_scale.requires_grad)
    if implementation.attend_sum is not None and not with_gradients:
        return implementation.attend_sum(operands, positional_scale)
    content, positional = implementation.attend(operands)
    return content if positional is None else content + positional * positional_scale.to(content.dtype)


def explain(
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
) -> str:
    """Say which implementation "auto" takes for these arguments of `axial_attention`, and why not the others.

    Returns:
        one line for each implementation, in the order in which they are asked.
    """
    operands = Operands(q, k, v, rel_q, rel_k, rel_v, logit_scale, span, activation, logit_bias)
    _check(operands)
    return verdicts(IMPLEMENTATIONS, operands)


def check_activation(activation: str) -> None:
    """Refuse what is none of `ACTIVATIONS`."""
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"activation must be one of {list(ACTIVATIONS)}, got {activation!r}; the paper's is 'softmax'"
        )


def _check(operands: Operands) -> None:
    q, k, v = operands.images
    if q.dim() != 5:
        raise ValueError(f"q must be (B, L, M, N, D), got shape {shape_of(q)}; unflatten its heads")
    if k.shape != q.shape:
        raise ValueError(
            f"k must be shaped like q, {shape_of(q)}, got {shape_of(k)}; project both to the same channels"
        )
    if v.dim() != 5 or v.shape[:-1] != q.shape[:-1]:
        wanted = f"({', '.join(str(n) for n in q.shape[:-1])}, V)"
        raise ValueError(f"v must be {wanted} like q, got shape {shape_of(v)}; only its channels may differ")
    operands.check_types()
    heads, head_dim = q.shape[-2:]
    rows = None
    for name, table, width in zip(
        ("rel_q", "rel_k", "rel_v"), operands.tables, (head_dim, head_dim, v.shape[-1]), strict=True
    ):
        if table is None:
            continue
        if table.dim() != 2 or table.shape[0] % 2 == 0 or table.shape[1] != width:
            raise ValueError(
                f"{name} must be (2 max_span - 1, {width}), got shape {shape_of(table)}; "
                "give it one row for each distance and the channels of one head"
            )
        if rows is not None and table.shape[0] != rows:
            raise ValueError(
                f"{name} must have {rows} rows like the other tables, got {table.shape[0]}; use one max_span"
            )
        rows = table.shape[0]
    operands.check_scale()
    span, activation, logit_bias = operands.span, operands.activation, operands.logit_bias
    if span is not None:
        check_odd("span", span)
    check_activation(activation)
    if logit_bias is not None and activation == "softmax":
        raise ValueError(
            "logit_bias must be None for a softmax, got a tensor; a softmax ignores shifts, leave it out"
        )
    if logit_bias is not None and logit_bias.shape != (heads,):
        raise ValueError(
            f"logit_bias must be ({heads},), got shape {shape_of(logit_bias)}; one number for each head"
        )
