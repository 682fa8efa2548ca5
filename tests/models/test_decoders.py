"""Decoders and heads, against deeplab2 and by their own rules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from axial_deeplab.models.backbones.base import FEATURE_NAMES, Backbone
from axial_deeplab.models.decoders import ASPP, AxialDecoder, ConvDecoder
from axial_deeplab.models.options import BackboneOptions
from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.models.resize import resize_bilinear, resize_offsets
from reference_networks import assert_near, channels_first, load_deeplab2, read_golden

FEATURES = {"res2": 16, "res3": 24, "res4": 32, "res5": 48}


def feature_maps(batch: int = 2, height: int = 5, width: int = 7) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        name: torch.randn(batch, FEATURES[name], scale * (height - 1) + 1, scale * (width - 1) + 1)
        for name, scale in (("res2", 4), ("res3", 2), ("res4", 1), ("res5", 1))
    }


class GivenFeatures(Backbone):
    """Stands for a backbone where the maps are given."""

    def __init__(self) -> None:
        super().__init__(tuple(FEATURES.values()), BackboneOptions(output_stride=16, features_only=True))
        for name in ("stem", *FEATURE_NAMES):
            self.add_module(name, nn.Sequential())


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("1x1proj", {"num_classes": 19, "semantic_head_channels": 24, "aspp_channels": (32, 24)}),
        ("aspp_gap", {"num_classes": 11, "semantic_head_channels": 16, "aspp_channels": (24, 16)}),
        ("aspp_pool5x6", {"num_classes": 11, "semantic_head_channels": 16, "aspp_channels": (24, 16)}),
    ],
)
@torch.no_grad()
def test_decoders_and_heads_match_deeplab2(
    golden: Callable[[str], Path], file: str, options: dict[str, Any]
) -> None:
    config, arrays = read_golden(golden(f"panoptic_decoder_{file}.npz"))
    network = PanopticDeepLab(
        GivenFeatures(),
        semantic_channels=32,
        instance_channels=16,
        instance_head_channels=8,
        semantic_low_level_channels=(16, 8),
        instance_low_level_channels=(8, 4),
        aspp="aspp_" in file,
        atrous_rates=(3, 6, 9),
        aspp_separable=False,
        aspp_pool_size=config["pool_size"],
        norm_eps=config["bn_epsilon"],
        **options,
    ).eval()
    load_deeplab2(network, arrays)
    features = {name: channels_first(arrays[f"input/{name}"]) for name in ("res2", "res3", "res5")}

    semantic_decoder, instance_decoder = network.semantic_decoder, network.instance_decoder
    assert isinstance(semantic_decoder, ConvDecoder)
    assert isinstance(instance_decoder, ConvDecoder)
    assert_near(
        semantic_decoder.context(features["res5"]), channels_first(arrays["intermediate/semantic_aspp"])
    )
    assert_near(semantic_decoder(features), channels_first(arrays["intermediate/semantic_decoder"]))
    assert_near(instance_decoder(features), channels_first(arrays["intermediate/instance_decoder"]))
    maps = network.decode(features)
    for ours, theirs in (
        ("semantic_logits", "semantic_logits"),
        ("center_heatmap", "center_heatmap"),
        ("offsets", "offset_map"),
    ):
        assert_near(maps[ours], channels_first(arrays[f"output/{theirs}"]))
    resized = resize_bilinear(maps["center_heatmap"], config["resized_to"])
    assert_near(resized, channels_first(arrays["output/center_heatmap_resized"]))
    resized = resize_offsets(maps["offsets"], config["resized_to"])
    assert_near(resized, channels_first(arrays["output/offset_resized"]))


def test_aspp_trains_on_a_single_image() -> None:
    aspp = ASPP(8, 4)
    before = aspp.pool.norm.running_mean.clone()
    x = torch.randn(1, 8, 5, 6, requires_grad=True)
    aspp(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(aspp.pool.norm.running_mean, before)
    aspp(torch.randn(2, 8, 5, 6))
    assert not torch.equal(aspp.pool.norm.running_mean, before)


def test_aspp_pools_the_whole_map_whatever_its_size() -> None:
    aspp = ASPP(8, 4).eval()
    x = torch.randn(1, 8, 5, 6)
    window = ASPP(8, 4, pool_size=(9, 9)).eval()
    window.load_state_dict(aspp.state_dict())
    torch.testing.assert_close(window(x), aspp(x))


def test_fusion_puts_the_coarse_map_first() -> None:
    decoder = ConvDecoder(FEATURES, channels=32, low_level_channels=(16, 8)).eval()
    kernel = decoder.fuse_res3.depthwise.conv.weight
    with torch.no_grad():
        kernel[32:] = 0
    maps = feature_maps()
    expected = decoder(maps)
    torch.testing.assert_close(decoder({**maps, "res3": torch.zeros_like(maps["res3"])}), expected)


def test_axial_decoder_has_three_blocks_and_one_map() -> None:
    decoder = AxialDecoder(FEATURES, channels=32, num_heads=4)
    assert decoder(feature_maps()).shape == (2, 32, 17, 25)
    assert [name for name, _ in decoder.named_children() if "fuse" in name or name == "refine"] == [
        "fuse_res3",
        "fuse_res2",
        "refine",
    ]


def test_axial_decoder_takes_a_span() -> None:
    whole = AxialDecoder(FEATURES, channels=32, num_heads=4).eval()
    for block in (whole.fuse_res3, whole.fuse_res2, whole.refine):
        torch.nn.init.ones_(block.up.norm.weight)  # a block starts as its shortcut
    local = AxialDecoder(FEATURES, channels=32, num_heads=4, span=5).eval()
    wide = AxialDecoder(FEATURES, channels=32, num_heads=4, span=2 * 25 - 1).eval()
    local.load_state_dict(whole.state_dict())
    wide.load_state_dict(whole.state_dict())
    maps = feature_maps(1)
    torch.testing.assert_close(wide(maps), whole(maps))
    assert not torch.allclose(local(maps), whole(maps))
