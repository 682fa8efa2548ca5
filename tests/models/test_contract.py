"""What every network of the registry promises, whatever its family.

Widths and depths are reduced, so that the networks keep their structure and a run takes milliseconds; names
that differ in width or depth alone then build the same network, which is checked once. As they are published,
all networks run in tests/test_tables. The attention is the reference, which has nothing to compile; the
others are compared with it in tests/ops.
"""

import copy
import functools
import io
import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from abridged_networks import Case, abridged, cases_to_trace
from axial_deeplab import AxialAttention, AxialBlock, GlobalAttention2d, LocalAttention2d, create_model
from axial_deeplab.models.backbones.attention_resnet import AttentionResNet
from axial_deeplab.models.backbones.base import FEATURE_NAMES
from axial_deeplab.models.backbones.xception import Xception71
from axial_deeplab.models.norm import BatchNorm2d, LogitNorm
from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.models.registry import ENTRIES, SegmentationEntry

NUM_CLASSES = 5
# The least widths that leave every head of the attention a channel for each part of its tables.
WIDTHS = {AttentionResNet: 0.25, Xception71: 0.0625}


def reduction(name: str) -> dict[str, Any]:
    """Return the overrides that make a network small."""
    entry = ENTRIES[name]
    backbone = getattr(entry, "backbone", entry)
    overrides: dict[str, Any] = {"width_multiplier": WIDTHS.get(backbone.network, 0.125)}
    if "depths" in entry.options:
        overrides["depths"] = (1, 1, 1, 2)
    if backbone.arguments.get("stem") == "axial" or backbone.network is AttentionResNet:
        overrides["stem_multiplier"] = 0.25
    if "impl" in backbone.options:
        overrides["impl"] = "reference"
    if isinstance(entry, SegmentationEntry):
        overrides |= {"semantic_channels": 32, "instance_channels": 16, "instance_head_channels": 8}
    return overrides


def families() -> list[str]:
    """Return one name of each reduced network: the others have the same arguments."""
    names: dict[str, str] = {}
    for name, entry in ENTRIES.items():
        backbone = getattr(entry, "backbone", entry)
        arguments = {**backbone.arguments, **entry.arguments, **reduction(name)}
        names.setdefault(repr((type(entry), backbone.network, sorted(arguments.items(), key=str))), name)
    return list(names.values())


FAMILIES = families()
# One of the panoptic networks around the same backbones is enough for the costly tests.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in FAMILIES if not name.startswith("panoptic_deeplab_")),
    ("panoptic_deeplab_resnet50", {}),
    ("axial_deeplab_s", {"decoder": "axial"}),
    ("axial_deeplab_s", {"span": 5}),
]


def build(name: str, **overrides: Any) -> nn.Module:
    torch.manual_seed(0)
    arguments = {"num_classes": NUM_CLASSES, **reduction(name), **overrides}
    model = create_model(name, **arguments)
    for module in model.modules():
        # Residual branches may start at zero, which would hide what is in them.
        if isinstance(module, BatchNorm2d | LogitNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model


def images(model: nn.Module, height: int, width: int, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(height * 1000 + width)
    x = torch.rand(batch, 3, height, width, generator=generator)
    return 255 * x if isinstance(model, PanopticDeepLab) else 4 * x - 2


def outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    y = model(x)
    return list(y.values()) if isinstance(y, dict) else [y]


def loss(y: list[Tensor]) -> Tensor:
    """Return a sum with fixed random weights: batch norm would make a plain sum or its square constant."""
    generator = torch.Generator().manual_seed(7)
    return torch.stack([(x * torch.randn(x.shape, generator=generator)).sum() for x in y]).sum()


def assert_equal(ours: list[Tensor], theirs: list[Tensor], tolerance: float = 1e-5) -> None:
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance * float(y.detach().abs().max()))


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_any_size(name: str) -> None:
    model = build(name).eval()
    for height, width in ((33, 47), (32, 64), (50, 21)):
        y = outputs(model, images(model, height, width))
        shapes = [tuple(x.shape) for x in y]
        if isinstance(model, PanopticDeepLab):
            assert shapes == [(1, channels, height, width) for channels in (NUM_CLASSES, 1, 2)]
        else:
            assert shapes == [(1, NUM_CLASSES)]
        assert all(x.isfinite().all() for x in y)


@pytest.mark.parametrize("name", ["axial_deeplab_xl", "full_axial_resnet_xl", "panoptic_deeplab_xception71"])
def test_full_size_on_the_meta_device(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name).eval()
        y = outputs(model, torch.empty(1, 3, 65, 97))
    segmentation = isinstance(model, PanopticDeepLab)
    assert tuple(y[0].shape) == ((1, 133, 65, 97) if segmentation else (1, 1000))


@pytest.mark.parametrize("name", [name for name in FAMILIES if "deeplab" not in name])
@torch.no_grad()
def test_feature_maps(name: str) -> None:
    for output_stride in (32, 16, 8):
        backbone = build(name, features_only=True, output_stride=output_stride).eval()
        features = backbone(torch.randn(1, 3, 50, 33))
        assert list(features) == list(FEATURE_NAMES)
        strides = {name: min(4 * 2**i, output_stride) for i, name in enumerate(FEATURE_NAMES)}
        assert backbone.feature_strides == strides
        assert {name: tuple(x.shape) for name, x in features.items()} == {
            name: (1, backbone.feature_channels[name], math.ceil(50 / stride), math.ceil(33 / stride))
            for name, stride in strides.items()
        }


@pytest.mark.parametrize("name", [name for name in FAMILIES if "deeplab" not in name])
@torch.no_grad()
def test_maps_are_described(name: str) -> None:
    backbone = build(name, features_only=True).eval()
    features = backbone(torch.randn(1, 3, 64, 64))
    assert backbone.channels == [x.shape[1] for x in features.values()]
    assert backbone.feature_info == [
        {"module": key, "num_chs": x.shape[1], "reduction": 64 // x.shape[2]} for key, x in features.items()
    ]


@pytest.mark.parametrize("name", ["axial_resnet_s", "resnet50", "xception71", "axial_deeplab_nano"])
@pytest.mark.parametrize("shape", [(3, 33, 33), (33, 33), (1, 4, 33, 33)])
def test_refuses_other_dimensions(name: str, shape: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = create_model(name)
        with pytest.raises(ValueError, match=r"images must be \(B, 3, H, W\), got .*; add the batch"):
            model(torch.empty(shape))


@pytest.mark.parametrize("layer", [AxialAttention, AxialBlock, LocalAttention2d, GlobalAttention2d])
def test_layers_refuse_other_dimensions(layer: Any) -> None:
    module = AxialBlock(16, 16, 16) if layer is AxialBlock else layer(16, 16)
    with pytest.raises(ValueError, match=r"x must be \(B, 16, H, W\), got \(16, 5, 5\); add the batch"):
        module(torch.zeros(16, 5, 5))


@pytest.mark.parametrize(
    "kind", [AxialAttention, AxialBlock, LocalAttention2d, GlobalAttention2d, "resnet50"]
)
def test_refuses_numbers_of_another_type_than_the_weights(kind: Any) -> None:
    name, channels = ("images", 3) if kind == "resnet50" else ("x", 16)
    if kind == "resnet50":
        module = create_model(kind, features_only=True)
    else:
        module = AxialBlock(16, 16, 16) if kind is AxialBlock else kind(16, 16)
    module.eval()
    x = torch.zeros(1, channels, 33, 33)
    for other in (x.double(), x.int(), x.half()):
        with pytest.raises(
            ValueError, match=rf"{name} must have the type of .* torch.float32, got {other.dtype};"
        ):
            module(other)
    with torch.autocast("cpu", torch.bfloat16):
        module(x.half())
        with pytest.raises(
            ValueError, match=f"{name} must have the type of .* got torch.float64; convert {name}"
        ):
            module(x.double())
    module.double()(x.double())


@pytest.mark.parametrize("name", ["axial_deeplab_nano", "full_axial_resnet_s", "resnet50", "xception71"])
@torch.no_grad()
def test_other_numbers_of_channels(name: str) -> None:
    model = build(name, in_channels=1).eval()
    x = images(model, 33, 47)[:, :1]
    assert all(y.isfinite().all() for y in outputs(model, x))


@pytest.mark.parametrize(("name", "overrides"), VARIANTS)
def test_backward_reaches_every_parameter(name: str, overrides: dict[str, Any]) -> None:
    model = build(name, **overrides).train()
    # Attention along a single position would pass nothing on to queries and keys.
    loss(outputs(model, images(model, 33, 47, batch=2))).backward()
    unreached = [
        name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)
    ]
    assert unreached == []


@pytest.mark.parametrize(("name", "overrides"), VARIANTS)
@torch.no_grad()
def test_save_and_load(name: str, overrides: dict[str, Any]) -> None:
    model = build(name, **overrides).train()
    x = images(model, 17, 33, batch=2)
    model(x)  # moves the running statistics
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    twin = create_model(**json.loads(json.dumps(model.config)))
    twin.load_state_dict(torch.load(file, weights_only=True))
    assert twin.config == model.config
    for ours, theirs in zip(outputs(twin.eval(), x), outputs(model.eval(), x), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("name", "overrides"), VARIANTS)
@torch.no_grad()
def test_an_image_alone_gives_what_it_gives_in_a_batch(name: str, overrides: dict[str, Any]) -> None:
    model = build(name, **overrides).train()
    x = images(model, 17, 33, batch=3)
    model(x)
    model.eval()
    assert_equal(outputs(model, x[1:2]), [y[1:2] for y in outputs(model, x)])


@pytest.mark.parametrize(("name", "overrides"), VARIANTS)
def test_checkpointing_changes_nothing(name: str, overrides: dict[str, Any]) -> None:
    plain = build(name, **overrides).train()
    checkpointed = build(name, checkpoint=True, **overrides).train()
    checkpointed.load_state_dict(copy.deepcopy(plain.state_dict()))
    x = images(plain, 17, 33, batch=2)
    saved: dict[str, list[int]] = {"plain": [], "checkpointed": []}
    results = []
    for key, model in (("plain", plain), ("checkpointed", checkpointed)):

        def count(t: Tensor, key: str = key) -> Tensor:
            saved[key].append(t.numel())
            return t

        with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
            y = outputs(model, x)
        stored = sum(saved[key])
        loss(y).backward()
        results.append((stored, y, [p.grad for p in model.parameters()], list(model.buffers())))
    (plain_size, *plain_values), (small_size, *small_values) = results
    assert small_size < plain_size
    for ours, theirs in zip(small_values, plain_values, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=0)


def is_panoptic(name: str) -> bool:
    return isinstance(ENTRIES[name], SegmentationEntry)


def shallow(name: str, **overrides: Any) -> tuple[str, dict[str, Any]]:
    """Return the variant of a network with few blocks and squares of few positions."""
    entry = ENTRIES[name]
    if "depths" in entry.options:
        overrides["depths"] = (1, 1, 1, 1)
    if getattr(entry, "backbone", entry).network is AttentionResNet:
        overrides["span"] = 3
    return name, overrides


# What `cases` finds: to build all networks would double the time in which tests are collected.
TRACED = (
    "axial_resnet_s",
    "full_axial_resnet_s",
    "ps_attention_resnet50_x0_5",
    "resnet50",
    "xception71",
    "sasa_resnet50",
    "full_sasa_resnet50",
    "axial_resnet_nano",
    "max_deeplab_s_backbone",
    "max_deeplab_l_backbone",
    "swidernet_sac_1_1_1",
    "axial_deeplab_s",
    "panoptic_deeplab_resnet50",
    "panoptic_deeplab_xception71",
    "panoptic_deeplab_wide_resnet41",
    "axial_deeplab_s_with_axial_decoder",
)


@functools.cache
def cases() -> dict[str, Case]:
    """Return what is to be traced of each name: what its network lacks is traced in an earlier one."""
    variants = [shallow(name) for name in sorted(FAMILIES, key=is_panoptic)]
    found = cases_to_trace(build, [*variants, shallow("axial_deeplab_s", decoder="axial")])
    endings = ("_with_axial_decoder" if "decoder" in case.overrides else "" for case in found)
    return {case.name + ending: case for case, ending in zip(found, endings, strict=True)}


def test_all_that_networks_have_is_traced() -> None:
    assert tuple(cases()) == TRACED


def traced(name: str, **overrides: Any) -> nn.Module:
    """Build the network of a case."""
    case = cases()[name]
    return abridged(build(case.name, **case.overrides, **overrides), case.known)


@pytest.mark.parametrize("name", TRACED)
def test_compiles_as_one_graph(name: str) -> None:
    torch._dynamo.reset()
    model = traced(name).train()
    x = images(model, 33, 47, batch=2)
    twin = copy.deepcopy(model)
    compiled = torch.compile(twin, backend="eager", fullgraph=True)
    ours, theirs = outputs(compiled, x), outputs(model, x)
    assert_equal(ours, theirs)
    loss(ours).backward()
    loss(theirs).backward()
    greatest = max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None)
    for (parameter_name, a), b in zip(twin.named_parameters(), model.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert (a.grad - b.grad).abs().max() < 1e-5 * greatest, parameter_name


@pytest.mark.parametrize("name", TRACED)
@torch.no_grad()
def test_exports_for_any_batch_and_size(name: str) -> None:
    by_itself = {"impl": "auto"} if "impl" in ENTRIES[cases()[name].name].options else {}
    model = traced(name, **by_itself).eval()
    sizes = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    # With symbolic sizes the cache costs more than it saves.
    with torch._dynamo.config.patch(fake_tensor_cache_enabled=False):
        program = torch.export.export(model, (images(model, 39, 58, batch=2),), dynamic_shapes=(sizes,))
    exported = program.module()
    # With and without padding, but with more than one row in each map: fewer would be another program.
    for batch, height, width in ((1, 34, 129), (3, 65, 49)):
        x = images(model, height, width, batch)
        assert_equal(outputs(exported, x), outputs(model, x))


def randomize_norms(model: nn.Module) -> None:
    """Give all norms statistics, scales and biases as far from their initial ones as in a trained network."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, BatchNorm2d | LogitNorm):
            module.running_mean.normal_(0.0, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0.0, 0.5, generator=generator)


@pytest.mark.parametrize(("name", "overrides"), VARIANTS)
@torch.no_grad()
def test_fused_network_is_equal(name: str, overrides: dict[str, Any]) -> None:
    model = build(name, **overrides).eval()
    before = copy.deepcopy(model.state_dict())
    fused = model.fuse()
    assert not any(isinstance(module, BatchNorm2d | LogitNorm) for module in fused.modules())
    x = images(model, 33, 47, batch=2)
    in_float32 = outputs(model, x), outputs(fused, x)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    model.double()
    for plain, ours, theirs in zip(*in_float32, outputs(model, x.double()), strict=True):
        # Rounding alone moves some of these random networks by more than 1e-5. By how much is left to chance:
        # it depends on the order of sums, hence on the number of threads.
        unavoidable = (plain - theirs).square().mean().sqrt()
        assert (ours - theirs).square().mean().sqrt() < max(1e-5 * theirs.std(), 4 * unavoidable)
    randomize_norms(model)
    for ours, theirs in zip(outputs(model.fuse(), x.double()), outputs(model, x.double()), strict=True):
        assert (ours - theirs).abs().max() < 1e-12 * theirs.std()


class Doubling(nn.Module):
    """A layer that others have put around another one."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Any:
        y = self.layer(x)
        return {name: 2 * each for name, each in y.items()} if isinstance(y, dict) else 2 * y


@pytest.mark.parametrize("name", ["axial_deeplab_nano", "resnet50"])
@pytest.mark.parametrize("train", [True, False])
def test_stages_and_backbones_are_called_where_something_is_to_happen(name: str, train: bool) -> None:
    options: dict[str, Any] = {} if name == "axial_deeplab_nano" else {"features_only": True}
    model = create_model(name, **options).train(train)
    images = torch.rand(2, 3, 65, 65)
    called: list[str] = []
    for part, module in model.named_modules():
        module.register_forward_hook(lambda *_, part=part: called.append(part))
    model(images)
    assert sorted(called) == sorted(part for part, _ in model.named_modules())


def test_backward_hooks_of_a_stage_are_called() -> None:
    model = create_model("axial_deeplab_nano").backbone.train()
    called: list[str] = []
    model.res3.register_full_backward_hook(lambda *_: called.append("after"))
    model.res4.register_full_backward_pre_hook(lambda *_: called.append("before"))
    model.forward_features(torch.rand(2, 3, 65, 65))["res5"].sum().backward()
    assert called == ["before", "after"]


def test_modules_around_stages_and_backbones_take_part() -> None:
    images = torch.rand(1, 3, 65, 65)
    for part in ("res5", "backbone"):
        model = create_model("axial_deeplab_nano").eval()
        with torch.no_grad():
            before = model.encode(images)["res5"]
            home = model.backbone if part == "res5" else model
            setattr(home, part, Doubling(home.get_submodule(part)))
            torch.testing.assert_close(model.encode(images)["res5"], 2 * before)
