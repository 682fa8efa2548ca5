"""Averaging over scales and mirror images gives deeplab2's maps, classes and segments."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from axial_deeplab.models.panoptic import PanopticDeepLab
from axial_deeplab.models.registry import create_model
from axial_deeplab.models.resize import resize_bilinear, resize_offsets
from axial_deeplab.post_processing import PostProcessing
from axial_deeplab.prediction.multi_scale import average_outputs
from axial_deeplab.weights.convert.deeplab2_names import deeplab2_arguments
from reference_networks import assert_near, channels_first, load_deeplab2, read_golden

SMALL: dict[str, Any] = {
    "width_multiplier": 0.125,
    "stem_multiplier": 0.25,
    "num_classes": 19,
    "semantic_channels": 32,
    "semantic_head_channels": 16,
    "instance_channels": 16,
    "instance_head_channels": 8,
    "semantic_low_level_channels": (16, 8),
    "instance_low_level_channels": (8, 4),
    "aspp": True,
    "aspp_channels": (32, 16),
    "atrous_rates": (3, 6, 9),
}
# Things of Cityscapes by train id.
THING_IDS = range(11, 19)


class Unpadded(nn.Module):
    """Runs a network on images as they are, as deeplab2 does: ours pads a side of 73 pixels to 81."""

    def __init__(self, network: PanopticDeepLab) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Mapping[str, Tensor]:
        network, size = self.network, images.shape[-2:]
        normalized = (images - network.pixel_mean) / network.pixel_std
        maps = network.decode(network.backbone.forward_features(normalized))
        return {
            name: (resize_offsets if name == "offsets" else resize_bilinear)(values, size)
            for name, values in maps.items()
        }


@pytest.mark.parametrize(
    ("file", "name", "options", "scales"),
    [
        ("axial_deeplab_s_os32_aspp_flip", "axial_deeplab_s", {"output_stride": 32}, (1.0,)),
        ("resnet50_scales_flip", "panoptic_deeplab_resnet50", {}, (0.75, 1.0, 1.5)),
    ],
)
def test_equals_deeplab2(golden, file, name, options, scales):
    _, arrays = read_golden(golden(f"deeplab_e2e_{file}.npz"))
    network = create_model(name, **{**deeplab2_arguments(name), **SMALL, **options}).eval()
    load_deeplab2(network, arrays)
    images = channels_first(arrays["input"])
    with torch.no_grad():
        outputs = average_outputs(Unpadded(network), images, scales=scales, flip=True)
        # All sides that need no padding: the network itself says the same.
        if scales == (1.0,):
            for key, values in average_outputs(network, images, flip=True).items():
                torch.testing.assert_close(values, outputs[key])
    assert_near(outputs["center_heatmap"], channels_first(arrays["output/center_heatmap"][..., None]))
    assert_near(outputs["offsets"], channels_first(arrays["output/offset_map"]))

    post_processing = PostProcessing(THING_IDS, label_divisor=1000, top_k=400, stuff_area=64)
    panoptic, _, semantic = post_processing(outputs)[0]
    np.testing.assert_array_equal(semantic.numpy(), arrays["output/semantic_pred"][0])
    theirs = arrays["output/panoptic_pred"][0]
    expected = np.where(theirs == 255_000, 0, theirs + 1000)
    np.testing.assert_array_equal(panoptic.numpy(), expected)
