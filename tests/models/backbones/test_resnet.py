"""ResNet and its blocks against deeplab2."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from axial_deeplab.models.backbones.resnet import BasicBlock, Bottleneck, ResNet
from axial_deeplab.models.options import Norm
from reference_networks import (
    assert_near,
    assert_statistics,
    channels_first,
    deeplab2_state,
    load_deeplab2,
    load_exactly,
    read_golden,
)
from reference_weights import select

Golden = Callable[[str], Path]


def conv_block(config: dict[str, Any]) -> nn.Module:
    """Return the block of deeplab2's settings, without the ReLU that deeplab2 leaves to the next block."""
    options: dict[str, Any] = {
        "stride": config["strides"],
        "final_relu": False,
        "norm": Norm(config["bn_epsilon"], 1 - config["bn_momentum"]),
    }
    widths = config["filters_list"]
    if len(widths) == 2:
        return BasicBlock(config["in_channels"], widths[1], **options)
    width, inner_width, out_channels = widths
    assert out_channels == 4 * width
    return Bottleneck(
        config["in_channels"],
        width,
        inner_width=inner_width,
        dilation=config.get("atrous_rate", 1),
        **options,
    )


@pytest.mark.parametrize("name", ["basic_s2", "bottleneck_atrous2", "bottleneck_s2_atrous1"])
@torch.no_grad()
def test_block_matches_deeplab2(golden: Golden, name: str) -> None:
    config, arrays = read_golden(golden(f"axial_block_conv_{name}.npz"))
    block = conv_block(config)
    before = deeplab2_state(block, select(arrays, "weights/"), "")
    load_exactly(block, before)
    # deeplab2 activates at the beginning of a block what we activate at the end of the one before.
    x = F.relu(channels_first(arrays["input"]))
    assert_near(block.eval()(x), channels_first(arrays["output"]))
    assert_near(block.train()(x), channels_first(arrays["train/output"]))
    after = deeplab2_state(block, select(arrays, "train/updated/"), "")
    assert_statistics(block, before, after, momentum=1 - config["bn_momentum"])


def test_matches_deeplab2(golden: Golden) -> None:
    config, arrays = read_golden(golden("backbone_resnet50_os16.npz"))
    network = ResNet(
        width_multiplier=0.125,
        stem_multiplier=0.25,
        max_pool=False,
        output_stride=16,
        features_only=True,
        norm_eps=config["bn_epsilon"],
    ).eval()
    load_deeplab2(network, arrays)
    images = channels_first(arrays["input"])
    with torch.no_grad():
        assert_near(network.stem(images), channels_first(arrays["output/res1"]))
        for name, feature in network(images).items():
            assert_near(feature, channels_first(arrays[f"output/{name}"]))
        network.get_submodule("res5")[-1].final_relu = False
        assert_near(network(images)["res5"], channels_first(arrays["output/stage5_preactivation"]))
