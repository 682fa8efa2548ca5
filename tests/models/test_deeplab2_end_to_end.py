"""From the image to the panoptic map, against deeplab2's whole models, which the command converts."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from axial_deeplab import load_weights
from axial_deeplab.cli.main import main
from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.post_processing import PostProcessing
from axial_deeplab.prediction.multi_scale import average_outputs
from reference_networks import assert_near, channels_first, read_golden
from reference_weights import select
from tensorflow_files import write_checkpoint

DIVISOR, VOID = 1000, 255
REDUCED: dict[str, Any] = {
    "width_multiplier": 0.125,
    "stem_multiplier": 0.25,
    "semantic_channels": 32,
    "semantic_head_channels": 16,
    "semantic_low_level_channels": [16, 8],
    "instance_channels": 16,
    "instance_head_channels": 8,
    "instance_low_level_channels": [8, 4],
    "aspp_channels": [32, 16],
}
# The rest of the settings is that of deeplab2 for Cityscapes.
POST_PROCESSING = ("nms_kernel=7", "stuff_area=64", f"label_divisor={DIVISOR}")


@dataclass(frozen=True)
class Case:
    """A golden file: how our network is made, how it looks at the image, and what the file leaves open.

    Args:
        undecided: pixels at which deeplab2's two highest logits differ by less than 1e-3.
    """

    name: str
    options: Mapping[str, Any]
    undecided: int
    scales: tuple[float, ...] = (1.0,)
    flip: bool = True


CASES = {
    "max_deeplab_s_backbone": Case(
        "panoptic_deeplab_max_deeplab_s_backbone", {"impl": "reference"}, undecided=22, flip=False
    ),
    "axial_deeplab_s_os32_aspp_flip": Case(
        "axial_deeplab_s",
        {"output_stride": 32, "aspp": True, "impl": "reference"},
        undecided=34,
    ),
    # deeplab2 pads no scaled image, and scales the window of its ASPP, here the whole map, with the image.
    "resnet50_scales_flip": Case(
        "panoptic_deeplab_resnet50",
        {"atrous_rates": [3, 6, 9], "pad_images": False, "aspp_pool_size": None},
        undecided=49,
        scales=(0.75, 1.0, 1.5),
    ),
}


class WithLogitsAsHeatmap(nn.Module):
    """Puts the semantic logits where averaging keeps them as they are."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        outputs = self.network(images)
        return {**outputs, "center_heatmap": outputs["semantic_logits"]}


@pytest.mark.parametrize("file", CASES)
@torch.no_grad()
def test_matches_deeplab2(golden: Callable[[str], Path], tmp_path: Path, file: str) -> None:
    _, arrays = read_golden(golden(f"deeplab_e2e_{file}.npz"))
    case = CASES[file]
    write_checkpoint(tmp_path / "ckpt", select(arrays, "weights/"))
    words = ["convert", str(tmp_path / "ckpt"), str(tmp_path / "w.safetensors"), "--model", case.name]
    words += ["--categories", "cityscapes", "--crop-size", "65x97", "--post-processing", *POST_PROCESSING]
    settings = {**REDUCED, **case.options}.items()
    assert main([*words, "--set", *(f"{key}={json.dumps(value)}" for key, value in settings)]) == 0
    converted = load_weights(tmp_path / "w.safetensors")
    network = converted.model
    assert isinstance(network, PanopticDeepLab)
    images = channels_first(arrays["input"])

    for feature, x in network.encode(images).items():
        if f"intermediate/{feature}" in arrays:
            assert_near(x, channels_first(arrays[f"intermediate/{feature}"]), 1e-3)
    views: dict[str, Any] = {"scales": case.scales, "flip": case.flip}
    outputs = average_outputs(network, images, **views)
    logits = average_outputs(WithLogitsAsHeatmap(network), images, **views)["center_heatmap"]
    assert_near(logits, channels_first(arrays["output/semantic_logits"]), 1e-3)
    assert_near(outputs["center_heatmap"][:, 0], torch.from_numpy(arrays["output/center_heatmap"]), 1e-3)
    assert_near(outputs["offsets"], channels_first(arrays["output/offset_map"]), 1e-3)

    post_processing = PostProcessing.from_metadata(converted.metadata, converted.categories.thing_ids)
    panoptic, _, semantic = post_processing(outputs)[0]
    highest, second = channels_first(arrays["output/semantic_logits"])[0].topk(2, dim=0).values
    undecided = highest - second < 1e-3
    theirs = torch.from_numpy(arrays["output/panoptic_pred"][0])
    # Our classes are one higher there, and void is 0.
    theirs = torch.where(theirs == VOID * DIVISOR, 0, theirs + DIVISOR)
    assert len(theirs.unique()) > 10
    assert int(undecided.sum()) == case.undecided
    assert not ((panoptic != theirs) & ~undecided).any()
    assert not ((semantic != torch.from_numpy(arrays["output/semantic_pred"][0])) & ~undecided).any()
