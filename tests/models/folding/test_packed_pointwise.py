"""1x1 convolutions whose weights are laid out once."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from axial_deeplab.models.folding import packed_pointwise as pointwise
from axial_deeplab.models.folding.packed_pointwise import PointwiseConv2d, is_pointwise


def make(relu: bool = False, dtype: torch.dtype = torch.float32) -> tuple[nn.Conv2d, PointwiseConv2d]:
    torch.manual_seed(0)
    convolution = nn.Conv2d(24, 40, 1).to(dtype).requires_grad_(False)
    return convolution, PointwiseConv2d(copy.deepcopy(convolution), relu)


def image(*size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size[0], 24, *size[1:], generator=generator)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("size", [(1, 7, 5), (3, 1, 1), (2, 64, 33)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_equals_a_convolution(relu: bool, size: tuple[int, ...], memory_format: torch.memory_format) -> None:
    convolution, module = make(relu)
    x = image(*size).contiguous(memory_format=memory_format)
    expected = convolution(x).relu() if relu else convolution(x)
    for _ in range(2):
        y = module(x)
        assert y.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)
    assert (module._packed is not None) == pointwise._has_packed_products()


def test_without_the_operations_it_is_a_convolution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise, "_has_packed_products", lambda: False)
    convolution, module = make(relu=True)
    x = image(2, 7, 5)
    assert torch.equal(module(x), convolution(x).relu())
    assert module._packed is None


def test_probe_says_what_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise RuntimeError("no such layout")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", refuse, raising=False)
    assert not pointwise._has_packed_products.__wrapped__()
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not pointwise._has_packed_products.__wrapped__()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_convolutions(dtype: torch.dtype) -> None:
    convolution, module = make(dtype=dtype)
    x = image(2, 7, 5).to(dtype)
    assert torch.equal(module(x), convolution(x))


def test_gradients_and_autocast() -> None:
    convolution, module = make()
    x = image(2, 7, 5).requires_grad_()
    gradients = [torch.autograd.grad(layer(x).square().sum(), x)[0] for layer in (module, convolution)]
    torch.testing.assert_close(*gradients)
    with torch.autocast("cpu", torch.bfloat16):
        assert module(image(2, 7, 5)).dtype == torch.bfloat16


def test_empty_batch() -> None:
    _, module = make()
    assert module(image(0, 7, 5)).shape == (0, 40, 7, 5)


@torch.no_grad()
def test_weights_that_change_are_laid_out_anew() -> None:
    _, module = make()
    other = nn.Conv2d(24, 40, 1)
    x = image(2, 7, 5)
    module(x)
    copies = copy.deepcopy(module), pickle.loads(pickle.dumps(module))
    for twin in copies:
        assert torch.equal(twin(x), module(x))
    module.load_state_dict(other.state_dict())
    torch.testing.assert_close(module(x), other(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(module.double()(x.double()), other.double()(x.double()))


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Conv2d(4, 8, 1), True),
        (nn.Conv2d(4, 8, 1, stride=2), False),
        (nn.Conv2d(4, 8, 1, groups=2), False),
        (nn.Conv2d(4, 8, 1, padding=1), False),
        (nn.Conv2d(4, 8, 3, padding=1), False),
        (nn.Linear(4, 8), False),
    ],
)
def test_which_convolutions_it_can_replace(module: nn.Module, expected: bool) -> None:
    assert is_pointwise(module) == expected
