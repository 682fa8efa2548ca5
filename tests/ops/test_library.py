"""Operations as PyTorch knows them."""

import subprocess
import sys

import pytest
import torch

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
