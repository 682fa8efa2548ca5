"""The fused CPU implementation against the reference in float64, and how it behaves within PyTorch."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from axial_deeplab.ops import numba_cpu, reference

INPUTS = ("q", "k", "v", "rel_q", "rel_k", "rel_v", "logit_scale")


def random_arguments(
    batch: int = 2,
    length: int = 7,
    lines: int = 3,
    heads: int = 2,
    head_dim: int = 4,
    value_dim: int = 8,
    max_span: int | None = None,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    axis: str = "height",
) -> list[Tensor]:
    """The tensors of a layer: q, k and v are slices of one channels-last projection."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    channels = 2 * head_dim + value_dim
    if axis == "height":
        image = normal(batch, length, lines, heads * channels)
    else:
        image = normal(batch, lines, length, heads * channels).transpose(1, 2)
    q, k, v = image.unflatten(-1, (heads, channels)).split([head_dim, head_dim, value_dim], dim=-1)
    rows = 2 * (length if max_span is None else max_span) - 1
    tables = [normal(rows, channels) for channels in (head_dim, head_dim, value_dim)]
    return [q, k, v, *tables, normal(3, heads).abs()]


Attend = Callable[..., tuple[Tensor, Tensor | None]]


def outputs_and_gradients(
    attend: Attend, arguments: list[Tensor | None], span: int | None, dtype: torch.dtype
) -> dict[str, Tensor]:
    leaves = [None if x is None else x.detach().to(dtype).requires_grad_() for x in arguments]
    outputs = [x for x in attend(*leaves, span=span) if x is not None]
    generator = torch.Generator().manual_seed(1)
    grads = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(dtype) for x in outputs]
    inputs = [x for x in leaves if x is not None]
    names = [name for name, x in zip(INPUTS, leaves, strict=True) if x is not None]
    derivatives = torch.autograd.grad(outputs, inputs, grads)
    results = dict(zip(("content", "positional"), outputs, strict=False))
    return {**results, **{f"grad_{name}": x for name, x in zip(names, derivatives, strict=True)}}


def check_error_budget(arguments: list[Tensor | None], span: int | None) -> None:
    """The error against float64 is at most twice that of plain PyTorch, three times for gradients."""
    exact = outputs_and_gradients(reference.attend, arguments, span, torch.float64)
    plain = outputs_and_gradients(reference.attend, arguments, span, torch.float32)
    fused = outputs_and_gradients(numba_cpu.attend, arguments, span, torch.float32)
    assert fused.keys() == exact.keys()
    for name, value in exact.items():
        assert fused[name].shape == value.shape
        if value.numel() == 0:
            continue
        # The errors of a few numbers scatter by luck, and terms of order 1 may cancel: the floor is two
        # rounding errors of the largest number or term.
        floor = 2 * torch.finfo(torch.float32).eps * value.abs().max().clamp(min=1)
        budget = (3 if name.startswith("grad") else 2) * (plain[name] - value).abs().max() + floor
        assert (fused[name] - value).abs().max() <= budget, name


@pytest.mark.parametrize("length", [1, 2, 7, 33, 56, 65, 257])
@pytest.mark.parametrize("span", [None, 1, 9, 65])
def test_lengths_and_spans(length: int, span: int | None) -> None:
    check_error_budget(random_arguments(1, length, 2, 2), span)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, limit) for limit in (2, 40, 3, 3, 10, 18)]),
    max_span=st.integers(1, 50),
    span=st.none() | st.integers(0, 25).map(lambda reach: 2 * reach + 1),
    absent=st.sets(st.sampled_from(range(3, 7))),
    axis=st.sampled_from(["height", "width"]),
    seed=st.integers(0, 1000),
)
def test_random_shapes(
    sizes: tuple[int, ...], max_span: int, span: int | None, absent: set[int], axis: str, seed: int
) -> None:
    arguments = random_arguments(*sizes, max_span, seed=seed, axis=axis)
    check_error_budget([None if i in absent else x for i, x in enumerate(arguments)], span)


@pytest.mark.parametrize(("head_dim", "value_dim"), [(1, 1), (2, 4), (16, 32), (32, 64), (128, 128)])
def test_head_sizes(head_dim: int, value_dim: int) -> None:
    check_error_budget(random_arguments(1, 14, 2, 2, head_dim, value_dim), None)


@pytest.mark.parametrize("span", [None, 3])
def test_gradcheck(span: int | None) -> None:
    arguments = random_arguments(1, 5, 2, 2, 3, 2, 4, dtype=torch.float64)
    leaves = [x.detach().requires_grad_() for x in arguments]
    assert torch.autograd.gradcheck(lambda *x: numba_cpu.attend(*x, span=span), leaves)


@pytest.mark.parametrize("absent", [(), (3, 6), (3, 4, 5, 6)])
@pytest.mark.parametrize("axis", ["height", "width"])
def test_opcheck(absent: tuple[int, ...], axis: str) -> None:
    leaves = [x.detach().requires_grad_() for x in random_arguments(axis=axis)]
    arguments = [None if i in absent else x for i, x in enumerate(leaves)]
    torch.library.opcheck(torch.ops.axial_deeplab.axial_attention.default, (*arguments, 5))
