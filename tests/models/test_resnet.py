"""ResNet against deeplab2."""

from collections.abc import Callable
from pathlib import Path

import torch

from axial_deeplab.models.resnet import ResNet
from reference_networks import assert_near, channels_first, deeplab2_encoder, load_exactly, read_golden
from reference_weights import select


def test_matches_deeplab2(golden: Callable[[str], Path]) -> None:
    config, arrays = read_golden(golden("backbone_resnet50_os16.npz"))
    network = ResNet(
        width_multiplier=0.125,
        stem_multiplier=0.25,
        max_pool=False,
        output_stride=16,
        features_only=True,
        norm_eps=config["bn_epsilon"],
    ).eval()
    load_exactly(network, deeplab2_encoder(select(arrays, "weights/")))
    with torch.no_grad():
        features = network(channels_first(arrays["input"]))
    for name, feature in features.items():
        assert_near(feature, channels_first(arrays[f"output/{name}"]))
