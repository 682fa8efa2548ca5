"""`axial-deeplab convert` of the networks of the reference implementations: the same outputs.

The weights of the golden files are written as TensorFlow or PyTorch would write them, and converted by the
command, whose own check compares the outputs.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from axial_deeplab.cli.main import main
from axial_deeplab.models.attention.axial import AxialAttention
from axial_deeplab.models.backbones.base import FEATURE_NAMES, Backbone
from axial_deeplab.models.options import BackboneOptions
from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.models.resize import resize_bilinear, resize_offsets
from axial_deeplab.weights.convert.convert import fill
from axial_deeplab.weights.convert.deeplab2_names import deeplab2_names
from axial_deeplab.weights.convert.first_author import layer_names
from axial_deeplab.weights.convert.sources import WeightsSource, open_source
from axial_deeplab.weights.loaded import load_weights
from reference_networks import assert_near, channels_first, read_golden
from reference_weights import Arrays, select
from tensorflow_files import write_checkpoint

Golden = Callable[[str], Path]
TOLERANCE = 1e-4

# Name of the network, and what differs from it in the golden file.
BACKBONES: dict[str, tuple[str, dict[str, Any]]] = {
    "axial_deeplab_l_os16": ("axial_resnet_l", {"stem": "three_conv", "output_stride": 16}),
    "axial_resnet_s_os32": ("axial_resnet_s", {}),
    "axial_resnet_fullyaxial_stride1": (
        "full_axial_resnet_s",
        {"width_multiplier": 0.25, "stem_span": None, "depths": [1, 1, 1, 1], "output_stride": 16},
    ),
    "axial_swidernet_os16": ("axial_swidernet_1_1_1", {}),
    "max_deeplab_l_backbone_os16": ("max_deeplab_l_backbone", {"depths": [1, 1, 2, 1]}),
    "max_deeplab_s_backbone_os16": ("max_deeplab_s_backbone", {}),
    "resnet50_os16": ("resnet50", {"output_stride": 16}),
    "wide_resnet41_os16": ("wide_resnet41", {}),
    "swidernet_sac_se_os16": (
        "swidernet_sac_1_1_1",
        {
            "depths": [1, 1, 1, 2],
            "width_multiplier": 0.03125,
            "stem_multiplier": 0.125,
            "switchable_from_stride": 16,
            "squeeze_excite": True,
        },
    ),
}


def run_convert(source: Path, output: Path, *words: str, **settings: Any) -> None:
    """Run the command as a user does."""
    arguments = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    assert main(["convert", str(source), str(output), *words, "--set", *arguments]) == 0


@pytest.mark.parametrize("file", BACKBONES)
def test_backbones_of_deeplab2(golden: Golden, tmp_path: Path, capsys: Any, file: str) -> None:
    _, arrays = read_golden(golden(f"backbone_{file}.npz"))
    name, settings = BACKBONES[file]
    write_checkpoint(tmp_path / "ckpt", select(arrays, "weights/"))
    images = channels_first(arrays["input"])
    if "fullyaxial" in file:
        # deeplab2 activates the input of every block, and here the first block's input is the image.
        images = images.relu()
    expected = {f"output/{key}": channels_first(arrays[f"output/{key}"]).numpy() for key in FEATURE_NAMES}
    if name == "max_deeplab_l_backbone":
        expected["output/decoded"] = channels_first(arrays["output/backbone_output"]).numpy()
    np.savez(tmp_path / "check.npz", input=images.numpy(), **expected)
    settings = {"width_multiplier": 0.125, "stem_multiplier": 0.25, "features_only": True, **settings}
    words = ["--model", name, "--check", str(tmp_path / "check.npz"), "--tolerance", str(TOLERANCE)]
    run_convert(tmp_path / "ckpt", tmp_path / "w.safetensors", *words, **settings)
    assert capsys.readouterr().out.count("largest difference") == len(expected)
    assert load_weights(tmp_path / "w.safetensors").metadata["model"]["norm_eps"] == 1e-3


class GivenFeatures(Backbone):
    """Stands for a backbone where the maps are given."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__(channels, BackboneOptions(output_stride=16, features_only=True))
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
def test_decoders_of_deeplab2(golden: Golden, tmp_path: Path, file: str, options: dict[str, Any]) -> None:
    config, arrays = read_golden(golden(f"panoptic_decoder_{file}.npz"))
    network = PanopticDeepLab(
        GivenFeatures((16, 24, 32, 48)),
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
    # A checkpoint of deeplab2 has an encoder.
    weights = {**select(arrays, "weights/"), "encoder/_stem": np.zeros(1)}
    write_checkpoint(tmp_path / "ckpt", weights)
    names = deeplab2_names(network)
    num_converted, missing = fill(network, open_source(tmp_path / "ckpt"), names)
    assert missing == ()
    assert num_converted == len(weights) - 1 == len(names)
    maps = network.decode(
        {name: channels_first(arrays[f"input/{name}"]) for name in ("res2", "res3", "res5")}
    )
    for ours, theirs in (
        ("semantic_logits", "semantic_logits"),
        ("center_heatmap", "center_heatmap"),
        ("offsets", "offset_map"),
    ):
        assert_near(maps[ours], channels_first(arrays[f"output/{theirs}"]), TOLERANCE)
    resized = resize_bilinear(maps["center_heatmap"], config["resized_to"])
    assert_near(resized, channels_first(arrays["output/center_heatmap_resized"]), TOLERANCE)
    resized = resize_offsets(maps["offsets"], config["resized_to"])
    assert_near(resized, channels_first(arrays["output/offset_resized"]), TOLERANCE)


# The first author's.


def first_author_file(path: Path, arrays: Arrays, **blocks: Mapping[str, np.ndarray]) -> None:
    """Write his small network as he writes it, with other blocks in the place of some."""
    state = {name: torch.from_numpy(array) for name, array in select(arrays, "state_dict/").items()}
    for place, block in blocks.items():
        prefix = place.replace("_", ".") + "."
        state = {name: tensor for name, tensor in state.items() if not name.startswith(prefix)}
        state |= {f"{prefix}{name}": torch.from_numpy(array) for name, array in block.items()}
    torch.save({"net": {f"module.{name}": tensor for name, tensor in state.items()}}, path)


def test_network_of_the_first_author(golden: Golden, tmp_path: Path, capsys: Any) -> None:
    _, arrays = read_golden(golden("official_pt_net_tiny.npz"))
    first_author_file(tmp_path / "net.pth", arrays)
    images = arrays["input_int8"].astype(np.float32) / 32
    np.savez(tmp_path / "check.npz", input=images, output=arrays["output"])
    words = ["--check", str(tmp_path / "check.npz"), "--tolerance", str(TOLERANCE)]
    run_convert(tmp_path / "net.pth", tmp_path / "w.safetensors", *words, impl="reference")
    assert re.search(r"output: largest difference \d\.\de-0[5-9]", capsys.readouterr().out)
    model = load_weights(tmp_path / "w.safetensors").model
    with torch.no_grad():
        features = model.forward_features(torch.from_numpy(images))
    for ours, theirs in (("res4", "layer3"), ("res5", "layer4")):
        assert_near(features[ours], torch.from_numpy(arrays[f"output/{theirs}"]), TOLERANCE)


@pytest.mark.parametrize(
    ("file", "theirs", "ours"), [("s1", "layer1_1", "res2.1"), ("s2_down", "layer2_0", "res3.0")]
)
@torch.no_grad()
def test_blocks_of_the_first_author(
    golden: Golden, tmp_path: Path, file: str, theirs: str, ours: str
) -> None:
    """In his small network, whose first stages have blocks of these sizes."""
    _, net = read_golden(golden("official_pt_net_tiny.npz"))
    _, arrays = read_golden(golden(f"official_pt_block_{file}.npz"))
    first_author_file(tmp_path / "net.pth", net, **{theirs: select(arrays, "state_dict/")})
    run_convert(tmp_path / "net.pth", tmp_path / "w.safetensors", impl="reference")
    block = load_weights(tmp_path / "w.safetensors").model.get_submodule(ours)
    assert_near(block(torch.from_numpy(arrays["input"])), torch.from_numpy(arrays["output"]), TOLERANCE)


@pytest.mark.parametrize("file", ["height_k14", "width_k28", "width_s2_k14"])
@torch.no_grad()
def test_layers_of_the_first_author(golden: Golden, file: str) -> None:
    config, arrays = read_golden(golden(f"official_pt_layer_{file}.npz"))
    layer = AxialAttention(
        config["in_planes"],
        config["out_planes"],
        axis="width" if config["width"] else "height",
        num_heads=config["groups"],
        # Longer than his, as where the layers of a network have tables of several lengths.
        max_span=config["kernel_size"] + 7,
        norm_eps=config["bn_eps"],
        impl="reference",
    ).eval()
    state = {f"layer.{key}": torch.from_numpy(x) for key, x in select(arrays, "state_dict/").items()}
    source = WeightsSource(Path("layer.pth"), "first_author", tuple(state), (), state.__getitem__, state)
    _, missing = fill(layer, source, layer_names(layer, "layer"))
    assert missing == ()
    y: Tensor = layer(torch.from_numpy(arrays["input"]))
    stride = config["stride"]
    y = F.avg_pool2d(y, stride) if stride > 1 else y
    assert_near(y, torch.from_numpy(arrays["output"]), TOLERANCE)
