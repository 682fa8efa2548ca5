"""Position-sensitive axial attention: the public operation, its checks, the choice of its implementation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from axial_deeplab.ops import exportable, numba_cpu, reference, triton_gpu

ACTIVATIONS = ("softmax", "sigmoid")


@dataclass(frozen=True)
class Implementation:
    """One way to execute the operation.

    Its functions take the arguments of `axial_attention` without `impl`, already checked: `why_not`
    returns None if it can run them or else the reason in a few words, `attend` runs them. `attend_sum` is
    what it has for `axial_attention_sum`, without gradients; None adds the outputs of `attend`. A module of
    an implementation must import without the libraries that it needs; `why_not` says that they are missing.
    """

    name: str
    why_not: Callable[..., str | None]
    attend: Callable[..., tuple[Tensor, Tensor | None]]
    attend_sum: Callable[..., Tensor] | None = None


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
    arguments = (q, k, v, rel_q, rel_k, rel_v, logit_scale)
    options: dict[str, Any] = {"span": span, "activation": activation, "logit_bias": logit_bias}
    _check(*arguments, **options)
    return _choose(impl, arguments, options).attend(*arguments, **options)


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
    arguments = (q, k, v, rel_q, rel_k, rel_v, logit_scale)
    options: dict[str, Any] = {"span": span, "activation": activation, "logit_bias": logit_bias}
    _check(*arguments, **options)
    _check_types(q, k, v, positional_scale)
    if positional_scale.shape != v.shape[3:]:
        raise ValueError(
            f"positional_scale must be {_shape(v)[3:]}, got shape {_shape(positional_scale)}; "
            "one number for each channel of each head"
        )
    implementation = _choose(impl, arguments, options)
    inputs = (*arguments, positional_scale)
    with_gradients = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)
    if implementation.attend_sum is not None and not with_gradients:
        return implementation.attend_sum(*inputs, **options)
    content, positional = implementation.attend(*arguments, **options)
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
    arguments = (q, k, v, rel_q, rel_k, rel_v, logit_scale)
    options: dict[str, Any] = {"span": span, "activation": activation, "logit_bias": logit_bias}
    _check(*arguments, **options)
    lines = []
    taken = False
    for implementation in IMPLEMENTATIONS:
        reason = implementation.why_not(*arguments, **options)
        verdict = f"cannot run: {reason}" if reason else "could run" if taken else "is taken"
        taken = taken or reason is None
        lines.append(f"{implementation.name}: {verdict}")
    return "\n".join(lines)


def _choose(impl: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Implementation:
    if impl == "auto":
        return next(i for i in IMPLEMENTATIONS if i.why_not(*arguments, **options) is None)
    by_name = {i.name: i for i in IMPLEMENTATIONS}
    if impl not in by_name:
        raise ValueError(f"impl must be one of {['auto', *by_name]}, got {impl!r}; take 'auto' if in doubt")
    reason = by_name[impl].why_not(*arguments, **options)
    if reason is not None:
        raise ValueError(f"impl must be able to run these arguments, got {impl!r}: {reason}; take 'auto'")
    return by_name[impl]


def _check(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rel_q: Tensor | None,
    rel_k: Tensor | None,
    rel_v: Tensor | None,
    logit_scale: Tensor | None,
    *,
    span: int | None,
    activation: str,
    logit_bias: Tensor | None,
) -> None:
    if q.dim() != 5:
        raise ValueError(f"q must be (B, L, M, N, D), got shape {_shape(q)}; unflatten its heads")
    if k.shape != q.shape:
        raise ValueError(
            f"k must be shaped like q, {_shape(q)}, got {_shape(k)}; project both to the same channels"
        )
    if v.dim() != 5 or v.shape[:-1] != q.shape[:-1]:
        wanted = f"({', '.join(str(n) for n in q.shape[:-1])}, V)"
        raise ValueError(f"v must be {wanted} like q, got shape {_shape(v)}; only its channels may differ")
    _check_types(q, k, v, rel_q, rel_k, rel_v, logit_scale, logit_bias)
    heads, head_dim = q.shape[-2:]
    rows = None
    for name, table, width in (
        ("rel_q", rel_q, head_dim),
        ("rel_k", rel_k, head_dim),
        ("rel_v", rel_v, v.shape[-1]),
    ):
        if table is None:
            continue
        if table.dim() != 2 or table.shape[0] % 2 == 0 or table.shape[1] != width:
            raise ValueError(
                f"{name} must be (2 max_span - 1, {width}), got shape {_shape(table)}; "
                "give it one row for each distance and the channels of one head"
            )
        if rows is not None and table.shape[0] != rows:
            raise ValueError(
                f"{name} must have {rows} rows like the other tables, got {table.shape[0]}; use one max_span"
            )
        rows = table.shape[0]
    if logit_scale is not None and logit_scale.shape != (3, heads):
        raise ValueError(
            f"logit_scale must be (3, {heads}), got shape {_shape(logit_scale)}; one row for each term"
        )
    if span is not None and (span < 1 or span % 2 == 0):
        raise ValueError(
            f"span must be a positive odd number of positions, got {span}; try {max(span, 0) // 2 * 2 + 1}"
        )
    if activation not in ACTIVATIONS:
        raise ValueError(
            f"activation must be one of {list(ACTIVATIONS)}, got {activation!r}; the paper's is 'softmax'"
        )
    if logit_bias is not None and activation == "softmax":
        raise ValueError(
            "logit_bias must be None for a softmax, got a tensor; a softmax ignores shifts, leave it out"
        )
    if logit_bias is not None and logit_bias.shape != (heads,):
        raise ValueError(
            f"logit_bias must be ({heads},), got shape {_shape(logit_bias)}; one number for each head"
        )


def _check_types(q: Tensor, k: Tensor, v: Tensor, *others: Tensor | None) -> None:
    if not (q.is_floating_point() and q.dtype == k.dtype == v.dtype):
        raise ValueError(
            f"q, k and v must share a floating-point type, got {q.dtype}, {k.dtype}, {v.dtype}; convert them"
        )
    for x in (k, v, *others):
        if x is not None and x.device != q.device:
            raise ValueError(
                f"arguments must be on one device, got {q.device} and {x.device}; move them with .to()"
            )
        if x is not None and not x.is_floating_point():
            raise ValueError(f"tables, scales and biases must be floating-point, got {x.dtype}; convert them")


def _shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape)
