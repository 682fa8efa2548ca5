from functools import partial

import pytest
import torch

from attention_cases import LargestTensor, attention_by_loops, make_inputs
from axial_deeplab.ops.axial import reference
from axial_deeplab.ops.axial.api import axial_attention

# The last axis is long enough for spans of 1 to 7 to be cut into several blocks, the last of them not full.
LENGTHS = [1, 2, 5, 8, 67]

attend = partial(axial_attention, impl="reference")


@pytest.mark.parametrize("max_span", [1, 4, 60])
@pytest.mark.parametrize("span", [None, 1, 3, 7, 41])
@pytest.mark.parametrize("length", LENGTHS)
def test_equals_the_definition(length: int, span: int | None, max_span: int) -> None:
    *inputs, scale = make_inputs(length, images=1, lines=2, max_span=max_span)
    expected = attention_by_loops(*inputs, scale, span)
    result = attend(*inputs, scale, span=span)
    torch.testing.assert_close(result, expected, rtol=1e-11, atol=1e-11)


def test_blocks_equal_the_definition_when_a_window_is_wider_than_the_smallest_block() -> None:
    *inputs, scale = make_inputs(275, images=1, lines=1, heads=1, max_span=20)
    assert reference.query_blocks(275, 65) == (32, 32)
    expected = attention_by_loops(*inputs, scale, 65)
    result = attend(*inputs, scale, span=65)
    torch.testing.assert_close(result, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("length", "span"), [(3, None), (4, 3), (67, 3)])
def test_gradients(length: int, span: int | None) -> None:
    small = (
        {"images": 1, "lines": 1, "heads": 1, "key_dim": 1, "value_dim": 1} if length > 4 else {"lines": 1}
    )
    inputs = make_inputs(length, max_span=3, requires_grad=True, **small)
    assert torch.autograd.gradcheck(lambda *x: attend(*x, span=span), inputs)


@pytest.mark.parametrize("length", [1, 6, 67])
def test_span_that_covers_the_axis_is_the_whole_axis(length: int) -> None:
    inputs = make_inputs(length)
    whole = attend(*inputs)
    for span in (2 * length - 1, 2 * length + 1, 1001):
        torch.testing.assert_close(attend(*inputs, span=span), whole, rtol=0, atol=0)


def test_memory_of_a_local_span_is_linear_in_the_length() -> None:
    def largest(length: int) -> int:
        inputs = make_inputs(length, images=1, lines=1, requires_grad=True)
        with LargestTensor() as mode:
            content, positional = attend(*inputs, span=9)
            assert positional is not None
            (content.sum() + positional.sum()).backward()
        return mode.elements

    # Twice the length, twice the memory, up to the block that is not full.
    assert largest(4000) <= 2.1 * largest(2000)
    assert largest(4000) < 4000 * 2 * 30


def test_absent_terms_are_zero_terms() -> None:
    q, k, v, rel_q, rel_k, rel_v, scale = make_inputs(9)
    zero = torch.zeros_like(rel_q)
    content, positional = attend(q, k, v, None, rel_k, None, scale)
    assert positional is None
    torch.testing.assert_close(content, attend(q, k, v, zero, rel_k, rel_v, scale)[0])
    content, _ = attend(q, k, v, rel_q, None, None, scale)
    torch.testing.assert_close(content, attend(q, k, v, rel_q, zero, rel_v, scale)[0])
    torch.testing.assert_close(
        attend(q, k, v, rel_q, rel_k, rel_v, None),
        attend(q, k, v, rel_q, rel_k, rel_v, torch.ones_like(scale)),
    )


def test_sigmoid_weighs_each_position_on_its_own() -> None:
    q, k, v, *_ = make_inputs(5)
    bias = torch.tensor([0.3, -0.2], dtype=torch.float64)
    content, _ = attend(q, k, v, None, None, None, activation="sigmoid", logit_bias=bias, span=3)
    expected = torch.zeros_like(v)
    for o in range(5):
        for p in range(max(o - 1, 0), min(o + 2, 5)):
            expected[:, o] += ((q[:, o] * k[:, p]).sum(-1) + bias).sigmoid()[..., None] * v[:, p]
    torch.testing.assert_close(content, expected)
    without_bias, _ = attend(q, k, v, None, None, None, activation="sigmoid", span=3)
    assert not torch.allclose(without_bias, content)


def test_half_precision_is_rounded_only_at_the_end() -> None:
    inputs = make_inputs(33, dtype=torch.bfloat16)
    result = attend(*inputs)
    expected = attend(*(x.double() for x in inputs))
    for ours, exact in zip(result, expected, strict=True):
        assert ours is not None
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours.double(), exact, rtol=2**-8, atol=1e-6)


def test_autocast_does_not_reach_the_products() -> None:
    inputs = make_inputs(33, dtype=torch.float32)
    expected = attend(*inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(attend(*inputs), expected, rtol=0, atol=0)


@pytest.mark.parametrize("span", [None, 3])
def test_extreme_logits_give_finite_outputs_and_gradients(span: int | None) -> None:
    inputs = [(1e3 * x).detach().requires_grad_() for x in make_inputs(67, dtype=torch.float32)]
    content, positional = attend(*inputs, span=span)
    assert positional is not None
    (content.sum() + positional.sum()).backward()
    for x in (content, positional, *(x.grad for x in inputs)):
        assert x is not None
        assert x.isfinite().all()


def test_any_strides() -> None:
    q, k, v, *rest = make_inputs(7)
    strided = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]
    torch.testing.assert_close(attend(*strided, *rest), attend(q, k, v, *rest))
