from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from attention_cases import make_inputs
from axial_deeplab.ops import axial_attention as module
from axial_deeplab.ops import explain
from axial_deeplab.ops.axial import reference
from axial_deeplab.ops.axial.api import axial_attention, axial_attention_sum
from axial_deeplab.ops.dispatch import Implementation
from axial_deeplab.ops.operands import Operands


def refuse(operands: Operands) -> str:
    return "it is a mock"


REFERENCE = partial(axial_attention, impl="reference")
MOCK = Implementation("mock", refuse, reference.attend)


@pytest.mark.parametrize("span", [None, 3])
@pytest.mark.parametrize("impl", ["auto", "reference"])
def test_equals_the_reference(impl: str, span: int | None) -> None:
    inputs = make_inputs(9)
    torch.testing.assert_close(axial_attention(*inputs, span=span, impl=impl), REFERENCE(*inputs, span=span))


def test_logit_scale_is_differentiable() -> None:
    inputs = make_inputs(4, images=1, lines=1, requires_grad=True)

    def of_scale(scale: Tensor) -> tuple[Tensor, Tensor | None]:
        return axial_attention(*inputs[:6], scale, impl="reference")

    assert torch.autograd.gradcheck(of_scale, inputs[6])


@pytest.mark.parametrize("span", [None, 3])
def test_empty_batch(span: int | None) -> None:
    inputs = make_inputs(9, images=0, requires_grad=True)
    content, positional = axial_attention(*inputs, span=span)
    assert positional is not None
    assert content.shape == positional.shape == (0, 9, 3, 2, 6)
    (content.sum() + positional.sum()).backward()
    assert inputs[3].grad is not None
    assert not inputs[3].grad.any()


@pytest.mark.parametrize("argument", [0, 1, 2])
def test_nan_in_gives_nan_out_in_its_line_alone(argument: int) -> None:
    inputs = [x.clone() for x in make_inputs(9, dtype=torch.float32)]
    inputs[argument][1, 4, 2] = float("nan")
    content, _ = axial_attention(*inputs)
    assert content[1, 4, 2].isnan().all()
    content[1, :, 2] = 0
    assert content.isfinite().all()


def test_auto_skips_what_cannot_run_and_explain_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMPLEMENTATIONS", (MOCK, *module.IMPLEMENTATIONS[-1:]))
    inputs = make_inputs(5)
    torch.testing.assert_close(axial_attention(*inputs), REFERENCE(*inputs))
    assert explain(*inputs) == "mock: cannot run: it is a mock\nreference: is taken"
    monkeypatch.setattr(module, "IMPLEMENTATIONS", module.IMPLEMENTATIONS[-1:] * 2)
    assert explain(*inputs) == "reference: is taken\nreference: could run"


def test_explicit_implementation_never_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IMPLEMENTATIONS", (MOCK, *module.IMPLEMENTATIONS))
    with pytest.raises(
        ValueError, match=r"impl must be able to run .* got 'mock': it is a mock; take 'auto'"
    ):
        axial_attention(*make_inputs(5), impl="mock")


@pytest.mark.parametrize(("length", "span"), [(9, None), (9, 5), (60, 5)])
def test_compiles_to_one_graph(length: int, span: int | None) -> None:
    inputs = make_inputs(length, dtype=torch.float32)
    torch._dynamo.reset()
    compiled = torch.compile(axial_attention, backend="eager", fullgraph=True)
    expected = REFERENCE(*inputs, span=span)
    torch.testing.assert_close(compiled(*inputs, span=span, impl="reference"), expected)


def replaced(position: int, change: Callable[[Tensor], Tensor]) -> list[Tensor]:
    inputs = list(make_inputs(5))
    inputs[position] = change(inputs[position])
    return inputs


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (replaced(0, lambda x: x[0]), {}, r"q must be \(B, L, M, N, D\), got shape \(5, 3, 2, 4\)"),
        (
            replaced(1, lambda x: x[:, 1:]),
            {},
            r"k must be shaped like q, \(2, 5, 3, 2, 4\), got \(2, 4, 3, 2, 4\)",
        ),
        (
            replaced(2, lambda x: x[:, 1:]),
            {},
            r"v must be \(2, 5, 3, 2, V\) like q, got shape \(2, 4, 3, 2, 6\)",
        ),
        (
            replaced(0, lambda x: x.float()),
            {},
            r"q, k and v must share a floating-point type, got torch.float32",
        ),
        (replaced(3, lambda x: x[1:]), {}, r"rel_q must be \(2 max_span - 1, 4\), got shape \(6, 4\)"),
        (replaced(5, lambda x: x[:, 1:]), {}, r"rel_v must be \(2 max_span - 1, 6\), got shape \(7, 5\)"),
        (
            replaced(4, lambda x: x[2:]),
            {},
            r"rel_k must have 7 rows like the other tables, got 5; use one max_span",
        ),
        (replaced(3, lambda x: x.long()), {}, r"must be floating-point, got torch.int64; convert"),
        (replaced(3, lambda x: x.to("meta")), {}, r"must be on one device, got cpu and meta; move them"),
        (replaced(6, lambda x: x[1:]), {}, r"logit_scale must be \(3, 2\), got shape \(2, 2\)"),
        (make_inputs(5), {"span": 4}, r"span must be a positive odd number of positions, got 4; try 5"),
        (make_inputs(5), {"span": -3}, r"span must be a positive odd number of positions, got -3; try 1"),
        (
            make_inputs(5),
            {"activation": "relu"},
            r"activation must be one of \['softmax', 'sigmoid'\], got 'relu'",
        ),
        (make_inputs(5), {"logit_bias": torch.zeros(2)}, r"logit_bias must be None for a softmax"),
        (
            make_inputs(5),
            {"logit_bias": torch.zeros(3), "activation": "sigmoid"},
            r"logit_bias must be \(2,\), got shape \(3,\)",
        ),
        (make_inputs(5), {"impl": "cudnn"}, r"impl must be one of \['auto', .*'reference'\], got 'cudnn'"),
    ],
)
def test_wrong_arguments_say_what_is_right(
    inputs: list[Tensor], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        axial_attention(*inputs, **options)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_sum_adds_the_scaled_positional_output(activation: str) -> None:
    inputs = make_inputs(9)
    positional_scale = torch.randn(2, 6, dtype=torch.float64)
    content, positional = axial_attention(*inputs, span=3, activation=activation)
    assert positional is not None
    result = axial_attention_sum(*inputs, positional_scale, span=3, activation=activation)
    torch.testing.assert_close(result, content + positional_scale * positional)


@pytest.mark.parametrize(
    ("positional_scale", "message"),
    [
        (torch.zeros(6), r"positional_scale must be \(2, 6\), got shape \(6,\)"),
        (torch.zeros(2, 6, dtype=torch.long), r"must be floating-point, got torch.int64"),
    ],
)
def test_sum_refuses_wrong_scales(positional_scale: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        axial_attention_sum(*make_inputs(5), positional_scale)
