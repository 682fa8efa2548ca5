"""Operations as PyTorch knows them."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch.autograd import forward_ad

from axial_deeplab import create_model
from axial_deeplab.ops.axial.api import axial_attention

ONE_PREDICTION = """
import sys
import numpy as np
from axial_deeplab import Predictor

Predictor("axial_deeplab_nano_scenes")(np.zeros((64, 96, 3), np.uint8))
print(*({"numba", "torch._dynamo", "torch._inductor", "sympy"} & sys.modules.keys()))
"""


def test_a_prediction_does_without_the_compiler_of_pytorch() -> None:
    """Its import takes longer than the prediction."""
    command = [sys.executable, "-c", ONE_PREDICTION]
    assert subprocess.run(command, capture_output=True, check=True, text=True).stdout.split() == ["numba"]


def test_a_second_derivative_is_refused() -> None:
    q, k, v = (torch.rand(1, 5, 2, 2, 4, requires_grad=True) for _ in range(3))
    content, _ = axial_attention(q, k, v, None, None, None, impl="numba")
    (grad,) = torch.autograd.grad(content.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="axial_attention_backward must not be differentiated"):
        grad.sum().backward()


def in_forward_mode(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    with forward_ad.dual_level():
        return function(forward_ad.make_dual(x, torch.ones_like(x)))


@pytest.mark.parametrize("name", ["axial_attention", "local_attention_2d"])
@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x: torch.func.jvp(f, (x,), (x,)),
        lambda f, x: torch.func.grad(lambda y: f(y).sum())(x),
        lambda f, x: torch.func.vmap(f)(x[None]),
        in_forward_mode,
        lambda f, x: in_forward_mode(f, x.clone().requires_grad_()),
    ],
    ids=["jvp", "grad", "vmap", "forward_ad", "forward_ad and backward"],
)
def test_an_operation_called_on_its_own_is_not_transformed(
    name: str, transform: Callable[..., object]
) -> None:
    """Its tangents were lost without a word, or PyTorch spoke of things that nobody has written."""
    q = torch.rand(1, 5, 2, 2, 4)
    operation = getattr(torch.ops.axial_deeplab, name)

    def attend(x: torch.Tensor) -> torch.Tensor:
        content: torch.Tensor = operation(x, q, q, None, None, None, None, 3)[0]
        return content

    attend(q)
    with pytest.raises(RuntimeError, match=f"{name} must not be transformed, .*impl='reference'"):
        transform(attend, q)


def test_kernels_run_in_a_program_of_several_graphs() -> None:
    """What is called between two graphs is Python, which the compiler would like to read."""
    layer = create_model("axial_resnet_nano", features_only=True).eval()

    def features(x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = layer(x)["res5"]
        torch._dynamo.graph_break()
        return y + layer(x.flip(3))["res5"]

    x = torch.rand(1, 3, 33, 49)
    with torch.no_grad():
        expected = layer(x)["res5"] + layer(x.flip(3))["res5"]
        compiled = torch.compile(features, backend="eager")(x)
    torch.testing.assert_close(compiled, expected)
