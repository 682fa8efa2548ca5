"""The backbones of MaX-DeepLab and SWideRNet against deeplab2."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from axial_deeplab import create_model
from axial_deeplab.models.backbones.hybrid_resnet import HybridResNet
from axial_deeplab.models.backbones.resnet import BasicBlock, Bottleneck
from axial_deeplab.models.blocks.axial_block import AxialBlock
from axial_deeplab.models.blocks.switchable_convolution import SwitchableConvNorm
from axial_deeplab.models.folding.fold import fuse
from axial_deeplab.models.norm import BatchNorm2d, LogitNorm
from axial_deeplab.models.options import Norm
from reference_networks import (
    DEEPLAB2_MOMENTUM,
    assert_near,
    assert_statistics,
    channels_first,
    counts_of_two,
    deeplab2_state,
    load_deeplab2,
    read_golden,
    unbiased,
)
from reference_weights import select

Golden = Callable[[str], Path]

BACKBONES: dict[str, tuple[str, dict[str, Any]]] = {
    "max_deeplab_s_backbone": ("max_deeplab_s_backbone", {}),
    "max_deeplab_l_backbone": ("max_deeplab_l_backbone", {"depths": (1, 1, 2, 1)}),
    "axial_swidernet": ("axial_swidernet_1_1_1", {}),
    "wide_resnet41": ("wide_resnet41", {}),
    # Made by deeplab2 for this test: switchable convolutions also in res4, squeeze-and-excite everywhere.
    "swidernet_sac_se": (
        "swidernet_sac_1_1_1",
        {
            "depths": (1, 1, 1, 2),
            "width_multiplier": 0.03125,
            "stem_multiplier": 0.125,
            "switchable_from_stride": 16,
            "squeeze_excite": True,
        },
    ),
}

# Parameters with and without those of the norms, as deeplab2's networks have them.
PARAMETERS = {
    "max_deeplab_s_backbone": (41_343_424, 41_199_040),
    "max_deeplab_l_backbone": (175_115_392, 174_869_184),
    "wide_resnet41": (109_014_080, 108_955_328),
    "axial_swidernet_1_1_1": (136_399_392, 136_206_016),
    "axial_swidernet_1_1_3": (393_935_520, 393_341_632),
    "axial_swidernet_1_1_4_5": (570_346_912, 569_483_968),
    "swidernet_sac_1_1_1": (112_952_387, 112_893_635),
    "panoptic_deeplab_max_deeplab_s_backbone": (42_788_486, 42_637_510),
    "panoptic_deeplab_max_deeplab_l_backbone": (176_560_454, 176_307_654),
    "panoptic_deeplab_wide_resnet41": (140_479_750, 140_409_286),
    "panoptic_deeplab_axial_swidernet_1_1_1": (137_844_454, 137_644_486),
    "panoptic_deeplab_axial_swidernet_1_1_3": (395_380_582, 394_780_102),
    "panoptic_deeplab_axial_swidernet_1_1_4_5": (571_791_974, 570_922_438),
}


def backbone(name: str, **overrides: Any) -> HybridResNet:
    options = {"width_multiplier": 0.125, "stem_multiplier": 0.25, "impl": "reference", **overrides}
    network = create_model(name, features_only=True, **options)
    assert isinstance(network, HybridResNet)
    return network


@pytest.mark.parametrize("file", BACKBONES)
@torch.no_grad()
def test_matches_deeplab2(golden: Golden, file: str) -> None:
    _, arrays = read_golden(golden(f"backbone_{file}_os16.npz"))
    registered, overrides = BACKBONES[file]
    network = backbone(registered, **overrides).eval()
    load_deeplab2(network, arrays)
    images = channels_first(arrays["input"])
    for name, feature in network(images).items():
        theirs = "backbone_output" if name == "decoded" else name
        assert_near(feature, channels_first(arrays[f"output/{theirs}"]))
    if "output/res1" in arrays:
        assert_near(network.stem(images), channels_first(arrays["output/res1"]))


@torch.no_grad()
def test_training_matches_deeplab2(golden: Golden) -> None:
    _, arrays = read_golden(golden("backbone_max_deeplab_s_backbone_os16.npz"))
    network = backbone("max_deeplab_s_backbone")
    load_deeplab2(network, arrays)
    before = deeplab2_state(network, select(arrays, "weights/"))
    features = network.train()(channels_first(arrays["input"]))
    assert_near(features["res5"], channels_first(arrays["train/output/res5"]))
    counts = counts_of_two("height_attention.", "width_attention.", features["res5"], 1)
    after = unbiased(before, deeplab2_state(network, select(arrays, "train/updated/")), counts)
    stage = network.get_submodule("res5")
    assert_statistics(stage, select(before, "res5."), select(after, "res5."), DEEPLAB2_MOMENTUM)


@pytest.mark.parametrize("name", ["conv_sac_se_s2", "axial_se"])
@torch.no_grad()
def test_squeeze_excite_and_switchable_blocks_match_deeplab2(golden: Golden, name: str) -> None:
    config, arrays = read_golden(golden(f"axial_block_{name}.npz"))
    options: dict[str, Any] = {
        "stride": config["strides"],
        "squeeze_excite": True,
        "final_relu": False,
        "norm": Norm(config["bn_epsilon"]),
    }
    width, _, out_channels = config["filters_list"]
    block: nn.Module
    if name == "axial_se":
        options |= {"num_heads": 4, "impl": "reference"}
        block = AxialBlock(config["in_channels"], width, out_channels, **options)
    else:
        block = Bottleneck(config["in_channels"], width, switchable=True, **options)
    load_deeplab2(block.eval(), arrays, "")
    x = F.relu(channels_first(arrays["input"]))
    assert_near(block(x), channels_first(arrays["output"]))
    assert_near(fuse(block)(x), channels_first(arrays["output"]))


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_deeplab2(name: str) -> None:
    options: dict[str, Any] = {"num_classes": 19} if name.startswith("panoptic") else {"features_only": True}
    if name == "panoptic_deeplab_max_deeplab_l_backbone":
        options["stacked_decoder"] = True
    with torch.device("meta"):
        network = create_model(name, **options)
    of_norms = biases_of_logits = 0
    for module in network.modules():
        if isinstance(module, BatchNorm2d | LogitNorm):
            of_norms += sum(parameter.numel() for parameter in module.parameters())
        if isinstance(module, LogitNorm):
            biases_of_logits += module.weight.numel()  # which a softmax does not feel, so that we have none
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert (parameters + biases_of_logits, parameters - of_norms) == PARAMETERS[name]


def test_which_blocks_are_axial_and_which_switchable() -> None:
    network = backbone("axial_swidernet_1_1_1", depths=(1, 1, 2, 1), switchable_from_stride=32)
    kinds = {
        name: [type(block) for block in network.get_submodule(name)] for name in ("stem", "res4", "res5")
    }
    assert kinds["stem"][1:] == [BasicBlock] * 3
    # A block's own stride does not count: the first one of res4 sees stride 8.
    assert kinds["res4"] == [BasicBlock, AxialBlock]
    assert kinds["res5"] == [AxialBlock]
    network = backbone("swidernet_sac_1_1_1", depths=(1, 1, 1, 1))
    switchable = [name for name, module in network.named_modules() if isinstance(module, SwitchableConvNorm)]
    assert switchable == ["res5.0.conv2"]


def test_atrous_rates_where_strides_are_removed() -> None:
    network = backbone("wide_resnet41", depths=(1, 1, 2, 2), output_stride=8)
    rates = {
        name: module.dilation[0]
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.dilation != (1, 1)
    }
    assert rates == {
        "res4.0.conv2.conv": 2,
        "res4.1.conv1.conv": 2,
        "res4.1.conv2.conv": 2,
        "res5.0.conv2.conv": 2,
        "res5.1.conv2.conv": 4,
    }


@pytest.mark.parametrize("name", ["max_deeplab_l_backbone", "max_deeplab_s_backbone"])
@torch.no_grad()
def test_blocks_start_as_their_shortcuts(name: str) -> None:
    network = backbone(name, depths=(1, 1, 2, 1))
    for module in network.modules():
        if isinstance(module, AxialBlock | Bottleneck | BasicBlock):
            last = {AxialBlock: "up", Bottleneck: "conv3", BasicBlock: "conv2"}[type(module)]
            assert not module.get_parameter(f"{last}.norm.weight").any()


@pytest.mark.parametrize("output_stride", [8, 32])
@torch.no_grad()
def test_stacked_decoder_at_other_output_strides(output_stride: int) -> None:
    network = backbone("max_deeplab_l_backbone", depths=(1, 1, 1, 1), output_stride=output_stride).eval()
    features = network(torch.randn(1, 3, 50, 33))
    assert network.stacked_decoder is not None
    assert network.stacked_decoder.strides == {8: [4, 8], 32: [16, 8, 4, 8, 16, 32]}[output_stride]
    assert features["decoded"].shape == features["res5"].shape
    assert network.feature_strides["decoded"] == output_stride
    assert network.feature_channels["decoded"] == network.feature_channels["res5"]


@torch.no_grad()
def test_classifier_takes_the_decoded_map() -> None:
    network = create_model("max_deeplab_l_backbone", width_multiplier=0.125, depths=(1, 1, 1, 1)).eval()
    x = torch.randn(1, 3, 33, 33)
    expected = network.classifier(network.forward_features(x)["decoded"].mean(dim=(2, 3)))
    torch.testing.assert_close(network(x), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": "basic"}, "blocks must be bottleneck or wide, got 'basic'"),
        ({"axial_from_stride": 1}, r"axial_from_stride must be one of \[2, 4, 8, 16, 32\] or None, got 1"),
        ({"switchable_from_stride": 64}, "switchable_from_stride must be one of .* got 64"),
    ],
)
def test_refuses(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message), torch.device("meta"):
        create_model("wide_resnet41", **options)
