"""Counts of parameters, multiply-adds and activations, against arithmetic by hand and real runs."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from axial_deeplab import create_model
from axial_deeplab.accounting.counting import (
    MaddsCounter,
    MultiplyAdds,
    count_activations,
    count_parameters,
    count_parameters_by_the_rule,
    operation_cost,
)
from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.attention.global_ import GlobalAttention2d
from axial_deeplab.models.attention.window import LocalAttention2d
from axial_deeplab.models.backbones.attention_resnet import SpatiallyAwareStem
from axial_deeplab.models.norm import BatchNorm2d

SMALL: dict[str, Any] = {"width_multiplier": 0.25, "depths": (1, 1, 1, 1), "impl": "reference"}


def on_meta(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, **options)


def test_the_rule() -> None:
    assert MultiplyAdds(1000, 10, 7).by_the_rule == 1000 + 5 * 10 + 7
    assert MultiplyAdds(5, 3, 1) + MultiplyAdds(1, 1, 1) - MultiplyAdds(2, 0, 1) == MultiplyAdds(4, 4, 1)


def test_convolutions_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    counts = MaddsCounter(network).as_it_runs(9, 12)
    assert counts == MultiplyAdds(5 * 6 * (8 * 27 + 8 * 25) + 80, 0, 2 * 5 * 6 * 8)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        # 6 lines of 8 positions, 2 heads, 2 channels of queries and 4 of values.
        (AxialAttention(3, 8, num_heads=2), MultiplyAdds(6 * 8 * 8 * 2 * (3 * 2 + 2 * 4), 6 * 8 * 8 * 2)),
        (AxialAttention(3, 8, num_heads=2, span=3), MultiplyAdds(6 * 8 * 3 * 2 * 14, 6 * 8 * 3 * 2)),
        (AxialAttention(3, 8, num_heads=2, span=9), MultiplyAdds(6 * 8 * 8 * 2 * 14, 6 * 8 * 8 * 2)),
        (
            AxialAttention(3, 8, num_heads=2, axis="width", rel_k=False, rel_v=False),
            MultiplyAdds(8 * 6 * 6 * 2 * (2 * 2 + 4), 8 * 6 * 6 * 2),
        ),
        (
            LocalAttention2d(3, 8, num_heads=2, kernel_size=5),
            MultiplyAdds(48 * 25 * 2 * (3 * 4 + 2 * 4), 48 * 25 * 2),
        ),
        (
            LocalAttention2d(3, 8, num_heads=2, kernel_size=5, rel_k=False, rel_v=False),
            MultiplyAdds(48 * 25 * 2 * (2 * 4 + 4), 48 * 25 * 2),
        ),
        (GlobalAttention2d(3, 8, num_heads=2, key_channels=4), MultiplyAdds(48 * 48 * 2 * 6, 48 * 48 * 2)),
        (
            SpatiallyAwareStem(3, 8, num_heads=2, num_mixtures=3),
            MultiplyAdds(48 * 16 * 2 * (4 + 4) + 48 * 3 * 8, 48 * 16 * 2),
        ),
    ],
)
def test_operations_by_hand(layer: Any, expected: MultiplyAdds) -> None:
    assert operation_cost(layer, 8, 6) == expected
    counts = MaddsCounter(nn.Sequential(layer)).as_it_runs(8, 6)
    projected = 8 * 6 * layer.qkv.out_channels
    assert counts == expected + MultiplyAdds(3 * projected, 0, projected)


@pytest.mark.parametrize("name", ["axial_resnet_s", "full_axial_resnet_s", "axial_deeplab_s"])
def test_whole_spans_cost_what_the_reference_multiplies(name: str) -> None:
    options = dict(SMALL) if "full" not in name else {**SMALL, "stem_span": None, "stem_multiplier": 0.5}
    model = on_meta(name, **options).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        model(torch.empty(1, 3, 65, 97, device="meta"))
    assert MaddsCounter(model).as_it_runs(65, 97).products == flops.get_total_flops() // 2


def test_images_are_padded_as_the_network_pads_them() -> None:
    counter = MaddsCounter(on_meta("panoptic_deeplab_resnet50", width_multiplier=0.125, depths=(1, 1, 1, 1)))
    assert counter.as_it_runs(50, 97) == counter.as_it_runs(65, 97) != counter.as_it_runs(66, 97)
    assert counter.as_published(50, 97) == counter.as_published(65, 97) != counter.as_published(66, 97)


def test_the_conventions_of_the_paper() -> None:
    """The arithmetic of docs/tables.md, for ResNet-50 on Cityscapes."""
    counter = MaddsCounter(on_meta("panoptic_deeplab_resnet50", aspp=False))
    ours = counter.as_published(1025, 2049)
    assert round(ours.products / 1e9, 2) == 374.61
    late_projection = (2048 * 256 + 2048 * 128) * (128 * 256 - 64 * 128)
    assert round((ours.products - late_projection) / 1e9, 2) == 355.29
    with_aspp = MaddsCounter(on_meta("panoptic_deeplab_resnet50")).as_published(1025, 2049)
    assert round(with_aspp.products / 1e9, 2) == 389.11


def test_networks_without_decoders_are_published_as_they_run() -> None:
    counter = MaddsCounter(on_meta("axial_resnet_s", **SMALL))
    assert counter.as_published(33, 47) == counter.as_it_runs(33, 47)


def test_counting_leaves_the_network_alone() -> None:
    torch.manual_seed(0)
    model = create_model("axial_deeplab_s", **SMALL).train()
    state = copy.deepcopy(model.state_dict())
    modules = [type(module) for module in model.modules()]
    MaddsCounter(model).as_published(33, 33)
    count_activations(model, 33, 33)
    assert model.training
    assert [type(module) for module in model.modules()] == modules
    assert all(parameter.device.type == "cpu" for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])


def test_parameters_by_hand() -> None:
    layer = AxialAttention(6, 16, num_heads=2, max_span=10)  # tables of 19 rows and 4, 4 and 8 columns
    norms = 2 * 32 + 3 * 2 + 2 * 16 + 2 * 16
    assert count_parameters(layer) == 6 * 32 + 19 * 16 + norms
    assert count_parameters_by_the_rule(layer) == 6 * 32 + 509 * 16
    square = LocalAttention2d(6, 16, num_heads=2, kernel_size=5)
    assert count_parameters_by_the_rule(square) == 6 * 48 + 3 * 5 * 16
    bare = AxialAttention(6, 16, num_heads=2, rel_q=False, rel_k=False, rel_v=False)
    assert count_parameters_by_the_rule(bare) == 6 * 32


def kept_by_a_real_run(model: nn.Module, height: int, width: int) -> int:
    """Return the bytes of all storages that a forward pass on the CPU saves, parameters and buffers apart."""
    own = {x.untyped_storage().data_ptr() for x in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(x: Tensor) -> Tensor:
        if x.untyped_storage().data_ptr() not in own:
            kept[x.untyped_storage().data_ptr()] = x
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        y = model(255 * torch.rand(1, 3, height, width))
    del y
    return sum(x.untyped_storage().nbytes() for x in kept.values())


@pytest.mark.parametrize("name", ["axial_deeplab_s", "axial_resnet_s", "resnet50"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_activations_are_those_of_a_real_run(name: str, checkpoint: bool) -> None:
    options = {key: value for key, value in SMALL.items() if name != "resnet50" or key != "impl"}
    model = create_model(name, checkpoint=checkpoint, **options).train()
    counted = count_activations(model, 65, 97)
    # The meta device's pooling keeps a copy of the input of each strided block.
    assert counted.reference == pytest.approx(kept_by_a_real_run(model, 65, 97), rel=0.03)
    if name == "resnet50" or checkpoint:
        assert counted.recomputing == counted.reference
    else:
        assert counted.recomputing < counted.reference


def test_recomputed_attention_keeps_inputs_and_outputs() -> None:
    layer = AxialAttention(4, 16, num_heads=2)
    counted = count_activations(nn.Sequential(layer), 16, 24)
    image, qkv, outputs = (4 * 16 * 24 * channels for channels in (4, 32, 32))
    # The input and output of the projection's norm, the inputs of the two output norms, and small statistics.
    assert counted.recomputing == pytest.approx(image + 2 * qkv + outputs, rel=0.01)
    assert counted.reference > counted.recomputing + 4 * 24 * 2 * 16 * 16
