"""Axial-ResNet against deeplab2 and the first author's network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from axial_deeplab.models.backbones.axial_resnet import AxialResNet
from reference_networks import (
    assert_near,
    channels_first,
    first_author_network,
    load_deeplab2,
    load_exactly,
    read_golden,
)
from reference_weights import select

STEMS = {
    "axial_resnet_s_os32": {"width_multiplier": 0.125, "stem": "conv", "output_stride": 32},
    "axial_deeplab_l_os16": {"width_multiplier": 0.125, "stem": "three_conv", "output_stride": 16},
    "axial_resnet_fullyaxial_stride1": {
        "width_multiplier": 0.25,
        "stem": "axial",
        "stem_span": None,
        "depths": (1, 1, 1, 1),
        "output_stride": 16,
    },
}


@pytest.mark.parametrize("file", STEMS)
def test_matches_deeplab2(golden: Callable[[str], Path], file: str) -> None:
    config, arrays = read_golden(golden(f"backbone_{file}.npz"))
    network = AxialResNet(
        stem_multiplier=0.25,
        max_pool=False,
        features_only=True,
        norm_eps=config["bn_epsilon"],
        **STEMS[file],
    ).eval()
    load_deeplab2(network, arrays)
    images = channels_first(arrays["input"])
    if "fullyaxial" in file:
        # deeplab2 activates the input of every block, and here the first block's input is the image.
        images = images.relu()
    with torch.no_grad():
        assert_near(network.stem(images), channels_first(arrays["output/res1"]))
        for name, feature in network(images).items():
            assert_near(feature, channels_first(arrays[f"output/{name}"]))
        network.get_submodule("res5")[-1].final_relu = False
        assert_near(network(images)["res5"], channels_first(arrays["output/stage5_preactivation"]))


def test_matches_the_first_author(golden: Callable[[str], Path]) -> None:
    config, arrays = read_golden(golden("official_pt_net_tiny.npz"))
    network = AxialResNet(
        width_multiplier=config["s"],
        stem_multiplier=config["s"],
        depths=tuple(config["layers"]),
        num_classes=config["num_classes"],
        stride_mode="average_pool",
        max_span=56,
    ).eval()
    load_exactly(network, first_author_network(select(arrays, "state_dict/"), max_span=56))
    images = torch.from_numpy(arrays["input_int8"].astype(np.float32) / 32)
    with torch.no_grad():
        features = network.forward_features(images)
        logits = network(images)
        stem = network.stem(images)
    assert_near(stem[:, :, ::4, ::4], torch.from_numpy(arrays["output/maxpool_sub4"]))
    assert_near(features["res2"][:, :, ::4, ::4], torch.from_numpy(arrays["output/layer1_sub4"]))
    assert_near(features["res3"][:, :, ::4, ::4], torch.from_numpy(arrays["output/layer2_sub4"]))
    assert_near(features["res4"], torch.from_numpy(arrays["output/layer3"]))
    assert_near(features["res5"], torch.from_numpy(arrays["output/layer4"]))
    assert_near(logits, torch.from_numpy(arrays["output"]))


def test_the_stem_trains_with_the_channels_last() -> None:
    """PyTorch's max pool is ten times as slow for other maps."""
    network = AxialResNet(width_multiplier=0.125, depths=(1, 1, 1, 1)).train()
    seen: list[torch.Tensor] = []
    network.stem.max_pool.register_forward_hook(lambda _module, inputs, _output: seen.extend(inputs))
    images = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0))
    network(images)
    network(images.contiguous(memory_format=torch.channels_last))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)
    torch.testing.assert_close(*seen)
