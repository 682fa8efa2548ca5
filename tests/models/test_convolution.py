"""1x1 convolutions as they train on the CPU."""

import copy

import pytest
import torch
from torch import nn

from axial_deeplab.models.convolution import Conv2d


def results(convolution: nn.Conv2d, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Output and gradients for a map that is large enough for oneDNN."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 24, 33, 31, generator=generator).to(dtype).requires_grad_()
    convolution = copy.deepcopy(convolution).to(dtype)
    y = convolution(x)
    weight = torch.randn(y.shape, generator=generator).to(dtype)
    return [y, *torch.autograd.grad((y * weight).sum(), (x, *convolution.parameters()))]


def test_values_and_gradients_are_those_of_a_convolution() -> None:
    torch.manual_seed(0)
    convolution = Conv2d(24, 40)
    plain = nn.Conv2d(24, 40, 1, bias=False)
    plain.load_state_dict(convolution.state_dict())
    budgets = 2, 3, 3  # of values and of gradients
    for ours, theirs, exact, budget in zip(
        results(convolution), results(plain), results(plain, torch.float64), budgets, strict=True
    ):
        error = (ours - exact).square().mean().sqrt()
        assert error <= budget * (theirs - exact).square().mean().sqrt()
    for ours, exact in zip(results(convolution, torch.float64), results(plain, torch.float64), strict=True):
        assert torch.equal(ours, exact)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")
def test_one_thread_multiplies_in_onednn() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.profiler.profile() as profile:
            results(Conv2d(24, 40))
    finally:
        torch.set_num_threads(threads)
    assert "aten::mkldnn_convolution" in {event.key for event in profile.key_averages()}


def test_exported_programs_have_no_dilation() -> None:
    program = torch.export.export(Conv2d(24, 40).eval(), (torch.rand(2, 24, 33, 31),))
    (node,) = (node for node in program.graph.nodes if "conv2d" in str(node.target))
    assert 2 not in [number for argument in node.args[3:] for number in argument]
