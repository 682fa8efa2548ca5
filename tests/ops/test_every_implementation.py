"""What every implementation of every attention operation must do with unusual operands."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from axial_deeplab.ops.axial import api as axial_attention
from axial_deeplab.ops.dispatch import Implementation
from axial_deeplab.ops.operands import Operands
from axial_deeplab.ops.window import api as local_attention
from error_budget import layer_arguments

pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")

Sizes = tuple[int, int, int, int, int, int]
SMALL: Sizes = (2, 5, 2, 2, 4, 6)  # images, two axes, heads, channels of queries and of values


def line_arguments(sizes: Sizes = SMALL) -> list[Tensor]:
    return layer_arguments(*sizes, 3)


def square_arguments(sizes: Sizes = SMALL) -> list[Tensor]:
    q, k, v, *tables, scale = layer_arguments(*sizes, 5)
    return [q, k, v, *(table.expand(sizes[3], -1, -1) * 1.5 for table in tables), scale]


def of_lines(implementation: Implementation) -> tuple[Any, ...]:
    return implementation, axial_attention.IMPLEMENTATIONS[-1], line_arguments, 3


def of_squares(implementation: Implementation) -> tuple[Any, ...]:
    return implementation, local_attention.IMPLEMENTATIONS[-1], square_arguments, 3


CASES = [
    *(pytest.param(*of_lines(x), id=f"lines-{x.name}") for x in axial_attention.IMPLEMENTATIONS),
    *(pytest.param(*of_squares(x), id=f"squares-{x.name}") for x in local_attention.IMPLEMENTATIONS),
]
every_implementation = pytest.mark.parametrize(("fast", "reference", "make_arguments", "span"), CASES)

MakeArguments = Callable[..., list[Tensor]]


@pytest.fixture(autouse=True)
def needs_triton(request: pytest.FixtureRequest) -> None:
    if "triton" in request.node.name:
        pytest.importorskip("triton", reason="there is no Triton for this platform")


def outputs_of(implementation: Implementation, arguments: list[Tensor], span: int | None) -> list[Tensor]:
    return [x for x in implementation.attend(Operands(*arguments, span=span)) if x is not None]


def results_of(implementation: Implementation, arguments: list[Tensor], span: int | None) -> list[Tensor]:
    """Both outputs and the gradients of all arguments."""
    leaves = [x.detach().requires_grad_() for x in arguments]
    outputs = outputs_of(implementation, leaves, span)
    return [*outputs, *torch.autograd.grad(sum(x.square().sum() for x in outputs), leaves)]


def largest(x: Tensor) -> float:
    return max(float(x.detach().abs().max()), 1.0)


@every_implementation
@pytest.mark.parametrize("argument", range(7))
def test_what_depends_on_nan_is_nan(
    argument: int, fast: Implementation, reference: Implementation, make_arguments: MakeArguments, span: int
) -> None:
    def outputs(implementation: Implementation, number: float, dtype: torch.dtype) -> list[Tensor]:
        arguments = [x.to(dtype, copy=True) for x in make_arguments()]
        # A position in reach of others; in tables the middle row, which every query needs.
        row = (
            (0, 2, 0, 0)
            if argument < 3
            else (0,) * (arguments[argument].dim() - 2) + (arguments[argument].shape[-2] // 2,)
        )
        arguments[argument][(*row, 0) if argument < 6 else (slice(None), 0)] = number
        return outputs_of(implementation, arguments, span)

    results = outputs(fast, math.nan, torch.float32)
    exact = zip(*(outputs(reference, number, torch.float64) for number in (0.5, 2.0)), strict=True)
    for x, (first, second) in zip(results, exact, strict=True):
        assert x[first != second].isnan().all()
        if argument < 3:
            assert x[1].isfinite().all()
    assert any(x.isnan().any() for x in results)


@every_implementation
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_empty_axes(
    axis: int, fast: Implementation, reference: Implementation, make_arguments: MakeArguments, span: int
) -> None:
    sizes = list(SMALL)
    sizes[axis] = 0
    arguments = make_arguments(tuple(sizes))
    content, positional, *grads = results_of(fast, arguments, span)
    assert content.shape == positional.shape == (*sizes[:4], 6)
    assert not any(grad.any() for grad in grads)


@every_implementation
def test_any_strides_offsets_and_expanded_tensors(
    fast: Implementation, reference: Implementation, make_arguments: MakeArguments, span: int
) -> None:
    arguments = make_arguments()
    expected = results_of(fast, arguments, span)
    transposed = [x.mT.contiguous().mT for x in arguments]
    behind_others = [torch.cat((x[:1], x))[1:] for x in arguments]
    for others in (transposed, behind_others):
        for x, exact in zip(results_of(fast, others, span), expected, strict=True):
            torch.testing.assert_close(x, exact, rtol=1e-5, atol=1e-5 * largest(exact))
    ones = [x[:, :1].expand_as(x) if x.dim() == 5 else x[..., :1].expand_as(x) for x in arguments]
    assert all(0 in x.stride() for x in ones)
    results = results_of(fast, ones, span)
    for x, exact in zip(results, results_of(reference, [x.double() for x in ones], span), strict=True):
        torch.testing.assert_close(x.double(), exact, rtol=1e-4, atol=1e-4)


@every_implementation
def test_extreme_logits_are_finite_and_right(
    fast: Implementation, reference: Implementation, make_arguments: MakeArguments, span: int
) -> None:
    *others, scale = make_arguments()
    arguments = [*others, 1e4 * scale]
    results = results_of(fast, arguments, span)
    assert all(x.isfinite().all() for x in results)
    # One weight is 1: the output is the value at the largest logit.
    for x, exact in zip(
        results[:2], outputs_of(reference, [x.double() for x in arguments], span), strict=True
    ):
        torch.testing.assert_close(x.double(), exact, rtol=1e-4, atol=1e-4)


@every_implementation
@pytest.mark.parametrize("sizes", [(1, 3, 2, 1, 1, 1), (1, 2, 3, 2, 3, 5), (1, 3, 1, 1, 5, 3)])
def test_odd_heads(
    sizes: Sizes, fast: Implementation, reference: Implementation, make_arguments: MakeArguments, span: int
) -> None:
    check_results(fast, reference, make_arguments(sizes), span)


@every_implementation
def test_wide_heads(
    fast: Implementation, reference: Implementation, make_arguments: MakeArguments, span: int
) -> None:
    check_results(fast, reference, make_arguments((1, 3, 2, 1, 128, 128)), span)


def check_results(
    fast: Implementation, reference: Implementation, arguments: list[Tensor], span: int | None
) -> None:
    exact = results_of(reference, [x.double() for x in arguments], span)
    for x, y in zip(results_of(fast, arguments, span), exact, strict=True):
        torch.testing.assert_close(x.double(), y, rtol=1e-4, atol=1e-4 * largest(y))


@every_implementation
def test_spans_longer_than_the_axis(
    fast: Implementation, reference: Implementation, make_arguments: MakeArguments, span: int
) -> None:
    """The tables of lines are shorter than the span, those of squares as long."""
    if make_arguments is line_arguments:
        check_results(fast, reference, make_arguments((1, 4, 2, 1, 4, 6)), 101)
    else:
        q, k, v, *_, scale = make_arguments((1, 4, 2, 1, 4, 6))
        tables = [
            torch.randn(1, 81, channels, generator=torch.Generator().manual_seed(0)) for channels in (4, 4, 6)
        ]
        check_results(fast, reference, [q, k, v, *tables, scale], 9)


@every_implementation
def test_gradcheck(
    fast: Implementation, reference: Implementation, make_arguments: MakeArguments, span: int
) -> None:
    if fast.name == "triton":
        pytest.skip("it has no float64; its gradients are compared with those of the reference")
    arguments = [x.double().requires_grad_() for x in make_arguments((1, 3, 2, 1, 2, 2))]

    def attend(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(outputs_of(fast, list(tensors), span))

    assert torch.autograd.gradcheck(attend, arguments, fast_mode=True)
