"""The error budget of a fast implementation of axial attention, on any device and in any precision."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from axial_deeplab.ops.axial.api import axial_attention

INPUTS = ("q", "k", "v", "rel_q", "rel_k", "rel_v", "logit_scale")

Operation = Callable[..., tuple[Tensor, Tensor | None]]


def layer_arguments(
    batch: int = 1,
    length: int = 7,
    lines: int = 2,
    heads: int = 2,
    head_dim: int = 4,
    value_dim: int = 8,
    max_span: int | None = None,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    axis: str = "height",
    device: str = "cpu",
) -> list[Tensor]:
    """The tensors of a layer: q, k and v are slices of one channels-last projection."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    channels = heads * head_dim, heads * head_dim, heads * value_dim
    if axis == "height":
        image = normal(batch, length, lines, sum(channels))
    else:
        image = normal(batch, lines, length, sum(channels)).transpose(1, 2)
    q, k, v = (x.unflatten(-1, (heads, -1)) for x in image.split(channels, dim=-1))
    rows = 2 * (length if max_span is None else max_span) - 1
    tables = [normal(rows, channels) for channels in (head_dim, head_dim, value_dim)]
    return [q, k, v, *tables, normal(3, heads).abs()]


def outputs_and_gradients(
    impl: str,
    arguments: list[Tensor | None],
    dtype: torch.dtype,
    *,
    operation: Operation = axial_attention,
    rounding: float = 0.0,
    noise_seed: int = 0,
    **options: Any,
) -> dict[str, Tensor]:
    """Outputs and gradients by their names.

    Args:
        rounding: the relative size of noise on all that goes in.
        options: further arguments of the operation.
    """
    generator = torch.Generator().manual_seed(1)
    noise_generator = torch.Generator().manual_seed(noise_seed)

    def prepared(x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=noise_generator, dtype=torch.float64).to(x.device)
        return (x.detach().double() * (1 + rounding * noise)).to(dtype)

    leaves = [None if x is None else prepared(x).requires_grad_() for x in arguments]
    outputs = [x for x in operation(*leaves, impl=impl, **options) if x is not None]
    # Numbers that every type holds, so that all types are asked for the same gradients.
    random = [torch.randn(x.shape, generator=generator).bfloat16().to(x.device) for x in outputs]
    grads = [prepared(x) for x in random]
    inputs = [x for x in leaves if x is not None]
    names = [name for name, x in zip(INPUTS, leaves, strict=True) if x is not None]
    derivatives = torch.autograd.grad(outputs, inputs, grads)
    results = dict(zip(("content", "positional"), (x.detach() for x in outputs), strict=False))
    return {**results, **{f"grad_{name}": x for name, x in zip(names, derivatives, strict=True)}}


def shares_of_error_budget(
    impl: str, arguments: list[Tensor | None], dtype: torch.dtype, **options: Any
) -> dict[str, float]:
    """The largest error against float64 of each output and gradient over the largest that is allowed.

    Allowed is twice the error of plain PyTorch in the same precision, three times for gradients. The largest
    of a few errors scatters by luck, so that of PyTorch counts as no smaller than the largest that rounding
    the inputs alone caused in eight draws. `options` are those of `outputs_and_gradients`.
    """
    epsilon = torch.finfo(dtype).eps
    arguments = [None if x is None else x.to(dtype) for x in arguments]

    def exact(**noise: Any) -> dict[str, Tensor]:
        return outputs_and_gradients("reference", arguments, torch.float64, **options, **noise)

    expected = exact()
    plain = outputs_and_gradients("reference", arguments, dtype, **options)
    moved = [exact(rounding=epsilon, noise_seed=seed) for seed in range(8)]
    fast = outputs_and_gradients(impl, arguments, dtype, **options)
    assert fast.keys() == expected.keys()
    shares = {}
    for name, value in expected.items():
        assert fast[name].shape == value.shape
        assert fast[name].dtype == dtype
        unavoidable = max((float((x[name] - value).abs().max()) for x in (plain, *moved)), default=0.0)
        allowed = (3 if name.startswith("grad") else 2) * unavoidable + epsilon
        error = float((fast[name] - value).abs().max())
        shares[name] = error / allowed
    return shares
