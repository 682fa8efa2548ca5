"""The debug mode of the CPU kernels: the same results, and no access beyond a tensor."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from attention_cases import make_inputs
from axial_deeplab.ops.axial.api import axial_attention, axial_attention_sum
from axial_deeplab.ops.axial.prepared import PreparedAttention
from axial_deeplab.ops.axial.statistics import logit_moments
from axial_deeplab.ops.numba import call, layout, simd
from axial_deeplab.ops.numba.plain import Pointer, python_kernels
from axial_deeplab.ops.window.api import local_attention_2d
from axial_deeplab.ops.window.statistics import local_logit_moments

axial_inputs = partial(make_inputs, 5, images=1, lines=2, heads=2, key_dim=4, value_dim=4)


def window_inputs() -> tuple[Tensor, ...]:
    """One image of 4 x 5 positions, two heads of 4 channels, windows of 3 x 3."""
    q, k, v, *_, scale = make_inputs(4, images=1, lines=5, heads=2, key_dim=4, value_dim=4)
    tables = [torch.randn(2, 9, 4, dtype=torch.float64) for _ in range(3)]
    return (q, k, v, *tables, scale)


def results(attend: Callable[..., Any], inputs: tuple[Tensor, ...], impl: str) -> list[Tensor]:
    """What a function returns, and the gradients of all its inputs."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    outputs = attend(*leaves, impl=impl)
    total = sum((i + 1) * x.square().sum() for i, x in enumerate(outputs))
    return [*outputs, *torch.autograd.grad(total, leaves)]


@pytest.mark.parametrize(
    ("attend", "inputs"),
    [
        pytest.param(axial_attention, axial_inputs(), id="whole axis"),
        pytest.param(partial(axial_attention, span=3), axial_inputs(), id="local span"),
        pytest.param(axial_attention, axial_inputs(key_dim=9, value_dim=10), id="more channels than lanes"),
        pytest.param(logit_moments, (*axial_inputs()[:2], *axial_inputs()[3:5]), id="moments of an axis"),
        pytest.param(partial(local_attention_2d, kernel_size=3), window_inputs(), id="window"),
        pytest.param(
            partial(local_logit_moments, kernel_size=3),
            (*window_inputs()[:2], *window_inputs()[3:5]),
            id="moments of windows",
        ),
    ],
)
def test_equals_the_reference(attend: Callable[..., Any], inputs: tuple[Tensor, ...]) -> None:
    expected = results(attend, inputs, "reference")
    with python_kernels():
        got = results(attend, inputs, "numba")
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_inference_equals_the_reference(stride: int) -> None:
    """The kernel of folded networks, whose vectors are eight heads."""
    q, k, v, *constants = make_inputs(
        5, images=1, lines=3, heads=8, key_dim=4, value_dim=3, dtype=torch.float32
    )
    positional_scale = torch.rand(8, 3)
    expected = axial_attention_sum(q, k, v, *constants, positional_scale=positional_scale, impl="reference")
    projection = torch.cat([x.mT.flatten(-2) for x in (q, k, v)], dim=-1)
    options = {"axis": "height", "head_dim": 4, "span": None, "stride": stride, "relu": False}
    attend = PreparedAttention(*constants, positional_scale, **options)
    with python_kernels():
        got = attend(projection)
    torch.testing.assert_close(got, expected.mT.flatten(-2)[:, ::stride])


def test_compiled_kernels_are_back_afterwards() -> None:
    names = vars(layout), vars(simd), vars(call)
    before = [dict(module) for module in names]
    with suppress(ZeroDivisionError), python_kernels():
        assert layout.clear is not before[0]["clear"]
        raise ZeroDivisionError
    assert [dict(module) for module in names] == before


def test_too_small_scratch_memory_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = layout.forward_scratch_size
    monkeypatch.setattr(layout, "forward_scratch_size", lambda *sizes: right(*sizes) // 2)
    with python_kernels(), pytest.raises(IndexError, match=r"SCRATCH has numbers 0 \.\.\. \d+, got an acc"):
        axial_attention(*axial_inputs(), impl="numba")


def test_a_wrong_stride_is_noticed() -> None:
    """A kernel that takes the stride of a position for one number more."""
    with python_kernels(), pytest.MonkeyPatch.context() as patch:
        right = layout.position_stride
        patch.setattr(layout, "position_stride", lambda *arguments: right(*arguments) + 1)
        with pytest.raises(IndexError, match=r"^[QKV] has numbers 0 \.\.\. 79, got an access to"):
            axial_attention(*axial_inputs(), impl="numba")


@pytest.mark.parametrize(("start", "stop"), [(-3, 0), (3, 6), (7, 8)])
def test_the_parts_beyond_a_tensor(start: int, stop: int) -> None:
    pointer = Pointer(torch.arange(6.0).numpy(), 2, "Q")
    assert pointer[-2:4].tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(IndexError, match=f"Q has numbers 0 ... 5, got .* {2 + start} ... {1 + stop}"):
        pointer[start:stop]


def test_the_trace_of_the_documents() -> None:
    page = (Path(__file__).parents[2] / "docs" / "change_a_kernel.md").read_text()
    names: dict[str, Any] = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)  # type: ignore[index]
    shown = re.search(r"content = (.*) and positional = (.*)\.", page)
    assert shown is not None
    for numbers, result in zip(shown.groups(), (names["content"], names["positional"]), strict=True):
        assert [float(number) for number in numbers.split(", ")] == pytest.approx(result.flatten(), abs=1e-3)


def test_the_columns_of_the_documents() -> None:
    """The first column of each line that draws the table of arguments."""
    page = (Path(__file__).parents[2] / "docs" / "change_a_kernel.md").read_text()
    drawn = re.findall(r"^ *(\d+)  ([A-Z_]+)", page, re.MULTILINE)
    assert len(drawn) > 15
    assert {name: int(column) for column, name in drawn} == {name: getattr(layout, name) for _, name in drawn}


@pytest.mark.parametrize(("processor", "lanes"), [("generic", 8), ("znver5", 16)])
def test_vectors_of_either_length(processor: str, lanes: int) -> None:
    # The length is that of this processor once Numba's language is imported.
    program = (
        "import sys, pytest; from axial_deeplab.ops.numba import simd; "
        f"sys.exit(simd.LANES != {lanes} or pytest.main(['-q', '-k', 'equals', {__file__!r}]))"
    )
    environment = {**os.environ, "NUMBA_CPU_NAME": processor}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
