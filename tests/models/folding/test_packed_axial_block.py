"""Folded axial blocks on copies of their weights: where they run, and that they compute the block."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from axial_deeplab.models import pointwise
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.folding.fold import fuse
from axial_deeplab.models.folding.packed_axial_block import FusedAxialBlock
from axial_deeplab.models.norm import BatchNorm2d, LogitNorm

PACKED: list[dict[str, Any]] = [
    {},
    {"stride": 2, "out_channels": 64},
    {"stride": 2},
    {"span": 5, "final_relu": False},
    {"stride": 2, "span": 7, "out_channels": 96},
    {"num_heads": 16},
    {"key_channels": 24, "max_span": 4},
    {"rel_q": False},
    {"rel_k": False, "rel_v": False},
    {"logit_norm": False, "qkv_norm": False, "output_norm": False},
    {"stride_mode": "average_pool"},
]
NOT_PACKED: list[dict[str, Any]] = [
    {"num_heads": 4},
    {"activation": "sigmoid"},
    {"squeeze_excite": True},
    {"stride": 2, "stride_mode": "average_pool"},
    {"impl": "reference"},
]


def make(**options: Any) -> tuple[AxialBlock, FusedAxialBlock]:
    """Return a block with norms far from their initial state, in evaluation, and its folded copy."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    block = AxialBlock(32, 32, **{"out_channels": 32, **options}).eval()
    for norm in block.modules():
        if isinstance(norm, BatchNorm2d | LogitNorm):
            norm.running_mean.normal_(std=0.3, generator=generator)
            norm.running_var.uniform_(0.5, 2.0, generator=generator)
            nn.init.uniform_(norm.weight, 0.2, 1.0, generator=generator)
    folded = fuse(block)
    assert isinstance(folded, FusedAxialBlock)
    return block, folded


def image(*size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(1))


def assert_like_the_network(y: Tensor, expected: Tensor) -> None:
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert (y - expected).abs().max() < 1e-5 * expected.std()


@torch.no_grad()
@pytest.mark.parametrize("options", PACKED + NOT_PACKED)
def test_equals_the_block(options: dict[str, Any]) -> None:
    block, folded = make(**options)
    wide = copy.deepcopy(block).double()
    for size in ((2, 32, 9, 14), (1, 32, 12, 7)):
        x = image(*size)
        expected = wide(x.double())
        assert_like_the_network(folded(x).double(), expected)
        assert_like_the_network(folded(x.contiguous(memory_format=torch.channels_last)).double(), expected)
    can_run = options in PACKED and pointwise._has_packed_products()
    assert (folded._packed is not None) == can_run


@torch.no_grad()
def test_input_is_left_alone() -> None:
    _, folded = make()
    x = image(1, 32, 9, 7).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    folded(x)
    assert torch.equal(x, before)


@torch.no_grad()
def test_weights_that_change_are_packed_anew() -> None:
    _, folded = make()
    _, other = make(norm_eps=0.5)
    x = image(1, 32, 9, 7)
    ours, theirs = folded(x), other(x)
    assert not torch.allclose(ours, theirs)
    for twin in (copy.deepcopy(folded), pickle.loads(pickle.dumps(folded))):
        assert torch.equal(twin(x), ours)
    folded.block.load_state_dict(other.block.state_dict())
    assert torch.equal(folded(x), theirs)
    torch.testing.assert_close(folded.double()(x.double()).float(), theirs, rtol=1e-4, atol=1e-4)
    assert torch.equal(folded.float()(x), theirs)
    folded.get_parameter("block.up.bias").add_(100.0)
    assert folded(x).min() > 50


def test_weights_of_a_functional_call_are_those_that_count() -> None:
    block = AxialBlock(16, 16, 16, num_heads=8).eval()
    nn.init.ones_(block.get_parameter("up.norm.weight"))
    folded = block.fused()
    x = torch.randn(1, 16, 8, 8)
    with torch.no_grad():
        before = folded(x)
        state = {key: 1.5 * value for key, value in folded.state_dict().items()}
        y = torch.func.functional_call(folded, state, (x,))
        torch.testing.assert_close(folded(x), before, rtol=0, atol=0)
        other = copy.deepcopy(folded)
        other.load_state_dict(state)
        torch.testing.assert_close(y, other(x))
    leaves = {key: value.requires_grad_() for key, value in state.items()}
    assert torch.func.functional_call(folded, leaves, (x,)).requires_grad


def test_gradients_autocast_and_other_types_take_the_block() -> None:
    block, folded = make()
    x = image(1, 32, 9, 7).requires_grad_()
    gradients = [torch.autograd.grad(network(x).square().sum(), x)[0] for network in (folded, block)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        assert folded(x.detach()).dtype == torch.bfloat16 or folded._packed is None
    assert folded._packed is None
    assert folded.to(torch.bfloat16)(x.detach().bfloat16()).dtype == torch.bfloat16
    assert folded._packed is None


@torch.no_grad()
def test_empty_batch_and_fake_tensors() -> None:
    _, folded = make(stride=2)
    assert folded(image(0, 32, 9, 7)).shape == (0, 32, 5, 4)
    folded(image(1, 32, 9, 7))
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert folded(mode.from_tensor(image(1, 32, 9, 7))).shape == (1, 32, 5, 4)


@torch.inference_mode()
def test_network_made_in_inference_mode() -> None:
    block, folded = make()
    x = image(1, 32, 9, 7)
    assert_like_the_network(folded(x), block(x))


@torch.no_grad()
def test_without_the_packed_products_it_is_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pointwise, "_has_packed_products", lambda: False)
    block, folded = make()
    x = image(1, 32, 9, 7)
    assert_like_the_network(folded(x), block(x))
    assert folded._packed is None


@torch.no_grad()
def test_compiles_without_breaks() -> None:
    torch._dynamo.reset()
    _, folded = make(stride=2)
    x = image(1, 32, 9, 7)
    expected = folded(x)
    torch.testing.assert_close(torch.compile(folded, backend="eager", fullgraph=True)(x), expected)


def test_folding_again_changes_nothing() -> None:
    _, folded = make()
    again = fuse(folded)
    assert [name for name, _ in again.named_parameters()] == [name for name, _ in folded.named_parameters()]
