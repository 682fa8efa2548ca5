"""Folding layers and networks for inference; tests/models/test_contract.py does so with every family."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

from axial_deeplab import AxialAttention, GlobalAttention2d, LocalAttention2d, create_model
from axial_deeplab.models.backbones.attention_resnet import SpatiallyAwareStem
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.blocks.convolutions import ConvNorm
from axial_deeplab.models.blocks.switchable_convolution import SwitchableConvNorm
from axial_deeplab.models.folding.fold import fuse
from axial_deeplab.models.folding.packed_axial_block import FusedAxialBlock
from axial_deeplab.models.norm import BatchNorm2d, LogitNorm
from axial_deeplab.panoptic.categories import Categories, Category
from axial_deeplab.weights.file import save_weights

SWITCHES: list[dict[str, Any]] = [
    {},
    {"qkv_norm": False},
    {"logit_norm": False},
    {"output_norm": False},
    {"rel_q": False},
    {"rel_k": False, "rel_v": False},
    {"key_channels": 24, "stride": 2},
]
LAYERS: list[tuple[Any, dict[str, Any]]] = [
    *((AxialAttention, switches) for switches in SWITCHES),
    (AxialAttention, {"axis": "width", "span": 5, "stride": 2}),
    *((AxialAttention, {"activation": "sigmoid", **switches}) for switches in SWITCHES[:5]),
    *((LocalAttention2d, {"kernel_size": 3, **switches}) for switches in SWITCHES),
    (GlobalAttention2d, {}),
    (GlobalAttention2d, {"qkv_norm": False, "logit_norm": False}),
    (GlobalAttention2d, {"output_norm": False, "key_channels": 24}),
]


def trained(module: nn.Module) -> nn.Module:
    """Give a float64 copy of a module whose norms are far from their initial state, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    module = copy.deepcopy(module).double().eval()
    for norm in module.modules():
        if isinstance(norm, BatchNorm2d | LogitNorm):
            norm.running_mean.normal_(generator=generator)
            norm.running_var.uniform_(0.5, 2.0, generator=generator)
            nn.init.uniform_(norm.weight, -1.5, 1.5, generator=generator)
            if norm.bias is not None:
                nn.init.normal_(norm.bias, generator=generator)
    return module


def image(channels: int) -> Tensor:
    return torch.randn(
        2, channels, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()


def assert_equal_when_fused(module: nn.Module, channels: int) -> None:
    x = image(channels)
    fused = fuse(module)
    assert not any(isinstance(norm, BatchNorm2d | LogitNorm) for norm in fused.modules())
    ours, theirs = fused(x), module(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("layer", "options"), LAYERS)
def test_attention(layer: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    assert_equal_when_fused(trained(layer(8, 16, num_heads=2, **options)), 8)


@pytest.mark.parametrize("options", [{}, {"activation": False}, {"stride": 2, "kernel_size": 3, "groups": 4}])
def test_convolution(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    assert_equal_when_fused(trained(ConvNorm(8, 16, **options)), 8)


def test_attention_stem() -> None:
    torch.manual_seed(0)
    assert_equal_when_fused(trained(SpatiallyAwareStem(3, 16, num_heads=2)), 3)


def test_norms_without_scale_and_bias() -> None:
    torch.manual_seed(0)
    module = ConvNorm(8, 16)
    norm = module.get_submodule("norm")
    assert isinstance(norm, BatchNorm2d)
    norm.affine, norm.weight, norm.bias = False, None, None  # type: ignore[assignment]
    norm.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
    assert_equal_when_fused(module.double().eval(), 8)


def nano() -> Any:
    torch.manual_seed(0)
    return create_model("axial_deeplab_nano", depths=(1, 1, 1, 1))


def test_fused_network_cannot_train() -> None:
    fused = nano().fuse()
    assert not fused.training
    assert not any(parameter.requires_grad for parameter in fused.parameters())
    assert fused.eval() is fused
    with pytest.raises(RuntimeError, match="mode must be False for a network without norms, got True"):
        fused.train()


def test_network_itself_still_trains() -> None:
    model = nano()
    model.fuse()
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.train() is model


def test_fused_network_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model must have its norms, got a folded copy"):
        save_weights(tmp_path / "weights.safetensors", nano().fuse(), Categories([Category(7, "sky", False)]))


def test_fusing_again_changes_nothing() -> None:
    fused = nano().eval().fuse()
    x = 255 * torch.rand(1, 3, 33, 47)
    for ours, theirs in zip(fused.fuse()(x).values(), fused(x).values(), strict=True):
        assert torch.equal(ours, theirs)


@torch.no_grad()
def test_activations_are_channels_last_from_the_first_convolution_on() -> None:
    fused = create_model("axial_resnet_s", depths=(1, 1, 1, 1), features_only=True).fuse()
    seen: list[Tensor] = []
    for module in fused.modules():
        if not list(module.children()) or isinstance(module, FusedAxialBlock):
            module.register_forward_hook(lambda module, inputs, output: seen.append(output))
    fused(torch.rand(1, 3, 64, 64))
    assert len(seen) == 7  # The stem's three layers and four blocks.
    assert all(y.is_contiguous(memory_format=torch.channels_last) for y in seen)


@torch.no_grad()
def test_fused_network_compiles_to_one_graph() -> None:
    torch._dynamo.reset()
    fused = nano().fuse()
    x = 255 * torch.rand(1, 3, 33, 47)
    compiled = torch.compile(fused, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), fused(x))


@torch.no_grad()
def test_fused_network_exports() -> None:
    fused = nano().fuse()
    x = 255 * torch.rand(1, 3, 33, 47)
    program = torch.export.export(fused, (x,))
    torch.testing.assert_close(program.module()(x), fused(x), rtol=1e-4, atol=1e-5)


class StandardizedConv2d(nn.Conv2d):
    """Weights are standardized in each call, so that scaling them changes nothing."""

    def forward(self, x: Tensor) -> Tensor:
        weight = (self.weight - self.weight.mean()) / self.weight.std()
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding)


class LowRank(nn.Module):
    """A convolution beside two small ones, as LoRA has them."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.base = convolution
        self.down = nn.Conv2d(convolution.in_channels, 2, 1, bias=False)
        self.up = nn.Conv2d(2, convolution.out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


def standardized(convolution: nn.Conv2d) -> nn.Module:
    made = StandardizedConv2d(convolution.in_channels, convolution.out_channels, 1, bias=False)
    made.load_state_dict(convolution.state_dict(), strict=False)
    return made


def pruned(convolution: nn.Module) -> nn.Module:
    return prune.l1_unstructured(convolution, "weight", 0.5)


def synchronized(norm: nn.Module) -> nn.Module:
    return nn.SyncBatchNorm.convert_sync_batchnorm(norm)


def grouped(norm: Any) -> nn.Module:
    return nn.GroupNorm(2, norm.num_features)


def of_each_batch(norm: Any) -> nn.Module:
    return nn.BatchNorm2d(norm.num_features, track_running_stats=False)


@torch.no_grad()
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (nn.Conv2d, standardized),
        (nn.Conv2d, LowRank),
        (nn.Conv2d, pruned),
        (nn.Conv2d, parametrizations.weight_norm),
        (nn.Conv2d, parametrizations.spectral_norm),
        (BatchNorm2d, synchronized),
        (BatchNorm2d, grouped),
        (BatchNorm2d, of_each_batch),
    ],
)
@pytest.mark.parametrize("impl", ["auto", "reference"])
def test_what_others_put_in_the_place_of_a_layer_counts(kind: Any, change: Any, impl: str) -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = [
        AxialAttention(8, 8, num_heads=2, impl=impl),
        LocalAttention2d(8, 8, num_heads=2, kernel_size=3, impl=impl),
        GlobalAttention2d(8, 8, num_heads=2, impl=impl),
        SpatiallyAwareStem(8, 8, num_heads=2),
        ConvNorm(8, 8),
        SwitchableConvNorm(8, 8, 1),
        AxialBlock(8, 4, 8, num_heads=2, impl=impl),
    ]
    model = trained(nn.Sequential(*layers)).float()
    for parameter in model.parameters():
        parameter.add_(0.01 * torch.randn_like(parameter))  # some are zero
    for parent in [module for module in model.modules() if not isinstance(module, LowRank)]:
        for name, child in list(parent.named_children()):
            if isinstance(child, kind) and name in ("conv", "qkv", "norm", "qkv_norm", "content_norm"):
                setattr(parent, name, change(child))
    model.eval()
    x = image(8).detach().float()
    expected = model(x)
    torch.testing.assert_close(fuse(model)(x), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_parametrized_tables_are_computed_once() -> None:
    class Double(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    layer = trained(AxialAttention(8, 8, num_heads=2))
    for name in ("rel_q", "rel_v"):
        parametrize.register_parametrization(layer, name, Double())
    fused = fuse(layer)
    torch.testing.assert_close(fused(image(8)), layer(image(8)), rtol=1e-12, atol=1e-12)
    assert type(fused.rel_q) is nn.Parameter


@torch.inference_mode()
@pytest.mark.parametrize("copied", [False, True], ids=["made", "copied"])
def test_weights_that_change_in_inference_mode_count(copied: bool) -> None:
    fused = nano().fuse()
    if copied:
        fused = copy.deepcopy(fused)
    x = 255 * torch.rand(1, 3, 33, 47)
    fused(x)
    for parameter in fused.parameters():
        parameter.mul_(1.1)
    fresh = nano().fuse()
    fresh.load_state_dict(fused.state_dict())
    for ours, theirs in zip(fused(x).values(), fresh(x).values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
