"""Averaging over scales and mirror images: a network that is equivariant sees the same in every view."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from axial_deeplab.prediction.multi_scale import (
    SCALE_SETS,
    average_outputs,
    mirror_outputs,
    parse_scales,
    scaled_length,
)

# Sides k * 12 + 1, so that the pixels of a scaled image lie on those of the image or half-way between.
HEIGHT, WIDTH = 25, 37


class Equivariant(nn.Module):
    """Reads its outputs from an image that is linear in its coordinates: exact at every scale, in a mirror.

    Channel 0 grows from left to right, channel 1 from top to bottom, channel 2 is 1 in the original and
    -1 in its mirror image. The instance center is in the middle of the image.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []

    def forward(self, images: Tensor) -> Mapping[str, Tensor]:
        x, y, _ = images.unbind(dim=1)
        height, width = images.shape[-2:]
        self.sizes.append((height, width))
        offset_y = (y.mean(dim=(1, 2), keepdim=True) - y) * (height - 1)
        # The mirrored image falls from left to right: its gradient tells where right is.
        direction = torch.sign(x[:, :, -1:] - x[:, :, :1])
        offset_x = (x.mean(dim=(1, 2), keepdim=True) - x) * direction * (width - 1)
        logits = torch.stack([3 * x, 2 * y, torch.ones_like(x)], dim=1)
        return {
            "semantic_logits": logits,
            "center_heatmap": (x + y)[:, None],
            "offsets": torch.stack([offset_y, offset_x], dim=1),
        }


@pytest.fixture
def image() -> Tensor:
    y = torch.linspace(0, 1, HEIGHT)[:, None].expand(HEIGHT, WIDTH)
    x = torch.linspace(0, 1, WIDTH).expand(HEIGHT, WIDTH)
    return torch.stack([x, y, torch.zeros(HEIGHT, WIDTH)])[None]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(1.0,), (0.5,), (2.0,), (0.5, 0.75, 1.0, 1.25, 1.5), (1.0, 1.0)])
def test_an_equivariant_network_sees_the_same_in_every_view(image, scales, flip):
    network = Equivariant()
    once = network(image)
    average = average_outputs(network, image, scales=scales, flip=flip)
    for name in ("center_heatmap", "offsets"):
        torch.testing.assert_close(average[name], once[name], rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        average["semantic_logits"].softmax(1), once["semantic_logits"].softmax(1), rtol=1e-5, atol=1e-6
    )
    assert once["offsets"].abs().max() > 10


def test_every_view_is_seen_once(image):
    network = Equivariant()
    average_outputs(network, image, scales=(0.5, 2.0), flip=True)
    assert network.sizes == [(13, 19), (13, 19), (49, 73), (49, 73)]


def test_a_single_view_is_the_network_itself(image):
    network = Equivariant()
    average, once = average_outputs(network, image), network(image)
    for name, values in once.items():
        assert torch.equal(average[name], values)


def test_probabilities_are_averaged_and_not_logits():
    class ByCall(nn.Module):
        """Says another probability at each call."""

        def __init__(self) -> None:
            super().__init__()
            self.probabilities = [0.9, 0.2]
            self.heatmap = torch.zeros(1, 1, 2, 2)

        def forward(self, images: Tensor) -> Mapping[str, Tensor]:
            p = torch.full((1, 1, 2, 2), self.probabilities.pop(0))
            self.heatmap += 1
            return {
                "semantic_logits": torch.cat([p, 1 - p], dim=1).log() + 5,
                "center_heatmap": self.heatmap,
                "offsets": torch.ones(1, 2, 2, 2),
            }

    average = average_outputs(ByCall(), torch.zeros(1, 3, 2, 2), flip=True)
    torch.testing.assert_close(average["semantic_logits"].exp()[0, :, 0, 0], torch.tensor([0.55, 0.45]))
    # Mirrored offsets of the same sign cancel in x and stay in y; the network's own tensors stay as they are.
    assert average["offsets"][0, :, 0, 0].tolist() == [1, 0]
    assert average["center_heatmap"].unique().item() == 1.5


def test_a_mirror_twice_is_the_original():
    outputs = {"offsets": torch.randn(2, 2, 3, 4), "center_heatmap": torch.randn(2, 1, 3, 4)}
    once = mirror_outputs(outputs)
    assert once["offsets"][0, 1, 0, 0] == -outputs["offsets"][0, 1, 0, 3]
    assert once["offsets"][0, 0, 0, 0] == outputs["offsets"][0, 0, 0, 3]
    for name, values in mirror_outputs(once).items():
        assert torch.equal(values, outputs[name])


def test_the_sets_cost_what_the_paper_says():
    # Multiply-adds of the multi-scale rows over those of the single-scale ones, both with two mirror images.
    for name, ratio in (("coco", 3867.7 / 343.9), ("mapillary", 39.35 / 1.55), ("cityscapes", 39.35 / 1.55)):
        assert 2 * sum(scale**2 for scale in SCALE_SETS[name]) == pytest.approx(ratio, rel=2e-3)


def test_scales_are_numbers_or_a_name():
    assert parse_scales(["coco"]) == (0.5, 0.75, 1.0, 1.25, 1.5)
    assert parse_scales(["0.5", 1]) == (0.5, 1.0)
    for wrong in (["ade20k"], ["coco", "1"], [0.0], ["-1"], ["nan"], ["inf"], []):
        with pytest.raises(
            ValueError, match=r"scales must be positive numbers up to 1000 or one of coco, cityscapes"
        ):
            parse_scales(wrong)


def test_sides_are_rounded_as_in_deeplab2(golden: Callable[[str], Path]):
    with np.load(golden("resize_align_corners.npz")) as arrays:
        cases = arrays["scale_mutable_sequence"]
    assert len(cases) == 64
    for length, scale, expected in cases.tolist():
        assert scaled_length(int(length), scale) == expected
    assert scaled_length(1, 0.25) == 1


def test_one_scale_or_name_need_no_list():
    assert parse_scales(0.5) == parse_scales("0.5") == parse_scales([0.5]) == (0.5,)
    assert parse_scales("coco") == parse_scales(["coco"])
    with pytest.raises(ValueError, match=r"scales must be positive numbers .*, got ade; 1 is"):
        parse_scales("ade")
