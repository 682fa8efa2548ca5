"""1x1 convolutions as they train, and those whose weights are laid out once."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from axial_deeplab.models import pointwise
from axial_deeplab.models.pointwise import Conv2d, PointwiseConv2d, is_pointwise


def results(
    convolution: nn.Conv2d,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> list[torch.Tensor]:
    """Output and gradients for a map that is large enough for oneDNN."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 24, 33, 31, generator=generator).to(dtype, memory_format=memory_format)
    x = x.requires_grad_()
    convolution = copy.deepcopy(convolution).to(dtype)
    y = convolution(x)
    weight = torch.randn(y.shape, generator=generator).to(dtype)
    return [y, *torch.autograd.grad((y * weight).sum(), (x, *convolution.parameters()))]


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_those_of_a_convolution(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    convolution = Conv2d(24, 40)
    plain = nn.Conv2d(24, 40, 1, bias=False)
    plain.load_state_dict(convolution.state_dict())
    budgets = 2, 3, 3  # of values and of gradients
    for ours, theirs, exact, budget in zip(
        results(convolution, memory_format=memory_format),
        results(plain, memory_format=memory_format),
        results(plain, torch.float64),
        budgets,
        strict=True,
    ):
        error = (ours - exact).square().mean().sqrt()
        assert error <= budget * (theirs - exact).square().mean().sqrt()
    for ours, exact in zip(results(convolution, torch.float64), results(plain, torch.float64), strict=True):
        assert torch.equal(ours, exact)


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "AVX512", reason="a processor that multiplies in oneDNN"
)
def test_with_avx2_all_images_are_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise, "_is_mkl_faster", lambda: True)
    with torch.profiler.profile() as profile:
        y, *_ = results(Conv2d(24, 40), memory_format=torch.channels_last)
    assert y.is_contiguous(memory_format=torch.channels_last)
    counts = {event.key: event.count for event in profile.key_averages()}
    assert counts["aten::mm"] == 3
    assert "aten::conv2d" not in counts


@pytest.mark.skipif(
    not torch.backends.mkldnn.is_available() or torch.backends.cpu.get_cpu_capability() != "AVX512",
    reason="PyTorch without oneDNN, or a processor without AVX-512",
)
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


def make(relu: bool = False, dtype: torch.dtype = torch.float32) -> tuple[nn.Conv2d, PointwiseConv2d]:
    torch.manual_seed(0)
    convolution = nn.Conv2d(24, 40, 1).to(dtype).requires_grad_(False)
    return convolution, PointwiseConv2d(copy.deepcopy(convolution), relu)


def image(*size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(size[0], 24, *size[1:], generator=generator)


@pytest.fixture(params=["oneDNN", "MKL"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let products run in a library, whichever is faster on this processor."""
    if request.param == "MKL" and not torch.backends.mkl.is_available():
        pytest.skip("PyTorch without MKL")
    monkeypatch.setattr(pointwise, "_is_mkl_faster", lambda: request.param == "MKL")
    return str(request.param)


def test_rows_of_another_number_are_laid_out_for(library: str) -> None:
    convolution, module = make(relu=True)
    for size in ((2, 7, 5), (1, 33, 31), (2, 7, 5), (1, 1, 1)):
        x = image(*size)
        torch.testing.assert_close(module(x), convolution(x).relu(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("capability", ["DEFAULT", "AVX2", "AVX512"])
def test_mkl_multiplies_without_avx512(monkeypatch: pytest.MonkeyPatch, capability: str) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    assert pointwise._is_mkl_faster.__wrapped__() == (capability == "AVX2")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert not pointwise._is_mkl_faster.__wrapped__()


@pytest.mark.usefixtures("library")
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
